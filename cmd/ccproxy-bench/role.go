package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/command"
	"github.com/ccproxy/ccproxy/gateway"
)

// runRole is what a child process does. Its address comes by environment, and
// it ends with its standard input, which the parent holds open.
func runRole(role string) error {
	addr := os.Getenv("CCPROXY_BENCH_LISTEN")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone
		pprof.StopCPUProfile()
		os.Exit(0)
	}()
	switch role {
	case "provider":
		return serve(addr, http.HandlerFunc(provide))
	case "reverseproxy":
		return reverseProxy(addr, os.Getenv("CCPROXY_BENCH_UPSTREAM"))
	case "sink":
		return sink(addr)
	case "ccproxy":
		return ccproxy()
	}
	return fmt.Errorf("unknown role")
}

func serve(addr string, h http.Handler) error {
	return (&http.Server{Addr: addr, Handler: h}).ListenAndServe()
}

// reverseProxy is the standard library's proxy over the gateway's own
// transport, so that only what the gateway adds differs.
func reverseProxy(addr, upstream string) error {
	u, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport: gateway.NewTransport(),
	}
	return serve(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Without it net/http closes the request body when the answer begins,
		// and the transport, reading on for its end, breaks the connection
		// under a provider as fast as this one (measured: one stream in ten).
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			panic(err)
		}
		proxy.ServeHTTP(w, r)
	}))
}

// sink receives OTLP over gRPC and forgets it.
func sink(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	coltrace.RegisterTraceServiceServer(s, traceSink{})
	colmetrics.RegisterMetricsServiceServer(s, metricSink{})
	collogs.RegisterLogsServiceServer(s, logSink{})
	return s.Serve(ln)
}

type (
	traceSink struct {
		coltrace.UnimplementedTraceServiceServer
	}
	metricSink struct {
		colmetrics.UnimplementedMetricsServiceServer
	}
	logSink struct {
		collogs.UnimplementedLogsServiceServer
	}
)

// Export implements the trace service.
func (traceSink) Export(context.Context, *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	return &coltrace.ExportTraceServiceResponse{}, nil
}

// Export implements the metrics service.
func (metricSink) Export(context.Context, *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	return &colmetrics.ExportMetricsServiceResponse{}, nil
}

// Export implements the logs service.
func (logSink) Export(context.Context, *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	return &collogs.ExportLogsServiceResponse{}, nil
}

func ccproxy() error {
	if path := os.Getenv("CCPROXY_BENCH_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
	}
	if code := command.Main([]string{"start", "--config", os.Getenv("CCPROXY_BENCH_CONFIG")}, nil); code != 0 {
		return fmt.Errorf("exit code %d", code)
	}
	return nil
}

var (
	plainAnswer = []byte(`{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-5","content":[{"type":"text","text":"` +
		strings.Repeat("benchmark ", 60) + `"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":250,"cache_read_input_tokens":0,"cache_creation_input_tokens":0,"output_tokens":120}}`)
	streamEvents = makeStream(50)
)

func makeStream(n int) [][]byte {
	ev := func(name, data string) []byte { return []byte("event: " + name + "\ndata: " + data + "\n\n") }
	out := [][]byte{
		ev("message_start", `{"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-5","content":[],"stop_reason":null,"usage":{"input_tokens":250,"output_tokens":1}}}`),
		ev("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`),
	}
	for len(out) < n-3 {
		out = append(out, ev("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"benchmark text "}}`))
	}
	return append(out,
		ev("content_block_stop", `{"type":"content_block_stop","index":0}`),
		ev("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":120}}`),
		ev("message_stop", `{"type":"message_stop"}`))
}

// provide answers as Anthropic does: plain, in 50 events each written and
// flushed by itself, or with one event and then silence.
func provide(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // a broken request is the client's to notice
	switch r.Header.Get("X-Bench") {
	case "stream":
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range streamEvents {
			_, _ = w.Write(e)
			w.(http.Flusher).Flush()
		}
	case "idle":
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write(streamEvents[0])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(plainAnswer)
	}
}

// freeAddr finds a loopback address nobody uses.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// waitReady waits until something listens on addr.
func waitReady(addr string) error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nothing listens on %s: %w", addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
