package telemetry

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// KeepFacts is what sampling wants to know of an exchange that has ended.
type KeepFacts struct {
	Error           bool
	Fallback        bool
	ModerationBlock bool
	BudgetDenied    bool
	Cost            float64 // USD
	Duration        time.Duration
}

// Keep decides whether the exchange's trace is exported, and why (one of names.KeepReasons). At ratio 1 it returns ("",
// true). The caller puts the reason on the SERVER span as names.KeyKept before the span ends; that attribute is what lets
// the trace through. A rule's reason goes before the ratio's, so traces kept as "ratio" stand for 1/ratio exchanges each
// and the others for themselves. Keep is a pure function of its arguments and safe for concurrent use.
func (t *Telemetry) Keep(traceID trace.TraceID, facts KeepFacts) (reason string, kept bool) {
	if t.config.keepsAll() {
		return "", true
	}
	rules := t.config.Sampling.Keep
	switch {
	case rules.Error && facts.Error:
		return names.KeptError, true
	case rules.ModerationBlock && facts.ModerationBlock:
		return names.KeptModerationBlock, true
	case rules.BudgetDenied && facts.BudgetDenied:
		return names.KeptBudgetDenied, true
	case rules.Fallback && facts.Fallback:
		return names.KeptFallback, true
	case rules.CostOver > 0 && facts.Cost > rules.CostOver:
		return names.KeptCost, true
	case rules.DurationOver > 0 && facts.Duration > rules.DurationOver:
		return names.KeptDuration, true
	case inRatio(traceID, t.config.Sampling.Ratio):
		return names.KeptRatio, true
	}
	return "", false
}

// inRatio picks the same traces as TraceIDRatioBased of
// https://opentelemetry.io/docs/specs/otel/trace/sdk/ (read 2026-10), so that services agree.
func inRatio(id trace.TraceID, ratio float64) bool {
	return binary.BigEndian.Uint64(id[8:16])>>1 < uint64(ratio*(1<<63))
}

const (
	heldSpanOverhead = 128 // bytes of bookkeeping for a held span
	longestTrace     = 10 * time.Minute
	decisionsKept    = 1024
)

// tail holds the spans of each trace until its local root ends, then forwards or forgets them. Several roots may share a
// trace, when a client makes several requests under one; each decides for the spans below it. Spans that come after their
// root follow its decision while that is remembered. It is bounded in bytes: a span that finds no room is dropped.
type tail struct {
	forward func(scope int, item []byte)
	ratio   float64
	limit   int
	drops   *drops

	mu        sync.Mutex
	traces    map[trace.TraceID]*heldTrace // :: trace → its undecided spans
	bytes     int
	decided   map[trace.SpanID]bool // :: root span → kept, the last decisionsKept of them
	order     []trace.SpanID        // of decided, a ring
	next      int                   // oldest member of order
	lastSweep time.Time
}

type heldTrace struct {
	spans []heldSpan
	first time.Time
}

type heldSpan struct {
	id, parent trace.SpanID
	scope      int
	item       []byte
}

func newTail(ratio float64, limit int, d *drops, forward func(int, []byte)) *tail {
	return &tail{
		forward: forward, ratio: ratio, limit: limit, drops: d,
		traces:  map[trace.TraceID]*heldTrace{},
		decided: map[trace.SpanID]bool{},
	}
}

// end takes a span that ended; item is its encoding, which is not kept.
func (t *tail) end(s sdktrace.ReadOnlySpan, scope int, item []byte) {
	sc, parent := s.SpanContext(), s.Parent()
	if parent.HasSpanID() && !parent.IsRemote() {
		t.hold(sc.TraceID(), heldSpan{id: sc.SpanID(), parent: parent.SpanID(), scope: scope}, item)
		return
	}
	kept := t.keeps(s)
	for _, below := range t.decide(sc.TraceID(), sc.SpanID(), kept) {
		t.forward(below.scope, below.item)
	}
	if kept {
		t.forward(scope, item)
	}
}

// keeps reads the recorder's decision off a root; a root that serves nobody (a task of the gateway itself) goes by ratio.
func (t *tail) keeps(root sdktrace.ReadOnlySpan) bool {
	if root.SpanKind() != trace.SpanKindServer {
		return inRatio(root.SpanContext().TraceID(), t.ratio)
	}
	for _, kv := range root.Attributes() {
		if kv.Key == names.KeyKept {
			return true
		}
	}
	return false
}

func (t *tail) hold(id trace.TraceID, span heldSpan, item []byte) {
	size := len(item) + heldSpanOverhead
	t.mu.Lock()
	if kept, late := t.decided[span.parent]; late {
		t.mu.Unlock()
		if kept {
			t.forward(span.scope, item)
		}
		return
	}
	defer t.mu.Unlock()
	if t.bytes+size > t.limit {
		t.sweep(time.Now())
	}
	if t.bytes+size > t.limit {
		t.drops.add(names.DropQueueFull, 1)
		return
	}
	held := t.traces[id]
	if held == nil {
		held = &heldTrace{first: time.Now()}
		t.traces[id] = held
	}
	span.item = slices.Clone(item)
	held.spans = append(held.spans, span)
	t.bytes += size
}

// decide takes the spans below root out of the buffer and returns them if they are kept.
func (t *tail) decide(id trace.TraceID, root trace.SpanID, kept bool) []heldSpan {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remember(root, kept)
	held := t.traces[id]
	if held == nil {
		return nil
	}
	// Children end before their parents, so walking from the newest finds each parent before its children.
	below := map[trace.SpanID]bool{root: true}
	var taken, rest []heldSpan
	for _, span := range slices.Backward(held.spans) {
		if !below[span.parent] {
			rest = append(rest, span)
			continue
		}
		below[span.id] = true
		taken = append(taken, span)
		t.bytes -= len(span.item) + heldSpanOverhead
	}
	slices.Reverse(rest)
	if held.spans = rest; len(rest) == 0 {
		delete(t.traces, id)
	}
	if !kept {
		return nil
	}
	slices.Reverse(taken)
	return taken
}

func (t *tail) remember(root trace.SpanID, kept bool) {
	if len(t.order) < decisionsKept {
		t.order = append(t.order, root)
	} else {
		delete(t.decided, t.order[t.next])
		t.order[t.next] = root
		t.next = (t.next + 1) % decisionsKept
	}
	t.decided[root] = kept
}

// sweep drops traces whose root is not coming any more; at most once a second, as it looks at every trace.
func (t *tail) sweep(now time.Time) {
	if now.Sub(t.lastSweep) < time.Second {
		return
	}
	t.lastSweep = now
	for id, held := range t.traces {
		if now.Sub(held.first) < longestTrace {
			continue
		}
		t.forget(held, names.DropQueueFull)
		delete(t.traces, id)
	}
}

func (t *tail) forget(held *heldTrace, reason string) {
	for _, span := range held.spans {
		t.bytes -= len(span.item) + heldSpanOverhead
	}
	t.drops.add(reason, int64(len(held.spans)))
}

// close drops what is still undecided.
func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, held := range t.traces {
		t.forget(held, names.DropShutdown)
		delete(t.traces, id)
	}
}

func (t *tail) held() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int64(t.bytes)
}
