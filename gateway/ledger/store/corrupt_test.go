package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// content is all that a ledger knows.
type content struct {
	Lines   []Line
	Sums    []Sum
	Alerts  []AlertState
	Budgets []BudgetState
	Due     []Message
}

func contentOf(ctx context.Context, s *Store) (c content, err error) {
	for l, err := range s.Lines(ctx, Filter{}, 0) {
		if err != nil {
			return c, err
		}
		c.Lines = append(c.Lines, *l)
	}
	var errs [4]error
	c.Sums, errs[0] = s.Sums(ctx)
	c.Alerts, errs[1] = s.Alerts(ctx)
	c.Budgets, errs[2] = s.Budgets(ctx)
	c.Due, errs[3] = s.DueMessages(ctx, lineAt(1).Time, 0)
	slices.SortFunc(c.Sums, func(a, b Sum) int { return strings.Compare(a.Budget+a.Subject, b.Budget+b.Subject) })
	return c, errors.Join(errs[:]...)
}

// fillStore gives a store something of everything.
func fillStore(t *testing.T, s *Store, lines int) {
	t.Helper()
	ctx := t.Context()
	if err := s.SaveBudgets(ctx, []BudgetState{{"everything", "f1", lineAt(0).Time}, {"team", "f2", lineAt(0).Time}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveSums(ctx, []Sum{{Account{"everything", "", 0}, 70_000}}); err != nil {
		t.Fatal(err)
	}
	err := s.PutMessages(ctx, []Message{{ID: "m1", Webhook: "ops", Body: []byte(`{"text":"spent"}`), Created: lineAt(0).Time, Next: lineAt(0).Time}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.DB().ExecContext(ctx, "CREATE TABLE keys (id TEXT PRIMARY KEY, hash BLOB, made DATETIME); INSERT INTO keys VALUES ('k1', x'0102', '2026-01-01')"); err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		l := lineAt(i)
		accounts := []Account{{"everything", "", 0}, {"team", fmt.Sprint("team-", i%5), 1_800_000_000}}
		if err := s.Settled(l, accounts, []AlertState{{Account: accounts[1], Level: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// flip changes a byte of a file.
func flip(t *testing.T, name string, at int64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 0x55
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// L-06: any byte of the journal.
func TestFlippedByteOfTheJournalIsFound(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	for i := range 4 {
		if err := s.Held(childHold(fmt.Sprint("hold-", i))); err != nil {
			t.Fatal(err)
		}
		s.Checkpoint(fmt.Sprint("hold-", i), 5, 5)
	}
	if err := settled(s, "hold-1"); err != nil {
		t.Fatal(err)
	}
	files, err := readJournal(dir)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	whole := files[0]
	var starts []int64
	if _, err := scan(whole.data, whole.name, s.journal.boot, false, func(at int64, _ frame) error {
		starts = append(starts, at)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for at := range whole.data {
		b := bytes.Clone(whole.data)
		b[at] ^= 0x10
		found, err := replay([]journalFile{{whole.name, b}}, s.journal.boot, false)
		last := starts[len(starts)-1]
		start := int64(0)
		for _, f := range starts {
			if int64(at) >= f {
				start = f
			}
		}
		var corrupt *CorruptError
		switch {
		case errors.Is(err, ErrNewer) && at >= 16 && at < 20: // the format's number
		case errors.As(err, &corrupt) && corrupt.Offset == start && corrupt.File == whole.name &&
			strings.Contains(err.Error(), fmt.Sprint("byte ", start)) && strings.Contains(err.Error(), "ccproxy ledger"):
		case err == nil && start == last && int64(at) < last+6:
			// The last record looks as if it were longer: cut short by a kill. The
			// hold it settles is in doubt then, not free.
			if found.holds["hold-1"] == nil {
				t.Errorf("byte %d: the hold is gone", at)
			}
		default:
			t.Errorf("byte %d, in the record at %d: %v", at, start, err)
		}
	}
}

// L-06: after a power cut, damage is the power cut's only where nothing was
// synced.
func TestDamageOfWhatWasSyncedIsNoPowerCut(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir, func(o *Options) { o.Full, o.boot = true, [16]byte{1} })
	for i := range 3 {
		if err := s.Held(childHold(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	files, err := readJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replay(files, [16]byte{2}, false); err != nil {
		t.Fatal(err)
	}
	// The third record says that the two before it were synced.
	var starts []int64
	if _, err := scan(files[0].data, files[0].name, [16]byte{2}, false, func(at int64, _ frame) error {
		starts = append(starts, at)
		return nil
	}); err != nil || len(starts) != 3 {
		t.Fatal(starts, err)
	}
	for i, at := range starts {
		b := bytes.Clone(files[0].data)
		b[at+50] ^= 1
		found, err := replay([]journalFile{{files[0].name, b}}, [16]byte{2}, false)
		if durable := i < 2; durable != errors.Is(err, ErrCorrupt) {
			t.Errorf("hold %d: %v %v", i, found, err)
		}
	}
}

// L-06: a journal that ends anywhere.
func TestTornJournalOpens(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	for i := range 3 {
		if err := s.Held(childHold(fmt.Sprint("hold-", i))); err != nil {
			t.Fatal(err)
		}
	}
	files, err := readJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	holds := 0
	for size := 0; size <= len(files[0].data); size++ {
		found, err := replay([]journalFile{{files[0].name, files[0].data[:size]}}, s.journal.boot, false)
		if err != nil || len(found.holds) < holds || len(found.holds) > 3 {
			t.Fatalf("%d bytes: %v %v", size, found, err)
		}
		holds = len(found.holds)
	}
	if holds != 3 {
		t.Errorf("got %d holds, want 3", holds)
	}
	zeros := append(bytes.Clone(files[0].data), make([]byte, 4096)...)
	if found, err := replay([]journalFile{{files[0].name, zeros}}, [16]byte{9}, false); err != nil || len(found.holds) != 3 {
		t.Errorf("zeros after a power cut: %v", err)
	}
	if _, err := replay([]journalFile{{files[0].name, zeros}}, s.journal.boot, false); !errors.Is(err, ErrCorrupt) {
		t.Errorf("zeros without a power cut: %v", err)
	}
}

// L-06: files of something else, and of the future.
func TestForeignAndNewerFilesAreRefused(t *testing.T) {
	header := (&header{number: 1}).append(nil)
	newer := bytes.Clone(header)
	newer[16] = formatNumber + 1
	foreign := func(t *testing.T, path string) {
		db, err := sql.Open("sqlite", dsn(path, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE tracks (id)"); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, b []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name string
		make func(*testing.T, string)
		want error
	}{
		{"foreign journal", write("ledger.journal.7", []byte("hello, world\n")), ErrCorrupt},
		{"newer journal", write("ledger.journal.7", newer), ErrNewer},
		{"damaged header", write("ledger.journal.7", append(header[:40:40], make([]byte, 60)...)), ErrCorrupt},
		{"foreign file", write(databaseName, bytes.Repeat([]byte("no database "), 1000)), ErrCorrupt},
		{"foreign database", func(t *testing.T, dir string) { foreign(t, filepath.Join(dir, databaseName)) }, ErrCorrupt},
		{"newer database", func(t *testing.T, dir string) {
			s, _ := openStore(t, dir)
			if _, err := s.DB().ExecContext(t.Context(), "INSERT INTO schema VALUES (99, 0)"); err != nil {
				t.Fatal(err)
			}
			closeStore(t, s)
		}, ErrNewer},
		{"repair under way", write(repairMark, nil), ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(t, dir)
			before := snapshot(t, dir)
			s, _, err := Open(t.Context(), Options{Dir: dir})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err == nil {
				closeStore(t, s)
			}
			if c.want == ErrCorrupt && !strings.Contains(err.Error(), "ccproxy ledger") {
				t.Errorf("%v does not say what helps", err)
			}
			if after := snapshot(t, dir); !cmp.Equal(before, after) {
				t.Errorf("files have changed: %v", cmp.Diff(before, after))
			}
		})
	}
}

// snapshot returns the files of a directory, but for those SQLite makes to read.
func snapshot(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	m := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(e.Name(), "-shm") && len(b) > 0 {
			m[e.Name()] = b
		}
	}
	return m
}

// L-06: any byte of the database. Either it is found, or nothing has changed:
// some bytes of a page mean nothing.
func TestFlippedByteOfTheDatabaseIsFound(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	fillStore(t, s, 40)
	want, err := contentOf(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	whole, err := os.ReadFile(filepath.Join(dir, databaseName))
	if err != nil {
		t.Fatal(err)
	}
	found, tried := 0, 0
	for at := 0; at < len(whole); at += 101 {
		if whole[at] == 0 { // most are free space
			continue
		}
		tried++
		flipped := t.TempDir()
		b := bytes.Clone(whole)
		b[at] ^= 0x21
		if err := os.WriteFile(filepath.Join(flipped, databaseName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		damage, err := openDamaged(t, flipped, want)
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		if damage {
			found++
		}
	}
	if found < tried/2 {
		t.Errorf("only %d of %d flipped bytes were found", found, tried)
	}
	t.Logf("%d of %d flipped bytes were found, the others mean nothing", found, tried)
}

// openDamaged reports whether damage is found; it is an error when it is not and
// something else is read than was written.
func openDamaged(t *testing.T, dir string, want content) (found bool, err error) {
	s, _, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		return true, nil
	}
	defer s.Close(context.Background())
	r, err := s.Verify(t.Context(), nil)
	if err != nil || !r.OK() {
		return true, nil
	}
	got, err := contentOf(t.Context(), s)
	if err != nil {
		return false, fmt.Errorf("verifies, but cannot be read: %w", err)
	}
	if d := cmp.Diff(want, got); d != "" {
		return false, fmt.Errorf("is not found: %s", d)
	}
	return false, nil
}

// What people do to a ledger by hand shows.
func TestEditedLedgerIsFound(t *testing.T) {
	for _, c := range []struct{ edit, place string }{
		{"UPDATE lines SET cost = 1 WHERE seq = 7", "line 7"},
		{"UPDATE lines SET time = time + 1 WHERE seq = 7", "line 7"},
		{"UPDATE lines SET session = 'x' WHERE seq = 40", "line 40"},
		{"UPDATE lines SET accounts = '[]' WHERE seq = 7", "line 7"},
		{"DELETE FROM lines WHERE seq = 7", "line 7"},
		{"DELETE FROM lines WHERE seq = 40", "line 40"},
		{"DELETE FROM lines WHERE seq = 1", "line 1"},
		{"DELETE FROM lines", "line"},
		{"UPDATE lines SET seq = CASE seq WHEN 7 THEN -8 ELSE -7 END WHERE seq IN (7, 8); UPDATE lines SET seq = -seq WHERE seq < 0", "line 7"},
		{"INSERT INTO lines SELECT 41, x'00', exchange, trace, time, duration, attempt, shape, user, session, tags, input, cache_read, cache_write, cache_write_1h, output, reasoning, audio_in, audio_out, image_in, image_out, web_search, others, cost, cost_classes, baseline, held, estimated, accounts, crc FROM lines WHERE seq = 40", "line 41"},
		{"UPDATE shapes SET team = 'other'", "line 1"},
		{"UPDATE rates SET entry = 'cheap'", "line 1"},
		{"DELETE FROM shapes", "line 1"},
		{"UPDATE chain SET last = 39", "line 39"},
		{"DELETE FROM chain", "table chain"},
		{"UPDATE sums SET spent = 0 WHERE subject = 'team-1'", `subject "team-1"`},
		{"UPDATE sums SET budget = 'mine'", `budget "mine"`},
		{"UPDATE alerts SET level = 0", "alerts of"},
		{"UPDATE budgets SET fingerprint = 'f9'", `budget "everything"`},
		{"UPDATE outbox SET body = 'hello'", "message m1"},
	} {
		dir := t.TempDir()
		s, _ := openStore(t, dir)
		fillStore(t, s, 40)
		if _, err := s.DB().ExecContext(t.Context(), c.edit); err != nil {
			t.Fatal(c.edit, err)
		}
		live, err := s.Verify(t.Context(), nil)
		if err != nil {
			t.Fatal(c.edit, err)
		}
		closeStore(t, s)
		r, err := Verify(t.Context(), dir, nil)
		if err != nil {
			t.Fatal(c.edit, err)
		}
		for _, r := range []*Report{live, r} {
			if r.OK() || !strings.Contains(r.Problems[0].Error(), c.place) {
				t.Errorf("%s: %v", c.edit, r.Problems)
			}
		}
		if strings.Contains(c.edit, "outbox") { // no money is in it: it does not keep the gateway from starting
			continue
		}
		if s, _, err := Open(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: opened: %v", c.edit, err)
			if err == nil {
				closeStore(t, s)
			}
		}
	}
}

// A sum that is intact and wrong: only its lines tell.
func TestSumThatIsNotItsLinesIsFound(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	fillStore(t, s, 40)
	a := account{Account: Account{"everything", "", 0}, base: 0, spent: 5}
	if _, err := s.DB().ExecContext(t.Context(), "UPDATE sums SET base = ?, spent = ?, crc = ? WHERE budget = 'everything'", a.base, a.spent, a.crc()); err != nil {
		t.Fatal(err)
	}
	r, err := s.Verify(t.Context(), nil)
	if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Error(), `sum of budget "everything"`) {
		t.Errorf("got %+v %v", r, err)
	}
}

// A database that is gone is not begun again while its journal is there.
func TestMissingDatabaseIsNotBegunAgain(t *testing.T) {
	for _, empty := range []bool{false, true} {
		dir := t.TempDir()
		s, _ := openStore(t, dir)
		if err := s.Held(childHold("open")); err != nil {
			t.Fatal(err)
		}
		left := copyDir(t, dir)
		closeStore(t, s)
		for _, end := range []string{"", "-wal", "-shm"} {
			if err := (realDisk{}).remove(filepath.Join(left, databaseName+end)); err != nil {
				t.Fatal(err)
			}
		}
		if empty {
			if err := createEmpty(filepath.Join(left, databaseName)); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := Open(t.Context(), Options{Dir: left}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("opened: %v", err)
		}
		done, again, r := repaired(t, left)
		if len(r.InDoubt) != 1 || done.Holds != 1 {
			t.Errorf("repaired %+v, in doubt %v", done, r.InDoubt)
		}
		closeStore(t, again)
	}
}
