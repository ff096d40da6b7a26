package telemetry

import (
	"context"
	"sync"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// scratch lends buffers to encode one item in.
type scratch struct{ pool sync.Pool }

const largestScratch = 64 << 10 // what grew beyond is left to the collector

func (s *scratch) get() *[]byte {
	if b, ok := s.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, 4096)
	return &b
}

func (s *scratch) put(b *[]byte) {
	if cap(*b) <= largestScratch {
		s.pool.Put(b)
	}
}

// spanProcessor encodes each span as it ends and queues it for every exporter, by way of the sampler if there is one.
type spanProcessor struct {
	encoder encoder
	scratch scratch
	scopes  *scopes
	queues  []*queue
	tail    *tail // nil: every trace is kept
}

func (p *spanProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (p *spanProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	defer ignorePanic()
	b := p.scratch.get()
	*b = p.encoder.span((*b)[:0], s)
	scope := p.scopes.index(s.InstrumentationScope())
	if p.tail != nil {
		p.tail.end(s, scope, *b)
	} else {
		p.forward(scope, *b)
	}
	p.scratch.put(b)
}

func (p *spanProcessor) forward(scope int, item []byte) {
	for _, q := range p.queues {
		q.push(scope, item, false)
	}
}

// Shutdown does nothing: Telemetry ends the workers of all signals together.
func (p *spanProcessor) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing: what is queued leaves within a second.
func (p *spanProcessor) ForceFlush(context.Context) error { return nil }

// guarded keeps a panic in a foreign span processor away from the request.
type guarded struct{ sdktrace.SpanProcessor }

func (g guarded) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	defer ignorePanic()
	g.SpanProcessor.OnStart(ctx, s)
}

func (g guarded) OnEnd(s sdktrace.ReadOnlySpan) {
	defer ignorePanic()
	g.SpanProcessor.OnEnd(s)
}

// ignorePanic, deferred, makes telemetry's bugs cost telemetry only.
func ignorePanic() { _ = recover() }
