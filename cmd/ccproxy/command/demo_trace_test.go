package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tracerTo makes spans for b.
func tracerTo(b *traceBuffer) trace.Tracer {
	return sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b)).Tracer("test")
}

// endTrace makes a trace of one SERVER span with so many children and returns its id.
func endTrace(tr trace.Tracer, children int) string {
	ctx, root := tr.Start(context.Background(), "root", trace.WithSpanKind(trace.SpanKindServer))
	for i := range children {
		_, s := tr.Start(ctx, fmt.Sprint(i))
		s.End()
	}
	root.End()
	return root.SpanContext().TraceID().String()
}

func TestBufferWaitsForTheServerSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTraceBuffer()
		tr := tracerTo(b)
		ctx, root := tr.Start(context.Background(), "root", trace.WithSpanKind(trace.SpanKindServer))
		_, child := tr.Start(ctx, "child")
		child.End()
		got := make(chan []treeSpan)
		go func() {
			spans, _ := b.take(context.Background(), root.SpanContext().TraceID().String())
			got <- spans
		}()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("the trace was taken before its SERVER span ended")
		default:
		}
		endTrace(tr, 0) // somebody else's
		root.End()
		if spans := <-got; len(spans) != 2 {
			t.Errorf("got %d spans, want 2", len(spans))
		}
	})
}

func TestBufferGivesEachTraceOnce(t *testing.T) {
	b := newTraceBuffer()
	id := endTrace(tracerTo(b), 1)
	if _, err := b.take(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.take(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want context.Canceled: the trace was taken", err)
	}
}

func TestBufferIsBounded(t *testing.T) {
	b := newTraceBuffer()
	tr := tracerTo(b)
	first := endTrace(tr, 0)
	var last string
	for range bufferTraces {
		last = endTrace(tr, 0)
	}
	if len(b.spans) != bufferTraces || len(b.order) != bufferTraces || len(b.ended) != bufferTraces {
		t.Errorf("got %d, %d and %d traces, want %d", len(b.spans), len(b.order), len(b.ended), bufferTraces)
	}
	if spans, _ := b.poll(first); spans != nil {
		t.Error("the oldest trace is still there")
	}
	if spans, _ := b.poll(last); spans == nil {
		t.Error("the newest trace is gone")
	}
	spans, _ := b.poll(endTrace(tr, 2*bufferSpans))
	if len(spans) != bufferSpans+1 || spans[bufferSpans].Kind != trace.SpanKindServer {
		t.Errorf("got %d spans of a large trace, want %d and the SERVER span", len(spans), bufferSpans)
	}
}

func TestFilesAreNoTerminals(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, w := range []io.Writer{f, io.Discard} {
		if s := newScreen(w); s.color || s.width != defaultWidth {
			t.Errorf("%T: got colour %v at %d columns, want none at %d", w, s.color, s.width, defaultWidth)
		}
	}
}
