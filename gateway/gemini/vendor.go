package gemini

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
)

// vendor is what the dialects of this package have in common.
type vendor struct{}

// Family implements gateway.Dialect.
func (vendor) Family() string { return family }

// Path implements gateway.Dialect. The version of the API is the one the client's path named.
func (vendor) Path(c *gateway.Call, model string) string {
	version, action, ok := strings.Cut(c.Action, "/")
	if !ok {
		version, action = defaultVersion, c.Action
	}
	return "/" + version + "/models/" + url.PathEscape(model) + ":" + action
}

// DecodeError implements gateway.Dialect.
func (vendor) DecodeError(status int, h http.Header, body []byte) *gateway.Error {
	return decodeError(status, h, body)
}

// EncodeError implements gateway.Dialect. The API's errors have no place for a request id.
func (vendor) EncodeError(e *gateway.Error, _ string) (int, http.Header, []byte) {
	return encodeError(e)
}

// EncodeStreamError implements gateway.Dialect. It is one data line: clients take any other line for a malformed stream.
func (vendor) EncodeStreamError(e *gateway.Error, _ string) []byte {
	_, body := envelope(e)
	b := append([]byte("data: "), body...)
	return append(b, "\r\n\r\n"...)
}
