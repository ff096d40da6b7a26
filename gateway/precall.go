package gateway

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// phase opens the span of a phase, unless the detail is minimal. Then the span
// is a no-op and a failure opens one after the fact.
func (g *Gateway) phase(ctx context.Context, x *Exchange, name, phase string) (context.Context, phaseSpan) {
	p := phaseSpan{g: g, ctx: ctx, name: name, phase: phase}
	if x.Snapshot.Detail == DetailMinimal {
		p.start = time.Now()
		p.Span = trace.SpanFromContext(context.Background())
		return ctx, p
	}
	ctx, p.Span = g.tracer.Start(ctx, name, phaseOptions[phase])
	return ctx, p
}

// phaseOptions are the start options of phase spans, made once. Read-only.
var phaseOptions = map[string]trace.SpanStartEventOption{
	names.PhasePreCall: phaseOption(names.PhasePreCall), names.PhasePreAPI: phaseOption(names.PhasePreAPI),
	names.PhasePostAPI: phaseOption(names.PhasePostAPI), names.PhaseStream: phaseOption(names.PhaseStream),
}

func phaseOption(phase string) trace.SpanStartEventOption {
	return trace.WithAttributes(names.KeyPhase.String(phase))
}

type phaseSpan struct {
	trace.Span
	g           *Gateway
	ctx         context.Context // the parent's, for a span opened late
	name, phase string
	start       time.Time // set when the span was left out
}

// End ends the span: with detail minimal, the one that fail opened.
func (p *phaseSpan) End(options ...trace.SpanEndOption) { p.Span.End(options...) }

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
	x.HookRuns = make([]HookRun, 0, len(x.Snapshot.Hooks)+4)
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
	if err := x.reroute(ctx); err != nil {
		return AsError(err)
	}
	if err := x.narrow(); err != nil {
		return err
	}
	if len(x.Route.Targets) == 0 {
		return &Error{Type: names.ErrorNoRoute, Origin: names.ErrorOriginGateway, Reason: names.RejectionNoRoute, Status: 400,
			Message: fmt.Sprintf("no provider is configured for model %q", clip(x.Call.Model))}
	}
	x.sideline()
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
	attrs := x.gather()
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
