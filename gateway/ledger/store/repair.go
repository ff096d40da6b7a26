package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Names of a repair's files.
const (
	repairMark   = "ledger.repair"      // while it is there, a repair has not ended
	repairSource = "ledger.db.salvage"  // a copy that is read
	repairTarget = "ledger.db.repaired" // becomes ledger.db
)

// RepairOptions say how a repair is done.
type RepairOptions struct {
	Now      func() time.Time // nil: time.Now
	Progress Progress
}

// Repaired says what a repair did.
type Repaired struct {
	// Found is what was wrong. When that is nothing, nothing was changed.
	Found *Report `json:"-"`
	// Kept lines are in the repaired ledger. Lost ones could not be read, or
	// were altered: Altered has their ids as far as they can be read.
	Kept, Lost int64
	Altered    []string
	// SumsKept are the sums that matched their checksum; SumsLost did not.
	// Forgotten are the budgets of the latter, "*" all: BudgetState no longer
	// knows them, so that the ledger adds them up again by their definition.
	SumsKept, SumsLost int
	Forgotten          []string
	// Tables counts the rows of all other tables that were kept.
	Tables map[string]int64
	// Dropped counts rows of them that did not match their checksum.
	Dropped int
	// Unread are tables that could not be read to their end.
	Unread []string
	// FromJournal counts lines that only the journal had, Holds the holds of it
	// that the next Open hands out as in doubt.
	FromJournal, Holds int
	// Broken are the damaged files, kept beside the repaired ones.
	Broken []string
}

// repairing returns an error while a repair has not ended.
func repairing(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, repairMark)); err == nil {
		return fmt.Errorf("%w: a repair of %s has not ended; run `ccproxy ledger repair` again", ErrCorrupt, dir)
	}
	return nil
}

// Repair makes a damaged ledger usable again: all lines that can be read and
// match their checksums, all sums that match theirs, and everything else that
// can be read go to a new database, which takes the old one's place; the old one
// stays beside it. What is lost is in the result, and in the table repairs. The
// store of dir must not be open. A repair that was interrupted is repeated.
func Repair(ctx context.Context, dir string, opts RepairOptions) (*Repaired, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	r := repair{dir: dir, opts: opts, suffix: ".broken-" + opts.Now().UTC().Format("20060102T150405Z")}
	r.done.Tables = map[string]int64{}
	if err := r.resume(); err != nil {
		return nil, fmt.Errorf("repair ledger: %w", err)
	}
	found, err := Verify(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	r.done.Found = found
	if found.OK() {
		return &r.done, r.finish()
	}
	for _, err := range found.Problems {
		if errors.Is(err, ErrNewer) {
			return nil, err
		}
	}
	if err := r.run(ctx); err != nil {
		return nil, fmt.Errorf("repair ledger: %w", err)
	}
	return &r.done, nil
}

// repair is one in progress.
type repair struct {
	dir    string
	opts   RepairOptions
	suffix string
	done   Repaired
}

func (r *repair) path(name string) string { return filepath.Join(r.dir, name) }

// resume goes back to the begin of a repair that was interrupted.
func (r *repair) resume() error {
	b, err := os.ReadFile(r.path(repairMark))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(b) > 0 {
		r.suffix = string(b)
	}
	if _, err := os.Stat(r.path(databaseName)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, end := range []string{"-wal", ""} { // the database last: it says that this is done
		err := os.Rename(r.path(databaseName+r.suffix+end), r.path(databaseName+end))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(r.dir)
}

func (r *repair) run(ctx context.Context) error {
	if err := os.WriteFile(r.path(repairMark), []byte(r.suffix), 0o600); err != nil {
		return err
	}
	if err := syncFile(r.path(repairMark)); err != nil {
		return err
	}
	if err := r.copySource(); err != nil {
		return err
	}
	files, err := readJournal(r.dir)
	if err != nil {
		return err
	}
	journal, err := replay(files, bootHash(), true)
	if err != nil {
		return err
	}
	if err := r.build(ctx, journal); err != nil {
		return err
	}
	if err := r.swap(); err != nil {
		return err
	}
	if err := r.renewJournal(journal); err != nil {
		return err
	}
	return r.finish()
}

// copySource copies the damaged database, so that reading it changes nothing.
func (r *repair) copySource() error {
	for _, end := range []string{"", "-wal"} {
		if err := copyFile(r.path(databaseName+end), r.path(repairSource+end)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// Without a database there is the journal.
	if err := createEmpty(r.path(repairSource)); err != nil {
		return err
	}
	return mendHeader(r.path(repairSource))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// mendHeader writes what is the same in every ledger into the header of a
// database: without it SQLite reads nothing of the rest.
// https://www.sqlite.org/fileformat2.html#the_database_header
func mendHeader(path string) error {
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	header := []byte("SQLite format 3\x00\x10\x00\x02\x02\x00\x40\x20\x20") // pages of 4096, WAL
	_, err = f.WriteAt(header, 0)
	return errors.Join(err, f.Close())
}

// build makes the new database.
func (r *repair) build(ctx context.Context, journal *replayed) error {
	target := r.path(repairTarget)
	for _, end := range []string{"", "-wal", "-shm", "-journal"} {
		if err := (realDisk{}).remove(target + end); err != nil {
			return err
		}
	}
	if err := createEmpty(target); err != nil {
		return err
	}
	from, err := openDatabase(dsn(r.path(repairSource), []string{"cell_size_check(0)"}), 1)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := openDatabase(dsn(target, []string{"journal_mode(WAL)", "synchronous(NORMAL)"}, "_txlock", "immediate"), 2)
	if err != nil {
		return err
	}
	err = r.fill(ctx, from, to, journal)
	if err := errors.Join(err, to.Close()); err != nil {
		return err
	}
	return syncFile(target)
}

func (r *repair) fill(ctx context.Context, from, to *sql.DB, journal *replayed) error {
	if err := migrate(ctx, to, r.path(repairTarget), r.opts.Now()); err != nil {
		return err
	}
	w, err := newWriter(ctx, to)
	if err != nil {
		return err
	}
	s := salvage{repair: r, from: from, to: to, writer: w, journal: journal}
	if err := errors.Join(s.run(ctx), w.close()); err != nil {
		return err
	}
	report, err := json.Marshal(&r.done)
	if err != nil {
		return err
	}
	_, err = to.ExecContext(ctx, "INSERT INTO repairs (time, kept, lost, report) VALUES (?, ?, ?, ?)",
		r.opts.Now().UnixMilli(), r.done.Kept, r.done.Lost, string(report))
	return err
}

// swap puts the new database in the old one's place.
func (r *repair) swap() error {
	for _, end := range []string{"", "-wal"} {
		broken := r.path(databaseName + r.suffix + end)
		switch err := os.Rename(r.path(databaseName+end), broken); {
		case err == nil:
			r.done.Broken = append(r.done.Broken, broken)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	if err := (realDisk{}).remove(r.path(databaseName + "-shm")); err != nil {
		return err
	}
	if err := os.Rename(r.path(repairTarget), r.path(databaseName)); err != nil {
		return err
	}
	return syncDir(r.dir)
}

// renewJournal begins a new journal with the holds that are open; the files it
// replaces stay under another name.
func (r *repair) renewJournal(journal *replayed) error {
	s := newStore(Options{Dir: r.dir, Full: true, Now: r.opts.Now})
	for _, id := range journal.order {
		if h := journal.holds[id]; h != nil {
			s.remember(id, append(make([]byte, frameSize), h.body...))
			o := s.open[id]
			o.progress, o.extended, o.shown = h.progress, h.extended, h.shown
		}
	}
	r.done.Holds = len(s.open)
	s.journal.number = journal.number
	n, err := s.journal.prepare(r.opts.Now(), true)
	if err != nil {
		return err
	}
	if err := errors.Join(s.carry(n), n.file.Close()); err != nil {
		return err
	}
	for _, name := range journal.files {
		if err := os.Rename(name, name+r.suffix); err != nil {
			return err
		}
		r.done.Broken = append(r.done.Broken, name+r.suffix)
	}
	return syncDir(r.dir)
}

// finish removes what only the repair needed.
func (r *repair) finish() error {
	var errs []error
	for _, name := range []string{repairSource, repairSource + "-wal", repairSource + "-shm",
		repairTarget, repairTarget + "-wal", repairTarget + "-shm", repairMark} {
		errs = append(errs, realDisk{}.remove(r.path(name)))
	}
	return errors.Join(append(errs, syncDir(r.dir))...)
}
