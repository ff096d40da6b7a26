package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

func start(t testing.TB, cfg Config) *Telemetry {
	t.Helper()
	tel, err := Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	return tel
}

func shutdown(t testing.TB, tel *Telemetry) {
	t.Helper()
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func makeSpans(tel *Telemetry, n int, attrs ...attribute.KeyValue) {
	tracer := tel.TracerProvider().Tracer("test")
	for range n {
		_, span := tracer.Start(context.Background(), "span")
		span.SetAttributes(attrs...)
		span.End()
	}
}

// eventually waits, by polling what real sockets bring about, until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still not: %s", what)
		}
	}
}

func traceStatus(tel *Telemetry) ExporterStatus {
	for _, s := range tel.Status() {
		if s.Signal == Traces {
			return s
		}
	}
	return ExporterStatus{}
}

func TestEverySignalArrivesOverBothProtocols(t *testing.T) {
	for _, protocol := range []string{ProtocolGRPC, ProtocolHTTP} {
		t.Run(protocol, func(t *testing.T) {
			s := newSink(t)
			to := s.grpcAddr
			if protocol == ProtocolHTTP {
				to = s.httpURL + "/base"
			}
			tel := start(t, Config{ServiceName: "svc", Exporters: []Exporter{{Name: "sink", Endpoint: to, Protocol: protocol, Headers: map[string]string{"x-test": "secret"}}}})
			makeSpans(tel, 3)
			var r log.Record
			r.SetEventName(names.EventSuccess)
			tel.LoggerProvider().Logger("test").Emit(t.Context(), r)
			counter, _ := tel.MeterProvider().Meter("test").Int64Counter("c")
			counter.Add(t.Context(), 1)
			shutdown(t, tel)
			if len(s.spans) != 3 || len(s.logs) != 1 || len(s.metrics) == 0 {
				t.Errorf("got %d spans, %d logs, %d metrics", len(s.spans), len(s.logs), len(s.metrics))
			}
			if len(s.headers) < 3 {
				t.Errorf("got headers %v, want them on all signals", s.headers)
			}
			if protocol == ProtocolHTTP && !strings.Contains(strings.Join(s.paths, " "), "/base/v1/traces") {
				t.Errorf("got paths %v", s.paths)
			}
			for _, st := range tel.Status() {
				if st.Exported == 0 || st.LastSuccess.IsZero() || st.QueueBytes != 0 {
					t.Errorf("status %+v", st)
				}
			}
		})
	}
}

func TestSeveralExportersEachGetEverything(t *testing.T) {
	a, b := newSink(t), newSink(t)
	tel := start(t, Config{Exporters: []Exporter{
		{Name: "a", Endpoint: a.grpcAddr}, {Name: "b", Endpoint: b.httpURL, Protocol: ProtocolHTTP, Signals: []Signal{Traces}},
		{Name: "down", Endpoint: refused(t), Signals: []Signal{Traces}},
	}})
	makeSpans(tel, 1000)
	eventually(t, "both have all", func() bool {
		na, _, _ := a.counts()
		nb, _, _ := b.counts()
		return na == 1000 && nb == 1000
	})
}

func TestNoEndpointMeansNothingLeavesAndNothingRuns(t *testing.T) {
	before := runtime.NumGoroutine()
	tel := start(t, Config{Exporters: []Exporter{{Name: "main"}}})
	ctx, span := tel.TracerProvider().Tracer("t").Start(t.Context(), "s")
	if !span.SpanContext().IsValid() || span.IsRecording() {
		t.Errorf("got valid %v, recording %v; want ids and no work", span.SpanContext().IsValid(), span.IsRecording())
	}
	if tel.LoggerProvider().Logger("l").Enabled(ctx, log.EnabledParameters{}) {
		t.Error("logger is enabled with nobody to read it")
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("got %d goroutines more", n-before)
	}
	if len(tel.Status()) != 0 {
		t.Errorf("got status %v", tel.Status())
	}
}

func TestO01CollectorDownDropsAndCounts(t *testing.T) {
	tel := start(t, Config{QueueBytes: 100 << 10, Exporters: []Exporter{{Name: "down", Endpoint: refused(t)}}})
	began := time.Now()
	makeSpans(tel, 2000, attribute.String("pad", strings.Repeat("x", 200)))
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("2000 spans took %v", d)
	}
	st := traceStatus(tel)
	if st.QueueBytes > 100<<10 || st.QueueBytes < 90<<10 {
		t.Errorf("queue holds %d bytes, want its bound", st.QueueBytes)
	}
	dropped := st.Dropped[names.DropQueueFull]
	if dropped == 0 {
		t.Error("nothing counted as dropped")
	}
	err := tel.Shutdown(context.Background())
	var lost *LostError
	if !errors.As(err, &lost) || lost.Lost[Traces]+dropped != 2000 {
		t.Errorf("got %v and %d dropped before, want all 2000 accounted for", err, dropped)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("shutdown with a dead collector took %v", d)
	}
}

func TestO01ContentIsShedFirst(t *testing.T) {
	var d drops
	q := newQueue(100<<10, Batch{}.withDefaults(), &d)
	for range 5 {
		q.push(0, make([]byte, 18<<10), true)
	}
	for range 85 {
		q.push(0, make([]byte, 1<<10), false)
	}
	counts := d.byReason()[names.DropQueueFull]
	if counts != 5 {
		t.Errorf("got %d dropped, want the 5 with content", counts)
	}
	q.push(0, make([]byte, 18<<10), true)
	if got := d.byReason()[names.DropQueueFull]; got != 6 || q.bytes() > 100<<10 {
		t.Errorf("got %d dropped, %d bytes; content must not displace the rest", got, q.bytes())
	}
	plainItems := 0
	for b, _ := q.take(true); b != nil; b, _ = q.take(true) {
		plainItems += b.count
		q.done(b)
	}
	if plainItems != 85 || q.bytes() != 0 {
		t.Errorf("got %d items out, %d bytes left; want 85, 0", plainItems, q.bytes())
	}
}

func TestO02BlackHoledCollectorBoundsMemoryAndShutdown(t *testing.T) {
	for _, protocol := range []string{ProtocolGRPC, ProtocolHTTP} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			tel, err := Start(context.Background(), Config{QueueBytes: 1 << 20, Exporters: []Exporter{{Name: "hole", Endpoint: blackHole(t), Protocol: protocol}}})
			if err != nil {
				t.Fatal(err)
			}
			makeSpans(tel, 3000, attribute.String("pad", strings.Repeat("x", 1000)))
			if st := traceStatus(tel); st.QueueBytes > 1<<20 {
				t.Errorf("queue holds %d bytes, bound 1 MiB", st.QueueBytes)
			}
			began := time.Now()
			err = tel.Shutdown(context.Background())
			if d := time.Since(began); d > 6*time.Second {
				t.Errorf("shutdown took %v", d)
			}
			var lost *LostError
			if !errors.As(err, &lost) || lost.Lost[Traces] == 0 {
				t.Errorf("got %v, want the lost counted", err)
			}
		})
	}
}

func TestO03SlowCollectorDoesNotSlowSpans(t *testing.T) {
	s := newSink(t)
	s.answer = func(int, int) answer { return answer{delay: 2 * time.Second} }
	tel := start(t, Config{Exporters: []Exporter{{Name: "slow", Endpoint: s.grpcAddr, Signals: []Signal{Traces}}}})
	began := time.Now()
	makeSpans(tel, 3000)
	if d := time.Since(began); d > time.Second {
		t.Errorf("3000 spans took %v", d)
	}
}

func TestO04RefusalsAreNotRepeated(t *testing.T) {
	for _, code := range []int{400, 401, 404, 302} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s := newSink(t)
			s.answer = func(int, int) answer { return answer{status: code} }
			tel := start(t, Config{Exporters: []Exporter{{Name: "no", Endpoint: s.httpURL, Protocol: ProtocolHTTP, Signals: []Signal{Traces}}}})
			makeSpans(tel, 7)
			if err := tel.Shutdown(context.Background()); err == nil {
				t.Error("got no error, want the lost reported")
			}
			if _, _, requests := s.counts(); requests != 1 {
				t.Errorf("got %d requests, want 1", requests)
			}
			if got := traceStatus(tel); got.Dropped[names.DropRejected] != 7 || got.LastError == "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestO04TooLargeIsSplitOnce(t *testing.T) {
	s := newSink(t)
	s.answer = func(_, items int) answer {
		if items > 6 {
			return answer{status: http.StatusRequestEntityTooLarge, err: status.Error(codes.ResourceExhausted, "message larger than max")}
		}
		return answer{}
	}
	for name, e := range map[string]Exporter{"http": {Endpoint: s.httpURL, Protocol: ProtocolHTTP}, "grpc": {Endpoint: s.grpcAddr}} {
		e.Name, e.Signals = name, []Signal{Traces}
		tel := start(t, Config{Exporters: []Exporter{e}})
		makeSpans(tel, 11)
		shutdown(t, tel)
		if got := traceStatus(tel).Exported; got != 11 {
			t.Errorf("%s: got %d spans, want 11", name, got)
		}
	}
	if spans, _, requests := s.counts(); spans != 22 || requests != 6 {
		t.Errorf("got %d spans in %d requests, want 22 in 6", spans, requests)
	}
}

func TestO05PassingFailuresAreRetried(t *testing.T) {
	s := newSink(t)
	s.answer = func(n, _ int) answer {
		if n == 1 {
			return answer{status: 503, header: http.Header{"Retry-After": {"1"}}, err: status.Error(codes.Unavailable, "restarting")}
		}
		return answer{}
	}
	tel := start(t, Config{SpanBatch: Batch{Delay: time.Millisecond}, Exporters: []Exporter{{Name: "flaky", Endpoint: s.httpURL, Protocol: ProtocolHTTP, Signals: []Signal{Traces}}}})
	began := time.Now()
	makeSpans(tel, 4)
	eventually(t, "spans are in", func() bool { n, _, _ := s.counts(); return n == 4 })
	if d := time.Since(began); d < 900*time.Millisecond {
		t.Errorf("retried after %v, want the second the receiver asked for", d)
	}
	if st := traceStatus(tel); len(st.Dropped) != 0 || st.LastError == "" {
		t.Errorf("got %+v, want nothing dropped and the error remembered", st)
	}
}

func TestO06PartialSuccessIsCountedAndLoggedOnce(t *testing.T) {
	for _, protocol := range []string{ProtocolGRPC, ProtocolHTTP} {
		t.Run(protocol, func(t *testing.T) {
			s := newSink(t)
			s.answer = func(int, int) answer { return answer{rejected: 2, message: "too old"} }
			endpoint := s.grpcAddr
			if protocol == ProtocolHTTP {
				endpoint = s.httpURL
			}
			var out bytes.Buffer
			tel := start(t, Config{
				Logger: slog.New(slog.NewTextHandler(&out, nil)), SpanBatch: Batch{Items: 5},
				Exporters: []Exporter{{Name: "picky", Endpoint: endpoint, Protocol: protocol}},
			})
			makeSpans(tel, 20)
			_ = tel.Shutdown(context.Background())
			st := traceStatus(tel)
			if st.Dropped[names.DropRejected] != 8 || st.Exported != 12 {
				t.Errorf("got %+v, want 8 rejected and 12 exported", st)
			}
			if n := strings.Count(out.String(), "signal=traces"); n != 1 {
				t.Errorf("got %d log lines, want 1:\n%s", n, out.String())
			}
			for _, st := range tel.Status() {
				if st.Signal == Metrics && st.Dropped[names.DropRejected] != 2 {
					t.Errorf("metrics: got %+v, want 2 rejected", st)
				}
			}
		})
	}
}

func TestO07FlappingCollectorGetsEachSpanOnceAndFewDials(t *testing.T) {
	s := newSink(t)
	var dials atomic.Int64
	proxy, down := flapping(t, s.grpcAddr, &dials)
	tel := start(t, Config{SpanBatch: Batch{Delay: 10 * time.Millisecond}, Exporters: []Exporter{{Name: "flap", Endpoint: proxy, Signals: []Signal{Traces}}}})
	began := time.Now()
	for i := range 3 {
		down.Store(i%2 == 1)
		makeSpans(tel, 50)
		stop := time.After(700 * time.Millisecond)
		<-stop
	}
	down.Store(false)
	eventually(t, "every span is in", func() bool { n, _, _ := s.counts(); return n >= 150 })
	if n, _, _ := s.counts(); n > 200 {
		t.Errorf("got %d spans for 150, more than one batch twice", n)
	}
	if got, most := dials.Load(), int64(time.Since(began)/time.Second)+3; got > most {
		t.Errorf("got %d dials in %v, want at most %d", got, time.Since(began), most)
	}
}

// flapping relays to addr unless down, when it hangs up on everybody.
func flapping(t *testing.T, addr string, dials *atomic.Int64) (string, *atomic.Bool) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			dials.Add(1)
			if down.Load() {
				in.Close()
				continue
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			relay := func(to, from net.Conn) {
				defer to.Close()
				defer from.Close()
				buf := make([]byte, 32<<10)
				for {
					n, err := from.Read(buf)
					if err != nil || down.Load() {
						return
					}
					if _, err := to.Write(buf[:n]); err != nil {
						return
					}
				}
			}
			all.Go(func() { relay(out, in) })
			all.Go(func() { relay(in, out) })
		}
	})
	t.Cleanup(func() { listener.Close(); down.Store(true) })
	return listener.Addr().String(), &down
}

// endless is a body that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestO08EndlessAnswersAreNotRead(t *testing.T) {
	for name, code := range map[string]int{"accepting": 0, "refusing": 400} {
		t.Run(name, func(t *testing.T) {
			s := newSink(t)
			s.answer = func(int, int) answer { return answer{status: code, body: endless{}} }
			tel := start(t, Config{Exporters: []Exporter{{Name: "endless", Endpoint: s.httpURL, Protocol: ProtocolHTTP, Signals: []Signal{Traces}}}})
			makeSpans(tel, 3)
			_ = tel.Shutdown(context.Background())
			st := traceStatus(tel)
			if st.Exported+st.Dropped[names.DropRejected] != 3 || st.Dropped[names.DropShutdown] != 0 {
				t.Errorf("got %+v", st)
			}
		})
	}
}

func TestO09BacklogDrainsWhenTheCollectorComesBack(t *testing.T) {
	s := newSink(t)
	var up atomic.Bool
	s.answer = func(int, int) answer {
		if !up.Load() {
			return answer{err: status.Error(codes.Unavailable, "down")}
		}
		return answer{}
	}
	tel := start(t, Config{Exporters: []Exporter{{Name: "back", Endpoint: s.grpcAddr, Signals: []Signal{Traces}}}})
	makeSpans(tel, 5000)
	eventually(t, "a first try failed", func() bool { return traceStatus(tel).LastError != "" })
	up.Store(true)
	makeSpans(tel, 100)
	eventually(t, "all is in", func() bool { n, _, _ := s.counts(); return n == 5100 })
}

func TestO10ShutdownIsBoundedByItsContext(t *testing.T) {
	tel := start(t, Config{Exporters: []Exporter{{Name: "hole", Endpoint: blackHole(t)}}})
	makeSpans(tel, 10)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := tel.Shutdown(ctx)
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("took %v, the context gave 200 ms", d)
	}
	var lost *LostError
	if !errors.As(err, &lost) || lost.Lost[Traces] != 10 {
		t.Errorf("got %v, want 10 traces lost", err)
	}
	if again := tel.Shutdown(context.Background()); again != err {
		t.Errorf("second shutdown: got %v, want the same", again)
	}
	makeSpans(tel, 3) // after shutdown: no panic, no block
}

// panicking is a span processor with a bug.
type panicking struct{ endedSpan }

func (*panicking) OnEnd(sdktrace.ReadOnlySpan) { panic("bug") }

func TestO14PanicsCostNothingButTelemetry(t *testing.T) {
	s := newSink(t)
	tel := start(t, Config{SpanProcessors: []sdktrace.SpanProcessor{&panicking{}}, Exporters: []Exporter{{Name: "sink", Endpoint: s.grpcAddr, Signals: []Signal{Traces}}}})
	makeSpans(tel, 2)
	shutdown(t, tel)
	if len(s.spans) != 2 {
		t.Errorf("got %d spans past a panicking processor, want 2", len(s.spans))
	}
}

func TestO18SheddingGivesUpQueuesBeforeRequests(t *testing.T) {
	tel := start(t, Config{QueueBytes: 800 << 10, SpanBatch: Batch{Items: 16}, Exporters: []Exporter{{Name: "down", Endpoint: refused(t), Signals: []Signal{Traces}}}})
	makeSpans(tel, 500, attribute.String("pad", strings.Repeat("x", 1000)))
	before := traceStatus(tel).QueueBytes
	tel.Shed(true)
	if got := traceStatus(tel).QueueBytes; before < 400<<10 || got > 130<<10 {
		t.Errorf("got %d bytes after shedding, %d before; want an eighth of the bound", got, before)
	}
	tel.Shed(false)
	makeSpans(tel, 300, attribute.String("pad", strings.Repeat("x", 1000)))
	if got := traceStatus(tel).QueueBytes; got < 200<<10 {
		t.Errorf("got %d bytes, want the whole queue again", got)
	}
}
