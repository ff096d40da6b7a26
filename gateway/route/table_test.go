package route

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
)

func TestTablesThatCannotBe(t *testing.T) {
	chain := map[string]Model{}
	for i := range 12 {
		chain[fmt.Sprintf("m%02d", i)] = Model{Targets: targets(fmt.Sprintf("m%02d", i+1))}
	}
	chain["m12"] = Model{Targets: targets("local/x")}
	wide := Model{}
	for i := range maxTargets + 1 {
		wide.Targets = append(wide.Targets, WeightedTarget{Target: fmt.Sprintf("local/x%d", i)})
	}
	one := func(m Model) map[string]Model { return map[string]Model{"think": m} }
	for _, tc := range []struct {
		name string
		cfg  Config
		say  []string
	}{
		{"no targets", Config{Models: one(Model{})}, []string{`models: "think"`, "has no targets"}},
		{"unknown provider", Config{Models: one(Model{Targets: targets("antropic/claude-sonnet-5")})}, []string{`"antropic/claude-sonnet-5"`, `provider "antropic" is not configured`, `did you mean "anthropic"`}},
		{"provider without model", Config{Models: one(Model{Targets: targets("local")})}, []string{"write local/MODEL"}},
		{"provider with empty model", Config{Models: one(Model{Targets: targets("local/")})}, []string{"write local/MODEL"}},
		{"neither", Config{Models: one(Model{Targets: targets("zzzzzzzzzzzz")})}, []string{"neither provider/model nor an entry", "add it under"}},
		{"misspelt entry", Config{Models: map[string]Model{"background": {Targets: targets("local/x")}, "think": {Targets: targets("backgruond")}}}, []string{`did you mean "background"`}},
		{"negative weight", Config{Models: one(Model{Targets: []WeightedTarget{{"local/x", -1}}})}, []string{"weight must be 0 or more"}},
		{"cycle", Config{Models: map[string]Model{"a": {Targets: targets("b")}, "b": {Targets: targets("c")}, "c": {Targets: targets("a")}}}, []string{"a → b → c → a"}},
		{"itself", Config{Models: one(Model{Targets: targets("think")})}, []string{"think → think", "end the chain"}},
		{"too deep", Config{Models: chain}, []string{"8 deep"}},
		{"too many", Config{Models: one(wide)}, []string{"65 targets, more than 64"}},
		{"falls back to itself", Config{Models: one(Model{Targets: targets("local/x"), Fallbacks: []string{"think"}})}, []string{"falls back to itself"}},
		{"unknown fallback", Config{Models: one(Model{Targets: targets("local/x"), Fallbacks: []string{"mirrr/x"}})}, []string{`fallbacks: "mirrr/x"`, `did you mean "mirror"`}},
		{"unknown reason", Config{Models: one(Model{Targets: targets("local/x"), FallbacksFor: map[string][]string{"ratelimit": {"local/y"}}})}, []string{`unknown reason "ratelimit"`, `did you mean "rate_limit"`}},
		{"unknown default fallback", Config{Fallbacks: map[string][]string{"": {"nowhere/x"}}}, []string{"default fallbacks", "nowhere"}},
		{"unknown default provider", Config{DefaultProvider: map[string]string{"": "lokal"}}, []string{`default provider "lokal"`, `did you mean "local"`}},
		{"default provider of another family", Config{DefaultProvider: map[string]string{"gemini": "local"}}, []string{"speaks openai, not gemini"}},
		{"provider twice", Config{Providers: append(providers(), provider("local", "openai", "openai"))}, []string{`"local" is configured twice`}},
		{"name with control characters", Config{Models: map[string]Model{"a\n": {Targets: targets("local/x")}}}, []string{"control characters"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.cfg.Providers == nil {
				tc.cfg.Providers = providers()
			}
			_, err := New(tc.cfg)
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

func TestAllErrorsAreReportedOnce(t *testing.T) {
	_, err := New(Config{
		Providers: providers(),
		Models: map[string]Model{
			"bad": {Targets: targets("nowhere/x", "elsewhere/y")}, "user": {Targets: targets("bad")}, "user2": {Targets: targets("local/x"), Fallbacks: []string{"bad"}},
		},
		Rules: []Rule{{Name: "r", When: "call.nothing"}},
	})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, s := range []string{`"nowhere/x"`, `"elsewhere/y"`, `rule 1 ("r")`} {
		if n := strings.Count(err.Error(), s); n != 1 {
			t.Errorf("%s: said %d times, want once, in:\n%v", s, n, err)
		}
	}
}

func TestEntriesMayFallBackToEachOther(t *testing.T) {
	r := mustRouter(t, Config{Models: map[string]Model{
		"a": {Targets: targets("local/a"), Fallbacks: []string{"b"}}, "b": {Targets: targets("local/b"), Fallbacks: []string{"a"}},
	}})
	if got := r.entries["a"].fallbacks[""]; len(got) != 1 || got[0].Name != "local/b" {
		t.Errorf("got %v, want local/b", targetNames(got))
	}
}

func TestEntryNamedLikeItsTarget(t *testing.T) {
	r := mustRouter(t, Config{Models: map[string]Model{"anthropic/claude-sonnet-5": {Targets: targets("anthropic/claude-sonnet-5"), Fallbacks: []string{"anthropic/claude-sonnet-5", "mirror/claude-sonnet-5"}}}, DefaultPassthrough: true})
	x := exchange(messages, gateway.Call{Model: "anthropic/claude-sonnet-5"})
	if err := routed(t, r, x); err != nil {
		t.Fatal(err)
	}
	if got := x.Route.Targets[0]; got.Provider.Name != "anthropic" || got.Model != "claude-sonnet-5" {
		t.Errorf("got %v, want anthropic/claude-sonnet-5", got)
	}
}

func TestWarnings(t *testing.T) {
	r := mustRouter(t, Config{
		Rules: []Rule{{Name: "think", Kind: KindThinking}, {Name: "lost", When: "true"}, {Name: "lost", When: "true"}, {Name: "default", When: "false"},
			{Name: "refuses", Kind: KindThinking}, {Name: "cheap", Kind: KindMatchModel, Params: Params{ModelName: gateway.Some("haiku")}}},
		Models: map[string]Model{
			"think":   {Targets: targets("anthropic/claude-opus-4-8", "openai/gpt-5.5")},
			"mixed":   {Targets: targets("anthropic/claude-opus-4-8", "openai/gpt-5.5")},
			"refuses": {Targets: targets("anthropic/claude-opus-4-8")},
			"cheap":   {Targets: targets("anthropic/claude-haiku-4-5")},
			"plain":   {Targets: targets("anthropic/claude-sonnet-5"), Fallbacks: []string{"openai/gpt-5.5"}},
		},
		Fallbacks:          map[string][]string{"": {"openai/gpt-5.4"}},
		DefaultPassthrough: true,
	})
	got := strings.Join(r.Warnings(), "\n")
	for _, s := range []string{
		`rule 3: another rule is named "lost" too`, `rule "lost": no entry "lost" under models: the client's model is kept`,
		`models: "mixed": its targets speak different dialects (anthropic, openai)`, `models: "plain": fallback openai/gpt-5.5 speaks openai`,
		`models: "refuses": no target speaks openai: such requests are refused when rule "refuses" matches`,
	} {
		if !strings.Contains(got, s) {
			t.Errorf("got:\n%s\nwant %q", got, s)
		}
	}
	if strings.Contains(got, `"default"`) || strings.Contains(got, "gpt-5.4") || strings.Contains(got, `"cheap"`) || strings.Contains(got, `"think"`) {
		t.Errorf("got a warning about what is in order:\n%s", got)
	}
}
