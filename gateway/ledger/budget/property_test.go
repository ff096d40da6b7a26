package budget_test

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// model is budgets done the slow way: every entry is kept, and everything is
// added up each time.
type model struct {
	list    []budget.Budget
	entries []*entry
}

// entry is a reservation or what it came to, in the model.
type entry struct {
	facts       budget.Facts
	at          time.Time
	amount      gateway.NanoUSD
	open        bool
	reservation *budget.Reservation
}

// subjects returns what the facts are called in a budget's accounts.
func subjects(b *budget.Budget, f budget.Facts) []string {
	if f.Billing == names.CostBillingFree || f.Billing == names.CostBillingNotional && !b.Notional {
		return nil
	}
	var values []string
	switch b.Scope {
	case "global":
		return []string{""}
	case "team":
		values = []string{f.Team}
	case "key":
		values = []string{f.KeyAlias}
	case "model":
		values = []string{f.Model}
	case "tag":
		for k, v := range f.Tags {
			values = append(values, k+"="+v)
		}
	}
	var list []string
	for _, v := range values {
		if ok, _ := path.Match(b.Match, v); v == "" || !ok {
			continue
		}
		if b.Match == "*" || b.Match == "env=*" {
			list = append(list, v)
		} else {
			list = append(list, b.Match)
		}
	}
	return list
}

// same reports whether what was reserved at x counts at now.
func same(b *budget.Budget, x, now time.Time) bool {
	switch b.Window {
	case "none":
		return true
	case "2h": // 60 buckets of two minutes
		return x.Truncate(2 * time.Minute).Add(2*time.Hour + 2*time.Minute).After(now)
	case "hour":
		return x.Truncate(time.Hour).Equal(now.Truncate(time.Hour))
	}
	return x.Truncate(24 * time.Hour).Equal(now.Truncate(24 * time.Hour))
}

// total adds up what of an account is in a window.
func (m *model) total(b *budget.Budget, subject string, in func(time.Time) bool) (spent, reserved gateway.NanoUSD) {
	for _, e := range m.entries {
		if !in(e.at) || !slices.Contains(subjects(b, e.facts), subject) {
			continue
		}
		if e.open {
			reserved += e.amount
		} else {
			spent += e.amount
		}
	}
	return spent, reserved
}

// admits reports whether all budgets have room for more of what was reserved at
// held. A window that has ended since is judged by itself, and so is a bucket.
func (m *model) admits(f budget.Facts, amount gateway.NanoUSD, held, now time.Time) bool {
	for i := range m.list {
		b := &m.list[i]
		in := func(at time.Time) bool { return same(b, at, now) }
		if !same(b, held, now) {
			in = func(at time.Time) bool { return same(b, at, held) }
			if b.Window == "2h" {
				in = func(at time.Time) bool { return at.Truncate(2 * time.Minute).Equal(held.Truncate(2 * time.Minute)) }
			}
		}
		for _, s := range subjects(b, f) {
			spent, reserved := m.total(b, s, in)
			if b.Limit.Set && !b.Warn && (b.Limit.Value == 0 || spent+reserved+amount > b.Limit.Value) {
				return false
			}
		}
	}
	return true
}

func (m *model) check(t *testing.T, r *rig, now time.Time) {
	t.Helper()
	for s := range r.Statuses {
		spent, reserved := m.total(s.Budget, s.Subject, func(at time.Time) bool { return same(s.Budget, at, now) })
		if s.Spent != spent || s.Reserved != reserved {
			t.Fatalf("%+v %q at %v: spent %s, reserved %s, want %s and %s", *s.Budget, s.Subject, now, s.Spent, s.Reserved, spent, reserved)
		}
	}
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func randomBudgets(rng *rand.Rand) []budget.Budget {
	var list []budget.Budget
	for i := range 1 + rng.IntN(8) {
		b := budget.Budget{Name: fmt.Sprint("b", i), Scope: pick(rng, "global", "team", "key", "model", "tag"), Window: pick(rng, "hour", "day", "none", "2h"), Warn: rng.IntN(5) == 0, Notional: rng.IntN(3) == 0}
		switch b.Scope {
		case "team", "key":
			b.Match = pick(rng, "*", "a", "b*", "zz")
		case "model":
			b.Match = pick(rng, "*", "m1", "m*", "*2")
		case "tag":
			b.Match = pick(rng, "*", "env=*", "env=p*", "env=dev")
		}
		if rng.IntN(6) > 0 {
			b.Limit = gateway.Some(gateway.NanoUSD(rng.IntN(200)))
		}
		list = append(list, b)
	}
	return list
}

func randomFacts(rng *rand.Rand) budget.Facts {
	f := budget.Facts{KeyAlias: pick(rng, "", "a", "b1", "b2"), Team: pick(rng, "", "a", "b", "bb"), Model: pick(rng, "m1", "m2"), Billing: pick(rng, "", names.CostBillingMetered, names.CostBillingMetered, names.CostBillingNotional, names.CostBillingFree)}
	f.KeyID = f.KeyAlias
	switch rng.IntN(3) {
	case 0:
		f.Tags = map[string]string{"env": pick(rng, "prod", "dev", "pre")}
	case 1:
		f.Tags = map[string]string{"env": "prod", "app": "x"}
	}
	return f
}

// L-08: random budgets and outcomes. At every step reserved is what the open
// reservations come to, spent what the settled ones came to, and whatever is
// refused leaves nothing.
func TestBooksAgreeWithASlowModel(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	for seed := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(seed, 8))
		m := &model{list: randomBudgets(rng)}
		r := newRig(t, clockAt("2026-03-18T22:30:00Z"), m.list...)
		var open []*entry
		for step := range 120 {
			now := r.clock.Wall()
			switch op := rng.IntN(10); {
			case op < 5 || len(open) == 0:
				e := &entry{facts: randomFacts(rng), at: now, amount: gateway.NanoUSD(rng.IntN(60)), open: true}
				want := m.admits(e.facts, e.amount, now, now)
				res, _, refusal := r.Reserve(e.facts, e.amount)
				if got := refusal == nil; got != want {
					t.Fatalf("seed %d step %d: reserving %d for %+v: admitted %v, want %v", seed, step, e.amount, e.facts, got, want)
				}
				if refusal == nil {
					e.reservation = res
					open, m.entries = append(open, e), append(m.entries, e)
				}
			case op == 5:
				e, more := pick(rng, open...), gateway.NanoUSD(rng.IntN(30))
				want := m.admits(e.facts, more, e.at, now)
				if got := e.reservation.Extend(more); got != want {
					t.Fatalf("seed %d step %d: extending by %d: %v, want %v", seed, step, more, got, want)
				} else if got {
					e.amount += more
				}
			case op < 9:
				i := rng.IntN(len(open))
				e := open[i]
				open = slices.Delete(open, i, i+1)
				e.open = false
				if rng.IntN(3) == 0 {
					e.amount = 0
					r.Release(e.reservation)
				} else {
					e.amount = gateway.NanoUSD(rng.IntN(int(e.amount) + 10))
					r.settle(e.reservation, e.amount)
				}
			default:
				r.clock.pass(time.Duration(rng.IntN(3000)) * time.Second)
				if rng.IntN(2) == 0 {
					r.tick()
				}
			}
			m.check(t, r, r.clock.Wall())
		}
		if r.Open() != len(open) {
			t.Fatalf("%d open, want %d", r.Open(), len(open))
		}
		for _, e := range open {
			e.amount, e.open = 0, false
			r.Release(e.reservation)
		}
		r.restart()
		m.check(t, r, r.clock.Wall())
	}
}
