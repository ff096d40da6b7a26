package gateway

import (
	"context"
	"encoding/json"
	"fmt"
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
	shape := modelShape(rp.x.Request)
	var listed []ModelInfo
	one := make([]any, 0, len(rp.x.Snapshot.Models))
	for _, m := range rp.x.Snapshot.Models {
		if shape.lists(m) && rp.x.sees(m.ID) {
			listed = append(listed, m)
			one = append(one, shape.model(m))
		}
	}
	rp.answerJSON(shape.list(one, listed))
}

func (x *Exchange) sees(model string) bool { return x.access == nil || x.access.Sees(model) }

// serveModel answers with one of them.
func (g *Gateway) serveModel(_ context.Context, rp *reply) {
	r := rp.x.Request
	shape := modelShape(r)
	_, id, _ := strings.Cut(r.URL.Path, "/models/")
	for _, m := range rp.x.Snapshot.Models {
		if m.ID == id && shape.lists(m) && rp.x.sees(id) {
			rp.answerJSON(shape.model(m))
			return
		}
	}
	e := &Error{Type: names.ErrorNotFoundError, Origin: names.ErrorOriginCaller, Reason: names.RejectionNotFound, Status: http.StatusNotFound,
		Message: fmt.Sprintf("model %q is not among the configured ones; the list is at /v1/models", clip(id))}
	rp.errors = g.family(r)
	rp.fail(e)
}

// answerJSON answers with v, which must marshal.
func (rp *reply) answerJSON(v any) {
	b, err := json.Marshal(v)
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

// shape is how a vendor writes models down.
type shape struct {
	lists func(ModelInfo) bool
	model func(ModelInfo) any
	list  func(models []any, listed []ModelInfo) any
}

// modelShape is the shape of the client's vendor.
func modelShape(r *http.Request) shape {
	switch {
	case asksGemini(r):
		return shape{
			func(m ModelInfo) bool { return m.Family == "" || m.Family == "gemini" }, geminiModel,
			func(models []any, _ []ModelInfo) any { return map[string]any{"models": models} },
		}
	case r.Header.Get("Anthropic-Version") != "":
		return shape{anyModel, anthropicModel, anthropicList}
	}
	return shape{anyModel, openAIModel, func(models []any, _ []ModelInfo) any {
		return struct {
			Object string `json:"object"`
			Data   []any  `json:"data"`
		}{"list", models}
	}}
}

func anyModel(ModelInfo) bool { return true }

func openAIModel(m ModelInfo) any {
	return struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}{m.ID, "model", created(m).Unix(), m.Provider}
}

func anthropicModel(m ModelInfo) any {
	return struct {
		Type        string `json:"type"`
		ID          string `json:"id"`
		DisplayName string `json:"display_name"`
		CreatedAt   string `json:"created_at"`
	}{"model", m.ID, m.ID, created(m).Format(time.RFC3339)}
}

func anthropicList(models []any, listed []ModelInfo) any {
	out := struct {
		Data    []any   `json:"data"`
		HasMore bool    `json:"has_more"`
		FirstID *string `json:"first_id"`
		LastID  *string `json:"last_id"`
	}{Data: models}
	if n := len(listed); n > 0 {
		out.FirstID, out.LastID = &listed[0].ID, &listed[n-1].ID
	}
	return out
}

func geminiModel(m ModelInfo) any {
	return struct {
		Name        string   `json:"name"`
		DisplayName string   `json:"displayName"`
		Methods     []string `json:"supportedGenerationMethods"`
	}{"models/" + m.ID, m.ID, []string{"generateContent", "streamGenerateContent", "countTokens"}}
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
