package command

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/gateway/price"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// lineView is a line of the ledger: what one attempt used and cost.
type lineView struct {
	ID            string            `json:"id"`
	Request       string            `json:"request_id"`
	Trace         string            `json:"trace_id,omitempty"`
	Node          string            `json:"node,omitempty"`
	Time          time.Time         `json:"time"`
	DurationMS    float64           `json:"duration_ms"`
	Attempt       int               `json:"attempt"`
	KeyID         string            `json:"key_id,omitempty"`
	Key           string            `json:"key,omitempty"`
	Team          string            `json:"team,omitempty"`
	User          string            `json:"user,omitempty"`
	Session       string            `json:"session,omitempty"`
	Tags          map[string]string `json:"tags,omitempty"`
	Dialect       string            `json:"dialect"`
	Label         string            `json:"label,omitempty"`
	Rule          string            `json:"rule,omitempty"`
	OriginalModel string            `json:"original_model,omitempty"`
	Model         string            `json:"model"`
	AnsweredModel string            `json:"answered_model,omitempty"`
	Provider      string            `json:"provider"`
	Streamed      bool              `json:"streamed"`
	Outcome       string            `json:"outcome"`
	ErrorType     string            `json:"error_type,omitempty"`
	Status        int               `json:"status,omitempty"`
	Tokens        spendTokens       `json:"tokens"`
	UsageSource   string            `json:"usage_source,omitempty"`
	Speed         string            `json:"speed,omitempty"`
	Geo           string            `json:"geo,omitempty"`
	ServiceTier   string            `json:"service_tier,omitempty"`
	Estimated     bool              `json:"estimated"`
	Cost          *usd              `json:"cost_usd"` // null: not known
	CostSource    string            `json:"cost_source,omitempty"`
	Billing       string            `json:"billing,omitempty"`
	PriceStatus   string            `json:"price_status,omitempty"`
	PriceVersion  string            `json:"price_version,omitempty"`
	PriceEntry    string            `json:"price_entry,omitempty"`
	Baseline      *usd              `json:"baseline_usd"` // null: not known
	Held          usd               `json:"held_usd"`
}

func viewLine(l *store.Line) lineView {
	u := &l.Usage
	v := lineView{
		ID: l.ID, Request: l.Exchange, Trace: l.Trace, Node: l.Node, Time: l.Time.UTC(), DurationMS: float64(l.Duration) / 1e6, Attempt: l.Attempt,
		KeyID: l.KeyID, Key: l.KeyAlias, Team: l.Team, User: l.User, Session: l.Session, Tags: l.Tags,
		Dialect: l.Dialect, Label: l.Label, Rule: l.Rule, OriginalModel: l.OriginalModel, Model: l.Model, AnsweredModel: l.AnsweredModel, Provider: l.Provider,
		Streamed: l.Streamed, Outcome: l.Outcome, ErrorType: l.ErrorType, Status: l.Status, Tokens: viewTokens(u),
		UsageSource: u.Source, Speed: u.Speed, Geo: u.Geo, ServiceTier: l.ServiceTier, Estimated: l.Estimated,
		CostSource: l.Cost.Source, Billing: l.Cost.Billing, PriceStatus: l.Cost.Status, PriceVersion: l.Cost.PriceVersion, PriceEntry: l.Cost.Entry,
		Baseline: some(l.Baseline), Held: usd(l.Held),
	}
	if l.Cost.Known() {
		v.Cost = some(gateway.Some(l.Cost.Total))
	}
	return v
}

func viewTokens(u *gateway.Usage) spendTokens {
	return spendTokens{
		Input: u.InputTokens() - u.CacheRead - u.CacheWrite - u.CacheWrite1h, CacheRead: u.CacheRead, CacheWrite: u.CacheWrite + u.CacheWrite1h,
		Output: u.OutputTokens(), Reasoning: u.Reasoning,
	}
}

// readLines reads the parameters that pick lines, and one more.
func readLines(r *http.Request, more string) (url.Values, store.Filter, error) {
	q, err := readQuery(r, append([]string{more}, spendParameters...)...)
	if err != nil {
		return nil, store.Filter{}, err
	}
	f, _, err := lineFilter(q, time.Now())
	return q, f, err
}

// serveLines answers GET /api/spend/lines?limit= and what picks lines: the newest, newest first.
func (m *accounts) serveLines(w http.ResponseWriter, r *http.Request) {
	q, f, err := readLines(r, "limit")
	if err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	limit, err := readLimit(q, 100, 10_000)
	if err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	lines := []lineView{}
	for l, err := range m.store.Lines(r.Context(), f, limit) {
		if err != nil {
			refuseJSON(w, http.StatusInternalServerError, err)
			return
		}
		lines = append(lines, viewLine(l))
	}
	writeJSON(w, http.StatusOK, map[string]any{"lines": lines})
}

// explanation is the answer to GET /api/spend/explain/{id}: how the cost of a request comes about.
type explanation struct {
	Attempts []attemptCost `json:"attempts"`
	// Cost is the sum of the attempts; null when one of them has a price that is not known.
	Cost *usd `json:"cost_usd"`
}

// attemptCost is a line with the terms its cost is the sum of.
type attemptCost struct {
	lineView
	Terms []costTerm `json:"terms"`
	// Recomputed is the sum of the terms, which is the cost unless the line was altered; null without terms.
	Recomputed *usd   `json:"recomputed_usd"`
	Problem    string `json:"problem,omitempty"` // why there are no terms
}

// costTerm is a product: count × price × factor, rounded up to the nano-dollar.
type costTerm struct {
	Class    string `json:"class"`
	Entry    string `json:"entry,omitempty"`    // whose price, as the price book calls it
	Schedule string `json:"schedule,omitempty"` // tier and threshold of the price
	Count    int64  `json:"count"`
	Price    string `json:"price"` // USD per million tokens, or a call
	Num      int64  `json:"factor_numerator"`
	Den      int64  `json:"factor_denominator"`
	Amount   usd    `json:"amount_usd"`
}

func viewTerm(t price.Term) costTerm {
	v := costTerm{Class: "undivided", Entry: t.Entry, Schedule: t.Schedule, Count: t.Count, Num: t.Factor.Num, Den: t.Factor.Den, Amount: usd(t.Amount)}
	if list := price.ClassNames(); int(t.Class) < len(list) {
		v.Class, v.Price = list[t.Class], price.FormatRate(t.Class, t.Price)
	}
	return v
}

func viewExplanation(list []ledger.Explanation) explanation {
	out := explanation{Attempts: []attemptCost{}}
	var sum gateway.NanoUSD
	known, unpriced := false, false
	for i := range list {
		e := &list[i]
		a := attemptCost{lineView: viewLine(&e.Line), Terms: []costTerm{}}
		for _, t := range e.Terms {
			a.Terms = append(a.Terms, viewTerm(t))
		}
		switch c := &e.Line.Cost; {
		case c.Known() && e.Err == nil && (len(e.Terms) > 0 || c.Billing == names.CostBillingFree):
			a.Recomputed = some(gateway.Some(e.Total))
		case c.Known() && e.Err != nil:
			a.Problem = e.Err.Error()
		}
		known = known || e.Line.Cost.Known()
		unpriced = unpriced || e.Line.Cost.Unpriced()
		sum += e.Line.Cost.Total
		out.Attempts = append(out.Attempts, a)
	}
	if known && !unpriced {
		out.Cost = some(gateway.Some(sum))
	}
	return out
}

var traceID = regexp.MustCompile("^[0-9a-f]{32}$")

// serveExplain answers GET /api/spend/explain/{id}, of a request, an attempt or a trace.
func (m *accounts) serveExplain(w http.ResponseWriter, r *http.Request) {
	if _, err := readQuery(r); err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	id := r.PathValue("id")
	list, err := m.explain(r.Context(), id)
	if err != nil {
		refuseJSON(w, http.StatusInternalServerError, err)
		return
	}
	if len(list) == 0 {
		refuseJSON(w, http.StatusNotFound, fmt.Errorf("the ledger has no request, attempt or trace %q", id))
		return
	}
	writeJSON(w, http.StatusOK, viewExplanation(list))
}

// explain returns the attempts of a request, or of all requests of a trace, oldest first.
func (m *accounts) explain(ctx context.Context, id string) ([]ledger.Explanation, error) {
	if !traceID.MatchString(id) {
		return ledger.Explain(ctx, m.store, id)
	}
	var requests []string // newest first
	for l, err := range m.store.Lines(ctx, store.Filter{Trace: id}, 1000) {
		if err != nil {
			return nil, err
		}
		if !slices.Contains(requests, l.Exchange) {
			requests = append(requests, l.Exchange)
		}
	}
	var out []ledger.Explanation
	for _, request := range slices.Backward(requests) {
		list, err := ledger.Explain(ctx, m.store, request)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// unhurried lifts the server's deadline for reading from an answer that takes its time: it would end the request's context.
func unhurried(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // in this process there is none
}

// serveExport answers GET /api/spend/export?format=jsonl|csv and what picks lines, oldest first.
func (m *accounts) serveExport(w http.ResponseWriter, r *http.Request) {
	q, f, err := readLines(r, "format")
	if err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	types := map[string]string{store.FormatJSONL: "application/x-ndjson", store.FormatCSV: "text/csv; charset=utf-8"}
	format := orElse(q.Get("format"), store.FormatJSONL)
	if types[format] == "" {
		refuseJSON(w, http.StatusBadRequest, fmt.Errorf("format: want jsonl or csv, got %q", format))
		return
	}
	unhurried(w)
	out := &lazyWriter{w: w, contentType: types[format]}
	if err := m.store.Export(r.Context(), out, format, f); err != nil {
		m.abort(w, out, "export", err)
		return
	}
	out.begin()
}

// lazyWriter sets the header when there is something to write, so that an error before that can have one of its own.
type lazyWriter struct {
	w           http.ResponseWriter
	contentType string
	begun       bool
}

func (l *lazyWriter) begin() {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", l.contentType)
	}
}

// Write implements io.Writer.
func (l *lazyWriter) Write(p []byte) (int, error) {
	l.begin()
	return l.w.Write(p)
}

var _ io.Writer = (*lazyWriter)(nil)

// abort ends an answer that failed: by its status if that is not sent yet, else by breaking it off.
func (m *accounts) abort(w http.ResponseWriter, out *lazyWriter, what string, err error) {
	if !out.begun {
		refuseJSON(w, http.StatusInternalServerError, err)
		return
	}
	m.log.Warn("an answer of the admin port was broken off", "what", what, "error", err)
	panic(http.ErrAbortHandler)
}
