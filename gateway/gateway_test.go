package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

// fixedRouter sends everything to its targets.
type fixedRouter struct {
	targets   []gateway.Target
	fallbacks []gateway.Target
}

func (r fixedRouter) Label(_ context.Context, x *gateway.Exchange) error {
	x.Route.Label = "default"
	return nil
}

func (r fixedRouter) Route(_ context.Context, x *gateway.Exchange) error {
	x.Route.Reason, x.Route.Targets = "default", r.targets
	x.Route.Fallbacks = map[string][]gateway.Target{"": r.fallbacks}
	return nil
}

func (r fixedRouter) Implied(gateway.Dialect) *gateway.Provider { return r.targets[0].Provider }

func TestSmoke(t *testing.T) {
	up := httptest.NewServer(gatewaytest.NewProvider(gatewaytest.ProviderOptions{Record: true}))
	defer up.Close()
	u, _ := url.Parse(up.URL)
	p := &gateway.Provider{Name: "anthropic", Type: "anthropic", Family: "anthropic", GenAI: "anthropic", BaseURL: u, Anonymous: true}
	rec := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))
	router := fixedRouter{targets: []gateway.Target{{Provider: p, Model: "simulate-429", Name: "anthropic/simulate-429"}}, fallbacks: []gateway.Target{{Provider: p, Model: "claude-sonnet-5", Name: "anthropic/claude-sonnet-5"}}}
	g, err := gateway.New(gateway.Config{
		Routes:         []gateway.RouteSpec{{Method: "POST", Path: "/v1/messages", Dialect: anthropic.Messages()}},
		Snapshot:       &gateway.Snapshot{Router: router, Providers: []*gateway.Provider{p}},
		TracerProvider: tp,
	})
	if err != nil {
		t.Fatal(err)
	}
	gw := httptest.NewServer(g)
	defer gw.Close()
	for _, stream := range []bool{false, true} {
		resp, err := http.Post(gw.URL+"/v1/messages?beta=true", "application/json", strings.NewReader(fmt.Sprintf(`{"model":"x","max_tokens":100,"stream":%v,"messages":[{"role":"user","content":"hi"}]}`, stream)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		t.Log(resp.Status, resp.Header, string(b), err)
	}
	for _, s := range rec.Ended() {
		t.Log(s.Name(), s.SpanKind(), s.Status(), s.Attributes(), len(s.Links()), s.Parent().SpanID(), s.SpanContext().SpanID())
	}
}
