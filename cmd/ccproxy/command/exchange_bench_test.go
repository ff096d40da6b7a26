//go:build unix

package command

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/telemetry"
)

// canned is a provider without a network.
type canned struct {
	contentType string
	body        string
}

// RoundTrip implements http.RoundTripper.
func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	return &http.Response{
		StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {c.contentType}, "Request-Id": {"req_1"}},
		ContentLength: int64(len(c.body)), Body: io.NopCloser(strings.NewReader(c.body)), Request: r,
	}, nil
}

// BenchmarkExchange is what the whole gateway costs without sockets towards
// client and provider: engine, default hooks, telemetry, and the export of
// spans, metrics and logs over gRPC to a receiver that decodes nothing.
// cpu-µs/op is the process's, background work included.
func BenchmarkExchange(b *testing.B) {
	plain := canned{"application/json", `{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-5","content":[{"type":"text","text":"` +
		strings.Repeat("benchmark ", 60) + `"}],"stop_reason":"end_turn","usage":{"input_tokens":250,"output_tokens":120}}`}
	var events strings.Builder
	events.WriteString("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-sonnet-5\",\"usage\":{\"input_tokens\":250,\"output_tokens\":1}}}\n\n")
	for range 46 {
		events.WriteString("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"benchmark text \"}}\n\n")
	}
	events.WriteString("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":120}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
	stream := canned{"text/event-stream", events.String()}
	for _, bb := range []struct {
		name   string
		answer canned
		export bool
	}{
		{"plain/off", plain, false}, {"plain/on", plain, true}, {"stream49/off", stream, false}, {"stream49/on", stream, true},
	} {
		b.Run(bb.name, func(b *testing.B) { benchmarkExchange(b, bb.answer, bb.export) })
	}
}

func benchmarkExchange(b *testing.B, answer canned, export bool) {
	dir := b.TempDir()
	text := "version: 1\nserver: { listen: \"127.0.0.1:0\", admin: \"off\" }\nproviders:\n  anthropic: { type: anthropic, api_key: sk-benchmark-0001 }\nstorage: { path: " + dir + "/s }\n"
	env := func(k string) (string, bool) { return "true", k == "OTEL_SDK_DISABLED" }
	if export {
		text += "telemetry: { exporters: [ { name: t, endpoint: \"" + discard(b) + "\", protocol: grpc } ] }\n"
		env = func(string) (string, bool) { return "", false }
	}
	path := filepath.Join(dir, "ccproxy.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cfg, _, err := config.Load(path, config.Options{Lookup: env})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	srv, err := newServer(ctx, cfg, serverOptions{Lookup: env, Log: slog.New(telemetry.NewLogHandler(io.Discard, false, slog.LevelInfo)), AdminAddr: "off"})
	if err != nil {
		b.Fatal(err)
	}
	srv.gateway.Snapshot().Providers[0].Transport = answer
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()

	body := `{"model":"claude-sonnet-5","max_tokens":1024,"stream":false,"system":"You are a benchmark.","messages":[{"role":"user","content":"` + strings.Repeat("lorem ipsum ", 70) + `"}]}`
	start := cpuTime(b)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/messages", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Anthropic-Version", "2023-06-01")
		r.RemoteAddr = "127.0.0.1:5555"
		w := httptest.NewRecorder()
		srv.gateway.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code, w.Body.String())
		}
	}
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(cpuTime(b)-start)/1e3/float64(b.N), "cpu-µs/op")
}

// discard starts an OTLP receiver that answers every call with an empty message
// and looks at nothing, and returns its address.
func discard(b *testing.B) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var in, out mem.BufferSlice
		if err := stream.RecvMsg(&in); err != nil {
			return err
		}
		return stream.SendMsg(&out)
	}))
	go func() { _ = s.Serve(ln) }() // ends with Stop
	b.Cleanup(s.Stop)
	return "http://" + ln.Addr().String()
}

// rawCodec leaves messages as they are.
type rawCodec struct{}

// Marshal implements encoding.CodecV2.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) { return *v.(*mem.BufferSlice), nil }

// Unmarshal implements encoding.CodecV2.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*mem.BufferSlice) = data
	return nil
}

// Name implements encoding.CodecV2.
func (rawCodec) Name() string { return "proto" }

// cpuTime is what the process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
