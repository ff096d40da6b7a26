package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

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
				return s.failedFirst()
			}
			s.begin(resp, now)
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

// failedFirst is the error of an attempt whose stream began with one. Its
// status, if there is any, is that of the answer it stands in.
func (s *stream) failedFirst() *Error {
	s.a.answer = nil // an event is no error body
	err := s.a.Result.Err
	if err.Status < 400 {
		err.Status = 0
	}
	return err
}

// begin commits: status, headers and the stream span.
func (s *stream) begin(resp *http.Response, now time.Time) {
	a, x, rp := s.a, s.a.Exchange, s.rp
	if x.ClientGone() {
		s.lost = true
	}
	s.pass()
	a.Stream.Started, x.Streamed = now, true
	if x.Snapshot.Detail != DetailMinimal {
		_, s.span = s.g.tracer.Start(s.ctx, names.SpanStream, trace.WithTimestamp(now), phaseOptions[names.PhaseStream])
	}
	s.g.recorder.StreamStarted(s.ctx, a)
	copyResponseHeader(rp.w.Header(), resp.Header)
	// Nobody between us and the client may hold events back.
	rp.w.Header()["X-Accel-Buffering"] = []string{"no"}
	rp.commit(resp.StatusCode)
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
	if !a.Result.Done {
		if err := a.watch(s.ctx, s.last); err != nil {
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
		case e.Type == names.ErrorTimeout || e.Reason != "":
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
