package ledger

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// unavailableRetry is when callers are told to come back to a ledger that
// cannot be written. It recovers by itself once there is room.
const unavailableRetry = 5 * time.Second

// refusal is the error for a caller whose budget cannot take amount; with cut it
// has taken what the answer cost so far, amount, and takes no more.
func (s *settings) refusal(r *gateway.BudgetRefusal, amount gateway.NanoUSD, cut bool, now time.Time) *gateway.Error {
	e := &gateway.Error{Type: names.ErrorBudgetExceeded, Origin: names.ErrorOriginPolicy, Reason: names.RejectionBudget,
		Status: http.StatusTooManyRequests, NoRetry: true, Budget: r}
	limit, limited := gateway.NanoUSD(0), false
	if b := s.budgets[r.Budget]; b != nil {
		limit, limited = b.Limit.Value, b.Limit.Set
		if b.Location != nil && !r.Resets.IsZero() {
			r.Resets = r.Resets.In(b.Location)
		}
	}
	var m strings.Builder
	fmt.Fprintf(&m, "budget %q (%s) ", r.Budget, perWindow(r.Window))
	switch {
	case cut:
		m.WriteString("is used up: the answer ends here")
	case limited && limit == 0:
		m.WriteString("allows no spending")
	default:
		m.WriteString("does not cover this request")
	}
	if s.ShowAmounts && limited && limit > 0 {
		if cut {
			fmt.Fprintf(&m, " at %s, its limit is %s", dollars(amount), dollars(limit))
		} else {
			fmt.Fprintf(&m, ", which may cost %s; its limit is %s", dollars(amount), dollars(limit))
		}
	}
	if !limited || limit > 0 {
		m.WriteString("; " + resetting(r, now))
	}
	e.Message = m.String()
	if !r.Resets.IsZero() {
		e.RetryAfter = max(time.Second, r.Resets.Sub(now))
	}
	return e
}

// priceless is the error for a caller under an enforcing budget who asks for a
// model without a price.
func priceless(a *gateway.Attempt) *gateway.Error {
	return &gateway.Error{Type: names.ErrorPriceUnknown, Origin: names.ErrorOriginPolicy, Reason: names.RejectionBudget,
		Status: http.StatusTooManyRequests, NoRetry: true,
		Message: fmt.Sprintf("no price is known for %.200q, and your budget cannot be kept without one; "+
			"ask for a price under prices, or for budgets.unknown_price, in the gateway's configuration", a.Target.Provider.Name+"/"+a.Model())}
}

// unwritten is the error for a caller under an enforcing budget while the ledger
// cannot be written.
func unwritten(err error) *gateway.Error {
	return &gateway.Error{Type: names.ErrorOverload, Origin: names.ErrorOriginGateway, Reason: names.RejectionOverload,
		Status: http.StatusServiceUnavailable, Code: "ledger_unavailable", RetryAfter: unavailableRetry,
		Message: "ledger_unavailable: the gateway cannot keep your budget now; try again soon", Err: err}
}

// perWindow says in words how often a budget with that window begins anew.
func perWindow(window string) string {
	switch {
	case window == "none" || window == "":
		return "in all"
	case rolling(window):
		return "within " + window
	}
	return "each " + window
}

// rolling reports whether a window is a span such as 30d.
func rolling(window string) bool { return window != "" && window[0] >= '0' && window[0] <= '9' }

// resetting says when a budget has room again.
func resetting(r *gateway.BudgetRefusal, now time.Time) string {
	switch {
	case r.Resets.IsZero():
		return "it does not begin anew by itself"
	case rolling(r.Window):
		return "some of it is free again at " + instant(r.Resets) + ", in " + span(r.Resets.Sub(now))
	}
	return "it begins anew at " + instant(r.Resets) + ", in " + span(r.Resets.Sub(now))
}

// instant is a time for people, in its own zone.
func instant(t time.Time) string { return t.Format("15:04 on 2 January 2006 (MST)") }

// dollars is an amount for people.
func dollars(n gateway.NanoUSD) string { return "$" + n.String() }

// span is a duration for people, rounded up.
func span(d time.Duration) string {
	unit, name := time.Second, "second"
	switch {
	case d > 48*time.Hour:
		unit, name = 24*time.Hour, "day"
	case d > 2*time.Hour:
		unit, name = time.Hour, "hour"
	case d > 2*time.Minute:
		unit, name = time.Minute, "minute"
	}
	if n := max(1, (d+unit-1)/unit); n > 1 {
		return fmt.Sprintf("%d %ss", n, name)
	}
	return "1 " + name
}
