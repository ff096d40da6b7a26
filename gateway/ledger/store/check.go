package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// recentLines is how many lines are verified before the store opens. The others
// follow in the background.
const recentLines = 2000

// chainEnds is the row of chain.
type chainEnds struct {
	first, last int64
	base, crc   int64
}

func readChain(ctx context.Context, db queryer, path string) (c chainEnds, err error) {
	err = db.QueryRowContext(ctx, "SELECT first, base, last, crc FROM chain").Scan(&c.first, &c.base, &c.last, &c.crc)
	if errors.Is(err, sql.ErrNoRows) {
		return c, &CorruptError{File: path, Offset: -1, Place: "table chain", Reason: "it has no row"}
	}
	if err != nil {
		return c, fileError(path, "table chain", err)
	}
	return c, nil
}

// queryer is what reads: a handle, a connection or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// checkRecent verifies what decides money at once: the sums, what is remembered
// of budgets, and the newest lines.
func (s *Store) checkRecent(ctx context.Context) error {
	c, err := readChain(ctx, s.write, s.path)
	if err != nil {
		return err
	}
	if err := checkSums(ctx, s.write, s.path, func(*account) {}); err != nil {
		return err
	}
	if err := checkStates(ctx, s.write, s.path); err != nil {
		return err
	}
	from := max(c.first, c.last-recentLines+1)
	crc, err := crcBefore(ctx, s.write, s.path, c, from)
	if err != nil {
		return err
	}
	k := checker{db: s.write, path: s.path, next: from, crc: crc}
	if err := k.lines(ctx, c.last, nil); err != nil {
		return err
	}
	return k.end(ctx, c)
}

// crcBefore returns the checksum of the line before one.
func crcBefore(ctx context.Context, db queryer, path string, c chainEnds, seq int64) (int64, error) {
	if seq <= c.first {
		return c.base, nil
	}
	var crc int64
	err := db.QueryRowContext(ctx, "SELECT crc FROM lines WHERE seq = ?", seq-1).Scan(&crc)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, missing(path, seq-1)
	}
	if err != nil {
		return 0, fileError(path, linePlace(seq-1), err)
	}
	return crc, nil
}

func linePlace(seq int64) string { return fmt.Sprintf("line %d", seq) }

func missing(path string, seq int64) error {
	return &CorruptError{File: path, Offset: -1, Place: linePlace(seq), Reason: "it is missing"}
}

// checker follows the chain of lines.
type checker struct {
	db   queryer
	path string
	next int64 // seq of the next line
	crc  int64 // of the line before it
	row  row
	buf  []byte
	// report, when not nil, is called with damage instead of ending the check.
	report func(error)
}

// checkBatch is how many lines are read at a time, so that no reader keeps the
// database's log from being reused for long.
const checkBatch = 1000

// lines checks the lines up to last; each, when not nil, is called with each.
// With report it goes on as far as SQLite can read.
func (k *checker) lines(ctx context.Context, last int64, each func(*row)) error {
	for k.next <= last {
		if err := k.batch(ctx, min(last, k.next+checkBatch-1), each); err != nil {
			return err
		}
	}
	return nil
}

func (k *checker) batch(ctx context.Context, last int64, each func(*row)) (err error) {
	rows, err := k.db.QueryContext(ctx, selectLines+"WHERE l.seq BETWEEN ? AND ? ORDER BY l.seq", k.next, last)
	if err != nil {
		return fileError(k.path, linePlace(k.next), err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := k.row.scan(rows); err != nil {
			err = &CorruptError{File: k.path, Offset: -1, Place: linePlace(k.next), Reason: err.Error()}
			if k.report == nil {
				return err
			}
			k.report(err)
			k.next, k.crc = k.row.seq+1, k.row.crc
			continue
		}
		if err := k.check(); err != nil {
			return err
		}
		if each != nil {
			each(&k.row)
		}
	}
	if err := rows.Err(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fileError(k.path, linePlace(k.next), err)
	}
	return k.skip(last + 1)
}

// check checks the row that was read.
func (k *checker) check() error {
	if err := k.skip(k.row.seq); err != nil {
		return err
	}
	if k.row.link(k) != k.row.crc {
		err := &CorruptError{File: k.path, Offset: -1, Place: linePlace(k.row.seq),
			Reason: "it, or the one before it, does not match its checksum: it was changed, moved or removed"}
		if k.report == nil {
			return err
		}
		k.report(err)
	}
	k.crc, k.next = k.row.crc, k.row.seq+1
	return nil
}

// skip notes that the lines before seq are missing, if they are.
func (k *checker) skip(seq int64) error {
	for ; k.next < seq; k.next++ {
		if k.report == nil {
			return missing(k.path, k.next)
		}
		k.report(missing(k.path, k.next))
	}
	return nil
}

// link is the checksum that the row should have.
func (r *row) link(k *checker) int64 {
	k.buf = r.Line.append(k.buf[:0])
	k.buf = append(k.buf, r.accounts...)
	return int64(link(uint32(k.crc), k.buf))
}

// end checks that the chain ends where it says.
func (k *checker) end(ctx context.Context, c chainEnds) error {
	if k.crc != c.crc {
		return &CorruptError{File: k.path, Offset: -1, Place: linePlace(c.last), Reason: "it is not the last line that was written"}
	}
	var last sql.NullInt64
	if err := k.db.QueryRowContext(ctx, "SELECT max(seq) FROM lines").Scan(&last); err != nil {
		return fileError(k.path, linePlace(c.last), err)
	}
	if last.Valid && last.Int64 != c.last {
		return &CorruptError{File: k.path, Offset: -1, Place: linePlace(last.Int64), Reason: "it was not written by ccproxy"}
	}
	return nil
}

// checkSums verifies the checksums of all sums, and calls each with each.
func checkSums(ctx context.Context, db queryer, path string, each func(*account)) error {
	return eachSum(ctx, db, path, func(a *account, intact bool) error {
		if !intact {
			return sumDamaged(path, a)
		}
		each(a)
		return nil
	})
}

// eachSum calls f with each sum, and whether it matches its checksum.
func eachSum(ctx context.Context, db queryer, path string, f func(a *account, intact bool) error) error {
	return eachRow(ctx, db, path, "sums", "SELECT id, budget, subject, window, base, spent, crc FROM sums", func(rows *sql.Rows) error {
		var a account
		var crc int64
		if err := rows.Scan(&a.id, &a.Budget, &a.Subject, &a.Window, &a.base, &a.spent, &crc); err != nil {
			return &CorruptError{File: path, Offset: -1, Place: "table sums", Reason: err.Error()}
		}
		return f(&a, crc == a.crc())
	})
}

// eachRow calls scan for each row of a query of one table.
func eachRow(ctx context.Context, db queryer, path, table, query string, scan func(*sql.Rows) error, args ...any) (err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return fileError(path, "table "+table, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fileError(path, "table "+table, err)
	}
	return nil
}

// nothingThere is the error for a database that has gone while its journal has
// not: to begin another would set all budgets to zero.
func nothingThere(path string) error {
	return &CorruptError{File: path, Offset: 0, Reason: "nothing is there, though there is a journal"}
}

// rowDamaged is the error for a row that does not match its checksum.
func rowDamaged(path, place string) error {
	return &CorruptError{File: path, Offset: -1, Place: place, Reason: "it does not match its checksum"}
}

func sumDamaged(path string, a *account) error { return rowDamaged(path, sumPlace(&a.Account)) }

// checkStates verifies the checksums of alerts and budgets.
func checkStates(ctx context.Context, db queryer, path string) error {
	err := eachAlert(ctx, db, path, intactOnly(path, new([]AlertState)))
	if err != nil {
		return err
	}
	return eachBudget(ctx, db, path, intactOnly(path, new([]BudgetState)))
}

func sumPlace(a *Account) string {
	return fmt.Sprintf("sum of budget %q, subject %q, window %d", a.Budget, a.Subject, a.Window)
}
