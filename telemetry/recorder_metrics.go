package telemetry

import (
	"context"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// recordExchange records every metric of an exchange that has ended. ctx holds the SERVER span; when the trace is not
// kept, the span context recorded with says that it is not sampled, so that no exemplar leads to a trace that is gone.
func (r *Recorder) recordExchange(ctx context.Context, x *gateway.Exchange, noted *aside, kept bool) {
	in := r.in
	if !kept {
		ctx = unsampled(ctx, x.Span)
	}
	dialect := x.Dialect.Name()
	in.requestsActive.Add(context.Background(), -1, in.dialect.of(labels{dialect}).add...)

	routed := r.routedModel(x)
	o := in.request.of(labels{dialect, x.Route.Label, routed, x.Outcome})
	took := x.Finish.Sub(x.Start).Seconds()
	in.requestDuration.Record(ctx, took, o.record...)
	in.overhead.Record(ctx, x.Overhead.Seconds(), o.record...)
	if !x.FirstByte.IsZero() {
		in.requestFirstByte.Record(ctx, x.FirstByte.Sub(x.Start).Seconds(), o.record...)
	}
	r.recordServer(ctx, x, took)
	r.recordRouting(ctx, x, routed)
	if x.Rerouted != "" {
		r.recordDecision(ctx, x.Rerouted, names.BudgetDecisionReroute)
	}
	for _, h := range x.HookRuns {
		in.hookDuration.Record(ctx, h.Duration.Seconds(), in.hook.of(labels{h.Hook, h.Phase, h.Action}).record...)
	}
	for _, f := range noted.falls {
		in.fallbacks.Add(ctx, 1, in.fallback.of(labels{f.from, f.to, f.reason}).add...)
	}
	last := ctx
	for _, a := range x.Attempts {
		actx := ctx
		if a.Generates() {
			if actx = trace.ContextWithSpan(ctx, a.Span); !kept {
				actx = unsampled(ctx, a.Span)
			}
		}
		r.recordAttempt(actx, a)
		last = actx
		if !a.Stream.Started.IsZero() && a.Stream.End == "" {
			r.streams(a, -1) // a panic in the middle of a stream keeps the engine from saying that it ended
		}
	}
	r.recordSpending(last, x, routed)
}

// unsampled returns a context whose span context is span's without the sampled flag.
func unsampled(ctx context.Context, span trace.Span) context.Context {
	sc := span.SpanContext()
	return trace.ContextWithSpanContext(ctx, sc.WithTraceFlags(sc.TraceFlags()&^trace.FlagsSampled))
}

func (r *Recorder) recordServer(ctx context.Context, x *gateway.Exchange, took float64) {
	scheme, errType := "http", ""
	if x.Request.TLS != nil {
		scheme = "https"
	}
	if serverError(x) {
		errType = r.closed.errorType(x.Err.Type)
	}
	// No server.address: its value would come from the Host header, of which a client can make as many as it likes.
	r.in.serverDuration.Record(ctx, took, r.in.server.of(labels{r.closed.method(x.Request.Method), scheme, errType,
		r.closed.status(x.Status), x.Pattern, r.closed.version(x.Request.ProtoMajor, x.Request.ProtoMinor)}).record...)
}

// decided reports whether a route was chosen, not only looked for.
func decided(x *gateway.Exchange) bool { return len(x.Route.Targets) > 0 && x.Route.Provider != "" }

func (r *Recorder) recordRouting(ctx context.Context, x *gateway.Exchange, routed string) {
	if decided(x) {
		first := routed
		if x.Fallbacks > 0 {
			first = r.targetModel(x.Route.Targets[0], x.Call.Model)
		}
		r.in.decisions.Add(ctx, 1, r.in.decision.of(labels{x.Route.Label, x.Route.Rule, r.known(x.Call.Model), first,
			truth(x.Route.Passthrough)}).add...)
	}
	for _, s := range x.Route.Skipped {
		r.in.attempts.Add(ctx, 1, r.in.attempt.of(labels{genAIProvider(s.Target), r.targetModel(s.Target, x.Call.Model), s.Target.Name,
			names.AttemptKindPrimary, names.AttemptResultSkipped}).add...)
	}
	if a := x.Final(); a != nil && a.Routing.Analysed {
		r.in.outcomes.Add(ctx, 1, r.in.outcome.of(labels{x.Route.Label, truth(a.Routing.Effective), a.Routing.Reason}).add...)
	}
}

func genAIProvider(t gateway.Target) string {
	if t.Provider == nil {
		return ""
	}
	return t.Provider.GenAI
}

// recordAttempt records an attempt's metrics; ctx holds its span.
func (r *Recorder) recordAttempt(ctx context.Context, a *gateway.Attempt) {
	c, p := r.closed, a.Target.Provider
	model := r.requestModel(a)
	errType := ""
	if attemptFailed(a) {
		errType = c.errorType(a.Err.Type)
	}
	r.in.attempts.Add(ctx, 1, r.in.attempt.of(labels{p.GenAI, model, a.Target.Name, a.Kind, a.ResultKind, errType}).add...)

	host, port := address(p.BaseURL)
	// The conventions want the duration of the span (HTTP metrics, http.client.request.duration), which ends with the body.
	for i := range a.Sends {
		s := &a.Sends[i]
		r.in.clientDuration.Record(ctx, s.End.Sub(s.Start).Seconds(), r.in.out.of(labels{c.method(a.Request.Method), host, port,
			c.errorType(s.ErrorType), c.status(s.Status), s.Protocol, p.BaseURL.Scheme}).record...)
	}
	r.recordBudgets(ctx, a)
	r.recordCost(ctx, a, model)
	if a.Issued.IsZero() || a.Exchange.Call.Operation == "" {
		return // no GenAI span, no GenAI metrics
	}
	r.recordGenAI(ctx, a, labels{a.Exchange.Call.Operation, p.GenAI, model, r.responseModel(a), host, port}, errType)
}

// attemptFailed reports whether the attempt's span is an error: not when the client left.
func attemptFailed(a *gateway.Attempt) bool {
	return a.Err != nil && !(a.Exchange.ClientGone() && a.Err.Origin != names.ErrorOriginProvider)
}

func (r *Recorder) recordGenAI(ctx context.Context, a *gateway.Attempt, l labels, errType string) {
	in := r.in
	embeddings := a.Exchange.Call.Operation == names.OperationEmbeddings
	failed := l
	failed[6] = errType
	duration := in.inferenceDuration
	if embeddings {
		duration = in.embeddingsDuration
	}
	duration.Record(ctx, spanDuration(a).Seconds(), in.genAIError.of(failed).record...)
	if r.compat.older {
		r.recordOlder(ctx, a, l, errType)
	}

	u := &a.Result.Usage
	reported := u.Source == names.UsageSourceProvider || u.Source == names.UsageSourcePartial
	if a.Stream.Events == 0 && !reported {
		return
	}
	o := in.genAI.of(l)
	if !embeddings {
		if d := a.FirstChunk(); d > 0 {
			in.firstChunk.Record(ctx, d.Seconds(), o.record...)
		}
		r.recordGaps(ctx, &a.Stream, o.record)
	}
	if !reported {
		return // what the gateway estimates is on the span, flagged, and in no metric
	}
	if embeddings {
		in.embeddingsInput.Record(ctx, u.InputTokens(), o.record...)
		return
	}
	in.inferenceInput.Record(ctx, u.InputTokens(), o.record...)
	in.inferenceOutput.Record(ctx, u.OutputTokens(), o.record...)
	r.recordUsage(ctx, a, l)
}

// recordGaps records the time between events. Only the longest gap may leave an exemplar: it is the one to look for, and
// offering each costs more than all else of a stream.
func (r *Recorder) recordGaps(ctx context.Context, s *gateway.Stream, opts []metric.RecordOption) {
	longest := s.MaxGap.Seconds()
	for _, gap := range s.Gaps {
		if gap == longest {
			r.in.outputChunk.Record(ctx, gap, opts...)
			continue
		}
		r.in.outputChunk.Record(context.Background(), gap, opts...)
	}
}

// recordUsage counts tokens by modality. What a provider does not split is text, unless the request or the answer holds
// something else too.
func (r *Recorder) recordUsage(ctx context.Context, a *gateway.Attempt, l labels) {
	u, c, in := &a.Result.Usage, &a.Exchange.Call, r.in
	input, output := names.ModalityText, names.ModalityText
	if c.Images > 0 && u.ImageIn == 0 {
		input = names.ModalityUnknown
	}
	switch {
	case c.OutputType == names.OutputTypeImage && u.ImageOut == 0, c.OutputType == names.OutputTypeSpeech && u.AudioOut == 0:
		output = names.ModalityUnknown
	}
	of := func(modality string) []metric.AddOption {
		l[6] = modality
		return in.genAIModality.of(l).add
	}
	add := func(counter metric.Int64Counter, n int64, opts []metric.AddOption) {
		if n > 0 {
			counter.Add(ctx, n, opts...)
		}
	}
	opts := of(input)
	write := u.CacheWrite + u.CacheWrite1h
	add(in.usageInput, u.Input+u.CacheRead+write, opts)
	add(in.usageCacheRead, u.CacheRead, opts)
	add(in.usageCacheWrite, write, opts)
	if output != input {
		opts = of(output)
	}
	add(in.usageOutput, u.Output+u.Reasoning, opts)
	add(in.usageReasoning, u.Reasoning, opts)
	if u.AudioIn > 0 || u.AudioOut > 0 {
		opts = of(names.ModalityAudio)
		add(in.usageInput, u.AudioIn, opts)
		add(in.usageOutput, u.AudioOut, opts)
	}
	if u.ImageIn > 0 || u.ImageOut > 0 {
		opts = of(names.ModalityImage)
		add(in.usageInput, u.ImageIn, opts)
		add(in.usageOutput, u.ImageOut, opts)
	}
}

// spanDuration is the duration of the attempt's GenAI span, from the same clock readings, so that metric and trace agree
// (GenAI conventions). A span that was not recorded has none, and the engine's times stand in.
func spanDuration(a *gateway.Attempt) time.Duration {
	if s, ok := a.Span.(sdktrace.ReadOnlySpan); ok && a.Generates() {
		if start := s.StartTime(); !start.IsZero() {
			return max(0, a.Finish.Sub(start))
		}
	}
	return max(0, a.Finish.Sub(a.Issued))
}

// known returns a model's name as metrics may carry it; "" stays "".
func (r *Recorder) known(model string) string {
	switch {
	case model == "":
		return ""
	case r.cfg.KnownModel == nil:
		return names.ErrorOther
	}
	return r.cfg.KnownModel(model)
}

// configured reports whether a target's model is from the configuration: then the router's name of the target spells it.
// A model the client put there itself is in the name only as far as the router knows it.
func configured(t gateway.Target) bool {
	n := len(t.Name) - len(t.Model)
	return t.Model != "" && n > 0 && t.Name[n-1] == '/' && t.Name[n:] == t.Model
}

// targetModel is the model a target asks for, given the client's.
func (r *Recorder) targetModel(t gateway.Target, client string) string {
	switch {
	case configured(t):
		return t.Model
	case t.Model != "":
		return r.known(t.Model)
	}
	return r.known(client)
}

func (r *Recorder) requestModel(a *gateway.Attempt) string {
	return r.targetModel(a.Target, a.Exchange.Call.Model)
}

func (r *Recorder) responseModel(a *gateway.Attempt) string {
	if a.Result.Model == a.Target.Model && configured(a.Target) {
		return a.Target.Model
	}
	return r.known(a.Result.Model)
}

// routedModel is the model that answered, or was to; "" while undecided.
func (r *Recorder) routedModel(x *gateway.Exchange) string {
	if a := x.Final(); a != nil {
		return r.requestModel(a)
	}
	if !decided(x) {
		return ""
	}
	return r.targetModel(x.Route.Targets[0], x.Call.Model)
}

// address returns host and port of a provider's URL.
func address(u *url.URL) (host, port string) {
	if port = u.Port(); port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return u.Hostname(), port
}
