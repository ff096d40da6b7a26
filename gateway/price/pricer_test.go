package price

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const smallBook = `version 7
anthropic/claude-big context=1000 input=10 cache_read=1 output=50 batch*1/2 >100:input=20 >100:output=75
anthropic/claude-small input=1 output=5
openrouter/a/b input=1 output=1
family anthropic/claude-*
`

// home is a router that only knows where a dialect belongs.
type home struct{ provider *gateway.Provider }

func (home) Label(context.Context, *gateway.Exchange) error { return nil }
func (home) Route(context.Context, *gateway.Exchange) error { return nil }
func (h home) Implied(gateway.Dialect) *gateway.Provider    { return h.provider }

func attempt(p, implied *gateway.Provider, named, sent string) *gateway.Attempt {
	x := &gateway.Exchange{Request: httptest.NewRequest("POST", "/", nil), Call: gateway.Call{Model: named, Operation: "chat"},
		Snapshot: &gateway.Snapshot{Router: home{implied}}}
	a := &gateway.Attempt{Exchange: x, Target: gateway.Target{Provider: p, Model: sent}}
	a.Result.Usage = gateway.Usage{Input: 10, Output: 4, Source: names.UsageSourceProvider}
	return a
}

func newPricer(t *testing.T, overrides map[string]Override, providers ...*gateway.Provider) *Pricer {
	t.Helper()
	p, err := New(Config{Book: parse(t, smallBook), Overrides: overrides, Providers: providers})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func given(input, output int64) Override {
	return Override{Rates: Rates{gateway.CostInput: input, gateway.CostOutput: output}, Given: ClassSet(0).With(gateway.CostInput).With(gateway.CostOutput)}
}

func TestCostsSayWhereTheyComeFrom(t *testing.T) {
	anthropic, router := provider("anthropic", "anthropic"), provider("router", "openrouter")
	free, flat, local := provider("local", "local"), provider("flat", "anthropic"), provider("mine", "mine")
	free.Billing, flat.Billing = names.CostBillingFree, names.CostBillingNotional
	p := newPricer(t, map[string]Override{"mine/llama": given(2e6, 3e6), "qwen": given(1e6, 1e6)}, anthropic, router, free, flat, local)
	told := func(a *gateway.Attempt) { a.Result.ProviderCost = gateway.Some(gateway.NanoUSD(777)) }
	for name, c := range map[string]struct {
		a    *gateway.Attempt
		edit func(*gateway.Attempt)
		want gateway.Cost
	}{
		"exact":                {attempt(anthropic, nil, "", "claude-small"), nil, gateway.Cost{Total: 30_000, Source: "local", Billing: "metered", Status: "exact"}},
		"dated":                {attempt(anthropic, nil, "", "claude-small-20260101"), nil, gateway.Cost{Total: 30_000, Source: "local", Billing: "metered", Status: "alias"}},
		"of the family":        {attempt(anthropic, nil, "", "claude-new"), nil, gateway.Cost{Total: 300_000, Source: "assumed", Billing: "metered", Status: "assumed"}},
		"unknown":              {attempt(anthropic, nil, "", "other"), nil, gateway.Cost{Source: "none", Status: "unknown"}},
		"as it answered":       {attempt(anthropic, nil, "", "best"), func(a *gateway.Attempt) { a.Result.Model = "claude-small" }, gateway.Cost{Total: 30_000, Source: "local", Billing: "metered", Status: "exact"}},
		"override":             {attempt(local, nil, "", "llama"), nil, gateway.Cost{Total: 32_000, Source: "local", Billing: "metered", Status: "override"}},
		"override, dated":      {attempt(local, nil, "", "llama-20260101"), nil, gateway.Cost{Total: 32_000, Source: "local", Billing: "metered", Status: "override"}},
		"override at any":      {attempt(anthropic, nil, "", "qwen"), nil, gateway.Cost{Total: 14_000, Source: "local", Billing: "metered", Status: "override"}},
		"override elsewhere":   {attempt(anthropic, nil, "", "llama"), nil, gateway.Cost{Source: "none", Status: "unknown"}},
		"free":                 {attempt(free, nil, "", "anything"), nil, gateway.Cost{Source: "local", Billing: "free", Status: "override"}},
		"notional":             {attempt(flat, nil, "", "claude-small"), nil, gateway.Cost{Total: 30_000, Source: "local", Billing: "notional", Status: "exact"}},
		"with a token":         {attempt(anthropic, nil, "", "claude-small"), func(a *gateway.Attempt) { a.Credential = gateway.CredentialToken }, gateway.Cost{Total: 30_000, Source: "local", Billing: "notional", Status: "exact"}},
		"as the provider says": {attempt(router, nil, "", "a/b"), told, gateway.Cost{Total: 777, Source: "provider", Billing: "metered", Status: "provider"}},
		"not as anyone says":   {attempt(anthropic, nil, "", "claude-small"), told, gateway.Cost{Total: 30_000, Source: "local", Billing: "metered", Status: "exact"}},
		"nothing used":         {attempt(anthropic, nil, "", "claude-small"), func(a *gateway.Attempt) { a.Result.Usage = gateway.Usage{} }, gateway.Cost{Source: "none"}},
		"estimated":            {attempt(anthropic, nil, "", "claude-small"), func(a *gateway.Attempt) { a.Result.Usage.Source = names.UsageSourceEstimated }, gateway.Cost{Total: 30_000, Source: "local", Billing: "metered", Status: "exact"}},
		"beyond all measure":   {attempt(anthropic, nil, "", "claude-small"), func(a *gateway.Attempt) { a.Result.Usage.Input = 1 << 62 }, gateway.Cost{Source: "none", Status: "unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.edit != nil {
				c.edit(c.a)
			}
			got := p.Price(c.a)
			if got.Total != c.want.Total || got.Source != c.want.Source || got.Billing != c.want.Billing || got.Status != c.want.Status {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if known := c.want.Source != "none"; got.Known() != known {
				t.Errorf("known: got %v, want %v", got.Known(), known)
			}
		})
	}
}

func TestTheVersionNamesTheOverrides(t *testing.T) {
	plain := newPricer(t, nil).Version()
	a := newPricer(t, map[string]Override{"x": given(1, 2)}).Version()
	b := newPricer(t, map[string]Override{"x": given(1, 3)}).Version()
	if plain != "7" || !strings.HasPrefix(a, "7+") || a == b || a != newPricer(t, map[string]Override{"x": given(1, 2)}).Version() {
		t.Errorf("got %s, %s and %s", plain, a, b)
	}
}

func TestModelsWithAPriceAreKnownByName(t *testing.T) {
	p := newPricer(t, nil, provider("mirror", "anthropic"))
	for model, want := range map[string]string{"claude-big": "claude-big", "claude-big-20260101": "claude-big", "claude-new": "_OTHER", "a/b": "_OTHER", "": "_OTHER"} {
		if got := p.Known(model); got != want {
			t.Errorf("%q: got %s, want %s", model, got, want)
		}
	}
}

func TestInheritedPricesKeepTheBooksTiers(t *testing.T) {
	anthropic := provider("mirror", "anthropic")
	o := Override{Rates: Rates{gateway.CostOutput: 40e6}, Given: ClassSet(0).With(gateway.CostOutput), Inherit: true}
	p := newPricer(t, map[string]Override{"mirror/claude-big": o}, anthropic)
	e, status := p.Look(anthropic, "claude-big")
	if want := "anthropic/claude-big context=1000 input=10 cache_read=1 output=40 >100:input=20 >100:output=75 batch*1/2"; status != names.PriceStatusOverride || e.String() != want {
		t.Errorf("got %s %v, want %s", status, e, want)
	}
	if _, err := New(Config{Book: parse(t, smallBook), Overrides: map[string]Override{"nothing": {Inherit: true}}}); err == nil || !strings.Contains(err.Error(), "prices.nothing") {
		t.Errorf("got %v, want an error that names prices.nothing", err)
	}
}

func TestTheBaselineIsTheModelTheClientNamed(t *testing.T) {
	anthropic, mirror, free := provider("anthropic", "anthropic"), provider("mirror", "anthropic"), provider("local", "local")
	free.Billing = names.CostBillingFree
	p := newPricer(t, map[string]Override{"mirror/claude-big": given(1e6, 1e6)}, anthropic, mirror, free)
	for name, c := range map[string]struct {
		a     *gateway.Attempt
		want  gateway.NanoUSD
		known bool
	}{
		"a cheaper one answered": {attempt(anthropic, anthropic, "claude-big", "claude-small"), 300_000, true},
		"it answered itself":     {attempt(anthropic, anthropic, "claude-big", ""), 300_000, true},
		"at another provider":    {attempt(mirror, anthropic, "claude-big", "claude-big"), 300_000, true},
		"at one's own":           {attempt(free, anthropic, "claude-big", "llama"), 300_000, true},
		"at home is free":        {attempt(anthropic, free, "llama", "claude-big"), 0, true},
		"no home":                {attempt(anthropic, nil, "claude-big", "claude-small"), 300_000, true},
		"named a label":          {attempt(anthropic, anthropic, "default", "claude-small"), 0, false},
		"named an unpriced one":  {attempt(anthropic, anthropic, "claude-new", "claude-small"), 0, false},
		"an unpriced answered":   {attempt(anthropic, anthropic, "claude-big", "claude-new"), 0, false},
		"named none":             {attempt(anthropic, anthropic, "", "claude-small"), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.a.Cost = p.Price(c.a)
			if got, known := p.Baseline(c.a); got != c.want || known != c.known {
				t.Errorf("got %d %v, want %d %v", got, known, c.want, c.known)
			}
		})
	}
}
