package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// modelsDialect is the model list: it has no request body and no upstream.
type modelsDialect struct{ opaqueDialect }

// Name implements Dialect.
func (modelsDialect) Name() string { return "models" }

// serveModels answers with the labels, model names and targets configured, in
// the shape the client's vendor uses.
func (g *Gateway) serveModels(_ context.Context, rp *reply) {
	r, models := rp.x.Request, rp.x.Snapshot.Models
	var body any
	switch {
	case asksGemini(r):
		body = geminiModels(models)
	case r.Header.Get("Anthropic-Version") != "":
		body = anthropicModels(models)
	default:
		body = openAIModels(models)
	}
	b, err := json.Marshal(body)
	if err != nil {
		rp.fail(AsError(err))
		return
	}
	rp.answer(http.StatusOK, http.Header{"Content-Type": {"application/json"}}, b)
}

// asksGemini reports whether a request for the model list comes from a client of
// Gemini: by its path, or at the path all vendors share by Google's headers
// (google-genai for Python asks there from 3.0 on).
func asksGemini(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/v1beta/") || strings.HasPrefix(r.URL.Path, "/v1alpha/") ||
		r.Header.Get("X-Goog-Api-Key") != "" || r.Header.Get("X-Goog-Api-Client") != ""
}

func created(m ModelInfo) time.Time {
	if m.Created.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return m.Created
}

func openAIModels(list []ModelInfo) any {
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	out := struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{"list", make([]model, 0, len(list))}
	for _, m := range list {
		out.Data = append(out.Data, model{m.ID, "model", created(m).Unix(), m.Provider})
	}
	return out
}

func anthropicModels(list []ModelInfo) any {
	type model struct {
		Type        string `json:"type"`
		ID          string `json:"id"`
		DisplayName string `json:"display_name"`
		CreatedAt   string `json:"created_at"`
	}
	out := struct {
		Data    []model `json:"data"`
		HasMore bool    `json:"has_more"`
		FirstID *string `json:"first_id"`
		LastID  *string `json:"last_id"`
	}{Data: make([]model, 0, len(list))}
	for _, m := range list {
		out.Data = append(out.Data, model{"model", m.ID, m.ID, created(m).Format(time.RFC3339)})
	}
	if n := len(out.Data); n > 0 {
		out.FirstID, out.LastID = &out.Data[0].ID, &out.Data[n-1].ID
	}
	return out
}

func geminiModels(list []ModelInfo) any {
	type model struct {
		Name        string   `json:"name"`
		DisplayName string   `json:"displayName"`
		Methods     []string `json:"supportedGenerationMethods"`
	}
	out := struct {
		Models []model `json:"models"`
	}{make([]model, 0, len(list))}
	for _, m := range list {
		if m.Family == "" || m.Family == "gemini" {
			out.Models = append(out.Models, model{"models/" + m.ID, m.ID, []string{"generateContent", "streamGenerateContent", "countTokens"}})
		}
	}
	return out
}

// opaqueDialect is a path nobody reads: relayed and recorded, not observed.
type opaqueDialect struct{}

// Name implements Dialect.
func (opaqueDialect) Name() string { return "opaque" }

// Family implements Dialect; "" means that any provider may speak it.
func (opaqueDialect) Family() string { return "" }

// Operation implements Dialect.
func (opaqueDialect) Operation() string { return "" }

// Decode implements Dialect.
func (opaqueDialect) Decode(*http.Request, []byte) (Call, error) { return Call{}, nil }

// Path implements Dialect. The engine keeps an opaque call's path in Action.
func (opaqueDialect) Path(c *Call, _ string) string { return c.Action }

// Events implements Dialect; opaque bodies are not read as events.
func (opaqueDialect) Events(io.Reader, string) EventReader { return nil }

// Observe implements Dialect.
func (opaqueDialect) Observe(*Event, *Result) {}

// DecodeError implements Dialect.
func (opaqueDialect) DecodeError(status int, _ http.Header, _ []byte) *Error {
	return &Error{Type: statusErrorType(status), Origin: names.ErrorOriginProvider, Status: status, Message: http.StatusText(status)}
}

// EncodeError implements Dialect.
func (opaqueDialect) EncodeError(e *Error, id string) (int, http.Header, []byte) {
	status := e.Status
	if status == 0 {
		status = http.StatusInternalServerError
	}
	b, _ := json.Marshal(map[string]any{"error": map[string]string{"type": e.Type, "message": e.Message, "request_id": id}}) // strings always marshal
	return status, http.Header{"Content-Type": {"application/json"}}, b
}

// EncodeStreamError implements Dialect.
func (opaqueDialect) EncodeStreamError(*Error, string) []byte { return nil }

// statusErrorType is error.type of a status nothing more is known of.
func statusErrorType(status int) string {
	switch {
	case status == 401:
		return names.ErrorAuthenticationError
	case status == 403:
		return names.ErrorPermissionError
	case status == 404:
		return names.ErrorNotFoundError
	case status == 429:
		return names.ErrorRateLimitExceeded
	case status >= 500:
		return names.ErrorServerError
	}
	return names.ErrorInvalidRequestError
}
