package caller

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxPattern  = 256 // bytes
	maxPatterns = 256
)

// patterns say which names are allowed.
type patterns struct {
	all  bool
	list []string
}

// compile checks a list of patterns. An empty list allows everything.
func compile(list []string) (patterns, error) {
	if len(list) > maxPatterns {
		return patterns{}, fmt.Errorf("%d models; at most %d", len(list), maxPatterns)
	}
	for _, p := range list {
		if p == "" || len(p) > maxPattern || !printable(p) {
			return patterns{}, fmt.Errorf("model pattern %q: want 1 to %d printable characters", p, maxPattern)
		}
	}
	return patterns{all: len(list) == 0 || slices.Contains(list, "*"), list: slices.Clone(list)}, nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

func (p patterns) match(name string) bool {
	return p.all || slices.ContainsFunc(p.list, func(pattern string) bool { return glob(pattern, name) })
}

// sees is match for a model list, where a target may stand by its bare model.
func (p patterns) sees(name string) bool {
	if p.match(name) {
		return true
	}
	return slices.ContainsFunc(p.list, func(pattern string) bool {
		_, model, ok := strings.Cut(pattern, "/")
		return ok && glob(model, name)
	})
}

// cover returns the first pattern of list that matches a name which p does not,
// or "". A "*" of the pattern stands for any text, and only a "*" of p matches
// any text: so the pattern itself, read as a name, decides.
func (p patterns) cover(list []string) (wider string) {
	for _, pattern := range list {
		if !p.match(pattern) {
			return pattern
		}
	}
	return ""
}

// glob reports whether name matches pattern, in which "*" stands for any text.
// It takes at most len(pattern) × len(name) steps.
func glob(pattern, name string) bool {
	p, n := 0, 0
	star, from := -1, 0 // the last star, and the name's rest it was tried with
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
