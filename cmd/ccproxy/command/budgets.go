package command

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// budgetsCommand is `ccproxy budgets`.
func budgetsCommand(a *app) *cobra.Command {
	var asJSON bool
	var name, state string
	var limit int
	cmd := &cobra.Command{
		Use:   "budgets",
		Short: "Show what is spent of each budget, and when it begins anew",
		Long: `A bar shows what is spent (█) and what requests that run may still cost (▒), of the limit. The forecast is what will be
spent when the window ends, at the rate so far.`,
		Example: `  ccproxy budgets
  ccproxy budgets --name each-key --limit 100
  ccproxy budgets --state exhausted --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usage(fmt.Errorf("--limit %d: want a number above 0", limit))
			}
			if _, known := budgetStyles[state]; state != "" && !known {
				return usage(fmt.Errorf("--state %s: want ok, warn or exhausted", state))
			}
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if name != "" {
				q.Set("name", name)
			}
			if state != "" {
				q.Set("state", state)
			}
			return a.withAPI(cmd.Context(), forBudgets, func(c *api) error {
				var list budgetList
				if err := c.ask(cmd.Context(), http.MethodGet, "/api/budgets", q, nil, &list); err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.out, list)
				}
				return printBudgets(a.out, list, len(q) > 1, a.colour(a.out), time.Now())
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "only the budget of this `name`")
	cmd.Flags().StringVar(&state, "state", "", "only those in this `state`: ok, warn, exhausted")
	cmd.Flags().IntVar(&limit, "limit", 20, "the most subjects of one budget")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	complete(cmd, "state", names.BudgetStateOK, names.BudgetStateWarn, names.BudgetStateExhausted)
	return cmd
}

// budgetStyles are the colours of the states.
var budgetStyles = map[string]string{names.BudgetStateOK: "32", names.BudgetStateWarn: "33", names.BudgetStateExhausted: "31"}

func printBudgets(out io.Writer, list budgetList, filtered, colour bool, now time.Time) error {
	if len(list.Budgets) == 0 {
		words := "no budgets; see `budgets` in ccproxy.yaml, or `ccproxy keys create --budget`"
		if filtered {
			words = "no such budget"
		}
		_, err := fmt.Fprintln(out, words)
		return err
	}
	rows := make([][]string, 0, len(list.Budgets))
	widths := make([]int, 5)
	last := ""
	for i := range list.Budgets {
		v := &list.Budgets[i]
		row := []string{v.Name, subjectWords(v), budgetBar(v), spentWords(v), windowWords(v, now)}
		if v.Name == last {
			row[0] = ""
		}
		last = v.Name
		for c, cell := range row {
			widths[c] = max(widths[c], utf8.RuneCountInString(cell))
		}
		rows = append(rows, row)
	}
	var b strings.Builder
	for i, row := range rows {
		for c, cell := range row[:4] {
			padded := cell + strings.Repeat(" ", widths[c]-utf8.RuneCountInString(cell))
			if c == 2 && colour {
				padded = "\x1b[" + budgetStyles[list.Budgets[i].State] + "m" + padded + "\x1b[0m"
			}
			b.WriteString(padded + "  ")
		}
		b.WriteString(row[4] + "\n")
	}
	if list.More > 0 {
		fmt.Fprintf(&b, "and %d more: --limit N shows them\n", list.More)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// subjectWords says whose account it is.
func subjectWords(v *budgetView) string {
	if v.Scope == "global" {
		return "all"
	}
	return v.Scope + " " + orElse(v.Subject, v.Match)
}

const budgetBarWidth = 20

// budgetBar draws spent and reserved of the limit.
func budgetBar(v *budgetView) string {
	if v.Limit == nil {
		return strings.Repeat("·", budgetBarWidth) + "    -"
	}
	if *v.Limit == 0 {
		return strings.Repeat("█", budgetBarWidth) + " 100 %"
	}
	part := func(n usd) int {
		return max(0, min(budgetBarWidth, int(float64(n)/float64(*v.Limit)*budgetBarWidth+0.5)))
	}
	full := part(v.Spent + v.Reserved)
	spent := min(part(v.Spent), full)
	if v.Spent > 0 && full > 0 {
		spent = max(1, spent)
	}
	bar := strings.Repeat("█", spent) + strings.Repeat("▒", full-spent) + strings.Repeat("░", budgetBarWidth-full)
	return fmt.Sprintf("%s %3.0f %%", bar, 100**v.Utilization)
}

func spentWords(v *budgetView) string {
	s := v.Spent.short()
	if v.Limit != nil {
		s += " of " + v.Limit.short()
	}
	if v.Reserved > 0 {
		s += ", " + v.Reserved.short() + " reserved"
	}
	return s
}

// windowWords says for how long, what becomes of it, and what happens at the limit.
func windowWords(v *budgetView, now time.Time) string {
	parts := []string{budgetWindow(v.Window)}
	if !v.Resets.IsZero() {
		zone, err := time.LoadLocation(v.Timezone)
		if err != nil {
			zone = time.UTC
		}
		parts = append(parts, fmt.Sprintf("resets %s (in %s)", v.Resets.In(zone).Format("2006-01-02 15:04 MST"), roughly(v.Resets.Sub(now))))
	}
	if v.Forecast != nil {
		words := "forecast " + v.Forecast.short()
		if v.Limit != nil && *v.Forecast > *v.Limit {
			words += " (over)"
		}
		parts = append(parts, words)
	}
	if v.State != names.BudgetStateOK || v.Action != "deny" {
		state := v.State
		switch v.Action {
		case "warn":
			state += ", warns only"
		case "route":
			state += ", then routes to " + v.Route
		}
		parts = append(parts, state)
	}
	return strings.Join(parts, "; ")
}

func budgetWindow(window string) string {
	switch window {
	case "none":
		return "in all"
	case "minute", "hour", "day", "week", "month":
		return "a " + window
	}
	return "in " + window
}

// roughly is a span of time in its largest unit.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
