package telemetry

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"go.opentelemetry.io/otel/metric"

	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// RegisterTargets makes the gauge of targets' circuits. states yields those of the configuration in force, each once, in any
// order; it is called once in each collection. A target that is not yielded any more has no point in the same collection.
// There are no more series than an instrument may have. Unregister, on what is returned, ends the calls.
func RegisterTargets(mp metric.MeterProvider, states iter.Seq2[string, route.State]) (metric.Registration, error) {
	m := maker{provider: mp}
	e, meter := m.find(names.MetricTargetState)
	gauge, err := meter.Int64ObservableGauge(e.Name, metric.WithUnit(e.Unit), metric.WithDescription(e.Description))
	if err = errors.Join(append(m.errs, err)...); err != nil {
		return nil, fmt.Errorf("make the gauge of targets: %w", err)
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		left := maxSeries
		for name, state := range states {
			if left--; left < 0 {
				break
			}
			o.ObserveInt64(gauge, int64(state), metric.WithAttributes(names.KeyTarget.String(valid(name))))
		}
		return nil
	}, gauge)
	if err != nil {
		return nil, fmt.Errorf("register the gauge of targets: %w", err)
	}
	return registration, nil
}
