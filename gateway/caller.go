package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// maxFact is the length of a caller fact, in bytes.
const maxFact = 128

// identify finds out who calls. A refusal is told inside the SERVER span.
func (c *control) identify(r *http.Request) {
	c.credential = takeCredential(r)
	var from netip.Addr
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from = ap.Addr().Unmap()
	}
	c.caller.Loopback = from.IsLoopback()
	if c.snapshot.Callers == nil {
		return
	}
	access, err := c.snapshot.Callers.Identify(c.credential.key, from)
	if err != nil {
		c.refused = AsError(err)
		return
	}
	if c.access = access; access != nil {
		access.Describe(&c.caller)
	}
}

// admit counts the exchange against its caller's limits.
func (x *Exchange) admit() *Error {
	if x.access == nil {
		return nil
	}
	visit, err := x.access.Enter(x, x.cancel.revoke)
	if err != nil {
		return AsError(err)
	}
	x.visit = visit
	return nil
}

// leave ends what admit began.
func (x *Exchange) leave() {
	if x.visit == nil {
		return
	}
	tokens := int64(0)
	for _, a := range x.Attempts {
		tokens += a.Result.Usage.InputTokens() + a.Result.Usage.OutputTokens()
	}
	x.visit.Leave(tokens)
}

// narrow keeps the targets that the caller may use.
func (x *Exchange) narrow() *Error {
	if x.access == nil || len(x.Route.Targets) == 0 {
		return nil
	}
	allowed := x.Route.Targets
	if i := slices.IndexFunc(allowed, x.denied); i >= 0 {
		allowed = slices.DeleteFunc(slices.Clone(allowed), x.denied) // a copy: the list is the router's
	}
	if len(allowed) == 0 {
		return &Error{Type: names.ErrorPermissionError, Origin: names.ErrorOriginPolicy, Reason: names.RejectionAuth, Status: http.StatusForbidden, NoRetry: true,
			Message: "this key may not use " + x.wanted() + "; ask for a model that it may use, or for a key that may use this one"}
	}
	x.Route.Targets = allowed
	return nil
}

// wanted is what the exchange would have been answered by, in words.
func (x *Exchange) wanted() string {
	t := x.Route.Targets[0]
	if model := x.effective(t); model != "" {
		return fmt.Sprintf("model %q (label %q)", clip(model), x.Route.Label)
	}
	return fmt.Sprintf("provider %q's paths", t.Provider.Name)
}

func (x *Exchange) denied(t Target) bool { return x.access != nil && !x.access.Allows(x, t) }

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
