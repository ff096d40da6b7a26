package route

import (
	"fmt"
	"strings"

	"github.com/ccproxy/ccproxy/gateway/tokens"
)

type thinking struct{}

func (thinking) match(f *facts, why *string) (bool, error) {
	c := &f.x.Call
	matched := c.ThinkingKey || c.Thinking
	if why != nil {
		switch {
		case c.ThinkingKey:
			*why = `the request has a member "thinking"`
		case c.Thinking:
			*why = "reasoning is asked for"
		default:
			*why = "no thinking is asked for"
		}
	}
	return matched, nil
}

type matchModel string

func (m matchModel) match(f *facts, why *string) (bool, error) {
	matched := strings.Contains(f.x.Call.Model, string(m))
	if why != nil {
		*why = fmt.Sprintf("model %q contains %q", clip(f.x.Call.Model), string(m))
		if !matched {
			*why = fmt.Sprintf("model %q does not contain %q", clip(f.x.Call.Model), string(m))
		}
	}
	return matched, nil
}

type matchTool string // in lower case

func (m matchTool) match(f *facts, why *string) (bool, error) {
	tools := f.x.Call.Tools
	matched := len(tools) > 0 && strings.Contains(f.toolNames(), string(m))
	if why == nil {
		return matched, nil
	}
	if !matched {
		*why = fmt.Sprintf("none of %d tools on offer has %q in its name", f.x.Call.ToolCount, string(m))
		return false, nil
	}
	for _, t := range tools {
		if strings.Contains(strings.ToLower(t), string(m)) {
			*why = fmt.Sprintf("the tool %q is on offer", clip(t))
			break
		}
	}
	return true, nil
}

type tokenCount struct {
	threshold int64
	mode      tokens.Mode
}

func (m tokenCount) match(f *facts, why *string) (bool, error) {
	over, n, method := f.exceeds(m.threshold, m.mode)
	if why != nil {
		sign := ">"
		if !over {
			sign = "≤"
		}
		*why = fmt.Sprintf("%s tokens (%s) %s %s", grouped(n), method, sign, grouped(m.threshold))
	}
	return over, nil
}

// grouped writes n with a comma every three digits.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// clip shortens what a client named, for messages.
func clip(s string) string {
	if len(s) <= 128 {
		return s
	}
	return strings.ToValidUTF8(s[:128], "") + "…"
}
