package hooks

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
)

// Constructor makes a hook of its parameters; nil means that none were given. What is wrong with them is an error that
// names the key.
type Constructor func(params Params) (gateway.Hook, error)

// Builtin are the constructors of the built-in hooks by short name. Read-only.
var Builtin = map[string]Constructor{
	"rule_evaluator":     newRuleEvaluator,
	"model_router":       newModelRouter,
	"forward_oauth":      newForwardOAuth,
	"forward_apikey":     newForwardAPIKey,
	"extract_session_id": newExtractSessionID,
	"capture_headers":    newCaptureHeaders,
	"request_analyzer":   newRequestAnalyzer,
	"response_enhancer":  newResponseEnhancer,
	"webhook":            newWebhook,
}

// originalPrefix is how the original's configuration addresses its hooks.
const originalPrefix = "ccproxy.hooks."

// ShortName returns the name of a hook as used here, whether it was written "rule_evaluator" or
// "ccproxy.hooks.rule_evaluator".
func ShortName(name string) string { return strings.TrimPrefix(name, originalPrefix) }

// New makes the built-in hook of that name, short or as the original writes it.
func New(name string, params Params) (gateway.Hook, error) {
	short := ShortName(name)
	build, ok := Builtin[short]
	if !ok {
		return nil, fmt.Errorf("there is no hook %q%s", name, suggest(short, Names()))
	}
	h, err := build(params)
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", short, err)
	}
	return h, nil
}

// Names returns the short names of the built-in hooks, sorted.
func Names() []string { return slices.Sorted(maps.Keys(Builtin)) }

// Default returns the hooks that run when configuration lists none, in order.
func Default() []string {
	return []string{"rule_evaluator", "model_router", "forward_oauth", "request_analyzer", "response_enhancer"}
}

// Configure returns h with the policy it has unless configuration says otherwise: what decides or guards denies when it
// breaks, what only observes lets pass; a hook that only computes has no timeout.
func Configure(h gateway.Hook) gateway.ConfiguredHook {
	c := gateway.ConfiguredHook{Hook: h}
	switch h := h.(type) {
	case ruleEvaluator, modelRouter:
		c.Deny = true
	case *Webhook:
		c.Deny, c.Timeout, c.CallsOut = h.guards(), h.timeout, true
	}
	return c
}
