package sse_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway/sse"
)

var seeds = []string{
	"event: a\ndata: 1\n\ndata: 2\n\n", "data: 1\r\n\r\ndata: 2\r\r\n\n", "\ufeffdata\r\n: c\r\ndata: x", "\n\r\r\n\r",
	"[{\"a\":\"\\\"]\"},\r\n{}]\n", "[1,\"\\\\\",[[]],true", "data: {\"a\":\"b\"}\n\n: ping\n\nevent: done\ndata: [DONE]\n\n",
}

func fuzz(f *testing.F, open func(io.Reader, sse.Options) sse.Framing, judge func(t *testing.T, body []byte, events []string)) {
	for i, s := range seeds {
		f.Add([]byte(s), []byte{byte(i)}, uint8(0))
		f.Add([]byte(s), []byte{0, 3}, uint8(7))
	}
	f.Fuzz(func(t *testing.T, body, sizes []byte, maxEvent uint8) {
		opt := sse.Options{MaxEvent: int(maxEvent)}
		if maxEvent == 0 {
			opt.MaxEvent = 1 << 20
		}
		raw, want, err := all(t, open(bytes.NewReader(body), opt), opt)
		if !bytes.Equal(raw, body) || err != io.EOF {
			t.Fatalf("got %q %v, want %q", raw, err, body)
		}
		raw, got, err := all(t, open(&chunks{body: body, sizes: sizes}, opt), opt)
		if !bytes.Equal(raw, body) || err != io.EOF {
			t.Fatalf("in pieces: got %q %v, want %q", raw, err, body)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q in reads of %v: got %s, want %s", body, sizes, got, want)
		}
		if maxEvent == 0 {
			judge(t, body, want)
		}
	})
}

func FuzzReaderIsByteExactForAnyChunking(f *testing.F) {
	fuzz(f, func(r io.Reader, opt sse.Options) sse.Framing { return sse.NewReader(r, opt) }, agreesWithTheStandard)
}

func FuzzJSONArrayReaderIsByteExactForAnyChunking(f *testing.F) {
	fuzz(f, func(r io.Reader, opt sse.Options) sse.Framing { return sse.NewJSONArrayReader(r, opt) }, func(*testing.T, []byte, []string) {})
}

// agreesWithTheStandard compares what was dispatched with the standard's own steps, taken literally over the whole body.
func agreesWithTheStandard(t *testing.T, body []byte, _ []string) {
	var want [][2]string
	text := strings.TrimPrefix(string(body), "\ufeff")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(text, "\n")
	name, data := "", ""
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			if data != "" {
				want = append(want, [2]string{name, strings.TrimSuffix(data, "\n")})
			}
			name, data = "", ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			data += value + "\n"
		}
	}
	var got [][2]string
	r := sse.NewReader(bytes.NewReader(body), sse.Options{})
	for {
		e, err := r.Next()
		if err != nil {
			break
		}
		if !e.Partial && !e.Comment {
			got = append(got, [2]string{string(e.Name), string(e.Data)})
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q: got %q, want %q", body, got, want)
	}
}
