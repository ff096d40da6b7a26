package store

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// The formats of Export.
const (
	FormatJSONL = "jsonl"
	FormatCSV   = "csv"
)

// Export writes the lines a filter picks, oldest first: as JSON objects, one a
// line, or as CSV with a header, where a text that begins like a formula has a
// "'" before it. Amounts are in nano-dollars; one that is not
// known is null, in CSV empty.
func (s *Store) Export(ctx context.Context, w io.Writer, format string, f Filter) error {
	s.settle(ctx)
	var write func(*Line) error
	flush := func() error { return nil }
	switch format {
	case FormatJSONL:
		write = exportJSON(w)
	case FormatCSV:
		c := csv.NewWriter(w)
		if err := c.Write(exportHeader()); err != nil {
			return fmt.Errorf("export: %w", err)
		}
		write = func(l *Line) error { return c.Write(exportRecord(l)) }
		flush = func() error { c.Flush(); return c.Error() }
	default:
		return fmt.Errorf("export: unknown format %q: it is neither %s nor %s", format, FormatJSONL, FormatCSV)
	}
	where, args := f.where()
	var failed error
	err := s.each(ctx, where+" ORDER BY l.time, l.seq", args, func(r *row) bool {
		failed = write(&r.Line)
		return failed == nil
	})
	if err != nil {
		return err
	}
	if failed == nil {
		failed = flush()
	}
	if failed != nil {
		return fmt.Errorf("export: %w", failed)
	}
	return nil
}

// exported is a line in JSON.
type exported struct {
	ID          string                     `json:"id"`
	Exchange    string                     `json:"request_id"`
	Trace       string                     `json:"trace_id,omitempty"`
	Node        string                     `json:"node,omitempty"`
	Time        time.Time                  `json:"time"`
	DurationMS  float64                    `json:"duration_ms"`
	Attempt     int                        `json:"attempt"`
	KeyID       string                     `json:"key_id,omitempty"`
	KeyAlias    string                     `json:"key_alias,omitempty"`
	Team        string                     `json:"team,omitempty"`
	User        string                     `json:"user,omitempty"`
	Session     string                     `json:"session,omitempty"`
	Tags        map[string]string          `json:"tags,omitempty"`
	Dialect     string                     `json:"dialect"`
	Label       string                     `json:"label,omitempty"`
	Rule        string                     `json:"rule,omitempty"`
	Original    string                     `json:"original_model,omitempty"`
	Model       string                     `json:"model"`
	Answered    string                     `json:"answered_model,omitempty"`
	Provider    string                     `json:"provider"`
	Streamed    bool                       `json:"streamed"`
	Usage       map[string]int64           `json:"usage"`
	Others      string                     `json:"usage_others,omitempty"`
	UsageSource string                     `json:"usage_source,omitempty"`
	Speed       string                     `json:"speed,omitempty"`
	Geo         string                     `json:"geo,omitempty"`
	ServiceTier string                     `json:"service_tier,omitempty"`
	Cost        *gateway.NanoUSD           `json:"cost_nano_usd"`
	CostClasses map[string]gateway.NanoUSD `json:"cost_classes,omitempty"`
	CostSource  string                     `json:"cost_source,omitempty"`
	Billing     string                     `json:"billing,omitempty"`
	PriceStatus string                     `json:"price_status,omitempty"`
	Price       string                     `json:"price_version,omitempty"`
	Entry       string                     `json:"price_entry,omitempty"`
	Baseline    *gateway.NanoUSD           `json:"baseline_nano_usd"`
	Held        gateway.NanoUSD            `json:"held_nano_usd"`
	Estimated   bool                       `json:"estimated"`
	Outcome     string                     `json:"outcome"`
	ErrorType   string                     `json:"error_type,omitempty"`
	Status      int                        `json:"status,omitempty"`
}

func exportJSON(w io.Writer) func(*Line) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return func(l *Line) error { return e.Encode(export(l)) }
}

func export(l *Line) *exported {
	x := &exported{
		ID: l.ID, Exchange: l.Exchange, Trace: l.Trace, Node: l.Node, Time: l.Time,
		DurationMS: float64(l.Duration) / 1e6, Attempt: l.Attempt,
		KeyID: l.KeyID, KeyAlias: l.KeyAlias, Team: l.Team, User: l.User, Session: l.Session, Tags: l.Tags,
		Dialect: l.Dialect, Label: l.Label, Rule: l.Rule,
		Original: l.OriginalModel, Model: l.Model, Answered: l.AnsweredModel, Provider: l.Provider, Streamed: l.Streamed,
		Usage: map[string]int64{}, Others: l.Usage.Others, UsageSource: l.Usage.Source, Speed: l.Usage.Speed, Geo: l.Usage.Geo, ServiceTier: l.ServiceTier,
		CostSource: l.Cost.Source, Billing: l.Cost.Billing, PriceStatus: l.Cost.Status, Price: l.Cost.PriceVersion, Entry: l.Cost.Entry,
		Held: l.Held, Estimated: l.Estimated, Outcome: l.Outcome, ErrorType: l.ErrorType, Status: l.Status,
	}
	for i, p := range usage(&l.Usage) {
		if *p != 0 {
			x.Usage[classNames[i]] = *p
		}
	}
	if l.Cost.Known() {
		x.Cost = &l.Cost.Total
		x.CostClasses = map[string]gateway.NanoUSD{}
		for i, n := range l.Cost.Classes {
			if n != 0 {
				x.CostClasses[classNames[i]] = n
			}
		}
	}
	if l.Baseline.Set {
		x.Baseline = &l.Baseline.Value
	}
	return x
}

// plainText keeps a spreadsheet from taking a client's words for a formula.
func plainText(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		return "'" + s
	}
	return s
}

// exportTags returns tags as "a=b,c=d", as X-CCProxy-Tags has them.
func exportTags(tags map[string]string) string {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(tags)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(k + "=" + tags[k])
	}
	return b.String()
}

// exportHeader are the columns of the CSV.
func exportHeader() []string {
	h := []string{"time", "id", "request_id", "trace_id", "node", "duration_ms", "attempt",
		"key_id", "key_alias", "team", "user", "session", "tags",
		"dialect", "label", "rule", "original_model", "model", "answered_model", "provider", "streamed"}
	h = append(h, classNames[:usageClasses]...)
	h = append(h, "usage_others", "usage_source", "speed", "geo", "service_tier", "cost_nano_usd")
	for _, name := range classNames {
		h = append(h, "cost_"+name)
	}
	return append(h, "cost_source", "billing", "price_status", "price_version", "price_entry",
		"baseline_nano_usd", "held_nano_usd", "estimated", "outcome", "error_type", "status")
}

func exportRecord(l *Line) []string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	amount := func(n gateway.NanoUSD, known bool) string {
		if !known {
			return ""
		}
		return number(int64(n))
	}
	r := []string{l.Time.UTC().Format("2006-01-02T15:04:05.000Z"), l.ID, l.Exchange, l.Trace, l.Node,
		strconv.FormatFloat(float64(l.Duration)/1e6, 'f', -1, 64), strconv.Itoa(l.Attempt),
		l.KeyID, l.KeyAlias, l.Team, plainText(l.User), plainText(l.Session), plainText(exportTags(l.Tags)),
		l.Dialect, l.Label, l.Rule, plainText(l.OriginalModel), plainText(l.Model), plainText(l.AnsweredModel), l.Provider, strconv.FormatBool(l.Streamed)}
	for _, p := range usage(&l.Usage) {
		r = append(r, number(*p))
	}
	known := l.Cost.Known()
	r = append(r, l.Usage.Others, l.Usage.Source, l.Usage.Speed, l.Usage.Geo, l.ServiceTier, amount(l.Cost.Total, known))
	for _, n := range l.Cost.Classes {
		r = append(r, amount(n, known))
	}
	return append(r, l.Cost.Source, l.Cost.Billing, l.Cost.Status, l.Cost.PriceVersion, l.Cost.Entry,
		amount(l.Baseline.Value, l.Baseline.Set), number(int64(l.Held)), strconv.FormatBool(l.Estimated),
		l.Outcome, l.ErrorType, strconv.Itoa(l.Status))
}
