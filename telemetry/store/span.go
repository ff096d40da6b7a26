package store

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Span is a span as it is kept. It belongs to who asked for it.
type Span struct {
	TraceID    trace.TraceID
	SpanID     trace.SpanID
	Parent     trace.SpanID // zero: it has none
	Name       string
	Scope      string // of the instrumentation
	Kind       trace.SpanKind
	Start, End time.Time
	Status     codes.Code
	StatusText string
	Attributes []attribute.KeyValue
	Events     []Event
	Links      []Link
	Dropped    int // attributes, events and links beyond the limits of a span
}

// Event is something that happened at one time within a span.
type Event struct {
	Time       time.Time
	Name       string
	Attributes []attribute.KeyValue
}

// Link leads to another span, maybe of another trace.
type Link struct {
	TraceID    trace.TraceID
	SpanID     trace.SpanID
	Attributes []attribute.KeyValue
}

// Attribute returns the value of key; its type is EMPTY when the span has no such attribute.
func (s *Span) Attribute(key attribute.Key) attribute.Value {
	for i := range s.Attributes {
		if s.Attributes[i].Key == key {
			return s.Attributes[i].Value
		}
	}
	return attribute.Value{}
}
