package anthropic

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// The members of a request that are read.
const (
	keyModel = iota
	keyMessages
	keyStream
	keyMaxTokens
	keyTemperature
	keyTopP
	keyTopK
	keyStopSequences
	keyTools
	keyThinking
	keyOutputConfig
	keyOutputFormat
	keyMetadata
	keyServiceTier
	keySpeed
	keyGeo
	keyContainer
	keyServers
	keyFallbacks
	keyCompaction
	keyContextEdits
	keyCount
)

var requestKeys = []string{
	keyModel: "model", keyMessages: "messages", keyStream: "stream", keyMaxTokens: "max_tokens",
	keyTemperature: "temperature", keyTopP: "top_p", keyTopK: "top_k", keyStopSequences: "stop_sequences",
	keyTools: "tools", keyThinking: "thinking", keyOutputConfig: "output_config", keyOutputFormat: "output_format",
	keyMetadata: "metadata", keyServiceTier: "service_tier", keySpeed: "speed", keyGeo: "inference_geo",
	keyContainer: "container", keyServers: "mcp_servers", keyFallbacks: "fallbacks", keyCompaction: "compaction",
	keyContextEdits: "context_management",
}

var (
	typeKey     = []string{"type"}
	userIDKey   = []string{"user_id"}
	toolKeys    = []string{"name", "type", "max_uses"}
	configKey   = []string{"effort", "format"}
	thinkingKey = []string{"type", "display"}
)

// pick reads the members of the object at s whose keys are in keys into out, key by key. The first of a repeated key is
// kept, and the key returned: what is inspected must be what the provider reads, and parsers differ in which one they take.
// Keys are compared exactly.
func pick(doc []byte, s jsonscan.Span, keys []string, out []jsonscan.Span) (repeated string) {
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		for i, k := range keys {
			if string(key) != k {
				continue
			}
			if out[i].Exists() {
				repeated = k
			} else {
				out[i] = v
			}
			break
		}
		return true
	})
	return repeated
}

// decoder reads one request. The first thing wrong with it is kept.
type decoder struct {
	body []byte
	call gateway.Call
	err  *gateway.Error
}

// decode reads the facts of a request; conversation says that it must hold messages.
func decode(r *http.Request, body []byte, conversation bool) (gateway.Call, error) {
	root := jsonscan.Root(body)
	if jsonscan.Kind(body, root) != '{' {
		return gateway.Call{}, gateway.Invalid("the request body must be a JSON object")
	}
	d := decoder{body: body}
	var s [keyCount]jsonscan.Span
	d.pick("", root, requestKeys, s[:])
	d.model(s[keyModel])
	d.messages(s[keyMessages], conversation)
	d.parameters(&s)
	d.tools(s[keyTools])
	d.thinking(s[keyThinking], r.Header)
	d.server(&s)
	d.output(s[keyOutputConfig], s[keyOutputFormat])
	d.identity(r.Header, s[keyMetadata])
	if d.err != nil {
		return gateway.Call{}, d.err
	}
	return d.call, nil
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = gateway.Invalid(format, args...)
	}
}

// pick is the function pick, refusing repeated keys. where is the path of the object, with a dot behind.
func (d *decoder) pick(where string, s jsonscan.Span, keys []string, out []jsonscan.Span) {
	if key := pick(d.body, s, keys, out); key != "" {
		d.fail("%s%s: the key occurs more than once", where, key)
	}
}

func (d *decoder) model(s jsonscan.Span) {
	name, ok := jsonscan.String(d.body, s)
	switch {
	case !s.Exists():
		d.fail("model: field required")
	case !ok || name == "":
		d.fail("model: must be a non-empty string")
	case len(name) > maxModel || !printable(name):
		d.fail("model: must be at most %d bytes without control characters", maxModel)
	}
	d.call.Model, d.call.ModelSpan = name, s
}

// printable reports whether s has no control characters: names reach headers and logs.
func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r >= 0x7F && r < 0xA0 {
			return false
		}
	}
	return true
}

func (d *decoder) messages(s jsonscan.Span, required bool) {
	if jsonscan.Kind(d.body, s) != '[' {
		if required && !s.Exists() {
			d.fail("messages: field required")
		} else if required || s.Exists() {
			d.fail("messages: must be an array")
		}
		return
	}
	// Looking for images costs a second walk, so it is done only when the word occurs.
	images := bytes.Contains(d.body[s.Start:s.End], []byte(`"image"`))
	jsonscan.Array(d.body, s, func(_ int, m jsonscan.Span) bool {
		d.call.Messages++
		if images {
			d.call.Images += d.images(jsonscan.Get(d.body, m, "content"), true)
		}
		return true
	})
}

// images counts the image blocks of a message's content, those in tool results included.
func (d *decoder) images(content jsonscan.Span, nested bool) (n int) {
	jsonscan.Array(d.body, content, func(_ int, block jsonscan.Span) bool {
		kind, _ := jsonscan.RawString(d.body, jsonscan.Get(d.body, block, "type"))
		switch {
		case string(kind) == "image":
			n++
		case nested && string(kind) == "tool_result":
			n += d.images(jsonscan.Get(d.body, block, "content"), false)
		}
		return true
	})
	return n
}

func (d *decoder) parameters(s *[keyCount]jsonscan.Span) {
	c := &d.call
	if v := s[keyStream]; v.Exists() && !jsonscan.IsNull(d.body, v) {
		var ok bool
		if c.Stream, ok = jsonscan.Bool(d.body, v); !ok {
			d.fail("stream: must be a boolean")
		}
	}
	if v := s[keyMaxTokens]; v.Exists() && !jsonscan.IsNull(d.body, v) {
		n, ok := jsonscan.Int(d.body, v)
		if !ok || n < 0 {
			d.fail("max_tokens: must be an integer that is not negative")
		}
		c.MaxTokens = n
	}
	if f, ok := jsonscan.Float(d.body, s[keyTemperature]); ok {
		c.Temperature = gateway.Some(f)
	}
	if f, ok := jsonscan.Float(d.body, s[keyTopP]); ok {
		c.TopP = gateway.Some(f)
	}
	if n, ok := jsonscan.Int(d.body, s[keyTopK]); ok {
		c.TopK = gateway.Some(n)
	}
	jsonscan.Array(d.body, s[keyStopSequences], func(int, jsonscan.Span) bool {
		c.StopSequences++
		return true
	})
	c.ServiceTier, c.Speed, c.Geo = d.word(s[keyServiceTier]), d.word(s[keySpeed]), d.word(s[keyGeo])
}

// word returns the string at s if it is one that telemetry can carry, else "".
func (d *decoder) word(s jsonscan.Span) string {
	if w, ok := jsonscan.RawString(d.body, s); ok && len(w) <= maxWord && identifier(w) {
		return string(w)
	}
	return ""
}

// tools counts the tools and notes their names. A tool without a name (an MCP tool set) goes by its type.
func (d *decoder) tools(s jsonscan.Span) {
	if jsonscan.Kind(d.body, s) != '[' {
		return
	}
	list := make([]string, 0, 16)
	jsonscan.Array(d.body, s, func(_ int, tool jsonscan.Span) bool {
		d.call.ToolCount++
		var v [3]jsonscan.Span
		d.pick("tools.", tool, toolKeys, v[:])
		d.serverTool(v[1], v[2])
		if len(list) == maxTools {
			return true
		}
		for _, s := range v[:2] {
			if name, _ := jsonscan.String(d.body, s); name != "" {
				list = append(list, name)
				break
			}
		}
		return true
	})
	if len(list) > 0 {
		d.call.Tools = list
	}
}

// clientTools begin the types of tools that the client runs, and of the search among its own tools, whose results are in the
// request. Read-only.
var clientTools = []string{"custom", "bash_", "text_editor_", "memory_", "computer_", "browser_toolset_", "tool_search_tool_"}

// serverTool notes a tool that runs at Anthropic. How often it searches the web may be bounded.
func (d *decoder) serverTool(kind, most jsonscan.Span) {
	if !kind.Exists() || jsonscan.IsNull(d.body, kind) {
		return
	}
	k, _ := jsonscan.String(d.body, kind)
	if slices.ContainsFunc(clientTools, func(prefix string) bool { return strings.HasPrefix(k, prefix) }) {
		return
	}
	c := &d.call
	c.ServerTools = true
	if !strings.HasPrefix(k, "web_search_") {
		return
	}
	n, ok := jsonscan.Int(d.body, most)
	if !ok || n < 0 || n > maxSearches || c.WebSearches < 0 {
		c.WebSearches = -1
		return
	}
	c.WebSearches += n
}

// server notes what else makes the model, or another one, read more than was sent.
func (d *decoder) server(s *[keyCount]jsonscan.Span) {
	given := func(v jsonscan.Span) bool {
		return v.Exists() && !jsonscan.IsNull(d.body, v) && (jsonscan.Kind(d.body, v) != '[' || jsonscan.Get(d.body, v, "#0").Exists())
	}
	c := &d.call
	c.Elsewhere = given(s[keyContainer])
	edits := s[keyContextEdits]
	c.ServerTools = c.ServerTools || given(s[keyServers]) || given(s[keyFallbacks]) || given(s[keyCompaction]) ||
		bytes.Contains(d.body[edits.Start:edits.End], []byte(`"compact`))
}

// thinking reads the switch. Its types are an open list (enabled, adaptive, between_tools): each but "disabled" thinks. What
// is shown of it by default depends on the model; those that know "enabled" show it. Where nothing is shown, a beta shows how
// much was thought.
func (d *decoder) thinking(s jsonscan.Span, h http.Header) {
	c := &d.call
	c.ThinkingKey = s.Exists()
	var v [2]jsonscan.Span
	d.pick("thinking.", s, thinkingKey, v[:])
	kind, _ := jsonscan.String(d.body, v[0])
	c.Thinking = kind != "" && kind != "disabled"
	if !c.Thinking {
		return
	}
	display, _ := jsonscan.RawString(d.body, v[1])
	shown := string(display) == "summarized" || kind == "enabled" && !v[1].Exists()
	c.HiddenThinking = !shown && !slices.ContainsFunc(h["Anthropic-Beta"], func(v string) bool { return strings.Contains(v, "thinking-token-count-") })
}

// output reads the effort and the format asked for. format is the older top-level spelling of the latter.
func (d *decoder) output(config, format jsonscan.Span) {
	var v [2]jsonscan.Span
	d.pick("output_config.", config, configKey, v[:])
	d.call.ReasoningLevel = d.word(v[0])
	if v[1].Exists() {
		format = v[1]
	}
	var kind [1]jsonscan.Span
	d.pick("output_config.format.", format, typeKey, kind[:])
	if k, _ := jsonscan.RawString(d.body, kind[0]); string(k) == "json_schema" {
		d.call.OutputType = names.OutputTypeJSON
	}
}
