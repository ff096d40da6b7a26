package budget_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// L-09: what changes keep of the sums, running and over a restart.
func TestWhatASumSurvives(t *testing.T) {
	team := func(change func(*budget.Budget)) []budget.Budget {
		b := budget.Budget{Name: "b", Scope: "team", Match: "research", Limit: limit(100), Window: "day"}
		change(&b)
		return []budget.Budget{b}
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		why     string
		change  func(*budget.Budget)
		subject string
		want    float64
		rebased bool
	}{
		{"nothing", func(*budget.Budget) {}, "research", 8, false},
		{"a higher limit", func(b *budget.Budget) { b.Limit = limit(1000) }, "research", 8, false},
		{"a lower limit", func(b *budget.Budget) { b.Limit = limit(1) }, "research", 8, false},
		{"no limit", func(b *budget.Budget) { b.Limit = gateway.Optional[gateway.NanoUSD]{} }, "research", 8, false},
		{"thresholds, action, route", func(b *budget.Budget) { b.Thresholds, b.Warn, b.Route = []float64{0.1}, true, "default" }, "research", 8, false},
		{"a longer window", func(b *budget.Budget) { b.Window = "month" }, "research", 15, true},
		{"a shorter one", func(b *budget.Budget) { b.Window = "hour" }, "research", 8, true},
		{"a rolling one", func(b *budget.Budget) { b.Window = "48h" }, "research", 15, true},
		{"a rolling one that is short", func(b *budget.Budget) { b.Window = "90m" }, "research", 8, true},
		{"none: since the budget was first seen", func(b *budget.Budget) { b.Window = "none" }, "research", 15, true},
		{"a zone in which it is later", func(b *budget.Budget) { b.Location = berlin }, "research", 8, true},
		{"another subject", func(b *budget.Budget) { b.Match = "other" }, "other", 64, true},
		{"a pattern", func(b *budget.Budget) { b.Match = "*r*" }, "*r*", 72, true},
		{"one each", func(b *budget.Budget) { b.Match = "*" }, "other", 64, true},
		{"another scope", func(b *budget.Budget) { b.Scope, b.Match = "tag", "env=*" }, "env=prod", 64, true},
		{"notional as well", func(b *budget.Budget) { b.Notional = true }, "research", 40, true},
	}
	for _, tt := range tests {
		for _, running := range []bool{true, false} {
			r := newRig(t, clockAt("2026-03-17T20:00:00Z"), team(func(*budget.Budget) {})...)
			f := budget.Facts{Team: "research", Billing: names.CostBillingMetered}
			r.spend(f, usd(7))
			r.clock.pass(15 * time.Hour) // the next day, 11:00; 12:00 in Berlin
			r.spend(f, usd(8))
			r.spend(budget.Facts{Team: "research", Billing: names.CostBillingNotional}, usd(32))
			r.spend(budget.Facts{Team: "other", Tags: map[string]string{"env": "prod"}}, usd(64))
			r.clock.pass(time.Minute)
			var c *budget.Changes
			if running {
				c = r.reload(team(tt.change)...)
			} else {
				c = r.restart(team(tt.change)...)
			}
			if got := len(c.Backfills) > 0; got != tt.rebased || tt.rebased != (len(c.Void) > 0) {
				t.Errorf("%s, running %v: changes %+v, want a backfill %v", tt.why, running, c, tt.rebased)
			}
			r.wantSpent("b", tt.subject, tt.want)
			r.restart()
			r.wantSpent("b", tt.subject, tt.want)
			if t.Failed() {
				t.Fatalf("%s, running %v", tt.why, running)
			}
		}
	}
}

func TestANewBudgetCountsTheWindowItComesInto(t *testing.T) {
	r := newRig(t, clockAt(noon))
	for range 5 {
		r.spend(everyone(), usd(1))
		r.clock.pass(5 * time.Hour)
	} // 13:00 of the next day
	list := []budget.Budget{
		{Name: "day", Scope: "global", Limit: limit(100), Window: "day"},
		{Name: "week", Scope: "key", Match: "*", Limit: limit(100), Window: "week"},
		{Name: "roll", Scope: "model", Match: "claude-*", Limit: limit(100), Window: "12h"},
		{Name: "ever", Scope: "global", Limit: limit(100), Window: "none"},
	}
	r.reload(list...)
	for range 2 {
		r.wantSpent("day", "", 2)
		r.wantSpent("roll", "claude-*", 2)
		r.wantSpent("ever", "", 0)
		r.restart()
	}
	r.spend(everyone(), usd(1))
	r.wantSpent("week", "ci", 6)
	r.wantSpent("ever", "", 1)
	r.clock.pass(time.Second)
	list[3].Notional = true
	r.reload(list...)
	r.wantSpent("ever", "", 1) // not what was spent before there was such a budget
}

// What was spent while a budget was away counts when it comes back.
func TestRemovingABudgetDoesNotRefillIt(t *testing.T) {
	for _, window := range []string{"day", "none", "12h"} {
		for _, running := range []bool{true, false} {
			b := budget.Budget{Name: "b", Scope: "global", Limit: limit(5), Window: window}
			r := newRig(t, clockAt(noon), b)
			change := r.reload
			if !running {
				change = r.restart
			}
			r.spend(everyone(), usd(3))
			r.clock.pass(time.Second)
			r.list = nil
			change()
			r.spend(everyone(), usd(1))
			r.clock.pass(time.Second)
			change(b)
			r.wantSpent("b", "", 4)
			r.restart()
			r.wantSpent("b", "", 4)
		}
	}
}

// Reservations that are open when their budget goes leave nothing behind.
func TestReservationsOutliveTheirBudget(t *testing.T) {
	b := daily(5)
	r := newRig(t, clockAt(noon), b)
	open := r.reserve(everyone(), usd(2))
	b.Match, b.Scope = "research", "team"
	r.reload(b)
	if !open.Extend(usd(1)) {
		t.Error("it cannot grow")
	}
	if s := r.settle(open, usd(9)); len(s.Sums)+len(s.Fired)+len(s.Alerts)+len(s.Overshoot) != 0 {
		t.Errorf("settled %+v: the sums of a definition that is gone", s)
	}
	r.tick()
	wantTypes(t, r)
	r.wantSpent("all", "research", 0)

	open = r.reserve(everyone(), usd(2))
	b.Limit = limit(1000)
	r.reload(b)
	if s, _ := r.status("all", "research"); s.Reserved != usd(2) {
		t.Errorf("reserved %s under a new limit, want 2", s.Reserved)
	}
	r.settle(open, usd(3))
	r.wantSpent("all", "research", 3)
}

func TestFillThatComesTooLateDoesNothing(t *testing.T) {
	r := newRig(t, clockAt(noon))
	f := everyone()
	c, err := r.Configure([]budget.Budget{daily(5)})
	if err != nil {
		t.Fatal(err)
	}
	first := c.Backfills[0]
	first.Add(f, r.clock.Wall().Add(-time.Hour), usd(1))
	weekly := daily(5)
	weekly.Window = "week"
	if c, err = r.Configure([]budget.Budget{weekly}); err != nil {
		t.Fatal(err)
	}
	if sums := r.Fill(first); sums != nil {
		t.Errorf("an old backfill filled %v", sums)
	}
	r.settle(r.reserve(f, usd(1)), usd(1))
	r.tick()
	second := c.Backfills[0]
	second.Add(f, r.clock.Wall().Add(-25*time.Hour), usd(2))
	second.Add(f, r.clock.Wall(), usd(1))                      // counted by the Book itself
	second.Add(f, r.clock.Wall().Add(-5*24*time.Hour), usd(1)) // last week
	second.Add(f, r.clock.Wall().Add(-time.Hour), -5)
	if sums := r.Fill(second); len(sums) != 1 || sums[0].Spent != usd(3) {
		t.Errorf("sums %v, want 3", sums)
	}
	if sums := r.Fill(c.Backfills[0]); sums != nil {
		t.Errorf("filled twice: %v", sums)
	}
	r.wantSpent("all", "", 3)
	r.tick()
	wantTypes(t, r, "threshold_crossed 0.5", "forecast_overrun")
}

// Holds that a killed process left are settled into the windows they were in.
func TestRecoveredCostsGoWhereTheyWereHeld(t *testing.T) {
	list := []budget.Budget{daily(5), {Name: "keys", Scope: "key", Match: "*", Limit: limit(5), Window: "none"}, {Name: "roll", Scope: "global", Window: "2h"}, {Name: "gone", Scope: "global", Window: "day"}}
	r := newRig(t, clockAt("2026-03-18T23:00:00Z"), list...)
	r.spend(everyone(), usd(1))
	before := r.reserve(everyone(), usd(2)).Accounts()
	r.clock.pass(90 * time.Minute)
	after := r.reserve(everyone(), usd(2)).Accounts()
	r.restart(append(list[:3:3], budget.Budget{Name: "new", Scope: "global", Window: "week"})...)
	r.disk.keepSums(r.Charge(before, usd(0.5)))
	r.disk.keepSums(r.Charge(before, usd(0.25)))
	r.disk.keepSums(r.Charge(after, usd(2.5)))
	for range 2 {
		r.wantSpent("all", "", 2.5)
		r.wantSpent("keys", "k1", 4.25)
		r.wantSpent("roll", "", 4.25)
		r.restart()
		if a := r.Charge(nil, 1); len(a) != 0 {
			t.Errorf("charged %v", a)
		}
	}
	yesterday := time.Date(2026, 3, 18, 0, 0, 0, 0, time.UTC).Unix()
	for _, name := range []string{"all", "gone"} {
		if got := r.disk.sums[store.Account{Budget: name, Window: yesterday}]; got != usd(1.75) {
			t.Errorf("%s: yesterday's sum is %s, want 1.75", name, got)
		}
	}
	r.tick()
	wantTypes(t, r, "threshold_crossed 0.5")
}

// A budget that waits for its lines finds the recovered one among them.
func TestRecoveredCostsAreNotCountedTwice(t *testing.T) {
	r := newRig(t, clockAt(noon), daily(5))
	held := r.reserve(everyone(), usd(2)).Accounts()
	changed := daily(5)
	changed.Notional = true
	book, changes, err := budget.New([]budget.Budget{changed}, r.disk.saved(), budget.Options{Clock: r.clock})
	if err != nil {
		t.Fatal(err)
	}
	if sums := book.Charge(held, usd(2)); len(sums) != 0 {
		t.Errorf("charged %v", sums)
	}
	r.Book, r.lines = book, []line{{everyone(), r.clock.Wall().Add(-time.Second), usd(2)}}
	r.apply(changes)
	r.wantSpent("all", "", 2)
}

func TestDamagedSumsAreNoEmptyOnes(t *testing.T) {
	saved := budget.Saved{Sums: []store.Sum{{Account: store.Account{Budget: "all", Window: 1}, Spent: -1}}}
	if _, _, err := budget.New([]budget.Budget{daily(5)}, saved, budget.Options{}); err == nil || !strings.Contains(err.Error(), `"all"`) {
		t.Errorf("error %v, want one that names the budget", err)
	}
}

func TestChangesNameWhatToPersist(t *testing.T) {
	r := newRig(t, clockAt(noon), daily(5))
	weekly := daily(5)
	weekly.Window = "week"
	c := r.reload(weekly, budget.Budget{Name: "b", Scope: "global", Window: "none"})
	if !slices.Equal(c.Void, []string{"all"}) || len(c.Budgets) != 2 || len(c.Backfills) != 1 {
		t.Errorf("changes %+v", c)
	}
	if c := r.restart(); len(c.Void)+len(c.Budgets)+len(c.Backfills) != 0 {
		t.Errorf("nothing has changed, and yet %+v", c)
	}
}
