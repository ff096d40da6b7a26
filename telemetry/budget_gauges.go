package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// defaultBudgetSubjects is telemetry.budget_subjects when it is not set.
const defaultBudgetSubjects = 500

// BudgetGauges is what the gauges of budgets are made of.
type BudgetGauges struct {
	// Statuses yields what is known now of every account of every budget, each once, in any order. It is called once in
	// each collection, never twice at a time. nil: there are none.
	Statuses iter.Seq[budget.Status]
	// Subjects is the most subjects of one budget that have series of their own (telemetry.budget_subjects); 0: 500,
	// negative: none but that of scope global.
	Subjects int
	// KnownModel returns a model's name as metrics may carry it, as in [RecorderConfig]: a subject of scope model that it
	// changes has no series of its own. nil: all have.
	KnownModel func(string) string
}

// RegisterBudgets makes the gauges of budgets: series for each account of the scopes global, key, team, model, provider
// and label, as far as there may be so many, and for all other accounts how many of a budget are in which state. An
// account keeps its series as long as it is yielded: the first seen have them, in the order they are yielded, whatever is
// spent later, so that no series comes and goes. What is not yielded any more has no point in the same collection. All
// budgets together stay below the limit of an instrument; budgets that have one account come before those that have many.
// Unregister, on what is returned, ends the calls of Statuses.
func RegisterBudgets(mp metric.MeterProvider, cfg BudgetGauges) (metric.Registration, error) {
	if cfg.Statuses == nil {
		cfg.Statuses = func(func(budget.Status) bool) {}
	}
	if cfg.Subjects == 0 {
		cfg.Subjects = defaultBudgetSubjects
	}
	m := maker{provider: mp}
	g := &budgetGauges{cfg: cfg, shown: map[budgetAccount]*shownAccount{}, budgets: map[string]*countedBudget{},
		limit: m.observed(names.MetricBudgetLimit), spent: m.observed(names.MetricBudgetSpent), reserved: m.observed(names.MetricBudgetReserved),
		remaining: m.observed(names.MetricBudgetRemaining), utilization: m.observed(names.MetricBudgetUtilization),
		reset: m.observed(names.MetricBudgetReset), forecast: m.observed(names.MetricBudgetForecast)}
	e, meter := m.find(names.MetricBudgetSubjects)
	subjects, err := meter.Int64ObservableGauge(e.Name, metric.WithUnit(e.Unit), metric.WithDescription(e.Description))
	if err := errors.Join(append(m.errs, err)...); err != nil {
		return nil, fmt.Errorf("make the gauges of budgets: %w", err)
	}
	g.subjects = subjects
	registration, err := meter.RegisterCallback(g.observe, g.limit, g.spent, g.reserved, g.remaining, g.utilization, g.reset, g.forecast, g.subjects)
	if err != nil {
		return nil, fmt.Errorf("register the gauges of budgets: %w", err)
	}
	return registration, nil
}

// observed makes an observable gauge.
func (m *maker) observed(name string) metric.Float64ObservableGauge {
	e, meter := m.find(name)
	g, err := meter.Float64ObservableGauge(name, metric.WithUnit(e.Unit), metric.WithDescription(e.Description))
	m.errs = append(m.errs, err)
	return g
}

// budgetGauges keeps which accounts have series. What it keeps is bounded by the number of budgets and of series.
type budgetGauges struct {
	cfg                                                             BudgetGauges
	limit, spent, reserved, remaining, utilization, reset, forecast metric.Float64ObservableGauge
	subjects                                                        metric.Int64ObservableGauge

	mu      sync.Mutex // held during a collection: each of the SDK's readers makes its own
	round   uint64     // number of the collection
	shown   map[budgetAccount]*shownAccount
	budgets map[string]*countedBudget // :: budget's name → its accounts
	admits  uint64                    // accounts admitted since the start
	wide    int                       // members of shown whose budget has many accounts
	narrow  int                       // accounts yielded, in the last collection, whose budget has no other
	alone   int                       // the same, in this collection so far
}

// budgetAccount names an account.
type budgetAccount struct{ budget, subject string }

// shownAccount is an account that has series.
type shownAccount struct {
	status budget.Status
	opts   []metric.ObserveOption
	round  uint64 // when it was last yielded
	admit  uint64 // its place in the order of admission
	wide   bool
}

// countedBudget is a budget with the number of its accounts.
type countedBudget struct {
	scope, window string
	shown         int
	counted       [3]int64 // accounts without series, by index in names.BudgetStates
	any           bool     // there are accounts without series
	opts          [3][]metric.ObserveOption
	round         uint64 // when it was last yielded
}

// observe is one collection. The source is read to its end before anything is reported: what it may have locked is free
// again soon.
func (g *budgetGauges) observe(_ context.Context, o metric.Observer) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.round++
	g.alone = 0
	for s := range g.cfg.Statuses {
		if s.Budget != nil {
			g.take(&s)
		}
	}
	g.narrow = g.alone
	g.forget()
	now := time.Now()
	for _, a := range g.shown {
		g.report(o, a, now)
	}
	g.reportCounts(o)
	return nil
}

// take notes an account, with series or as one of many.
func (g *budgetGauges) take(s *budget.Status) {
	key := budgetAccount{s.Budget.Name, s.Subject}
	b, wide := g.budget(s.Budget), s.Budget.Scope != "global" && strings.Contains(s.Budget.Match, "*")
	showable := g.showable(s)
	if showable && !wide {
		g.alone++
	}
	a := g.shown[key]
	if a != nil && (!showable || a.wide != wide || a.status.Budget.Scope != b.scope || a.status.Budget.Window != b.window) {
		g.hide(key) // defined anew since
		a = nil
	}
	if a == nil && showable && b.shown < max(1, g.cfg.Subjects) && g.room(wide) {
		a = &shownAccount{wide: wide, admit: g.admits,
			opts: observeOptions(append(b.attributes(key.budget), names.KeyBudgetSubject.String(valid(key.subject))))}
		g.shown[key] = a
		g.admits++
		b.shown++
		if wide {
			g.wide++
		}
	}
	if a == nil {
		b.count(s.State)
		return
	}
	a.status, a.round = *s, g.round
}

// budget returns the entry of a budget, its counts at zero when it is the first time in this collection.
func (g *budgetGauges) budget(of *budget.Budget) *countedBudget {
	b := g.budgets[of.Name]
	if b == nil {
		b = &countedBudget{}
		g.budgets[of.Name] = b
	}
	if b.opts[0] == nil || b.scope != of.Scope || b.window != of.Window {
		b.scope, b.window = of.Scope, of.Window
		for i, state := range names.BudgetStates {
			b.opts[i] = observeOptions(append(b.attributes(of.Name), names.KeyBudgetState.String(state)))
		}
	}
	if b.round != g.round {
		b.round, b.counted, b.any = g.round, [3]int64{}, false
	}
	return b
}

// attributes are those that all series of a budget have.
func (b *countedBudget) attributes(name string) []attribute.KeyValue {
	return []attribute.KeyValue{names.KeyBudgetName.String(valid(name)), names.KeyBudgetScope.String(b.scope), names.KeyBudgetWindow.String(b.window)}
}

func (b *countedBudget) count(state string) {
	b.any = true
	if i := slices.Index(names.BudgetStates, state); i >= 0 {
		b.counted[i]++
	}
}

// showable reports whether an account may have series. Those of users, sessions and tags may not: clients make as many of
// them as they like.
func (g *budgetGauges) showable(s *budget.Status) bool {
	switch s.Budget.Scope {
	case "global":
		return true
	case "key", "team", "provider", "label":
		return g.cfg.Subjects > 0
	case "model":
		return g.cfg.Subjects > 0 && (g.cfg.KnownModel == nil || g.cfg.KnownModel(s.Subject) == s.Subject)
	}
	return false
}

// room reports whether one more account may have series. Budgets with many accounts leave room for all that have one.
func (g *budgetGauges) room(wide bool) bool {
	return len(g.shown) < maxSeries && (!wide || g.wide < maxSeries-max(g.narrow, g.alone))
}

// forget gives up what was not yielded, and, when budgets with one account have no room, those that came last of budgets
// with many; the next collection shows who gets it.
func (g *budgetGauges) forget() {
	for key, a := range g.shown {
		if a.round != g.round {
			g.hide(key)
		}
	}
	if over := g.wide - max(0, maxSeries-g.narrow); over > 0 {
		last := make([]budgetAccount, 0, g.wide)
		for key, a := range g.shown {
			if a.wide {
				last = append(last, key)
			}
		}
		slices.SortFunc(last, func(a, b budgetAccount) int { return cmp.Compare(g.shown[b].admit, g.shown[a].admit) })
		for _, key := range last[:over] {
			b, state := g.budgets[key.budget], g.shown[key].status.State
			g.hide(key)
			b.count(state)
		}
	}
	for name, b := range g.budgets {
		if b.round != g.round {
			delete(g.budgets, name)
		}
	}
}

func (g *budgetGauges) hide(key budgetAccount) {
	if g.shown[key].wide {
		g.wide--
	}
	delete(g.shown, key)
	g.budgets[key.budget].shown--
}

// report reports an account. An absent limit is no limit, which has no utilization; after an overshoot what remains is
// negative.
func (g *budgetGauges) report(o metric.Observer, a *shownAccount, now time.Time) {
	s := &a.status
	o.ObserveFloat64(g.spent, s.Spent.Dollars(), a.opts...)
	o.ObserveFloat64(g.reserved, s.Reserved.Dollars(), a.opts...)
	if limit := s.Budget.Limit; limit.Set {
		used := s.Spent + s.Reserved
		o.ObserveFloat64(g.limit, limit.Value.Dollars(), a.opts...)
		o.ObserveFloat64(g.remaining, (limit.Value - used).Dollars(), a.opts...)
		o.ObserveFloat64(g.utilization, utilization(used, limit.Value), a.opts...)
	}
	if !s.Resets.IsZero() {
		o.ObserveFloat64(g.reset, max(0, s.Resets.Sub(now).Seconds()), a.opts...)
	}
	if s.Forecast.Set {
		o.ObserveFloat64(g.forecast, s.Forecast.Value.Dollars(), a.opts...)
	}
}

// utilization is used ÷ limit. Where nothing may be spent, all of it is: 1.
func utilization(used, limit gateway.NanoUSD) float64 {
	if limit <= 0 {
		return 1
	}
	return float64(used) / float64(limit)
}

// reportCounts reports the accounts without series, in every state, at zero too. The last budgets by name share series
// without scope and window, named _OTHER, when there are more of them than an instrument may have.
func (g *budgetGauges) reportCounts(o metric.Observer) {
	var counting []string
	for name, b := range g.budgets {
		if b.any {
			counting = append(counting, name)
		}
	}
	most := maxSeries/len(names.BudgetStates) - 1
	var others [3]int64
	if len(counting) > most {
		slices.Sort(counting)
		for _, name := range counting[most:] {
			for i, n := range g.budgets[name].counted {
				others[i] += n
			}
		}
		for i, state := range names.BudgetStates {
			o.ObserveInt64(g.subjects, others[i], metric.WithAttributes(names.KeyBudgetName.String(names.ErrorOther), names.KeyBudgetState.String(state)))
		}
		counting = counting[:most]
	}
	for _, name := range counting {
		b := g.budgets[name]
		for i, n := range b.counted {
			o.ObserveInt64(g.subjects, n, b.opts[i]...)
		}
	}
}

func observeOptions(attrs []attribute.KeyValue) []metric.ObserveOption {
	return []metric.ObserveOption{metric.WithAttributeSet(attribute.NewSet(attrs...))}
}

// valid returns s as an attribute may have it.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
