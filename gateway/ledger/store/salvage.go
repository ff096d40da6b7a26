package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// salvage moves what can be read of one database to another.
type salvage struct {
	*repair
	from, to *sql.DB
	writer   *writer
	journal  *replayed

	accounts map[int64]Account // :: id in from → account, of the sums that are intact
	sums     []*account        // those sums
	damaged  []string          // budgets of the others, as far as they can be read
	unread   bool              // there may be more
	queue    queue
	last     int64 // seq of the last line that was read
	crc      int64 // of that line
}

func (s *salvage) run(ctx context.Context) error {
	if err := s.isLedger(ctx); err != nil {
		return err
	}
	s.readSums(ctx)
	if err := s.lines(ctx); err != nil {
		return err
	}
	had, err := s.charged()
	if err != nil {
		return err
	}
	if err := s.settlements(); err != nil {
		return err
	}
	if err := s.tables(ctx); err != nil {
		return err
	}
	if err := s.dropDamaged(ctx); err != nil {
		return fmt.Errorf("%w: %w", errTarget, err)
	}
	return s.writeSums(had)
}

// dropDamaged removes what was copied and does not match its checksum: an alert
// may come again, a budget is added up again.
func (s *salvage) dropDamaged(ctx context.Context) error {
	var alerts []Account
	var names, messages []string
	path := s.path(repairTarget)
	err := errors.Join(
		eachAlert(ctx, s.to, path, func(a *AlertState, _ string, intact bool) error {
			if !intact {
				alerts = append(alerts, a.Account)
			}
			return nil
		}),
		eachBudget(ctx, s.to, path, func(b *BudgetState, _ string, intact bool) error {
			if !intact {
				names = append(names, b.Name)
			}
			return nil
		}),
		eachMessage(ctx, s.to, path, "", func(m *Message, _ string, intact bool) error {
			if !intact {
				messages = append(messages, m.ID)
			}
			return nil
		}))
	drop := func(statement string, args ...any) {
		_, failed := s.to.ExecContext(ctx, statement, args...)
		err = errors.Join(err, failed)
	}
	for _, a := range alerts {
		drop("DELETE FROM alerts WHERE budget = ? AND subject = ? AND window = ?", a.Budget, a.Subject, a.Window)
	}
	for _, name := range names {
		drop("DELETE FROM budgets WHERE name = ?", name)
	}
	for _, id := range messages {
		drop("DELETE FROM outbox WHERE id = ?", id)
	}
	s.done.Dropped = len(alerts) + len(names) + len(messages)
	return err
}

// isLedger refuses a database that can be read and is something else.
func (s *salvage) isLedger(ctx context.Context) error {
	var tables, ours int
	err := s.from.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(name = 'lines'), 0) FROM sqlite_schema").Scan(&tables, &ours)
	if err == nil && tables > 0 && ours == 0 {
		return errors.New("it is not a ledger of ccproxy: move it away")
	}
	return nil
}

// readSums reads the sums there are.
func (s *salvage) readSums(ctx context.Context) {
	s.accounts = map[int64]Account{}
	err := eachSum(ctx, s.from, s.path(repairSource), func(a *account, intact bool) error {
		if intact {
			s.accounts[a.id] = a.Account
			s.sums = append(s.sums, a)
		} else {
			s.damaged = append(s.damaged, a.Budget)
			s.done.SumsLost++
		}
		return nil
	})
	s.unread = err != nil
}

// lines moves the lines.
func (s *salvage) lines(ctx context.Context) error {
	first, last := s.span(ctx)
	s.last, s.crc = first-1, -1
	if err := s.between(ctx, first, last); err != nil {
		return err
	}
	if err := s.commit(); err != nil {
		return err
	}
	s.done.Lost = last - first + 1 - s.done.Kept
	return nil
}

// span returns which lines there are, as far as anything says.
func (s *salvage) span(ctx context.Context) (first, last int64) {
	c, err := readChain(ctx, s.from, s.path(repairSource))
	if err == nil && c.first > 0 && c.last >= c.first {
		return c.first, c.last
	}
	for _, query := range []string{"SELECT max(seq) FROM lines", "SELECT max(seq) FROM lines INDEXED BY lines_time WHERE time > 0"} {
		var n sql.NullInt64
		if err := s.from.QueryRowContext(ctx, query).Scan(&n); err == nil {
			return 1, n.Int64
		}
	}
	return 1, 0
}

// between moves the lines of a range. Where SQLite cannot read, it halves the
// range, and halves it again.
func (s *salvage) between(ctx context.Context, first, last int64) error {
	for from := first; from <= last; {
		to := min(last, from+checkBatch-1)
		if err := s.half(ctx, from, to); err != nil {
			return err
		}
		if s.opts.Progress != nil {
			s.opts.Progress(to-first+1, last-first+1)
		}
		from = to + 1
	}
	return nil
}

func (s *salvage) half(ctx context.Context, first, last int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done, err := s.read(ctx, first, last)
	if err == nil || s.failed(err) {
		return err
	}
	if first = done + 1; first >= last {
		return nil
	}
	middle := first + (last-first)/2
	if err := s.half(ctx, first, middle); err != nil {
		return err
	}
	return s.half(ctx, middle+1, last)
}

// errTarget is the error of the new database.
var errTarget = errors.New("write repaired ledger")

// failed reports whether an error is not of the damaged database.
func (s *salvage) failed(err error) bool { return errors.Is(err, errTarget) }

// read moves the lines of a range until one cannot be read; done is the one
// before.
func (s *salvage) read(ctx context.Context, first, last int64) (done int64, err error) {
	done = first - 1
	rows, err := s.from.QueryContext(ctx, selectLines+"WHERE l.seq BETWEEN ? AND ? ORDER BY l.seq", first, last)
	if err != nil {
		return done, err
	}
	defer rows.Close()
	var k checker
	for rows.Next() {
		var r row
		if err := r.scan(rows); err != nil {
			if r.seq < first || r.seq > last {
				return done, err
			}
			done, s.last = r.seq, 0
			continue
		}
		if r.seq <= done || r.seq > last {
			return done, errors.New("lines are out of order")
		}
		done = r.seq
		if err := s.line(&r, &k); err != nil {
			return done, err
		}
	}
	return done, rows.Err()
}

// line moves one line, unless it was altered.
func (s *salvage) line(r *row, k *checker) error {
	known := s.last == r.seq-1 && s.crc >= 0
	k.crc = s.crc
	s.last, s.crc = r.seq, r.crc
	if known && r.link(k) != r.crc {
		if len(s.done.Altered) < maxProblems {
			s.done.Altered = append(s.done.Altered, r.ID)
		}
		return nil
	}
	var accounts []Account
	ids, err := unpackAccounts(r.accounts)
	if err != nil {
		ids = nil
	}
	for _, id := range ids {
		if a, ok := s.accounts[id]; ok {
			accounts = append(accounts, a)
		}
	}
	s.queue.add(appendSettled(nil, &r.Line, accounts, nil), nil)
	if len(s.queue.chunks) > recoverBatch {
		return s.commit()
	}
	return nil
}

// commit writes the lines that were read.
func (s *salvage) commit() error {
	b, err := s.writer.commit(&s.queue)
	if err != nil {
		return fmt.Errorf("%w: %w", errTarget, err)
	}
	s.done.Kept += int64(b.added)
	s.queue = queue{}
	return nil
}

// settlements writes the lines that the journal has.
func (s *salvage) settlements() error {
	b, err := s.writer.commit(&s.journal.settled)
	if err != nil {
		return fmt.Errorf("%w: %w", errTarget, err)
	}
	s.done.FromJournal = b.added
	return nil
}

// charged returns what the lines moved so far add up to, by sum.
func (s *salvage) charged() (sums []int64, err error) {
	err = s.writer.transact(func() error {
		for _, a := range s.sums {
			now, err := s.writer.account(a.Account)
			if err != nil {
				return err
			}
			sums = append(sums, now.spent)
		}
		return nil
	})
	return sums, err
}

// writeSums sets the sums that were intact to what they were, and what the
// journal has added since: had is what they were before that. Budgets whose sums
// are lost are forgotten.
func (s *salvage) writeSums(had []int64) error {
	return s.writer.transact(func() error {
		for i, was := range s.sums {
			a, err := s.writer.account(was.Account)
			if err != nil {
				return err
			}
			charged := a.spent - a.base
			a.spent = was.spent + charged - had[i]
			a.base = a.spent - charged
			if _, err := s.writer.exec(stmtSetAccount, a.base, a.spent, a.crc(), a.id); err != nil {
				return err
			}
			s.done.SumsKept++
		}
		forget := s.damaged
		if s.unread {
			forget = append(forget, "*")
		}
		for _, name := range forget {
			if _, err := s.writer.exec(stmtForget, name, name); err != nil {
				return err
			}
		}
		s.done.Forgotten = forget
		return nil
	})
}

// own are the tables that are not copied row by row.
var own = []string{"schema", "chain", "lines", "shapes", "rates", "sums"}

// tables copies all other tables, those of other packages too.
func (s *salvage) tables(ctx context.Context) error {
	names, err := s.schema(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.table(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// schema makes what the new database does not have, and returns the names of
// the tables to copy.
func (s *salvage) schema(ctx context.Context) (tables []string, err error) {
	rows, err := s.from.QueryContext(ctx, `SELECT type, name, sql FROM sqlite_schema
		WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY type <> 'table', rowid`)
	if err != nil {
		return nil, nil // nothing can be read
	}
	defer rows.Close()
	for rows.Next() {
		var kind, name, text string
		if rows.Scan(&kind, &name, &text) != nil {
			break
		}
		var n int
		if err := s.to.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = ?", name).Scan(&n); err != nil {
			return nil, fmt.Errorf("%w: %w", errTarget, err)
		}
		if n == 0 {
			if _, err := s.to.ExecContext(ctx, text); err != nil {
				s.done.Unread = append(s.done.Unread, name)
				continue
			}
		}
		if kind == "table" && !slices.Contains(own, name) {
			tables = append(tables, name)
		}
	}
	return tables, nil
}

// table copies a table, from both ends if it cannot be read through.
func (s *salvage) table(ctx context.Context, name string) error {
	key, err := s.key(ctx, name)
	if err != nil {
		return nil
	}
	for _, order := range []string{"", " DESC"} {
		text := " FROM " + quote(name) + " ORDER BY " + strings.Join(key, order+", ") + order
		whole, err := s.copyRows(ctx, name, text)
		if err != nil || whole {
			return err
		}
	}
	s.done.Unread = append(s.done.Unread, name)
	return nil
}

// key returns the columns a table is ordered by.
func (s *salvage) key(ctx context.Context, name string) ([]string, error) {
	columns, err := s.columns(ctx, "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", name)
	if len(columns) == 0 {
		columns = []string{"rowid"}
	}
	return columns, err
}

// columns returns the names a query about a table selects, quoted.
func (s *salvage) columns(ctx context.Context, query, table string) (names []string, err error) {
	rows, err := s.to.QueryContext(ctx, query, table)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var c string
		if err := rows.Scan(&c); err != nil {
			return nil, err
		}
		names = append(names, quote(c))
	}
	return names, rows.Err()
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// copyRows copies rows until one cannot be read; whole says that all were.
func (s *salvage) copyRows(ctx context.Context, name, from string) (whole bool, err error) {
	columns, err := s.columns(ctx, "SELECT name FROM pragma_table_info(?) ORDER BY cid", name)
	if err != nil {
		return false, nil
	}
	// "+" hides the column's declared type, by which the driver would convert.
	rows, err := s.from.QueryContext(ctx, "SELECT +"+strings.Join(columns, ", +")+from)
	if err != nil {
		return false, nil
	}
	defer rows.Close()
	tx, err := s.to.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errTarget, err)
	}
	values, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	insert := "INSERT OR IGNORE INTO " + quote(name) + " (" + strings.Join(columns, ", ") + ") VALUES (" +
		strings.TrimSuffix(strings.Repeat("?,", len(columns)), ",") + ")"
	whole = true
	for rows.Next() {
		if rows.Scan(dest...) != nil {
			whole = false
			break
		}
		r, err := tx.ExecContext(ctx, insert, values...)
		if err != nil {
			return false, errors.Join(fmt.Errorf("%w: %w", errTarget, err), tx.Rollback())
		}
		if n, err := r.RowsAffected(); err == nil {
			s.done.Tables[name] += n
		}
	}
	if err := tx.Commit(); err != nil {
		return false, fmt.Errorf("%w: %w", errTarget, err)
	}
	return whole && rows.Err() == nil, nil
}
