package route

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
)

func TestModelList(t *testing.T) {
	r := mustRouter(t, Config{Models: map[string]Model{
		"default":     {Targets: targets("anthropic/claude-sonnet-5"), Fallbacks: []string{"mirror/claude-sonnet-5"}},
		"gpt-5.5":     {Targets: targets("openai/gpt-5.5")},
		"mixed":       {Targets: targets("local/qwen", "anthropic/claude-sonnet-5")},
		"claude-fast": {Targets: targets("default")},
	}})
	want := []gateway.ModelInfo{
		{ID: "claude-fast", Provider: "ccproxy", Family: "anthropic"},
		{ID: "default", Provider: "ccproxy", Family: "anthropic"},
		{ID: "gpt-5.5", Provider: "ccproxy", Family: "openai"},
		{ID: "mixed", Provider: "ccproxy"},
		{ID: "claude-sonnet-5", Provider: "anthropic", Family: "anthropic"},
		{ID: "local/qwen", Provider: "local", Family: "openai"},
		{ID: "mirror/claude-sonnet-5", Provider: "mirror", Family: "anthropic"},
	}
	if diff := cmp.Diff(want, r.Models()); diff != "" {
		t.Errorf("models (-want +got):\n%s", diff)
	}
}

func TestListedModelsReachTheirProvider(t *testing.T) {
	r := mustRouter(t, Config{DefaultPassthrough: true, Models: map[string]Model{
		"a": {Targets: targets("anthropic/claude-sonnet-5", "mirror/claude-opus-4-8")}, "b": {Targets: targets("local/qwen", "openai/gpt-5.5")},
	}})
	for _, m := range r.Models() {
		d := messages
		if m.Family == "openai" {
			d = chat
		}
		x := exchange(d, gateway.Call{Model: m.ID})
		if err := routed(t, r, x); err != nil {
			t.Errorf("%s: %v", m.ID, err)
		} else if m.Provider != "ccproxy" && x.Route.Provider != m.Provider {
			t.Errorf("%s: got provider %q, want %q", m.ID, x.Route.Provider, m.Provider)
		}
	}
}

func TestKnownModels(t *testing.T) {
	r := mustRouter(t, Config{Models: map[string]Model{"think": {Targets: targets("local/qwen3-20250101"), Fallbacks: []string{"local/llama"}}}})
	for model, want := range map[string]string{
		"":                           "",
		"think":                      "think",
		"qwen3-20250101":             "qwen3-20250101",
		"local/qwen3-20250101":       "qwen3-20250101",
		"llama":                      "llama",
		"llama-20250101":             "llama",
		"claude-sonnet-4-5-20250929": "claude-sonnet-4-5",
		"claude-sonnet-4-5[1m]":      "claude-sonnet-4-5",
		"claude-sonnet-4@20250514":   "claude-sonnet-4",
		"claude-3-7-sonnet-latest":   "claude-3-7-sonnet",
		"gpt-4o-2024-08-06":          "gpt-4o",
		"anthropic/claude-sonnet-5":  "claude-sonnet-5",
		"gemini-flash-latest":        "gemini-flash-latest",
		"gemini-2.5-pro":             "gemini-2.5-pro",
		"claude-sonnet-5x":           "_OTHER",
		"nowhere/claude-sonnet-5":    "_OTHER",
		"claude-sonnet-5-2025":       "_OTHER",
		"-20250929":                  "_OTHER",
		"-2024-08-06":                "_OTHER",
		"[]":                         "_OTHER",
		"@":                          "_OTHER",
	} {
		if got := r.Known(model); got != want {
			t.Errorf("Known(%q): got %q, want %q", model, got, want)
		}
	}
	if n := len(wellKnown); n > 110 {
		t.Errorf("got %d well-known models, want a small table", n)
	}
}

func TestHostileModelsStayOneValue(t *testing.T) {
	r := mustRouter(t, Config{})
	seen := map[string]bool{}
	for i := range 100_000 {
		seen[r.Known(fmt.Sprintf("claude-sonnet-5-x%d", i))] = true
	}
	if len(seen) != 1 {
		t.Errorf("got %d values, want 1", len(seen))
	}
}

func FuzzKnown(f *testing.F) {
	r := mustRouter(f, Config{Models: map[string]Model{"think": {Targets: targets("local/qwen")}}})
	f.Add("claude-sonnet-4-5-20250929")
	f.Add("a[1m]@-latest")
	f.Fuzz(func(t *testing.T, model string) {
		got := r.Known(model)
		if _, configured := r.known[got]; !configured && !wellKnown[got] && got != "_OTHER" && got != "" {
			t.Errorf("Known(%q): got %q, which is in no table", model, got)
		}
	})
}
