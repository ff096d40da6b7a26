package sse

import "io"

// Reader cuts server-sent events. Make one with [NewReader]; Reset and Release let a sync.Pool keep it.
//
// An event is a block of lines up to and with the empty line that ends it, the comments in it included. An empty line on its
// own is an event without data, so that a blank keep-alive passes at once. After lines ended by CR alone an event ends at
// the CR of its empty line; should a line feed follow, it opens the next event's Raw.
type Reader struct {
	window
	lines  lines
	name   span // of the last event field
	data   span // of the data field, while there is only one
	fields int  // data fields so far
	joined []byte
	named  []byte // the name of an oversize event, for its later pieces
}

// span is a piece of the window, counted from its start, because filling the window moves it.
type span struct{ start, end int }

var absent = span{-1, -1}

// NewReader returns a reader of the body r.
func NewReader(r io.Reader, opt Options) *Reader {
	s := new(Reader)
	s.Reset(r, opt)
	return s
}

// Reset makes the reader read r, as new, keeping its buffers.
func (r *Reader) Reset(body io.Reader, opt Options) {
	r.reset(body, opt)
	r.lines = lines{first: true}
}

// Release lets go of the body and of large buffers. The reader may then be kept for Reset.
func (r *Reader) Release() {
	r.release()
	r.lines = lines{}
	if cap(r.joined) > keptBuffer {
		r.joined = nil
	}
}

// Buffered reports whether Next would return a whole event without reading from the body.
func (r *Reader) Buffered() bool {
	if r.start == r.end || r.oversize {
		return false
	}
	ahead := r.lines
	for {
		_, _, block, ok := ahead.next(r.buf[:r.end])
		if !ok || block > 0 {
			return ok
		}
	}
}

// Next returns the next event, or the error that ended the body: io.EOF, what its Read returned, or ErrTooLong.
func (r *Reader) Next() (Event, error) {
	r.name, r.data, r.fields = absent, absent, 0
	for {
		held := r.buf[:r.end]
		from, to, block, ok := r.lines.next(held)
		switch {
		case ok && r.lines.length > r.opt.MaxLine, !ok && r.end-r.lines.line+r.lines.given > r.opt.MaxLine:
			return r.tooLong()
		case block > 0:
			return r.whole(block), nil
		case ok:
			r.field(from, to)
			continue
		}
		if r.oversize || r.end-r.start > r.opt.MaxEvent {
			cut := r.end
			if r.lines.waits(held) {
				cut-- // its line feed decides where the event ends
			}
			if cut > r.start {
				return r.piece(cut), nil
			}
		}
		if r.err != nil {
			return r.last()
		}
		r.lines.move(r.fill())
	}
}

// field notes the line buf[from:to] if it is a field that matters.
func (r *Reader) field(from, to int) {
	if r.oversize || to-r.start >= r.opt.MaxEvent {
		return // what lies beyond MaxEvent does not depend on how much happens to be held
	}
	line := r.buf[from:to]
	if len(line) >= 4 && string(line[:4]) == "data" && (len(line) == 4 || line[4] == ':') {
		v := r.fieldValue(from+4, to)
		switch r.fields++; r.fields {
		case 1:
			r.data = v
			return
		case 2:
			r.joined = append(r.joined[:0], r.at(r.data)...)
		}
		r.joined = append(append(r.joined, '\n'), r.at(v)...)
		return
	}
	if len(line) >= 5 && string(line[:5]) == "event" && (len(line) == 5 || line[5] == ':') {
		r.name = r.fieldValue(from+5, to)
	}
}

// fieldValue returns the value that follows the colon at i: without the one space behind it.
func (r *Reader) fieldValue(i, to int) span {
	if i < to {
		i++
	}
	if i < to && r.buf[i] == ' ' {
		i++
	}
	return span{i - r.start, to - r.start}
}

// at returns the bytes of a span. An empty value is not nil.
func (r *Reader) at(s span) []byte {
	if s == absent {
		return nil
	}
	return r.buf[r.start+s.start : r.start+s.end : r.start+s.end]
}

// whole hands out the event, or the last piece of the event, that ends at end.
func (r *Reader) whole(end int) Event {
	if r.oversize || end-r.start > r.opt.MaxEvent {
		e := Event{Name: r.pieceName()}
		e.Raw, e.Tail, e.Oversize = r.cut(end, true), r.lastTail(), true
		return e
	}
	e := Event{Raw: r.buf[r.start:end:end], Name: r.at(r.name), Comment: r.fields == 0}
	switch {
	case r.fields == 1:
		e.Data = r.at(r.data)
	case r.fields > 1:
		e.Data = r.joined
	}
	r.start = end
	return e
}

// piece hands out the held bytes before end as a piece of an oversize event that goes on.
func (r *Reader) piece(end int) Event {
	e := Event{Name: r.pieceName(), Oversize: true}
	r.lines.give(end)
	e.Raw = r.cut(end, false)
	return e
}

// pieceName returns the name of an oversize event, which its first piece holds.
func (r *Reader) pieceName() []byte {
	if !r.oversize {
		r.named = append(r.named[:0], r.at(r.name)...)
	}
	if len(r.named) == 0 {
		return nil
	}
	return r.named
}

// last hands out what is left when the body has ended, then the error it ended with.
func (r *Reader) last() (Event, error) {
	if r.start == r.end && !r.oversize {
		return Event{}, r.err
	}
	held := r.buf[:r.end]
	// A line feed on its own is the second half of the CRLF that ended the event before.
	complete := r.lines.waits(held) || !r.oversize && string(held[r.start:]) == "\n"
	if !complete {
		r.field(r.lines.skipMark(held), r.end)
	}
	r.lines = lines{line: r.end, scan: r.end}
	e := r.whole(r.end)
	e.Partial = !complete
	return e, nil
}

// tooLong ends the body. What is still held is dropped.
func (r *Reader) tooLong() (Event, error) {
	r.err, r.start, r.oversize, r.lines = ErrTooLong, r.end, false, lines{line: r.end, scan: r.end}
	return Event{}, ErrTooLong
}
