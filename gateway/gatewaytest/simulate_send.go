package gatewaytest

import (
	"bytes"
	"compress/gzip"
	"net"
	"net/http"
	"strconv"
	"time"
)

// reply is a rendered answer, shared between identical requests: read-only.
type reply struct {
	status int
	header http.Header
	body   []byte   // a plain body, when events is nil
	events [][]byte // a streamed body, framed; the terminator belongs to the last
	fail   []byte   // the dialect's error event, framed
	close  []byte   // what a cut stream still needs to be well-formed JSON after fail
	usage  Usage    // billed when all of it is sent
	deltas []int    // of the events so far, those that carry generated text; see weigh
}

// weigh counts the events that carry something generated: a stream that is cut
// is billed for those that were sent.
func (out *reply) weigh() {
	out.deltas = make([]int, len(out.events))
	n := 0
	for i, e := range out.events {
		if generates(e) {
			n++
		}
		out.deltas[i] = n
	}
}

// generates reports whether an event carries output, in whichever dialect.
func generates(event []byte) bool {
	for _, mark := range [...]string{`"text_delta"`, `"thinking_delta"`, `"input_json_delta"`, `.delta"`, `"delta":{"content":`, `"delta":{"tool_calls"`, `"parts":[{"`, `"choices":[{"text":`} {
		if bytes.Contains(event, []byte(mark)) {
			return true
		}
	}
	return false
}

// billed is what so many of the events cost.
func (out *reply) billed(events int) Usage {
	switch {
	case events >= len(out.events):
		return out.usage
	case events == 0:
		return out.usage.share(0, 1)
	}
	return out.usage.share(out.deltas[events-1], max(1, out.deltas[len(out.deltas)-1]))
}

func (out *reply) size() int {
	n := len(out.body)
	for _, e := range out.events {
		n += len(e)
	}
	return n
}

// conversation is one request being answered. It is owned by its handler.
type conversation struct {
	w      http.ResponseWriter
	r      *http.Request
	done   <-chan struct{} // closed when the provider is
	vendor vendor
	rec    *Request

	flush  func()
	gz     *gzip.Writer
	status int
	bytes  int64
	sent   []byte // nil: not recorded
	usage  Usage
	err    error // of writing to the client
}

// Write sends bytes and counts them as they leave.
func (c *conversation) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.bytes += int64(n)
	if c.sent != nil {
		c.sent = append(c.sent, b[:min(n, maxSent-len(c.sent))]...)
	}
	if err != nil {
		c.err = err
	}
	return n, err
}

// serve sends a reply the way the step says.
func (c *conversation) serve(out *reply, step Step) {
	if !c.sleep(step.Delay) {
		return
	}
	if step.Hangup {
		c.reset()
		return
	}
	c.flush = func() {}
	if f, ok := c.w.(http.Flusher); ok {
		c.flush = f.Flush
	}
	h := c.w.Header()
	for name, values := range out.header {
		h[name] = values
	}
	if out.status >= 400 {
		step = Step{Chunk: step.Chunk, Gzip: step.Gzip}
	}
	if step.Gzip {
		h.Set("Content-Encoding", "gzip")
		c.gz = gzip.NewWriter(c)
	} else if out.events == nil && step.Cut != CutTruncate {
		h.Set("Content-Length", strconv.Itoa(len(out.body)))
	}
	c.status = out.status
	c.w.WriteHeader(out.status)
	if c.r.Method == http.MethodHead {
		return
	}
	if out.events == nil {
		c.plain(out, step)
		return
	}
	c.stream(out, step)
}

func (c *conversation) plain(out *reply, step Step) {
	if step.Cut == CutNone || step.Cut == CutError {
		if c.put(out.body, step.Chunk) && c.gz != nil {
			c.err = c.gz.Close()
		}
		c.usage = out.usage
		return
	}
	var part []byte
	if step.CutAfter > 0 {
		part = out.body[:len(out.body)/2]
	}
	c.usage = out.usage.share(len(part), len(out.body))
	if c.put(part, step.Chunk) {
		c.cut(step, out)
	}
}

func (c *conversation) stream(out *reply, step Step) {
	events := out.events
	if step.Cut != CutNone {
		events = events[:min(step.CutAfter, len(events))]
	}
	if step.EventDelay > 0 {
		c.flush()
	}
	for i, e := range events {
		if i > 0 && !c.sleep(step.EventDelay) {
			return
		}
		if !c.putEvent(e, step.Chunk) {
			return
		}
		c.usage = out.billed(i + 1)
	}
	// A cut beyond the end leaves the answer whole.
	if step.Cut != CutNone && step.CutAfter < len(out.events) {
		c.usage = out.billed(len(events))
		c.cut(step, out)
		return
	}
	if c.gz != nil {
		c.err = c.gz.Close()
	}
}

// cut ends the answer early. What was written before it has been flushed.
func (c *conversation) cut(step Step, out *reply) {
	c.flush()
	switch step.Cut {
	case CutStall:
		select {
		case <-c.r.Context().Done():
		case <-c.done:
		}
	case CutReset:
		c.reset()
	case CutError:
		if c.putEvent(out.fail, step.Chunk) {
			c.putEvent(out.close, step.Chunk)
		}
	}
}

// reset breaks the connection so that the client sees an error, not an end.
func (c *conversation) reset() {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil { // HTTP/2: net/http resets the stream
		panic(http.ErrAbortHandler)
	}
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // close sends RST
	}
	_ = conn.Close()
}

// putEvent writes and flushes one event; it reports whether to go on.
func (c *conversation) putEvent(e []byte, chunk int) bool {
	if c.r.Context().Err() != nil {
		return false
	}
	if !c.put(e, chunk) {
		return false
	}
	if c.gz != nil {
		c.err = c.gz.Flush()
	}
	c.flush()
	return c.err == nil
}

// put writes b, chunk bytes at a time when chunk is positive; it reports whether to go on.
func (c *conversation) put(b []byte, chunk int) bool {
	for chunk > 0 && len(b) > chunk {
		if !c.putPiece(b[:chunk]) {
			return false
		}
		c.flush()
		b = b[chunk:]
	}
	return c.putPiece(b)
}

func (c *conversation) putPiece(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if c.gz == nil {
		_, _ = c.Write(b)
	} else if _, err := c.gz.Write(b); err != nil {
		c.err = err
	}
	return c.err == nil
}

// sleep waits, and reports whether the client is still there.
func (c *conversation) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.done:
		return true
	case <-c.r.Context().Done():
		return false
	}
}

// share returns what part of whole costs: all of the prompt, a share of the answer.
func (u Usage) share(part, whole int) Usage {
	if part >= whole {
		return u
	}
	u.Output = u.Output * int64(part) / int64(whole)
	u.Reasoning = min(u.Reasoning, u.Output)
	return u
}
