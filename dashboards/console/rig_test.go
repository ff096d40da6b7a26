package console

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/names"
	"github.com/ccproxy/ccproxy/telemetry/store"
)

const testToken = "the-token-of-run-json"

// rig is a console over a store, with a player of exchanges.
type rig struct {
	*player
	store   *store.Store
	console *Console
	server  *httptest.Server
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Store: s, Token: func() string { return testToken }, Health: testHealth, Budgets: testBudgets,
		Links: []Link{{"Grafana", "http://127.0.0.1:3000/"}}, TraceURL: "http://127.0.0.1:3000/explore?trace={trace_id}"}
	for _, c := range change {
		c(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	c.Register(mux)
	r := &rig{player: newPlayer(s), store: s, console: c, server: httptest.NewServer(mux)}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
		r.server.Close()
	})
	return r
}

func testHealth() Health {
	return Health{
		Version: "1.0.0", Started: time.Now().Add(-90 * time.Minute), URL: "http://127.0.0.1:4000", ConfigPath: "/home/ada/.ccproxy/ccproxy.yaml", ConfigID: "9f2c1e77",
		Config: "version: 1\nproviders:\n  anthropic: { type: anthropic, api_key: \"***\" }\n", Reload: &Reload{At: time.Now().Add(-time.Hour), Restart: []string{"server.listen"}}, Active: 3,
		Targets: []Target{{Target: "anthropic/claude-opus-5", State: "open"}, {Target: "mirror/claude-sonnet-5", State: "half_open"}, {Target: "anthropic/claude-sonnet-5", State: "closed"}},
		Exporters: []telemetry.ExporterStatus{
			{Name: "main", Signal: telemetry.Traces, Endpoint: "127.0.0.1:4317", Protocol: "grpc", Exported: 12345, QueueBytes: 2048, QueueLimit: 32 << 20, LastSuccess: time.Now()},
			{Name: "main", Signal: telemetry.Logs, Endpoint: "127.0.0.1:4317", Protocol: "grpc", Exported: 345, Dropped: map[string]int64{"queue_full": 12}, QueueLimit: 32 << 20, LastError: "connection refused", LastErrorAt: time.Now()},
		},
	}
}

func testBudgets() []Budget {
	amount := func(v float64) *float64 { return &v }
	now := time.Now()
	return []Budget{
		{Name: "everything", Scope: "global", Window: "month", Action: "deny", Limit: amount(500), Spent: 212.4, Reserved: 12, Forecast: amount(410), Start: now.Add(-200 * time.Hour), Resets: now.Add(150 * time.Hour), State: "ok"},
		{Name: "research", Scope: "team", Subject: "research", Window: "day", Action: "deny", Limit: amount(50), Spent: 44.1, Forecast: amount(71), Resets: now.Add(7 * time.Hour), State: "warn"},
		{Name: "each-key", Scope: "key", Subject: "laptop", Window: "week", Action: "warn", Limit: amount(20), Spent: 21.07, Resets: now.Add(70 * time.Hour), State: "exhausted"},
		{Name: "opus", Scope: "model", Subject: "claude-opus-5", Window: "month", Action: "route", Route: "default", Spent: 3.2, State: "ok"},
	}
}

// settle waits until everything that was played is in the store.
func (r *rig) settle(t testing.TB) {
	t.Helper()
	feed := r.store.Subscribe()
	defer feed.Unsubscribe()
	limit := time.After(20 * time.Second)
	for r.store.Last() < r.count {
		select {
		case <-feed.Changed():
		case <-limit:
			t.Fatalf("got %d exchanges, want %d", r.store.Last(), r.count)
		}
	}
}

// player makes spans as the gateway does.
type player struct {
	gateway, genai, http, server trace.Tracer
	count                        int64
}

func newPlayer(s *store.Store) *player {
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s))
	return &player{gateway: tp.Tracer(names.ScopeGateway), genai: tp.Tracer(names.ScopeGenAI), http: tp.Tracer(names.ScopeHTTP), server: tp.Tracer("otelhttp")}
}

// scene is one exchange.
type scene struct {
	route, label, rule, original, routed, provider string
	outcome                                        string
	team, key, session                             string
	status                                         int
	in, cached, written, out                       int64
	rates                                          [4]float64 // USD per million: input, cache read, cache write, output
	baseline                                       float64    // times the cost
	stream, rejected                               bool
	failFirst                                      string // error type of an attempt before
	at                                             time.Time
	took                                           time.Duration
	id                                             string // played: its request id
	attributes                                     []attribute.KeyValue
}

func (s *scene) cost() (input, read, write, output float64) {
	return float64(s.in-s.cached-s.written) * s.rates[0] / 1e6, float64(s.cached) * s.rates[1] / 1e6, float64(s.written) * s.rates[2] / 1e6, float64(s.out) * s.rates[3] / 1e6
}

// play makes the spans of a scene, and returns its trace's id.
func (p *player) play(s scene) (id trace.TraceID) {
	p.count++
	if s.id == "" {
		s.id = uuid.Must(uuid.NewV7()).String()
	}
	at := func(part float64) trace.SpanEventOption {
		return trace.WithTimestamp(s.at.Add(time.Duration(part * float64(s.took))))
	}
	ctx, server := p.server.Start(context.Background(), "POST "+s.route, trace.WithSpanKind(trace.SpanKindServer), at(0), trace.WithAttributes(
		names.KeyHTTPRequestMethod.String("POST"), names.KeyHTTPRoute.String(s.route), names.KeyUserAgentOriginal.String("claude-cli/2.1.0 (external, cli)")))
	inner := func(t trace.Tracer, ctx context.Context, name string, kind trace.SpanKind, from, to float64, attrs ...attribute.KeyValue) {
		_, span := t.Start(ctx, name, trace.WithSpanKind(kind), at(from), trace.WithAttributes(attrs...))
		span.End(at(to))
	}
	input, read, write, output := s.cost()
	total := input + read + write + output
	attempts := 0
	if !s.rejected {
		_, pre := p.gateway.Start(ctx, names.SpanPreCall, at(0.004), trace.WithAttributes(names.KeyPhase.String(names.PhasePreCall), names.KeyLabel.String(s.label),
			names.KeyRouteRule.String(s.rule), names.KeyModelOriginal.String(s.original), names.KeyModelRouted.String(s.routed),
			names.KeyRouteCandidates.StringSlice([]string{s.provider + "/" + s.routed, "mirror/" + s.routed}), names.KeyRequestInputTokensEstimated.Int64(s.in)))
		pre.AddEvent(names.SpanEventHook, trace.WithTimestamp(s.at.Add(s.took/100)), trace.WithAttributes(names.KeyHookName.String("rule_evaluator")))
		pre.End(at(0.02))
		begin, var0 := 0.03, trace.SpanContext{}
		if s.failFirst != "" {
			attempts++
			inner(p.gateway, ctx, names.SpanPreAPI, trace.SpanKindInternal, 0.02, 0.03, names.KeyPhase.String(names.PhasePreAPI), names.KeyAttemptNumber.Int(1))
			actx, failed := p.genai.Start(ctx, "chat claude-opus-5", trace.WithSpanKind(trace.SpanKindClient), at(0.03), trace.WithAttributes(names.KeyPhase.String(names.PhaseUpstream),
				names.KeyGenAIOperationName.String("chat"), names.KeyAttemptNumber.Int(1), names.KeyTarget.String("anthropic/claude-opus-5"), names.KeyAttemptResult.String(names.AttemptResultFailed), names.KeyErrorType.String(s.failFirst)))
			inner(p.http, actx, "POST", trace.SpanKindClient, 0.03, 0.22, names.KeyHTTPResponseStatusCode.Int(429))
			failed.SetStatus(codes.Error, "the provider said no")
			failed.End(at(0.23))
			begin, var0 = 0.25, failed.SpanContext()
		}
		attempts++
		inner(p.gateway, ctx, names.SpanPreAPI, trace.SpanKindInternal, begin-0.01, begin, names.KeyPhase.String(names.PhasePreAPI), names.KeyAttemptNumber.Int(attempts), names.KeyBudgetHeld.Float64(total*2))
		options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), at(begin), trace.WithAttributes(names.KeyPhase.String(names.PhaseUpstream))}
		if var0.IsValid() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: var0}))
		}
		actx, attempt := p.genai.Start(ctx, "chat "+s.routed, options...)
		split := begin + (0.96-begin)*0.35
		inner(p.http, actx, "POST", trace.SpanKindClient, begin, split, names.KeyHTTPResponseStatusCode.Int(200))
		if s.stream {
			inner(p.gateway, actx, names.SpanStream, trace.SpanKindInternal, split, 0.95, names.KeyPhase.String(names.PhaseStream), names.KeyStreamEvents.Int(52),
				names.KeyStreamTimeToFirstToken.Float64((split-begin+0.08)*s.took.Seconds()), names.KeyStreamEnd.String(names.StreamEndDone))
			attempt.SetAttributes(names.KeyGenAIRequestStream.Bool(true))
		}
		attempt.SetAttributes(names.KeyGenAIOperationName.String("chat"), names.KeyGenAIProviderName.String("anthropic"), names.KeyGenAIRequestModel.String(s.routed), names.KeyAttemptNumber.Int(attempts),
			names.KeyTarget.String(s.provider+"/"+s.routed), names.KeyAttemptResult.String(names.AttemptResultUsed), names.KeyGenAIUsageInputTokens.Int64(s.in), names.KeyGenAIUsageOutputTokens.Int64(s.out),
			names.KeyGenAIUsageCacheReadInputTokens.Int64(s.cached), names.KeyGenAIUsageCacheWriteInputTokens.Int64(s.written), names.KeyUsageSource.String(names.UsageSourceProvider),
			names.KeyGenAIUsageCost.Float64(total), names.KeyCostInput.Float64(input), names.KeyCostCacheRead.Float64(read), names.KeyCostCacheWrite.Float64(write), names.KeyCostOutput.Float64(output),
			names.KeyCostBilling.String(names.CostBillingMetered), names.KeyGenAIResponseFinishReasons.StringSlice([]string{"end_turn"}))
		if s.outcome == names.OutcomeFailed {
			attempt.SetStatus(codes.Error, "")
			attempt.SetAttributes(names.KeyErrorType.String("server_error"), names.KeyAttemptResult.String(names.AttemptResultFailed))
		}
		attempt.SetAttributes(s.attributes...)
		attempt.End(at(0.96))
		post := []attribute.KeyValue{names.KeyPhase.String(names.PhasePostAPI), names.KeyRoutingEffective.Bool(s.failFirst == ""), names.KeyRoutingReason.String(names.RoutingReasonOK)}
		if s.failFirst != "" {
			post[2] = names.KeyRoutingReason.String(names.RoutingReasonFallback)
		}
		if s.baseline > 0 {
			post = append(post, names.KeyRoutingBaselineCost.Float64(total*s.baseline))
		}
		inner(p.gateway, ctx, names.SpanPostAPI, trace.SpanKindInternal, 0.955, 0.985, post...)
	}
	attrs := []attribute.KeyValue{names.KeyRequestID.String(s.id), names.KeyDialect.String(names.DialectAnthropicMessages), names.KeyOutcome.String(s.outcome), names.KeyModelOriginal.String(s.original),
		names.KeyAttempts.Int(attempts), names.KeyFallbacks.Int(max(0, attempts-1)), names.KeyOverhead.Float64(0.00043), names.KeyHTTPResponseStatusCode.Int(s.status)}
	for key, v := range map[attribute.Key]string{names.KeyTeam: s.team, names.KeyKeyID: s.key, names.KeySessionID: s.session} {
		if v != "" {
			attrs = append(attrs, key.String(v))
		}
	}
	if s.rejected {
		attrs = append(attrs, names.KeyRejectionReason.String(names.RejectionBudget))
	} else {
		attrs = append(attrs, names.KeyLabel.String(s.label), names.KeyRouteReason.String(names.RouteReasonRule), names.KeyRouteRule.String(s.rule), names.KeyModelRouted.String(s.routed), names.KeyProvider.String(s.provider), names.KeyCost.Float64(total))
	}
	if s.failFirst != "" {
		attrs = append(attrs, names.KeyFallbackReason.String(names.FallbackRateLimit))
	}
	if s.outcome == names.OutcomeFailed {
		attrs = append(attrs, names.KeyErrorType.String("server_error"))
		server.SetStatus(codes.Error, "")
	}
	server.SetAttributes(attrs...)
	server.End(at(1))
	return server.SpanContext().TraceID()
}

// The scenes of a day.
func plainScene(i int, at time.Time) scene {
	s := scene{
		route: "/v1/messages", label: "default", rule: "", original: "claude-sonnet-5", routed: "claude-sonnet-5", provider: "anthropic", outcome: names.OutcomeCompleted, status: 200,
		team: []string{"research", "platform"}[i%2], key: fmt.Sprintf("key-%d", i%3), session: fmt.Sprintf("session-%02d", i/12), in: int64(900 + 37*(i%40)), cached: int64(600 + 30*(i%20)), out: int64(120 + 13*(i%60)),
		rates: [4]float64{3, 0.3, 3.75, 15}, stream: i%3 != 0, at: at, took: time.Duration(900+61*(i%50)) * time.Millisecond,
	}
	switch i % 8 {
	case 1:
		s.label, s.rule, s.original, s.routed, s.baseline = "background", "background", "claude-opus-5", "claude-haiku-4-5", 5
		s.rates = [4]float64{1, 0.1, 1.25, 5}
	case 3:
		s.label, s.rule, s.routed, s.baseline = "think", "think", "claude-opus-5", 0.6
		s.rates = [4]float64{5, 0.5, 6.25, 25}
	case 6:
		s.label, s.rule, s.original, s.routed, s.provider = "default", "", "gpt-5.5", "gpt-5.5", "openai"
		s.rates = [4]float64{2.5, 0.25, 0, 10}
		s.written = 0
	}
	switch i % 23 {
	case 7:
		s.failFirst = "rate_limit_exceeded"
	case 11:
		s.outcome, s.status = names.OutcomeFailed, 500
	case 15:
		s.outcome, s.status, s.rejected, s.took, s.stream = names.OutcomeRejected, 429, true, 400*time.Microsecond, false
	case 19:
		s.outcome = names.OutcomeClientDisconnect
	}
	return s
}

// playDay plays n exchanges of the last day, with alerts.
func (r *rig) playDay(n int) {
	now := time.Now()
	for i := range n {
		age := time.Duration(float64(24*time.Hour) * float64(n-i) / float64(n) * 0.98)
		r.play(plainScene(i, now.Add(-age)))
	}
	r.store.AddAlert(context.Background(), store.Alert{Time: now.Add(-5 * time.Hour), Type: names.AlertThresholdCrossed, Budget: "research", Scope: "team", Subject: "research", Threshold: 0.8, Spent: 40.1, Limit: 50})
	r.store.AddAlert(context.Background(), store.Alert{Time: now.Add(-2 * time.Hour), Type: names.AlertBudgetCrossed, Budget: "each-key", Scope: "key", Subject: "laptop", Spent: 20.01, Limit: 20})
}
