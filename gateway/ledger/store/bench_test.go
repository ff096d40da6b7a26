package store

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
)

// benchHold is a hold as a request of Claude Code has it, with two budgets.
func benchHold() *HoldRecord {
	l := lineAt(1)
	return &HoldRecord{Line: *l, Budgets: []Account{{"everything", "", 0}, {"team", "research", 1_800_000_000}}, PerSecond: 1000}
}

// BenchmarkAttempt is what a request pays: its hold and its settlement.
func BenchmarkAttempt(b *testing.B) {
	for _, full := range []bool{false, true} {
		b.Run(fmt.Sprintf("full=%v", full), func(b *testing.B) {
			stop := make(chan struct{})
			s, _ := openStore(b, b.TempDir(), func(o *Options) {
				o.Full = full
				o.QueueBytes = 1 << 30
				o.commit = func() error { <-stop; return nil } // the writer is measured by itself
			})
			h := benchHold()
			b.ReportAllocs()
			for b.Loop() {
				h.Line.ID = uuid.Must(uuid.NewV7()).String()
				if err := s.Held(h); err != nil {
					b.Fatal(err)
				}
				if err := s.Settled(&h.Line, h.Budgets, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			close(stop)
			closeStore(b, s)
		})
	}
}

// BenchmarkBatch is what the writer does for a line, in batches as they come
// at thousands of requests a second.
func BenchmarkBatch(b *testing.B) {
	s, _ := openStore(b, b.TempDir())
	h := benchHold()
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		var q queue
		for range commitLines {
			h.Line.ID = uuid.Must(uuid.NewV7()).String()
			h.Line.Exchange = uuid.Must(uuid.NewV7()).String()
			q.add(appendSettled(nil, &h.Line, h.Budgets, nil), nil)
		}
		b.StartTimer()
		if _, err := s.writer.commit(&q); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*commitLines), "ns/line")
}

// BenchmarkEncode is the encoding alone.
func BenchmarkEncode(b *testing.B) {
	h := benchHold()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendSettled(buf[:0], &h.Line, h.Budgets, nil)
	}
}

// BenchmarkWriteFile is the floor: two writes of the size of records.
func BenchmarkWriteFile(b *testing.B) {
	f, err := os.Create(b.TempDir() + "/f")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	record := make([]byte, 600)
	at := int64(0)
	for b.Loop() {
		for range 2 {
			if _, err := f.WriteAt(record, at); err != nil {
				b.Fatal(err)
			}
			at += int64(len(record))
			if at > 4<<20 {
				at = 0
			}
		}
	}
}

// BenchmarkMillion is what a ledger of a million lines costs at the start, and
// when it is asked.
func BenchmarkMillion(b *testing.B) {
	dir := b.TempDir()
	longLedger(b, dir, 1_000_000)
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			s, _ := openStore(b, dir)
			b.StopTimer()
			closeStore(b, s)
			b.StartTimer()
		}
		info, err := os.Stat(filepath.Join(dir, databaseName))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/1e6, "bytes/line")
	})
	s, _ := openStore(b, dir)
	query := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	query("line", func() error { _, err := s.Line(b.Context(), lineAt(500_000).ID); return err })
	query("newest", func() error {
		for _, err := range s.Lines(b.Context(), Filter{}, 100) {
			if err != nil {
				return err
			}
		}
		return nil
	})
	since := lineAt(990_000).Time
	query("spend of 1 percent", func() error {
		_, err := s.Spend(b.Context(), Query{Filter: Filter{Since: since}, By: []string{"model"}})
		return err
	})
	query("spend of all", func() error { _, err := s.Spend(b.Context(), Query{By: []string{"day", "model"}}); return err })
	query("verify", func() error { _, err := s.Verify(b.Context(), nil); return err })
}
