package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
)

// maxFact is the length of a caller fact, in bytes.
const maxFact = 128

// readCaller fills in what the request says of who asks.
func (x *Exchange) readCaller() {
	c := &x.Caller
	c.User, c.Account = x.Call.User, x.Call.Account
	if c.Session = x.Call.Session; c.Session == "" {
		c.Session = headerSession(x.Request.Header.Get)
	}
	c.Tags = parseTags(x.Request.Header.Get("X-Ccproxy-Tags"))
}

// headerSession finds a session id in the headers clients send it in
// (Claude Code; Codex and opencode; any).
func headerSession(get func(string) string) string {
	for _, h := range [...]string{"X-Claude-Code-Session-Id", "Session-Id", "X-Session-Id"} {
		if v := get(h); v != "" && len(v) <= maxFact && printable(v) {
			return v
		}
	}
	return ""
}

// parseTags reads "a=b,c": at most 16 tags of 128 characters; what does not
// fit is left out.
func parseTags(v string) map[string]string {
	if v == "" {
		return nil
	}
	tags := map[string]string{}
	for part := range strings.SplitSeq(v, ",") {
		k, val, _ := strings.Cut(strings.TrimSpace(part), "=")
		if k == "" || len(k) > maxFact || len(val) > maxFact || !printable(k) || !printable(val) || len(tags) == 16 {
			continue
		}
		tags[k] = val
	}
	return tags
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// UserID is the end user's id as the policy lets telemetry see it; "": not at
// all, or none is known.
func (g *Gateway) UserID(x *Exchange) string {
	if x.Caller.User == "" {
		return ""
	}
	switch x.Snapshot.UserID {
	case UserIDNone:
		return ""
	case UserIDPlain:
		return x.Caller.User
	}
	m := hmac.New(sha256.New, g.userKey)
	m.Write([]byte(x.Caller.User))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

func randomKey() []byte {
	k := make([]byte, 32)
	rand.Read(k)
	return k
}

// isLoopback reports whether a connection comes from this machine.
func isLoopback(addr string) bool {
	ap, err := netip.ParseAddrPort(addr)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
