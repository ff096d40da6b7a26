package route

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
)

func TestPredicates(t *testing.T) {
	model := func(s string) Params { return Params{ModelName: gateway.Some(s)} }
	tool := func(s string) Params { return Params{ToolName: gateway.Some(s)} }
	over := func(n int64, count string) Params { return Params{Threshold: gateway.Some(n), Count: count} }
	count := fixed{n: 60_000, m: 500}
	for _, tc := range []struct {
		name   string
		kind   string
		params Params
		call   gateway.Call
		want   bool
	}{
		{"thinking enabled", KindThinking, Params{}, gateway.Call{ThinkingKey: true, Thinking: true}, true},
		{"thinking null or disabled", KindThinking, Params{}, gateway.Call{ThinkingKey: true}, true},
		{"reasoning without a thinking key", KindThinking, Params{}, gateway.Call{Thinking: true, ReasoningLevel: "high"}, true},
		{"no thinking", KindThinking, Params{}, gateway.Call{}, false},
		{"the original's class", "ccproxy.rules.ThinkingRule", Params{}, gateway.Call{ThinkingKey: true}, true},

		{"substring of the model", KindMatchModel, model("haiku"), gateway.Call{Model: "claude-haiku-4-5"}, true},
		{"case counts", KindMatchModel, model("Haiku"), gateway.Call{Model: "claude-haiku-4-5"}, false},
		{"empty matches everything", KindMatchModel, model(""), gateway.Call{Model: "m"}, true},
		{"empty matches even no model", "MatchModelRule", model(""), gateway.Call{}, true},
		{"longer than the model", KindMatchModel, model("claude-haiku-4-5-x"), gateway.Call{Model: "claude-haiku-4-5"}, false},

		{"count above", KindTokenCount, over(59_999, ""), gateway.Call{}, true},
		{"count equal is not above", KindTokenCount, over(60_000, ""), gateway.Call{}, false},
		{"count below", "ccproxy.rules.TokenCountRule", over(60_001, CountAll), gateway.Call{}, false},
		{"messages only", KindTokenCount, over(500, CountMessages), gateway.Call{}, false},
		{"messages above", KindTokenCount, over(499, CountMessages), gateway.Call{}, true},

		{"tool on offer", KindMatchTool, tool("WebSearch"), gateway.Call{Tools: []string{"Read", "WebSearch"}}, true},
		{"case does not count", KindMatchTool, tool("websearch"), gateway.Call{Tools: []string{"WebSearch"}}, true},
		{"substring of a tool", "ccproxy.rules.MatchToolRule", tool("SEARCH"), gateway.Call{Tools: []string{"mcp__web_search"}}, true},
		{"no match across two tools", KindMatchTool, tool("readweb"), gateway.Call{Tools: []string{"Read", "WebSearch"}}, false},
		{"empty matches any tool", KindMatchTool, tool(""), gateway.Call{Tools: []string{"x"}}, true},
		{"empty needs a tool", KindMatchTool, tool(""), gateway.Call{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := mustRouter(t, Config{Rules: []Rule{{Name: "hit", Kind: tc.kind, Params: tc.params}}, Tokens: count})
			x := exchange(messages, tc.call)
			if err := r.Label(context.Background(), x); err != nil {
				t.Fatal(err)
			}
			if got := x.Route.Rule == "hit"; got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			want := "default"
			if tc.want {
				want = "hit"
			}
			if x.Route.Label != want {
				t.Errorf("label: got %q, want %q", x.Route.Label, want)
			}
		})
	}
}

func TestFirstMatchWins(t *testing.T) {
	rules := []Rule{
		{Name: "think", Kind: KindThinking},
		{Name: "sonnet", Kind: KindMatchModel, Params: Params{ModelName: gateway.Some("sonnet")}},
		{Name: "any", Kind: KindMatchModel, Params: Params{ModelName: gateway.Some("")}, Target: Target{Latency: time.Second, Cost: 0.5}},
	}
	r := mustRouter(t, Config{Rules: rules})
	for _, tc := range []struct {
		call gateway.Call
		want string
	}{
		{gateway.Call{Model: "sonnet", ThinkingKey: true}, "think"},
		{gateway.Call{Model: "sonnet"}, "sonnet"},
		{gateway.Call{Model: "opus"}, "any"},
	} {
		x := exchange(messages, tc.call)
		if err := r.Label(context.Background(), x); err != nil {
			t.Fatal(err)
		}
		if x.Route.Label != tc.want || x.Route.Rule != tc.want {
			t.Errorf("got label %q rule %q, want %q", x.Route.Label, x.Route.Rule, tc.want)
		}
	}
	if got, want := r.Targets("any"), (Target{time.Second, 0.5}); got != want {
		t.Errorf("Targets: got %v, want %v", got, want)
	}
	if got := r.Targets("none"); got != (Target{}) {
		t.Errorf("Targets of no rule: got %v, want none", got)
	}
}

// counting counts how often it is asked.
type counting struct {
	fixed
	asked int
}

func (c *counting) Exceeds(doc []byte, root jsonscan.Span, threshold int64, model string, mode tokens.Mode) (bool, int64, string) {
	c.asked++
	return c.fixed.Exceeds(doc, root, threshold, model, mode)
}

func TestTokenCountWithTheRealCounter(t *testing.T) {
	words := strings.Repeat("word ", 2000)
	body := []byte(`{"model":"gpt-4o","system":"` + words + `","messages":[{"role":"user","content":"` + words + `"}],"num_tokens":9000}`)
	for _, tc := range []struct {
		name      string
		threshold int64
		count     string
		want      bool
	}{
		{"all of the prompt", 3500, CountAll, true},
		{"all of the prompt, whatever the request states", 8500, CountAll, false},
		{"as the original: what the request states counts", 8999, CountMessages, true},
		{"as the original: strictly more", 9000, CountMessages, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := mustRouter(t, Config{
				Rules:  []Rule{{Name: "hit", Kind: KindTokenCount, Params: Params{Threshold: gateway.Some(tc.threshold), Count: tc.count}}},
				Tokens: tokens.NewCounter(tokens.Options{}),
			})
			x := exchange(messages, gateway.Call{Model: "gpt-4o"})
			x.Body = body
			if err := r.Label(context.Background(), x); err != nil {
				t.Fatal(err)
			}
			if got := x.Route.Rule == "hit"; got != tc.want {
				t.Errorf("got %v, want %v (%s)", got, tc.want, r.Explain(context.Background(), x))
			}
		})
	}
}

func TestManyThresholdsNeedFewCounts(t *testing.T) {
	var rules []Rule
	for i := int64(100); i > 0; i-- {
		rules = append(rules, Rule{Name: "t" + grouped(i), Kind: KindTokenCount, Params: Params{Threshold: gateway.Some(i * 100_000)}})
	}
	c := &counting{fixed: fixed{n: 150_000}}
	r := mustRouter(t, Config{Rules: rules, Tokens: c})
	x := exchange(messages, gateway.Call{})
	if err := r.Label(context.Background(), x); err != nil {
		t.Fatal(err)
	}
	if x.Route.Label != "t1" {
		t.Errorf("label: got %q, want t1", x.Route.Label)
	}
	if x.InputTokens != 150_000 {
		t.Errorf("InputTokens: got %d, want 150000", x.InputTokens)
	}
	if c.asked > 5 {
		t.Errorf("counted %d times, want at most 5", c.asked)
	}
}

func TestRulesThatCannotBe(t *testing.T) {
	for _, tc := range []struct {
		name string
		rule Rule
		say  []string
	}{
		{"no name", Rule{Kind: KindThinking}, []string{"rule 1", "needs a name"}},
		{"name with a line break", Rule{Name: "a\nb", Kind: KindThinking}, []string{"printable"}},
		{"misspelt kind", Rule{Name: "a", Kind: "ccproxy.rules.ThinkngRule"}, []string{`rule 1 ("a")`, "ThinkngRule", `did you mean "ThinkingRule"`}},
		{"foreign kind", Rule{Name: "a", Kind: "my.module.Special"}, []string{"my.module.Special", "when:"}},
		{"abstract kind", Rule{Name: "a", Kind: "ccproxy.rules.DefaultRule"}, []string{"default_model_passthrough"}},
		{"no kind", Rule{Name: "a"}, []string{"unknown rule"}},
		{"missing parameter", Rule{Name: "a", Kind: KindMatchTool}, []string{"needs tool_name"}},
		{"another kind's parameter", Rule{Name: "a", Kind: KindThinking, Params: Params{ToolName: gateway.Some("x")}}, []string{"does not take tool_name", "nothing"}},
		{"negative threshold", Rule{Name: "a", Kind: KindTokenCount, Params: Params{Threshold: gateway.Some[int64](-1)}}, []string{"negative"}},
		{"unknown count", Rule{Name: "a", Kind: KindTokenCount, Params: Params{Threshold: gateway.Some[int64](1), Count: "text"}}, []string{`"messages"`, `"text"`}},
		{"kind and expression", Rule{Name: "a", Kind: KindThinking, When: "true"}, []string{"keep one"}},
		{"expression with parameters", Rule{Name: "a", When: "true", Params: Params{Count: "all"}}, []string{"no params"}},
		{"negative target", Rule{Name: "a", Kind: KindThinking, Target: Target{Cost: -1}}, []string{"negative"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(Config{Rules: []Rule{tc.rule}, Providers: providers(), Tokens: fixed{}})
			if err == nil {
				t.Fatal("got no error")
			}
			for _, s := range tc.say {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("got %q, want it to say %q", err, s)
				}
			}
		})
	}
	_, err := New(Config{Rules: []Rule{
		{Name: "a", Kind: KindTokenCount, Params: Params{Threshold: gateway.Some[int64](1)}},
		{Name: "b", When: "call.input_tokens > 5"},
	}, Providers: providers()})
	if err == nil || !strings.Contains(err.Error(), `rule 1 ("a"): needs a token counter`) || !strings.Contains(err.Error(), `rule 2 ("b")`) {
		t.Errorf("without a counter: got %v, want both rules named", err)
	}
}

func TestParamsFromConfiguration(t *testing.T) {
	var p Params
	for name, v := range map[string]any{"model_name": "m", "tool_name": "t", "count": "messages", "threshold": uint64(5)} {
		if err := p.Set(name, v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if want := (Params{gateway.Some("m"), gateway.Some("t"), gateway.Some[int64](5), "messages"}); p != want {
		t.Errorf("got %+v, want %+v", p, want)
	}
	for _, v := range []any{int64(7), 7, 7.0} {
		if err := p.Set("threshold", v); err != nil || p.Threshold.Value != 7 {
			t.Errorf("threshold %v: got %v, %v", v, p.Threshold.Value, err)
		}
	}
	for _, tc := range []struct {
		name  string
		value any
		say   string
	}{
		{"threshold", 7.5, "whole number"}, {"threshold", "7", "whole number"}, {"threshold", 1e300, "whole number"},
		{"tool_name", 3, "must be text"}, {"treshold", 3, `did you mean "threshold"`},
	} {
		if err := p.Set(tc.name, tc.value); err == nil || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s=%v: got %v, want it to say %q", tc.name, tc.value, err, tc.say)
		}
	}
	if got := ParamNames(KindTokenCount); !slices.Equal(got, []string{"threshold", "count"}) {
		t.Errorf("ParamNames: got %v", got)
	}
}
