package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"
)

// Report says what a verification has found.
type Report struct {
	Lines   int64 // read
	Sums    int
	Records int // of the journal
	// Problems are the first hundred, each a *CorruptError; More counts the
	// others.
	Problems []error
	More     int
	Took     time.Duration
}

// OK reports whether nothing was found.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

const maxProblems = 100

func (r *Report) add(err error) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, err)
	} else {
		r.More++
	}
}

// Progress is told how many lines of how many have been done. It may be nil.
type Progress func(done, total int64)

// Verify reads everything: each page of the database, the chain of all lines,
// all sums against the lines that count in them, and the journal. The store goes
// on meanwhile. The error says that it could not be verified, not that something
// was found.
func (s *Store) Verify(ctx context.Context, progress Progress) (*Report, error) {
	s.settle(ctx)
	v := verification{path: s.path, boot: s.journal.boot, progress: progress}
	s.gate.lock()
	var err error
	v.files, err = readJournal(s.opts.Dir)
	s.gate.unlock()
	if err != nil {
		return nil, err
	}
	return v.run(ctx, s.read)
}

// Verify does what [Store.Verify] does with the directory of a store that is not
// open.
func Verify(ctx context.Context, dir string, progress Progress) (*Report, error) {
	path := filepath.Join(dir, databaseName)
	v := verification{path: path, boot: bootHash(), progress: progress}
	var err error
	if v.files, err = readJournal(dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) && len(v.files) > 0 {
			v.journal()
			v.report.add(nothingThere(path))
			return &v.report, nil
		}
		return nil, fmt.Errorf("verify ledger: %w", err)
	}
	db, err := openDatabase(dsn(path, []string{"query_only(1)"}), 1)
	if err != nil {
		return nil, err
	}
	r, err := v.run(ctx, db)
	return r, errors.Join(err, db.Close())
}

// verification is one in progress.
type verification struct {
	path     string
	boot     [16]byte
	progress Progress
	report   Report
	files    []journalFile
	charged  map[int64]int64 // :: id of account → cost of its lines
}

// run verifies all. Everything is read in one transaction: a sum and the lines
// it is made of are of the same moment.
func (v *verification) run(ctx context.Context, db *sql.DB) (*Report, error) {
	start := time.Now()
	v.journal()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err == nil {
		err = errors.Join(v.database(ctx, tx), tx.Rollback())
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var corrupt *CorruptError
	switch {
	case errors.As(err, &corrupt):
		v.report.add(err)
	case damaged(err):
		v.report.add(&CorruptError{File: v.path, Offset: -1, Place: "first page", Reason: err.Error()})
	case err != nil:
		return nil, fmt.Errorf("verify ledger: %w", err)
	}
	v.report.Took = time.Since(start)
	return &v.report, nil
}

func (v *verification) journal() {
	for _, file := range v.files {
		_, err := scan(file.data, file.name, v.boot, false, func(_ int64, f frame) error {
			v.report.Records++
			return (&replayed{holds: map[string]*foundHold{}}).apply(f)
		})
		if err != nil {
			v.report.add(err)
		}
	}
}

func (v *verification) database(ctx context.Context, tx *sql.Tx) error {
	version, err := schemaVersion(ctx, tx, v.path)
	if err != nil {
		return err
	}
	if version == 0 {
		if len(v.files) > 0 {
			return nothingThere(v.path)
		}
		return nil
	}
	if err := v.pages(ctx, tx); err != nil {
		return err
	}
	c, err := readChain(ctx, tx, v.path)
	if err != nil {
		return err
	}
	v.charged = map[int64]int64{}
	k := checker{db: tx, path: v.path, next: c.first, crc: c.base, report: v.report.add}
	if err := k.lines(ctx, c.last, func(r *row) { v.line(r, &c) }); err != nil {
		return err
	}
	if err := k.end(ctx, c); err != nil {
		v.report.add(err)
	}
	if err := v.sums(ctx, tx); err != nil {
		v.report.add(err)
	}
	return v.states(ctx, tx)
}

// states verifies what is remembered of budgets, and messages.
func (v *verification) states(ctx context.Context, tx *sql.Tx) error {
	damage := func(place string, intact bool) error {
		if !intact {
			v.report.add(rowDamaged(v.path, place))
		}
		return nil
	}
	return errors.Join(
		eachAlert(ctx, tx, v.path, func(_ *AlertState, place string, intact bool) error { return damage(place, intact) }),
		eachBudget(ctx, tx, v.path, func(_ *BudgetState, place string, intact bool) error { return damage(place, intact) }),
		eachMessage(ctx, tx, v.path, "", func(_ *Message, place string, intact bool) error { return damage(place, intact) }))
}

// pages has SQLite check its own structures, and that indices agree with their
// tables: queries read from them.
func (v *verification) pages(ctx context.Context, tx *sql.Tx) (err error) {
	rows, err := tx.QueryContext(ctx, "PRAGMA integrity_check(100)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var what string
		if err := rows.Scan(&what); err != nil {
			return err
		}
		if what != "ok" {
			v.report.add(&CorruptError{File: v.path, Offset: -1, Place: "pages", Reason: what})
		}
	}
	return rows.Err()
}

func (v *verification) line(r *row, c *chainEnds) {
	v.report.Lines++
	if v.progress != nil && (v.report.Lines%checkBatch == 0 || r.seq == c.last) {
		v.progress(v.report.Lines, c.last-c.first+1)
	}
	ids, err := unpackAccounts(r.accounts)
	if err != nil {
		v.report.add(&CorruptError{File: v.path, Offset: -1, Place: linePlace(r.seq), Reason: "accounts: " + err.Error()})
	}
	for _, id := range ids {
		if n := int64(r.Cost.Total); n > 0 {
			if v.charged[id] += n; v.charged[id] < 0 {
				v.charged[id] = math.MaxInt64
			}
		}
	}
}

// unpackAccounts is the inverse of accountList.
func unpackAccounts(s string) (ids []int64, err error) {
	if s != "" {
		err = json.Unmarshal([]byte(s), &ids)
	}
	return ids, err
}

func (v *verification) sums(ctx context.Context, tx *sql.Tx) error {
	return eachSum(ctx, tx, v.path, func(a *account, intact bool) error {
		v.report.Sums++
		switch {
		case !intact:
			v.report.add(sumDamaged(v.path, a))
		case a.spent != a.base+v.charged[a.id] && a.spent != math.MaxInt64:
			v.report.add(&CorruptError{File: v.path, Offset: -1, Place: sumPlace(&a.Account),
				Reason: fmt.Sprintf("it is %d, its lines add up to %d", a.spent, a.base+v.charged[a.id])})
		}
		return nil
	})
}

// verifyHistory verifies the lines that Open has not, and leaves most of a
// processor to others.
func (s *Store) verifyHistory(ctx context.Context) {
	c, err := readChain(ctx, s.read, s.path)
	if err != nil {
		s.found(ctx, err)
		return
	}
	last := c.last - recentLines
	k := checker{db: s.read, path: s.path, next: c.first, crc: c.base}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for k.next <= last {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		start, from := time.Now(), k.next
		if err := k.batch(ctx, min(last, k.next+checkBatch-1), nil); err != nil {
			s.found(ctx, err)
			return
		}
		s.mu.Lock()
		s.state.verified += k.next - from
		s.mu.Unlock()
		pause.Reset(4 * time.Since(start))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.whole = true
}

// found notes what the background has found.
func (s *Store) found(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, ErrCorrupt) {
		s.begin("the ledger is damaged", err)
		s.state.damage = err
		return
	}
	s.log.Warn("the ledger's history was not verified", "error", err)
}
