package dashboards

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/ccproxy/ccproxy/collector"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// known are the series there are, by the recording rules that Prometheus is given.
func known(t *testing.T) (collector.Series, []collector.Rules) {
	t.Helper()
	var files []collector.Rules
	for _, name := range []string{"recording.anchored", "recording.gauges", "alerts"} {
		text, err := os.ReadFile("../collector/rules/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		r, err := collector.ParseRules(text)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, r)
	}
	series, err := collector.Known(files...)
	if err != nil {
		t.Fatal(err)
	}
	return series, files
}

// every calls visit with each panel, folded ones included.
func every(visit func(file string, d Dashboard, p Panel)) {
	all := All()
	for _, file := range slices.Sorted(maps.Keys(all)) {
		for _, p := range all[file].Panels {
			visit(file, all[file], p)
			for _, inner := range p.Panels {
				visit(file, all[file], inner)
			}
		}
	}
}

func TestDashboardsAreFresh(t *testing.T) {
	all := All()
	for file, d := range all {
		want, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not fresh: go generate ./dashboards", file)
		}
	}
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) != len(all) {
		t.Errorf("%d files, want the %d dashboards: %v", len(files), len(all), files)
	}
}

func TestPanelsExplainThemselves(t *testing.T) {
	withoutUnit := []string{"row", "logs", "traces", "nodeGraph"}
	kinds := []string{"row", "stat", "timeseries", "heatmap", "state-timeline", "table", "logs", "traces", "nodeGraph"}
	every(func(file string, _ Dashboard, p Panel) {
		if !slices.Contains(kinds, p.Type) {
			t.Errorf("%s: %q is a %s", file, p.Title, p.Type)
		}
		if p.Title == "" || p.Type != "row" && (len(p.Description) < 6 || !strings.HasSuffix(p.Description, ".")) {
			t.Errorf("%s: %q has the description %q", file, p.Title, p.Description)
		}
		if !slices.Contains(withoutUnit, p.Type) && p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("%s: %q has no unit", file, p.Title)
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s: %q has no query", file, p.Title)
		}
	})
}

func TestPanelsHavePlacesOfTheirOwn(t *testing.T) {
	uids := map[string]bool{}
	for file, d := range All() {
		if uids[d.UID] || !strings.HasPrefix(d.UID, "ccproxy-") || d.SchemaVersion != 42 {
			t.Errorf("%s: uid %s, schema %d", file, d.UID, d.SchemaVersion)
		}
		uids[d.UID] = true
		if n := len(d.Panels); n > 26 {
			t.Errorf("%s has %d panels: who reads them?", file, n)
		}
		titles, ids := map[string]bool{}, map[int]bool{}
		cells := map[[2]int]string{}
		for _, p := range d.Panels {
			if titles[p.Title] || ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: %q has no title or id of its own", file, p.Title)
			}
			titles[p.Title], ids[p.ID] = true, true
			g := p.GridPos
			if g.X < 0 || g.X+g.W > 24 || g.H < 1 {
				t.Errorf("%s: %q is at %+v", file, p.Title, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other := cells[[2]int{x, y}]; other != "" {
						t.Fatalf("%s: %q is over %q", file, p.Title, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

// A dashboard that names its data sources by variables can be imported anywhere.
func TestDataSourcesAreVariables(t *testing.T) {
	for file, d := range All() {
		have := map[string]string{}
		for _, v := range d.Templating.List {
			if v.Type == "datasource" {
				have["${"+v.Name+"}"] = v.Query.(string)
			}
		}
		text, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		uses := regexp.MustCompile(`"type": "(prometheus|tempo|loki)",\s+"uid": "([^"]+)"`).FindAllStringSubmatch(string(text), -1)
		if len(uses) < 5 {
			t.Errorf("%s: %d uses of data sources", file, len(uses))
		}
		for _, use := range uses {
			if have[use[2]] != use[1] {
				t.Errorf("%s: a %s query asks %s", file, use[1], use[2])
			}
		}
	}
}

var (
	traceAttribute = regexp.MustCompile(`\b(span|resource)\.([a-z_]+(?:\.[a-z_]+)*)`)
	logField       = regexp.MustCompile(`\| ([a-z_]+)\s*(?:=~|!~|=|!=)\s*"([^"]*)"`)
	// logFields are those of the log record itself, as Loki names them, and the one the Collector adds.
	logFields = []string{"event", "severity_text", "trace_id", "span_id"}
)

func TestQueriesAskForWhatThereIs(t *testing.T) {
	series, _ := known(t)
	var attributes, events []string
	for _, a := range names.Attributes {
		attributes = append(attributes, string(a.Key))
	}
	for _, e := range names.Events {
		events = append(events, e.Name)
	}
	every(func(file string, d Dashboard, p Panel) {
		for _, target := range p.Targets {
			switch target.Datasource {
			case metrics:
				for _, wrong := range series.Check(target.Expr) {
					t.Errorf("%s: %q: %s\n\t%s", file, p.Title, wrong, target.Expr)
				}
				checkVariables(t, file, d, target.Expr)
			case traces:
				for _, m := range traceAttribute.FindAllStringSubmatch(target.Query, -1) {
					if !slices.Contains(attributes, m[2]) {
						t.Errorf("%s: %q: there is no attribute %s", file, p.Title, m[2])
					}
				}
				checkVariables(t, file, d, target.Query)
			case logs:
				for _, m := range logField.FindAllStringSubmatch(target.Expr, -1) {
					if !slices.Contains(logFields, m[1]) && !slices.Contains(names.CommonFields, m[1]) {
						t.Errorf("%s: %q: log events have no field %s", file, p.Title, m[1])
					}
					if m[1] == "event" && !slices.ContainsFunc(events, regexp.MustCompile("^("+m[2]+")$").MatchString) {
						t.Errorf("%s: %q: no event is %s", file, p.Title, m[2])
					}
				}
				checkVariables(t, file, d, target.Expr)
			default:
				t.Errorf("%s: %q asks %v", file, p.Title, target.Datasource)
			}
		}
	})
}

func checkVariables(t *testing.T, file string, d Dashboard, query string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`\$\{?([a-z_]+)`).FindAllStringSubmatch(query, -1) {
		if strings.HasPrefix(m[1], "__") {
			continue
		}
		if !slices.ContainsFunc(d.Templating.List, func(v Variable) bool { return v.Name == m[1] }) {
			t.Errorf("%s: no variable %s: %s", file, m[1], query)
		}
	}
}

func TestVariablesAskForWhatThereIs(t *testing.T) {
	series, _ := known(t)
	values := regexp.MustCompile(`^label_values\((.+), ([a-z_]+)\)$`)
	for file, d := range All() {
		for _, v := range d.Templating.List {
			switch v.Type {
			case "query":
				m := values.FindStringSubmatch(v.Definition)
				if m == nil {
					t.Errorf("%s: variable %s is %q", file, v.Name, v.Definition)
					continue
				}
				for _, wrong := range series.Check("sum by (" + m[2] + ") (" + m[1] + ")") {
					t.Errorf("%s: variable %s: %s", file, v.Name, wrong)
				}
			case "custom":
				for _, o := range v.Options {
					for _, wrong := range series.Check("sum by (" + o.Value + ") (ccproxy:cost:increase1m)") {
						t.Errorf("%s: variable %s: %s", file, v.Name, wrong)
					}
				}
			}
		}
	}
}

// Columns and legends are labels of what is asked for.
func TestLegendsAndColumnsAreLabels(t *testing.T) {
	legend := regexp.MustCompile(`\{\{([^}]+)\}\}`)
	every(func(file string, _ Dashboard, p Panel) {
		for _, target := range p.Targets {
			for _, m := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !strings.Contains(target.Expr, m[1]) && !inSeries(t, target.Expr, m[1]) {
					t.Errorf("%s: %q: the legend %s is no label of %s", file, p.Title, m[1], target.Expr)
				}
			}
		}
		for _, tr := range p.Transformations {
			if tr.ID != "organize" {
				continue
			}
			for field := range tr.Options["renameByName"].(map[string]any) {
				if strings.HasPrefix(field, "Value") {
					continue
				}
				for _, target := range p.Targets {
					if !strings.Contains(target.Expr, field) {
						t.Errorf("%s: %q: column %s is not in %s", file, p.Title, field, target.Expr)
					}
				}
			}
		}
		if p.Type == "table" && p.Targets[0].Datasource == traces {
			for _, o := range p.FieldConfig.Overrides {
				hidden := o.Properties[0].ID == "custom.hidden"
				if !hidden && strings.Contains(o.Matcher.Options, ".") && !strings.Contains(p.Targets[0].Query, "span."+o.Matcher.Options) {
					t.Errorf("%s: %q: column %s is not selected", file, p.Title, o.Matcher.Options)
				}
			}
		}
	})
}

// inSeries reports whether what an expression without grouping reads has the label.
func inSeries(t *testing.T, expr, label string) bool {
	t.Helper()
	series, _ := known(t)
	selectors, _ := collector.Selectors(expr)
	return slices.ContainsFunc(selectors, func(s collector.Selector) bool { return slices.Contains(series[s.Metric], label) })
}

func TestCountersAreAskedForTheirIncrease(t *testing.T) {
	raw := regexp.MustCompile(`_(total|count|sum|bucket)$`)
	every(func(file string, _ Dashboard, p Panel) {
		for _, target := range p.Targets {
			selectors, _ := collector.Selectors(target.Expr)
			for _, s := range selectors {
				if raw.MatchString(s.Metric) && s.Metric != "go_goroutine_count" && !regexp.MustCompile(`(rate|increase)\(`+s.Metric).MatchString(target.Expr) {
					t.Errorf("%s: %q reads counter %s as it stands", file, p.Title, s.Metric)
				}
				if s.Metric == "ccproxy_cost_total" {
					t.Errorf("%s: %q counts money by itself; the recorded minutes are exact", file, p.Title)
				}
			}
			if strings.Contains(target.Expr, "rate(") && !strings.Contains(target.Expr, "$__rate_interval") && !strings.Contains(target.Expr, "$__range") {
				t.Errorf("%s: %q has a rate over a fixed time: %s", file, p.Title, target.Expr)
			}
		}
	})
}

// A search that is not told returns some matches, not the latest; a comparison with 0 does not find floats.
func TestSearchesAreForTheLatest(t *testing.T) {
	floats := regexp.MustCompile(`span\.(ccproxy\.cost|ccproxy\.stream\.\w+gap|gen_ai\.usage\.cost) [<>]=? \d+(?:[^.\d]|$)`)
	every(func(file string, _ Dashboard, p Panel) {
		for _, target := range p.Targets {
			if target.TableType != "" && !strings.HasSuffix(target.Query, "with (most_recent=true)") {
				t.Errorf("%s: %q: %s", file, p.Title, target.Query)
			}
			if floats.MatchString(target.Query) {
				t.Errorf("%s: %q compares a float with an integer: %s", file, p.Title, target.Query)
			}
		}
	})
}

func TestExemplarsAreShownWhereThereAreAny(t *testing.T) {
	every(func(file string, _ Dashboard, p Panel) {
		for _, target := range p.Targets {
			if target.Exemplar && !strings.Contains(target.Expr, "_bucket") {
				t.Errorf("%s: %q wants exemplars of what has none: %s", file, p.Title, target.Expr)
			}
		}
	})
}

func TestLinksLeadToDashboards(t *testing.T) {
	uids := map[string]bool{}
	for _, d := range All() {
		uids[d.UID] = true
	}
	n := 0
	every(func(file string, _ Dashboard, p Panel) {
		if p.FieldConfig == nil {
			return
		}
		for _, link := range p.FieldConfig.Defaults.Links {
			n++
			m := regexp.MustCompile(`^/d/([a-z-]+)/`).FindStringSubmatch(link.URL)
			if m == nil || !uids[m[1]] {
				t.Errorf("%s: %q leads to %s", file, p.Title, link.URL)
			}
			for _, label := range regexp.MustCompile(`__field\.labels\.([a-z_]+)`).FindAllStringSubmatch(link.URL, -1) {
				if !strings.Contains(p.Targets[0].Expr, "by ("+label[1]+")") {
					t.Errorf("%s: %q: the link wants label %s", file, p.Title, label[1])
				}
			}
		}
	})
	if n < 3 {
		t.Errorf("%d links from spend to requests", n)
	}
}

// unshown are the metrics that no panel and no rule shows, with the reason.
var unshown = map[string]string{
	names.MetricGenAIClientTokenUsage:                          "off by default, for other backends",
	names.MetricGenAIClientOperationDuration:                   "off by default, for other backends",
	names.MetricGenAIClientInferenceOperationInputTokens:       "the counters of tokens are shown",
	names.MetricGenAIClientInferenceOperationOutputTokens:      "the counters of tokens are shown",
	names.MetricGenAIClientInferenceUsageReasoningOutputTokens: "a part of the output",
	names.MetricGenAIClientInferenceUsageCacheWriteInputTokens: "a part of the input; its cost is shown by class",
	names.MetricGenAIClientEmbeddingsDuration:                  "calls are shown by attempts and requests",
	names.MetricGenAIClientEmbeddingsOperationInputTokens:      "calls are shown by attempts and requests",
	names.MetricRequestTimeToFirstByte:                         "the time to the first chunk is shown",
	names.MetricHTTPServerRequestDuration:                      "requests are shown by our own metric",
	names.MetricHTTPClientRequestDuration:                      "calls are shown by the GenAI metric",
	names.MetricBudgetOvershoot:                                "an alert asks the gauges instead",
}

func TestEveryMetricIsShown(t *testing.T) {
	_, files := known(t)
	var all strings.Builder
	every(func(_ string, _ Dashboard, p Panel) {
		for _, target := range p.Targets {
			all.WriteString(target.Expr + "\n")
		}
	})
	recorded := map[string]string{}
	for _, f := range files {
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				if r.Record != "" {
					recorded[r.Record] = r.Expr
				} else {
					all.WriteString(r.Expr + "\n")
				}
			}
		}
	}
	// What is shown by way of what is recorded of it, and that of it.
	text := all.String()
	for range 3 {
		for record, expr := range recorded {
			if strings.Contains(text, record) && !strings.Contains(text, expr) {
				text += expr + "\n"
			}
		}
	}
	for _, m := range names.Metrics {
		spelled := strings.ReplaceAll(m.Name, ".", "_")
		shown := regexp.MustCompile(`\b` + spelled + `(_total|_seconds|_bytes|_ratio)?(_total|_bucket|_count|_sum)?\b`).MatchString(text)
		if _, ok := unshown[m.Name]; ok == shown {
			t.Errorf("metric %s: shown %v, excused %v", m.Name, shown, ok)
		}
	}
}

// provisioned is a file of Grafana's data sources.
type provisioned struct {
	Datasources []struct {
		Name, UID, Type, URL string
		JSONData             map[string]any `yaml:"jsonData"`
	} `yaml:"datasources"`
}

func TestDataSourcesLeadToEachOther(t *testing.T) {
	uids := map[string]string{}
	var texts []string
	for _, name := range []string{"ccproxy", "alertmanager"} {
		text, err := os.ReadFile("provisioning/datasources/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
		var p provisioned
		if err := yaml.Unmarshal(text, &p); err != nil {
			t.Fatal(err)
		}
		for _, d := range p.Datasources {
			uids[d.UID] = d.Type
			if !regexp.MustCompile(`^\$\{[A-Z]+_URL\}$`).MatchString(d.URL) {
				t.Errorf("%s is at %s, want it from the environment", d.Name, d.URL)
			}
		}
	}
	for _, m := range regexp.MustCompile(`datasourceUid: (\w+)`).FindAllStringSubmatch(strings.Join(texts, "\n"), -1) {
		if uids[m[1]] == "" {
			t.Errorf("a link leads to data source %s, which is not there", m[1])
		}
	}
	for _, d := range All() {
		for _, v := range d.Templating.List {
			if v.Type == "datasource" && uids[v.Current.Value] != v.Query {
				t.Errorf("%s: variable %s stands for %s, a %s", d.UID, v.Name, v.Current.Value, uids[v.Current.Value])
			}
		}
	}
	// A dollar sign by itself is taken for the environment's.
	if m := regexp.MustCompile(`[^$]\$[^${A-Z]`).FindString(strings.Join(texts, "\n")); m != "" {
		t.Errorf("a dollar sign is not doubled: %q", m)
	}
	series, _ := known(t)
	queries := regexp.MustCompile(`query: '([^']*_[^']*\{\$\$__tags[^']*)'`).FindAllStringSubmatch(texts[0], -1)
	if len(queries) != 3 {
		t.Errorf("%d queries from traces to metrics, want 3", len(queries))
	}
	for _, q := range queries {
		for _, wrong := range series.Check(strings.ReplaceAll(q[1], "$$__tags", "")) {
			t.Errorf("from traces to metrics: %s: %s", q[1], wrong)
		}
	}
}
