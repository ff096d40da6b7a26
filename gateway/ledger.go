package gateway

import (
	"context"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Ledger sets money aside for attempts and writes down what they cost.
// Implementations are safe for concurrent use.
type Ledger interface {
	// Hold sets aside what a may cost, in every budget that applies to it or in
	// none, before anything is sent. a.Bound is set; Hold sets a.Budget, also
	// when it refuses. The error is an *Error, with reason budget when it is the
	// budgets that refuse.
	Hold(ctx context.Context, a *Attempt) (Hold, error)
	// Reroute is asked at the end of pre_call, with an attempt at the first
	// target that will not be made. When a budget that says `over: route` cannot
	// take its bound (Reroute sets a.Bound by the exchange's Pricer), it returns
	// the label to route by instead and the budget's name; label "": the route
	// stands.
	Reroute(ctx context.Context, a *Attempt) (label, budget string)
}

// Hold is the money set aside for one attempt. It belongs to the goroutine that
// owns the exchange. One call of Settle or Void ends it; more do nothing.
type Hold interface {
	// Watch is told after each event of a stream what the attempt has cost so
	// far, and writes it down once a second. The hold grows when it must; an
	// *Error means that it cannot, and the stream has to end.
	Watch(ctx context.Context, a *Attempt, accrued NanoUSD, now time.Time) error
	// Settle replaces the hold by what the attempt cost, a.Cost, and writes its
	// line. It returns once a killed process would not lose the line. It sets
	// a.Budget.
	Settle(ctx context.Context, a *Attempt)
	// Void gives the hold back: nothing billable can have happened. The attempt's
	// line is written all the same, without cost.
	Void(ctx context.Context, a *Attempt)
}

// Bound is the most an attempt can cost, known before it is sent.
type Bound struct {
	// Input, Output and Tools are the parts of the bound: the prompt at its
	// dearest class, the longest answer at the dearest tier, and calls.
	Input, Output, Tools NanoUSD
	// Floor is what the prompt alone probably costs. What was sent and came to
	// nothing known is settled at no less.
	Floor NanoUSD
	// InputTokens is the estimate behind Floor, OutputTokens the limit behind
	// Output.
	InputTokens, OutputTokens int64
	// Rate is the price of a token of output at the dearest tier, in
	// pico-dollars.
	Rate int64
	// Visible says that a stream shows all output that is billed: a watched
	// stream cannot cost much more than what has been seen.
	Visible bool
	// Billing is names.CostBilling…; what is not metered counts only in budgets
	// that say so.
	Billing string
	// Status says how the price was found, names.PriceStatus…; with unknown, or
	// "", the amounts mean nothing.
	Status string
}

// Known reports whether there is a bound at all.
func (b *Bound) Known() bool { return b.Status != "" && b.Status != names.PriceStatusUnknown }

// Total is the whole bound. A sum that does not fit is the largest amount there is.
func (b *Bound) Total() NanoUSD {
	sum := b.Input
	for _, n := range [2]NanoUSD{b.Output, b.Tools} {
		if sum += n; sum < 0 {
			return 1<<63 - 1
		}
	}
	return sum
}

// Budgeted is what the budgets had to do with an attempt. The zero value: none
// applied.
type Budgeted struct {
	// Decision is the gravest of Decisions, names.BudgetDecision…; "" when no
	// budget applies.
	Decision  string
	Decisions []BudgetDecision
	// Held was set aside in all, extensions included; Settled replaced it.
	Held, Settled NanoUSD
	// Watched says that less than the bound is held, so that the stream ends
	// when it cannot be extended.
	Watched bool
	// Overshoot is what the settling took budgets beyond their limits.
	Overshoot []BudgetAmount
}

// BudgetDecision is what one budget said of an attempt.
type BudgetDecision struct {
	Budget   string // name
	Decision string // names.BudgetDecision…
}

// BudgetAmount is money in one budget.
type BudgetAmount struct {
	Budget string // name
	Amount NanoUSD
}

// BudgetRefusal is what a client is told of the budget that refuses it.
type BudgetRefusal struct {
	Budget string
	Window string    // as configured: "day", "30d", "none"
	Resets time.Time // zero: never
}
