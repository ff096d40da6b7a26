package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// maxLogBytes bounds what waits to be written to a log.
const maxLogBytes = 1 << 20

// LogWriter passes writes on to another writer from a goroutine of its own, so that a full pipe or a slow disk never
// holds up who logs. Up to 1 MiB waits; a write that finds no room is dropped whole and counted. It is safe for
// concurrent use. Close it.
type LogWriter struct {
	w       io.Writer
	dropped atomic.Int64
	told    atomic.Int64 // of dropped, those a handler has reported
	done    chan struct{}

	mu      sync.Mutex
	wake    *sync.Cond
	waiting []byte
	spare   []byte // the buffer not being filled
	writing int    // bytes of the buffer being written
	closed  bool
	err     error // the last write's
}

// NewLogWriter returns a LogWriter to w, which needs no locking of its own.
func NewLogWriter(w io.Writer) *LogWriter {
	l := &LogWriter{w: w, done: make(chan struct{})}
	l.wake = sync.NewCond(&l.mu)
	go l.run()
	return l
}

// Write implements [io.Writer]. It never blocks on the underlying writer and never fails; p is copied.
func (l *LogWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting)+l.writing+len(p) > maxLogBytes {
		l.dropped.Add(1)
		return len(p), nil
	}
	l.waiting = append(l.waiting, p...)
	l.wake.Signal()
	return len(p), nil
}

// Dropped returns how many writes found no room or came after Close.
func (l *LogWriter) Dropped() int64 { return l.dropped.Load() }

// unreported returns how many were dropped since it was last asked; 0 while there is no room to report it.
func (l *LogWriter) unreported() int64 {
	n := l.dropped.Load()
	if n == l.told.Load() {
		return 0
	}
	l.mu.Lock()
	full := l.closed || len(l.waiting)+l.writing > maxLogBytes-1024
	l.mu.Unlock()
	if full {
		return 0
	}
	return max(0, n-l.told.Swap(n))
}

// Close writes what waits, ends the goroutine and waits for it; the underlying writer stays open. When ctx ends first,
// what is left is lost: Close then unblocks a writer that has write deadlines, and leaves one that has none behind. It
// returns the last error of writing, if any.
func (l *LogWriter) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	l.wake.Signal()
	l.mu.Unlock()
	select {
	case <-l.done:
		return l.lastError()
	case <-ctx.Done():
	}
	err := fmt.Errorf("flush the log: %w", ctx.Err())
	d, ok := l.w.(interface{ SetWriteDeadline(time.Time) error })
	if !ok || d.SetWriteDeadline(time.Now()) != nil {
		return err
	}
	<-l.done
	return errors.Join(err, d.SetWriteDeadline(time.Time{}))
}

func (l *LogWriter) lastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *LogWriter) run() {
	defer close(l.done)
	for {
		l.mu.Lock()
		for len(l.waiting) == 0 && !l.closed {
			l.wake.Wait()
		}
		batch := l.waiting
		if len(batch) == 0 {
			l.mu.Unlock()
			return
		}
		l.waiting, l.spare, l.writing = l.spare[:0], nil, len(batch)
		l.mu.Unlock()

		_, err := l.w.Write(batch)

		l.mu.Lock()
		l.spare, l.writing, l.err = batch[:0], 0, err
		l.mu.Unlock()
	}
}
