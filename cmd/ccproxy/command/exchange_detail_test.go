package command

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

// detailRig starts a gateway whose telemetry section is the given lines, and a sink for it, reached as SINK.
func detailRig(t *testing.T, text, telemetry string) (*rig, *gatewaytest.Sink) {
	t.Helper()
	sink := gatewaytest.NewSink()
	t.Cleanup(sink.Close)
	exporters := fmt.Sprintf("  exporters: [ { name: one, endpoint: %q, protocol: grpc } ]\n", sink.StartGRPC())
	return newRig(t, text+"telemetry:\n"+telemetry+exporters), sink
}

// stopped ends the gateway, and with it all telemetry has left.
func (r *rig) stopped() {
	r.t.Helper()
	r.end()
	r.wait()
}

const streamed = `{"model":"claude-sonnet-5","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"hello"}]}`

func (r *rig) stream(header ...string) string {
	r.t.Helper()
	resp, body := send(r.t, "POST", r.server.DataURL()+"/v1/messages", streamed, append([]string{"Content-Type", "application/json", "X-Api-Key", "a-client-key"}, header...)...)
	if resp.StatusCode != 200 || !strings.Contains(body, "message_stop") {
		r.t.Fatalf("got %d %s", resp.StatusCode, body)
	}
	return resp.Header.Get("X-CCProxy-Trace-Id")
}

// spanNames lists the spans of a trace, with "!" behind those that are errors, sorted.
func spanNames(spans []gatewaytest.Span, trace string) []string {
	var out []string
	for _, s := range spans {
		if s.TraceID != trace {
			continue
		}
		name := s.Name
		if s.StatusCode == "Error" {
			name += "!"
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func spanOf(t *testing.T, spans []gatewaytest.Span, trace, name string) gatewaytest.Span {
	t.Helper()
	for _, s := range spans {
		if s.TraceID == trace && s.Name == name {
			return s
		}
	}
	t.Fatalf("trace %s has no span %q, but %v", trace, name, spanNames(spans, trace))
	return gatewaytest.Span{}
}

func TestMinimalDetailIsThreeSpans(t *testing.T) {
	r, sink := detailRig(t, anthropicOnly, "  detail: minimal\n")
	resp, _ := r.ask()
	plain := resp.Header.Get("X-CCProxy-Trace-Id")
	stream := r.stream()
	r.stopped()
	want := []string{"POST", "POST /v1/messages", "chat claude-sonnet-5"}
	for name, trace := range map[string]string{"plain": plain, "streamed": stream} {
		if d := cmp.Diff(want, spanNames(sink.Spans(), trace)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if events := spanOf(t, sink.Spans(), trace, "POST /v1/messages").Events; len(events) != 0 {
			t.Errorf("%s: got %d events on the SERVER span, want none", name, len(events))
		}
	}
}

// deadHook is a hook that always fails: what it asks does not answer. Its own send is the POST that failed.
const deadHook = `
ccproxy:
  hooks:
    - rule_evaluator
    - model_router
    - { hook: webhook, on_error: %s, params: { url: "http://127.0.0.1:9/", phases: [ %s ] } }
`

func TestMinimalDetailShowsPhasesThatFailed(t *testing.T) {
	for _, c := range []struct {
		policy, phase string
		status        int
		want          []string
	}{
		{"deny", "pre_call", 500, []string{"POST /v1/messages!", "POST!", "ccproxy.hook!", "ccproxy.pre_call!"}},
		{"deny", "pre_api", 500, []string{"POST /v1/messages!", "POST!", "ccproxy.hook!", "ccproxy.pre_api!"}},
		{"allow", "pre_call", 200, []string{"POST", "POST /v1/messages", "POST!", "ccproxy.hook!", "chat claude-sonnet-5"}},
	} {
		t.Run(c.policy+" "+c.phase, func(t *testing.T) {
			r, sink := detailRig(t, anthropicOnly+fmt.Sprintf(deadHook, c.policy, c.phase), "  detail: minimal\n")
			resp, body := r.ask()
			r.stopped()
			if resp.StatusCode != c.status {
				t.Errorf("got %d %s, want %d", resp.StatusCode, body, c.status)
			}
			if d := cmp.Diff(c.want, spanNames(sink.Spans(), resp.Header.Get("X-CCProxy-Trace-Id"))); d != "" {
				t.Errorf("spans (-want +got):\n%s", d)
			}
			checkTrace(t, sink.Spans(), sink)
		})
	}
}

func TestFullDetailIsEveryHookAndMilestone(t *testing.T) {
	const models = "models: { claude-sonnet-5: { targets: [ anthropic/claude-sonnet-5, anthropic/claude-haiku-4-5 ] } }\n"
	r, sink := detailRig(t, anthropicOnly+models, "  detail: full\n")
	trace := r.stream()
	r.stopped()
	spans := sink.Spans()
	var hooks []string
	pre := spanOf(t, spans, trace, "ccproxy.pre_call")
	for _, s := range spans {
		if s.Name == "ccproxy.hook" && s.ParentID == pre.SpanID {
			hooks = append(hooks, fmt.Sprint(s.Attributes["ccproxy.hook.name"]))
		}
		if n := len(s.Events); n > 32 {
			t.Errorf("%s has %d events, want at most 32", s.Name, n)
		}
	}
	if d := cmp.Diff([]string{"rule_evaluator", "model_router", "forward_oauth", "request_analyzer", "response_enhancer"}, hooks); d != "" {
		t.Errorf("hooks below pre_call (-want +got):\n%s", d)
	}
	if len(pre.Events) != 0 {
		t.Errorf("pre_call: got events %v beside the spans", pre.Events)
	}
	if d := cmp.Diff([]string{"anthropic/claude-sonnet-5", "anthropic/claude-haiku-4-5"}, pre.Attributes["ccproxy.route.candidates"]); d != "" {
		t.Errorf("candidates (-want +got):\n%s", d)
	}
	stream := spanOf(t, spans, trace, "ccproxy.stream")
	if len(stream.Events) != 1 || stream.Events[0].Name != "ccproxy.stream.first_token" {
		t.Errorf("milestones: got %v, want the first token", stream.Events)
	}
	checkTrace(t, spans, sink)
}

func TestStandardDetailHasNeitherCandidatesNorMilestones(t *testing.T) {
	r, sink := detailRig(t, anthropicOnly, "  detail: standard\n")
	trace := r.stream()
	r.stopped()
	pre := spanOf(t, sink.Spans(), trace, "ccproxy.pre_call")
	if c, ok := pre.Attributes["ccproxy.route.candidates"]; ok {
		t.Errorf("got candidates %v", c)
	}
	if s := spanOf(t, sink.Spans(), trace, "ccproxy.stream"); len(s.Events) != 0 {
		t.Errorf("got milestones %v", s.Events)
	}
}

// TestSamplingKeepsWhatMatters: at ratio 0 only what a rule names is exported, whole, and says why. Metrics count all, and
// no exemplar leads to a trace that is gone.
func TestSamplingKeepsWhatMatters(t *testing.T) {
	r, sink := detailRig(t, anthropicOnly+`
models: { default: { targets: [ anthropic/claude-sonnet-5 ], fallbacks: [ anthropic/claude-haiku-4-5 ] } }
`, "  sampling: { ratio: 0, keep: { error: true, fallback: true, duration: 400ms } }\n")
	want := map[string]string{} // :: trace → ccproxy.kept; "" when dropped
	ask := func(kept string, status int, header ...string) {
		t.Helper()
		resp, body := r.ask(header...)
		if resp.StatusCode != status {
			t.Fatalf("got %d %s, want %d", resp.StatusCode, body, status)
		}
		want[resp.Header.Get("X-CCProxy-Trace-Id")] = kept
	}
	for range 5 {
		ask("", 200)
	}
	want[r.stream()] = ""
	ask("error", 500, "X-Simulate", "status=500")
	ask("duration", 200, "X-Simulate", "delay=600ms")
	r.provider.SetScript("claude-sonnet-5", gatewaytest.Step{Status: 429})
	ask("fallback", 200)
	ask("", 400, "X-Simulate", "status=400") // the caller's mistake is no error of ours
	r.stopped()

	got := map[string]string{}
	for trace := range want {
		got[trace] = ""
	}
	for _, s := range sink.Spans() {
		if _, ours := want[s.TraceID]; !ours {
			t.Errorf("span %s of a trace nobody made", s.Name)
		}
		if s.Kind == "SERVER" {
			got[s.TraceID] = fmt.Sprint(s.Attributes["ccproxy.kept"])
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("traces kept and why (-want +got):\n%s", d)
	}
	for trace, kept := range want {
		n := len(spanNames(sink.Spans(), trace))
		if kept == "" && n > 0 {
			t.Errorf("a dropped trace left %d spans", n)
		}
		if kept != "" && n < 6 {
			t.Errorf("a trace kept for %s has %d spans: it is not whole", kept, n)
		}
	}
	checkSampledMetrics(t, sink, want)
}

// checkSampledMetrics: every exchange is counted, and exemplars lead to kept traces only.
func checkSampledMetrics(t *testing.T, sink *gatewaytest.Sink, traces map[string]string) {
	t.Helper()
	var counted uint64
	exemplars := 0
	for _, m := range sink.Metrics() {
		for _, p := range m.Points {
			if m.Name == "ccproxy.request.duration" {
				counted += p.Count
			}
			for _, e := range p.Exemplars {
				exemplars++
				if e.TraceID != "" && traces[e.TraceID] == "" {
					t.Errorf("%s has an exemplar of trace %s, which was dropped", m.Name, e.TraceID)
				}
			}
		}
	}
	if counted != uint64(len(traces)) {
		t.Errorf("ccproxy.request.duration counts %d exchanges, want %d", counted, len(traces))
	}
	if exemplars == 0 {
		t.Error("there is no exemplar at all")
	}
}

func TestTwoExportersGetEverything(t *testing.T) {
	one, two := gatewaytest.NewSink(), gatewaytest.NewSink()
	defer one.Close()
	defer two.Close()
	r := newRig(t, anthropicOnly+fmt.Sprintf(`
telemetry:
  exporters:
    - { name: one, endpoint: %q, protocol: grpc }
    - { name: two, endpoint: %q, protocol: http, compression: none }
`, one.StartGRPC(), two.StartHTTP()))
	traces := []string{r.stream(), r.stream()}
	r.stopped()
	for _, trace := range traces {
		if d := cmp.Diff(spanNames(one.Spans(), trace), spanNames(two.Spans(), trace)); d != "" {
			t.Errorf("spans differ (-gRPC +HTTP):\n%s", d)
		}
	}
	if len(one.Spans()) == 0 || len(one.Spans()) != len(two.Spans()) || len(one.Logs()) == 0 || len(one.Logs()) != len(two.Logs()) {
		t.Errorf("got %d and %d spans, %d and %d log records", len(one.Spans()), len(two.Spans()), len(one.Logs()), len(two.Logs()))
	}
	for name, sink := range map[string]*gatewaytest.Sink{"gRPC": one, "HTTP": two} {
		m, _ := sink.Metric("ccproxy.request.duration")
		if len(m.Points) != 1 || m.Points[0].Count != 2 {
			t.Errorf("%s: ccproxy.request.duration: got %+v, want 2 exchanges", name, m.Points)
		}
	}
}

func TestExporterGetsItsSignalsOnly(t *testing.T) {
	spans, rest := gatewaytest.NewSink(), gatewaytest.NewSink()
	defer spans.Close()
	defer rest.Close()
	r := newRig(t, anthropicOnly+fmt.Sprintf(`
telemetry:
  exporters:
    - { name: spans, endpoint: %q, protocol: http, signals: [ traces ] }
    - { name: rest, endpoint: %q, protocol: grpc, signals: [ metrics, logs ] }
`, spans.StartHTTP(), rest.StartGRPC()))
	r.stream()
	r.stopped()
	if len(spans.Spans()) == 0 || len(spans.Metrics()) != 0 || len(spans.Logs()) != 0 {
		t.Errorf("the exporter of traces: got %d spans, %d metrics, %d logs", len(spans.Spans()), len(spans.Metrics()), len(spans.Logs()))
	}
	if len(rest.Spans()) != 0 || len(rest.Metrics()) == 0 || len(rest.Logs()) == 0 {
		t.Errorf("the exporter of metrics and logs: got %d spans, %d metrics, %d logs", len(rest.Spans()), len(rest.Metrics()), len(rest.Logs()))
	}
}
