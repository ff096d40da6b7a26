package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
)

// damagedStore returns the directory of a closed store with lines, damaged.
func damagedStore(t *testing.T, lines int, damage func(t *testing.T, dir string)) (dir string, was content) {
	t.Helper()
	dir = t.TempDir()
	s, _ := openStore(t, dir)
	fillStore(t, s, lines)
	was, err := contentOf(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	damage(t, dir)
	return dir, was
}

// edit damages a ledger by SQL.
func edit(statement string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		db, err := openDatabase(dsn(filepath.Join(dir, databaseName), nil), 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// zero writes zeros into the database.
func zero(from, size int) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, databaseName), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(make([]byte, size), int64(from)); err != nil {
			t.Fatal(err)
		}
	}
}

// repaired repairs a ledger and opens it.
func repaired(t *testing.T, dir string) (*Repaired, *Store, *Recovered) {
	t.Helper()
	done, err := Repair(t.Context(), dir, RepairOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, r := openStore(t, dir)
	verified(t, s)
	return done, s, r
}

func TestRepairChangesNothingThatIsWhole(t *testing.T) {
	dir, was := damagedStore(t, 20, func(*testing.T, string) {})
	before := snapshot(t, dir)
	done, err := Repair(t.Context(), dir, RepairOptions{})
	if err != nil || !done.Found.OK() || done.Kept != 0 {
		t.Fatal(done, err)
	}
	if d := cmp.Diff(before, snapshot(t, dir)); d != "" {
		t.Error(d)
	}
	s, _ := openStore(t, dir)
	if now, err := contentOf(t.Context(), s); err != nil || !cmp.Equal(was, now) {
		t.Error(err, cmp.Diff(was, now))
	}
}

func TestRepairKeepsWhatIsIntact(t *testing.T) {
	const lines = 400
	team := func(i int) Account { return Account{"team", fmt.Sprint("team-", i), 1_800_000_000} }
	for _, c := range []struct {
		name   string
		damage func(*testing.T, string)
		lost   int64
		check  func(t *testing.T, done *Repaired, was, now *content)
	}{
		{"changed line", edit("UPDATE lines SET cost = 1 WHERE seq = 7"), 1, func(t *testing.T, done *Repaired, was, now *content) {
			if !slices.Equal(done.Altered, []string{lineAt(6).ID}) {
				t.Errorf("altered: %v", done.Altered)
			}
			if d := cmp.Diff(was.Sums, now.Sums); d != "" {
				t.Error("a sum that is intact has changed", d)
			}
		}},
		{"deleted line", edit("DELETE FROM lines WHERE seq = 7"), 1, func(t *testing.T, _ *Repaired, was, now *content) {
			if d := cmp.Diff(was.Sums, now.Sums); d != "" {
				t.Error("a sum that is intact has changed", d)
			}
		}},
		{"changed sum", edit("UPDATE sums SET spent = 0 WHERE subject = 'team-1'"), 0, func(t *testing.T, done *Repaired, was, now *content) {
			if done.SumsLost != 1 || done.SumsKept != 5 || !slices.Equal(done.Forgotten, []string{"team"}) {
				t.Errorf("sums: %+v", done)
			}
			if len(now.Budgets) != 1 || now.Budgets[0].Name != "everything" {
				t.Errorf("budgets: %v", now.Budgets)
			}
			for _, s := range now.Sums {
				if s.Account == team(1) {
					t.Errorf("a sum that is lost is %v", s)
				}
			}
		}},
		{"deleted shapes", edit("DELETE FROM shapes"), lines, func(t *testing.T, _ *Repaired, was, now *content) {
			if d := cmp.Diff(was.Sums, now.Sums); d != "" {
				t.Error("a sum that is intact has changed", d)
			}
		}},
		{"changed states", edit("UPDATE alerts SET level = 9 WHERE subject = 'team-1'; UPDATE budgets SET since = 1 WHERE name = 'team'; UPDATE outbox SET body = 'x'"), 0,
			func(t *testing.T, done *Repaired, was, now *content) {
				if done.Dropped != 3 || len(now.Alerts) != len(was.Alerts)-1 || len(now.Budgets) != 1 || len(now.Due) != 0 {
					t.Errorf("dropped %d: %+v", done.Dropped, now)
				}
			}},
		{"no header", zero(0, 100), 0, func(t *testing.T, _ *Repaired, was, now *content) {
			if d := cmp.Diff(was, now); d != "" {
				t.Error(d)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, was := damagedStore(t, lines, c.damage)
			done, s, _ := repaired(t, dir)
			if done.Found.OK() {
				t.Fatal("nothing was found")
			}
			if done.Kept != lines-c.lost || done.Lost != c.lost {
				t.Errorf("kept %d, lost %d, want %d lost", done.Kept, done.Lost, c.lost)
			}
			now, err := contentOf(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			c.check(t, done, &was, &now)
			checkRepair(t, dir, s, done)
		})
	}
}

// checkRepair checks what is the same after every repair.
func checkRepair(t *testing.T, dir string, s *Store, done *Repaired) {
	t.Helper()
	var kept, lost int64
	var report, made string
	if err := s.DB().QueryRowContext(t.Context(), "SELECT kept, lost, report FROM repairs").Scan(&kept, &lost, &report); err != nil {
		t.Fatal(err)
	}
	if kept != done.Kept || lost != done.Lost || !strings.Contains(report, "SumsKept") {
		t.Errorf("row of the repair: %d %d %s", kept, lost, report)
	}
	if err := s.DB().QueryRowContext(t.Context(), "SELECT +made FROM keys WHERE id = 'k1' AND hash = x'0102'").Scan(&made); err != nil || made != "2026-01-01" {
		t.Errorf("keys of another package: %q %v", made, err)
	}
	if len(done.Broken) == 0 {
		t.Error("the damaged files are gone")
	}
	for _, name := range done.Broken {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "salvage") || strings.Contains(e.Name(), "repair") {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}

// Each page in turn is gone. What can be read is kept, and no budget starts from
// zero unless it is said to be forgotten.
func TestRepairOfAnyPage(t *testing.T) {
	const lines = 120
	dir, was := damagedStore(t, lines, func(*testing.T, string) {})
	whole := snapshot(t, dir)[databaseName]
	for page := 0; page < len(whole)/4096; page++ {
		broken := t.TempDir()
		if err := os.WriteFile(filepath.Join(broken, databaseName), whole, 0o600); err != nil {
			t.Fatal(err)
		}
		zero(page*4096, 4096)(t, broken)
		done, err := Repair(t.Context(), broken, RepairOptions{})
		if err != nil {
			t.Fatalf("page %d: %v", page, err)
		}
		if done.Found.OK() {
			continue // a page that is free
		}
		s, _ := openStore(t, broken)
		verified(t, s)
		now, err := contentOf(t.Context(), s)
		if err != nil {
			t.Fatalf("page %d: %v", page, err)
		}
		if page > 0 && int(done.Kept) != len(now.Lines) || done.Kept > lines {
			t.Errorf("page %d: kept %d, %d lines", page, done.Kept, len(now.Lines))
		}
		if page > 0 && done.Kept == 0 && !(len(now.Budgets) == 0 || cmp.Equal(was.Sums, now.Sums)) {
			t.Errorf("page %d: nothing is left", page)
		}
		for _, b := range now.Budgets { // a budget that is known has its sums
			for _, sum := range was.Sums {
				if sum.Budget == b.Name && !slices.Contains(now.Sums, sum) {
					t.Errorf("page %d: budget %q is known, its sum %v is not", page, b.Name, sum)
				}
			}
		}
		closeStore(t, s)
		if t.Failed() {
			t.Fatalf("page %d: %+v", page, done)
		}
	}
}

// A journal that is damaged in the middle keeps its other records.
func TestRepairOfTheJournal(t *testing.T) {
	dir := t.TempDir()
	stop := make(chan struct{})
	s, _ := openStore(t, dir, func(o *Options) { o.commit = func() error { <-stop; return nil } })
	for i := range 6 {
		id := fmt.Sprint("line-", i)
		if err := s.Held(childHold(id)); err != nil {
			t.Fatal(err)
		}
		if i == 4 { // stays open
			s.Checkpoint(id, 7000, 1)
			continue
		}
		if err := settled(s, id); err != nil {
			t.Fatal(err)
		}
	}
	left := copyDir(t, dir)
	close(stop)
	closeStore(t, s)

	names, err := journalFiles(left)
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	var starts []int64
	files, err := readJournal(left)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := scan(files[0].data, names[0], bootHash(), false, func(at int64, f frame) error {
		if f.kind == kindSettled {
			starts = append(starts, at)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	flip(t, names[0], starts[1]+40)
	if _, _, err := Open(t.Context(), Options{Dir: left}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("opened: %v", err)
	}
	done, again, r := repaired(t, left)
	if done.FromJournal != 4 || done.Holds != 2 {
		t.Errorf("got %+v", done)
	}
	// The settlement that is lost leaves its hold in doubt: charged, not free.
	var ids []string
	for _, d := range r.InDoubt {
		ids = append(ids, d.Line.ID)
	}
	if !slices.Equal(ids, []string{"line-1", "line-4"}) || r.InDoubt[1].Line.Cost.Total != 7500 {
		t.Errorf("in doubt: %v", r.InDoubt)
	}
	if got := costs(t, again); len(got) != 4 || got["line-0"] != 1000 {
		t.Errorf("lines: %v", got)
	}
	sums, err := again.Sums(t.Context())
	if err != nil || len(sums) != 2 || sums[0].Spent != gateway.NanoUSD(4000) {
		t.Errorf("sums: %v %v", sums, err)
	}
}

// A repair that was killed is repeated, wherever it had got to.
func TestInterruptedRepairIsRepeated(t *testing.T) {
	const suffix = ".broken-then"
	for _, c := range []struct {
		name string
		undo func(t *testing.T, dir string)
	}{
		{"marked", func(*testing.T, string) {}},
		{"copied and half built", func(t *testing.T, dir string) {
			for _, name := range []string{repairSource, repairTarget} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"old one moved away", func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, databaseName), filepath.Join(dir, databaseName+suffix)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := damagedStore(t, 50, edit("UPDATE lines SET cost = 1 WHERE seq = 7"))
			if err := os.WriteFile(filepath.Join(dir, repairMark), []byte(suffix), 0o600); err != nil {
				t.Fatal(err)
			}
			c.undo(t, dir)
			if _, _, err := Open(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrCorrupt) {
				t.Errorf("opened: %v", err)
			}
			done, s, _ := repaired(t, dir)
			if done.Kept != 49 {
				t.Errorf("kept %d", done.Kept)
			}
			checkRepair(t, dir, s, done)
		})
	}
}

func TestRepairLeavesOtherDatabasesAlone(t *testing.T) {
	dir := t.TempDir()
	if err := createEmpty(filepath.Join(dir, databaseName)); err != nil {
		t.Fatal(err)
	}
	edit("CREATE TABLE tracks (id)")(t, dir)
	before := snapshot(t, dir)[databaseName]
	if _, err := Repair(t.Context(), dir, RepairOptions{}); err == nil || !strings.Contains(err.Error(), "not a ledger") {
		t.Errorf("got %v", err)
	}
	if after := snapshot(t, dir)[databaseName]; !slices.Equal(before, after) {
		t.Error("the database has changed")
	}
}
