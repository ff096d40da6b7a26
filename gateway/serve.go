package gateway

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// run opens an exchange, lets serve answer it, and closes it whatever happened.
func (g *Gateway) run(w http.ResponseWriter, r *http.Request, rt *route, serve func(context.Context, *reply)) {
	ctl := r.Context().Value(controlKey{}).(*control)
	x := newExchange(ctl, r, rt)
	// What is recorded must outlive the client; only the upstream request is cancelled with it.
	ctx := detach(r.Context())
	rp := &reply{w: w, x: x, ctl: ctl}
	g.recorder.Begin(ctx, x)
	defer g.finish(ctx, rp)
	defer x.watch(r.Context())()
	if ctl.refused != nil && !probes(r) {
		if rt.dialect.Family() == "" {
			rp.errors = g.family(r)
		}
		rp.fail(ctl.refused)
		return
	}
	serve(ctx, rp)
}

// serveExchange is the life of an exchange, top to bottom.
func (g *Gateway) serveExchange(ctx context.Context, rp *reply) {
	x := rp.x
	body, refusal := readBody(rp.w, x.Request, x.Snapshot.Limits)
	if refusal != nil {
		rp.fail(refusal)
		return
	}
	if err := x.read(body); err != nil {
		rp.fail(err)
		return
	}
	if err := x.admit(); err != nil {
		rp.fail(err)
		return
	}
	if err := g.preCall(ctx, x); err != nil {
		rp.fail(err)
		return
	}
	g.dispatch(ctx, rp)
}

func newExchange(ctl *control, r *http.Request, rt *route) *Exchange {
	x := &Exchange{
		ID: newID(), Start: ctl.start, Dialect: rt.dialect, Request: r, Pattern: rt.pattern, Caller: ctl.caller, Snapshot: ctl.snapshot,
		Span: trace.SpanFromContext(r.Context()), gone: new(atomic.Bool),
	}
	x.credential, x.access = ctl.credential, ctl.access
	return x
}

// Inspect reads a request as the gateway would, up to the point where hooks and rules see it: its body within the limits
// of s, the call, and who asks. Nothing is sent or recorded, and the exchange can only be looked at and routed. The error
// is an *Error.
func Inspect(r *http.Request, d Dialect, body []byte, s *Snapshot) (*Exchange, error) {
	c := *s
	c.Limits = c.Limits.withDefaults()
	if int64(len(body)) > c.Limits.Body {
		return nil, tooLarge(c.Limits.Body)
	}
	x := &Exchange{
		ID: newID(), Start: time.Now(), Dialect: d, Request: r, Snapshot: &c, credential: takeCredential(r),
		Caller: Caller{Loopback: isLoopback(r.RemoteAddr)}, Span: trace.SpanFromContext(r.Context()),
	}
	if err := x.read(body); err != nil {
		return nil, err
	}
	return x, nil
}

// read takes in a request's body: the call, and who asks.
func (x *Exchange) read(body []byte) *Error {
	x.Body = body
	call, err := x.decode(body)
	if err != nil {
		return AsError(err)
	}
	x.Call = call
	if x.credential.conflict {
		return twoCredentials()
	}
	x.readCaller()
	return nil
}

func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		// crypto/rand never fails on supported systems (Go 1.24); an id is not worth a request.
		return uuid.NewString()
	}
	return id.String()
}

// watch notices when the client leaves and cancels what runs upstream.
func (x *Exchange) watch(client context.Context) (stop func() bool) {
	x.cancel = &canceller{}
	return context.AfterFunc(client, func() {
		x.gone.Store(true)
		x.cancel.clientGone()
	})
}

// decode validates a body and reads the call from it.
func (x *Exchange) decode(body []byte) (Call, error) {
	if err := validate(body, x.Snapshot.Limits); err != nil {
		return Call{}, err
	}
	return x.Dialect.Decode(x.Request, body)
}

// finish closes an exchange, whatever happened: a panic becomes an error, End
// phases run, and the SERVER span gets its attributes before it ends.
func (g *Gateway) finish(ctx context.Context, rp *reply) {
	x := rp.x
	if p := recover(); p != nil {
		g.log.ErrorContext(ctx, "panic while serving", "request_id", x.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		e := &Error{Type: names.ErrorOther, Origin: names.ErrorOriginGateway, Status: 500, Message: "internal error", Err: fmt.Errorf("panic: %v", p)}
		if rp.committed {
			x.Err, rp.ctl.abort = e, true
		} else {
			rp.fail(e)
		}
	}
	for _, a := range x.Attempts {
		g.closeAttempt(ctx, a)
	}
	x.leave()
	x.Status = rp.status
	x.Outcome = x.outcome()
	for i := len(x.hooks) - 1; i >= 0; i-- {
		if h := x.hooks[i]; h.phases.End != nil {
			runHook(g, ctx, x, h.ConfiguredHook, names.HookPhaseEnd, h.phases.End, x)
		}
	}
	x.Finish = time.Now()
	x.Overhead = max(0, x.Finish.Sub(x.Start)-x.wait-x.stall)
	g.recorder.End(ctx, x)
	g.describe(x)
	x.release()
}

// outcome says how the exchange ended: names.Outcome….
func (x *Exchange) outcome() string {
	switch {
	case x.Err != nil && x.Err.Reason == names.RejectionModeration:
		return names.OutcomeBlocked
	case x.Err != nil && x.Err.Reason != "":
		return names.OutcomeRejected
	case x.ClientGone() && (x.Err == nil || x.Err.Type != names.ErrorTimeout):
		return names.OutcomeClientDisconnect
	case x.Err == nil:
		return names.OutcomeCompleted
	}
	switch x.Err.Type {
	case names.ErrorTimeout, names.ErrorIdleTimeout:
		return names.OutcomeTimeout
	case names.ErrorStreamTruncated:
		if x.Streamed {
			return names.OutcomeTruncated
		}
	}
	return names.OutcomeFailed
}

// describe puts the exchange's attributes on the SERVER span (TELEMETRY §3).
func (g *Gateway) describe(x *Exchange) {
	if !x.Span.IsRecording() {
		return
	}
	attrs := x.gather()
	add := func(k attribute.Key, v string) {
		if v != "" {
			attrs = append(attrs, k.String(v))
		}
	}
	attrs = append(attrs, names.KeyRequestID.String(x.ID), names.KeyDialect.String(x.Dialect.Name()), names.KeyOutcome.String(x.Outcome),
		names.KeyAttempts.Int(len(x.Attempts)), names.KeyFallbacks.Int(x.Fallbacks), names.KeyOverhead.Float64(x.Overhead.Seconds()))
	add(names.KeyModelOriginal, clip(x.Call.Model))
	add(names.KeyLabel, x.Route.Label)
	add(names.KeyModelRouted, clip(x.routedModel()))
	add(names.KeyProvider, x.routedProvider())
	add(names.KeyRouteRule, x.Route.Rule)
	add(names.KeyRouteReason, x.Route.Reason)
	if x.Route.Reason != "" {
		attrs = append(attrs, names.KeyRoutePassthrough.Bool(x.Route.Passthrough))
	}
	add(names.KeyFallbackReason, x.FallbackWhy)
	if cost, ok := x.Cost(); ok && !x.Snapshot.HideCost {
		attrs = append(attrs, names.KeyCost.Float64(cost.Dollars()))
	}
	add(names.KeyKeyID, x.Caller.KeyID)
	add(names.KeyTeam, x.Caller.Team)
	add(names.KeySessionID, x.Caller.Session)
	add(names.KeyUserID, g.UserID(x))
	add(names.KeyBudgetDecision, x.budgetDecision())
	add(names.KeyKept, x.Kept)
	if e := x.Err; e != nil {
		add(names.KeyRejectionReason, e.Reason)
		add(names.KeyErrorOrigin, e.Origin)
		if x.serverError() {
			x.Span.SetStatus(codes.Error, "")
			add(names.KeyErrorType, e.Type)
		}
	}
	x.Span.SetAttributes(attrs...)
}

// scratches lend exchanges room to gather attributes in: spans copy them.
var scratches = sync.Pool{New: func() any {
	s := make([]attribute.KeyValue, 0, 48)
	return &s
}}

// gather returns an empty slice with room for a span's attributes, which the
// next call returns again: they must have been handed to the span by then.
func (x *Exchange) gather() []attribute.KeyValue {
	if x.scratch == nil {
		x.scratch = scratches.Get().(*[]attribute.KeyValue)
	}
	return (*x.scratch)[:0]
}

// release gives back what the exchange borrowed, once nothing records any more.
func (x *Exchange) release() {
	if x.scratch != nil {
		clear((*x.scratch)[:cap(*x.scratch)]) // attributes hold strings of the request
		scratches.Put(x.scratch)
		x.scratch = nil
	}
}

// serverError reports whether the SERVER span is an error: 5xx, or a stream
// ended by an error. A client that left is none.
func (x *Exchange) serverError() bool {
	if x.Err == nil || x.Outcome == names.OutcomeClientDisconnect {
		return false
	}
	return x.Status >= 500 || x.Streamed
}

// routedModel is the model that answered, or was to.
func (x *Exchange) routedModel() string {
	if a := x.Final(); a != nil {
		return a.Model()
	}
	return x.Route.Model
}

func (x *Exchange) routedProvider() string {
	if a := x.Final(); a != nil {
		return a.Target.Provider.Name
	}
	return x.Route.Provider
}

// clip bounds what a client's word may take on a span.
func clip(s string) string {
	if len(s) > 256 {
		return s[:256]
	}
	return s
}
