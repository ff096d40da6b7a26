package openai

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	maxText     = 128  // characters of a string that is kept of a request or an answer
	maxModel    = 256  // bytes of a model's name
	maxTools    = 1000 // names of tools kept
	maxSearches = 1000 // tool calls a request can bound itself to; more is no bound
)

// request is a request being read.
type request struct {
	body         []byte
	call         gateway.Call
	seen         uint64 // bit i: field i of the API's table was there
	input        jsonscan.Span
	cacheKey     string
	conversation string
	calls        int64 // max_tool_calls; 0: not given
	user, safety string
	err          *gateway.Error
}

// field is a top-level member of a request and what reads it.
type field struct {
	bit  int
	read func(*request, jsonscan.Span)
}

// fields are the members an API reads, by their exact name. All others pass
// unseen.
type fields map[string]field

func table(read map[string]func(*request, jsonscan.Span)) fields {
	t := make(fields, len(read))
	for name, f := range read {
		t[name] = field{len(t), f}
	}
	return t
}

// decode reads body in one pass over its members. A member that is read may
// stand only once: which of two a provider would heed is anybody's guess, and
// the value inspected must be the value forwarded.
func (f *family) decode(r *http.Request, body []byte) (*request, error) {
	q := &request{body: body, call: gateway.Call{Operation: f.operation}}
	root := jsonscan.Root(body)
	if jsonscan.Kind(body, root) != '{' {
		return nil, gateway.Invalid("the request body must be a JSON object")
	}
	jsonscan.Object(body, root, func(key []byte, v jsonscan.Span) bool {
		m, ok := f.fields[string(key)]
		if !ok {
			return true
		}
		if q.seen&(1<<m.bit) != 0 {
			q.fail("%q is given twice", key)
			return false
		}
		q.seen |= 1 << m.bit
		if m.read != nil {
			m.read(q, v)
		}
		return q.err == nil
	})
	if q.err == nil && !q.call.ModelSpan.Exists() {
		q.fail("you must provide a model parameter")
	}
	if q.err != nil {
		return nil, q.err
	}
	q.identity(r.Header)
	return q, nil
}

// finish returns what was read, or why it cannot be.
func (q *request) finish() (gateway.Call, error) {
	if q.err != nil {
		return gateway.Call{}, q.err
	}
	return q.call, nil
}

func (q *request) fail(format string, args ...any) {
	if q.err == nil {
		q.err = gateway.Invalid(format, args...)
	}
}

// identity settles who asks and in which session, from what headers and body
// say.
func (q *request) identity(h http.Header) {
	for _, v := range [...]string{h.Get("Session-Id"), h.Get("X-Session-Id"), h.Get("Thread-Id"), q.cacheKey, q.conversation} {
		if validSession(v) {
			q.call.Session = v
			break
		}
	}
	if q.call.User = q.safety; q.call.User == "" {
		q.call.User = q.user
	}
	if q.call.PreviousResponse == "" {
		q.call.PreviousResponse = q.conversation
	}
}

// validSession reports whether s can be a session id: what is longer or holds
// other characters would join sessions that are none, or break a log line.
func validSession(s string) bool {
	if s == "" || len(s) > maxText {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case bytes.IndexByte([]byte("-_.:/@+=|~"), c) >= 0:
		default:
			return false
		}
	}
	return true
}

// clip returns the first maxText characters of s.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := 0
	for i := range s {
		if n == maxText {
			return s[:i]
		}
		n++
	}
	return s
}

// text returns the string at s, clipped; "" when it is none.
func (q *request) text(s jsonscan.Span) string {
	v, _ := jsonscan.String(q.body, s)
	return clip(v)
}

// member returns the member of the object at s that has the key, which may
// stand there only once.
func (q *request) member(s jsonscan.Span, key string) (v jsonscan.Span) {
	jsonscan.Object(q.body, s, func(k []byte, at jsonscan.Span) bool {
		if string(k) != key {
			return true
		}
		if v.Exists() {
			q.fail("%q is given twice", key)
			return false
		}
		v = at
		return true
	})
	return v
}

func (q *request) model(s jsonscan.Span) {
	v, ok := jsonscan.String(q.body, s)
	switch {
	case !ok:
		q.fail("model must be a string")
	case v == "":
		q.fail("you must provide a model parameter")
	case len(v) > maxModel:
		q.fail("model is longer than %d bytes", maxModel)
	}
	q.call.Model, q.call.ModelSpan = v, s
}

func (q *request) stream(s jsonscan.Span) {
	v, ok := jsonscan.Bool(q.body, s)
	if !ok && !jsonscan.IsNull(q.body, s) {
		q.fail("stream must be true or false")
	}
	q.call.Stream = v
}

func (q *request) streamOptions(s jsonscan.Span) {
	q.call.StreamOptions = s
	q.call.IncludeUsage, _ = jsonscan.Bool(q.body, q.member(s, "include_usage"))
}

// count reads a number of tokens or choices, on which the money set aside
// depends.
func (q *request) count(name string, s jsonscan.Span) int64 {
	if jsonscan.IsNull(q.body, s) {
		return 0
	}
	v, ok := jsonscan.Int(q.body, s)
	if !ok || v < 0 {
		q.fail("%s must be an integer that is not negative", name)
		return 0
	}
	return v
}

// maxTokens returns the reader of one of the names the bound on output has had.
// Of several the largest counts: it holds whichever the provider heeds.
func maxTokens(name string) func(*request, jsonscan.Span) {
	return func(q *request, s jsonscan.Span) {
		q.call.MaxTokens = max(q.call.MaxTokens, q.count(name, s))
	}
}

// choices returns the reader of a number of answers to generate. best_of
// answers are generated, and billed, even though n are sent.
func choices(name string) func(*request, jsonscan.Span) {
	return func(q *request, s jsonscan.Span) {
		q.call.Choices = max(q.call.Choices, q.count(name, s))
	}
}

func float(dst func(*gateway.Call) *gateway.Optional[float64]) func(*request, jsonscan.Span) {
	return func(q *request, s jsonscan.Span) {
		if v, ok := jsonscan.Float(q.body, s); ok {
			*dst(&q.call) = gateway.Some(v)
		}
	}
}

func integer(dst func(*gateway.Call) *gateway.Optional[int64]) func(*request, jsonscan.Span) {
	return func(q *request, s jsonscan.Span) {
		if v, ok := jsonscan.Int(q.body, s); ok {
			*dst(&q.call) = gateway.Some(v)
		}
	}
}

func (q *request) stop(s jsonscan.Span) {
	switch jsonscan.Kind(q.body, s) {
	case '"':
		q.call.StopSequences = 1
	case '[':
		q.call.StopSequences = q.length(s)
	}
}

// length returns the number of elements of the array at s.
func (q *request) length(s jsonscan.Span) (n int) {
	jsonscan.Array(q.body, s, func(int, jsonscan.Span) bool { n++; return true })
	return n
}

// effort reads a level of reasoning; "none" asks for none.
func (q *request) effort(s jsonscan.Span) {
	if level := q.text(s); level != "" {
		q.call.ReasoningLevel = level
		q.call.Thinking = q.call.Thinking || level != "none"
	}
}

// reasoning reads the object of the Responses API, which OpenRouter's chat
// completions know too.
func (q *request) reasoning(s jsonscan.Span) { q.effort(q.member(s, "effort")) }

// thinking reads the member some vendors of chat completions have instead of
// an effort: {"type": "enabled"}.
func (q *request) thinking(s jsonscan.Span) {
	q.call.ThinkingKey = true
	if kind := q.text(q.member(s, "type")); kind != "" && kind != "disabled" {
		q.call.Thinking = true
	}
}

// format reads an output format: response_format, or text.format.
func (q *request) format(s jsonscan.Span) {
	if q.call.OutputType != "" && q.call.OutputType != names.OutputTypeText {
		return // a modality named before says more
	}
	switch q.text(q.member(s, "type")) {
	case "json_object", "json_schema":
		q.call.OutputType = names.OutputTypeJSON
	case "text":
		q.call.OutputType = names.OutputTypeText
	}
}

func (q *request) modalities(s jsonscan.Span) {
	jsonscan.Array(q.body, s, func(_ int, v jsonscan.Span) bool {
		switch q.text(v) {
		case "audio":
			q.call.OutputType = names.OutputTypeSpeech
		case "image":
			q.call.OutputType = names.OutputTypeImage
		case "text":
			if q.call.OutputType == "" {
				q.call.OutputType = names.OutputTypeText
			}
		}
		return true
	})
}

// tools reads the tools offered. A tool's name is its own (responses, legacy
// functions), that of its function or custom member (chat), or else its type,
// as built-in tools have no name.
func (q *request) tools(s jsonscan.Span) {
	jsonscan.Array(q.body, s, func(_ int, tool jsonscan.Span) bool {
		q.call.ToolCount++
		var kind, name, inner jsonscan.Span
		jsonscan.Object(q.body, tool, func(key []byte, v jsonscan.Span) bool {
			switch string(key) {
			case "type":
				q.once(&kind, v, "type")
			case "name":
				q.once(&name, v, "name")
			case "function", "custom":
				q.once(&inner, v, "function")
			}
			return q.err == nil
		})
		q.serverTool(kind)
		if len(q.call.Tools) == maxTools {
			return q.err == nil
		}
		own := q.text(name)
		if own == "" {
			own = q.text(q.member(inner, "name"))
		}
		if own == "" {
			own = q.text(kind)
		}
		if own != "" {
			q.call.Tools = append(q.call.Tools, own)
		}
		return q.err == nil
	})
}

// clientTools are the types of tools that the client runs, and of the search
// among its own tools. Read-only.
var clientTools = map[string]bool{"function": true, "custom": true, "namespace": true, "local_shell": true, "apply_patch": true,
	"tool_search": true, "computer": true, "computer_use_preview": true}

// serverTool notes a tool that runs at the provider.
func (q *request) serverTool(kind jsonscan.Span) {
	raw, ok := jsonscan.RawString(q.body, kind)
	if ok && clientTools[string(raw)] {
		return
	}
	if k := q.text(kind); k != "" && !clientTools[k] {
		q.call.ServerTools = true
		if strings.HasPrefix(k, "web_search") {
			q.call.WebSearches = -1
		}
	}
}

// webSearch reads web_search_options of chat completions.
func (q *request) webSearch(s jsonscan.Span) {
	if jsonscan.Kind(q.body, s) == '{' {
		q.call.ServerTools, q.call.WebSearches = true, -1
	}
}

// storedPrompt reads the prompt of the Responses API, which is kept at the
// provider.
func (q *request) storedPrompt(s jsonscan.Span) {
	q.call.Elsewhere = q.call.Elsewhere || jsonscan.Kind(q.body, s) == '{'
}

// once stores v in dst, which must not have been stored before.
func (q *request) once(dst *jsonscan.Span, v jsonscan.Span, key string) {
	if dst.Exists() {
		q.fail("a tool has two members %q", key)
	}
	*dst = v
}

// images counts the parts of the given type in the content and the outputs of
// the items at s.
func (q *request) images(s jsonscan.Span, kind string) {
	if !bytes.Contains(q.body[s.Start:s.End], []byte(`"`+kind+`"`)) {
		return // walking a long conversation for nothing costs more than this
	}
	jsonscan.Array(q.body, s, func(_ int, item jsonscan.Span) bool {
		jsonscan.Object(q.body, item, func(key []byte, v jsonscan.Span) bool {
			if string(key) == "content" || string(key) == "output" {
				jsonscan.Array(q.body, v, func(_ int, part jsonscan.Span) bool {
					if stringIs(q.body, jsonscan.Get(q.body, part, "type"), kind) {
						q.call.Images++
					}
					return true
				})
			}
			return true
		})
		return true
	})
}

// id returns the id at s: a string, or an object that has one.
func (q *request) id(s jsonscan.Span) string {
	if jsonscan.Kind(q.body, s) == '{' {
		s = q.member(s, "id")
	}
	return q.text(s)
}

// shared are the members all APIs that generate have in common.
func shared(more map[string]func(*request, jsonscan.Span)) fields {
	all := map[string]func(*request, jsonscan.Span){
		"model":             (*request).model,
		"stream":            (*request).stream,
		"temperature":       float(func(c *gateway.Call) *gateway.Optional[float64] { return &c.Temperature }),
		"top_p":             float(func(c *gateway.Call) *gateway.Optional[float64] { return &c.TopP }),
		"top_k":             integer(func(c *gateway.Call) *gateway.Optional[int64] { return &c.TopK }),
		"seed":              integer(func(c *gateway.Call) *gateway.Optional[int64] { return &c.Seed }),
		"service_tier":      func(q *request, s jsonscan.Span) { q.call.ServiceTier = q.text(s) },
		"user":              func(q *request, s jsonscan.Span) { q.user = q.text(s) },
		"safety_identifier": func(q *request, s jsonscan.Span) { q.safety = q.text(s) },
		"thinking":          (*request).thinking,
	}
	for name, read := range more {
		all[name] = read
	}
	return table(all)
}

// cacheKeyOf keeps prompt_cache_key whole: a clipped session id is another's.
func cacheKeyOf(q *request, s jsonscan.Span) { q.cacheKey, _ = jsonscan.String(q.body, s) }
