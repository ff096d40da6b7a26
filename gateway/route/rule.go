package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/tokens"
)

// The kinds of rule. The original's class names, with or without the module
// before them, mean the same: "ccproxy.rules.ThinkingRule".
const (
	// KindThinking matches a request that has a member "thinking", whatever its
	// value: null and {"type":"disabled"} match too, as they always did. In
	// dialects without such a member (OpenAI, Gemini) it matches when reasoning
	// is asked for.
	KindThinking = "thinking"
	// KindMatchModel matches when the client's model contains model_name; case
	// counts, and "" is contained in every name.
	KindMatchModel = "match_model"
	// KindTokenCount matches when the prompt has more than threshold tokens.
	// It counts system, tools and tool results too; count: messages counts as
	// the original did: the text of messages, or the request's own token_count,
	// num_tokens or input_tokens when that is greater.
	KindTokenCount = "token_count"
	// KindMatchTool matches when the name of a tool on offer, used or not,
	// contains tool_name; case does not count.
	KindMatchTool = "match_tool"
)

// Rule labels the exchanges it matches.
type Rule struct {
	Name   string // the label it gives
	Kind   string // one of Kind…; "" with When
	Params Params
	When   string // a CEL expression in place of a kind; see [Variables]
	Target Target // what it promises
}

// Params are a rule's parameters. Those that its kind does not have must not be
// set.
type Params struct {
	ModelName gateway.Optional[string]
	ToolName  gateway.Optional[string]
	Threshold gateway.Optional[int64] // tokens
	Count     string                  // CountAll or CountMessages; "": all
}

// kinds describes each kind: its parameters, the positional one first, and the
// original's class.
var kinds = []struct {
	kind, class string
	params      []string
}{
	{KindThinking, "ThinkingRule", nil},
	{KindMatchModel, "MatchModelRule", []string{"model_name"}},
	{KindTokenCount, "TokenCountRule", []string{"threshold", "count"}},
	{KindMatchTool, "MatchToolRule", []string{"tool_name"}},
}

// ParseKind returns the kind that s names, by its own name or the original's
// class. The error gives the nearest right name.
func ParseKind(s string) (string, error) {
	last := s[strings.LastIndexByte(s, '.')+1:]
	options := make([]string, 0, 2*len(kinds))
	for _, k := range kinds {
		if last == k.kind || last == k.class {
			return k.kind, nil
		}
		options = append(options, k.kind, k.class)
	}
	if last == "DefaultRule" {
		return "", errors.New("DefaultRule never matched anything in the original either: remove the rule, set default_model_passthrough instead")
	}
	hint := nearest(last, options)
	if hint == "" {
		hint = "; known are thinking, match_model, token_count and match_tool; anything else is an expression under when:"
	}
	return "", fmt.Errorf("unknown rule %q%s", s, hint)
}

// ParamNames lists the parameters of a kind, in the order in which positional
// values are taken; nil for an unknown kind.
func ParamNames(kind string) []string {
	for _, k := range kinds {
		if k.kind == kind {
			return slices.Clone(k.params)
		}
	}
	return nil
}

// Set sets the named parameter from a configuration scalar: a string or any
// kind of integer, or a float without fraction.
func (p *Params) Set(name string, value any) error {
	switch name {
	case "model_name", "tool_name", "count":
		s, ok := value.(string)
		if !ok {
			return fmt.Errorf("%s must be text, not %v", name, value)
		}
		switch name {
		case "model_name":
			p.ModelName = gateway.Some(s)
		case "tool_name":
			p.ToolName = gateway.Some(s)
		default:
			p.Count = s
		}
		return nil
	case "threshold":
		n, ok := integer(value)
		if !ok {
			return fmt.Errorf("threshold must be a whole number of tokens, not %v", value)
		}
		p.Threshold = gateway.Some(n)
		return nil
	}
	return fmt.Errorf("unknown parameter %q%s", name, nearest(name, []string{"model_name", "tool_name", "threshold", "count"}))
}

func integer(value any) (int64, bool) {
	switch v := value.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= 1<<62
	case float64:
		return int64(v), v == float64(int64(v)) && v < 1<<62 && v > -1<<62
	}
	return 0, false
}

// rule is a compiled Rule.
type rule struct {
	name   string
	kind   string // Kind…, or "when"
	target Target
	match  matcher
}

// matcher is the predicate of a rule.
type matcher interface {
	// match reports whether the exchange matches. When why is not nil it is set
	// to the reason, for people.
	match(f *facts, why *string) (bool, error)
}

// ConfigError says what is wrong with one of [Config].Rules. [New] joins them.
type ConfigError struct {
	Rule       int // its index
	Name       string
	Expression bool // it has a when:
	Err        error
}

// Error implements error.
func (e *ConfigError) Error() string { return fmt.Sprintf("rule %d (%q): %v", e.Rule+1, e.Name, e.Err) }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

func (r *Router) addRules(cfg Config) (errs []error) {
	var env *environment // made for the first expression
	seen := map[string]bool{}
	for i, c := range cfg.Rules {
		fail := func(err error) {
			errs = append(errs, &ConfigError{Rule: i, Name: c.Name, Expression: c.When != "", Err: err})
		}
		if err := checkName(c.Name); err != nil {
			fail(err)
			continue
		}
		if c.Target.Latency < 0 || c.Target.Cost < 0 {
			fail(errors.New("target: latency and cost must not be negative"))
		}
		if seen[c.Name] {
			r.warnings = append(r.warnings, fmt.Sprintf("rule %d: another rule is named %q too; target: is taken from the first", i+1, c.Name))
		}
		seen[c.Name] = true
		var m matcher
		var err error
		kind := "when"
		if c.When != "" {
			if env == nil {
				if env, err = newEnvironment(); err != nil {
					return append(errs, err)
				}
			}
			m, err = compileWhen(env, c, r.tokens != nil)
		} else if kind, err = ParseKind(c.Kind); err == nil {
			m, err = builtin(kind, c.Params, r.tokens != nil)
		}
		if err != nil {
			fail(err)
			continue
		}
		r.rules = append(r.rules, rule{c.Name, kind, c.Target, m})
	}
	return errs
}

// checkName refuses labels that a response header or metric could not carry.
func checkName(s string) error {
	if s == "" {
		return errors.New("a rule needs a name: it becomes the label")
	}
	if len(s) > 128 || strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) || c > unicode.MaxASCII }) {
		return errors.New("a name is at most 128 printable ASCII characters: it is sent in a header")
	}
	return nil
}

func compileWhen(env *environment, c Rule, counter bool) (matcher, error) {
	if c.Kind != "" {
		return nil, fmt.Errorf("has both rule: %s and when: — keep one", c.Kind)
	}
	if c.Params != (Params{}) {
		return nil, errors.New("when: takes no params")
	}
	return env.compile(c.When, counter)
}

func builtin(kind string, p Params, counter bool) (matcher, error) {
	if err := checkParams(kind, p); err != nil {
		return nil, err
	}
	switch kind {
	case KindThinking:
		return thinking{}, nil
	case KindMatchModel:
		return matchModel(p.ModelName.Value), nil
	case KindMatchTool:
		return matchTool(strings.ToLower(p.ToolName.Value)), nil
	}
	mode := tokens.All
	switch p.Count {
	case "", CountAll:
	case CountMessages:
		mode = tokens.Messages
	default:
		return nil, fmt.Errorf("count must be %q or %q, not %q", CountAll, CountMessages, p.Count)
	}
	if p.Threshold.Value < 0 {
		return nil, fmt.Errorf("threshold must not be negative: %d", p.Threshold.Value)
	}
	if !counter {
		return nil, errors.New("needs a token counter")
	}
	return tokenCount{p.Threshold.Value, mode}, nil
}

// checkParams refuses missing parameters and those of another kind.
func checkParams(kind string, p Params) error {
	set := map[string]bool{
		"model_name": p.ModelName.Set, "tool_name": p.ToolName.Set, "threshold": p.Threshold.Set, "count": p.Count != "",
	}
	takes := ParamNames(kind)
	for _, name := range []string{"model_name", "tool_name", "threshold", "count"} {
		has := slices.Contains(takes, name)
		if set[name] && !has {
			return fmt.Errorf("%s does not take %s; it takes: %s", kind, name, orNothing(takes))
		}
		if has && !set[name] && name != "count" {
			return fmt.Errorf("%s needs %s: write params: [ { %s: … } ]", kind, name, name)
		}
	}
	return nil
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}
