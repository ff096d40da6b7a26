package gateway

import (
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// reply is the answer to the client. The commit point is the first byte.
type reply struct {
	w         http.ResponseWriter
	x         *Exchange
	ctl       *control
	rc        *http.ResponseController // nil until something is flushed
	errors    Dialect                  // what the client is told errors in; nil: the exchange's dialect
	committed bool
	status    int
	deadline  time.Time // for writes; zero: none set
}

// commit sends status and headers. h are the provider's, or nil.
func (rp *reply) commit(status int) {
	rp.decorate()
	rp.w.WriteHeader(status)
	rp.committed, rp.status = true, status
	rp.x.FirstByte = time.Now()
}

// decorate sets the headers of TELEMETRY §5. They are written with the case in
// which they are documented.
func (rp *reply) decorate() {
	x, h := rp.x, rp.w.Header()
	// One array for all values.
	values := make([]string, 0, 9)
	set := func(key, value string) {
		values = append(values, value)
		h[key] = values[len(values)-1 : len(values) : len(values)]
	}
	set("X-CCProxy-Request-Id", x.ID)
	set("X-CCProxy-Model-Name", known(x.Route.Label))
	set("X-CCProxy-Original-Model", known(headerSafe(x.Call.Model)))
	set("X-CCProxy-Routed-Model", known(headerSafe(x.routedModel())))
	set("X-CCProxy-Provider", known(x.routedProvider()))
	set("X-CCProxy-Attempts", strconv.Itoa(len(x.Attempts)))
	if sc := x.Span.SpanContext(); sc.IsValid() {
		response := traceresponse(sc)
		set("X-CCProxy-Trace-Id", response[3:35])
		set("Traceresponse", response)
	}
	// A stream's cost is not known when it begins, and half a fallback's is none.
	if a := x.Final(); a != nil && a.settled && !x.Snapshot.HideCost {
		if cost, ok := x.Cost(); ok {
			set("X-CCProxy-Cost", cost.String())
		}
	}
	if x.visit != nil {
		x.visit.Header(h, x.Dialect.Family())
	}
	for k, v := range x.headers {
		h[k] = v
	}
}

func traceresponse(sc trace.SpanContext) string {
	b := make([]byte, 0, 55)
	t, s := sc.TraceID(), sc.SpanID()
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, t[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, s[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, []byte{byte(sc.TraceFlags())})
	return string(b)
}

// known is the seed's default for what is not decided.
func known(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// headerSafe keeps a client's word out of a header if it could break one.
func headerSafe(s string) string {
	if len(s) > 256 || !printable(s) {
		return ""
	}
	return s
}

// fail answers with e in the client's dialect. After the commit point only the
// connection can say it.
func (rp *reply) fail(e *Error) {
	rp.x.Err = e
	if rp.committed {
		rp.ctl.abort = true
		return
	}
	d := rp.errors
	if d == nil {
		d = rp.x.Dialect
	}
	status, h, body := d.EncodeError(e, rp.x.ID)
	rp.answer(status, h, body)
}

// answer sends a whole answer.
func (rp *reply) answer(status int, h http.Header, body []byte) {
	copyResponseHeader(rp.w.Header(), h)
	rp.w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	rp.commit(status)
	if rp.x.Request.Method == http.MethodHead {
		return
	}
	if len(body) > 64<<10 {
		rp.extend(time.Now())
		defer rp.relax()
	}
	start := time.Now()
	// A client that left is noticed by its context.
	if _, err := rp.w.Write(body); errors.Is(err, os.ErrDeadlineExceeded) && rp.x.Err == nil {
		rp.x.Err, rp.ctl.abort = stalled(err), true
	}
	rp.x.stall += time.Since(start)
}

// extend moves the write deadline on, so that a client that reads nothing does
// not hold its provider for ever. It is moved at most twice a period.
func (rp *reply) extend(now time.Time) {
	d := rp.x.Snapshot.Limits.WriteTimeout
	if d <= 0 || !rp.deadline.IsZero() && rp.deadline.Sub(now) > d/2 {
		return
	}
	rp.deadline = now.Add(d)
	_ = rp.controller().SetWriteDeadline(rp.deadline) // not every ResponseWriter has deadlines
}

// relax takes the deadline off the connection, which may serve other requests.
func (rp *reply) relax() {
	if !rp.deadline.IsZero() {
		rp.deadline = time.Time{}
		_ = rp.controller().SetWriteDeadline(time.Time{})
	}
}

func (rp *reply) flush() error { return rp.controller().Flush() }

func (rp *reply) controller() *http.ResponseController {
	if rp.rc == nil {
		rp.rc = http.NewResponseController(rp.w)
	}
	return rp.rc
}
