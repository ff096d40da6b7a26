package main

import (
	"context"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/hooks"
)

// greeter puts a greeting on each answer.
type greeter struct{ text string }

func newGreeter(params hooks.Params) (gateway.Hook, error) {
	p := struct {
		Text string `yaml:"text"`
	}{"hello"}
	if params != nil {
		if err := params.Decode(&p); err != nil {
			return nil, err
		}
	}
	return greeter{p.Text}, nil
}

// Name implements gateway.Hook.
func (greeter) Name() string { return "greeter" }

// Begin implements gateway.Hook.
func (g greeter) Begin(_ context.Context, x *gateway.Exchange) (gateway.Phases, error) {
	x.SetResponseHeader("X-Greeting", g.text)
	return gateway.Phases{}, nil
}
