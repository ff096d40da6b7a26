package anthropic

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	maxMessage = 500 // bytes kept of a provider's message
)

// The vendor's error types (platform.claude.com/docs/en/api/errors, read 2026-08; policy_blocked is what Claude Code expects
// of gateways).
const (
	vendorInvalid    = "invalid_request_error"
	vendorAuth       = "authentication_error"
	vendorBilling    = "billing_error"
	vendorPermission = "permission_error"
	vendorNotFound   = "not_found_error"
	vendorTooLarge   = "request_too_large"
	vendorRateLimit  = "rate_limit_error"
	vendorAPI        = "api_error"
	vendorTimeout    = "timeout_error"
	vendorOverloaded = "overloaded_error"
	vendorPolicy     = "policy_blocked"
)

// statusOverloaded is Anthropic's own.
const statusOverloaded = 529

// decodeError reads an error answer, or with status 0 an error event.
func decodeError(status int, h http.Header, body []byte) *gateway.Error {
	root := jsonscan.Root(body)
	kind, _ := jsonscan.String(body, jsonscan.Get(body, root, "error", "type"))
	message, ok := jsonscan.String(body, jsonscan.Get(body, root, "error", "message"))
	if !ok { // proxies in front of the provider have shapes of their own
		message, _ = jsonscan.String(body, jsonscan.Get(body, root, "message"))
	}
	e := &gateway.Error{
		Type: errorType(kind, status, message), Origin: names.ErrorOriginProvider, Status: status,
		Code: clip(kind, maxWord), Message: clip(message, maxMessage),
		RetryAfter: gateway.RetryAfter(h), NoRetry: h.Get("X-Should-Retry") == "false",
	}
	switch e.Type {
	case names.ErrorInvalidRequestError, names.ErrorContextLengthExceeded, names.ErrorNotFoundError:
		e.Origin = names.ErrorOriginCaller
	}
	if e.Message == "" {
		e.Message = strings.TrimSpace("the provider answered with an error " + statusText(status))
	}
	return e
}

func statusText(status int) string {
	if status == 0 {
		return ""
	}
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// errorType normalises the vendor's type to the vocabulary of error.type.
func errorType(kind string, status int, message string) string {
	switch kind {
	case vendorInvalid, vendorTooLarge:
		return invalidType(message)
	case vendorRateLimit:
		return names.ErrorRateLimitExceeded
	case vendorBilling:
		return names.ErrorInsufficientQuota
	case vendorOverloaded:
		return names.ErrorOverloadedError
	case vendorAuth:
		return names.ErrorAuthenticationError
	case vendorPermission:
		return names.ErrorPermissionError
	case vendorNotFound:
		return names.ErrorNotFoundError
	case vendorTimeout:
		return names.ErrorTimeout
	case vendorAPI:
		return names.ErrorServerError
	case vendorPolicy:
		return names.ErrorContentFilter
	}
	switch {
	case status == http.StatusPaymentRequired:
		return names.ErrorInsufficientQuota
	case status == statusOverloaded:
		return names.ErrorOverloadedError
	case status >= 100 && status <= 599:
		return strconv.Itoa(status)
	}
	return names.ErrorOther
}

// invalidType tells what a refused request is refused for: the API says in words alone that a prompt is too long or that
// money has run out.
func invalidType(message string) string {
	m := strings.ToLower(message)
	for _, words := range []string{
		"prompt is too long", "exceed context limit", "input is too long", "exceeds the context window", "prompt_too_long", "max_tokens_context_overflow",
	} {
		if strings.Contains(m, words) {
			return names.ErrorContextLengthExceeded
		}
	}
	if strings.Contains(m, "input token count") && strings.Contains(m, "exceeds") {
		return names.ErrorContextLengthExceeded
	}
	if strings.Contains(m, "specified api usage limits") || strings.Contains(m, "credit balance is too low") {
		return names.ErrorInsufficientQuota
	}
	return names.ErrorInvalidRequestError
}

// encodeError gives the answer that tells a client of e.
func encodeError(e *gateway.Error, requestID string) (int, http.Header, []byte) {
	status, _, final := vendorError(e)
	h := http.Header{"Content-Type": {"application/json"}}
	if requestID != "" {
		h.Set("Request-Id", requestID)
	}
	if e.RetryAfter > 0 {
		// SDKs read integers and dates; Claude Code integers alone.
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if e.NoRetry || final {
		h.Set("X-Should-Retry", "false")
	}
	if e.Budget != nil {
		spendCap(h, e.Budget)
	}
	return status, h, envelope(e, requestID)
}

// spendCap tells Claude Code that a spend cap has been reached, and until when
// (reference: headers recorded from Claude Code 2.1, 2026-08; it wants
// representative-claim and overage-status left off).
func spendCap(h http.Header, b *gateway.BudgetRefusal) {
	const unified = "Anthropic-Ratelimit-Unified-"
	h.Set(unified+"Status", "rejected")
	h.Set(unified+"Overage-Utilization", "1")
	h.Set(unified+"Overage-Disabled-Reason", "org_spend_cap_reached")
	if period, ok := map[string]string{"day": "daily", "week": "weekly", "month": "monthly"}[b.Window]; ok {
		h.Set(unified+"Overage-Period", period)
	}
	if !b.Resets.IsZero() {
		at := strconv.FormatInt(b.Resets.Unix(), 10)
		h.Set(unified+"Reset", at)
		h.Set(unified+"Overage-Reset", at)
	}
}

// envelope is the JSON of e.
func envelope(e *gateway.Error, requestID string) []byte {
	_, kind, _ := vendorError(e)
	message := e.Message
	if message == "" {
		message = kind
	}
	b := append([]byte(nil), `{"type":"error","error":{"type":`...)
	b = jsonscan.Quote(b, kind)
	b = append(b, `,"message":`...)
	b = jsonscan.Quote(b, message)
	b = append(b, '}')
	if requestID != "" {
		b = append(b, `,"request_id":`...)
		b = jsonscan.Quote(b, requestID)
	}
	return append(b, '}')
}

// vendorError returns the status and the type e has in this API, and whether trying again is pointless.
func vendorError(e *gateway.Error) (status int, kind string, final bool) {
	status, kind, final = vendorType(e.Type)
	if e.Reason == names.RejectionPolicy || e.Reason == names.RejectionModeration {
		status, kind, final = http.StatusBadRequest, vendorPolicy, true
	}
	if kind == "" {
		status, _ = strconv.Atoi(e.Type)
		if e.Status != 0 {
			status = e.Status
		}
		kind = typeOfStatus(status)
	}
	if e.Status != 0 {
		status = e.Status
	}
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	return status, kind, final
}

// vendorType returns the status and type for an error.type; no type for those that are a status.
func vendorType(t string) (status int, kind string, final bool) {
	switch t {
	case names.ErrorInvalidRequestError, names.ErrorContextLengthExceeded, names.ErrorNoRoute:
		return http.StatusBadRequest, vendorInvalid, false
	case names.ErrorUnauthorized, names.ErrorAuthenticationError:
		return http.StatusUnauthorized, vendorAuth, false
	case names.ErrorPermissionError:
		return http.StatusForbidden, vendorPermission, false
	case names.ErrorNotFoundError:
		return http.StatusNotFound, vendorNotFound, false
	case names.ErrorModerationBlocked, names.ErrorContentFilter:
		return http.StatusBadRequest, vendorPolicy, true
	case names.ErrorRateLimitExceeded:
		return http.StatusTooManyRequests, vendorRateLimit, false
	case names.ErrorBudgetExceeded, names.ErrorPriceUnknown:
		return http.StatusTooManyRequests, vendorBilling, true
	case names.ErrorInsufficientQuota:
		return http.StatusPaymentRequired, vendorBilling, false
	case names.ErrorOverload, names.ErrorOverloadedError, names.ErrorCircuitOpen:
		return statusOverloaded, vendorOverloaded, false
	case names.ErrorTimeout, names.ErrorIdleTimeout:
		return http.StatusGatewayTimeout, vendorTimeout, false
	case names.ErrorUpstreamAuthFailed, names.ErrorConnectError, names.ErrorTLSError, names.ErrorDNSError,
		names.ErrorStreamTruncated, names.ErrorResponseDecodeError, names.ErrorResponseTooLarge:
		return http.StatusBadGateway, vendorAPI, false
	case names.ErrorServerError, names.ErrorHookError, names.ErrorOther:
		return http.StatusInternalServerError, vendorAPI, false
	}
	return 0, "", false
}

// typeOfStatus returns the type the API uses with a status.
func typeOfStatus(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return vendorAuth
	case http.StatusPaymentRequired:
		return vendorBilling
	case http.StatusForbidden:
		return vendorPermission
	case http.StatusNotFound:
		return vendorNotFound
	case http.StatusRequestEntityTooLarge:
		return vendorTooLarge
	case http.StatusTooManyRequests:
		return vendorRateLimit
	case http.StatusGatewayTimeout:
		return vendorTimeout
	case statusOverloaded:
		return vendorOverloaded
	}
	if status >= 400 && status < 500 {
		return vendorInvalid
	}
	return vendorAPI
}

// clip returns s as valid UTF-8 of at most n bytes.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 { // not in the middle of a rune
		n--
	}
	return s[:n]
}
