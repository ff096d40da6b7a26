package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// example loads testdata/name from a directory of its own: a checkout may leave files that others can write.
func example(t *testing.T, name, main string) (*Config, []Warning) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Chmod(filepath.Join(dir, e.Name()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, warnings, err := Load(filepath.Join(dir, main), Options{Lookup: environment})
	if err != nil {
		t.Fatal(err)
	}
	return c, warnings
}

// routes is models as text: "label: target target | fallback".
func routes(c *Config) map[string]string {
	out := map[string]string{}
	for _, m := range c.Models {
		var b strings.Builder
		for _, t := range m.Targets {
			fmt.Fprintf(&b, "%s×%d ", t, t.Weight)
		}
		for _, t := range m.Fallbacks.Any {
			fmt.Fprintf(&b, "| %s ", t)
		}
		for _, reason := range fallbackReasons {
			for _, t := range m.Fallbacks.ByReason[reason] {
				fmt.Fprintf(&b, "| %s:%s ", reason, t)
			}
		}
		out[m.Name] = strings.TrimSpace(b.String())
	}
	return out
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

func hookNames(c *Config) []string {
	var names []string
	for _, h := range c.CCProxy.Hooks {
		names = append(names, h.Name)
	}
	return names
}

func TestDesignExampleLoads(t *testing.T) {
	c, warnings := example(t, "design", "ccproxy.yaml")
	for _, w := range warnings {
		if !strings.Contains(w.Message, "has no entry in models") {
			t.Errorf("unexpected warning: %s", w)
		}
	}
	same(t, "hooks", hookNames(c), append(append([]string{}, defaultHooks...), "capture_headers"))
	same(t, "params", c.CCProxy.Hooks[5].Params.Map(), map[string]any{"headers": []any{"user-agent", "x-request-id"}})
	same(t, "routes", routes(c), map[string]string{
		"default":    "anthropic/claude-sonnet-5×1 | mirror/claude-sonnet-5",
		"background": "anthropic/claude-haiku-4-5×1",
	})
	mirror, _ := c.Provider("mirror")
	same(t, "key", mirror.APIKeys[0].Reveal(), "canary-mirror")
	same(t, "propagate", mirror.Propagate, true)
	same(t, "input price", *c.Prices["local/qwen3-coder"].Input, PerMillion(200_000))
	same(t, "limit", *c.Budgets.List[1].Limit, USD(50e9))
	same(t, "over", c.Budgets.List[3].Over.Route, "default")
	rules := c.CCProxy.Rules
	same(t, "threshold", rules[1].Params.Threshold, int64(60000))
	same(t, "tool", rules[2].Params.ToolName, "WebSearch")
	same(t, "model", rules[3].Params.ModelName, "haiku")
	same(t, "when", rules[4].When, "call.tools.size() > 20 && caller.team == 'research'")
	for dialect, want := range map[string]string{TypeAnthropic: "anthropic", TypeOpenAI: "local", TypeGemini: "local"} {
		p, _ := c.Unrouted(dialect)
		same(t, "unrouted "+dialect, p.Name, want)
	}
}

func TestSeedLoadsWithoutWarning(t *testing.T) {
	c, warnings := example(t, "seed", "ccproxy.yaml")
	same(t, "warnings", warnings, []Warning(nil))
	same(t, "hooks", hookNames(c), defaultHooks)
	same(t, "debug", c.CCProxy.Debug, true)
	same(t, "logging", c.CCProxy.Logging, Logging{PreAPICall: true, PostAPICall: true, RoutingAnalysis: true})
}

func TestOriginalFilesLoadAsTheyAre(t *testing.T) {
	c, warnings := example(t, "original", "ccproxy.yaml")
	same(t, "listen", c.Server.Listen, "127.0.0.1:4010")
	same(t, "routes", routes(c), map[string]string{
		"default":                    "anthropic/claude-sonnet-4-5-20250929×1",
		"thinking_model":             "anthropic/claude-opus-4-5-20251101×1",
		"background":                 "anthropic/claude-haiku-4-5-20251001×1",
		"token_count":                "gemini/gemini-2.5-pro×1",
		"web_search":                 "perplexity/sonar-pro×1",
		"huge":                       "gemini/gemini-2.5-pro×1",
		"claude-sonnet-4-5-20250929": "anthropic/claude-sonnet-4-5-20250929×1",
		"claude-opus-4-5-20251101":   "anthropic/claude-opus-4-5-20251101×1",
		"claude-haiku-4-5-20251001":  "anthropic/claude-haiku-4-5-20251001×1",
	})
	anthropic, _ := c.Provider("anthropic")
	same(t, "a subscription's provider has no key although ANTHROPIC_API_KEY is set", len(anthropic.APIKeys), 0)
	perplexity, _ := c.Provider("perplexity")
	same(t, "perplexity", perplexity.BaseURL+" "+perplexity.APIKeys[0].Reveal(), "https://api.perplexity.ai canary-perplexity")
	same(t, "command is left to the shell", c.CCProxy.OATSources["gemini"].Command, "token=${GEMINI_TOKEN:-none}; echo $token")
	same(t, "refresh", c.CCProxy.OATSources["gemini"].Refresh, 48*time.Minute)
	var shapes []RuleParams
	for _, r := range c.CCProxy.Rules {
		shapes = append(shapes, RuleParams{ModelName: r.Params.ModelName, Threshold: r.Params.Threshold, ToolName: r.Params.ToolName})
	}
	same(t, "the four shapes of params", shapes, []RuleParams{
		{}, {ModelName: "claude-haiku"}, {Threshold: 60000}, {ToolName: "WebSearch"}, {Threshold: 200000},
	})
	var keys []string
	for _, w := range warnings {
		keys = append(keys, w.Key)
	}
	same(t, "warnings", keys, []string{
		"litellm.num_workers", "litellm.debug", "litellm.detailed_debug", "litellm_settings.callbacks", "litellm_settings.success_callback",
	})
	same(t, "files", len(c.Files), 2)
}

func TestLiteLLMFileAloneLoads(t *testing.T) {
	c, _ := example(t, "litellm", "config.yaml")
	same(t, "routes", routes(c), map[string]string{
		"gpt":    "openai/gpt-5×3 openai-2/gpt-5×1 | azure-eu.openai.azure.com/gpt-5-eu | anthropic/claude-sonnet-4-5",
		"claude": "anthropic/claude-sonnet-4-5×1 | openai/gpt-5 | openai-2/gpt-5 | context_window:openai/gpt-5 | context_window:openai-2/gpt-5",
		"local":  "openai-127.0.0.1-8000/qwen3×1 | anthropic/claude-sonnet-4-5",
		"gpt-4":  "openai/gpt-5×3 openai-2/gpt-5×1 | anthropic/claude-sonnet-4-5",
	})
	for name, want := range map[string]Provider{
		"openai":                    {Type: TypeOpenAI, BaseURL: "https://api.openai.com/v1", APIKeys: Secrets{"canary-a"}},
		"openai-2":                  {Type: TypeOpenAI, BaseURL: "https://api.openai.com/v1", APIKeys: Secrets{"canary-b"}},
		"azure-eu.openai.azure.com": {Type: TypeOpenAICompatible, BaseURL: "https://eu.openai.azure.com/openai/v1", APIKeys: Secrets{"canary-azure"}},
		"anthropic":                 {Type: TypeAnthropic, BaseURL: "https://api.anthropic.com", APIKeys: Secrets{"canary-anthropic"}},
		"openai-127.0.0.1-8000":     {Type: TypeOpenAICompatible, BaseURL: "http://127.0.0.1:8000/v1", APIKeys: Secrets{"none"}},
	} {
		p, _ := c.Provider(name)
		same(t, name, Provider{Type: p.Type, BaseURL: p.BaseURL, APIKeys: p.APIKeys}, want)
	}
	same(t, "price", *c.Prices["openai-127.0.0.1-8000/qwen3"].Input, PerMillion(200_000))
}

func TestOwnSectionsWinOverLiteLLMFile(t *testing.T) {
	path := write(t, "ccproxy.yaml", `
providers:
  vllm: { type: openai_compatible, base_url: "http://vllm.internal:8000/v1/", allow_http: true }
models:
  a: { targets: [ vllm/own ] }
`, "config.yaml", `
model_list:
  - { model_name: a, litellm_params: { model: openai/theirs, api_base: "http://vllm.internal:8000/v1" } }
  - { model_name: b, litellm_params: { model: openai/theirs, api_base: "http://vllm.internal:8000/v1" } }
`)
	c, warnings, err := Load(path, Options{Lookup: environment})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "routes", routes(c), map[string]string{"a": "vllm/own×1", "b": "vllm/theirs×1"})
	same(t, "providers", len(c.Providers), 1)
	same(t, "warnings", len(warnings), 1)
}

func TestLiteLLMKeyIsNotSentElsewhere(t *testing.T) {
	c, _, err := Load(write(t, "config.yaml", `
model_list:
  - { model_name: a, litellm_params: { model: anthropic/x, api_base: "https://elsewhere.example" } }
`), Options{Lookup: environment})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "keys of a provider off the vendor's address", len(c.Providers[0].APIKeys), 0)
}

func TestFindNeverLooksInWorkingDirectory(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	if err := os.WriteFile("ccproxy.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	env := func(name string) (string, bool) {
		value, ok := map[string]string{"HOME": home, "USERPROFILE": home}[name]
		return value, ok
	}
	path, found, err := Find("", env)
	same(t, "found", found, false)
	same(t, "err", err, nil)
	same(t, "path", path, filepath.Join(home, ".ccproxy", "ccproxy.yaml"))
}

func TestFindPrefersFlagThenVariableThenDirectoryThenHome(t *testing.T) {
	dir := t.TempDir()
	file := func(parts ...string) string {
		path := filepath.Join(append([]string{dir}, parts...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flag, variable := file("flag.yaml"), file("variable.yaml")
	inDir, inHome := file("dir", "config.yaml"), file("home", ".ccproxy", "ccproxy.yaml")
	vars := map[string]string{"HOME": filepath.Join(dir, "home"), "USERPROFILE": filepath.Join(dir, "home")}
	env := func(name string) (string, bool) { value, ok := vars[name]; return value, ok }
	find := func(flag, want string) {
		t.Helper()
		got, found, err := Find(flag, env)
		if got != want || !found || err != nil {
			t.Errorf("got %s, %v, %v, want %s", got, found, err, want)
		}
	}
	find("", inHome)
	vars["CCPROXY_CONFIG_DIR"] = filepath.Join(dir, "dir")
	find("", inDir)
	vars["CCPROXY_CONFIG"] = variable
	find("", variable)
	find(flag, flag)
	find(filepath.Join(dir, "home", ".ccproxy"), inHome)

	for _, missing := range []string{filepath.Join(dir, "no.yaml"), dir} {
		if _, found, err := Find(missing, env); found || err == nil {
			t.Errorf("Find(%s): got %v, %v, want an error", missing, found, err)
		}
	}
	vars["CCPROXY_CONFIG"] = filepath.Join(dir, "no.yaml")
	if _, _, err := Find("", env); err == nil {
		t.Error("a missing $CCPROXY_CONFIG: got no error")
	}
}

func TestZeroConfigurationIsLoopbackWithTheVendors(t *testing.T) {
	c, warnings, err := Load("", Options{Lookup: environment})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	same(t, "listen", c.Server.Listen+" "+c.Server.Admin, "127.0.0.1:4000 127.0.0.1:4001")
	same(t, "hooks", hookNames(c), defaultHooks)
	for _, vendor := range []string{TypeAnthropic, TypeOpenAI, TypeGemini} {
		p, _ := c.Unrouted(vendor)
		same(t, vendor, p.BaseURL, vendors[vendor].baseURL)
		same(t, vendor+" keys", len(p.APIKeys), 0)
	}
	same(t, "storage", c.Storage.Path, filepath.Join(home(t), ".ccproxy"))
	same(t, "exit", c.Timeouts.Exit, 36*time.Second)
	same(t, "Default", len(Default().Providers), 3)
}

func home(t *testing.T) string {
	t.Helper()
	h, err := homeDirectory(environment)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestNamingProvidersLeavesNoOther(t *testing.T) {
	c, _ := load(t, `providers: { local: { type: openai_compatible, base_url: "http://localhost:8000/v1" } }`)
	same(t, "providers", len(c.Providers), 1)
	p, ok := c.Unrouted(TypeAnthropic)
	same(t, "the only provider takes what nobody else does", p.Name, "local")
	same(t, "ok", ok, true)
}

func TestNoHooksMeansNone(t *testing.T) {
	c, _ := load(t, "ccproxy: { hooks: [] }")
	same(t, "hooks", len(c.CCProxy.Hooks), 0)
	c, _ = load(t, "ccproxy:\n  hooks:\n")
	same(t, "hooks with every line commented out", hookNames(c), defaultHooks)
}

func TestDefaultsGiveWayToTheFile(t *testing.T) {
	c, _ := load(t, "timeouts: { request: 30s }\nlimits: { stream_line: 512KiB, body: 1MiB }\nproviders: { anthropic: { timeouts: { request: 20s } } }")
	same(t, "no_progress", c.Timeouts.NoProgress, 30*time.Second)
	same(t, "idle", c.Timeouts.Idle, 30*time.Second)
	same(t, "event", c.Limits.Event, Size(512*kib))
	same(t, "json_string", c.Limits.JSONString, Size(mib))
	same(t, "provider", c.Providers[0].Timeouts.UpstreamHeaders, 20*time.Second)
}

func TestReferencesStandForTargets(t *testing.T) {
	c, _ := load(t, `
models:
  a: { targets: [ b, openai/gpt ], fallbacks: [ c ] }
  b: { targets: [ anthropic/x ] }
  c: { targets: [ anthropic/y, anthropic/x ], fallbacks: { any: [ d ], timeout: [ e ] } }
  e: { targets: [ openai/w ] }
  d: { targets: [ { target: gemini/z, weight: 2 }, gemini/org/model ], strategy: weight }
  anthropic/x: { targets: [ anthropic/x ] }
`)
	same(t, "routes", routes(c), map[string]string{
		"a":           "anthropic/x×1 openai/gpt×1 | anthropic/y | gemini/z | gemini/org/model",
		"b":           "anthropic/x×1",
		"c":           "anthropic/y×1 anthropic/x×1 | gemini/z | gemini/org/model | timeout:openai/w",
		"e":           "openai/w×1",
		"d":           "gemini/z×2 gemini/org/model×1",
		"anthropic/x": "anthropic/x×1",
	})
	d, _ := c.Model("d")
	same(t, "strategy", d.Strategy, "weight")
}

func TestG05ReferencesThatMultiplyAreBounded(t *testing.T) {
	var targets, fallbacks strings.Builder
	for i := range 6 {
		refs := strings.Repeat(fmt.Sprintf("p%d, ", i+1), 30)
		fmt.Fprintf(&targets, "  p%d: { targets: [ %s ] }\n", i, refs)
		fmt.Fprintf(&fallbacks, "  p%d: { targets: [ openai/%d ], fallbacks: [ %s ] }\n", i, i, refs)
	}
	refuse(t, "models:\n"+targets.String()+"  p6: { targets: [ openai/x ] }\n", "more than 256 targets")
	refuse(t, "models:\n"+targets.String()+"  p6: { targets: [ opnai/x ] }\n", `did you mean "openai"?`)
	refuse(t, "models:\n"+fallbacks.String()+"  p6: { targets: [ openai/x ] }\n", "is tried already")
}

func TestS56FileOthersMayWriteIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("permissions are not checked here")
		return
	}
	for _, mode := range []os.FileMode{0o620, 0o602, 0o666} {
		path := write(t, "ccproxy.yaml", "version: 1\n")
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, _, err := Load(path, Options{Lookup: environment})
		if err == nil || !strings.Contains(err.Error(), "chmod go-w "+path) {
			t.Errorf("mode %o: got %v, want the chmod to run", mode, err)
		}
	}
	path := write(t, "ccproxy.yaml", "version: 1\n", "config.yaml", "model_list: []\n")
	if err := os.Chmod(filepath.Join(filepath.Dir(path), "config.yaml"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(path, Options{Lookup: environment}); err == nil {
		t.Error("a config.yaml others may write: got no error")
	}
}

func TestLiteralSecretInReadableFileWarns(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("permissions are not checked here")
		return
	}
	for content, want := range map[string]int{
		`providers: { anthropic: { api_key: literal } }`:  1,
		`providers: { anthropic: { api_key: "${SET}" } }`: 0,
	} {
		path := write(t, "ccproxy.yaml", content)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		_, warnings, err := Load(path, Options{Lookup: environment})
		if err != nil || len(warnings) != want {
			t.Errorf("%s: got %v, %v, want %d warnings", content, warnings, err, want)
		}
	}
}

func TestS58ExpansionHappensOnce(t *testing.T) {
	path := write(t, "ccproxy.yaml", `server: { public_name: "${OUTER}-${UNSET:-x}-$${SET}-$SET" }`)
	c, _, err := Load(path, Options{Lookup: func(name string) (string, bool) {
		if name == "OUTER" {
			return "${SECRET}", true
		}
		return environment(name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "value", c.Server.PublicName, "${SECRET}-x-${SET}-$SET")
	refuse(t, `server: { public_name: "${UNSET:-${SET}}" }`, "is not ${NAME}")
}

func TestVariablesMayBeNumbersAndSwitches(t *testing.T) {
	path := write(t, "ccproxy.yaml", `
server: { open: "${OPEN}" }
limits: { attempts: "${N}", body: "${SIZE:-4MiB}" }
budgets: [ { name: a, scope: global, window: day, limit: "${N}" } ]
`)
	c, _, err := Load(path, Options{Lookup: func(name string) (string, bool) {
		value, ok := map[string]string{"OPEN": "true", "N": "7"}[name]
		return value, ok
	}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "values", fmt.Sprint(c.Server.Open, c.Limits.Attempts, c.Limits.Body, c.Budgets.List[0].Limit), "true 7 4MiB 7")
}

func TestG01FileLimits(t *testing.T) {
	refuse(t, strings.Repeat("# filler\n", 1<<17), "larger than 1 MiB")
	refuse(t, "server:\n  public_name: \"caf\xe9\"\n", "ccproxy.yaml:2:20", "UTF-8")
	refuse(t, "server: {}\n\x00", "ccproxy.yaml:2:1")
	refuse(t, strings.Repeat("[", 1<<16), "nested too deeply")
	refuse(t, strings.Repeat("- ", 1<<16), "nested too deeply")
	refuse(t, "x-a: [ "+strings.Repeat("1,", 150_000)+" 1 ]", "200,000 tokens")
	refuse(t, strings.Repeat("a: 1\n", 20_000), "more than 10,000 keys")
	if _, _, err := Load(t.TempDir(), Options{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: got %v", err)
	}
}

func TestEmptyFileAndAnchorsLoad(t *testing.T) {
	load(t, "")
	load(t, "# nothing\n")
	load(t, "\ufeffversion: 1\n")
	c, _ := load(t, `
x-base: &base { type: anthropic, propagate: true, on_disconnect: drain }
providers:
  a: { <<: *base, base_url: "https://a.example", propagate: false }
  b: { <<: [ *base ], base_url: "https://b.example" }
`)
	a, _ := c.Provider("a")
	b, _ := c.Provider("b")
	same(t, "merged", fmt.Sprint(a.OnDisconnect, a.Propagate, b.Propagate), "drainfalse true")
}

func TestHookParamsDecodeStrictly(t *testing.T) {
	c, _ := load(t, `
ccproxy:
  hooks:
    - hook: webhook
      on_error: deny
      timeout: 500ms
      params: { url: "https://hooks.example.com", secret: "${SET}", timeout: 1s, retries: 2 }
`)
	var params struct {
		URL     string        `yaml:"url"`
		Secret  Secret        `yaml:"secret"`
		Timeout time.Duration `yaml:"timeout"`
		Retries int           `yaml:"retries"`
	}
	hook := c.CCProxy.Hooks[0]
	if err := hook.Params.Decode(&params); err != nil {
		t.Fatal(err)
	}
	same(t, "params", fmt.Sprint(params.URL, params.Secret.Reveal(), params.Timeout, params.Retries), "https://hooks.example.comvalue1s 2")
	same(t, "hook", fmt.Sprint(hook.OnError, hook.Timeout), "deny500ms")
	var other struct {
		Adress string `yaml:"adress"`
	}
	err := hook.Params.Decode(&other)
	if err == nil || !strings.Contains(err.Error(), `ccproxy.yaml:7:17: ccproxy.hooks[0].params: unknown key "url"`) {
		t.Errorf("got %v, want the unknown key and its place", err)
	}
	if err := hook.Params.Decode(other); err == nil {
		t.Error("decoding into a value: got no error")
	}
	if strings.Contains(string(c.Masked()), "value") {
		t.Errorf("the secret of a hook is printed: %s", c.Masked())
	}
}

func TestHooksOfTheBinaryAreKnown(t *testing.T) {
	path := write(t, "ccproxy.yaml", "ccproxy: { hooks: [ my_hook ] }")
	if _, _, err := Load(path, Options{Lookup: environment}); err == nil {
		t.Error("an unknown hook: got no error")
	}
	c, _, err := Load(path, Options{Lookup: environment, Hooks: []string{"my_hook"}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "hooks", hookNames(c), []string{"my_hook"})
}

func TestPlaceOfNearestKey(t *testing.T) {
	c, _ := load(t, "version: 1\nproviders:\n  anthropic:\n    propagate: true\n")
	same(t, "value", c.Place("providers.anthropic.propagate").String(), "ccproxy.yaml:4:16")
	same(t, "key above", c.Place("providers.anthropic.base_url").String(), "ccproxy.yaml:3:3")
	same(t, "default", Default().Place("server.listen").String(), "default")
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:4000": true, "127.9.9.9": true, "[::1]:4000": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		"0.0.0.0:4000": false, ":4000": false, "10.0.0.1:1": false, "localhost.example:1": false, "[::]:1": false,
	} {
		if got := Loopback(address); got != want {
			t.Errorf("Loopback(%s): got %v, want %v", address, got, want)
		}
	}
}
