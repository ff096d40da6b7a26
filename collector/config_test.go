package collector

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// builderFile is builder.yaml.
type builderFile struct {
	Dist struct {
		Module      string `yaml:"module"`
		Name        string `yaml:"name"`
		Description string `yaml:"description"`
		Version     string `yaml:"version"`
		OutputPath  string `yaml:"output_path"`
	} `yaml:"dist"`
	Receivers, Processors, Exporters, Connectors, Extensions, Providers []struct {
		GoMod string `yaml:"gomod"`
	}
}

func (b builderFile) modules() (list []string) {
	for _, kind := range [][]struct {
		GoMod string `yaml:"gomod"`
	}{b.Receivers, b.Processors, b.Exporters, b.Connectors, b.Extensions, b.Providers} {
		for _, m := range kind {
			list = append(list, m.GoMod)
		}
	}
	return list
}

func readBuilder(t *testing.T) builderFile {
	t.Helper()
	text, err := os.ReadFile("builder.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var b builderFile
	if err := yaml.UnmarshalWithOptions(text, &b, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return b
}

// collectorFile is otelcol.yaml.
type collectorFile struct {
	Receivers, Processors, Exporters, Connectors, Extensions map[string]any
	Service                                                  struct {
		Extensions []string
		Pipelines  map[string]struct{ Receivers, Processors, Exporters []string }
		Telemetry  map[string]any
	}
}

func readCollector(t *testing.T, path string) (collectorFile, string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c collectorFile
	if err := yaml.UnmarshalWithOptions(text, &c, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return c, string(text)
}

func TestEveryFileParses(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".yaml") && !strings.HasSuffix(path, ".yml") {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var v any
		if err := yaml.Unmarshal(text, &v); err != nil || v == nil {
			t.Errorf("%s: %v, %v", path, v, err)
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Errorf("%d files, error %v", files, err)
	}
}

// Each component is used, and each used one declared and in the manifest. Its module is named after its kind without "_".
func TestCollectorUsesWhatItsManifestHas(t *testing.T) {
	c, _ := readCollector(t, "otelcol.yaml")
	used := map[string]bool{}
	for name, p := range c.Service.Pipelines {
		for _, id := range slices.Concat(p.Receivers, p.Processors, p.Exporters) {
			used[id] = true
		}
		if name != "traces/out" && (len(p.Processors) == 0 || p.Processors[0] != "memory_limiter") {
			t.Errorf("pipeline %s does not begin with memory_limiter: %v", name, p.Processors)
		}
	}
	for _, id := range c.Service.Extensions {
		used[id] = true
	}
	modules := strings.Join(readBuilder(t).modules(), "\n")
	alias := map[string]string{"otlp_grpc": "otlpexporter", "otlp_http": "otlphttpexporter", "otlp": "otlpreceiver", "health_check": "healthcheckextension", "file_storage": "filestorage"}
	declared := slices.Concat(slices.Collect(maps.Keys(c.Receivers)), slices.Collect(maps.Keys(c.Processors)), slices.Collect(maps.Keys(c.Exporters)),
		slices.Collect(maps.Keys(c.Connectors)), slices.Collect(maps.Keys(c.Extensions)))
	for _, id := range declared {
		if !used[id] {
			t.Errorf("%s is declared and not used", id)
		}
		delete(used, id)
		kind, _, _ := strings.Cut(id, "/")
		module, ok := alias[kind]
		if !ok {
			module = strings.ReplaceAll(kind, "_", "")
		}
		if !strings.Contains(modules, "/"+module) {
			t.Errorf("%s is not in builder.yaml", id)
		}
	}
	for id := range used {
		t.Errorf("%s is used and not declared", id)
	}
	if got, want := len(readBuilder(t).modules()), 15; got != want {
		t.Errorf("builder.yaml has %d modules, want the %d that are used", got, want)
	}
}

var ownAttribute = regexp.MustCompile(`\b(ccproxy|gen_ai)(\.[a-z_]+)+`)

// contentAttributes are removed where other programs set them: the gateway has them on no span.
var contentAttributes = []string{"gen_ai.prompt", "gen_ai.completion"}

// What sampling, span metrics and Tempo's service graph look at is what the gateway sets.
func TestStackReadsAttributesThatExist(t *testing.T) {
	var keys []string
	for _, a := range names.Attributes {
		keys = append(keys, string(a.Key))
	}
	for _, path := range []string{"otelcol.yaml", "tempo.yaml"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found := ownAttribute.FindAllString(strings.ReplaceAll(string(text), `\\`, ""), -1)
		if len(found) == 0 {
			t.Errorf("%s: no attribute found", path)
		}
		for _, key := range found {
			if !slices.Contains(keys, key) && !slices.Contains(contentAttributes, key) {
				t.Errorf("%s: the gateway sets no attribute %s", path, key)
			}
		}
	}
}

func TestSamplingKeepsByValuesThatExist(t *testing.T) {
	text, err := os.ReadFile("otelcol.yaml")
	if err != nil {
		t.Fatal(err)
	}
	policies := regexp.MustCompile(`string_attribute: \{ key: ([a-z._]+), values: \[([a-z_, ]+)\] \}`).FindAllStringSubmatch(string(text), -1)
	if len(policies) != 3 {
		t.Fatalf("%d policies by value, want 3", len(policies))
	}
	for _, p := range policies {
		for value := range strings.SplitSeq(p[2], ", ") {
			if !slices.Contains(names.Values[p[1]], value) {
				t.Errorf("policy on %s: there is no value %s", p[1], value)
			}
		}
	}
}

func TestEveryQueueIsOnDisk(t *testing.T) {
	c, text := readCollector(t, "otelcol.yaml")
	if got := strings.Count(text, "storage: file_storage/queue"); got != len(c.Exporters) {
		t.Errorf("%d queues on disk, want %d", got, len(c.Exporters))
	}
}

// The patterns of the redaction processor are RE2, as Go's are; here they meet what they are for.
func TestRedactionMasksSecretsAndNothingElse(t *testing.T) {
	_, text := readCollector(t, "otelcol.yaml")
	var c struct {
		Processors struct {
			Redaction struct {
				Keys   []string `yaml:"blocked_key_patterns"`
				Values []string `yaml:"blocked_values"`
			}
		}
	}
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	matches := func(patterns []string, s string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return regexp.MustCompile(p).MatchString(s) })
	}
	r := c.Processors.Redaction
	for _, key := range []string{"authorization", "http.request.header.authorization", "Proxy-Authorization", "x-api-key", "http.request.header.x_api_key",
		"x-goog-api-key", "api_key", "db.password", "set-cookie", "access_token", "user.email", "client_secret"} {
		if !matches(r.Keys, key) {
			t.Errorf("key %s passes", key)
		}
	}
	for _, a := range names.Attributes {
		if matches(r.Keys, string(a.Key)) {
			t.Errorf("the gateway's own attribute %s would be masked", a.Key)
		}
	}
	for _, f := range []string{names.FieldInputTokens, names.FieldOutputTokens, names.FieldAuthPresent, names.FieldUserAgent, "token_count", "session.id"} {
		if matches(r.Keys, f) {
			t.Errorf("field %s would be masked", f)
		}
	}
	for _, value := range []string{
		"sk-ant-" + strings.Repeat("a", 20), "key: sk-proj-" + strings.Repeat("B1", 20) + ".", "ccp_" + strings.Repeat("x", 27), "AIza" + strings.Repeat("0", 35),
		"Bearer " + strings.Repeat("z", 12), "ghp_" + strings.Repeat("a", 36), "AKIA" + strings.Repeat("Q", 16), "gsk_" + strings.Repeat("a", 30),
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLXNpZw",
	} {
		if !matches(r.Values, value) {
			t.Errorf("value %s passes", value)
		}
	}
	for _, value := range []string{"claude-sonnet-5", "anthropic/claude-opus-5", "POST /v1/messages", "0198c1d2-7c4e-7a52-9d3e-5b6a7c8d9e0f",
		"4bf92f3577b34da6a3ce929d0e0e4736", "risk-assessment-of-the-whole-project", "the bearer of bad news", "rate_limit_exceeded", "msg_01XFDUDYJgAACzvnptvVoYEL"} {
		if matches(r.Values, value) {
			t.Errorf("value %s would be masked", value)
		}
	}
}
