package price

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
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
}

// Pricer prices attempts. It is immutable and safe for concurrent use.
type Pricer struct {
	book       *Book
	version    string
	byProvider map[string]map[string]*Entry // :: provider → model → override
	byModel    map[string]*Entry
	known      map[string]string // :: model's name at a configured vendor → what telemetry calls it
}

var _ gateway.Pricer = (*Pricer)(nil)

// New makes a Pricer. The error joins the overrides that inherit from nothing.
func New(cfg Config) (*Pricer, error) {
	p := &Pricer{book: cfg.Book, version: cfg.Book.Version, byProvider: map[string]map[string]*Entry{},
		byModel: map[string]*Entry{}, known: map[string]string{}}
	vendors := map[string]string{}
	for _, v := range cfg.Providers {
		vendors[v.Name] = v.GenAI
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
	if len(cfg.Overrides) > 0 {
		p.version += "+" + hex.EncodeToString(sum.Sum(nil)[:4])
	}
	return p, nil
}

// override makes an entry of a price of the configuration.
func (p *Pricer) override(o Override, vendor, model string) (*Entry, error) {
	e := &Entry{Vendor: vendor, Model: model, Schedules: []Schedule{{Given: o.Given, Rates: o.Rates}}}
	if !o.Inherit {
		e.finish()
		return e, nil
	}
	from := p.inherited(vendor, model)
	if from == nil {
		return nil, errors.New("the price book has no such model to inherit from")
	}
	e.Context, e.MaxOutput, e.Factors = from.Context, from.MaxOutput, from.Factors
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

// Look finds the price of a model at a provider; status is names.PriceStatus…, and the entry nil with unknown.
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
	told := r.ProviderCost.Set && tells(a.Target.Provider)
	if !told && (r.Usage.Source == "" || r.Usage.Source == names.UsageSourceNone) {
		return c // nothing is known to have been used
	}
	billing := a.Billing()
	switch {
	case billing == names.CostBillingFree:
		c.Source, c.Status, c.Billing = names.CostSourceLocal, names.PriceStatusOverride, billing
		return c
	case told:
		c.Source, c.Status, c.Billing = names.CostSourceProvider, names.PriceStatusProvider, billing
		c.Classes[gateway.CostUndivided], c.Total = r.ProviderCost.Value, r.ProviderCost.Value
		return c
	}
	e, status := p.entry(a)
	if e == nil || !e.charge(r, &c) {
		c.Status = names.PriceStatusUnknown
		return c
	}
	c.Source, c.Status, c.Billing, c.PriceVersion = names.CostSourceLocal, status, billing, p.version
	if status == names.PriceStatusAssumed {
		c.Source = names.CostSourceAssumed
	}
	return c
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
	return e, status
}

// tells reports whether a provider's own figure for the cost is in dollars and final: OpenRouter's usage.cost and
// Perplexity's usage.cost.total_cost are documented so; others use the name for other things.
func tells(p *gateway.Provider) bool { return p.GenAI == "openrouter" || p.GenAI == "perplexity" }

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
	var c gateway.Cost
	if !e.charge(&a.Result, &c) {
		return 0, false
	}
	return c.Total, true
}
