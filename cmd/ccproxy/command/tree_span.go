package command

import (
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// treeSpan is what a tree shows of one span, wherever the span was kept.
type treeSpan struct {
	ID, Parent string // hexadecimal; Parent is "" for the root of the trace
	Name       string
	Kind       trace.SpanKind
	Start, End time.Time
	Error      bool     // status Error
	Links      []string // ids of the spans linked to
	Alerts     []string // budget alerts, in words
	Attributes map[attribute.Key]attribute.Value
}

// treeSpanOf copies what a tree needs of an SDK span, and keeps no reference to it.
func treeSpanOf(s sdktrace.ReadOnlySpan) treeSpan {
	out := treeSpan{
		ID: s.SpanContext().SpanID().String(), Name: s.Name(), Kind: s.SpanKind(), Start: s.StartTime(), End: s.EndTime(),
		Error: s.Status().Code == codes.Error, Attributes: map[attribute.Key]attribute.Value{},
	}
	if s.Parent().SpanID().IsValid() {
		out.Parent = s.Parent().SpanID().String()
	}
	for _, l := range s.Links() {
		out.Links = append(out.Links, l.SpanContext.SpanID().String())
	}
	for _, e := range s.Events() {
		if e.Name == names.SpanEventBudgetAlert {
			out.Alerts = append(out.Alerts, alertWords(e.Attributes))
		}
	}
	for _, kv := range s.Attributes() {
		out.Attributes[kv.Key] = kv.Value
	}
	return out
}

// alertWords says which alert an event on a span is.
func alertWords(attrs []attribute.KeyValue) string {
	set := attribute.NewSet(attrs...)
	value := func(k attribute.Key) attribute.Value {
		v, _ := set.Value(k)
		return v
	}
	budget := "budget " + value(names.KeyBudgetName).AsString()
	switch kind := value(names.KeyBudgetAlertType).AsString(); kind {
	case names.AlertThresholdCrossed:
		return fmt.Sprintf("%s: %.0f %% crossed", budget, 100*value(names.KeyBudgetThreshold).AsFloat64())
	case names.AlertBudgetCrossed:
		return budget + ": spent"
	case names.AlertUnpricedRequest:
		return "no price of its own: " + value(names.KeyModelRouted).AsString()
	default:
		return budget + ": " + kind
	}
}

// duration is how long the span took.
func (s *treeSpan) duration() time.Duration { return s.End.Sub(s.Start) }

// text returns an attribute as text, "" when it is absent.
func (s *treeSpan) text(k attribute.Key) string {
	v, ok := s.Attributes[k]
	if !ok {
		return ""
	}
	return v.String()
}

// number returns a whole-numbered attribute, 0 when it is absent.
func (s *treeSpan) number(k attribute.Key) int64 { return s.Attributes[k].AsInt64() }

// seconds returns an attribute in seconds as a duration, 0 when it is absent.
func (s *treeSpan) seconds(k attribute.Key) time.Duration {
	return time.Duration(s.Attributes[k].AsFloat64() * float64(time.Second))
}

// has reports whether the attribute is there.
func (s *treeSpan) has(k attribute.Key) bool { _, ok := s.Attributes[k]; return ok }
