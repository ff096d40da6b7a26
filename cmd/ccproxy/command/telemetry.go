package command

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/telemetry"
)

// telemetryConfig is what cfg and the environment say of telemetry; the environment wins.
func telemetryConfig(cfg *config.Config, lookup config.Lookup) (telemetry.Config, error) {
	c := cfg.Telemetry
	out := telemetry.Config{
		ServiceVersion: buildVersion().Version, Detail: c.Detail, Compat: c.Compat, QueueBytes: int(c.QueueBytes),
	}
	for _, name := range slices.Sorted(maps.Keys(c.Resource)) {
		out.Resource = append(out.Resource, attribute.String(name, c.Resource[name]))
	}
	if k := c.Sampling.Keep; c.Sampling.Ratio < 1 {
		out.Sampling = &telemetry.Sampling{Ratio: c.Sampling.Ratio, Keep: telemetry.KeepRules{
			Error: k.Error, Fallback: k.Fallback, ModerationBlock: k.Moderation, BudgetDenied: k.Budget,
			CostOver: float64(k.Cost) / 1e9, DurationOver: k.Duration,
		}}
	}
	for _, e := range c.Exporters {
		out.Exporters = append(out.Exporters, exporter(e))
	}
	out, err := telemetry.FromEnv(out, lookup)
	if err != nil {
		return out, fmt.Errorf("environment: %w", err)
	}
	if !cfg.CCProxy.MetricsEnabled {
		out.Exporters = withoutMetrics(out.Exporters)
	}
	return out, nil
}

func exporter(e config.Exporter) telemetry.Exporter {
	out := telemetry.Exporter{
		Name: e.Name, Endpoint: e.Endpoint, Protocol: e.Protocol, Compression: e.Compression, Timeout: e.Timeout, Headers: map[string]string{},
	}
	for name, value := range e.Headers {
		out.Headers[name] = value.Reveal()
	}
	for _, s := range e.Signals {
		out.Signals = append(out.Signals, telemetry.Signal(s))
	}
	return out
}

func withoutMetrics(list []telemetry.Exporter) []telemetry.Exporter {
	var kept []telemetry.Exporter
	for _, e := range list {
		if len(e.Signals) == 0 {
			e.Signals = []telemetry.Signal{telemetry.Traces, telemetry.Logs}
		}
		e.Signals = slices.DeleteFunc(slices.Clone(e.Signals), func(s telemetry.Signal) bool { return s == telemetry.Metrics })
		if len(e.Signals) > 0 {
			kept = append(kept, e)
		}
	}
	return kept
}

// withPlumbing adds what is not configuration.
func withPlumbing(c telemetry.Config, processors []sdktrace.SpanProcessor, log *slog.Logger, console io.Writer) telemetry.Config {
	c.SpanProcessors, c.Logger, c.Console = processors, log, console
	return c
}
