package hooks

import (
	"context"

	"github.com/ccproxy/ccproxy/gateway"
)

// ruleEvaluator labels the exchange by the rules at its place in the list.
type ruleEvaluator struct{}

func newRuleEvaluator(params Params) (gateway.Hook, error) {
	return ruleEvaluator{}, decode(params, &struct{}{})
}

// Name implements gateway.Hook.
func (ruleEvaluator) Name() string { return "rule_evaluator" }

// Begin implements gateway.Hook.
func (ruleEvaluator) Begin(ctx context.Context, x *gateway.Exchange) (gateway.Phases, error) {
	return gateway.Phases{}, x.Label(ctx)
}
