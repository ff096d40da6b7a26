package sse_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ccproxy/ccproxy/gateway/sse"
)

// chunks hands out a body in reads of the given lengths, which repeat.
type chunks struct {
	body  []byte
	sizes []byte
	next  int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.body) == 0 {
		return 0, io.EOF
	}
	n := len(c.body)
	if len(c.sizes) > 0 {
		n = min(n, int(c.sizes[c.next%len(c.sizes)])+1)
		c.next++
	}
	n = copy(p, c.body[:n])
	c.body = c.body[n:]
	return n, nil
}

// all reads every event, merging the pieces of oversize ones, and spells them so that they can be compared.
func all(t testing.TB, r sse.Framing, opt sse.Options) (raw []byte, events []string, err error) {
	t.Helper()
	var pieces []byte
	for {
		promised := r.Buffered()
		e, err := r.Next()
		if err != nil {
			if promised {
				t.Fatalf("Buffered promised an event, got %v", err)
			}
			if again, err2 := r.Next(); err2 != err || again.Raw != nil {
				t.Fatalf("got %q %v after %v", again.Raw, err2, err)
			}
			return raw, events, err
		}
		if promised && e.Partial {
			t.Fatalf("Buffered promised a whole event, got %q", e.Raw)
		}
		raw = append(raw, e.Raw...)
		if !e.Oversize {
			if len(e.Raw) == 0 || len(e.Raw) > opt.MaxEvent || e.Tail != nil {
				t.Fatalf("got an event of %d bytes, tail %d", len(e.Raw), len(e.Tail))
			}
			if e.Data != nil == e.Comment {
				t.Fatalf("got comment %v with data %q", e.Comment, e.Data)
			}
			events = append(events, spell(e))
			continue
		}
		pieces = append(pieces, e.Raw...)
		if e.Data != nil {
			t.Fatalf("got data %q of an oversize event", e.Data)
		}
		if e.Tail != nil {
			if want := pieces[max(0, len(pieces)-64<<10):]; !bytes.Equal(e.Tail, want) {
				t.Fatalf("got a tail of %d bytes, want %d, or they differ", len(e.Tail), len(want))
			}
			e.Raw = pieces
			events = append(events, spell(e))
			pieces = nil
		}
	}
}

func spell(e sse.Event) string {
	s := fmt.Sprintf("raw=%q", e.Raw)
	if e.Name != nil {
		s += fmt.Sprintf(" name=%q", e.Name)
	}
	if e.Data != nil {
		s += fmt.Sprintf(" data=%q", e.Data)
	}
	for word, on := range map[string]bool{" oversize": e.Oversize} {
		if on {
			s += word
		}
	}
	if e.Partial {
		s += " partial"
	}
	return s
}

func TestReaderFollowsTheGrammar(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"nothing", "", nil},
		{"line feeds", "event: a\ndata: 1\n\ndata: 2\n\n", []string{
			`raw="event: a\ndata: 1\n\n" name="a" data="1"`, `raw="data: 2\n\n" data="2"`}},
		{"carriage returns", "event: a\rdata: 1\r\rdata: 2\r\r", []string{
			`raw="event: a\rdata: 1\r\r" name="a" data="1"`, `raw="data: 2\r\r" data="2"`}},
		{"both", "event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", []string{
			`raw="event: a\r\ndata: 1\r\n\r\n" name="a" data="1"`, `raw="data: 2\r\n\r\n" data="2"`}},
		{"mixed", "data: 1\n\r\ndata: 2\r\r\ndata: 3\r\n\ndata: 4\r\n\rdata: 5\n\n", []string{
			`raw="data: 1\n\r" data="1"`, `raw="\ndata: 2\r\r" data="2"`, `raw="\ndata: 3\r\n\n" data="3"`,
			`raw="data: 4\r\n\r" data="4"`, `raw="data: 5\n\n" data="5"`}},
		{"several data lines", "data: a\ndata\ndata:  b\ndata:c\n\n", []string{
			`raw="data: a\ndata\ndata:  b\ndata:c\n\n" data="a\n\n b\nc"`}},
		{"data without colon", "data\n\n", []string{`raw="data\n\n" data=""`}},
		{"fields of similar names", "database: 1\nevents: 2\ndat: 3\n data: 4\nid: 5\nretry: 6\ndata: 7\n\n", []string{
			`raw="database: 1\nevents: 2\ndat: 3\n data: 4\nid: 5\nretry: 6\ndata: 7\n\n" data="7"`}},
		{"comments", ": ping\n\n:\ndata: 1\n\n", []string{`raw=": ping\n\n"`, `raw=":\ndata: 1\n\n" data="1"`}},
		{"empty lines", "\n\ndata: 1\n\n\n", []string{`raw="\n"`, `raw="\n"`, `raw="data: 1\n\n" data="1"`, `raw="\n"`}},
		{"byte order mark", "\ufeffdata: 1\n\n\ufeffdata: 2\n\n", []string{
			`raw="\ufeffdata: 1\n\n" data="1"`, `raw="\ufeffdata: 2\n\n"`}},
		{"nothing but a mark", "\ufeff\n", []string{`raw="\ufeff\n"`}},
		{"last name wins", "event: a\nevent\ndata: 1\n\n", []string{`raw="event: a\nevent\ndata: 1\n\n" name="" data="1"`}},
		{"end within a line", "data: 1\n\nevent: x\ndata: 2", []string{
			`raw="data: 1\n\n" data="1"`, `raw="event: x\ndata: 2" name="x" data="2" partial`}},
		{"end before the empty line", "data: [DONE]\n", []string{`raw="data: [DONE]\n" data="[DONE]" partial`}},
		{"end within the last CRLF", "data: 1\r\n\r", []string{`raw="data: 1\r\n\r" data="1"`}},
		{"end with the first half", "data: 1\r\n", []string{`raw="data: 1\r\n" data="1" partial`}},
	} {
		for size := range 4 {
			opt := sse.Options{MaxEvent: 1 << 20}
			r := sse.NewReader(&chunks{body: []byte(c.body), sizes: []byte{byte(size)}}, opt)
			raw, got, err := all(t, r, opt)
			if !slices.Equal(got, c.want) || string(raw) != c.body || err != io.EOF {
				t.Errorf("%s, %d bytes a read: got %s %v, want %s", c.name, size+1, got, err, c.want)
			}
		}
	}
}

func TestEventOfCarriageReturnsIsNotHeldBack(t *testing.T) {
	body, feed := io.Pipe()
	r := sse.NewReader(body, sse.Options{})
	go feed.Write([]byte("data: 1\r\r"))
	e, err := r.Next()
	if err != nil || string(e.Data) != "1" {
		t.Errorf("got %q %v, want the event without a byte more", e.Data, err)
	}
	feed.Close()
}

func TestBrokenBodyGivesWhatCameThenItsError(t *testing.T) {
	broken := errors.New("connection reset")
	for _, r := range []sse.Framing{
		sse.NewReader(io.MultiReader(strings.NewReader("data: 1\n\ndata: 2"), iotest.ErrReader(broken)), sse.Options{}),
		sse.NewJSONArrayReader(io.MultiReader(strings.NewReader(`[{"a":1},{"b`), iotest.ErrReader(broken)), sse.Options{}),
	} {
		_, events, err := all(t, r, sse.Options{MaxEvent: 1 << 20})
		if len(events) != 2 || !strings.HasSuffix(events[1], "partial") || err != broken {
			t.Errorf("got %s %v, want two events, the last partial, and %v", events, err, broken)
		}
	}
}

func TestBodyThatReadsNothingEnds(t *testing.T) {
	r := sse.NewReader(reads(func([]byte) (int, error) { return 0, nil }), sse.Options{})
	if _, err := r.Next(); err != io.ErrNoProgress {
		t.Errorf("got %v, want %v", err, io.ErrNoProgress)
	}
}

type reads func([]byte) (int, error)

func (f reads) Read(p []byte) (int, error) { return f(p) }

// An image of 20 MB in one line passes through two megabytes of memory and leaves the usage behind it readable.
func TestGiantLineIsRelayedInBoundedMemory(t *testing.T) {
	const size = 20 << 20
	head, foot := "event: image\ndata: {\"b64\":\"", "\",\"usage\":{\"total_tokens\":7}}\n\ndata: next\n\n"
	for name, r := range map[string]sse.Framing{
		"events": sse.NewReader(io.MultiReader(strings.NewReader(head), io.LimitReader(letters{}, size), strings.NewReader(foot)), sse.Options{}),
		"array": sse.NewJSONArrayReader(io.MultiReader(strings.NewReader(`[{"b64":"`), io.LimitReader(letters{}, size),
			strings.NewReader("\",\"usage\":{\"total_tokens\":7}},\r\n{}]")), sse.Options{}),
	} {
		total, pieces, found := 0, 0, false
		for {
			e, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			total += len(e.Raw)
			if len(e.Raw) > 2<<20+8<<10 {
				t.Errorf("%s: got a piece of %d bytes", name, len(e.Raw))
			}
			if e.Oversize {
				pieces++
				if name == "events" && string(e.Name) != "image" {
					t.Errorf("got piece of %q, want image", e.Name)
				}
			}
			if e.Tail != nil {
				found = bytes.Contains(e.Tail, []byte(`"total_tokens":7`))
			}
		}
		if total < size || pieces < 10 || !found {
			t.Errorf("%s: got %d bytes in %d pieces, usage found %v", name, total, pieces, found)
		}
	}
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'A'
	}
	return len(p), nil
}

func TestLineBeyondTheCapEndsTheBody(t *testing.T) {
	opt := sse.Options{MaxEvent: 1 << 10, MaxLine: 64 << 10}
	for name, r := range map[string]sse.Framing{
		"events": sse.NewReader(io.MultiReader(strings.NewReader("data: 1\n\ndata: "), letters{}), opt),
		"array":  sse.NewJSONArrayReader(io.MultiReader(strings.NewReader(`[{},{"a":"`), letters{}), opt),
	} {
		e, err := r.Next()
		if err != nil || e.Comment {
			t.Fatalf("%s: got %q %v, want the event before", name, e.Raw, err)
		}
		total := 0
		for err == nil {
			e, err = r.Next()
			total += len(e.Raw)
		}
		if err != sse.ErrTooLong || total > opt.MaxLine {
			t.Errorf("%s: got %v after %d bytes, want %v", name, err, total, sse.ErrTooLong)
		}
		if _, err := r.Next(); err != sse.ErrTooLong {
			t.Errorf("%s: got %v the second time, want %v", name, err, sse.ErrTooLong)
		}
	}
}

func TestReleasedReaderServesAnotherBody(t *testing.T) {
	r := sse.NewReader(strings.NewReader("event: a\ndata: 1\ndata: 2\n\ndata"), sse.Options{})
	r.Next()
	r.Release()
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("got %v from a released reader, want %v", err, io.EOF)
	}
	r.Reset(strings.NewReader("\ufeffdata: 3\n\n"), sse.Options{})
	if e, err := r.Next(); err != nil || string(e.Data) != "3" || e.Name != nil {
		t.Errorf("got %q %q %v, want 3", e.Name, e.Data, err)
	}
}

func TestJSONArrayIsCutAtItsElements(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"nothing", "", nil},
		{"elements", "[{\"a\":[1,\"]}\\\"\"]}\n,\r\n{\"b\":{}}\n]\n", []string{
			`raw="[{\"a\":[1,\"]}\\\"\"]}" data="{\"a\":[1,\"]}\\\"\"]}"`, `raw="\n,\r\n{\"b\":{}}" data="{\"b\":{}}"`,
			`raw="\n]"`, `raw="\n"`}},
		{"empty", " [ ] ", []string{`raw=" [ ]"`, `raw=" "`}},
		{"scalars", `[1,"a\\",true]`, []string{`raw="[1" data="1"`, `raw=",\"a\\\\\"" data="\"a\\\\\""`, `raw=",true" data="true"`, `raw="]"`}},
		{"arrays", `[[1],[]]`, []string{`raw="[[1]" data="[1]"`, `raw=",[]" data="[]"`, `raw="]"`}},
		{"an error in place of the array", "{\"error\":{\"code\":429}}\n", []string{
			`raw="{\"error\":{\"code\":429}}" data="{\"error\":{\"code\":429}}"`, `raw="\n"`}},
		{"end within an element", `[{"a":1},{"b":"`, []string{`raw="[{\"a\":1}" data="{\"a\":1}"`, `raw=",{\"b\":\"" data="{\"b\":\"" partial`}},
		{"end between elements", `[{},`, []string{`raw="[{}" data="{}"`, `raw=","`}},
		{"no JSON", "<html>", []string{`raw="<html>" data="<html>"`}},
	} {
		for size := range 4 {
			opt := sse.Options{MaxEvent: 1 << 20}
			r := sse.NewJSONArrayReader(&chunks{body: []byte(c.body), sizes: []byte{byte(size)}}, opt)
			raw, got, err := all(t, r, opt)
			if !slices.Equal(got, c.want) || string(raw) != c.body || err != io.EOF {
				t.Errorf("%s, %d bytes a read: got %s %v, want %s", c.name, size+1, got, err, c.want)
			}
		}
	}
}

func TestAppendedEventReadsBack(t *testing.T) {
	body := sse.AppendEvent([]byte(": x\n\n"), "error\ndata: injected", []byte("a\nb\r\nc\rd"))
	body = sse.AppendEvent(body, "", nil)
	r := sse.NewReader(bytes.NewReader(body), sse.Options{})
	_, got, _ := all(t, r, sse.Options{MaxEvent: 1 << 20})
	want := []string{`raw=": x\n\n"`, `raw="event: error\ndata: a\ndata: b\ndata: c\ndata: d\n\n" name="error" data="a\nb\nc\nd"`, `raw="data: \n\n" data=""`}
	if !slices.Equal(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Shapes on which a careless search for line ends or a careless buffer is quadratic.
func TestHostileBodiesAreLinear(t *testing.T) {
	const n = 1 << 20
	for name, body := range map[string]string{
		"carriage returns":    strings.Repeat("\r", n),
		"short CR lines":      strings.Repeat("data: x\r", n/8),
		"line feeds":          strings.Repeat("\n", n),
		"comments":            strings.Repeat(":\n", n/2),
		"a line without end":  strings.Repeat("x", n),
		"escaped quotes":      `["` + strings.Repeat(`\"`, n/2),
		"backslashes":         `["` + strings.Repeat(`\`, n),
		"open brackets":       strings.Repeat("[", n),
		"commas":              "[" + strings.Repeat(",", n),
		"tiny array elements": "[" + strings.Repeat("1,", n/2),
	} {
		for _, r := range []sse.Framing{
			sse.NewReader(&chunks{body: []byte(body), sizes: []byte{200}}, sse.Options{}),
			sse.NewJSONArrayReader(&chunks{body: []byte(body), sizes: []byte{200}}, sse.Options{}),
		} {
			total := 0
			for {
				e, err := r.Next()
				if err != nil {
					break
				}
				total += len(e.Raw)
				r.Buffered()
			}
			if total != len(body) {
				t.Errorf("%s: got %d bytes, want %d", name, total, len(body))
			}
		}
	}
}
