package telemetry

import (
	"context"
	"log/slog"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// events sends log events where someone listens: OpenTelemetry gets all, the log one line an exchange and at DEBUG the
// others too.
type events struct {
	otel log.Logger   // nil: nobody
	log  *slog.Logger // nil: nobody
}

func newEvents(cfg RecorderConfig) events {
	e := events{log: cfg.Log}
	if cfg.LoggerProvider != nil {
		e.otel = cfg.LoggerProvider.Logger(names.ScopeGateway)
	}
	return e
}

// listeners says who wants an event.
type listeners struct {
	otel bool
	log  bool
}

func (l listeners) none() bool { return !l.otel && !l.log }

// listening returns who wants the event name, which stands in the log at lineLevel. It allocates nothing: events are
// built only for those who want them.
func (e *events) listening(ctx context.Context, name string, level, lineLevel slog.Level) listeners {
	return listeners{
		otel: e.otel != nil && e.otel.Enabled(ctx, log.EnabledParameters{Severity: severity(level), EventName: name}),
		log:  e.log != nil && e.log.Enabled(ctx, lineLevel),
	}
}

// severity maps slog's levels to those of the log data model.
func severity(l slog.Level) log.Severity {
	switch {
	case l >= slog.LevelError:
		return log.SeverityError
	case l >= slog.LevelWarn:
		return log.SeverityWarn
	case l >= slog.LevelInfo:
		return log.SeverityInfo
	}
	return log.SeverityDebug
}

// logEvent is one event, built once for all listeners.
type logEvent struct {
	name   string
	level  slog.Level
	line   slog.Level // level it stands in the log at; below level unless it is the exchange's line
	body   string     // constant
	at     time.Time  // zero: now
	fields fields
	extra  fields // of the line only
}

// emit sends ev to those who want it. The span in ctx gives trace and span id: OpenTelemetry's record has fields for
// them, the line attributes. x is nil for an event that is about no exchange, or where it is not at hand.
func (e *events) emit(ctx context.Context, to listeners, x *gateway.Exchange, ev *logEvent) {
	if ev.at.IsZero() {
		ev.at = time.Now()
	}
	if to.otel {
		var rec log.Record
		rec.SetEventName(ev.name)
		rec.SetTimestamp(ev.at)
		rec.SetSeverity(severity(ev.level))
		rec.SetSeverityText(ev.level.String())
		rec.SetBody(attribute.StringValue(ev.body))
		if x != nil {
			rec.AddAttributes(attribute.String(names.FieldRequestID, x.ID), attribute.String(names.FieldLabel, clean(x.Route.Label, maxName)))
		}
		rec.AddAttributes(ev.fields...)
		e.otel.Emit(ctx, rec)
	}
	if to.log {
		attrs := make([]slog.Attr, 0, len(ev.fields)+len(ev.extra)+5)
		attrs = append(attrs, slog.String("event", ev.name))
		attrs = append(attrs, correlation(ctx, x)...)
		for _, list := range [2]fields{ev.fields, ev.extra} {
			for _, kv := range list {
				attrs = append(attrs, slogAttr(kv))
			}
		}
		e.log.LogAttrs(ctx, ev.line, ev.body, attrs...)
	}
}

// correlation are the fields common to every line; x may be nil.
func correlation(ctx context.Context, x *gateway.Exchange) []slog.Attr {
	attrs := make([]slog.Attr, 0, 4)
	if x != nil {
		attrs = append(attrs, slog.String(names.FieldRequestID, x.ID), slog.String(names.FieldLabel, clean(x.Route.Label, maxName)))
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		attrs = append(attrs, slog.String(names.FieldTraceID, sc.TraceID().String()), slog.String(names.FieldSpanID, sc.SpanID().String()))
	}
	return attrs
}

func slogAttr(kv attribute.KeyValue) slog.Attr {
	key := string(kv.Key)
	switch kv.Value.Type() {
	case attribute.STRING:
		return slog.String(key, kv.Value.AsString())
	case attribute.INT64:
		return slog.Int64(key, kv.Value.AsInt64())
	case attribute.FLOAT64:
		return slog.Float64(key, kv.Value.AsFloat64())
	case attribute.BOOL:
		return slog.Bool(key, kv.Value.AsBool())
	case attribute.MAP:
		members := kv.Value.AsMap()
		group := make([]slog.Attr, 0, len(members))
		for _, m := range members {
			group = append(group, slogAttr(m))
		}
		return slog.Attr{Key: key, Value: slog.GroupValue(group...)}
	}
	return slog.Any(key, kv.Value.AsInterface())
}

// maxName bounds a name a client gave, in bytes.
const maxName = 256

// fields are an event's, in the order of names.Events. What is unknown is left out.
type fields []attribute.KeyValue

func (f *fields) text(key, value string) {
	if value != "" {
		*f = append(*f, attribute.String(key, clean(value, maxName)))
	}
}

func (f *fields) flag(key string, value bool) { *f = append(*f, attribute.Bool(key, value)) }

func (f *fields) count(key string, n int) { *f = append(*f, attribute.Int(key, n)) }

// millis adds a duration in milliseconds with two decimals.
func (f *fields) millis(key string, d time.Duration) {
	*f = append(*f, attribute.Float64(key, math.Round(float64(max(0, d))/1e4)/100))
}

// usage adds the token counts as a group; nothing when none are known.
func (f *fields) usage(u *gateway.Usage) {
	if u.Source == "" || u.Source == names.UsageSourceNone {
		return
	}
	in, out := u.InputTokens(), u.OutputTokens()
	group := make([]attribute.KeyValue, 0, 6)
	group = append(group, attribute.Int64(names.FieldInputTokens, in), attribute.Int64(names.FieldOutputTokens, out),
		attribute.Int64(names.FieldTotalTokens, in+out))
	add := func(key string, n int64) {
		if n > 0 {
			group = append(group, attribute.Int64(key, n))
		}
	}
	add(names.FieldCacheReadInputTokens, u.CacheRead)
	add(names.FieldCacheWriteInputTokens, u.CacheWrite+u.CacheWrite1h)
	add(names.FieldReasoningOutputTokens, u.Reasoning)
	*f = append(*f, attribute.Map(names.FieldUsage, group...))
}
