package command

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/hooks"
	"github.com/ccproxy/ccproxy/telemetry"
)

// loadText loads a configuration.
func loadText(t *testing.T, text string, hooks ...string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ccproxy.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(path, config.Options{Lookup: emptyEnv, Hooks: hooks})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func snapshotOf(t *testing.T, text string, custom map[string]hooks.Constructor) *gateway.Snapshot {
	t.Helper()
	var names []string
	for name := range maps.Keys(custom) {
		names = append(names, name)
	}
	s, err := newWiring(custom, slog.New(slog.DiscardHandler)).snapshot(loadText(t, text, names...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestProvidersHaveTheirVendorsNames(t *testing.T) {
	s := snapshotOf(t, `
providers:
  anthropic: {}
  openai: {}
  gemini: {}
  mirror: { type: anthropic, base_url: "https://claude.internal" }
  vertex: { type: gemini, base_url: "https://europe-west1-aiplatform.googleapis.com" }
  groq: {}
  mistral: {}
  xai: {}
  deepseek: {}
  azure: { type: openai_compatible, base_url: "https://mine.openai.azure.com/openai/v1" }
  local: { type: openai_compatible, base_url: "http://127.0.0.1:8000/v1" }
  evil: { type: openai_compatible, base_url: "https://notapi.openai.com.evil.test/v1" }
`, nil)
	got := map[string][3]any{}
	for _, p := range s.Providers {
		got[p.Name] = [3]any{p.Family, p.GenAI, p.Anonymous}
	}
	want := map[string][3]any{
		"anthropic": {"anthropic", "anthropic", false},
		"openai":    {"openai", "openai", false},
		"gemini":    {"gemini", "gcp.gemini", false},
		"mirror":    {"anthropic", "anthropic", false},
		"vertex":    {"gemini", "gcp.vertex_ai", false},
		"groq":      {"openai", "groq", false},
		"mistral":   {"openai", "mistral_ai", false},
		"xai":       {"openai", "x_ai", false},
		"deepseek":  {"openai", "deepseek", false},
		"azure":     {"openai", "azure.ai.openai", false},
		"local":     {"openai", "local", true},
		"evil":      {"openai", "evil", true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("family, gen_ai.provider.name, anonymous (-want +got):\n%s", d)
	}
}

func TestProvidersTakeTheirSettings(t *testing.T) {
	s := snapshotOf(t, `
timeouts: { upstream_headers: 100s }
ccproxy: { oat_sources: { anthropic: { command: "echo token", user_agent: ours/1 } } }
providers:
  anthropic:
    api_key: [key-one-of-two, key-two-of-two]
    headers: { x-team: blue }
    user_agent: ua/2
    propagate: true
    inject_usage: never
    on_disconnect: drain
    passthrough: [/v1/files*]
    timeouts: { idle: 7s }
`, nil)
	p := s.Providers[0]
	if len(p.Keys) != 2 || p.Keys[1].Reveal() != "key-two-of-two" || p.Tokens == nil || p.Tokens.UserAgent() != "ours/1" {
		t.Errorf("credentials: got %d keys, tokens %v", len(p.Keys), p.Tokens)
	}
	if p.Header.Get("X-Team") != "blue" || p.Header.Get("User-Agent") != "ua/2" {
		t.Errorf("headers: got %v", p.Header)
	}
	if !p.Propagate || !p.KeepUsage || !p.Drain || len(p.Passthrough) != 1 {
		t.Errorf("flags: got %+v", p)
	}
	if p.IdleTimeout != 7*time.Second || p.HeaderTimeout != 100*time.Second || p.StreamHeaderTimeout != time.Minute {
		t.Errorf("timeouts: got %v %v %v", p.IdleTimeout, p.HeaderTimeout, p.StreamHeaderTimeout)
	}
}

// TestBrokenExpressionIsFoundInTheFile: dropped rules before it count too.
func TestBrokenExpressionIsFoundInTheFile(t *testing.T) {
	cfg := loadText(t, `
compat: lenient
ccproxy:
  rules:
    - { name: python, rule: my_module.MyRule }
    - { name: fine, when: "call.stream" }
    - name: broken
      when: "call.modle == 'x'"
    - { name: number, when: "1 + 1" }
`)
	_, err := newWiring(nil, slog.New(slog.DiscardHandler)).snapshot(cfg)
	list := parts(err)
	if len(list) != 2 {
		t.Fatalf("got %d errors, want one a broken rule: %v", len(list), err)
	}
	for i, want := range [][]string{{"ccproxy.yaml:8:13: ccproxy.rules[2].when: ", "did you mean"}, {"ccproxy.yaml:9:29: ccproxy.rules[3].when: ", "must give bool"}} {
		for _, text := range want {
			if !strings.Contains(list[i].Error(), text) {
				t.Errorf("error %d: got %s, want %q in it", i+1, list[i], text)
			}
		}
	}
}

func TestTokensAndConnectionsOutliveAReload(t *testing.T) {
	cfg := loadText(t, "ccproxy: { oat_sources: { anthropic: \"echo token\" } }\n")
	w := newWiring(nil, slog.New(slog.DiscardHandler))
	first, err := w.snapshot(cfg)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.snapshot(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if first.Providers[0].Tokens != second.Providers[0].Tokens || first.Providers[0].Transport != second.Providers[0].Transport {
		t.Error("the token or the connections were given up")
	}
	if first.Version != second.Version {
		t.Errorf("versions of one configuration: %s and %s", first.Version, second.Version)
	}
}

func TestHooksHaveTheirPolicies(t *testing.T) {
	custom := map[string]hooks.Constructor{"mine": func(hooks.Params) (gateway.Hook, error) {
		return gateway.HookFunc("mine", func(context.Context, *gateway.Exchange) (gateway.Phases, error) { return gateway.Phases{}, nil }), nil
	}}
	type policy struct {
		Deny    bool
		Timeout time.Duration
	}
	policies := func(text string) map[string]policy {
		out := map[string]policy{}
		for _, h := range snapshotOf(t, text, custom).Hooks {
			out[h.Name()] = policy{h.Deny, h.Timeout}
		}
		return out
	}
	if d := cmp.Diff(map[string]policy{
		"rule_evaluator": {true, 0}, "model_router": {true, 0}, "forward_oauth": {}, "request_analyzer": {}, "response_enhancer": {},
		"mine": {true, 2 * time.Second},
	}, policies("version: 1\n")); d != "" {
		t.Errorf("default list (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]policy{
		"rule_evaluator": {false, 0}, "request_analyzer": {true, 3 * time.Second}, "mine": {false, time.Second},
	}, policies(`ccproxy: { hooks: [
  { hook: ccproxy.hooks.rule_evaluator, on_error: allow }, { hook: request_analyzer, on_error: deny, timeout: 3s }, { hook: mine, on_error: allow, timeout: 1s } ] }`)); d != "" {
		t.Errorf("written out (-want +got):\n%s", d)
	}
}

func TestSnapshotFollowsTheConfiguration(t *testing.T) {
	s := snapshotOf(t, `
ccproxy:
  hooks: [rule_evaluator, model_router, forward_apikey]
  rules: [ { name: think, rule: ThinkingRule, target: { latency: 3s } } ]
models: { think: { targets: [anthropic/claude-opus-4-5] } }
telemetry: { detail: full, user_id: none, trust_incoming: all }
limits: { attempts: 5, body: 1MiB }
`, nil)
	if s.ForwardOAuth || !s.ForwardAPIKey {
		t.Errorf("forwarding: got oauth %v, api key %v", s.ForwardOAuth, s.ForwardAPIKey)
	}
	if s.RuleLatency["think"] != 3*time.Second || s.Detail != gateway.DetailFull || s.UserID != gateway.UserIDNone || s.Trust != gateway.TrustAll {
		t.Errorf("got %v %v %v %v", s.RuleLatency, s.Detail, s.UserID, s.Trust)
	}
	if s.Limits.Attempts != 5 || s.Limits.Body != 1<<20 || s.Limits.IdleTimeout != time.Minute {
		t.Errorf("limits: got %+v", s.Limits)
	}
}

// TestDefaultLimitsAreTheEngines keeps what `config show` prints and what the engine does by default the same.
func TestDefaultLimitsAreTheEngines(t *testing.T) {
	if d := cmp.Diff(gateway.DefaultLimits(), limits(config.Default())); d != "" {
		t.Errorf("engine and configuration disagree (-engine +configuration):\n%s", d)
	}
}

func TestEnvironmentWinsOverConfiguredTelemetry(t *testing.T) {
	cfg := loadText(t, `
ccproxy: { metrics_enabled: false }
telemetry:
  exporters: [ { name: main, endpoint: "http://one:4317", headers: { x-key: secret-value } } ]
  sampling: { ratio: 0.5, keep: { cost: 1, error: false } }
  resource: { deployment.environment.name: test }
`)
	tc, err := telemetryConfig(cfg, emptyEnv)
	if err != nil {
		t.Fatal(err)
	}
	if e := tc.Exporters[0]; e.Endpoint != "http://one:4317" || e.Headers["x-key"] != "secret-value" || len(e.Signals) != 2 {
		t.Errorf("exporter without metrics: got %+v", e)
	}
	if s := tc.Sampling; s == nil || s.Ratio != 0.5 || s.Keep.CostOver != 1 || s.Keep.Error || !s.Keep.Fallback {
		t.Errorf("sampling: got %+v", tc.Sampling)
	}
	if len(tc.Resource) != 1 || tc.Resource[0].Value.AsString() != "test" {
		t.Errorf("resource: got %v", tc.Resource)
	}
	tc, err = telemetryConfig(cfg, func(name string) (string, bool) {
		return "http://two:4318", name == "OTEL_EXPORTER_OTLP_ENDPOINT"
	})
	if err != nil {
		t.Fatal(err)
	}
	if e := tc.Exporters[0]; e.Endpoint != "http://two:4318" || len(e.Headers) != 0 {
		t.Errorf("another end point: got %+v, want no headers meant for the first", e)
	}
	if _, err = telemetryConfig(cfg, func(name string) (string, bool) { return "maybe", name == "OTEL_SDK_DISABLED" }); err == nil {
		t.Error("a malformed variable is no error")
	}
}

func TestChildTelemetryGoesWhereOursDoes(t *testing.T) {
	for _, c := range []struct {
		exporter           telemetry.Exporter
		endpoint, protocol string
	}{
		{telemetry.Exporter{Endpoint: "collector:4317"}, "https://collector:4317", "grpc"},
		{telemetry.Exporter{Endpoint: "127.0.0.1:4318"}, "http://127.0.0.1:4318", "http/protobuf"},
		{telemetry.Exporter{Endpoint: "http://c:4318/"}, "http://c:4318/", "http/protobuf"},
		{telemetry.Exporter{Endpoint: "c:1", Insecure: true, Protocol: "http"}, "http://c:1", "http/protobuf"},
	} {
		if got := withScheme(c.exporter); got != c.endpoint {
			t.Errorf("%+v: end point %s, want %s", c.exporter, got, c.endpoint)
		}
		if got := spokenProtocol(c.exporter); got != c.protocol {
			t.Errorf("%+v: protocol %s, want %s", c.exporter, got, c.protocol)
		}
	}
}

func TestLastLinesAreFoundInAnyBlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	long := strings.Repeat("x", 100<<10)
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"", 5, ""}, {"a\nb\n", 0, ""}, {"a\nb\nc\n", 2, "b\nc\n"}, {"a\nb\nc", 2, "b\nc"}, {"a\nb\n", 9, "a\nb\n"}, {"a\n" + long + "\nb\n", 2, long + "\nb\n"}, {"a\n\n\n", 2, "\n\n"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		at, err := lastLines(f, c.n)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.text[at:]; got != c.want {
			t.Errorf("last %d of %.20q: got %.20q, want %.20q", c.n, c.text, got, c.want)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
