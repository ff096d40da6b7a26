package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// maxBackoff bounds the wait before a send whose provider did not say when to
// come back.
const maxBackoff = 8 * time.Second

// keyPause is how long a key sits out whose provider did not say how long it is
// throttled.
const keyPause = time.Second

// retryBudget bounds how much load retries add: each attempt puts in a share of
// a send, each further send takes one out. Safe for concurrent use.
type retryBudget struct {
	spent atomic.Int64 // thousandths of a send below full
}

// retryReserve is how many retries a full budget allows at once, in thousandths.
const retryReserve = 10 * 1000

// deposit puts in the share of a send that an attempt allows.
func (b *retryBudget) deposit(share float64) {
	if share <= 0 || b.spent.Load() == 0 { // full, as nearly always
		return
	}
	n := int64(share * 1000)
	for {
		was := b.spent.Load()
		if b.spent.CompareAndSwap(was, max(0, was-n)) {
			return
		}
	}
}

// take takes out a send, or reports that there is none.
func (b *retryBudget) take() bool {
	for {
		was := b.spent.Load()
		if was+1000 > retryReserve {
			return false
		}
		if b.spent.CompareAndSwap(was, was+1000) {
			return true
		}
	}
}

// charge takes out a send that is made in any case, as far as there is one.
func (b *retryBudget) charge() { _ = b.take() }

// again prepares a further send to the same target after a failed one, or
// reports that there shall be none: because it cannot help, because another
// target is ready, or because too much is being retried already.
func (u *upstream) again(reason string) bool {
	a, x := u.a, u.a.Exchange
	if reason == "" || u.rp.committed || x.ClientGone() {
		return false
	}
	if u.refuseKey(reason) && u.changeKey() {
		u.g.retries.charge()
		u.reset()
		return true
	}
	lim := &x.Snapshot.Limits
	if lim.RetryBudget <= 0 || a.Err.NoRetry || !a.mayHeal(reason) || len(x.Attempts)+x.retries >= lim.Attempts {
		return false
	}
	if x.extend(reason); x.another() {
		return false
	}
	wait := u.backoff(a.Err.RetryAfter)
	if wait > lim.RetryWait || wait >= u.left() || !u.g.retries.take() {
		return false
	}
	u.judge(reason)
	if !u.pause(wait) || !u.enter() {
		return false
	}
	x.retries++
	u.reset()
	return true
}

// mayHeal reports whether the target may answer what it did not answer now, and
// nothing of an answer had come. reason is why another might be tried.
func (a *Attempt) mayHeal(reason string) bool {
	if r := a.Response; r != nil && r.StatusCode < 400 && a.Result.Err == nil {
		return false // a redirect, or a broken answer
	}
	switch reason {
	case names.FallbackRateLimit, names.FallbackOverloaded, names.FallbackTimeout, names.FallbackServerError:
		return true
	case names.FallbackConnect:
		var dns *net.DNSError
		return a.Err.Type == names.ErrorConnectError || errors.As(a.Err, &dns) && !dns.IsNotFound
	}
	return false
}

// backoff is how long to wait before the next send: as long as the provider
// says and a little more, else a random time that may be twice as long each time
// (full jitter: aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter,
// read 2026-08).
func (u *upstream) backoff(hint time.Duration) time.Duration {
	base := u.a.Exchange.Snapshot.Limits.RetryBase
	if hint > 0 {
		return hint + rand.N(min(base, hint/4)+1)
	}
	return rand.N(min(maxBackoff, base<<min(u.a.Exchange.retries, 10)) + 1)
}

// pause waits, unless the client leaves or its key is revoked meanwhile.
func (u *upstream) pause(d time.Duration) bool {
	x, start := u.a.Exchange, time.Now()
	u.dog.stop()
	u.renew()
	x.cancel.run(u.cancel, 0) // there is nothing to drain
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-u.ctx.Done():
	}
	x.wait += time.Since(start)
	if context.Cause(u.ctx) == errRevoked {
		u.a.Err, u.a.answer = revoked(), nil
	}
	return u.ctx.Err() == nil
}

// renew gives the attempt a context that no earlier send has used up.
func (u *upstream) renew() {
	u.cancel(nil)
	u.ctx, u.cancel = context.WithCancelCause(u.base)
}

// enter asks the target's circuit for a further send.
func (u *upstream) enter() bool {
	h := u.a.Exchange.Snapshot.Health
	if h == nil {
		return true
	}
	u.trial, _ = h.Enter(u.a.Target)
	return u.trial != nil
}

// reset forgets what a failed send left behind. That it may have been billed is
// remembered.
func (u *upstream) reset() {
	a := u.a
	if a.inDoubt() {
		a.doubts++
	}
	a.Err, a.Response, a.answer, a.unsent = nil, nil, nil, false
	a.Result, a.Stream = Result{}, Stream{}
	if u.ctx.Err() != nil {
		u.renew()
	}
	a.Exchange.cancel.run(u.cancel, u.drain)
	u.dog.stop()
	u.dog = newWatchdog(u.cancel, u.headerTimeout(), errHeaderTimeout)
}

// refuseKey notes that the provider refused the key in use: for the target when
// it is throttled, for all when its credit is used up or it is no good. It
// reports whether it did.
func (u *upstream) refuseKey(reason string) bool {
	a, p := u.a, u.a.Target.Provider
	if a.Credential != CredentialKey || len(p.Keys) < 2 {
		return false
	}
	pause := min(a.Err.RetryAfter, a.Exchange.Snapshot.Limits.RetryAfter)
	switch reason {
	case names.FallbackRateLimit:
		p.refuse(u.used, a.Target.Name, max(pause, keyPause))
	case names.FallbackCredit:
		p.refuse(u.used, "", max(pause, creditPause))
	case names.FallbackAuth:
		p.refuse(u.used, "", creditPause)
	default:
		return false
	}
	return true
}

// changeKey takes another of the provider's keys, if one is left that was not
// refused.
func (u *upstream) changeKey() bool {
	a, p := u.a, u.a.Target.Provider
	if u.tried++; u.tried >= len(p.Keys) {
		return false
	}
	key, ok := p.otherKey(u.used, a.Target.Name)
	if !ok {
		return false
	}
	u.header = u.header.Clone()
	setKey(p, u.header, key)
	u.used = key
	return true
}

// staleWithin is how soon a send on a connection that its provider had closed
// fails at the latest. Whoever has begun to work on a request and dies takes
// longer, and may bill.
const staleWithin = time.Second

// maxStale is how many closed connections are found in a row before all idle
// ones are given up.
const maxStale = 2

// stale reports whether a send failed because its provider had closed the idle
// connection it went out on: then nobody has seen the request, and it is safe to
// send it again (RFC 9112, section 9.3.1; reliability U-19). HTTP/2 says what it
// has not seen, and the transport sends that again by itself.
func (u *upstream) stale(info *sendInfo, err error) bool {
	if info.conn == nil || time.Since(info.connected) > staleWithin || context.Cause(u.ctx) != nil {
		return false
	}
	if c, ok := info.conn.(*tls.Conn); ok && c.ConnectionState().NegotiatedProtocol == "h2" {
		return false
	}
	// A bare EOF: not a byte of an answer has come.
	if errors.Is(err, io.EOF) || strings.Contains(err.Error(), "server closed idle connection") {
		return true
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Timeout() {
		return false
	}
	return op.Op == "write" || op.Op == "read" && !strings.Contains(err.Error(), "connection broken")
}

// sendFresh sends, and again when the connection turns out to have been closed.
func (u *upstream) sendFresh() (*http.Response, error) {
	for stale := 0; ; stale++ {
		resp, info, err := u.send()
		if err == nil || stale == maxStale || !u.stale(info, err) {
			return resp, err
		}
		if stale == maxStale-1 {
			if t, ok := u.transport().(interface{ CloseIdleConnections() }); ok {
				t.CloseIdleConnections()
			}
		}
	}
}
