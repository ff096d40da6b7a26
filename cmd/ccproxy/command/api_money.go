package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// moneyStatus is what status says of the ledger and the budgets.
type moneyStatus struct {
	Problem     string     `json:"problem,omitempty"` // why the ledger cannot be written; "": it can
	Since       *time.Time `json:"since,omitempty"`   // since when
	OpenHolds   int        `json:"open_holds"`
	QueuedLines int        `json:"queued_lines"` // that are not in the database yet
	Lost        uint64     `json:"lost"`         // settlements that are nowhere
	Leaked      uint64     `json:"leaked"`       // holds that nobody ended: bugs
	// Today is what the last 24 hours cost, Unpriced how many attempts in them have no known price, and UnpricedModels whose.
	Today          usd      `json:"last_24h_usd"`
	Notional       usd      `json:"last_24h_notional_usd"`
	Unpriced       int64    `json:"unpriced"`
	UnpricedModels []string `json:"unpriced_models,omitempty"`
	// Near are the accounts of budgets that have reached their first threshold, and More how many of those are left out.
	Near []budgetView `json:"near_limit"`
	More int          `json:"near_limit_more"`
}

// nearMost is how many accounts of a budget status shows.
const nearMost = 5

func (m *accounts) status(ctx context.Context) *moneyStatus {
	h := m.store.Health()
	out := &moneyStatus{OpenHolds: m.ledger.OpenHolds(), QueuedLines: h.QueuedLines, Lost: h.Lost, Leaked: m.ledger.Leaked()}
	if h.Err != nil {
		out.Problem, out.Since = oneLine(h.Err), &h.Since
	}
	now := time.Now()
	if r, err := m.spend(ctx, "model", store.Filter{Since: now.Add(-24 * time.Hour)}, time.UTC, now); err == nil {
		out.Today, out.Notional, out.Unpriced, out.UnpricedModels = r.Total.Cost, r.Total.Notional, r.Total.Unpriced, r.UnpricedModels
	} else if out.Problem == "" {
		out.Problem = oneLine(err)
	}
	near := m.budgetViews(nearMost, func(v *budgetView) bool { return v.State != names.BudgetStateOK })
	out.Near, out.More = near.Budgets, near.More
	return out
}

// words says it for people, a line each.
func (s *moneyStatus) words(now time.Time) []string {
	first := s.Today.short() + " in the last 24 hours"
	if s.Notional != 0 {
		first += ", and " + s.Notional.short() + " that a subscription covers"
	}
	if s.OpenHolds > 0 {
		first += fmt.Sprintf("; %s requests hold money", formatCount(int64(s.OpenHolds)))
	}
	lines := []string{first}
	if s.Problem != "" {
		line := s.Problem
		if s.Since != nil && !s.Since.IsZero() {
			line += ", since " + ago(*s.Since, now)
		}
		lines = append(lines, line)
	}
	if s.Unpriced > 0 {
		lines = append(lines, fmt.Sprintf("%s attempts without a known price: %s", formatCount(s.Unpriced), strings.Join(s.UnpricedModels, ", ")))
	}
	if s.Lost > 0 {
		lines = append(lines, fmt.Sprintf("%s settlements are lost", formatCount(int64(s.Lost))))
	}
	if s.More > 0 {
		lines = append(lines, fmt.Sprintf("%d more budgets are near their limit: ccproxy budgets --state warn", s.More))
	}
	return lines
}
