//go:build unix

package telemetry

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// typicalAttributes are about what a span of an exchange carries on average.
func typicalAttributes() []attribute.KeyValue {
	return []attribute.KeyValue{
		names.KeyPhase.String(names.PhaseUpstream),
		names.KeyGenAIOperationName.String(names.OperationChat),
		names.KeyGenAIProviderName.String("anthropic"),
		names.KeyGenAIRequestModel.String("claude-sonnet-5"),
		names.KeyServerAddress.String("api.anthropic.com"),
		names.KeyServerPort.Int(443),
		names.KeyAttemptNumber.Int(1),
		names.KeyGenAIUsageInputTokens.Int(1234),
		names.KeyGenAIUsageCost.Float64(0.0123),
		names.KeyGenAIRequestStream.Bool(true),
	}
}

// endedSpan captures what the SDK hands to a processor.
type endedSpan struct{ span sdktrace.ReadOnlySpan }

func (e *endedSpan) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (e *endedSpan) OnEnd(s sdktrace.ReadOnlySpan)                   { e.span = s }
func (e *endedSpan) Shutdown(context.Context) error                  { return nil }
func (e *endedSpan) ForceFlush(context.Context) error                { return nil }

func typicalSpan(tb testing.TB) sdktrace.ReadOnlySpan {
	tb.Helper()
	var captured endedSpan
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(&captured))
	ctx, parent := provider.Tracer(names.ScopeGateway).Start(context.Background(), "parent")
	_, span := provider.Tracer(names.ScopeGenAI).Start(ctx, "chat claude-sonnet-5", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(typicalAttributes()...))
	span.End()
	_ = parent // never ended: only the child is captured
	return captured.span
}

// BenchmarkOnEnd is what ending a span costs the request, beyond the SDK's own work.
func BenchmarkOnEnd(b *testing.B) {
	span := typicalSpan(b)
	var d drops
	q := newQueue(1<<40, Batch{}.withDefaults(), &d)
	p := &spanProcessor{encoder: encoder{maxString: 8 << 10}, scopes: &scopes{}, queues: []*queue{q}}
	b.ReportAllocs()
	for b.Loop() {
		p.OnEnd(span)
		if batch, _ := q.take(false); batch != nil {
			q.done(batch)
		}
	}
}

// BenchmarkOnEndSDK is the same for the SDK's batcher, which has the rest of its work still before it.
func BenchmarkOnEndSDK(b *testing.B) {
	span := typicalSpan(b)
	p := sdktrace.NewBatchSpanProcessor(discard{}, sdktrace.WithMaxQueueSize(1<<16), sdktrace.WithBlocking())
	defer p.Shutdown(context.Background())
	b.ReportAllocs()
	for b.Loop() {
		p.OnEnd(span)
	}
}

type discard struct{}

func (discard) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                             { return nil }

// BenchmarkExport is the CPU of the whole path from End to a receiver in the same process that decodes nothing, per span,
// user and system time of all threads. The receiver's share is the same in both.
func BenchmarkExport(b *testing.B) {
	b.Run("ours", func(b *testing.B) {
		addr := rawSink(b)
		tel, err := Start(context.Background(), Config{
			QueueBytes: 1 << 30,
			Exporters:  []Exporter{{Name: "sink", Endpoint: addr, Signals: []Signal{Traces}}},
		})
		if err != nil {
			b.Fatal(err)
		}
		run(b, tel.TracerProvider(), func() {
			if err := tel.Shutdown(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("sdk", func(b *testing.B) {
		addr := rawSink(b)
		exporter, err := otlptracegrpc.New(context.Background(), otlptracegrpc.WithEndpoint(addr), otlptracegrpc.WithInsecure())
		if err != nil {
			b.Fatal(err)
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithoutPanicRecording(),
			sdktrace.WithSpanProcessor(sdktrace.NewBatchSpanProcessor(exporter, sdktrace.WithBlocking(), sdktrace.WithBatchTimeout(time.Second))))
		run(b, provider, func() {
			if err := provider.Shutdown(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("none", func(b *testing.B) {
		provider := sdktrace.NewTracerProvider(sdktrace.WithoutPanicRecording(), sdktrace.WithSpanProcessor(&endedSpan{}))
		run(b, provider, func() {})
	})
}

func run(b *testing.B, provider trace.TracerProvider, flush func()) {
	tracer := provider.Tracer(names.ScopeGenAI)
	attrs := typicalAttributes()
	ctx := context.Background()
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	for range b.N {
		_, span := tracer.Start(ctx, "chat claude-sonnet-5", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
		span.End()
	}
	flush()
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/span")
}

func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// rawSink is a gRPC receiver that answers every call with success and reads no message.
func rawSink(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.ForceServerCodecV2(nothing{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if err := stream.RecvMsg(nil); err != nil {
			return err
		}
		return stream.SendMsg(nil)
	}))
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	b.Cleanup(func() { server.Stop(); <-done })
	return listener.Addr().String()
}

// nothing is a codec of empty messages.
type nothing struct{}

func (nothing) Name() string                         { return "proto" }
func (nothing) Marshal(any) (mem.BufferSlice, error) { return nil, nil }
func (nothing) Unmarshal(mem.BufferSlice, any) error { return nil }
