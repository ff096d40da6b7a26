package collector

import (
	"regexp"
	"slices"
	"strings"
)

// Selector is what a PromQL expression reads: a metric, and the labels it is chosen by.
type Selector struct {
	Metric string
	Labels []string
}

// Selectors returns what a PromQL expression reads, and the labels it groups or joins by. Grafana's variables may stand
// where ranges and values do. It is no parser: an expression that Prometheus refuses gives something as well.
func Selectors(expr string) (selectors []Selector, grouping []string) {
	tokens := tokenize(expr)
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		switch {
		case t == "{": // a selector without a metric's name
			labels, end := matchers(tokens, i)
			selectors, i = append(selectors, Selector{Labels: labels}), end
		case !isName(t) || slices.Contains(words, t):
		case slices.Contains(groupings, t):
			if i+1 < len(tokens) && tokens[i+1] == "(" {
				for i += 2; i < len(tokens) && tokens[i] != ")"; i++ {
					if isName(tokens[i]) {
						grouping = append(grouping, tokens[i])
					}
				}
			}
		case i+1 < len(tokens) && (tokens[i+1] == "(" || slices.Contains(groupings, tokens[i+1])): // a function
		case i+1 < len(tokens) && tokens[i+1] == "{":
			labels, end := matchers(tokens, i+1)
			selectors, i = append(selectors, Selector{t, labels}), end
		default:
			selectors = append(selectors, Selector{Metric: t})
		}
	}
	return selectors, grouping
}

// matchers returns the labels between the brace at i and the one that closes it, and where that is.
func matchers(tokens []string, i int) (labels []string, end int) {
	for i++; i < len(tokens) && tokens[i] != "}"; i++ {
		if isName(tokens[i]) {
			labels = append(labels, tokens[i])
		}
	}
	return labels, i
}

var (
	groupings = []string{"by", "without", "on", "ignoring", "group_left", "group_right"}
	words     = []string{"and", "or", "unless", "offset", "bool", "anchored", "smoothed", "atan2", "inf", "nan", "Inf", "NaN"}
	// What is left out: strings, ranges, numbers and durations, variables.
	skipped = regexp.MustCompile("^(?:\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`|\\[[^\\]]*\\]|\\$\\{[^}]*\\}|\\$[A-Za-z_]+|[0-9][0-9A-Za-z.]*)")
	name    = regexp.MustCompile(`^[A-Za-z_:][A-Za-z0-9_:]*`)
)

func isName(token string) bool { return name.FindString(token) == token }

// tokenize splits expr into names and single characters.
func tokenize(expr string) []string {
	var tokens []string
	for expr = strings.TrimSpace(expr); expr != ""; expr = strings.TrimSpace(expr) {
		n := 1
		if s := skipped.FindString(expr); s != "" {
			expr = expr[len(s):]
			continue
		}
		if s := name.FindString(expr); s != "" {
			n = len(s)
		}
		tokens, expr = append(tokens, expr[:n]), expr[n:]
	}
	return tokens
}
