package collector

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
)

func readRules(t *testing.T, path string) Rules {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRules(text)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return r
}

func allRules(t *testing.T, variant string) (files []Rules) {
	t.Helper()
	for _, name := range []string{"recording." + variant, "recording.gauges", "alerts"} {
		files = append(files, readRules(t, "rules/"+name+".yaml"))
	}
	return files
}

func TestRulesAskForSeriesThatExist(t *testing.T) {
	for _, variant := range []string{"anchored", "portable"} {
		files := allRules(t, variant)
		known, err := Known(files...)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, group := range file.Groups {
				for _, rule := range group.Rules {
					for _, wrong := range known.Check(rule.Expr) {
						t.Errorf("%s: %s%s: %s", variant, rule.Record, rule.Alert, wrong)
					}
				}
			}
		}
	}
}

func TestPortableRulesAreTheAnchoredOnes(t *testing.T) {
	anchored, err := os.ReadFile("rules/recording.anchored.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := Portable(anchored)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("rules/recording.portable.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("rules/recording.portable.yaml is not fresh: go generate ./collector")
	}
	a, p := readRules(t, "rules/recording.anchored.yaml"), readRules(t, "rules/recording.portable.yaml")
	for i, group := range a.Groups {
		for j, rule := range group.Rules {
			other := p.Groups[i].Rules[j]
			if rule.Record != other.Record || strings.Contains(other.Expr, "anchored") || !strings.Contains(other.Expr, "[5m]") {
				t.Errorf("%s: portable is %s: %s", rule.Record, other.Record, other.Expr)
			}
		}
	}
}

func TestPortableRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, text := range []string{
		"groups: []\n",
		anchoredPreface + "expr: rate(x[5m] anchored)\n",
	} {
		if got, err := Portable([]byte(text)); err == nil {
			t.Errorf("%q became %q, want an error", text, got)
		}
	}
}

// words that an alert's templates may use, with what they do when only their form is of interest.
var templateWords = template.FuncMap{
	"humanize": anyText, "humanizePercentage": anyText, "humanizeDuration": anyText,
}

func anyText(any) string { return "" }

func TestAlertsSayWhatToDo(t *testing.T) {
	seen := map[string]bool{}
	for _, group := range readRules(t, "rules/alerts.yaml").Groups {
		for _, rule := range group.Rules {
			if rule.Record != "" {
				t.Errorf("%s is no alert", rule.Record)
				continue
			}
			if seen[rule.Alert] || !strings.HasPrefix(rule.Alert, "CCProxy") {
				t.Errorf("alert %s: not a name of its own", rule.Alert)
			}
			seen[rule.Alert] = true
			if !slices.Contains([]string{"critical", "warning", "info"}, rule.Labels["severity"]) || rule.Labels["category"] == "" {
				t.Errorf("alert %s: labels %v", rule.Alert, rule.Labels)
			}
			for _, key := range []string{"summary", "description", "runbook"} {
				text := rule.Annotations[key]
				if len(text) < 20 && key != "summary" || text == "" {
					t.Errorf("alert %s: %s is %q", rule.Alert, key, text)
				}
				tmpl, err := template.New(key).Funcs(templateWords).Parse("{{ $labels := .Labels }}{{ $value := .Value }}" + text)
				if err != nil {
					t.Errorf("alert %s: %s: %v", rule.Alert, key, err)
					continue
				}
				if err := tmpl.Execute(io.Discard, struct {
					Labels map[string]string
					Value  float64
				}{map[string]string{"ccproxy_budget_subject": "x"}, 1}); err != nil {
					t.Errorf("alert %s: %s: %v", rule.Alert, key, err)
				}
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("%d alerts, want more", len(seen))
	}
}

// The counters miss what was counted while nobody collected; the ledger's gauges never.
func TestAlertsOnMoneyAskTheLedger(t *testing.T) {
	counters := regexp.MustCompile(`ccproxy(_request)?_cost|ccproxy:cost|overshoot|routing_(compared|baseline)_cost`)
	for _, group := range readRules(t, "rules/alerts.yaml").Groups {
		for _, rule := range group.Rules {
			if counters.MatchString(rule.Expr) {
				t.Errorf("alert %s reads a counter of money: %s", rule.Alert, rule.Expr)
			}
			if rule.Labels["category"] == "money" && !strings.Contains(rule.Expr, "ccproxy:budget_") && !strings.Contains(rule.Expr, "price_lookups") {
				t.Errorf("alert %s on money does not read the ledger's gauges: %s", rule.Alert, rule.Expr)
			}
		}
	}
}

func TestEachAlertHasATestThatFiresAndOneThatDoesNot(t *testing.T) {
	paths, err := filepath.Glob("rules/tests/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("tests %v, error %v", paths, err)
	}
	var all strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, group := range readRules(t, "rules/alerts.yaml").Groups {
		for _, rule := range group.Rules {
			if !regexp.MustCompile(`labels: '\{alertname="` + rule.Alert + `"`).MatchString(all.String()) {
				t.Errorf("no test expects alert %s", rule.Alert)
			}
		}
	}
	if n := strings.Count(all.String(), "exp_samples: []"); n < 20 {
		t.Errorf("%d expectations of silence, want more", n)
	}
}
