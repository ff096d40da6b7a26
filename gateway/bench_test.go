package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/route"
)

// plainAnswer is a Messages answer of about 1 kB.
func plainAnswer() []byte {
	return fmt.Appendf(nil, `{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-5","content":[{"type":"text","text":%q}],"stop_reason":"end_turn","usage":{"input_tokens":250,"output_tokens":200}}`, strings.Repeat("word ", 160))
}

// streamAnswer is a Messages stream of n events.
func streamAnswer(n int) [][]byte {
	out := [][]byte{
		[]byte("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-5\",\"content\":[],\"usage\":{\"input_tokens\":250,\"output_tokens\":1}}}\n\n"),
		[]byte("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"),
	}
	for len(out) < n-3 {
		out = append(out, []byte("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a few words more \"}}\n\n"))
	}
	return append(out,
		[]byte("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"),
		[]byte("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":200}}\n\n"),
		[]byte("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"))
}

func benchRequest(stream bool) []byte {
	return fmt.Appendf(nil, `{"model":"claude-sonnet-5","max_tokens":256,"stream":%v,"messages":[{"role":"user","content":%q}]}`, stream, strings.Repeat("word ", 190))
}

// benchUpstream answers plainly or, when asked so, with 50 flushed events.
func benchUpstream() http.Handler {
	plain, events := plainAnswer(), streamAnswer(50)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !bytes.Contains(body, []byte(`"stream":true`)) {
			w.Header()["Content-Type"] = []string{"application/json"}
			_, _ = w.Write(plain)
			return
		}
		w.Header()["Content-Type"] = []string{"text/event-stream"}
		rc := http.NewResponseController(w)
		for _, e := range events {
			_, _ = w.Write(e)
			_ = rc.Flush()
		}
	})
}

// dropSpans is a span processor that does nothing.
type dropSpans struct{}

func (dropSpans) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (dropSpans) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (dropSpans) Shutdown(context.Context) error                  { return nil }
func (dropSpans) ForceFlush(context.Context) error                { return nil }

func benchGateway(t testing.TB, base string, transport http.RoundTripper, tp trace.TracerProvider) http.Handler {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	p := &gateway.Provider{Name: "anthropic", Type: "anthropic", Family: "anthropic", GenAI: "anthropic", BaseURL: u, Keys: []gateway.Secret{providerKey}}
	router, err := route.New(route.Config{Providers: []*gateway.Provider{p}, DefaultPassthrough: true})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Config{Routes: routes(), Snapshot: &gateway.Snapshot{Router: router, Providers: []*gateway.Provider{p}}, Transport: transport, TracerProvider: tp})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// benchmark posts body through each way in turn, over loopback.
func benchmark(b *testing.B, body []byte) {
	up := httptest.NewServer(benchUpstream())
	defer up.Close()
	target, err := url.Parse(up.URL)
	if err != nil {
		b.Fatal(err)
	}
	transport := gateway.NewTransport()
	defer transport.CloseIdleConnections()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(dropSpans{}))
	for _, way := range []struct {
		name string
		h    http.Handler
	}{
		{"direct", nil},
		{"reverseproxy", &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}},
		{"gateway/tracing=off", benchGateway(b, up.URL, transport, nil)},
		{"gateway/tracing=on", benchGateway(b, up.URL, transport, tp)},
	} {
		b.Run(way.name, func(b *testing.B) {
			at := up.URL
			if way.h != nil {
				srv := httptest.NewServer(way.h)
				defer srv.Close()
				at = srv.URL
			}
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			client := &http.Client{Transport: tr}
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.Post(at+"/v1/messages", "application/json", bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
					b.Fatal(resp.StatusCode, err)
				}
				resp.Body.Close()
			}
		})
	}
}

func BenchmarkPlain1KB(b *testing.B) { benchmark(b, benchRequest(false)) }

func BenchmarkStream50(b *testing.B) { benchmark(b, benchRequest(true)) }

// cannedUpstream is a transport that answers from memory.
type cannedUpstream struct {
	contentType string
	events      [][]byte
}

func (c cannedUpstream) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
		Header: http.Header{"Content-Type": {c.contentType}}, Body: &pieces{left: c.events},
	}, nil
}

// pieces is a body that yields one piece a Read, or what fits of it.
type pieces struct {
	left [][]byte
	at   int // in the first
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.left[0][p.at:])
	if p.at += n; p.at == len(p.left[0]) {
		p.left, p.at = p.left[1:], 0
	}
	return n, nil
}

func (*pieces) Close() error { return nil }

// sink is a ResponseWriter that keeps nothing.
type sink struct {
	header http.Header
	status int
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { s.n += len(b); return len(b), nil }
func (s *sink) Flush()                      {}

// allocs returns the allocations of one request through the engine alone.
func allocs(t *testing.T, tp trace.TracerProvider, stream bool, events [][]byte) float64 {
	t.Helper()
	contentType := "application/json"
	if stream {
		contentType = "text/event-stream"
	}
	h := benchGateway(t, "http://upstream.example", cannedUpstream{contentType, events}, tp)
	body := benchRequest(stream)
	want := 0
	for _, e := range events {
		want += len(e)
	}
	return testing.AllocsPerRun(100, func() {
		r := httptest.NewRequest("POST", "/v1/messages", bytes.NewReader(body))
		r.Header["Content-Type"] = []string{"application/json"}
		w := &sink{header: http.Header{}}
		h.ServeHTTP(w, r)
		if w.status != 200 || w.n != want {
			t.Fatalf("got status %d and %d bytes, want %d", w.status, w.n, want)
		}
	})
}

// The bounds are a little above what was measured when they were set; whoever
// raises one should know why.
func TestAllocationsAreBounded(t *testing.T) {
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(dropSpans{}))
	for _, c := range []struct {
		name  string
		tp    trace.TracerProvider
		plain float64
	}{{"tracing off", nil, maxAllocsPlain}, {"tracing on", tp, maxAllocsTraced}} {
		plain := allocs(t, c.tp, false, [][]byte{plainAnswer()})
		if plain > c.plain {
			t.Errorf("%s: a plain request made %v allocations, want %v at most", c.name, plain, c.plain)
		}
		few, many := allocs(t, c.tp, true, streamAnswer(50)), allocs(t, c.tp, true, streamAnswer(1050))
		if each := (many - few) / 1000; each > maxAllocsEvent {
			t.Errorf("%s: an event of a stream made %v allocations, want %v at most", c.name, each, maxAllocsEvent)
		}
		t.Logf("%s: plain %v, stream of 50 %v, each further event %v", c.name, plain, few, (many-few)/1000)
	}
}

const (
	maxAllocsPlain  = 155
	maxAllocsTraced = 215
	maxAllocsEvent  = 0.05
)

// happyPath posts a plain request through the engine alone, with or without what
// guards against failures.
func happyPath(t testing.TB, guarded bool) func() {
	t.Helper()
	u, err := url.Parse("http://upstream.example")
	if err != nil {
		t.Fatal(err)
	}
	p := &gateway.Provider{Name: "anthropic", Type: "anthropic", Family: "anthropic", GenAI: "anthropic", BaseURL: u, Keys: []gateway.Secret{providerKey, otherKey}}
	cfg := route.Config{Providers: []*gateway.Provider{p}, Models: map[string]route.Model{"claude-sonnet-5": {
		Targets: []route.WeightedTarget{{Target: "anthropic/claude-sonnet-5"}, {Target: "anthropic/claude-haiku-4-5"}}, Fallbacks: []string{"anthropic/claude-opus-5"}}}}
	s := &gateway.Snapshot{Providers: []*gateway.Provider{p}}
	s.Limits.RetryBudget = -1
	if guarded {
		cfg.Health, cfg.Sticky = route.NewHealth(), route.NewSticky()
		s.Health, s.Limits.RetryBudget = cfg.Health, 0.2
	}
	router, err := route.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Router = router
	g, err := gateway.New(gateway.Config{Routes: routes(), Snapshot: s, Transport: cannedUpstream{"application/json", [][]byte{plainAnswer()}}})
	if err != nil {
		t.Fatal(err)
	}
	body := benchRequest(false)
	return func() {
		r := httptest.NewRequest("POST", "/v1/messages", bytes.NewReader(body))
		r.Header["Content-Type"] = []string{"application/json"}
		r.Header["X-Claude-Code-Session-Id"] = []string{"0b5e8f7c-1d2f-4a53-9a33-8b8b1f1d2c3d"}
		w := &sink{header: http.Header{}}
		g.ServeHTTP(w, r)
		if w.status != 200 {
			t.Fatalf("got status %d", w.status)
		}
	}
}

func BenchmarkHappyPath(b *testing.B) {
	for _, guarded := range []bool{false, true} {
		b.Run(fmt.Sprintf("guarded=%v", guarded), func(b *testing.B) {
			ask := happyPath(b, guarded)
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
		})
	}
}

func TestGuardsAllocateNothingOnTheHappyPath(t *testing.T) {
	bare, guarded := happyPath(t, false), happyPath(t, true)
	if without, with := testing.AllocsPerRun(200, bare), testing.AllocsPerRun(200, guarded); with > without {
		t.Errorf("circuits, retries and memory of conversations make %v allocations, want none", with-without)
	}
}
