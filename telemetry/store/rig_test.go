package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// player makes spans as the gateway does.
type player struct {
	provider     *sdktrace.TracerProvider
	gateway, gen trace.Tracer
	http         trace.Tracer
	server       trace.Tracer
}

func newPlayer(p ...sdktrace.SpanProcessor) *player {
	var options []sdktrace.TracerProviderOption
	for _, p := range p {
		options = append(options, sdktrace.WithSpanProcessor(p))
	}
	tp := sdktrace.NewTracerProvider(options...)
	return &player{tp, tp.Tracer(names.ScopeGateway), tp.Tracer(names.ScopeGenAI), tp.Tracer(names.ScopeHTTP), tp.Tracer("server")}
}

// scene is one exchange.
type scene struct {
	label, original, routed, provider, outcome, team, key, session string
	cost                                                           float64
	at                                                             time.Time
	took                                                           time.Duration
}

func plainScene(i int) scene {
	return scene{
		label: []string{"default", "think", "background"}[i%3], original: "claude-opus-4-8", routed: []string{"claude-sonnet-5", "claude-haiku-4-5"}[i%2],
		provider: "anthropic", outcome: names.OutcomeCompleted, team: []string{"research", "platform"}[i%2], key: fmt.Sprintf("key-%d", i%7),
		session: fmt.Sprintf("session-%d", i/50), cost: 0.001 * float64(i%10+1), at: time.Unix(1_800_000_000+int64(i), 0), took: 1200 * time.Millisecond,
	}
}

// play makes the spans of a scene and returns the ids of its trace and request.
func (p *player) play(ctx context.Context, s scene) (traceID trace.TraceID, requestID string) {
	id := uuid.Must(uuid.NewV7()).String()
	at := func(part float64) trace.SpanEventOption {
		return trace.WithTimestamp(s.at.Add(time.Duration(part * float64(s.took))))
	}
	ctx, server := p.server.Start(ctx, "POST /v1/messages", trace.WithSpanKind(trace.SpanKindServer), at(0), trace.WithAttributes(
		attribute.String("http.request.method", "POST"), attribute.String("http.route", "/v1/messages"), attribute.String("url.path", "/v1/messages"),
		attribute.String("url.scheme", "http"), attribute.String("network.protocol.version", "1.1"), attribute.String("network.peer.address", "127.0.0.1"),
		attribute.Int("network.peer.port", 51234), attribute.String("user_agent.original", "claude-cli/2.1.0 (external, cli)")))
	inner := func(t trace.Tracer, ctx context.Context, name string, kind trace.SpanKind, from, to float64, attrs ...attribute.KeyValue) {
		_, span := t.Start(ctx, name, trace.WithSpanKind(kind), at(from))
		span.SetAttributes(attrs...)
		span.End(at(to))
	}
	inner(p.gateway, ctx, names.SpanPreCall, trace.SpanKindInternal, 0, 0.01, names.KeyPhase.String(names.PhasePreCall), names.KeyLabel.String(s.label),
		names.KeyRouteRule.String(s.label), names.KeyRouteReason.String(names.RouteReasonRule), names.KeyModelOriginal.String(s.original),
		names.KeyModelRouted.String(s.routed), names.KeyRouteCandidates.StringSlice([]string{s.provider + "/" + s.routed}),
		names.KeyRequestMessageCount.Int(12), names.KeyRequestHasTools.Bool(true), names.KeyRequestToolCount.Int(14), names.KeyRequestStream.Bool(true),
		names.KeyRequestInputTokensEstimated.Int(1834))
	inner(p.gateway, ctx, names.SpanPreAPI, trace.SpanKindInternal, 0.01, 0.02, names.KeyPhase.String(names.PhasePreAPI),
		names.KeyTarget.String(s.provider+"/"+s.routed), names.KeyAttemptNumber.Int(1), names.KeyBudgetHeld.Float64(0.1))
	actx, attempt := p.gen.Start(ctx, "chat "+s.routed, trace.WithSpanKind(trace.SpanKindClient), at(0.02), trace.WithAttributes(
		names.KeyGenAIOperationName.String("chat"), names.KeyGenAIProviderName.String("anthropic"), names.KeyGenAIRequestModel.String(s.routed),
		names.KeyServerAddress.String("api.anthropic.com"), names.KeyServerPort.Int(443), names.KeyAttemptNumber.Int(1),
		names.KeyAttemptKind.String(names.AttemptKindPrimary), names.KeyTarget.String(s.provider+"/"+s.routed)))
	inner(p.http, actx, "POST", trace.SpanKindClient, 0.02, 0.3, attribute.String("http.request.method", "POST"), names.KeyServerAddress.String("api.anthropic.com"),
		names.KeyServerPort.Int(443), attribute.String("url.full", "https://api.anthropic.com/v1/messages"), names.KeyHTTPResponseStatusCode.Int(200))
	inner(p.gateway, actx, names.SpanStream, trace.SpanKindInternal, 0.3, 0.97, names.KeyPhase.String(names.PhaseStream), names.KeyStreamEvents.Int(52),
		names.KeyStreamBytes.Int(9034), names.KeyStreamTimeToFirstToken.Float64(0.41), names.KeyStreamMaxGap.Float64(0.06), names.KeyStreamEnd.String(names.StreamEndDone))
	attempt.SetAttributes(names.KeyGenAIRequestStream.Bool(true), names.KeyGenAIRequestMaxTokens.Int(32000), names.KeyGenAIResponseTimeToFirstChunk.Float64(0.39), names.KeyGenAIRequestTemperature.Float64(1),
		names.KeyGenAIResponseID.String("msg_"+id[:18]), names.KeyGenAIResponseModel.String(s.routed), names.KeyGenAIResponseFinishReasons.StringSlice([]string{"end_turn"}),
		names.KeyGenAIUsageInputTokens.Int(1834), names.KeyGenAIUsageOutputTokens.Int(412), names.KeyGenAIUsageCacheReadInputTokens.Int(1024),
		names.KeyUsageSource.String(names.UsageSourceProvider), names.KeyGenAIUsageCost.Float64(s.cost), names.KeyCostInput.Float64(s.cost/4),
		names.KeyCostOutput.Float64(s.cost/2), names.KeyCostCacheRead.Float64(s.cost/4), names.KeyCostSource.String(names.CostSourceLocal),
		names.KeyCostPriceVersion.String("2026-11-24"), names.KeyCostBilling.String(names.CostBillingMetered), names.KeyAttemptResult.String(names.AttemptResultUsed),
		names.KeyUpstreamRequestID.String("req_"+id[:20]))
	attempt.End(at(0.98))
	inner(p.gateway, ctx, names.SpanPostAPI, trace.SpanKindInternal, 0.97, 0.99, names.KeyPhase.String(names.PhasePostAPI), names.KeyRoutingEffective.Bool(true),
		names.KeyRoutingReason.String(names.RoutingReasonOK), names.KeyRoutingBaselineCost.Float64(s.cost*5), names.KeyRoutingCostEfficiency.Float64(5))
	server.SetAttributes(names.KeyRequestID.String(id), names.KeyDialect.String(names.DialectAnthropicMessages), names.KeyOutcome.String(s.outcome),
		names.KeyModelOriginal.String(s.original), names.KeyLabel.String(s.label), names.KeyModelRouted.String(s.routed), names.KeyProvider.String(s.provider),
		names.KeyRouteRule.String(s.label), names.KeyRouteReason.String(names.RouteReasonRule), names.KeyAttempts.Int(1), names.KeyFallbacks.Int(0),
		names.KeyCost.Float64(s.cost), names.KeyOverhead.Float64(0.0004), names.KeyHTTPResponseStatusCode.Int(200))
	for _, kv := range []attribute.KeyValue{names.KeyTeam.String(s.team), names.KeyKeyID.String(s.key), names.KeySessionID.String(s.session)} {
		if kv.Value.AsString() != "" {
			server.SetAttributes(kv)
		}
	}
	if s.outcome == names.OutcomeFailed {
		server.SetStatus(codes.Error, "")
	}
	server.End(at(1))
	return server.SpanContext().TraceID(), id
}

// openTest opens a store that the test closes.
func openTest(t testing.TB, opts Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// settle waits until s has taken n exchanges in all.
func settle(t testing.TB, s *Store, n int64) {
	t.Helper()
	feed := s.Subscribe()
	defer feed.Unsubscribe()
	limit := time.After(20 * time.Second)
	for s.Last() < n {
		select {
		case <-feed.Changed():
		case <-limit:
			t.Fatalf("got %d exchanges, want %d", s.Last(), n)
		}
	}
}
