package anthropic

import (
	"bytes"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// The values of Result.Incomplete.
const (
	cutMaxTokens     = "max_tokens"
	cutContextWindow = "context_window"
	cutContentFilter = "content_filter"
)

// observe folds an event, or a whole plain body, into r.
func observe(e *gateway.Event, r *gateway.Result) {
	if e.Partial {
		return // clients never see it, and a number in it may lack digits
	}
	if e.Data == nil {
		observeOversize(e, r)
		return
	}
	name := e.Name
	if len(name) == 0 {
		name, _ = jsonscan.RawString(e.Data, jsonscan.Get(e.Data, jsonscan.Root(e.Data), "type"))
	}
	switch string(name) {
	case "content_block_delta":
		observeDelta(e.Data, r)
	case "content_block_start":
		block := jsonscan.Get(e.Data, jsonscan.Root(e.Data), "content_block")
		observeBlock(e.Data, block, r)
	case "message_start":
		observeMessage(e.Data, jsonscan.Get(e.Data, jsonscan.Root(e.Data), "message"), false, r)
	case "message_delta":
		observeMessageDelta(e.Data, r)
	case "message_stop":
		observeStop(r)
	case "content_block_stop", "ping":
	case "error":
		r.Err = decodeError(0, nil, e.Data)
	case "message":
		observeMessage(e.Data, jsonscan.Root(e.Data), true, r)
	}
}

// observeDelta counts the text of a delta. A signature is no output: it comes when the thinking is over, and alone when the
// thinking is omitted. How much was thought then may come instead, in tokens.
func observeDelta(data []byte, r *gateway.Result) {
	delta := jsonscan.Get(data, jsonscan.Root(data), "delta")
	text, thought := 0, int64(0)
	jsonscan.Object(data, delta, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "text", "thinking", "partial_json":
			text += jsonscan.StringSize(data, v)
		case "estimated_tokens":
			thought, _ = jsonscan.Int(data, v)
		case "citation":
			r.Content = true
		}
		return true
	})
	if text == 0 && thought > 0 && thought < maxThought {
		text = int(thought) * bytesPerToken
	}
	output(text, r)
}

// output notes n bytes of generated text.
func output(n int, r *gateway.Result) {
	if n > 0 {
		r.Content = true
		r.OutputBytes += int64(n)
	}
}

const (
	// bytesPerToken is what a token counts that is told of and not shown.
	bytesPerToken = 4
	// maxThought bounds the tokens that one delta tells of.
	maxThought = 1 << 20
)

var blockKeys = []string{"type", "text", "thinking", "name", "input", "data"}

// observeBlock reads a content block: whole in a plain answer, mostly empty at its start in a stream.
func observeBlock(data []byte, block jsonscan.Span, r *gateway.Result) {
	var v [6]jsonscan.Span
	pick(data, block, blockKeys, v[:])
	kind, _ := jsonscan.RawString(data, v[0])
	text := func(s jsonscan.Span) int { return jsonscan.StringSize(data, s) }
	switch string(kind) {
	case "text":
		output(text(v[1]), r)
	case "thinking":
		output(text(v[2]), r)
	case "tool_use", "server_tool_use", "mcp_tool_use":
		output(text(v[3]), r)
		output(v[4].End-v[4].Start-2, r) // nothing for the {} of a stream
	case "redacted_thinking":
		output(text(v[5]), r)
	case "fallback", "": // says that another model goes on; generates nothing
	default: // results of tools that ran at the provider
		r.Content = true
	}
}

var messageKeys = []string{"id", "model", "content", "stop_reason", "usage"}

// observeMessage reads a message: a whole one, or the beginning of one in a stream.
func observeMessage(data []byte, message jsonscan.Span, whole bool, r *gateway.Result) {
	var v [5]jsonscan.Span
	pick(data, message, messageKeys, v[:])
	setText(&r.ID, data, v[0])
	setText(&r.Model, data, v[1])
	jsonscan.Array(data, v[2], func(_ int, block jsonscan.Span) bool {
		observeBlock(data, block, r)
		return true
	})
	observeStopReason(data, v[3], r)
	foldUsage(data, v[4], whole, r)
	if whole {
		r.Done = true
		if r.Counts.Seen {
			r.Usage.Source = names.UsageSourceProvider
		}
	}
}

// observeMessageDelta reads the end of a message in a stream. Several may come; later ones may have no stop reason.
func observeMessageDelta(data []byte, r *gateway.Result) {
	root := jsonscan.Root(data)
	observeStopReason(data, jsonscan.Get(data, root, "delta", "stop_reason"), r)
	foldUsage(data, jsonscan.Get(data, root, "usage"), true, r)
}

// observeStop ends the answer. Its usage is final unless the output was never counted.
func observeStop(r *gateway.Result) {
	r.Done = true
	if r.Counts.Seen && (r.Counts.Output > 0 || !r.Content) {
		r.Usage.Source = names.UsageSourceProvider
	}
}

// observeStopReason keeps the last stop reason that is not null.
func observeStopReason(data []byte, s jsonscan.Span, r *gateway.Result) {
	if raw, ok := jsonscan.RawString(data, s); ok && len(raw) > 0 {
		stopped(raw, r)
	}
}

// stopped notes the stop reason.
func stopped(reason []byte, r *gateway.Result) {
	if len(r.FinishReasons) == 1 && r.FinishReasons[0] == string(reason) {
		return
	}
	r.FinishReasons = []string{clip(string(reason), maxWord)}
	switch string(reason) {
	case "max_tokens":
		r.Incomplete = cutMaxTokens
	case "model_context_window_exceeded":
		r.Incomplete = cutContextWindow
	case "refusal":
		r.Incomplete = cutContentFilter
	default:
		r.Incomplete = ""
	}
}

// observeOversize reads what can be known of an event too large to hold: a delta's length, and at the end of a plain answer
// its stop reason and usage, which stand behind the content.
func observeOversize(e *gateway.Event, r *gateway.Result) {
	if string(e.Name) == "content_block_delta" {
		output(len(e.Raw), r)
		return
	}
	if len(e.Tail) == 0 || len(e.Name) > 0 {
		return
	}
	// A quote inside a string would be escaped, so what is found is a key, and the last one is the message's own.
	if v := afterKey(e.Tail, `"stop_reason"`); len(v) > 1 && v[0] == '"' {
		if end := bytes.IndexByte(v[1:], '"'); end > 0 {
			stopped(v[1:1+end], r)
		}
	}
	if v := afterKey(e.Tail, `"usage"`); len(v) > 0 {
		r.Content, r.Done = true, true
		foldUsage(v, jsonscan.Span{End: len(v)}, true, r)
		if r.Counts.Seen {
			r.Usage.Source = names.UsageSourceProvider
		}
	}
}

// afterKey returns what follows the last occurrence of a quoted key and its colon in b, or nil.
func afterKey(b []byte, key string) []byte {
	i := bytes.LastIndex(b, []byte(key))
	if i < 0 {
		return nil
	}
	v, ok := bytes.CutPrefix(bytes.TrimLeft(b[i+len(key):], " \t\r\n"), []byte(":"))
	if !ok {
		return nil
	}
	return bytes.TrimLeft(v, " \t\r\n")
}

// setText sets *to to the string at s, if there is one and it is another.
func setText(to *string, data []byte, s jsonscan.Span) {
	if raw, ok := jsonscan.RawString(data, s); ok && len(raw) > 0 && *to != string(raw) {
		*to = clip(string(raw), maxWord)
	}
}
