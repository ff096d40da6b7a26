package openai

import (
	"net/http"
	"strconv"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/sse"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// wording is how OpenAI's API says what an error is.
type wording struct {
	status     int
	kind, code string // the error's type and code; no code: null
	noRetry    bool
}

// wordings maps error.type to the API's words. The vendor's SDKs try again on
// 408, 409, 429 and from 500 unless x-should-retry is false.
var wordings = map[string]wording{
	names.ErrorInvalidRequestError:   {400, "invalid_request_error", "", false},
	names.ErrorContextLengthExceeded: {400, "invalid_request_error", "context_length_exceeded", false},
	names.ErrorNoRoute:               {400, "invalid_request_error", "no_route", false},
	names.ErrorContentFilter:         {400, "invalid_request_error", "content_filter", false},
	names.ErrorModerationBlocked:     {400, "invalid_request_error", "content_filter", false},
	names.ErrorUnauthorized:          {401, "invalid_request_error", "invalid_api_key", false},
	names.ErrorAuthenticationError:   {401, "invalid_request_error", "invalid_api_key", false},
	names.ErrorPermissionError:       {403, "invalid_request_error", "permission_denied", false},
	names.ErrorNotFoundError:         {404, "invalid_request_error", "not_found", false},
	names.ErrorRateLimitExceeded:     {429, "requests", "rate_limit_exceeded", false},
	names.ErrorInsufficientQuota:     {429, "insufficient_quota", "insufficient_quota", true},
	names.ErrorBudgetExceeded:        {429, "insufficient_quota", "insufficient_quota", true},
	names.ErrorPriceUnknown:          {429, "insufficient_quota", "insufficient_quota", true},
	names.ErrorOverload:              {503, "server_error", "server_is_overloaded", false},
	names.ErrorOverloadedError:       {503, "server_error", "server_is_overloaded", false},
	names.ErrorCircuitOpen:           {503, "server_error", "server_is_overloaded", false},
	names.ErrorTimeout:               {504, "server_error", "timeout", false},
	names.ErrorIdleTimeout:           {504, "server_error", "timeout", false},
	names.ErrorUpstreamAuthFailed:    {502, "server_error", "upstream_auth_failed", false},
	names.ErrorConnectError:          {502, "server_error", "server_error", false},
	names.ErrorTLSError:              {502, "server_error", "server_error", false},
	names.ErrorDNSError:              {502, "server_error", "server_error", false},
	names.ErrorStreamTruncated:       {502, "server_error", "server_error", false},
	names.ErrorResponseDecodeError:   {502, "server_error", "server_error", false},
	names.ErrorResponseTooLarge:      {502, "server_error", "server_error", false},
}

// meaning returns the words for e. A status e brings wins, and where the words
// leave the code open the provider's own is kept.
func meaning(e *gateway.Error) wording {
	m, ok := wordings[e.Type]
	if !ok {
		m = wording{status: 500, kind: "server_error", code: "server_error"}
		if n, err := strconv.Atoi(e.Type); err == nil && httpStatus(int64(n)) != 0 {
			m.status = n
			if n < 500 {
				m.kind, m.code = "invalid_request_error", ""
			}
		}
	}
	if e.Status != 0 {
		m.status = e.Status
	}
	if m.code == "" || e.Type == names.ErrorNotFoundError && e.Code != "" {
		m.code = e.Code
	}
	m.noRetry = m.noRetry || e.NoRetry
	return m
}

// errorBody returns the error envelope.
func errorBody(e *gateway.Error) []byte {
	m := meaning(e)
	b := append(make([]byte, 0, 160+len(e.Message)), `{"error":{"message":`...)
	b = jsonscan.Quote(b, e.Message)
	b = append(b, `,"type":`...)
	b = jsonscan.Quote(b, m.kind)
	b = append(b, `,"param":null,"code":`...)
	if m.code == "" {
		b = append(b, "null"...)
	} else {
		b = jsonscan.Quote(b, m.code)
	}
	return append(b, "}}"...)
}

// EncodeError implements [gateway.Dialect].
func (f *family) EncodeError(e *gateway.Error, requestID string) (int, http.Header, []byte) {
	m := meaning(e)
	h := http.Header{"Content-Type": {"application/json"}}
	if requestID != "" {
		h.Set("X-Request-Id", requestID)
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if m.noRetry {
		h.Set("X-Should-Retry", "false")
	}
	return m.status, h, errorBody(e)
}

// EncodeStreamError implements [gateway.Dialect]. No [DONE] follows: that would
// say the answer is whole.
func (f *family) EncodeStreamError(e *gateway.Error, _ string) []byte {
	return sse.AppendEvent(nil, "", errorBody(e))
}
