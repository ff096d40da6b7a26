package gemini

import (
	"bytes"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const defaultVersion = "v1beta"

// field is a member's two spellings.
type field struct{ camel, snake string }

func same(s string) field { return field{s, s} }

// The members of a request that are read.
const (
	keyContents = iota
	keyTools
	keyConfig
	keyCached
	keyTier
	keyCount
)

var requestKeys = []field{
	keyContents: same("contents"), keyTools: same("tools"), keyConfig: {"generationConfig", "generation_config"},
	keyCached: {"cachedContent", "cached_content"}, keyTier: {"serviceTier", "service_tier"},
}

// The members of generationConfig that are read.
const (
	cfgTemperature = iota
	cfgTopP
	cfgTopK
	cfgSeed
	cfgMaxTokens
	cfgCandidates
	cfgStop
	cfgMimeType
	cfgModalities
	cfgThinking
	cfgCount
)

var configKeys = []field{
	cfgTemperature: same("temperature"), cfgTopP: {"topP", "top_p"}, cfgTopK: {"topK", "top_k"}, cfgSeed: same("seed"),
	cfgMaxTokens: {"maxOutputTokens", "max_output_tokens"}, cfgCandidates: {"candidateCount", "candidate_count"},
	cfgStop: {"stopSequences", "stop_sequences"}, cfgMimeType: {"responseMimeType", "response_mime_type"},
	cfgModalities: {"responseModalities", "response_modalities"}, cfgThinking: {"thinkingConfig", "thinking_config"},
}

var thinkingKeys = []field{
	{"thinkingBudget", "thinking_budget"}, {"thinkingLevel", "thinking_level"}, {"includeThoughts", "include_thoughts"},
}

var (
	nameKey  = []field{same("name")}
	partKeys = []field{{"inlineData", "inline_data"}, {"fileData", "file_data"}}
	mimeKey  = []field{{"mimeType", "mime_type"}}
)

// pick reads the members of the object at s that are in keys into out, whichever way they are spelt. The first of a repeated
// member is kept, and its name returned: what is inspected must be what the provider reads, and parsers differ in which one
// they take. Both spellings at once are a repetition too.
func pick(doc []byte, s jsonscan.Span, keys []field, out []jsonscan.Span) (repeated string) {
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		for i, k := range keys {
			if string(key) != k.camel && string(key) != k.snake {
				continue
			}
			if out[i].Exists() {
				repeated = k.camel
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

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = gateway.Invalid(format, args...)
	}
}

func (d *decoder) result() (gateway.Call, error) {
	if d.err != nil {
		return gateway.Call{}, d.err
	}
	return d.call, nil
}

// pick is the function pick, refusing repeated members.
func (d *decoder) pick(s jsonscan.Span, keys []field, out []jsonscan.Span) {
	if name := pick(d.body, s, keys, out); name != "" {
		d.fail("%s: the member occurs more than once", name)
	}
}

// path reads version, model and method from the path, …/{version}/models/{model}:{method}, and returns the method, which must
// be one of methods. Call.Action is the method, with "v1/" or another version before it when that is not the usual one.
func (d *decoder) path(r *http.Request, methods ...string) string {
	before, rest, ok := strings.Cut(r.URL.Path, "/models/")
	colon := strings.LastIndexByte(rest, ':')
	if !ok || colon < 0 {
		d.fail("the path must end in models/{model}:{method}")
		return ""
	}
	model, method := rest[:colon], rest[colon+1:]
	switch {
	case model == "":
		d.fail("the path names no model")
	case len(model) > maxModel || strings.Contains(model, "..") || !printable(model):
		d.fail("the model's name must be at most %d bytes of UTF-8 without control characters or '..'", maxModel)
	}
	found := false
	for _, m := range methods {
		found = found || m == method
	}
	if !found {
		d.fail("unknown method in the path")
	}
	d.call.Model, d.call.Action = model, method
	switch version := before[strings.LastIndexByte(before, '/')+1:]; version {
	case "v1", "v1alpha":
		d.call.Action = version + "/" + method
	}
	return method
}

// printable reports whether s is valid UTF-8 without control characters: names reach headers, logs and telemetry.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < ' ' || r >= 0x7F && r < 0xA0 {
			return false
		}
	}
	return true
}

// object returns the body's object.
func (d *decoder) object() (jsonscan.Span, bool) {
	root := jsonscan.Root(d.body)
	if jsonscan.Kind(d.body, root) != '{' {
		d.fail("the request body must be a JSON object")
		return root, false
	}
	return root, true
}

// session reads the session id. The API has no place for one in the body.
func (d *decoder) session(h http.Header) {
	for _, key := range [...]string{"X-Session-Id", "Session-Id"} {
		if v := h[key]; len(v) > 0 && v[0] != "" && len(v[0]) <= maxID && identifier(v[0]) {
			d.call.Session = v[0]
			return
		}
	}
}

// generation reads a generateContent request.
func (d *decoder) generation(root jsonscan.Span) {
	var v [keyCount]jsonscan.Span
	d.pick(root, requestKeys, v[:])
	d.contents(v[keyContents])
	d.tools(v[keyTools])
	d.config(v[keyConfig])
	d.call.ServiceTier = d.word(v[keyTier])
	if name, ok := jsonscan.String(d.body, v[keyCached]); ok && len(name) <= maxModel && printable(name) {
		d.call.PreviousResponse = name
	}
}

// contents counts messages and images.
func (d *decoder) contents(s jsonscan.Span) {
	if jsonscan.Kind(d.body, s) == '{' { // one content needs no array
		d.call.Messages = 1
		return
	}
	if jsonscan.Kind(d.body, s) != '[' {
		return
	}
	// Looking for images costs a second walk, so it is done only when the word occurs.
	images := bytes.Contains(d.body[s.Start:s.End], []byte(`image`))
	jsonscan.Array(d.body, s, func(_ int, content jsonscan.Span) bool {
		d.call.Messages++
		if images {
			d.images(jsonscan.Get(d.body, content, "parts"))
		}
		return true
	})
}

// images counts the image parts.
func (d *decoder) images(parts jsonscan.Span) {
	jsonscan.Array(d.body, parts, func(_ int, part jsonscan.Span) bool {
		var v [2]jsonscan.Span
		pick(d.body, part, partKeys, v[:])
		for _, data := range v {
			var mime [1]jsonscan.Span
			pick(d.body, data, mimeKey, mime[:])
			if m, _ := jsonscan.String(d.body, mime[0]); strings.HasPrefix(m, "image/") {
				d.call.Images++
			}
		}
		return true
	})
}

// tools counts the functions offered and notes their names. A built-in tool goes by its member, such as "googleSearch".
func (d *decoder) tools(s jsonscan.Span) {
	if jsonscan.Kind(d.body, s) != '[' {
		return
	}
	list := make([]string, 0, 16)
	add := func(name string) {
		d.call.ToolCount++
		if name != "" && len(list) < maxTools {
			list = append(list, name)
		}
	}
	jsonscan.Array(d.body, s, func(_ int, tool jsonscan.Span) bool {
		jsonscan.Object(d.body, tool, func(key []byte, v jsonscan.Span) bool {
			if string(key) != "functionDeclarations" && string(key) != "function_declarations" {
				add(string(key))
				d.serverTool(key)
				return true
			}
			jsonscan.Array(d.body, v, func(_ int, function jsonscan.Span) bool {
				var name [1]jsonscan.Span
				d.pick(function, nameKey, name[:])
				n, _ := jsonscan.String(d.body, name[0])
				add(n)
				return true
			})
			return true
		})
		return true
	})
	if len(list) > 0 {
		d.call.Tools = list
	}
}

// serverTool notes a tool that runs at the provider: each but functions and the computer.
func (d *decoder) serverTool(key []byte) {
	switch string(key) {
	case "computerUse", "computer_use":
		return
	case "googleSearch", "google_search", "googleSearchRetrieval", "google_search_retrieval", "enterpriseWebSearch", "enterprise_web_search":
		d.call.WebSearches = -1
	}
	d.call.ServerTools = true
}

// config reads generationConfig.
func (d *decoder) config(s jsonscan.Span) {
	var v [cfgCount]jsonscan.Span
	d.pick(s, configKeys, v[:])
	c := &d.call
	if f, ok := jsonscan.Float(d.body, v[cfgTemperature]); ok {
		c.Temperature = gateway.Some(f)
	}
	if f, ok := jsonscan.Float(d.body, v[cfgTopP]); ok {
		c.TopP = gateway.Some(f)
	}
	if n, ok := d.integer(v[cfgTopK]); ok {
		c.TopK = gateway.Some(n)
	}
	if n, ok := d.integer(v[cfgSeed]); ok {
		c.Seed = gateway.Some(n)
	}
	c.MaxTokens = d.count("maxOutputTokens", v[cfgMaxTokens])
	c.Choices = d.count("candidateCount", v[cfgCandidates])
	jsonscan.Array(d.body, v[cfgStop], func(int, jsonscan.Span) bool {
		c.StopSequences++
		return true
	})
	d.outputType(v[cfgMimeType], v[cfgModalities])
	d.thinking(v[cfgThinking])
}

// integer reads a number, which in this JSON may also be a string.
func (d *decoder) integer(s jsonscan.Span) (int64, bool) {
	if jsonscan.Kind(d.body, s) == '"' {
		s = jsonscan.Span{Start: s.Start + 1, End: s.End - 1}
	}
	return jsonscan.Int(d.body, s)
}

// count reads a number that must not be negative; 0 when it is absent or null.
func (d *decoder) count(name string, s jsonscan.Span) int64 {
	if !s.Exists() || jsonscan.IsNull(d.body, s) {
		return 0
	}
	n, ok := d.integer(s)
	if !ok || n < 0 {
		d.fail("%s: must be an integer that is not negative", name)
		return 0
	}
	return n
}

// outputType reads what kind of answer is asked for; modalities tell more than the text's type.
func (d *decoder) outputType(mimeType, modalities jsonscan.Span) {
	switch m, _ := jsonscan.String(d.body, mimeType); {
	case m == "application/json":
		d.call.OutputType = names.OutputTypeJSON
	case m == "text/plain":
		d.call.OutputType = names.OutputTypeText
	}
	jsonscan.Array(d.body, modalities, func(_ int, s jsonscan.Span) bool {
		switch m, _ := jsonscan.RawString(d.body, s); string(m) {
		case "IMAGE":
			d.call.OutputType = names.OutputTypeImage
			return false
		case "AUDIO":
			d.call.OutputType = names.OutputTypeSpeech
			return false
		case "TEXT":
			if d.call.OutputType == "" {
				d.call.OutputType = names.OutputTypeText
			}
		}
		return true
	})
}

// thinking reads thinkingConfig. A budget of 0 turns thinking off unless a level is named; without one it is the model that
// decides, and thoughts are not shown as they were.
func (d *decoder) thinking(s jsonscan.Span) {
	var v [3]jsonscan.Span
	d.pick(s, thinkingKeys, v[:])
	d.call.ReasoningLevel = d.word(v[1])
	budget, ok := d.integer(v[0])
	include, _ := jsonscan.Bool(d.body, v[2])
	d.call.Thinking = d.call.ReasoningLevel != "" || ok && budget != 0 || !ok && include
	d.call.HiddenThinking = d.call.Thinking || !ok
}

// word returns the string at s if it is one that telemetry can carry, else "".
func (d *decoder) word(s jsonscan.Span) string {
	if w, ok := jsonscan.RawString(d.body, s); ok && len(w) <= maxWord && identifier(w) {
		return string(w)
	}
	return ""
}

// identifier reports whether s is made of letters, digits and the signs that ids use: nothing that could end a header, a
// label or a log line.
func identifier[T string | []byte](s T) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("-_.:@+|/=~", c) >= 0:
		default:
			return false
		}
	}
	return true
}
