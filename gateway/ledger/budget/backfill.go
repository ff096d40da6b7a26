package budget

import (
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
)

// Backfill asks for what a budget's sums come to by the lines that were written
// before it was in force. One goroutine fills it in.
type Backfill struct {
	Budget string
	// The lines that count are those with From ≤ Time < Until.
	From, Until time.Time

	rule *pot // matches and dates; shares nothing that changes
	sums map[bucket]gateway.NanoUSD
}

// bucket names a sum within a budget.
type bucket struct {
	subject string
	start   int64
}

// Add counts a line, or any number of lines that differ in nothing that the
// budget looks at and lie in one second. Lines that the budget does not count
// may be passed as well.
func (f *Backfill) Add(facts Facts, at time.Time, cost gateway.NanoUSD) {
	p := f.rule
	if cost <= 0 || at.Before(f.From) || !at.Before(f.Until) || !p.counts(facts.Billing) {
		return
	}
	start, _ := p.window.at(at.Unix())
	take := func(v subject) {
		if name, ok := p.subject(p.scope, v); ok {
			key := bucket{name, start}
			f.sums[key] = add(f.sums[key], cost)
		}
	}
	if p.scope == scopeTag {
		for name, value := range facts.Tags {
			take(subject{name, value})
		}
	} else if v, ok := facts.subject(p.scope); ok {
		take(v)
	}
}

// Fill adds what f has come to, and returns the sums to be persisted. Alerts
// that are due fire with the next Tick. A backfill that a later Configure has
// made obsolete does nothing; nor does one that was filled already.
func (b *Book) Fill(f *Backfill) []store.Sum {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.named[f.Budget]
	if p == nil || p.filling != f {
		return nil
	}
	p.filling, p.review = nil, true
	now := b.time.read()
	p.advance(now)
	var sums []store.Sum
	for k, n := range f.sums {
		if !p.live(k.start, now) {
			continue // its window has ended since
		}
		a := p.account(k.subject)
		b.update(a, now)
		a.used = now
		q := a.past(k.start)
		a.charge(q, n)
		sums = append(sums, store.Sum{Account: a.key(q.start), Spent: q.spent})
	}
	return sums
}

// Charge adds the cost of a line that was recovered after a crash to the
// accounts it had money reserved in, and returns the sums to be persisted, also
// of windows that have ended. Alerts that are due fire with the next Tick.
//
// It is for the time between New and the first reservation: after that, windows
// that had ended by New are not remembered. Budgets that wait for Fill are left
// out: write the line before the lines are added up.
func (b *Book) Charge(accounts []store.Account, cost gateway.NanoUSD) []store.Sum {
	cost = max(0, cost)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.time.read()
	sums := make([]store.Sum, 0, len(accounts))
	for _, key := range accounts {
		p := b.named[key.Budget]
		if p != nil && p.filling != nil {
			continue
		}
		var a *account
		if p != nil {
			p.advance(now)
			if p.live(key.Window, now) {
				a = p.saved(key.Subject, now)
			}
		}
		if a == nil {
			if b.past == nil {
				continue
			}
			b.past[key] = add(b.past[key], cost)
			sums = append(sums, store.Sum{Account: key, Spent: b.past[key]})
			continue
		}
		b.update(a, now)
		q := a.past(key.Window)
		a.charge(q, cost)
		p.review = true
		sums = append(sums, store.Sum{Account: key, Spent: q.spent})
	}
	return sums
}
