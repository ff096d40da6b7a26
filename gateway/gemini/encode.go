package gemini

import (
	"net/http"
	"strconv"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// The vendor's status words (google.rpc.Code).
const (
	rpcInvalid      = "INVALID_ARGUMENT"
	rpcPrecondition = "FAILED_PRECONDITION"
	rpcAuth         = "UNAUTHENTICATED"
	rpcPermission   = "PERMISSION_DENIED"
	rpcNotFound     = "NOT_FOUND"
	rpcExhausted    = "RESOURCE_EXHAUSTED"
	rpcUnavailable  = "UNAVAILABLE"
	rpcDeadline     = "DEADLINE_EXCEEDED"
	rpcInternal     = "INTERNAL"
)

// encodeError gives the answer that tells a client of e.
func encodeError(e *gateway.Error) (int, http.Header, []byte) {
	status, body := envelope(e)
	h := http.Header{"Content-Type": {"application/json; charset=UTF-8"}}
	if s := wholeSeconds(e.RetryAfter); s > 0 {
		h.Set("Retry-After", strconv.FormatInt(s, 10))
	}
	if e.NoRetry {
		h.Set("X-Should-Retry", "false")
	}
	return status, h, body
}

// envelope is the JSON of e and its status. When to try again stands in it as google.rpc.RetryInfo, the only place this API's
// clients look.
func envelope(e *gateway.Error) (int, []byte) {
	status, word := vendorError(e)
	message := e.Message
	if message == "" {
		message = word
	}
	b := append([]byte(nil), `{"error":{"code":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"message":`...)
	b = jsonscan.Quote(b, message)
	b = append(b, `,"status":`...)
	b = jsonscan.Quote(b, word)
	if s := wholeSeconds(e.RetryAfter); s > 0 {
		b = append(b, `,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"`...)
		b = strconv.AppendInt(b, s, 10)
		b = append(b, `s"}]`...)
	}
	return status, append(b, "}}"...)
}

// wholeSeconds returns d in seconds, rounded up; 0 when there is none.
func wholeSeconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d + time.Second - 1) / time.Second)
}

// vendorError returns the status and the word e has in this API.
func vendorError(e *gateway.Error) (status int, word string) {
	status, word = vendorType(e.Type)
	if e.Reason == names.RejectionPolicy || e.Reason == names.RejectionModeration {
		status, word = http.StatusBadRequest, rpcPrecondition
	}
	if word == "" {
		status, _ = strconv.Atoi(e.Type)
		if e.Status != 0 {
			status = e.Status
		}
		word = wordOfStatus(status)
	}
	if e.Status != 0 {
		status = e.Status
	}
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	return status, word
}

// vendorType returns the status and word for an error.type; no word for those that are a status.
func vendorType(t string) (status int, word string) {
	switch t {
	case names.ErrorInvalidRequestError, names.ErrorContextLengthExceeded, names.ErrorNoRoute:
		return http.StatusBadRequest, rpcInvalid
	case names.ErrorModerationBlocked, names.ErrorContentFilter:
		return http.StatusBadRequest, rpcPrecondition
	case names.ErrorUnauthorized, names.ErrorAuthenticationError:
		return http.StatusUnauthorized, rpcAuth
	case names.ErrorPermissionError:
		return http.StatusForbidden, rpcPermission
	case names.ErrorNotFoundError:
		return http.StatusNotFound, rpcNotFound
	case names.ErrorRateLimitExceeded, names.ErrorInsufficientQuota, names.ErrorBudgetExceeded, names.ErrorPriceUnknown:
		return http.StatusTooManyRequests, rpcExhausted
	case names.ErrorOverload, names.ErrorOverloadedError, names.ErrorCircuitOpen:
		return http.StatusServiceUnavailable, rpcUnavailable
	case names.ErrorTimeout, names.ErrorIdleTimeout:
		return http.StatusGatewayTimeout, rpcDeadline
	case names.ErrorConnectError, names.ErrorTLSError, names.ErrorDNSError, names.ErrorStreamTruncated:
		return http.StatusBadGateway, rpcUnavailable
	case names.ErrorUpstreamAuthFailed, names.ErrorResponseDecodeError, names.ErrorResponseTooLarge:
		return http.StatusBadGateway, rpcInternal
	case names.ErrorServerError, names.ErrorHookError, names.ErrorOther:
		return http.StatusInternalServerError, rpcInternal
	}
	return 0, ""
}

// wordOfStatus returns the word the API uses with a status.
func wordOfStatus(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return rpcAuth
	case http.StatusForbidden:
		return rpcPermission
	case http.StatusNotFound:
		return rpcNotFound
	case http.StatusTooManyRequests, http.StatusPaymentRequired:
		return rpcExhausted
	case http.StatusBadGateway, http.StatusServiceUnavailable, statusOverloaded:
		return rpcUnavailable
	case http.StatusGatewayTimeout:
		return rpcDeadline
	}
	if status >= 400 && status < 500 {
		return rpcInvalid
	}
	return rpcInternal
}
