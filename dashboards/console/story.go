package console

import (
	"fmt"
	"math"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ccproxy/ccproxy/telemetry/names"
	"github.com/ccproxy/ccproxy/telemetry/store"
)

// Story is a trace in words.
type Story struct {
	Decision []string   `json:"decision"` // why the request was routed so, what became of it, and what that saved: sentences
	Cost     []CostTerm `json:"cost"`     // how the cost adds up, by attempt and class
	Marks    []Mark     `json:"marks"`    // what happened when, by time
	Content  []Content  `json:"content"`  // prompts and answers, if they were captured
}

// CostTerm is one term of a cost. Amounts are USD.
type CostTerm struct {
	Attempt    int      `json:"attempt"`
	Target     string   `json:"target"`
	Class      string   `json:"class"`
	Tokens     *int64   `json:"tokens"`          // null where a class does not count tokens
	PerMillion *float64 `json:"usd_per_million"` // null: it cannot be told
	Cost       float64  `json:"cost_usd"`
	Note       string   `json:"note,omitempty"` // such as estimated
}

// Mark is a milestone.
type Mark struct {
	Offset float64 `json:"offset_ms"` // from the begin of the exchange
	Name   string  `json:"name"`
}

// Content is captured text. It is whatever a model or a client wrote, to be shown as plain text.
type Content struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Tell says what a trace shows.
func Tell(t *store.Trace) Story {
	s := Story{Decision: decision(t), Cost: []CostTerm{}, Marks: []Mark{}, Content: []Content{}}
	for _, o := range Order(t.Spans) {
		span := o.Span
		switch {
		case span.Attribute(names.KeyGenAIOperationName).AsString() != "":
			s.Cost = append(s.Cost, costTerms(span)...)
		case span.Name == names.SpanStream:
			s.Marks = append(s.Marks, streamMarks(span, t)...)
		}
		s.Content = append(s.Content, contentOf(span)...)
	}
	return s
}

// decision are the sentences of Story.
func decision(t *store.Trace) []string {
	x := &t.Exchange
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if x.Label != "" {
		say("Labelled “%s”, because %s.", x.Label, because(x))
	}
	if words := candidates(t); words != "" {
		say("%s", words)
	}
	if words := destination(x); words != "" {
		say("%s", words)
	}
	for _, words := range fallbacks(t) {
		say("%s", words)
	}
	say("%s", ending(x))
	if words := effect(t); words != "" {
		say("%s", words)
	}
	if words := saving(x); words != "" {
		say("%s", words)
	}
	return out
}

func because(x *store.Exchange) string {
	switch x.Reason {
	case names.RouteReasonRule:
		return fmt.Sprintf("rule “%s” matched", orWord(x.Rule, "without a name"))
	case names.RouteReasonModel:
		return fmt.Sprintf("the client named %s, which the configuration routes", orWord(x.Original, "a model"))
	case names.RouteReasonPassthrough:
		return "no rule matched and the client's own model passes through"
	case names.RouteReasonSticky:
		return "earlier requests of this session went there"
	case names.RouteReasonHealth:
		return "the first target is not healthy"
	case names.RouteReasonBudget:
		return "a budget asked for a cheaper route"
	}
	if x.Rule != "" {
		return fmt.Sprintf("rule “%s” matched", x.Rule)
	}
	return "no rule matched"
}

func candidates(t *store.Trace) string {
	for i := range t.Spans {
		s := &t.Spans[i]
		if list := s.Attribute(names.KeyRouteCandidates); s.Name == names.SpanPreCall && list.Type() == attribute.STRINGSLICE && len(list.AsStringSlice()) > 1 {
			return "Candidates, in order: " + strings.Join(list.AsStringSlice(), ", ") + "."
		}
	}
	return ""
}

func destination(x *store.Exchange) string {
	if x.Routed == "" || x.Attempts == 0 {
		return ""
	}
	at := orWord(x.Provider, "the provider")
	if x.Passthrough || x.Original == x.Routed {
		return fmt.Sprintf("Sent to %s at %s, the model the client named.", x.Routed, at)
	}
	return fmt.Sprintf("Sent to %s at %s in place of %s.", x.Routed, at, orWord(x.Original, "the client's model"))
}

// fallbacks are the attempts that failed.
func fallbacks(t *store.Trace) []string {
	var out []string
	for i := range t.Spans {
		s := &t.Spans[i]
		if s.Attribute(names.KeyGenAIOperationName).AsString() == "" {
			continue
		}
		switch s.Attribute(names.KeyAttemptResult).AsString() {
		case names.AttemptResultFailed, names.AttemptResultSuperseded:
			out = append(out, fmt.Sprintf("Attempt %d at %s failed after %s (%s).", s.Attribute(names.KeyAttemptNumber).AsInt64(),
				orWord(s.Attribute(names.KeyTarget).AsString(), "its target"), Duration(s.End.Sub(s.Start)),
				orWord(s.Attribute(names.KeyErrorType).AsString(), "no reason given")))
		}
	}
	return out
}

func ending(x *store.Exchange) string {
	took := Duration(x.Duration)
	switch x.Outcome {
	case names.OutcomeCompleted:
		words := "Completed in " + took
		if x.Fallbacks > 0 {
			words += " after " + plural(x.Fallbacks, "fallback")
		}
		if x.TTFT > 0 {
			words += "; the first token came " + Duration(x.TTFT) + " after the send"
		}
		return words + "."
	case names.OutcomeRejected:
		return fmt.Sprintf("Refused after %s: %s.", took, orWord(x.Rejection, "no reason given"))
	case names.OutcomeBlocked:
		return fmt.Sprintf("Blocked by moderation after %s.", took)
	case names.OutcomeClientDisconnect:
		return fmt.Sprintf("The client left after %s.", took)
	case names.OutcomeTimeout:
		return fmt.Sprintf("Timed out after %s.", took)
	case names.OutcomeTruncated:
		return fmt.Sprintf("The provider's stream broke off after %s.", took)
	}
	return fmt.Sprintf("Failed after %s: %s.", took, orWord(x.ErrorType, "no reason given"))
}

// effect is the routing analysis of the last attempt that has one.
func effect(t *store.Trace) string {
	words := ""
	for i := range t.Spans {
		s := &t.Spans[i]
		v := s.Attribute(names.KeyRoutingEffective)
		if s.Name != names.SpanPostAPI || v.Type() != attribute.BOOL {
			continue
		}
		if v.AsBool() {
			words = "The routing was effective."
			continue
		}
		words = "The routing was not effective: " + reasonWords(s.Attribute(names.KeyRoutingReason).AsString()) + "."
	}
	return words
}

func reasonWords(reason string) string {
	switch reason {
	case names.RoutingReasonFallback:
		return "another target had to answer"
	case names.RoutingReasonFailed:
		return "the attempt failed"
	case names.RoutingReasonLatency:
		return "it missed the rule's latency target"
	case names.RoutingReasonCost:
		return "it cost more than the rule's target"
	case names.RoutingReasonClientGone:
		return "the client left before the end"
	}
	return strings.ReplaceAll(orWord(reason, "no reason given"), "_", " ")
}

func saving(x *store.Exchange) string {
	saved := x.Baseline - x.Compared
	if x.Baseline <= 0 || math.Abs(saved) < 1e-9 || x.Original == x.Routed {
		return ""
	}
	percent := 100 * math.Abs(saved) / x.Baseline
	if saved < 0 {
		return fmt.Sprintf("It cost %s (%.0f %%) more than on %s.", USD(-saved), percent, x.Original)
	}
	return fmt.Sprintf("It saved %s (%.0f %%) against %s.", USD(saved), percent, x.Original)
}

// costTerms are the terms of one attempt.
func costTerms(s *store.Span) []CostTerm {
	count := func(key attribute.Key) int64 { return s.Attribute(key).AsInt64() }
	read, write := count(names.KeyGenAIUsageCacheReadInputTokens), count(names.KeyGenAIUsageCacheWriteInputTokens)
	note := ""
	if source := s.Attribute(names.KeyUsageSource).AsString(); source != names.UsageSourceProvider && source != "" {
		note = source
	}
	if s.Attribute(names.KeyCostSource).AsString() == names.CostSourceAssumed {
		note = strings.TrimPrefix(note+", assumed price", ", ")
	}
	var out []CostTerm
	for _, class := range [...]struct {
		name   string
		key    attribute.Key
		tokens int64 // -1: not counted in tokens
	}{
		{names.CostClassInput, names.KeyCostInput, max(0, count(names.KeyGenAIUsageInputTokens)-read-write)},
		{names.CostClassCacheRead, names.KeyCostCacheRead, read},
		{names.CostClassCacheWrite, names.KeyCostCacheWrite, write},
		{names.CostClassOutput, names.KeyCostOutput, count(names.KeyGenAIUsageOutputTokens)},
		{names.CostClassOther, names.KeyCostOther, -1},
	} {
		v := s.Attribute(class.key)
		if v.Type() != attribute.FLOAT64 || v.AsFloat64() == 0 && class.tokens <= 0 {
			continue
		}
		term := CostTerm{
			Attempt: int(count(names.KeyAttemptNumber)), Target: s.Attribute(names.KeyTarget).AsString(), Class: class.name, Cost: v.AsFloat64(), Note: note,
		}
		if class.tokens >= 0 {
			term.Tokens = &class.tokens
		}
		if class.tokens > 0 {
			per := v.AsFloat64() / float64(class.tokens) * 1e6
			term.PerMillion = &per
		}
		out = append(out, term)
	}
	return out
}

// streamMarks are the milestones of a stream.
func streamMarks(s *store.Span, t *store.Trace) []Mark {
	since := func(at time.Time) float64 { return millis(at.Sub(t.Exchange.Start)) }
	marks := []Mark{{since(s.Start), "first event"}}
	if d := s.Attribute(names.KeyStreamTimeToFirstToken).AsFloat64(); d > 0 {
		sent := s.Start // the time counts from the send, which begins the attempt's span
		for i := range t.Spans {
			if t.Spans[i].SpanID == s.Parent {
				sent = t.Spans[i].Start
			}
		}
		marks = append(marks, Mark{since(sent.Add(time.Duration(d * float64(time.Second)))), "first token"})
	}
	end := orWord(s.Attribute(names.KeyStreamEnd).AsString(), "end")
	return append(marks, Mark{since(s.End), "stream " + strings.ReplaceAll(end, "_", " ")})
}

// contentKeys hold captured text, on a span or on the event of the conventions.
var contentKeys = [...]attribute.Key{names.KeyGenAISystemInstructions, names.KeyGenAIInputMessages, names.KeyGenAIOutputMessages, names.KeyGenAIToolDefinitions}

func contentOf(s *store.Span) []Content {
	var out []Content
	read := func(kvs []attribute.KeyValue) {
		for _, key := range contentKeys {
			for _, kv := range kvs {
				if kv.Key == key {
					out = append(out, Content{string(key), kv.Value.String()})
				}
			}
		}
	}
	read(s.Attributes)
	for i := range s.Events {
		read(s.Events[i].Attributes)
	}
	return out
}

func orWord(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// Duration writes a duration in the unit that suits it.
func Duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", max(d, 0).Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// USD writes an amount with the digits that suit it.
func USD(v float64) string {
	a := math.Abs(v)
	switch {
	case a > 0 && a < 1e-6:
		return "<$0.000001"
	case a == 0 || a >= 1:
		return fmt.Sprintf("$%.2f", v)
	case a >= 0.01:
		return fmt.Sprintf("$%.4f", v)
	}
	return fmt.Sprintf("$%.6f", v)
}
