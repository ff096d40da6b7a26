package telemetry

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is an OTLP receiver that keeps what it gets and answers as told.
type sink struct {
	coltracepb.UnimplementedTraceServiceServer

	grpcAddr string // host:port
	httpURL  string

	// answer decides each request, numbered from 1; nil: everything is taken.
	answer func(n int, items int) answer

	mu       sync.Mutex
	requests int
	spans    []*tracepb.Span
	logs     []*logspb.LogRecord
	metrics  []*metricspb.ResourceMetrics
	traces   []*tracepb.ResourceSpans
	headers  []string // values of the header x-test
	encoding string   // Content-Encoding of the last HTTP request
	paths    []string
}

type answer struct {
	err      error // gRPC
	status   int   // HTTP; 0: 200
	header   http.Header
	body     io.Reader
	rejected int64
	message  string
	delay    time.Duration
}

func newSink(t testing.TB) *sink {
	t.Helper()
	s := &sink{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(server, s)
	collogspb.RegisterLogsServiceServer(server, logSink{sink: s})
	colmetricspb.RegisterMetricsServiceServer(server, metricSink{sink: s})
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	web := httptest.NewServer(http.HandlerFunc(s.serveHTTP))
	t.Cleanup(func() { server.Stop(); <-done; web.Close() })
	s.grpcAddr, s.httpURL = listener.Addr().String(), web.URL
	return s
}

func (s *sink) decide(ctx context.Context, items int) answer {
	s.mu.Lock()
	s.requests++
	n := s.requests
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		s.headers = append(s.headers, md.Get("x-test")...)
	}
	s.mu.Unlock()
	var a answer
	if s.answer != nil {
		a = s.answer(n, items)
	}
	select {
	case <-time.After(a.delay):
	case <-ctx.Done():
	}
	return a
}

func (s *sink) Export(ctx context.Context, r *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	a := s.decide(ctx, countSpans(r.ResourceSpans))
	if a.err != nil {
		return nil, a.err
	}
	s.takeSpans(r.ResourceSpans)
	return &coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: a.rejected, ErrorMessage: a.message}}, nil
}

func (s *sink) takeSpans(list []*tracepb.ResourceSpans) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traces = append(s.traces, list...)
	for _, rs := range list {
		for _, ss := range rs.ScopeSpans {
			s.spans = append(s.spans, ss.Spans...)
		}
	}
}

func countSpans(list []*tracepb.ResourceSpans) (n int) {
	for _, rs := range list {
		for _, ss := range rs.ScopeSpans {
			n += len(ss.Spans)
		}
	}
	return n
}

// logSink and metricSink exist because the three services' methods have one name.
type logSink struct {
	collogspb.UnimplementedLogsServiceServer
	sink *sink
}

func (l logSink) Export(ctx context.Context, r *collogspb.ExportLogsServiceRequest) (*collogspb.ExportLogsServiceResponse, error) {
	a := l.sink.decide(ctx, len(r.ResourceLogs))
	if a.err != nil {
		return nil, a.err
	}
	l.sink.takeLogs(r.ResourceLogs)
	return &collogspb.ExportLogsServiceResponse{}, nil
}

type metricSink struct {
	colmetricspb.UnimplementedMetricsServiceServer
	sink *sink
}

func (m metricSink) Export(ctx context.Context, r *colmetricspb.ExportMetricsServiceRequest) (*colmetricspb.ExportMetricsServiceResponse, error) {
	a := m.sink.decide(ctx, len(r.ResourceMetrics))
	if a.err != nil {
		return nil, a.err
	}
	m.sink.mu.Lock()
	m.sink.metrics = append(m.sink.metrics, r.ResourceMetrics...)
	m.sink.mu.Unlock()
	return &colmetricspb.ExportMetricsServiceResponse{PartialSuccess: &colmetricspb.ExportMetricsPartialSuccess{RejectedDataPoints: a.rejected, ErrorMessage: a.message}}, nil
}

func (s *sink) serveHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	s.mu.Lock()
	s.encoding = r.Header.Get("Content-Encoding")
	s.paths = append(s.paths, r.URL.Path)
	s.headers = append(s.headers, r.Header.Values("x-test")...)
	s.mu.Unlock()
	if r.Header.Get("Content-Encoding") == "gzip" {
		zip, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = zip
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return
	}
	var traces coltracepb.ExportTraceServiceRequest
	var logs collogspb.ExportLogsServiceRequest
	var metrics colmetricspb.ExportMetricsServiceRequest
	switch {
	case strings.HasSuffix(r.URL.Path, "/logs"):
		err = proto.Unmarshal(raw, &logs)
	case strings.HasSuffix(r.URL.Path, "/metrics"):
		err = proto.Unmarshal(raw, &metrics)
	default:
		err = proto.Unmarshal(raw, &traces)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a := s.decide(r.Context(), countSpans(traces.ResourceSpans))
	for k, v := range a.header {
		w.Header()[k] = v
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
		if a.body != nil {
			_, _ = io.Copy(w, a.body)
		}
		return
	}
	s.takeSpans(traces.ResourceSpans)
	s.takeLogs(logs.ResourceLogs)
	s.mu.Lock()
	s.metrics = append(s.metrics, metrics.ResourceMetrics...)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-protobuf")
	reply, _ := proto.Marshal(&coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: a.rejected, ErrorMessage: a.message}})
	_, _ = w.Write(reply)
	if a.body != nil {
		_, _ = io.Copy(w, a.body)
	}
}

func (s *sink) takeLogs(list []*logspb.ResourceLogs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rl := range list {
		for _, sl := range rl.ScopeLogs {
			s.logs = append(s.logs, sl.LogRecords...)
		}
	}
}

func (s *sink) counts() (spans, logs, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.spans), len(s.logs), s.requests
}

// blackHole accepts connections and reads nothing, ever.
func blackHole(t testing.TB) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	})
	return listener.Addr().String()
}

// refused returns an address nothing listens on.
func refused(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
