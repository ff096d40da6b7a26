package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
	"github.com/ccproxy/ccproxy/telemetry/store"
)

// The query API of Jaeger, as far as Grafana's Jaeger data source and Jaeger's own page ask it
// (https://www.jaegertracing.io/docs/2.10/architecture/apis/, read 2026-11). Times are microseconds.

// serviceName is the one service there is.
const serviceName = "ccproxy"

type jaegerAnswer struct {
	Data   any           `json:"data"`
	Total  int           `json:"total"`
	Limit  int           `json:"limit"`
	Offset int           `json:"offset"`
	Errors []jaegerError `json:"errors"`
}

type jaegerError struct {
	Code int    `json:"code"`
	Msg  string `json:"msg"`
}

type jaegerTrace struct {
	TraceID   string                   `json:"traceID"`
	Spans     []jaegerSpan             `json:"spans"`
	Processes map[string]jaegerProcess `json:"processes"`
	Warnings  []string                 `json:"warnings"`
}

type jaegerProcess struct {
	ServiceName string      `json:"serviceName"`
	Tags        []jaegerTag `json:"tags"`
}

type jaegerSpan struct {
	TraceID       string            `json:"traceID"`
	SpanID        string            `json:"spanID"`
	Flags         int               `json:"flags"`
	OperationName string            `json:"operationName"`
	References    []jaegerReference `json:"references"`
	StartTime     int64             `json:"startTime"`
	Duration      int64             `json:"duration"`
	Tags          []jaegerTag       `json:"tags"`
	Logs          []jaegerLog       `json:"logs"`
	ProcessID     string            `json:"processID"`
	Warnings      []string          `json:"warnings"`
}

type jaegerReference struct {
	RefType string `json:"refType"`
	TraceID string `json:"traceID"`
	SpanID  string `json:"spanID"`
}

type jaegerTag struct {
	Key   string `json:"key"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

type jaegerLog struct {
	Timestamp int64       `json:"timestamp"`
	Fields    []jaegerTag `json:"fields"`
}

func answerJaeger[T any](w http.ResponseWriter, list []T) {
	if list == nil {
		list = []T{}
	}
	writeJSON(w, http.StatusOK, jaegerAnswer{Data: list, Total: len(list)})
}

func refuseJaeger(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, jaegerAnswer{Errors: []jaegerError{{status, err.Error()}}})
}

// serveServices answers GET /api/services.
func (c *Console) serveServices(w http.ResponseWriter, _ *http.Request) {
	answerJaeger(w, []string{serviceName})
}

// operations are the names of the spans of recent traces.
func (c *Console) operations(r *http.Request) (map[string]trace.SpanKind, error) {
	list, _ := c.cfg.Store.List(store.Filter{}, 50)
	kinds := map[string]trace.SpanKind{}
	for i := range list {
		traces, err := c.cfg.Store.Find(r.Context(), list[i].SpanID.String())
		if err != nil {
			continue // it went since
		}
		for j := range traces {
			for k := range traces[j].Spans {
				kinds[traces[j].Spans[k].Name] = traces[j].Spans[k].Kind
			}
		}
	}
	return kinds, r.Context().Err()
}

// serveServiceOperations answers GET /api/services/{service}/operations.
func (c *Console) serveServiceOperations(w http.ResponseWriter, r *http.Request) {
	kinds, err := c.operations(r)
	if err != nil || r.PathValue("service") != serviceName {
		answerJaeger[string](w, nil)
		return
	}
	list := make([]string, 0, len(kinds))
	for name := range kinds {
		list = append(list, name)
	}
	slices.Sort(list)
	answerJaeger(w, list)
}

type jaegerOperation struct {
	Name string `json:"name"`
	Kind string `json:"spanKind"`
}

// serveOperations answers GET /api/operations?service=&spanKind=.
func (c *Console) serveOperations(w http.ResponseWriter, r *http.Request) {
	kinds, err := c.operations(r)
	if s := r.URL.Query().Get("service"); err != nil || s != serviceName && s != "" {
		answerJaeger[jaegerOperation](w, nil)
		return
	}
	want := r.URL.Query().Get("spanKind")
	list := make([]jaegerOperation, 0, len(kinds))
	for name, kind := range kinds {
		if want == "" || want == kind.String() {
			list = append(list, jaegerOperation{name, kind.String()})
		}
	}
	slices.SortFunc(list, func(a, b jaegerOperation) int { return strings.Compare(a.Name, b.Name) })
	answerJaeger(w, list)
}

// jaegerSearch is a search of GET /api/traces.
type jaegerSearch struct {
	filter    store.Filter
	operation string
	tags      map[string]string
	limit     int
}

const (
	jaegerLimit    = 20
	jaegerMost     = 200
	jaegerSearched = 5000 // exchanges whose spans are read for one search
)

func readSearch(r *http.Request) (s jaegerSearch, err error) {
	q := r.URL.Query()
	s.operation, s.limit = q.Get("operation"), jaegerLimit
	if s.operation == "all" {
		s.operation = ""
	}
	if text := q.Get("limit"); text != "" {
		if s.limit, err = strconv.Atoi(text); err != nil || s.limit < 1 {
			return s, fmt.Errorf("limit: want a number above 0, got %q", text)
		}
		s.limit = min(s.limit, jaegerMost)
	}
	for key, to := range map[string]*time.Duration{"minDuration": &s.filter.MinDuration, "maxDuration": &s.filter.MaxDuration} {
		if text := q.Get(key); text != "" {
			if *to, err = time.ParseDuration(strings.ReplaceAll(text, " ", "")); err != nil {
				return s, fmt.Errorf("%s: want a duration such as 100ms, got %q", key, text)
			}
		}
	}
	for key, to := range map[string]*time.Time{"start": &s.filter.Since, "end": &s.filter.Until} {
		if text := q.Get(key); text != "" {
			micros, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return s, fmt.Errorf("%s: want microseconds since 1970, got %q", key, text)
			}
			*to = time.UnixMicro(micros)
		}
	}
	return s, s.readTags(q["tags"], q["tag"])
}

// readTags takes tags as JSON objects, and as key:value.
func (s *jaegerSearch) readTags(objects, pairs []string) error {
	s.tags = map[string]string{}
	for _, text := range objects {
		var m map[string]any
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			return fmt.Errorf("tags: want a JSON object, got %q", text)
		}
		for key, v := range m {
			s.tags[key] = fmt.Sprint(v)
		}
	}
	for _, text := range pairs {
		key, value, ok := strings.Cut(text, ":")
		if !ok {
			return fmt.Errorf("tag: want key:value, got %q", text)
		}
		s.tags[key] = value
	}
	// What the summary has need not be looked for in spans.
	for key, to := range map[attribute.Key]*string{
		names.KeyLabel: &s.filter.Label, names.KeyProvider: &s.filter.Provider, names.KeyKeyID: &s.filter.Key, names.KeyTeam: &s.filter.Team, names.KeySessionID: &s.filter.Session,
	} {
		if v, ok := s.tags[string(key)]; ok {
			*to = v
			delete(s.tags, string(key))
		}
	}
	return nil
}

// plain reports whether the summaries alone decide.
func (s *jaegerSearch) plain() bool { return s.operation == "" && len(s.tags) == 0 }

// matches reports whether one span has the name and the tags.
func (s *jaegerSearch) matches(spans []store.Span) bool {
	return slices.ContainsFunc(spans, func(span store.Span) bool {
		if s.operation != "" && span.Name != s.operation {
			return false
		}
		for key, want := range s.tags {
			if key == "error" {
				if want != strconv.FormatBool(span.Status == codes.Error) {
					return false
				}
				continue
			}
			if v := span.Attribute(attribute.Key(key)); v.Type() == attribute.EMPTY || v.String() != want {
				return false
			}
		}
		return true
	})
}

// serveTraces answers GET /api/traces.
func (c *Console) serveTraces(w http.ResponseWriter, r *http.Request) {
	if ids := r.URL.Query()["traceID"]; len(ids) > 0 {
		c.serveTracesOf(w, r, ids)
		return
	}
	s, err := readSearch(r)
	if err != nil {
		refuseJaeger(w, http.StatusBadRequest, err)
		return
	}
	if service := r.URL.Query().Get("service"); service != "" && service != serviceName {
		answerJaeger[jaegerTrace](w, nil)
		return
	}
	var out []jaegerTrace
	seen := map[trace.TraceID]bool{}
	for looked := 0; len(out) < s.limit && looked < jaegerSearched; {
		list, more := c.cfg.Store.List(s.filter, largestPage)
		for i := range list {
			s.filter.Before = list[i].Seq
			looked++
			if id := list[i].TraceID; len(out) < s.limit && !seen[id] {
				if t, ok := c.jaegerTraceOf(r, id, &s); ok {
					seen[id] = true
					out = append(out, t)
				}
			}
		}
		if !more || r.Context().Err() != nil {
			break
		}
	}
	answerJaeger(w, out)
}

func (c *Console) serveTracesOf(w http.ResponseWriter, r *http.Request, ids []string) {
	var out []jaegerTrace
	for _, id := range ids[:min(len(ids), jaegerMost)] {
		if traces, err := c.cfg.Store.Find(r.Context(), id); err == nil {
			out = append(out, jaegerOf(traces))
		}
	}
	answerJaeger(w, out)
}

func (c *Console) jaegerTraceOf(r *http.Request, id trace.TraceID, s *jaegerSearch) (jaegerTrace, bool) {
	traces, err := c.cfg.Store.Find(r.Context(), id.String())
	if err != nil {
		return jaegerTrace{}, false // it went since
	}
	if !s.plain() && !slices.ContainsFunc(traces, func(t store.Trace) bool { return s.matches(t.Spans) }) {
		return jaegerTrace{}, false
	}
	return jaegerOf(traces), true
}

// serveJaegerTrace answers GET /api/traces/{id}.
func (c *Console) serveJaegerTrace(w http.ResponseWriter, r *http.Request) {
	traces, err := c.cfg.Store.Find(r.Context(), r.PathValue("id"))
	if err != nil {
		refuseJaeger(w, http.StatusNotFound, store.ErrNotFound)
		return
	}
	answerJaeger(w, []jaegerTrace{jaegerOf(traces)})
}

func jaegerOf(traces []store.Trace) jaegerTrace {
	out := jaegerTrace{
		TraceID: traces[0].Exchange.TraceID.String(), Spans: []jaegerSpan{}, Processes: map[string]jaegerProcess{"p1": {serviceName, []jaegerTag{}}},
	}
	for i := range traces {
		for _, o := range Order(traces[i].Spans) {
			out.Spans = append(out.Spans, jaegerSpanOf(o.Span))
		}
	}
	return out
}

func jaegerSpanOf(s *store.Span) jaegerSpan {
	v := jaegerSpan{
		TraceID: s.TraceID.String(), SpanID: s.SpanID.String(), Flags: 1, OperationName: s.Name, References: []jaegerReference{},
		StartTime: s.Start.UnixMicro(), Duration: s.End.Sub(s.Start).Microseconds(), Tags: jaegerTags(s.Attributes), Logs: []jaegerLog{}, ProcessID: "p1",
	}
	if s.Parent.IsValid() {
		v.References = append(v.References, jaegerReference{"CHILD_OF", v.TraceID, s.Parent.String()})
	}
	for i := range s.Links {
		v.References = append(v.References, jaegerReference{"FOLLOWS_FROM", s.Links[i].TraceID.String(), s.Links[i].SpanID.String()})
	}
	for i := range s.Events {
		e := &s.Events[i]
		fields := append([]jaegerTag{{"event", "string", e.Name}}, jaegerTags(e.Attributes)...)
		v.Logs = append(v.Logs, jaegerLog{e.Time.UnixMicro(), fields})
	}
	v.Tags = append(v.Tags, jaegerTag{"span.kind", "string", s.Kind.String()}, jaegerTag{"otel.scope.name", "string", s.Scope})
	if s.Status == codes.Error {
		v.Tags = append(v.Tags, jaegerTag{"error", "bool", true}, jaegerTag{"otel.status_code", "string", "ERROR"})
	}
	return v
}

func jaegerTags(kvs []attribute.KeyValue) []jaegerTag {
	tags := make([]jaegerTag, 0, len(kvs)+4)
	for _, kv := range kvs {
		kind := "string"
		value := valueOf(kv.Value)
		switch v := value.(type) {
		case bool:
			kind = "bool"
		case int64:
			kind = "int64"
		case float64:
			kind = "float64"
		case string:
		default:
			text, err := json.Marshal(v)
			if err != nil {
				text = nil
			}
			value = string(text)
		}
		tags = append(tags, jaegerTag{string(kv.Key), kind, value})
	}
	return tags
}
