package gateway

import (
	"io"
	"sync"

	"github.com/ccproxy/ccproxy/gateway/sse"
)

// ServerSentEvents reads body as server-sent events. Readers are pooled.
func ServerSentEvents(body io.Reader) EventReader {
	r := sseReaders.Get().(*sseReader)
	r.Reset(body, sse.Options{})
	return r
}

// JSONArray reads body as a streamed JSON array, an event an element (Gemini
// without alt=sse). Readers are pooled.
func JSONArray(body io.Reader) EventReader {
	r := arrayReaders.Get().(*arrayReader)
	r.Reset(body, sse.Options{})
	return r
}

var (
	sseReaders   = sync.Pool{New: func() any { return new(sseReader) }}
	arrayReaders = sync.Pool{New: func() any { return new(arrayReader) }}
)

type sseReader struct{ sse.Reader }

// Next implements EventReader.
func (r *sseReader) Next(e *Event) error { return fill(e, r.Reader.Next) }

// Limit implements EventReader.
func (r *sseReader) Limit(inspect, line int) {
	r.Reader.Limit(sse.Options{MaxEvent: inspect, MaxLine: line})
}

// Release implements EventReader.
func (r *sseReader) Release() {
	r.Reader.Release()
	sseReaders.Put(r)
}

type arrayReader struct{ sse.JSONArrayReader }

// Next implements EventReader.
func (r *arrayReader) Next(e *Event) error { return fill(e, r.JSONArrayReader.Next) }

// Limit implements EventReader.
func (r *arrayReader) Limit(inspect, line int) {
	r.JSONArrayReader.Limit(sse.Options{MaxEvent: inspect, MaxLine: line})
}

// Release implements EventReader.
func (r *arrayReader) Release() {
	r.JSONArrayReader.Release()
	arrayReaders.Put(r)
}

func fill(e *Event, next func() (sse.Event, error)) error {
	s, err := next()
	if err != nil {
		return err
	}
	*e = Event{Raw: s.Raw, Name: s.Name, Data: s.Data, Partial: s.Partial, Tail: s.Tail}
	return nil
}
