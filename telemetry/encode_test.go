package telemetry

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// capture is the library's client: it shows what the library would send.
type capture struct{ got []*tracepb.ResourceSpans }

func (c *capture) Start(context.Context) error { return nil }
func (c *capture) Stop(context.Context) error  { return nil }
func (c *capture) UploadTraces(_ context.Context, rs []*tracepb.ResourceSpans) error {
	c.got = append(c.got, rs...)
	return nil
}

func allKindsOfAttributes() []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("string", "größe 🎈"), attribute.String("empty", ""), attribute.Bool("bool", true), attribute.Bool("false", false),
		attribute.Int("int", 1234567), attribute.Int("negative", -1), attribute.Int("zero", 0), attribute.Float64("float", -1.5),
		attribute.StringSlice("strings", []string{"a", "", strings.Repeat("x", 300)}), attribute.IntSlice("ints", []int{0, -5}),
		attribute.BoolSlice("bools", []bool{true, false}), attribute.Float64Slice("floats", []float64{0, 2.5}),
		attribute.ByteSlice("bytes", []byte{0, 255}), attribute.Map("map", attribute.String("k", "v"), attribute.Map("deeper", attribute.Int("n", 1))),
		attribute.Slice("slice", attribute.StringValue("s"), attribute.IntValue(2)), attribute.String("long", strings.Repeat("y", 20000)),
	}
}

func TestSpansAreEncodedAsTheLibraryDoes(t *testing.T) {
	library := &capture{}
	exporter := otlptrace.NewUnstarted(library)
	var ours endedSpan
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSyncer(exporter), sdktrace.WithSpanProcessor(&ours),
		sdktrace.WithResource(resource.NewWithAttributes("https://schema", attribute.String("service.name", "x"))))
	tracer := provider.Tracer("scope", trace.WithInstrumentationVersion("1.2"), trace.WithSchemaURL("https://scope"), trace.WithInstrumentationAttributes(attribute.Bool("a", true)))
	state, _ := trace.ParseTraceState("k=v")
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Remote: true, TraceFlags: trace.FlagsSampled, TraceState: state})
	_, span := tracer.Start(trace.ContextWithRemoteSpanContext(t.Context(), remote), "name", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(allKindsOfAttributes()...), trace.WithLinks(trace.Link{SpanContext: remote.WithTraceState(trace.TraceState{}), Attributes: allKindsOfAttributes()}))
	for i := range 200 {
		span.AddEvent(fmt.Sprint("event ", i), trace.WithAttributes(attribute.Int("i", i)))
		span.SetAttributes(attribute.Int(fmt.Sprint("extra.", i), i))
	}
	span.SetStatus(codes.Error, "because")
	span.End()

	e := encoder{maxString: -1}
	b := &batch{}
	b.add(0, e.span(nil, ours.span), 0)
	res := ours.span.Resource()
	request := b.request(e.resource(nil, res), e.optionalText(nil, 3, res.SchemaURL()), []scope{newScope(ours.span.InstrumentationScope())})
	var got tracepb.TracesData
	if err := proto.Unmarshal(join(request), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(library.got, got.ResourceSpans, protocmp.Transform()); diff != "" {
		t.Errorf("encoded span differs (-library +ours):\n%s", diff)
	}
}

func join(pieces [][]byte) []byte {
	var all []byte
	for _, p := range pieces {
		all = append(all, p...)
	}
	return all
}

// TestO11SpansNeverEndBeforeTheyStart: a caller's time stamps may disagree, durations must not be negative.
func TestO11SpansNeverEndBeforeTheyStart(t *testing.T) {
	var ours endedSpan
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(&ours))
	now := time.Now()
	_, span := provider.Tracer("").Start(t.Context(), "", trace.WithTimestamp(now))
	span.End(trace.WithTimestamp(now.Add(-time.Hour)))
	var got tracepb.Span
	if err := proto.Unmarshal(encoder{}.span(nil, ours.span), &got); err != nil {
		t.Fatal(err)
	}
	if got.EndTimeUnixNano < got.StartTimeUnixNano {
		t.Errorf("got end %d before start %d", got.EndTimeUnixNano, got.StartTimeUnixNano)
	}
}

// TestO13AttributeBombsAreCut: whatever ends up in attributes, the batch stays deliverable.
func TestO13AttributeBombsAreCut(t *testing.T) {
	s := newSink(t)
	tel := start(t, Config{Exporters: []Exporter{{Name: "sink", Endpoint: s.grpcAddr}}})
	_, span := tel.TracerProvider().Tracer("").Start(t.Context(), "name \xff")
	span.SetAttributes(attribute.String("prompt", strings.Repeat("é", 5<<20)), attribute.String("bad", "\xff\xfe"), attribute.String("bad key \xc3", "x"))
	for i := range 10_000 {
		span.SetAttributes(attribute.Int(fmt.Sprint("tool.", i), i))
	}
	span.AddEvent("e", trace.WithAttributes(attribute.String("big", strings.Repeat("x", 1<<20))))
	span.End()
	shutdown(t, tel)
	if len(s.spans) != 1 {
		t.Fatalf("got %d spans, want 1", len(s.spans))
	}
	got := s.spans[0]
	if len(got.Attributes) != 128 {
		t.Errorf("got %d attributes, want 128", len(got.Attributes))
	}
	for _, kv := range got.Attributes {
		if v := kv.Value.GetStringValue(); len(v) > 8<<10 || !utf8.ValidString(v) {
			t.Errorf("attribute %q: %d bytes, valid %v", kv.Key, len(v), utf8.ValidString(v))
		}
	}
	if n := len(got.Events[0].Attributes[0].Value.GetStringValue()); n > 8<<10 {
		t.Errorf("event attribute of %d bytes", n)
	}
}

func TestLogRecordsArriveWhole(t *testing.T) {
	s := newSink(t)
	tel := start(t, Config{ServiceName: "svc", Exporters: []Exporter{{Name: "sink", Endpoint: s.httpURL, Protocol: ProtocolHTTP, Compression: "gzip", Headers: map[string]string{"x-test": "yes"}}}})
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{7}, SpanID: trace.SpanID{8}, TraceFlags: trace.FlagsSampled}))
	var r log.Record
	at := time.Unix(1, 2)
	r.SetTimestamp(at)
	r.SetObservedTimestamp(at.Add(time.Second))
	r.SetSeverity(log.SeverityWarn)
	r.SetSeverityText("WARN")
	r.SetEventName("ccproxy_fallback")
	r.SetBody(attribute.StringValue("fallback"))
	r.AddAttributes(allKindsOfAttributes()...)
	tel.LoggerProvider().Logger("scope").Emit(ctx, r)
	shutdown(t, tel)
	if len(s.logs) != 1 {
		t.Fatalf("got %d log records, want 1", len(s.logs))
	}
	got := s.logs[0]
	var traceID, spanID [16]byte
	traceID[0], spanID[0] = 7, 8
	want := &logspb.LogRecord{
		TimeUnixNano: uint64(at.UnixNano()), ObservedTimeUnixNano: uint64(at.Add(time.Second).UnixNano()),
		SeverityNumber: logspb.SeverityNumber_SEVERITY_NUMBER_WARN, SeverityText: "WARN", EventName: "ccproxy_fallback",
		Flags: 1, TraceId: traceID[:], SpanId: spanID[:8], Body: got.Body, Attributes: got.Attributes,
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("log record (-want +got):\n%s", diff)
	}
	if got.Body.GetStringValue() != "fallback" || len(got.Attributes) != len(allKindsOfAttributes()) {
		t.Errorf("got body %v and %d attributes", got.Body, len(got.Attributes))
	}
	if s.encoding != "gzip" || len(s.headers) == 0 {
		t.Errorf("got encoding %q, headers %v", s.encoding, s.headers)
	}
}

func FuzzEncodedValuesDecode(f *testing.F) {
	f.Add("key", "value", int64(1), 1.5, true, []byte("bytes"))
	f.Add("\xff", strings.Repeat("\xf0\x9f\x8e", 90), int64(-1), 0.0, false, []byte{})
	f.Fuzz(func(t *testing.T, key, value string, i int64, x float64, flag bool, raw []byte) {
		var r log.Record
		r.SetBody(attribute.SliceValue(attribute.StringValue(value), attribute.Int64Value(i), attribute.Float64Value(x),
			attribute.BoolValue(flag), attribute.ByteSliceValue(raw), attribute.MapValue(attribute.StringSlice(key, []string{key, value}))))
		r.SetEventName(value)
		encoded := encoder{maxString: 100}.logRecord(nil, &r, trace.SpanContext{})
		var got logspb.LogRecord
		if err := proto.Unmarshal(encoded, &got); err != nil {
			t.Fatalf("decode: %v", err)
		}
		if len(got.EventName) > 100*utf8.UTFMax {
			t.Errorf("event name of %d bytes", len(got.EventName))
		}
		values := got.Body.GetArrayValue().GetValues()
		if len(values) != 6 || values[1].GetIntValue() != i || values[3].GetBoolValue() != flag || string(values[4].GetBytesValue()) != string(raw) {
			t.Fatalf("got %v", values)
		}
		if math.Float64bits(values[2].GetDoubleValue()) != math.Float64bits(x) {
			t.Errorf("got %v, want %v", values[2].GetDoubleValue(), x)
		}
		if len(value) <= 100 && utf8.ValidString(value) && values[0].GetStringValue() != value {
			t.Errorf("got %q, want %q", values[0].GetStringValue(), value)
		}
	})
}

func FuzzAnswersAreRead(f *testing.F) {
	f.Add([]byte{10, 4, 8, 3, 18, 0})
	f.Fuzz(func(t *testing.T, answer []byte) {
		if rejected, _ := partialSuccess(answer); rejected < 0 {
			t.Errorf("got %d rejected", rejected)
		}
	})
}
