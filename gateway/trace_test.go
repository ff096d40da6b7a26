package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	theirTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	theirSpan   = "00f067aa0ba902b7"
	traceparent = "00-" + theirTrace + "-" + theirSpan + "-"
)

func TestS40TrustedTraceparentIsTheParent(t *testing.T) {
	for name, trust := range map[string]gateway.Trust{"loopback": gateway.TrustLoopback, "all": gateway.TrustAll} {
		r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Trust = trust }})
		got := r.ask(apis[0], false, "", "Traceparent", traceparent+"01", "Tracestate", "a=b", "Baggage", "canary=1")
		_, spans := r.exchange()
		s := spans.server()
		if s.Parent().TraceID().String() != theirTrace || s.Parent().SpanID().String() != theirSpan || len(s.Links()) != 0 {
			t.Errorf("%s: got parent %v, links %v", name, s.Parent(), s.Links())
		}
		if got.header.Get("X-CCProxy-Trace-Id") != theirTrace || !strings.HasPrefix(got.header.Get("Traceresponse"), "00-"+theirTrace+"-"+s.SpanContext().SpanID().String()) {
			t.Errorf("%s: got %v", name, got.header)
		}
	}
}

func TestS40UntrustedTraceparentIsALink(t *testing.T) {
	for _, flags := range []string{"00", "01"} { // a client does not decide what is sampled
		r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Trust = gateway.TrustNone }})
		r.ask(apis[0], true, "", "Traceparent", traceparent+flags)
		_, spans := r.exchange()
		s := spans.server()
		if s.Parent().IsValid() || s.SpanContext().TraceID().String() == theirTrace {
			t.Errorf("flags %s: got parent %v", flags, s.Parent())
		}
		if len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID().String() != theirSpan {
			t.Errorf("flags %s: got links %v", flags, s.Links())
		}
	}
	r := newRig(t, rigConfig{sampler: sdktrace.ParentBased(sdktrace.NeverSample()), snapshot: func(s *gateway.Snapshot) { s.Trust = gateway.TrustNone }})
	r.ask(apis[0], true, "", "Traceparent", traceparent+"01")
	if _, spans := r.exchange(); len(spans) != 0 {
		t.Errorf("a client forced sampling: %v", describe(spans))
	}
}

func TestS40MalformedTraceContextIsIgnored(t *testing.T) {
	r := newRig(t, rigConfig{})
	for _, h := range []string{"x", traceparent, "00-" + strings.Repeat("0", 32) + "-" + theirSpan + "-01", "ff-" + theirTrace + "-" + theirSpan + "-01"} {
		if got := r.ask(apis[0], false, "", "Traceparent", h); got.status != 200 {
			t.Errorf("%q: got %d", h, got.status)
		}
		if _, spans := r.exchange(); spans.server().Parent().IsValid() || len(spans.server().Links()) != 0 {
			t.Errorf("%q became a parent or a link", h)
		}
	}
	r.ask(apis[0], false, "", "Traceparent", traceparent+"01", "Tracestate", "a="+strings.Repeat("b", 600))
	if _, spans := r.exchange(); spans.server().SpanContext().TraceState().Len() != 0 {
		t.Error("a tracestate of 600 characters was kept")
	}
}

func TestS42ProvidersSeeNoTraceContext(t *testing.T) {
	r := newRig(t, rigConfig{})
	for i, a := range apis {
		theirs := strings.Replace(traceparent, theirTrace, strings.Repeat(strconv.Itoa(i+1), 32), 1)
		r.ask(a, false, "", "Traceparent", theirs+"01", "Tracestate", "a=b", "Baggage", "canary=1")
		r.exchange()
	}
	for _, q := range r.received() {
		for _, k := range []string{"Traceparent", "Tracestate", "Baggage"} {
			if q.Header[k] != nil {
				t.Errorf("sent %s: %v", k, q.Header[k])
			}
		}
	}
}

func TestS42PropagationNamesTheAttempt(t *testing.T) {
	r := newRig(t, rigConfig{provider: func(p *gateway.Provider) { p.Propagate = true }})
	r.ask(apis[0], false, "", "Traceparent", traceparent+"01", "Tracestate", "a=b", "Baggage", "canary=1")
	_, spans := r.exchange()
	h := r.received()[0].Header
	attempt := spans.genai()[0].SpanContext()
	if want := fmt.Sprintf("00-%s-%s-01", attempt.TraceID(), attempt.SpanID()); h.Get("Traceparent") != want {
		t.Errorf("sent %q, want %q", h.Get("Traceparent"), want)
	}
	if h["Tracestate"] != nil || h["Baggage"] != nil {
		t.Errorf("sent %v and %v", h["Tracestate"], h["Baggage"])
	}
	// A call without an attempt's span names the send.
	r.post("/v1/messages/count_tokens", plainBodies["/v1/messages/count_tokens"])
	_, spans = r.exchange()
	send := spans.named("POST")[0].SpanContext()
	if got := r.received()[1].Header.Get("Traceparent"); !strings.Contains(got, send.SpanID().String()) {
		t.Errorf("sent %q, want %s in it", got, send.SpanID())
	}
}

// outline renders a trace as "name(child child)", children by start.
func outline(tr tree) string {
	children := map[string][]int{}
	for i, s := range tr {
		children[s.Parent().SpanID().String()] = append(children[s.Parent().SpanID().String()], i)
	}
	var render func(i int) string
	render = func(i int) string {
		var parts []string
		for _, c := range children[tr[i].SpanContext().SpanID().String()] {
			parts = append(parts, render(c))
		}
		if len(parts) == 0 {
			return tr[i].Name()
		}
		return tr[i].Name() + "(" + strings.Join(parts, " ") + ")"
	}
	root := slices.IndexFunc(tr, func(s sdktrace.ReadOnlySpan) bool { return s == tr.server() })
	return render(root)
}

func TestTraceHasTheShapeOfItsDetail(t *testing.T) {
	for _, c := range []struct {
		detail    gateway.Detail
		stream    bool
		step, out string
	}{
		{gateway.DetailStandard, false, "", "POST /v1/messages(ccproxy.pre_call ccproxy.pre_api chat claude-sonnet-5(POST) ccproxy.post_api)"},
		{gateway.DetailStandard, true, "", "POST /v1/messages(ccproxy.pre_call ccproxy.pre_api chat claude-sonnet-5(POST ccproxy.stream) ccproxy.post_api)"},
		{gateway.DetailMinimal, true, "", "POST /v1/messages(chat claude-sonnet-5(POST))"},
		{gateway.DetailFull, true, "", "POST /v1/messages(ccproxy.pre_call ccproxy.pre_api chat claude-sonnet-5(POST ccproxy.stream) ccproxy.post_api)"},
		{gateway.DetailStandard, false, "status=500", "POST /v1/messages(ccproxy.pre_call ccproxy.pre_api chat claude-sonnet-5(POST) ccproxy.post_api)"},
	} {
		r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Detail = c.detail }})
		r.ask(apis[0], c.stream, c.step)
		if _, spans := r.exchange(); outline(spans) != c.out {
			t.Errorf("detail %v, streamed %v: got %s, want %s", c.detail, c.stream, outline(spans), c.out)
		}
	}
}

func TestCallsThatGenerateNothingHaveNoGenAISpan(t *testing.T) {
	r := newRig(t, rigConfig{provider: func(p *gateway.Provider) {
		if p.Name == "openai" {
			p.Passthrough = []string{"/v1/batches"}
		}
	}})
	for path, want := range map[string]string{
		"/v1/messages/count_tokens":                 "POST /v1/messages/count_tokens(ccproxy.pre_call ccproxy.pre_api POST ccproxy.post_api)",
		"/v1/responses/input_tokens":                "POST /v1/responses/input_tokens(ccproxy.pre_call ccproxy.pre_api POST ccproxy.post_api)",
		"/v1beta/models/gemini-3.5-pro:countTokens": "POST /v1beta/models/{model}:countTokens(ccproxy.pre_call ccproxy.pre_api POST ccproxy.post_api)",
	} {
		if got := r.post(path, plainBodies[path]); got.status != 200 {
			t.Errorf("%s: got %d", path, got.status)
		}
		_, spans := r.exchange()
		if outline(spans) != want || attr(spans.named("POST")[0], names.KeyPhase).AsString() != names.PhaseUpstream {
			t.Errorf("got %s, want %s", outline(spans), want)
		}
	}
	r.post("/v1/batches", "{}")
	x, spans := r.exchange()
	if outline(spans) != "POST(POST ccproxy.post_api)" || x.Dialect.Name() != "opaque" {
		t.Errorf("opaque: got %s, dialect %s", outline(spans), x.Dialect.Name())
	}
	r.do("GET", "/v1/models", "")
	if _, spans := r.exchange(); outline(spans) != "GET /v1/models" {
		t.Errorf("models: got %s", outline(spans))
	}
	r.post("/v1/embeddings", plainBodies["/v1/embeddings"])
	if _, spans := r.exchange(); len(spans.named("embeddings text-embedding-3-small")) != 1 {
		t.Errorf("embeddings: got %s", outline(spans))
	}
}

func TestResponseHeadersAreAlwaysThere(t *testing.T) {
	r := newRig(t, rigConfig{})
	check := func(what string, h http.Header) {
		t.Helper()
		r.exchange()
		for _, k := range []string{"X-CCProxy-Request-Id", "X-CCProxy-Trace-Id", "X-CCProxy-Model-Name", "X-CCProxy-Original-Model", "X-CCProxy-Routed-Model", "X-CCProxy-Provider", "X-CCProxy-Attempts", "Traceresponse"} {
			if h.Get(k) == "" {
				t.Errorf("%s: no %s", what, k)
			}
		}
	}
	for _, a := range apis {
		check(a.name, r.ask(a, false, "").header)
		check(a.name+" streamed", r.ask(a, true, "").header)
		check(a.name+" failed", r.ask(a, false, "status=500").header)
		path, _ := a.request("", false)
		check(a.name+" refused", r.post(path, "{").header)
	}
	check("unknown path", r.post("/nowhere", "{}").header)
	check("models", r.do("GET", "/v1/models", "").header)
	check("method", r.do("GET", "/v1/messages", "").header)
}
