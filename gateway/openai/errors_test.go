package openai

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	sdkresponses "github.com/openai/openai-go/v3/responses"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func TestProviderErrorsAreNormalised(t *testing.T) {
	long := `{"error":{"message":"` + strings.Repeat("é", 400) + `","type":"server_error"}}`
	tests := []struct {
		name   string
		status int
		body   string
		kind   string
		code   string
		origin string
	}{
		{"context window", 400, `{"error":{"message":"m","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, "context_length_exceeded", "context_length_exceeded", "caller"},
		{"context window in words", 400, `{"object":"error","message":"This model's maximum context length is 8192 tokens.","type":"BadRequestError","param":null,"code":400}`, "context_length_exceeded", "BadRequestError", "caller"},
		{"unsupported parameter", 400, `{"error":{"message":"m","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}`, "invalid_request_error", "unsupported_parameter", "caller"},
		{"no code", 400, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":null}}`, "invalid_request_error", "invalid_request_error", "caller"},
		{"content filter of Azure", 400, `{"error":{"message":"m","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{}}}}`, "content_filter", "content_filter", "caller"},
		{"inner error alone", 400, `{"error":{"message":"m","innererror":{"code":"ResponsibleAIPolicyViolation"}}}`, "content_filter", "ResponsibleAIPolicyViolation", "caller"},
		{"content policy", 400, `{"error":{"message":"m","type":"invalid_request_error","code":"content_policy_violation"}}`, "content_filter", "content_policy_violation", "caller"},
		{"bad key", 401, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`, "authentication_error", "invalid_api_key", "provider"},
		{"Azure's bad key", 401, `{"error":{"code":"401","message":"Access denied"}}`, "authentication_error", "401", "provider"},
		{"API management", 401, `{"statusCode":401,"message":"Access denied"}`, "authentication_error", "", "provider"},
		{"paid out", 402, `{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}`, "insufficient_quota", "invalid_request_error", "provider"},
		{"not allowed", 403, `{"error":{"message":"m","type":"invalid_request_error","code":"model_not_allowed"}}`, "permission_error", "model_not_allowed", "provider"},
		{"no such model", 404, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"model_not_found"}}`, "not_found_error", "model_not_found", "caller"},
		{"no such deployment", 404, `{"error":{"code":"DeploymentNotFound","message":"m"}}`, "not_found_error", "DeploymentNotFound", "caller"},
		{"bare text", 404, `{"error":"model not found"}`, "not_found_error", "", "caller"},
		{"FastAPI", 422, `{"detail":"field required"}`, "invalid_request_error", "", "caller"},
		{"rate", 429, `{"error":{"message":"m","type":"requests","param":null,"code":"rate_limit_exceeded"}}`, "rate_limit_exceeded", "rate_limit_exceeded", "provider"},
		{"slow down", 429, `{"error":{"message":"m","type":"rate_limit","code":"slow_down"}}`, "rate_limit_exceeded", "slow_down", "provider"},
		{"quota", 429, `{"error":{"message":"m","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`, "insufficient_quota", "insufficient_quota", "provider"},
		{"credit", 429, `{"error":{"message":"m","type":"x","code":"credit_balance_exhausted"}}`, "insufficient_quota", "credit_balance_exhausted", "provider"},
		{"billing", 400, `{"error":{"message":"m","type":"billing_error"}}`, "insufficient_quota", "billing_error", "provider"},
		{"Gemini, a minute", 429, `[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"XPerMinute"}]}]}}]`, "rate_limit_exceeded", "RESOURCE_EXHAUSTED", "provider"},
		{"Gemini, a day", 429, `[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"XPerDayPerProject"}]}]}}]`, "insufficient_quota", "RESOURCE_EXHAUSTED", "provider"},
		{"Gemini, argument", 400, `[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]`, "invalid_request_error", "INVALID_ARGUMENT", "caller"},
		{"server", 500, `{"error":{"message":"m","type":"server_error","param":null,"code":null}}`, "server_error", "server_error", "provider"},
		{"server that blames the client", 500, `{"error":{"message":"m","type":"invalid_request_error"}}`, "server_error", "invalid_request_error", "provider"},
		{"overloaded", 503, `{"error":{"message":"m","type":"server_error","code":"server_is_overloaded"}}`, "overloaded_error", "server_is_overloaded", "provider"},
		{"overloaded in words", 503, `{"error":{"message":"That model is currently Overloaded"}}`, "overloaded_error", "", "provider"},
		{"unavailable", 503, `upstream connect error`, "503", "", "provider"},
		{"gateway's page", 502, `<html><body>Bad gateway</body></html>`, "502", "", "provider"},
		{"teapot", 418, `{"error":{"message":"m"}}`, "418", "", "provider"},
		{"deadline", 504, `[{"error":{"code":504,"message":"m","status":"DEADLINE_EXCEEDED"}}]`, "timeout", "DEADLINE_EXCEEDED", "provider"},
		{"429 without a body", 429, ``, "rate_limit_exceeded", "", "provider"},
		{"cut off", 500, `{"error":{"message":"m`, "server_error", "", "provider"},
		{"null", 400, `null`, "invalid_request_error", "", "caller"},
		{"long", 500, long, "server_error", "server_error", "provider"},
	}
	for _, tt := range tests {
		e := Chat().DecodeError(tt.status, http.Header{}, []byte(tt.body))
		if e.Type != tt.kind || e.Code != tt.code || e.Origin != tt.origin || e.Status != tt.status {
			t.Errorf("%s: got %s code %q origin %s status %d, want %s %q %s", tt.name, e.Type, e.Code, e.Origin, e.Status, tt.kind, tt.code, tt.origin)
		}
		if e.Message == "" || len(e.Message) > 500 || !utf8.ValidString(e.Message) || strings.Contains(e.Message, "<") {
			t.Errorf("%s: got message %q", tt.name, e.Message)
		}
	}
}

func TestRetryHints(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	tests := []struct {
		status int
		header []string
		want   time.Duration
	}{
		{429, []string{"retry-after", "7"}, 7 * s},
		{429, []string{"retry-after", "1.5"}, 1500 * ms},
		{503, []string{"retry-after", "7"}, 7 * s},
		{429, []string{"retry-after", "7", "retry-after-ms", "250"}, 250 * ms},
		{429, []string{"retry-after", "Tue, 24 Nov 2026 10:00:30 GMT", "date", "Tue, 24 Nov 2026 10:00:00 GMT"}, 30 * s},
		{429, []string{"retry-after", "Tue, 24 Nov 2026 09:00:00 GMT", "date", "Tue, 24 Nov 2026 10:00:00 GMT"}, 0},
		{429, []string{"retry-after", "-1"}, 0},
		{429, []string{"retry-after", "0"}, 0},
		{429, []string{"retry-after", "soon"}, 0},
		{429, []string{"retry-after", "NaN"}, 0},
		{429, []string{"retry-after", "1e300"}, maxDelay},
		{429, []string{"x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "20m52.666s"}, 20*time.Minute + 52666*ms},
		{429, []string{"x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "120ms"}, 120 * ms},
		{429, []string{"x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "7"}, 7 * s},
		{429, []string{"x-ratelimit-remaining-tokens", "1", "x-ratelimit-reset-tokens", "7s"}, 0},
		{429, []string{"x-ratelimit-reset-tokens", "7s"}, 0},
		{429, []string{"x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "-7s"}, 0},
		{429, []string{"x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "1s", "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "2s"}, 2 * s},
		{500, []string{"x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "7s"}, 0},
	}
	for _, tt := range tests {
		h := http.Header{}
		for i := 0; i < len(tt.header); i += 2 {
			h.Set(tt.header[i], tt.header[i+1])
		}
		if got := Chat().DecodeError(tt.status, h, nil).RetryAfter; got != tt.want {
			t.Errorf("%d %v: got %v, want %v", tt.status, tt.header, got, tt.want)
		}
	}
	e := Chat().DecodeError(429, http.Header{"X-Should-Retry": {"false"}}, []byte(`[{"error":{"message":"m","details":[{"retryDelay":"22s"}]}}]`))
	if e.RetryAfter != 22*s || !e.NoRetry {
		t.Errorf("got %v noRetry=%v, want 22s from the body and true", e.RetryAfter, e.NoRetry)
	}
}

// Each of our errors, as the vendor's own SDK reads it.
func TestClientUnderstandsOurErrors(t *testing.T) {
	tests := []struct {
		in         gateway.Error
		status     int
		kind, code string
		attempts   int // the SDK's, with one retry allowed
	}{
		{*gateway.Invalid("no"), 400, "invalid_request_error", "", 1},
		{gateway.Error{Type: names.ErrorInvalidRequestError, Status: 413}, 413, "invalid_request_error", "", 1},
		{gateway.Error{Type: names.ErrorInvalidRequestError, Code: "unsupported_parameter"}, 400, "invalid_request_error", "unsupported_parameter", 1},
		{gateway.Error{Type: names.ErrorContextLengthExceeded}, 400, "invalid_request_error", "context_length_exceeded", 1},
		{gateway.Error{Type: names.ErrorUnauthorized}, 401, "invalid_request_error", "invalid_api_key", 1},
		{gateway.Error{Type: names.ErrorPermissionError}, 403, "invalid_request_error", "permission_denied", 1},
		{gateway.Error{Type: names.ErrorNoRoute}, 400, "invalid_request_error", "no_route", 1},
		{gateway.Error{Type: names.ErrorNotFoundError}, 404, "invalid_request_error", "not_found", 1},
		{gateway.Error{Type: names.ErrorNotFoundError, Code: "model_not_found"}, 404, "invalid_request_error", "model_not_found", 1},
		{gateway.Error{Type: names.ErrorRateLimitExceeded, RetryAfter: time.Millisecond}, 429, "requests", "rate_limit_exceeded", 2},
		{gateway.Error{Type: names.ErrorRateLimitExceeded, NoRetry: true}, 429, "requests", "rate_limit_exceeded", 1},
		{gateway.Error{Type: names.ErrorBudgetExceeded, RetryAfter: time.Hour}, 429, "insufficient_quota", "insufficient_quota", 1},
		{gateway.Error{Type: names.ErrorInsufficientQuota}, 429, "insufficient_quota", "insufficient_quota", 1},
		{gateway.Error{Type: names.ErrorModerationBlocked}, 400, "invalid_request_error", "content_filter", 1},
		{gateway.Error{Type: names.ErrorContentFilter}, 400, "invalid_request_error", "content_filter", 1},
		{gateway.Error{Type: names.ErrorOverload, NoRetry: true}, 503, "server_error", "server_is_overloaded", 1},
		{gateway.Error{Type: names.ErrorTimeout, NoRetry: true}, 504, "server_error", "timeout", 1},
		{gateway.Error{Type: names.ErrorConnectError, NoRetry: true}, 502, "server_error", "server_error", 1},
		{gateway.Error{Type: names.ErrorUpstreamAuthFailed, NoRetry: true}, 502, "server_error", "upstream_auth_failed", 1},
		{gateway.Error{Type: names.ErrorHookError, NoRetry: true}, 500, "server_error", "server_error", 1},
		{gateway.Error{Type: names.ErrorOther, NoRetry: true}, 500, "server_error", "server_error", 1},
		{gateway.Error{Type: "503", NoRetry: true}, 503, "server_error", "server_error", 1},
		{gateway.Error{Type: "418"}, 418, "invalid_request_error", "", 1},
	}
	for _, tt := range tests {
		in := tt.in
		in.Message = "a \"quoted\"\nmessage é \xff"
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked++
			status, h, body := Chat().EncodeError(&in, "0199-id")
			for k, v := range h {
				w.Header()[k] = v
			}
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}))
		client := sdk.NewClient(option.WithBaseURL(server.URL), option.WithAPIKey("k"), option.WithMaxRetries(1))
		_, err := client.Chat.Completions.New(context.Background(), sdk.ChatCompletionNewParams{Model: "m"})
		server.Close()
		var e *sdk.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v, want an API error", in.Type, err)
			continue
		}
		if e.StatusCode != tt.status || e.Type != tt.kind || e.Code != tt.code || e.Message != "a \"quoted\"\nmessage é \uFFFD" || asked != tt.attempts {
			t.Errorf("%s: got %d %s %q message %q after %d attempts, want %d %s %q after %d", in.Type, e.StatusCode, e.Type, e.Code, e.Message, asked, tt.status, tt.kind, tt.code, tt.attempts)
		}
		if got := e.Response.Header.Get("x-request-id"); got != "0199-id" {
			t.Errorf("%s: got request id %q", in.Type, got)
		}
		if got, want := e.Response.Header.Get("retry-after"), in.RetryAfter; want > 0 && got != strconv.Itoa(max(int(want/time.Second), 1)) {
			t.Errorf("%s: got retry-after %q, want %v", in.Type, got, want)
		}
	}
}

func TestClientUnderstandsOurStreamErrors(t *testing.T) {
	fault := &gateway.Error{Type: names.ErrorIdleTimeout, Message: "too\nslow"}
	serve := func(first string, d gateway.Dialect) (sdk.Client, func()) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write(append([]byte(first), d.EncodeStreamError(fault, "id")...))
		}))
		return sdk.NewClient(option.WithBaseURL(server.URL), option.WithAPIKey("k"), option.WithMaxRetries(0)), server.Close
	}

	client, closeServer := serve("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n", Chat())
	defer closeServer()
	chunks := client.Chat.Completions.NewStreaming(context.Background(), sdk.ChatCompletionNewParams{Model: "m"})
	n := 0
	for chunks.Next() {
		n++
	}
	if n != 1 || chunks.Err() == nil || !strings.Contains(chunks.Err().Error(), "slow") {
		t.Errorf("chat: got %d chunks and error %v, want one and ours", n, chunks.Err())
	}

	client, closeResponses := serve("event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n", Responses())
	defer closeResponses()
	events := client.Responses.NewStreaming(context.Background(), sdkresponses.ResponseNewParams{Model: "m"})
	var last sdkresponses.ResponseStreamEventUnion
	for events.Next() {
		last = events.Current()
	}
	if got := last.AsError(); last.Type != "error" || got.Code != "timeout" || got.Message != "too\nslow" {
		t.Errorf("responses: got last event %s %+v, want our error", last.Type, got)
	}
}

func TestStreamErrorBytes(t *testing.T) {
	e := &gateway.Error{Type: names.ErrorStreamTruncated, Message: "cut"}
	for _, tt := range []struct {
		d    gateway.Dialect
		want string
	}{
		{Chat(), "data: {\"error\":{\"message\":\"cut\",\"type\":\"server_error\",\"param\":null,\"code\":\"server_error\"}}\n\n"},
		{Completions(), "data: {\"error\":{\"message\":\"cut\",\"type\":\"server_error\",\"param\":null,\"code\":\"server_error\"}}\n\n"},
		{Responses(), "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"cut\",\"param\":null,\"sequence_number\":0}\n\n"},
	} {
		if got := string(tt.d.EncodeStreamError(e, "id")); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.d.Name(), got, tt.want)
		}
		var r gateway.Result
		events := tt.d.Events(strings.NewReader(tt.want), "")
		var ev gateway.Event
		if err := events.Next(&ev); err != nil {
			t.Fatal(err)
		}
		tt.d.Observe(&ev, &r)
		events.Release()
		if r.Err == nil || r.Err.Type != "server_error" || r.Done {
			t.Errorf("%s: reading it back gave %+v", tt.d.Name(), r.Err)
		}
	}
}

func FuzzDecodeError(f *testing.F) {
	f.Add(400, `{"error":{"message":"m","type":"t","code":"c","innererror":{"code":"i"}}}`, "1")
	f.Add(429, `[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{}],"retryDelay":"1s"}]}}]`, "1e9")
	f.Add(502, `<html>`, "Tue, 24 Nov 2026 10:00:30 GMT")
	f.Add(0, `{"error":"x"}`, "-1")
	known := map[string]bool{}
	for _, v := range names.ErrorTypes {
		known[v] = true
	}
	f.Fuzz(func(t *testing.T, status int, body, after string) {
		h := http.Header{"Retry-After": {after}, "X-Ratelimit-Remaining-Tokens": {"0"}, "X-Ratelimit-Reset-Tokens": {after}}
		for _, d := range []gateway.Dialect{Chat(), Responses()} {
			e := d.DecodeError(status, h, []byte(body))
			if _, err := strconv.Atoi(e.Type); err != nil && !known[e.Type] {
				t.Errorf("got error.type %q, which the vocabulary lacks", e.Type)
			}
			if e.Message == "" || len(e.Message) > 500 || !utf8.ValidString(e.Message) || e.RetryAfter < 0 || e.RetryAfter > maxDelay || e.Origin == "" {
				t.Errorf("got %+v", e)
			}
			_, _, out := d.EncodeError(e, "id")
			if err := jsonscan.Validate(out, jsonscan.Limits{}); err != nil {
				t.Errorf("%s: %v", out, err)
			}
		}
	})
}
