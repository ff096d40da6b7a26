package budget

import (
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Statuses yields what is known of every account now, budgets in the order of
// the configuration, until yield returns false. Budgets with one account are
// there from the start, those with one for each subject when it is first seen.
// yield may call the Book: it runs outside of the lock.
func (b *Book) Statuses(yield func(Status) bool) {
	b.mu.Lock()
	pots := append([]*pot(nil), b.pots...)
	b.mu.Unlock()
	batch := make([]Status, 0, chunk)
	for _, p := range pots {
		more := true
		b.mu.Lock()
		now := b.time.read()
		for _, a := range p.all {
			batch = append(batch, b.status(a, now))
			if len(batch) < chunk {
				continue
			}
			b.mu.Unlock()
			more = drain(&batch, yield)
			b.mu.Lock()
			if !more {
				break
			}
		}
		b.mu.Unlock()
		if !more || !drain(&batch, yield) {
			return
		}
	}
}

func drain(batch *[]Status, yield func(Status) bool) bool {
	for _, s := range *batch {
		if !yield(s) {
			return false
		}
	}
	*batch = (*batch)[:0]
	return true
}

// status describes a. Exhausted is an account that has spent its limit; warn one
// that has reached its first threshold.
func (b *Book) status(a *account, now int64) Status {
	b.update(a, now)
	p := a.pot
	s := Status{
		Budget: p.def, Subject: a.name(b.alias), Start: p.begin(now), Resets: a.resets(),
		Spent: a.spent, Reserved: a.reserved, State: names.BudgetStateOK,
	}
	if n, ok := a.forecast(now, 10); ok {
		s.Forecast = gateway.Some(n)
	}
	switch limit := p.def.Limit; {
	case limit.Set && a.spent >= limit.Value:
		s.State = names.BudgetStateExhausted
	case len(p.cuts) > 0 && a.spent >= p.cuts[0]:
		s.State = names.BudgetStateWarn
	}
	return s
}

// begin is where the current window starts: for a rolling one its span ago,
// without windows when the budget was first seen.
func (p *pot) begin(now int64) time.Time {
	switch p.window.unit {
	case unitNone:
		return wallTime(p.since)
	case unitRolling:
		return wallTime(now - p.window.span*second)
	}
	return wallTime(p.start)
}
