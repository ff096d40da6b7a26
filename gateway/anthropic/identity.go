package anthropic

import (
	"net/http"
	"strings"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

// identity reads who asks and in which session: Claude Code's header first, then metadata.user_id.
func (d *decoder) identity(h http.Header, metadata jsonscan.Span) {
	var v [1]jsonscan.Span
	d.pick("metadata.", metadata, userIDKey, v[:])
	if id, ok := jsonscan.String(d.body, v[0]); ok {
		d.userID(id)
	}
	if s := h["X-Claude-Code-Session-Id"]; len(s) > 0 && known(s[0]) != "" {
		d.call.Session = s[0]
	}
}

// userID reads metadata.user_id, which Claude Code fills with more than a user: a JSON object, or in older versions
// user_<hash>_account_<uuid>_session_<uuid>. What others send is taken as it is.
func (d *decoder) userID(id string) {
	c := &d.call
	if strings.HasPrefix(id, "{") {
		doc := []byte(id)
		field := func(key string) string {
			s, _ := jsonscan.String(doc, jsonscan.Get(doc, jsonscan.Root(doc), key))
			return known(s)
		}
		c.User, c.Account, c.Session = field("device_id"), field("account_uuid"), field("session_id")
		return
	}
	before, session, ok := strings.Cut(id, "_session_")
	user, account, of := strings.Cut(before, "_account_")
	if !ok || !of || !strings.HasPrefix(user, "user_") {
		c.User = known(id)
		return
	}
	c.User, c.Account, c.Session = known(user[len("user_"):]), known(account), known(session)
}

// known returns id if it has the form of an id and at most maxID bytes, else "".
func known(id string) string {
	if len(id) > maxID || !identifier(id) {
		return ""
	}
	return id
}

// identifier reports whether s is made of letters, digits and the signs that ids and mail addresses use: nothing that could
// end a header, a label or a log line.
func identifier[T string | []byte](s T) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("-_.:@+|/=~", c) >= 0:
		default:
			return false
		}
	}
	return true
}
