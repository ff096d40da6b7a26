// Package sse cuts the body of a streamed answer into events for a relay, without losing a byte.
//
// A [Reader] understands server-sent events as the WHATWG defines them
// (https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.5), a [JSONArrayReader] the JSON array Gemini
// streams when it is not asked for server-sent events. Both hand out the body as consecutive pieces: writing every
// [Event.Raw] in turn reproduces the body exactly, whatever the body holds and however the network cut it. What an event
// means is read beside that, so a body that is malformed is relayed all the same.
//
//	for {
//		e, err := r.Next()
//		if err != nil { break } // io.EOF: the body ended
//		w.Write(e.Raw)
//		if !r.Buffered() { flush() }
//	}
//
// Memory is bounded: an event larger than [Options.MaxEvent] comes in several pieces.
package sse

import (
	"errors"
	"io"
)

// Framing cuts a body into events. It is not safe for concurrent use.
type Framing interface {
	// Next returns the next event. What the event points to is valid until the next call of Next or Release. After the
	// last event it returns io.EOF, or the error that ended the body; that repeats.
	Next() (Event, error)
	// Buffered reports whether Next would return a whole event without reading from the body: a relay need not flush yet.
	Buffered() bool
	// Release lets go of the body and of large buffers.
	Release()
}

var (
	_ Framing = (*Reader)(nil)
	_ Framing = (*JSONArrayReader)(nil)
)

// Event is one unit of a streamed body. Its slices belong to the reader.
type Event struct {
	// Raw is exactly what the body held, up to and including what ends the event. Empty only on the last piece of an oversize
	// event the body ended in.
	Raw []byte
	// Name is the value of the event's "event" field. Nil: it has none.
	Name []byte
	// Data is the values of the event's "data" fields, joined with line feeds; the element's JSON in a JSON array. It points
	// into Raw when there was only one. Nil: there was none, or the event is oversize.
	Data []byte
	// Tail is set on the last piece of an oversize event alone: the last 64 KiB of the event, in which usage may be found.
	Tail []byte
	// Comment says that the event holds no data and clients see nothing of it: comments, empty lines, the brackets of an
	// array.
	Comment bool
	// Partial says that the body ended before the event did.
	Partial bool
	// Oversize says that Raw is one piece of an event larger than Options.MaxEvent. Its pieces follow one another.
	Oversize bool
}

// Options bounds a reader. The zero value is the default.
type Options struct {
	// MaxEvent is up to how many bytes an event is held and read as a whole. Zero or less: 1 MiB.
	MaxEvent int
	// MaxLine is the length in bytes at which a line, or an element of a JSON array, ends the body with ErrTooLong. Zero or
	// less: 64 MiB.
	MaxLine int
}

// ErrTooLong reports a line, or an element of a JSON array, longer than Options.MaxLine.
var ErrTooLong = errors.New("sse: line too long")

const (
	defaultMaxEvent = 1 << 20
	defaultMaxLine  = 64 << 20
	tailSize        = 64 << 10
	firstBuffer     = 4 << 10  // many streams are open and idle: start small
	keptBuffer      = 64 << 10 // what Release keeps for the next body
	minRead         = 512
)

// window is the part of a body that is held: buf[start:end] has been read and not yet handed out.
type window struct {
	src        io.Reader
	opt        Options
	buf        []byte
	start, end int
	err        error // what the body ended with
	oversize   bool  // the event at start has lost its beginning to an earlier piece
	tail       []byte
}

// reset prepares the window for another body, keeping its buffers.
func (w *window) reset(src io.Reader, opt Options) {
	if opt.MaxEvent <= 0 {
		opt.MaxEvent = defaultMaxEvent
	}
	if opt.MaxLine <= 0 {
		opt.MaxLine = defaultMaxLine
	}
	*w = window{src: src, opt: opt, buf: w.buf, tail: w.tail[:0]}
}

// Limit changes the bounds Reset set. It must be called before the first Next.
func (w *window) Limit(opt Options) {
	if opt.MaxEvent > 0 {
		w.opt.MaxEvent = opt.MaxEvent
	}
	if opt.MaxLine > 0 {
		w.opt.MaxLine = opt.MaxLine
	}
}

// release lets go of the body and of buffers larger than keptBuffer.
func (w *window) release() {
	buf := w.buf
	if cap(buf) > keptBuffer {
		buf = nil
	}
	*w = window{opt: w.opt, buf: buf, err: io.EOF}
}

// fill reads once more and returns by how much the held bytes moved towards the front.
func (w *window) fill() (moved int) {
	switch {
	case w.start == w.end:
		moved = w.start
	case len(w.buf)-w.end < minRead && w.start >= len(w.buf)/2:
		moved = w.start
	}
	if moved > 0 {
		w.end = copy(w.buf, w.buf[w.start:w.end])
		w.start = 0
	}
	if len(w.buf)-w.end < minRead {
		bigger := make([]byte, max(firstBuffer, 2*len(w.buf)))
		copy(bigger, w.buf[:w.end])
		w.buf = bigger
	}
	for range 100 {
		n, err := w.src.Read(w.buf[w.end:])
		w.end += n
		w.err = err
		if n > 0 || err != nil {
			return moved
		}
	}
	w.err = io.ErrNoProgress
	return moved
}

// cut hands out the held bytes before end as one piece of an oversize event and keeps its end for the tail.
func (w *window) cut(end int, last bool) []byte {
	raw := w.buf[w.start:end:end]
	if len(w.tail)+len(raw) > 2*tailSize { // moving the kept half only when the other is full keeps this linear
		w.tail = append(w.tail[:0], w.tail[max(0, len(w.tail)-tailSize):]...)
	}
	w.tail = append(w.tail, raw[max(0, len(raw)-tailSize):]...)
	w.start, w.oversize = end, !last
	return raw
}

// lastTail returns the end of the oversize event just cut to its last byte.
func (w *window) lastTail() []byte {
	tail := w.tail[max(0, len(w.tail)-tailSize):]
	w.tail = w.tail[:0]
	return tail
}

// AppendEvent appends a server-sent event to dst and returns the longer slice. An empty name is left out; a name ends at its
// first line break. Data with line breaks becomes several data fields.
func AppendEvent(dst []byte, name string, data []byte) []byte {
	for i := range len(name) {
		if name[i] == '\n' || name[i] == '\r' {
			name = name[:i]
			break
		}
	}
	if name != "" {
		dst = append(dst, "event: "...)
		dst = append(dst, name...)
		dst = append(dst, '\n')
	}
	dst = append(dst, "data: "...)
	for i, c := range data {
		switch {
		case c == '\n' && i > 0 && data[i-1] == '\r': // the second half of a CRLF
		case c == '\n' || c == '\r':
			dst = append(dst, "\ndata: "...)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, "\n\n"...)
}
