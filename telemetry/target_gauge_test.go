package telemetry_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func TestTargetsShowTheirCircuits(t *testing.T) {
	states := map[string]route.State{"anthropic/a": route.Closed, "mirror/a": route.HalfOpen, "openai/b": route.Open}
	r := rig{t: t, reader: sdkmetric.NewManualReader()}
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader), sdkmetric.WithCardinalityLimit(0))
	registration, err := telemetry.RegisterTargets(mp, func(yield func(string, route.State) bool) { maps.All(states)(yield) })
	if err != nil {
		t.Fatal(err)
	}
	figures := func() (list []string) {
		for _, p := range r.metric(names.MetricTargetState) {
			list = append(list, fmt.Sprintf("%s %g", p.attrs, p.sum))
		}
		slices.Sort(list)
		return list
	}
	want := []string{"ccproxy.target=anthropic/a 0", "ccproxy.target=mirror/a 1", "ccproxy.target=openai/b 2"}
	if got := figures(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	delete(states, "openai/b")
	if got := figures(); !slices.Equal(got, want[:2]) {
		t.Errorf("got %v, want %v", got, want[:2])
	}
	for i := range 5000 {
		states[fmt.Sprint("anthropic/", i)] = route.Closed
	}
	if n := len(figures()); n == 0 || n >= 2000 {
		t.Errorf("got %d series", n)
	}
	if err := registration.Unregister(); err != nil {
		t.Fatal(err)
	}
	if got := figures(); len(got) != 0 {
		t.Errorf("got %v after the end", got)
	}
}
