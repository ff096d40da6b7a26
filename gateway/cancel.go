package gateway

import (
	"context"
	"sync"
	"time"
)

// canceller cancels the attempt that runs when the client leaves. It is the
// only part of an exchange that other goroutines touch.
type canceller struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc // of the running attempt; nil between attempts
	drain  time.Duration           // how long to read on; 0: not at all
	gone   bool
	end    error // why no attempt may run any more; nil: they may
	timer  *time.Timer
}

// run registers the attempt that runs now. If the client has left already, it
// is cancelled at once.
func (c *canceller) run(cancel context.CancelCauseFunc, drain time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel, c.drain = cancel, drain
	switch {
	case c.end != nil:
		cancel(c.end)
	case c.gone:
		cancel(errClientGone)
	}
}

// done ends what run began.
func (c *canceller) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = nil
	if c.timer != nil {
		c.timer.Stop()
	}
}

// revoke ends the exchange because its key has been revoked.
func (c *canceller) revoke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = errRevoked
	if c.cancel != nil {
		c.cancel(errRevoked)
	}
}

func (c *canceller) clientGone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	if c.cancel == nil {
		return
	}
	cancel := c.cancel
	if c.drain > 0 {
		c.timer = time.AfterFunc(c.drain, func() { cancel(errClientGone) })
		return
	}
	cancel(errClientGone)
}

// watchdog cancels an attempt when nothing happens for too long.
type watchdog struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
	mu     sync.Mutex
	cause  error
	period time.Duration
	set    time.Time
}

func newWatchdog(cancel context.CancelCauseFunc, d time.Duration, cause error) *watchdog {
	w := &watchdog{cancel: cancel, cause: cause, period: d, set: time.Now()}
	w.timer = time.AfterFunc(d, w.bite)
	return w
}

func (w *watchdog) bite() {
	w.mu.Lock()
	cause := w.cause
	w.mu.Unlock()
	w.cancel(cause)
}

// rearm gives the watchdog another period and cause from now on.
func (w *watchdog) rearm(now time.Time, d time.Duration, cause error) {
	w.mu.Lock()
	w.cause = cause
	w.mu.Unlock()
	w.period, w.set = d, now
	w.timer.Reset(d)
}

// feed says that something happened. The timer is moved at most sixteen times
// a period, because a stream's events come faster than timers are cheap.
func (w *watchdog) feed(now time.Time) {
	if now.Sub(w.set) > w.period/16 {
		w.set = now
		w.timer.Reset(w.period)
	}
}

func (w *watchdog) stop() { w.timer.Stop() }
