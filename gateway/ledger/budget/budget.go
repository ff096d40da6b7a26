// Package budget keeps budgets in memory: which apply to an attempt, what is
// spent and reserved of each in the current window, and which alerts are due.
// It knows nothing of disks: what must be remembered is handed out and taken
// back in.
package budget

import (
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// Budget limits what may be spent.
type Budget struct {
	Name  string
	Scope string // global team key user model provider label session tag
	// Match picks subjects: a name, a pattern with "*", or "*" alone for an
	// account each. A tag's is "name=value", "name=*", or "*".
	Match    string
	Limit    gateway.Optional[gateway.NanoUSD] // absent: unlimited; 0: nothing may be spent
	Window   string                            // minute hour day week month none, or a rolling span such as "30d", "12h"
	Location *time.Location                    // nil: UTC
	// Thresholds raise alerts, as fractions of the limit, ascending.
	Thresholds []float64
	Warn       bool   // spend on and warn, instead of refusing
	Route      string // label to route by instead of refusing; "": none
	Notional   bool   // counts subscription traffic as well
}

// Facts are what decides which budgets apply to an attempt.
type Facts struct {
	KeyID, KeyAlias, Team, User, Model, Provider, Label, Session string
	Tags                                                         map[string]string
	Billing                                                      string // names.CostBilling…
}

// Status is what is known of one account of a budget now.
type Status struct {
	Budget   *Budget
	Subject  string // alias; "" for global
	Start    time.Time
	Resets   time.Time // zero: never
	Spent    gateway.NanoUSD
	Reserved gateway.NanoUSD
	// Forecast is spent ÷ elapsed × length; absent for budgets without windows,
	// for rolling ones, and in the first hundredth of a window.
	Forecast gateway.Optional[gateway.NanoUSD]
	State    string // names.BudgetState…
}

// Alert is something about a budget that people want to hear of.
type Alert struct {
	Type      string // threshold_crossed budget_crossed forecast_overrun reset unpriced_request: names.Alert…
	Budget    string
	Scope     string
	Window    string
	Subject   string
	Threshold float64 // fraction; 0 where there is none
	Spent     gateway.NanoUSD
	Limit     gateway.NanoUSD
	Resets    time.Time // zero: never
	At        time.Time
	Model     string // of unpriced_request
}
