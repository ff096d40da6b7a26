package store

import (
	"context"
	"database/sql"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// Sums returns all sums, with what was settled before the call.
func (s *Store) Sums(ctx context.Context) ([]Sum, error) {
	s.settle(ctx)
	var sums []Sum
	err := checkSums(ctx, s.read, s.path, func(a *account) {
		sums = append(sums, Sum{a.Account, gateway.NanoUSD(a.spent)})
	})
	return sums, err
}

// settle makes queries see what was settled before. When the disk takes nothing
// they see what is there; so they do when it takes long.
func (s *Store) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	_ = s.flush(ctx)
}

// settleWait is how long a query waits for what was settled before.
const settleWait = 2 * time.Second

// SaveSums sets sums, made where there are none: what a budget has spent when it
// is new or its definition has changed. Lines settled afterwards add to them.
func (s *Store) SaveSums(ctx context.Context, sums []Sum) error {
	return s.run(ctx, func(w *writer) error {
		for _, sum := range sums {
			if sum.Spent < 0 {
				return fmt.Errorf("sum of budget %q is negative", sum.Budget)
			}
			a, err := w.account(sum.Account)
			if err != nil {
				return err
			}
			charged := a.spent - a.base
			a.spent, a.base = int64(sum.Spent), int64(sum.Spent)-charged
			if _, err := w.exec(stmtSetAccount, a.base, a.spent, a.crc(), a.id); err != nil {
				return err
			}
		}
		return nil
	})
}

// DropSums forgets the sums and alerts of a budget's windows that begin before
// a time in Unix seconds.
func (s *Store) DropSums(ctx context.Context, budget string, before int64) error {
	return s.run(ctx, func(w *writer) error {
		w.forget()
		for _, stmt := range [...]int{stmtDropSums, stmtDropAlerts} {
			if _, err := w.exec(stmt, budget, before); err != nil {
				return err
			}
		}
		return nil
	})
}

// Alerts returns how far the alerts of all accounts have got.
func (s *Store) Alerts(ctx context.Context) (states []AlertState, err error) {
	s.settle(ctx)
	err = eachAlert(ctx, s.read, s.path, intactOnly(s.path, &states))
	return states, err
}

// intactOnly returns a function for eachAlert, eachBudget and eachMessage that
// collects rows and fails at one that is damaged.
func intactOnly[T any](path string, list *[]T) func(row *T, place string, intact bool) error {
	return func(row *T, place string, intact bool) error {
		if !intact {
			return rowDamaged(path, place)
		}
		*list = append(*list, *row)
		return nil
	}
}

// eachAlert calls f with each row of alerts, and whether it matches its checksum.
func eachAlert(ctx context.Context, db queryer, path string, f func(a *AlertState, place string, intact bool) error) error {
	return eachRow(ctx, db, path, "alerts", "SELECT budget, subject, window, level, forecast, crossed, crc FROM alerts", func(rows *sql.Rows) error {
		var a AlertState
		var crc int64
		if err := rows.Scan(&a.Budget, &a.Subject, &a.Window, &a.Level, &a.Forecast, &a.Crossed, &crc); err != nil {
			return rowDamaged(path, "table alerts")
		}
		return f(&a, "alerts of "+sumPlace(&a.Account), crc == a.crc())
	})
}

// SaveAlerts sets states, also back: a changed limit may arm alerts again.
func (s *Store) SaveAlerts(ctx context.Context, states []AlertState) error {
	return s.run(ctx, func(w *writer) error {
		for _, a := range states {
			if err := w.setAlert(a); err != nil {
				return err
			}
		}
		return nil
	})
}

// SaveBudgets replaces what is remembered of all budgets.
func (s *Store) SaveBudgets(ctx context.Context, states []BudgetState) error {
	return s.run(ctx, func(w *writer) error {
		if _, err := w.exec(stmtDropBudgets); err != nil {
			return err
		}
		for _, b := range states {
			if _, err := w.exec(stmtAddBudget, b.Name, b.Fingerprint, unixMilli(b.Since), b.crc()); err != nil {
				return err
			}
		}
		return nil
	})
}

// crc is the checksum of the row, as it is stored.
func (b *BudgetState) crc() int64 {
	t := appendText(nil, 1, b.Name, len(b.Name))
	t = appendText(t, 2, b.Fingerprint, len(b.Fingerprint))
	return int64(crc32.Checksum(appendNumber(t, 3, unixMilli(b.Since)), castagnoli))
}

// Budgets returns what SaveBudgets has saved.
func (s *Store) Budgets(ctx context.Context) (states []BudgetState, err error) {
	err = eachBudget(ctx, s.read, s.path, intactOnly(s.path, &states))
	return states, err
}

// eachBudget calls f with each row of budgets, and whether it matches its
// checksum.
func eachBudget(ctx context.Context, db queryer, path string, f func(b *BudgetState, place string, intact bool) error) error {
	return eachRow(ctx, db, path, "budgets", "SELECT name, fingerprint, since, crc FROM budgets ORDER BY name", func(rows *sql.Rows) error {
		var b BudgetState
		var since, crc int64
		if err := rows.Scan(&b.Name, &b.Fingerprint, &since, &crc); err != nil {
			return rowDamaged(path, "table budgets")
		}
		b.Since = fromMilli(since)
		return f(&b, fmt.Sprintf("budget %q", b.Name), crc == b.crc())
	})
}

// Spent returns the cost of all lines a filter picks: what a budget would have
// spent, had it been there. Set f.Billing to leave out what the budget does not
// count. A sum that does not fit is the largest amount there is.
func (s *Store) Spent(ctx context.Context, f Filter) (gateway.NanoUSD, error) {
	s.settle(ctx)
	where, args := f.where()
	var n sql.NullInt64
	err := s.read.QueryRowContext(ctx, "SELECT sum(l.cost) FROM "+fromLines+where, args...).Scan(&n)
	if err != nil && strings.Contains(err.Error(), "integer overflow") {
		return math.MaxInt64, nil
	}
	if err != nil {
		return 0, fileError(s.path, "table lines", err)
	}
	return gateway.NanoUSD(n.Int64), nil
}
