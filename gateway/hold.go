package gateway

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// pays reports whether what the exchange asks for can cost money: a generation,
// or a path that nobody reads. Counting tokens and listing models are free.
func (x *Exchange) pays() bool { return x.Call.Operation != "" || x.Dialect.Name() == "opaque" }

// setAside holds the money that a may cost. It comes last before the send, when
// body and credential are final.
func (a *Attempt) setAside(ctx context.Context) *Error {
	s := a.Exchange.Snapshot
	if s.Ledger == nil || !a.Exchange.pays() {
		return nil
	}
	if s.Pricer != nil {
		a.Bound = a.bound(s.Pricer)
	}
	hold, err := s.Ledger.Hold(ctx, a)
	if err != nil {
		a.ResultKind = names.AttemptResultSkipped
		return AsError(err)
	}
	a.hold = hold
	return nil
}

// bound is the most a can cost. What a hook made of the body counts, not what
// the client sent (reliability H-04).
func (a *Attempt) bound(p Pricer) Bound {
	x := a.Exchange
	if a.edited {
		if call, err := x.decode(a.Body); err == nil {
			sent := x.Call
			x.Call = call
			defer func() { x.Call = sent }()
		}
	}
	return p.Bound(a)
}

// holdAttributes are what the budgets said, for the pre_api span.
func (a *Attempt) holdAttributes() []attribute.KeyValue {
	b := &a.Budget
	if b.Decision == "" {
		return nil
	}
	attrs := append(a.Exchange.gather(), names.KeyBudgetDecision.String(b.Decision))
	if b.Held > 0 && !a.Exchange.Snapshot.HideCost {
		attrs = append(attrs, names.KeyBudgetHeld.Float64(b.Held.Dollars()))
	}
	return attrs
}

// watchEvery is how often a hold is told of a stream whose bound it covers: a
// killed process loses sight of no more than this (MONEY §3, rule 5).
const watchEvery = time.Second

// watch tells the hold how far the stream has got. An error ends the stream.
func (a *Attempt) watch(ctx context.Context, now time.Time) *Error {
	if a.hold == nil || a.settled || !a.Budget.Watched && now.Sub(a.watched) < watchEvery {
		return nil
	}
	a.watched = now
	accrued := NanoUSD(0)
	if p := a.Exchange.Snapshot.Pricer; p != nil {
		accrued = p.Accrued(a)
	}
	if err := a.hold.Watch(ctx, a, accrued, now); err != nil {
		return AsError(err)
	}
	return nil
}

// endHold settles what was held, or gives it back when nothing can have been
// billed: nothing was sent, or the provider refused without using a token.
func (a *Attempt) endHold(ctx context.Context) {
	if a.hold == nil {
		return
	}
	if a.Cost.Known() || a.Cost.Unpriced() || a.answered() || a.ambiguous() {
		a.hold.Settle(ctx, a)
	} else {
		a.hold.Void(ctx, a)
	}
}

// answered reports whether the provider accepted the request.
func (a *Attempt) answered() bool {
	return a.Response != nil && a.Response.StatusCode < 300 && (a.Err == nil || a.Stream.Events > 0 || a.Result.Counts.Seen)
}

// ambiguous reports whether a request may have reached its provider although no
// answer says so: it may be billed (reliability P6).
func (a *Attempt) ambiguous() bool { return a.doubts > 0 || a.inDoubt() }

// inDoubt is ambiguous of the last send alone.
func (a *Attempt) inDoubt() bool {
	if a.Issued.IsZero() || a.unsent || a.Response != nil && a.Response.StatusCode >= 300 {
		return false
	}
	return a.Err == nil || a.Result.Err == nil
}

// budgetDecision is the gravest decision of the budgets on the exchange; "" when
// none applied.
func (x *Exchange) budgetDecision() string {
	if x.Rerouted != "" {
		return names.BudgetDecisionReroute
	}
	worst := ""
	for _, a := range x.Attempts {
		if gravity(a.Budget.Decision) > gravity(worst) {
			worst = a.Budget.Decision
		}
	}
	return worst
}

func gravity(decision string) int {
	return slices.Index([]string{"", names.BudgetDecisionAllow, names.BudgetDecisionWarn, names.BudgetDecisionFailOpen,
		names.BudgetDecisionReroute, names.BudgetDecisionDeny}, decision)
}

// reroute sends the exchange to another label when a budget asks for that in
// place of refusing what its first target may cost.
func (x *Exchange) reroute(ctx context.Context) error {
	l := x.Snapshot.Ledger
	if l == nil || !x.pays() || len(x.Route.Targets) == 0 {
		return nil
	}
	label, budget := l.Reroute(ctx, newAttempt(x, x.Route.Targets[0]))
	if label == "" || label == x.Route.Label {
		return nil
	}
	rule := x.Route.Rule
	x.Route = Route{Label: label, Rule: rule}
	if err := x.Snapshot.Router.Route(ctx, x); err != nil {
		return err
	}
	x.Route.Reason, x.Rerouted = names.RouteReasonBudget, budget
	return nil
}
