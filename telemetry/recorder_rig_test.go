package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/openai"
	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// rig is a gateway between a client and a simulated provider, with its telemetry in memory.
type rig struct {
	t      testing.TB
	url    string
	up     *gatewaytest.Provider
	spans  *tracetest.SpanRecorder
	reader *sdkmetric.ManualReader
	logs   *logMemory
	lines  *lineBuffer
	client *http.Client
	apiKey string
	ended  *endings
}

// rigConfig says what differs from the usual rig.
type rigConfig struct {
	recorder  telemetry.RecorderConfig // providers and log are the rig's own
	level     slog.Level
	targets   []string // models; "": the client's
	fallbacks []string
	skipped   []gateway.Skip
	hooks     []gateway.ConfiguredHook
	baseURL   string // of the provider; "": the simulated one
	basePath  string // below the simulated provider; OpenAI's is /v1
	unsampled bool   // no span is recorded
	// credential gives the client one, which is forwarded.
	credential bool
	pricer     gateway.Pricer
	hideCost   bool
	ledger     gateway.Ledger
}

// rigRouter sends everything to its targets.
type rigRouter struct {
	targets, fallbacks []gateway.Target
	skipped            []gateway.Skip
}

func (r rigRouter) Label(_ context.Context, x *gateway.Exchange) error {
	x.Route.Label, x.Route.Rule = "think", "thinking"
	return nil
}

func (r rigRouter) Route(_ context.Context, x *gateway.Exchange) error {
	x.Route.Reason, x.Route.Targets, x.Route.Skipped = names.RouteReasonRule, r.targets, r.skipped
	x.Route.Passthrough = r.targets[0].Model == ""
	x.Route.Fallbacks = map[string][]gateway.Target{"": r.fallbacks}
	return nil
}

func (r rigRouter) Implied(gateway.Dialect) *gateway.Provider { return r.targets[0].Provider }

// endings tells when exchanges have ended: the client may know before.
type endings struct {
	gateway.Recorder
	mu   sync.Mutex
	done []*gateway.Exchange
	wake chan struct{}
}

func (e *endings) End(ctx context.Context, x *gateway.Exchange) {
	e.Recorder.End(ctx, x)
	e.mu.Lock()
	e.done = append(e.done, x)
	e.mu.Unlock()
	e.wake <- struct{}{}
}

// last waits for the next exchange to end.
func (e *endings) last() *gateway.Exchange {
	<-e.wake
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.done[len(e.done)-1]
}

type lineBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lineBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lineBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// logMemory keeps log records.
type logMemory struct {
	mu      sync.Mutex
	records []sdklog.Record
}

func (m *logMemory) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

func (m *logMemory) OnEmit(_ context.Context, r *sdklog.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = append(m.records, r.Clone())
	return nil
}

func (m *logMemory) Shutdown(context.Context) error   { return nil }
func (m *logMemory) ForceFlush(context.Context) error { return nil }

func (m *logMemory) all() []sdklog.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]sdklog.Record(nil), m.records...)
}

func newRig(t testing.TB, cfg rigConfig) *rig {
	t.Helper()
	r := &rig{t: t, up: gatewaytest.NewProvider(gatewaytest.ProviderOptions{}), spans: tracetest.NewSpanRecorder(),
		reader: sdkmetric.NewManualReader(), logs: &logMemory{}, lines: &lineBuffer{}, client: &http.Client{Transport: &http.Transport{}}}
	provider := httptest.NewServer(r.up)
	base := cfg.baseURL
	if base == "" {
		base = provider.URL + cfg.basePath
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	sampler := sdktrace.AlwaysSample()
	if cfg.unsampled {
		sampler = sdktrace.NeverSample()
	}
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans), sdktrace.WithSampler(sampler))
	rc := cfg.recorder
	rc.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader))
	rc.LoggerProvider = sdklog.NewLoggerProvider(sdklog.WithProcessor(r.logs))
	rc.Log = slog.New(telemetry.NewLogHandler(r.lines, false, cfg.level))
	routes := []gateway.RouteSpec{
		{Method: "POST", Path: "/v1/messages", Dialect: anthropic.Messages()},
		{Method: "POST", Path: "/v1/chat/completions", Dialect: openai.Chat()},
		{Method: "POST", Path: "/v1/embeddings", Dialect: openai.Embeddings()},
	}
	rec, err := telemetry.NewRecorder(rc)
	if err != nil {
		t.Fatal(err)
	}
	r.ended = &endings{Recorder: rec, wake: make(chan struct{}, 1000)}

	p := &gateway.Provider{Name: "main", Type: "anthropic", Family: "anthropic", GenAI: "anthropic", BaseURL: u, Anonymous: true}
	target := func(model string) gateway.Target {
		name := "main/" + model
		if model == "" {
			name = "main/_OTHER"
		}
		return gateway.Target{Provider: p, Model: model, Name: name}
	}
	router := rigRouter{skipped: cfg.skipped}
	for _, m := range cfg.targets {
		router.targets = append(router.targets, target(m))
	}
	for _, m := range cfg.fallbacks {
		router.fallbacks = append(router.fallbacks, target(m))
	}
	transport := gateway.NewTransport()
	g, err := gateway.New(gateway.Config{
		Routes: routes, Snapshot: &gateway.Snapshot{Router: router, Providers: []*gateway.Provider{p}, Hooks: cfg.hooks, ForwardAPIKey: cfg.credential,
			Pricer: cfg.pricer, HideCost: cfg.hideCost, Ledger: cfg.ledger},
		TracerProvider: tp, Recorder: r.ended, Transport: transport, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	gw := httptest.NewServer(g)
	r.url = gw.URL
	if cfg.credential {
		r.apiKey = "sk-ant-of-the-client-0123456789"
	}
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		gw.Close()
		r.up.Close()
		transport.CloseIdleConnections()
		provider.Close()
		_ = tp.Shutdown(context.Background())
	})
	return r
}

// post sends a body and returns the exchange once it has ended.
func (r *rig) post(path, body string) *gateway.Exchange {
	r.t.Helper()
	req := newPost(context.Background(), r.url+path, body)
	if r.apiKey != "" {
		req.Header.Set("X-Api-Key", r.apiKey)
	}
	req.Header.Set("User-Agent", "client/1.0")
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body) // a stream may be cut on purpose
	resp.Body.Close()
	return r.ended.last()
}

// span returns the last ended span with the name.
func (r *rig) span(name string) sdktrace.ReadOnlySpan {
	r.t.Helper()
	ended := r.spans.Ended()
	for i := len(ended) - 1; i >= 0; i-- {
		if ended[i].Name() == name {
			return ended[i]
		}
	}
	r.t.Fatalf("got no span %q", name)
	return nil
}

func spanAttribute(s sdktrace.ReadOnlySpan, key attribute.Key) attribute.Value {
	for _, kv := range s.Attributes() {
		if kv.Key == key {
			return kv.Value
		}
	}
	return attribute.Value{}
}

// point is a data point in short: its attributes as "key=value key=value", and its figures.
type point struct {
	attrs     string
	sum       float64
	count     uint64
	exemplars []string // trace ids
}

// metric collects and returns the points of a metric.
func (r *rig) metric(name string) []point {
	r.t.Helper()
	return r.collect()[name]
}

func (r *rig) collect() map[string][]point {
	r.t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.reader.Collect(context.Background(), &rm); err != nil {
		r.t.Fatal(err)
	}
	all := map[string][]point{}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					all[m.Name] = append(all[m.Name], point{encode(p.Attributes), float64(p.Value), 1, traceIDs(p.Exemplars)})
				}
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					all[m.Name] = append(all[m.Name], point{encode(p.Attributes), p.Value, 1, traceIDs(p.Exemplars)})
				}
			case metricdata.Histogram[int64]:
				for _, p := range d.DataPoints {
					all[m.Name] = append(all[m.Name], point{encode(p.Attributes), float64(p.Sum), p.Count, traceIDs(p.Exemplars)})
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					all[m.Name] = append(all[m.Name], point{encode(p.Attributes), p.Sum, p.Count, traceIDs(p.Exemplars)})
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					all[m.Name] = append(all[m.Name], point{encode(p.Attributes), float64(p.Value), 1, traceIDs(p.Exemplars)})
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					all[m.Name] = append(all[m.Name], point{encode(p.Attributes), p.Value, 1, traceIDs(p.Exemplars)})
				}
			default:
				r.t.Fatalf("metric %s has unexpected data %T", m.Name, d)
			}
		}
	}
	return all
}

func encode(s attribute.Set) string {
	parts := make([]string, 0, s.Len())
	for _, kv := range s.ToSlice() {
		parts = append(parts, string(kv.Key)+"="+kv.Value.String())
	}
	return strings.Join(parts, " ")
}

func traceIDs[N int64 | float64](list []metricdata.Exemplar[N]) []string {
	var ids []string
	for _, e := range list {
		if len(e.TraceID) > 0 {
			ids = append(ids, hexOf(e.TraceID))
		}
	}
	return ids
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

type requestSeen = gatewaytest.Request

func newPost(ctx context.Context, url, body string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		panic(err) // the URL is the test's own
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

// open sends a body and returns the streamed answer once that many of its events are there.
func (r *rig) open(ctx context.Context, path, body string, events int) *http.Response {
	r.t.Helper()
	resp, err := r.client.Do(newPost(ctx, r.url+path, body))
	if err != nil {
		r.t.Fatal(err)
	}
	var seen []byte
	for b := make([]byte, 1); bytes.Count(seen, []byte("\n\n")) < events; seen = append(seen, b[0]) {
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			r.t.Fatal(err)
		}
	}
	return resp
}

// leave starts a stream and drops the connection after three events.
func (r *rig) leave(path, body string) *gateway.Exchange {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	resp := r.open(ctx, path, body, 3)
	defer resp.Body.Close()
	cancel()
	return r.ended.last()
}
