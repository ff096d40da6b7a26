package telemetry

import (
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// maxSeries bounds the attribute sets of one instrument. With the set for what is beyond, it stays below the SDK's own limit.
const maxSeries = seriesLimit - 2

// labels are the values of a series, in the order of its keys; "" leaves the attribute out.
type labels [7]string

// series keeps the measurement options of instruments that share their attributes, made once for each set of values.
// Making one costs more than the measurement itself. It is safe for concurrent use.
type series struct {
	keys     []attribute.Key
	kinds    []names.Type
	overflow *options

	mu   sync.RWMutex
	made map[labels]*options // at most maxSeries
}

// options hold one attribute set in the forms the instruments take, as slices, so that passing them allocates nothing.
type options struct {
	record []metric.RecordOption
	add    []metric.AddOption
}

func newSeries(keys ...attribute.Key) *series {
	s := &series{keys: keys, kinds: make([]names.Type, len(keys)), made: map[labels]*options{}}
	var other labels
	for i, key := range keys {
		s.kinds[i] = attributeType(key)
		if s.kinds[i] == names.TypeString {
			other[i] = names.ErrorOther
		}
	}
	s.overflow = s.build(other)
	return s
}

// pairs are series of two attributes, found in half the time. It is safe for concurrent use.
type pairs struct {
	series *series

	mu   sync.RWMutex
	made map[[2]string]*options // members of series
}

func newPairs(first, second attribute.Key) *pairs {
	return &pairs{series: newSeries(first, second), made: map[[2]string]*options{}}
}

// of is [series.of].
func (p *pairs) of(first, second string) *options {
	v := [2]string{first, second}
	p.mu.RLock()
	o := p.made[v]
	p.mu.RUnlock()
	if o != nil {
		return o
	}
	o = p.series.of(labels{first, second})
	if o == p.series.overflow {
		return o
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made[[2]string{strings.Clone(first), strings.Clone(second)}] = o
	return o
}

func attributeType(key attribute.Key) names.Type {
	for _, a := range names.Attributes {
		if a.Key == key {
			return a.Type
		}
	}
	return names.TypeString
}

// of returns the options for v. When there are too many sets already, all further ones share one whose strings are _OTHER.
func (s *series) of(v labels) *options {
	s.mu.RLock()
	o := s.made[v]
	s.mu.RUnlock()
	if o != nil {
		return o
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.made[v]; o != nil {
		return o
	}
	if len(s.made) >= maxSeries {
		return s.overflow
	}
	for i := range v {
		v[i] = strings.Clone(v[i]) // what is kept must not hold a request's body
	}
	o = s.build(v)
	s.made[v] = o
	return o
}

// scarce reports whether half of the sets are made and v is none of them.
func (s *series) scarce(v labels) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.made) >= maxSeries/2 && s.made[v] == nil
}

func (s *series) build(v labels) *options {
	attrs := make([]attribute.KeyValue, 0, len(s.keys))
	for i, key := range s.keys {
		if v[i] == "" {
			continue
		}
		switch s.kinds[i] {
		case names.TypeBool:
			attrs = append(attrs, key.Bool(v[i] == "true"))
		case names.TypeInt:
			n, err := strconv.ParseInt(v[i], 10, 64)
			if err != nil {
				continue // no number: nothing to say
			}
			attrs = append(attrs, key.Int64(n))
		default:
			attrs = append(attrs, key.String(strings.ToValidUTF8(v[i], "\uFFFD")))
		}
	}
	o := metric.WithAttributeSet(attribute.NewSet(attrs...))
	return &options{record: []metric.RecordOption{o}, add: []metric.AddOption{o}}
}

// closed are functions that keep labels in closed sets.
type closed struct {
	errorTypes map[string]bool
	statuses   [600]string // :: HTTP status → its digits; "" below 100
}

func newClosed() *closed {
	c := &closed{errorTypes: make(map[string]bool, len(names.ErrorTypes))}
	for _, t := range names.ErrorTypes {
		c.errorTypes[t] = true
	}
	for n := 100; n < len(c.statuses); n++ {
		c.statuses[n] = strconv.Itoa(n)
	}
	return c
}

// errorType returns t if it is legal for error.type, "" for "", else _OTHER.
func (c *closed) errorType(t string) string {
	switch {
	case t == "" || c.errorTypes[t]:
		return t
	case len(t) == 3:
		if n, err := strconv.Atoi(t); err == nil && c.status(n) != "" {
			return c.status(n)
		}
	}
	return names.ErrorOther
}

// status returns the digits of an HTTP status, or "" for what is none.
func (c *closed) status(n int) string {
	if n < 0 || n >= len(c.statuses) {
		return ""
	}
	return c.statuses[n]
}

// method returns an HTTP method as the conventions have it on metrics.
func (c *closed) method(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "QUERY":
		return m
	}
	return names.ErrorOther
}

// version returns an HTTP version as network.protocol.version has it.
func (c *closed) version(major, minor int) string {
	switch {
	case major == 1 && minor == 1:
		return "1.1"
	case major == 1 && minor == 0:
		return "1.0"
	case major == 2:
		return "2"
	case major == 3:
		return "3"
	}
	return ""
}

func truth(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
