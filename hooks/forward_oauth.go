package hooks

import (
	"context"
	"fmt"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
)

// forwardOAuth marks that the client's own bearer token goes to the provider its path implies. The engine attaches it
// (gateway.Snapshot.ForwardOAuth); the hook adds the User-Agent configuration asks for.
type forwardOAuth struct{ userAgent string }

func newForwardOAuth(params Params) (gateway.Hook, error) {
	var p struct {
		UserAgent string `yaml:"user_agent"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	if err := checkHeaderValue(p.UserAgent); err != nil {
		return nil, fmt.Errorf("parameter user_agent: %w", err)
	}
	return forwardOAuth{p.UserAgent}, nil
}

// Name implements gateway.Hook.
func (forwardOAuth) Name() string { return "forward_oauth" }

// Begin implements gateway.Hook.
func (h forwardOAuth) Begin(_ context.Context, x *gateway.Exchange) (gateway.Phases, error) {
	if h.userAgent == "" || !x.Snapshot.ForwardOAuth || !ownBearer(x) {
		return gateway.Phases{}, nil
	}
	return gateway.Phases{Attempt: func(_ context.Context, a *gateway.Attempt) error {
		// The token, and with it the name it is used under, goes nowhere else.
		if a.Target.Provider == x.Snapshot.Router.Implied(x.Dialect) {
			setHeader(a, "User-Agent", h.userAgent)
		}
		return nil
	}}, nil
}

// ownBearer reports whether the client sent a bearer token that is no key of this gateway's.
func ownBearer(x *gateway.Exchange) bool {
	scheme, token, ok := strings.Cut(x.Request.Header.Get("Authorization"), " ")
	return ok && strings.EqualFold(scheme, "bearer") && token != "" && !strings.HasPrefix(token, "ccp_")
}
