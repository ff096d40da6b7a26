package anthropic

import (
	"io"
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/sse"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// messages is POST /v1/messages.
type messages struct{ vendor }

// Messages returns the dialect anthropic.messages: POST /v1/messages, plain and streamed. It is safe for concurrent use.
func Messages() gateway.Dialect { return messages{} }

// Name implements gateway.Dialect.
func (messages) Name() string { return "anthropic.messages" }

// Operation implements gateway.Dialect.
func (messages) Operation() string { return names.OperationChat }

// Path implements gateway.Dialect. The model is in the body.
func (messages) Path(*gateway.Call, string) string { return "/v1/messages" }

// Decode implements gateway.Dialect.
func (messages) Decode(r *http.Request, body []byte) (gateway.Call, error) {
	c, err := decode(r, body, true)
	c.Operation = names.OperationChat
	return c, err
}

// Events implements gateway.Dialect.
func (messages) Events(body io.Reader, _ string) gateway.EventReader {
	return gateway.ServerSentEvents(body)
}

// Observe implements gateway.Dialect.
func (messages) Observe(e *gateway.Event, r *gateway.Result) { observe(e, r) }

// vendor is what the dialects of this package have in common.
type vendor struct{}

// Family implements gateway.Dialect.
func (vendor) Family() string { return family }

// DecodeError implements gateway.Dialect.
func (vendor) DecodeError(status int, h http.Header, body []byte) *gateway.Error {
	return decodeError(status, h, body)
}

// EncodeError implements gateway.Dialect.
func (vendor) EncodeError(e *gateway.Error, requestID string) (int, http.Header, []byte) {
	return encodeError(e, requestID)
}

// EncodeStreamError implements gateway.Dialect.
func (vendor) EncodeStreamError(e *gateway.Error, requestID string) []byte {
	return sse.AppendEvent(nil, "error", envelope(e, requestID))
}
