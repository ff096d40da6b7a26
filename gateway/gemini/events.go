package gemini

import (
	"io"
	"mime"
	"sync"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/sse"
)

// streams keeps readers for reuse.
type streams struct {
	events, arrays sync.Pool // of *events, *elements
}

// read returns a reader of body in the framing its content type tells.
func (s *streams) read(body io.Reader, contentType string) gateway.EventReader {
	if media, _, _ := mime.ParseMediaType(contentType); media == "application/json" {
		v := s.arrays.Get().(*elements)
		v.pool = &s.arrays
		v.Reset(body, sse.Options{})
		return v
	}
	v := s.events.Get().(*events)
	v.pool = &s.events
	v.Reset(body, sse.Options{})
	return v
}

// events reads server-sent events. It returns itself to its pool when released.
type events struct {
	sse.Reader
	pool *sync.Pool
}

// Next implements gateway.EventReader.
func (v *events) Next(e *gateway.Event) error {
	s, err := v.Reader.Next()
	return convert(e, s, err)
}

// Release implements gateway.EventReader.
func (v *events) Release() {
	v.Reader.Release()
	v.pool.Put(v)
}

// elements reads a streamed JSON array. It returns itself to its pool when released.
type elements struct {
	sse.JSONArrayReader
	pool *sync.Pool
}

// Next implements gateway.EventReader.
func (v *elements) Next(e *gateway.Event) error {
	s, err := v.JSONArrayReader.Next()
	return convert(e, s, err)
}

// Release implements gateway.EventReader.
func (v *elements) Release() {
	v.JSONArrayReader.Release()
	v.pool.Put(v)
}

func convert(e *gateway.Event, s sse.Event, err error) error {
	if err != nil {
		return err
	}
	*e = gateway.Event{Raw: s.Raw, Name: s.Name, Data: s.Data, Partial: s.Partial, Tail: s.Tail}
	return nil
}
