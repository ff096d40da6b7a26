package gemini

import (
	"io"
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

const actionCount = "countTokens"

// countTokens is the method countTokens.
type countTokens struct{ vendor }

// CountTokens returns the dialect gemini.count_tokens: POST …/models/{model}:countTokens. Counting is free and no
// generation: it has no operation and no usage. It is safe for concurrent use.
func CountTokens() gateway.Dialect { return countTokens{} }

// Name implements gateway.Dialect.
func (countTokens) Name() string { return "gemini.count_tokens" }

// Operation implements gateway.Dialect.
func (countTokens) Operation() string { return "" }

var countKeys = []field{{"generateContentRequest", "generate_content_request"}}

// Decode implements gateway.Dialect. What is counted stands at the top level or in a whole generateContent request.
func (countTokens) Decode(r *http.Request, body []byte) (gateway.Call, error) {
	d := decoder{body: body}
	d.path(r, actionCount)
	if root, ok := d.object(); ok {
		var inner [1]jsonscan.Span
		d.pick(root, countKeys, inner[:])
		if inner[0].Exists() {
			root = inner[0]
		}
		d.generation(root)
	}
	d.session(r.Header)
	return d.result()
}

// Events implements gateway.Dialect. The method answers plainly; whatever else comes is relayed as a stream would be.
func (countTokens) Events(body io.Reader, contentType string) gateway.EventReader {
	return GenerateContent().Events(body, contentType)
}

// Observe implements gateway.Dialect. The count is the answer, not usage.
func (countTokens) Observe(e *gateway.Event, r *gateway.Result) {
	root := jsonscan.Root(e.Data)
	if jsonscan.Get(e.Data, root, "error").Exists() {
		r.Err = decodeError(0, nil, e.Data)
		return
	}
	if jsonscan.Get(e.Data, root, "totalTokens").Exists() {
		r.Done = true
	}
}
