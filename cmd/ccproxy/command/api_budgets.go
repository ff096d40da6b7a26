package command

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// budgetView is one account of a budget: what a subject has spent in the current window.
type budgetView struct {
	Name     string    `json:"name"`
	Scope    string    `json:"scope"`
	Match    string    `json:"match,omitempty"`
	Subject  string    `json:"subject,omitempty"`
	Window   string    `json:"window"`
	Timezone string    `json:"timezone"`
	Action   string    `json:"action"` // deny, warn, or route
	Route    string    `json:"route,omitempty"`
	Counts   string    `json:"counts"`
	Start    time.Time `json:"start,omitzero"`
	Resets   time.Time `json:"resets,omitzero"` // zero: never
	Limit    *usd      `json:"limit_usd"`       // null: unlimited
	Spent    usd       `json:"spent_usd"`
	Reserved usd       `json:"reserved_usd"`
	// Utilization is what is spent and reserved, as a fraction of the limit; null without one, or where it is 0.
	Utilization *float64 `json:"utilization"`
	Forecast    *usd     `json:"forecast_usd"` // null: nothing can be said
	State       string   `json:"state"`        // ok, warn, exhausted
}

func viewBudget(s *budget.Status) budgetView {
	b := s.Budget
	v := budgetView{
		Name: b.Name, Scope: b.Scope, Match: b.Match, Subject: s.Subject, Window: b.Window, Timezone: "UTC", Action: "deny", Counts: names.CostBillingMetered,
		Start: s.Start.UTC(), Resets: s.Resets.UTC(), Limit: some(b.Limit), Spent: usd(s.Spent), Reserved: usd(s.Reserved), Forecast: some(s.Forecast), State: s.State,
	}
	if b.Location != nil {
		v.Timezone = b.Location.String()
	}
	switch {
	case b.Warn:
		v.Action = "warn"
	case b.Route != "":
		v.Action, v.Route = "route", b.Route
	}
	if b.Notional {
		v.Counts = names.CostBillingNotional
	}
	if b.Limit.Set && b.Limit.Value > 0 {
		part := (float64(s.Spent) + float64(s.Reserved)) / float64(b.Limit.Value)
		v.Utilization = &part
	}
	return v
}

// budgetList is the answer to GET /api/budgets.
type budgetList struct {
	Budgets []budgetView `json:"budgets"`
	More    int          `json:"more"` // accounts that are left out
}

// budgetLimit is how many accounts are listed unless more are asked for.
const budgetLimit = 1000

// budgetViews returns accounts as budgets are configured, and within one those nearest their limit first; at most atMost of
// one budget.
func (m *accounts) budgetViews(atMost int, keep func(*budgetView) bool) budgetList {
	out := budgetList{Budgets: []budgetView{}}
	order, count := map[string]int{}, map[string]int{}
	for s := range m.ledger.Statuses {
		if _, ok := order[s.Budget.Name]; !ok {
			order[s.Budget.Name] = len(order)
		}
		if v := viewBudget(&s); keep(&v) {
			out.Budgets = append(out.Budgets, v)
		}
	}
	slices.SortStableFunc(out.Budgets, func(a, b budgetView) int {
		return cmp.Or(cmp.Compare(order[a.Name], order[b.Name]), cmp.Compare(b.Spent+b.Reserved, a.Spent+a.Reserved), strings.Compare(a.Subject, b.Subject))
	})
	out.Budgets = slices.DeleteFunc(out.Budgets, func(v budgetView) bool {
		count[v.Name]++
		if count[v.Name] > atMost {
			out.More++
			return true
		}
		return false
	})
	return out
}

// serveBudgets answers GET /api/budgets?name=&state=&limit=.
func (m *accounts) serveBudgets(w http.ResponseWriter, r *http.Request) {
	q, err := readQuery(r, "name", "scope", "subject", "state", "limit")
	if err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	atMost, err := readLimit(q, budgetLimit, 100_000)
	if err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	if state := q.Get("state"); state != "" && !slices.Contains([]string{names.BudgetStateOK, names.BudgetStateWarn, names.BudgetStateExhausted}, state) {
		refuseJSON(w, http.StatusBadRequest, fmt.Errorf("state: want ok, warn or exhausted, got %q", state))
		return
	}
	is := func(key, v string) bool { return !q.Has(key) || q.Get(key) == v }
	writeJSON(w, http.StatusOK, m.budgetViews(atMost, func(v *budgetView) bool {
		return is("name", v.Name) && is("scope", v.Scope) && is("subject", v.Subject) && is("state", v.State)
	}))
}

// readQuery returns the parameters of r, each of which is one of known and given once.
func readQuery(r *http.Request, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the query cannot be read: %w", err)
	}
	for key, values := range q {
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("unknown parameter %q; known: %s", key, strings.Join(known, ", "))
		}
		if len(values) > 1 {
			return nil, fmt.Errorf("parameter %q is given twice", key)
		}
	}
	return q, nil
}
