package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// Query asks what was spent.
type Query struct {
	Filter
	// By are what the lines are grouped by, each one of Groupings, or
	// "tag:<name>". None: one row for all.
	By []string
	// Location is where days and hours begin; nil: UTC.
	Location *time.Location
}

// Row is what a group of lines has in common, and its totals.
type Row struct {
	// Group has a value for each of Query.By: "" where a line has none; days as
	// 2006-01-02, hours as 2006-01-02T15:04Z07:00.
	Group []string
	// Attempts counts lines, Requests the exchanges they belong to.
	Attempts, Requests int64
	// Usage is the sum of the classes; it has no source.
	Usage gateway.Usage
	// Metered and Notional are the cost of what is billed, and of what a
	// subscription covers, at list price.
	Metered, Notional gateway.NanoUSD
	// Free counts attempts that cost nothing by configuration, Unpriced those
	// whose usage has no price, Void those of which nothing was sent or billed,
	// and Estimated those whose cost rests on an estimate.
	Free, Unpriced, Void, Estimated int64
	// Compared is the cost of those lines whose baseline is known, and Baseline
	// what they would have cost on the model the client named.
	Compared, Baseline gateway.NanoUSD

	since int64 // begin of the day or hour
}

// Savings is what routing has saved; negative: what it has cost.
func (r *Row) Savings() gateway.NanoUSD { return r.Baseline - r.Compared }

// groupings are expressions of what lines can be grouped by.
var groupings = map[string]string{
	"model": "s.model", "original_model": "s.original_model", "answered_model": "s.answered_model",
	"provider": "s.provider", "label": "s.label", "rule": "s.rule", "dialect": "s.dialect",
	"key": "CASE s.key_alias WHEN '' THEN s.key_id ELSE s.key_alias END", "team": "s.team",
	"user": "l.user", "session": "l.session", "node": "s.node",
	"billing": "s.billing", "outcome": "s.outcome", "price_status": "s.price_status",
	"day": "p.name", "hour": "p.name",
}

// Groupings are the names Query.By may have, besides "tag:<name>".
func Groupings() []string {
	return []string{"model", "original_model", "answered_model", "provider", "label", "rule", "dialect", "key", "team",
		"user", "session", "node", "billing", "outcome", "price_status", "day", "hour"}
}

const spendSums = `count(*), count(DISTINCT l.exchange),
	sum(l.input), sum(l.cache_read), sum(l.cache_write), sum(l.cache_write_1h), sum(l.output), sum(l.reasoning),
	sum(l.audio_in), sum(l.audio_out), sum(l.image_in), sum(l.image_out), sum(l.web_search),
	sum(CASE WHEN s.billing NOT IN ('notional', 'free') THEN l.cost END),
	sum(CASE WHEN s.billing = 'notional' THEN l.cost END),
	sum(s.billing = 'free'), sum(s.price_status = 'unknown'), sum(s.outcome = 'void'), sum(l.estimated),
	sum(CASE WHEN l.baseline IS NOT NULL THEN l.cost END), sum(CASE WHEN l.cost IS NOT NULL THEN l.baseline END)`

// Spend returns the totals of the groups of a query: days and hours oldest
// first, within them and otherwise the dearest first.
func (s *Store) Spend(ctx context.Context, q Query) (rows []Row, err error) {
	s.settle(ctx)
	text, args, err := s.spendQuery(ctx, &q)
	if err != nil {
		return nil, err
	}
	result, err := s.read.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fileError(s.path, "table lines", err)
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	for result.Next() {
		r, err := scanSpend(result, len(q.By))
		if err != nil {
			return nil, fileError(s.path, "table lines", err)
		}
		if r.Attempts > 0 { // without groups there is a row for nothing
			rows = append(rows, r)
		}
	}
	if err := result.Err(); err != nil {
		return nil, fileError(s.path, "table lines", err)
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(b.Metered+b.Notional, a.Metered+a.Notional), slices.Compare(a.Group, b.Group))
	})
	return rows, nil
}

func scanSpend(result *sql.Rows, groups int) (Row, error) {
	r := Row{Group: make([]string, groups)}
	var dest []any
	for i := range r.Group {
		dest = append(dest, &r.Group[i])
	}
	var n [22]sql.NullInt64
	for i := range n {
		dest = append(dest, &n[i])
	}
	if err := result.Scan(dest...); err != nil {
		return r, err
	}
	r.Attempts, r.Requests = n[0].Int64, n[1].Int64
	for i, p := range usage(&r.Usage) {
		*p = n[2+i].Int64
	}
	at := func(i int) gateway.NanoUSD { return gateway.NanoUSD(n[i].Int64) }
	r.Metered, r.Notional = at(13), at(14)
	r.Free, r.Unpriced, r.Void, r.Estimated = n[15].Int64, n[16].Int64, n[17].Int64, n[18].Int64
	r.Compared, r.Baseline = at(19), at(20)
	r.since = n[21].Int64
	return r, nil
}

// spendQuery returns the statement of a query.
func (s *Store) spendQuery(ctx context.Context, q *Query) (string, []any, error) {
	text, args, period, err := q.groups()
	if err != nil {
		return "", nil, err
	}
	c, from, since := q.condition(), fromLines, "0"
	if period != "" {
		periods, err := s.periods(ctx, q, period)
		if err != nil {
			return "", nil, err
		}
		from = "(SELECT value ->> 0 AS name, value ->> 1 AS since, value ->> 2 AS until FROM json_each(?)) p CROSS JOIN " + fromLines
		args = append(args, periods)
		c.add("l.time >= p.since AND l.time < p.until")
		since = "min(p.since)"
	}
	text = "SELECT " + text + spendSums + ", " + since + " FROM " + from + c.where()
	for i := range q.By {
		sep := ", "
		if i == 0 {
			sep = " GROUP BY "
		}
		text += sep + strconv.Itoa(i+1)
	}
	return text, append(args, c.args...), nil
}

// groups returns the expressions that lines are grouped by, each with a comma
// after it, and whether one is day or hour.
func (q *Query) groups() (text string, args []any, period string, err error) {
	for _, by := range q.By {
		expr := groupings[by]
		if name, ok := strings.CutPrefix(by, "tag:"); ok {
			expr = "coalesce((SELECT t.value FROM json_each(CASE l.tags WHEN '' THEN '{}' ELSE l.tags END) t WHERE t.key = ?), '')"
			args = append(args, name)
		}
		switch {
		case expr == "":
			return "", nil, "", fmt.Errorf("cannot group by %q: it is none of %s, tag:<name>", by, strings.Join(Groupings(), ", "))
		case expr == groupings["day"] && period != "" && period != by:
			return "", nil, "", errors.New("cannot group by day and hour at once")
		case expr == groupings["day"]:
			period = by
		}
		text += expr + ", "
	}
	return text, args, period, nil
}

// periods returns the days or hours a query is about, as JSON: name, begin and
// end of each.
func (s *Store) periods(ctx context.Context, q *Query, by string) (string, error) {
	var first, last sql.NullInt64
	if err := s.read.QueryRowContext(ctx, "SELECT min(time), max(time) FROM lines").Scan(&first, &last); err != nil {
		return "", fileError(s.path, "index lines_time", err)
	}
	since, until := time.UnixMilli(first.Int64), time.UnixMilli(last.Int64+1)
	if q.Since.After(since) {
		since = q.Since
	}
	if !q.Until.IsZero() && q.Until.Before(until) {
		until = q.Until
	}
	loc := q.Location
	if loc == nil {
		loc = time.UTC
	}
	list := [][3]any{}
	for at := since.In(loc); at.Before(until); {
		name, end := period(at, by)
		list = append(list, [3]any{name, at.UnixMilli(), end.UnixMilli()})
		at = end
	}
	b, err := json.Marshal(list)
	return string(b), err
}

// period returns the name and the end of the day or hour that a time is in.
func period(at time.Time, by string) (name string, end time.Time) {
	if by == "day" {
		y, m, d := at.Date()
		end = time.Date(y, m, d+1, 0, 0, 0, 0, at.Location())
		// Where clocks go forward at midnight there is none, and the day begins
		// when they do.
		if end.Day() == d {
			_, end = end.ZoneBounds()
		}
		return at.Format(time.DateOnly), end
	}
	// Zones are off by whole minutes; adding real time goes through each hour of
	// a change of the clocks once.
	past := time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
	return at.Add(-past).Format("2006-01-02T15:04Z07:00"), at.Add(time.Hour - past)
}
