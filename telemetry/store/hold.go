package store

import (
	"context"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// holder keeps the spans that have ended of exchanges that have not, and the exchanges that wait to be taken in. What it
// holds is bounded in bytes: when there is too much, the spans of the trace longest held go, and then exchanges are dropped.
type holder struct {
	limit int
	wake  chan struct{} // holds one token when the queue has something
	lost  atomic.Int64  // exchanges, or the spans of one, dropped

	mu      sync.Mutex
	running map[trace.TraceID]*held
	oldest  *held // of running, which are chained by age
	newest  *held
	queue   []ended
	held    int // bytes of running
	waiting int // bytes of the queue, and of what is being taken in
}

// held are the spans of one trace.
type held struct {
	id           trace.TraceID
	spans        []sdktrace.ReadOnlySpan
	size         int
	older, newer *held
}

// ended is an exchange whose SERVER span, the last of spans, has ended.
type ended struct {
	spans []sdktrace.ReadOnlySpan
	size  int
}

// OnStart implements sdktrace.SpanProcessor.
func (s *Store) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor. It keeps a reference to span, which does not change any more, and never blocks.
func (s *Store) OnEnd(span sdktrace.ReadOnlySpan) {
	if s.closed.Load() {
		return
	}
	s.hold.end(span)
}

// Shutdown implements sdktrace.SpanProcessor. It does nothing: the store outlives the spans' provider, and Close ends it.
func (s *Store) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor. It does nothing: what has ended is on disk within a second.
func (s *Store) ForceFlush(context.Context) error { return nil }

// Sizes that a span is taken to have in memory.
const (
	spanSize      = 640
	attributeSize = 64
	eventSize     = 96
)

// sizeOf is about how many bytes a span holds.
func sizeOf(s sdktrace.ReadOnlySpan) int {
	n := spanSize + attributesSize(s.Attributes())
	for _, e := range s.Events() {
		n += eventSize + attributesSize(e.Attributes)
	}
	for _, l := range s.Links() {
		n += eventSize + attributesSize(l.Attributes)
	}
	return n
}

func attributesSize(kvs []attribute.KeyValue) int {
	n := len(kvs) * attributeSize
	for i := range kvs {
		v := &kvs[i].Value
		if text := v.AsString(); text != "" {
			n += len(text)
		} else if v.Type() == attribute.STRINGSLICE {
			for _, s := range v.AsStringSlice() {
				n += 16 + len(s)
			}
		}
	}
	return n
}

func (h *holder) end(span sdktrace.ReadOnlySpan) {
	size := sizeOf(span)
	id := span.SpanContext().TraceID()
	h.mu.Lock()
	t := h.running[id]
	if span.SpanKind() == trace.SpanKindServer {
		full := h.enqueue(t, span, size)
		h.mu.Unlock()
		if full {
			h.lost.Add(1)
			return
		}
		select {
		case h.wake <- struct{}{}:
		default:
		}
		return
	}
	if t == nil {
		t = h.begin(id)
	}
	t.spans = append(t.spans, span)
	t.size += size
	h.held += size
	for h.held > h.limit && h.oldest != nil {
		h.lost.Add(1)
		h.forget(h.oldest)
	}
	h.mu.Unlock()
}

func (h *holder) begin(id trace.TraceID) *held {
	t := &held{id: id, spans: make([]sdktrace.ReadOnlySpan, 0, 8), older: h.newest}
	if h.running == nil {
		h.running = map[trace.TraceID]*held{}
	}
	h.running[id] = t
	if h.newest != nil {
		h.newest.newer = t
	} else {
		h.oldest = t
	}
	h.newest = t
	return t
}

func (h *holder) forget(t *held) {
	if t.older != nil {
		t.older.newer = t.newer
	} else {
		h.oldest = t.newer
	}
	if t.newer != nil {
		t.newer.older = t.older
	} else {
		h.newest = t.older
	}
	delete(h.running, t.id)
	h.held -= t.size
}

// enqueue puts the exchange of server into the queue: the spans of its trace that are below it, as a trace may have several
// exchanges when its client began it. full says that there is no room.
func (h *holder) enqueue(t *held, server sdktrace.ReadOnlySpan, size int) (full bool) {
	e := ended{size: size}
	if t != nil {
		var rest []sdktrace.ReadOnlySpan
		if e.spans, rest = below(t.spans, server.SpanContext().SpanID()); len(rest) == 0 {
			e.size += t.size
			h.forget(t)
		} else {
			own := 0
			for _, s := range e.spans {
				own += sizeOf(s)
			}
			t.spans, t.size, h.held = rest, t.size-own, h.held-own
			e.size += own
		}
	}
	if h.waiting+e.size > h.limit {
		return true
	}
	e.spans = append(e.spans, server)
	h.queue = append(h.queue, e)
	h.waiting += e.size
	return false
}

// below divides spans into those below root and the others. Traces are small: a search among them is cheaper than a map.
func below(spans []sdktrace.ReadOnlySpan, root trace.SpanID) (in, rest []sdktrace.ReadOnlySpan) {
	parent := func(id trace.SpanID) (trace.SpanID, bool) {
		for _, s := range spans {
			if s.SpanContext().SpanID() == id {
				return s.Parent().SpanID(), true
			}
		}
		return id, false
	}
	under := func(id trace.SpanID) bool {
		known := true
		for range deepest {
			if id == root {
				return true
			}
			if id, known = parent(id); !known {
				return false
			}
		}
		return false
	}
	for i, s := range spans {
		switch {
		case under(s.Parent().SpanID()):
			if rest != nil {
				in = append(in, s)
			}
		default:
			if rest == nil {
				in = append([]sdktrace.ReadOnlySpan(nil), spans[:i]...)
			}
			rest = append(rest, s)
		}
	}
	if rest == nil {
		return spans, nil
	}
	return in, rest
}

// deepest is how many spans may stand between a span and the SERVER span.
const deepest = 16

// take empties the queue. Its bytes count until taken.
func (h *holder) take() []ended {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := h.queue
	h.queue = nil
	return q
}

func (h *holder) taken(q []ended) {
	n := 0
	for i := range q {
		n += q[i].size
	}
	h.mu.Lock()
	h.waiting -= n
	h.mu.Unlock()
}

// queued is how many bytes wait.
func (h *holder) queued() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting
}

// size is how many bytes are held in all.
func (h *holder) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held + h.waiting
}
