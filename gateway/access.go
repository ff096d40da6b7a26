package gateway

import (
	"net/http"
	"net/netip"
)

// Callers knows who may call. Implementations are safe for concurrent use.
type Callers interface {
	// Identify returns what the holder of a gateway key may do; key "" is a
	// caller without one. A nil Access and no error: anyone may do anything. The
	// error is an *Error with reason auth, or rate_limit after too many failures
	// from one address.
	Identify(key Secret, from netip.Addr) (Access, error)
}

// Access is what one caller may do. Implementations are safe for concurrent use
// and stay valid while the configuration changes.
type Access interface {
	// Describe fills in the key's id, alias and team.
	Describe(c *Caller)
	// TrustIncoming reports whether the caller's traceparent is a parent.
	TrustIncoming() bool
	// Allows reports whether the caller may have x answered by t, whose model is
	// the one that is sent.
	Allows(x *Exchange, t Target) bool
	// Sees reports whether a model list shows the caller a model or label.
	Sees(model string) bool
	// Enter counts x against the caller's limits, or refuses it with an *Error of
	// reason rate_limit. The visit must end with Leave. stop is called, from any
	// goroutine and at most once, when the caller's running exchanges are to end.
	Enter(x *Exchange, stop func()) (Visit, error)
}

// Visit is one exchange of a caller that is counted.
type Visit interface {
	// Header puts what is left of the caller's limits on h, in the names that the
	// dialect's clients know.
	Header(h http.Header, family string)
	// Leave ends the visit. tokens is what the exchange used in all.
	Leave(tokens int64)
}
