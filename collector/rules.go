package collector

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
)

// Rules is a file of Prometheus rules.
type Rules struct {
	Groups []Group `yaml:"groups"`
}

// Group is a group of rules, evaluated together and in order.
type Group struct {
	Name        string `yaml:"name"`
	Interval    string `yaml:"interval,omitempty"`
	QueryOffset string `yaml:"query_offset,omitempty"`
	Rules       []Rule `yaml:"rules"`
}

// Rule is a recording rule, which has Record, or an alert rule, which has Alert.
type Rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// ParseRules reads a file of rules, strictly.
func ParseRules(text []byte) (Rules, error) {
	var r Rules
	if err := yaml.UnmarshalWithOptions(text, &r, yaml.Strict()); err != nil {
		return Rules{}, fmt.Errorf("rules: %w", err)
	}
	return r, nil
}

// anchoredIncrease is the one form in which rules/recording.anchored.yaml uses an anchored range.
var anchoredIncrease = regexp.MustCompile(`increase\((.+)\[1m\] anchored\)`)

const anchoredPreface = `# Prometheus ≥ 3.16 only: an anchored range takes the last sample before it as its beginning and extrapolates nothing, so
# that minutes add up to what was counted, to the last cent. For other servers there is recording.portable.yaml.
`

const portablePreface = `# For Mimir and Prometheus before 3.16. Generated from recording.anchored.yaml, which is exact; these are estimates: a
# minute is a fifth of what the last five minutes grew by. Steady traffic comes out right on average. What is missed is the
# first value of each series (a label's or model's first charge, unless the server injects created timestamps), and of
# bursts between 4 and 20 % in either direction. Money by the ledger's gauges is right all the same.
`

// Portable turns the text of rules/recording.anchored.yaml into that of rules/recording.portable.yaml. It fails on an
// anchored range of a form it does not know.
func Portable(anchored []byte) ([]byte, error) {
	text := strings.Replace(string(anchored), anchoredPreface, portablePreface, 1)
	if !strings.Contains(text, portablePreface) {
		return nil, fmt.Errorf("the anchored rules do not begin as they should")
	}
	text = anchoredIncrease.ReplaceAllString(text, "increase($1[5m]) / 5")
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && strings.Contains(line, "anchored") {
			return nil, fmt.Errorf("not portable: %s", strings.TrimSpace(line))
		}
	}
	return []byte(text), nil
}
