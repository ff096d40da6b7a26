package budget

import (
	"time"

	"github.com/ccproxy/ccproxy/gateway/ledger/store"
)

// Idle accounts are looked for so often, and given up after so long.
const (
	idleEvery = time.Hour
	idleAfter = 24 * time.Hour
)

// chunk is how many accounts are looked at before others get the lock.
const chunk = 256

// Ticked is what the passing of time came to.
type Ticked struct {
	Fired  []Alert
	Alerts []store.AlertState // that changed, to be persisted; the zero state may as well be deleted
	// Expired are sums that no longer mean anything: sessions that were idle for
	// a day, under budgets without windows. They are to be deleted, with their
	// alert states, or else they come back with the next start.
	Expired []store.Account
	// Jump is how far the wall clock is from the time that windows go by: it was
	// set, and is not followed. Positive: it is ahead. It is reported once, until
	// the two have agreed again; 0: nothing to report.
	Jump time.Duration
}

// Tick is to be called every few seconds. It fires the alerts that no request
// brings about: reset, forecast_overrun of accounts that are idle, and what a
// new limit or a sum from the lines has crossed. It forgets accounts in which
// nothing is spent or reserved after a day without use, and sessions of budgets
// without windows then in any case; others are never forgotten, since that
// would refill them.
func (b *Book) Tick() Ticked {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.time.read()
	out, expired := outbox{}, []store.Account(nil)
	for _, p := range append([]*pot(nil), b.pots...) {
		if b.pending(p, now) {
			expired = append(expired, b.sweep(p, now, &out)...)
			b.mu.Unlock()
			b.mu.Lock()
		}
	}
	fired := append(b.due.alerts, out.alerts...)
	states := append(b.due.states, out.states...)
	b.due = outbox{}
	jump := b.time.jump
	b.time.jump = 0
	return Ticked{Fired: fired, Alerts: states, Expired: expired, Jump: jump}
}

// pending reports whether p's accounts are to be looked at, and notes that they
// are.
func (b *Book) pending(p *pot, now int64) bool {
	p.advance(now)
	due := p.review || p.full
	if p.swept != p.start {
		p.swept, due = p.start, true
	}
	if p.window.calendar() && p.forecast != p.start && now-p.start >= (p.end-p.start)/10 {
		p.forecast, due = p.start, true
	}
	if now-p.idled >= int64(idleEvery) {
		p.idled, due = now, true
	}
	p.review = false
	return due
}

// sweep brings p's accounts up to date and forgets the idle ones. The lock is
// given up now and then.
func (b *Book) sweep(p *pot, now int64, out *outbox) (expired []store.Account) {
	idle := int64(idleAfter)
	if p.full {
		p.full, idle = false, 0
	}
	n := 0
	for _, a := range p.all {
		if n++; n%chunk == 0 {
			b.mu.Unlock()
			b.mu.Lock()
		}
		if p.retired {
			return expired
		}
		b.update(a, now)
		b.evaluate(a, now, out)
		if !p.each || a.holds > 0 || now-a.used < idle {
			continue
		}
		session := p.scope == scopeSession && p.window.unit == unitNone
		if a.spent > 0 && (!session || now-a.used < int64(idleAfter)) {
			continue
		}
		if session && a.spent > 0 {
			expired = append(expired, a.key(0))
		}
		p.drop(a)
		b.index[p.scope].forget()
	}
	return expired
}
