package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExchangeIsListedAsItsSpansSay(t *testing.T) {
	s := openTest(t, Options{Dir: t.TempDir()})
	sc := plainScene(1)
	traceID, requestID := newPlayer(s).play(t.Context(), sc)
	settle(t, s, 1)
	list, more := s.List(Filter{}, 10)
	if len(list) != 1 || more {
		t.Fatalf("got %d exchanges, more %v, want 1 and no more", len(list), more)
	}
	got := list[0]
	got.SpanID = trace.SpanID{}
	want := Exchange{
		Seq: 1, RequestID: requestID, TraceID: traceID, Start: sc.at.UTC(), Duration: sc.took, TTFT: 410 * time.Millisecond, Overhead: 400 * time.Microsecond,
		Dialect: names.DialectAnthropicMessages, Label: "think", Rule: "think", Reason: names.RouteReasonRule, Original: "claude-opus-4-8", Routed: "claude-haiku-4-5",
		Provider: "anthropic", Outcome: names.OutcomeCompleted, Key: "key-1", Team: "platform", Session: "session-0", Billing: names.CostBillingMetered,
		Status: 200, Attempts: 1, Stream: true, Input: 1834, Output: 412, CacheRead: 1024, Cost: 0.002, Priced: true,
		Classes: Classes{Input: 0.0005, CacheRead: 0.0005, Output: 0.001}, Baseline: 0.01, Compared: 0.002,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSpansComeBackAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir})
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s))
	tracer := tp.Tracer("scope")
	other := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx, root := tracer.Start(t.Context(), "root", trace.WithSpanKind(trace.SpanKindServer))
	_, child := tracer.Start(ctx, "child", trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(trace.Link{SpanContext: other, Attributes: []attribute.KeyValue{attribute.Int("n", 1)}}))
	attrs := []attribute.KeyValue{
		attribute.String("text", "words"), attribute.String("long", strings.Repeat("x", 500)), attribute.Bool("yes", true), attribute.Bool("no", false),
		attribute.Int64("count", -7), attribute.Float64("part", 0.25), attribute.StringSlice("list", []string{"a", "", "ü"}), attribute.String("empty", ""),
	}
	child.SetAttributes(attrs...)
	child.AddEvent("happened", trace.WithAttributes(attribute.String("why", "test")))
	child.SetStatus(codes.Error, "it broke")
	child.End()
	root.End()
	settle(t, s, 1)
	check := func(s *Store) {
		t.Helper()
		found, err := s.Find(t.Context(), root.SpanContext().TraceID().String())
		if err != nil || len(found) != 1 || len(found[0].Spans) != 2 {
			t.Fatalf("got %+v, %v, want two spans", found, err)
		}
		got := found[0].Spans[0]
		if diff := cmp.Diff(attrs, got.Attributes, cmp.Comparer(func(a, b attribute.Value) bool { return a.Type() == b.Type() && a.String() == b.String() })); diff != "" {
			t.Errorf("attributes (-want +got):\n%s", diff)
		}
		if got.Name != "child" || got.Scope != "scope" || got.Kind != trace.SpanKindClient || got.Status != codes.Error || got.StatusText != "it broke" ||
			got.Parent != root.SpanContext().SpanID() || got.SpanID != child.SpanContext().SpanID() || got.TraceID != root.SpanContext().TraceID() {
			t.Errorf("got %+v", got)
		}
		if len(got.Events) != 1 || got.Events[0].Name != "happened" || len(got.Events[0].Attributes) != 1 {
			t.Errorf("got events %+v", got.Events)
		}
		if len(got.Links) != 1 || got.Links[0].SpanID != other.SpanID() || got.Links[0].TraceID != other.TraceID() || len(got.Links[0].Attributes) != 1 {
			t.Errorf("got links %+v", got.Links)
		}
		if ro := child.(sdktrace.ReadOnlySpan); !got.Start.Equal(ro.StartTime()) || !got.End.Equal(ro.EndTime()) {
			t.Errorf("got %v to %v, want %v to %v", got.Start, got.End, ro.StartTime(), ro.EndTime())
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(openTest(t, Options{Dir: dir}))
}

func TestStoreSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir})
	p := newPlayer(s)
	var ids []string
	for i := range 300 {
		id, _ := p.play(t.Context(), plainScene(i))
		ids = append(ids, id.String())
	}
	settle(t, s, 300)
	s.AddAlert(t.Context(), Alert{Type: names.AlertBudgetCrossed, Budget: "everything", Spent: 5, Limit: 5})
	before, _ := s.List(Filter{}, 1000)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = openTest(t, Options{Dir: dir})
	after, _ := s.List(Filter{}, 1000)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if got := s.Alerts(10); len(got) != 1 || got[0].Budget != "everything" {
		t.Errorf("got alerts %+v", got)
	}
	newPlayer(s).play(t.Context(), plainScene(300))
	settle(t, s, 301)
	for _, id := range []string{ids[0], ids[150], ids[299]} {
		if found, err := s.Find(t.Context(), id); err != nil || len(found) != 1 || len(found[0].Spans) != 7 {
			t.Errorf("trace %s: got %d exchanges, %v", id, len(found), err)
		}
	}
}

func TestUselessFilesAreSetAside(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"not a database": func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("no database ", 5000)), 0o600)
		},
		"newer": func(path string) error {
			db, err := openDatabase(path, nil)
			if err != nil {
				return err
			}
			_, err = db.Exec("PRAGMA user_version = 99")
			return errors.Join(err, db.Close())
		},
		"somebody else's": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			db, err := openDatabase(path, nil)
			if err != nil {
				return err
			}
			_, err = db.Exec("CREATE TABLE recipes (id INTEGER)")
			return errors.Join(err, db.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, FileName)
			s := openTest(t, Options{Dir: dir})
			newPlayer(s).play(t.Context(), plainScene(0))
			settle(t, s, 1)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			s = openTest(t, Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if list, _ := s.List(Filter{}, 10); len(list) != 0 {
				t.Errorf("got %d exchanges, want none", len(list))
			}
			if _, err := os.Stat(path + asideSuffix); err != nil {
				t.Errorf("the file is not set aside: %v", err)
			}
			if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "set aside") {
				t.Errorf("got log %q, want one line", log.String())
			}
			newPlayer(s).play(t.Context(), plainScene(0))
			settle(t, s, 1)
		})
	}
}

func TestDamagedBlockIsLeftOutAlone(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir})
	p := newPlayer(s)
	for i := range 3 * blockExchanges {
		p.play(t.Context(), plainScene(i))
	}
	settle(t, s, 3*blockExchanges)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := openDatabase(filepath.Join(dir, FileName), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("UPDATE blocks SET rows = zeroblob(length(rows)) WHERE id = (SELECT min(id) FROM blocks)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, Options{Dir: dir})
	if got := s.Status().Exchanges; got < blockExchanges || got >= 3*blockExchanges {
		t.Errorf("got %d exchanges, want those of the other blocks", got)
	}
}

func TestFileIsForItsOwnerAlone(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir})
	newPlayer(s).play(t.Context(), plainScene(0))
	settle(t, s, 1)
	for _, name := range []string{FileName, FileName + "-wal"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got&0o077 != 0 {
			t.Errorf("%s: got mode %o, want it for the owner alone", name, got)
		}
	}
}

func TestOldestGoFirst(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir, Rows: 500})
	p := newPlayer(s)
	for i := range 2000 {
		p.play(t.Context(), plainScene(i))
	}
	settle(t, s, 2000)
	check := func(s *Store) {
		t.Helper()
		list, _ := s.List(Filter{}, 5000)
		if n := len(list); n < 500 || n > 500+blockExchanges {
			t.Errorf("got %d exchanges, want 500 and at most a block more", n)
		}
		for i, x := range list {
			if x.Seq != int64(2000-i) {
				t.Fatalf("got seq %d in place %d, want %d", x.Seq, i, 2000-i)
			}
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(openTest(t, Options{Dir: dir, Rows: 500}))
}

func TestBytesAreBounded(t *testing.T) {
	s := openTest(t, Options{Dir: t.TempDir(), Bytes: 1 << 20})
	p := newPlayer(s)
	for i := range 300 {
		sc := plainScene(i)
		sc.original = strings.Repeat(fmt.Sprint(i, " "), 4000) // a hostile client
		p.play(t.Context(), sc)
	}
	settle(t, s, 300)
	if st := s.Status(); st.Bytes > 1<<20+blockBytes || st.Exchanges >= 300 {
		t.Errorf("got %d bytes in %d exchanges, want at most a block above 1 MiB", st.Bytes, st.Exchanges)
	}
	list, _ := s.List(Filter{}, 1)
	if n := len(list[0].Original); n > maxText {
		t.Errorf("got a model of %d bytes, want %d at most", n, maxText)
	}
}

func TestFullQueueDropsAndCounts(t *testing.T) {
	s := openTest(t, Options{QueueBytes: 64 << 10})
	p := newPlayer(s)
	p.play(t.Context(), plainScene(0))
	settle(t, s, 1)
	s.mu.Lock() // nothing is taken in
	for i := range 100 {
		p.play(t.Context(), plainScene(i))
	}
	held := s.hold.size()
	s.mu.Unlock()
	if held > 2*64<<10 {
		t.Errorf("got %d bytes held, want at most twice 64 KiB", held)
	}
	if lost := s.Status().Lost; lost < 50 {
		t.Errorf("got %d lost, want most of 100", lost)
	}
}

func TestTracesThatNeverEndAreBounded(t *testing.T) {
	s := openTest(t, Options{QueueBytes: 64 << 10})
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s))
	for range 1000 {
		_, span := tp.Tracer("x").Start(context.Background(), "stray")
		span.End()
	}
	if st := s.Status(); st.Held > 64<<10 || st.Lost == 0 {
		t.Errorf("got %d bytes held and %d lost, want at most 64 KiB and some lost", st.Held, st.Lost)
	}
}

func TestExchangesOfOneTraceAreApart(t *testing.T) {
	s := openTest(t, Options{Dir: t.TempDir()})
	p := newPlayer(s)
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{9}, SpanID: trace.SpanID{9}, TraceFlags: trace.FlagsSampled, Remote: true})
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), parent)
	_, first := p.play(ctx, plainScene(0))
	// Of another exchange of the trace a span has ended already.
	octx, other := p.server.Start(ctx, "POST /v1/messages", trace.WithSpanKind(trace.SpanKindServer))
	_, span := p.gateway.Start(octx, names.SpanPreCall)
	span.End()
	_, second := p.play(ctx, plainScene(1))
	settle(t, s, 2)
	other.End()
	settle(t, s, 3)
	found, err := s.Find(t.Context(), trace.TraceID{9}.String())
	if err != nil || len(found) != 3 {
		t.Fatalf("got %d exchanges, %v, want 3", len(found), err)
	}
	if found[0].Exchange.RequestID != first || found[1].Exchange.RequestID != second || len(found[0].Spans) != 7 || len(found[1].Spans) != 7 || len(found[2].Spans) != 2 {
		t.Errorf("got %+v", found)
	}
	if one, err := s.Find(t.Context(), second); err != nil || len(one) != 1 || one[0].Exchange.RequestID != second {
		t.Errorf("by request id: got %+v, %v", one, err)
	}
}

func TestFindTakesIDsInManyForms(t *testing.T) {
	s := openTest(t, Options{})
	id, request := newPlayer(s).play(t.Context(), plainScene(0))
	settle(t, s, 1)
	for _, form := range []string{id.String(), strings.ToUpper(id.String()), id.String()[:12], request, " " + request + "\n", strings.ReplaceAll(request, "-", ""), request[:13]} {
		if found, err := s.Find(t.Context(), form); err != nil || len(found) != 1 {
			t.Errorf("%q: got %d, %v, want it", form, len(found), err)
		}
	}
	for _, form := range []string{"", "abc", "zzzzzzzzzzzz", strings.Repeat("0", 32), "'; DROP TABLE blocks; --"} {
		if _, err := s.Find(t.Context(), form); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: got %v, want ErrNotFound", form, err)
		}
	}
}

func TestStoreWithoutADirectoryKeepsRecentOnes(t *testing.T) {
	s := openTest(t, Options{QueueBytes: 1 << 20})
	p := newPlayer(s)
	for i := range 3000 {
		p.play(t.Context(), plainScene(i))
		if i%20 == 0 {
			settle(t, s, int64(i+1))
		}
	}
	settle(t, s, 3000)
	if st := s.Status(); st.Bytes > 1<<20+blockBytes || st.Exchanges == 0 {
		t.Errorf("got %+v, want about 1 MiB", st)
	}
	list, _ := s.List(Filter{}, 1)
	if found, err := s.Find(t.Context(), list[0].RequestID); err != nil || len(found[0].Spans) != 7 {
		t.Errorf("got %v, %v", found, err)
	}
}

func TestWritesThatFailAreTriedAgain(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir, Flush: time.Hour})
	newPlayer(s).play(t.Context(), plainScene(0))
	settle(t, s, 1)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	s.flush(cancelled) // with the next flush an hour away, the goroutine does nothing meanwhile
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := openTest(t, Options{Dir: dir}).Status().Exchanges; got != 1 {
		t.Errorf("got %d exchanges, want 1", got)
	}
}

func TestDamageWhileRunningBeginsANewFile(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir, Flush: time.Hour})
	newPlayer(s).play(t.Context(), plainScene(0))
	settle(t, s, 1)
	s.replaceFile(t.Context())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, FileName+asideSuffix)); err != nil {
		t.Errorf("the damaged file is not set aside: %v", err)
	}
	if got := openTest(t, Options{Dir: dir}).Status().Exchanges; got != 1 {
		t.Errorf("got %d exchanges, want 1: it was in memory", got)
	}
}
