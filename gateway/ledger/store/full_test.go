package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// settled settles an attempt that costs 1000.
func settled(s *Store, id string) error {
	return s.Settled(&childHold(id).Line, childAccounts, nil)
}

// costs returns what the store's lines cost, by id.
func costs(t testing.TB, s *Store) map[string]gateway.NanoUSD {
	t.Helper()
	m := map[string]gateway.NanoUSD{}
	for l, err := range s.Lines(context.Background(), Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		m[l.ID] = l.Cost.Total
	}
	return m
}

// L-05, with faults of the disk under the journal: some writes are cut short.
func TestDiskFullUnderTheJournal(t *testing.T) {
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
		d, dir := newFaultDisk(), t.TempDir()
		s, _ := openStore(t, dir, func(o *Options) { o.disk = d })
		if err := s.Held(childHold("before")); err != nil {
			t.Fatal(err)
		}
		part := 0
		d.setFail(func(o op) (int, error) {
			if o.kind == "write" || o.kind == "create" {
				part += 7
				return part, fault
			}
			return 0, nil
		})
		for i := range 20 {
			if err := s.Held(childHold(fmt.Sprint("refused-", i))); !errors.Is(err, ErrUnavailable) || !errors.Is(err, fault) {
				t.Errorf("hold on a full disk: %v", err)
			}
		}
		if err := settled(s, "before"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("settle on a full disk: %v", err)
		}
		if h := s.Health(); !errors.Is(h.Err, ErrUnavailable) || h.OpenHolds != 0 {
			t.Errorf("health: %+v", h)
		}
		d.setFail(nil)
		if err := s.Held(childHold("after")); err != nil {
			t.Errorf("hold when there is space again: %v", err)
		}
		if h := s.Health(); h.Err != nil {
			t.Errorf("health when there is space again: %+v", h)
		}
		found := journalOf(t, dir)
		if len(found.holds) != 2 || found.holds["after"] == nil { // "before" is settled in the database only
			t.Errorf("holds of the journal: %v", found.order)
		}
		if got := costs(t, s); len(got) != 1 || got["before"] != 1000 {
			t.Errorf("lines: %v", got)
		}
		left := copyDir(t, dir)
		closeStore(t, s)

		again, r := openStore(t, left)
		if len(r.InDoubt) != 1 || r.InDoubt[0].Line.ID != "after" {
			t.Errorf("in doubt: %v", r.InDoubt)
		}
		closeStore(t, again)
	}
}

// A file system that cuts a write short and cannot even cut the file leaves
// bytes behind; nothing is written after them until they are gone.
func TestWriteLeavesNothingBehind(t *testing.T) {
	d, dir := newFaultDisk(), t.TempDir()
	s, _ := openStore(t, dir, func(o *Options) { o.disk = d })
	d.setFail(func(o op) (int, error) {
		switch o.kind {
		case "write":
			return 300, syscall.ENOSPC
		case "truncate":
			return 0, syscall.EIO
		}
		return 0, nil
	})
	if err := s.Held(childHold("torn")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("hold: %v", err)
	}
	d.setFail(func(o op) (int, error) {
		if o.kind == "truncate" {
			return 0, syscall.EIO
		}
		return 0, nil
	})
	if err := s.Held(childHold("refused")); !errors.Is(err, syscall.EIO) {
		t.Errorf("hold: %v", err)
	}
	d.setFail(nil)
	if err := s.Held(childHold("whole")); err != nil {
		t.Error(err)
	}
	if found := journalOf(t, dir); len(found.order) != 1 || found.holds["whole"] == nil {
		t.Errorf("holds of the journal: %v", found.order)
	}
}

// pragma sets something on the writer's connection.
func pragma(t *testing.T, s *Store, text string) {
	t.Helper()
	err := s.writer.with(func() error {
		_, err := s.writer.raw.(driver.ExecerContext).ExecContext(context.Background(), "PRAGMA "+text, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// L-05, with a database that may not grow: SQLite says SQLITE_FULL, as for a
// full disk.
func TestDiskFullUnderTheDatabase(t *testing.T) {
	var full atomic.Bool
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, _ := openStore(t, dir)
		s.opts.commit = func() error {
			if full.Load() {
				pragma(t, s, "max_page_count = 1") // no less than there are
			} else {
				pragma(t, s, "max_page_count = 1000000")
			}
			return nil
		}
		full.Store(true)
		want := 0
		for s.Health().Err == nil { // until the pages are full
			if want++; want > 20_000 {
				t.Fatal("the database does not fill up")
			}
			if err := settled(s, fmt.Sprint("line-", want)); err != nil {
				t.Fatal(err)
			}
			if want%100 == 0 {
				time.Sleep(commitEvery)
			}
		}
		if h := s.Health(); !errors.Is(h.Err, ErrUnavailable) || !strings.Contains(h.Err.Error(), "full") {
			t.Errorf("health: %+v", h)
		}
		if err := s.Held(childHold("held")); err != nil { // the journal takes it
			t.Error(err)
		}
		if err := settled(s, "held"); err != nil {
			t.Error(err)
		}
		want++
		if _, err := s.Sums(t.Context()); err != nil { // queries go on, with what is there
			t.Error(err)
		}
		if err := s.Backup(t.Context(), t.TempDir()+"/backup"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("backup: %v", err)
		}
		full.Store(false)
		time.Sleep(2 * time.Second)
		if h := s.Health(); h.Err != nil || h.QueuedLines != 0 {
			t.Errorf("health two seconds after there is space: %+v", h)
		}
		if got := costs(t, s); len(got) != want {
			t.Errorf("got %d lines, want %d", len(got), want)
		}
		verified(t, s)
		closeStore(t, s)
	})
}

// L-28: a database that takes very long.
func TestSlowDatabaseShedsHolds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		s, _ := openStore(t, dir, func(o *Options) {
			o.QueueBytes = 64 << 10
			o.commit = func() error { <-stop; return nil }
		})
		held, refused := 0, 0
		var longest time.Duration
		for i := range 300 {
			start := time.Now()
			err := s.Held(childHold(fmt.Sprint(i)))
			longest = max(longest, time.Since(start))
			if err != nil {
				if !errors.Is(err, ErrUnavailable) {
					t.Fatal(err)
				}
				refused++
				continue
			}
			if held++; held%3 == 0 {
				continue // settled later
			}
			if err := settled(s, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		if held == 0 || refused == 0 || longest != defaultWait {
			t.Errorf("held %d, refused %d, longest wait %v", held, refused, longest)
		}
		if h := s.Health(); h.QueuedBytes > 64<<10 {
			t.Errorf("health: %+v", h)
		}
		s.mu.Lock()
		var open []string
		for id := range s.open {
			open = append(open, id)
		}
		s.mu.Unlock()
		for _, id := range open { // there is room for what was admitted
			if err := settled(s, id); err != nil {
				t.Error(err)
			}
		}
		if h := s.Health(); h.QueuedBytes > 64<<10 || h.Lost > 0 {
			t.Errorf("health: %+v", h)
		}
		close(stop)
		if got := costs(t, s); len(got) != held {
			t.Errorf("got %d lines, want %d", len(got), held)
		}
		verified(t, s)
		closeStore(t, s)
	})
}

// Without a hold nothing was reserved: then a queue has an end.
func TestFullQueueKeepsWhatTheJournalHas(t *testing.T) {
	stop := make(chan struct{})
	d, dir := newFaultDisk(), t.TempDir()
	s, _ := openStore(t, dir, func(o *Options) {
		o.QueueBytes, o.disk = 4<<10, d
		o.commit = func() error { <-stop; return nil }
	})
	for i := range 100 {
		if err := settled(s, fmt.Sprint("journaled-", i)); err != nil {
			t.Fatal(err)
		}
	}
	d.setFail(func(op) (int, error) { return 0, syscall.ENOSPC })
	if err := settled(s, "nowhere"); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "lost") {
		t.Errorf("settle: %v", err)
	}
	if h := s.Health(); h.Lost != 1 || h.QueuedBytes > 8<<10 {
		t.Errorf("health: %+v", h)
	}
	d.setFail(nil)
	left := copyDir(t, dir) // as a kill leaves it
	close(stop)
	again, r := openStore(t, left)
	if got := costs(t, again); len(got) != 100 || r.Lines != 100 {
		t.Errorf("after a kill: %d lines, %d of the journal, want 100", len(got), r.Lines)
	}
	if err := s.Held(childHold("more")); err != nil {
		t.Error(err)
	}
	if err := settled(s, "more"); err != nil {
		t.Error(err)
	}
	if got := costs(t, s); len(got) != 101 {
		t.Errorf("got %d lines, want 101", len(got))
	}
	verified(t, s)
	closeStore(t, s)
	if names, _ := journalFiles(dir); len(names) > 0 {
		t.Errorf("journal after close: %v", names)
	}
}

// L-12
func TestLineCountsOnce(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	check := func(s *Store, want int) {
		t.Helper()
		if got := costs(t, s); len(got) != want {
			t.Errorf("lines: got %v, want %d", got, want)
		}
		sums, err := s.Sums(t.Context())
		if err != nil || len(sums) != 2 || sums[0].Spent != gateway.NanoUSD(1000*want) || sums[1].Spent != gateway.NanoUSD(1000*want) {
			t.Errorf("sums: %v %v, want %d", sums, err, 1000*want)
		}
		verified(t, s)
	}
	for _, id := range []string{"a", "a", "b", "a"} { // in one batch
		if err := settled(s, id); err != nil {
			t.Fatal(err)
		}
	}
	check(s, 2)
	if err := settled(s, "b"); err != nil { // in another
		t.Fatal(err)
	}
	check(s, 2)
	for range 2 { // replayed
		left := copyDir(t, dir)
		closeStore(t, s)
		dir = left
		s, _ = openStore(t, dir)
		check(s, 2)
	}
	if err := s.Held(childHold("a")); err != nil { // held again
		t.Fatal(err)
	}
	if err := settled(s, "a"); err != nil {
		t.Fatal(err)
	}
	check(s, 2)
}

// L-25
func TestJournalStaysSmall(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir, func(o *Options) { o.rotate = 32 << 10 })
	if err := s.Held(childHold("first")); err != nil {
		t.Fatal(err)
	}
	s.Checkpoint("first", 4000, 40)
	if err := s.Extend("first", 2_000_000); err != nil {
		t.Fatal(err)
	}
	var largest int64
	files := 0
	for i := range 6000 {
		id := fmt.Sprint("line-", i)
		if err := s.Held(childHold(id)); err != nil {
			t.Fatal(err)
		}
		s.Checkpoint(id, 1100, 1)
		if err := settled(s, id); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			if err := s.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			largest = max(largest, s.Health().JournalBytes)
			names, err := journalFiles(dir)
			if err != nil {
				t.Fatal(err)
			}
			files = max(files, len(names))
		}
	}
	if largest > 256<<10 || files > 2 {
		t.Errorf("the journal has grown to %d bytes, %d files", largest, files)
	}
	if s.journal.number < 20 {
		t.Errorf("the journal has begun only %d files", s.journal.number)
	}
	again, r := openStore(t, copyDir(t, dir))
	if len(r.InDoubt) != 1 || r.InDoubt[0].Line.ID != "first" || r.InDoubt[0].Line.Held != 2_000_000 || r.InDoubt[0].Line.Cost.Total != 4500 {
		t.Errorf("in doubt: %+v", r.InDoubt)
	}
	if got := len(costs(t, again)); got != 6000 {
		t.Errorf("got %d lines, want 6000", got)
	}
	verified(t, again)
}
