package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
)

// Filter picks exchanges. The zero value picks all; what is set must hold together.
type Filter struct {
	Label, Provider, Key, Team, Session string
	// Model is the model that was routed to, or the one the client named.
	Model    string
	Outcomes []string // any of them
	Failed   bool     // every outcome but completed
	// Text is part of an id (request, trace, span) or of the session, in lower case.
	Text         string
	MinCost      float64       // USD
	MinDuration  time.Duration // 0: no bound
	MaxDuration  time.Duration // 0: no bound
	Since, Until time.Time     // of the start; zero: no bound
	After        int64         // only what ended after this Seq; 0: no bound
	Before       int64         // only what ended before this Seq; 0: no bound
}

// matcher is a filter for one block.
type matcher struct {
	*Filter
	want             [textCount]int32 // number in the block's table; -1: any
	model            int32            // -1: any
	outcomes         []uint16
	minCost          int64
	since, until     int64
	minTook, maxTook int64
}

var textFields = [...]struct {
	at   int
	from func(*Filter) string
}{
	{textLabel, func(f *Filter) string { return f.Label }},
	{textProvider, func(f *Filter) string { return f.Provider }},
	{textKey, func(f *Filter) string { return f.Key }},
	{textTeam, func(f *Filter) string { return f.Team }},
	{textSession, func(f *Filter) string { return f.Session }},
}

func (f *Filter) matcher() *matcher {
	m := &matcher{Filter: f, minCost: int64(f.MinCost * 1e9), minTook: int64(f.MinDuration), maxTook: int64(f.MaxDuration)}
	if !f.Since.IsZero() {
		m.since = f.Since.UnixNano()
	}
	if !f.Until.IsZero() {
		m.until = f.Until.UnixNano()
	}
	return m
}

// block prepares m for b and reports whether b can have a match.
func (m *matcher) block(b *block) bool {
	last := b.first + int64(len(b.entries)) - 1
	if m.After > 0 && last <= m.After || m.Before > 0 && b.first >= m.Before {
		return false
	}
	number := func(s string) (int32, bool) {
		if s == "" {
			return -1, true
		}
		n := slices.Index(b.texts, s)
		return int32(n), n >= 0
	}
	for i := range m.want {
		m.want[i] = -1
	}
	var ok bool
	for _, field := range textFields {
		if m.want[field.at], ok = number(field.from(m.Filter)); !ok {
			return false
		}
	}
	if m.model, ok = number(m.Model); !ok {
		return false
	}
	m.outcomes = m.outcomes[:0]
	for _, o := range m.Outcomes {
		if n := slices.Index(b.texts, o); n >= 0 {
			m.outcomes = append(m.outcomes, uint16(n))
		}
	}
	return len(m.Outcomes) == 0 || len(m.outcomes) > 0
}

func (m *matcher) matches(e *entry, seq int64, texts []string) bool {
	switch {
	case m.After > 0 && seq <= m.After, m.Before > 0 && seq >= m.Before:
		return false
	case e.nums[numCost] < m.minCost, e.nums[numDuration] < m.minTook:
		return false
	case m.maxTook > 0 && e.nums[numDuration] > m.maxTook:
		return false
	case m.since != 0 && e.nums[numStart] < m.since, m.until != 0 && e.nums[numStart] >= m.until:
		return false
	case m.model >= 0 && int32(e.texts[textRouted]) != m.model && int32(e.texts[textOriginal]) != m.model:
		return false
	case len(m.outcomes) > 0 && !slices.Contains(m.outcomes, e.texts[textOutcome]):
		return false
	case m.Failed && texts[e.texts[textOutcome]] == "completed":
		return false
	}
	for _, field := range textFields {
		if w := m.want[field.at]; w >= 0 && int32(e.texts[field.at]) != w {
			return false
		}
	}
	return m.Text == "" || e.matches(m.Text, texts)
}

// walk calls visit for each exchange that f picks, newest first, until visit returns false. It holds the lock.
func (s *Store) walk(f *Filter, visit func(b *block, i int) bool) {
	m := f.matcher()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, b := range slices.Backward(s.blocks) {
		if !m.block(b) {
			continue
		}
		for i := len(b.entries) - 1; i >= 0; i-- {
			if m.matches(&b.entries[i], b.first+int64(i), b.texts) && !visit(b, i) {
				return
			}
		}
	}
}

// List returns the exchanges that f picks, the last that ended first, at most limit of them. The next page is the same
// filter with Before set to the last one's Seq; more says that there is one.
func (s *Store) List(f Filter, limit int) (list []Exchange, more bool) {
	list = []Exchange{}
	s.walk(&f, func(b *block, i int) bool {
		if len(list) >= limit {
			more = true
			return false
		}
		list = append(list, b.entries[i].exchange(b.first+int64(i), b.texts))
		return true
	})
	return list, more
}

// Values returns what a filter can be set to, each list sorted, without the empty value.
type Values struct {
	Labels, Models, Providers, Keys, Teams, Outcomes []string
}

// maxValues bounds each list of Values.
const maxValues = 500

// Values returns the values that the exchanges have, of each at most 500.
func (s *Store) Values() Values {
	at := [...]int{textLabel, textRouted, textOriginal, textProvider, textKey, textTeam, textOutcome}
	var seen [len(at)]map[string]bool
	for i := range seen {
		seen[i] = map[string]bool{}
	}
	var marks [textCount][]bool // of the block's texts
	s.mu.RLock()
	for _, b := range slices.Backward(s.blocks) {
		for i, t := range at {
			marks[i] = append(marks[i][:0], make([]bool, len(b.texts))...)
			for j := range b.entries {
				marks[i][b.entries[j].texts[t]] = true
			}
			for n, marked := range marks[i] {
				if marked && b.texts[n] != "" && len(seen[i]) < maxValues {
					seen[i][b.texts[n]] = true
				}
			}
		}
	}
	s.mu.RUnlock()
	for m := range seen[2] {
		seen[1][m] = true
	}
	list := func(m map[string]bool) []string {
		out := make([]string, 0, len(m))
		for v := range m {
			out = append(out, v)
		}
		slices.Sort(out)
		return out
	}
	return Values{list(seen[0]), list(seen[1]), list(seen[3]), list(seen[4]), list(seen[5]), list(seen[6])}
}

// ErrNotFound says that no exchange has the id: it never was here, or is here no more.
var ErrNotFound = errors.New("no such trace")

// Trace is an exchange with its spans, in the order in which they ended; the SERVER span is the last.
type Trace struct {
	Exchange Exchange
	Spans    []Span
}

// Find returns the exchanges of an id, oldest first: one for the id of a request or of a SERVER span; all of its trace for
// the id of a trace, which has several when its client began it. The id may be given in any case, without hyphens, and, from
// 8 characters on, in part; then it is the newest that begins with it. The error is ErrNotFound, or one of reading.
func (s *Store) Find(ctx context.Context, id string) ([]Trace, error) {
	id = strings.ToLower(strings.TrimSpace(id))
	found := s.find(id)
	if len(found) == 0 {
		s.catchUp(ctx) // whoever has seen an answer finds its trace
		found = s.find(id)
	}
	if len(found) == 0 {
		return nil, ErrNotFound
	}
	traces := make([]Trace, 0, len(found))
	for _, f := range found {
		spans, err := s.spans(ctx, &f)
		if errors.Is(err, ErrNotFound) {
			continue // went since it was found
		}
		if err != nil {
			return nil, fmt.Errorf("read trace %s: %w", id, err)
		}
		traces = append(traces, Trace{f.exchange, spans})
	}
	if len(traces) == 0 {
		return nil, ErrNotFound
	}
	return traces, nil
}

// place is where an exchange is.
type place struct {
	exchange Exchange
	first    int64 // of the block
	at       uint32
}

// maxTrace bounds the exchanges of one trace that Find returns.
const maxTrace = 100

func (s *Store) find(id string) []place {
	is := s.sameID(id)
	var found []place
	if is == nil {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, b := range slices.Backward(s.blocks) {
		for i := len(b.entries) - 1; i >= 0; i-- {
			e := &b.entries[i]
			if !is(e, b.texts) {
				continue
			}
			found = append(found, place{e.exchange(b.first+int64(i), b.texts), b.first, e.at})
			if t := e.trace; hex.EncodeToString(t[:]) == id && len(found) < maxTrace {
				continue
			}
			slices.Reverse(found)
			return found
		}
	}
	slices.Reverse(found)
	return found
}

// sameID returns what tells the exchanges of an id; nil: it is no id.
func (s *Store) sameID(id string) func(e *entry, texts []string) bool {
	if t, err := trace.TraceIDFromHex(id); err == nil && len(id) == 32 {
		return func(e *entry, _ []string) bool { return e.trace == t || e.request == uuid.UUID(t) }
	}
	if u, err := uuid.Parse(id); err == nil && len(id) == 36 {
		return func(e *entry, _ []string) bool { return e.request == u }
	}
	if len(id) < 8 {
		return nil
	}
	return func(e *entry, texts []string) bool {
		var b [32]byte
		hex.Encode(b[:], e.trace[:])
		if strings.HasPrefix(string(b[:]), id) {
			return true
		}
		hex.Encode(b[:16], e.span[:])
		return strings.HasPrefix(string(b[:16]), id) || strings.HasPrefix(e.requestID(texts), id)
	}
}

// spans reads the spans at a place.
func (s *Store) spans(ctx context.Context, p *place) ([]Span, error) {
	s.mu.RLock()
	var part []byte
	for i := len(s.blocks) - 1; i >= 0; i-- {
		if b := s.blocks[i]; b.first == p.first && b.spans != nil {
			part = b.encodeSpans(nil)
			break
		}
	}
	s.mu.RUnlock()
	if part == nil {
		s.fileMu.RLock()
		defer s.fileMu.RUnlock()
		if s.file == nil {
			return nil, ErrNotFound
		}
		var err error
		if part, err = s.file.spans(ctx, p.first); err != nil {
			return nil, err
		}
		if part == nil {
			return nil, ErrNotFound
		}
	}
	return decodeSpans(part, p.at)
}
