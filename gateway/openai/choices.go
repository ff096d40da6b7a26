package openai

import (
	"bytes"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// maxChoices bounds the finish reasons kept of one answer.
const maxChoices = 128

// choiceEvents reads answers made of choices: those of chat completions and of
// legacy completions, streamed or plain.
type choiceEvents struct{}

// Observe implements [gateway.Dialect].
func (choiceEvents) Observe(e *gateway.Event, r *gateway.Result) {
	doc := e.Data
	switch {
	case len(doc) == 0:
		observeTail(e.Tail, &chatCounters, r)
	case bytes.HasPrefix(doc, []byte("[DONE]")):
		r.Done = true
		if r.Counts.Seen {
			r.Usage.Source = names.UsageSourceProvider
		}
	case r.Content && plainDelta(doc, r):
	default:
		observeChunk(doc, r)
	}
}

// plainDelta reads a chunk that holds generated text and nothing else of
// interest, which all but a few of a stream are, without walking all of it. It
// reports false, having read nothing, when the chunk may hold more.
func plainDelta(doc []byte, r *gateway.Result) bool {
	// Without a backslash each quoted word below is a whole key or value.
	if bytes.IndexByte(doc, '\\') >= 0 || !nullOnly(doc, wordFinish) || !nullOnly(doc, wordUsage) || wordError.end(doc) > 0 {
		return false
	}
	at := wordDelta.end(doc)
	if at == 0 {
		return false
	}
	v, ok := memberValue(doc, at)
	if !ok || wordDelta.end(doc[v:]) > 0 {
		return false
	}
	generated(doc, jsonscan.Span{Start: v, End: len(doc)}, r)
	return true
}

// word is a quoted word to look for in a chunk. Chunks are full of quotes and
// of some letters: the search is for the part that begins with a rare one.
type word struct{ before, rare string }

var (
	wordFinish  = word{`"finish`, `_reason"`}
	wordUsage   = word{`"`, `usage"`}
	wordError   = word{`"e`, `rror"`}
	wordDelta   = word{`"`, `delta"`}
	wordChoices = word{`"c`, `hoices"`}
)

// end returns the position behind the first w in doc, 0 when there is none.
func (w word) end(doc []byte) int {
	for from := 0; ; {
		i := bytes.Index(doc[from:], []byte(w.rare))
		if i < 0 {
			return 0
		}
		at := from + i
		from = at + len(w.rare)
		if bytes.HasSuffix(doc[:at], []byte(w.before)) {
			return from
		}
	}
}

// nullOnly reports whether w stands in doc as the key of a member whose
// value is null, or not at all.
func nullOnly(doc []byte, w word) bool {
	for {
		at := w.end(doc)
		if at == 0 {
			return true
		}
		v, ok := memberValue(doc, at)
		if !ok || !bytes.HasPrefix(doc[v:], []byte("null")) {
			return false
		}
		doc = doc[v:]
	}
}

// memberValue returns where the value begins whose key ended at i. It reports
// false when no colon follows, so that the word was no key.
func memberValue(doc []byte, i int) (int, bool) {
	if i = skipSpace(doc, i); i >= len(doc) || doc[i] != ':' {
		return i, false
	}
	i = skipSpace(doc, i+1)
	return i, i < len(doc)
}

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\n' || doc[i] == '\r' || doc[i] == '\t') {
		i++
	}
	return i
}

// observeChunk reads all of a chunk, or a plain body.
func observeChunk(doc []byte, r *gateway.Result) {
	failed := false
	var choices, usage jsonscan.Span
	jsonscan.Object(doc, jsonscan.Root(doc), func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "id":
			if r.ID == "" {
				setString(&r.ID, doc, v)
			}
		case "model":
			setString(&r.Model, doc, v)
		case "service_tier":
			setString(&r.ServiceTier, doc, v)
		case "system_fingerprint":
			setString(&r.SystemFingerprint, doc, v)
		case "choices":
			choices = v
			jsonscan.Array(doc, v, func(i int, choice jsonscan.Span) bool {
				failed = observeChoice(doc, choice, i, r) || failed
				return true
			})
		case "usage":
			usage = v
			chatCounters.observe(doc, v, r)
		case "x_groq":
			chatCounters.observe(doc, jsonscan.Get(doc, v, "usage"), r)
		case "error":
			observeError(doc, v, r)
		}
		return true
	})
	// Some vendors count with every chunk of a stream (vLLM's continuous_usage_stats).
	if len(r.FinishReasons) == 0 && jsonscan.Kind(doc, usage) == '{' && jsonscan.Get(doc, choices, "#0", "delta").Exists() {
		r.Usage.Source = names.UsageSourcePartial
	}
	if failed && r.Err == nil { // OpenRouter: finish_reason "error" with nothing said
		r.Err = &gateway.Error{Type: names.ErrorServerError, Origin: names.ErrorOriginProvider, Code: "error", Message: "the provider ended the answer with an error"}
	}
}

// observeChoice reads one choice, the i-th of its chunk, and reports whether it
// ended with an error.
func observeChoice(doc []byte, s jsonscan.Span, i int, r *gateway.Result) (failed bool) {
	var delta, message, text, reason jsonscan.Span
	index := int64(i)
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "index":
			if n, ok := jsonscan.Int(doc, v); ok {
				index = n
			}
		case "delta":
			delta = v
		case "message":
			message = v
		case "text":
			text = v
		case "finish_reason":
			reason = v
		case "error":
			observeError(doc, v, r)
		}
		return true
	})
	switch {
	case jsonscan.Kind(doc, delta) == '{':
		generated(doc, delta, r) // Perplexity repeats all so far in message
	case message.Exists():
		generated(doc, message, r)
	default:
		output(r, stringSize(doc, text))
	}
	return finish(doc, reason, index, r)
}

// finish notes the reason at s for which the choice ended, and reports whether
// that was an error.
func finish(doc []byte, s jsonscan.Span, index int64, r *gateway.Result) bool {
	if jsonscan.Kind(doc, s) != '"' || index < 0 || index >= maxChoices {
		return false
	}
	for int64(len(r.FinishReasons)) <= index {
		// What the conventions want for a choice whose end is still to come.
		r.FinishReasons = append(r.FinishReasons, "error")
	}
	reason := &r.FinishReasons[index]
	setString(reason, doc, s)
	switch *reason {
	case "length":
		r.Incomplete = "max_tokens"
	case "model_length": // Mistral
		r.Incomplete = "context_window"
	case "content_filter":
		r.Incomplete = "content_filter"
	}
	return stringIs(doc, s, "error")
}

// output notes that n bytes of generated text were seen.
func output(r *gateway.Result, n int) {
	if n > 0 {
		r.Content = true
		r.OutputBytes += int64(n)
	}
}

// stringSize returns the length of the string at s.
func stringSize(doc []byte, s jsonscan.Span) int { return jsonscan.StringSize(doc, s) }

// generated notes what the delta or the message at s holds.
func generated(doc []byte, s jsonscan.Span, r *gateway.Result) {
	thought := 0 // some vendors send the same thought under two names
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "content":
			output(r, contentSize(doc, v))
		case "refusal":
			output(r, stringSize(doc, v))
		case "reasoning_content", "reasoning":
			thought = max(thought, stringSize(doc, v))
		case "tool_calls":
			jsonscan.Array(doc, v, func(_ int, call jsonscan.Span) bool {
				r.Content = true
				output(r, callSize(doc, jsonscan.Get(doc, call, "function"))+callSize(doc, jsonscan.Get(doc, call, "custom")))
				return true
			})
		case "function_call":
			r.Content = r.Content || jsonscan.Kind(doc, v) == '{'
			output(r, callSize(doc, v))
		case "audio":
			r.Content = r.Content || stringSize(doc, jsonscan.Get(doc, v, "data")) > 0
			output(r, stringSize(doc, jsonscan.Get(doc, v, "transcript")))
		case "reasoning_details", "images":
			r.Content = r.Content || jsonscan.Get(doc, v, "#0").Exists()
		}
		return true
	})
	output(r, thought)
}

// contentSize returns the size of the text in a content: a string, or parts
// that hold text or, with Mistral, thinking made of such parts.
func contentSize(doc []byte, s jsonscan.Span) (n int) {
	if jsonscan.Kind(doc, s) != '[' {
		return stringSize(doc, s)
	}
	jsonscan.Array(doc, s, func(_ int, part jsonscan.Span) bool {
		n += stringSize(doc, jsonscan.Get(doc, part, "text"))
		jsonscan.Array(doc, jsonscan.Get(doc, part, "thinking"), func(_ int, inner jsonscan.Span) bool {
			n += stringSize(doc, jsonscan.Get(doc, inner, "text"))
			return true
		})
		return true
	})
	return n
}

// callSize returns the size of the name and the arguments of a tool call.
func callSize(doc []byte, s jsonscan.Span) (n int) {
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "name", "arguments", "input":
			n += stringSize(doc, v)
		}
		return true
	})
	return n
}

// observeTail reads usage from the end of an event too large to hold.
func observeTail(tail []byte, c *counters, r *gateway.Result) {
	if len(tail) == 0 {
		return
	}
	r.Content = true
	const key = `"usage"`
	for rest := tail; ; {
		i := bytes.LastIndex(rest, []byte(key))
		if i < 0 {
			return
		}
		if v, ok := memberValue(tail, i+len(key)); ok && tail[v] == '{' {
			c.observe(tail, jsonscan.Span{Start: v, End: len(tail)}, r)
			return
		}
		rest = rest[:i]
	}
}

// InjectUsage implements [gateway.UsageInjector]. The options are looked up
// again because c's spans need not be those of body once the model has been
// spliced.
func (choiceEvents) InjectUsage(body []byte, c *gateway.Call) []byte {
	root := jsonscan.Root(body)
	if !c.Stream || c.IncludeUsage || jsonscan.Kind(body, root) != '{' {
		return body
	}
	options := jsonscan.Get(body, root, "stream_options")
	switch {
	case !options.Exists():
		return insertMember(body, root, `"stream_options":{"include_usage":true}`)
	case jsonscan.IsNull(body, options):
		return jsonscan.Splice(body, options, []byte(`{"include_usage":true}`))
	case jsonscan.Kind(body, options) != '{':
		return body // the provider will refuse it
	}
	include := jsonscan.Get(body, options, "include_usage")
	asked, isBool := jsonscan.Bool(body, include)
	switch {
	case !include.Exists():
		return insertMember(body, options, `"include_usage":true`)
	case isBool && !asked, jsonscan.IsNull(body, include):
		return jsonscan.Splice(body, include, []byte("true"))
	}
	return body
}

// insertMember returns body with a member added in front of those of the
// object at s.
func insertMember(body []byte, s jsonscan.Span, member string) []byte {
	at := s.Start + 1
	if i := skipSpace(body, at); i < len(body) && body[i] != '}' {
		member += ","
	}
	return jsonscan.Splice(body, jsonscan.Span{Start: at, End: at}, []byte(member))
}

// UsageOnly implements [gateway.UsageInjector]: a chunk with no choice and a
// usage object. Azure's first chunk has no choice either, but no usage, and an
// error must never be hidden.
func (choiceEvents) UsageOnly(e *gateway.Event) bool {
	doc := e.Data
	if !emptyChoices(doc) { // all content chunks end here, unparsed
		return false
	}
	root := jsonscan.Root(doc)
	choices := jsonscan.Get(doc, root, "choices")
	fault := jsonscan.Get(doc, root, "error")
	return jsonscan.Kind(doc, choices) == '[' && !jsonscan.Get(doc, choices, "#0").Exists() &&
		jsonscan.Kind(doc, jsonscan.Get(doc, root, "usage")) == '{' &&
		(!fault.Exists() || jsonscan.IsNull(doc, fault))
}

// emptyChoices reports whether an empty array seems to stand in doc under the
// key "choices".
func emptyChoices(doc []byte) bool {
	for {
		at := wordChoices.end(doc)
		if at == 0 {
			return false
		}
		v, ok := memberValue(doc, at)
		if ok && doc[v] == '[' {
			if v = skipSpace(doc, v+1); v < len(doc) && doc[v] == ']' {
				return true
			}
		}
		doc = doc[at:]
	}
}
