package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// writer is the one connection that writes lines. It speaks to the driver
// itself: database/sql costs as much again for each of a line's thirty values.
type writer struct {
	conn  *sql.Conn
	raw   driver.Conn // of conn; used within conn.Raw only
	stmts [stmtCount]driver.Stmt
	args  []driver.NamedValue

	// What has been looked up, so that it is looked up once. All of it is
	// forgotten when a transaction fails.
	shapes   map[string]shapeRow // :: encoded shape → row
	rates    map[string]int64    // :: version NUL entry → id
	accounts map[Account]*account
	tip      tip

	changed []*account // accounts that the transaction has changed
	alerts  map[Account]AlertState
	settled settlement
	chained []byte
}

// tip is the newest end of the chain of lines.
type tip struct {
	seq int64
	crc uint32
}

// shapeRow is a row of shapes; priced says that its lines have a cost.
type shapeRow struct {
	id     int64
	priced bool
}

// account is a row of sums.
type account struct {
	Account
	id          int64
	base, spent int64
	changed     bool
}

// maxRemembered bounds each of a writer's maps, between transactions.
const maxRemembered = 16 << 10

const (
	stmtLine = iota
	stmtTip
	stmtSetTip
	stmtShape
	stmtAddShape
	stmtRate
	stmtAddRate
	stmtAccount
	stmtAddAccount
	stmtSetAccount
	stmtAlert
	stmtSetAlert
	stmtDropSums
	stmtDropAlerts
	stmtDropBudgets
	stmtAddBudget
	stmtForget
	stmtReject
	stmtBegin
	stmtCommit
	stmtRollback
	stmtCount
)

var statements = [stmtCount]string{
	stmtLine: `INSERT INTO lines (seq, id, exchange, trace, time, duration, attempt, shape, user, session, tags,
		input, cache_read, cache_write, cache_write_1h, output, reasoning, audio_in, audio_out, image_in, image_out, web_search, others,
		cost, cost_classes, baseline, held, estimated, accounts, crc)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING`,
	stmtTip:    `SELECT last, crc FROM chain`,
	stmtSetTip: `UPDATE chain SET last = ?, crc = ?`,
	stmtShape:  `SELECT id FROM shapes WHERE digest = ?`,
	stmtAddShape: `INSERT INTO shapes (digest, node, key_id, key_alias, team, dialect, label, rule,
		original_model, model, answered_model, provider, speed, geo, usage_source, service_tier,
		cost_source, billing, price_status, rate, outcome, error_type, streamed, status)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
	stmtRate:        `SELECT id FROM rates WHERE version = ? AND entry = ?`,
	stmtAddRate:     `INSERT INTO rates (version, entry) VALUES (?, ?)`,
	stmtAccount:     `SELECT id, base, spent, crc FROM sums WHERE budget = ? AND subject = ? AND window = ?`,
	stmtAddAccount:  `INSERT INTO sums (budget, subject, window, base, spent, crc) VALUES (?, ?, ?, 0, 0, ?)`,
	stmtSetAccount:  `UPDATE sums SET base = ?, spent = ?, crc = ? WHERE id = ?`,
	stmtAlert:       `SELECT level, forecast, crossed FROM alerts WHERE budget = ? AND subject = ? AND window = ?`,
	stmtSetAlert:    `INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?)`,
	stmtDropSums:    `DELETE FROM sums WHERE budget = ? AND window < ?`,
	stmtDropAlerts:  `DELETE FROM alerts WHERE budget = ? AND window < ?`,
	stmtDropBudgets: `DELETE FROM budgets`,
	stmtAddBudget:   `INSERT INTO budgets VALUES (?, ?, ?, ?)`,
	stmtForget:      `DELETE FROM budgets WHERE name = ? OR ? = '*'`,
	stmtReject:      `INSERT INTO rejects (time, record, error) VALUES (?, ?, ?)`,
	stmtBegin:       `BEGIN IMMEDIATE`,
	stmtCommit:      `COMMIT`,
	stmtRollback:    `ROLLBACK`,
}

// newWriter takes a connection of db for itself.
func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	w := &writer{conn: conn}
	w.forget()
	err = w.with(func() error {
		for i, text := range statements {
			// The statements outlive ctx, and a context that can end costs a
			// goroutine for each execution.
			stmt, err := w.raw.(driver.ConnPrepareContext).PrepareContext(context.Background(), text)
			if err != nil {
				return fmt.Errorf("prepare %.40q: %w", text, err)
			}
			w.stmts[i] = stmt
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// close gives the connection back.
func (w *writer) close() error {
	err := w.with(func() error {
		var errs []error
		for i, s := range w.stmts {
			if s != nil {
				errs = append(errs, s.Close())
				w.stmts[i] = nil
			}
		}
		return errors.Join(errs...)
	})
	return errors.Join(err, w.conn.Close())
}

// with calls f, which may use the driver's connection.
func (w *writer) with(f func() error) error {
	return w.conn.Raw(func(c any) error {
		w.raw = c.(driver.Conn)
		return f()
	})
}

// forget drops what was looked up: after a rollback it may not be there.
func (w *writer) forget() {
	w.shapes, w.rates, w.accounts = map[string]shapeRow{}, map[string]int64{}, map[Account]*account{}
	w.alerts = map[Account]AlertState{}
	w.changed = w.changed[:0]
}

// trim keeps the maps small. A transaction calls it first or not at all:
// it must find the accounts it has changed.
func (w *writer) trim() {
	if len(w.shapes) > maxRemembered {
		clear(w.shapes)
	}
	if len(w.rates) > maxRemembered {
		clear(w.rates)
	}
	if len(w.accounts) > maxRemembered {
		clear(w.accounts)
	}
}

// bind returns args as the driver takes them; they are good until the next call.
func (w *writer) bind(args []driver.Value) []driver.NamedValue {
	w.args = w.args[:0]
	for i, v := range args {
		w.args = append(w.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return w.args
}

// exec runs a statement. Arguments are int64, string, []byte or nil.
func (w *writer) exec(stmt int, args ...driver.Value) (driver.Result, error) {
	return w.stmts[stmt].(driver.StmtExecContext).ExecContext(context.Background(), w.bind(args))
}

// row runs a query of at most one row, into dest; found is false without one.
func (w *writer) row(stmt int, dest []driver.Value, args ...driver.Value) (found bool, err error) {
	rows, err := w.stmts[stmt].(driver.StmtQueryContext).QueryContext(context.Background(), w.bind(args))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if err := rows.Next(dest); err != nil {
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		return false, err
	}
	return true, nil
}

// add runs an INSERT and returns the row's id.
func (w *writer) add(stmt int, args ...driver.Value) (int64, error) {
	r, err := w.exec(stmt, args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// transact calls f within a transaction. When it fails nothing is written and
// nothing is remembered.
func (w *writer) transact(f func() error) error {
	return w.with(func() error {
		if _, err := w.exec(stmtBegin); err != nil {
			return err
		}
		err := f()
		if err == nil {
			_, err = w.exec(stmtCommit)
		}
		if err == nil {
			return nil
		}
		w.forget()
		// SQLite has rolled back already after some errors; then this fails.
		_, _ = w.exec(stmtRollback)
		return err
	})
}
