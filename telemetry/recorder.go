package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// RecorderConfig is what a Recorder is made of. The zero value records nothing.
type RecorderConfig struct {
	// MeterProvider makes the instruments; nil: no metrics.
	MeterProvider metric.MeterProvider
	// LoggerProvider takes the log events; nil: none.
	LoggerProvider log.LoggerProvider
	// Log takes one line an exchange, and at level DEBUG every log event; nil: none. It must not be bridged to
	// LoggerProvider, or each event would arrive twice.
	Log *slog.Logger
	// Keep decides which traces sampling keeps, as [Telemetry.Keep] does; nil: all.
	Keep func(trace.TraceID, KeepFacts) (reason string, kept bool)
	// KnownModel returns a model's name as metrics may carry it: one of a closed set, _OTHER for what is not in it. It is
	// called concurrently. nil: only models of configured targets are known.
	KnownModel func(string) string
	// Compat lists further vocabularies to speak, names.Compat…; nil: none.
	Compat []string
	// UserID returns the end user's id as telemetry may show it, "" for none. Only further vocabularies ask; nil: none.
	UserID func(*gateway.Exchange) string
	// BudgetUser returns an end user's id, the subject of a budget of scope user, as telemetry may show it in alerts, ""
	// for none. nil: none.
	BudgetUser func(id string) string
	// Dimensions lists what costs are told apart by besides provider, model and label: names.Dimension…; nil: nothing.
	Dimensions []string
	// PreAPICall, PostAPICall and RoutingAnalysis switch on the log events ccproxy_pre_api_call and
	// ccproxy_post_api_call, and the latter's fields on routing.
	PreAPICall, PostAPICall, RoutingAnalysis bool
	// Debug prints a panel for each routing decision on Terminal.
	Debug bool
	// Terminal is where panels go; nil when there is no terminal. A file that is none gets no panel either.
	Terminal io.Writer
}

// Recorder turns exchanges into metrics and log events. It implements [gateway.Recorder] and serves all exchanges,
// concurrently.
type Recorder struct {
	gateway.NopRecorder // for Skipped, which End reads off the exchange
	cfg                 RecorderConfig
	compat              compat
	in                  *instruments
	closed              *closed
	events              events
	panel               *panel // nil: none
	byTeam, byKey       bool   // costs are told apart by them

	asides  sync.Map     // :: *gateway.Exchange → *aside, for the few that need one
	waiting atomic.Int64 // members of asides
}

var _ gateway.Recorder = (*Recorder)(nil)

// aside is what must be remembered of an exchange until its end.
type aside struct {
	falls []fall // oldest first
}

// fall is a fallback taken.
type fall struct {
	at       time.Time
	from, to string
	reason   string
	attempt  int // that failed
	delay    time.Duration
}

// NewRecorder makes a Recorder. It fails when an instrument cannot be made.
func NewRecorder(cfg RecorderConfig) (*Recorder, error) {
	mp := cfg.MeterProvider
	if mp == nil {
		mp = metricnoop.NewMeterProvider()
	}
	further := newCompat(cfg.Compat)
	in, err := newInstruments(mp, further.older)
	if err != nil {
		return nil, fmt.Errorf("make the instruments of exchanges: %w", err)
	}
	r := &Recorder{cfg: cfg, compat: further, in: in, closed: newClosed(), events: newEvents(cfg),
		byTeam: slices.Contains(cfg.Dimensions, names.DimensionTeam), byKey: slices.Contains(cfg.Dimensions, names.DimensionKeyAlias)}
	if cfg.Debug {
		r.panel = newPanel(cfg.Terminal)
	}
	return r, nil
}

// Begin implements [gateway.Recorder].
func (r *Recorder) Begin(_ context.Context, x *gateway.Exchange) {
	dialect := x.Dialect.Name()
	// The gauges carry no exemplars: nobody knows yet whether the trace is kept.
	r.in.requestsActive.Add(context.Background(), 1, r.in.dialect.of(labels{dialect}).add...)
}

// Routed implements [gateway.Recorder].
func (r *Recorder) Routed(ctx context.Context, x *gateway.Exchange) {
	r.logRouting(ctx, x)
	if r.panel != nil {
		r.panel.print(x)
	}
}

// Forwarded implements [gateway.Recorder].
func (r *Recorder) Forwarded(ctx context.Context, a *gateway.Attempt) { r.logForwarding(ctx, a) }

// AttemptStarted implements [gateway.Recorder].
func (r *Recorder) AttemptStarted(ctx context.Context, a *gateway.Attempt) { r.logPreAPI(ctx, a) }

// StreamStarted implements [gateway.Recorder].
func (r *Recorder) StreamStarted(_ context.Context, a *gateway.Attempt) { r.streams(a, 1) }

// StreamEnded implements [gateway.Recorder].
func (r *Recorder) StreamEnded(_ context.Context, a *gateway.Attempt) { r.streams(a, -1) }

func (r *Recorder) streams(a *gateway.Attempt, n int64) {
	r.in.streamsActive.Add(context.Background(), n, r.in.dialect.of(labels{a.Exchange.Dialect.Name()}).add...)
}

// Settled implements [gateway.Recorder].
func (r *Recorder) Settled(ctx context.Context, a *gateway.Attempt) { r.logPostAPI(ctx, a) }

// AttemptEnded implements [gateway.Recorder].
func (r *Recorder) AttemptEnded(ctx context.Context, a *gateway.Attempt) {
	if r.compat.any {
		r.describeFurther(a)
	}
	if a.Err != nil {
		r.logAttemptFailure(ctx, a)
	}
}

// FellBack implements [gateway.Recorder]. The fallback is recorded at the end, when its outcome is known.
func (r *Recorder) FellBack(_ context.Context, x *gateway.Exchange, from, to gateway.Target, reason string, delay time.Duration) {
	s := r.aside(x)
	s.falls = append(s.falls, fall{time.Now(), from.Name, to.Name, reason, len(x.Attempts), delay})
}

// HookFailed implements [gateway.Recorder].
func (r *Recorder) HookFailed(ctx context.Context, x *gateway.Exchange, hook, phase, action string, err error) {
	r.logHookFailure(ctx, x, hook, phase, action, err)
}

// End implements [gateway.Recorder]. It decides whether the trace is kept, then records the exchange's metrics and its
// last log events.
func (r *Recorder) End(ctx context.Context, x *gateway.Exchange) {
	var noted aside
	if r.waiting.Load() > 0 {
		if v, ok := r.asides.LoadAndDelete(x); ok {
			r.waiting.Add(-1)
			noted = *v.(*aside)
		}
	}
	kept := r.keep(x)
	r.recordExchange(ctx, x, &noted, kept)
	r.logEnd(ctx, x, noted.falls)
}

func (r *Recorder) aside(x *gateway.Exchange) *aside {
	v, loaded := r.asides.LoadOrStore(x, &aside{})
	if !loaded {
		r.waiting.Add(1)
	}
	return v.(*aside)
}

// keep takes the sampling decision and leaves its reason on the exchange.
func (r *Recorder) keep(x *gateway.Exchange) bool {
	if r.cfg.Keep == nil {
		return true
	}
	facts := KeepFacts{
		Error:    serverError(x),
		Fallback: x.Fallbacks > 0,
		Duration: x.Finish.Sub(x.Start),

		BudgetDenied: budgetDenied(x),
	}
	if cost, ok := x.Cost(); ok {
		facts.Cost = cost.Dollars()
	}
	if x.Err != nil {
		facts.ModerationBlock = x.Err.Reason == names.RejectionModeration
	}
	reason, kept := r.cfg.Keep(x.Span.SpanContext().TraceID(), facts)
	if kept {
		x.Kept = reason
	}
	return kept
}

// serverError reports whether the SERVER span is an error (TELEMETRY §1).
func serverError(x *gateway.Exchange) bool {
	if x.Err == nil || x.Outcome == names.OutcomeClientDisconnect {
		return false
	}
	return x.Status >= 500 || x.Streamed
}
