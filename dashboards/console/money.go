package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/store"
)

// span is a stretch of time that the money view shows, in steps of a length that reads well.
type span struct {
	name       string
	long, step time.Duration
}

var spans = [...]span{
	{"1h", time.Hour, time.Minute}, {"24h", 24 * time.Hour, time.Hour}, {"7d", 7 * 24 * time.Hour, 6 * time.Hour}, {"30d", 30 * 24 * time.Hour, 24 * time.Hour},
}

// spanOf returns the span called name; "": a day.
func spanOf(q *query) span {
	name := orWord(q.text("window"), "24h")
	var known []string
	for _, s := range spans {
		if s.name == name {
			return s
		}
		known = append(known, s.name)
	}
	q.fail("window", "one of "+strings.Join(known, ", "))
	return spans[1]
}

// moneySeries is how many series a chart shows.
const moneySeries = 8

// moneyView is the answer to GET /api/money.
type moneyView struct {
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Step   float64   `json:"step_seconds"`
	Source string    `json:"source"` // where the figures come from
	store.Spend
	// Classes says where the classes of the total cost come from, which not every source has.
	Classes string        `json:"classes_source"`
	Budgets []Budget      `json:"budgets"`
	Alerts  []store.Alert `json:"alerts"` // newest first
}

// serveMoney answers GET /api/money.
func (c *Console) serveMoney(w http.ResponseWriter, r *http.Request) {
	q := readQuery(r, []string{"by", "window"})
	s := spanOf(q)
	by := orWord(q.text("by"), store.SpendByModel)
	if q.err == nil && !slices.Contains(store.SpendDimensions, by) {
		q.err = fmt.Errorf("by: want one of %s, got %q", strings.Join(store.SpendDimensions, ", "), by)
	}
	if q.err != nil {
		refuse(w, http.StatusBadRequest, q.err)
		return
	}
	until := c.cfg.Now().UTC().Truncate(s.step).Add(s.step)
	v := moneyView{By: by, Since: until.Add(-s.long), Until: until, Step: s.step.Seconds(), Source: c.cfg.Source, Budgets: []Budget{}, Alerts: c.cfg.Store.Alerts(100)}
	if err := c.spend(r.Context(), &v, store.SpendQuery{Since: v.Since, Until: v.Until, Step: s.step, By: by, Series: moneySeries}); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	if v.Series == nil {
		v.Series = []store.SpendSeries{}
	}
	if c.cfg.Budgets != nil {
		if list := c.cfg.Budgets(); list != nil {
			v.Budgets = list
		}
	}
	writeJSON(w, http.StatusOK, v)
}

// spend fills in what was spent. The classes are the store's where the source does not tell them apart.
func (c *Console) spend(ctx context.Context, v *moneyView, q store.SpendQuery) (err error) {
	v.Classes = v.Source
	if v.Spend, err = c.cfg.Spending.Spend(ctx, q); err != nil {
		return err
	}
	t := &v.Total
	if t.InputCost+t.ReadCost+t.WriteCost+t.OutputCost+t.OtherCost > 0 || t.Cost == 0 {
		return nil
	}
	recent, err := c.cfg.Store.Spend(ctx, q)
	if err != nil {
		return err
	}
	of := &recent.Total
	v.Classes = recentSource
	t.InputCost, t.ReadCost, t.WriteCost, t.OutputCost, t.OtherCost = of.InputCost, of.ReadCost, of.WriteCost, of.OutputCost, of.OtherCost
	return nil
}

// statsWindow is what the health view looks back on.
const statsWindow = time.Hour

type targetStats struct {
	store.TargetStats
	P50  float64 `json:"p50_ms"`
	P95  float64 `json:"p95_ms"`
	TTFT float64 `json:"ttft_ms"` // 0: nothing was streamed
}

type overheadView struct {
	Requests int     `json:"requests"`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
	P99      float64 `json:"p99_ms"`
}

// serveHealth answers GET /api/health.
func (c *Console) serveHealth(w http.ResponseWriter, r *http.Request) {
	if q := readQuery(r, nil); q.err != nil {
		refuse(w, http.StatusBadRequest, q.err)
		return
	}
	var h Health
	if c.cfg.Health != nil {
		h = c.cfg.Health()
	}
	if h.Targets == nil {
		h.Targets = []Target{}
	}
	targets, overhead := c.cfg.Store.Recent(c.cfg.Now().Add(-statsWindow))
	answer := struct {
		Health
		Recent   []targetStats `json:"recent"` // of the last hour
		Overhead overheadView  `json:"overhead"`
		Store    store.Status  `json:"store"`
	}{h, make([]targetStats, 0, len(targets)), overheadView{overhead.Requests, millis(overhead.P50), millis(overhead.P95), millis(overhead.P99)}, c.cfg.Store.Status()}
	for _, t := range targets {
		answer.Recent = append(answer.Recent, targetStats{t, millis(t.P50), millis(t.P95), millis(t.TTFT)})
	}
	writeJSON(w, http.StatusOK, answer)
}
