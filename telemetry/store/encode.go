package store

import (
	"encoding/binary"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// The kinds of attribute values.
const (
	valueText      = iota // number in the table
	valueTextHere         // the text itself
	valueFalse            // nothing follows
	valueTrue             // nothing follows
	valueInt              // varint
	valueFloat            // 8 bytes
	valueTexts            // count, numbers in the table
	valueEmpty            // nothing follows
	valueOtherText        // of a kind that no attribute of ours has, as text
)

// longText is the size, in bytes, from which a value is written where it stands.
const longText = 96

// encoder writes the spans of an exchange, the last of which is its SERVER span, and fills in the exchange's entry on the way.
type encoder struct {
	summary
	table *table
	base  int64 // start of the SERVER span in Unix nanoseconds, to which times are relative
	spans []sdktrace.ReadOnlySpan
	ids   []trace.SpanID // of spans
	room  [16]trace.SpanID
	kind  role // of the span being written
}

// exchange appends the spans. Ids come first, so that a parent is a number.
func (e *encoder) exchange(b []byte) []byte {
	e.begin(e.spans[len(e.spans)-1])
	e.base = e.nums[numStart]
	b = append(b, e.trace[:]...)
	b = binary.AppendVarint(b, e.base)
	b = binary.AppendUvarint(b, uint64(len(e.spans)))
	e.ids = e.room[:0]
	for _, s := range e.spans {
		id := s.SpanContext().SpanID()
		e.ids = append(e.ids, id)
		b = append(b, id[:]...)
	}
	for _, s := range e.spans {
		b = e.span(b, s)
	}
	e.end()
	return b
}

// parent writes a number, 1 for the first span of the exchange, or 0 and the id.
func (e *encoder) parent(b []byte, id trace.SpanID) []byte {
	for i := len(e.ids) - 1; i >= 0; i-- { // a parent ends after its children
		if e.ids[i] == id {
			return binary.AppendUvarint(b, uint64(i+1))
		}
	}
	return append(append(b, 0), id[:]...)
}

func (e *encoder) span(b []byte, s sdktrace.ReadOnlySpan) []byte {
	status, kind, scope := s.Status(), s.SpanKind(), s.InstrumentationScope().Name
	start := s.StartTime().UnixNano()
	e.kind = kindOf(kind, scope)
	b = append(b, byte(kind)|byte(status.Code)<<4)
	b = e.parent(b, s.Parent().SpanID())
	b = binary.AppendUvarint(b, uint64(e.table.id(s.Name())))
	b = binary.AppendUvarint(b, uint64(e.table.id(scope)))
	b = binary.AppendVarint(b, start-e.base)
	b = binary.AppendVarint(b, s.EndTime().UnixNano()-start)
	b = appendText(b, status.Description)
	b = binary.AppendUvarint(b, uint64(s.DroppedAttributes()+s.DroppedEvents()+s.DroppedLinks()))
	b = e.attributes(b, s.Attributes())
	e.kind = roleNone // what follows is not the span's own
	events := s.Events()
	b = binary.AppendUvarint(b, uint64(len(events)))
	for i := range events {
		b = binary.AppendVarint(b, events[i].Time.UnixNano()-e.base)
		b = binary.AppendUvarint(b, uint64(e.table.id(events[i].Name)))
		b = e.attributes(b, events[i].Attributes)
	}
	links := s.Links()
	b = binary.AppendUvarint(b, uint64(len(links)))
	for i := range links {
		tid, sid := links[i].SpanContext.TraceID(), links[i].SpanContext.SpanID()
		b = append(b, tid[:]...)
		b = append(b, sid[:]...)
		b = e.attributes(b, links[i].Attributes)
	}
	return b
}

func (e *encoder) attributes(b []byte, kvs []attribute.KeyValue) []byte {
	b = binary.AppendUvarint(b, uint64(len(kvs)))
	for i := range kvs {
		v := &kvs[i].Value
		number, role := e.table.key(kvs[i].Key)
		b = binary.AppendUvarint(b, uint64(number))
		b = e.value(b, role, v)
		if role&e.kind != 0 {
			e.note(role, v)
		}
	}
	return b
}

func (e *encoder) value(b []byte, role role, v *attribute.Value) []byte {
	switch v.Type() {
	case attribute.STRING:
		s := v.AsString()
		if len(s) >= longText || role&roleAlone != 0 {
			return appendText(append(b, valueTextHere), s)
		}
		return binary.AppendUvarint(append(b, valueText), uint64(e.table.id(s)))
	case attribute.BOOL:
		if v.AsBool() {
			return append(b, valueTrue)
		}
		return append(b, valueFalse)
	case attribute.INT64:
		return binary.AppendVarint(append(b, valueInt), v.AsInt64())
	case attribute.FLOAT64:
		return binary.LittleEndian.AppendUint64(append(b, valueFloat), math.Float64bits(v.AsFloat64()))
	case attribute.STRINGSLICE:
		list := v.AsStringSlice()
		b = binary.AppendUvarint(append(b, valueTexts), uint64(len(list)))
		for _, s := range list {
			b = binary.AppendUvarint(b, uint64(e.table.id(s)))
		}
		return b
	case attribute.EMPTY:
		return append(b, valueEmpty)
	}
	return appendText(append(b, valueOtherText), v.String())
}

// decoder reads what an encoder wrote.
type decoder struct {
	reader
	list []string // the table
	base int64
}

// smallestSpan is the least number of bytes a span takes.
const smallestSpan = 8 + 10

// exchange reads the spans of one exchange.
func (d *decoder) exchange() ([]Span, error) {
	var id trace.TraceID
	copy(id[:], d.bytes(16))
	d.base = d.int()
	spans := make([]Span, d.count(smallestSpan))
	for i := range spans {
		spans[i].TraceID = id
		copy(spans[i].SpanID[:], d.bytes(8))
	}
	for i := range spans {
		d.span(&spans[i], spans)
	}
	return spans, d.err
}

func (d *decoder) span(s *Span, spans []Span) {
	kind := d.byte()
	s.Kind, s.Status = trace.SpanKind(kind&0xf), codes.Code(kind>>4)
	switch n := d.uint(); {
	case n == 0:
		copy(s.Parent[:], d.bytes(8))
	case n <= uint64(len(spans)):
		s.Parent = spans[n-1].SpanID
	default:
		d.fail()
	}
	s.Name, s.Scope = d.named(), d.named()
	s.Start = d.time()
	s.End = s.Start.Add(time.Duration(d.int()))
	s.StatusText = d.text()
	s.Dropped = int(d.uint())
	s.Attributes = d.attributes()
	s.Events = make([]Event, d.count(3))
	for i := range s.Events {
		s.Events[i] = Event{Time: d.time(), Name: d.named(), Attributes: d.attributes()}
	}
	s.Links = make([]Link, d.count(25))
	for i := range s.Links {
		copy(s.Links[i].TraceID[:], d.bytes(16))
		copy(s.Links[i].SpanID[:], d.bytes(8))
		s.Links[i].Attributes = d.attributes()
	}
}

func (d *decoder) time() time.Time { return time.Unix(0, d.base+d.int()).UTC() }

// named reads a number and returns the text it stands for.
func (d *decoder) named() string {
	n := d.uint()
	if n >= uint64(len(d.list)) {
		d.fail()
		return ""
	}
	return d.list[n]
}

func (d *decoder) attributes() []attribute.KeyValue {
	kvs := make([]attribute.KeyValue, d.count(2))
	for i := range kvs {
		kvs[i].Key = attribute.Key(d.named())
		kvs[i].Value = d.value()
	}
	return kvs
}

func (d *decoder) value() attribute.Value {
	switch d.byte() {
	case valueText:
		return attribute.StringValue(d.named())
	case valueTextHere, valueOtherText:
		return attribute.StringValue(d.text())
	case valueFalse:
		return attribute.BoolValue(false)
	case valueTrue:
		return attribute.BoolValue(true)
	case valueInt:
		return attribute.Int64Value(d.int())
	case valueFloat:
		return attribute.Float64Value(math.Float64frombits(d.fixed64()))
	case valueTexts:
		list := make([]string, d.count(1))
		for i := range list {
			list[i] = d.named()
		}
		return attribute.StringSliceValue(list)
	case valueEmpty:
		return attribute.Value{}
	}
	d.fail()
	return attribute.Value{}
}
