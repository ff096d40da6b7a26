package hooks

import (
	"context"

	"github.com/ccproxy/ccproxy/gateway"
)

// modelRouter chooses the targets at its place in the list.
type modelRouter struct{}

func newModelRouter(params Params) (gateway.Hook, error) {
	return modelRouter{}, decode(params, &struct{}{})
}

// Name implements gateway.Hook.
func (modelRouter) Name() string { return "model_router" }

// Begin implements gateway.Hook.
func (modelRouter) Begin(ctx context.Context, x *gateway.Exchange) (gateway.Phases, error) {
	return gateway.Phases{}, x.Decide(ctx)
}
