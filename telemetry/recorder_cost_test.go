package telemetry_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// fixed prices every attempt alike: 2 dollars in five classes, and half as much on the model the client named.
type fixed struct{ status string }

func (f fixed) Price(*gateway.Attempt) gateway.Cost {
	if f.status == names.PriceStatusUnknown {
		return gateway.Cost{Source: names.CostSourceNone, Status: f.status}
	}
	c := gateway.Cost{Total: 2e9, Source: names.CostSourceLocal, Billing: names.CostBillingMetered, Status: f.status, PriceVersion: "1"}
	for class, n := range map[gateway.CostClass]gateway.NanoUSD{
		gateway.CostInput: 1e8, gateway.CostAudioIn: 1e8, gateway.CostCacheRead: 2e8, gateway.CostCacheWrite: 1e8, gateway.CostCacheWrite1h: 2e8,
		gateway.CostOutput: 4e8, gateway.CostReasoning: 3e8, gateway.CostWebSearch: 6e8,
	} {
		c.Classes[class] = n
	}
	return c
}

func (f fixed) Bound(*gateway.Attempt) gateway.Bound { return gateway.Bound{Status: f.status} }

func (fixed) Complete(*gateway.Attempt) {}

func (fixed) Accrued(*gateway.Attempt) gateway.NanoUSD { return 0 }

func (fixed) Baseline(*gateway.Attempt) (gateway.NanoUSD, bool) { return 1e9, true }

func TestCostIsCountedByClass(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{sonnet}, pricer: fixed{names.PriceStatusExact}})
	x := r.post("/v1/messages", plainCall)
	span := x.Final().Span.SpanContext()
	want := map[string]float64{"input": 0.2, "cache_read": 0.2, "cache_write": 0.3, "output": 0.7, "other": 0.6}
	points := r.metric(names.MetricCost)
	if len(points) != len(want) {
		t.Errorf("got %d series of cost, want %d", len(points), len(want))
	}
	for _, p := range points {
		class := p.attrs[strings.Index(p.attrs, "cost.class=")+len("cost.class="):]
		class, _, _ = strings.Cut(class, " ")
		if math.Abs(p.sum-want[class]) > 1e-12 {
			t.Errorf("%s: got %v, want %v", class, p.sum, want[class])
		}
		if len(p.exemplars) == 0 || p.exemplars[0] != span.TraceID().String() {
			t.Errorf("%s: got exemplars %v, want the trace %v", class, p.exemplars, span.TraceID())
		}
	}
	for name, want := range map[string]float64{names.MetricRoutingComparedCost: 2, names.MetricRoutingBaselineCost: 1, names.MetricPriceLookups: 1} {
		if p := only(t, r, name); p.sum != want {
			t.Errorf("%s: got %v, want %v", name, p.sum, want)
		}
	}
	if p := only(t, r, names.MetricRequestCost); len(p.exemplars) == 0 {
		t.Error("no exemplar leads from the cost of a request to its trace")
	}
}

func TestCostThatIsHiddenOrUnknownIsNotCounted(t *testing.T) {
	for name, cfg := range map[string]rigConfig{
		"hidden":  {pricer: fixed{names.PriceStatusExact}, hideCost: true},
		"unknown": {pricer: fixed{names.PriceStatusUnknown}},
	} {
		cfg.targets = []string{sonnet}
		cfg.recorder = telemetry.RecorderConfig{PostAPICall: true, RoutingAnalysis: true}
		r := newRig(t, cfg)
		r.post("/v1/messages", plainCall)
		for _, m := range []string{names.MetricCost, names.MetricRequestCost, names.MetricRoutingBaselineCost, names.MetricRoutingComparedCost} {
			if p := r.metric(m); len(p) > 0 {
				t.Errorf("%s: got %+v in %s", name, p, m)
			}
		}
		if p := only(t, r, names.MetricPriceLookups); p.sum != 1 {
			t.Errorf("%s: got %v look-ups, want 1", name, p.sum)
		}
		if line := r.lines.String(); strings.Contains(line, "cost") {
			t.Errorf("%s: got a cost in the log: %s", name, line)
		}
	}
}

func TestSamplingLearnsTheCost(t *testing.T) {
	var got telemetry.KeepFacts
	r := newRig(t, rigConfig{targets: []string{sonnet}, pricer: fixed{names.PriceStatusExact}, recorder: telemetry.RecorderConfig{
		Keep: func(_ trace.TraceID, f telemetry.KeepFacts) (string, bool) { got = f; return "", false }}})
	r.post("/v1/messages", plainCall)
	if got.Cost != 2 {
		t.Errorf("got %v, want 2", got.Cost)
	}
}

// A hook that settles sees what the attempt cost.
func TestHooksSettleWithTheCost(t *testing.T) {
	got := make(chan gateway.Cost, 1)
	h := hookFunc(func() gateway.Phases {
		return gateway.Phases{Settle: func(_ context.Context, a *gateway.Attempt) error { got <- a.Cost; return nil }}
	})
	r := newRig(t, rigConfig{targets: []string{sonnet}, pricer: fixed{names.PriceStatusExact}, hooks: []gateway.ConfiguredHook{{Hook: h}}})
	r.post("/v1/messages", streamCall)
	if c := <-got; c.Total != 2e9 {
		t.Errorf("got %+v, want 2 dollars", c)
	}
}

type hookFunc func() gateway.Phases

func (hookFunc) Name() string { return "settles" }

func (f hookFunc) Begin(context.Context, *gateway.Exchange) (gateway.Phases, error) { return f(), nil }
