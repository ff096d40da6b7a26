package ledger

import (
	"context"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	// checkpointEvery is how often what a stream has cost is written down.
	checkpointEvery = time.Second
	// perSecond is how many tokens a provider is taken to generate in a second:
	// what was seen last before the process died is that much too old.
	perSecond = 250
	// margin is how many tokens of output a watched stream keeps ahead of what
	// it has cost: more may come with the next event.
	margin = 64
	// stepTokens is the least that a hold grows by, if there is room.
	stepTokens = 256
)

// hold implements gateway.Hold. Its lock keeps the owner of the exchange and
// the reconciler apart.
type hold struct {
	ledger  *Ledger
	place   // in the ledger's list of open holds
	life    life
	facts   budget.Facts
	assumed *assumption // of a model without a price; nil: it has one, or none is assumed
	priced  bool        // bound and accrued mean something

	bound, margin, step gateway.NanoUSD
	floor               gateway.NanoUSD // what the prompt alone probably costs

	mu           sync.Mutex
	ended        bool
	reservation  *budget.Reservation
	line         store.Line
	held         gateway.NanoUSD
	accrued      gateway.NanoUSD // the most that Watch was told
	written      gateway.NanoUSD // of it, in the store
	checkpointed time.Time
}

// Watch implements gateway.Hold.
func (h *hold) Watch(_ context.Context, a *gateway.Attempt, accrued gateway.NanoUSD, now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.assumed != nil {
		accrued = h.assumed.accrued(a)
	}
	if h.ended || accrued <= 0 {
		return nil
	}
	h.accrued = max(h.accrued, accrued)
	if short := h.short(); short > 0 {
		if !h.grow(short) {
			return h.cut(a, short)
		}
		a.Budget.Held = h.held
	}
	if h.accrued > h.written && now.Sub(h.checkpointed) >= checkpointEvery {
		h.written, h.checkpointed = h.accrued, now
		h.ledger.store.Checkpoint(h.line.ID, h.accrued, (a.Result.OutputBytes+3)/4)
	}
	return nil
}

// short returns how much more must be held. A hold of less than the bound keeps
// a margin: what is generated until the provider notices the cut costs as well.
func (h *hold) short() gateway.NanoUSD {
	need := h.accrued
	if h.held < h.bound {
		need = max(need, min(h.bound, sum(need, h.margin)))
	}
	return need - h.held
}

// grow sets aside what is short, and some more when there is room. A budget that
// refuses nothing never refuses this.
func (h *hold) grow(short gateway.NanoUSD) bool {
	step := max(short, h.held/4, h.step)
	if h.held < h.bound {
		step = max(short, min(step, h.bound-h.held))
	}
	if !h.reservation.Extend(step) {
		if step = short; !h.reservation.Extend(step) {
			return false
		}
	}
	h.held += step
	if err := h.ledger.store.Extend(h.line.ID, h.held); err != nil {
		// Only recovery would see it, and settle at less.
		h.ledger.troubled(err)
	}
	return true
}

// cut returns the error that ends the stream.
func (h *hold) cut(a *gateway.Attempt, short gateway.NanoUSD) error {
	l := h.ledger
	r, _, refusal := l.book.Reserve(h.facts, short) // only to hear who refuses
	if refusal == nil {
		l.book.Release(r)
		// It is a window that has ended meanwhile which is full.
		refusal = l.settings.Load().enforcing(a.Budget.Decisions)
		refusal.Resets = l.clock.Wall()
	}
	deny(a, refusal.Budget)
	return l.settings.Load().refusal(refusal, h.accrued, true, l.clock.Wall())
}

// Settle implements gateway.Hold.
func (h *hold) Settle(ctx context.Context, a *gateway.Attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	unpriced := a.Cost.Unpriced() || a.Cost.Source == names.CostSourceAssumed
	h.price(a)
	end(&h.line, a, h.ledger.clock.Wall())
	settled := h.finish(ctx, a.Cost.Known(), unpriced)
	a.Budget.Held, a.Budget.Settled, a.Budget.Overshoot = h.held, a.Cost.Total, settled.Overshoot
	if u := &a.Result.Usage; u.Source == names.UsageSourceProvider && failure(a) == nil {
		h.ledger.typical.learn(h.facts.KeyID, h.facts.Model, u.OutputTokens())
	}
}

// price sees to it that what may be billed has a cost: by the assumed price when
// there is no other, and no less than the prompt's when no usage is known.
func (h *hold) price(a *gateway.Attempt) {
	switch c := &a.Cost; {
	case c.Known():
	case h.assumed != nil && c.Unpriced():
		*c = h.assumed.cost(&a.Result.Usage, h.facts.Billing)
	case h.priced && !c.Unpriced():
		*c = estimate(max(h.accrued, h.floor), h.facts.Billing)
	}
}

// estimate is a cost of which only the amount is known.
func estimate(amount gateway.NanoUSD, billing string) gateway.Cost {
	c := gateway.Cost{Source: names.CostSourceAssumed, Status: names.PriceStatusAssumed, Billing: billing, Total: amount}
	c.Classes[gateway.CostUndivided] = amount
	return c
}

// Void implements gateway.Hold.
func (h *hold) Void(ctx context.Context, a *gateway.Attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	end(&h.line, a, h.ledger.clock.Wall())
	h.line.Outcome, h.line.Cost, h.line.Estimated = store.OutcomeVoid, gateway.Cost{Source: names.CostSourceNone}, false
	h.finish(ctx, false, false)
	a.Budget.Held, a.Budget.Settled = h.held, 0
}

// finish ends the hold: in the list of open ones, in the budgets, and in the
// store, with its line, which is complete but for what was held. known says
// that the line has a cost, unpriced that its tokens have no price of their own.
func (h *hold) finish(ctx context.Context, known, unpriced bool) budget.Settled {
	l := h.ledger
	h.ended = true
	l.open.remove(h)
	h.line.Held = h.held
	settled, err := h.charge(known, unpriced)
	if err != nil {
		l.troubled(err)
	}
	l.raise(ctx, settled.Fired)
	return settled
}

// charge charges the budgets, and has the store do the same.
func (h *hold) charge(known, unpriced bool) (budget.Settled, error) {
	l := h.ledger
	l.settling.RLock()
	defer l.settling.RUnlock()
	settled := l.book.Settle(h.reservation, h.line.Cost.Total, known)
	if unpriced {
		alerts, states := l.book.Unpriced(h.facts)
		settled.Fired, settled.Alerts = append(settled.Fired, alerts...), append(settled.Alerts, states...)
	}
	var few [8]store.Account
	accounts := few[:0]
	for i := range settled.Sums {
		accounts = append(accounts, settled.Sums[i].Account)
	}
	return settled, l.store.Settled(&h.line, accounts, settled.Alerts)
}

// deny notes on the attempt that a budget has refused it.
func deny(a *gateway.Attempt, budget string) {
	b := &a.Budget
	b.Decision = names.BudgetDecisionDeny
	for i := range b.Decisions {
		if b.Decisions[i].Budget == budget {
			b.Decisions[i].Decision = names.BudgetDecisionDeny
			return
		}
	}
}
