package telemetry

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// seen is a span processor that remembers names.
type seen struct {
	endedSpan
	mu    sync.Mutex
	names []string
}

func (s *seen) OnEnd(span sdktrace.ReadOnlySpan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, span.Name())
}

// exchange makes the spans of one exchange, children first to end, and tells sampling about it as the recorder does.
func exchange(ctx context.Context, tel *Telemetry, name string, facts KeepFacts) {
	tracer := tel.TracerProvider().Tracer("test")
	ctx, root := tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
	ctx, attempt := tracer.Start(ctx, name+".attempt", trace.WithSpanKind(trace.SpanKindClient))
	_, send := tracer.Start(ctx, name+".send")
	send.End()
	attempt.End()
	if reason, kept := tel.Keep(root.SpanContext().TraceID(), facts); kept {
		root.SetAttributes(names.KeyKept.String(reason))
	}
	root.End()
}

func exported(s *sink) []string {
	var list []string
	for _, span := range s.spans {
		list = append(list, span.Name)
	}
	slices.Sort(list)
	return list
}

func TestSamplingKeepsWholeTracesByTheirRootsDecision(t *testing.T) {
	s := newSink(t)
	console := &seen{}
	tel := start(t, Config{
		Sampling:       &Sampling{Ratio: 0, Keep: KeepRules{Error: true}},
		SpanProcessors: []sdktrace.SpanProcessor{console},
		Exporters:      []Exporter{{Name: "sink", Endpoint: s.grpcAddr, Signals: []Signal{Traces}}},
	})
	exchange(t.Context(), tel, "good", KeepFacts{})
	exchange(t.Context(), tel, "bad", KeepFacts{Error: true})
	shutdown(t, tel)
	if got, want := exported(s), []string{"bad", "bad.attempt", "bad.send"}; !slices.Equal(got, want) {
		t.Errorf("exported %v, want %v", got, want)
	}
	if len(console.names) != 6 {
		t.Errorf("in-process processor saw %v, want all", console.names)
	}
	for _, span := range s.spans {
		if span.Flags&1 == 0 {
			t.Errorf("span %s is not flagged sampled", span.Name)
		}
	}
}

// TestSamplingDecidesPerExchangeInASharedTrace: a client may make several requests under one trace.
func TestSamplingDecidesPerExchangeInASharedTrace(t *testing.T) {
	s := newSink(t)
	tel := start(t, Config{
		Sampling:  &Sampling{Keep: KeepRules{Error: true}},
		Exporters: []Exporter{{Name: "sink", Endpoint: s.grpcAddr, Signals: []Signal{Traces}}},
	})
	client := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{9}, SpanID: trace.SpanID{9}, Remote: true}))
	tracer := tel.TracerProvider().Tracer("test")
	open, root := tracer.Start(client, "open", trace.WithSpanKind(trace.SpanKindServer))
	_, child := tracer.Start(open, "open.child")
	child.End()
	exchange(client, tel, "good", KeepFacts{})
	exchange(client, tel, "bad", KeepFacts{Error: true})
	_, late := tracer.Start(open, "open.late")
	root.SetAttributes(names.KeyKept.String(names.KeptError))
	root.End()
	late.End()
	shutdown(t, tel)
	if got, want := exported(s), []string{"bad", "bad.attempt", "bad.send", "open", "open.child", "open.late"}; !slices.Equal(got, want) {
		t.Errorf("exported %v, want %v", got, want)
	}
}

func TestKeepRulesSayWhy(t *testing.T) {
	tel := &Telemetry{config: Config{Sampling: &Sampling{Ratio: 0.5, Keep: KeepRules{
		Error: true, Fallback: true, ModerationBlock: true, BudgetDenied: true, CostOver: 1, DurationOver: time.Minute}}}}
	out, in := trace.TraceID{8: 0xff}, trace.TraceID{15: 1}
	tests := []struct {
		id    trace.TraceID
		facts KeepFacts
		want  string
	}{
		{out, KeepFacts{}, ""},
		{in, KeepFacts{}, names.KeptRatio},
		{in, KeepFacts{Error: true}, names.KeptError},
		{out, KeepFacts{Error: true, Fallback: true}, names.KeptError},
		{out, KeepFacts{Fallback: true}, names.KeptFallback},
		{out, KeepFacts{ModerationBlock: true}, names.KeptModerationBlock},
		{out, KeepFacts{BudgetDenied: true}, names.KeptBudgetDenied},
		{out, KeepFacts{Cost: 1}, ""},
		{out, KeepFacts{Cost: 1.01}, names.KeptCost},
		{out, KeepFacts{Duration: time.Hour}, names.KeptDuration},
	}
	for _, tt := range tests {
		reason, kept := tel.Keep(tt.id, tt.facts)
		if reason != tt.want || kept != (tt.want != "") {
			t.Errorf("%v %+v: got %q, %v; want %q", tt.id, tt.facts, reason, kept, tt.want)
		}
	}
	if reason, kept := (&Telemetry{}).Keep(out, KeepFacts{Error: true}); reason != "" || !kept {
		t.Errorf("without sampling: got %q, %v; want everything kept for no reason", reason, kept)
	}
}

func TestRatioPicksWhatTheSDKPicks(t *testing.T) {
	sampler := sdktrace.TraceIDRatioBased(0.3)
	for i := range 1000 {
		id := trace.TraceID{8: byte(i), 9: byte(i >> 8), 10: byte(i * 7)}
		want := sampler.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: id}).Decision == sdktrace.RecordAndSample
		if got := inRatio(id, 0.3); got != want {
			t.Errorf("%v: got %v, want %v", id, got, want)
		}
	}
}

func TestUndecidedSpansAreBoundedAndCounted(t *testing.T) {
	s := newSink(t)
	tel := start(t, Config{QueueBytes: 64 << 10, Sampling: &Sampling{Ratio: 0.5},
		Exporters: []Exporter{{Name: "sink", Endpoint: s.grpcAddr, Signals: []Signal{Traces}}}})
	ctx, root := tel.TracerProvider().Tracer("t").Start(t.Context(), "never ends", trace.WithSpanKind(trace.SpanKindServer))
	for range 1000 {
		_, span := tel.TracerProvider().Tracer("t").Start(ctx, strings.Repeat("x", 100))
		span.End()
	}
	if got := tel.waiting(Traces); got > 64<<10 {
		t.Errorf("holds %d bytes, bound 64 KiB", got)
	}
	if got := tel.losses(Traces)[names.DropQueueFull]; got == 0 {
		t.Error("nothing counted as dropped")
	}
	_ = tel.Shutdown(t.Context())
	var total int64
	for _, n := range tel.losses(Traces) {
		total += n
	}
	if total != 1000 {
		t.Errorf("got %d counted, want 1000", total)
	}
	root.End()
}
