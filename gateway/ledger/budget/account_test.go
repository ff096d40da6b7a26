package budget_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// More subjects than there may be accounts share, and are not refilled when
// there is room again.
func TestTooManySubjectsShare(t *testing.T) {
	r := newRig(t, clockAt(noon), budget.Budget{Name: "each", Scope: "session", Match: "*", Limit: limit(1), Window: "1h"})
	ask := func(i int) {
		res, _, refusal := r.Reserve(budget.Facts{Session: fmt.Sprint("s", i)}, usd(0.001))
		if refusal == nil {
			r.Settle(res, usd(0.001), true)
		}
	}
	for i := range 10_000 {
		ask(i)
	}
	r.clock.pass(30 * time.Minute)
	for i := range 2000 {
		ask(10_000 + i)
	}
	n := 0
	for range r.Statuses {
		n++
	}
	if n <= 10_000 || n > 10_000+1024 {
		t.Errorf("%d accounts, want 10,000 and the shared ones", n)
	}
	late := budget.Facts{Session: "s11999"}
	r.refused(late, usd(1))
	r.clock.pass(40 * time.Minute)
	r.tick() // the first ones are forgotten: there is room
	r.refused(late, usd(1))
	r.clock.pass(2 * time.Hour)
	ask(0)
	r.tick()
	r.clock.pass(25 * time.Hour)
	r.tick()
	r.spend(late, usd(1))
	if _, ok := r.status("each", "s11999"); !ok {
		t.Error("a session has no account of its own although there is room")
	}
}

// A million subjects that spend nothing leave nothing.
func TestIdleAccountsAreForgotten(t *testing.T) {
	r := newRig(t, clockAt(noon),
		budget.Budget{Name: "sessions", Scope: "session", Match: "*", Limit: limit(5), Window: "none"},
		budget.Budget{Name: "users", Scope: "user", Match: "*", Limit: limit(5), Window: "none"},
		budget.Budget{Name: "days", Scope: "user", Match: "*", Limit: limit(5), Window: "day"})
	for i := range 1000 {
		f := budget.Facts{Session: fmt.Sprint("s", i), User: fmt.Sprint("u", i)}
		if i%2 == 0 {
			r.spend(f, usd(5))
		} else {
			r.Release(r.reserve(f, usd(5)))
		}
	}
	open := r.reserve(budget.Facts{Session: "open", User: "open"}, usd(5))
	count := func() map[string]int {
		n := map[string]int{}
		for s := range r.Statuses {
			n[s.Budget.Name]++
		}
		return n
	}
	want := func(sessions, users, days int) {
		t.Helper()
		r.tick()
		if got := count(); got["sessions"] != sessions || got["users"] != users || got["days"] != days {
			t.Errorf("accounts %v, want sessions %d, users %d, days %d", got, sessions, users, days)
		}
	}
	want(1001, 1001, 1001)
	r.clock.pass(23 * time.Hour)
	want(1001, 1001, 1001)
	r.clock.pass(2 * time.Hour)
	want(1, 501, 1)
	for a := range r.disk.sums {
		if a.Budget == "sessions" {
			t.Fatalf("the sum of %v is still there", a)
		}
	}
	r.spend(budget.Facts{Session: "s0"}, usd(5)) // a day later: a new one
	r.refused(budget.Facts{User: "u0"}, 1)       // for ever
	r.settle(open, usd(5))
	r.wantSpent("sessions", "open", 5)
	r.wantSpent("users", "open", 5)
}

func TestStatusesStopAndMayCallBack(t *testing.T) {
	r := newRig(t, clockAt(noon), budget.Budget{Name: "users", Scope: "user", Match: "*", Limit: limit(5), Window: "day"})
	for i := range 1000 {
		r.spend(budget.Facts{User: fmt.Sprint("u", i)}, usd(1))
	}
	n := 0
	for s := range r.Statuses {
		if n++; n == 300 {
			break
		}
		r.spend(budget.Facts{User: s.Subject}, usd(1))
	}
	if n != 300 {
		t.Errorf("%d statuses", n)
	}
}

func TestStatusSaysHowFarThingsAre(t *testing.T) {
	r := newRig(t, clockAt(noon), daily(10),
		budget.Budget{Name: "keys", Scope: "key", Match: "*", Window: "none"},
		budget.Budget{Name: "zero", Scope: "team", Match: "x", Window: "week", Limit: limit(0)})
	r.spend(everyone(), usd(4))
	open := r.reserve(everyone(), usd(2))
	s, _ := r.status("all", "")
	if s.Spent != usd(4) || s.Reserved != usd(2) || s.State != names.BudgetStateOK || s.Forecast != limit(8) {
		t.Errorf("status %+v, want spent 4, reserved 2, ok, a forecast of 8", s)
	}
	if !s.Start.Equal(time.Date(2026, 3, 18, 0, 0, 0, 0, time.UTC)) || !s.Resets.Equal(time.Date(2026, 3, 19, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("from %v to %v", s.Start, s.Resets)
	}
	if s, ok := r.status("keys", "ci"); !ok || !s.Resets.IsZero() || !s.Start.Equal(r.clock.Wall()) || s.Forecast.Set {
		t.Errorf("status %+v of a key, by its alias", s)
	}
	r.Release(open)
	for _, want := range []struct {
		more  float64
		state string
	}{{0.99, "ok"}, {0.01, "warn"}, {4.99, "warn"}, {0.01, "exhausted"}} {
		r.settle(r.reserve(budget.Facts{}, 0), usd(want.more))
		if s, _ := r.status("all", ""); s.State != want.state {
			t.Errorf("spent %s: %s, want %s", s.Spent, s.State, want.state)
		}
	}
	r.clock.pass(12*time.Hour + 14*time.Minute)
	if s, _ := r.status("all", ""); s.Forecast.Set {
		t.Errorf("a forecast in the first hundredth of a window: %+v", s)
	}
	if s, ok := r.status("zero", "x"); !ok || s.State != names.BudgetStateExhausted {
		t.Errorf("status %+v, want exhausted before the first request", s)
	}
}

func TestAliasesComeFromWhoeverKnowsThem(t *testing.T) {
	keys := []budget.Budget{{Name: "keys", Scope: "key", Match: "*", Window: "day"}}
	b, _, err := budget.New(keys, budget.Saved{}, budget.Options{Clock: clockAt(noon), Alias: func(id string) string {
		return map[string]string{"k1": "renamed"}[id]
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []budget.Facts{{KeyID: "k1", KeyAlias: "ci"}, {KeyID: "k2", KeyAlias: "dev"}, {KeyID: "k3"}} {
		res, _, _ := b.Reserve(f, 1)
		b.Release(res)
	}
	var got []string
	for s := range b.Statuses {
		got = append(got, s.Subject)
	}
	slices.Sort(got)
	if want := []string{"dev", "k3", "renamed"}; !slices.Equal(got, want) {
		t.Errorf("subjects %v, want %v", got, want)
	}
}
