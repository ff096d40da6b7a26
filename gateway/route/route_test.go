package route

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// wire is a dialect as far as routing looks at one.
type wire struct {
	gateway.Dialect
	name, family string
}

func (w wire) Name() string   { return w.name }
func (w wire) Family() string { return w.family }

var (
	messages  = wire{name: names.DialectAnthropicMessages, family: "anthropic"}
	chat      = wire{name: names.DialectOpenAIChat, family: "openai"}
	embedding = wire{name: names.DialectOpenAIEmbeddings, family: "openai"}
	generate  = wire{name: names.DialectGeminiGenerateContent, family: "gemini"}
	opaque    = wire{name: names.DialectOpaque}
)

func provider(name, typ, family string) *gateway.Provider {
	return &gateway.Provider{Name: name, Type: typ, Family: family}
}

func providers() []*gateway.Provider {
	return []*gateway.Provider{
		provider("mirror", "anthropic", "anthropic"),
		provider("anthropic", "anthropic", "anthropic"),
		provider("openai", "openai", "openai"),
		provider("local", "openai_compatible", "openai"),
	}
}

// fixed is a token counter that finds n tokens, m of them in messages.
type fixed struct{ n, m int64 }

func (f fixed) Exceeds(_ []byte, _ jsonscan.Span, threshold int64, _ string, mode tokens.Mode) (bool, int64, string) {
	n := f.n
	if mode == tokens.Messages {
		n = f.m
	}
	return n > threshold, n, "estimate"
}

func mustRouter(t testing.TB, cfg Config) *Router {
	t.Helper()
	if cfg.Providers == nil {
		cfg.Providers = providers()
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func exchange(d gateway.Dialect, call gateway.Call) *gateway.Exchange {
	req, _ := http.NewRequest("POST", "http://gateway.test/v1/messages", nil)
	return &gateway.Exchange{ID: "x", Dialect: d, Request: req, Body: []byte(`{}`), Call: call}
}

func targets(list ...string) []WeightedTarget {
	out := make([]WeightedTarget, len(list))
	for i, s := range list {
		out[i].Target = s
	}
	return out
}

func targetNames(list []gateway.Target) []string {
	var out []string
	for _, t := range list {
		out = append(out, t.Name)
	}
	return out
}

// routed labels and routes an exchange.
func routed(t testing.TB, r *Router, x *gateway.Exchange) error {
	t.Helper()
	if err := r.Label(context.Background(), x); err != nil {
		t.Fatalf("Label: %v", err)
	}
	return r.Route(context.Background(), x)
}

func TestRouteByLabelAndModel(t *testing.T) {
	models := map[string]Model{
		"default":    {Targets: targets("anthropic/claude-sonnet-5"), Fallbacks: []string{"mirror/claude-sonnet-5"}},
		"background": {Targets: targets("anthropic/claude-haiku-4-5")},
		"fast":       {Targets: targets("background", "mirror/claude-haiku-4-5")},
		"coder":      {Targets: targets("local/qwen/qwen3-coder")},
	}
	rules := []Rule{
		{Name: "background", Kind: KindMatchModel, Params: Params{ModelName: gateway.Some("haiku")}},
		{Name: "lost", Kind: KindThinking},
	}
	noDefault := map[string]Model{"fast": models["coder"]}
	type want struct {
		Label, Rule, Reason, Model string
		Passthrough                bool
		Targets, Skipped           []string
	}
	for _, tc := range []struct {
		name string
		cfg  Config
		d    gateway.Dialect
		call gateway.Call
		want want
	}{
		{"a label with an entry goes to its targets", Config{Rules: rules, Models: models}, messages, gateway.Call{Model: "claude-haiku-4-5"},
			want{"background", "background", "rule", "claude-haiku-4-5", false, []string{"anthropic/claude-haiku-4-5"}, nil}},
		{"no rule goes to default", Config{Rules: rules, Models: models}, messages, gateway.Call{Model: "claude-opus-4-8"},
			want{"default", "", "default", "claude-sonnet-5", false, []string{"anthropic/claude-sonnet-5"}, nil}},
		{"default passthrough keeps the model", Config{Rules: rules, Models: models, DefaultPassthrough: true}, messages, gateway.Call{Model: "claude-opus-4-8-20260101"},
			want{"default", "", "passthrough", "claude-opus-4-8-20260101", true, []string{"anthropic/claude-opus-4-8"}, nil}},
		{"default passthrough does not reach rules", Config{Rules: rules, Models: models, DefaultPassthrough: true}, messages, gateway.Call{Model: "x-haiku"},
			want{"background", "background", "rule", "claude-haiku-4-5", false, []string{"anthropic/claude-haiku-4-5"}, nil}},
		{"passthrough keeps the model whatever the label", Config{Rules: rules, Models: models, Passthrough: true}, messages, gateway.Call{Model: "x-haiku"},
			want{"background", "background", "passthrough", "x-haiku", true, []string{"anthropic/_OTHER"}, nil}},
		{"passthrough of a configured model goes to its entry", Config{Models: models, DefaultPassthrough: true}, messages, gateway.Call{Model: "fast"},
			want{"default", "", "model", "claude-haiku-4-5", false, []string{"anthropic/claude-haiku-4-5", "mirror/claude-haiku-4-5"}, nil}},
		{"provider/model goes there", Config{Models: models, DefaultPassthrough: true}, chat, gateway.Call{Model: "local/some/thing"},
			want{"default", "", "model", "some/thing", false, []string{"local/_OTHER"}, nil}},
		{"an unknown provider before the slash is part of the model", Config{Models: models, DefaultPassthrough: true}, chat, gateway.Call{Model: "meta/llama"},
			want{"default", "", "passthrough", "meta/llama", true, []string{"openai/_OTHER"}, nil}},
		{"an unknown label goes to default", Config{Rules: rules, Models: models, DefaultPassthrough: true}, messages, gateway.Call{Model: "m", ThinkingKey: true},
			want{"lost", "lost", "default", "claude-sonnet-5", false, []string{"anthropic/claude-sonnet-5"}, nil}},
		{"an unknown label without default keeps the model", Config{Rules: rules, Models: noDefault}, messages, gateway.Call{Model: "m", ThinkingKey: true},
			want{"lost", "lost", "passthrough", "m", true, []string{"anthropic/_OTHER"}, nil}},
		{"no entries keep the model", Config{}, messages, gateway.Call{Model: "claude-sonnet-5[1m]"},
			want{"default", "", "passthrough", "claude-sonnet-5[1m]", true, []string{"anthropic/claude-sonnet-5"}, nil}},
		{"embeddings without a rule keep the model", Config{Models: models}, embedding, gateway.Call{Model: "text-embedding-3-small", Operation: names.OperationEmbeddings},
			want{"default", "", "passthrough", "text-embedding-3-small", true, []string{"openai/text-embedding-3-small"}, nil}},
		{"a target of another dialect is skipped", Config{Models: map[string]Model{"default": {Targets: targets("anthropic/claude-sonnet-5", "local/qwen")}}}, chat, gateway.Call{Model: "m"},
			want{"default", "", "default", "qwen", false, []string{"local/qwen"}, []string{"anthropic/claude-sonnet-5 dialect"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := exchange(tc.d, tc.call)
			if err := routed(t, mustRouter(t, tc.cfg), x); err != nil {
				t.Fatal(err)
			}
			rt := x.Route
			got := want{rt.Label, rt.Rule, rt.Reason, rt.Model, rt.Passthrough, targetNames(rt.Targets), nil}
			for _, s := range rt.Skipped {
				got.Skipped = append(got.Skipped, s.Target.Name+" "+s.Reason)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("route (-want +got):\n%s", diff)
			}
			if rt.Provider != rt.Targets[0].Provider.Name {
				t.Errorf("Provider: got %q, want %q", rt.Provider, rt.Targets[0].Provider.Name)
			}
			if len(rt.Candidates) != len(rt.Targets)+len(rt.Skipped) {
				t.Errorf("Candidates: got %v, want targets and skipped ones", rt.Candidates)
			}
		})
	}
}

func TestNoRouteSaysWhatToDo(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
		d    gateway.Dialect
		call gateway.Call
		say  []string
	}{
		{"no provider speaks the dialect", Config{}, generate, gateway.Call{Model: "gemini-2.5-pro"}, []string{`"gemini-2.5-pro"`, "gemini.generate_content", "type gemini", "default: true"}},
		{"all targets are skipped", Config{Models: map[string]Model{"default": {Targets: targets("anthropic/claude-sonnet-5")}}}, chat, gateway.Call{Model: "m"}, []string{`"default"`, "anthropic/claude-sonnet-5 (speaks anthropic)", "openai.chat"}},
		{"the client names a provider of another dialect", Config{DefaultPassthrough: true}, chat, gateway.Call{Model: "anthropic/claude-sonnet-5"}, []string{"anthropic/claude-sonnet-5 (speaks anthropic)"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := exchange(tc.d, tc.call)
			err := routed(t, mustRouter(t, tc.cfg), x)
			var e *gateway.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want a *gateway.Error", err)
			}
			if e.Type != names.ErrorNoRoute || e.Reason != names.RejectionNoRoute || e.Status != 400 {
				t.Errorf("got %s/%s/%d, want no_route/no_route/400", e.Type, e.Reason, e.Status)
			}
			for _, s := range tc.say {
				if !strings.Contains(e.Message, s) {
					t.Errorf("message %q does not say %q", e.Message, s)
				}
			}
		})
	}
}

func TestImpliedProvider(t *testing.T) {
	mirror, vendor := provider("mirror", "anthropic", "anthropic"), provider("anthropic", "anthropic", "anthropic")
	local, gem := provider("local", "openai_compatible", "openai"), provider("g", "gemini", "gemini")
	all := []*gateway.Provider{mirror, vendor, local, gem}
	for _, tc := range []struct {
		name string
		cfg  Config
		d    gateway.Dialect
		want *gateway.Provider
	}{
		{"the one named like the vendor", Config{Providers: all}, messages, vendor},
		{"the first of the vendor's type", Config{Providers: []*gateway.Provider{mirror, provider("other", "anthropic", "anthropic")}}, messages, mirror},
		{"the one said for the family", Config{Providers: all, DefaultProvider: map[string]string{"anthropic": "mirror"}}, messages, mirror},
		{"no vendor's provider", Config{Providers: all}, chat, nil},
		{"the default where the vendor has none", Config{Providers: all, DefaultProvider: map[string]string{"": "local"}}, chat, local},
		{"the default only if it speaks", Config{Providers: all[:3], DefaultProvider: map[string]string{"": "local"}}, generate, nil},
		{"the vendor before the default", Config{Providers: all, DefaultProvider: map[string]string{"": "mirror"}}, generate, gem},
		{"no family", Config{Providers: all, DefaultProvider: map[string]string{"": "local"}}, opaque, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := mustRouter(t, tc.cfg).Implied(tc.d); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestWeightsDecideWhoIsFirst(t *testing.T) {
	at := 0.0
	r := mustRouter(t, Config{
		Models: map[string]Model{"default": {Targets: []WeightedTarget{{"local/spare", 0}, {"local/a", 1}, {"local/b", 3}, {"openai/c", 4}}}},
		Rand:   func() float64 { return at },
	})
	for _, tc := range []struct {
		at   float64
		want string
	}{
		{0, "openai/c local/b local/a local/spare"},
		{0.499, "openai/c local/b local/a local/spare"},
		{0.5, "local/b openai/c local/a local/spare"},
		{0.874, "local/b openai/c local/a local/spare"},
		{0.875, "local/a openai/c local/b local/spare"},
		{0.9999999, "local/a openai/c local/b local/spare"},
	} {
		at = tc.at
		x := exchange(chat, gateway.Call{Model: "m"})
		if err := routed(t, r, x); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(targetNames(x.Route.Targets), " "); got != tc.want {
			t.Errorf("at %v: got %s, want %s", tc.at, got, tc.want)
		}
	}

	counts := map[string]int{}
	for i := range 800 {
		at = (float64(i) + 0.5) / 800
		x := exchange(chat, gateway.Call{Model: "m"})
		if err := routed(t, r, x); err != nil {
			t.Fatal(err)
		}
		counts[x.Route.Targets[0].Name]++
	}
	if diff := cmp.Diff(map[string]int{"openai/c": 400, "local/b": 300, "local/a": 100}, counts); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
}

func TestWeightsCountAmongSpeakersOnly(t *testing.T) {
	r := mustRouter(t, Config{
		Models: map[string]Model{"default": {Targets: []WeightedTarget{{"anthropic/a", 98}, {"local/b", 1}, {"openai/c", 1}}}},
		Rand:   func() float64 { return 0.75 },
	})
	x := exchange(chat, gateway.Call{Model: "m"})
	if err := routed(t, r, x); err != nil {
		t.Fatal(err)
	}
	if got, want := targetNames(x.Route.Targets), []string{"openai/c", "local/b"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNamedEntriesShareTheirWeight(t *testing.T) {
	r := mustRouter(t, Config{Models: map[string]Model{
		"pair":    {Targets: []WeightedTarget{{"local/a", 1}, {"local/b", 3}}},
		"list":    {Targets: targets("local/c", "local/d")},
		"default": {Targets: []WeightedTarget{{"pair", 4}, {"list", 2}, {"local/a", 1}}},
	}})
	var got []string
	for i, tgt := range r.entries["default"].targets {
		got = append(got, tgt.Name+" "+grouped(int64(r.entries["default"].weights[i])))
	}
	if want := []string{"local/b 3", "local/a 2", "local/c 2", "local/d 0"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFallbacksByReason(t *testing.T) {
	r := mustRouter(t, Config{
		Models: map[string]Model{
			"default": {
				Targets: targets("anthropic/claude-sonnet-5"), Fallbacks: []string{"mirror/claude-sonnet-5", "big", "local/qwen"},
				FallbacksFor: map[string][]string{names.FallbackContextWindow: {"big"}},
			},
			"big":   {Targets: []WeightedTarget{{"mirror/claude-opus-4-8", 1}, {"anthropic/claude-opus-4-8", 2}}},
			"plain": {Targets: targets("anthropic/claude-haiku-4-5")},
		},
		Fallbacks:          map[string][]string{"": {"mirror/claude-haiku-4-5"}, names.FallbackRateLimit: {"plain"}},
		DefaultPassthrough: true,
	})
	lists := func(x *gateway.Exchange) map[string][]string {
		out := map[string][]string{}
		for reason, list := range x.Route.Fallbacks {
			out[reason] = targetNames(list)
		}
		return out
	}
	big := []string{"anthropic/claude-opus-4-8", "mirror/claude-opus-4-8"}
	for _, tc := range []struct {
		name, model string
		want        map[string][]string
	}{
		{"own before the table's; other dialects left out; also under passthrough", "claude-sonnet-4-6", map[string][]string{
			"": append([]string{"mirror/claude-sonnet-5"}, big...), "context_window": big, "rate_limit": {"anthropic/claude-haiku-4-5"}}},
		{"the table's where the entry has none", "plain", map[string][]string{
			"": {"mirror/claude-haiku-4-5"}, "rate_limit": {"anthropic/claude-haiku-4-5"}}},
	} {
		x := exchange(messages, gateway.Call{Model: tc.model})
		if err := routed(t, r, x); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, lists(x)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestRouterServesManyAtOnce(t *testing.T) {
	r := mustRouter(t, Config{
		Rules:  []Rule{{Name: "big_tools", When: "call.tools.exists(t, t.startsWith('mcp__')) && headers['x-app'] == 'cli'"}},
		Models: map[string]Model{"big_tools": {Targets: []WeightedTarget{{"anthropic/a", 1}, {"mirror/a", 1}, {"local/b", 1}}, Fallbacks: []string{"local/b"}}},
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				x := exchange(messages, gateway.Call{Model: "m", Tools: []string{"Read", "mcp__x"}, ToolCount: 2})
				x.Request.Header.Set("X-App", "cli")
				if err := routed(t, r, x); err != nil || x.Route.Label != "big_tools" || len(x.Route.Targets) != 2 {
					t.Errorf("got %v, label %q, %v", err, x.Route.Label, targetNames(x.Route.Targets))
				}
				r.Explain(context.Background(), x)
			}
		})
	}
	wg.Wait()
}
