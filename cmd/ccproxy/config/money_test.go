package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestKeysHaveBudgetsOfTheirOwn(t *testing.T) {
	c, warnings := load(t, `
keys:
  - { name: alice, key: "${ALICE_KEY}", fail: open, budget: { limit: 20, window: week, timezone: Europe/Berlin } }
  - { name: bob, key: ccp_abcdefghijklmnopqrstuvwxyz02, budget: [ { limit: 1.5, window: day, action: warn, thresholds: [0.9, 1] }, { limit: 0, window: none } ] }
`)
	same(t, "warnings", len(warnings), 0)
	same(t, "fail", c.Keys[0].Fail, "open")
	var got []string
	for _, k := range c.Keys {
		for _, b := range k.Budget {
			n := b.Named(k.Name)
			got = append(got, fmt.Sprint(n.Name, " ", n.Scope, " ", n.Match, " ", *n.Limit, " ", n.Window, " ", n.Timezone, " ", n.Action, " ", n.Thresholds))
		}
	}
	same(t, "budgets", got, []string{
		"alice/week key alice 20 week Europe/Berlin deny [0.5 0.8 0.95]",
		"bob/day key bob 1.5 day UTC warn [0.9 1]",
		"bob/none key bob 0 none UTC deny [0.5 0.8 0.95]",
	})
	out := string(c.Masked())
	for _, want := range []string{"fail: open", "timezone: Europe/Berlin", "limit: 0\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func TestWebhooksWithoutNameAreCalledByTheirHost(t *testing.T) {
	c, _ := load(t, `
budgets:
  webhooks:
    - { url: "https://hooks.example.com/a" }
    - { url: "https://hooks.example.com/b" }
    - { name: mine, url: "https://hooks.example.com/c" }
`)
	var got []string
	for _, w := range c.Budgets.Webhooks {
		got = append(got, w.Name)
	}
	same(t, "names", got, []string{"hooks.example.com", "hooks.example.com-2", "mine"})
}

func TestPatternsMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"a*", "a", true}, {"a*", "ba", false}, {"*a", "ba", true},
		{"a*b", "ab", true}, {"a*b", "a", false}, {"a*a", "a", false}, {"a*c*b", "acb", true}, {"a*c*b", "ab", false}, {"", "", true}, {"", "a", false},
	} {
		if got := match(c.pattern, c.name); got != c.want {
			t.Errorf("match(%q, %q): got %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
}

func litellmBudgets(t *testing.T, own, theirs string) (budgets, warned []string) {
	t.Helper()
	c, warnings, err := Load(write(t, "ccproxy.yaml", own, "config.yaml", theirs), Options{Lookup: environment})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range c.Budgets.List {
		budgets = append(budgets, fmt.Sprint(b.Name, " ", b.Scope, " ", b.Match, " ", *b.Limit, " ", b.Window, " ", b.Action))
	}
	for _, w := range warnings {
		warned = append(warned, w.Key+": "+w.Message)
	}
	return budgets, warned
}

func TestLiteLLMBudgetsAreBudgets(t *testing.T) {
	const theirs = `
model_list: [ { model_name: a, litellm_params: { model: openai/a } } ]
litellm_settings: { max_budget: 100, budget_duration: 30d, max_end_user_budget: 0.5, max_internal_user_budget: 3, default_key_generate_params: { max_budget: 1 } }
router_settings:
  provider_budget_config: { openai: { budget_limit: 12, time_period: 1d }, azure: { budget_limit: 1, time_period: 1d } }
`
	got, warned := litellmBudgets(t, "version: 1\n", theirs)
	same(t, "budgets", got, []string{
		"litellm global  100 month deny", "litellm-end-users user * 0.5 none deny", "litellm-openai provider openai 12 day deny",
	})
	same(t, "warnings", warned, []string{
		"litellm_settings.max_internal_user_budget: ignored; use budgets of scope team or key",
		`litellm_settings.default_key_generate_params: ignored; each key says so itself, or budgets of scope key with match: "*"`,
		`router_settings.provider_budget_config.azure: ignored; there is no provider "azure"`,
	})
	got, warned = litellmBudgets(t, "budgets: [ { name: mine, scope: global, limit: 1, window: day } ]\n", theirs)
	same(t, "budgets of our own", got, []string{"mine global  1 day deny"})
	same(t, "warnings beside our own", warned[0], "litellm_settings.max_budget: ignored; budgets has its own")
}

func TestLiteLLMDurationsAreWindows(t *testing.T) {
	for duration, want := range map[string]string{
		"1d": "day", "24h": "day", "7d": "week", "30d": "month", "1mo": "month", "1h": "hour", "14d": "14d", "12h": "12h",
		"300s": "5m", "61s": "", "2mo": "", "fortnight": "", "0d": "",
	} {
		if got := litellmWindow(duration); got != want {
			t.Errorf("%s: got %q, want %q", duration, got, want)
		}
	}
}
