package anthropic

import (
	"io"
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

// countTokens is POST /v1/messages/count_tokens.
type countTokens struct{ vendor }

// CountTokens returns the dialect anthropic.count_tokens: POST /v1/messages/count_tokens. Counting is free and no generation:
// it has no operation and no usage. It is safe for concurrent use.
func CountTokens() gateway.Dialect { return countTokens{} }

// Name implements gateway.Dialect.
func (countTokens) Name() string { return "anthropic.count_tokens" }

// Operation implements gateway.Dialect.
func (countTokens) Operation() string { return "" }

// Path implements gateway.Dialect. The model is in the body.
func (countTokens) Path(*gateway.Call, string) string { return "/v1/messages/count_tokens" }

// Decode implements gateway.Dialect.
func (countTokens) Decode(r *http.Request, body []byte) (gateway.Call, error) {
	c, err := decode(r, body, false)
	c.Stream = false // the endpoint never streams
	return c, err
}

// Events implements gateway.Dialect. The endpoint answers plainly; whatever else comes is relayed as server-sent events are.
func (countTokens) Events(body io.Reader, contentType string) gateway.EventReader {
	return Messages().Events(body, contentType)
}

// Observe implements gateway.Dialect. The count is the answer, not usage.
func (countTokens) Observe(e *gateway.Event, r *gateway.Result) {
	root := jsonscan.Root(e.Data)
	if kind, _ := jsonscan.RawString(e.Data, jsonscan.Get(e.Data, root, "type")); string(kind) == "error" {
		r.Err = decodeError(0, nil, e.Data)
		return
	}
	if jsonscan.Get(e.Data, root, "input_tokens").Exists() {
		r.Done = true
	}
}
