package store

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// A record that is no line holds up no other, and is kept.
func TestRecordThatIsNoLineIsSetAside(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	for i, body := range [][]byte{{0xff}, {}, appendSettled(nil, lineAt(1), nil, nil), {0x0a, 0x01, 0x07}} {
		if err := s.enqueue(fmt.Sprint(i), body, false); err != nil {
			t.Fatal(err)
		}
	}
	if got := costs(t, s); len(got) != 1 {
		t.Errorf("lines: %v", got)
	}
	var n int
	if err := s.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM rejects WHERE record = x'ff' OR record = x'0a0107' OR record = x''").Scan(&n); err != nil || n != 3 {
		t.Errorf("got %d rejects, %v", n, err)
	}
	verified(t, s)
}

// Whatever the database says once, it is asked again.
func TestCommitIsRepeated(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		failures := 3
		s, _ := openStore(t, dir, func(o *Options) {
			o.commit = func() error {
				if failures--; failures >= 0 {
					return errors.New("no reason")
				}
				return nil
			}
		})
		if err := settled(s, "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if h := s.Health(); !errors.Is(h.Err, ErrUnavailable) || h.QueuedLines != 1 {
			t.Errorf("health: %+v", h)
		}
		if err := s.flush(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("flush: %v", err)
		}
		time.Sleep(3 * time.Second)
		if h := s.Health(); h.Err != nil || h.QueuedLines != 0 {
			t.Errorf("health: %+v", h)
		}
		if got := costs(t, s); len(got) != 1 {
			t.Errorf("lines: %v", got)
		}
		closeStore(t, s)
	})
}

// sqliteError is an error as SQLite's driver has it.
type sqliteError int

func (e sqliteError) Error() string { return fmt.Sprint("sqlite error ", int(e)) }
func (e sqliteError) Code() int     { return int(e) }

// L-04, for the database: a commit that could not be synced is not repeated.
func TestFailedSyncOfTheDatabaseStopsWriting(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var commits atomic.Int64
		s, _ := openStore(t, dir, func(o *Options) {
			o.commit = func() error {
				commits.Add(1)
				return sqliteError(sqlite3.SQLITE_IOERR_FSYNC)
			}
		})
		for _, id := range []string{"a", "b"} {
			if err := s.Held(childHold(id)); err != nil {
				t.Fatal(err)
			}
		}
		if err := settled(s, "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if h := s.Health(); !errors.Is(h.Err, ErrReadOnly) || commits.Load() != 1 {
			t.Errorf("%d commits, health %+v", commits.Load(), h)
		}
		if err := s.Held(childHold("c")); !errors.Is(err, ErrReadOnly) {
			t.Errorf("hold: %v", err)
		}
		if err := settled(s, "b"); !errors.Is(err, ErrReadOnly) {
			t.Errorf("settle: %v", err)
		}
		if err := s.Close(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("close: %v", err)
		}
	})
	// The journal has a, and the hold of b.
	s, r := openStore(t, dir)
	if got := costs(t, s); len(got) != 1 || got["a"] != 1000 || len(r.InDoubt) != 1 || r.InDoubt[0].Line.ID != "b" {
		t.Errorf("lines %v, recovered %+v", got, r)
	}
	closeStore(t, s)
}

// Lines are committed together, unless somebody waits for them.
func TestLinesAreCommittedTogether(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var commits atomic.Int64
		s, _ := openStore(t, dir, func(o *Options) { o.commit = func() error { commits.Add(1); return nil } })
		settle := func(n int) {
			for range n {
				if err := settled(s, fmt.Sprint(time.Now().UnixNano())); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
		}
		check := func(want int64) {
			t.Helper()
			synctest.Wait()
			if got := commits.Load(); got != want {
				t.Errorf("got %d commits, want %d", got, want)
			}
		}
		time.Sleep(time.Second)
		settle(90)
		check(0)
		time.Sleep(20 * time.Millisecond)
		check(1)
		settle(1)
		start := time.Now()
		if err := s.flush(t.Context()); err != nil || time.Since(start) > 0 {
			t.Errorf("flush took %v, %v", time.Since(start), err)
		}
		check(2)
		settle(50)
		check(2)
		time.Sleep(time.Second)
		check(3)
		closeStore(t, s)
	})
}

// A journal that cannot begin a new file goes on in the old one, and says so.
func TestJournalThatCannotTurnGoesOn(t *testing.T) {
	d, dir := newFaultDisk(), t.TempDir()
	s, _ := openStore(t, dir, func(o *Options) { o.disk, o.rotate = d, 4<<10 })
	settle := func(n int) {
		t.Helper()
		for i := range n {
			id := fmt.Sprint(n, "-", i)
			if err := s.Held(childHold(id)); err != nil {
				t.Fatal(err)
			}
			if err := settled(s, id); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"create", "rename", "sync", "remove"} {
		d.setFail(func(o op) (int, error) {
			if o.kind == kind {
				return 0, syscall.ENOSPC
			}
			return 0, nil
		})
		settle(20)
		settle(20)
		if h := s.Health(); !errors.Is(h.Err, syscall.ENOSPC) {
			t.Errorf("no %s: health %+v", kind, h)
		}
		before := s.journal.number
		d.setFail(nil)
		settle(21)
		settle(22)
		names, err := journalFiles(dir)
		if err != nil || len(names) != 1 || s.journal.number == before {
			t.Errorf("no %s: files afterwards: %v %v", kind, names, err)
		}
		if h := s.Health(); h.Err != nil {
			t.Errorf("no %s: health afterwards %+v", kind, h)
		}
	}
	verified(t, s)
	closeStore(t, s)
}
