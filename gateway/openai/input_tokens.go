package openai

import (
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

// inputTokens is the dialect openai.input_tokens.
type inputTokens struct{ family }

// InputTokens returns the dialect that counts the tokens of a request of the
// Responses API. It makes no generation: the count is in Result.Counts, and
// Result.Usage stays empty because nothing is billed.
func InputTokens() gateway.Dialect {
	return &inputTokens{family{name: "openai.input_tokens", path: "/responses/input_tokens", fields: responsesFields()}}
}

// Decode implements [gateway.Dialect].
func (d *inputTokens) Decode(r *http.Request, body []byte) (gateway.Call, error) {
	q, err := d.decode(r, body)
	if err != nil {
		return gateway.Call{}, err
	}
	q.call.Stream = false // a count is never streamed, whatever the body says
	return q.finish()
}

// Observe implements [gateway.Dialect].
func (d *inputTokens) Observe(e *gateway.Event, r *gateway.Result) {
	doc, root := e.Data, jsonscan.Root(e.Data)
	if n, ok := tokens(doc, jsonscan.Get(doc, root, "input_tokens")); ok {
		r.Counts.Input = n
	}
	observeError(doc, jsonscan.Get(doc, root, "error"), r)
}
