package ledger

import (
	"context"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// openHolds lists the holds that have not ended. It is safe for concurrent use.
type openHolds struct {
	mu    sync.Mutex
	first *hold
	count int
}

// place is where a hold is in the list.
type place struct{ before, after *hold }

func (o *openHolds) add(h *hold) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h.after = o.first; h.after != nil {
		h.after.before = h
	}
	o.first = h
	o.count++
}

// remove takes out a hold that is in the list.
func (o *openHolds) remove(h *hold) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h.before != nil {
		h.before.after = h.after
	} else {
		o.first = h.after
	}
	if h.after != nil {
		h.after.before = h.before
	}
	h.place = place{}
	o.count--
}

// len returns how many holds are open.
func (o *openHolds) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count
}

// leaked returns the holds whose exchange is over.
func (o *openHolds) leaked(now time.Time) []*hold {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []*hold
	for h := o.first; h != nil; h = h.after {
		if h.life.over(now) {
			list = append(list, h)
		}
	}
	return list
}

const (
	// reconcileEvery is how often holds are compared with the exchanges that
	// run.
	reconcileEvery = 5 * time.Second
	// grace is how long after its request the engine may still settle.
	grace = 5 * time.Second
)

// life tells whether an exchange can still end its hold. The engine ends each
// hold before it lets the request go, and the server cancels the request's
// context when its handler is through, even if that panics. A client that
// leaves cancels it as well; the engine is then through at once, or within the
// limit for draining. So a hold is leaked whose request has been gone for
// longer than that, and in any case one that is older than an exchange may be.
// Once made, a life is the reconciler's.
type life struct {
	done     <-chan struct{} // of the request; nil: not known
	linger   time.Duration   // how long the hold may outlive it
	deadline time.Time
	gone     time.Time // when the request was first seen to be gone
}

func lifeOf(a *gateway.Attempt, now time.Time) life {
	x := a.Exchange
	limits := gateway.DefaultLimits()
	if x.Snapshot != nil {
		if d := x.Snapshot.Limits.Exchange; d > 0 {
			limits.Exchange = d
		}
		if d := x.Snapshot.Limits.Drain; d > 0 {
			limits.Drain = d
		}
	}
	f := life{linger: grace, deadline: now.Add(limits.Exchange + limits.Drain + time.Minute)}
	if x.Request != nil {
		f.done = x.Request.Context().Done()
	}
	if a.Target.Provider.Drain {
		f.linger += limits.Drain
	}
	return f
}

func (f *life) over(now time.Time) bool {
	if now.After(f.deadline) {
		return true
	}
	select {
	case <-f.done:
	default:
		return false
	}
	if f.gone.IsZero() {
		f.gone = now
	}
	return now.Sub(f.gone) >= f.linger
}

// reconcile settles holds that nobody will end any more. There are none, unless
// the engine has a bug.
func (l *Ledger) reconcile(ctx context.Context, now time.Time) {
	for _, h := range l.open.leaked(now) {
		if h.settleLeaked(ctx) {
			l.leaks.Add(1)
			l.log.ErrorContext(ctx, "bug: a hold was never ended; it is settled as estimated", "request_id", h.line.Exchange, "attempt_id", h.line.ID)
		}
	}
}

// settleLeaked ends h at what its attempt is known to have cost. It reports
// false when h has ended meanwhile.
func (h *hold) settleLeaked(ctx context.Context) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	line := &h.line
	line.Held, line.Estimated, line.Outcome, line.ErrorType = h.held, true, names.OutcomeFailed, names.ErrorOther
	line.Duration = max(0, h.ledger.clock.Wall().Sub(line.Time))
	if h.priced {
		line.Cost = estimate(min(max(h.accrued, h.floor), h.held), h.facts.Billing)
	}
	h.finish(ctx, h.priced, false)
	return true
}
