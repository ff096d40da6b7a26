package telemetry

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protowire"
)

// Spans and log records are written in the OTLP wire format as soon as they end: no tree of messages is built, a queued
// item is one run of bytes whose size is known, and a batch is sent as it lies. Field numbers are those of
// opentelemetry-proto v1.11.0: trace/v1/trace.proto, logs/v1/logs.proto, common/v1/common.proto, resource/v1/resource.proto.

const (
	spanContextHasIsRemote = 0x100 // SpanFlags of trace.proto
	spanContextIsRemote    = 0x200
)

// encoder appends OTLP messages. maxString caps every string value, in bytes; negative: no cap.
type encoder struct{ maxString int }

// open starts a length-delimited field and returns where its body begins.
func open(b []byte, field protowire.Number) ([]byte, int) {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = append(b, 0) // room for a length below 128, the usual case
	return b, len(b)
}

// shut writes the length of the field whose body began at start.
func shut(b []byte, start int) []byte {
	n := len(b) - start
	if n < 0x80 {
		b[start-1] = byte(n)
		return b
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	b = append(b, "\x00\x00\x00\x00\x00\x00\x00\x00\x00"[:more]...)
	copy(b[start+more:], b[start:start+n])
	protowire.AppendVarint(b[:start-1], uint64(n))
	return b
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

func appendUint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

func appendFixed64(b []byte, field protowire.Number, v uint64) []byte {
	b = protowire.AppendTag(b, field, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, v)
}

func appendFixed32(b []byte, field protowire.Number, v uint32) []byte {
	b = protowire.AppendTag(b, field, protowire.Fixed32Type)
	return protowire.AppendFixed32(b, v)
}

// text appends a string: one invalid byte would make a receiver refuse the whole batch.
func (e encoder) text(b []byte, field protowire.Number, s string) []byte {
	if e.maxString >= 0 && len(s) > e.maxString {
		end := e.maxString
		for end > 0 && end > e.maxString-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, s)
}

func (e encoder) optionalText(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return e.text(b, field, s)
}

func (e encoder) keyValues(b []byte, field protowire.Number, kvs []attribute.KeyValue) []byte {
	for i := range kvs {
		b = e.keyValue(b, field, string(kvs[i].Key), kvs[i].Value)
	}
	return b
}

func (e encoder) keyValue(b []byte, field protowire.Number, key string, v attribute.Value) []byte {
	b, pair := open(b, field)
	b = e.text(b, 1, key)
	b, value := open(b, 2)
	b = e.value(b, v)
	return shut(shut(b, value), pair)
}

// value appends the body of an AnyValue.
func (e encoder) value(b []byte, v attribute.Value) []byte {
	switch v.Type() {
	case attribute.STRING:
		return e.text(b, 1, v.AsString())
	case attribute.BOOL:
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		return protowire.AppendVarint(b, protowire.EncodeBool(v.AsBool()))
	case attribute.INT64:
		b = protowire.AppendTag(b, 3, protowire.VarintType)
		return protowire.AppendVarint(b, uint64(v.AsInt64()))
	case attribute.FLOAT64:
		return appendFixed64(b, 4, math.Float64bits(v.AsFloat64()))
	case attribute.BYTESLICE:
		return appendBytes(b, 7, v.AsByteSlice())
	case attribute.MAP:
		b, pairs := open(b, 6)
		return shut(e.keyValues(b, 1, v.AsMap()), pairs)
	case attribute.STRINGSLICE:
		return array(e, b, v.AsStringSlice(), attribute.StringValue)
	case attribute.BOOLSLICE:
		return array(e, b, v.AsBoolSlice(), attribute.BoolValue)
	case attribute.INT64SLICE:
		return array(e, b, v.AsInt64Slice(), attribute.Int64Value)
	case attribute.FLOAT64SLICE:
		return array(e, b, v.AsFloat64Slice(), attribute.Float64Value)
	case attribute.SLICE:
		return array(e, b, v.AsSlice(), func(v attribute.Value) attribute.Value { return v })
	}
	return b // an empty value is a legal one
}

func array[T any](e encoder, b []byte, items []T, value func(T) attribute.Value) []byte {
	b, start := open(b, 5)
	for _, item := range items {
		var at int
		b, at = open(b, 1)
		b = shut(e.value(b, value(item)), at)
	}
	return shut(b, start)
}

// span appends the body of a Span.
func (e encoder) span(b []byte, s sdktrace.ReadOnlySpan) []byte {
	sc, parent := s.SpanContext(), s.Parent()
	tid, sid := sc.TraceID(), sc.SpanID()
	b = appendBytes(b, 1, tid[:])
	b = appendBytes(b, 2, sid[:])
	if ts := sc.TraceState(); ts.Len() > 0 {
		b = e.optionalText(b, 3, ts.String())
	}
	if parent.HasSpanID() {
		id := parent.SpanID()
		b = appendBytes(b, 4, id[:])
	}
	b = e.text(b, 5, s.Name())
	b = appendUint(b, 6, uint64(s.SpanKind())) // the SDK numbers kinds as OTLP does
	start, end := nanos(s.StartTime()), nanos(s.EndTime())
	b = appendFixed64(b, 7, start)
	b = appendFixed64(b, 8, max(start, end))
	b = e.keyValues(b, 9, s.Attributes())
	b = appendUint(b, 10, uint64(s.DroppedAttributes()))
	for _, event := range s.Events() {
		b = e.event(b, event)
	}
	b = appendUint(b, 12, uint64(s.DroppedEvents()))
	for _, link := range s.Links() {
		b = e.link(b, link)
	}
	b = appendUint(b, 14, uint64(s.DroppedLinks()))
	b = e.status(b, s.Status())
	return appendFixed32(b, 16, flags(sc.TraceFlags(), parent))
}

func (e encoder) event(b []byte, event sdktrace.Event) []byte {
	b, start := open(b, 11)
	b = appendFixed64(b, 1, nanos(event.Time))
	b = e.text(b, 2, event.Name)
	b = e.keyValues(b, 3, event.Attributes)
	b = appendUint(b, 4, uint64(event.DroppedAttributeCount))
	return shut(b, start)
}

func (e encoder) link(b []byte, link sdktrace.Link) []byte {
	tid, sid := link.SpanContext.TraceID(), link.SpanContext.SpanID()
	b, start := open(b, 13)
	b = appendBytes(b, 1, tid[:])
	b = appendBytes(b, 2, sid[:])
	b = e.optionalText(b, 3, link.SpanContext.TraceState().String())
	b = e.keyValues(b, 4, link.Attributes)
	b = appendUint(b, 5, uint64(link.DroppedAttributeCount))
	b = appendFixed32(b, 6, flags(link.SpanContext.TraceFlags(), link.SpanContext))
	return shut(b, start)
}

func (e encoder) status(b []byte, s sdktrace.Status) []byte {
	b, start := open(b, 15)
	b = e.optionalText(b, 2, s.Description)
	switch s.Code { // OTLP numbers Ok and Error the other way round
	case codes.Ok:
		b = appendUint(b, 3, 1)
	case codes.Error:
		b = appendUint(b, 3, 2)
	}
	return shut(b, start)
}

// maxLogAttributes is the SDK's default limit.
const maxLogAttributes = 128

// logRecord appends the body of a LogRecord emitted in sc.
func (e encoder) logRecord(b []byte, r *log.Record, sc trace.SpanContext) []byte {
	b = appendFixed64(b, 1, nanos(r.Timestamp()))
	b = appendUint(b, 2, uint64(r.Severity()))
	b = e.optionalText(b, 3, r.SeverityText())
	if body := r.Body(); body.Type() != attribute.EMPTY {
		var start int
		b, start = open(b, 5)
		b = shut(e.value(b, body), start)
	}
	count := 0
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		b = e.keyValue(b, 6, string(kv.Key), kv.Value)
		count++
		return count < maxLogAttributes
	})
	b = appendUint(b, 7, uint64(max(0, r.AttributesLen()-maxLogAttributes)))
	if tid := sc.TraceID(); tid.IsValid() {
		sid := sc.SpanID()
		b = appendFixed32(b, 8, uint32(sc.TraceFlags()))
		b = appendBytes(b, 9, tid[:])
		if sid.IsValid() {
			b = appendBytes(b, 10, sid[:])
		}
	}
	b = appendFixed64(b, 11, nanos(r.ObservedTimestamp()))
	return e.optionalText(b, 12, r.EventName())
}

// resource appends the field resource of ResourceSpans and ResourceLogs, which both number it 1.
func (e encoder) resource(b []byte, r *resource.Resource) []byte {
	b, start := open(b, 1)
	b = e.keyValues(b, 1, r.Attributes())
	return shut(b, start)
}

func flags(own trace.TraceFlags, parent trace.SpanContext) uint32 {
	f := uint32(own) | spanContextHasIsRemote
	if parent.IsRemote() {
		f |= spanContextIsRemote
	}
	return f
}

func nanos(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(0, t.UnixNano()))
}
