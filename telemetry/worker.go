package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	firstRetry     = time.Second // also keeps dials to a flapping collector at one a second
	longestRetry   = 30 * time.Second
	longestHold    = 5 * time.Minute // a batch older than this is given up, newer ones matter more
	closingRetry   = 250 * time.Millisecond
	closingRetries = 1
)

// sender delivers one export request.
type sender interface {
	// send returns how many items the receiver says it rejected, with its message. An error is a *sendError if more is
	// known about it. The pieces are not changed, but a transport may read them for a while after a send that was cut short.
	send(ctx context.Context, pieces [][]byte) (rejected int64, message string, err error)
	close() error
}

// sendError says what may be done about a failed send.
type sendError struct {
	err      error
	retry    bool
	after    time.Duration // the receiver's wish; 0: none
	tooLarge bool
}

func (e *sendError) Error() string { return e.err.Error() }
func (e *sendError) Unwrap() error { return e.err }

// worker sends one queue's batches, one at a time.
type worker struct {
	queue    *queue
	sender   sender
	timeout  time.Duration
	state    *exporterState
	prepare  func(*batch) [][]byte
	stop     chan struct{} // closed: send what is left, then end
	done     chan struct{} // closed when the goroutine has ended
	stopOnce sync.Once
	gaveUp   bool // the receiver does not answer and time is short: what is left is lost
}

// run works until stop is closed and the queue is empty, or ctx is done. What is left then is counted lost.
func (w *worker) run(ctx context.Context) {
	defer close(w.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		closing := w.closing()
		b, wait := w.queue.take(closing)
		switch {
		case b != nil && (ctx.Err() != nil || w.gaveUp):
			w.lose(b, names.DropShutdown)
			w.queue.done(b)
		case b != nil:
			w.export(ctx, b, true)
			w.queue.done(b)
		case closing:
			return
		default:
			if wait < 0 {
				wait = time.Hour
			}
			timer.Reset(wait)
			select {
			case <-w.queue.wake:
			case <-timer.C:
			case <-w.stop:
			}
		}
	}
}

func (w *worker) closing() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// export sends b, trying again as far as that makes sense.
func (w *worker) export(ctx context.Context, b *batch, maySplit bool) {
	backoff := firstRetry
	for closingTries := 0; ; {
		rejected, message, err := w.attempt(ctx, b)
		if err == nil {
			w.state.succeeded(int64(b.count)-rejected, rejected, message)
			return
		}
		if ctx.Err() != nil {
			w.state.failed(err)
			w.lose(b, names.DropShutdown)
			return
		}
		w.state.failed(err)
		var se *sendError
		if !errors.As(err, &se) {
			se = &sendError{err: err, retry: true}
		}
		switch {
		case se.tooLarge && maySplit && b.count > 1:
			first, second := b.split()
			w.export(ctx, first, false)
			w.export(ctx, second, false)
			return
		case !se.retry:
			w.lose(b, names.DropRejected)
			return
		case time.Since(b.born) > longestHold:
			w.lose(b, names.DropExportFailed)
			return
		}
		if w.closing() {
			if closingTries++; closingTries > closingRetries {
				w.gaveUp = true
				w.lose(b, names.DropShutdown)
				return
			}
		}
		w.pause(ctx, max(min(se.after, longestRetry), backoff/2+rand.N(backoff/2)))
		backoff = min(2*backoff, longestRetry)
	}
}

// pause waits for d, or less when the worker is to end.
func (w *worker) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	if !w.closing() {
		select {
		case <-timer.C:
		case <-w.stop:
		}
		return
	}
	timer.Reset(min(d, closingRetry))
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// attempt sends b once. A sender that panics has failed, no more.
func (w *worker) attempt(ctx context.Context, b *batch) (rejected int64, message string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("exporter panicked: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	rejected, message, err = w.sender.send(ctx, w.prepare(b))
	return min(rejected, int64(b.count)), message, err
}

func (w *worker) lose(b *batch, reason string) { w.queue.drops.add(reason, int64(b.count)) }

// shutdown ends the worker; the context given to run bounds how long that takes.
func (w *worker) shutdown() {
	w.queue.close()
	w.stopOnce.Do(func() { close(w.stop) })
	<-w.done
}

// exporterState is what is known about one signal of one exporter. It is safe for concurrent use.
type exporterState struct {
	name     string
	signal   Signal
	endpoint string
	protocol string
	drops    drops
	queue    *queue // nil for metrics, which do not queue
	log      *rateLog

	mu          sync.Mutex
	exported    int64
	lastError   string
	lastErrorAt time.Time
	lastSuccess time.Time
}

func (s *exporterState) succeeded(exported, rejected int64, message string) {
	now := time.Now()
	s.mu.Lock()
	s.exported += exported
	s.lastSuccess = now
	if rejected > 0 {
		s.lastError, s.lastErrorAt = fmt.Sprintf("%d rejected: %s", rejected, message), now
	}
	s.mu.Unlock()
	if rejected > 0 {
		s.drops.add(names.DropRejected, rejected)
	}
	if rejected > 0 || message != "" {
		s.log.warn(s, "telemetry partly rejected", slog.Int64("rejected", rejected), slog.String("message", clip(message)))
	}
}

func (s *exporterState) failed(err error) {
	message := clip(err.Error())
	s.mu.Lock()
	s.lastError, s.lastErrorAt = message, time.Now()
	s.mu.Unlock()
	s.log.warn(s, "telemetry export failed", slog.String("error", message))
}

// clip shortens what a receiver said to a length fit for a log line.
func clip(s string) string {
	if len(s) > 500 {
		return s[:500] + "…"
	}
	return s
}

// rateLog logs each message of each exporter at most once a minute, with the number of those left out.
type rateLog struct {
	logger *slog.Logger
	mu     sync.Mutex
	seen   map[rateKey]*rateEntry
}

type rateKey struct {
	state   *exporterState
	message string
}

type rateEntry struct {
	last    time.Time
	skipped int
}

func (l *rateLog) warn(s *exporterState, message string, attrs ...slog.Attr) {
	l.mu.Lock()
	if l.seen == nil {
		l.seen = map[rateKey]*rateEntry{}
	}
	entry, known := l.seen[rateKey{s, message}]
	if known && time.Since(entry.last) < time.Minute {
		entry.skipped++
		l.mu.Unlock()
		return
	}
	if !known {
		entry = &rateEntry{}
		l.seen[rateKey{s, message}] = entry
	}
	skipped := entry.skipped
	entry.last, entry.skipped = time.Now(), 0
	l.mu.Unlock()
	attrs = append(attrs, slog.String("exporter", s.name), slog.String("signal", string(s.signal)), slog.String("endpoint", s.endpoint))
	if skipped > 0 {
		attrs = append(attrs, slog.Int("skipped", skipped))
	}
	l.logger.LogAttrs(context.Background(), slog.LevelWarn, message, attrs...)
}
