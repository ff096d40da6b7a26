package gateway

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// settle is post_api: usage and routing analysis become final, once.
func (g *Gateway) settle(ctx context.Context, a *Attempt) {
	if a.settled {
		return
	}
	a.settled = true
	x := a.Exchange
	pctx, p := g.phase(trace.ContextWithSpan(ctx, x.Span), x, names.SpanPostAPI, names.PhasePostAPI)
	defer p.End()
	a.estimateUsage()
	if l, ok := x.Snapshot.Router.(Learner); ok {
		l.Learn(a)
	}
	if x.Snapshot.Pricer != nil && x.pays() {
		a.Cost = x.Snapshot.Pricer.Price(a)
	}
	a.analyse()
	a.endHold(pctx)
	if p.IsRecording() {
		p.SetAttributes(a.postAPIAttributes()...)
	}
	for i := len(x.hooks) - 1; i >= 0; i-- {
		if h := x.hooks[i]; h.phases.Settle != nil {
			runHook(g, pctx, x, h.ConfiguredHook, names.HookPhasePostAPI, h.phases.Settle, a)
		}
	}
	g.recorder.Settled(pctx, a)
}

// estimateUsage counts what a provider did not report, flagged as estimated:
// for an answer without usage or cut short, and for sends that may have been
// billed although nothing came of them.
func (a *Attempt) estimateUsage() {
	u, x := &a.Result.Usage, a.Exchange
	if !x.pays() {
		return
	}
	if a.answered() || a.inDoubt() {
		if p := x.Snapshot.Pricer; p != nil {
			p.Complete(a)
		} else if u.Source == "" && x.Call.Operation != "" {
			u.Input, u.Output, u.Source = a.promptTokens(), (a.Result.OutputBytes+3)/4, names.UsageSourceEstimated
		}
	}
	if a.doubts > 0 && x.Call.Operation != "" {
		u.Input += int64(a.doubts) * a.promptTokens()
		u.Source = names.UsageSourceEstimated
	}
}

// promptTokens is the estimate of what is sent.
func (a *Attempt) promptTokens() int64 {
	if a.Bound.InputTokens > 0 {
		return a.Bound.InputTokens
	}
	return tokens.Estimate(a.Body, jsonscan.Root(a.Body), tokens.All).Tokens
}

// analyse says whether the routing decision served (TELEMETRY §3): the routed
// attempt answered without fallback, was not cut short, and met its rule's
// target.
func (a *Attempt) analyse() {
	x := a.Exchange
	if x.Call.Operation == "" {
		return
	}
	r := Routing{Analysed: true, Reason: names.RoutingReasonOK}
	target, most := x.Snapshot.RuleLatency[x.Route.Rule], x.Snapshot.RuleCost[x.Route.Rule]
	switch {
	case x.ClientGone():
		r.Reason = names.RoutingReasonClientGone
	case a.Err != nil || a.Result.Err != nil:
		r.Reason = names.RoutingReasonFailed
	case x.Fallbacks > 0:
		r.Reason = names.RoutingReasonFallback
	case a.Result.Incomplete != "":
		r.Reason = a.Result.Incomplete
	case target > 0 && time.Since(a.Issued) > target:
		r.Reason = names.RoutingReasonLatency
	case most > 0 && a.Cost.Known() && a.Cost.Total > most:
		r.Reason = names.RoutingReasonCost
	}
	r.Effective = r.Reason == names.RoutingReasonOK
	if a.Err == nil && a.Cost.Known() {
		r.Baseline, r.Compared = x.Snapshot.Pricer.Baseline(a)
	}
	a.Routing = r
}

// postAPIAttributes are the routing analysis and what was settled, on the
// post_api span.
func (a *Attempt) postAPIAttributes() []attribute.KeyValue {
	r := &a.Routing
	attrs := a.Exchange.gather()
	if r.Analysed {
		attrs = append(attrs, names.KeyRoutingEffective.Bool(r.Effective), names.KeyRoutingReason.String(r.Reason))
	}
	if a.Budget.Decision != "" && !a.Exchange.Snapshot.HideCost {
		attrs = append(attrs, names.KeyBudgetSettled.Float64(a.Budget.Settled.Dollars()))
	}
	if !r.Compared || a.Exchange.Snapshot.HideCost {
		return attrs
	}
	attrs = append(attrs, names.KeyRoutingBaselineCost.Float64(r.Baseline.Dollars()))
	if ratio, ok := a.Efficiency(); ok {
		attrs = append(attrs, names.KeyRoutingCostEfficiency.Float64(ratio))
	}
	return attrs
}

// closeAttempt ends an attempt and its GenAI span. Calling it again does
// nothing.
func (g *Gateway) closeAttempt(ctx context.Context, a *Attempt) {
	if !a.Finish.IsZero() {
		return
	}
	actx := ctx
	if a.genai {
		actx = trace.ContextWithSpan(ctx, a.Span)
	}
	switch {
	case !a.settled && !a.Issued.IsZero():
		g.settle(ctx, a)
	case !a.settled && a.hold != nil: // it never came to a send
		a.hold.Void(ctx, a)
	}
	a.Finish = time.Now()
	if a.ResultKind == "" {
		a.ResultKind = names.AttemptResultUsed
		if a.Err != nil {
			a.ResultKind = names.AttemptResultFailed
		}
	}
	g.recorder.AttemptEnded(actx, a)
	if !a.genai {
		return
	}
	if a.Span.IsRecording() {
		if a.failed() {
			a.Span.SetStatus(codes.Error, "")
		}
		a.Span.SetAttributes(a.attributes()...)
	}
	a.Span.End(trace.WithTimestamp(a.Finish))
}

// failed reports whether the attempt is an error. One the client walked away
// from is none, unless it was cut off for reading nothing.
func (a *Attempt) failed() bool {
	e := a.Err
	return e != nil && (!a.Exchange.ClientGone() || e.Origin == names.ErrorOriginProvider || e.Type == names.ErrorTimeout)
}

// attributes are those a GenAI span gets at its end (TELEMETRY §3).
func (a *Attempt) attributes() []attribute.KeyValue {
	c, r := &a.Exchange.Call, &a.Result
	attrs := a.Exchange.gather()
	str := func(k attribute.Key, v string) {
		if v != "" {
			attrs = append(attrs, k.String(v))
		}
	}
	num := func(k attribute.Key, v int64) {
		if v != 0 {
			attrs = append(attrs, k.Int64(v))
		}
	}
	if c.Stream {
		attrs = append(attrs, names.KeyGenAIRequestStream.Bool(true))
	}
	num(names.KeyGenAIRequestMaxTokens, c.MaxTokens)
	if c.Temperature.Set {
		attrs = append(attrs, names.KeyGenAIRequestTemperature.Float64(c.Temperature.Value))
	}
	if c.TopP.Set {
		attrs = append(attrs, names.KeyGenAIRequestTopP.Float64(c.TopP.Value))
	}
	if c.TopK.Set {
		attrs = append(attrs, names.KeyGenAIRequestTopK.Int64(c.TopK.Value))
	}
	str(names.KeyGenAIRequestReasoningLevel, c.ReasoningLevel)
	str(names.KeyGenAIOutputType, c.OutputType)
	str(names.KeyGenAIConversationID, a.Exchange.Caller.Session)
	str(names.KeyGenAIResponseID, clip(r.ID))
	str(names.KeyGenAIResponseModel, clip(r.Model))
	if reasons := a.finishReasons(); len(reasons) > 0 {
		attrs = append(attrs, names.KeyGenAIResponseFinishReasons.StringSlice(reasons))
	}
	if d := a.FirstChunk(); d > 0 {
		attrs = append(attrs, names.KeyGenAIResponseTimeToFirstChunk.Float64(d.Seconds()))
	}
	attrs = a.appendCost(a.appendUsage(attrs))
	attrs = append(attrs, names.KeyAttemptResult.String(a.ResultKind), names.KeyAttemptSends.Int(len(a.Sends)))
	str(names.KeyUpstreamRequestID, a.UpstreamID)
	if a.Target.Provider.Family == "openai" {
		str(names.KeyOpenAIResponseServiceTier, r.ServiceTier)
		str(names.KeyOpenAIResponseSystemFingerprint, r.SystemFingerprint)
		if c.ServiceTier != "auto" {
			str(names.KeyOpenAIRequestServiceTier, c.ServiceTier)
		}
		str(names.KeyOpenAIAPIType, openAIAPIType(a.Exchange.Dialect.Name()))
	}
	if a.failed() {
		attrs = append(attrs, names.KeyErrorType.String(a.Err.Type), names.KeyErrorOrigin.String(a.Err.Origin))
	}
	return attrs
}

func openAIAPIType(dialect string) string {
	switch dialect {
	case "openai.chat":
		return names.OpenAIAPIChatCompletions
	case "openai.responses":
		return names.OpenAIAPIResponses
	}
	return ""
}

// finishReasons are the provider's, or "error" where one was due and did not
// come (GenAI conventions, gen_ai.response.finish_reasons).
func (a *Attempt) finishReasons() []string {
	if len(a.Result.FinishReasons) == 0 && a.Stream.Events > 0 && a.Stream.End != names.StreamEndDone {
		return []string{"error"}
	}
	return a.Result.FinishReasons
}

func (a *Attempt) appendUsage(attrs []attribute.KeyValue) []attribute.KeyValue {
	u := &a.Result.Usage
	if u.Source == "" || u.Source == names.UsageSourceNone {
		return append(attrs, names.KeyUsageSource.String(names.UsageSourceNone))
	}
	attrs = append(attrs, names.KeyGenAIUsageInputTokens.Int64(u.InputTokens()), names.KeyUsageSource.String(u.Source))
	if a.Exchange.Call.Operation == names.OperationEmbeddings {
		return attrs
	}
	attrs = append(attrs, names.KeyGenAIUsageOutputTokens.Int64(u.OutputTokens()))
	if u.CacheRead > 0 {
		attrs = append(attrs, names.KeyGenAIUsageCacheReadInputTokens.Int64(u.CacheRead))
	}
	if w := u.CacheWrite + u.CacheWrite1h; w > 0 {
		attrs = append(attrs, names.KeyGenAIUsageCacheWriteInputTokens.Int64(w))
	}
	if u.Reasoning > 0 {
		attrs = append(attrs, names.KeyGenAIUsageReasoningOutputTokens.Int64(u.Reasoning))
	}
	return attrs
}

func (a *Attempt) appendCost(attrs []attribute.KeyValue) []attribute.KeyValue {
	c := &a.Cost
	if c.Source == "" || a.Exchange.Snapshot.HideCost {
		return attrs
	}
	attrs = append(attrs, names.KeyCostSource.String(c.Source))
	if !c.Known() {
		return attrs
	}
	attrs = append(attrs, names.KeyGenAIUsageCost.Float64(c.Total.Dollars()), names.KeyCostBilling.String(c.Billing))
	if c.PriceVersion != "" {
		attrs = append(attrs, names.KeyCostPriceVersion.String(c.PriceVersion))
	}
	class := func(k attribute.Key, n NanoUSD) {
		if n != 0 {
			attrs = append(attrs, k.Float64(n.Dollars()))
		}
	}
	class(names.KeyCostInput, c.Input())
	class(names.KeyCostOutput, c.Output())
	class(names.KeyCostCacheRead, c.CacheRead())
	class(names.KeyCostCacheWrite, c.CacheWrite())
	class(names.KeyCostOther, c.Other())
	return attrs
}
