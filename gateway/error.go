package gateway

import (
	"errors"
	"fmt"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Error is a failure as the client, the log and telemetry see it. Message is
// for the client; Err only for the log; Type for all three.
type Error struct {
	Type    string // error.type, one of names.ErrorType… or an HTTP status
	Origin  string // ccproxy.error.origin
	Reason  string // ccproxy.rejection.reason when the gateway refused the request, else ""
	Status  int    // HTTP status for the client; 0: the dialect chooses by Type
	Code    string // the provider's own code or type, kept for clients and fallback decisions
	Message string // for the client, without secrets
	// RetryAfter tells the client when to try again; 0: not said.
	RetryAfter time.Duration
	// NoRetry asks the client's SDK not to retry (x-should-retry: false).
	NoRetry bool
	// Budget is the budget that refuses, or nil.
	Budget *BudgetRefusal
	Err    error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Type, e.Message, e.Err)
	}
	return e.Type + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Invalid returns the error for a request that cannot be understood. The
// client gets status 400 and the message; nothing is sent upstream.
func Invalid(format string, args ...any) *Error {
	return &Error{Type: names.ErrorInvalidRequestError, Origin: names.ErrorOriginCaller, Reason: names.RejectionInvalid, Status: 400, Message: fmt.Sprintf(format, args...)}
}

// AsError returns err as an *Error; what is none becomes an internal one whose
// text the client does not see.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Type: names.ErrorOther, Origin: names.ErrorOriginGateway, Status: 500, Message: "internal error", Err: err}
}

// fallbackReason says for which reason another target may be tried after e:
// names.FallbackReason…, or "" when trying again elsewhere cannot help.
func fallbackReason(e *Error, c CredentialSource) string {
	// Another target may be in no budget that is spent, or cheaper.
	if e.Reason == names.RejectionBudget {
		return names.FallbackBudget
	}
	// What a hook or policy refuses is refused everywhere.
	if e.Reason != "" || e.Type == names.ErrorHookError {
		return ""
	}
	switch e.Type {
	case names.ErrorRateLimitExceeded:
		return names.FallbackRateLimit
	case names.ErrorOverloadedError:
		return names.FallbackOverloaded
	case names.ErrorTimeout, names.ErrorIdleTimeout:
		return names.FallbackTimeout
	case names.ErrorConnectError, names.ErrorTLSError, names.ErrorDNSError:
		return names.FallbackConnect
	case names.ErrorContextLengthExceeded:
		return names.FallbackContextWindow
	case names.ErrorContentFilter:
		return names.FallbackContentPolicy
	case names.ErrorInsufficientQuota:
		return names.FallbackCredit
	case names.ErrorAuthenticationError, names.ErrorPermissionError, names.ErrorUpstreamAuthFailed:
		// The client's own bad credential is the client's to mend.
		if c == CredentialClient {
			return ""
		}
		return names.FallbackAuth
	case names.ErrorServerError, names.ErrorStreamTruncated, names.ErrorResponseDecodeError, names.ErrorResponseTooLarge:
		return names.FallbackServerError
	}
	switch {
	case e.Status == 429:
		return names.FallbackRateLimit
	case e.Status == 529:
		return names.FallbackOverloaded
	case e.Status >= 500:
		return names.FallbackServerError
	}
	return ""
}
