package gatewaytest

import (
	"net/http"
	"strings"
	"time"
)

// vendor is whose rules an answer follows.
type vendor string

const (
	anthropic vendor = "anthropic"
	openai    vendor = "openai"
	gemini    vendor = "gemini"
)

// helloPath is the warm-up probe of Claude Code.
const helloPath = "/api/hello"

// endpoint is where a request is going.
type endpoint struct {
	name        string // the dialect, as Request.Dialect has it
	vendor      vendor
	model       string // when the path names it
	action      string // Gemini's, after the colon
	path, query string
	method      bool // false: the path exists, not with this method
	decode      func(*ask, []byte) error
	render      func(*ask, turn, Step) *reply
}

// table of the paths that take a POST body.
func posts() map[string]endpoint {
	return map[string]endpoint{
		"/v1/messages":               {name: "anthropic.messages", vendor: anthropic, decode: decodeMessages, render: renderMessages},
		"/v1/messages/count_tokens":  {name: "anthropic.count_tokens", vendor: anthropic, decode: decodeMessages, render: renderCount},
		"/v1/chat/completions":       {name: "openai.chat", vendor: openai, decode: decodeChat, render: renderChat},
		"/v1/completions":            {name: "openai.completions", vendor: openai, decode: decodeCompletions, render: renderCompletions},
		"/v1/responses":              {name: "openai.responses", vendor: openai, decode: decodeResponses, render: renderResponses},
		"/v1/responses/input_tokens": {name: "openai.input_tokens", vendor: openai, decode: decodeResponses, render: renderCount},
		"/v1/embeddings":             {name: "openai.embeddings", vendor: openai, decode: decodeEmbeddings, render: renderEmbeddings},
	}
}

// geminiActions are what may follow the colon after a Gemini model.
func geminiActions() map[string]endpoint {
	return map[string]endpoint{
		"generateContent":       {name: "gemini.generate_content", decode: decodeGenerate, render: renderGenerate},
		"streamGenerateContent": {name: "gemini.generate_content", decode: decodeGenerate, render: renderGenerate},
		"countTokens":           {name: "gemini.count_tokens", decode: decodeGenerate, render: renderCount},
		"embedContent":          {name: "gemini.embed_content", decode: decodeEmbed, render: renderEmbed},
		"batchEmbedContents":    {name: "gemini.embed_content", decode: decodeEmbed, render: renderEmbed},
	}
}

var (
	postEndpoints   = posts()
	geminiEndpoints = geminiActions()
)

// route finds the endpoint of a request by its path, and the vendor of an
// unknown path by the headers that vendor's clients send.
func route(r *http.Request) endpoint {
	path := r.URL.Path
	to, known := postEndpoints[path]
	switch {
	case known:
		to.method = r.Method == http.MethodPost
	case path == "/v1/models" || strings.HasPrefix(path, "/v1/models/") && !strings.Contains(path, ":"):
		to = endpoint{name: "models", vendor: vendorOf(r), model: strings.TrimPrefix(path[len("/v1/models"):], "/"), method: isRead(r)}
	case path == helloPath:
		to = endpoint{name: "hello", vendor: anthropic, method: isRead(r)}
	case strings.HasPrefix(path, "/v1beta/models") || strings.HasPrefix(path, "/v1/models/"):
		to = routeGemini(r)
	default:
		to = endpoint{vendor: vendorOf(r), method: true}
	}
	to.path, to.query = path, r.URL.RawQuery
	if !to.method {
		to.decode, to.render = nil, nil
	}
	return to
}

func routeGemini(r *http.Request) endpoint {
	_, rest, _ := strings.Cut(r.URL.Path, "/models")
	rest = strings.TrimPrefix(rest, "/")
	model, action, called := cutLast(rest, ":")
	if !called {
		return endpoint{name: "models", vendor: gemini, model: rest, method: isRead(r)}
	}
	to := geminiEndpoints[action]
	to.vendor, to.model, to.action, to.method = gemini, model, action, r.Method == http.MethodPost
	return to
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func isRead(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

func vendorOf(r *http.Request) vendor {
	switch {
	case r.Header.Get("Anthropic-Version") != "" || r.Header.Get("X-Api-Key") != "" || strings.HasPrefix(r.URL.Path, "/v1/messages"):
		return anthropic
	case strings.HasPrefix(r.URL.Path, "/v1beta/") || r.Header.Get("X-Goog-Api-Key") != "":
		return gemini
	}
	return openai
}

// credential returns what the request carries as its key, "" when nothing.
func credential(r *http.Request) string {
	for _, name := range []string{"X-Api-Key", "X-Goog-Api-Key"} {
		if key := r.Header.Get(name); key != "" {
			return key
		}
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") {
		return token
	}
	return r.URL.Query().Get("key")
}

// vendorHeaders sets what the vendor sends with every answer.
func (p *Provider) vendorHeaders(c *conversation) {
	h := c.w.Header()
	h["X-Simulated-Provider"] = []string{"true"}
	h["Server"] = []string{"simulated"}
	id := []string{c.rec.ID}
	switch c.vendor {
	case anthropic:
		reset := []string{c.rec.Time.Add(time.Minute).UTC().Format(time.RFC3339)}
		h["Request-Id"] = id
		h["Anthropic-Organization-Id"] = []string{"org_simulated"}
		h["Anthropic-Ratelimit-Requests-Limit"] = []string{"4000"}
		h["Anthropic-Ratelimit-Requests-Remaining"] = []string{"3999"}
		h["Anthropic-Ratelimit-Requests-Reset"] = reset
		h["Anthropic-Ratelimit-Tokens-Limit"] = []string{"2000000"}
		h["Anthropic-Ratelimit-Tokens-Remaining"] = []string{"1999000"}
		h["Anthropic-Ratelimit-Tokens-Reset"] = reset
	case openai:
		h["X-Request-Id"] = id
		h["Openai-Organization"] = []string{"org-simulated"}
		h["Openai-Processing-Ms"] = []string{"1"}
		h["Openai-Version"] = []string{"2020-10-01"}
		h["Set-Cookie"] = []string{"__cf_bm=simulated; path=/; HttpOnly"}
		h["X-Ratelimit-Limit-Requests"] = []string{"10000"}
		h["X-Ratelimit-Remaining-Requests"] = []string{"9999"}
		h["X-Ratelimit-Reset-Requests"] = []string{"6ms"}
		h["X-Ratelimit-Limit-Tokens"] = []string{"2000000"}
		h["X-Ratelimit-Remaining-Tokens"] = []string{"1999000"}
		h["X-Ratelimit-Reset-Tokens"] = []string{"120ms"}
	case gemini:
		h["X-Request-Id"] = id // the real one sends none that can be relied on
	}
}
