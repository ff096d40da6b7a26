package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/sse"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func asURLError(err error, target **url.Error) bool { return errors.As(err, target) }

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
	case errIdleTimeout:
		return &Error{Type: names.ErrorIdleTimeout, Origin: names.ErrorOriginProvider, Status: http.StatusGatewayTimeout, Err: err,
			Message: "provider " + u.a.Target.Provider.Name + " fell silent in the middle of its answer"}
	case errHeaderTimeout, errExchangeTimeout:
		return &Error{Type: names.ErrorTimeout, Origin: names.ErrorOriginProvider, Status: http.StatusGatewayTimeout, Err: err,
			Message: "provider " + u.a.Target.Provider.Name + " took too long to answer"}
	}
	return u.truncated(err)
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

// maxGaps bounds the gaps kept for the time_per_output_chunk histogram.
const maxGaps = 4096

// stream relays a stream event by event.
type stream struct {
	*upstream
	reader   EventReader
	media    string        // of the answer
	injector UsageInjector // hides the usage chunk; nil: nothing to hide
	hooked   bool
	span     trace.Span
	last     time.Time // end of the previous event
	lost     bool      // the client takes no more; reading on only for usage
	stalled  bool      // the client took nothing for too long
}

// relayStream relays an answer's events until the provider ends it.
func (u *upstream) relayStream(resp *http.Response, media string) {
	x := u.a.Exchange
	s := &stream{upstream: u, reader: x.Dialect.Events(resp.Body, media), media: media, last: time.Now()}
	defer s.reader.Release()
	s.reader.Limit(x.Snapshot.Limits.EventInspect, x.Snapshot.Limits.EventLine)
	if inj, ok := x.Dialect.(UsageInjector); ok && x.Call.Stream && !x.Call.IncludeUsage && !u.a.Target.Provider.KeepUsage {
		s.injector = inj
	}
	for _, h := range x.hooks {
		s.hooked = s.hooked || h.phases.Event != nil
	}
	u.dog.rearm(s.last, s.idle(), errIdleTimeout)
	err := s.pump(resp)
	s.end(err)
}

func (s *stream) idle() time.Duration {
	d := s.a.Exchange.Snapshot.Limits.IdleTimeout
	if p := s.a.Target.Provider; p.IdleTimeout > 0 {
		d = p.IdleTimeout
	}
	return min(d, s.left())
}

// pump moves events until the body ends. It returns nil at a clean end.
func (s *stream) pump(resp *http.Response) *Error {
	a, x, rp := s.a, s.a.Exchange, s.rp
	var e Event
	for {
		e = Event{}
		err := s.reader.Next(&e)
		now := time.Now()
		x.wait += now.Sub(s.last)
		if err != nil {
			s.last = now
			return s.bodyEnd(err)
		}
		s.dog.feed(now)
		x.Dialect.Observe(&e, &a.Result)
		// Clients discard half an event, and it would spoil the error that follows.
		if e.Partial && !a.Result.Done && x.Call.Operation != "" && s.media == "text/event-stream" {
			s.last = now
			continue
		}
		if !rp.committed {
			// The first event decides: an error here is a failed attempt, not an answer.
			if a.Result.Err != nil {
				return s.failedFirst(&e)
			}
			if err := s.begin(resp, now); err != nil {
				return err
			}
		}
		s.count(&e, now)
		if err := s.deliver(&e); err != nil {
			return err
		}
		if now.Sub(x.Start) > x.Snapshot.Limits.Exchange {
			s.cancel(errExchangeTimeout)
		}
	}
}

func (s *stream) failedFirst(e *Event) *Error {
	s.a.answer = nil // an event is no error body
	err := s.a.Result.Err
	if err.Status < 400 {
		err.Status = 0
	}
	_ = e
	return err
}

// begin commits: status, headers and the stream span.
func (s *stream) begin(resp *http.Response, now time.Time) *Error {
	a, x, rp := s.a, s.a.Exchange, s.rp
	if x.ClientGone() {
		s.lost = true
	}
	a.Stream.Started, x.Streamed = now, true
	if x.Snapshot.Detail != DetailMinimal {
		_, s.span = s.g.tracer.Start(s.ctx, names.SpanStream, trace.WithTimestamp(now), phaseOptions[names.PhaseStream])
	}
	s.g.recorder.StreamStarted(s.ctx, a)
	copyResponseHeader(rp.w.Header(), resp.Header)
	// Nobody between us and the client may hold events back.
	rp.w.Header()["X-Accel-Buffering"] = []string{"no"}
	rp.commit(resp.StatusCode)
	return nil
}

func (s *stream) count(e *Event, now time.Time) {
	st := &s.a.Stream
	st.Bytes += int64(len(e.Raw))
	if e.Data == nil {
		return
	}
	if st.Events > 0 {
		gap := now.Sub(st.Ended)
		st.MaxGap = max(st.MaxGap, gap)
		if len(st.Gaps) < maxGaps {
			st.Gaps = append(st.Gaps, gap.Seconds())
		}
	}
	st.Events++
	st.Ended = now
	if s.a.Result.Content && st.FirstToken.IsZero() {
		st.FirstToken = now
		if s.span != nil && s.a.Exchange.Snapshot.Detail == DetailFull {
			s.span.AddEvent(names.SpanEventFirstToken, trace.WithTimestamp(now))
		}
	}
}

// deliver writes one event to the client, and flushes when no other is waiting.
func (s *stream) deliver(e *Event) *Error {
	a, x, rp := s.a, s.a.Exchange, s.rp
	if s.injector != nil && s.injector.UsageOnly(e) {
		e.Hidden = true
	}
	if s.hooked {
		if err := s.runEventHooks(e); err != nil {
			a.Stream.End = names.StreamEndCutOff
			return err
		}
	}
	// What was spent is settled before the client can believe it is over.
	if a.Result.Done && !a.settled {
		s.g.settle(detach(s.ctx), a)
	}
	start := time.Now()
	s.last = start
	if s.lost {
		return nil
	}
	if !e.Hidden {
		rp.extend(start)
		if _, err := rp.w.Write(e.Raw); err != nil {
			return s.writeFailed(err)
		}
	}
	if !s.reader.Buffered() {
		if err := rp.flush(); err != nil {
			return s.writeFailed(err)
		}
	}
	s.last = time.Now()
	wrote := s.last.Sub(start)
	a.Stream.Stall += wrote
	x.stall += wrote
	return nil
}

// writeFailed handles a client that takes no more: it left, or it stalled.
func (s *stream) writeFailed(err error) *Error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.stalled = true
		s.a.Stream.End = names.StreamEndCutOff
		s.rp.ctl.abort = true
		s.cancel(errClientGone)
		return stalled(err)
	}
	s.lost = true
	s.a.Exchange.gone.Store(true)
	if !s.a.Target.Provider.Drain {
		s.cancel(errClientGone)
	}
	return nil
}

// bodyEnd judges how the provider's stream ended.
func (s *stream) bodyEnd(err error) *Error {
	a, x := s.a, s.a.Exchange
	if err != io.EOF {
		if x.ClientGone() && context.Cause(s.ctx) == errClientGone {
			a.Stream.End = names.StreamEndClientDisconnect
			return nil
		}
		e := s.bodyError(err)
		switch {
		case e == nil:
			a.Stream.End = names.StreamEndClientDisconnect
		case e.Type == names.ErrorIdleTimeout:
			a.Stream.End = names.StreamEndIdleTimeout
		case e.Type == names.ErrorTimeout:
			a.Stream.End = names.StreamEndCutOff
		default:
			a.Stream.End = names.StreamEndError
		}
		return e
	}
	if a.Result.Err != nil {
		a.Stream.End = names.StreamEndError
		return a.Result.Err
	}
	if !a.Result.Done && x.Call.Operation != "" {
		a.Stream.End = names.StreamEndTruncated
		return s.truncated(nil)
	}
	a.Stream.End = names.StreamEndDone
	if s.lost {
		a.Stream.End = names.StreamEndClientDisconnect
	}
	return nil
}

// end tells the client what went wrong, if something did, and closes the
// stream span.
func (s *stream) end(err *Error) {
	a, rp := s.a, s.rp
	a.Err = err
	if !rp.committed {
		return
	}
	defer rp.relax()
	if err != nil {
		s.tell(err)
	}
	if !a.settled {
		s.g.settle(detach(s.ctx), a)
	}
	s.g.recorder.StreamEnded(s.ctx, a)
	if s.span != nil {
		s.closeSpan(err)
	}
}

// tell ends a broken stream visibly: the dialect's error event, unless the
// provider has sent its own, and then a connection that breaks off.
func (s *stream) tell(err *Error) {
	a, x, rp := s.a, s.a.Exchange, s.rp
	if a.Result.Err != nil || s.stalled || s.lost {
		return
	}
	if event := x.Dialect.EncodeStreamError(err, x.ID); len(event) > 0 && s.media == "text/event-stream" {
		if _, werr := rp.w.Write(event); werr == nil {
			_ = rp.flush() // the connection is about to be broken anyway
		}
	}
	rp.ctl.abort = true
}

func (s *stream) closeSpan(err *Error) {
	a := s.a
	st := &a.Stream
	if s.span.IsRecording() {
		attrs := make([]attribute.KeyValue, 0, 8)
		attrs = append(attrs, names.KeyStreamEvents.Int(st.Events), names.KeyStreamBytes.Int64(st.Bytes), names.KeyStreamEnd.String(st.End),
			names.KeyStreamMaxGap.Float64(st.MaxGap.Seconds()), names.KeyStreamClientStall.Float64(st.Stall.Seconds()))
		if st.Events > 1 {
			attrs = append(attrs, names.KeyStreamMeanGap.Float64(st.Ended.Sub(st.Started).Seconds()/float64(st.Events-1)))
		}
		if !st.FirstToken.IsZero() {
			attrs = append(attrs, names.KeyStreamTimeToFirstToken.Float64(st.FirstToken.Sub(a.Issued).Seconds()))
		}
		if err != nil {
			attrs = append(attrs, names.KeyErrorType.String(err.Type))
			s.span.SetStatus(codes.Error, "")
		}
		s.span.SetAttributes(attrs...)
	}
	end := st.Ended
	if end.IsZero() {
		end = time.Now()
	}
	s.span.End(trace.WithTimestamp(end))
}
