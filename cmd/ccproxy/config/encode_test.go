package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// again loads what c prints.
func again(t *testing.T, c *Config) *Config {
	t.Helper()
	out, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	back, warnings, err := Load(write(t, "ccproxy.yaml", string(out)), Options{Lookup: environment})
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, out)
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "has no entry in models") {
			t.Errorf("unexpected warning: %s", w)
		}
	}
	return back
}

// equal compares what is exported and printed, so without places.
func equal(t *testing.T, got, want *Config) {
	t.Helper()
	if g, w := string(got.Masked()), string(want.Masked()); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	gotValue, wantValue := reflect.ValueOf(*got), reflect.ValueOf(*want)
	for i := range gotValue.NumField() {
		field := gotValue.Type().Field(i)
		switch field.Name {
		case "Files", "places", "env", "Models", "CCProxy", "LiteLLM": // of these the YAML is all there is to compare
			continue
		}
		if !reflect.DeepEqual(gotValue.Field(i).Interface(), wantValue.Field(i).Interface()) {
			t.Errorf("%s: got %+v, want %+v", field.Name, gotValue.Field(i), wantValue.Field(i))
		}
	}
}

func TestPrintedConfigurationLoadsAgain(t *testing.T) {
	c, _, err := Load("", Options{Lookup: environment})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, again(t, c), c)

	c, _ = load(t, `
server: { public_name: "a$${b", admin: "off", tls: { cert: a.pem, key: b.pem } }
ccproxy:
  hooks: [ { hook: capture_headers, params: { headers: [ "$${x}" ], n: 1.5, on: true } } ]
  rules:
    - { name: a, rule: TokenCountRule, params: 0, count: messages, target: { latency: 2s, cost: 0.01 } }
    - { name: a, when: "x == '${y}'" }
providers:
  anthropic: { passthrough: [ /v1/files ], passthrough_price: { per_request: 0 } }
models:
  a: { targets: [ { target: anthropic/x, weight: 3 }, { target: anthropic/y, weight: 0 } ], fallbacks: { any: [ anthropic/z ], timeout: [ ] } }
  "gpt-4.1's": { targets: [ anthropic/x ] }
prices: { "a/b": { input: 0.000001, output: 0, tools: { web_search: 0.01, free: 0 } }, c: { inherit: true } }
teams: [ { name: t, models: [ "a*" ], limits: { requests_per_minute: 5 } } ]
budgets:
  show_amounts: true
  unknown_price: { assume: 15 }
  list: [ { name: b, scope: global, window: 30d, limit: 0, thresholds: [ ] }, { name: c, scope: global, window: day, limit: 123456789.123456789 } ]
  webhooks: [ { url: "https://hooks.example.com" } ]
moderation: { backends: { p: { type: patterns, patterns: [ "${a}$" ] } }, checks: [ { backend: p, stages: [ input, stream ], mode: audit } ] }
telemetry:
  content_labels: { a: full }
  resource: { service.name: gw }
  sampling: { ratio: 0, keep: { error: false, cost: 1.5, duration: 1m } }
`)
	equal(t, again(t, c), c)
}

func TestPrintedConfigurationHasNoSecretButItsSource(t *testing.T) {
	for _, name := range []string{"design", "original", "litellm"} {
		main := "ccproxy.yaml"
		if name == "litellm" {
			main = "config.yaml"
		}
		c, _ := example(t, name, main)
		out, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(out), "canary") {
			t.Errorf("%s: a secret is printed:\n%s", name, out)
		}
		if !strings.Contains(string(out), `api_key: "***" # `) {
			t.Errorf("%s: no secret with its source in\n%s", name, out)
		}
	}
	c, _ := load(t, `
providers: { anthropic: { api_key: [ "${SET}", literal-canary ], headers: { x-custom.one: canary } } }
storage: { dsn: "postgres://u:canary@host/db" }
ccproxy: { hooks: [ { hook: webhook, params: { auth_token: canary, headers: { X-A: canary }, url: "https://h/${SET}" } } ] }
`)
	out := string(c.Masked())
	if strings.Contains(out, "canary") || strings.Contains(out, "value") {
		t.Errorf("a secret is printed:\n%s", out)
	}
}

func TestEveryLimitIsPrinted(t *testing.T) {
	out := string(Default().Masked())
	for _, section := range []reflect.Type{reflect.TypeFor[Limits](), reflect.TypeFor[Timeouts]()} {
		keys, _ := fields(section)
		for _, key := range keys {
			if !strings.Contains(out, "\n  "+key+": ") {
				t.Errorf("%s is not in\n%s", key, out)
			}
		}
	}
}

func TestTemplateIsTheZeroConfiguration(t *testing.T) {
	none := func(name string) (string, bool) {
		if name == "HOME" || name == "USERPROFILE" {
			return environment(name)
		}
		return "", false
	}
	path := filepath.Join(t.TempDir(), "ccproxy.yaml")
	if err := os.WriteFile(path, Template(), 0o600); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := Load(path, Options{Lookup: none})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	zero, _, err := Load("", Options{Lookup: none})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, c, zero)
}

// The comments of the template are configuration too, once the "# " is removed.
func TestTemplateExamplesLoad(t *testing.T) {
	var b strings.Builder
	for _, line := range strings.Split(string(Template()), "\n") {
		trimmed := strings.TrimLeft(line, " ")
		if rest, ok := strings.CutPrefix(trimmed, "# "); ok && (strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, " ") || yamlLine(rest)) {
			line = line[:len(line)-len(trimmed)] + rest
		}
		b.WriteString(strings.Replace(line, "rules: []", "rules:", 1) + "\n")
	}
	_, _, err := Load(write(t, "ccproxy.yaml", b.String()), Options{Lookup: func(name string) (string, bool) {
		if value, ok := environment(name); ok {
			return value, ok
		}
		return "ccp_0123456789abcdefghijklmnopq" + name, true
	}})
	if err != nil {
		t.Errorf("%v\nin\n%s", err, b.String())
	}
}

// yamlLine tells "key: …" from a sentence.
func yamlLine(s string) bool {
	key, _, ok := strings.Cut(s, ":")
	return ok && !strings.Contains(key, " ") && key != "ccproxy.yaml"
}
