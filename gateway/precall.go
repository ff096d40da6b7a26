package gateway

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// phase opens the span of a phase, unless the detail is minimal. Then the span
// is a no-op and a failure opens one after the fact.
func (g *Gateway) phase(ctx context.Context, x *Exchange, name, phase string) (context.Context, *phaseSpan) {
	p := &phaseSpan{g: g, ctx: ctx, name: name, phase: phase}
	if x.Snapshot.Detail == DetailMinimal {
		p.start = time.Now()
		p.Span = trace.SpanFromContext(context.Background())
		return ctx, p
	}
	ctx, p.Span = g.tracer.Start(ctx, name, trace.WithAttributes(names.KeyPhase.String(phase)))
	return ctx, p
}

type phaseSpan struct {
	trace.Span
	g           *Gateway
	ctx         context.Context // the parent's, for a span opened late
	name, phase string
	start       time.Time // set when the span was left out
}

// fail marks the phase as failed.
func (p *phaseSpan) fail(errType string, attrs ...attribute.KeyValue) {
	if !p.start.IsZero() {
		_, p.Span = p.g.tracer.Start(p.ctx, p.name, trace.WithTimestamp(p.start), trace.WithAttributes(names.KeyPhase.String(p.phase)))
		p.start = time.Time{}
	}
	p.SetStatus(codes.Error, "")
	p.SetAttributes(append(attrs, names.KeyErrorType.String(errType))...)
}

// preCall runs the hooks, labels the exchange and decides its route.
func (g *Gateway) preCall(ctx context.Context, x *Exchange) *Error {
	pctx, p := g.phase(ctx, x, names.SpanPreCall, names.PhasePreCall)
	defer p.End()
	err := g.decide(pctx, x)
	if p.IsRecording() {
		p.SetAttributes(preCallAttributes(x)...)
	}
	// A refusal is a result of the phase, not a failure of it.
	if err != nil && err.Origin == names.ErrorOriginGateway && err.Type != names.ErrorNoRoute {
		p.fail(err.Type)
	}
	if err == nil {
		g.recorder.Routed(pctx, x)
	}
	return err
}

func (g *Gateway) decide(ctx context.Context, x *Exchange) *Error {
	for i := range x.Snapshot.Hooks {
		h := &x.Snapshot.Hooks[i]
		if err := g.begin(ctx, x, h); err != nil {
			return err
		}
	}
	if !x.labelled {
		if err := x.Label(ctx); err != nil {
			return AsError(err)
		}
	}
	if !x.routed {
		if err := x.Decide(ctx); err != nil {
			return AsError(err)
		}
	}
	if len(x.Route.Targets) == 0 {
		return &Error{Type: names.ErrorNoRoute, Origin: names.ErrorOriginGateway, Reason: names.RejectionNoRoute, Status: 400,
			Message: fmt.Sprintf("no provider is configured for model %q", clip(x.Call.Model))}
	}
	for _, s := range x.Route.Skipped {
		g.recorder.Skipped(ctx, x, s.Target, s.Reason)
	}
	x.Route.Provider = x.Route.Targets[0].Provider.Name
	if x.Route.Model = x.Route.Targets[0].Model; x.Route.Model == "" {
		x.Route.Model = x.Call.Model
	}
	return nil
}

// Label names the exchange by the rules, once. The hook rule_evaluator calls
// it at its place in the list; without that hook the engine does, after all
// hooks.
func (x *Exchange) Label(ctx context.Context) error {
	if x.labelled {
		return nil
	}
	x.labelled = true
	return x.Snapshot.Router.Label(ctx, x)
}

// Decide chooses the targets, once. The hook model_router calls it at its
// place in the list.
func (x *Exchange) Decide(ctx context.Context) error {
	if x.routed {
		return nil
	}
	if err := x.Label(ctx); err != nil {
		return err
	}
	x.routed = true
	return x.Snapshot.Router.Route(ctx, x)
}

func preCallAttributes(x *Exchange) []attribute.KeyValue {
	c := &x.Call
	attrs := make([]attribute.KeyValue, 0, 16)
	add := func(k attribute.Key, v string) {
		if v != "" {
			attrs = append(attrs, k.String(v))
		}
	}
	add(names.KeyLabel, x.Route.Label)
	add(names.KeyRouteRule, x.Route.Rule)
	add(names.KeyRouteReason, x.Route.Reason)
	add(names.KeyModelOriginal, clip(c.Model))
	add(names.KeyModelRouted, clip(x.Route.Model))
	if x.Snapshot.Detail == DetailFull && len(x.Route.Candidates) > 0 {
		attrs = append(attrs, names.KeyRouteCandidates.StringSlice(x.Route.Candidates))
	}
	attrs = append(attrs, names.KeyRequestMessageCount.Int(c.Messages), names.KeyRequestHasTools.Bool(c.ToolCount > 0),
		names.KeyRequestToolCount.Int(c.ToolCount), names.KeyRequestHasThinking.Bool(c.Thinking), names.KeyRequestStream.Bool(c.Stream))
	if x.InputTokens > 0 {
		attrs = append(attrs, names.KeyRequestInputTokensEstimated.Int64(x.InputTokens))
	}
	if c.StopSequences > 0 {
		attrs = append(attrs, names.KeyRequestStopSequences.Int(c.StopSequences))
	}
	return attrs
}

// begin runs a hook's Begin and keeps the phases it wants.
func (g *Gateway) begin(ctx context.Context, x *Exchange, h *ConfiguredHook) *Error {
	var ph Phases
	began := false
	err := g.runHook(ctx, x, h, names.HookPhasePreCall, func(ctx context.Context) error {
		p, err := h.Begin(ctx, x)
		ph, began = p, err == nil
		return err
	})
	if began {
		x.hooks = append(x.hooks, activeHook{h, ph})
	}
	return err
}

// runHook calls one phase of a hook by the hook's policy, and leaves a span or
// a span event of it. The error returned, if any, refuses the exchange.
func (g *Gateway) runHook(ctx context.Context, x *Exchange, h *ConfiguredHook, phase string, call func(context.Context) error) *Error {
	start := time.Now()
	hctx, span := ctx, trace.Span(nil)
	if h.CallsOut && x.Snapshot.Detail != DetailMinimal {
		hctx, span = g.tracer.Start(ctx, names.SpanHook, trace.WithTimestamp(start))
	}
	if h.Timeout > 0 {
		c, cancel := context.WithTimeout(hctx, h.Timeout)
		defer cancel()
		hctx = c
	}
	x.modified = false
	err := protect(hctx, call)
	took := time.Since(start)
	action, refusal := names.HookActionNone, (*Error)(nil)
	switch {
	case err != nil && refuses(err):
		// The hook means it: the policy is for hooks that break.
		action, refusal = names.HookActionBlocked, AsError(err)
	case err != nil && h.Deny:
		action = names.HookActionBlocked
		refusal = &Error{Type: names.ErrorHookError, Origin: names.ErrorOriginGateway, Status: 500,
			Message: fmt.Sprintf("the hook %s failed", h.Name()), Err: err}
	case err != nil:
		action = names.HookActionFailedOpen
	case x.modified:
		action = names.HookActionModified
	}
	x.HookRuns = append(x.HookRuns, HookRun{h.Name(), phase, action, took})
	if err != nil {
		g.recorder.HookFailed(ctx, x, h.Name(), phase, action, err)
	}
	g.traceHook(ctx, x, span, h.Name(), phase, action, start, took, err)
	return refusal
}

// refuses reports whether err is a hook's verdict and no breakdown.
func refuses(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason != ""
}

// protect turns a hook's panic into an error.
func protect(ctx context.Context, call func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return call(ctx)
}

type panicError struct {
	value any
	stack []byte
}

// Error implements error; the stack is for the log.
func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

func (g *Gateway) traceHook(ctx context.Context, x *Exchange, span trace.Span, name, phase, action string, start time.Time, took time.Duration, err error) {
	parent := trace.SpanFromContext(ctx)
	if span == nil && !parent.IsRecording() {
		return
	}
	attrs := []attribute.KeyValue{names.KeyHookName.String(name), names.KeyHookPhase.String(phase), names.KeyHookAction.String(action)}
	notable := err != nil || action != names.HookActionNone || took >= time.Millisecond || x.Snapshot.Detail == DetailFull
	if x.Snapshot.Detail == DetailMinimal {
		notable = err != nil
	}
	if span == nil && !notable {
		if x.Snapshot.Detail == DetailStandard && len(x.HookRuns) <= 16 {
			parent.AddEvent(names.SpanEventHook, trace.WithTimestamp(start), trace.WithAttributes(attrs...))
		}
		return
	}
	if span == nil {
		_, span = g.tracer.Start(ctx, names.SpanHook, trace.WithTimestamp(start))
	}
	span.SetAttributes(attrs...)
	if err != nil && !refuses(err) {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(names.KeyErrorType.String(names.ErrorHookError))
	}
	span.End(trace.WithTimestamp(start.Add(took)))
}
