package route

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
)

// everything is an exchange with every fact set.
func everything() *gateway.Exchange {
	x := exchange(messages, gateway.Call{
		Model: "claude-opus-4-8", Operation: "chat", Stream: true, MaxTokens: 32000, Messages: 12, Tools: []string{"Read", "WebSearch"}, ToolCount: 2,
		Thinking: true, ReasoningLevel: "high", Images: 1, Session: "s-1", ServiceTier: "auto",
	})
	x.Caller = gateway.Caller{KeyID: "k1", KeyAlias: "ci", Team: "research", User: "u1", Tags: map[string]string{"env": "prod"}, Loopback: true}
	x.Request.Header = http.Header{
		"User-Agent": {"claude-cli/2.1"}, "X-App": {"cli-bg", "second"}, "Authorization": {"Bearer secret"}, "X-Api-Key": {"secret"},
		"Cookie": {"secret"}, "X-Ccproxy-Key": {"ccp_secret"},
	}
	return x
}

func label(t testing.TB, r *Router, x *gateway.Exchange) string {
	t.Helper()
	if err := r.Label(context.Background(), x); err != nil {
		t.Fatal(err)
	}
	return x.Route.Label
}

func TestExpressions(t *testing.T) {
	for expr, want := range map[string]bool{
		`call.model == 'claude-opus-4-8'`:                                  true,
		`call.model.matches('opus-[0-9]')`:                                 true,
		`call.operation == 'chat' && call.dialect == 'anthropic.messages'`: true,
		`call.stream && call.max_tokens >= 32000 && call.messages == 12`:   true,
		`call.tools.size() > 1 && call.tool_count == 2`:                    true,
		`'WebSearch' in call.tools`:                                        true,
		`call.tools.exists(t, t.lowerAscii().contains('search'))`:          true,
		`call.tools.all(t, t == 'Read')`:                                   false,
		`call.thinking && call.reasoning_level == 'high'`:                  true,
		`call.images > 0 && call.session == 's-1'`:                         true,
		`call.service_tier == 'auto'`:                                      true,
		`call.input_tokens > 60000`:                                        true,
		`call.input_tokens > 61204.5`:                                      false,
		`caller.key == 'k1' && caller.alias == 'ci'`:                       true,
		`caller.team in ['research', 'legal']`:                             true,
		`caller.user == 'u1' && caller.session == 's-1'`:                   true,
		`caller.tags['env'] == 'prod' && caller.tags.env == 'prod'`:        true,
		`caller.tags['none'] == ''`:                                        true,
		`has(caller.tags.env) && !has(caller.tags.none)`:                   true,
		`caller.tags.exists(k, caller.tags[k] == 'prod')`:                  true,
		`caller.loopback`:                                                  true,
		`headers['x-app'] == 'cli-bg'`:                                     true,
		`headers['x-absent'] == ''`:                                        true,
		`'x-absent' in headers`:                                            false,
		`'user-agent' in headers`:                                          true,
		`headers['user-agent'].startsWith('claude-cli/')`:                  true,
		`'authorization' in headers || 'Authorization' in headers`:         false,
		`headers['authorization'] + headers['x-api-key'] + headers['cookie'] + headers['x-ccproxy-key'] == ''`: true,
		`headers.exists(h, h == 'authorization')`:                                                              false,
		`headers.size() == 2`:                               true,
		`headers == {'x-app': 'cli-bg', 'user-agent': 'x'}`: false,
		`type(headers) == map`:                              true,
	} {
		t.Run(expr, func(t *testing.T) {
			r := mustRouter(t, Config{
				Rules: []Rule{{Name: "hit", When: expr}}, Tokens: fixed{n: 61_204},
				OnRuleError: func(_ context.Context, _ *gateway.Exchange, err error) { t.Error(err) },
			})
			if got := label(t, r, everything()) == "hit"; got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestExpressionsThatCannotBe(t *testing.T) {
	for _, tc := range []struct {
		name, expr string
		say        []string
	}{
		{"misspelt field", "call.modle == 'x'", []string{`rule 1 ("r")`, "1:5", "did you mean 'call.model'"}},
		{"no such field", "caller.zzz == 'x'", []string{"1:", "caller has the fields key, alias, team"}},
		{"no such variable", "label == 'x'", []string{"1:1", "undeclared reference"}},
		{"wrong type", "call.model > 3", []string{"1:12", "no matching overload"}},
		{"wrong result", "call.model", []string{"gives string", "bool"}},
		{"syntax", "call.model ==", []string{"1:14", "Syntax error"}},
		{"field of text", "call.model.name == 'x'", []string{"does not support field selection"}},
		{"too long", "'" + strings.Repeat("a", 5000) + "' == ''", []string{"code point"}},
		{"too deep", strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), []string{"recursion"}},
		{"text without bound", "call.model.replace('', headers['x']) == ''", []string{"replace is not available"}},
		{"text without bound in a macro", "call.tools.exists(t, '%s'.format([t]) == '')", []string{"format is not available"}},
		{"bad regular expression", "call.model.matches('(')", []string{"regex"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(Config{Rules: []Rule{{Name: "r", When: tc.expr}}, Providers: providers()})
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
}

func TestRuleThatFailsIsReportedOnceAndPassedOver(t *testing.T) {
	var reports []error
	r := mustRouter(t, Config{
		Rules: []Rule{
			{Name: "a", When: "call.tools[7] == 'x'"},
			{Name: "b", When: "1 / call.images > 0"},
			{Name: "c", Kind: KindThinking},
		},
		OnRuleError: func(_ context.Context, x *gateway.Exchange, err error) {
			if x.Route.Label != "c" {
				t.Errorf("reported before the label was decided: %q", x.Route.Label)
			}
			reports = append(reports, err)
		},
	})
	if got := label(t, r, exchange(messages, gateway.Call{ThinkingKey: true})); got != "c" {
		t.Errorf("label: got %q, want c", got)
	}
	if len(reports) != 1 {
		t.Fatalf("got %d reports, want 1: %v", len(reports), reports)
	}
	var e *RuleError
	if !errors.As(reports[0], &e) || e.Rule != "a" || !strings.Contains(reports[0].Error(), `rule "b": division by zero`) {
		t.Errorf("got %v, want rules a and b", reports[0])
	}
	if got := r.RuleErrors(); got != 2 {
		t.Errorf("RuleErrors: got %d, want 2", got)
	}
}

func TestExpressionCannotRunAway(t *testing.T) {
	list := "[" + strings.Repeat("1,", 120) + "1]"
	for name, expr := range map[string]string{
		"loop":   list + ".all(a, " + list + ".all(b, " + list + ".all(c, a + b + c > 0)))",
		"memory": "call.model" + strings.Repeat(" + call.model", 30) + " == ''",
		"client": "call.tools.all(a, call.tools.all(b, a.size() + b.size() > 0))",
		"regexp": "call.tools.all(a, a.matches('^(a*)*(a*)*(a*)*$') && call.tools.all(b, b.matches('(a|b|aa)*c') == false))",
	} {
		t.Run(name, func(t *testing.T) {
			var got error
			r := mustRouter(t, Config{
				Rules:       []Rule{{Name: "r", When: expr}},
				OnRuleError: func(_ context.Context, _ *gateway.Exchange, err error) { got = err },
			})
			tools := make([]string, 1000)
			for i := range tools {
				tools[i] = strings.Repeat("a", 60)
			}
			if l := label(t, r, exchange(messages, gateway.Call{Model: strings.Repeat("m", 100_000), Tools: tools, ToolCount: 1000})); l != "default" {
				t.Errorf("label: got %q, want default", l)
			}
			if got == nil || !strings.Contains(got.Error(), "costs more than") {
				t.Errorf("got %v, want the cost limit", got)
			}
		})
	}
}

func TestExpressionStopsWithItsContext(t *testing.T) {
	var got error
	r := mustRouter(t, Config{
		Rules:       []Rule{{Name: "r", When: "call.tools.all(t, t != 'x')"}},
		OnRuleError: func(_ context.Context, _ *gateway.Exchange, err error) { got = err },
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	x := exchange(messages, gateway.Call{Tools: make([]string, 500), ToolCount: 500})
	if err := r.Label(ctx, x); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(got, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", got)
	}
}

func TestCountIsMadeOnlyWhenAsked(t *testing.T) {
	c := &counting{fixed: fixed{n: 10}}
	r := mustRouter(t, Config{Rules: []Rule{{Name: "r", When: "call.stream && call.input_tokens > 5"}}, Tokens: c})
	x := exchange(messages, gateway.Call{})
	label(t, r, x)
	if c.asked != 0 || x.InputTokens != 0 {
		t.Errorf("got %d counts, InputTokens %d, want none", c.asked, x.InputTokens)
	}
	x = exchange(messages, gateway.Call{Stream: true})
	if got := label(t, r, x); got != "r" || c.asked != 1 || x.InputTokens != 10 {
		t.Errorf("got label %q, %d counts, InputTokens %d, want r, 1, 10", got, c.asked, x.InputTokens)
	}
}

func TestVariablesAreDescribed(t *testing.T) {
	for _, v := range Variables() {
		if v.Name == "" || v.Type == "" || v.Doc == "" {
			t.Errorf("got %+v, want name, type and doc", v)
		}
	}
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{
		"call.model == 'x'", "headers['a'] == caller.tags.b", "call.tools.exists(t, t.matches('a+'))", "'a'.split('') == []",
		"call.tools.map(t, t.size()).filter(n, n > 1).size() > 0", "[1,2].all(x, x/0 == 1)", "has(headers.x) ? true : call.images > 1", "call..model", "'\\x", "size(headers) > 0 && dyn(headers) == 1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		r, err := New(Config{
			Rules: []Rule{{Name: "r", When: expr}}, Providers: providers(), Tokens: fixed{n: 5},
			OnRuleError: func(context.Context, *gateway.Exchange, error) {},
		})
		if err != nil {
			return
		}
		x := everything()
		if got := label(t, r, x); got != "r" && got != "default" {
			t.Errorf("label: got %q", got)
		}
		r.Explain(context.Background(), x)
	})
}

func FuzzHeaderInExpression(f *testing.F) {
	r, err := New(Config{Providers: providers(), Rules: []Rule{
		{Name: "r", When: "call.model.matches('^' + headers['x-a'] + '$') || headers['x-a'].split(',').size() > 3 || int(headers['x-a']) > 3"},
	}, OnRuleError: func(context.Context, *gateway.Exchange, error) {}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("(", "m")
	f.Add("a{1000}{1000}", "\xff")
	f.Fuzz(func(t *testing.T, header, model string) {
		x := exchange(messages, gateway.Call{Model: model})
		x.Request.Header["X-A"] = []string{header}
		label(t, r, x)
		if err := r.Route(context.Background(), x); err != nil {
			t.Errorf("model %q: %v", model, err)
		}
	})
}
