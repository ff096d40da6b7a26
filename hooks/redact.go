package hooks

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// redacted stands for a value of which nothing may be seen.
const redacted = "[REDACTED]"

// maxCaptured is how much of a header value is kept, in bytes.
const maxCaptured = 200

// credentialWords mark the headers that carry credentials.
var credentialWords = []string{"token", "secret", "key", "auth", "cookie", "passw", "credential", "signature", "jwt"}

// credentialShape finds credentials where no header's name tells of them: schemes, the prefixes of vendors' keys, JSON web
// tokens, parameters and user information of URLs.
var credentialShape = regexp.MustCompile(`(?i)\b(?:bearer|basic) +\S|\bsk-[a-z0-9]|\bccp_|\bAIza|\bya29\.|\bgh[pousr]_|\bxox[a-z]-|\bAKIA|eyJ[\w-]{8,}\.|[?&;](?:key|sig|\w*token|\w*secret|api_?key)=|://[^/\s@]+@`)

// isCredential reports whether the header of that lower-case name carries a credential. Rate limits of tokens do not.
func isCredential(lower string) bool {
	if strings.Contains(lower, "ratelimit") {
		return false
	}
	for _, w := range credentialWords {
		if strings.Contains(lower, w) {
			return true
		}
	}
	return false
}

// capture returns a header's value as telemetry may see it: credentials masked, at most maxCaptured bytes, valid UTF-8.
func capture(lower, value string) string {
	switch {
	case strings.Contains(lower, "cookie"):
		return redacted
	case isCredential(lower):
		return mask(value)
	case credentialShape.MatchString(value):
		return redacted
	}
	return cut(value)
}

// cut shortens value to maxCaptured bytes of valid UTF-8.
func cut(value string) string {
	if len(value) > maxCaptured {
		end := maxCaptured
		for end > maxCaptured-utf8.UTFMax && !utf8.RuneStart(value[end]) {
			end--
		}
		value = value[:end]
	}
	return strings.ToValidUTF8(value, "\uFFFD")
}

// mask leaves of a credential what tells it from another: scheme, public prefix, and the last four characters when they
// are a small part of it.
func mask(value string) string {
	scheme, secret, ok := strings.Cut(strings.TrimSpace(value), " ")
	switch {
	case !ok:
		scheme, secret = "", strings.TrimSpace(value)
	case strings.EqualFold(scheme, "bearer"):
		scheme += " "
	default:
		// Basic hides a password behind an encoding, Digest and others have fields.
		return redacted
	}
	if len(secret) < 20 || !printable(secret) || strings.ContainsAny(secret, " ,=") {
		return scheme + redacted
	}
	return scheme + publicPrefix(secret) + "..." + secret[len(secret)-4:]
}

// publicPrefix is the part of a key that says whose and of what kind it is: "sk-ant-" of "sk-ant-oat01-…".
func publicPrefix(secret string) string {
	if strings.HasPrefix(secret, "ccp_") {
		return "ccp_"
	}
	rest, ok := strings.CutPrefix(secret, "sk-")
	if !ok {
		return ""
	}
	word, _, ok := strings.Cut(rest, "-")
	if !ok || len(word) == 0 || len(word) > 8 || strings.ContainsFunc(word, func(r rune) bool { return r < 'a' || r > 'z' }) {
		return "sk-"
	}
	return "sk-" + word + "-"
}
