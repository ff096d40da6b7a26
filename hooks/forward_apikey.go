package hooks

import (
	"context"

	"github.com/ccproxy/ccproxy/gateway"
)

// forwardAPIKey marks that the client's own API key goes to the provider its path implies. The engine attaches it
// (gateway.Snapshot.ForwardAPIKey).
type forwardAPIKey struct{}

func newForwardAPIKey(params Params) (gateway.Hook, error) {
	return forwardAPIKey{}, decode(params, &struct{}{})
}

// Name implements gateway.Hook.
func (forwardAPIKey) Name() string { return "forward_apikey" }

// Begin implements gateway.Hook.
func (forwardAPIKey) Begin(context.Context, *gateway.Exchange) (gateway.Phases, error) {
	return gateway.Phases{}, nil
}
