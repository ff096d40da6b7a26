package price

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/tokens"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Override is a price of the configuration. What is not given follows from what is (MONEY §2), or from the book.
type Override struct {
	Rates Rates
	Given ClassSet
	// Inherit takes the book's price, tiers and all, for what is not given.
	Inherit bool
}

// Config is what a Pricer is made of.
type Config struct {
	Book *Book
	// Overrides are keyed "provider/model" or "model", as configuration has them.
	Overrides map[string]Override
	Providers []*gateway.Provider
	// Assume is what a token costs, in pico-dollars, of a model without any price; absent: it has none.
	Assume gateway.Optional[int64]
	// AssumeOutputTokens bounds the answer to a request that does not; 0: the model's maximum does.
	AssumeOutputTokens int64
	// Counter estimates prompts, and output that nobody counted, and learns from answers. It outlives the Pricer, so that a
	// new configuration forgets nothing. Nil: one of its own.
	Counter *tokens.Counter
}

// Pricer prices attempts. It is immutable but for what it learns from answers, and safe for concurrent use.
type Pricer struct {
	book       *Book
	version    string
	byProvider map[string]map[string]*Entry // :: provider → model → override
	byModel    map[string]*Entry
	known      map[string]string // :: model's name at a configured vendor → what telemetry calls it
	assumed    *Entry            // of models without any price; nil: none
	output     int64             // AssumeOutputTokens
	counter    *tokens.Counter
	unasked    map[string]*atomic.Uint32 // :: provider → what it has billed that was not asked for; see bound.go
}

var _ gateway.Pricer = (*Pricer)(nil)

// New makes a Pricer. The error joins the overrides that inherit from nothing.
func New(cfg Config) (*Pricer, error) {
	p := &Pricer{book: cfg.Book, version: cfg.Book.Version, byProvider: map[string]map[string]*Entry{},
		byModel: map[string]*Entry{}, known: map[string]string{}, output: max(cfg.AssumeOutputTokens, 0), counter: cfg.Counter,
		unasked: map[string]*atomic.Uint32{}}
	if p.counter == nil {
		p.counter = tokens.NewCounter(tokens.Options{})
	}
	vendors := map[string]string{}
	for _, v := range cfg.Providers {
		vendors[v.Name] = v.GenAI
		p.unasked[v.Name] = new(atomic.Uint32)
		for name, f := range cfg.Book.models[vendorOf(v.GenAI)] {
			p.known[name] = f.entry.Model
		}
	}
	sum := fnv.New64a()
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(cfg.Overrides)) {
		o := cfg.Overrides[key]
		provider, model, ok := strings.Cut(key, "/")
		vendor, configured := vendors[provider]
		if !ok || !configured {
			provider, model, vendor = "", key, ""
		}
		e, err := p.override(o, vendor, model)
		if err != nil {
			errs = append(errs, fmt.Errorf("prices.%s: %w", key, err))
			continue
		}
		p.byModel[key] = e
		if provider != "" {
			if p.byProvider[provider] == nil {
				p.byProvider[provider] = map[string]*Entry{}
			}
			p.byProvider[provider][model] = e
		}
		fmt.Fprintf(sum, "%s %v %s\n", key, o.Inherit, e) // a hash takes all
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.Assume.Set {
		p.assumed = assumedEntry(cfg.Assume.Value)
		fmt.Fprintf(sum, "%s\n", p.assumed)
	}
	if len(cfg.Overrides) > 0 || cfg.Assume.Set {
		p.version += "+" + hex.EncodeToString(sum.Sum(nil)[:4])
	}
	return p, nil
}

// assumedEntry is the entry of models without any price, every token of which costs pico.
func assumedEntry(pico int64) *Entry {
	e := &Entry{Model: "unpriced", Schedules: []Schedule{{Given: ClassSet(0).With(gateway.CostInput).With(gateway.CostOutput)}}}
	e.Schedules[0].Rates[gateway.CostInput], e.Schedules[0].Rates[gateway.CostOutput] = pico, pico
	e.finish()
	return e
}

// override makes an entry of a price of the configuration.
func (p *Pricer) override(o Override, vendor, model string) (*Entry, error) {
	e := &Entry{Vendor: vendor, Model: model, Schedules: []Schedule{{Given: o.Given, Rates: Rates{}.over(o.Rates, o.Given)}}}
	if !o.Inherit {
		e.finish()
		return e, nil
	}
	from := p.inherited(vendor, model)
	if from == nil {
		return nil, errors.New("the price book has no such model to inherit from")
	}
	e.Context, e.MaxOutput, e.Factors = from.Context, from.MaxOutput, from.Factors
	e.SearchOnce = from.SearchOnce && !o.Given.Has(gateway.CostWebSearch)
	for _, s := range from.Schedules {
		if s.Given != 0 {
			e.Schedules = append(e.Schedules, s)
		}
	}
	base := e.Schedules[1] // the book's standard one; the first is ours
	e.Schedules[0].Rates = base.Rates.over(o.Rates, o.Given)
	e.Schedules[0].Given = base.Given | o.Given
	e.Schedules = slices.Delete(e.Schedules, 1, 2)
	e.finish()
	return e, nil
}

// inherited finds the book's entry for a model at a vendor, or at any when there is none.
func (p *Pricer) inherited(vendor, model string) *Entry {
	usable := func(vendor, model string) *Entry {
		if e, status := p.book.Look(vendor, model); status == names.PriceStatusExact || status == names.PriceStatusAlias {
			return e
		}
		return nil
	}
	if e := usable(vendor, model); e != nil {
		return e
	}
	if v, m, ok := strings.Cut(model, "/"); ok {
		if e := usable(v, m); e != nil {
			return e
		}
	}
	for _, v := range p.book.Vendors() {
		if e := usable(v, model); e != nil {
			return e
		}
	}
	return nil
}

// Version identifies the prices: the book's version, and a hash of the overrides if there are any.
func (p *Pricer) Version() string { return p.version }

// Known returns the name a model has in the book, at the vendors the configuration uses: a bounded set, which metrics may
// carry. What is not in it is names.ErrorOther.
func (p *Pricer) Known(model string) string {
	if name, ok := p.known[model]; ok {
		return name
	}
	if name, ok := p.known[undated(model)]; ok {
		return name
	}
	return names.ErrorOther
}

// Look finds the price of a model at a provider; status is names.PriceStatus…, and the entry nil with unknown. What the
// configuration assumes of models without any price is no price of theirs.
func (p *Pricer) Look(provider *gateway.Provider, model string) (e *Entry, status string) {
	if len(p.byModel) > 0 {
		if e := p.overridden(provider.Name, model); e != nil {
			return e, names.PriceStatusOverride
		}
	}
	return p.book.Look(provider.GenAI, model)
}

func (p *Pricer) overridden(provider, model string) *Entry {
	for _, name := range [2]string{model, undated(model)} {
		if e := p.byProvider[provider][name]; e != nil {
			return e
		}
		if e := p.byModel[name]; e != nil {
			return e
		}
	}
	return nil
}

// Price implements [gateway.Pricer].
func (p *Pricer) Price(a *gateway.Attempt) gateway.Cost {
	c := gateway.Cost{Source: names.CostSourceNone}
	r := &a.Result
	opaque, told := isOpaque(a), r.ProviderCost.Set && tells(a.Target.Provider)
	if opaque && !charged(a) || !opaque && !told && (r.Usage.Source == "" || r.Usage.Source == names.UsageSourceNone) {
		return c // nothing is known to have been used
	}
	billing := a.Billing()
	switch {
	case billing == names.CostBillingFree:
		c.Source, c.Status, c.Billing = names.CostSourceLocal, names.PriceStatusOverride, billing
		return c
	case opaque:
		if flat := a.Target.Provider.PassthroughPrice; flat.Set {
			c.Source, c.Status, c.Billing = names.CostSourceLocal, names.PriceStatusOverride, billing
			c.Classes[gateway.CostUndivided], c.Total = flat.Value, flat.Value
		}
		return c
	case told:
		c.Source, c.Status, c.Billing = names.CostSourceProvider, names.PriceStatusProvider, billing
		c.Classes[gateway.CostUndivided], c.Total = r.ProviderCost.Value, r.ProviderCost.Value
		return c
	}
	e, status := p.entry(a)
	var b bill
	var text string
	if e != nil {
		text = p.charge(a.Target.Provider, e, r, &b)
	}
	if text == "" {
		c.Status = names.PriceStatusUnknown
		return c
	}
	p.notice(a, e)
	c.Classes, c.Total, c.Entry = b.classes, b.total, text
	c.Source, c.Status, c.Billing, c.PriceVersion = names.CostSourceLocal, status, billing, p.version
	if status == names.PriceStatusAssumed {
		c.Source = names.CostSourceAssumed
	}
	return c
}

// charge adds up what a result costs by e, and by the prices of the other models that took part in it. It returns the entries
// applied, a line each in the order of Usage.OtherParts; "": a price is missing, or the usage makes no sense.
func (p *Pricer) charge(provider *gateway.Provider, e *Entry, r *gateway.Result, b *bill) (text string) {
	if !e.charge(&r.Usage, service(r.ServiceTier, r.Usage.Speed), b) {
		return ""
	}
	text = e.text
	if r.Usage.Others == "" {
		return text
	}
	for model, part := range r.Usage.OtherParts() {
		other := e
		if model != "" {
			if other, _ = p.find(provider, model); other == nil {
				return ""
			}
			text += "\n" + other.text
		}
		part.Geo = r.Usage.Geo
		if !other.charge(&part, service(r.ServiceTier, ""), b) {
			return ""
		}
	}
	return text
}

// find is Look, with what is assumed of models without a price.
func (p *Pricer) find(provider *gateway.Provider, model string) (*Entry, string) {
	e, status := p.Look(provider, model)
	if e == nil && p.assumed != nil {
		return p.assumed, names.PriceStatusAssumed
	}
	return e, status
}

// entry finds the price of the model an attempt asked for, or of the one that says it answered.
func (p *Pricer) entry(a *gateway.Attempt) (*Entry, string) {
	asked := a.Model()
	e, status := p.Look(a.Target.Provider, asked)
	if answered := a.Result.Model; (e == nil || status == names.PriceStatusAssumed) && answered != "" && answered != asked {
		if e2, status2 := p.Look(a.Target.Provider, answered); e2 != nil && (e == nil || status2 != names.PriceStatusAssumed) {
			return e2, status2
		}
	}
	if e == nil && p.assumed != nil {
		return p.assumed, names.PriceStatusAssumed
	}
	return e, status
}

// tells reports whether a provider's own figure for the cost is in dollars and final: OpenRouter's usage.cost and
// Perplexity's usage.cost.total_cost are documented so; others use the name for other things.
func tells(p *gateway.Provider) bool { return p.GenAI == "openrouter" || p.GenAI == "perplexity" }

// isOpaque reports whether nobody reads the attempt: it is neither a generation nor one of the calls that are free, counting
// tokens and listing models.
func isOpaque(a *gateway.Attempt) bool {
	x := a.Exchange
	return x.Call.Operation == "" && (x.Dialect == nil || x.Dialect.Name() == opaqueDialect)
}

const opaqueDialect = "opaque"

// charged reports whether an opaque attempt is billed: the provider accepted it, or Complete says that it may have.
func charged(a *gateway.Attempt) bool {
	if a.Response != nil {
		return a.Response.StatusCode < http.StatusMultipleChoices
	}
	return a.Result.Usage.Source == names.UsageSourceEstimated
}

// Baseline implements [gateway.Pricer]. The model the client named is priced at the provider its dialect implies, with the
// usage and the tier of the attempt. Assumed prices compare with nothing.
func (p *Pricer) Baseline(a *gateway.Attempt) (gateway.NanoUSD, bool) {
	x := a.Exchange
	if x.Call.Model == "" || a.Cost.Source == names.CostSourceAssumed || !a.Cost.Known() {
		return 0, false
	}
	home := x.Snapshot.Router.Implied(x.Dialect)
	if home == nil {
		home = a.Target.Provider
	}
	if home == a.Target.Provider && a.Model() == x.Call.Model {
		return a.Cost.Total, true
	}
	if home.Billing == names.CostBillingFree {
		return 0, true
	}
	e, status := p.Look(home, x.Call.Model)
	if e == nil || status == names.PriceStatusAssumed {
		return 0, false
	}
	var b bill
	if p.charge(home, e, &a.Result, &b) == "" {
		return 0, false
	}
	return b.total, true
}
