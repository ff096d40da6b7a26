package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// spendDimensions are what spend can be added up by.
var spendDimensions = []string{"model", "key", "team", "label", "session", "user", "provider", "tag", "day", "hour"}

// spendable reports whether spend can be added up by that.
func spendable(by string) bool {
	name, tag := strings.CutPrefix(by, "tag:")
	return slices.Contains(spendDimensions, by) || tag && name != ""
}

// spendReport is the answer to GET /api/spend.
type spendReport struct {
	By    string     `json:"by"`
	Since time.Time  `json:"since,omitzero"` // zero: from the beginning
	Until time.Time  `json:"until"`
	Rows  []spendRow `json:"rows"`
	More  int        `json:"more"`  // rows left out
	Total spendRow   `json:"total"` // of all rows, those left out included
	// Repeated says that a request may stand in several rows.
	Repeated       bool     `json:"repeated,omitempty"`
	UnpricedModels []string `json:"unpriced_models"`
}

// spendRow is a sum of lines.
type spendRow struct {
	Name     string      `json:"name"`
	Requests int64       `json:"requests"`
	Attempts int64       `json:"attempts"`
	Tokens   spendTokens `json:"tokens"`
	Cost     usd         `json:"cost_usd"`
	Notional usd         `json:"notional_usd"`
	// Compared is the cost of what can be compared, and Baseline what the same would have cost on the models clients named.
	Compared  usd   `json:"compared_usd"`
	Baseline  usd   `json:"baseline_usd"`
	Saving    *usd  `json:"saving_usd"` // null: nothing can be compared
	Unpriced  int64 `json:"unpriced"`   // attempts without a known price
	Estimated int64 `json:"estimated"`  // attempts whose usage is estimated
}

// spendTokens are tokens by class; output includes reasoning.
type spendTokens struct {
	Input      int64 `json:"input"`
	CacheRead  int64 `json:"cache_read"`
	CacheWrite int64 `json:"cache_write"`
	Output     int64 `json:"output"`
	Reasoning  int64 `json:"reasoning"`
}

// spendParameters are those that pick lines, with since, until and zone.
var spendParameters = []string{"since", "until", "zone", "model", "original_model", "key", "team", "label", "provider", "user", "session", "tag", "request", "billing", "outcome"}

// lineFilter reads the parameters that pick lines. Spans and dates count from now, in zone.
func lineFilter(q url.Values, now time.Time) (f store.Filter, zone *time.Location, err error) {
	if zone, err = parseZone(q.Get("zone")); err != nil {
		return f, nil, fmt.Errorf("zone: %w", err)
	}
	for name, to := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if text := q.Get(name); text != "" {
			if *to, err = parseMoment(text, now.In(zone)); err != nil {
				return f, nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return f, nil, errors.New("since is not before until")
	}
	f.Model, f.OriginalModel, f.Key, f.Team, f.Label = q.Get("model"), q.Get("original_model"), q.Get("key"), q.Get("team"), q.Get("label")
	f.Provider, f.User, f.Session, f.Exchange = q.Get("provider"), q.Get("user"), q.Get("session"), q.Get("request")
	f.Billing, f.Outcome = q.Get("billing"), q.Get("outcome")
	if tag := q.Get("tag"); tag != "" {
		name, value, given := strings.Cut(tag, "=")
		if name == "" || given && value == "" {
			return f, nil, fmt.Errorf("tag: want name=value or name, got %q", tag)
		}
		f.Tags = map[string]string{name: cmp.Or(value, "*")}
	}
	return f, zone, nil
}

// parseZone reads an IANA name or an offset; "" is UTC.
func parseZone(text string) (*time.Location, error) {
	if at, err := time.Parse("-07:00", text); err == nil {
		_, offset := at.Zone()
		return time.FixedZone(text, offset), nil
	}
	zone, err := time.LoadLocation(text)
	if err != nil || text == "Local" {
		return nil, fmt.Errorf("want a name such as Europe/Berlin or an offset such as +02:00, got %q", text)
	}
	return zone, nil
}

// serveSpend answers GET /api/spend?by=&since=&until=&zone=&limit= and what picks lines.
func (m *accounts) serveSpend(w http.ResponseWriter, r *http.Request) {
	q, err := readQuery(r, append([]string{"by", "limit"}, spendParameters...)...)
	if err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	now := time.Now()
	f, zone, err := lineFilter(q, now)
	if err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	by := cmp.Or(q.Get("by"), "model")
	if !spendable(by) {
		refuseJSON(w, http.StatusBadRequest, fmt.Errorf("by: want %s, or tag:NAME, got %q", strings.Join(spendDimensions, ", "), by))
		return
	}
	limit, err := readLimit(q, 0, 1_000_000)
	if err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	report, err := m.spend(r.Context(), by, f, zone, now)
	if err != nil {
		refuseJSON(w, http.StatusInternalServerError, err)
		return
	}
	report.keep(limit)
	writeJSON(w, http.StatusOK, report)
}

// readLimit reads the parameter limit, 1 to most; usual without one.
func readLimit(q url.Values, usual, most int) (int, error) {
	text := q.Get("limit")
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("limit: want a number from 1 to %d, got %q", most, text)
	}
	return n, nil
}

// spend adds up the lines f picks.
func (m *accounts) spend(ctx context.Context, by string, f store.Filter, zone *time.Location, now time.Time) (*spendReport, error) {
	out := &spendReport{By: by, Since: f.Since, Until: cmp.Or(f.Until, now), Rows: []spendRow{}, UnpricedModels: []string{}}
	rows, err := m.spendBy(ctx, by, f, zone)
	if err != nil {
		return nil, err
	}
	out.Repeated = by == "tag"
	for i := range rows {
		out.Rows = append(out.Rows, viewSpend(rows[i].Group[0], &rows[i]))
	}
	total, err := m.store.Spend(ctx, store.Query{Filter: f})
	if err != nil {
		return nil, err
	}
	if len(total) > 0 {
		out.Total = viewSpend("", &total[0])
	}
	if out.Total.Unpriced == 0 {
		return out, nil
	}
	f.Unpriced = true
	unpriced, err := m.store.Spend(ctx, store.Query{Filter: f, By: []string{"provider", "model"}})
	if err != nil {
		return nil, err
	}
	for _, r := range unpriced {
		out.UnpricedModels = append(out.UnpricedModels, r.Group[0]+"/"+r.Group[1])
	}
	return out, nil
}

func (m *accounts) spendBy(ctx context.Context, by string, f store.Filter, zone *time.Location) ([]store.Row, error) {
	if by == "tag" {
		return m.spendByTag(ctx, f)
	}
	return m.store.Spend(ctx, store.Query{Filter: f, By: []string{by}, Location: zone})
}

// spendByTag adds up the lines of each tag, name=value: a line with several counts for each, one without for "".
func (m *accounts) spendByTag(ctx context.Context, f store.Filter) ([]store.Row, error) {
	rows := map[string]*store.Row{}              // :: tag → sum
	requests := map[string]map[string]struct{}{} // :: tag → ids
	for line, err := range m.store.Lines(ctx, f, 0) {
		if err != nil {
			return nil, err
		}
		tags := make([]string, 0, 4)
		for name, value := range line.Tags {
			tags = append(tags, name+"="+value)
		}
		if len(tags) == 0 {
			tags = append(tags, "")
		}
		for _, tag := range tags {
			if rows[tag] == nil {
				rows[tag], requests[tag] = &store.Row{Group: []string{tag}}, map[string]struct{}{}
			}
			addLine(rows[tag], line)
			requests[tag][line.Exchange] = struct{}{}
		}
	}
	out := make([]store.Row, 0, len(rows))
	for tag, row := range rows {
		row.Requests = int64(len(requests[tag]))
		out = append(out, *row)
	}
	slices.SortFunc(out, func(a, b store.Row) int {
		return cmp.Or(cmp.Compare(b.Metered+b.Notional, a.Metered+a.Notional), slices.Compare(a.Group, b.Group))
	})
	return out, nil
}

// addLine adds a line to a sum, as store.Spend does.
func addLine(r *store.Row, line *store.Line) {
	r.Attempts++
	u, n := &r.Usage, &line.Usage
	u.Input, u.CacheRead, u.CacheWrite, u.CacheWrite1h = u.Input+n.Input, u.CacheRead+n.CacheRead, u.CacheWrite+n.CacheWrite, u.CacheWrite1h+n.CacheWrite1h
	u.Output, u.Reasoning = u.Output+n.Output, u.Reasoning+n.Reasoning
	u.AudioIn, u.AudioOut, u.ImageIn, u.ImageOut = u.AudioIn+n.AudioIn, u.AudioOut+n.AudioOut, u.ImageIn+n.ImageIn, u.ImageOut+n.ImageOut
	if line.Estimated {
		r.Estimated++
	}
	if line.Cost.Unpriced() {
		r.Unpriced++
	}
	if !line.Cost.Known() {
		return
	}
	switch line.Cost.Billing {
	case names.CostBillingNotional:
		r.Notional += line.Cost.Total
	case names.CostBillingFree:
	default:
		r.Metered += line.Cost.Total
	}
	if line.Baseline.Set {
		r.Compared += line.Cost.Total
		r.Baseline += line.Baseline.Value
	}
}

func viewSpend(name string, r *store.Row) spendRow {
	v := spendRow{
		Name: name, Requests: r.Requests, Attempts: r.Attempts, Cost: usd(r.Metered), Notional: usd(r.Notional),
		Tokens:   viewTokens(&r.Usage),
		Compared: usd(r.Compared), Baseline: usd(r.Baseline), Unpriced: r.Unpriced, Estimated: r.Estimated,
	}
	if r.Baseline != 0 || r.Compared != 0 {
		v.Saving = some(gateway.Some(r.Savings()))
	}
	return v
}

// keep leaves the dearest rows, of days and hours the last ones; 0: all.
func (r *spendReport) keep(limit int) {
	if limit == 0 || len(r.Rows) <= limit {
		return
	}
	r.More = len(r.Rows) - limit
	if r.By == "day" || r.By == "hour" {
		r.Rows = r.Rows[r.More:]
		return
	}
	r.Rows = r.Rows[:limit]
}

// parseMoment reads a span back from now, a date in now's zone, or a time.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if d, err := config.ParseDuration(text); err == nil {
		if d == 0 {
			return time.Time{}, errors.New("want a span above 0")
		}
		return now.Add(-d), nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, now.Location()); err == nil {
		return day, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("want a span such as 7d or 12h, a date such as 2026-11-01, or a time such as 2026-11-01T12:00:00Z, got %q", text)
}
