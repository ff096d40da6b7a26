package gateway

// Event is one unit of a response body: a server-sent event, an element of a
// streamed JSON array, or a whole plain body.
type Event struct {
	// Raw are the exact bytes received, framing included. What is written to
	// the client is Raw unless Hidden is set or a hook called Replace.
	Raw []byte
	// Name is the event's name on the wire (Anthropic, Responses), or "".
	Name []byte
	// Data is the JSON payload, or nil for comments and pieces of an event too
	// large to inspect.
	Data []byte
	// Hidden keeps the event from the client: the usage chunk the engine asked
	// for on the client's behalf.
	Hidden bool
	// Partial marks a block the connection ended in the middle of.
	Partial bool
	// Tail is the end of an event too large to inspect, where usage may stand.
	Tail []byte
}

// Replace changes what the client sees of e. raw must be a whole event in the
// stream's framing, and is owned by e until it has been written.
func (e *Event) Replace(raw []byte) { e.Raw = raw }

// EventReader reads a response body event by event. All slices in an Event are
// valid until the next call of Next or Release.
type EventReader interface {
	// Next fills e with the next event. It returns io.EOF after the last one,
	// and any other error of the body as it is. Concatenating Raw of all events
	// gives the body's bytes.
	Next(e *Event) error
	// Limit bounds what of an event is inspected and how long a line is relayed
	// at all, in bytes. It is called before the first Next, if at all.
	Limit(inspect, line int)
	// Buffered reports whether another whole event has already been received,
	// so that a relay need not flush yet.
	Buffered() bool
	// Release returns buffers; the reader must not be used afterwards.
	Release()
}
