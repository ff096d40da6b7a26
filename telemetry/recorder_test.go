package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	plainCall  = `{"model":"x","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`
	streamCall = `{"model":"x","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hi there, this becomes several events"}]}`
	sonnet     = "claude-sonnet-5"
)

// only fails unless a metric has exactly one point, and returns it.
func only(t *testing.T, r *rig, name string) point {
	t.Helper()
	points := r.metric(name)
	if len(points) != 1 {
		t.Fatalf("%s: got points %+v, want one", name, points)
	}
	return points[0]
}

func TestPlainExchangeIsMeasured(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{sonnet}, recorder: telemetry.RecorderConfig{KnownModel: func(string) string { return "_OTHER" }}})
	x := r.post("/v1/messages?beta=true", plainCall)
	a := x.Final()

	host, port, _ := strings.Cut(a.Request.URL.Host, ":")
	genai := fmt.Sprintf("gen_ai.operation.name=chat gen_ai.provider.name=anthropic gen_ai.request.model=%s gen_ai.response.model=%s", sonnet, sonnet)
	at := fmt.Sprintf(" server.address=%s server.port=%s", host, port)
	exchange := "ccproxy.dialect=anthropic.messages ccproxy.label=think ccproxy.model.routed=" + sonnet + " ccproxy.outcome=completed"
	want := map[string]string{
		names.MetricGenAIClientInferenceDuration:              genai + at,
		names.MetricGenAIClientInferenceOperationInputTokens:  genai + at,
		names.MetricGenAIClientInferenceOperationOutputTokens: genai + at,
		names.MetricGenAIClientInferenceUsageInputTokens:      genai + " gen_ai.token.modality=text" + at,
		names.MetricGenAIClientInferenceUsageOutputTokens:     genai + " gen_ai.token.modality=text" + at,
		names.MetricRequestDuration:                           exchange,
		names.MetricRequestTimeToFirstByte:                    exchange,
		names.MetricRequestOverhead:                           exchange,
		names.MetricRequestsActive:                            "ccproxy.dialect=anthropic.messages",
		names.MetricAttempts:                                  "ccproxy.attempt.kind=primary ccproxy.attempt.result=used ccproxy.target=main/" + sonnet + " gen_ai.provider.name=anthropic gen_ai.request.model=" + sonnet,
		names.MetricRoutingDecisions:                          "ccproxy.label=think ccproxy.model.original=_OTHER ccproxy.model.routed=" + sonnet + " ccproxy.route.passthrough=false ccproxy.route.rule=thinking",
		names.MetricRoutingOutcomes:                           "ccproxy.label=think ccproxy.routing.effective=true ccproxy.routing.reason=ok",
		names.MetricHTTPServerRequestDuration:                 "http.request.method=POST http.response.status_code=200 http.route=/v1/messages network.protocol.version=1.1 url.scheme=http",
		names.MetricHTTPClientRequestDuration:                 "http.request.method=POST http.response.status_code=200 network.protocol.version=1.1" + at + " url.scheme=http",
	}
	got := r.collect()
	for name, attrs := range want {
		if p := got[name]; len(p) != 1 || p[0].attrs != attrs {
			t.Errorf("%s: got %+v, want one point with %s", name, p, attrs)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("got metric %s, which a plain exchange does not have", name)
		}
	}
	for _, name := range []string{names.MetricRequestDuration, names.MetricGenAIClientInferenceDuration, names.MetricHTTPServerRequestDuration} {
		if ids := got[name][0].exemplars; !slices.Contains(ids, x.Span.SpanContext().TraceID().String()) {
			t.Errorf("%s: got exemplars %v, want the exchange's trace", name, ids)
		}
	}
	if active := got[names.MetricRequestsActive][0].sum; active != 0 {
		t.Errorf("got %v requests active after the end, want 0", active)
	}
}

func TestMetricsAgreeWithTheTrace(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{sonnet}})
	x := r.post("/v1/messages", streamCall)
	s := r.span("chat " + sonnet)
	equal := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: got %v, want %v as on the span", what, got, want)
		}
	}
	equal("duration", only(t, r, names.MetricGenAIClientInferenceDuration).sum, s.EndTime().Sub(s.StartTime()).Seconds())
	equal("time to first chunk", only(t, r, names.MetricGenAIClientInferenceTimeToFirstChunk).sum, spanAttribute(s, names.KeyGenAIResponseTimeToFirstChunk).AsFloat64())
	for key, name := range map[attribute.Key]string{
		names.KeyGenAIUsageInputTokens:  names.MetricGenAIClientInferenceUsageInputTokens,
		names.KeyGenAIUsageOutputTokens: names.MetricGenAIClientInferenceUsageOutputTokens,
	} {
		n := spanAttribute(s, key).AsInt64()
		if n == 0 {
			t.Errorf("%s: the span has none", key)
		}
		equal(name, only(t, r, name).sum, float64(n))
	}
	server := r.span("POST")
	equal("http client duration", only(t, r, names.MetricHTTPClientRequestDuration).sum, server.EndTime().Sub(server.StartTime()).Seconds())

	gaps := only(t, r, names.MetricGenAIClientInferenceTimePerOutputChunk)
	if want := uint64(x.Final().Stream.Events - 1); gaps.count != want || want == 0 {
		t.Errorf("got %d gaps, want %d: one for each event after the first", gaps.count, want)
	}
	if !slices.Contains(gaps.exemplars, s.SpanContext().TraceID().String()) {
		t.Errorf("got exemplars %v, want the longest gap to lead to its trace", gaps.exemplars)
	}
}

func TestCachedAndReasoningTokensAreParts(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{"simulate-cached=7"}})
	r.post("/v1/messages", `{"model":"x","max_tokens":3000,"thinking":{"type":"enabled","budget_tokens":1024},"messages":[{"role":"user","content":"a longer prompt, so that there is something to be cached in it"}]}`)
	s := r.span("chat simulate-cached=7")
	for key, name := range map[attribute.Key]string{
		names.KeyGenAIUsageInputTokens:          names.MetricGenAIClientInferenceUsageInputTokens,
		names.KeyGenAIUsageOutputTokens:         names.MetricGenAIClientInferenceUsageOutputTokens,
		names.KeyGenAIUsageCacheReadInputTokens: names.MetricGenAIClientInferenceUsageCacheReadInputTokens,
	} {
		if got, want := only(t, r, name).sum, float64(spanAttribute(s, key).AsInt64()); got != want || want == 0 {
			t.Errorf("%s: got %v, want %v as on the span, and not 0", name, got, want)
		}
	}
}

func TestEstimatedTokensAreNoMetric(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{"simulate-no_usage"}})
	x := r.post("/v1/messages", plainCall)
	if got := x.Final().Result.Usage.Source; got != names.UsageSourceEstimated {
		t.Fatalf("got usage source %q, want an estimate", got)
	}
	got := r.collect()
	for name := range got {
		if strings.Contains(name, "tokens") {
			t.Errorf("got metric %s of an estimate", name)
		}
	}
	if len(got[names.MetricGenAIClientInferenceDuration]) != 1 {
		t.Error("got no duration")
	}
}

func TestFallbackIsCounted(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{"simulate-429"}, fallbacks: []string{"simulate-529", sonnet}})
	r.post("/v1/messages", plainCall)
	falls := r.metric(names.MetricFallbacks)
	var got []string
	for _, p := range falls {
		got = append(got, p.attrs)
	}
	slices.Sort(got)
	want := []string{
		"ccproxy.fallback.from=main/simulate-429 ccproxy.fallback.reason=rate_limit ccproxy.fallback.to=main/simulate-529",
		"ccproxy.fallback.from=main/simulate-529 ccproxy.fallback.reason=overloaded ccproxy.fallback.to=main/" + sonnet,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got fallbacks %q, want %q", got, want)
	}
	results := map[string]int{}
	for _, p := range r.metric(names.MetricAttempts) {
		for _, part := range strings.Fields(p.attrs) {
			if v, ok := strings.CutPrefix(part, "ccproxy.attempt.result="); ok {
				results[v]++
			}
			if v, ok := strings.CutPrefix(part, "error.type="); ok {
				results[v]++
			}
		}
	}
	if results["superseded"] != 2 || results["used"] != 1 || results["rate_limit_exceeded"] != 1 || results["overloaded_error"] != 1 {
		t.Errorf("got attempts %v, want two superseded for their errors and one used", results)
	}
	if d := only(t, r, names.MetricRoutingDecisions).attrs; !strings.Contains(d, "ccproxy.model.routed=simulate-429") {
		t.Errorf("got decision %s, want the model first chosen", d)
	}
	if o := only(t, r, names.MetricRoutingOutcomes).attrs; !strings.Contains(o, "ccproxy.routing.effective=false ccproxy.routing.reason=fallback") {
		t.Errorf("got outcome %s, want one that is not effective", o)
	}
	if o := only(t, r, names.MetricHTTPServerRequestDuration).attrs; strings.Contains(o, "error.type") {
		t.Errorf("got %s, want no error of a rescued request", o)
	}
}

func TestFailureHasItsErrorType(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{"simulate-500"}})
	r.post("/v1/messages", plainCall)
	for _, name := range []string{names.MetricGenAIClientInferenceDuration, names.MetricHTTPServerRequestDuration, names.MetricAttempts} {
		if p := only(t, r, name); !strings.Contains(p.attrs, "error.type=server_error") {
			t.Errorf("%s: got %s, want error.type server_error", name, p.attrs)
		}
	}
	if p := only(t, r, names.MetricHTTPClientRequestDuration); !strings.Contains(p.attrs, "error.type=500") {
		t.Errorf("got %s, want the status as error.type of the send", p.attrs)
	}
	if p := only(t, r, names.MetricRequestDuration); !strings.Contains(p.attrs, "ccproxy.outcome=failed") {
		t.Errorf("got %s, want outcome failed", p.attrs)
	}
}

func TestRejectedRequestHasNoGenAIMetrics(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{sonnet}})
	r.post("/v1/messages", `{"model":`)
	got := r.collect()
	for name := range got {
		if strings.HasPrefix(name, "gen_ai.") || strings.HasPrefix(name, "ccproxy.rout") || name == names.MetricAttempts {
			t.Errorf("got metric %s, though nothing was routed or sent", name)
		}
	}
	if p := got[names.MetricRequestDuration]; len(p) != 1 || p[0].attrs != "ccproxy.dialect=anthropic.messages ccproxy.outcome=rejected" {
		t.Errorf("got %+v, want one rejected exchange", p)
	}
	if p := got[names.MetricHTTPServerRequestDuration]; len(p) != 1 || strings.Contains(p[0].attrs, "error.type") {
		t.Errorf("got %+v, want a 400 that is no error of the server", p)
	}
}

func TestClientThatLeavesIsNoError(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{"simulate-events=100000+event_delay=5ms"}})
	x := r.leave("/v1/messages", streamCall)
	if x.Outcome != names.OutcomeClientDisconnect {
		t.Fatalf("got outcome %q: %v", x.Outcome, x.Err)
	}
	for name, points := range r.collect() {
		for _, p := range points {
			if strings.Contains(p.attrs, "error.type") {
				t.Errorf("%s: got %s, want no error", name, p.attrs)
			}
		}
	}
	for _, name := range []string{names.MetricStreamsActive, names.MetricRequestsActive} {
		if p := only(t, r, name); p.sum != 0 {
			t.Errorf("%s: got %v after the end, want 0", name, p.sum)
		}
	}
}

func TestStreamsInFlightAreCounted(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{"simulate-stall_after=2"}})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	resp := r.open(ctx, "/v1/messages", streamCall, 2)
	defer resp.Body.Close()
	for _, name := range []string{names.MetricStreamsActive, names.MetricRequestsActive} {
		if p := only(t, r, name); p.sum != 1 || p.attrs != "ccproxy.dialect=anthropic.messages" {
			t.Errorf("%s: got %+v while it streams, want 1", name, p)
		}
	}
	cancel()
	r.ended.last()
	for _, name := range []string{names.MetricStreamsActive, names.MetricRequestsActive} {
		if p := only(t, r, name); p.sum != 0 {
			t.Errorf("%s: got %v after the end, want 0", name, p.sum)
		}
	}
}

// TestRefusedRequestLeavesNoGaugeUp: whatever dialect the refusal is told in, the gauge comes down where it went up.
func TestRefusedRequestLeavesNoGaugeUp(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{sonnet}})
	req, _ := http.NewRequest("PUT", r.url+"/v1/messages", nil)
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	r.ended.last()
	if p := only(t, r, names.MetricRequestsActive); p.sum != 0 {
		t.Errorf("got %+v, want the gauge at 0", p)
	}
}

func TestEmbeddingsHaveTheirOwnMetrics(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{"text-embedding-3-small"}, basePath: "/v1"})
	r.post("/v1/embeddings", `{"model":"x","input":"some text"}`)
	got := r.collect()
	for _, name := range []string{names.MetricGenAIClientEmbeddingsDuration, names.MetricGenAIClientEmbeddingsOperationInputTokens} {
		if p := got[name]; len(p) != 1 || p[0].sum <= 0 || !strings.HasPrefix(p[0].attrs, "gen_ai.operation.name=embeddings") {
			t.Errorf("%s: got %+v", name, p)
		}
	}
	for name := range got {
		if strings.HasPrefix(name, "gen_ai.client.inference.") {
			t.Errorf("got metric %s of embeddings", name)
		}
	}
}

func TestHooksAreMeasured(t *testing.T) {
	broken := gateway.HookFunc("broken", func(context.Context, *gateway.Exchange) (gateway.Phases, error) {
		return gateway.Phases{}, errors.New("cannot: key=sk-ant-0123456789abcdef")
	})
	r := newRig(t, rigConfig{targets: []string{sonnet}, hooks: []gateway.ConfiguredHook{{Hook: broken}}})
	r.post("/v1/messages", plainCall)
	if p := only(t, r, names.MetricHookDuration); p.attrs != "ccproxy.hook.action=failed_open ccproxy.hook.name=broken ccproxy.hook.phase=pre_call" {
		t.Errorf("got %+v", p)
	}
	line := r.lines.String()
	for _, want := range []string{`"level":"WARN","msg":"hook failed"`, `"hook":"broken"`, `"action":"failed_open"`, `"request_id"`} {
		if !strings.Contains(line, want) {
			t.Errorf("got log %s, want %s in it", line, want)
		}
	}
	if strings.Contains(line, "0123456789") {
		t.Errorf("got a secret in the log: %s", line)
	}
}

func TestDroppedTraceLeavesNoExemplar(t *testing.T) {
	for _, keep := range []bool{true, false} {
		facts := make(chan telemetry.KeepFacts, 1)
		r := newRig(t, rigConfig{targets: []string{sonnet}, recorder: telemetry.RecorderConfig{
			Keep: func(_ trace.TraceID, f telemetry.KeepFacts) (string, bool) {
				facts <- f
				return names.KeptRatio, keep
			}}})
		x := r.post("/v1/messages", streamCall)
		if f := <-facts; f.Error || f.Fallback || f.Duration != x.Finish.Sub(x.Start) {
			t.Errorf("got facts %+v", f)
		}
		want := ""
		if keep {
			want = names.KeptRatio
		}
		if x.Kept != want {
			t.Errorf("keep %v: got kept %q, want %q", keep, x.Kept, want)
		}
		n := 0
		for _, points := range r.collect() {
			for _, p := range points {
				n += len(p.exemplars)
			}
		}
		if (n > 0) != keep {
			t.Errorf("keep %v: got %d exemplars", keep, n)
		}
	}
}

func TestSamplingLearnsWhatHappened(t *testing.T) {
	for model, want := range map[string]telemetry.KeepFacts{"simulate-500": {Error: true}, "simulate-400": {}} {
		var got telemetry.KeepFacts
		r := newRig(t, rigConfig{targets: []string{model}, recorder: telemetry.RecorderConfig{
			Keep: func(_ trace.TraceID, f telemetry.KeepFacts) (string, bool) { got = f; return "", false }}})
		r.post("/v1/messages", plainCall)
		got.Duration = 0
		if got != want {
			t.Errorf("%s: got %+v, want %+v", model, got, want)
		}
	}
}

func TestSkippedTargetIsCounted(t *testing.T) {
	skip := gateway.Skip{Target: gateway.Target{Provider: &gateway.Provider{Name: "g", GenAI: "gcp.gemini"}, Model: "gemini-3.5-pro", Name: "g/gemini-3.5-pro"}, Reason: names.FallbackDialect}
	r := newRig(t, rigConfig{targets: []string{sonnet}, skipped: []gateway.Skip{skip}})
	r.post("/v1/messages", plainCall)
	want := "ccproxy.attempt.kind=primary ccproxy.attempt.result=skipped ccproxy.target=g/gemini-3.5-pro gen_ai.provider.name=gcp.gemini gen_ai.request.model=gemini-3.5-pro"
	if !slices.ContainsFunc(r.metric(names.MetricAttempts), func(p point) bool { return p.attrs == want }) {
		t.Errorf("got %+v, want %s among them", r.metric(names.MetricAttempts), want)
	}
}

func TestMetricsNeedNoRecordedSpan(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{"simulate-429"}, fallbacks: []string{sonnet}, unsampled: true})
	x := r.post("/v1/messages", streamCall)
	a := x.Final()
	var got float64
	for _, p := range r.metric(names.MetricGenAIClientInferenceDuration) {
		if !strings.Contains(p.attrs, "error.type") {
			got = p.sum
		}
		if len(p.exemplars) > 0 {
			t.Errorf("got exemplars %v of a trace nobody records", p.exemplars)
		}
	}
	if want := a.Finish.Sub(a.Issued).Seconds(); got != want {
		t.Errorf("got duration %v, want %v by the engine's clock", got, want)
	}
	if lines := r.lines.String(); !strings.Contains(lines, x.Span.SpanContext().TraceID().String()) {
		t.Errorf("got %s, want the trace id all the same", lines)
	}
}

func TestUnreachableProviderIsLoggedWithoutItsURL(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{sonnet}, baseURL: "http://user:secretpass@127.0.0.1:1"})
	r.post("/v1/messages", plainCall)
	if p := only(t, r, names.MetricHTTPClientRequestDuration); !strings.Contains(p.attrs, "error.type=connect_error") || strings.Contains(p.attrs, "status_code") {
		t.Errorf("got %s, want a connect_error without status", p.attrs)
	}
	if lines := r.lines.String(); strings.Contains(lines, "secretpass") || !strings.Contains(lines, `"error_type":"connect_error"`) {
		t.Errorf("got %s", lines)
	}
}

func TestEchoedKeyIsNotLogged(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{"simulate-echo_key"}, credential: true})
	r.post("/v1/messages", plainCall)
	all := r.lines.String()
	for _, rec := range r.logs.all() {
		rec.WalkAttributes(func(kv attribute.KeyValue) bool { all += kv.Value.String(); return true })
	}
	if strings.Contains(all, r.apiKey) || !strings.Contains(all, "ccproxy_failure") {
		t.Errorf("got the client's credential, or no failure, in %s", all)
	}
}
