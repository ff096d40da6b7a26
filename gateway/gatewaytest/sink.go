package gatewaytest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// The signals of an export.
const (
	SignalTraces  = "traces"
	SignalMetrics = "metrics"
	SignalLogs    = "logs"
)

// maxRaw bounds, in bytes, what Raw remembers.
const maxRaw = 256 << 20

// maxExport bounds, in bytes, one decompressed export.
const maxExport = 64 << 20

// Fault is how the sink mistreats exports. The zero value is no fault.
type Fault struct {
	// Signal limits the fault to one signal. "": all.
	Signal string
	// Times limits the fault to that many exports. 0: until it is replaced.
	Times int
	// HTTPStatus refuses exports over HTTP with this status. 0: accept.
	HTTPStatus int
	// GRPCCode refuses exports over gRPC with this code. OK: accept.
	GRPCCode codes.Code
	// Message goes with a refusal or a partial success.
	Message string
	// RetryAfter is sent with a refusal, as Retry-After or RetryInfo. 0: none.
	RetryAfter time.Duration
	// BlackHole takes an export in and never answers, until the client leaves,
	// the fault is replaced or the sink is closed. Nothing is stored.
	BlackHole bool
	// Delay waits before anything else is done with an export.
	Delay time.Duration
	// PartialRejected reports that many items as rejected (all are stored).
	PartialRejected int64
	// BodyBytes makes the message of the answer at least this long. 0: as it is.
	BodyBytes int
}

// refuses reports whether exports over the given protocol are not to be stored.
func (f Fault) refuses(protocol string) bool {
	if protocol == "grpc" {
		return f.GRPCCode != codes.OK
	}
	return f.HTTPStatus != 0
}

// message is the fault's text, at least BodyBytes long.
func (f Fault) message() string {
	text := f.Message
	if n := f.BodyBytes - len(text); n > 0 {
		pad := make([]byte, n)
		for i := range pad {
			pad[i] = 'x'
		}
		text += string(pad)
	}
	return text
}

// Export is one export request the sink received, stored or not.
type Export struct {
	Signal   string
	Protocol string              // "grpc", "http/protobuf" or "http/json"
	Header   map[string][]string // keys in lower case
	Bytes    int                 // of the decoded protobuf message
	Items    int                 // spans, metrics or log records
	Stored   bool
	Time     time.Time
}

// Sink receives OpenTelemetry traces, metrics and logs over OTLP, keeps them until
// Reset, and answers
// questions about them. It may be used concurrently. Close it when done.
type Sink struct {
	mu       sync.Mutex
	fault    Fault
	released chan struct{} // closed when the fault is replaced or the sink closed
	changed  chan struct{} // closed and replaced at each change
	closed   bool

	spans   []Span
	metrics map[string]*Metric // :: name and scope → metric
	points  map[string]int     // :: metric and attributes → index of its point
	order   []string           // keys of metrics, as first seen
	logs    []LogRecord
	raw     []byte
	exports []*Export

	running sync.WaitGroup
	stop    []func()
}

// NewSink returns a sink that listens nowhere yet.
func NewSink() *Sink {
	return &Sink{
		released: make(chan struct{}),
		changed:  make(chan struct{}),
		metrics:  map[string]*Metric{},
		points:   map[string]int{},
	}
}

// StartGRPC serves OTLP over gRPC, without TLS, on a free loopback port and
// returns its address as host:port. It panics when there is none.
func (s *Sink) StartGRPC() (endpoint string) {
	listener := listenLoopback()
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxExport), grpc.WaitForHandlers(true))
	coltraces.RegisterTraceServiceServer(server, grpcTraces{sink: s})
	colmetrics.RegisterMetricsServiceServer(server, grpcMetrics{sink: s})
	collogs.RegisterLogsServiceServer(server, grpcLogs{sink: s})
	s.serve(func() { _ = server.Serve(listener) }, server.Stop)
	return listener.Addr().String()
}

// StartHTTP serves OTLP over HTTP on a free loopback port and returns its base
// URL, to which the environment's OTEL_EXPORTER_OTLP_ENDPOINT adds /v1/traces,
// /v1/metrics and /v1/logs; an exporter's WithEndpointURL does not. It panics when
// there is no port.
func (s *Sink) StartHTTP() (url string) {
	listener := listenLoopback()
	server := &http.Server{Handler: http.HandlerFunc(s.serveHTTP), ReadHeaderTimeout: time.Minute}
	s.serve(func() { _ = server.Serve(listener) }, func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}

func listenLoopback() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic("gatewaytest: no loopback port: " + err.Error())
	}
	return listener
}

// serve runs a server until Close.
func (s *Sink) serve(run, stop func()) {
	s.mu.Lock()
	s.stop = append(s.stop, stop)
	s.mu.Unlock()
	s.running.Go(run)
}

// Close stops the servers, releases exports that hang, and waits for them. What
// was received stays available.
func (s *Sink) Close() {
	s.mu.Lock()
	stop := s.stop
	s.stop = nil
	if !s.closed {
		s.closed = true
		close(s.released)
	}
	s.mu.Unlock()
	for _, f := range stop {
		f()
	}
	s.running.Wait()
}

// SetFault replaces the fault and releases exports the previous one holds.
func (s *Sink) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
	if !s.closed {
		close(s.released)
		s.released = make(chan struct{})
	}
}

// Reset forgets everything received. The fault stays.
func (s *Sink) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spans, s.logs, s.raw, s.exports, s.order = nil, nil, nil, nil, nil
	s.metrics, s.points = map[string]*Metric{}, map[string]int{}
	s.announce()
}

// receive applies the fault to one export and stores it unless refused. It
// returns the fault to answer with, and ctx's error when the client left.
func (s *Sink) receive(ctx context.Context, e Export, m proto.Message) (Fault, error) {
	e.Time = time.Now()
	fault, released := s.arrive(&e)
	if err := hold(ctx, fault, released); err != nil || fault.BlackHole {
		return fault, err
	}
	if !fault.refuses(e.Protocol) {
		s.store(&e, m)
	}
	return fault, nil
}

// hold waits as the fault says; it fails when the client leaves.
func hold(ctx context.Context, f Fault, released <-chan struct{}) error {
	var delay <-chan time.Time
	switch {
	case f.BlackHole:
	case f.Delay > 0:
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		delay = t.C
	default:
		return nil
	}
	select {
	case <-delay:
	case <-released:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// arrive notes an export and returns the fault meant for it.
func (s *Sink) arrive(e *Export) (Fault, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exports = append(s.exports, e)
	s.announce()
	f := s.fault
	if f.Signal != "" && f.Signal != e.Signal {
		return Fault{}, s.released
	}
	if f.Times == 1 {
		s.fault = Fault{}
	} else if f.Times > 1 {
		s.fault.Times--
	}
	return f, s.released
}

// store keeps what is in an export.
func (s *Sink) store(e *Export, m proto.Message) {
	raw, _ := proto.Marshal(m) // cannot fail: it was just read
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Stored = true
	s.raw = append(s.raw, raw[:min(len(raw), maxRaw-len(s.raw))]...)
	switch m := m.(type) {
	case *coltraces.ExportTraceServiceRequest:
		s.spans = append(s.spans, spansOf(m)...)
	case *colmetrics.ExportMetricsServiceRequest:
		s.addMetrics(m)
	case *collogs.ExportLogsServiceRequest:
		s.logs = append(s.logs, logsOf(m)...)
	}
	s.announce()
}

func (s *Sink) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Spans returns the spans received, in the order they came.
func (s *Sink) Spans() []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Span(nil), s.spans...)
}

// Logs returns the log records received, in the order they came.
func (s *Sink) Logs() []LogRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]LogRecord(nil), s.logs...)
}

// Exports returns the export requests received, in the order they came, refused
// and waiting ones included.
func (s *Sink) Exports() []Export {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Export, len(s.exports))
	for i, e := range s.exports {
		all[i] = *e
	}
	return all
}

// Raw returns the stored exports as protobuf, one after the other, up to 256 MiB:
// to search for text that must not be in them.
func (s *Sink) Raw() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]byte(nil), s.raw...)
}

// WaitSpans returns when ok reports true of the spans received, which it is asked
// at once and after every export, or ctx's error when that comes first.
func (s *Sink) WaitSpans(ctx context.Context, ok func([]Span) bool) error {
	return s.wait(ctx, func() bool { return ok(s.Spans()) })
}

// WaitMetrics is WaitSpans for metrics.
func (s *Sink) WaitMetrics(ctx context.Context, ok func([]Metric) bool) error {
	return s.wait(ctx, func() bool { return ok(s.Metrics()) })
}

// WaitLogs is WaitSpans for log records.
func (s *Sink) WaitLogs(ctx context.Context, ok func([]LogRecord) bool) error {
	return s.wait(ctx, func() bool { return ok(s.Logs()) })
}

// WaitExports is WaitSpans for export requests.
func (s *Sink) WaitExports(ctx context.Context, ok func([]Export) bool) error {
	return s.wait(ctx, func() bool { return ok(s.Exports()) })
}

func (s *Sink) wait(ctx context.Context, ok func() bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if ok() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
