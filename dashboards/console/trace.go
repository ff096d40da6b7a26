package console

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
	"github.com/ccproxy/ccproxy/telemetry/store"
)

// traceView is a trace as the API shows it.
type traceView struct {
	TraceID   string         `json:"trace_id"`
	URL       string         `json:"url,omitempty"` // of the same trace elsewhere
	Exchanges []exchangeView `json:"exchanges"`     // oldest first
}

type exchangeView struct {
	Request row        `json:"request"`
	Story   Story      `json:"story"`
	Spans   []spanView `json:"spans"` // parents before children, by start
}

type spanView struct {
	ID         string          `json:"id"`
	Parent     string          `json:"parent"` // "": none
	Depth      int             `json:"depth"`
	Name       string          `json:"name"`
	Kind       string          `json:"kind"`
	Scope      string          `json:"scope"`
	Phase      string          `json:"phase"` // server, pre_call, moderation, pre_api, upstream, stream, post_api, hook, http, other
	Offset     float64         `json:"offset_ms"`
	Duration   float64         `json:"duration_ms"`
	Error      bool            `json:"error"`
	StatusText string          `json:"status_text,omitempty"`
	Attributes []attributeView `json:"attributes"`
	Events     []eventView     `json:"events"`
	Links      []linkView      `json:"links"`
	Dropped    int             `json:"dropped,omitempty"`
}

type attributeView struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

type eventView struct {
	Name       string          `json:"name"`
	Offset     float64         `json:"offset_ms"`
	Attributes []attributeView `json:"attributes"`
}

type linkView struct {
	TraceID    string          `json:"trace_id"`
	SpanID     string          `json:"span_id"`
	Name       string          `json:"name,omitempty"` // of a span of the same exchange
	Attributes []attributeView `json:"attributes"`
}

func marshal(v any) ([]byte, error) { return json.Marshal(v) }

// serveTrace answers GET /api/requests/{id}.
func (c *Console) serveTrace(w http.ResponseWriter, r *http.Request) {
	traces, ok := c.find(w, r)
	if !ok {
		return
	}
	id := traces[0].Exchange.TraceID.String()
	v := traceView{TraceID: id}
	if c.cfg.TraceURL != "" {
		v.URL = strings.ReplaceAll(c.cfg.TraceURL, "{trace_id}", id)
	}
	for i := range traces {
		t := &traces[i]
		v.Exchanges = append(v.Exchanges, exchangeView{rowOf(&t.Exchange), Tell(t), viewSpans(t.Spans, t.Exchange.Start)})
	}
	writeJSON(w, http.StatusOK, v)
}

// find returns the traces of the id in the path, or answers that there is none.
func (c *Console) find(w http.ResponseWriter, r *http.Request, known ...string) ([]store.Trace, bool) {
	if q := readQuery(r, known); q.err != nil {
		refuse(w, http.StatusBadRequest, q.err)
		return nil, false
	}
	traces, err := c.cfg.Store.Find(r.Context(), r.PathValue("id"))
	switch {
	case errors.Is(err, store.ErrNotFound):
		refuse(w, http.StatusNotFound, errors.New("no such trace: it is not here, or not any more"))
		return nil, false
	case err != nil:
		refuse(w, http.StatusInternalServerError, err)
		return nil, false
	}
	return traces, true
}

// viewSpans puts spans in the order of a waterfall.
func viewSpans(spans []store.Span, start time.Time) []spanView {
	byID := make(map[trace.SpanID]*store.Span, len(spans))
	for i := range spans {
		byID[spans[i].SpanID] = &spans[i]
	}
	out := make([]spanView, 0, len(spans))
	for _, o := range Order(spans) {
		s := o.Span
		v := spanView{
			ID: s.SpanID.String(), Depth: o.Depth, Name: s.Name, Kind: s.Kind.String(), Scope: s.Scope, Phase: phaseOf(s),
			Offset: millis(s.Start.Sub(start)), Duration: millis(s.End.Sub(s.Start)), Error: s.Status == codes.Error, StatusText: s.StatusText,
			Attributes: viewAttributes(s.Attributes), Events: make([]eventView, 0, len(s.Events)), Links: make([]linkView, 0, len(s.Links)), Dropped: s.Dropped,
		}
		if s.Parent.IsValid() {
			v.Parent = s.Parent.String()
		}
		for i := range s.Events {
			e := &s.Events[i]
			v.Events = append(v.Events, eventView{e.Name, millis(e.Time.Sub(start)), viewAttributes(e.Attributes)})
		}
		for i := range s.Links {
			l := &s.Links[i]
			link := linkView{TraceID: l.TraceID.String(), SpanID: l.SpanID.String(), Attributes: viewAttributes(l.Attributes)}
			if to := byID[l.SpanID]; to != nil {
				link.Name = to.Name
			}
			v.Links = append(v.Links, link)
		}
		out = append(out, v)
	}
	return out
}

// Ordered is a span in its place in a tree.
type Ordered struct {
	*store.Span
	Depth int
}

// Order puts spans in the order in which a tree is read: parents before their children, those by start. A span whose parent
// is not there stands at the top, and those that are each other's parents are left out.
func Order(spans []store.Span) []Ordered {
	have := make(map[trace.SpanID]bool, len(spans))
	for i := range spans {
		have[spans[i].SpanID] = true
	}
	children := map[trace.SpanID][]*store.Span{} // :: parent, zero at the top → by start
	for i := range spans {
		s := &spans[i]
		parent := s.Parent
		if !have[parent] || parent == s.SpanID {
			parent = trace.SpanID{}
		}
		children[parent] = append(children[parent], s)
	}
	for _, list := range children {
		slices.SortStableFunc(list, func(a, b *store.Span) int {
			return cmp.Or(cmp.Compare(isServer(b), isServer(a)), a.Start.Compare(b.Start))
		})
	}
	out := make([]Ordered, 0, len(spans))
	var add func(id trace.SpanID, depth int)
	add = func(id trace.SpanID, depth int) {
		for _, s := range children[id] {
			out = append(out, Ordered{s, depth})
			if s.SpanID.IsValid() {
				add(s.SpanID, depth+1)
			}
		}
	}
	add(trace.SpanID{}, 0)
	return out
}

func isServer(s *store.Span) int {
	if s.Kind == trace.SpanKindServer {
		return 1
	}
	return 0
}

func phaseOf(s *store.Span) string {
	switch {
	case s.Kind == trace.SpanKindServer:
		return "server"
	case s.Name == names.SpanHook:
		return "hook"
	case s.Scope == names.ScopeHTTP:
		return "http"
	}
	if p := s.Attribute(names.KeyPhase).AsString(); slices.Contains(names.Phases, p) {
		return p
	}
	if s.Scope == names.ScopeGenAI {
		return names.PhaseUpstream
	}
	return "other"
}

func viewAttributes(kvs []attribute.KeyValue) []attributeView {
	out := make([]attributeView, 0, len(kvs))
	for _, kv := range kvs {
		out = append(out, attributeView{string(kv.Key), valueOf(kv.Value)})
	}
	slices.SortStableFunc(out, func(a, b attributeView) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// valueOf is a value as JSON has it; numbers that JSON has no words for are text.
func valueOf(v attribute.Value) any {
	switch v.Type() {
	case attribute.STRING:
		return v.AsString()
	case attribute.BOOL:
		return v.AsBool()
	case attribute.INT64:
		return v.AsInt64()
	case attribute.FLOAT64:
		if f := v.AsFloat64(); f-f == 0 { // neither infinite nor NaN
			return f
		}
	case attribute.STRINGSLICE:
		return v.AsStringSlice()
	case attribute.EMPTY:
		return nil
	}
	return v.String()
}
