package command

import (
	"fmt"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// treeFact is a few words on a span.
type treeFact struct {
	words string
	style style
}

func factsWidth(facts []treeFact) int {
	n := 0
	for i, f := range facts {
		if i > 0 {
			n += len(" · ") - 1 // the dot is one column
		}
		n += utf8.RuneCountInString(f.words)
	}
	return n
}

// factsOf says what matters of a span, by the phase it is.
func factsOf(s *treeSpan, byID map[string]*treeSpan) []treeFact {
	f := &factList{span: s}
	if s.Error {
		f.add(styleBad, "✗ %s", orWord(s.text(names.KeyErrorType), "error"))
	}
	switch {
	case s.has(names.KeyOutcome):
		f.server()
	case s.Name == names.SpanPreCall:
		f.preCall()
	case s.Name == names.SpanPreAPI:
		f.text(s.text(names.KeyTarget))
		f.optional(names.KeyBudgetDecision, "budget: %s")
	case s.has(names.KeyGenAIOperationName):
		f.generation(byID)
	case s.Name == names.SpanStream:
		f.stream()
	case s.Name == names.SpanPostAPI:
		f.postAPI()
	case s.Name == names.SpanHook:
		f.optional(names.KeyHookName, "%s")
		f.optional(names.KeyHookAction, "%s")
	case s.Name == names.SpanModeration:
		f.optional(names.KeyModerationStage, "%s")
		f.optional(names.KeyModerationVerdict, "%s")
	default:
		// An error without a name of its own is called by its status.
		if status := s.text(names.KeyHTTPResponseStatusCode); !s.Error || status != s.text(names.KeyErrorType) {
			f.text(status)
		}
	}
	return f.list
}

type factList struct {
	span *treeSpan
	list []treeFact
}

func (f *factList) add(s style, format string, args ...any) {
	f.list = append(f.list, treeFact{fmt.Sprintf(format, args...), s})
}

func (f *factList) text(words string) {
	if words != "" {
		f.add(styleNone, "%s", words)
	}
}

// server says how the exchange ended and where it went.
func (f *factList) server() {
	s := f.span
	switch outcome := s.text(names.KeyOutcome); outcome {
	case names.OutcomeCompleted:
		f.optional(names.KeyHTTPResponseStatusCode, "%s")
	case names.OutcomeFailed:
		f.optional(names.KeyHTTPResponseStatusCode, "%s")
		if !s.Error {
			f.add(styleWarn, "%s", outcome)
		}
	case names.OutcomeRejected, names.OutcomeBlocked:
		f.optional(names.KeyHTTPResponseStatusCode, "%s")
		f.add(styleWarn, "%s: %s", outcome, orWord(s.text(names.KeyRejectionReason), "unknown"))
	default:
		f.add(styleWarn, "%s", outcome)
	}
	if label := s.text(names.KeyLabel); label != "" {
		f.add(styleLabel, "%s", label)
	}
	f.text(modelsOf(s))
	if cost := s.Attributes[names.KeyCost].AsFloat64(); cost > 0 {
		f.add(styleNone, "%s", formatUSD(cost))
	}
}

// modelsOf is the model the client named and, where it is another, the one that answered.
func modelsOf(s *treeSpan) string {
	asked, routed := s.text(names.KeyModelOriginal), s.text(names.KeyModelRouted)
	if routed == "" || routed == asked {
		return asked
	}
	return asked + " → " + routed
}

func (f *factList) preCall() {
	s := f.span
	label, rule := s.text(names.KeyLabel), s.text(names.KeyRouteRule)
	switch {
	case label == "":
	case rule != "":
		f.add(styleLabel, "%s by rule", label)
	default:
		f.add(styleLabel, "%s, %s", label, orWord(s.text(names.KeyRouteReason), "unknown"))
	}
	if n := s.number(names.KeyRequestInputTokensEstimated); n > 0 {
		f.text("≈ " + formatCount(n) + " tokens")
	}
	if n := s.number(names.KeyRequestToolCount); n > 0 {
		f.text(plural(n, "tool"))
	}
}

func (f *factList) generation(byID map[string]*treeSpan) {
	s := f.span
	for _, id := range s.Links {
		if to := byID[id]; to != nil && to.has(names.KeyAttemptNumber) {
			f.add(styleWarn, "↳ fallback for attempt %d", to.number(names.KeyAttemptNumber))
		} else {
			f.add(styleDim, "↳ linked to %s", id)
		}
	}
	if s.text(names.KeyAttemptResult) == names.AttemptResultSuperseded {
		f.text("superseded")
	}
	f.text(usageOf(s).String())
}

func (f *factList) stream() {
	s := f.span
	if end := s.text(names.KeyStreamEnd); end != "" && end != names.StreamEndDone && !s.Error {
		f.add(styleWarn, "%s", end)
	}
	f.text(plural(s.number(names.KeyStreamEvents), "event"))
	if d := s.seconds(names.KeyStreamTimeToFirstToken); d > 0 {
		f.text("first token " + formatDuration(d))
	}
}

func (f *factList) postAPI() {
	s := f.span
	switch {
	case !s.has(names.KeyRoutingEffective):
	case s.Attributes[names.KeyRoutingEffective].AsBool():
		f.text("routing effective")
	default:
		f.add(styleWarn, "routing not effective: %s", orWord(s.text(names.KeyRoutingReason), "unknown"))
	}
}

func (f *factList) optional(k attribute.Key, format string) {
	if v := f.span.text(k); v != "" {
		f.text(fmt.Sprintf(format, v))
	}
}

// tokenUsage is what a generation used.
type tokenUsage struct {
	in, out, cached int64
	source          string
}

func usageOf(s *treeSpan) tokenUsage {
	return tokenUsage{
		in: s.number(names.KeyGenAIUsageInputTokens), out: s.number(names.KeyGenAIUsageOutputTokens),
		cached: s.number(names.KeyGenAIUsageCacheReadInputTokens), source: s.text(names.KeyUsageSource),
	}
}

// String writes the usage as "1,204 in (1,024 cached), 31 out", "" for none.
func (u tokenUsage) String() string {
	if u.in == 0 && u.out == 0 {
		return ""
	}
	words := formatCount(u.in) + " in"
	if u.cached > 0 {
		words += " (" + formatCount(u.cached) + " cached)"
	}
	if u.out > 0 {
		words += ", " + formatCount(u.out) + " out"
	}
	if u.source == names.UsageSourceEstimated || u.source == names.UsageSourcePartial {
		words += " (" + u.source + ")"
	}
	return words
}

func plural(n int64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return formatCount(n) + " " + word + "s"
}

func orWord(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
