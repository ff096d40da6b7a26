package config

import (
	"fmt"
	"strings"
)

// Lookup returns the value of an environment variable and whether it is set. os.LookupEnv is one.
type Lookup func(name string) (value string, ok bool)

// expand replaces ${NAME} and ${NAME:-default} in text by the environment's values, once: what comes out is not looked at
// again. "$${" stands for "${". It returns the names that were used.
func expand(text string, lookup Lookup) (out string, names []string, err error) {
	if !strings.Contains(text, "${") {
		return text, nil, nil
	}
	var b strings.Builder
	for {
		start := strings.Index(text, "${")
		if start < 0 {
			b.WriteString(text)
			return b.String(), names, nil
		}
		if start > 0 && text[start-1] == '$' {
			b.WriteString(text[:start-1] + "${")
			text = text[start+2:]
			continue
		}
		b.WriteString(text[:start])
		inner, rest, closed := strings.Cut(text[start+2:], "}")
		name, fallback, hasDefault := strings.Cut(inner, ":-")
		if !closed || !validName(name) || strings.Contains(fallback, "${") {
			return "", nil, fmt.Errorf("%q is not ${NAME} or ${NAME:-default}; write $${ for a plain ${", "${"+name)
		}
		value, ok := lookup(name)
		if hasDefault && value == "" {
			value, ok = fallback, true
		}
		if !ok {
			return "", nil, fmt.Errorf("environment variable %s is not set; export it, or give a default: ${%s:-…}", name, name)
		}
		b.WriteString(value)
		names = append(names, name)
		text = rest
	}
}

func validName(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
