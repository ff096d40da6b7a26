package command

import (
	"fmt"
	"strings"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// spending is what simulated traffic would have cost at list prices.
type spending struct {
	cost               float64 // USD
	compared, baseline float64 // of requests that can be compared: cost, and cost on the model the client named
	known, assumed     bool    // a cost is known; a price in it is assumed
}

// spendingOf reads a request's cost off its trace.
func spendingOf(spans []treeSpan) spending {
	var s spending
	comparable := false
	for i := range spans {
		span := &spans[i]
		if span.has(names.KeyCostSource) {
			s.assumed = s.assumed || span.text(names.KeyCostSource) == names.CostSourceAssumed
		}
		if span.has(names.KeyCost) {
			s.cost, s.known = span.Attributes[names.KeyCost].AsFloat64(), true
		}
		if span.has(names.KeyRoutingBaselineCost) {
			s.baseline += span.Attributes[names.KeyRoutingBaselineCost].AsFloat64()
			comparable = true
		}
	}
	if comparable {
		s.compared = s.cost
	}
	return s
}

func (s *spending) add(o spending) {
	s.cost += o.cost
	s.compared += o.compared
	s.baseline += o.baseline
	s.known, s.assumed = s.known || o.known, s.assumed || o.assumed
}

// saved is what routing saved; negative when it chose a dearer model.
func (s spending) saved() float64 { return s.baseline - s.compared }

// String says what one request cost, "" when that is not known.
func (s spending) String() string {
	if !s.known {
		return ""
	}
	words := formatUSD(s.cost)
	if s.assumed {
		words += " (assumed price)"
	}
	switch saved := s.saved(); {
	case saved > 1e-9:
		words += ", routing saved " + formatUSD(saved)
	case saved < -1e-9:
		words += ", routing added " + formatUSD(-saved)
	}
	return words
}

// explain says what the sums mean.
func (s spending) explain() string {
	words := "cost: list prices of simulated traffic; nothing was billed · saved: against the models the clients named"
	if s.assumed {
		words += " · models without a price are assumed to cost what the dearest of their family does"
	}
	return words
}

// formatUSD prints dollars with as many decimals as a small amount needs.
func formatUSD(v float64) string {
	sign := ""
	if v < 0 {
		sign, v = "-", -v
	}
	switch {
	case v < 5e-10:
		return "$0"
	case v >= 1:
		return fmt.Sprintf("%s$%.2f", sign, v)
	case v >= 1e-5:
		return fmt.Sprintf("%s$%.6f", sign, v)
	}
	return sign + "$" + strings.TrimRight(fmt.Sprintf("%.9f", v), "0")
}
