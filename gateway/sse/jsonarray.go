package sse

import (
	"bytes"
	"io"
)

// JSONArrayReader cuts a streamed JSON array, [{…},\r\n{…}], into its elements. Each is an event as soon as its last byte is
// there; the opening bracket or the comma before it, and space, open its Raw. The closing bracket is an event without data.
// A body that is no array is cut all the same: at the ends of the values it seems to hold.
type JSONArrayReader struct {
	window
	elements elements
	found    bool // Buffered has already walked to the end of the next event
}

// NewJSONArrayReader returns a reader of the body r.
func NewJSONArrayReader(r io.Reader, opt Options) *JSONArrayReader {
	a := new(JSONArrayReader)
	a.Reset(r, opt)
	return a
}

// Reset makes the reader read body, as new, keeping its buffers.
func (r *JSONArrayReader) Reset(body io.Reader, opt Options) {
	r.reset(body, opt)
	r.found = false
	r.elements = elements{value: -1}
}

// Release lets go of the body and of large buffers. The reader may then be kept for Reset.
func (r *JSONArrayReader) Release() {
	r.release()
	r.found = false
	r.elements = elements{value: -1}
}

// Buffered reports whether Next would return a whole event without reading from the body.
func (r *JSONArrayReader) Buffered() bool {
	if r.start == r.end || r.oversize {
		return false
	}
	r.found = r.found || r.elements.next(r.buf[:r.end])
	return r.found
}

// Next returns the next event, or the error that ended the body: io.EOF, what its Read returned, or ErrTooLong.
func (r *JSONArrayReader) Next() (Event, error) {
	for {
		whole := r.found || r.elements.next(r.buf[:r.end])
		r.found = false
		switch {
		case r.elements.given+r.elements.scan-r.start > r.opt.MaxLine:
			r.err, r.start, r.oversize, r.elements = ErrTooLong, r.end, false, elements{scan: r.end, value: -1}
			return Event{}, ErrTooLong
		case whole:
			return r.whole(), nil
		case r.end > r.start && (r.oversize || r.end-r.start > r.opt.MaxEvent):
			r.elements.given += r.end - r.start
			return Event{Raw: r.cut(r.end, false), Oversize: true}, nil
		case r.err != nil:
			return r.last()
		}
		r.elements.move(r.fill())
	}
}

// whole hands out the event, or the last piece of the event, that ends where the scan stands.
func (r *JSONArrayReader) whole() Event {
	end, value := r.elements.scan, r.elements.value
	r.elements.value, r.elements.given = -1, 0
	if r.oversize || end-r.start > r.opt.MaxEvent {
		return Event{Raw: r.cut(end, true), Tail: r.lastTail(), Oversize: true}
	}
	e := Event{Raw: r.buf[r.start:end:end], Comment: value < 0}
	if value >= 0 {
		e.Data = r.buf[value:end:end]
	}
	r.start = end
	return e
}

// last hands out what is left when the body has ended, then the error it ended with.
func (r *JSONArrayReader) last() (Event, error) {
	if r.start == r.end && !r.oversize {
		return Event{}, r.err
	}
	partial := r.elements.depth > 0 || r.elements.inString
	r.elements = elements{scan: r.end, value: r.elements.value}
	e := r.whole()
	e.Partial = partial
	return e, nil
}

// elements walks the elements of an array.
type elements struct {
	scan     int  // everything before has been looked at
	value    int  // where the current element starts; -1: not yet
	given    int  // bytes of the current event handed out in earlier pieces
	depth    int  // of the containers open at scan, the array itself not counted
	opened   bool // the array's bracket has been seen, or something else in its place
	inString bool
	escaped  bool // the byte at scan follows a backslash
	inScalar bool
}

// next reports whether an event ends in buf, and moves scan to that end, or else to the end of buf.
func (l *elements) next(buf []byte) bool {
	for l.scan < len(buf) {
		if l.inString {
			if l.str(buf) && l.depth == 0 {
				return true
			}
			continue
		}
		c := buf[l.scan]
		if l.inScalar {
			if !delimits(c) {
				l.scan++
				continue
			}
			l.inScalar = false
			return true
		}
		if l.structure(c) {
			return true
		}
	}
	return false
}

// structure takes in the byte c at scan, outside strings and scalars, and reports whether an event ends with it.
func (l *elements) structure(c byte) bool {
	at := l.scan
	l.scan++
	switch c {
	case ' ', '\n', '\r', '\t', ',':
		return false
	case '[':
		if !l.opened {
			l.opened = true
			return false
		}
		l.begin(at)
		l.depth++
	case '{':
		l.begin(at)
		l.depth++
	case '"':
		l.begin(at)
		l.inString = true
	case ']', '}':
		if l.depth == 0 {
			return true
		}
		l.depth--
		return l.depth == 0
	default:
		l.begin(at)
		l.inScalar = l.depth == 0
	}
	return false
}

// begin notes the start of an element.
func (l *elements) begin(at int) {
	l.opened = true
	if l.depth == 0 && l.value < 0 {
		l.value = at
	}
}

// str walks the string scan stands in and reports whether it ended.
func (l *elements) str(buf []byte) bool {
	if l.escaped {
		l.escaped = false
		l.scan++
		return false
	}
	rest := buf[l.scan:]
	quote := bytes.IndexByte(rest, '"')
	if quote < 0 {
		quote = len(rest)
	}
	for at := 0; ; {
		slash := bytes.IndexByte(rest[at:quote], '\\')
		if slash < 0 {
			break
		}
		if at += slash + 2; at > quote { // the quote, or the end of what is held, follows the backslash
			l.escaped = quote == len(rest)
			l.scan += min(at, len(rest))
			return false
		}
	}
	if quote == len(rest) {
		l.scan = len(buf)
		return false
	}
	l.scan += quote + 1
	l.inString = false
	return true
}

// delimits reports whether c ends a number or literal.
func delimits(c byte) bool {
	switch c {
	case ' ', '\n', '\r', '\t', ',', ']', '}', '[', '{', '"':
		return true
	}
	return false
}

// move notes that the window's bytes moved n towards the front.
func (l *elements) move(n int) {
	l.scan -= n
	if l.value >= 0 {
		l.value -= n
	}
}
