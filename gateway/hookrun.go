package gateway

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// begin runs a hook's Begin and keeps the phases it wants.
func (g *Gateway) begin(ctx context.Context, x *Exchange, h *ConfiguredHook) *Error {
	x.beginning = activeHook{ConfiguredHook: h}
	err := runHook(g, ctx, x, h, names.HookPhasePreCall, beginHook, x)
	if p := &x.beginning.phases; p.Attempt != nil || p.Response != nil || p.Event != nil || p.Settle != nil || p.End != nil {
		x.hooks = append(x.hooks, x.beginning)
	}
	return err
}

func beginHook(ctx context.Context, x *Exchange) error {
	p, err := x.beginning.Begin(ctx, x)
	if err == nil {
		x.beginning.phases = p
	}
	return err
}

// runHook calls one phase of a hook by the hook's policy, and leaves a span or
// a span event of it. The error returned, if any, refuses the exchange. It is
// generic so that no call needs a closure.
func runHook[T any](g *Gateway, ctx context.Context, x *Exchange, h *ConfiguredHook, phase string, call func(context.Context, T) error, arg T) *Error {
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
	err := protect(hctx, call, arg)
	run := HookRun{h.Name(), phase, names.HookActionNone, time.Since(start)}
	var refusal *Error
	switch {
	case err != nil && refuses(err):
		// The hook means it: the policy is for hooks that break.
		run.Action, refusal = names.HookActionBlocked, AsError(err)
	case err != nil && h.Deny:
		run.Action = names.HookActionBlocked
		refusal = &Error{Type: names.ErrorHookError, Origin: names.ErrorOriginGateway, Status: 500,
			Message: fmt.Sprintf("the hook %s failed", h.Name()), Err: err}
	case err != nil:
		run.Action = names.HookActionFailedOpen
	case x.modified:
		run.Action = names.HookActionModified
	}
	x.HookRuns = append(x.HookRuns, run)
	if err != nil {
		g.recorder.HookFailed(ctx, x, run.Hook, phase, run.Action, err)
	}
	g.traceHook(ctx, x, h, span, run, start, err)
	return refusal
}

// refuses reports whether err is a hook's verdict and no breakdown.
func refuses(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason != ""
}

// protect turns a hook's panic into an error.
func protect[T any](ctx context.Context, call func(context.Context, T) error, arg T) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return call(ctx, arg)
}

type panicError struct {
	value any
	stack []byte
}

// Error implements error; the stack is for the log.
func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

// maxHookEvents leaves room for others among a span's events.
const maxHookEvents = 16

// traceHook leaves a span of a call that did something, and a span event of one
// that did not.
func (g *Gateway) traceHook(ctx context.Context, x *Exchange, h *ConfiguredHook, span trace.Span, run HookRun, start time.Time, err error) {
	parent := trace.SpanFromContext(ctx)
	if span == nil && !parent.IsRecording() {
		return
	}
	notable := err != nil || run.Action != names.HookActionNone || run.Duration >= time.Millisecond || x.Snapshot.Detail == DetailFull
	if x.Snapshot.Detail == DetailMinimal {
		notable = err != nil
	}
	if span == nil && !notable {
		if x.Snapshot.Detail == DetailStandard && len(x.HookRuns) <= maxHookEvents {
			parent.AddEvent(names.SpanEventHook, h.events[run.Phase]...)
		}
		return
	}
	if span == nil {
		_, span = g.tracer.Start(ctx, names.SpanHook, trace.WithTimestamp(start))
	}
	span.SetAttributes(names.KeyHookName.String(run.Hook), names.KeyHookPhase.String(run.Phase), names.KeyHookAction.String(run.Action))
	if err != nil && !refuses(err) {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(names.KeyErrorType.String(names.ErrorHookError))
	}
	span.End(trace.WithTimestamp(start.Add(run.Duration)))
}
