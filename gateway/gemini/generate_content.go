package gemini

import (
	"io"
	"mime"
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	actionGenerate = "generateContent"
	actionStream   = "streamGenerateContent"
)

// generateContent is the methods generateContent and streamGenerateContent.
type generateContent struct{ vendor }

// GenerateContent returns the dialect gemini.generate_content: POST …/models/{model}:generateContent and
// :streamGenerateContent. It is safe for concurrent use.
func GenerateContent() gateway.Dialect { return generateContent{} }

// Name implements gateway.Dialect.
func (generateContent) Name() string { return "gemini.generate_content" }

// Operation implements gateway.Dialect.
func (generateContent) Operation() string { return names.OperationGenerateContent }

// Decode implements gateway.Dialect.
func (generateContent) Decode(r *http.Request, body []byte) (gateway.Call, error) {
	d := decoder{body: body}
	action := d.path(r, actionGenerate, actionStream)
	d.call.Operation = names.OperationGenerateContent
	d.call.Stream = action == actionStream
	if root, ok := d.object(); ok {
		d.generation(root)
	}
	d.session(r.Header)
	return d.result()
}

// Events implements gateway.Dialect.
func (generateContent) Events(body io.Reader, contentType string) gateway.EventReader {
	if media, _, _ := mime.ParseMediaType(contentType); media == "application/json" {
		return gateway.JSONArray(body)
	}
	return gateway.ServerSentEvents(body)
}

// Observe implements gateway.Dialect.
func (generateContent) Observe(e *gateway.Event, r *gateway.Result) {
	if e.Partial {
		return // a number at its end may lack digits
	}
	if e.Data == nil {
		observeOversize(e.Tail, r)
		return
	}
	root := jsonscan.Root(e.Data)
	if jsonscan.Kind(e.Data, root) != '[' {
		observeResponse(e.Data, root, r)
		return
	}
	jsonscan.Array(e.Data, root, func(_ int, response jsonscan.Span) bool { // a stream without alt=sse, held whole
		observeResponse(e.Data, response, r)
		return true
	})
}
