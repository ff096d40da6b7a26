package hooks_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/hooks"
)

const (
	model  = "claude-sonnet-5"
	prompt = `{"model":"claude-sonnet-5","max_tokens":64,"messages":[{"role":"user","content":"hello there"}]}`
)

// router labels by the model's name and sends everything to one provider.
type router struct{ provider *gateway.Provider }

func (r router) Label(_ context.Context, x *gateway.Exchange) error {
	x.Route.Label = "default"
	if strings.Contains(x.Call.Model, "haiku") {
		x.Route.Label, x.Route.Rule = "background", "background"
	}
	return nil
}

func (r router) Route(_ context.Context, x *gateway.Exchange) error {
	t := gateway.Target{Provider: r.provider, Name: "anthropic/" + x.Call.Model}
	if x.Route.Label == "think" {
		t.Model, t.Name = "claude-opus-5", "anthropic/claude-opus-5"
	}
	x.Route.Reason, x.Route.Targets = "default", []gateway.Target{t}
	return nil
}

func (r router) Implied(gateway.Dialect) *gateway.Provider { return r.provider }

// failures records what hooks failed of.
type failures struct {
	gateway.NopRecorder
	mu     sync.Mutex
	errs   []error
	action string
	last   *gateway.Exchange
}

func (f *failures) HookFailed(_ context.Context, _ *gateway.Exchange, _, _, action string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs, f.action = append(f.errs, err), action
}

func (f *failures) End(_ context.Context, x *gateway.Exchange) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = x
}

// text is all the errors in one.
func (f *failures) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.errs) == 0 {
		return ""
	}
	return errors.Join(f.errs...).Error()
}

// rig is a gateway between a client and a simulated provider.
type rig struct {
	t        *testing.T
	url      string
	provider *gatewaytest.Provider
	spans    *tracetest.SpanRecorder
	failed   *failures
	front    *httptest.Server
}

// drain returns when all exchanges have ended; no more can be sent.
func (r *rig) drain() { r.front.Close() }

// last is the last exchange, ended.
func (r *rig) last() *gateway.Exchange {
	r.drain()
	return r.failed.last
}

type option func(*gateway.Snapshot)

func newRig(t *testing.T, list []gateway.ConfiguredHook, opts ...option) *rig {
	t.Helper()
	r := &rig{t: t, provider: gatewaytest.NewProvider(gatewaytest.ProviderOptions{}), spans: tracetest.NewSpanRecorder(), failed: &failures{}}
	upstream := httptest.NewServer(r.provider)
	base, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := &gateway.Provider{Name: "anthropic", Type: "anthropic", Family: "anthropic", GenAI: "anthropic", BaseURL: base}
	s := &gateway.Snapshot{Router: router{p}, Providers: []*gateway.Provider{p}, Hooks: list, ForwardOAuth: true, ForwardAPIKey: true,
		Models: []gateway.ModelInfo{{ID: "think", Provider: "ccproxy"}, {ID: "claude-opus-5", Provider: "anthropic"}}}
	for _, o := range opts {
		o(s)
	}
	transport := gateway.NewTransport()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans))
	g, err := gateway.New(gateway.Config{Snapshot: s, TracerProvider: tp, Recorder: r.failed, Transport: transport,
		Routes: []gateway.RouteSpec{{Method: "POST", Path: "/v1/messages", Dialect: anthropic.Messages()}}})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(g)
	r.url, r.front = front.URL, front
	t.Cleanup(func() {
		front.Close()
		r.provider.Close()
		upstream.Close()
		transport.CloseIdleConnections()
		for _, h := range list {
			if c, ok := h.Hook.(io.Closer); ok {
				c.Close()
			}
		}
	})
	return r
}

// with makes configured hooks: names, each followed by its parameters if it has any.
func with(t *testing.T, args ...any) []gateway.ConfiguredHook {
	t.Helper()
	var list []gateway.ConfiguredHook
	for i := 0; i < len(args); i++ {
		var params hooks.Params
		if i+1 < len(args) {
			if m, ok := args[i+1].(hooks.Map); ok {
				params = m
			}
		}
		h, err := hooks.New(args[i].(string), params)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, hooks.Configure(h))
		if params != nil {
			i++
		}
	}
	return list
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (r *rig) send(body string, header ...string) reply {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), "POST", r.url+"/v1/messages", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-Key", "sk-ant-api03-client-secret-abcd")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

// sent is the last request the provider got.
func (r *rig) sent() gatewaytest.Request {
	r.t.Helper()
	all := r.provider.Requests()
	if len(all) == 0 {
		r.t.Fatal("got no request at the provider, want one")
	}
	return all[len(all)-1]
}

// span returns the first span of that name once all exchanges have ended.
func (r *rig) span(name string) sdktrace.ReadOnlySpan {
	r.t.Helper()
	r.drain()
	for _, s := range r.spans.Ended() {
		if s.Name() == name {
			return s
		}
	}
	r.t.Fatalf("got no span %q", name)
	return nil
}

func attributes(s sdktrace.ReadOnlySpan) map[string]attribute.Value {
	m := map[string]attribute.Value{}
	for _, kv := range s.Attributes() {
		m[string(kv.Key)] = kv.Value
	}
	return m
}

// quiet is a log nobody reads.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
