package gateway

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Health knows how targets have been doing. It outlives configurations: targets
// are told apart by name. Implementations are safe for concurrent use and quick.
type Health interface {
	// Ready reports whether t should be tried now: its circuit is closed or due
	// for a probe, and it has not asked for a pause. It changes nothing.
	Ready(t Target) bool
	// Enter asks to send to t now, which a target that is not ready may be allowed
	// all the same. A refusal is a nil Trial and how long to wait at least; else
	// the trial must get exactly one call of End.
	Enter(t Target) (Trial, time.Duration)
}

// Trial is a send, or several, to one target.
type Trial interface {
	// End says what came of it. The meaning of d depends on v.
	End(v Verdict, d time.Duration)
	// Broke says that an answer which had begun broke off, after End.
	Broke()
}

// Verdict is what a trial says of its target.
type Verdict int

// The verdicts.
const (
	// VerdictNone: nothing. The client left, or the gateway itself refused.
	VerdictNone Verdict = iota
	// VerdictGood: it answers, if only that the request is bad.
	VerdictGood
	// VerdictBad: it is out of order; d is how long it took to fail.
	VerdictBad
	// VerdictThrottled: it has too much to do and asks for a pause of d; 0: it
	// does not say how long.
	VerdictThrottled
	// VerdictUnfit: it works, but not for us, and another should be preferred for
	// d: our credit or credential is at fault.
	VerdictUnfit
)

// How long another target is preferred to one that refused our credit or
// credential, and another key to one that did so.
const (
	creditPause = time.Minute
	authPause   = 10 * time.Second
)

// sideline takes the targets that are not ready off a route that has others.
func (x *Exchange) sideline() {
	h := x.Snapshot.Health
	if h == nil || len(x.Route.Targets) < 2 {
		return
	}
	down := func(t Target) bool { return !h.Ready(t) }
	first := slices.IndexFunc(x.Route.Targets, down)
	if first < 0 || !slices.ContainsFunc(x.Route.Targets, h.Ready) {
		return
	}
	var up []Target // a copy: the list is the router's
	for _, t := range x.Route.Targets {
		if h.Ready(t) {
			up = append(up, t)
			continue
		}
		x.Route.Skipped = append(x.Route.Skipped[:len(x.Route.Skipped):len(x.Route.Skipped)], Skip{t, names.FallbackCircuitOpen})
	}
	if len(up) == 0 { // they went down as we looked
		return
	}
	if first == 0 {
		x.Route.Reason = names.RouteReasonHealth
	}
	x.Route.Targets = up
}

// next takes the next target to try off the queue: the first that is ready, else
// the first that may be tried all the same. What it passes over is recorded.
func (g *Gateway) next(ctx context.Context, x *Exchange) (t Target, trial Trial, ok bool) {
	rest := x.queue
	if len(rest) == 0 {
		return Target{}, nil, false
	}
	h := x.Snapshot.Health
	if h == nil {
		x.queue = rest[1:]
		return rest[0], nil, true
	}
	at := -1
	for _, patient := range [2]bool{true, false} {
		for i := 0; i < len(rest) && at < 0; i++ {
			if patient && !h.Ready(rest[i]) {
				continue
			}
			var wait time.Duration
			if trial, wait = h.Enter(rest[i]); trial != nil {
				at = i
			} else if x.openFor == 0 || wait < x.openFor {
				x.openFor = wait
			}
		}
	}
	passed := rest
	if at >= 0 {
		t, passed, x.queue = rest[at], rest[:at], rest[at+1:]
	} else {
		x.queue = nil
	}
	for _, p := range passed {
		x.Route.Skipped = append(x.Route.Skipped[:len(x.Route.Skipped):len(x.Route.Skipped)], Skip{p, names.FallbackCircuitOpen})
		g.recorder.Skipped(ctx, x, p, names.FallbackCircuitOpen)
	}
	return t, trial, at >= 0
}

// another reports whether a target waits that should be tried now.
func (x *Exchange) another() bool {
	h := x.Snapshot.Health
	if h == nil {
		return len(x.queue) > 0
	}
	return slices.ContainsFunc(x.queue, h.Ready)
}

// circuitOpen is the error of an exchange none of whose targets may be tried.
func (x *Exchange) circuitOpen() *Error {
	return &Error{Type: names.ErrorCircuitOpen, Origin: names.ErrorOriginGateway, Status: http.StatusServiceUnavailable, RetryAfter: max(time.Second, x.openFor),
		Message: "provider " + x.Route.Provider + " has failed or throttled requests again and again; the gateway does not ask it for a while"}
}

// judge tells the target's circuit what came of the sends so far.
func (u *upstream) judge(reason string) {
	a := u.a
	e := a.Err
	switch {
	case u.trial == nil:
	case u.passed:
		if e != nil && e.Reason == "" && e.Origin == names.ErrorOriginProvider {
			u.trial.Broke()
		}
	case e == nil || e.Reason != "" || e.Type == names.ErrorHookError || a.Exchange.ClientGone():
		u.trial.End(VerdictNone, 0)
	default:
		v, d := u.verdict(e, reason)
		if v == VerdictBad && u.voted {
			v, d = VerdictNone, 0 // sent again, what fails for its own sake fails again
		}
		u.voted = u.voted || v == VerdictBad
		u.trial.End(v, d)
	}
	u.trial = nil
}

// verdict is what a failed send says of its target. What a provider refuses a
// client for the client's own credential says nothing.
func (u *upstream) verdict(e *Error, reason string) (Verdict, time.Duration) {
	a := u.a
	theirs := a.Credential == CredentialClient
	hint := min(e.RetryAfter, a.Exchange.Snapshot.Limits.RetryAfter)
	switch reason {
	case names.FallbackRateLimit:
		if theirs {
			return VerdictNone, 0
		}
		if until, ok := a.Target.Provider.throttledUntil(a.Target.Name); ok {
			hint = max(0, time.Until(until))
		}
		return VerdictThrottled, hint
	case names.FallbackCredit:
		if theirs {
			return VerdictNone, 0
		}
		return VerdictUnfit, max(hint, creditPause)
	case names.FallbackAuth:
		return VerdictUnfit, authPause
	case names.FallbackOverloaded:
		if hint > 0 {
			return VerdictThrottled, hint
		}
		return VerdictBad, time.Since(a.Sent)
	case names.FallbackTimeout, names.FallbackServerError, names.FallbackConnect:
		return VerdictBad, time.Since(a.Sent)
	}
	return VerdictGood, 0
}

// pass notes that the target has begun to answer: what breaks from now on breaks
// in the client's hands.
func (u *upstream) pass() {
	if u.trial != nil && !u.passed {
		u.passed = true
		u.trial.End(VerdictGood, 0)
	}
}
