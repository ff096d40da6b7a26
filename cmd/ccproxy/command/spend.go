package command

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// spendCommand is `ccproxy spend`.
func spendCommand(a *app) *cobra.Command {
	var f spendFlags
	cmd := &cobra.Command{
		Use:   "spend",
		Short: "Show what has been spent, and on what",
		Long: `Adds up the ledger's lines, one for each attempt to have a request answered. COST is what providers bill; NOTIONAL what
subscriptions used, at list price, which nobody bills. SAVED is how much dearer the same requests would have been on the
models that clients named; a minus says that they would have been cheaper. Requests whose price is not known are counted
apart: their cost is in no sum.`,
		Example: `  ccproxy spend
  ccproxy spend --by key --since 30d
  ccproxy spend --by day --model 'claude-opus-*' --since 2026-11-01
  ccproxy spend --by tag --tag job --csv > jobs.csv
  ccproxy spend explain 0199f0a2-6c1e-7d3a-9b1e-3f1f4a5b6c7d`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.asJSON && f.asCSV {
				return usage(fmt.Errorf("want one of --json and --csv"))
			}
			q, err := f.query(cmd, time.Now())
			if err != nil {
				return usage(err)
			}
			return a.withAPI(cmd.Context(), forRecords, func(c *api) error {
				var r spendReport
				if err := c.ask(cmd.Context(), http.MethodGet, "/api/spend", q, nil, &r); err != nil {
					return err
				}
				switch {
				case f.asJSON:
					return printJSON(a.out, r)
				case f.asCSV:
					return printSpendCSV(a.out, &r)
				}
				return printSpend(a.out, &r, time.Local)
			})
		},
	}
	f.add(cmd)
	cmd.AddCommand(spendExplainCommand(a))
	return cmd
}

// spendFlags are those of spend.
type spendFlags struct {
	by, since, until string
	filters          map[string]*string // :: name of flag and parameter → value
	limit            int
	asJSON, asCSV    bool
}

// spendFilters are the lines that can be picked, by the names of parameters and flags.
var spendFilters = []struct{ name, help string }{
	{"model", "only this `model`, as it was sent; \"*\" stands for anything"},
	{"key", "only this `key`, by name or id"},
	{"team", "only this `team`"},
	{"label", "only this `label`"},
	{"provider", "only this `provider`"},
	{"user", "only this end `user`"},
	{"session", "only this `session`"},
	{"tag", "only this `tag`: name=value, or name"},
	{"request", "only the request of this `id`"},
}

func (f *spendFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.by, "by", "model", "add up by `what`: "+strings.Join(spendDimensions, ", ")+", or tag:NAME for a tag's values")
	fl.StringVar(&f.since, "since", "7d", "from then on: a span back from now such as 7d or 12h, a `date`, or a time")
	fl.StringVar(&f.until, "until", "", "up to then (default now); of a `date` its first moment")
	f.filters = map[string]*string{}
	for _, filter := range spendFilters {
		f.filters[filter.name] = fl.String(filter.name, "", filter.help)
	}
	fl.IntVar(&f.limit, "limit", 0, "show the `N` dearest rows (default all)")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	fl.BoolVar(&f.asCSV, "csv", false, "print CSV")
	complete(cmd, "by", spendDimensions...)
}

// query turns the flags into parameters of the API. Dates are of this machine's time zone.
func (f *spendFlags) query(cmd *cobra.Command, now time.Time) (url.Values, error) {
	if !spendable(f.by) {
		return nil, fmt.Errorf("--by %s: want %s, or tag:NAME", f.by, strings.Join(spendDimensions, ", "))
	}
	q := url.Values{"by": {f.by}, "zone": {zoneName(now)}}
	if err := setMoments(q, map[string]string{"since": f.since, "until": f.until}, now); err != nil {
		return nil, err
	}
	for name, value := range f.filters {
		if cmd.Flags().Changed(name) {
			q.Set(name, *value)
		}
	}
	if f.limit < 0 {
		return nil, fmt.Errorf("--limit %d: want a number above 0", f.limit)
	}
	if f.limit > 0 {
		q.Set("limit", strconv.Itoa(f.limit))
	}
	return q, nil
}

// setMoments sets parameters that are spans back from now, dates of this machine's time zone, or times; "" sets none.
func setMoments(q url.Values, list map[string]string, now time.Time) error {
	for name, text := range list {
		if text == "" {
			continue
		}
		at, err := parseMoment(text, now)
		if err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
		q.Set(name, at.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// zoneName is the IANA name of now's zone as far as it has one, else its offset: days begin and end in it.
func zoneName(now time.Time) string {
	name := now.Location().String()
	if _, err := time.LoadLocation(name); err == nil && name != "Local" {
		return name
	}
	return now.Format("-07:00")
}

// printSpend prints the report as a table.
func printSpend(out io.Writer, r *spendReport, zone *time.Location) error {
	if r.Total.Requests == 0 {
		_, err := fmt.Fprintf(out, "nothing was spent between %s and %s\n", minute(r.Since, zone), minute(r.Until, zone))
		return err
	}
	notional := r.Total.Notional != 0
	head := []string{strings.ToUpper(r.By), "REQUESTS", "IN", "CACHED", "OUT", "COST"}
	if notional {
		head = append(head, "NOTIONAL")
	}
	table := [][]string{append(head, "SHARE", "SAVED")}
	all := r.Total.Cost + r.Total.Notional
	row := func(name string, v *spendRow) {
		cells := []string{name, formatCount(v.Requests), formatCount(v.Tokens.Input + v.Tokens.CacheWrite), formatCount(v.Tokens.CacheRead), formatCount(v.Tokens.Output), v.Cost.short()}
		if notional {
			cells = append(cells, v.Notional.short())
		}
		table = append(table, append(cells, percent(v.Cost+v.Notional, all), savedWords(v.Saving)))
	}
	for i := range r.Rows {
		row(orElse(r.Rows[i].Name, "(none)"), &r.Rows[i])
	}
	row("total", &r.Total)
	if err := writeTable(out, "", "l"+strings.Repeat("r", len(table[0])-1), table); err != nil {
		return err
	}
	_, err := io.WriteString(out, spendNotes(r, zone))
	return err
}

// spendNotes is what stands below the table.
func spendNotes(r *spendReport, zone *time.Location) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s to %s", minute(r.Since, zone), minute(r.Until, zone))
	if r.More > 0 {
		fmt.Fprintf(&b, "; %d more rows are in the total", r.More)
	}
	b.WriteString("\n")
	if r.Repeated {
		fmt.Fprintf(&b, "A request with several tags stands in several rows; the total has it once.\n")
	}
	if n := r.Total.Unpriced; n > 0 {
		fmt.Fprintf(&b, "%s attempts have no known price and are in no sum: %s. Give their models a price under prices.\n", formatCount(n), strings.Join(r.UnpricedModels, ", "))
	}
	if n := r.Total.Estimated; n > 0 {
		fmt.Fprintf(&b, "%s attempts are estimated: their providers did not report all that was used.\n", formatCount(n))
	}
	return b.String()
}

func savedWords(saving *usd) string {
	if saving == nil {
		return "-"
	}
	return saving.short()
}

func minute(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return "the beginning"
	}
	return t.In(zone).Format("2006-01-02 15:04")
}

// printSpendCSV prints the rows, without the total: who reads them adds them up. Amounts are exact.
func printSpendCSV(out io.Writer, r *spendReport) error {
	w := csv.NewWriter(out)
	_ = w.Write([]string{r.By, "requests", "attempts", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens",
		"reasoning_tokens", "cost_usd", "notional_usd", "compared_usd", "baseline_usd", "unpriced", "estimated"}) // the error comes with Flush
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	for i := range r.Rows {
		v := &r.Rows[i]
		t := &v.Tokens
		_ = w.Write([]string{csvText(v.Name), n(v.Requests), n(v.Attempts), n(t.Input), n(t.CacheRead), n(t.CacheWrite), n(t.Output), n(t.Reasoning),
			v.Cost.String(), v.Notional.String(), v.Compared.String(), v.Baseline.String(), n(v.Unpriced), n(v.Estimated)})
	}
	w.Flush()
	return w.Error()
}

// csvText keeps a spreadsheet from taking a client's word for a formula.
func csvText(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
