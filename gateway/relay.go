package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/sse"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// relay passes a successful answer on, as a stream or whole.
func (u *upstream) relay(resp *http.Response) {
	a, x := u.a, u.a.Exchange
	for _, h := range x.hooks {
		if h.phases.Response == nil {
			continue
		}
		err := runHook(u.g, u.ctx, x, h.ConfiguredHook, names.HookPhasePreAPI, h.phases.Response, a)
		if err != nil {
			a.Err = err
			return
		}
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case media == "text/html":
		a.Err = u.undecodable("an HTML page")
	case media == "text/event-stream" || x.Call.Stream && media == "application/json" && x.Dialect.Family() == "gemini":
		u.relayStream(resp, media)
	default:
		u.relayPlain(resp)
	}
}

func (u *upstream) undecodable(what string) *Error {
	return &Error{Type: names.ErrorResponseDecodeError, Origin: names.ErrorOriginProvider, Status: http.StatusBadGateway,
		Message: fmt.Sprintf("provider %s answered %d with %s", u.a.Target.Provider.Name, u.a.Response.StatusCode, what)}
}

// relayPlain holds a plain answer whole, so that a broken one can still be
// replaced by a fallback. What is larger than the limit is relayed as it comes.
func (u *upstream) relayPlain(resp *http.Response) {
	a, x, rp := u.a, u.a.Exchange, u.rp
	lim := x.Snapshot.Limits.HeldAnswer
	u.dog.rearm(time.Now(), u.headerTimeout(), errHeaderTimeout)
	start := time.Now()
	body, err := readAtMost(resp.Body, lim, resp.ContentLength)
	x.wait += time.Since(start)
	switch {
	case errors.Is(err, errTooLarge):
		u.relayLarge(resp, body)
		return
	case err != nil:
		a.Err = u.bodyError(err)
		return
	case len(body) == 0 && x.Call.Operation != "":
		a.Err = u.undecodable("an empty body")
		return
	}
	e := Event{Raw: body, Data: body}
	x.Dialect.Observe(&e, &a.Result)
	if a.Result.Err != nil {
		a.Err = a.Result.Err
		a.answer = scrub(body, a.Target.Provider, u.used)
		return
	}
	if x.Call.Operation != "" && jsonscan.Kind(body, jsonscan.Root(body)) != '{' {
		a.Err = u.undecodable("what is no JSON object")
		return
	}
	a.Result.Done = true
	if err := u.runEventHooks(&e); err != nil {
		a.Err = err
		return
	}
	u.pass()
	u.g.settle(detach(u.ctx), a)
	copyResponseHeader(rp.w.Header(), resp.Header)
	rp.answer(resp.StatusCode, nil, e.Raw)
}

// maxTail is how much of the end of a large answer is kept, because usage
// stands there.
const maxTail = 64 << 10

// relayLarge sends what was held and then the rest. Only the end is observed.
func (u *upstream) relayLarge(resp *http.Response, held []byte) {
	a, rp := u.a, u.rp
	u.pass()
	copyResponseHeader(rp.w.Header(), resp.Header)
	if resp.ContentLength >= 0 {
		rp.w.Header()["Content-Length"] = []string{strconv.FormatInt(resp.ContentLength, 10)}
	}
	rp.commit(resp.StatusCode)
	defer rp.relax()
	rp.extend(time.Now())
	if _, err := rp.w.Write(held); err != nil {
		a.Err = u.writeFailed(err)
		return
	}
	tail := append([]byte(nil), held[max(0, len(held)-maxTail):]...)
	err := u.copyBody(resp, func(piece []byte) {
		tail = append(tail, piece...)
		tail = tail[max(0, len(tail)-maxTail):]
	})
	if a.Err = err; err == nil && !u.a.Exchange.ClientGone() {
		a.Exchange.Dialect.Observe(&Event{Tail: tail}, &a.Result)
		a.Result.Done = true
	}
}

// copyBody relays the rest of a body as it comes, shown to see if not nil.
// After the commit point an error can only break the connection.
func (u *upstream) copyBody(resp *http.Response, see func([]byte)) *Error {
	rp := u.rp
	u.dog.rearm(time.Now(), u.a.Exchange.Snapshot.Limits.IdleTimeout, errIdleTimeout)
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		now := time.Now()
		u.dog.feed(now)
		rp.extend(now)
		if n > 0 {
			if see != nil {
				see(buf[:n])
			}
			if _, werr := rp.w.Write(buf[:n]); werr != nil {
				return u.writeFailed(werr)
			}
			_ = rp.flush() // a failed flush fails the next write
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			e := u.bodyError(err)
			rp.ctl.abort = e != nil
			return e
		}
	}
}

// writeFailed ends the talk with the provider because the client takes no
// more. It returns nil when the client left, an error when it stalled.
func (u *upstream) writeFailed(err error) *Error {
	u.cancel(errClientGone)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		u.rp.ctl.abort = true
		return stalled(err)
	}
	u.a.Exchange.gone.Store(true)
	return nil
}

// stalled is the error of a client that reads nothing.
func stalled(err error) *Error {
	return &Error{Type: names.ErrorTimeout, Origin: names.ErrorOriginCaller, Status: http.StatusRequestTimeout,
		Message: "the client read nothing for too long", Err: err}
}

// bodyError says why a response body broke off; nil when the client left.
func (u *upstream) bodyError(err error) *Error {
	switch {
	case errors.Is(err, sse.ErrTooLong):
		return &Error{Type: names.ErrorResponseTooLarge, Origin: names.ErrorOriginProvider, Status: http.StatusBadGateway, Err: err,
			Message: "an event of provider " + u.a.Target.Provider.Name + " is longer than limits.stream_line allows"}
	case errors.Is(err, errBomb):
		return &Error{Type: names.ErrorResponseDecodeError, Origin: names.ErrorOriginProvider, Status: http.StatusBadGateway, Err: err,
			Message: "the encoded answer of provider " + u.a.Target.Provider.Name + " expands beyond all measure"}
	}
	switch context.Cause(u.ctx) {
	case errClientGone:
		return nil
	case errRevoked:
		return revoked()
	case errIdleTimeout:
		return &Error{Type: names.ErrorIdleTimeout, Origin: names.ErrorOriginProvider, Status: http.StatusGatewayTimeout, Err: err,
			Message: "provider " + u.a.Target.Provider.Name + " fell silent in the middle of its answer"}
	case errHeaderTimeout, errExchangeTimeout:
		return &Error{Type: names.ErrorTimeout, Origin: names.ErrorOriginProvider, Status: http.StatusGatewayTimeout, Err: err,
			Message: "provider " + u.a.Target.Provider.Name + " took too long to answer"}
	}
	return u.truncated(err)
}

// revoked is the error of an exchange whose key was revoked while it ran.
func revoked() *Error {
	return &Error{Type: names.ErrorUnauthorized, Origin: names.ErrorOriginPolicy, Reason: names.RejectionAuth, Status: http.StatusUnauthorized, NoRetry: true,
		Message: "the key has been revoked"}
}

func (u *upstream) truncated(err error) *Error {
	return &Error{Type: names.ErrorStreamTruncated, Origin: names.ErrorOriginProvider, Status: http.StatusBadGateway, Err: err,
		Message: "the answer of provider " + u.a.Target.Provider.Name + " broke off before its end"}
}

// runEventHooks shows an event to the hooks that asked for events.
func (u *upstream) runEventHooks(e *Event) *Error {
	for _, h := range u.a.Exchange.hooks {
		if h.phases.Event == nil {
			continue
		}
		if err := protect(u.ctx, h.phases.Event, e); err != nil {
			if !refuses(err) && !h.Deny {
				u.g.recorder.HookFailed(u.ctx, u.a.Exchange, h.Name(), names.HookPhaseStream, names.HookActionFailedOpen, err)
				continue
			}
			u.g.recorder.HookFailed(u.ctx, u.a.Exchange, h.Name(), names.HookPhaseStream, names.HookActionBlocked, err)
			if refuses(err) {
				return AsError(err)
			}
			return &Error{Type: names.ErrorHookError, Origin: names.ErrorOriginGateway, Status: 500, Message: "the hook " + h.Name() + " failed", Err: err}
		}
	}
	return nil
}
