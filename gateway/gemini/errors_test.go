package gemini_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gemini"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func fault(code int, status, message, details string) string {
	m, _ := json.Marshal(message)
	return fmt.Sprintf(`{"error":{"code":%d,"message":%s,"status":%q,"details":[%s]}}`, code, m, status, details)
}

func quota(id, metric string) string {
	return fmt.Sprintf(`{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":%q,"quotaId":%q,"quotaValue":"10"}]}`, metric, id)
}

func TestProviderErrorsAreNormalised(t *testing.T) {
	const caller, provider = names.ErrorOriginCaller, names.ErrorOriginProvider
	tests := []struct {
		status             int
		body, kind, origin string
	}{
		{400, fault(400, "INVALID_ARGUMENT", "bad", ""), "invalid_request_error", caller},
		{400, fault(400, "FAILED_PRECONDITION", "bad", ""), "invalid_request_error", caller},
		{400, fault(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", ""), "context_length_exceeded", caller},
		{400, fault(400, "INVALID_ARGUMENT", "API key not valid.", `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}`), "authentication_error", provider},
		{401, fault(401, "UNAUTHENTICATED", "no", ""), "authentication_error", provider},
		{403, fault(403, "PERMISSION_DENIED", "no", ""), "permission_error", provider},
		{404, fault(404, "NOT_FOUND", "no", ""), "not_found_error", caller},
		{429, fault(429, "RESOURCE_EXHAUSTED", "slow", ""), "rate_limit_exceeded", provider},
		{429, fault(429, "RESOURCE_EXHAUSTED", "slow", quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "generativelanguage.googleapis.com/generate_content_free_tier_requests")), "rate_limit_exceeded", provider},
		{429, fault(429, "RESOURCE_EXHAUSTED", "slow", quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "m")), "insufficient_quota", provider},
		{429, fault(429, "RESOURCE_EXHAUSTED", "slow", quota("", "generate_requests_per_day")), "insufficient_quota", provider},
		{429, "[" + fault(429, "RESOURCE_EXHAUSTED", "slow", "") + "]", "rate_limit_exceeded", provider},
		{500, fault(500, "INTERNAL", "oops", ""), "server_error", provider},
		{503, fault(503, "UNAVAILABLE", "busy", ""), "overloaded_error", provider},
		{504, fault(504, "DEADLINE_EXCEEDED", "slow", ""), "timeout", provider},
		{499, fault(499, "CANCELLED", "gone", ""), "499", provider},
		{500, fault(500, "NOVEL", "new", ""), "500", provider},
		{502, `<html>502</html>`, "502", provider},
		{429, ``, "429", provider},
		{402, `{}`, "insufficient_quota", provider},
		{529, `{}`, "overloaded_error", provider},
		{500, `{"error":7}`, "500", provider},
		{500, `[]`, "500", provider},
		{500, `{"error":{"details":[7,{"violations":7},{"violations":[7]}],"message":7}}`, "500", provider},
	}
	for _, tt := range tests {
		e := gemini.GenerateContent().DecodeError(tt.status, nil, []byte(tt.body))
		if e.Type != tt.kind || e.Origin != tt.origin || e.Status != tt.status || e.Message == "" {
			t.Errorf("%d %s: got %+v, want type %s of %s", tt.status, tt.body, e, tt.kind, tt.origin)
		}
	}
	e := gemini.GenerateContent().DecodeError(400, nil, []byte(fault(400, "INVALID_ARGUMENT", strings.Repeat("ä", 400), "")))
	if e.Code != "INVALID_ARGUMENT" || len(e.Message) > 500 || len(e.Message) < 490 || !utf8.ValidString(e.Message) {
		t.Errorf("got %+v, want the provider's status and 500 bytes of its message", e)
	}
}

func TestRetryAfterIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a clock that stands still
		date := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
		past := time.Now().Add(-90 * time.Second).UTC().Format(http.TimeFormat)
		tests := []struct {
			header, delay string
			want          time.Duration
		}{
			{"", "22s", 22 * time.Second}, {"", "0.5s", 500 * time.Millisecond}, {"", "22", 0}, {"", "-3s", 0}, {"", "s", 0}, {"", "1e9s", time.Hour},
			{"", "NaNs", 0}, {"3", "22s", 3 * time.Second}, {"junk", "22s", 22 * time.Second}, {"-1", "", 0}, {"99999999", "", time.Hour},
			{date, "", 90 * time.Second}, {past, "", 0},
		}
		for _, tt := range tests {
			body := fault(429, "RESOURCE_EXHAUSTED", "slow", fmt.Sprintf(`{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":%q}`, tt.delay))
			h := http.Header{}
			if tt.header != "" {
				h.Set("Retry-After", tt.header)
			}
			if got := gemini.GenerateContent().DecodeError(429, h, []byte(body)).RetryAfter; got != tt.want {
				t.Errorf("%q %q: got %v, want %v", tt.header, tt.delay, got, tt.want)
			}
		}
	})
}

func TestErrorsTakeTheVendorsShape(t *testing.T) {
	tests := []struct {
		err    gateway.Error
		status int
		word   string
	}{
		{gateway.Error{Type: names.ErrorInvalidRequestError}, 400, "INVALID_ARGUMENT"},
		{gateway.Error{Type: names.ErrorContextLengthExceeded}, 400, "INVALID_ARGUMENT"},
		{gateway.Error{Type: names.ErrorNoRoute}, 400, "INVALID_ARGUMENT"},
		{gateway.Error{Type: names.ErrorModerationBlocked}, 400, "FAILED_PRECONDITION"},
		{gateway.Error{Type: names.ErrorHookError, Reason: names.RejectionPolicy}, 400, "FAILED_PRECONDITION"},
		{gateway.Error{Type: names.ErrorUnauthorized}, 401, "UNAUTHENTICATED"},
		{gateway.Error{Type: names.ErrorPermissionError}, 403, "PERMISSION_DENIED"},
		{gateway.Error{Type: names.ErrorNotFoundError}, 404, "NOT_FOUND"},
		{gateway.Error{Type: names.ErrorRateLimitExceeded}, 429, "RESOURCE_EXHAUSTED"},
		{gateway.Error{Type: names.ErrorBudgetExceeded}, 429, "RESOURCE_EXHAUSTED"},
		{gateway.Error{Type: names.ErrorOverload}, 503, "UNAVAILABLE"},
		{gateway.Error{Type: names.ErrorCircuitOpen}, 503, "UNAVAILABLE"},
		{gateway.Error{Type: names.ErrorTimeout}, 504, "DEADLINE_EXCEEDED"},
		{gateway.Error{Type: names.ErrorConnectError}, 502, "UNAVAILABLE"},
		{gateway.Error{Type: names.ErrorUpstreamAuthFailed}, 502, "INTERNAL"},
		{gateway.Error{Type: names.ErrorHookError}, 500, "INTERNAL"},
		{gateway.Error{Type: names.ErrorOther}, 500, "INTERNAL"},
		{gateway.Error{Type: "503"}, 503, "UNAVAILABLE"},
		{gateway.Error{Type: "429"}, 429, "RESOURCE_EXHAUSTED"},
		{gateway.Error{Type: "409"}, 409, "INVALID_ARGUMENT"},
		{gateway.Error{Type: "junk"}, 500, "INTERNAL"},
		{gateway.Error{Type: names.ErrorInvalidRequestError, Status: 413}, 413, "INVALID_ARGUMENT"},
	}
	for _, tt := range tests {
		tt.err.Message = "why \"so\"\n\x00\xff"
		status, h, body := gemini.GenerateContent().EncodeError(&tt.err, "id")
		var got struct {
			Error struct {
				Code            int
				Message, Status string
				Details         []any
			}
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%s: %v in %s", tt.err.Type, err, body)
		}
		if status != tt.status || got.Error.Code != tt.status || got.Error.Status != tt.word || got.Error.Message != "why \"so\"\n\x00\uFFFD" {
			t.Errorf("%s: got %d %s, want %d %s", tt.err.Type, status, body, tt.status, tt.word)
		}
		if !strings.HasPrefix(h.Get("Content-Type"), "application/json") || h.Get("Retry-After") != "" || got.Error.Details != nil {
			t.Errorf("%s: got %v %s, want JSON without a time to retry", tt.err.Type, h, body)
		}
	}
}

func TestTimeToRetryStandsInHeaderAndBody(t *testing.T) {
	_, h, body := gemini.GenerateContent().EncodeError(&gateway.Error{
		Type: names.ErrorRateLimitExceeded, Message: "slow", RetryAfter: 1500 * time.Millisecond, NoRetry: true,
	}, "")
	const want = `{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2s"}]}}`
	if string(body) != want || h.Get("Retry-After") != "2" || h.Get("X-Should-Retry") != "false" {
		t.Errorf("got %v %s, want %s", h, body, want)
	}
	if got := gemini.GenerateContent().DecodeError(429, nil, body).RetryAfter; got != 2*time.Second {
		t.Errorf("read back %v, want 2s", got)
	}
}

func TestEveryErrorTypeHasAVendorShape(t *testing.T) {
	for _, kind := range names.ErrorTypes {
		status, _, body := gemini.GenerateContent().EncodeError(&gateway.Error{Type: kind}, "")
		if status < 400 || !json.Valid(body) {
			t.Errorf("%s: got %d %s", kind, status, body)
		}
	}
}

func TestStreamErrorIsOneDataLine(t *testing.T) {
	raw := gemini.GenerateContent().EncodeStreamError(&gateway.Error{Type: names.ErrorIdleTimeout, Message: "the provider\r\nwent silent"}, "id")
	const want = "data: {\"error\":{\"code\":504,\"message\":\"the provider\\r\\nwent silent\",\"status\":\"DEADLINE_EXCEEDED\"}}\r\n\r\n"
	if string(raw) != want {
		t.Errorf("got %q, want %q", raw, want)
	}
	r, _ := relay(t, strings.NewReader(string(raw)), eventStream)
	if r.Err == nil || r.Err.Type != names.ErrorTimeout || r.Done {
		t.Errorf("got %+v, want a timeout", r.Err)
	}
}

func FuzzDecodeError(f *testing.F) {
	f.Add(429, []byte(fault(429, "RESOURCE_EXHAUSTED", "slow", quota("PerDay", "m"))), "3")
	f.Add(502, []byte("<html>"), "Wed, 21 Oct 2026 07:28:00 GMT")
	f.Add(0, []byte(`[{"error":{"details":[{"retryDelay":"1e999s"}]`), "-1")
	f.Fuzz(func(t *testing.T, status int, body []byte, retry string) {
		d := gemini.GenerateContent()
		e := d.DecodeError(status, http.Header{"Retry-After": {retry}, "Retry-After-Ms": {retry}}, body)
		if e.Type == "" || e.Origin == "" || e.Message == "" || len(e.Message) > 500 || !utf8.ValidString(e.Message) {
			t.Fatalf("got %+v", e)
		}
		if e.RetryAfter < 0 || e.RetryAfter > time.Hour {
			t.Fatalf("got retry after %v", e.RetryAfter)
		}
		code, _, out := d.EncodeError(e, "")
		if code < 400 || code > 599 || !json.Valid(out) {
			t.Fatalf("got %d %s", code, out)
		}
	})
}
