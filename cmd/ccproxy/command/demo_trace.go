package command

import (
	"context"
	"slices"
	"sync"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// What a traceBuffer keeps at most.
const (
	bufferTraces = 256
	bufferSpans  = 256 // of one trace
)

// traceBuffer keeps the spans of recent traces until they are taken: a span processor whose memory is bounded. The
// oldest trace goes first, and of one trace the spans beyond the bound. It is safe for concurrent use.
type traceBuffer struct {
	mu      sync.Mutex
	spans   map[string][]treeSpan // :: trace id → spans that have ended
	order   []string              // trace ids, oldest first
	ended   []string              // those whose SERVER span has ended, oldest first
	changed chan struct{}         // closed, and replaced, when ended grows
}

func newTraceBuffer() *traceBuffer {
	return &traceBuffer{spans: map[string][]treeSpan{}, changed: make(chan struct{})}
}

// OnStart implements sdktrace.SpanProcessor.
func (*traceBuffer) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor.
func (b *traceBuffer) OnEnd(s sdktrace.ReadOnlySpan) {
	id := s.SpanContext().TraceID().String()
	b.mu.Lock()
	defer b.mu.Unlock()
	have, known := b.spans[id]
	if !known {
		b.order = append(b.order, id)
		if len(b.order) > bufferTraces {
			b.forget(b.order[0])
		}
	}
	// The SERVER span is the last of its trace and says most: it always fits.
	server := s.SpanKind() == trace.SpanKindServer
	if len(have) < bufferSpans || server {
		have = append(have, treeSpanOf(s))
	}
	b.spans[id] = have
	if server {
		b.ended = append(b.ended, id)
		close(b.changed)
		b.changed = make(chan struct{})
	}
}

// Shutdown implements sdktrace.SpanProcessor.
func (*traceBuffer) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor.
func (*traceBuffer) ForceFlush(context.Context) error { return nil }

func (b *traceBuffer) forget(id string) {
	delete(b.spans, id)
	is := func(other string) bool { return other == id }
	b.order = slices.DeleteFunc(b.order, is)
	b.ended = slices.DeleteFunc(b.ended, is)
}

// take waits for the trace called id to be whole, "" for whichever is next, and returns and forgets its spans. The error
// is ctx's.
func (b *traceBuffer) take(ctx context.Context, id string) ([]treeSpan, error) {
	for {
		spans, changed := b.poll(id)
		if spans != nil {
			return spans, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

func (b *traceBuffer) poll(id string) ([]treeSpan, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ended := range b.ended {
		if id == "" || ended == id {
			spans := b.spans[ended]
			b.forget(ended)
			return spans, nil
		}
	}
	return nil, b.changed
}
