package gatewaytest

import (
	"encoding/hex"
	"fmt"
	"sort"
	"strings"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span as received. Ids are hex. Attribute values are string, bool,
// int64, float64, []byte, map[string]any, a slice of one of the first four, or
// []any for a mixed or empty list.
type Span struct {
	Name          string
	Kind          string // "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER" or "UNSPECIFIED"
	TraceID       string
	SpanID        string
	ParentID      string // "" for a root
	TraceState    string
	Flags         uint32
	Start, End    time.Time
	Attributes    map[string]any
	Events        []SpanEvent
	Links         []Link
	StatusCode    string // "Unset", "Ok" or "Error"
	StatusMessage string
	Scope         string
	Resource      map[string]any
	// Dropped counts attributes, events and links the SDK left out.
	Dropped uint32
}

// SpanEvent is an event on a span.
type SpanEvent struct {
	Name       string
	Time       time.Time
	Attributes map[string]any
}

// Link is a link from a span to another.
type Link struct {
	TraceID, SpanID string
	Attributes      map[string]any
}

// LogRecord is a log record as received. Ids are hex, "" when absent.
type LogRecord struct {
	EventName      string
	Severity       string // the text, "INFO"
	SeverityNumber int
	Body           any // values as in Span.Attributes; nil when absent
	Attributes     map[string]any
	TraceID        string
	SpanID         string
	Time           time.Time
	Scope          string
	Resource       map[string]any
}

// items counts what is in an export: spans, metrics or log records.
func items(m proto.Message) (n int) {
	switch m := m.(type) {
	case *coltraces.ExportTraceServiceRequest:
		for _, r := range m.ResourceSpans {
			for _, s := range r.ScopeSpans {
				n += len(s.Spans)
			}
		}
	case *colmetrics.ExportMetricsServiceRequest:
		for _, r := range m.ResourceMetrics {
			for _, s := range r.ScopeMetrics {
				n += len(s.Metrics)
			}
		}
	case *collogs.ExportLogsServiceRequest:
		for _, r := range m.ResourceLogs {
			for _, s := range r.ScopeLogs {
				n += len(s.LogRecords)
			}
		}
	}
	return n
}

func spansOf(m *coltraces.ExportTraceServiceRequest) []Span {
	var all []Span
	for _, r := range m.ResourceSpans {
		resource := attributesOf(r.GetResource().GetAttributes())
		for _, scope := range r.ScopeSpans {
			for _, one := range scope.Spans {
				s := spanOf(one)
				s.Scope, s.Resource = scope.GetScope().GetName(), resource
				all = append(all, s)
			}
		}
	}
	return all
}

func spanOf(p *traces.Span) Span {
	s := Span{
		Name: p.Name, Kind: strings.TrimPrefix(p.Kind.String(), "SPAN_KIND_"),
		TraceID: hex.EncodeToString(p.TraceId), SpanID: hex.EncodeToString(p.SpanId), ParentID: hex.EncodeToString(p.ParentSpanId),
		TraceState: p.TraceState, Flags: p.Flags,
		Start: timeOf(p.StartTimeUnixNano), End: timeOf(p.EndTimeUnixNano),
		Attributes: attributesOf(p.Attributes), StatusCode: "Unset", StatusMessage: p.GetStatus().GetMessage(),
		Dropped: p.DroppedAttributesCount + p.DroppedEventsCount + p.DroppedLinksCount,
	}
	switch p.GetStatus().GetCode() {
	case traces.Status_STATUS_CODE_OK:
		s.StatusCode = "Ok"
	case traces.Status_STATUS_CODE_ERROR:
		s.StatusCode = "Error"
	}
	for _, e := range p.Events {
		s.Events = append(s.Events, SpanEvent{e.Name, timeOf(e.TimeUnixNano), attributesOf(e.Attributes)})
	}
	for _, l := range p.Links {
		s.Links = append(s.Links, Link{hex.EncodeToString(l.TraceId), hex.EncodeToString(l.SpanId), attributesOf(l.Attributes)})
	}
	return s
}

func logsOf(m *collogs.ExportLogsServiceRequest) []LogRecord {
	var all []LogRecord
	for _, r := range m.ResourceLogs {
		resource := attributesOf(r.GetResource().GetAttributes())
		for _, scope := range r.ScopeLogs {
			for _, p := range scope.LogRecords {
				all = append(all, LogRecord{
					EventName: p.EventName, Severity: p.SeverityText, SeverityNumber: int(p.SeverityNumber),
					Body: valueOf(p.Body), Attributes: attributesOf(p.Attributes),
					TraceID: hex.EncodeToString(p.TraceId), SpanID: hex.EncodeToString(p.SpanId),
					Time: timeOf(p.TimeUnixNano), Scope: scope.GetScope().GetName(), Resource: resource,
				})
			}
		}
	}
	return all
}

// timeOf is the zero time for 0, which OTLP uses for "not set".
func timeOf(nanos uint64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(nanos))
}

func attributesOf(all []*common.KeyValue) map[string]any {
	m := make(map[string]any, len(all))
	for _, one := range all {
		m[one.Key] = valueOf(one.Value)
	}
	return m
}

func valueOf(v *common.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_DoubleValue:
		return v.DoubleValue
	case *common.AnyValue_BytesValue:
		return v.BytesValue
	case *common.AnyValue_KvlistValue:
		return attributesOf(v.KvlistValue.GetValues())
	case *common.AnyValue_ArrayValue:
		list := make([]any, len(v.ArrayValue.GetValues()))
		for i, one := range v.ArrayValue.GetValues() {
			list[i] = valueOf(one)
		}
		return uniform(list)
	}
	return nil
}

// uniform turns a list of values of one simple type into a slice of that type.
func uniform(list []any) any {
	if len(list) == 0 {
		return list
	}
	switch list[0].(type) {
	case string:
		return sliceOf[string](list)
	case bool:
		return sliceOf[bool](list)
	case int64:
		return sliceOf[int64](list)
	case float64:
		return sliceOf[float64](list)
	}
	return list
}

func sliceOf[T any](list []any) any {
	typed := make([]T, len(list))
	for i, one := range list {
		v, ok := one.(T)
		if !ok {
			return list
		}
		typed[i] = v
	}
	return typed
}

// Tree draws the spans of a trace, or of every trace in order of start when
// traceID is "", one a line: name, kind, "Error" with its message if so, "linked"
// if it has links, and those of the named attributes it has. Children stand in
// order of start, then name. A span whose parent was not received stands at the
// left margin with "(parent not received)".
func (s *Sink) Tree(traceID string, attributes ...string) string {
	var spans []Span
	for _, span := range s.Spans() {
		if traceID == "" || span.TraceID == traceID {
			spans = append(spans, span)
		}
	}
	return Tree(spans, attributes...)
}

// Tree draws spans as [Sink.Tree] does.
func Tree(spans []Span, attributes ...string) string {
	t := &tree{children: map[string][]Span{}, attributes: attributes}
	known := make(map[string]bool, len(spans))
	for _, span := range spans {
		known[span.TraceID+span.SpanID] = true
	}
	var roots []Span
	for _, span := range spans {
		parent := span.TraceID + span.ParentID
		if span.ParentID == "" || !known[parent] {
			roots = append(roots, span)
			continue
		}
		t.children[parent] = append(t.children[parent], span)
	}
	inOrder(roots)
	for _, root := range roots {
		lost := ""
		if root.ParentID != "" {
			lost = " (parent not received)"
		}
		t.out.WriteString(t.line(root) + lost + "\n")
		t.below(root, "")
	}
	return t.out.String()
}

type tree struct {
	children   map[string][]Span // :: trace and parent id → spans
	attributes []string
	out        strings.Builder
}

func inOrder(spans []Span) {
	sort.SliceStable(spans, func(i, j int) bool {
		if !spans[i].Start.Equal(spans[j].Start) {
			return spans[i].Start.Before(spans[j].Start)
		}
		return spans[i].Name < spans[j].Name
	})
}

func (t *tree) line(s Span) string {
	text := s.Name + " " + s.Kind
	if s.StatusCode == "Error" {
		text += " Error"
		if s.StatusMessage != "" {
			text += fmt.Sprintf("(%s)", s.StatusMessage)
		}
	}
	if len(s.Links) > 0 {
		text += " linked"
	}
	for _, name := range t.attributes {
		if value, ok := s.Attributes[name]; ok {
			text += fmt.Sprintf(" %s=%v", name, value)
		}
	}
	return text
}

func (t *tree) below(parent Span, indent string) {
	key := parent.TraceID + parent.SpanID
	children := t.children[key]
	delete(t.children, key) // a span that is its own ancestor is drawn once
	inOrder(children)
	for i, child := range children {
		branch, next := "├─ ", "│  "
		if i == len(children)-1 {
			branch, next = "└─ ", "   "
		}
		t.out.WriteString(indent + branch + t.line(child) + "\n")
		t.below(child, indent+next)
	}
}
