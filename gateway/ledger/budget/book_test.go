package budget_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const noon = "2026-03-18T12:00:00Z" // a Wednesday

// everyone is facts that every scope has something to say of.
func everyone() budget.Facts {
	return budget.Facts{
		KeyID: "k1", KeyAlias: "ci", Team: "research", User: "ann", Model: "claude-opus-4-8", Provider: "anthropic", Label: "think",
		Session: "s1", Tags: map[string]string{"env": "prod", "app": "web"}, Billing: names.CostBillingMetered,
	}
}

// L-07: 1,000 at once for $0.10 each under $5: exactly 50, in every budget that
// applies, and the ones that were refused leave nothing.
func TestAThousandAtOnceGetExactlyWhatThereIs(t *testing.T) {
	for round := range 20 {
		list := []budget.Budget{
			{Name: "global", Scope: "global", Limit: limit(7), Window: "month"},
			{Name: "team", Scope: "team", Match: "research", Limit: limit(5), Window: "day"},
			{Name: "key", Scope: "key", Match: "*", Limit: limit(6), Window: "week"},
			{Name: "soft", Scope: "key", Match: "ci", Limit: limit(1), Window: "12h", Warn: true},
		}
		if round%2 == 0 {
			list = list[1:2]
		}
		r := newRig(t, clockAt(noon), list...)
		var admitted atomic.Int64
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				res, _, refusal := r.Reserve(everyone(), usd(0.1))
				if refusal == nil {
					admitted.Add(1)
					r.Settle(res, usd(0.1), true)
				}
			})
		}
		all.Wait()
		if got := admitted.Load(); got != 50 {
			t.Fatalf("round %d: %d admitted, want 50", round, got)
		}
		for s := range r.Statuses {
			if s.Spent != usd(5) || s.Reserved != 0 {
				t.Errorf("%s: spent %s, reserved %s, want 5.000000 and 0", s.Budget.Name, s.Spent, s.Reserved)
			}
		}
		if n := r.Open(); n != 0 {
			t.Errorf("%d reservations are open", n)
		}
	}
}

// The same for holds that stay open: it is the reservations that count.
func TestReservationsCountBeforeTheyAreSettled(t *testing.T) {
	r := newRig(t, clockAt(noon), daily(5))
	var held []*budget.Reservation
	for range 50 {
		held = append(held, r.reserve(everyone(), usd(0.1)))
	}
	r.refused(everyone(), 1)
	for _, h := range held {
		r.Release(h)
	}
	if s, _ := r.status("all", ""); s.Spent != 0 || s.Reserved != 0 {
		t.Errorf("spent %s, reserved %s, want nothing", s.Spent, s.Reserved)
	}
}

func TestEveryScopeFindsItsBudgets(t *testing.T) {
	tests := []struct{ scope, match, subject string }{
		{"global", "", ""},
		{"team", "research", "research"}, {"team", "*", "research"}, {"team", "res*", "res*"},
		{"key", "k1", "ci"}, {"key", "ci", "ci"}, {"key", "*", "ci"}, {"key", "c*", "c*"}, {"key", "k*", "k*"},
		{"user", "ann", "ann"}, {"user", "*", "ann"},
		{"model", "claude-opus-4-8", "claude-opus-4-8"}, {"model", "claude-opus-*", "claude-opus-*"}, {"model", "*", "claude-opus-4-8"},
		{"provider", "anthropic", "anthropic"}, {"provider", "*", "anthropic"},
		{"label", "think", "think"}, {"label", "*", "think"},
		{"session", "s1", "s1"}, {"session", "*", "s1"},
		{"tag", "env=prod", "env=prod"}, {"tag", "env=*", "env=prod"}, {"tag", "env=p*", "env=p*"},
	}
	for _, tt := range tests {
		b := budget.Budget{Name: "b", Scope: tt.scope, Match: tt.match, Limit: limit(1), Window: "day"}
		r := newRig(t, clockAt(noon), b)
		r.spend(everyone(), usd(1))
		r.refused(everyone(), 1)
		if s, ok := r.status("b", tt.subject); !ok || s.Spent != usd(1) {
			t.Errorf("%s %q: no account %q has 1", tt.scope, tt.match, tt.subject)
		}
		other := budget.Facts{KeyID: "x", Team: "x", User: "x", Model: "x", Provider: "x", Label: "x", Session: "x", Tags: map[string]string{"env": "x"}}
		if tt.scope != "global" {
			r.spend(other, usd(1))
		}
		if _, decisions, _ := r.Reserve(budget.Facts{}, 0); tt.scope != "global" && len(decisions) != 0 {
			t.Errorf("%s %q applies to a request that has none: %v", tt.scope, tt.match, decisions)
		}
	}
}

func TestEachTagHasAnAccount(t *testing.T) {
	r := newRig(t, clockAt(noon), budget.Budget{Name: "tags", Scope: "tag", Match: "*", Limit: limit(2), Window: "day"})
	r.spend(everyone(), usd(1))
	f := budget.Facts{Tags: map[string]string{"env": "prod", "app": "cli"}}
	r.spend(f, usd(1))
	r.wantSpent("tags", "env=prod", 2)
	r.wantSpent("tags", "app=web", 1)
	r.wantSpent("tags", "app=cli", 1)
	_, decisions, refusal := r.Reserve(f, 1)
	if refusal == nil || len(decisions) != 1 || decisions[0].Decision != names.BudgetDecisionDeny {
		t.Errorf("decisions %v, want one, the gravest of the two accounts", decisions)
	}
	r.wantSpent("tags", "app=cli", 1)
}

// L-17
func TestLimitZeroBlocksAndNoLimitDoesNot(t *testing.T) {
	none := budget.Budget{Name: "none", Scope: "team", Match: "free", Window: "day"}
	zero := budget.Budget{Name: "zero", Scope: "team", Match: "research", Limit: limit(0), Window: "day"}
	r := newRig(t, clockAt(noon), none, zero)
	f := everyone()
	for _, amount := range []gateway.NanoUSD{0, 1, -1, math.MaxInt64, math.MinInt64} {
		if got := r.refused(f, amount); !got.Resets.IsZero() {
			t.Errorf("a limit of 0 resets at %v, want never", got.Resets)
		}
	}
	if s, _ := r.status("zero", "research"); s.State != names.BudgetStateExhausted || s.Reserved != 0 {
		t.Errorf("status %+v, want exhausted and nothing reserved", s)
	}
	f.Team = "free"
	r.spend(f, usd(1e9))
	r.refused(f, math.MaxInt64) // no sum can tell it
	r.wantSpent("none", "free", 1e9)
	f.Billing = names.CostBillingFree
	f.Team = "research"
	r.spend(f, usd(1)) // what is free is not spent
	r.wantSpent("zero", "research", 0)
}

// L-17
func TestAmountsThatMeanNothingDoNotWrap(t *testing.T) {
	soft := budget.Budget{Name: "soft", Scope: "global", Limit: limit(1), Window: "day", Warn: true}
	r := newRig(t, clockAt(noon), soft)
	a := r.reserve(everyone(), math.MaxInt64-1)
	r.refused(everyone(), math.MaxInt64-1)
	if a.Extend(math.MaxInt64 - 1) {
		t.Error("the sum of two of the largest amounts was reserved")
	}
	b := r.reserve(everyone(), -5)
	if !b.Extend(-5) {
		t.Error("nothing could not be added")
	}
	if s, _ := r.status("soft", ""); s.Reserved != math.MaxInt64-1 {
		t.Errorf("reserved %d", s.Reserved)
	}
	r.settle(a, math.MaxInt64-1)
	r.settle(b, math.MaxInt64)
	if s, _ := r.status("soft", ""); s.Spent != math.MaxInt64 || s.Reserved != 0 {
		t.Errorf("spent %d, reserved %d, want the largest amount and 0", s.Spent, s.Reserved)
	}
	r.settle(r.reserve(budget.Facts{Billing: names.CostBillingFree}, 1), 1)
	r.restart()
	if s, _ := r.status("soft", ""); s.Spent != math.MaxInt64 {
		t.Errorf("after a restart: spent %d", s.Spent)
	}
	c := newRig(t, clockAt(noon), daily(5))
	c.settle(c.reserve(everyone(), 1), math.MinInt64)
	c.wantSpent("all", "", 0)
}

func TestBudgetsThatAreRefused(t *testing.T) {
	ok := budget.Budget{Name: "b", Scope: "team", Match: "x", Limit: limit(1), Window: "day", Thresholds: []float64{0.5, 1}}
	if err := ok.Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		why    string
		change func(*budget.Budget)
	}{
		{"no name", func(b *budget.Budget) { b.Name = "" }},
		{"scope", func(b *budget.Budget) { b.Scope = "org" }},
		{"no scope", func(b *budget.Budget) { b.Scope = "" }},
		{"match", func(b *budget.Budget) { b.Match = "" }},
		{"tag without value", func(b *budget.Budget) { b.Scope = "tag" }},
		{"tag without name", func(b *budget.Budget) { b.Scope, b.Match = "tag", "=x" }},
		{"tag with a pattern for a name", func(b *budget.Budget) { b.Scope, b.Match = "tag", "a*=x" }},
		{"limit below 0", func(b *budget.Budget) { b.Limit = gateway.Some[gateway.NanoUSD](-1) }},
		{"window", func(b *budget.Budget) { b.Window = "year" }},
		{"NaN", func(b *budget.Budget) { b.Thresholds = []float64{math.NaN()} }},
		{"Inf", func(b *budget.Budget) { b.Thresholds = []float64{math.Inf(1)} }},
		{"threshold 0", func(b *budget.Budget) { b.Thresholds = []float64{0} }},
		{"thresholds that fall", func(b *budget.Budget) { b.Thresholds = []float64{0.8, 0.5} }},
	}
	for _, tt := range tests {
		b := ok
		tt.change(&b)
		if _, _, err := budget.New([]budget.Budget{b}, budget.Saved{}, budget.Options{}); err == nil {
			t.Errorf("%s: accepted", tt.why)
		}
	}
	if _, _, err := budget.New([]budget.Budget{ok, ok}, budget.Saved{}, budget.Options{}); err == nil || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("two of a name: %v", err)
	}
	r := newRig(t, clockAt(noon), ok)
	bad := ok
	bad.Window = "year"
	if _, err := r.Configure([]budget.Budget{{Name: "c", Scope: "global", Window: "day"}, bad}); err == nil {
		t.Error("a bad list was taken")
	}
	if _, found := r.status("b", "x"); !found {
		t.Error("a bad list changed the budgets")
	}
}

func TestBillingDecidesWhatCounts(t *testing.T) {
	r := newRig(t, clockAt(noon),
		budget.Budget{Name: "metered", Scope: "global", Limit: limit(10), Window: "day"},
		budget.Budget{Name: "all", Scope: "global", Limit: limit(10), Window: "day", Notional: true})
	f := everyone()
	for _, f.Billing = range []string{names.CostBillingMetered, names.CostBillingNotional, names.CostBillingFree, ""} {
		r.spend(f, usd(1))
	}
	r.wantSpent("metered", "", 2)
	r.wantSpent("all", "", 3)
	if f.Billing = names.CostBillingFree; r.Enforced(f) {
		t.Error("what is free is under an enforcing budget")
	}
}

func TestSoftBudgetsWarn(t *testing.T) {
	soft := daily(1)
	soft.Warn = true
	r := newRig(t, clockAt(noon), soft, budget.Budget{Name: "hard", Scope: "team", Match: "other", Limit: limit(1), Window: "day"})
	want := func(amount float64, decision string) *budget.Reservation {
		t.Helper()
		res, decisions, refusal := r.Reserve(everyone(), usd(amount))
		if refusal != nil || !slices.Equal(decisions, []gateway.BudgetDecision{{Budget: "all", Decision: decision}}) {
			t.Errorf("decisions %v, refusal %v, want %s", decisions, refusal, decision)
		}
		return res
	}
	a := want(1, names.BudgetDecisionAllow)
	want(0.1, names.BudgetDecisionWarn)
	if !a.Extend(usd(5)) {
		t.Error("a soft budget refused to grow")
	}
	if s := r.settle(a, usd(6)); len(s.Overshoot) != 0 {
		t.Errorf("a soft budget was overshot: %v", s.Overshoot)
	}
	if r.Enforced(everyone()) {
		t.Error("a soft budget enforces")
	}
	f := everyone()
	if f.Team = "other"; !r.Enforced(f) {
		t.Error("a hard budget does not enforce")
	}
}

func TestFitsAsksOnlyBudgetsThatRoute(t *testing.T) {
	cheap := budget.Budget{Name: "opus", Scope: "model", Match: "claude-opus-*", Limit: limit(1), Window: "day", Route: "default"}
	hard := budget.Budget{Name: "hard", Scope: "team", Match: "research", Limit: limit(3), Window: "day"}
	r := newRig(t, clockAt(noon), hard, cheap)
	if over, ok := r.Fits(everyone(), usd(1)); !ok || over != nil {
		t.Errorf("over %v, want that it fits", over)
	}
	r.spend(everyone(), usd(0.5))
	over, ok := r.Fits(everyone(), usd(1))
	if ok || over == nil || over.Route != "default" {
		t.Fatalf("over %v, want the budget opus", over)
	}
	if s, _ := r.status("opus", "claude-opus-*"); s.Reserved != 0 {
		t.Errorf("asking reserved %s", s.Reserved)
	}
	if got := r.refused(everyone(), usd(1)); got.Budget != "opus" {
		t.Errorf("refused by %q, want opus", got.Budget)
	}
	f := everyone()
	f.Model = "claude-haiku-4-5"
	if over, ok := r.Fits(f, usd(100)); !ok {
		t.Errorf("%q routes, which only refuses", over.Name)
	}
}

// The caller is told of the budget that keeps it waiting longest.
func TestRefusalNamesTheBudgetThatLastsLongest(t *testing.T) {
	day, week, month := daily(1), daily(1), daily(1)
	week.Name, week.Window = "week", "week"
	month.Name, month.Window = "month", "month"
	for _, list := range [][]budget.Budget{{day, week, month}, {month, day, week}} {
		r := newRig(t, clockAt(noon), list...)
		r.spend(everyone(), usd(1))
		got := r.refused(everyone(), 1)
		if want := (gateway.BudgetRefusal{Budget: "month", Window: "month", Resets: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)}); *got != want {
			t.Errorf("refusal %+v, want %+v", *got, want)
		}
	}
	forever := daily(1)
	forever.Name, forever.Window = "ever", "none"
	r := newRig(t, clockAt(noon), day, forever, month)
	r.spend(everyone(), usd(1))
	if got := r.refused(everyone(), 1); got.Budget != "ever" || !got.Resets.IsZero() {
		t.Errorf("refusal %+v, want ever, which never resets", *got)
	}
}

func TestExtendIsAllOrNothing(t *testing.T) {
	r := newRig(t, clockAt(noon), daily(10), budget.Budget{Name: "key", Scope: "key", Match: "*", Limit: limit(2), Window: "day"})
	twice := r.reserve(everyone(), 0)
	a := r.reserve(everyone(), usd(1))
	if !a.Extend(usd(1)) || a.Extend(1) {
		t.Error("want one dollar more, and no more")
	}
	if s, _ := r.status("all", ""); s.Reserved != usd(2) {
		t.Errorf("reserved %s, want 2: the refused extension left something", s.Reserved)
	}
	s := r.settle(a, usd(2.5))
	if want := []gateway.BudgetAmount{{Budget: "key", Amount: usd(0.5)}}; !slices.Equal(s.Overshoot, want) {
		t.Errorf("overshoot %v, want %v", s.Overshoot, want)
	}
	s = r.settle(twice, usd(1)) // the limit is already behind
	if want := []gateway.BudgetAmount{{Budget: "key", Amount: usd(1)}}; !slices.Equal(s.Overshoot, want) {
		t.Errorf("overshoot %v, want %v", s.Overshoot, want)
	}
	s = r.settle(r.reserve(budget.Facts{}, 0), usd(9)) // 12.5 of 10
	if want := []gateway.BudgetAmount{{Budget: "all", Amount: usd(2.5)}}; !slices.Equal(s.Overshoot, want) {
		t.Errorf("overshoot %v, want %v", s.Overshoot, want)
	}
	if a.Extend(0) {
		t.Error("a settled reservation grew")
	}
}

func TestAReservationEndsOnce(t *testing.T) {
	r := newRig(t, clockAt(noon), daily(10))
	a, b := r.reserve(everyone(), usd(1)), r.reserve(everyone(), usd(1))
	r.settle(a, usd(2))
	for range 3 {
		if s := r.Settle(a, usd(2), true); len(s.Sums) != 0 {
			t.Errorf("settled again: %+v", s)
		}
		r.Release(a)
		r.Release(b)
		r.Settle(b, usd(2), true)
	}
	r.Release(nil)
	if s, _ := r.status("all", ""); s.Spent != usd(2) || s.Reserved != 0 || r.Open() != 0 {
		t.Errorf("spent %s, reserved %s, %d open; want 2, 0 and none", s.Spent, s.Reserved, r.Open())
	}
	c := r.reserve(everyone(), usd(1))
	if s := r.Settle(c, usd(1), false); len(s.Sums) != 0 {
		t.Errorf("an unknown cost was charged: %+v", s)
	}
	r.wantSpent("all", "", 2)
}

func TestAccountsNameWhereTheMoneyIs(t *testing.T) {
	r := newRig(t, clockAt(noon), daily(10),
		budget.Budget{Name: "keys", Scope: "key", Match: "*", Window: "none"},
		budget.Budget{Name: "roll", Scope: "team", Match: "r*", Window: "12h"})
	day := time.Date(2026, 3, 18, 0, 0, 0, 0, time.UTC).Unix()
	want := []string{fmt.Sprintf("{all  %d}", day), fmt.Sprintf("{roll r* %d}", day+12*3600), "{keys k1 0}"}
	var got []string
	for _, a := range r.reserve(everyone(), 1).Accounts() {
		got = append(got, fmt.Sprint(a))
	}
	if !slices.Equal(got, want) {
		t.Errorf("accounts %v, want %v", got, want)
	}
	r.reload()
	if a := r.reserve(everyone(), 1).Accounts(); a != nil {
		t.Errorf("accounts without budgets: %v", a)
	}
}

// Reloads, Ticks and gauges run beside requests.
func TestEverythingAtOnce(t *testing.T) {
	list := manyBudgets(50)
	r := newRig(t, clockAt(noon), list...)
	stop := make(chan struct{})
	var rest, all sync.WaitGroup
	background := func(do func()) {
		rest.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					do()
				}
			}
		})
	}
	background(func() { r.Tick() })
	background(func() { r.clock.pass(time.Minute) })
	background(func() {
		for range r.Statuses {
			r.Open()
		}
	})
	n := 0
	background(func() {
		n++
		changed := slices.Clone(list)
		changed[0].Limit, changed[1].Window = limit(float64(n)), []string{"day", "hour"}[n%2]
		c, err := r.Configure(changed[:len(list)-n%3])
		if err != nil {
			t.Error(err)
			return
		}
		for _, f := range c.Backfills {
			r.Fill(f)
		}
	})
	for _, f := range manyKeys(8) {
		all.Go(func() {
			for range 300 {
				res, _, refusal := r.Reserve(f, 10)
				if refusal != nil {
					continue
				}
				res.Accounts()
				res.Extend(5)
				r.Fits(f, 1)
				r.Enforced(f)
				r.Unpriced(f)
				r.Settle(res, 15, true)
			}
		})
	}
	all.Wait()
	close(stop)
	rest.Wait()
	if r.Open() != 0 {
		t.Errorf("%d reservations are open", r.Open())
	}
	for s := range r.Statuses {
		if s.Reserved != 0 {
			t.Errorf("%s %q: reserved %s", s.Budget.Name, s.Subject, s.Reserved)
		}
	}
}
