package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Config is what a Gateway is made of.
type Config struct {
	// Routes maps request patterns to dialects; see [Route].
	Routes []RouteSpec
	// Snapshot is the first configuration; it may be swapped later.
	Snapshot *Snapshot
	// TracerProvider makes the spans; nil: none are made.
	TracerProvider trace.TracerProvider
	// Recorder turns exchanges into metrics and logs; nil: none.
	Recorder Recorder
	// Transport reaches the providers; nil: NewTransport().
	Transport http.RoundTripper
	// ServerName is server.address on SERVER spans; it never comes from the
	// Host header. "": "ccproxy".
	ServerName string
	// UserKey keys the hash of end users' ids; nil: a key of this process.
	UserKey []byte
	// Log takes what is no exchange's own, such as panics; nil: slog.Default().
	Log *slog.Logger
}

// RouteSpec serves one path in one dialect.
type RouteSpec struct {
	Method string // POST
	// Path is exact. A trailing "/" stands for "{model}:{action}" below it, for
	// Gemini's paths.
	Path    string
	Actions []string // the actions after the colon
	Dialect Dialect
}

// Gateway serves exchanges. It is an http.Handler for the data port.
type Gateway struct {
	snapshot  atomic.Pointer[Snapshot]
	tracer    trace.Tracer
	genai     trace.Tracer
	recorder  Recorder
	transport *TraceTransport
	log       *slog.Logger
	userKey   []byte
	retries   retryBudget

	exact  map[string]map[string]*route // :: path → method → route
	models map[string]map[string]*route // :: prefix → action → route (Gemini's calls; action "" is a look at one model)
	other  *route
}

// route is one served path with its own SERVER span name.
type route struct {
	pattern string // http.route
	dialect Dialect
	handler http.Handler
}

// control is what the handler outside the SERVER span shares with the one
// inside.
type control struct {
	snapshot   *Snapshot
	caller     Caller
	credential clientCredential
	access     Access // what the caller may do; nil: anything
	refused    *Error // why the caller may do nothing, or nil
	start      time.Time
	abort      bool // break the connection once the span has ended
}

type controlKey struct{}

// New makes a Gateway.
func New(cfg Config) (*Gateway, error) {
	if cfg.Snapshot == nil || cfg.Snapshot.Router == nil {
		return nil, errors.New("gateway: a snapshot with a router is needed")
	}
	g := &Gateway{
		recorder: cfg.Recorder, log: cfg.Log, userKey: cfg.UserKey,
		exact: map[string]map[string]*route{}, models: map[string]map[string]*route{},
	}
	if g.recorder == nil {
		g.recorder = NopRecorder{}
	}
	if g.log == nil {
		g.log = slog.Default()
	}
	if g.userKey == nil {
		g.userKey = randomKey()
	}
	tp := cfg.TracerProvider
	if tp == nil {
		tp = tracenoop.NewTracerProvider()
	}
	g.tracer, g.genai = tp.Tracer(names.ScopeGateway), tp.Tracer(names.ScopeGenAI)
	base := cfg.Transport
	if base == nil {
		base = NewTransport()
	}
	g.transport = NewTraceTransport(base, tp)
	g.Swap(cfg.Snapshot)
	g.addRoutes(cfg, tp)
	return g, nil
}

// Swap makes s the configuration of the exchanges that begin from now on. It
// is safe for concurrent use.
func (g *Gateway) Swap(s *Snapshot) {
	c := *s
	c.Limits = c.Limits.withDefaults()
	c.Hooks = slices.Clone(c.Hooks)
	for i := range c.Hooks {
		c.Hooks[i].prepare()
	}
	if old := g.snapshot.Load(); old != nil {
		for _, p := range c.Providers {
			p.adopt(old.Providers)
		}
	}
	g.snapshot.Store(&c)
}

// Snapshot returns the configuration in force.
func (g *Gateway) Snapshot() *Snapshot { return g.snapshot.Load() }

func (g *Gateway) addRoutes(cfg Config, tp trace.TracerProvider) {
	name := cfg.ServerName
	if name == "" {
		name = "ccproxy"
	}
	add := func(method, pattern string, d Dialect, serve func(context.Context, *reply)) *route {
		rt := &route{pattern: pattern, dialect: d}
		rt.handler = g.traced(rt, method, name, tp, serve)
		return rt
	}
	for _, s := range cfg.Routes {
		if prefix, ok := strings.CutSuffix(s.Path, "/"); ok {
			for _, action := range s.Actions {
				put(g.models, prefix+"/", action, add(s.Method, prefix+"/{model}:"+action, s.Dialect, g.serveExchange))
			}
			continue
		}
		put(g.exact, s.Path, s.Method, add(s.Method, s.Path, s.Dialect, g.serveExchange))
	}
	for _, path := range modelPaths {
		put(g.exact, path, "GET", add("GET", path, modelsDialect{}, g.serveModels))
		put(g.models, path+"/", "", add("GET", path+"/{model}", modelsDialect{}, g.serveModel))
	}
	g.other = add("", "", opaqueDialect{}, g.serveOpaque)
}

func put[V any](m map[string]map[string]V, a, b string, v V) {
	if m[a] == nil {
		m[a] = map[string]V{}
	}
	m[a][b] = v
}

// modelPaths are where clients ask for models: all vendors' at the first,
// OpenAI's without a version, Gemini's.
var modelPaths = []string{"/v1/models", "/models", "/v1beta/models", "/v1alpha/models"}

// traced puts a route behind its own otelhttp handler, so that http.route is
// on the SERVER span from the start and the name never changes. Metrics are
// the recorder's, because otelhttp records none for aborted streams and knows
// no sampling decision.
func (g *Gateway) traced(rt *route, method, name string, tp trace.TracerProvider, serve func(context.Context, *reply)) http.Handler {
	opts := []otelhttp.Option{
		otelhttp.WithTracerProvider(tp),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(incoming{g}),
		otelhttp.WithServerName(name),
		otelhttp.WithPublicEndpointFn(g.untrusted),
	}
	spanName := strings.TrimSpace(method + " " + rt.pattern)
	opts = append(opts, otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
		if spanName == "" {
			return methodName(r.Method)
		}
		return spanName
	}))
	if rt.pattern != "" {
		opts = append(opts, otelhttp.WithSpanOptions(trace.WithAttributes(names.KeyHTTPRoute.String(rt.pattern))))
	}
	return otelhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.run(w, r, rt, serve) }), spanName, opts...)
}

// methodName bounds the span names a client can make.
func methodName(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY":
		return m
	}
	return "HTTP"
}

// incoming extracts trace context, and baggage only by allow-list.
type incoming struct{ g *Gateway }

// Inject implements propagation.TextMapPropagator; nothing is injected.
func (incoming) Inject(context.Context, propagation.TextMapCarrier) {}

// Fields implements propagation.TextMapPropagator.
func (incoming) Fields() []string { return []string{"traceparent", "tracestate"} }

// Extract implements propagation.TextMapPropagator.
func (p incoming) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	if c.Get("traceparent") == "" {
		return ctx
	}
	// W3C asks for 512 characters of tracestate at least; a longer one is dropped whole.
	if len(c.Get("tracestate")) > 512 {
		c = onlyTraceparent{c}
	}
	return propagation.TraceContext{}.Extract(ctx, c)
}

type onlyTraceparent struct{ propagation.TextMapCarrier }

func (c onlyTraceparent) Get(key string) string {
	if strings.EqualFold(key, "traceparent") {
		return c.TextMapCarrier.Get(key)
	}
	return ""
}

// untrusted reports whether r's traceparent may only be linked to.
func (g *Gateway) untrusted(r *http.Request) bool {
	ctl := r.Context().Value(controlKey{}).(*control)
	switch ctl.snapshot.Trust {
	case TrustAll:
		return false
	case TrustNone:
		return true
	}
	return !ctl.caller.Loopback && (ctl.access == nil || !ctl.access.TrustIncoming())
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctl := &control{snapshot: g.Snapshot(), start: time.Now()}
	ctl.identify(r)
	rt := g.match(r)
	ctx := context.WithValue(r.Context(), controlKey{}, ctl)
	ctx = otelhttp.ContextWithStartTime(ctx, ctl.start)
	rt.handler.ServeHTTP(w, r.WithContext(ctx))
	if ctl.abort {
		panic(http.ErrAbortHandler)
	}
}

// match finds the route of a request by its exact, undecorated path.
func (g *Gateway) match(r *http.Request) *route {
	if m := g.exact[r.URL.Path]; m != nil {
		if rt := m[r.Method]; rt != nil {
			return rt
		}
		return g.other
	}
	i := strings.Index(r.URL.Path, "/models/")
	if i < 0 {
		return g.other
	}
	m, action := g.models[r.URL.Path[:i+len("/models/")]], ""
	if r.Method == http.MethodPost {
		c := strings.LastIndexByte(r.URL.Path, ':')
		if c < i || c == len(r.URL.Path)-1 {
			return g.other
		}
		action = r.URL.Path[c+1:]
	} else if r.Method != http.MethodGet {
		return g.other
	}
	if rt := m[action]; rt != nil {
		return rt
	}
	return g.other
}

// family guesses which vendor's shape an error on an unknown path should have.
func (g *Gateway) family(r *http.Request) Dialect {
	want := "openai"
	switch {
	case asksGemini(r):
		want = "gemini"
	case r.Header.Get("Anthropic-Version") != "" || strings.HasPrefix(r.URL.Path, "/v1/messages"):
		want = "anthropic"
	}
	for _, routes := range [2]map[string]map[string]*route{g.exact, g.models} {
		for _, m := range routes {
			for _, rt := range m {
				if rt.dialect.Family() == want {
					return rt.dialect
				}
			}
		}
	}
	return opaqueDialect{}
}
