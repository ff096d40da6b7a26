package telemetry

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

func TestCleanEscapesWhatMovesATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"claude-sonnet-5":            "claude-sonnet-5",
		"":                           "",
		"línea 日本":                   "línea 日本",
		"a\nb\r\tc":                  `a\nb\r\tc`,
		"\x1b[31mred\x1b[0m":         `\u001b[31mred\u001b[0m`,
		"\u009b2J":                   `\u009b2J`,
		"a\u2028b":                   `a\u2028b`,
		"\u202egnp.exe":              `\u202egnp.exe`,
		"bad\xffbyte":                "bad\uFFFDbyte",
		"\U000e0001tag":              `\u{0e0001}tag`,
		strings.Repeat("x", 300):     strings.Repeat("x", maxName),
		strings.Repeat("é", maxName): strings.Repeat("é", maxName/2),
	} {
		if got := clean(in, maxName); got != want {
			t.Errorf("clean(%q): got %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("plain", 10)
	f.Add("\x1b[2J\u2029\xff", 3)
	f.Add("日本\r\n", 4)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 0 || limit > 4096 {
			return
		}
		got := clean(s, limit)
		if len(got) > limit {
			t.Errorf("got %d bytes, want at most %d", len(got), limit)
		}
		if !utf8.ValidString(got) {
			t.Errorf("got %q, which is no UTF-8", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) && r != '\uFFFD' {
				t.Errorf("got %q with %U in it", got, r)
			}
		}
		if again := clean(got, limit); again != got {
			t.Errorf("cleaning twice: got %q, want %q", again, got)
		}
	})
}

func TestErrorTextLosesItsSecrets(t *testing.T) {
	for in, want := range map[string]string{
		"Incorrect API key provided: sk-proj-abcdEFGH1234. Find it in the console": "Incorrect API key provided: *** Find it in the console",
		"Incorrect API key provided: sk-a****************wxyz":                     "Incorrect API key provided: ***",
		`header "Authorization: Bearer abc.def-ghi" was refused`:                   `header "Authorization: *** ***" was refused`,
		"bearer tok_12345678 expired":                                              "bearer *** expired",
		"GET https://host/v1?key=AIzaSyA1234567890&alt=sse: EOF":                   "GET https://host/v1?key=***&alt=sse: EOF",
		"dial https://user:pass@proxy.internal:3128: refused":                      "dial https://***@proxy.internal:3128: refused",
		"x-api-key: 0123456789abcdef0123":                                          "x-api-key: ***",
		`{"api_key":"0123456789"}`:                                                 `{"api_key":"***"}`,
		"token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is bad":                   "token *** is bad",
		"virtual key ccp_0123456789abcdef is over its limit":                       "virtual key *** is over its limit",
		"context length 200000 exceeded by model claude-sonnet-5":                  "context length 200000 exceeded by model claude-sonnet-5",
		"max_tokens: 5000000 is too large":                                         "max_tokens: 5000000 is too large",
	} {
		if got := scrubbed(in); got != want {
			t.Errorf("scrubbed(%q): got %q, want %q", in, got, want)
		}
	}
	if got := scrubbed(strings.Repeat("long ", 10_000)); len(got) != maxErrorMessage {
		t.Errorf("got %d bytes, want %d", len(got), maxErrorMessage)
	}
	long := strings.Repeat("x ", 240) + "sk-ant-" + strings.Repeat("s", 100)
	if got := scrubbed(long); strings.Contains(got, "sss") {
		t.Errorf("got %q: a secret that straddles the limit is still one", got)
	}
}

func TestEveryErrorTypeHasAConstantText(t *testing.T) {
	for _, errType := range names.ErrorTypes {
		if text := exceptionText(errType); text == "" || strings.ContainsAny(text, "%\n") {
			t.Errorf("%s: got %q", errType, text)
		}
	}
}

func TestErrorTypesAreClosed(t *testing.T) {
	c := newClosed()
	for in, want := range map[string]string{"": "", "timeout": "timeout", "429": "429", "599": "599", "099": "_OTHER", "600": "_OTHER", "-10": "_OTHER", "*errors.errorString": "_OTHER"} {
		if got := c.errorType(in); got != want {
			t.Errorf("errorType(%q): got %q, want %q", in, got, want)
		}
	}
}
