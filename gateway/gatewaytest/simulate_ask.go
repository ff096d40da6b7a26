package gatewaytest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"sort"
	"strings"
)

// ask is what the simulated provider understands of a request, in any dialect.
type ask struct {
	endpoint
	id      string // hex, from the request's bytes
	model   string
	text    string // the last user text
	tokens  int64  // of the whole prompt
	tool    *tool  // the first function offered
	results bool   // the last turn brings tool results, so no function is called
	must    bool   // a function has to be called
	think   bool

	stream        bool
	includeUsage  bool            // OpenAI chat and completions
	showThoughts  bool            // Anthropic: thinking text; Responses: summary; Gemini: thought parts
	encrypted     bool            // Responses: reasoning.encrypted_content
	echo          json.RawMessage // Responses: the members of the response that repeat the request
	blocks        []block         // the prompt in order, for prompt caching
	auto          bool            // Anthropic: cache up to the last block
	cachedTokens  int64           // of a Gemini cachedContent
	inputs        []string        // embeddings
	dimensions    int
	base64, batch bool
}

// tool is a function a request offers.
type tool struct {
	name   string
	schema json.RawMessage
}

// block is one piece of a prompt at whose end a cached prefix may end.
type block struct {
	sum    uint64 // of everything up to here
	tokens int64  // likewise
	marked bool   // the client asks for caching up to here
	hour   bool   // for an hour, not five minutes
}

var errNoModel = errors.New("model: Field required")

// decode reads a request body for an endpoint.
func decode(to endpoint, body []byte) (*ask, error) {
	sum := sha256.New()
	sum.Write([]byte(to.path + "?" + to.query + "\n"))
	sum.Write(body)
	a := &ask{endpoint: to, model: to.model, id: hex.EncodeToString(sum.Sum(nil)[:12])}
	if err := to.decode(a, body); err != nil {
		return nil, err
	}
	if a.model == "" {
		return nil, errNoModel
	}
	a.tokens = max(a.tokens, 1)
	return a, nil
}

// tokensOf is the simulated tokenizer: a token for every four bytes.
func tokensOf(n int) int64 { return int64(n+3) / 4 }

// parse decodes JSON and says so when it is none.
func parse(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) {
			return fmt.Errorf("%s: Input should be a valid %s", wrongType.Field, wrongType.Type)
		}
		return fmt.Errorf("the JSON body of your request could not be parsed: %w", err)
	}
	return nil
}

// content is text, or a list of parts some of which have text. Vendors name the
// kinds of parts differently; what matters here is common to all.
type content struct {
	Type, Text, Role string
	CacheControl     *struct{ TTL string } `json:"cache_control"`
}

// textOf returns the text of a string or of the text parts of a list, and
// whether it holds tool results.
func textOf(raw json.RawMessage) (text string, results bool) {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s, false
	}
	var parts []content
	if json.Unmarshal(raw, &parts) != nil {
		return "", false
	}
	for _, p := range parts {
		if p.Type == "tool_result" {
			results = true
		}
		if p.Text != "" {
			text = p.Text // the newest part is what the user typed
		}
	}
	return text, results
}

// prefix adds blocks to a prompt, hashing all that came before.
type prefix struct {
	hash   maphash.Hash
	bytes  int
	blocks []block
}

// seed makes sums comparable between requests of this process.
var seed = maphash.MakeSeed()

func newPrefix() *prefix {
	p := &prefix{}
	p.hash.SetSeed(seed)
	return p
}

// add appends a list of blocks, or anything else as one block. Cache markers are
// no part of the hash: clients move them from turn to turn.
func (p *prefix) add(role string, raw json.RawMessage) {
	if len(raw) == 0 {
		return
	}
	_, _ = p.hash.WriteString(role)
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	for _, one := range list {
		p.bytes += len(one)
		b := p.hashBlock(one)
		b.sum, b.tokens = p.hash.Sum64(), tokensOf(p.bytes)
		p.blocks = append(p.blocks, b)
	}
}

func (p *prefix) hashBlock(raw json.RawMessage) block {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		_, _ = p.hash.Write(raw)
		return block{}
	}
	var c content
	_ = json.Unmarshal(raw, &c)
	names := make([]string, 0, len(members))
	for name := range members {
		if name != "cache_control" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		_, _ = p.hash.WriteString(name)
		_, _ = p.hash.Write(members[name])
	}
	return block{marked: c.CacheControl != nil, hour: c.CacheControl != nil && c.CacheControl.TTL == "1h"}
}

func hashOf(path, query string, body []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.WriteString(path)
	_, _ = h.WriteString(query)
	_, _ = h.Write(body)
	return h.Sum64()
}

// arguments makes a plausible call of a function: a value for each required
// property, or for all when none is required.
func (t *tool) arguments(text string) string {
	var schema struct {
		Properties map[string]struct {
			Type any
			Enum []any
		}
		Required []string
	}
	_ = json.Unmarshal(t.schema, &schema)
	names := schema.Required
	if len(names) == 0 {
		for name := range schema.Properties {
			names = append(names, name)
		}
		sort.Strings(names)
	}
	args := make(map[string]any, len(names))
	for _, name := range names {
		property := schema.Properties[name]
		if len(property.Enum) > 0 {
			args[name] = property.Enum[0]
			continue
		}
		args[name] = exampleOf(property.Type, text)
	}
	out, _ := json.Marshal(args) // cannot fail: it came from JSON
	return string(out)
}

func exampleOf(kind any, text string) any {
	name, _ := kind.(string)
	switch strings.ToLower(name) {
	case "integer", "number":
		return 1
	case "boolean":
		return true
	case "array":
		return []any{}
	case "object":
		return map[string]any{}
	}
	return "simulated: " + clip(text, 60)
}

// clip shortens text to at most n bytes without cutting a character.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	cut := 0
	for i := range text {
		if i > n {
			break
		}
		cut = i
	}
	return text[:cut]
}
