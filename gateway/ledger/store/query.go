package store

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// Filter picks lines. A zero field picks all. A string picks equal ones, and
// with "*" in it those that match, "*" being any characters.
type Filter struct {
	Since, Until time.Time // of Line.Time; Since is included, Until is not

	ID, Exchange, Trace        string // exact
	Key                        string // id or alias
	Team, User, Session, Label string
	OriginalModel, Model       string
	Provider, Billing, Outcome string
	Tags                       map[string]string
	Estimated, Unpriced        bool // only those
}

// fromLines are the tables a filter is about.
const fromLines = "lines l JOIN shapes s ON s.id = l.shape "

// condition collects the terms of a WHERE.
type condition struct {
	terms []string
	args  []any
}

func (c *condition) add(term string, args ...any) {
	c.terms = append(c.terms, term)
	c.args = append(c.args, args...)
}

// match adds a term for a column, unless pattern is empty.
func (c *condition) match(column, pattern string) {
	if pattern == "" {
		return
	}
	op, arg := like(pattern)
	c.add(column+op, arg)
}

// like returns how a pattern is compared.
func like(pattern string) (op, arg string) {
	if !strings.Contains(pattern, "*") {
		return " = ?", pattern
	}
	// GLOB knows more than "*". https://www.sqlite.org/lang_expr.html#the_like_glob_regexp_match_and_extract_operators
	return " GLOB ?", strings.NewReplacer("[", "[[]", "?", "[?]").Replace(pattern)
}

// condition returns the terms of the filter.
func (f *Filter) condition() *condition {
	var c condition
	if !f.Since.IsZero() {
		c.add("l.time >= ?", f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		c.add("l.time < ?", f.Until.UnixMilli())
	}
	if f.ID != "" {
		c.add("l.id = ?", packUUID(f.ID))
	}
	if f.Exchange != "" {
		c.add("l.exchange = ?", packUUID(f.Exchange))
	}
	if f.Trace != "" {
		c.add("l.trace = ?", packHex(f.Trace))
	}
	if f.Key != "" {
		op, arg := like(f.Key)
		c.add("(s.key_id"+op+" OR s.key_alias"+op+")", arg, arg)
	}
	for _, m := range [...]struct{ column, pattern string }{
		{"s.team", f.Team}, {"l.user", f.User}, {"l.session", f.Session}, {"s.label", f.Label},
		{"s.original_model", f.OriginalModel}, {"s.model", f.Model},
		{"s.provider", f.Provider}, {"s.billing", f.Billing}, {"s.outcome", f.Outcome},
	} {
		c.match(m.column, m.pattern)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Tags)) {
		op, arg := like(f.Tags[name])
		c.add("l.tags <> '' AND EXISTS (SELECT 1 FROM json_each(l.tags) t WHERE t.key = ? AND t.value"+op+")", name, arg)
	}
	if f.Estimated {
		c.add("l.estimated")
	}
	if f.Unpriced {
		c.add("s.price_status = 'unknown'")
	}
	return &c
}

// where returns the clause, "" when all lines are picked, and its arguments.
func (f *Filter) where() (string, []any) {
	c := f.condition()
	return c.where(), c.args
}

func (c *condition) where() string {
	if len(c.terms) == 0 {
		return ""
	}
	return "WHERE " + strings.Join(c.terms, " AND ")
}

// Line returns the lines of an attempt or an exchange, by id, in the order of
// the attempts. None is no error.
func (s *Store) Line(ctx context.Context, id string) ([]Line, error) {
	s.settle(ctx)
	var lines []Line
	packed := packUUID(id)
	err := s.each(ctx, "WHERE l.id = ? OR l.exchange = ? ORDER BY l.attempt, l.seq", []any{packed, packed}, func(r *row) bool {
		lines = append(lines, r.Line)
		return true
	})
	return lines, err
}

// Lines returns the newest lines a filter picks, newest first; limit 0 is no
// limit. The iteration ends after an error. A line is good until the next.
func (s *Store) Lines(ctx context.Context, f Filter, limit int) iter.Seq2[*Line, error] {
	return func(yield func(*Line, error) bool) {
		s.settle(ctx)
		where, args := f.where()
		where += " ORDER BY l.time DESC, l.seq DESC"
		if limit > 0 {
			where += " LIMIT ?"
			args = append(args, limit)
		}
		more := true
		err := s.each(ctx, where, args, func(r *row) bool {
			more = yield(&r.Line, nil)
			return more
		})
		if err != nil && more {
			yield(nil, err)
		}
	}
}

// each calls f with the lines a condition picks, until f returns false.
func (s *Store) each(ctx context.Context, where string, args []any, f func(*row) bool) (err error) {
	rows, err := s.read.QueryContext(ctx, selectLines+where, args...)
	if err != nil {
		return fileError(s.path, "table lines", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var r row
	for rows.Next() {
		if err := r.scan(rows); err != nil {
			return &CorruptError{File: s.path, Offset: -1, Place: linePlace(r.seq), Reason: err.Error()}
		}
		if !f(&r) {
			return nil
		}
	}
	if err := rows.Err(); err != nil && ctx.Err() == nil {
		return fileError(s.path, "table lines", err)
	}
	return ctx.Err()
}
