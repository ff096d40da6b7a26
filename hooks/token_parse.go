package hooks

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

// maxToken is the longest token, in bytes: more does not fit in a header.
const maxToken = 16 << 10

// token is a token and its end, zero when it does not name one. The fields are exported because fmt masks no others.
type token struct {
	Value   gateway.Secret
	Expires time.Time
}

var errNoToken = errors.New("it returned no token")

// parseToken reads what a source returned: the token on the first line, with or without "Bearer ", or a JSON object.
// Claude Code's own file, where the object stands under claudeAiOauth, is understood. No error repeats the text.
func parseToken(out []byte) (token, error) {
	out = bytes.TrimSpace(out)
	if len(out) > 0 && out[0] == '{' {
		return parseTokenJSON(out)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return newToken(string(line), time.Time{})
}

func parseTokenJSON(doc []byte) (token, error) {
	if jsonscan.Validate(doc, jsonscan.Limits{}) != nil {
		return token{}, errors.New("it returned what begins like JSON and is none")
	}
	root := jsonscan.Root(doc)
	if inner := jsonscan.Get(doc, root, "claudeAiOauth"); inner.Exists() {
		root = inner
	}
	member := func(names ...string) jsonscan.Span {
		for _, n := range names {
			if s := jsonscan.Get(doc, root, n); s.Exists() && !jsonscan.IsNull(doc, s) {
				return s
			}
		}
		return jsonscan.Span{}
	}
	value, _ := jsonscan.String(doc, member("accessToken", "access_token"))
	end := time.Time{}
	if s := member("expiresAt", "expires_at"); s.Exists() {
		var ok bool
		if end, ok = parseEnd(doc, s); !ok {
			return token{}, errors.New("the end of the token it returned is no time")
		}
	}
	return newToken(value, end)
}

// parseEnd reads a time: seconds or milliseconds since 1970, as a number or a text, or RFC 3339.
func parseEnd(doc []byte, s jsonscan.Span) (time.Time, bool) {
	n, ok := jsonscan.Float(doc, s)
	if text, isText := jsonscan.String(doc, s); isText {
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			return t, true
		}
		var err error
		n, err = strconv.ParseFloat(text, 64)
		ok = err == nil
	}
	if !ok {
		return time.Time{}, false
	}
	return unixTime(n)
}

// unixTime reads seconds or, from the year 5138 on, milliseconds since 1970.
func unixTime(n float64) (time.Time, bool) {
	if n >= 1e11 {
		n /= 1000
	}
	if math.IsNaN(n) || n <= 0 || n >= 1e11 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(n * 1000)), true
}

// newToken checks a token. A JSON web token names its end itself.
func newToken(value string, end time.Time) (token, error) {
	value = strings.TrimSpace(value)
	if scheme, rest, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "bearer") {
		value = strings.TrimSpace(rest)
	}
	switch {
	case value == "" || value == "null": // jq -r prints null for what is not there
		return token{}, errNoToken
	case len(value) > maxToken || !printable(value) || strings.Contains(value, " "):
		return token{}, errors.New("it returned what is no token")
	}
	if end.IsZero() {
		end = jwtEnd(value)
	}
	return token{gateway.Secret(value), end}, nil
}

// jwtEnd returns the exp of a JSON web token (RFC 7519, 4.1.4), or zero.
func jwtEnd(value string) time.Time {
	parts := strings.Split(value, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || jsonscan.Validate(claims, jsonscan.Limits{}) != nil {
		return time.Time{}
	}
	n, ok := jsonscan.Float(claims, jsonscan.Get(claims, jsonscan.Root(claims), "exp"))
	if !ok {
		return time.Time{}
	}
	end, _ := unixTime(n)
	return end
}
