package command

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/price"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func spendExplainCommand(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain ID",
		Short: "Show how the cost of a request comes about, term by term",
		Long: `ID is a request's (the header X-CCProxy-Request-Id), an attempt's or a trace's. The sum is worked out anew, from the usage and
the price that the ledger has kept with the request: whatever prices are now, it is the same.`,
		Example: `  ccproxy spend explain 0199f0a2-6c1e-7d3a-9b1e-3f1f4a5b6c7d`,
		Args:    func(cmd *cobra.Command, args []string) error { return usage(cobra.ExactArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAPI(cmd.Context(), forRecords, func(c *api) error {
				var e explanation
				if err := c.ask(cmd.Context(), http.MethodGet, "/api/spend/explain/"+url.PathEscape(strings.ToLower(args[0])), nil, nil, &e); err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.out, e)
				}
				return printExplanation(a.out, &e, time.Local)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printExplanation(out io.Writer, e *explanation, zone *time.Location) error {
	request := ""
	var wrong error
	for i := range e.Attempts {
		v := &e.Attempts[i]
		if v.Request != request {
			request = v.Request
			if i > 0 {
				_, _ = fmt.Fprintln(out) // the error comes with what follows
			}
			if _, err := io.WriteString(out, requestWords(v, zone)); err != nil {
				return err
			}
		}
		if err := printAttempt(out, v); err != nil {
			return err
		}
		if v.Recomputed != nil && v.Cost != nil && *v.Recomputed != *v.Cost {
			wrong = &exitError{1, fmt.Errorf("attempt %s: the ledger has %s, but its terms come to %s: the line was altered; see `ccproxy ledger verify`", v.ID, v.Cost, v.Recomputed)}
		}
	}
	if len(e.Attempts) > 1 {
		words := "not known"
		if e.Cost != nil {
			words = "$" + e.Cost.String()
		}
		if _, err := fmt.Fprintf(out, "\ncost of all attempts  %s\n", words); err != nil {
			return err
		}
	}
	return wrong
}

// requestWords says which request it is, and whose.
func requestWords(v *attemptCost, zone *time.Location) string {
	var b strings.Builder
	fmt.Fprintf(&b, "request  %s\n", v.Request)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-8s %s\n", name, value)
		}
	}
	row("trace", v.Trace)
	row("time", v.Time.In(zone).Format("2006-01-02 15:04:05 MST"))
	row("key", orElse(v.Key, v.KeyID))
	row("team", v.Team)
	row("user", v.User)
	row("session", v.Session)
	label := v.Label
	if v.Rule != "" {
		label += " (rule " + v.Rule + ")"
	}
	row("label", label)
	return b.String()
}

func printAttempt(out io.Writer, v *attemptCost) error {
	title := fmt.Sprintf("attempt %d", v.Attempt)
	model := v.Provider + "/" + v.Model
	if v.AnsweredModel != "" && v.AnsweredModel != v.Model {
		model += ", answered by " + v.AnsweredModel
	}
	if v.OriginalModel != "" && v.OriginalModel != v.Model {
		model += ", asked for " + v.OriginalModel
	}
	if _, err := fmt.Fprintf(out, "\n%s  %s: %s\n", title, model, outcomeWords(v)); err != nil {
		return err
	}
	if err := printTerms(out, v); err != nil {
		return err
	}
	_, err := io.WriteString(out, attemptNotes(v))
	return err
}

func outcomeWords(v *attemptCost) string {
	words := v.Outcome
	if v.ErrorType != "" {
		words += ", " + v.ErrorType
	}
	if v.Status != 0 && v.Status != http.StatusOK {
		words += fmt.Sprintf(", status %d", v.Status)
	}
	return words
}

// printTerms prints the sum as one would write it by hand.
func printTerms(out io.Writer, v *attemptCost) error {
	if len(v.Terms) == 0 {
		return nil
	}
	entry := v.Terms[0].Entry
	var rows [][]string
	for _, t := range v.Terms {
		name := t.Class
		if t.Entry != entry {
			name += " of " + t.Entry
		}
		if t.Schedule != "" {
			name += " (" + scheduleWords(t.Schedule) + ")"
		}
		rows = append(rows, []string{name, formatCount(t.Count), priceWords(&t, v.CostSource), "= $" + t.Amount.String()})
	}
	if v.Recomputed != nil {
		rows = append(rows, []string{"total", "", "", "= $" + v.Recomputed.String()})
	}
	return writeTable(out, "  ", "lrll", rows)
}

func priceWords(t *costTerm, source string) string {
	switch {
	case t.Price == "" && source != names.CostSourceProvider:
		return "× what passthrough_price says"
	case t.Price == "":
		return "× what the provider says it costs"
	case t.Class == price.ClassNames()[gateway.CostWebSearch]:
		return "× $" + t.Price + " a call"
	case t.Num != t.Den:
		return fmt.Sprintf("× $%s / 1,000,000 × %d/%d", t.Price, t.Num, t.Den)
	}
	return "× $" + t.Price + " / 1,000,000"
}

// scheduleWords spells out a price book's tier, such as "priority>200000".
func scheduleWords(schedule string) string {
	tier, above, found := strings.Cut(schedule, ">")
	if !found {
		return tier
	}
	words := "prompt over " + strings.TrimPrefix(above, "=") + " tokens"
	if tier != "" {
		words = tier + ", " + words
	}
	return words
}

// attemptNotes says where the figures come from, and what they are compared with.
func attemptNotes(v *attemptCost) string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	switch {
	case v.Problem != "":
		row("terms", "not known: %s", v.Problem)
		row("cost", "$%s, as the ledger has it", v.Cost)
	case v.Cost == nil && v.PriceStatus == names.PriceStatusUnknown:
		row("cost", "not known: there is no price of %s/%s; say one under prices", v.Provider, v.Model)
	case v.Cost == nil:
		row("cost", "none: nothing is known to have been used")
	case v.Billing == names.CostBillingFree:
		row("cost", "free: billing of %s says so", v.Provider)
	}
	if v.Cost != nil && v.PriceVersion != "" {
		row("price", "%s, of %s%s", strings.Join(termEntries(v), ", "), v.PriceVersion, foundWords(v))
	}
	if v.Billing == names.CostBillingNotional {
		row("billing", "notional: a subscription covers it, and nobody bills it")
	}
	row("usage", "%s", usageWords(v))
	if tier := tierWords(v); tier != "" {
		row("tier", "%s", tier)
	}
	if v.Baseline != nil && v.Cost != nil {
		row("baseline", "$%s on %s, which was asked for: %s", v.Baseline, v.OriginalModel, savingWords(*v.Baseline-*v.Cost))
	}
	if v.Held != 0 {
		row("held", "$%s before it was sent", v.Held)
	}
	return b.String()
}

func termEntries(v *attemptCost) []string {
	var out []string
	for _, t := range v.Terms {
		if len(out) == 0 || out[len(out)-1] != t.Entry {
			out = append(out, t.Entry)
		}
	}
	if out == nil {
		out = []string{v.Provider + "/" + v.Model}
	}
	return out
}

func foundWords(v *attemptCost) string {
	if words := foundBy[v.PriceStatus]; words != "" {
		return " (" + words + ")"
	}
	return ""
}

func usageWords(v *attemptCost) string {
	words := map[string]string{
		names.UsageSourceProvider: "as the provider reports it", names.UsageSourcePartial: "as far as the provider had reported it when the stream was cut",
		names.UsageSourceEstimated: "estimated here: the provider did not report it",
	}[v.UsageSource]
	words = orElse(words, "none is known")
	if v.Estimated {
		words += "; the cost is an estimate"
	}
	return words
}

func tierWords(v *attemptCost) string {
	var parts []string
	for _, s := range []string{v.ServiceTier, v.Speed, v.Geo} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

func savingWords(saving usd) string {
	switch {
	case saving > 0:
		return "$" + saving.String() + " saved"
	case saving < 0:
		return "$" + (-saving).String() + " more"
	}
	return "the same"
}
