package gateway_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/gemini"
	"github.com/ccproxy/ccproxy/gateway/openai"
	"github.com/ccproxy/ccproxy/gateway/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// routes are all that the three dialect packages serve.
func routes() []gateway.RouteSpec {
	out := []gateway.RouteSpec{
		{Method: "POST", Path: "/v1/messages", Dialect: anthropic.Messages()},
		{Method: "POST", Path: "/v1/messages/count_tokens", Dialect: anthropic.CountTokens()},
		{Method: "POST", Path: "/v1/chat/completions", Dialect: openai.Chat()},
		{Method: "POST", Path: "/v1/completions", Dialect: openai.Completions()},
		{Method: "POST", Path: "/v1/responses", Dialect: openai.Responses()},
		{Method: "POST", Path: "/v1/responses/input_tokens", Dialect: openai.InputTokens()},
		{Method: "POST", Path: "/v1/embeddings", Dialect: openai.Embeddings()},
	}
	return append(out,
		gateway.RouteSpec{Method: "POST", Path: "/v1beta/models/", Actions: []string{"generateContent", "streamGenerateContent"}, Dialect: gemini.GenerateContent()},
		gateway.RouteSpec{Method: "POST", Path: "/v1beta/models/", Actions: []string{"countTokens"}, Dialect: gemini.CountTokens()},
		gateway.RouteSpec{Method: "POST", Path: "/v1beta/models/", Actions: []string{"embedContent", "batchEmbedContents"}, Dialect: gemini.EmbedContent()})
}

// api is one way to ask for a generation.
type api struct{ name string }

var apis = []api{{"anthropic.messages"}, {"openai.chat"}, {"openai.responses"}, {"gemini.generate_content"}}

// family is the vendor, and the name of the provider in a rig.
func (a api) family() string {
	family, _, _ := strings.Cut(a.name, ".")
	return family
}

// request returns path and body. "" is the vendor's usual model.
func (a api) request(model string, stream bool) (path, body string) {
	if model == "" {
		model = map[string]string{"anthropic": "claude-sonnet-5", "openai": "gpt-5.5", "gemini": "gemini-3.5-pro"}[a.family()]
	}
	switch a.name {
	case "anthropic.messages":
		return "/v1/messages", fmt.Sprintf(`{"model":%q,"max_tokens":256,"stream":%v,"messages":[{"role":"user","content":"hello"}]}`, model, stream)
	case "openai.chat":
		options := ""
		if stream {
			options = `"stream_options":{"include_usage":true},`
		}
		return "/v1/chat/completions", fmt.Sprintf(`{"model":%q,"stream":%v,%s"messages":[{"role":"user","content":"hello"}]}`, model, stream, options)
	case "openai.responses":
		return "/v1/responses", fmt.Sprintf(`{"model":%q,"stream":%v,"input":"hello"}`, model, stream)
	}
	action := "generateContent"
	if stream {
		action = "streamGenerateContent?alt=sse"
	}
	return "/v1beta/models/" + model + ":" + action, `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`
}

// rigConfig says how a rig differs from three open providers at one simulator.
type rigConfig struct {
	sim      gatewaytest.ProviderOptions
	upstream http.Handler                   // in place of the simulator
	baseURL  string                         // in place of either
	extra    []string                       // more providers, as "name=family" or "name=family=URL"
	provider func(p *gateway.Provider)      // edits each provider
	models   map[string]route.Model         // routes
	rules    []route.Rule                   // labels
	any      []string                       // fallbacks of everything
	snapshot func(s *gateway.Snapshot)      // edits the snapshot
	server   func(s *httptest.Server)       // edits the gateway's server
	sampler  sdktrace.Sampler               // nil: the SDK's default
	log      *slog.Logger                   // nil: discarded
	recorder func(*ending) gateway.Recorder // wraps the rig's
}

// rig is a gateway between a client and an upstream, over real sockets. When
// the test ends, what the gateway leaves behind is checked.
type rig struct {
	t        testing.TB
	sim      *gatewaytest.Provider // nil with an upstream of its own
	gw       *gateway.Gateway
	url      string
	upstream string
	client   *http.Client
	spans    *spanLog
	end      *ending
	ledger   *purse // nil when a test has another kind
}

func newRig(t testing.TB, cfg rigConfig) *rig {
	t.Helper()
	r := &rig{t: t, spans: &spanLog{live: map[trace.SpanID]sdktrace.ReadOnlySpan{}, wake: make(chan struct{})}, end: &ending{done: make(chan *gateway.Exchange, 4096)}}
	h := cfg.upstream
	if h == nil {
		r.sim = gatewaytest.NewProvider(cfg.sim)
		h = r.sim
	}
	up := httptest.NewUnstartedServer(h)
	up.Config.ErrorLog = log.New(io.Discard, "", 0)
	up.Start()
	r.upstream = up.URL
	if cfg.baseURL == "" {
		cfg.baseURL = up.URL
	}
	snapshot := cfg.newSnapshot(t)
	r.ledger, _ = snapshot.Ledger.(*purse)
	opts := []sdktrace.TracerProviderOption{sdktrace.WithSpanProcessor(r.spans)}
	if cfg.sampler != nil {
		opts = append(opts, sdktrace.WithSampler(cfg.sampler))
	}
	tp := sdktrace.NewTracerProvider(opts...)
	transport := gateway.NewTransport()
	if cfg.log == nil {
		cfg.log = slog.New(slog.DiscardHandler)
	}
	var rec gateway.Recorder = r.end
	if cfg.recorder != nil {
		rec = cfg.recorder(r.end)
	}
	g, err := gateway.New(gateway.Config{Routes: routes(), Snapshot: snapshot, TracerProvider: tp, Recorder: rec, Transport: transport, Log: cfg.log})
	if err != nil {
		t.Fatal(err)
	}
	r.gw = g
	srv := httptest.NewUnstartedServer(g)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if cfg.server != nil {
		cfg.server(srv)
	}
	srv.Start()
	r.url = srv.URL
	r.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		if r.sim != nil {
			r.sim.Close()
		}
		r.client.CloseIdleConnections()
		srv.Close() // waits for every handler
		transport.CloseIdleConnections()
		up.CloseClientConnections()
		up.Close()
		r.checkInvariants()
		_ = tp.Shutdown(context.Background())
	})
	return r
}

func (cfg *rigConfig) newSnapshot(t testing.TB) *gateway.Snapshot {
	t.Helper()
	base := func(family, at string) *url.URL {
		if family == "openai" {
			at += "/v1"
		}
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	var providers []*gateway.Provider
	for _, f := range []string{"anthropic", "openai", "gemini"} {
		providers = append(providers, &gateway.Provider{Name: f, Type: f, Family: f, GenAI: f, BaseURL: base(f, cfg.baseURL), Anonymous: true})
	}
	for _, e := range cfg.extra {
		parts := strings.SplitN(e, "=", 3)
		at := cfg.baseURL
		if len(parts) == 3 {
			at = parts[2]
		}
		providers = append(providers, &gateway.Provider{Name: parts[0], Type: "compatible", Family: parts[1], GenAI: parts[1], BaseURL: base(parts[1], at), Anonymous: true})
	}
	if cfg.provider != nil {
		for _, p := range providers {
			cfg.provider(p)
		}
	}
	rc := route.Config{Rules: cfg.rules, Models: cfg.models, Providers: providers, DefaultPassthrough: true}
	if cfg.any != nil {
		rc.Fallbacks = map[string][]string{"": cfg.any}
	}
	router, err := route.New(rc)
	if err != nil {
		t.Fatal(err)
	}
	s := &gateway.Snapshot{Version: "test", Providers: providers, Router: router, Models: router.Models(), Ledger: &purse{}}
	// Failures show as they are. Tests of retries allow them.
	s.Limits.RetryBudget = -1
	if cfg.snapshot != nil {
		cfg.snapshot(s)
	}
	return s
}

// limits returns an edit of a snapshot's limits.
func limits(edit func(*gateway.Limits)) func(*gateway.Snapshot) {
	return func(s *gateway.Snapshot) { edit(&s.Limits) }
}

// answer is what the client got.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// post sends a JSON body; header is name, value, ….
func (r *rig) post(path, body string, header ...string) answer {
	r.t.Helper()
	return r.do("POST", path, body, header...)
}

func (r *rig) do(method, path, body string, header ...string) answer {
	r.t.Helper()
	resp, err := r.client.Do(r.request(r.t.Context(), method, path, body, header...))
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b), err}
}

func (r *rig) request(ctx context.Context, method, path, body string, header ...string) *http.Request {
	r.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, content)
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header[http.CanonicalHeaderKey(header[i])] = append(req.Header[http.CanonicalHeaderKey(header[i])], header[i+1])
	}
	return req
}

// ask posts a generation in a dialect, with the simulator's step.
func (r *rig) ask(a api, stream bool, step string, header ...string) answer {
	r.t.Helper()
	path, body := a.request("", stream)
	if step != "" {
		header = append(header, "X-Simulate", step)
	}
	return r.post(path, body, header...)
}

// exchange waits for the next exchange to end and returns it with its trace.
func (r *rig) exchange() (*gateway.Exchange, tree) {
	r.t.Helper()
	select {
	case x := <-r.end.done:
		return x, r.spans.trace(r.t, x.Span.SpanContext())
	case <-time.After(patience):
		r.t.Fatal("no exchange ended in time")
		return nil, nil
	}
}

// received returns what the simulator got.
func (r *rig) received() []gatewaytest.Request { return r.sim.Requests() }

// wait waits until ok is true of the simulator's requests.
func (r *rig) wait(what string, ok func([]gatewaytest.Request) bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.sim.WaitRequests(ctx, ok); err != nil {
		r.t.Fatalf("waiting until %s: %v", what, err)
	}
}

// ending is a recorder that hands out exchanges that have ended, and counts
// what must balance.
type ending struct {
	gateway.NopRecorder
	done chan *gateway.Exchange
	mu   sync.Mutex
	all  []*gateway.Exchange

	begun, ended, streams int
	settled               map[*gateway.Attempt]int
	closed                map[*gateway.Attempt]int
	failed                []string // hooks, as "hook phase action"
}

func (e *ending) Begin(context.Context, *gateway.Exchange) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun++
}

func (e *ending) Settled(_ context.Context, a *gateway.Attempt) { e.count(&e.settled, a) }

func (e *ending) AttemptEnded(_ context.Context, a *gateway.Attempt) { e.count(&e.closed, a) }

func (e *ending) count(m *map[*gateway.Attempt]int, a *gateway.Attempt) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if *m == nil {
		*m = map[*gateway.Attempt]int{}
	}
	(*m)[a]++
}

func (e *ending) StreamStarted(context.Context, *gateway.Attempt) { e.stream(1) }

func (e *ending) StreamEnded(context.Context, *gateway.Attempt) { e.stream(-1) }

func (e *ending) stream(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.streams += n
}

func (e *ending) HookFailed(_ context.Context, _ *gateway.Exchange, hook, phase, action string, _ error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed = append(e.failed, hook+" "+phase+" "+action)
}

func (e *ending) End(_ context.Context, x *gateway.Exchange) {
	e.mu.Lock()
	e.ended++
	e.all = append(e.all, x)
	e.mu.Unlock()
	e.done <- x
}

// hookFailures returns what HookFailed was told.
func (e *ending) hookFailures() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.failed...)
}

// startUpstream serves h until the test ends and returns its address.
func startUpstream(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}
