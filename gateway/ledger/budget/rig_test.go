package budget_test

import (
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// clock is a budget.Clock that tests set.
type clock struct {
	mu   sync.Mutex
	wall time.Time
	boot time.Duration
}

func clockAt(s string) *clock {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return &clock{wall: t, boot: 1000 * time.Hour}
}

func (c *clock) Wall() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.wall }

func (c *clock) Boot() time.Duration { c.mu.Lock(); defer c.mu.Unlock(); return c.boot }

// pass lets time pass on both clocks.
func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.boot = c.wall.Add(d), c.boot+d
}

// set moves the wall clock only.
func (c *clock) set(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

// usd is an amount in dollars.
func usd(d float64) gateway.NanoUSD { return gateway.NanoUSD(math.Round(d * 1e9)) }

func limit(d float64) gateway.Optional[gateway.NanoUSD] { return gateway.Some(usd(d)) }

// disk keeps what a Book asks to persist.
type disk struct {
	sums    map[store.Account]gateway.NanoUSD
	alerts  map[store.Account]store.AlertState
	budgets map[string]store.BudgetState
}

func newDisk() *disk {
	return &disk{map[store.Account]gateway.NanoUSD{}, map[store.Account]store.AlertState{}, map[string]store.BudgetState{}}
}

func (d *disk) keepSums(list []store.Sum) {
	for _, s := range list {
		d.sums[s.Account] = s.Spent
	}
}

func (d *disk) keepAlerts(list []store.AlertState) {
	for _, s := range list {
		d.alerts[s.Account] = s
	}
}

func (d *disk) change(c *budget.Changes) {
	for _, name := range c.Void {
		maps.DeleteFunc(d.sums, func(a store.Account, _ gateway.NanoUSD) bool { return a.Budget == name })
		maps.DeleteFunc(d.alerts, func(a store.Account, _ store.AlertState) bool { return a.Budget == name })
	}
	for _, s := range c.Budgets {
		d.budgets[s.Name] = s
	}
	d.keepAlerts(c.Alerts)
}

func (d *disk) saved() budget.Saved {
	var s budget.Saved
	for a, n := range d.sums {
		s.Sums = append(s.Sums, store.Sum{Account: a, Spent: n})
	}
	s.Alerts = slices.Collect(maps.Values(d.alerts))
	s.Budgets = slices.Collect(maps.Values(d.budgets))
	return s
}

// line is what the ledger would know of an attempt.
type line struct {
	facts budget.Facts
	at    time.Time
	cost  gateway.NanoUSD
}

// rig is a Book with a disk, and with the lines that backfills are made of.
type rig struct {
	*budget.Book
	t     *testing.T
	clock *clock
	disk  *disk
	lines []line
	fired []budget.Alert // all so far
	list  []budget.Budget
}

func newRig(t *testing.T, c *clock, list ...budget.Budget) *rig {
	t.Helper()
	r := &rig{t: t, clock: c, disk: newDisk(), list: list}
	r.restart(list...)
	return r
}

// restart makes a new Book of what is on disk; without a list, of the same budgets.
func (r *rig) restart(list ...budget.Budget) *budget.Changes {
	r.t.Helper()
	if len(list) > 0 {
		r.list = list
	}
	book, changes, err := budget.New(r.list, r.disk.saved(), budget.Options{Clock: r.clock})
	if err != nil {
		r.t.Fatal(err)
	}
	r.Book = book
	r.apply(changes)
	return changes
}

// reload configures the running Book.
func (r *rig) reload(list ...budget.Budget) *budget.Changes {
	r.t.Helper()
	r.list = list
	changes, err := r.Configure(list)
	if err != nil {
		r.t.Fatal(err)
	}
	r.apply(changes)
	return changes
}

func (r *rig) apply(c *budget.Changes) {
	r.disk.change(c)
	for _, f := range c.Backfills {
		for _, l := range r.lines {
			f.Add(l.facts, l.at, l.cost)
		}
		r.disk.keepSums(r.Fill(f))
	}
}

func (r *rig) tick() budget.Ticked {
	t := r.Tick()
	r.disk.keepAlerts(t.Alerts)
	for _, a := range t.Expired {
		delete(r.disk.sums, a)
		delete(r.disk.alerts, a)
	}
	r.fired = append(r.fired, t.Fired...)
	return t
}

func (r *rig) settle(res *budget.Reservation, cost gateway.NanoUSD) budget.Settled {
	s := r.Settle(res, cost, true)
	r.disk.keepSums(s.Sums)
	r.disk.keepAlerts(s.Alerts)
	r.fired = append(r.fired, s.Fired...)
	return s
}

// reserve wants the amount to be reserved.
func (r *rig) reserve(f budget.Facts, amount gateway.NanoUSD) *budget.Reservation {
	r.t.Helper()
	res, _, refusal := r.Reserve(f, amount)
	if refusal != nil {
		r.t.Fatalf("refused by %q at %v", refusal.Budget, r.clock.Wall())
	}
	return res
}

// spend reserves and settles.
func (r *rig) spend(f budget.Facts, amount gateway.NanoUSD) budget.Settled {
	r.t.Helper()
	res := r.reserve(f, amount)
	r.lines = append(r.lines, line{f, r.clock.Wall(), amount})
	return r.settle(res, amount)
}

// refused wants the amount to be refused.
func (r *rig) refused(f budget.Facts, amount gateway.NanoUSD) *gateway.BudgetRefusal {
	r.t.Helper()
	res, decisions, refusal := r.Reserve(f, amount)
	if refusal == nil || res != nil {
		r.t.Fatalf("%s was admitted at %v", amount, r.clock.Wall())
	}
	if !slices.Contains(decisions, gateway.BudgetDecision{Budget: refusal.Budget, Decision: names.BudgetDecisionDeny}) {
		r.t.Errorf("decisions %v do not say that %q denies", decisions, refusal.Budget)
	}
	return refusal
}

// status returns the status of an account.
func (r *rig) status(name, subject string) (found budget.Status, ok bool) {
	for s := range r.Statuses {
		if s.Budget.Name == name && s.Subject == subject {
			return s, true
		}
	}
	return budget.Status{}, false
}

func (r *rig) wantSpent(name, subject string, want float64) {
	r.t.Helper()
	if s, _ := r.status(name, subject); s.Spent != usd(want) {
		r.t.Errorf("%s/%s: spent %s, want %v", name, subject, s.Spent, want)
	}
}

// kinds are the alerts so far, "type subject threshold" in short.
func (r *rig) types() []string {
	var list []string
	for _, a := range r.fired {
		s := a.Type
		if a.Threshold > 0 {
			s += " " + usd(a.Threshold).String()
		}
		list = append(list, s)
	}
	return list
}

func wantTypes(t *testing.T, r *rig, want ...string) {
	t.Helper()
	if got := r.types(); !slices.Equal(got, want) {
		t.Errorf("alerts %q, want %q", got, want)
	}
	r.fired = nil
}
