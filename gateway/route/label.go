package route

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
)

// RuleError says that a rule could not be evaluated for an exchange.
type RuleError struct {
	Rule string // its name
	Err  error
}

// Error implements error.
func (e *RuleError) Error() string { return fmt.Sprintf("rule %q: %v", e.Rule, e.Err) }

// Unwrap returns the cause.
func (e *RuleError) Unwrap() error { return e.Err }

// Label sets x.Route.Label and Rule by the first rule that matches. It always
// returns nil: a rule that fails does not match, is counted, and is reported
// through [Config].OnRuleError after the label has been decided, because a
// broken rule must neither refuse a request nor hide the rules after it.
//
// It sets x.InputTokens when a rule counted tokens.
func (r *Router) Label(ctx context.Context, x *gateway.Exchange) error {
	x.Route.Label, x.Route.Rule = DefaultLabel, ""
	if len(r.rules) == 0 {
		return nil
	}
	f := &facts{ctx: ctx, x: x, counter: r.tokens}
	var failed []error
	for i := range r.rules {
		rule := &r.rules[i]
		matched, err := rule.match.match(f, nil)
		if err != nil {
			failed = append(failed, &RuleError{rule.name, err})
			continue
		}
		if matched {
			x.Route.Label, x.Route.Rule = rule.name, rule.name
			break
		}
	}
	if f.counted > 0 {
		x.InputTokens = f.counted
	}
	if len(failed) > 0 {
		r.failures.Add(uint64(len(failed)))
		r.onRuleError(ctx, x, errors.Join(failed...))
	}
	return nil
}

// facts is what rules read of one exchange, worked out when first asked for.
// One goroutine uses it.
type facts struct {
	ctx     context.Context // of this evaluation
	x       *gateway.Exchange
	counter TokenCounter
	counted int64 // best count of the whole prompt so far

	tools    string // names of the tools on offer in lower case, a NUL after each
	hasTools bool   // tools is set
	bounds   [2]bounds
	root     jsonscan.Span
}

// bounds remembers counts of one mode, so that many rules need few of them.
type bounds struct {
	over, under known
}

// known is the answer to a question asked before.
type known struct {
	set       bool
	threshold int64
	n         int64
	method    string
}

func (f *facts) toolNames() string {
	if !f.hasTools {
		f.hasTools = true
		var b strings.Builder
		b.Grow(24 * len(f.x.Call.Tools))
		for _, t := range f.x.Call.Tools {
			b.WriteString(strings.ToLower(t))
			b.WriteByte(0)
		}
		f.tools = b.String()
	}
	return f.tools
}

// exceeds reports whether the prompt has more than threshold tokens, and the
// count that told.
func (f *facts) exceeds(threshold int64, mode tokens.Mode) (bool, int64, string) {
	b := &f.bounds[0]
	if mode == tokens.Messages {
		b = &f.bounds[1]
	}
	// A count above one threshold is above every lower one; and a whole count
	// far from a threshold needs no better one.
	if k := b.over; k.set && (threshold <= k.threshold || threshold < k.n/2) {
		return true, k.n, k.method
	}
	if k := b.under; k.set && (threshold >= k.threshold || threshold/2 > k.n) {
		return false, k.n, k.method
	}
	if k := b.under; k.set && threshold < k.n/2 {
		return true, k.n, k.method
	}
	if !f.root.Exists() {
		f.root = jsonscan.Root(f.x.Body)
	}
	over, n, method := f.counter.Exceeds(f.x.Body, f.root, threshold, f.x.Call.Model, mode)
	answer := known{true, threshold, n, method}
	if over {
		b.over = answer
	} else {
		b.under = answer
	}
	if mode == tokens.All && (f.counted == 0 || method == tokens.MethodExact) {
		f.counted = n
	}
	return over, n, method
}

// inputTokens estimates the whole prompt.
func (f *facts) inputTokens() int64 {
	// No prompt comes near the threshold, so the cheapest whole count decides.
	_, n, _ := f.exceeds(1<<50, tokens.All)
	return n
}
