package budget

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// How many accounts a budget keeps. Those that come later share: each subject
// is hashed to one of so many shared accounts, whose limit counts for all that
// fall on it. That may refuse too early, and never refills.
const (
	maxAccounts = 100_000
	maxRolling  = 10_000 // each has up to buckets+2 periods
	shared      = 1024
)

// pot is a budget and what it is kept for.
type pot struct {
	name   string  // does not change
	def    *Budget // as last configured
	scope  scope
	print  string // fingerprint of the definition
	window window
	since  int64               // when the budget was first seen, Unix nanoseconds
	cuts   []gateway.NanoUSD   // the thresholds as amounts
	each   bool                // an account for each subject, instead of one
	most   int                 // accounts, before they are shared
	single *account            // of a budget with one account
	all    map[string]*account // :: subject → account

	start, end int64 // the current window, or bucket, in Unix nanoseconds
	swept      int64 // start of the window whose accounts were looked at since it began
	forecast   int64 // start of the window whose forecasts were looked at
	idled      int64 // when idle accounts were last looked for

	shares   int              // accounts that are shared
	full     bool             // an account had to be shared
	review   bool             // limits or sums changed: alerts may be due
	filling  *Backfill        // what the lines come to; nil when it is in
	retired  bool             // no longer configured, or not so
	unpriced map[string]int64 // :: model → start of the window in which it was reported
}

// newPot returns a pot without accounts. def is valid.
func newPot(def *Budget, now int64) *pot {
	w, _ := parseWindow(def.Window, def.Location)
	p := &pot{
		name: def.Name, def: def, scope: scope(slices.Index(scopeNames[:], def.Scope)), window: w, print: fingerprint(def), all: map[string]*account{}, most: maxAccounts,
		swept: -1, forecast: -1, idled: now, unpriced: map[string]int64{},
	}
	if w.unit == unitRolling {
		p.most = maxRolling
	}
	p.redefine(def)
	p.advance(now)
	return p
}

// redefine takes over what may change without touching the sums.
func (p *pot) redefine(def *Budget) {
	p.def = def
	p.each = p.scope != scopeGlobal && (def.Match == "*" || p.scope == scopeTag && strings.HasSuffix(def.Match, "=*"))
	p.cuts = make([]gateway.NanoUSD, 0, len(def.Thresholds))
	if limit := def.Limit; limit.Set && limit.Value > 0 {
		for _, t := range def.Thresholds {
			p.cuts = append(p.cuts, max(1, portion(limit.Value, t)))
		}
	}
	if !p.each && p.single == nil {
		subject := def.Match
		if p.scope == scopeGlobal {
			subject = ""
		}
		p.single = &account{pot: p, subject: subject}
		p.all[subject] = p.single
	}
}

// fingerprint tells definitions apart whose sums differ. What the limit and the
// thresholds are, and what happens beyond them, is no part of it.
func fingerprint(b *Budget) string {
	zone := "UTC"
	if b.Location != nil {
		zone = b.Location.String()
	}
	counts := names.CostBillingMetered
	if b.Notional {
		counts = names.CostBillingNotional
	}
	return fmt.Sprintf("%s %q %s %s %s", b.Scope, b.Match, b.Window, zone, counts)
}

// portion is fraction × limit.
func portion(limit gateway.NanoUSD, fraction float64) gateway.NanoUSD {
	f := math.Round(float64(limit) * fraction)
	if f >= math.MaxInt64 {
		return math.MaxInt64
	}
	return gateway.NanoUSD(f)
}

// counts reports whether the budget counts what is billed so.
func (p *pot) counts(billing string) bool {
	switch billing {
	case names.CostBillingFree:
		return false
	case names.CostBillingNotional:
		return p.def.Notional
	}
	return true
}

// enforcing reports whether the budget refuses anything.
func (p *pot) enforcing() bool { return p.def.Limit.Set && !p.def.Warn }

// advance makes the window that holds now the current one.
func (p *pot) advance(now int64) {
	if now < p.end {
		return
	}
	start, end := p.window.at(now / second)
	if end == never {
		p.end = never
		return
	}
	// Zones that count leap seconds can put the start of an hour back by a few.
	p.start, p.end = max(p.start, start*second), end*second
}

// live reports whether what was spent in a period counts in the current window.
func (p *pot) live(start, now int64) bool {
	switch p.window.unit {
	case unitNone:
		return true
	case unitRolling:
		return start+p.window.step+p.window.span > now/second
	}
	return start >= p.start/second
}

// account returns the subject's account, which may be a shared one.
func (p *pot) account(subject string) *account {
	if !p.each {
		return p.single
	}
	if a := p.all[subject]; a != nil {
		return a
	}
	if p.shares > 0 || len(p.all) >= p.most {
		name := sharedName(subject)
		if a := p.all[name]; a != nil {
			return a // also when there is room again: the subject may have spent here
		}
		if len(p.all) >= p.most {
			p.full, subject = true, name
		}
	}
	return p.open(subject)
}

// open adds an account for the subject.
func (p *pot) open(subject string) *account {
	a := &account{pot: p, subject: subject}
	p.all[subject] = a
	if isShared(subject) {
		p.shares++
	}
	return a
}

// drop removes an account.
func (p *pot) drop(a *account) {
	delete(p.all, a.subject)
	if isShared(a.subject) {
		p.shares--
	}
}

const sharedPrefix = names.ErrorOther + "/"

func isShared(subject string) bool { return strings.HasPrefix(subject, sharedPrefix) }

// sharedName names the shared account that the subject falls on.
func sharedName(subject string) string {
	h := fnv.New32a()
	h.Write([]byte(subject))
	return fmt.Sprintf("%s%d", sharedPrefix, h.Sum32()%shared)
}

// period is a window of an account, or a bucket of a rolling one.
type period struct {
	start           int64 // Unix seconds; 0 without windows
	spent, reserved gateway.NanoUSD
	live            bool // counts in its account
}

// account is what a subject spends under a budget.
type account struct {
	pot     *pot
	subject string
	alias   string    // of the key, as last seen
	periods []*period // those that count now, oldest first
	// spent and reserved are the sums over periods.
	spent, reserved gateway.NanoUSD
	holds           int   // reservations that are open, of any period
	used            int64 // when something last happened, Unix nanoseconds
	fired           fired
}

// at brings a up to date.
func (a *account) at(now int64) {
	p := a.pot
	p.advance(now)
	n := 0
	for n < len(a.periods) && !p.live(a.periods[n].start, now) {
		a.periods[n].live = false
		n++
	}
	if n > 0 {
		a.periods = slices.Delete(a.periods, 0, n)
		a.sum()
	}
}

// sum adds the periods up.
func (a *account) sum() {
	a.spent, a.reserved = 0, 0
	for _, q := range a.periods {
		a.spent, a.reserved = add(a.spent, q.spent), add(a.reserved, q.reserved)
	}
}

// current returns the period that money is reserved in now. a is up to date.
func (a *account) current() *period {
	start := a.pot.start / second
	if n := len(a.periods); n > 0 && a.periods[n-1].start >= start {
		return a.periods[n-1]
	}
	q := &period{start: start, live: true}
	a.periods = append(a.periods, q)
	return q
}

// past returns the live period that starts so, or a new one. a is up to date
// and start is live.
func (a *account) past(start int64) *period {
	i, ok := slices.BinarySearchFunc(a.periods, start, func(q *period, t int64) int { return int(min(1, max(-1, q.start-t))) })
	if !ok {
		a.periods = slices.Insert(a.periods, i, &period{start: start, live: true})
	}
	return a.periods[i]
}

// charge adds to what was spent in one of a's periods.
func (a *account) charge(q *period, cost gateway.NanoUSD) {
	q.spent = add(q.spent, cost)
	if q.live {
		a.spent = add(a.spent, cost)
	}
}

// hold adds to what is reserved in one of a's periods; n may be negative.
func (a *account) hold(q *period, n gateway.NanoUSD) {
	q.reserved += n
	if q.live {
		a.reserved += n
	}
}

// over reports whether amount more would take a beyond its limit. A sum that
// cannot be told is beyond any.
func (a *account) over(q *period, amount gateway.NanoUSD) (over, overflow bool) {
	spent, reserved := a.spent, a.reserved
	if !q.live { // its window has ended, and has a limit of its own
		spent, reserved = q.spent, q.reserved
	}
	sum := add(add(spent, reserved), amount)
	if sum == math.MaxInt64 {
		return true, true
	}
	limit := a.pot.def.Limit
	return limit.Set && (limit.Value == 0 || sum > limit.Value), false
}

// resets returns when there is room again: at the end of the window, or when
// the oldest money of a rolling one stops counting; zero: never. a is up to date.
func (a *account) resets() time.Time {
	p := a.pot
	switch {
	case p.def.Limit.Set && p.def.Limit.Value == 0, p.window.unit == unitNone:
		return time.Time{}
	case p.window.unit != unitRolling:
		return time.Unix(p.end/second, 0).UTC()
	}
	start := p.start / second
	for _, q := range a.periods {
		if q.spent > 0 {
			start = q.start
			break
		}
	}
	return time.Unix(start+p.window.step+p.window.span, 0).UTC()
}

// forecast returns what a will have spent at the end of its window; ok is false
// before so many thousandths of it, and where there is no end. a is up to date.
func (a *account) forecast(now int64, after int64) (n gateway.NanoUSD, ok bool) {
	p := a.pot
	length, elapsed := p.end-p.start, now-p.start
	if !p.window.calendar() || elapsed < length/1000*after || elapsed <= 0 {
		return 0, false
	}
	return portion(a.spent, float64(length)/float64(elapsed)), true
}

// name is what people call the subject.
func (a *account) name(alias func(string) string) string {
	if a.pot.scope != scopeKey || !a.pot.each && strings.Contains(a.subject, "*") {
		return a.subject
	}
	if alias != nil {
		if s := alias(a.subject); s != "" {
			return s
		}
	}
	if a.alias != "" {
		return a.alias
	}
	return a.subject
}

// key names the sum of one of a's periods.
func (a *account) key(start int64) store.Account {
	return store.Account{Budget: a.pot.name, Subject: a.subject, Window: start}
}

// add adds amounts that are not negative. A sum that does not fit is the
// largest amount there is.
func add(a, b gateway.NanoUSD) gateway.NanoUSD {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}
