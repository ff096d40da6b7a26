package price

import (
	"math"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/openai"
	"github.com/ccproxy/ccproxy/gateway/tokens"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// streaming is an attempt at claude-small: 1 µ$ a token of input, 5 of output.
func streaming(to *gateway.Provider) *gateway.Attempt {
	a := attempt(to, nil, "claude-small", "claude-small")
	a.Exchange.Dialect, a.Exchange.Call.Stream = openai.Chat(), true
	a.Body = []byte(`{"messages":[{"role":"user","content":"12345678901234567890"}]}`)
	a.Result = gateway.Result{}
	return a
}

func TestUsageThatNobodyCountedIsCompleted(t *testing.T) {
	anthropic := provider("anthropic", "anthropic")
	type usage = gateway.Usage
	for name, c := range map[string]struct {
		edit func(a *gateway.Attempt)
		want usage
		cost gateway.NanoUSD
	}{
		// The prompt is 20 bytes and the marks of a turn: 9 tokens.
		"no answer":           {func(*gateway.Attempt) {}, usage{Input: 9, Source: "estimated"}, 9000},
		"output and no count": {func(a *gateway.Attempt) { a.Result.OutputBytes = 401 }, usage{Input: 9, Output: 101, Source: "estimated"}, 9000 + 101*5000},
		"a count of the prompt": {func(a *gateway.Attempt) {
			a.Result.Usage = usage{Input: 2, CacheRead: 30, Source: "partial"}
			a.Result.OutputBytes = 40
		}, usage{Input: 2, CacheRead: 30, Output: 10, Source: "partial"}, 32_000 + 10*5000},
		"a count of less": {func(a *gateway.Attempt) {
			a.Result.Usage = usage{Input: 2, Output: 3, Reasoning: 2, Source: "partial"}
			a.Result.OutputBytes = 40
		}, usage{Input: 2, Output: 8, Reasoning: 2, Source: "partial"}, 2000 + 10*5000},
		"a count of more": {func(a *gateway.Attempt) {
			a.Result.Usage = usage{Input: 2, Output: 90, Source: "partial"}
			a.Result.OutputBytes = 40
		}, usage{Input: 2, Output: 90, Source: "partial"}, 2000 + 90*5000},
		"a whole count": {func(a *gateway.Attempt) {
			a.Result.Usage = usage{Input: 2, Output: 3, Source: "provider"}
			a.Result.OutputBytes = 4000
		}, usage{Input: 2, Output: 3, Source: "provider"}, 2000 + 3*5000},
		"a whole count of nothing": {func(a *gateway.Attempt) { a.Result.Usage = usage{Source: "provider"}; a.Result.OutputBytes = 4000 }, usage{Source: "provider"}, 0},
		"searches and no count":    {func(a *gateway.Attempt) { a.Result.Usage.WebSearches = 1 }, usage{Input: 9, WebSearches: 1, Source: "estimated"}, 9000},
		"an embedding":             {func(a *gateway.Attempt) { a.Exchange.Call.Operation = "embeddings"; a.Result.OutputBytes = 400 }, usage{Input: 9, Source: "estimated"}, 9000},
		"a count of tokens":        {func(a *gateway.Attempt) { a.Exchange.Call.Operation = "" }, usage{}, 0},
	} {
		for _, bounded := range []bool{true, false} {
			p, a := newPricer(t, nil, anthropic), streaming(anthropic)
			if bounded {
				a.Bound = p.Bound(a)
			}
			c.edit(a)
			p.Complete(a)
			if a.Result.Usage != c.want {
				t.Errorf("%s: got %+v, want %+v", name, a.Result.Usage, c.want)
			}
			if got := p.Price(a); got.Total != c.cost {
				t.Errorf("%s: costs %d, want %d", name, got.Total, c.cost)
			}
		}
	}
}

func TestADearTierIsBilledUntilTheAnswerSaysOtherwise(t *testing.T) {
	p, err := New(Config{Book: parse(t, "version 1\nopenai/m input=1 output=5 priority*2/1 flex*1/2\n")})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		asked, answered, tier string
		cost                  gateway.NanoUSD
	}{
		"priority":          {"priority", "", "priority", 18_000},
		"priority, not had": {"priority", "default", "default", 9000},
		"flex":              {"flex", "", "", 9000},
		"flex, had":         {"flex", "flex", "flex", 4500},
		"whichever":         {"auto", "", "", 9000},
	} {
		a := streaming(provider("openai", "openai"))
		a.Target.Model, a.Exchange.Call.ServiceTier, a.Result.ServiceTier = "m", c.asked, c.answered
		a.Bound = p.Bound(a)
		if got := p.Accrued(a); got != c.cost {
			t.Errorf("%s: accrued %d, want %d", name, got, c.cost)
		}
		p.Complete(a)
		if got := p.Price(a); got.Total != c.cost || a.Result.ServiceTier != c.tier {
			t.Errorf("%s: got %d in tier %q, want %d in %q", name, got.Total, a.Result.ServiceTier, c.cost, c.tier)
		}
	}
}

func TestCostsSoFarGrow(t *testing.T) {
	anthropic := provider("anthropic", "anthropic")
	p, a := newPricer(t, nil, anthropic), streaming(anthropic)
	a.Bound = p.Bound(a)
	last := gateway.NanoUSD(-1)
	step := func(name string, edit func(), want gateway.NanoUSD) {
		t.Helper()
		edit()
		got := p.Accrued(a)
		if got != want || got < last {
			t.Errorf("%s: got %d after %d, want %d", name, got, last, want)
		}
		last = got
	}
	step("nothing yet", func() {}, 9000)
	step("the prompt counted", func() { a.Result.Usage = gateway.Usage{Input: 10, Source: names.UsageSourcePartial} }, 10_000)
	step("some output", func() { a.Result.OutputBytes = 40 }, 60_000)
	step("more, and a count of less", func() { a.Result.OutputBytes, a.Result.Usage.Output = 80, 5 }, 110_000)
	step("a count of more", func() { a.Result.Usage.Output = 30 }, 160_000)
	step("all counted", func() { a.Result.Usage.Output, a.Result.Usage.Source = 31, names.UsageSourceProvider }, 165_000)
	step("a count beyond all measure", func() { a.Result.Usage.Output = math.MaxInt64 }, a.Bound.Total())
}

func TestCostsSoFarOfWhatIsFreeOrUnknownOrTold(t *testing.T) {
	router, free, anthropic := provider("router", "openrouter"), provider("free", "anthropic"), provider("anthropic", "anthropic")
	free.Billing = names.CostBillingFree
	p := newPricer(t, nil, router, free, anthropic)
	for name, c := range map[string]struct {
		to    *gateway.Provider
		model string
		edit  func(a *gateway.Attempt)
		want  gateway.NanoUSD
	}{
		"free":     {free, "claude-small", nil, 0},
		"unknown":  {anthropic, "other", nil, 0},
		"told":     {router, "a/b", func(a *gateway.Attempt) { a.Result.ProviderCost = gateway.Some[gateway.NanoUSD](77) }, 77},
		"not told": {router, "a/b", nil, 9000},
		"counting": {anthropic, "claude-small", func(a *gateway.Attempt) { a.Exchange.Call.Operation = "" }, 0},
	} {
		a := streaming(c.to)
		a.Target.Model = c.model
		a.Bound = p.Bound(a)
		if c.edit != nil {
			c.edit(a)
		}
		if got := p.Accrued(a); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestWholeAnswersTeachWhatCutOnesCost(t *testing.T) {
	anthropic := provider("anthropic", "anthropic")
	counter := tokens.NewCounter(tokens.Options{})
	shared := func() *Pricer {
		p, err := New(Config{Book: parse(t, smallBook), Providers: []*gateway.Provider{anthropic}, Counter: counter})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := shared()
	for range 200 {
		a := streaming(anthropic)
		a.Bound = gateway.Bound{InputTokens: counter.Calibrated("claude-small", 1000), Status: "exact"}
		a.Result.Usage, a.Result.OutputBytes = gateway.Usage{Input: 1200, Output: 1000, Source: names.UsageSourceProvider}, 3000
		p.Complete(a)
	}
	p = shared() // a new configuration forgets nothing
	a := streaming(anthropic)
	a.Result.OutputBytes = 30_000
	p.Complete(a)
	if u := a.Result.Usage; u.Output < 9950 || u.Output > 10_050 || u.Input != 11 { // 9 × 1.2
		t.Errorf("got %+v, want about 10,000 tokens of output and 11 of input", u)
	}
	a = streaming(anthropic)
	a.Exchange.Call.Thinking, a.Result.OutputBytes = true, 4000
	p.Complete(a)
	if u := a.Result.Usage; u.Output != 1000 {
		t.Errorf("got %d tokens of a model that thinks, of which nothing was learnt, want 1000", u.Output)
	}
	before := counter.Output("claude-small", false, 30_000)
	for range 200 { // nothing to learn from
		for _, odd := range []func(a *gateway.Attempt){
			func(a *gateway.Attempt) { a.Exchange.Call.ServerTools = true },
			func(a *gateway.Attempt) { a.Result.Usage.WebSearches = 1 },
			func(a *gateway.Attempt) { a.Result.Usage.AddOther("x", gateway.Usage{Output: 1}) },
			func(a *gateway.Attempt) { a.Result.Usage.AudioOut = 1 },
			func(a *gateway.Attempt) { a.Result.Usage.Source = names.UsageSourcePartial },
		} {
			a := streaming(anthropic)
			a.Result.Usage, a.Result.OutputBytes = gateway.Usage{Input: 1200, Output: 9000, Source: names.UsageSourceProvider}, 3000
			odd(a)
			p.Complete(a)
		}
	}
	if got := counter.Output("claude-small", false, 30_000); got != before {
		t.Errorf("got %d tokens, want %d as before", got, before)
	}
}

func TestTokensOfModelsWithoutAPriceCostWhatTheConfigurationAssumes(t *testing.T) {
	anthropic := provider("anthropic", "anthropic")
	p, err := New(Config{Book: parse(t, smallBook), Providers: []*gateway.Provider{anthropic}, Assume: gateway.Some[int64](3_000_000)})
	if err != nil {
		t.Fatal(err)
	}
	for model, want := range map[string]gateway.Cost{
		"claude-small": {Total: 30_000, Source: "local", Status: "exact"},
		"claude-new":   {Total: 300_000, Source: "assumed", Status: "assumed"},
		"other":        {Total: 14 * 3000, Source: "assumed", Status: "assumed"},
	} {
		a := attempt(anthropic, nil, "", model)
		got := p.Price(a)
		if got.Total != want.Total || got.Source != want.Source || got.Status != want.Status {
			t.Errorf("%s: got %+v, want %+v", model, got, want)
		}
	}
	if e, status := p.Look(anthropic, "other"); e != nil || status != "unknown" {
		t.Errorf("got %v, %s: what is assumed is no price of the model", e, status)
	}
	if p.Version() == newPricer(t, nil, anthropic).Version() {
		t.Error("the version does not tell what is assumed")
	}
}
