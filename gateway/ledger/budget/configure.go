package budget

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
)

// Saved is what was persisted when the process was last alive. The zero value
// is a ledger that has never been used.
type Saved struct {
	Sums    []store.Sum
	Alerts  []store.AlertState
	Budgets []store.BudgetState
}

// Options are what a Book needs of others.
type Options struct {
	// Clock nil: SystemClock.
	Clock Clock
	// Alias names a key in statuses and alerts; "": it has no other name than its
	// id. It must be quick and must not call the Book. Nil: the alias that came
	// with the key's last request.
	Alias func(keyID string) string
}

// Changes are what a new list of budgets asks of whoever keeps the ledger, in
// this order: delete what Void names, persist Budgets and Alerts, add up the
// lines for each of Backfills and pass it to Fill.
type Changes struct {
	// Void are budgets whose persisted sums and alert states belong to an older
	// definition.
	Void      []string
	Budgets   []store.BudgetState
	Alerts    []store.AlertState
	Backfills []*Backfill
}

// New returns a Book of the budgets, which are valid (see Configure), with the
// sums they had. Saved sums that cannot be are an error: a budget is never
// refilled because its sum was damaged.
//
// Time goes on from the newest of all windows in saved, should the clock show
// less. For what the changes mean see Configure.
func New(list []Budget, saved Saved, o Options) (*Book, *Changes, error) {
	floor := int64(0)
	for _, s := range saved.Sums {
		if s.Spent < 0 {
			return nil, nil, fmt.Errorf("budget %q: the saved sum of subject %q is negative: %d", s.Budget, s.Subject, s.Spent)
		}
		floor = max(floor, s.Window)
	}
	for _, a := range saved.Alerts {
		floor = max(floor, a.Window)
	}
	if o.Clock == nil {
		o.Clock = SystemClock{}
	}
	b := &Book{
		alias: o.Alias, time: newSteady(o.Clock, unixNano(time.Unix(floor, 0))), named: map[string]*pot{},
		states: map[string]store.BudgetState{}, past: map[store.Account]gateway.NanoUSD{}, loose: map[string]int64{},
	}
	for _, s := range saved.Budgets {
		b.states[s.Name] = s
	}
	changes, err := b.Configure(list)
	if err != nil {
		return nil, nil, err
	}
	b.restore(saved)
	return b, changes, nil
}

// restore takes the saved sums and alerts back in, of budgets whose definition
// is still the same.
func (b *Book) restore(saved Saved) {
	now := b.time.now
	for _, s := range saved.Sums {
		p := b.named[s.Budget]
		switch {
		case p != nil && p.filling != nil:
		case p == nil || !p.live(s.Window, now):
			b.past[s.Account] = s.Spent
		default:
			if a := p.saved(s.Subject, now); a != nil {
				a.charge(a.past(s.Window), s.Spent)
			}
		}
	}
	for _, s := range saved.Alerts {
		b.restoreAlert(s, now)
	}
	for _, p := range b.pots {
		for _, a := range p.all {
			b.update(a, now)
			if p.window.unit != unitRolling { // which update has judged
				a.rejudge(nil, now)
			}
		}
	}
}

// saved returns the account of a subject that has a saved sum or alert; nil:
// the budget cannot have it.
func (p *pot) saved(subject string, now int64) *account {
	a := p.all[subject]
	if a == nil && p.each {
		a = p.open(subject)
	}
	if a != nil {
		a.used = now
	}
	return a
}

func (b *Book) restoreAlert(s store.AlertState, now int64) {
	p := b.named[s.Budget]
	if model, ok := strings.CutPrefix(s.Subject, unpricedPrefix); ok {
		switch {
		case s.Budget == "":
			b.loose[model] = max(b.loose[model], s.Window*second)
		case p != nil:
			p.unpriced[model] = max(p.unpriced[model], s.Window*second)
		}
		return
	}
	if s.Level <= 0 && !s.Forecast && !s.Crossed || p == nil || p.filling != nil {
		return
	}
	a := p.saved(s.Subject, now)
	if a == nil || s.Window*second < a.fired.window {
		return
	}
	// When its window has ended, bringing the account up to date fires the reset.
	a.fired = fired{window: s.Window * second, level: max(0, s.Level), forecast: s.Forecast, crossed: s.Crossed}
}

// Configure makes list the budgets. It fails when one is not valid or two have
// the same name; then nothing has changed.
//
// A budget whose scope, match, window, time zone and counts are as they were
// keeps its sums: a new limit holds for what is already spent, and what was
// crossed stays reported if it still is. A budget in which one of these has
// changed, or that was away in between, starts from the lines: those of the
// current window, or, without windows, those since it was first seen. So does a
// new budget, except that without windows it counts from now on. Until Fill,
// such a budget knows only of what has been spent since.
//
// Attempts in flight stay in the accounts they were admitted to. Where these
// are gone, the cost counts only if its line is written before the lines are
// added up.
func (b *Book) Configure(list []Budget) (*Changes, error) {
	if err := validate(list); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.time.read()
	changes := &Changes{}
	named := make(map[string]*pot, len(list))
	pots := make([]*pot, 0, len(list))
	for i := range list {
		def := list[i]
		p := b.named[def.Name]
		if p != nil && p.print == fingerprint(&def) {
			b.redefine(p, &def, now, changes)
		} else {
			p = newPot(&def, now)
			b.introduce(p, now, changes)
		}
		named[def.Name], pots = p, append(pots, p)
	}
	for _, p := range b.pots {
		p.retired = named[p.name] != p
	}
	for _, name := range slices.Sorted(maps.Keys(b.states)) {
		if s := b.states[name]; named[name] == nil && s.Fingerprint != "" {
			s.Fingerprint = "" // should it come back, its sums will lack what was spent in between
			b.states[name] = s
			changes.Budgets = append(changes.Budgets, s)
		}
	}
	b.pots, b.named = pots, named
	b.index = [scopes]index{}
	for _, p := range pots {
		b.index[p.scope].add(p)
	}
	return changes, nil
}

func validate(list []Budget) error {
	seen := make(map[string]bool, len(list))
	for i := range list {
		b := &list[i]
		if err := b.Validate(); err != nil {
			return fmt.Errorf("budget %q: %w", b.Name, err)
		}
		if seen[b.Name] {
			return fmt.Errorf("budget %q: there are two of that name", b.Name)
		}
		seen[b.Name] = true
	}
	return nil
}

// Validate reports what makes b no budget; nil: nothing.
func (b *Budget) Validate() error {
	s := scope(slices.Index(scopeNames[:], b.Scope))
	name, _, tag := strings.Cut(b.Match, "=")
	switch {
	case b.Name == "":
		return errors.New("it has no name")
	case s < 0:
		return fmt.Errorf("scope %q: want one of %s", b.Scope, strings.Join(scopeNames[:], ", "))
	case s != scopeGlobal && b.Match == "":
		return errors.New("match is empty: name what the budget is for, or \"*\" for one each")
	case s == scopeTag && b.Match != "*" && (!tag || name == "" || strings.Contains(name, "*")):
		return fmt.Errorf("match %q: want name=value, name=*, or *", b.Match)
	case b.Limit.Set && b.Limit.Value < 0:
		return fmt.Errorf("limit %s: want no less than 0", b.Limit.Value)
	}
	for i, t := range b.Thresholds {
		if !(t > 0 && t <= 1) || i > 0 && t <= b.Thresholds[i-1] {
			return fmt.Errorf("thresholds %v: want rising fractions above 0 up to 1", b.Thresholds)
		}
	}
	_, err := parseWindow(b.Window, b.Location)
	return err
}

// redefine gives p, whose sums stay, a new definition.
func (b *Book) redefine(p *pot, def *Budget, now int64, changes *Changes) {
	old := p.def
	p.redefine(def)
	if old.Limit == def.Limit && slices.Equal(old.Thresholds, def.Thresholds) {
		return
	}
	p.review = true
	for _, a := range p.all {
		b.update(a, now)
		if a.rejudge(old.Thresholds, now) {
			changes.Alerts = append(changes.Alerts, a.state())
		}
	}
}

// rejudge keeps of what has fired what is still so under a new limit and new
// thresholds; nil: the thresholds are not known to have changed. It reports
// whether anything is armed again.
func (a *account) rejudge(old []float64, now int64) bool {
	f, p := &a.fired, a.pot
	if !f.any() || f.window < p.start && p.window.calendar() {
		return false
	}
	before := *f
	if n := min(f.level, len(old)); n > 0 {
		f.level = 0
		for f.level < len(p.cuts) && p.def.Thresholds[f.level] <= old[n-1] {
			f.level++
		}
	}
	a.disarm(1, 1)
	n, ok := a.forecast(now, 100)
	f.forecast = f.forecast && ok && p.def.Limit.Set && n > p.def.Limit.Value
	return *f != before
}

// introduce decides what a budget starts from that is new to b.
func (b *Book) introduce(p *pot, now int64, changes *Changes) {
	name := p.name
	state, known := b.states[name]
	if known && state.Fingerprint == p.print {
		p.since = unixNano(state.Since)
		return // restore follows
	}
	if known {
		changes.Void = append(changes.Void, name)
	} else {
		state = store.BudgetState{Name: name, Since: wallTime(now)}
	}
	state.Fingerprint = p.print
	b.states[name] = state
	p.since = unixNano(state.Since)
	changes.Budgets = append(changes.Budgets, state)
	if !known && p.window.unit == unitNone {
		return
	}
	rule := *p
	p.filling = &Backfill{Budget: name, From: p.begin(now), Until: wallTime(now), rule: &rule, sums: map[bucket]gateway.NanoUSD{}}
	changes.Backfills = append(changes.Backfills, p.filling)
}
