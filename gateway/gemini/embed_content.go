package gemini

import (
	"io"
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	actionEmbed      = "embedContent"
	actionBatchEmbed = "batchEmbedContents"
)

// embedContent is the methods embedContent and batchEmbedContents.
type embedContent struct{ vendor }

// EmbedContent returns the dialect gemini.embed_content: POST …/models/{model}:embedContent and :batchEmbedContents. It is
// safe for concurrent use.
func EmbedContent() gateway.Dialect { return embedContent{} }

// Name implements gateway.Dialect.
func (embedContent) Name() string { return "gemini.embed_content" }

// Operation implements gateway.Dialect.
func (embedContent) Operation() string { return names.OperationEmbeddings }

var embedKeys = []field{{"content", "content"}, {"requests", "requests"}}

// Decode implements gateway.Dialect. Messages counts the texts to embed.
func (embedContent) Decode(r *http.Request, body []byte) (gateway.Call, error) {
	d := decoder{body: body}
	d.path(r, actionEmbed, actionBatchEmbed)
	d.call.Operation = names.OperationEmbeddings
	if root, ok := d.object(); ok {
		var v [2]jsonscan.Span
		d.pick(root, embedKeys, v[:])
		if v[0].Exists() {
			d.call.Messages = 1
		}
		jsonscan.Array(body, v[1], func(int, jsonscan.Span) bool {
			d.call.Messages++
			return true
		})
	}
	d.session(r.Header)
	return d.result()
}

// Events implements gateway.Dialect. The methods answer plainly; whatever else comes is relayed as a stream would be.
func (embedContent) Events(body io.Reader, contentType string) gateway.EventReader {
	return GenerateContent().Events(body, contentType)
}

var embeddingKeys = []string{"embedding", "embeddings", "usageMetadata", "error"}

// Observe implements gateway.Dialect. An embedding has no output tokens.
func (embedContent) Observe(e *gateway.Event, r *gateway.Result) {
	var v [4]jsonscan.Span
	pickExact(e.Data, jsonscan.Root(e.Data), embeddingKeys, v[:])
	if v[3].Exists() {
		r.Err = decodeError(0, nil, e.Data)
		return
	}
	if v[0].Exists() || v[1].Exists() {
		r.Content, r.Done = true, true
	}
	foldUsage(e.Data, v[2], r)
	r.Usage.Output, r.Usage.Reasoning = 0, 0
}
