package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// scripted answers each send from a list, then with success.
type scripted struct {
	calls atomic.Int64
	sent  func(n int) (rejected int64, message string, err error)
	at    []time.Time
}

func (s *scripted) send(context.Context, [][]byte) (int64, string, error) {
	s.at = append(s.at, time.Now())
	return s.sent(int(s.calls.Add(1)))
}
func (s *scripted) close() error { return nil }

func newWorker(s sender, log *slog.Logger) *worker {
	state := &exporterState{name: "x", signal: Traces, log: &rateLog{logger: log}}
	state.queue = newQueue(1<<20, Batch{}.withDefaults(), &state.drops)
	return &worker{
		queue: state.queue, sender: s, state: state, timeout: 10 * time.Second,
		prepare: func(*batch) [][]byte { return nil },
		stop:    make(chan struct{}), done: make(chan struct{}),
	}
}

func TestO14PanickingExporterIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{sent: func(n int) (int64, string, error) {
			if n == 1 {
				panic("bug")
			}
			return 0, "", nil
		}}
		w := newWorker(s, slog.New(slog.DiscardHandler))
		go w.run(t.Context())
		w.queue.push(0, []byte("item"), false)
		time.Sleep(10 * time.Second) // the bubble's clock
		w.shutdown()
		if w.state.exported != 1 || s.calls.Load() != 2 || !strings.Contains(w.state.lastError, "bug") {
			t.Errorf("got %d exported in %d calls, last error %q", w.state.exported, s.calls.Load(), w.state.lastError)
		}
	})
}

// TestO05WaitsGrowAndHonourTheReceiver also shows that old batches are given up in the end.
func TestO05WaitsGrowAndHonourTheReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{sent: func(n int) (int64, string, error) {
			after := time.Duration(0)
			if n == 2 {
				after = time.Hour // more than we wait
			}
			return 0, "", &sendError{err: errors.New("down"), retry: true, after: after}
		}}
		w := newWorker(s, slog.New(slog.DiscardHandler))
		go w.run(t.Context())
		w.queue.push(0, []byte("item"), false)
		time.Sleep(10 * time.Minute) // the bubble's clock
		w.shutdown()
		if got := w.state.drops.byReason()[names.DropExportFailed]; got != 1 {
			t.Errorf("got %d given up, want 1", got)
		}
		for i := 1; i < len(s.at); i++ {
			if gap := s.at[i].Sub(s.at[i-1]); gap < firstRetry/2 || gap > longestRetry {
				t.Errorf("wait %d was %v", i, gap)
			}
		}
		if gap := s.at[2].Sub(s.at[1]); gap != longestRetry {
			t.Errorf("waited %v where an hour was asked for, want the cap", gap)
		}
		if w.queue.bytes() != 0 {
			t.Errorf("%d bytes still held", w.queue.bytes())
		}
	})
}

func TestBatchesLeaveAfterTheirDelayOrWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{sent: func(int) (int64, string, error) { return 0, "", nil }}
		w := newWorker(s, slog.New(slog.DiscardHandler))
		go w.run(t.Context())
		began := time.Now()
		w.queue.push(0, []byte("item"), false)
		time.Sleep(500 * time.Millisecond) // the bubble's clock
		w.queue.push(1, []byte("item"), false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(s.at) != 1 || s.at[0].Sub(began) != time.Second || w.state.exported != 2 {
			t.Fatalf("got sends at %v, %d items; want one of both after 1 s", s.at, w.state.exported)
		}
		for range defaultBatchItems {
			w.queue.push(0, []byte("item"), false)
		}
		synctest.Wait()
		if len(s.at) != 2 {
			t.Errorf("got %d sends, want a full batch to leave at once", len(s.at))
		}
		w.shutdown()
	})
}

func TestComplaintsAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		state := &exporterState{name: "x", log: &rateLog{logger: slog.New(slog.NewTextHandler(&out, nil))}}
		for range 90 {
			state.failed(errors.New("down"))
			time.Sleep(time.Second) // the bubble's clock
		}
		if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), "skipped=59") {
			t.Errorf("got %d lines for 90 s of failures, want 2 and the number left out:\n%s", n, out.String())
		}
	})
}

func TestOversizedItemsAreDroppedAlone(t *testing.T) {
	var d drops
	q := newQueue(32<<20, Batch{}.withDefaults(), &d)
	q.push(0, make([]byte, 4<<20), true)
	q.push(0, []byte("small"), false)
	b, _ := q.take(true)
	if b == nil || b.count != 1 || d.byReason()[names.DropTooLarge] != 1 {
		t.Errorf("got batch %v, drops %v", b, d.byReason())
	}
}

// TestQueuedBytesAreTheMemoryUsed: a bound on bytes used is none if buffers are mostly spare room.
func TestQueuedBytesAreTheMemoryUsed(t *testing.T) {
	var d drops
	q := newQueue(32<<20, Batch{}.withDefaults(), &d)
	for range defaultBatchItems { // a full batch, so that the next buffer starts large
		q.push(0, make([]byte, 1000), false)
	}
	q.push(0, []byte("lonely"), false)
	q.take(true)
	b, _ := q.take(true)
	if got := cap(b.scopes[0].data); got > 64 {
		t.Errorf("one small item holds %d bytes", got)
	}
}
