package ledger

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// crowd has 1,000 goroutines ask for 10 cents each, settles what is let in, and
// returns how many were.
func (r *rig) crowd(streamed bool) (admitted int) {
	r.t.Helper()
	var group sync.WaitGroup
	var mu sync.Mutex
	begin := make(chan struct{})
	for range 1000 {
		a := attempt(10 * cent)
		if streamed {
			a = stream(10 * cent)
		}
		group.Go(func() {
			<-begin
			h, err := r.Hold(context.Background(), a)
			var e *gateway.Error
			if errors.As(err, &e) && e.Type == names.ErrorBudgetExceeded {
				return
			}
			if err != nil {
				r.t.Errorf("got %v", err)
				return
			}
			h.Settle(context.Background(), costs(a, 10*cent))
			mu.Lock()
			defer mu.Unlock()
			admitted++
		})
	}
	close(begin)
	group.Wait()
	return admitted
}

func TestL07ExactlyFiftyOfAThousandAreAdmitted(t *testing.T) {
	for round := range 20 {
		r := newRig(t, with(limit("everything", 5*dollar)))
		if got := r.crowd(round%2 == 1); got != 50 {
			t.Fatalf("round %d: got %d admitted, want 50", round, got)
		}
		r.spent("everything", "", 5*dollar)
		if got := r.total(); got.String() != "5" {
			t.Fatalf("round %d: lines come to %v, want 5", round, got)
		}
		if got := r.OpenHolds(); got != 0 {
			t.Errorf("got %d open holds, want 0", got)
		}
		r.stop()
	}
}

func TestL08AllBudgetsOrNone(t *testing.T) {
	budgets := []budget.Budget{limit("everything", 100*dollar), each("team", "research", 5*dollar), each("key", "*", 50*dollar)}
	for range 20 {
		r := newRig(t, with(budgets...))
		if got := r.crowd(false); got != 50 {
			t.Fatalf("got %d admitted, want 50", got)
		}
		r.spent("everything", "", 5*dollar)
		r.spent("team-budget", "research", 5*dollar)
		r.spent("key-budget", "alice", 5*dollar)
		if got := r.total(); got != 5*dollar {
			t.Fatalf("lines come to %v, want 5", got)
		}
		r.stop()
	}
}

func TestRefusalNamesTheBudgetAndWhenItResets(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	b := each("team", "research", dollar)
	b.Location = berlin
	r := newRig(t, with(limit("everything", 100*dollar), b))
	a := attempt(2 * dollar)
	e := r.refused(a)
	if e.Type != names.ErrorBudgetExceeded || e.Origin != names.ErrorOriginPolicy || e.Reason != names.RejectionBudget || e.Status != 429 || !e.NoRetry {
		t.Errorf("got %+v", e)
	}
	midnight := time.Date(2026, 8, 6, 0, 0, 0, 0, berlin)
	if e.RetryAfter != midnight.Sub(noon) || e.Budget == nil || e.Budget.Budget != "team-budget" || e.Budget.Window != "day" || !e.Budget.Resets.Equal(midnight) {
		t.Errorf("got retry after %v and budget %+v", e.RetryAfter, e.Budget)
	}
	if want := `budget "team-budget" (each day) does not cover this request; it begins anew at 00:00 on 6 August 2026 (CEST), in 10 hours`; e.Message != want {
		t.Errorf("got  %s\nwant %s", e.Message, want)
	}
	if a.Budget.Decision != names.BudgetDecisionDeny || len(a.Budget.Decisions) != 2 || a.Budget.Held != 0 {
		t.Errorf("got %+v", a.Budget)
	}
	for _, d := range a.Budget.Decisions {
		want := map[string]string{"everything": names.BudgetDecisionAllow, "team-budget": names.BudgetDecisionDeny}[d.Budget]
		if d.Decision != want {
			t.Errorf("budget %s: got %s, want %s", d.Budget, d.Decision, want)
		}
	}
	r.spent("everything", "", 0) // no residue
}

func TestRefusalShowsAmountsOnlyIfAsked(t *testing.T) {
	cfg := with(limit("everything", dollar))
	if m := newRig(t, cfg).refused(attempt(2 * dollar)).Message; strings.Contains(m, "$") {
		t.Errorf("got %q", m)
	}
	cfg.Policy.ShowAmounts = true
	if m := newRig(t, cfg).refused(attempt(2 * dollar)).Message; !strings.Contains(m, "may cost $2; its limit is $1") {
		t.Errorf("got %q", m)
	}
}

func TestRefusalsOfOtherWindows(t *testing.T) {
	forever, span := limit("f", dollar), limit("s", dollar)
	forever.Window, span.Window = "none", "30d"
	for want, b := range map[string]budget.Budget{
		`budget "f" (in all) does not cover this request; it does not begin anew by itself`: forever,
		`budget "z" (each month) allows no spending`:                                        limit("z", 0),
	} {
		e := newRig(t, with(b)).refused(attempt(2 * dollar))
		if e.Message != want || e.RetryAfter != 0 {
			t.Errorf("got %q and %v, want %q", e.Message, e.RetryAfter, want)
		}
	}
	e := newRig(t, with(span)).refused(attempt(2 * dollar))
	if !strings.Contains(e.Message, "(within 30d)") || !strings.Contains(e.Message, "some of it is free again at") || e.RetryAfter <= 0 {
		t.Errorf("got %q and %v", e.Message, e.RetryAfter)
	}
}

func TestWarningBudgetLetsEverythingPass(t *testing.T) {
	b := limit("soft", dollar)
	b.Warn = true
	r := newRig(t, with(b))
	r.spend(dollar)
	if a := r.spend(dollar); a.Budget.Decision != names.BudgetDecisionWarn {
		t.Errorf("got %q, want warn", a.Budget.Decision)
	}
	r.spent("soft", "", 2*dollar)
}

func TestWithoutBudgetsTheLineIsWrittenAllTheSame(t *testing.T) {
	r := newRig(t, Config{})
	a := r.spend(3 * cent)
	if a.Budget.Decision != "" || a.Budget.Held != 3*cent || a.Budget.Settled != 3*cent {
		t.Errorf("got %+v", a.Budget)
	}
	if got := r.total(); got != 3*cent {
		t.Errorf("got %v, want 0.03", got)
	}
}

func TestL15UnknownPrice(t *testing.T) {
	unknown := func() *gateway.Attempt {
		a := attempt(0)
		a.Bound = gateway.Bound{Status: names.PriceStatusUnknown, Billing: names.CostBillingMetered}
		a.Result.Usage = gateway.Usage{Input: 1000, CacheRead: 500, Output: 500, Source: names.UsageSourceProvider}
		a.Cost = gateway.Cost{Source: names.CostSourceNone, Status: names.PriceStatusUnknown}
		return a
	}
	settle := func(r *rig, a *gateway.Attempt) { r.hold(a).Settle(context.Background(), a) }

	t.Run("denied under an enforcing budget", func(t *testing.T) {
		soft := limit("soft", dollar)
		soft.Warn = true
		r := newRig(t, with(soft, each("key", "*", dollar)))
		a := unknown()
		e := r.refused(a)
		if e.Type != names.ErrorPriceUnknown || e.Reason != names.RejectionBudget || !e.NoRetry || !strings.Contains(e.Message, `"anthropic/claude-sonnet-5"`) {
			t.Errorf("got %+v", e)
		}
		if len(a.Budget.Decisions) != 2 || a.Budget.Decision != names.BudgetDecisionDeny {
			t.Errorf("got %+v", a.Budget)
		}
		r.spent("soft", "", 0)
	})
	t.Run("let in under none, and told of", func(t *testing.T) {
		soft := limit("soft", dollar)
		soft.Warn = true
		r := newRig(t, with(soft))
		settle(r, unknown())
		settle(r, unknown())
		if got := r.raised(); len(got) != 1 || got[0] != "unpriced_request soft" {
			t.Errorf("got alerts %v, want one unpriced_request", got)
		}
		if got := r.lines()[0]; got.Cost.Known() || got.Cost.Status != names.PriceStatusUnknown {
			t.Errorf("got cost %+v, want none", got.Cost)
		}
		r.restart()
		settle(r, unknown())
		if got := r.raised(); got != nil {
			t.Errorf("got alerts %v again", got)
		}
	})
	t.Run("assumed", func(t *testing.T) {
		cfg := with(each("key", "*", dollar))
		cfg.Policy.UnknownPrice = gateway.Some(int64(10_000_000)) // $10 for a million
		r := newRig(t, cfg)
		a := unknown()
		a.Exchange.Call.MaxTokens = 2000
		h := r.hold(a)
		if want := gateway.NanoUSD((200 + 2000) * 10_000); a.Budget.Held != want {
			t.Errorf("got %v held, want %v", a.Budget.Held, want)
		}
		h.Settle(context.Background(), a)
		if want := gateway.NanoUSD(2000 * 10_000); a.Cost.Total != want || a.Cost.Source != names.CostSourceAssumed || a.Budget.Settled != want {
			t.Errorf("got %+v, want %v assumed", a.Cost, want)
		}
		if got := r.raised(); len(got) != 1 {
			t.Errorf("got alerts %v, want unpriced_request", got)
		}
		r.spent("key-budget", "alice", 2000*10_000)
		list, err := Explain(context.Background(), r.Store(), a.Exchange.ID)
		if err != nil || len(list) != 1 || list[0].Err != nil || list[0].Total != a.Cost.Total || len(list[0].Terms) != 3 {
			t.Errorf("got %+v, %v", list, err)
		}
		many := unknown()
		many.Exchange.Call.MaxTokens = math.MaxInt64
		if e := r.refused(many); e.Type != names.ErrorBudgetExceeded {
			t.Errorf("got %v, want that it does not fit", e)
		}
	})
	t.Run("unread paths cannot be assumed", func(t *testing.T) {
		cfg := with(each("key", "*", dollar))
		cfg.Policy.UnknownPrice = gateway.Some(int64(10_000_000))
		a := unknown()
		a.Exchange.Call = gateway.Call{}
		if e := newRig(t, cfg).refused(a); e.Type != names.ErrorPriceUnknown {
			t.Errorf("got %v", e)
		}
	})
}

func TestL17AmountsThatDoNotFitAreRefused(t *testing.T) {
	r := newRig(t, with(limit("everything", math.MaxInt64)))
	a := attempt(0)
	a.Bound.Input, a.Bound.Output = math.MaxInt64, math.MaxInt64
	r.refused(a)
	a = attempt(0)
	a.Bound.Input = -dollar
	r.refused(a)
	r.spent("everything", "", 0)
	a = attempt(cent)
	r.hold(a).Settle(context.Background(), costs(a, -dollar))
	r.spent("everything", "", 0)
}

func TestSubscriptionTrafficIsInNoBudgetUnlessItSaysSo(t *testing.T) {
	notional := limit("notional", dollar)
	notional.Notional = true
	r := newRig(t, with(limit("metered", 0), notional))
	a := attempt(cent)
	a.Bound.Billing = names.CostBillingNotional
	r.hold(a).Settle(context.Background(), costs(a, cent))
	r.spent("metered", "", 0)
	r.spent("notional", "", cent)
}

// priced is a pricer with one bound.
type priced struct {
	gateway.Pricer
	bound gateway.Bound
}

func (p priced) Bound(*gateway.Attempt) gateway.Bound { return p.bound }

func TestRerouteNamesTheLabelAndTheBudget(t *testing.T) {
	b := each("model", "claude-*", dollar)
	b.Route = "cheap"
	r := newRig(t, with(b))
	ask := func(bound gateway.Bound) (string, string) {
		a := attempt(0)
		a.Exchange.Snapshot.Pricer = priced{bound: bound}
		return r.Reroute(context.Background(), a)
	}
	known := func(n gateway.NanoUSD) gateway.Bound {
		return gateway.Bound{Output: n, Status: names.PriceStatusExact, Billing: names.CostBillingMetered}
	}
	if label, _ := ask(known(dollar)); label != "" {
		t.Errorf("got %q for what fits", label)
	}
	if label, name := ask(known(dollar + 1)); label != "cheap" || name != "model-budget" {
		t.Errorf("got %q by %q, want cheap by model-budget", label, name)
	}
	if label, _ := ask(gateway.Bound{Status: names.PriceStatusUnknown}); label != "" {
		t.Errorf("got %q without a price", label)
	}
	if label, _ := r.Reroute(context.Background(), attempt(0)); label != "" {
		t.Errorf("got %q without a pricer", label)
	}
}
