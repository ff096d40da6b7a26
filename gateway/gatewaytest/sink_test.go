package gatewaytest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

// exporters are the real ones, for one protocol.
type exporters struct {
	traces  sdktrace.SpanExporter
	metrics sdkmetric.Exporter
	logs    sdklog.Exporter
}

func start(t *testing.T) *gatewaytest.Sink {
	t.Helper()
	s := gatewaytest.NewSink()
	t.Cleanup(s.Close)
	return s
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func grpcExporters(t *testing.T, s *gatewaytest.Sink) exporters {
	t.Helper()
	endpoint := s.StartGRPC()
	ctx := t.Context()
	return exporters{
		must(otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(endpoint), otlptracegrpc.WithInsecure(), otlptracegrpc.WithCompressor("gzip"),
			otlptracegrpc.WithHeaders(map[string]string{"x-team": "blue"}), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}))),
		must(otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(endpoint), otlpmetricgrpc.WithInsecure())),
		must(otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(endpoint), otlploggrpc.WithInsecure())),
	}
}

func httpExporters(t *testing.T, s *gatewaytest.Sink) exporters {
	t.Helper()
	url := s.StartHTTP()
	ctx := t.Context()
	return exporters{
		must(otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(url+"/v1/traces"), otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
			otlptracehttp.WithHeaders(map[string]string{"x-team": "blue"}), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))),
		must(otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(url+"/v1/metrics"))),
		must(otlploghttp.New(ctx, otlploghttp.WithEndpointURL(url+"/v1/logs"))),
	}
}

func forProtocols(t *testing.T, test func(t *testing.T, s *gatewaytest.Sink, e exporters)) {
	for name, exportersOf := range map[string]func(*testing.T, *gatewaytest.Sink) exporters{"grpc": grpcExporters, "http/protobuf": httpExporters} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			e := exportersOf(t, s)
			t.Cleanup(func() {
				ctx := context.Background()
				_ = e.traces.Shutdown(ctx)
				_ = e.metrics.Shutdown(ctx)
				_ = e.logs.Shutdown(ctx)
			})
			test(t, s, e)
		})
	}
}

func testResource() *resource.Resource {
	return resource.NewSchemaless(attribute.String("service.name", "tested"))
}

func TestSinkFlattensSpansOfRealExporters(t *testing.T) {
	forProtocols(t, func(t *testing.T, s *gatewaytest.Sink, e exporters) {
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(e.traces), sdktrace.WithResource(testResource()))
		tracer := provider.Tracer("scope")
		ctx, root := tracer.Start(t.Context(), "root", trace.WithSpanKind(trace.SpanKindServer))
		_, child := tracer.Start(ctx, "child", trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(trace.Link{SpanContext: root.SpanContext()}))
		child.SetAttributes(attribute.String("s", "canary"), attribute.Int("i", 7), attribute.Float64("f", 1.5), attribute.Bool("b", true),
			attribute.StringSlice("ss", []string{"x", "y"}), attribute.Int64Slice("ii", []int64{1}))
		child.AddEvent("happened", trace.WithAttributes(attribute.Int("n", 1)))
		child.SetStatus(otelcodes.Error, "broken")
		child.End()
		root.End()

		spans := s.Spans()
		if len(spans) != 2 {
			t.Fatalf("got %d spans, want 2", len(spans))
		}
		c, r := spans[0], spans[1]
		if c.ParentID != r.SpanID || c.TraceID != r.TraceID || r.ParentID != "" || r.TraceID != root.SpanContext().TraceID().String() {
			t.Errorf("got ids %+v, %+v", c, r)
		}
		want := map[string]any{"s": "canary", "i": int64(7), "f": 1.5, "b": true, "ss": []string{"x", "y"}, "ii": []int64{1}}
		if diff := cmp.Diff(want, c.Attributes); diff != "" {
			t.Errorf("attributes (-want +got):\n%s", diff)
		}
		if c.Kind != "CLIENT" || c.StatusCode != "Error" || c.StatusMessage != "broken" || r.Kind != "SERVER" || r.StatusCode != "Unset" || c.Scope != "scope" {
			t.Errorf("got %+v, %+v", c, r)
		}
		if len(c.Events) != 1 || c.Events[0].Name != "happened" || c.Events[0].Attributes["n"] != int64(1) || len(c.Links) != 1 || c.Links[0].SpanID != r.SpanID {
			t.Errorf("got events %+v, links %+v", c.Events, c.Links)
		}
		if c.Resource["service.name"] != "tested" || c.Start.Before(r.Start) || c.End.Before(c.Start) {
			t.Errorf("got resource %v, times %v, %v", c.Resource, c.Start, c.End)
		}
		if got, want := s.Tree(c.TraceID, "i"), "root SERVER\n└─ child CLIENT Error(broken) linked i=7\n"; got != want {
			t.Errorf("got tree\n%swant\n%s", got, want)
		}
		if !bytes.Contains(s.Raw(), []byte("canary")) || bytes.Contains(s.Raw(), []byte("absent")) {
			t.Error("Raw does not hold what was sent")
		}
		if x := s.Exports()[0]; x.Header["x-team"][0] != "blue" || x.Items != 1 || !x.Stored || x.Signal != gatewaytest.SignalTraces {
			t.Errorf("got export %+v", x)
		}
	})
}

func TestSinkKeepsTheNewestPointOfEachSeries(t *testing.T) {
	forProtocols(t, func(t *testing.T, s *gatewaytest.Sink, e exporters) {
		reader := sdkmetric.NewPeriodicReader(e.metrics, sdkmetric.WithInterval(time.Hour))
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(testResource()))
		defer func() { _ = provider.Shutdown(context.Background()) }()
		tracer := sdktrace.NewTracerProvider().Tracer("t")
		ctx, span := tracer.Start(t.Context(), "measured")
		meter := provider.Meter("scope")
		counter := must(meter.Float64Counter("cost", metric.WithUnit("{USD}")))
		histogram := must(meter.Float64Histogram("duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(1, 2)))
		gauge := must(meter.Int64Gauge("level"))
		for range 2 {
			counter.Add(ctx, 0.25, metric.WithAttributes(attribute.String("label", "think")))
			counter.Add(ctx, 1, metric.WithAttributes(attribute.String("label", "default")))
			histogram.Record(ctx, 1.5)
			gauge.Record(ctx, 4)
			if err := provider.ForceFlush(ctx); err != nil {
				t.Fatalf("flush: %v", err)
			}
		}
		cost, ok := s.Metric("cost")
		if !ok || cost.Type != "sum" || !cost.Monotonic || cost.Unit != "{USD}" || cost.Temporality != "cumulative" || len(cost.Points) != 2 || cost.Scope != "scope" {
			t.Fatalf("got %+v", cost)
		}
		if p, ok := cost.Point("label", "think"); !ok || p.Value != 0.5 || p.Exemplars[0].TraceID != span.SpanContext().TraceID().String() {
			t.Errorf("got %+v", p)
		}
		if p, ok := cost.Point("label", "other"); ok {
			t.Errorf("got %+v for a series that was not sent", p)
		}
		duration, _ := s.Metric("duration")
		if p := duration.Points[0]; duration.Type != "histogram" || !slices.Equal(duration.Boundaries, []float64{1, 2}) || p.Count != 2 || p.Sum != 3 || p.Max != 1.5 || !slices.Equal(p.BucketCounts, []uint64{0, 2, 0}) {
			t.Errorf("got %+v", duration)
		}
		if level, _ := s.Metric("level"); level.Type != "gauge" || level.Points[0].Value != 4 {
			t.Errorf("got %+v", level)
		}
		if len(s.Metrics()) != 3 {
			t.Errorf("got %d metrics, want 3", len(s.Metrics()))
		}
	})
}

func TestSinkReadsLogRecords(t *testing.T) {
	forProtocols(t, func(t *testing.T, s *gatewaytest.Sink, e exporters) {
		provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewSimpleProcessor(e.logs)), sdklog.WithResource(testResource()))
		ctx, span := sdktrace.NewTracerProvider().Tracer("t").Start(t.Context(), "logged")
		var r log.Record
		r.SetEventName("ccproxy_routing")
		r.SetSeverity(log.SeverityInfo)
		r.SetSeverityText("INFO")
		r.SetBody(attribute.StringValue("routed"))
		r.AddAttributes(attribute.String("label", "think"), attribute.Int("attempt", 2))
		provider.Logger("scope").Emit(ctx, r)
		if err := provider.ForceFlush(ctx); err != nil {
			t.Fatalf("flush: %v", err)
		}
		logs := s.Logs()
		if len(logs) != 1 {
			t.Fatalf("got %d records, want 1", len(logs))
		}
		got := logs[0]
		if got.EventName != "ccproxy_routing" || got.Severity != "INFO" || got.SeverityNumber != 9 || got.Body != "routed" || got.Attributes["attempt"] != int64(2) ||
			got.TraceID != span.SpanContext().TraceID().String() || got.SpanID != span.SpanContext().SpanID().String() || got.Resource["service.name"] != "tested" {
			t.Errorf("got %+v", got)
		}
	})
}

// exportOne sends one span and returns what the exporter says.
func exportOne(ctx context.Context, e exporters) error {
	recorder := &spanCatcher{}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(recorder))
	_, span := provider.Tracer("t").Start(context.Background(), "one")
	span.End()
	return e.traces.ExportSpans(ctx, recorder.spans)
}

type spanCatcher struct{ spans []sdktrace.ReadOnlySpan }

func (c *spanCatcher) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	c.spans = append(c.spans, spans...)
	return nil
}
func (c *spanCatcher) Shutdown(context.Context) error { return nil }

func TestFaultsReachTheExporter(t *testing.T) {
	forProtocols(t, func(t *testing.T, s *gatewaytest.Sink, e exporters) {
		s.SetFault(gatewaytest.Fault{HTTPStatus: 400, GRPCCode: codes.InvalidArgument, Message: "no thanks", RetryAfter: time.Second, Times: 1})
		if err := exportOne(t.Context(), e); err == nil {
			t.Error("refused: got no error")
		}
		if len(s.Spans()) != 0 || s.Exports()[0].Stored {
			t.Error("a refused export was stored")
		}
		if err := exportOne(t.Context(), e); err != nil || len(s.Spans()) != 1 {
			t.Errorf("after one fault: got %v, %d spans", err, len(s.Spans()))
		}
		s.SetFault(gatewaytest.Fault{PartialRejected: 3, Message: "three too many"})
		if err := exportOne(t.Context(), e); err == nil || !strings.Contains(err.Error(), "three too many") {
			t.Errorf("partial success: got %v", err)
		}
		s.SetFault(gatewaytest.Fault{Signal: gatewaytest.SignalLogs, HTTPStatus: 400, GRPCCode: codes.InvalidArgument})
		if err := exportOne(t.Context(), e); err != nil {
			t.Errorf("fault of another signal: got %v", err)
		}
		s.SetFault(gatewaytest.Fault{HTTPStatus: 400, GRPCCode: codes.InvalidArgument, BodyBytes: 100_000})
		if err := exportOne(t.Context(), e); err == nil {
			t.Error("huge body: got no error")
		}
		s.SetFault(gatewaytest.Fault{Delay: time.Hour})
		impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := exportOne(impatient, e); err == nil {
			t.Error("slow: got no error")
		}
	})
}

// arrived waits for the first export to reach the sink.
func arrived(t *testing.T, s *gatewaytest.Sink) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.WaitExports(ctx, func(all []gatewaytest.Export) bool { return len(all) > 0 }); err != nil {
		t.Fatalf("waiting for an export: %v", err)
	}
}

func TestBlackHoleHoldsExportsUntilItIsLifted(t *testing.T) {
	forProtocols(t, func(t *testing.T, s *gatewaytest.Sink, e exporters) {
		s.SetFault(gatewaytest.Fault{BlackHole: true})
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- exportOne(ctx, e) }()
		arrived(t, s)
		cancel()
		if err := <-done; err == nil {
			t.Error("got no error from the black hole")
		}
		if len(s.Spans()) != 0 {
			t.Error("the black hole stored spans")
		}
		s.SetFault(gatewaytest.Fault{})
		if err := exportOne(t.Context(), e); err != nil {
			t.Errorf("after the black hole: %v", err)
		}
	})
}

func TestCloseReleasesTheBlackHole(t *testing.T) {
	forProtocols(t, func(t *testing.T, s *gatewaytest.Sink, e exporters) {
		s.SetFault(gatewaytest.Fault{BlackHole: true})
		done := make(chan error, 1)
		go func() { done <- exportOne(t.Context(), e) }()
		arrived(t, s)
		s.Close()
		if err := <-done; err == nil {
			t.Error("got no error")
		}
	})
}

const exportJSON = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"json"}}]},"scopeSpans":[{"spans":[
{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173","name":"I'm a span","startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1544712661000000000,"kind":2,"unknownField":1,
"attributes":[{"key":"n","value":{"intValue":"12"}},{"key":"mixed","value":{"arrayValue":{"values":[{"stringValue":"a"},{"boolValue":true}]}}}]}]}]}]}`

func post(t *testing.T, url, kind, encoding string, body []byte) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func TestSinkReadsJSONWithHexIDs(t *testing.T) {
	s := start(t)
	url := s.StartHTTP()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte(exportJSON))
	_ = w.Close()
	for encoding, body := range map[string][]byte{"": []byte(exportJSON), "gzip": zipped.Bytes()} {
		if code, answer := post(t, url+"/v1/traces", "application/json; charset=utf-8", encoding, body); code != 200 || answer != "{}" {
			t.Errorf("%q: got %d %s", encoding, code, answer)
		}
	}
	spans := s.Spans()
	if len(spans) != 2 {
		t.Fatalf("got %d spans, want 2", len(spans))
	}
	got := spans[0]
	if got.TraceID != "5b8efff798038103d269b633813fc60c" || got.SpanID != "eee19b7ec3c1b174" || got.ParentID != "eee19b7ec3c1b173" || got.Kind != "SERVER" || got.Attributes["n"] != int64(12) {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]any{"a", true}, got.Attributes["mixed"]); diff != "" {
		t.Errorf("mixed list (-want +got):\n%s", diff)
	}
	if tree := s.Tree(got.TraceID); !strings.HasPrefix(tree, "I'm a span SERVER (parent not received)\n") {
		t.Errorf("got tree %q", tree)
	}
}

func TestSinkRefusesWhatIsNoExport(t *testing.T) {
	s := start(t)
	url := s.StartHTTP()
	tests := []struct {
		path, kind, encoding, body string
		want                       int
	}{
		{"/v1/profiles", "application/json", "", "{}", 404},
		{"/v1/traces", "text/plain", "", "{}", 415},
		{"/v1/traces", "application/json", "", "{", 400},
		{"/v1/traces", "application/json", "", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}`, 400},
		{"/v1/metrics", "application/x-protobuf", "", "\xff\xff", 400},
		{"/v1/logs", "application/x-protobuf", "gzip", "not gzip", 400},
		{"/v1/logs", "application/x-protobuf", "br", "", 400},
		{"/v1/logs", "application/x-protobuf", "", "", 200},
	}
	for _, test := range tests {
		if got, answer := post(t, url+test.path, test.kind, test.encoding, []byte(test.body)); got != test.want {
			t.Errorf("%s %s: got %d %s, want %d", test.path, test.kind, got, answer, test.want)
		}
	}
}

func TestWaitSpansWakesOnArrivalAndEndsWithTheContext(t *testing.T) {
	s := start(t)
	e := grpcExporters(t, s)
	defer func() { _ = e.traces.Shutdown(context.Background()) }()
	woken := make(chan error, 1)
	go func() {
		woken <- s.WaitSpans(t.Context(), func(spans []gatewaytest.Span) bool { return len(spans) == 2 })
	}()
	for range 2 {
		if err := exportOne(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-woken; err != nil {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WaitLogs(ctx, func(logs []gatewaytest.LogRecord) bool { return len(logs) > 0 }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	s.Reset()
	if len(s.Spans())+len(s.Exports())+len(s.Raw()) != 0 {
		t.Error("Reset left something behind")
	}
}

func TestTreeOrdersChildrenByStart(t *testing.T) {
	at := func(n int64) time.Time { return time.Unix(0, n) }
	spans := []gatewaytest.Span{
		{Name: "late", TraceID: "t", SpanID: "3", ParentID: "1", Start: at(30), Kind: "INTERNAL"},
		{Name: "leaf", TraceID: "t", SpanID: "4", ParentID: "2", Start: at(21), Kind: "CLIENT"},
		{Name: "root", TraceID: "t", SpanID: "1", Start: at(10), Kind: "SERVER"},
		{Name: "early", TraceID: "t", SpanID: "2", ParentID: "1", Start: at(20), Kind: "INTERNAL", StatusCode: "Error"},
		{Name: "other", TraceID: "u", SpanID: "1", Start: at(5), Kind: "SERVER"},
	}
	want := "other SERVER\nroot SERVER\n├─ early INTERNAL Error\n│  └─ leaf CLIENT\n└─ late INTERNAL\n"
	if got := gatewaytest.Tree(spans); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestGRPCRefusalCarriesRetryInfo(t *testing.T) {
	s := start(t)
	e := grpcExporters(t, s)
	defer func() { _ = e.traces.Shutdown(context.Background()) }()
	s.SetFault(gatewaytest.Fault{GRPCCode: codes.ResourceExhausted, RetryAfter: 7 * time.Second})
	err := exportOne(t.Context(), e)
	refusal, ok := status.FromError(errors.Unwrap(err))
	if !ok || refusal.Code() != codes.ResourceExhausted || len(refusal.Details()) != 1 {
		t.Errorf("got %v", err)
	}
}
