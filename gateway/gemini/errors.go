package gemini

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

	statusOverloaded = 529 // some proxies use Anthropic's
)

// decodeError reads an error answer, or with status 0 an error in a stream. Without alt=sse an error is in an array.
func decodeError(status int, h http.Header, body []byte) *gateway.Error {
	root := jsonscan.Root(body)
	if jsonscan.Kind(body, root) == '[' {
		root = jsonscan.Get(body, root, "#0")
	}
	fault := jsonscan.Get(body, root, "error")
	code, _ := jsonscan.String(body, jsonscan.Get(body, fault, "status"))
	message, ok := jsonscan.String(body, jsonscan.Get(body, fault, "message"))
	if !ok { // proxies in front of the provider have shapes of their own
		message, _ = jsonscan.String(body, jsonscan.Get(body, root, "message"))
	}
	if status == 0 {
		if n, ok := jsonscan.Int(body, jsonscan.Get(body, fault, "code")); ok && n >= 400 && n <= 599 {
			status = int(n)
		}
	}
	about := readDetails(body, jsonscan.Get(body, fault, "details"))
	e := &gateway.Error{
		Type: errorType(code, status, message, about), Origin: names.ErrorOriginProvider, Status: status,
		Code: clip(code, maxWord), Message: clip(message, maxMessage),
		RetryAfter: gateway.RetryAfter(h), NoRetry: h.Get("X-Should-Retry") == "false",
	}
	if e.RetryAfter == 0 {
		e.RetryAfter = about.delay
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

// details is what the details of an error say: google.rpc.QuotaFailure, RetryInfo and ErrorInfo.
type details struct {
	daily  bool // a quota per day is used up
	badKey bool // the API key is the fault
	delay  time.Duration
}

func readDetails(body []byte, s jsonscan.Span) (d details) {
	contains := func(violation jsonscan.Span, key, word string) bool {
		v, _ := jsonscan.String(body, jsonscan.Get(body, violation, key))
		return strings.Contains(strings.ReplaceAll(strings.ToLower(v), "_", ""), word)
	}
	jsonscan.Array(body, s, func(_ int, detail jsonscan.Span) bool {
		jsonscan.Array(body, jsonscan.Get(body, detail, "violations"), func(_ int, violation jsonscan.Span) bool {
			d.daily = d.daily || contains(violation, "quotaId", "perday") || contains(violation, "quotaMetric", "perday")
			return true
		})
		if delay, ok := jsonscan.String(body, jsonscan.Get(body, detail, "retryDelay")); ok {
			if number, ok := strings.CutSuffix(delay, "s"); ok {
				d.delay = gateway.RetryDelay(number, time.Second)
			}
		}
		d.badKey = d.badKey || contains(detail, "reason", "apikey")
		return true
	})
	return d
}

// errorType normalises the vendor's status to the vocabulary of error.type.
func errorType(code string, status int, message string, about details) string {
	switch code {
	case "RESOURCE_EXHAUSTED":
		if about.daily {
			return names.ErrorInsufficientQuota
		}
		return names.ErrorRateLimitExceeded
	case "INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE":
		if about.badKey {
			return names.ErrorAuthenticationError
		}
		return invalidType(message)
	case "UNAUTHENTICATED":
		return names.ErrorAuthenticationError
	case "PERMISSION_DENIED":
		return names.ErrorPermissionError
	case "NOT_FOUND":
		return names.ErrorNotFoundError
	case "UNAVAILABLE":
		return names.ErrorOverloadedError
	case "INTERNAL", "UNKNOWN", "DATA_LOSS":
		return names.ErrorServerError
	case "DEADLINE_EXCEEDED":
		return names.ErrorTimeout
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

// invalidType tells what a refused request is refused for: the API says in words alone that a prompt is too long.
func invalidType(message string) string {
	m := strings.ToLower(message)
	if strings.Contains(m, "input token count") && strings.Contains(m, "exceeds") ||
		strings.Contains(m, "prompt is too long") || strings.Contains(m, "exceed context limit") {
		return names.ErrorContextLengthExceeded
	}
	return names.ErrorInvalidRequestError
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
