package telemetry

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	maxErrorMessage = 500      // bytes of an error's text in a log event
	maxScrubbed     = 16 << 10 // bytes of it that are looked at
)

// clean returns s as it may stand in a log: valid UTF-8, what could move a terminal's cursor or forge a line escaped, at
// most limit bytes. Most strings come back as they are.
func clean(s string, limit int) string {
	if len(s) <= limit && printable(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		at := b.Len()
		switch {
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				r = '\uFFFD'
			}
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			escape(&b, r)
		}
		if b.Len() > limit {
			return b.String()[:at]
		}
	}
	return b.String()
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// escape writes r as Go and JSON would.
func escape(b *strings.Builder, r rune) {
	const digits = "0123456789abcdef"
	switch r {
	case '\n':
		b.WriteString(`\n`)
		return
	case '\r':
		b.WriteString(`\r`)
		return
	case '\t':
		b.WriteString(`\t`)
		return
	}
	width := 12
	b.WriteString(`\u`)
	if r > 0xFFFF {
		width = 20
		b.WriteString(`{`)
	}
	for shift := width; shift >= 0; shift -= 4 {
		b.WriteByte(digits[r>>shift&0xF])
	}
	if r > 0xFFFF {
		b.WriteByte('}')
	}
}

// secretShapes match what looks like a credential, wherever an error repeats one: prefixes of the vendors' keys, header
// and query forms, JSON web tokens, user info in URLs. Providers mask the middle of a key they echo, so * counts.
var secretShapes = []struct {
	shape *regexp.Regexp
	with  string
}{
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~*-]{4,}`), "$1 ***"},
	{regexp.MustCompile(`(?i)\b((?:x-)?(?:goog-)?(?:api|access|auth|secret)[-_]?(?:key|token)|key|token|password|passwd|secret|authorization)(["']?\s*[=:]\s*["']?)[^\s"'&,;]{4,}`), "$1$2***"},
	{regexp.MustCompile(`\b(?:sk|pk|rk|ccp|gsk|xai|hf|ghp|gho|ghs|github_pat|pplx|r8|AKIA|ASIA|AIza|ya29)[-_.A-Za-z0-9*]{8,}`), "***"},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?`), "***"},
	{regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@]+@`), "$1***@"},
}

// scrubbed returns an error's text as telemetry may have it: without what looks like a secret, cleaned, at most 500
// bytes.
func scrubbed(s string) string {
	if len(s) > maxScrubbed {
		s = s[:maxScrubbed]
	}
	for _, secret := range secretShapes {
		s = secret.shape.ReplaceAllString(s, secret.with)
	}
	return clean(s, maxErrorMessage)
}

// exceptionText is the constant text of the exception event for an error type: an error's own may repeat the prompt.
func exceptionText(errType string) string {
	switch errType {
	case names.ErrorRateLimitExceeded, names.ErrorOverloadedError, names.ErrorOverload:
		return "the provider has too much to do"
	case names.ErrorInsufficientQuota:
		return "the account at the provider has no credit left"
	case names.ErrorInvalidRequestError, names.ErrorNotFoundError, names.ErrorContextLengthExceeded, names.ErrorContentFilter:
		return "the provider refused the request"
	case names.ErrorAuthenticationError, names.ErrorPermissionError, names.ErrorUnauthorized, names.ErrorUpstreamAuthFailed:
		return "the provider refused the credential"
	case names.ErrorTimeout, names.ErrorIdleTimeout:
		return "the provider took too long"
	case names.ErrorConnectError, names.ErrorTLSError, names.ErrorDNSError:
		return "the provider could not be reached"
	case names.ErrorStreamTruncated, names.ErrorResponseDecodeError, names.ErrorResponseTooLarge:
		return "the provider's answer was unusable"
	case names.ErrorServerError:
		return "the provider failed"
	}
	return "the attempt failed"
}
