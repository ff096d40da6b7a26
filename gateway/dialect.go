package gateway

import (
	"io"
	"net/http"
)

// Dialect is a wire format. Implementations hold no state and are safe for
// concurrent use. Buffers passed in are the caller's; a Dialect keeps none.
type Dialect interface {
	// Name is the dialect's name in telemetry and configuration, such as
	// "anthropic.messages".
	Name() string
	// Family names the vendor whose format it is: "anthropic", "openai" or
	// "gemini". A provider speaks the dialects of its family.
	Family() string
	// Operation is gen_ai.operation.name, or "" when a call is no generation.
	Operation() string
	// Decode reads the facts of a request. body is valid JSON (Gemini and
	// others without a body: may be empty). A malformed request gives an
	// *Error that Invalid made.
	Decode(r *http.Request, body []byte) (Call, error)
	// Path is the request path below a provider's base URL for the given call
	// and model, such as "/v1/messages", already escaped.
	Path(c *Call, model string) string
	// Events reads a response body of the given content type as events; a
	// plain body is read by the engine and needs none.
	Events(body io.Reader, contentType string) EventReader
	// Observe folds one event of a stream, or a whole plain 2xx body (Name and
	// framing empty), into r. It never fails: what it cannot read it ignores.
	Observe(e *Event, r *Result)
	// DecodeError reads a provider's error answer.
	DecodeError(status int, h http.Header, body []byte) *Error
	// EncodeError gives the answer that tells the client of e, in the shape
	// its SDK understands.
	EncodeError(e *Error, requestID string) (status int, h http.Header, body []byte)
	// EncodeStreamError gives the event that tells the client of e in the
	// middle of a stream, framing included.
	EncodeStreamError(e *Error, requestID string) []byte
}

// UsageInjector is a Dialect whose streams report usage only when asked
// (OpenAI chat and completions). The engine asks on the client's behalf and
// hides what the client did not ask for.
type UsageInjector interface {
	// InjectUsage returns body with usage asked for. It changes no other byte.
	InjectUsage(body []byte, c *Call) []byte
	// UsageOnly reports whether e exists only because usage was asked for.
	UsageOnly(e *Event) bool
}
