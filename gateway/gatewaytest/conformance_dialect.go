package gatewaytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing/iotest"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// DialectSamples are what [TestDialect] tries a dialect with.
type DialectSamples struct {
	Path    string // of a request to the gateway
	Request []byte // a valid body that names a model and asks for no usage (see gateway.UsageInjector)
	Stream  []byte // a whole, successful stream of server-sent events; nil: the dialect has no streams
	Plain   []byte // a whole, successful plain answer; nil: none is tried
}

const eventStream = "text/event-stream"

// TestDialect reports to t each rule of [gateway.Dialect] that d breaks, and why it is one. It proves nothing about what d
// makes of its format, but that the engine can live with it. For concurrency, run it under the race detector.
func TestDialect(t T, d gateway.Dialect, samples DialectSamples) {
	t.Helper()
	s := &dialectSuite{suite: suite{T: t, subject: "dialect " + d.Name()}, d: d, DialectSamples: samples}
	s.identity()
	s.requests()
	s.errors()
	s.answers()
	s.streams()
	s.injection()
}

type dialectSuite struct {
	suite
	d gateway.Dialect
	DialectSamples
}

func (s *dialectSuite) request() *http.Request { return requestFor(s.Path) }

// requestFor makes a request of which little is known. It panics on a path that is none.
func requestFor(path string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "http://gateway"+path, nil)
	if err != nil {
		panic("gatewaytest: " + err.Error())
	}
	return r
}

var dialectName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$`)

func (s *dialectSuite) identity() {
	s.Helper()
	s.check("Name and Family are constant lower-case words", "they are metric attributes and configuration keys", func() {
		if n := s.d.Name(); !dialectName.MatchString(n) || n != s.d.Name() {
			s.broken("Name is %q", n)
		}
		if f := s.d.Family(); !slices.Contains([]string{"anthropic", "openai", "gemini"}, f) {
			s.broken("Family is %q", f)
		}
	})
	s.check("Operation is one of the conventions'", "gen_ai.operation.name is a closed vocabulary", func() {
		if op := s.d.Operation(); op != "" && !slices.Contains(names.Operations, op) {
			s.broken("Operation is %q", op)
		}
	})
}

func (s *dialectSuite) requests() {
	s.Helper()
	var call gateway.Call
	s.check("Decode reads a valid request and names its model", "routing starts from the model", func() {
		var err error
		if call, err = s.d.Decode(s.request(), s.Request); err != nil || call.Model == "" {
			s.broken("model %q, error %v", call.Model, err)
		}
		if call.Operation != s.d.Operation() {
			s.broken("the call's operation is %q, the dialect's %q", call.Operation, s.d.Operation())
		}
	})
	s.check("ModelSpan is where the model stands, quotes included", "the routed model is spliced in there", func() {
		if sp := call.ModelSpan; sp.End > sp.Start {
			var model string
			if err := json.Unmarshal(s.Request[sp.Start:sp.End], &model); err != nil || model != call.Model {
				s.broken("the span holds %q, the model is %q", s.Request[sp.Start:sp.End], call.Model)
			}
		}
	})
	s.check("Decode changes and keeps no buffer", "bytes pass through untouched, and buffers are used again", func() {
		body := bytes.Clone(s.Request)
		got, err := s.d.Decode(s.request(), body)
		if err != nil || !bytes.Equal(body, s.Request) {
			s.broken("error %v, the body is now %q", err, body)
		}
		before := fmt.Sprintf("%#v", got)
		scribble(body)
		if after := fmt.Sprintf("%#v", got); before != after {
			s.broken("the call changed with the buffer, from %s to %s", before, after)
		}
	})
	s.check("Decode refuses what it cannot read, with status 4xx and words", "the client gets them, and nothing is sent", func() {
		for _, body := range mutations(s.Request) {
			s.tryDecode(body)
		}
	})
	s.check("Path is below the base, escaped, and follows no client out of it", "a model's name comes from the client", func() {
		for _, model := range []string{call.Model, "a b", "../../x", "m?key=1#f", "é/%2e%2e/..", ""} {
			s.tryPath(&call, model)
		}
	})
	s.check("Decode may run concurrently and always reads the same", "a dialect has no state", func() {
		var all sync.WaitGroup
		calls := make([]gateway.Call, 4)
		for i := range calls {
			all.Go(func() { calls[i], _ = s.d.Decode(s.request(), s.Request) })
		}
		all.Wait()
		for _, c := range calls {
			if !reflect.DeepEqual(c, calls[0]) {
				s.broken("got %+v and %+v", calls[0], c)
			}
		}
	})
}

func (s *dialectSuite) tryDecode(body []byte) {
	s.Helper()
	_, err := s.d.Decode(s.request(), body)
	if err == nil {
		return // a lenient reader is none the worse
	}
	var e *gateway.Error
	if !errors.As(err, &e) || e.Status < 400 || e.Status > 499 || e.Message == "" || e.Reason == "" {
		s.broken("%.80q gives %#v", body, err)
	}
}

func (s *dialectSuite) tryPath(c *gateway.Call, model string) {
	s.Helper()
	got := s.d.Path(c, model)
	u, err := url.Parse("http://provider" + got)
	switch {
	case err != nil || !strings.HasPrefix(got, "/"):
		s.broken("model %q: path %q (%v)", model, got, err)
	case u.Host != "provider" || u.RawQuery != "" || u.Fragment != "" || u.EscapedPath() != got:
		s.broken("model %q: path %q is not escaped", model, got)
	case path.Clean(got) != got && path.Clean(got)+"/" != got:
		s.broken("model %q: path %q leaves its base", model, got)
	}
}

// mutations are JSON documents near a valid one, and some that are nothing of the kind.
func mutations(doc []byte) [][]byte {
	values := []string{"null", "true", "-1", "1e999", `""`, `"\ud800"`, "[]", "{}", "[[]]", `[null]`, `[{}]`, `{"":{}}`}
	var out [][]byte
	for _, v := range values {
		out = append(out, []byte(v))
	}
	out = append(out, nil, []byte(strings.Repeat("[", 100)+strings.Repeat("]", 100)))
	var members map[string]json.RawMessage
	if json.Unmarshal(doc, &members) != nil {
		return out
	}
	for key := range members {
		for _, v := range append(values, "") {
			m := make(map[string]json.RawMessage, len(members))
			for k, old := range members {
				m[k] = old
			}
			if m[key] = json.RawMessage(v); v == "" {
				delete(m, key)
			}
			b, err := json.Marshal(m)
			if err == nil {
				out = append(out, b)
			}
		}
	}
	return out
}

func scribble(b []byte) {
	for i := range b {
		b[i] = '#'
	}
}

// roundTrip are the error types that every vendor has a word for.
var roundTrip = []string{
	names.ErrorInvalidRequestError, names.ErrorAuthenticationError, names.ErrorPermissionError, names.ErrorNotFoundError,
	names.ErrorRateLimitExceeded, names.ErrorOverloadedError, names.ErrorServerError,
}

func (s *dialectSuite) errors() {
	s.Helper()
	const message = `no: "quotes", a line` + "\n" + `and an é`
	s.check("EncodeError answers with status 4xx or 5xx and JSON that carries the message", "a client's SDK shows the message and decides by the status", func() {
		for _, kind := range append(slices.Clone(names.ErrorTypes), "418", "599") {
			status, h, body := s.d.EncodeError(&gateway.Error{Type: kind, Message: message}, "request-1")
			if status < 400 || status > 599 {
				s.broken("%s: status %d", kind, status)
			}
			if !strings.HasPrefix(h.Get("Content-Type"), "application/json") {
				s.broken("%s: content type %q", kind, h.Get("Content-Type"))
			}
			if !holds(body, message) {
				s.broken("%s: the message is not in %s", kind, body)
			}
		}
	})
	s.check("EncodeError takes the status it is given", "the engine knows better, a 502 for a provider's 401 say", func() {
		if status, _, _ := s.d.EncodeError(&gateway.Error{Type: names.ErrorOther, Status: 502, Message: "x"}, ""); status != 502 {
			s.broken("status %d, want 502", status)
		}
	})
	s.check("DecodeError reads its own EncodeError", "gateways stand before gateways", func() {
		for _, kind := range roundTrip {
			status, h, body := s.d.EncodeError(&gateway.Error{Type: kind, Message: message}, "request-1")
			e := s.d.DecodeError(status, h, body)
			if e == nil || e.Type != kind || e.Message != message {
				s.broken("%s comes back as %#v from %d %s", kind, e, status, body)
			}
		}
	})
	s.check("DecodeError finds a type and words in any answer", "proxies in front of a provider have shapes of their own", func() {
		for _, body := range append(mutations(s.Request), []byte("<html>"), []byte("{")) {
			for _, status := range []int{400, 401, 404, 413, 429, 500, 529} {
				e := s.d.DecodeError(status, http.Header{}, body)
				if e == nil || e.Type == "" || e.Message == "" || e.Origin == "" {
					s.broken("%d %.80q gives %#v", status, body, e)
				}
			}
		}
	})
}

// holds reports whether doc is a JSON object with the string s somewhere in it.
func holds(doc []byte, s string) bool {
	var object map[string]any
	return json.Unmarshal(doc, &object) == nil && within(object, s)
}

func within(v any, s string) bool {
	switch v := v.(type) {
	case string:
		return v == s
	case map[string]any:
		for _, member := range v {
			if within(member, s) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return within(e, s) })
	}
	return false
}

func (s *dialectSuite) answers() {
	s.Helper()
	s.check("Observe takes anything without failing", "what it cannot read is relayed all the same", func() {
		for _, body := range append(mutations(s.Request), []byte("{"), []byte("[DONE]"), []byte("\xff\x00")) {
			var r gateway.Result
			s.d.Observe(&gateway.Event{Raw: body, Data: body}, &r)
			s.d.Observe(&gateway.Event{Raw: body, Data: body, Name: []byte("error")}, &r)
			s.d.Observe(&gateway.Event{Tail: body}, &r)
		}
	})
	if s.Plain == nil {
		return
	}
	s.check("Observe reads usage off a plain answer and keeps no buffer", "what was spent is settled from it", func() {
		body := bytes.Clone(s.Plain)
		var r gateway.Result
		s.d.Observe(&gateway.Event{Raw: body, Data: body}, &r)
		if r.Err != nil || s.d.Operation() != "" && r.Usage.Source != names.UsageSourceProvider {
			s.broken("error %v, usage %+v", r.Err, r.Usage)
		}
		before := fmt.Sprintf("%#v", r)
		scribble(body)
		if after := fmt.Sprintf("%#v", r); before != after {
			s.broken("the result changed with the buffer, from %s to %s", before, after)
		}
	})
}

// seen is what was made of a stream.
type seen struct {
	raw    []byte
	result gateway.Result
	events int // with data
	cut    bool
}

// read reads a stream as the engine does. Each event is copied, and the copy spoiled once it has been observed.
func (s *dialectSuite) read(body io.Reader) (seen, error) {
	events := s.d.Events(body, eventStream)
	defer events.Release()
	var out seen
	for {
		var e gateway.Event
		err := events.Next(&e)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out.raw = append(out.raw, e.Raw...)
		out.cut = out.cut || e.Partial
		if e.Data != nil {
			out.events++
		}
		c := gateway.Event{Raw: bytes.Clone(e.Raw), Name: bytes.Clone(e.Name), Data: bytes.Clone(e.Data), Tail: bytes.Clone(e.Tail), Partial: e.Partial}
		raw, name, data, tail := c.Raw, c.Name, c.Data, c.Tail
		s.d.Observe(&c, &out.result)
		for _, b := range [][]byte{raw, name, data, tail} {
			scribble(b)
		}
	}
}

func (s *dialectSuite) streams() {
	s.Helper()
	if s.Stream == nil {
		return
	}
	var whole seen
	s.check("a whole stream ends with its terminator, and with usage", "a stream that only looks complete must be told from one that is", func() {
		var err error
		if whole, err = s.read(bytes.NewReader(s.Stream)); err != nil || whole.result.Err != nil {
			s.broken("errors %v and %v", err, whole.result.Err)
		}
		if !whole.result.Done || !whole.result.Content || whole.result.Usage.Source != names.UsageSourceProvider {
			s.broken("done %v, content %v, usage %+v", whole.result.Done, whole.result.Content, whole.result.Usage)
		}
	})
	s.check("Raw of all events is the body, and Observe sees the same, however the network cut it", "the client gets exactly what the provider sent", func() {
		for name, r := range map[string]io.Reader{
			"whole": bytes.NewReader(s.Stream), "a byte at a time": iotest.OneByteReader(bytes.NewReader(s.Stream)),
			"in halves": iotest.HalfReader(bytes.NewReader(s.Stream)), "with the end in the last read": iotest.DataErrReader(bytes.NewReader(s.Stream)),
		} {
			got, err := s.read(r)
			if err != nil || !bytes.Equal(got.raw, s.Stream) {
				s.broken("%s: error %v, %d bytes of %d", name, err, len(got.raw), len(s.Stream))
			}
			if !reflect.DeepEqual(got.result, whole.result) {
				s.broken("%s: the result is %+v, read whole it is %+v", name, got.result, whole.result)
			}
		}
	})
	s.check("a stream cut short anywhere is relayed to its last byte and is not done", "a client must not take half an answer for one", func() {
		for n := range len(s.Stream) {
			got, err := s.read(bytes.NewReader(s.Stream[:n]))
			if err != nil || !bytes.Equal(got.raw, s.Stream[:n]) {
				s.broken("cut at %d: error %v, %d bytes", n, err, len(got.raw))
				return
			}
			if n < len(s.Stream)/2 && got.result.Done {
				s.broken("cut at %d of %d: it is done", n, len(s.Stream))
				return
			}
		}
	})
	s.check("an error of the body comes through as it is", "the engine tells a broken connection from an end", func() {
		broken := errors.New("broken")
		_, err := s.read(io.MultiReader(bytes.NewReader(s.Stream), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			s.broken("got %v", err)
		}
	})
	s.check("EncodeStreamError is one whole event, which Observe takes for an error", "it is all that a client learns once the answer has begun", func() {
		const message = `it broke: "quotes"` + "\n" + `and lines`
		for _, kind := range names.ErrorTypes {
			event := s.d.EncodeStreamError(&gateway.Error{Type: kind, Message: message}, "request-1")
			got, err := s.read(bytes.NewReader(event))
			if err != nil || got.events != 1 || got.cut || !bytes.Equal(got.raw, event) {
				s.broken("%s: %q is %d events (%v)", kind, event, got.events, err)
			}
			if e := got.result.Err; e == nil || e.Message != message {
				s.broken("%s: Observe makes %#v of %q", kind, e, event)
			}
		}
	})
}

func (s *dialectSuite) injection() {
	s.Helper()
	inject, ok := s.d.(gateway.UsageInjector)
	if !ok {
		return
	}
	s.check("InjectUsage only inserts, into what stays valid", "all other bytes pass through", func() {
		call, err := s.d.Decode(s.request(), s.Request)
		if err != nil {
			s.broken("decode: %v", err)
		}
		before := bytes.Clone(s.Request)
		got := inject.InjectUsage(s.Request, &call)
		if !json.Valid(got) || !inserted(s.Request, got) {
			s.broken("%s becomes %s", s.Request, got)
		}
		if !bytes.Equal(before, s.Request) {
			s.broken("the request itself became %s", s.Request)
		}
		if again, err := s.d.Decode(s.request(), got); err != nil || !again.IncludeUsage {
			s.broken("usage is still not asked for (%v) in %s", err, got)
		}
	})
	s.check("UsageOnly takes no event of content for the usage chunk", "the client would not get it", func() {
		for _, data := range []string{`{}`, `null`, `[DONE]`, `{"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}`, `{"error":{"message":"x"}}`} {
			if inject.UsageOnly(&gateway.Event{Raw: []byte(data), Data: []byte(data)}) {
				s.broken("%s", data)
			}
		}
	})
}

// inserted reports whether b is a with something put in at one place.
func inserted(a, b []byte) bool {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	return len(b) > len(a) && bytes.HasSuffix(b, a[head:])
}
