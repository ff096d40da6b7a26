package openai

import (
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// chat is the dialect openai.chat.
type chat struct {
	family
	choiceEvents
}

// Chat returns the dialect of chat completions. It is also a
// [gateway.UsageInjector].
func Chat() gateway.Dialect {
	return &chat{family: family{
		name: "openai.chat", operation: names.OperationChat, path: "/chat/completions",
		fields: shared(map[string]func(*request, jsonscan.Span){
			"messages":              (*request).messages,
			"max_completion_tokens": maxTokens("max_completion_tokens"),
			"max_tokens":            maxTokens("max_tokens"),
			"n":                     choices("n"),
			"stop":                  (*request).stop,
			"stream_options":        (*request).streamOptions,
			"reasoning_effort":      (*request).effort,
			"reasoning":             (*request).reasoning,
			"response_format":       (*request).format,
			"modalities":            (*request).modalities,
			"tools":                 (*request).tools,
			"functions":             (*request).tools,
			"web_search_options":    (*request).webSearch,
			"prompt_cache_key":      cacheKeyOf,
		}),
	}}
}

// Decode implements [gateway.Dialect].
func (d *chat) Decode(r *http.Request, body []byte) (gateway.Call, error) {
	q, err := d.decode(r, body)
	if err != nil {
		return gateway.Call{}, err
	}
	if !q.input.Exists() {
		q.fail("messages is required")
	}
	return q.finish()
}

func (q *request) messages(s jsonscan.Span) {
	if jsonscan.Kind(q.body, s) != '[' {
		q.fail("messages must be an array")
		return
	}
	q.input = s
	q.call.Messages = q.length(s)
	q.images(s, "image_url")
}
