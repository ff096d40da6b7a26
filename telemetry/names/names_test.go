package names

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// declared renders the tables in the form of testdata/names.golden, sorted.
func declared(t *testing.T) []string {
	t.Helper()
	var lines []string
	for _, a := range Attributes {
		lines = append(lines, "attribute "+string(a.Key))
	}
	for _, m := range Metrics {
		lines = append(lines, "metric "+m.Name+" "+m.Unit+" "+string(m.Kind))
	}
	for key, values := range Values {
		lines = append(lines, "values "+key+" "+strings.Join(values, " "))
	}
	for _, e := range Events {
		lines = append(lines, "event "+e.Name+" "+e.Level.String())
	}
	for _, s := range Spans {
		lines = append(lines, "span "+s)
	}
	for _, f := range constants(t, "Field") {
		lines = append(lines, "field "+f)
	}
	slices.Sort(lines)
	return lines
}

// constants returns the values of the constants whose names start with prefix, from the source: the tables cannot show a
// constant that is in none of them.
func constants(t *testing.T, prefix string) []string {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range files {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
				return true
			}
			value := spec.Values[0]
			if call, ok := value.(*ast.CallExpr); ok {
				value = call.Args[0]
			}
			if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				s, _ := strconv.Unquote(literal.Value)
				found = append(found, s)
			}
			return true
		})
	}
	return found
}

func TestNamesAreTheContracts(t *testing.T) {
	golden, err := os.ReadFile("testdata/names.golden")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(golden)), "\n")
	got := declared(t)
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%q is not in testdata/names.golden", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%q is not declared", line)
		}
	}
}

func TestEveryNameIsDeclaredOnceAndInItsTable(t *testing.T) {
	tables := map[string][]string{"Key": nil, "Metric": nil, "Event": nil}
	for _, a := range Attributes {
		tables["Key"] = append(tables["Key"], string(a.Key))
	}
	for _, m := range Metrics {
		tables["Metric"] = append(tables["Metric"], m.Name)
	}
	for _, e := range Events {
		tables["Event"] = append(tables["Event"], e.Name)
	}
	for prefix, table := range tables {
		declared := constants(t, prefix)
		slices.Sort(declared)
		slices.Sort(table)
		if !slices.Equal(declared, table) {
			t.Errorf("%s: constants %v, table %v", prefix, declared, table)
		}
		if n := len(slices.Compact(declared)); n != len(table) {
			t.Errorf("%s: %d distinct names, want %d", prefix, n, len(table))
		}
	}
}

func TestNamesAreWellFormed(t *testing.T) {
	dotted := regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$`)
	convention := regexp.MustCompile(`^(http|url|network|server|user_agent|user|session|error|exception|service|cpu|process|gen_ai|openai|openinference|llm|embedding|langfuse)\.`)
	for _, a := range Attributes {
		if !dotted.MatchString(string(a.Key)) {
			t.Errorf("attribute %q is not lower case with dots", a.Key)
		}
		if !strings.HasPrefix(string(a.Key), "ccproxy.") && !convention.MatchString(string(a.Key)) {
			t.Errorf("attribute %q is neither ours nor a convention's", a.Key)
		}
	}
	units := []string{"s", "By", "1", "{token}", "{USD}", "{request}", "{stream}", "{attempt}", "{fallback}", "{decision}", "{subject}", "{alert}", "{lookup}", "{item}", "{reload}"}
	for _, m := range Metrics {
		if !dotted.MatchString(m.Name) {
			t.Errorf("metric %q is not lower case with dots", m.Name)
		}
		if !slices.Contains(units, m.Unit) {
			t.Errorf("metric %s: unit %q is none we use", m.Name, m.Unit)
		}
		if (m.Kind == Histogram) != (m.Boundaries != nil) {
			t.Errorf("metric %s: a %s with %d boundaries", m.Name, m.Kind, len(m.Boundaries))
		}
		if !slices.IsSorted(m.Boundaries) {
			t.Errorf("metric %s: boundaries are not sorted", m.Name)
		}
	}
}

func TestVocabulariesAreCompleteAndDistinct(t *testing.T) {
	inTable := map[string]bool{}
	for _, a := range Attributes {
		if a.Values == nil {
			continue
		}
		inTable[string(a.Key)] = true
		if key := string(a.Key); !strings.HasPrefix(key, "exception.") && !slices.Equal(a.Values, Values[key]) {
			t.Errorf("attribute %s: values %v, vocabulary %v", key, a.Values, Values[key])
		}
	}
	for key, values := range Values {
		if !inTable[key] {
			t.Errorf("vocabulary of %s belongs to no attribute", key)
		}
		sorted := slices.Sorted(slices.Values(values))
		if len(slices.Compact(sorted)) != len(values) {
			t.Errorf("vocabulary of %s repeats a value: %v", key, values)
		}
	}
}

func TestMetricAttributesAreClosedOrNamed(t *testing.T) {
	for _, m := range Metrics {
		for _, key := range m.Attributes {
			i := slices.IndexFunc(Attributes, func(a Attribute) bool { return a.Key == key })
			if i < 0 {
				t.Errorf("metric %s: attribute %s is not declared", m.Name, key)
			}
			if strings.HasSuffix(string(key), ".id") {
				t.Errorf("metric %s: attribute %s is an id; ids live on spans", m.Name, key)
			}
		}
	}
}
