package command

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/tools/txtar"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// at makes a span from one millisecond to another.
func at(id, parent, name string, kind trace.SpanKind, from, to float64, attrs ...attribute.KeyValue) treeSpan {
	ms := func(n float64) time.Time { return time.Unix(1, 0).Add(time.Duration(n * float64(time.Millisecond))) }
	s := treeSpan{ID: id, Parent: parent, Name: name, Kind: kind, Start: ms(from), End: ms(to), Attributes: map[attribute.Key]attribute.Value{}}
	for _, kv := range attrs {
		s.Attributes[kv.Key] = kv.Value
		s.Error = s.Error || kv.Key == names.KeyErrorType
	}
	return s
}

func linked(s treeSpan, to string) treeSpan {
	s.Links = []string{to}
	return s
}

const (
	kindInternal = trace.SpanKindInternal
	kindClient   = trace.SpanKindClient
	kindServer   = trace.SpanKindServer
)

func usageAttributes(in, out, cached int) []attribute.KeyValue {
	return []attribute.KeyValue{
		names.KeyGenAIOperationName.String("chat"), names.KeyGenAIUsageInputTokens.Int(in), names.KeyGenAIUsageOutputTokens.Int(out),
		names.KeyGenAIUsageCacheReadInputTokens.Int(cached),
	}
}

func streamTrace() []treeSpan {
	return []treeSpan{ // out of order, as they end
		at("b", "a", names.SpanPreCall, kindInternal, 0.1, 0.4, names.KeyLabel.String("think"), names.KeyRouteRule.String("think"),
			names.KeyRequestInputTokensEstimated.Int(1290), names.KeyRequestToolCount.Int(1)),
		at("c", "a", names.SpanPreAPI, kindInternal, 0.4, 0.41, names.KeyTarget.String("anthropic/claude-opus-5")),
		at("e", "d", "POST", kindClient, 1, 99, names.KeyHTTPResponseStatusCode.Int(200)),
		at("f", "d", names.SpanStream, kindInternal, 50, 99, names.KeyStreamEvents.Int(17), names.KeyStreamEnd.String("done"),
			names.KeyStreamTimeToFirstToken.Float64(0.0512)),
		at("g", "a", names.SpanPostAPI, kindInternal, 98.9, 99, names.KeyRoutingEffective.Bool(true)),
		at("d", "a", "chat claude-opus-5", kindClient, 0.5, 99.5, usageAttributes(1204, 31, 1024)...),
		at("a", "", "POST /v1/messages", kindServer, 0, 100, names.KeyOutcome.String("completed"), names.KeyHTTPResponseStatusCode.Int(200),
			names.KeyLabel.String("think"), names.KeyModelOriginal.String("claude-sonnet-5"), names.KeyModelRouted.String("claude-opus-5"),
			names.KeyCost.Float64(0.0123)),
	}
}

func fallbackTrace() []treeSpan {
	failed := []attribute.KeyValue{
		names.KeyGenAIOperationName.String("chat"), names.KeyErrorType.String("rate_limit_exceeded"), names.KeyAttemptNumber.Int(1),
		names.KeyAttemptResult.String("superseded"),
	}
	return []treeSpan{
		at("a", "", "POST /v1/messages", kindServer, 0, 40, names.KeyOutcome.String("completed"), names.KeyHTTPResponseStatusCode.Int(200),
			names.KeyLabel.String("default"), names.KeyModelOriginal.String("claude-opus-5"), names.KeyModelRouted.String("claude-opus-5")),
		at("b", "a", names.SpanPreCall, kindInternal, 1, 2, names.KeyLabel.String("default"), names.KeyRouteReason.String("model")),
		at("c", "a", names.SpanPreAPI, kindInternal, 2, 3, names.KeyTarget.String("throttled/claude-opus-5")),
		at("d", "a", "chat claude-opus-5", kindClient, 3, 10, failed...),
		at("e", "d", "POST", kindClient, 3, 9, names.KeyHTTPResponseStatusCode.Int(429), names.KeyErrorType.String("429")),
		at("f", "a", names.SpanPostAPI, kindInternal, 10, 10.5, names.KeyRoutingEffective.Bool(false), names.KeyRoutingReason.String("failed")),
		at("g", "a", names.SpanPreAPI, kindInternal, 11, 12, names.KeyTarget.String("mirror/claude-opus-5"), names.KeyBudgetDecision.String("warn")),
		linked(at("h", "a", "chat claude-opus-5", kindClient, 12, 39, usageAttributes(6, 17, 0)...), "d"),
		at("i", "h", "POST", kindClient, 12, 38, names.KeyHTTPResponseStatusCode.Int(200)),
		at("j", "a", names.SpanPostAPI, kindInternal, 39, 39.5, names.KeyRoutingEffective.Bool(false), names.KeyRoutingReason.String("fallback")),
	}
}

func errorTrace() []treeSpan {
	return []treeSpan{
		at("a", "", "POST /v1/chat/completions", kindServer, 0, 1500, names.KeyOutcome.String("truncated"), names.KeyHTTPResponseStatusCode.Int(200),
			names.KeyErrorType.String("stream_truncated"), names.KeyLabel.String("default"), names.KeyModelOriginal.String("gpt-5.5"),
			names.KeyModelRouted.String("gpt-5.5")),
		at("d", "a", "chat gpt-5.5", kindClient, 10, 1490, append(usageAttributes(20, 4, 0), names.KeyErrorType.String("stream_truncated"),
			names.KeyUsageSource.String("estimated"))...),
		at("f", "d", names.SpanStream, kindInternal, 700, 1490, names.KeyStreamEvents.Int(1), names.KeyStreamEnd.String("truncated")),
		at("h", "a", names.SpanHook, kindInternal, 1, 9, names.KeyHookName.String("webhook"), names.KeyHookAction.String("failed_open"),
			names.KeyErrorType.String("hook_error")),
		at("m", "a", names.SpanModeration, kindInternal, 2, 3, names.KeyModerationStage.String("input"), names.KeyModerationVerdict.String("pass")),
	}
}

func rejectedTrace() []treeSpan {
	return []treeSpan{at("a", "remote", "POST /v1/messages", kindServer, 0, 0.2, names.KeyOutcome.String("rejected"),
		names.KeyRejectionReason.String("invalid"), names.KeyHTTPResponseStatusCode.Int(400))}
}

// strayTrace has a span whose parent is missing, a link out of the trace, two spans that are each other's parent, and a
// model named by somebody with bad intent.
func strayTrace() []treeSpan {
	return []treeSpan{
		at("a", "", "GET /v1/models", kindServer, 0, 1, names.KeyOutcome.String("completed"), names.KeyHTTPResponseStatusCode.Int(200),
			names.KeyModelOriginal.String("evil\x1b]0;owned\a\nmodel")),
		linked(at("b", "lost", "chat evil\x1b[2J", kindClient, 2, 3, usageAttributes(1, 0, 0)...), "0123456789abcdef"),
		at("x", "y", "x", kindInternal, 0, 1), at("y", "x", "y", kindInternal, 0, 1),
		at("z", "z", "its own parent", kindInternal, 1, 1),
	}
}

func TestTreesLookAsAgreed(t *testing.T) {
	const path = "testdata/demo/tree.txtar"
	traces := []struct {
		name  string
		spans []treeSpan
	}{
		{"stream", streamTrace()}, {"fallback", fallbackTrace()}, {"error", errorTrace()}, {"rejected", rejectedTrace()}, {"stray", strayTrace()},
	}
	var got txtar.Archive
	add := func(name, text string) { got.Files = append(got.Files, txtar.File{Name: name, Data: []byte(text)}) }
	for _, tr := range traces {
		for _, width := range []int{120, 100, 80, 60, 40} {
			add(fmt.Sprintf("%s at %d columns", tr.name, width), renderTree(tr.spans, width, false))
		}
	}
	add("fallback in colour", strings.ReplaceAll(renderTree(fallbackTrace(), 100, true), "\x1b", "^["))
	compareGolden(t, path, string(txtar.Format(&got)))
}

// compareGolden compares got with a file, or writes it under -update.
func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" { // the package's flag
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites):\n%s", path, diff)
	}
}

func TestTreesKeepToTheirWidth(t *testing.T) {
	for _, spans := range [][]treeSpan{streamTrace(), fallbackTrace(), errorTrace(), rejectedTrace(), strayTrace()} {
		for width := 1; width < 200; width++ {
			for line := range strings.Lines(renderTree(spans, width, false)) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > max(width, treeMinWidth) {
					t.Fatalf("at %d columns a line has %d: %q", width, n, line)
				}
			}
		}
	}
}

func TestColourAddsNothingButColour(t *testing.T) {
	colored := renderTree(fallbackTrace(), 100, true)
	var plainText strings.Builder
	for part := range strings.SplitSeq(colored, "\x1b[") {
		if _, rest, ok := strings.Cut(part, "m"); ok && part != colored && plainText.Len() > 0 {
			plainText.WriteString(rest)
		} else if plainText.Len() == 0 {
			_, rest, _ := strings.Cut(part, "m")
			plainText.WriteString(rest)
		}
	}
	if diff := cmp.Diff(renderTree(fallbackTrace(), 100, false), plainText.String()); diff != "" {
		t.Errorf("without its colours (-want +got):\n%s", diff)
	}
}

func TestNoSpansAreNoTree(t *testing.T) {
	if got := renderTree(nil, 100, true); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

func TestDurationsAndCountsReadWell(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 µs", 0: "0 µs", 999 * time.Microsecond: "999 µs", 1500 * time.Microsecond: "1.5 ms", 2340 * time.Millisecond: "2.34 s",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%v): got %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -100: "-100", -1000: "-1,000"} {
		if got := formatCount(n); got != want {
			t.Errorf("formatCount(%d): got %q, want %q", n, got, want)
		}
	}
}
