package openai

import (
	"bytes"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// maxMessage is how many bytes of a provider's message are kept.
const maxMessage = 500

// errorTypes maps what vendors of this family put in an error's code, inner
// code, status or type to error.type. Sources: the vendors' documentation as
// noted in reference/wire.md §1.2.5, 1.3 and 1.4.
var errorTypes = map[string]string{
	"context_length_exceeded": names.ErrorContextLengthExceeded,

	"rate_limit_exceeded": names.ErrorRateLimitExceeded,
	"rate_limit_error":    names.ErrorRateLimitExceeded,
	"rate_limited":        names.ErrorRateLimitExceeded,
	"slow_down":           names.ErrorRateLimitExceeded,
	"too_many_requests":   names.ErrorRateLimitExceeded,
	"requests":            names.ErrorRateLimitExceeded,
	"tokens":              names.ErrorRateLimitExceeded,
	"RESOURCE_EXHAUSTED":  names.ErrorRateLimitExceeded,

	"insufficient_quota":           names.ErrorInsufficientQuota,
	"credit_balance_exhausted":     names.ErrorInsufficientQuota,
	"billing_error":                names.ErrorInsufficientQuota,
	"billing_hard_limit_reached":   names.ErrorInsufficientQuota,
	"billing_not_active":           names.ErrorInsufficientQuota,
	"exceeded_current_quota_error": names.ErrorInsufficientQuota,
	"quota_exceeded":               names.ErrorInsufficientQuota,

	"server_is_overloaded":    names.ErrorOverloadedError,
	"overloaded_error":        names.ErrorOverloadedError,
	"engine_overloaded_error": names.ErrorOverloadedError,
	"overloaded":              names.ErrorOverloadedError,
	"UNAVAILABLE":             names.ErrorOverloadedError,

	"content_filter":                 names.ErrorContentFilter,
	"content_policy_violation":       names.ErrorContentFilter,
	"image_content_policy_violation": names.ErrorContentFilter,
	"misalignment_policy_violation":  names.ErrorContentFilter,
	"bio_policy":                     names.ErrorContentFilter,
	"invalid_prompt":                 names.ErrorContentFilter,
	"moderation_blocked":             names.ErrorContentFilter,
	"ResponsibleAIPolicyViolation":   names.ErrorContentFilter,

	"invalid_api_key":      names.ErrorAuthenticationError,
	"authentication_error": names.ErrorAuthenticationError,
	"UNAUTHENTICATED":      names.ErrorAuthenticationError,

	"permission_error":  names.ErrorPermissionError,
	"permission_denied": names.ErrorPermissionError,
	"PERMISSION_DENIED": names.ErrorPermissionError,

	"not_found_error":    names.ErrorNotFoundError,
	"not_found":          names.ErrorNotFoundError,
	"model_not_found":    names.ErrorNotFoundError,
	"DeploymentNotFound": names.ErrorNotFoundError,
	"NOT_FOUND":          names.ErrorNotFoundError,

	"server_error":          names.ErrorServerError,
	"internal_error":        names.ErrorServerError,
	"internal_server_error": names.ErrorServerError,
	"api_error":             names.ErrorServerError,
	"INTERNAL":              names.ErrorServerError,

	"timeout":           names.ErrorTimeout,
	"timeout_error":     names.ErrorTimeout,
	"DEADLINE_EXCEEDED": names.ErrorTimeout,
}

// broadTypes are said of so many failures that the HTTP status knows better.
var broadTypes = map[string]string{
	"invalid_request_error": names.ErrorInvalidRequestError,
	"request_too_large":     names.ErrorInvalidRequestError,
	"INVALID_ARGUMENT":      names.ErrorInvalidRequestError,
	"FAILED_PRECONDITION":   names.ErrorInvalidRequestError,
}

// statusTypes says what an HTTP status means when the body does not.
var statusTypes = map[int]string{
	400: names.ErrorInvalidRequestError,
	401: names.ErrorAuthenticationError,
	402: names.ErrorInsufficientQuota,
	403: names.ErrorPermissionError,
	404: names.ErrorNotFoundError,
	413: names.ErrorInvalidRequestError,
	422: names.ErrorInvalidRequestError,
	429: names.ErrorRateLimitExceeded,
	500: names.ErrorServerError,
	529: names.ErrorOverloadedError,
}

// fault is an error as a provider words it.
type fault struct {
	code, kind, status, inner, message string

	number int           // a code that is a number, else 0
	daily  bool          // Gemini: a day's quota is used up
	delay  time.Duration // Gemini: when to try again
}

// readFault reads the error at s: an object, or a bare message.
func readFault(doc []byte, s jsonscan.Span) (f fault) {
	if v, ok := jsonscan.String(doc, s); ok {
		f.message = v
		return f
	}
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "message", "detail":
			if text, ok := jsonscan.String(doc, v); ok && f.message == "" {
				f.message = text
			}
		case "type":
			setString(&f.kind, doc, v)
		case "status":
			setString(&f.status, doc, v)
		case "code":
			setString(&f.code, doc, v)
			if n, ok := jsonscan.Int(doc, v); ok {
				f.code = string(doc[v.Start:v.End])
				f.number = httpStatus(n)
			} else if n, err := strconv.Atoi(f.code); err == nil { // Azure: "401"
				f.number = httpStatus(int64(n))
			}
		case "innererror":
			setString(&f.inner, doc, jsonscan.Get(doc, v, "code"))
		case "details":
			f.readDetails(doc, v)
		}
		return true
	})
	return f
}

// readDetails reads what Gemini's API adds to errors in this format.
func (f *fault) readDetails(doc []byte, s jsonscan.Span) {
	jsonscan.Array(doc, s, func(_ int, d jsonscan.Span) bool {
		jsonscan.Object(doc, d, func(key []byte, v jsonscan.Span) bool {
			switch string(key) {
			case "retryDelay":
				text, _ := jsonscan.RawString(doc, v)
				f.delay = resetDelay(string(text))
			case "violations":
				f.daily = f.daily || bytes.Contains(doc[v.Start:v.End], []byte("PerDay"))
			}
			return true
		})
		return true
	})
}

// httpStatus returns n if it is the status of an HTTP error, else 0.
func httpStatus(n int64) int {
	if n < 400 || n > 599 {
		return 0
	}
	return int(n)
}

// errorType returns error.type. status is the HTTP status, 0 in a stream.
func (f *fault) errorType(status int) string {
	if status == 0 {
		status = f.number
	}
	kind := ""
	for _, word := range [...]string{f.code, f.inner, f.status, f.kind} {
		if kind = errorTypes[word]; kind != "" {
			break
		}
	}
	switch {
	case kind == names.ErrorRateLimitExceeded && f.daily:
		return names.ErrorInsufficientQuota
	case kind != "":
		return kind
	case (status == 0 || status == 400 || status == 413 || status == 422) && f.tooLong():
		return names.ErrorContextLengthExceeded
	case status == 503 && strings.Contains(strings.ToLower(f.message), "overloaded"):
		return names.ErrorOverloadedError
	case statusTypes[status] != "":
		return statusTypes[status]
	}
	for _, word := range [...]string{f.code, f.status, f.kind} {
		if kind = broadTypes[word]; kind != "" && status < 500 {
			return kind
		}
	}
	if status == 0 { // the provider gave up in the middle of a stream
		return names.ErrorServerError
	}
	return strconv.Itoa(status)
}

// tooLong reports whether the message says that the prompt does not fit. Most
// vendors but OpenAI have no code for that.
func (f *fault) tooLong() bool {
	m := strings.ToLower(f.message)
	for _, words := range [...]string{"maximum context length", "context length exceeded", "context window", "context_length_exceeded", "prompt is too long"} {
		if strings.Contains(m, words) {
			return true
		}
	}
	return false
}

// word returns the provider's own word for the error: the most exact one that
// is no number.
func (f *fault) word() string {
	for _, w := range [...]string{f.code, f.kind, f.status, f.inner} {
		if w != "" && (w != f.code || !isNumber(w)) {
			return w
		}
	}
	return f.code
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// asError converts f. status is the HTTP status, 0 in a stream.
func (f *fault) asError(status int) *gateway.Error {
	e := &gateway.Error{
		Type: f.errorType(status), Origin: names.ErrorOriginProvider, Status: status,
		Code: f.word(), Message: shorten(f.message), RetryAfter: f.delay,
	}
	if e.Status == 0 {
		e.Status = f.number
	}
	switch e.Type {
	case names.ErrorInvalidRequestError, names.ErrorContextLengthExceeded, names.ErrorContentFilter, names.ErrorNotFoundError:
		e.Origin = names.ErrorOriginCaller
	}
	if e.Message == "" {
		e.Message = strings.TrimSpace("the provider answered with an error: " + http.StatusText(e.Status))
	}
	return e
}

// shorten returns at most maxMessage bytes of s, valid UTF-8.
func shorten(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxMessage {
		return s
	}
	end := maxMessage
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// observeError notes the error at s, if it is one: some vendors send null.
func observeError(doc []byte, s jsonscan.Span, r *gateway.Result) {
	switch jsonscan.Kind(doc, s) {
	case '{':
	case '"':
		if stringSize(doc, s) == 0 {
			return
		}
	default:
		return
	}
	f := readFault(doc, s)
	r.Err = f.asError(0)
}

// DecodeError implements [gateway.Dialect]. Gemini's API in this format wraps
// the error in an array; others have no envelope.
func (f *family) DecodeError(status int, h http.Header, body []byte) *gateway.Error {
	root := jsonscan.Root(body)
	if jsonscan.Kind(body, root) == '[' {
		root = jsonscan.Get(body, root, "#0")
	}
	var said fault
	if v := jsonscan.Get(body, root, "error"); jsonscan.Kind(body, v) == '{' || jsonscan.Kind(body, v) == '"' {
		said = readFault(body, v)
	} else if jsonscan.Kind(body, root) == '{' {
		said = readFault(body, root)
	}
	e := said.asError(status)
	if d := retryAfter(status, h); d > 0 {
		e.RetryAfter = d
	}
	e.NoRetry = h.Get("X-Should-Retry") == "false"
	return e
}

// maxDelay bounds a hint, so that arithmetic on it cannot overflow.
const maxDelay = 30 * 24 * time.Hour

// retryAfter returns when the provider wants to be asked again; 0: not said.
func retryAfter(status int, h http.Header) time.Duration {
	if d := number(h.Get("Retry-After-Ms"), time.Millisecond); d > 0 {
		return d
	}
	if v := h.Get("Retry-After"); v != "" {
		if d := number(v, time.Second); d > 0 {
			return d
		}
		if at, err := http.ParseTime(v); err == nil {
			now, err := http.ParseTime(h.Get("Date")) // the provider's clock, when it tells
			if err != nil {
				now = time.Now()
			}
			return min(max(at.Sub(now), 0), maxDelay)
		}
	}
	if status != http.StatusTooManyRequests {
		return 0
	}
	var longest time.Duration
	for _, what := range [...]string{"Requests", "Tokens"} {
		if strings.TrimSpace(h.Get("X-Ratelimit-Remaining-"+what)) == "0" {
			longest = max(longest, resetDelay(h.Get("X-Ratelimit-Reset-"+what)))
		}
	}
	return longest
}

// resetDelay reads a duration as OpenAI writes it, such as 20m52.666s, or plain
// seconds, as Azure does.
func resetDelay(s string) time.Duration {
	s = strings.TrimSpace(s)
	if d, err := time.ParseDuration(s); err == nil {
		return min(max(d, 0), maxDelay)
	}
	return number(s, time.Second)
}

// number reads a number of units; 0 when s is none.
func number(s string, unit time.Duration) time.Duration {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(v) || v <= 0 {
		return 0
	}
	return time.Duration(min(v*float64(unit), float64(maxDelay)))
}
