package ledger

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// play tells a hold of a stream that costs event more each time, until it has
// cost all, or is cut off; it returns what it had cost then.
func play(t *testing.T, h gateway.Hold, a *gateway.Attempt, event, all gateway.NanoUSD) (gateway.NanoUSD, *gateway.Error) {
	t.Helper()
	now := noon
	for accrued := event; accrued <= all; accrued += event {
		now = now.Add(20 * time.Millisecond)
		if err := h.Watch(context.Background(), a, accrued, now); err != nil {
			var e *gateway.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			return accrued, e
		}
	}
	return all, nil
}

func TestStreamWithAHugeMaximumIsAdmittedOnWhatIsTypical(t *testing.T) {
	r := newRig(t, with(limit("everything", 10*dollar)))
	for range 20 {
		r.typical.learn("key1", "claude-sonnet-5", 1000) // a cent
	}
	a := stream(20 * dollar)
	a.Bound.Input = dollar
	h := r.hold(a)
	if held := a.Budget.Held; !a.Budget.Watched || held < dollar+cent || held > dollar+2*cent {
		t.Errorf("got %v held and watched %v, want the prompt's bound and a typical answer", held, a.Budget.Watched)
	}
	if got, e := play(t, h, a, cent/10, 5*dollar); e != nil {
		t.Errorf("cut at %v although there is room: %v", got, e)
	}
	if a.Budget.Held < 5*dollar || a.Budget.Held > 7*dollar {
		t.Errorf("got %v held, want a little over 5", a.Budget.Held)
	}
	h.Settle(context.Background(), costs(a, 5*dollar))
	r.spent("everything", "", 5*dollar)
}

func TestOnlyVisibleStreamsAreWatched(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar)))
	plain := attempt(20 * dollar)
	plain.Bound.Visible = true
	hidden := stream(20 * dollar)
	hidden.Bound.Visible = false
	for _, a := range []*gateway.Attempt{plain, hidden, stream(20 * dollar)} { // the last one's prompt alone is too dear
		if e := r.refused(a); e.Type != names.ErrorBudgetExceeded {
			t.Errorf("got %v", e)
		}
	}
}

func TestWatchedStreamIsCutAtTheLimit(t *testing.T) {
	const event = gateway.NanoUSD(30 * 10_000) // 30 tokens
	r := newRig(t, with(limit("everything", dollar)))
	a := stream(20 * dollar)
	a.Bound.Input = cent
	h := r.hold(a)
	got, e := play(t, h, a, event, 20*dollar)
	if e == nil || e.Type != names.ErrorBudgetExceeded || e.Reason != names.RejectionBudget || e.Budget.Budget != "everything" {
		t.Fatalf("got %v", e)
	}
	if got > dollar || got < dollar-(margin+30)*10_000-event {
		t.Errorf("cut at %v, want just under 1", got)
	}
	if a.Budget.Decision != names.BudgetDecisionDeny || a.Budget.Decisions[0].Decision != names.BudgetDecisionDeny {
		t.Errorf("got %+v", a.Budget)
	}
	a.Err = e
	h.Settle(context.Background(), costs(a, got+event)) // one more came before the provider noticed
	if len(a.Budget.Overshoot) != 0 {
		t.Errorf("got overshoot %v", a.Budget.Overshoot)
	}
	if line := r.lines()[0]; line.Outcome != names.OutcomeRejected || line.ErrorType != names.ErrorBudgetExceeded || line.Held != a.Budget.Held {
		t.Errorf("got %+v", line)
	}
}

func TestStreamIsCutAtTheLimitOfTheWindowItBeganIn(t *testing.T) {
	cfg := with(each("team", "research", dollar))
	cfg.Policy.ShowAmounts = true
	r := newRig(t, cfg)
	a := stream(20 * dollar)
	a.Bound.Input = cent
	h := r.hold(a)
	if _, e := play(t, h, a, cent, 90*cent); e != nil {
		t.Fatalf("cut: %v", e)
	}
	r.clock.pass(13 * time.Hour) // tomorrow
	err := h.Watch(context.Background(), a, dollar+1, time.Now())
	var e *gateway.Error
	if !errors.As(err, &e) || e.Budget.Budget != "team-budget" || e.RetryAfter != time.Second {
		t.Fatalf("got %v", err)
	}
	if want := `budget "team-budget" (each day) is used up: the answer ends here at $1.000000001, its limit is $1; it begins anew at 01:00 on 6 August 2026 (UTC), in 1 second`; e.Message != want {
		t.Errorf("got  %s\nwant %s", e.Message, want)
	}
	h.Settle(context.Background(), costs(a, dollar))
	r.spent("team-budget", "research", 0) // the new day's
}

func TestStreamOfAModelWithoutAPriceGrowsByTheAssumedOne(t *testing.T) {
	cfg := with(limit("everything", dollar))
	cfg.Policy.UnknownPrice = gateway.Some(int64(10_000_000))
	cfg.Policy.AssumeOutputTokens = 100
	r := newRig(t, cfg)
	a := stream(0)
	a.Bound = gateway.Bound{Status: names.PriceStatusUnknown}
	a.Exchange.Call.Choices = 2
	h := r.hold(a)
	if want := gateway.NanoUSD(200+2*100) * 10_000; a.Budget.Held != want {
		t.Errorf("got %v held, want %v", a.Budget.Held, want)
	}
	a.Result.OutputBytes = 40_000
	if err := h.Watch(context.Background(), a, 0, noon); err != nil {
		t.Fatal(err)
	}
	if want := gateway.NanoUSD(100+10_000) * 10_000; a.Budget.Held < want {
		t.Errorf("got %v held, want %v for what was seen", a.Budget.Held, want)
	}
	a.Cost = gateway.Cost{Source: names.CostSourceNone, Status: names.PriceStatusUnknown}
	a.Result.Usage = gateway.Usage{Input: 100, Output: 10_000, Source: names.UsageSourceProvider}
	a.Result.Usage.AddOther("advisor", gateway.Usage{Input: 50, Output: 7})
	h.Settle(context.Background(), a)
	if want := gateway.NanoUSD(10_157) * 10_000; a.Cost.Total != want {
		t.Errorf("got %v, want %v", a.Cost.Total, want)
	}
	if list, err := Explain(context.Background(), r.Store(), a.ID); err != nil || list[0].Err != nil || list[0].Total != a.Cost.Total {
		t.Errorf("got %+v, %v", list, err)
	}
}

func TestStreamsSideBySideNeverHoldMoreThanTheLimit(t *testing.T) {
	const event = gateway.NanoUSD(50 * 10_000)
	r := newRig(t, with(limit("everything", dollar)))
	var holds []gateway.Hold
	var attempts []*gateway.Attempt
	for range 5 {
		a := stream(20 * dollar)
		a.Bound.Input = cent
		holds, attempts = append(holds, r.hold(a)), append(attempts, a)
	}
	live, now := len(holds), noon
	accrued := make([]gateway.NanoUSD, len(holds))
	for live > 0 {
		now = now.Add(10 * time.Millisecond)
		for i, h := range holds {
			if h == nil {
				continue
			}
			accrued[i] += event
			if err := h.Watch(context.Background(), attempts[i], accrued[i], now); err != nil {
				h.Settle(context.Background(), costs(attempts[i], accrued[i]))
				holds[i] = nil
				live--
			}
			if s := r.account("everything", ""); s.Spent+s.Reserved > dollar {
				t.Fatalf("got %v spent and %v reserved of 1", s.Spent, s.Reserved)
			}
		}
	}
	if s := r.account("everything", ""); s.Spent < 95*cent {
		t.Errorf("got %v spent, want nearly all", s.Spent)
	}
}

func TestHoldOfTheWholeBoundGrowsWhenItIsExceeded(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar)))
	a := stream(10 * cent)
	h := r.hold(a)
	if got, e := play(t, h, a, cent/2, 50*cent); e != nil {
		t.Errorf("cut at %v although there is room: %v", got, e)
	}
	if a.Budget.Watched || a.Budget.Held < 50*cent {
		t.Errorf("got %+v", a.Budget)
	}
	if got, e := play(t, h, a, cent/2, 2*dollar); e == nil || got != dollar+cent/2 {
		t.Errorf("got %v at %v, want it to be cut by the event that exceeds the limit", e, got)
	}
}

func TestBudgetThatOnlyWarnsCutsNothing(t *testing.T) {
	b := limit("soft", dollar)
	b.Warn = true
	r := newRig(t, with(b))
	a := stream(10 * cent)
	h := r.hold(a)
	if got, e := play(t, h, a, cent, 5*dollar); e != nil {
		t.Errorf("cut at %v", got)
	}
	h.Settle(context.Background(), costs(a, 5*dollar))
	r.spent("soft", "", 5*dollar)
}

func TestOvershootIsCounted(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar)))
	a := attempt(dollar)
	r.hold(a).Settle(context.Background(), costs(a, 3*dollar/2)) // hidden reasoning, say
	if len(a.Budget.Overshoot) != 1 || a.Budget.Overshoot[0] != (gateway.BudgetAmount{Budget: "everything", Amount: dollar / 2}) {
		t.Errorf("got %v", a.Budget.Overshoot)
	}
	r.spent("everything", "", 3*dollar/2)
}

func TestL12AHoldEndsOnce(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar)))
	a := attempt(10 * cent)
	h := r.hold(a)
	costs(a, 4*cent)
	h.Settle(context.Background(), a)
	h.Settle(context.Background(), a)
	h.Void(context.Background(), a)
	if err := h.Watch(context.Background(), a, 99*dollar, noon); err != nil {
		t.Errorf("got %v of a hold that has ended", err)
	}
	r.spent("everything", "", 4*cent)
	if got := r.lines(); len(got) != 1 || got[0].Cost.Total != 4*cent {
		t.Errorf("got %d lines", len(got))
	}
	// A fallback is an attempt of its own.
	b := attempt(10 * cent)
	b.Exchange, b.Number = a.Exchange, 2
	r.hold(b).Settle(context.Background(), costs(b, 3*cent))
	r.spent("everything", "", 7*cent)
	if got := r.total(); got != 7*cent {
		t.Errorf("lines come to %v, want 0.07", got)
	}
}

func TestVoidGivesTheMoneyBack(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar)))
	a := attempt(dollar)
	h := r.hold(a)
	a.Err = &gateway.Error{Type: names.ErrorConnectError, Origin: names.ErrorOriginProvider}
	h.Void(context.Background(), a)
	h.Settle(context.Background(), costs(a, dollar))
	r.spent("everything", "", 0)
	line := r.lines()[0]
	if line.Outcome != store.OutcomeVoid || line.ErrorType != names.ErrorConnectError || line.Cost.Known() || line.Held != dollar {
		t.Errorf("got %+v", line)
	}
}

func TestL14WhatWasSentAndCameToNothingCostsThePrompt(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar)))
	a := stream(20 * cent)
	h := r.hold(a)
	a.Err = &gateway.Error{Type: names.ErrorServerError, Origin: names.ErrorOriginProvider}
	h.Settle(context.Background(), a)
	if a.Cost.Total != cent || a.Cost.Source != names.CostSourceAssumed || a.Budget.Settled != cent {
		t.Errorf("got %+v, want the floor of 0.01", a.Cost)
	}
	b := stream(20 * cent)
	h = r.hold(b)
	_ = h.Watch(context.Background(), b, 7*cent, noon)
	h.Settle(context.Background(), b)
	if b.Cost.Total != 7*cent {
		t.Errorf("got %v, want what was seen, 0.07", b.Cost.Total)
	}
	r.spent("everything", "", 8*cent)
}

func TestLineTellsOfTheWholeAttempt(t *testing.T) {
	r := newRig(t, Config{})
	a := stream(dollar)
	x := a.Exchange
	x.Call.Model, x.Route.Rule, x.Caller.User = "opus", "think", "bob"
	x.Dialect = anthropic.Messages()
	x.Span = trace.SpanFromContext(trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 7}, SpanID: trace.SpanID{7: 1}})))
	a.Response = &http.Response{StatusCode: 200}
	h := r.hold(a)
	r.clock.pass(3 * time.Second)
	costs(a, cent)
	a.Result.Usage.Source = names.UsageSourcePartial
	a.Result.Model, a.Result.ServiceTier = "claude-sonnet-5-20260101", "priority"
	a.Routing.Compared, a.Routing.Baseline = true, 5*cent
	a.Err = &gateway.Error{Type: names.ErrorIdleTimeout}
	h.Settle(context.Background(), a)
	line := r.lines()[0]
	for name, ok := range map[string]bool{
		"ids":      line.ID == a.ID && line.Exchange == x.ID && line.Attempt == 1 && line.Node == "test",
		"time":     line.Time.Equal(noon) && line.Duration == 3*time.Second,
		"caller":   line.KeyID == "key1" && line.KeyAlias == "alice" && line.Team == "research" && line.User == "bob" && line.Session == "s1" && line.Tags["env"] == "test",
		"route":    line.Label == "default" && line.Rule == "think" && line.OriginalModel == "opus" && line.Model == "claude-sonnet-5" && line.Provider == "anthropic",
		"answer":   line.AnsweredModel == a.Result.Model && line.ServiceTier == "priority" && line.Streamed && line.Status == 200 && line.Dialect == "anthropic.messages",
		"trace":    line.Trace == "00000000000000000000000000000007",
		"cost":     line.Cost.Total == cent && line.Cost.PriceVersion == "v1" && line.Usage.Input == 100 && line.Held == dollar && line.Estimated,
		"baseline": line.Baseline == gateway.Some(5*cent),
		"end":      line.Outcome == names.OutcomeTimeout && line.ErrorType == names.ErrorIdleTimeout,
	} {
		if !ok {
			t.Errorf("%s: got %+v", name, line)
		}
	}
}

func TestOutcomeOfAnAttempt(t *testing.T) {
	for want, e := range map[string]*gateway.Error{
		names.OutcomeCompleted: nil,
		names.OutcomeBlocked:   {Type: names.ErrorModerationBlocked, Reason: names.RejectionModeration},
		names.OutcomeRejected:  {Type: names.ErrorBudgetExceeded, Reason: names.RejectionBudget},
		names.OutcomeTimeout:   {Type: names.ErrorTimeout},
		names.OutcomeTruncated: {Type: names.ErrorStreamTruncated},
		names.OutcomeFailed:    {Type: names.ErrorServerError},
	} {
		a := attempt(cent)
		a.Result.Err = e
		if got := outcome(a); got != want {
			t.Errorf("%v: got %s, want %s", e, got, want)
		}
	}
}

func TestWatchAllocatesNothing(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar)))
	a := stream(dollar)
	h := r.hold(a)
	now := noon
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		_ = h.Watch(context.Background(), a, cent, now)
	}); n > 0 {
		t.Errorf("got %v allocations an event, want none", n)
	}
	h.Settle(context.Background(), costs(a, cent))
}

func TestL19LeakedHoldIsSettled(t *testing.T) {
	r := newRig(t, with(limit("everything", 10*dollar)))
	request := func(a *gateway.Attempt) context.CancelFunc {
		ctx, cancel := context.WithCancel(context.Background())
		a.Exchange.Request = a.Exchange.Request.WithContext(ctx)
		return cancel
	}
	lost, seen, drained, running := stream(dollar), stream(dollar), stream(dollar), stream(dollar)
	drained.Target.Provider = &gateway.Provider{Name: "draining", Drain: true}
	for _, a := range []*gateway.Attempt{lost, seen, drained} {
		cancel := request(a)
		r.hold(a)
		defer cancel()
		if a != seen {
			cancel()
			continue
		}
	}
	hold := r.hold(running)
	now := time.Now()
	look := func(after time.Duration, open int) {
		t.Helper()
		r.reconcile(context.Background(), now.Add(after))
		if got := r.OpenHolds(); got != open {
			t.Fatalf("after %v: got %d open holds, want %d", after, got, open)
		}
	}
	look(0, 4)                      // the requests are seen to be gone
	look(grace-1, 4)                // the engine may still settle
	look(grace, 3)                  // lost
	look(grace+30*time.Second-1, 3) // the provider is read to the end
	look(grace+30*time.Second, 2)
	look(15*time.Minute, 2)
	look(17*time.Minute, 0) // no exchange is that old
	if got := r.Leaked(); got != 4 {
		t.Errorf("got %d leaked, want 4", got)
	}
	hold.Settle(context.Background(), costs(running, dollar)) // too late
	r.spent("everything", "", 4*dollar/20)
	for _, line := range r.lines() {
		if !line.Estimated || line.Outcome != names.OutcomeFailed || line.Cost.Total != dollar/20 {
			t.Errorf("got %+v", line)
		}
	}
	if !contains(r.log.String(), "bug: a hold was never ended") {
		t.Errorf("the log says nothing: %s", r.log)
	}
}
