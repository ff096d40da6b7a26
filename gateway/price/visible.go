package price

import (
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// visible reports whether all that is billed for a stream's output can be seen while it runs.
func (q *request) visible() bool {
	call := &q.a.Exchange.Call
	if !call.Stream || call.ServerTools || call.WebSearches != 0 || call.Operation == names.OperationEmbeddings ||
		call.OutputType == names.OutputTypeSpeech || call.OutputType == names.OutputTypeImage {
		return false
	}
	model := q.a.Model()
	switch q.a.Target.Provider.Family {
	case "anthropic": // some think unasked
		return !call.HiddenThinking && (call.Thinking || !containsAny(model, "fable", "mythos"))
	case "gemini": // so do all from 2.5 on
		return !call.HiddenThinking || !call.Thinking && containsAny(model, "gemini-1.", "gemini-2.0", "gemma")
	}
	return !call.Thinking && (call.ReasoningLevel == "none" || !q.reasons(model))
}

// reasoners are parts of the names of models that reason unasked, out of sight. Read-only.
var reasoners = []string{"reason", "think", "-r1", "/r1", "grok-4", "grok-3-mini", "grok-code", "magistral", "deep-research", "codex", "gpt-oss", "qwq"}

// reasons reports whether a model of OpenAI's API is known to reason unasked.
func (q *request) reasons(model string) bool {
	name := model[strings.LastIndexByte(model, '/')+1:]
	switch {
	case strings.Contains(name, "non-reasoning"), strings.Contains(name, "chat"):
		return false
	case len(name) > 1 && name[0] == 'o' && name[1] >= '0' && name[1] <= '9', strings.HasPrefix(name, "gpt-5"), containsAny(model, reasoners...):
		return true
	}
	return q.e.Schedules[0].Given.Has(gateway.CostReasoning)
}

func containsAny(s string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
