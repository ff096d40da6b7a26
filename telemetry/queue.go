package telemetry

import (
	"slices"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// contentSize is the size from which an item is taken to carry content: whatever it is, it is what fills queues.
const contentSize = 16 << 10

// queue holds the items of one signal that wait for one exporter, bounded in bytes. push takes one short lock, copies the
// item and never blocks. Items with content wait apart and are shed first: when a plain item finds no room, whole batches
// of content go; when that does not help, the item itself is dropped.
type queue struct {
	limit int
	batch Batch
	wake  chan struct{} // holds one token when the worker may have something to do
	drops *drops

	mu       sync.Mutex
	classes  [2]class // plain, content
	held     int      // bytes queued and in flight
	pressure bool     // memory is short: no content, an eighth of the room
	closed   bool     // nothing more is taken
}

const (
	plain = iota
	content
)

type class struct {
	pending *batch   // being filled; nil: none
	sealed  []*batch // ready to go, oldest first
	hints   []int    // bytes each scope took in the last batch
}

func newQueue(limit int, b Batch, d *drops) *queue {
	return &queue{limit: limit, batch: b, wake: make(chan struct{}, 1), drops: d}
}

// push queues a copy of item. withContent marks an item that carries prompts or answers.
func (q *queue) push(scope int, item []byte, withContent bool) {
	size := itemSize(len(item))
	if size > q.batch.Bytes {
		q.drops.add(names.DropTooLarge, 1)
		return
	}
	c := plain
	if withContent || size > contentSize {
		c = content
	}
	q.mu.Lock()
	if reason := q.admit(size, c); reason != "" {
		q.mu.Unlock()
		q.drops.add(reason, 1)
		return
	}
	wake := q.store(&q.classes[c], scope, item, size)
	q.mu.Unlock()
	if wake {
		q.notify()
	}
}

// admit makes room for size bytes or says why there is none.
func (q *queue) admit(size, c int) (reason string) {
	if q.closed {
		return names.DropShutdown
	}
	limit := q.limit
	if q.pressure {
		limit /= 8
	}
	if c == content && q.pressure {
		return names.DropQueueFull
	}
	if q.held+size <= limit {
		return ""
	}
	if c == plain {
		q.shedContent(q.held + size - limit)
	}
	if q.held+size > limit {
		return names.DropQueueFull
	}
	return ""
}

// shedContent drops queued content, newest first, until at least want bytes are free.
func (q *queue) shedContent(want int) {
	c := &q.classes[content]
	drop := func(b *batch) {
		q.held -= b.bytes
		want -= b.bytes
		q.drops.add(names.DropQueueFull, int64(b.count))
	}
	if want > 0 && c.pending != nil {
		drop(c.pending)
		c.pending = nil
	}
	for n := len(c.sealed); want > 0 && n > 0; n-- {
		drop(c.sealed[n-1])
		c.sealed = c.sealed[:n-1]
	}
}

// store adds item to the pending batch of c and reports whether the worker should look.
func (q *queue) store(c *class, scope int, item []byte, size int) (wake bool) {
	if c.pending != nil && c.pending.bytes+size > q.batch.Bytes {
		c.seal()
		wake = true
	}
	if c.pending == nil {
		c.pending = &batch{born: time.Now()}
		wake = true
	}
	hint := 0
	if scope < len(c.hints) {
		hint = c.hints[scope]
	}
	c.pending.add(scope, item, hint)
	q.held += size
	if c.pending.count >= q.batch.Items {
		c.seal()
		wake = true
	}
	return wake
}

func (c *class) seal() {
	for i := range c.pending.scopes {
		s := &c.pending.scopes[i]
		for len(c.hints) <= i {
			c.hints = append(c.hints, 0)
		}
		c.hints[i] = len(s.data) + len(s.data)/8
		if spare := cap(s.data) - len(s.data); spare > len(s.data)/4 {
			s.data = slices.Clone(s.data) // the bound is in bytes used, so none may lie idle
		}
	}
	c.sealed = append(c.sealed, c.pending)
	c.pending = nil
}

func (q *queue) notify() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns the next batch that is due; or none, and how long until there may be one (negative: when woken). With all
// set, pending batches are due at once. The batch's bytes count as held until done.
func (q *queue) take(all bool) (b *batch, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait = -1
	for i := range q.classes {
		c := &q.classes[i]
		if p := c.pending; p != nil && len(c.sealed) == 0 {
			if left := q.batch.Delay - time.Since(p.born); left > 0 && !all {
				if wait < 0 || left < wait {
					wait = left
				}
				continue
			}
			c.seal()
		}
		if len(c.sealed) > 0 {
			b = c.sealed[0]
			c.sealed[0] = nil
			c.sealed = c.sealed[1:]
			return b, 0
		}
	}
	return nil, wait
}

// done releases the bytes of a batch that was taken.
func (q *queue) done(b *batch) {
	q.mu.Lock()
	q.held -= b.bytes
	q.mu.Unlock()
}

// close refuses further items.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
}

func (q *queue) bytes() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return int64(q.held)
}

// press turns memory pressure on or off. What is queued beyond the smaller bound is dropped at once.
func (q *queue) press(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pressure = on
	if !on {
		return
	}
	q.shedContent(q.held)
	c := &q.classes[plain]
	for n := len(c.sealed); q.held > q.limit/8 && n > 0; n-- {
		b := c.sealed[n-1]
		c.sealed = c.sealed[:n-1]
		q.held -= b.bytes
		q.drops.add(names.DropQueueFull, int64(b.count))
	}
}
