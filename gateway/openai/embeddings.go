package openai

import (
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// embeddings is the dialect openai.embeddings.
type embeddings struct{ family }

// Embeddings returns the dialect of embeddings. Call.Messages counts the texts.
func Embeddings() gateway.Dialect {
	return &embeddings{family{
		name: "openai.embeddings", operation: names.OperationEmbeddings, path: "/embeddings",
		fields: table(map[string]func(*request, jsonscan.Span){
			"model": (*request).model,
			"input": func(q *request, s jsonscan.Span) { q.input, q.call.Messages = s, q.texts(s) },
			"user":  func(q *request, s jsonscan.Span) { q.user = q.text(s) },
		}),
	}}
}

// Decode implements [gateway.Dialect].
func (d *embeddings) Decode(r *http.Request, body []byte) (gateway.Call, error) {
	q, err := d.decode(r, body)
	if err != nil {
		return gateway.Call{}, err
	}
	if !q.input.Exists() || jsonscan.IsNull(body, q.input) {
		q.fail("input is required")
	}
	return q.finish()
}

// Observe implements [gateway.Dialect]. The usage stands behind the vectors,
// which are skipped but once.
func (d *embeddings) Observe(e *gateway.Event, r *gateway.Result) {
	doc := e.Data
	jsonscan.Object(doc, jsonscan.Root(doc), func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "model":
			setString(&r.Model, doc, v)
		case "id":
			setString(&r.ID, doc, v)
		case "data":
			r.Content = r.Content || jsonscan.Get(doc, v, "#0").Exists()
		case "error":
			observeError(doc, v, r)
		case "usage":
			chatCounters.observe(doc, v, r)
			// What comes out are vectors, whatever a vendor calls them, and some
			// vendors count the total alone.
			input := r.Counts.Input
			if input == 0 {
				input = r.Counts.Total
			}
			r.Usage = gateway.Usage{Input: input, Source: r.Usage.Source}
		}
		return true
	})
}
