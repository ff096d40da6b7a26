package openai

import (
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// completions is the dialect openai.completions.
type completions struct {
	family
	choiceEvents
}

// Completions returns the dialect of legacy text completions. It is also a
// [gateway.UsageInjector]. Call.Messages counts the prompts, each of which gets
// Call.Choices answers.
func Completions() gateway.Dialect {
	return &completions{family: family{
		name: "openai.completions", operation: names.OperationTextCompletion, path: "/completions",
		fields: shared(map[string]func(*request, jsonscan.Span){
			"prompt":          func(q *request, s jsonscan.Span) { q.call.Messages = q.texts(s) },
			"max_tokens":      maxTokens("max_tokens"),
			"n":               choices("n"),
			"best_of":         choices("best_of"),
			"stop":            (*request).stop,
			"stream_options":  (*request).streamOptions,
			"response_format": (*request).format,
		}),
	}}
}

// Decode implements [gateway.Dialect].
func (d *completions) Decode(r *http.Request, body []byte) (gateway.Call, error) {
	q, err := d.decode(r, body)
	if err != nil {
		return gateway.Call{}, err
	}
	return q.finish()
}

// texts returns how many texts s holds: a string or an array of token ids is
// one, an array of strings or of arrays one each.
func (q *request) texts(s jsonscan.Span) int {
	switch jsonscan.Kind(q.body, s) {
	case '"':
		return 1
	case '[':
		first := jsonscan.Get(q.body, s, "#0")
		if jsonscan.Kind(q.body, first) == '0' {
			return 1
		}
		return q.length(s)
	}
	return 0
}
