package hooks

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzVerdictIsNeverHalfUnderstood(f *testing.F) {
	for _, s := range []string{
		`{"action":"continue"}`, `{"action":"block","status":403,"message":"no","type":"content_filter"}`, `null`,
		`{"action":"modify","body":{"a":1},"headers":{"x-a":"b"},"response_headers":{},"label":"l","model":"m"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		v, err := parseVerdict(doc)
		if err != nil {
			if v.action != "" {
				t.Fatalf("got %+v with the error %v", v, err)
			}
			return
		}
		switch v.action {
		case actionContinue, actionModify:
		case actionBlock:
			e := v.refusal()
			if e.Status < 400 || e.Status > 499 || e.Message == "" || len(e.Message) > maxMessage || !utf8.ValidString(e.Message) || strings.Contains(e.Message, "\n") {
				t.Fatalf("got %+v", e)
			}
		default:
			t.Fatalf("got the action %q", v.action)
		}
		if v.body != nil && !json.Valid(v.body) {
			t.Fatalf("got the body %q", v.body)
		}
		for name, value := range v.headers {
			if checkRequestHeader(name) != nil || strings.ContainsAny(value, "\r\n") {
				t.Fatalf("got the header %q: %q", name, value)
			}
		}
	})
}

func FuzzTokenFitsAHeader(f *testing.F) {
	for _, s := range []string{"tok", "Bearer tok\nmore", `{"accessToken":"t","expiresAt":1}`, "a.eyJleHAiOjF9.c", `{"claudeAiOauth":{"accessToken":"t"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		tok, err := parseToken(out)
		if err != nil {
			if len(out) > 60 && strings.Contains(err.Error(), string(out)) {
				t.Fatalf("got the output in the error %v", err)
			}
			return
		}
		v := tok.Value.Reveal()
		if v == "" || len(v) > maxToken || strings.ContainsAny(v, " \r\n\x00") || !printable(v) {
			t.Fatalf("got the token %q", v)
		}
	})
}

func FuzzCaptureShowsNoCredential(f *testing.F) {
	f.Add("authorization", "Bearer sk-ant-AAAABBBBCCCCDDDDEEEE")
	f.Add("x-api-key", "short")
	f.Add("accept", "text/\xff")
	f.Fuzz(func(t *testing.T, name, value string) {
		name = strings.ToLower(name)
		got := capture(name, value)
		if len(got) > 3*maxCaptured || !utf8.ValidString(got) {
			t.Fatalf("got %q", got)
		}
		const scheme = len("Bearer ")
		if isCredential(name) && len(got) > scheme+len("sk-12345678-")+len(redacted) {
			t.Fatalf("got %d bytes of a credential: %q", len(got), got)
		}
	})
}
