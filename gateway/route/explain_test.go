package route

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
)

func TestExplainShowsEveryRuleAndTarget(t *testing.T) {
	r := mustRouter(t, Config{
		Rules: []Rule{
			{Name: "think", Kind: KindThinking},
			{Name: "broken", When: "call.tools[9] == ''"},
			{Name: "token_count", Kind: KindTokenCount, Params: Params{Threshold: gateway.Some[int64](60_000)}},
			{Name: "web_search", Kind: KindMatchTool, Params: Params{ToolName: gateway.Some("websearch")}},
			{Name: "background", Kind: KindMatchModel, Params: Params{ModelName: gateway.Some("haiku")}},
			{Name: "team", When: "caller.team == 'x'"},
		},
		Models: map[string]Model{"token_count": {
			Targets:   []WeightedTarget{{"anthropic/claude-sonnet-5", 3}, {"mirror/claude-sonnet-5", 1}, {"local/qwen", 4}},
			Fallbacks: []string{"anthropic/claude-opus-4-8", "openai/gpt-5.5"},
		}},
		Tokens: fixed{n: 61_204},
		OnRuleError: func(_ context.Context, _ *gateway.Exchange, err error) {
			t.Errorf("a dry run reported %v", err)
		},
	})
	x := exchange(messages, gateway.Call{Model: "claude-opus-4-8", Tools: []string{"Read", "WebSearch"}, ToolCount: 2})
	e := r.Explain(context.Background(), x)
	want := `request  anthropic.messages, model "claude-opus-4-8"
rules    - think (thinking): no thinking is asked for
         ! broken (when): could not be evaluated: index out of bounds: 9
         → token_count (token_count): 61,204 tokens (estimate) > 60,000
         + web_search (match_tool): the tool "WebSearch" is on offer, but an earlier rule matched
         - background (match_model): model "claude-opus-4-8" does not contain "haiku"
         - team (when): caller.team == 'x' is false
label    token_count (rule token_count)
reason   rule
target   1. anthropic/claude-sonnet-5, sent as "claude-sonnet-5", first for 75%
target   2. mirror/claude-sonnet-5, sent as "claude-sonnet-5", first for 25%
then     on any: anthropic/claude-opus-4-8
skipped  target local/qwen: dialect (it speaks openai)
skipped  fallback openai/gpt-5.5: dialect (it speaks openai)
`
	if diff := cmp.Diff(want, e.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	if x.Route.Label != "" || x.InputTokens != 0 || r.RuleErrors() != 0 {
		t.Errorf("the dry run changed the exchange or the counter: %+v, %d", x.Route, x.InputTokens)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back Explanation
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, back); diff != "" {
		t.Errorf("JSON loses something (-want +got):\n%s", diff)
	}
}

func TestExplainAgreesWithRoute(t *testing.T) {
	cfg := Config{
		Rules:              []Rule{{Name: "lost", Kind: KindThinking}, {Name: "only_claude", When: "call.stream"}},
		Models:             map[string]Model{"only_claude": {Targets: targets("anthropic/claude-sonnet-5")}},
		DefaultPassthrough: true,
	}
	r := mustRouter(t, cfg)
	for _, tc := range []struct {
		d    gateway.Dialect
		call gateway.Call
		say  string
	}{
		{messages, gateway.Call{Model: "m"}, "no rule matched"},
		{messages, gateway.Call{Model: "m", ThinkingKey: true}, `note     neither label "lost" nor "default"`},
		{messages, gateway.Call{Model: "m", Stream: true}, "anthropic/claude-sonnet-5"},
		{chat, gateway.Call{Model: "m", Stream: true}, "refused  "},
		{generate, gateway.Call{Model: "m"}, "refused  no provider is configured"},
	} {
		x := exchange(tc.d, tc.call)
		e := r.Explain(context.Background(), x)
		err := routed(t, r, x)
		if (err != nil) != (e.Error != "") || e.Label != x.Route.Label || e.Reason != x.Route.Reason || e.Passthrough != x.Route.Passthrough || len(e.Targets) != len(x.Route.Targets) {
			t.Errorf("explanation %+v, route %+v, %v", e, x.Route, err)
		}
		if !strings.Contains(e.String(), tc.say) {
			t.Errorf("got:\n%s\nwant %q", e, tc.say)
		}
	}
}
