package sse_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/ccproxy/ccproxy/gateway/sse"
)

func stream(events int) []byte {
	var b []byte
	for i := range events {
		b = sse.AppendEvent(b, "content_block_delta", fmt.Appendf(nil,
			`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"word %d"}}`, i))
	}
	return b
}

func array(events int) []byte {
	b := []byte("[")
	for i := range events {
		b = fmt.Appendf(b, "{\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"word %d\"}],\"role\": \"model\"},\"index\": 0}]}\n,\r\n", i)
	}
	return append(b, "{}]"...)
}

// bench reports ns an event, Buffered included, for a body that comes in one read (a burst) or an event a read.
func bench(b *testing.B, body []byte, sizes []byte, r sse.Framing, reset func(io.Reader)) {
	source := &chunks{sizes: sizes}
	b.ReportAllocs()
	events := 0
	for b.Loop() {
		source.body, source.next = body, 0
		reset(source)
		for {
			if _, err := r.Next(); err != nil {
				break
			}
			r.Buffered()
			events++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
}

func BenchmarkReader(b *testing.B) {
	r := sse.NewReader(bytes.NewReader(nil), sse.Options{})
	reset := func(src io.Reader) { r.Reset(src, sse.Options{}) }
	b.Run("burst", func(b *testing.B) { bench(b, stream(1000), nil, r, reset) })
	b.Run("trickle", func(b *testing.B) { bench(b, stream(1000), []byte{130}, r, reset) })
}

func BenchmarkJSONArrayReader(b *testing.B) {
	r := sse.NewJSONArrayReader(bytes.NewReader(nil), sse.Options{})
	bench(b, array(1000), nil, r, func(src io.Reader) { r.Reset(src, sse.Options{}) })
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	events, elements := stream(100), array(100)
	r, a := sse.NewReader(nil, sse.Options{}), sse.NewJSONArrayReader(nil, sse.Options{})
	source := bytes.NewReader(nil)
	n := testing.AllocsPerRun(50, func() {
		source.Reset(events)
		r.Reset(source, sse.Options{})
		for _, err := r.Next(); err == nil; _, err = r.Next() {
			r.Buffered()
		}
		r.Release()
		source.Reset(elements)
		a.Reset(source, sse.Options{})
		for _, err := a.Next(); err == nil; _, err = a.Next() {
			a.Buffered()
		}
		a.Release()
	})
	if n != 0 {
		t.Errorf("got %v allocations for 200 events, want 0", n)
	}
}
