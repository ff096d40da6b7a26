package store

import (
	"context"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// nothing sees spans, so that they are recorded, and does nothing.
type nothing struct{}

func (nothing) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (nothing) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (nothing) Shutdown(context.Context) error                  { return nil }
func (nothing) ForceFlush(context.Context) error                { return nil }

// recorded are the spans of n exchanges.
func recorded(n int) [][]sdktrace.ReadOnlySpan {
	c := &collector{}
	p := newPlayer(c)
	for i := range n {
		p.play(context.Background(), plainScene(i))
	}
	return c.exchanges
}

type collector struct {
	nothing
	exchanges [][]sdktrace.ReadOnlySpan
	open      []sdktrace.ReadOnlySpan
}

func (c *collector) OnEnd(s sdktrace.ReadOnlySpan) {
	c.open = append(c.open, s)
	if s.Name() == "POST /v1/messages" {
		c.exchanges, c.open = append(c.exchanges, c.open), nil
	}
}

// BenchmarkExchange is what the store adds to an exchange of seven spans, all of it: the request's part, the summary, the
// bytes, and the disk. cpu-ns/op is the process's CPU time. The spans are few enough to lie in the processor's cache, as those
// do that have just been made.
func BenchmarkExchange(b *testing.B) {
	s := openTest(b, Options{Dir: b.TempDir()})
	exchanges := recorded(100)
	start := cpuTime()
	for i := 0; b.Loop(); i++ {
		for _, span := range exchanges[i%len(exchanges)] {
			s.OnEnd(span)
		}
		if i%1000 == 999 { // as fast as the disk takes them
			settle(b, s, int64(i+1))
		}
	}
	s.stopForTest()
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
	if lost := s.Status().Lost; lost > 0 {
		b.Errorf("lost %d exchanges", lost)
	}
}

// stopForTest waits until everything is on disk.
func (s *Store) stopForTest() {
	if err := s.Close(); err != nil {
		panic(err)
	}
}

// BenchmarkEnd is the request's part alone.
func BenchmarkEnd(b *testing.B) {
	s := openTest(b, Options{})
	exchanges := recorded(100)
	for i := 0; b.Loop(); i++ {
		for _, span := range exchanges[i%len(exchanges)] {
			s.hold.end(span)
		}
		s.hold.taken(s.hold.take())
	}
}

func filled(b testing.TB, n int) *Store {
	s := openTest(b, Options{Dir: b.TempDir(), Rows: n + 1000})
	for i, spans := range recorded(n) {
		for _, span := range spans {
			s.OnEnd(span)
		}
		if i%1000 == 999 {
			settle(b, s, int64(i+1))
		}
	}
	settle(b, s, int64(n))
	return s
}

func BenchmarkList(b *testing.B) {
	s := filled(b, 100_000)
	for name, f := range map[string]Filter{
		"newest": {}, "label": {Label: "think"}, "nothing": {Label: "no such"}, "text": {Text: "fffffff"}, "session": {Session: "session-3"}, "cost": {MinCost: 100},
		"duration": {MinDuration: time.Hour},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.List(f, 50)
			}
		})
	}
	b.Run("spend", func(b *testing.B) {
		for b.Loop() {
			_, _ = s.Spend(context.Background(), SpendQuery{Since: time.Unix(1_800_000_000, 0), Until: time.Unix(1_800_100_000, 0), Step: time.Hour, By: SpendByModel, Series: 8})
		}
	})
	b.Run("values", func(b *testing.B) {
		for b.Loop() {
			s.Values()
		}
	})
	b.Run("find", func(b *testing.B) {
		id := s.blocks[0].entries[0].trace.String()
		for b.Loop() {
			if _, err := s.Find(context.Background(), id); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := openTest(b, Options{Dir: dir})
	for i, spans := range recorded(100_000) {
		for _, span := range spans {
			s.OnEnd(span)
		}
		if i%1000 == 999 {
			settle(b, s, int64(i+1))
		}
	}
	s.stopForTest()
	for b.Loop() {
		s, err := Open(context.Background(), Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.stopForTest()
		b.StartTimer()
	}
}

func BenchmarkAdd(b *testing.B) {
	exchanges := recorded(100)
	bl := newBlock(1, parts{})
	start := cpuTime()
	for i := 0; b.Loop(); i++ {
		if bl.sealed {
			bl = newBlock(1, bl.release())
		}
		bl.add(exchanges[i%len(exchanges)])
	}
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(len(bl.spans))/float64(len(bl.entries)), "spanB/op")
	b.ReportMetric(float64(len(bl.encodeRows(nil)))/float64(len(bl.entries)), "rowB/op")
	b.ReportMetric(float64(len(bl.encodeSpans(nil)))/float64(len(bl.entries)), "spansB/op")
}
