package hooks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ccproxy/ccproxy/hooks"
)

// captured returns what capture_headers put on the SERVER span, by header.
func captured(r *rig, kind string) map[string][]string {
	out := map[string][]string{}
	for k, v := range attributes(r.span("POST /v1/messages")) {
		if name, ok := strings.CutPrefix(k, "http."+kind+".header."); ok {
			out[name] = v.AsStringSlice()
		}
	}
	return out
}

func TestHeadersOfTheDefaultSetAreCaptured(t *testing.T) {
	r := newRig(t, with(t, "capture_headers"))
	r.send(prompt, "User-Agent", "cli/2", "Anthropic-Beta", "a", "Anthropic-Beta", "b", "X-Stainless-Lang", "js", "X-Other", "no", "Cookie", "a=b")
	got := captured(r, "request")
	if !slices.Equal(got["anthropic-beta"], []string{"a", "b"}) || got["x-stainless-lang"][0] != "js" || got["user-agent"][0] != "cli/2" {
		t.Errorf("got %v", got)
	}
	for _, name := range []string{"x-other", "cookie", "x-api-key", "authorization"} {
		if v, ok := got[name]; ok {
			t.Errorf("got %s %v, want it left out", name, v)
		}
	}
	if n := len(captured(r, "response")); n != 0 {
		t.Errorf("got %d response headers, want none unless asked for", n)
	}
}

func TestCapturedCredentialsAreMasked(t *testing.T) {
	const secret = "sk-ant-oat01-AAAABBBBCCCCDDDDEEEEwxyz"
	r := newRig(t, with(t, "capture_headers", hooks.Map{"headers": []any{"*"}}))
	sent := map[string][2]string{
		"Authorization":         {"Bearer " + secret, "Bearer sk-ant-...wxyz"},
		"X-Goog-Api-Key":        {secret, "sk-ant-...wxyz"}, // the same: two different ones are refused
		"Proxy-Authorization":   {"Basic dXNlcjpwYXNzd29yZHBhc3N3b3Jk", "[REDACTED]"},
		"Cookie":                {"session=AAAABBBBCCCCDDDDEEEEwxyz", "[REDACTED]"},
		"X-My-Token":            {"short", "[REDACTED]"},
		"X-Client-Secret":       {"AAAABBBBCCCCDDDDEEEEFFFF key=value", "[REDACTED]"},
		"X-Debug":               {"curl -H Authorization:Bearer " + secret, "[REDACTED]"},
		"Referer":               {"https://a.example/?api_key=AAAABBBB", "[REDACTED]"},
		"X-Upstream":            {"https://user:AAAABBBB@a.example/", "[REDACTED]"},
		"X-Ratelimit-Token-Max": {"100", "100"},
		"X-Plain":               {"hello", "hello"},
	}
	header := []string{"X-Api-Key", ""}
	for name, v := range sent {
		header = append(header, name, v[0])
	}
	r.send(prompt, header...)
	got := captured(r, "request")
	for name, v := range sent {
		if g := got[strings.ToLower(name)]; len(g) != 1 || g[0] != v[1] {
			t.Errorf("%s: got %q, want %q", name, g, v[1])
		}
	}
	if all := fmt.Sprint(got); strings.Contains(all, "BBBB") || strings.Contains(all, "dXNl") {
		t.Errorf("got a secret in %s", all)
	}
}

func TestCapturedHeadersAreBounded(t *testing.T) {
	r := newRig(t, with(t, "capture_headers", hooks.Map{"headers": []any{"X-LONG", "x-many-*", "x-bytes"}}))
	header := []string{"X-Long", strings.Repeat("é", 150), "X-Bytes", "a\xffb"}
	for i := range 50 {
		header = append(header, fmt.Sprintf("X-Many-%02d", i), "v")
	}
	r.send(prompt, header...)
	got := captured(r, "request")
	if len(got) != 32 || got["x-many-00"] == nil || got["x-many-49"] != nil {
		t.Errorf("got %d headers, want the first 32", len(got))
	}
	if v := got["x-long"][0]; len(v) > 200 || !utf8.ValidString(v) || len(v) < 196 {
		t.Errorf("got %d bytes, want at most 200 of valid UTF-8", len(v))
	}
	if v := got["x-bytes"][0]; v != "a\uFFFDb" {
		t.Errorf("got %q, want the byte replaced", v)
	}
}

func TestResponseHeadersAreCapturedOfFailuresToo(t *testing.T) {
	for _, step := range []string{"", "status=429"} {
		r := newRig(t, with(t, "capture_headers", hooks.Map{"response": true}))
		r.send(prompt, "X-Simulate", step)
		if got := captured(r, "response"); len(got["request-id"]) != 1 {
			t.Errorf("%q: got %v, want the provider's request-id", step, got)
		}
	}
}

func TestHeaderPatternsAreChecked(t *testing.T) {
	for _, p := range []string{"x-*-y", "**", "a b", "", "x y*"} {
		if _, err := hooks.New("capture_headers", hooks.Map{"headers": []any{p}}); err == nil {
			t.Errorf("%q: got no error", p)
		}
	}
}
