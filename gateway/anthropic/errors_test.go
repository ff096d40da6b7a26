package anthropic_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func fault(kind, message string) string {
	b, _ := json.Marshal(map[string]any{"type": "error", "error": map[string]string{"type": kind, "message": message}, "request_id": "req_1"})
	return string(b)
}

func TestProviderErrorsAreNormalised(t *testing.T) {
	const caller, provider = names.ErrorOriginCaller, names.ErrorOriginProvider
	tests := []struct {
		status             int
		body, kind, origin string
	}{
		{400, fault("invalid_request_error", "max_tokens: field required"), "invalid_request_error", caller},
		{400, fault("invalid_request_error", "prompt is too long: 214000 tokens > 200000 maximum"), "context_length_exceeded", caller},
		{400, fault("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 3"), "context_length_exceeded", caller},
		{400, fault("invalid_request_error", "The input token count (1200000) exceeds the maximum"), "context_length_exceeded", caller},
		{400, fault("invalid_request_error", "Input is too long."), "context_length_exceeded", caller},
		{400, fault("invalid_request_error", "You have reached your specified API usage limits."), "insufficient_quota", provider},
		{400, fault("invalid_request_error", "Your credit balance is too low to access the Anthropic API."), "insufficient_quota", provider},
		{400, fault("policy_blocked", "no"), "content_filter", provider},
		{401, fault("authentication_error", "invalid x-api-key"), "authentication_error", provider},
		{402, fault("billing_error", "pay"), "insufficient_quota", provider},
		{403, fault("permission_error", "no"), "permission_error", provider},
		{404, fault("not_found_error", "model: x"), "not_found_error", caller},
		{413, fault("request_too_large", "big"), "invalid_request_error", caller},
		{429, fault("rate_limit_error", "slow"), "rate_limit_exceeded", provider},
		{429, fault("billing_error", "cap"), "insufficient_quota", provider},
		{500, fault("api_error", "oops"), "server_error", provider},
		{504, fault("timeout_error", "slow"), "timeout", provider},
		{529, fault("overloaded_error", "Overloaded"), "overloaded_error", provider},
		{529, `busy`, "overloaded_error", provider},
		{402, `{}`, "insufficient_quota", provider},
		{502, `<html><body>502 Bad Gateway</body></html>`, "502", provider},
		{429, ``, "429", provider},
		{500, fault("novel_error", "new"), "500", provider},
		{503, `{"error":"text"}`, "503", provider},
		{500, `{"error":{"type":5,"message":{}}}`, "500", provider},
		{0, `garbage`, "_OTHER", provider},
	}
	for _, tt := range tests {
		e := anthropic.Messages().DecodeError(tt.status, nil, []byte(tt.body))
		if e.Type != tt.kind || e.Origin != tt.origin || e.Status != tt.status || e.Message == "" {
			t.Errorf("%d %s: got %+v, want type %s of %s", tt.status, tt.body, e, tt.kind, tt.origin)
		}
	}
}

func TestProviderErrorKeepsItsWords(t *testing.T) {
	h := http.Header{"X-Should-Retry": {"false"}}
	e := anthropic.Messages().DecodeError(429, h, []byte(fault("rate_limit_error", "slow down, wörld")))
	if e.Code != "rate_limit_error" || e.Message != "slow down, wörld" || !e.NoRetry {
		t.Errorf("got %+v, want the provider's code, message and no retry", e)
	}
	e = anthropic.Messages().DecodeError(400, nil, []byte(fault("invalid_request_error", strings.Repeat("ä", 400))))
	if len(e.Message) > 500 || len(e.Message) < 490 || !utf8.ValidString(e.Message) {
		t.Errorf("got a message of %d bytes, want 500 at most and valid", len(e.Message))
	}
	e = anthropic.Messages().DecodeError(403, nil, []byte(`{"message":"Forbidden by the proxy"}`))
	if e.Message != "Forbidden by the proxy" {
		t.Errorf("got %q, want the proxy's message", e.Message)
	}
}

func TestRetryAfterIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a clock that stands still
		date := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
		past := time.Now().Add(-90 * time.Second).UTC().Format(http.TimeFormat)
		far := time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat)
		tests := []struct {
			seconds, millis string
			want            time.Duration
		}{
			{"22", "", 22 * time.Second}, {"1.5", "", 1500 * time.Millisecond}, {"22", "150", 150 * time.Millisecond},
			{"22", "junk", 22 * time.Second}, {"", "250.5", 250500 * time.Microsecond},
			{"0", "", 0}, {"-1", "", 0}, {"", "-5", 0}, {"NaN", "", 0}, {"soon", "", 0}, {"", "", 0},
			{"1e9", "", time.Hour}, {"Inf", "", time.Hour}, {"", "1e300", time.Hour},
			{date, "", 90 * time.Second}, {past, "", 0}, {far, "", time.Hour},
		}
		for _, tt := range tests {
			h := http.Header{}
			if tt.seconds != "" {
				h.Set("Retry-After", tt.seconds)
			}
			if tt.millis != "" {
				h.Set("Retry-After-Ms", tt.millis)
			}
			if got := anthropic.Messages().DecodeError(429, h, nil).RetryAfter; got != tt.want {
				t.Errorf("%q %q: got %v, want %v", tt.seconds, tt.millis, got, tt.want)
			}
		}
	})
}

func TestErrorsTakeTheVendorsShape(t *testing.T) {
	tests := []struct {
		err    gateway.Error
		status int
		kind   string
		retry  string // x-should-retry
	}{
		{gateway.Error{Type: names.ErrorInvalidRequestError}, 400, "invalid_request_error", ""},
		{gateway.Error{Type: names.ErrorContextLengthExceeded}, 400, "invalid_request_error", ""},
		{gateway.Error{Type: names.ErrorNoRoute}, 400, "invalid_request_error", ""},
		{gateway.Error{Type: names.ErrorUnauthorized}, 401, "authentication_error", ""},
		{gateway.Error{Type: names.ErrorUnauthorized, NoRetry: true}, 401, "authentication_error", "false"},
		{gateway.Error{Type: names.ErrorAuthenticationError}, 401, "authentication_error", ""},
		{gateway.Error{Type: names.ErrorPermissionError}, 403, "permission_error", ""},
		{gateway.Error{Type: names.ErrorModerationBlocked}, 400, "policy_blocked", "false"},
		{gateway.Error{Type: names.ErrorHookError, Reason: names.RejectionPolicy}, 400, "policy_blocked", "false"},
		{gateway.Error{Type: names.ErrorNotFoundError}, 404, "not_found_error", ""},
		{gateway.Error{Type: names.ErrorRateLimitExceeded}, 429, "rate_limit_error", ""},
		{gateway.Error{Type: names.ErrorBudgetExceeded}, 429, "billing_error", "false"},
		{gateway.Error{Type: names.ErrorPriceUnknown}, 429, "billing_error", "false"},
		{gateway.Error{Type: names.ErrorInsufficientQuota}, 402, "billing_error", ""},
		{gateway.Error{Type: names.ErrorOverload}, 529, "overloaded_error", ""},
		{gateway.Error{Type: names.ErrorOverloadedError}, 529, "overloaded_error", ""},
		{gateway.Error{Type: names.ErrorCircuitOpen}, 529, "overloaded_error", ""},
		{gateway.Error{Type: names.ErrorUpstreamAuthFailed}, 502, "api_error", ""},
		{gateway.Error{Type: names.ErrorTimeout}, 504, "timeout_error", ""},
		{gateway.Error{Type: names.ErrorIdleTimeout}, 504, "timeout_error", ""},
		{gateway.Error{Type: names.ErrorConnectError}, 502, "api_error", ""},
		{gateway.Error{Type: names.ErrorTLSError}, 502, "api_error", ""},
		{gateway.Error{Type: names.ErrorDNSError}, 502, "api_error", ""},
		{gateway.Error{Type: names.ErrorStreamTruncated}, 502, "api_error", ""},
		{gateway.Error{Type: names.ErrorServerError}, 500, "api_error", ""},
		{gateway.Error{Type: names.ErrorHookError}, 500, "api_error", ""},
		{gateway.Error{Type: names.ErrorOther}, 500, "api_error", ""},
		{gateway.Error{Type: "429"}, 429, "rate_limit_error", ""},
		{gateway.Error{Type: "409"}, 409, "invalid_request_error", ""},
		{gateway.Error{Type: "503"}, 503, "api_error", ""},
		{gateway.Error{Type: "junk"}, 500, "api_error", ""},
		{gateway.Error{Type: "200"}, 500, "api_error", ""},
		{gateway.Error{Type: names.ErrorInvalidRequestError, Status: 413}, 413, "invalid_request_error", ""},
		{gateway.Error{Type: "junk", Status: 413}, 413, "request_too_large", ""},
	}
	for _, tt := range tests {
		tt.err.Message = "why \"so\"\n\x00\xff"
		status, h, body := anthropic.Messages().EncodeError(&tt.err, "0192-abc")
		if status != tt.status || h.Get("X-Should-Retry") != tt.retry || h.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %v, want %d, retry %q", tt.err.Type, status, h, tt.status, tt.retry)
		}
		var got struct {
			Type      string
			Error     struct{ Type, Message string }
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%s: %v in %s", tt.err.Type, err, body)
		}
		if got.Type != "error" || got.Error.Type != tt.kind || got.Error.Message != "why \"so\"\n\x00\uFFFD" || got.RequestID != "0192-abc" {
			t.Errorf("%s: got %s, want type %s", tt.err.Type, body, tt.kind)
		}
	}
}

func TestEveryErrorTypeHasAVendorShape(t *testing.T) {
	for _, kind := range names.ErrorTypes {
		status, _, body := anthropic.Messages().EncodeError(&gateway.Error{Type: kind}, "")
		if status < 400 || !json.Valid(body) || !strings.Contains(string(body), `_`) {
			t.Errorf("%s: got %d %s", kind, status, body)
		}
	}
}

func TestRetryAfterIsAWholeNumber(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "", time.Millisecond: "1", 22 * time.Second: "22", 1500 * time.Millisecond: "2"} {
		_, h, _ := anthropic.Messages().EncodeError(&gateway.Error{Type: names.ErrorRateLimitExceeded, RetryAfter: d}, "")
		if got := h.Get("Retry-After"); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestStreamErrorIsAnEventItsOwnReaderUnderstands(t *testing.T) {
	raw := anthropic.Messages().EncodeStreamError(&gateway.Error{Type: names.ErrorIdleTimeout, Message: "the provider\nwent silent"}, "id-1")
	const want = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"timeout_error\",\"message\":\"the provider\\nwent silent\"},\"request_id\":\"id-1\"}\n\n"
	if string(raw) != want {
		t.Errorf("got %q, want %q", raw, want)
	}
	r, _ := relay(t, strings.NewReader(string(raw)))
	if r.Err == nil || r.Err.Type != names.ErrorTimeout || r.Done {
		t.Errorf("got %+v, want a timeout", r.Err)
	}
}

func FuzzDecodeError(f *testing.F) {
	f.Add(400, []byte(fault("invalid_request_error", "prompt is too long")), "3")
	f.Add(502, []byte("<html>"), "Wed, 21 Oct 2026 07:28:00 GMT")
	f.Add(0, []byte(`{"error":{"type":"\ud800","message":"`), "-1")
	f.Fuzz(func(t *testing.T, status int, body []byte, retry string) {
		d := anthropic.Messages()
		e := d.DecodeError(status, http.Header{"Retry-After": {retry}, "Retry-After-Ms": {retry}}, body)
		if e.Type == "" || e.Origin == "" || e.Message == "" || len(e.Message) > 500 || !utf8.ValidString(e.Message) {
			t.Fatalf("got %+v", e)
		}
		if e.RetryAfter < 0 || e.RetryAfter > time.Hour {
			t.Fatalf("got retry after %v", e.RetryAfter)
		}
		code, _, out := d.EncodeError(e, string(body))
		if code < 400 || code > 599 || !json.Valid(out) {
			t.Fatalf("got %d %s", code, out)
		}
	})
}
