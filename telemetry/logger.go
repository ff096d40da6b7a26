package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/log/embedded"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// loggerProvider is the log API straight over the queues: a record is encoded where it is emitted. The SDK's logger copies
// each record and its attributes twice on the way there (measured: 24 of the 36 µs an exchange's events took).
type loggerProvider struct {
	embedded.LoggerProvider
	encoder encoder
	scratch scratch
	scopes  *scopes
	queues  []*queue
}

// Logger implements log.LoggerProvider.
func (p *loggerProvider) Logger(name string, options ...log.LoggerOption) log.Logger {
	cfg := log.NewLoggerConfig(options...)
	return &logger{provider: p, scope: p.scopes.index(instrumentation.Scope{
		Name: name, Version: cfg.InstrumentationVersion(), SchemaURL: cfg.SchemaURL(), Attributes: cfg.InstrumentationAttributes(),
	})}
}

type logger struct {
	embedded.Logger
	provider *loggerProvider
	scope    int
}

// Enabled implements log.Logger.
func (*logger) Enabled(context.Context, log.EnabledParameters) bool { return true }

// Emit implements log.Logger.
func (l *logger) Emit(ctx context.Context, r log.Record) {
	defer ignorePanic()
	if r.ObservedTimestamp().IsZero() {
		r.SetObservedTimestamp(time.Now())
	}
	p := l.provider
	b := p.scratch.get()
	*b = p.encoder.logRecord((*b)[:0], &r, trace.SpanContextFromContext(ctx))
	withContent := r.EventName() == names.EventGenAIDetails
	for _, q := range p.queues {
		q.push(l.scope, *b, withContent)
	}
	p.scratch.put(b)
}
