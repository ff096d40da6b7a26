package gateway_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// spanLog is a span processor that keeps what has ended and what has not.
type spanLog struct {
	mu    sync.Mutex
	live  map[trace.SpanID]sdktrace.ReadOnlySpan
	ended []sdktrace.ReadOnlySpan
	twice []string
	wake  chan struct{} // closed and replaced when a span ends
}

func (l *spanLog) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live[s.SpanContext().SpanID()] = s
}

func (l *spanLog) OnEnd(s sdktrace.ReadOnlySpan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live[s.SpanContext().SpanID()] == nil {
		l.twice = append(l.twice, s.Name())
	}
	delete(l.live, s.SpanContext().SpanID())
	l.ended = append(l.ended, s)
	close(l.wake)
	l.wake = make(chan struct{})
}

func (l *spanLog) Shutdown(context.Context) error   { return nil }
func (l *spanLog) ForceFlush(context.Context) error { return nil }

// tree is the spans of one trace in the order they started.
type tree []sdktrace.ReadOnlySpan

// trace waits until the span of sc has ended and returns its trace.
func (l *spanLog) trace(t testing.TB, sc trace.SpanContext) tree {
	t.Helper()
	if !sc.IsSampled() {
		return nil
	}
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		var spans tree
		found := false
		for _, s := range l.ended {
			if s.SpanContext().TraceID() == sc.TraceID() {
				spans = append(spans, s)
				found = found || s.SpanContext().SpanID() == sc.SpanID()
			}
		}
		wake := l.wake
		l.mu.Unlock()
		if found {
			spans.sort()
			return spans
		}
		select {
		case <-wake:
		case <-timeout:
			t.Fatal("the SERVER span did not end in time")
		}
	}
}

func (tr tree) sort() {
	slices.SortStableFunc(tr, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
}

// named returns the spans with a name.
func (tr tree) named(name string) tree {
	var out tree
	for _, s := range tr {
		if s.Name() == name {
			out = append(out, s)
		}
	}
	return out
}

// server returns the SERVER span.
func (tr tree) server() sdktrace.ReadOnlySpan {
	for _, s := range tr {
		if s.SpanKind() == trace.SpanKindServer {
			return s
		}
	}
	return nil
}

// genai returns the GenAI spans.
func (tr tree) genai() tree {
	var out tree
	for _, s := range tr {
		if isGenAI(s) {
			out = append(out, s)
		}
	}
	return out
}

func isGenAI(s sdktrace.ReadOnlySpan) bool {
	return s.SpanKind() == trace.SpanKindClient && s.InstrumentationScope().Name == names.ScopeGenAI
}

// attr returns a span's attribute; an invalid value when it has none.
func attr(s sdktrace.ReadOnlySpan, k attribute.Key) attribute.Value {
	for _, kv := range s.Attributes() {
		if kv.Key == k {
			return kv.Value
		}
	}
	return attribute.Value{}
}

func has(s sdktrace.ReadOnlySpan, k attribute.Key) bool {
	return attr(s, k).Type() != attribute.EMPTY
}

// failures returns the names of the spans whose status is Error.
func (tr tree) failures() []string {
	var out []string
	for _, s := range tr {
		if s.Status().Code == codes.Error {
			out = append(out, s.Name())
		}
	}
	return out
}

// checkInvariants holds whatever a rig did against what is true of every trace
// (TELEMETRY §1, §7). Every handler has returned.
func (r *rig) checkInvariants() {
	r.t.Helper()
	r.spans.mu.Lock()
	defer r.spans.mu.Unlock()
	for _, s := range r.spans.live {
		r.t.Errorf("span %q never ended", s.Name())
	}
	for _, n := range r.spans.twice {
		r.t.Errorf("span %q ended twice", n)
	}
	traces := map[trace.TraceID]tree{}
	for _, s := range r.spans.ended {
		id := s.SpanContext().TraceID()
		traces[id] = append(traces[id], s)
	}
	for _, spans := range traces {
		spans.sort()
		spans.check(r.t)
	}
	r.end.check(r.t, traces)
	if r.ledger != nil {
		r.ledger.check(r.t)
	}
}

func (tr tree) check(t testing.TB) {
	t.Helper()
	byID := map[trace.SpanID]sdktrace.ReadOnlySpan{}
	for _, s := range tr {
		byID[s.SpanContext().SpanID()] = s
	}
	root := tr.server()
	if root == nil {
		t.Errorf("a trace without a SERVER span: %v", describe(tr))
		return
	}
	for _, s := range tr {
		parent := byID[s.Parent().SpanID()]
		switch {
		case s == root && s.Parent().IsValid() && !s.Parent().IsRemote():
			t.Errorf("SERVER has a local parent")
		case s != root && parent == nil:
			t.Errorf("%q has no parent in its trace: %v", s.Name(), describe(tr))
		case s != root:
			checkNesting(t, parent, s)
		}
		if s.EndTime().After(root.EndTime()) {
			t.Errorf("%q ends %v after SERVER", s.Name(), s.EndTime().Sub(root.EndTime()))
		}
		checkSpan(t, s)
	}
}

func checkNesting(t testing.TB, parent, s sdktrace.ReadOnlySpan) {
	t.Helper()
	if s.StartTime().Before(parent.StartTime()) {
		t.Errorf("%q starts %v before its parent %q", s.Name(), parent.StartTime().Sub(s.StartTime()), parent.Name())
	}
	if s.EndTime().After(parent.EndTime()) {
		t.Errorf("%q ends %v after its parent %q", s.Name(), s.EndTime().Sub(parent.EndTime()), parent.Name())
	}
	if s.EndTime().Before(s.StartTime()) {
		t.Errorf("%q ends before it starts", s.Name())
	}
}

// checkSpan checks status and where facts may stand.
func checkSpan(t testing.TB, s sdktrace.ReadOnlySpan) {
	t.Helper()
	switch s.Status().Code {
	case codes.Ok:
		t.Errorf("%q has status Ok", s.Name())
	case codes.Error:
		if !has(s, names.KeyErrorType) {
			t.Errorf("%q is an error without error.type", s.Name())
		}
		if s.Status().Description != "" {
			t.Errorf("%q has the status description %q", s.Name(), s.Status().Description)
		}
	case codes.Unset:
		if has(s, names.KeyErrorType) {
			t.Errorf("%q has error.type %q without status Error", s.Name(), attr(s, names.KeyErrorType).AsString())
		}
	}
	for _, kv := range s.Attributes() {
		if strings.HasPrefix(string(kv.Key), "gen_ai.") && !isGenAI(s) {
			t.Errorf("%q has %s, which belongs on the GenAI span", s.Name(), kv.Key)
		}
	}
	if n := len(s.Events()); n > 32 {
		t.Errorf("%q has %d events, want 32 at most", s.Name(), n)
	}
}

// check checks that what the recorder was told balances.
func (e *ending) check(t testing.TB, traces map[trace.TraceID]tree) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begun != e.ended {
		t.Errorf("%d exchanges began and %d ended", e.begun, e.ended)
	}
	if e.streams != 0 {
		t.Errorf("%d more streams started than ended", e.streams)
	}
	for _, x := range e.all {
		e.checkExchange(t, x, traces)
	}
}

func (e *ending) checkExchange(t testing.TB, x *gateway.Exchange, traces map[trace.TraceID]tree) {
	t.Helper()
	sent := 0
	for _, a := range x.Attempts {
		if e.closed[a] != 1 {
			t.Errorf("attempt %d of %s ended %d times, want once", a.Number, x.Dialect.Name(), e.closed[a])
		}
		want := 0
		if !a.Issued.IsZero() {
			want = 1
			sent++
		}
		if e.settled[a] != want {
			t.Errorf("attempt %d of %s was settled %d times, want %d", a.Number, x.Dialect.Name(), e.settled[a], want)
		}
	}
	spans := traces[x.Span.SpanContext().TraceID()]
	if !x.Span.SpanContext().IsSampled() || len(spans) == 0 {
		return
	}
	if x.Call.Operation == "" {
		sent = 0
	}
	// Exchanges may share a trace the client began.
	var genai int
	for _, s := range spans.genai() {
		if s.Parent().SpanID() == x.Span.SpanContext().SpanID() {
			genai++
		}
	}
	if genai != sent {
		t.Errorf("%d GenAI spans for %d attempts that were sent: %v", genai, sent, describe(spans))
	}
}

func describe(tr tree) []string {
	var out []string
	for _, s := range tr {
		out = append(out, s.Name())
	}
	return out
}
