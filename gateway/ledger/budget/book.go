package budget

import (
	"slices"
	"sync"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Book holds all budgets. Its methods may be called concurrently; each is a
// short critical section, and none waits for anything.
//
// A budget sees only what it counts: traffic that is free, and subscription
// traffic where Notional is not set, passes it unseen, also when its limit is 0.
type Book struct {
	alias func(keyID string) string

	mu     sync.Mutex
	time   steady
	pots   []*pot          // as configured
	named  map[string]*pot // :: name → pot
	index  [scopes]index
	states map[string]store.BudgetState // :: name → what is remembered, also of removed budgets
	past   map[store.Account]gateway.NanoUSD
	loose  map[string]int64 // :: model → day on which it was reported as unpriced under no budget
	due    outbox           // for the next Tick
	holds  int              // reservations that are open
}

// Reservation is money set aside in all budgets that apply to an attempt.
type Reservation struct {
	book  *Book
	parts []part // not changed once it is made
	held  gateway.NanoUSD
	done  bool

	few       [6]part // most reservations need no more
	decisions [6]gateway.BudgetDecision
}

// part is the money in one account.
type part struct {
	account *account
	period  *period
}

// Reserve sets amount aside in every budget that applies to f, or in none. It is
// refused when a budget that enforces its limit would have more spent and
// reserved than that; a limit of 0 refuses also nothing. A budget with Route
// refuses here like any other: rerouting is asked for earlier, by Fits.
//
// The decisions are one for each budget that applies, also when it is refused;
// a refused call returns no reservation, and of several refusals the one that
// lasts longest. Where no budget applies, the reservation is of nothing. Every
// reservation must be ended by Settle or Release. A negative amount counts as 0.
func (b *Book) Reserve(f Facts, amount gateway.NanoUSD) (*Reservation, []gateway.BudgetDecision, *gateway.BudgetRefusal) {
	amount = max(0, amount)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.time.read()
	b.past = nil
	r := &Reservation{book: b, held: amount}
	r.parts = b.collect(&f, now, r.few[:0])
	decisions := r.decisions[:0]
	var worst *account // of those that refuse
	for _, p := range r.parts {
		decision := p.decide(amount)
		if decision == names.BudgetDecisionDeny && (worst == nil || later(p.account, worst)) {
			worst = p.account
		}
		decisions = decide(decisions, p.account.pot.name, decision)
	}
	if worst != nil {
		return nil, decisions, &gateway.BudgetRefusal{Budget: worst.pot.name, Window: worst.pot.def.Window, Resets: worst.resets()}
	}
	for i := range r.parts {
		p := &r.parts[i]
		p.period = p.account.current()
		p.account.hold(p.period, amount)
		p.account.holds++
		p.account.used = now
	}
	b.holds++
	return r, decisions, nil
}

// collect appends the accounts that f counts in, up to date.
func (b *Book) collect(f *Facts, now int64, parts []part) []part {
	take := func(s scope, v subject) {
		for _, a := range b.index[s].accounts(s, v) {
			if a.pot.counts(f.Billing) {
				b.update(a, now)
				if s == scopeKey && a.alias != v.extra {
					a.alias = v.extra
				}
				parts = append(parts, part{account: a})
			}
		}
	}
	for s := range scopeTag {
		if b.index[s].empty() {
			continue
		}
		if v, ok := f.subject(s); ok {
			take(s, v)
		}
	}
	if !b.index[scopeTag].empty() {
		for name, value := range f.Tags {
			take(scopeTag, subject{name, value})
		}
	}
	return parts
}

// decide says what p's budget does about amount.
func (p *part) decide(amount gateway.NanoUSD) string {
	q := p.period
	if q == nil {
		q = &period{live: true}
	}
	over, overflow := p.account.over(q, amount)
	switch {
	case overflow || over && !p.account.pot.def.Warn:
		return names.BudgetDecisionDeny
	case over:
		return names.BudgetDecisionWarn
	}
	return names.BudgetDecisionAllow
}

// decide adds what a budget says; of several accounts the gravest counts.
func decide(list []gateway.BudgetDecision, budget, decision string) []gateway.BudgetDecision {
	i := slices.IndexFunc(list, func(d gateway.BudgetDecision) bool { return d.Budget == budget })
	switch {
	case i < 0:
		return append(list, gateway.BudgetDecision{Budget: budget, Decision: decision})
	case decision == names.BudgetDecisionDeny, list[i].Decision == names.BudgetDecisionAllow:
		list[i].Decision = decision
	}
	return list
}

// later reports whether a has room again later than b.
func later(a, b *account) bool {
	x, y := a.resets(), b.resets()
	return !y.IsZero() && (x.IsZero() || x.After(y))
}

// Fits reports whether the budgets that route instead of refusing can take
// amount; over is the first that cannot. It reserves nothing.
func (b *Book) Fits(f Facts, amount gateway.NanoUSD) (over *Budget, ok bool) {
	var few [6]part
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.collect(&f, b.time.read(), few[:0]) {
		if p.account.pot.def.Route != "" && p.decide(max(0, amount)) == names.BudgetDecisionDeny {
			return p.account.pot.def, false
		}
	}
	return nil, true
}

// Enforced reports whether a budget applies to f that refuses what is beyond
// its limit.
func (b *Book) Enforced(f Facts) bool {
	var few [6]part
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.collect(&f, b.time.read(), few[:0]) {
		if p.account.pot.enforcing() {
			return true
		}
	}
	return false
}

// Accounts returns the accounts that the money is in, for the journal. They stay
// the same for the life of r.
func (r *Reservation) Accounts() []store.Account {
	if len(r.parts) == 0 {
		return nil
	}
	list := make([]store.Account, len(r.parts))
	for i, p := range r.parts {
		list[i] = p.account.key(p.period.start)
	}
	return list
}

// Extend sets more aside, in all budgets of r or in none, and reports whether it
// did. The limits are those of the windows that r is in, also when they have
// ended. A reservation that has ended cannot grow.
func (r *Reservation) Extend(more gateway.NanoUSD) bool {
	b := r.book
	more = max(0, more)
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.done || more > never-r.held {
		return false
	}
	now := b.time.read()
	for i := range r.parts {
		b.update(r.parts[i].account, now)
		if r.parts[i].decide(more) == names.BudgetDecisionDeny {
			return false
		}
	}
	for _, p := range r.parts {
		p.account.hold(p.period, more)
		p.account.used = now
	}
	r.held += more
	return true
}

// Settled is what a settlement came to.
type Settled struct {
	Sums   []store.Sum        // of the accounts charged, whole, to be persisted
	Alerts []store.AlertState // that changed, to be persisted
	Fired  []Alert
	// Overshoot is by how much the settlement took what is spent beyond the
	// limits of budgets that enforce them. Added up it is what was overspent.
	Overshoot []gateway.BudgetAmount
}

// Settle replaces r by what the attempt cost, in the windows that r is in. With
// known false nothing is charged, which is Release. Only the first call of
// Settle or Release does anything.
func (b *Book) Settle(r *Reservation, cost gateway.NanoUSD, known bool) Settled {
	if !known {
		b.Release(r)
		return Settled{}
	}
	cost = max(0, cost)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.time.read()
	if !b.end(r, now) || len(r.parts) == 0 {
		return Settled{}
	}
	s := Settled{Sums: make([]store.Sum, 0, len(r.parts))}
	var out outbox
	for _, p := range r.parts {
		a, q := p.account, p.period
		before := a.spent
		if !q.live {
			before = q.spent
		}
		a.charge(q, cost)
		if a.pot.retired {
			continue
		}
		s.Sums = append(s.Sums, store.Sum{Account: a.key(q.start), Spent: q.spent})
		if limit := a.pot.def.Limit; a.pot.enforcing() {
			if n := add(before, cost) - max(limit.Value, before); n > 0 {
				s.Overshoot = append(s.Overshoot, gateway.BudgetAmount{Budget: a.pot.name, Amount: n})
			}
		}
		b.evaluate(a, now, &out)
	}
	s.Fired, s.Alerts = out.alerts, out.states
	return s
}

// Release gives r back: nothing was spent. Only the first call of Settle or
// Release does anything.
func (b *Book) Release(r *Reservation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end(r, b.time.read())
}

// end takes r's money out of what is reserved. It reports whether r was open.
func (b *Book) end(r *Reservation, now int64) bool {
	if r == nil || r.done {
		return false
	}
	r.done = true
	b.holds--
	for _, p := range r.parts {
		b.update(p.account, now)
		p.account.hold(p.period, -r.held)
		p.account.holds--
		p.account.used = now
	}
	return true
}

// Open returns how many reservations have not ended.
func (b *Book) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.holds
}
