package ledger

import (
	"context"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Hold implements [gateway.Ledger].
func (l *Ledger) Hold(_ context.Context, a *gateway.Attempt) (gateway.Hold, error) {
	s := l.settings.Load()
	h := &hold{ledger: l, facts: factsOf(a)}
	b := a.Bound
	if a.Exchange.Call.Operation != "" { // of what nobody reads, the tokens are not known either
		h.assumed = s.assumed
	}
	switch {
	case b.Known():
		h.assumed = nil
	case h.assumed == nil && l.book.Enforced(h.facts):
		l.denyAll(s, a, &h.facts)
		return nil, priceless(a)
	case h.assumed != nil:
		b = s.assumed.bound(a, s.AssumeOutputTokens)
	default:
		b = gateway.Bound{}
	}
	h.priced = b.Known()
	h.bound, h.floor = b.Total(), b.Floor
	h.margin, h.step = times(margin, b.Rate), times(stepTokens, b.Rate)
	if err := l.reserve(s, h, a, &b); err != nil {
		return nil, err
	}
	if err := l.record(s, h, a, &b); err != nil {
		return nil, err
	}
	l.open.add(h)
	return h, nil
}

// reserve sets the bound aside; of a stream that can be watched, no more than it
// typically costs if that is all there is.
func (l *Ledger) reserve(s *settings, h *hold, a *gateway.Attempt, b *gateway.Bound) error {
	h.held = h.bound
	r, decisions, refusal := l.book.Reserve(h.facts, h.held)
	watched := false
	if refusal != nil && b.Visible && a.Exchange.Call.Stream {
		if less := l.usual(s, h, b); less < h.bound {
			r, decisions, refusal = l.book.Reserve(h.facts, less)
			h.held, watched = less, true
		}
	}
	a.Budget = gateway.Budgeted{Decision: gravest(decisions), Decisions: decisions}
	if refusal != nil {
		return s.refusal(refusal, h.held, false, l.clock.Wall())
	}
	h.reservation = r
	a.Budget.Held, a.Budget.Watched = h.held, watched
	return nil
}

// usual is what an attempt costs with an answer of typical length.
func (l *Ledger) usual(s *settings, h *hold, b *gateway.Bound) gateway.NanoUSD {
	tokens := l.typical.length(h.facts.KeyID, h.facts.Model, s.Percentile)
	return sum(sum(b.Input, b.Tools), min(b.Output, times(tokens, b.Rate)))
}

// record writes the hold down. A caller under an enforcing budget needs that.
func (l *Ledger) record(s *settings, h *hold, a *gateway.Attempt, b *gateway.Bound) error {
	begin(&h.line, a, l.node, l.clock.Wall())
	h.life = lifeOf(a, time.Now())
	record := store.HoldRecord{Line: h.line, Budgets: h.reservation.Accounts(), PerSecond: times(perSecond, b.Rate)}
	record.Line.Held = h.held
	if h.priced {
		record.Line.Cost = estimate(l.unseen(s, h, a, b), h.facts.Billing)
	}
	err := l.store.Held(&record)
	if err == nil {
		return nil
	}
	l.troubled(err)
	if l.book.Enforced(h.facts) && (s.FailOpen == nil || !s.FailOpen(&a.Exchange.Caller)) {
		l.book.Release(h.reservation)
		a.Budget.Held, a.Budget.Watched = 0, false
		return unwritten(err)
	}
	for i := range a.Budget.Decisions {
		a.Budget.Decisions[i].Decision = names.BudgetDecisionFailOpen
	}
	a.Budget.Decision = gravest(a.Budget.Decisions)
	return nil
}

// unseen is what an attempt is taken to cost should the process die before
// anything was seen of its answer. A stream shows itself within a second; a
// plain answer may be whole by then.
func (l *Ledger) unseen(s *settings, h *hold, a *gateway.Attempt, b *gateway.Bound) gateway.NanoUSD {
	if a.Exchange.Call.Stream && b.Visible {
		return min(h.held, b.Floor)
	}
	tokens := l.typical.length(h.facts.KeyID, h.facts.Model, s.Percentile)
	return min(h.held, sum(b.Floor, min(b.Output, times(tokens, b.Rate))))
}

// denyAll notes that the budgets which enforce their limits refuse an attempt
// whatever it costs.
func (l *Ledger) denyAll(s *settings, a *gateway.Attempt, f *budget.Facts) {
	r, decisions, _ := l.book.Reserve(*f, 0)
	if r != nil {
		l.book.Release(r)
	}
	for i := range decisions {
		if b := s.budgets[decisions[i].Budget]; b != nil && enforces(b) {
			decisions[i].Decision = names.BudgetDecisionDeny
		}
	}
	a.Budget = gateway.Budgeted{Decision: gravest(decisions), Decisions: decisions}
}

// enforces reports whether a budget refuses anything.
func enforces(b *budget.Budget) bool { return b.Limit.Set && !b.Warn }

// enforcing describes the first of the budgets that refuses anything.
func (s *settings) enforcing(decisions []gateway.BudgetDecision) *gateway.BudgetRefusal {
	for _, d := range decisions {
		if b := s.budgets[d.Budget]; b != nil && enforces(b) {
			return &gateway.BudgetRefusal{Budget: b.Name, Window: b.Window}
		}
	}
	return &gateway.BudgetRefusal{Window: "none"}
}

// gravest returns the gravest of decisions, "" of none.
func gravest(decisions []gateway.BudgetDecision) string {
	worst := ""
	for _, d := range decisions {
		if gravity(d.Decision) > gravity(worst) {
			worst = d.Decision
		}
	}
	return worst
}

func gravity(decision string) int {
	switch decision {
	case names.BudgetDecisionAllow:
		return 1
	case names.BudgetDecisionWarn:
		return 2
	case names.BudgetDecisionFailOpen:
		return 3
	case names.BudgetDecisionReroute:
		return 4
	case names.BudgetDecisionDeny:
		return 5
	}
	return 0
}

// Reroute implements [gateway.Ledger].
func (l *Ledger) Reroute(_ context.Context, a *gateway.Attempt) (label, budget string) {
	p := a.Exchange.Snapshot.Pricer
	if p == nil {
		return "", ""
	}
	a.Bound = p.Bound(a)
	if !a.Bound.Known() {
		return "", ""
	}
	over, ok := l.book.Fits(factsOf(a), a.Bound.Total())
	if ok {
		return "", ""
	}
	return over.Route, over.Name
}
