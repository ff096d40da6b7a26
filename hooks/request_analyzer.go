package hooks

import (
	"context"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
)

// requestAnalyzer estimates the tokens of the prompt, in microseconds. The engine puts the estimate on the pre_call span,
// beside what it knows of messages, tools and thinking from decoding.
type requestAnalyzer struct{}

func newRequestAnalyzer(params Params) (gateway.Hook, error) {
	return requestAnalyzer{}, decode(params, &struct{}{})
}

// Name implements gateway.Hook.
func (requestAnalyzer) Name() string { return "request_analyzer" }

// Begin implements gateway.Hook.
func (requestAnalyzer) Begin(_ context.Context, x *gateway.Exchange) (gateway.Phases, error) {
	// A rule that counted did so at least as well.
	if x.InputTokens == 0 && len(x.Body) > 0 {
		x.InputTokens = tokens.Estimate(x.Body, jsonscan.Root(x.Body), tokens.All).Tokens
	}
	return gateway.Phases{}, nil
}
