package route

import (
	"context"
	"fmt"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
)

func benchLabel(b *testing.B, rules []Rule) {
	r := mustRouter(b, Config{Rules: rules, Tokens: fixed{n: 1000}})
	x := everything()
	for i := range 40 {
		x.Call.Tools = append(x.Call.Tools, fmt.Sprintf("mcp__server__tool_%d", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Label(context.Background(), x); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExpression(b *testing.B) {
	benchLabel(b, []Rule{{Name: "r", When: "call.model.startsWith('gpt') && caller.team == 'research'"}})
}

func BenchmarkExpressionOnHeader(b *testing.B) {
	benchLabel(b, []Rule{{Name: "r", When: "call.tool_count > 20 && headers['x-app'] == 'cli'"}})
}

func BenchmarkFourRules(b *testing.B) {
	benchLabel(b, []Rule{
		{Name: "t", Kind: KindTokenCount, Params: Params{Threshold: gateway.Some[int64](60_000)}},
		{Name: "w", Kind: KindMatchTool, Params: Params{ToolName: gateway.Some("NoSuchTool")}},
		{Name: "m", Kind: KindMatchModel, Params: Params{ModelName: gateway.Some("haiku")}},
	})
}

// A hundred rules none of which matches: the cost a request may not feel.
func BenchmarkHundredRules(b *testing.B) {
	var rules []Rule
	for i := range 34 {
		rules = append(rules,
			Rule{Name: fmt.Sprintf("t%d", i), Kind: KindTokenCount, Params: Params{Threshold: gateway.Some(int64(10_000 * (i + 1)))}},
			Rule{Name: fmt.Sprintf("w%d", i), Kind: KindMatchTool, Params: Params{ToolName: gateway.Some(fmt.Sprintf("absent_%d", i))}},
			Rule{Name: fmt.Sprintf("m%d", i), Kind: KindMatchModel, Params: Params{ModelName: gateway.Some(fmt.Sprintf("model-%d", i))}})
	}
	benchLabel(b, rules[:100])
}

func BenchmarkHundredExpressions(b *testing.B) {
	var rules []Rule
	for i := range 100 {
		rules = append(rules, Rule{Name: fmt.Sprintf("r%d", i), When: fmt.Sprintf("call.model == 'm%d' && call.stream", i)})
	}
	benchLabel(b, rules)
}

func BenchmarkRoute(b *testing.B) {
	r := mustRouter(b, Config{Models: map[string]Model{
		"ordered":  {Targets: targets("anthropic/a", "mirror/a"), Fallbacks: []string{"mirror/b"}},
		"weighted": {Targets: []WeightedTarget{{"anthropic/a", 1}, {"mirror/a", 1}}},
	}, DefaultPassthrough: true})
	for _, model := range []string{"ordered", "weighted", "claude-sonnet-4-5-20250929"} {
		b.Run(model, func(b *testing.B) {
			x := exchange(messages, gateway.Call{Model: model})
			x.Route.Label = DefaultLabel
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Route(context.Background(), x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
