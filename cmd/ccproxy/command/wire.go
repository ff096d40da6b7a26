package command

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/price"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/gateway/tokens"
	"github.com/ccproxy/ccproxy/hooks"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// wiring turns configurations into snapshots. It keeps what outlives one of them: connections, tokens, token counts, how
// targets do, which has a conversation. Safe for concurrent use.
type wiring struct {
	custom   map[string]hooks.Constructor
	log      *slog.Logger
	counter  *tokens.Counter
	health   *route.Health
	sticky   *route.Sticky
	book     func() (*price.Book, error)
	recorder gateway.Recorder // of rules that fail; set before the first exchange, NopRecorder until then
	accounts *accounts        // keys and ledger; set before the first snapshot is in force, nil: neither

	mu         sync.Mutex
	transports map[dialing]*http.Transport
	tokens     map[tokenKey]gateway.TokenSource
}

// dialing is what tells one transport from another.
type dialing struct{ connect, handshake, keepalive time.Duration }

type tokenKey struct {
	provider string
	source   config.OATSource
}

func newWiring(custom map[string]hooks.Constructor, log *slog.Logger) *wiring {
	return &wiring{
		custom: custom, log: log, counter: tokens.NewCounter(tokens.Options{}), recorder: gateway.NopRecorder{}, health: route.NewHealth(), sticky: route.NewSticky(), book: sync.OnceValues(price.Embedded),
		transports: map[dialing]*http.Transport{}, tokens: map[tokenKey]gateway.TokenSource{},
	}
}

// snapshot makes what exchanges run under. The error joins all that is wrong with cfg and was not found when it was
// loaded. Nothing is sent or run.
func (w *wiring) snapshot(cfg *config.Config) (*gateway.Snapshot, error) {
	var errs []error
	providers, err := w.providers(cfg)
	errs = append(errs, err)
	router, err := w.router(cfg, providers)
	errs = append(errs, err)
	list, err := w.hooks(cfg)
	errs = append(errs, err)
	pricer, err := w.pricer(cfg, providers)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s := &gateway.Snapshot{
		Version: version(cfg), Providers: providers, Router: router, Hooks: list, Models: router.Models(), Limits: limits(cfg),
		ForwardOAuth: listed(cfg, "forward_oauth"), ForwardAPIKey: listed(cfg, "forward_apikey"), RuleLatency: map[string]time.Duration{},
		RuleCost: map[string]gateway.NanoUSD{}, Pricer: pricer, HideCost: !cfg.CCProxy.Logging.CostTracking, Health: w.health,
	}
	for _, r := range cfg.CCProxy.Rules {
		if r.Target.Latency > 0 {
			s.RuleLatency[r.Name] = r.Target.Latency
		}
		if r.Target.Cost > 0 {
			s.RuleCost[r.Name] = gateway.NanoUSD(r.Target.Cost)
		}
	}
	if w.accounts != nil {
		w.attach(w.accounts, s)
	}
	s.Detail = map[string]gateway.Detail{"minimal": gateway.DetailMinimal, "full": gateway.DetailFull}[cfg.Telemetry.Detail]
	s.Trust = map[string]gateway.Trust{"none": gateway.TrustNone, "all": gateway.TrustAll}[cfg.Telemetry.TrustIncoming]
	s.UserID = map[string]gateway.UserIDPolicy{"none": gateway.UserIDNone, "plain": gateway.UserIDPlain}[cfg.Telemetry.UserID]
	return s, nil
}

// attach makes m the keys and the ledger of s, and of every snapshot from now on.
func (w *wiring) attach(m *accounts, s *gateway.Snapshot) {
	w.accounts = m
	s.Callers, s.Ledger = m.callers, m.ledger
}

// pricer prices by the book this program was built with and cfg's own prices.
func (w *wiring) pricer(cfg *config.Config, providers []*gateway.Provider) (*price.Pricer, error) {
	book, err := w.book()
	if err != nil {
		return nil, err
	}
	return newPricer(book, cfg, providers, w.counter)
}

// version names a configuration by what it says, so that two loads of the same file are one version.
func version(cfg *config.Config) string {
	sum := sha256.Sum256(cfg.Masked())
	return hex.EncodeToString(sum[:6])
}

func limits(cfg *config.Config) gateway.Limits {
	l, t := cfg.Limits, cfg.Timeouts
	return gateway.Limits{
		Body: int64(l.Body), HeldAnswer: int64(l.HeldResponse), JSONDepth: l.JSONDepth, JSONMembers: l.JSONMembers, Attempts: l.Attempts,
		EventInspect: int(l.Event), EventLine: int(l.StreamLine),
		HeaderTimeout: t.UpstreamHeaders, StreamHeaderTimeout: t.UpstreamStream, IdleTimeout: t.Idle,
		WriteTimeout: t.WriteStall, Exchange: t.Request, Drain: t.DisconnectDrain,
		RetryBudget: cmp.Or(l.RetryBudget, -1), RetryBase: t.RetryBase, RetryWait: t.RetryWait, RetryAfter: t.RetryAfter,
	}
}

func listed(cfg *config.Config, hook string) bool {
	return slices.ContainsFunc(cfg.CCProxy.Hooks, func(h config.Hook) bool { return h.Name == hook })
}

func (w *wiring) router(cfg *config.Config, providers []*gateway.Provider) (*route.Router, error) {
	rc := route.Config{
		Models: map[string]route.Model{}, Providers: providers, DefaultProvider: map[string]string{},
		DefaultPassthrough: cfg.CCProxy.DefaultModelPassthrough, Passthrough: !listed(cfg, "model_router"), Tokens: w.counter,
		OnRuleError: w.ruleFailed, Health: w.health, Sticky: w.sticky,
	}
	for _, p := range cfg.Providers {
		if p.Default {
			rc.DefaultProvider[""] = p.Name
		}
	}
	var errs []error
	for _, r := range cfg.CCProxy.Rules {
		rule, err := routeRule(r)
		errs = append(errs, err)
		rc.Rules = append(rc.Rules, rule)
	}
	for _, m := range cfg.Models {
		rc.Models[m.Name] = routeModel(m)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	router, err := route.New(rc)
	if err != nil {
		return nil, placed(cfg, err)
	}
	return router, nil
}

// ruleFailed reports rules that could not be evaluated: the exchange goes on without them.
func (w *wiring) ruleFailed(ctx context.Context, x *gateway.Exchange, err error) {
	w.recorder.HookFailed(ctx, x, "rule_evaluator", names.HookPhasePreCall, names.HookActionFailedOpen, err)
}

// placed says of each error about a rule where in the file the rule stands.
func placed(cfg *config.Config, err error) error {
	var out []error
	for _, e := range parts(err) {
		if wrong, ok := e.(*route.ConfigError); ok {
			path := cfg.CCProxy.Rules[wrong.Rule].Path
			if wrong.Expression {
				path += ".when"
			}
			e = &config.Problem{Place: cfg.Place(path), Key: path, Message: wrong.Error()}
		}
		out = append(out, e)
	}
	return errors.Join(out...)
}

func routeRule(r config.Rule) (route.Rule, error) {
	out := route.Rule{Name: r.Name, When: r.When, Target: route.Target{Latency: r.Target.Latency, Cost: float64(r.Target.Cost) / 1e9}}
	if r.When != "" {
		return out, nil
	}
	kind, err := route.ParseKind(r.Rule)
	if err != nil {
		return out, fmt.Errorf("rule %q: %w", r.Name, err)
	}
	out.Kind = kind
	switch kind {
	case route.KindMatchModel:
		out.Params.ModelName = gateway.Some(r.Params.ModelName)
	case route.KindMatchTool:
		out.Params.ToolName = gateway.Some(r.Params.ToolName)
	case route.KindTokenCount:
		out.Params.Threshold, out.Params.Count = gateway.Some(r.Params.Threshold), r.Count
	}
	return out, nil
}

func routeModel(m config.Model) route.Model {
	var out route.Model
	if m.Strategy == "latency" {
		out.Strategy = route.StrategyLatency
	}
	for _, t := range m.Targets {
		wt := route.WeightedTarget{Target: t.String()}
		if m.Strategy == "weight" {
			wt.Weight = float64(t.Weight)
		}
		out.Targets = append(out.Targets, wt)
	}
	spelled := func(list []config.Target) []string {
		all := make([]string, 0, len(list))
		for _, t := range list {
			all = append(all, t.String())
		}
		return all
	}
	out.Fallbacks = spelled(m.Fallbacks.Any)
	for reason, list := range m.Fallbacks.ByReason {
		if out.FallbacksFor == nil {
			out.FallbacksFor = map[string][]string{}
		}
		out.FallbacksFor[reason] = spelled(list)
	}
	return out
}

// hooks makes the hooks cfg lists. Custom ones that a default list cannot name follow it, in the order of their names.
func (w *wiring) hooks(cfg *config.Config) ([]gateway.ConfiguredHook, error) {
	list := cfg.CCProxy.Hooks
	if slices.EqualFunc(list, hooks.Default(), func(h config.Hook, name string) bool { return h.Name == name }) {
		list = slices.Clone(list)
		for _, name := range slices.Sorted(maps.Keys(w.custom)) {
			list = append(list, config.Hook{Name: name, Timeout: cfg.Timeouts.Hook})
		}
	}
	var out []gateway.ConfiguredHook
	var errs []error
	for _, h := range list {
		c, err := w.hook(h, cfg.Timeouts.Hook)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, c)
	}
	return out, errors.Join(errs...)
}

// hook makes one hook with its policy. usual is the timeout of a hook whose entry gives none.
func (w *wiring) hook(h config.Hook, usual time.Duration) (gateway.ConfiguredHook, error) {
	build, custom := w.custom[h.Name]
	var hook gateway.Hook
	var err error
	if custom {
		hook, err = build(h.Params)
		if err != nil {
			err = fmt.Errorf("hook %s: %w", h.Name, err)
		}
	} else {
		hook, err = hooks.New(h.Name, h.Params)
	}
	if err != nil {
		return gateway.ConfiguredHook{}, err
	}
	c := hooks.Configure(hook)
	if custom {
		// Whoever returns an error from Go means it, and what it calls is not known.
		c.Deny, c.Timeout = true, usual
	}
	if h.Timeout != usual {
		c.Timeout = h.Timeout
	}
	switch h.OnError {
	case "deny":
		c.Deny = true
	case "allow":
		c.Deny = false
	}
	return c, nil
}

// transport returns the transport for a provider's deadlines; providers with the same share one, across reloads.
func (w *wiring) transport(t config.ProviderTimeouts) http.RoundTripper {
	d := dialing{t.Connect, t.TLSHandshake, t.Keepalive}
	w.mu.Lock()
	defer w.mu.Unlock()
	if have := w.transports[d]; have != nil {
		return have
	}
	made := gateway.NewTransport()
	made.DialContext = (&net.Dialer{Timeout: d.connect, KeepAlive: 15 * time.Second}).DialContext
	made.TLSHandshakeTimeout, made.IdleConnTimeout = d.handshake, d.keepalive
	w.transports[d] = made
	return made
}

// tokenSource returns the source of a provider's tokens, nil without one. A source that a reload leaves as it was keeps
// its token.
func (w *wiring) tokenSource(cfg *config.Config, provider string) (gateway.TokenSource, error) {
	source, ok := cfg.CCProxy.OATSources[provider]
	if !ok {
		return nil, nil
	}
	key := tokenKey{provider, source}
	w.mu.Lock()
	defer w.mu.Unlock()
	if have := w.tokens[key]; have != nil {
		return have, nil
	}
	made, err := hooks.NewTokenSource(hooks.TokenConfig{
		Provider: provider, Command: source.Command, Source: source.Source, UserAgent: source.UserAgent, TTL: source.TTL, RefreshBuffer: source.Refresh, Log: w.log,
	})
	if err != nil {
		return nil, err
	}
	w.tokens[key] = made
	return made, nil
}

// close ends idle connections to providers.
func (w *wiring) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.transports {
		t.CloseIdleConnections()
	}
}
