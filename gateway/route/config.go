package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// DefaultLabel is the label of an exchange that no rule matched.
const DefaultLabel = "default"

// Config is what a Router is made of.
type Config struct {
	Rules  []Rule           // in the order they are tried
	Models map[string]Model // by label or client-visible model name

	// Providers are all that are configured, in order.
	Providers []*gateway.Provider
	// DefaultProvider names the provider that a model nothing routes goes to,
	// by the family of the client's dialect. The key "" is for any family, and
	// counts after the provider whose type is the family.
	DefaultProvider map[string]string

	// DefaultPassthrough keeps the client's model when no rule matched.
	DefaultPassthrough bool
	// Passthrough keeps the client's model whatever the label.
	Passthrough bool

	// Fallbacks, by fallback reason ("" for any), serve where an entry has none
	// of its own for the reason.
	Fallbacks map[string][]string

	// Tokens counts prompts. It may be nil when no rule asks for a count. One
	// that has a method Calibrate, as [tokens.Counter] does, learns from answers.
	Tokens TokenCounter
	// OnRuleError is told, at most once for each exchange, of rules that could
	// not be evaluated; err joins one *RuleError for each. The exchange goes on
	// as if those rules did not match. It runs on the exchange's goroutine.
	// nil: slog.Default() gets a warning.
	OnRuleError func(ctx context.Context, x *gateway.Exchange, err error)
	// Health and Sticky, which outlive the Router, are told how targets do and
	// which has a conversation; nil: nobody is, and no choice goes by it.
	Health *Health
	Sticky *Sticky
	// Rand yields numbers in [0,1) for the choice of targets and must be safe for
	// concurrent use; nil: math/rand/v2.
	Rand func() float64
}

// TokenCounter counts the tokens of a request; [tokens.Counter] does. It must
// be safe for concurrent use.
type TokenCounter interface {
	// Exceeds reports whether the request at root in doc has more than
	// threshold tokens for model. n is the best count it made to tell, and
	// method says how it was made, such as "estimate".
	Exceeds(doc []byte, root jsonscan.Span, threshold int64, model string, mode tokens.Mode) (over bool, n int64, method string)
}

var _ TokenCounter = (*tokens.Counter)(nil)

// What a token count covers.
const (
	CountAll      = "all"      // system, tools, messages and tool results
	CountMessages = "messages" // the text of messages only
)

// Model is an entry of the model table.
type Model struct {
	// Targets are where the entry sends. With weights, the first is drawn by
	// weight and the others follow by descending weight; without, the order
	// stands.
	Targets []WeightedTarget
	// Fallbacks follow when the targets failed, for any reason.
	Fallbacks []string
	// FallbacksFor, by fallback reason, come before Fallbacks.
	FallbacksFor map[string][]string
	// Strategy says how the order is found when it is not by weights: "" as given,
	// StrategyLatency the quickest first, as far as it is known. It needs Health,
	// and weights do not count then; nor does it in an entry that another names.
	Strategy string
}

// StrategyLatency prefers the target that began to answer soonest of late.
const StrategyLatency = "latency"

// WeightedTarget is a target and its share.
type WeightedTarget struct {
	// Target is "provider/model", or the name of another entry.
	Target string
	// Weight is the share of exchanges that go there first; 0 beside weighted
	// ones: none, the target only steps in when others fail.
	Weight float64
}

// Target is what a rule promises, for the analysis of routing decisions.
type Target struct {
	Latency time.Duration // of the whole attempt; 0: none promised
	Cost    float64       // USD; 0: none promised
}

// Router implements [gateway.Router]. It is immutable and safe for concurrent
// use.
type Router struct {
	rules       []rule
	entries     map[string]*entry
	providers   map[string]*gateway.Provider
	implied     map[string]*gateway.Provider // :: dialect family → provider
	anyFamily   *gateway.Provider            // marked as default for any family
	fallbacks   map[string][]gateway.Target  // where no entry has its own
	known       map[string]struct{}
	models      []gateway.ModelInfo
	warnings    []string
	defaultKept bool
	allKept     bool
	tokens      TokenCounter
	calibrate   func(model string, estimated, actual int64) // nil: no rule counts, or nobody learns
	onRuleError func(context.Context, *gateway.Exchange, error)
	rand        func() float64
	health      *Health
	sticky      *Sticky
	many        map[string]bool // :: dialect family → several providers speak it
	named       map[string]bool // :: name of a target of the table
	failures    atomic.Uint64
}

var _ gateway.Router = (*Router)(nil)

// New makes a Router. The error joins all that is wrong with cfg, each part
// naming the rule or entry and what to do about it.
func New(cfg Config) (*Router, error) {
	r := &Router{
		entries: map[string]*entry{}, providers: map[string]*gateway.Provider{}, implied: map[string]*gateway.Provider{},
		defaultKept: cfg.DefaultPassthrough, allKept: cfg.Passthrough,
		tokens: cfg.Tokens, onRuleError: cfg.OnRuleError, rand: cfg.Rand,
		health: cfg.Health, sticky: cfg.Sticky, many: map[string]bool{}, named: map[string]bool{},
	}
	if r.onRuleError == nil {
		r.onRuleError = logRuleError
	}
	if r.rand == nil {
		r.rand = rand.Float64
	}
	errs := r.addProviders(cfg)
	errs = append(errs, r.addEntries(cfg)...)
	errs = append(errs, r.addRules(cfg)...)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if c, ok := r.tokens.(interface {
		Calibrate(model string, estimated, actual int64)
	}); ok && r.counts() {
		r.calibrate = c.Calibrate
	}
	if r.health != nil {
		for _, t := range r.allTargets() {
			r.named[t.Name] = true
			r.health.circuit(t.Name)
		}
	}
	r.models = r.listModels()
	r.known = r.knownModels()
	r.warnings = r.review()
	return r, nil
}

func (r *Router) addProviders(cfg Config) (errs []error) {
	known := make([]string, 0, len(cfg.Providers))
	speak := map[string]int{}
	for _, p := range cfg.Providers {
		if _, twice := r.providers[p.Name]; twice {
			errs = append(errs, fmt.Errorf("provider %q is configured twice: rename one", p.Name))
		}
		r.providers[p.Name] = p
		known = append(known, p.Name)
		speak[p.Family]++
		r.many[p.Family] = speak[p.Family] > 1
	}
	// The vendor's own provider; among several the one that bears its name.
	for _, p := range cfg.Providers {
		if p.Type != p.Family {
			continue
		}
		if have := r.implied[p.Family]; have == nil || p.Name == p.Family && have.Name != p.Family {
			r.implied[p.Family] = p
		}
	}
	for family, name := range cfg.DefaultProvider {
		p := r.providers[name]
		switch {
		case p == nil:
			errs = append(errs, fmt.Errorf("default provider %q is not configured%s", name, nearest(name, known)))
		case family == "":
			r.anyFamily = p
		case p.Family != family:
			errs = append(errs, fmt.Errorf("default provider %q speaks %s, not %s: choose another", name, p.Family, family))
		default:
			r.implied[family] = p
		}
	}
	return errs
}

// Implied returns the provider that requests in d go to when nothing routes
// them: the vendor's own, else the default one if it speaks d, else nil. A
// dialect of no family implies none.
func (r *Router) Implied(d gateway.Dialect) *gateway.Provider {
	if d.Family() == "" {
		return nil
	}
	if p := r.implied[d.Family()]; p != nil {
		return p
	}
	if r.anyFamily != nil && r.anyFamily.Speaks(d) {
		return r.anyFamily
	}
	return nil
}

// Warnings lists what is odd about the configuration but no error: a rule
// whose label has no entry, an entry that cannot serve a family it will be
// asked for. The result is shared and read-only.
func (r *Router) Warnings() []string { return r.warnings }

// RuleErrors counts the evaluations of rules that failed.
func (r *Router) RuleErrors() uint64 { return r.failures.Load() }

// Targets returns what the named rule promises; the zero Target when it
// promises nothing or there is no such rule.
func (r *Router) Targets(rule string) Target {
	for i := range r.rules {
		if r.rules[i].name == rule {
			return r.rules[i].target
		}
	}
	return Target{}
}

// fallbackReasons are the keys of fallback lists; "" is for any reason.
var fallbackReasons = []string{
	"", names.FallbackRateLimit, names.FallbackOverloaded, names.FallbackTimeout, names.FallbackServerError, names.FallbackConnect,
	names.FallbackContextWindow, names.FallbackContentPolicy, names.FallbackBudget, names.FallbackCredit, names.FallbackAuth,
	names.FallbackCircuitOpen, names.FallbackDialect,
}

func logRuleError(ctx context.Context, x *gateway.Exchange, err error) {
	slog.Default().WarnContext(ctx, "rule could not be evaluated", "request_id", x.ID, "label", x.Route.Label, "error", err)
}
