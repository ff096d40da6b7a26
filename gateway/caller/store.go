package caller

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// migrations bring the tables from one version to the next; they are never
// changed, only followed by others. Times are Unix milliseconds, 0 for none.
var migrations = [...]string{`
CREATE TABLE keys (
	id TEXT PRIMARY KEY,
	digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), -- HMAC-SHA-256(pepper, secret)
	pepper BLOB NOT NULL, -- which one
	hint TEXT NOT NULL,
	name TEXT NOT NULL,
	team TEXT NOT NULL,
	models TEXT NOT NULL, -- JSON
	expires INTEGER NOT NULL,
	requests_per_minute INTEGER NOT NULL,
	tokens_per_minute INTEGER NOT NULL,
	in_flight INTEGER NOT NULL,
	budgets TEXT NOT NULL, -- JSON
	trust_incoming INTEGER NOT NULL,
	content TEXT NOT NULL,
	created INTEGER NOT NULL,
	revoked INTEGER NOT NULL,
	last_used INTEGER NOT NULL -- Unix seconds
) STRICT;
CREATE UNIQUE INDEX keys_live_name ON keys (name) WHERE revoked = 0;
`}

// store keeps keys in a database.
type store struct {
	db     *sql.DB
	pepper []byte // id of the pepper in use
}

func openStore(ctx context.Context, db *sql.DB, pepper []byte) (*store, error) {
	s := &store{db, pepper}
	if err := s.inTx(ctx, migrate); err != nil {
		return nil, fmt.Errorf("prepare the table keys: %w", err)
	}
	return s, nil
}

func migrate(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS keys_version (version INTEGER NOT NULL) STRICT"); err != nil {
		return err
	}
	version := 0
	if err := tx.QueryRowContext(ctx, "SELECT version FROM keys_version").Scan(&version); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if version > len(migrations) {
		return fmt.Errorf("it has version %d, made by a newer ccproxy; this one knows %d", version, len(migrations))
	}
	if version == len(migrations) {
		return nil
	}
	for _, m := range migrations[version:] {
		if _, err := tx.ExecContext(ctx, m); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM keys_version"); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO keys_version (version) VALUES (?)", len(migrations))
	return err
}

// inTx runs do in a transaction, which is committed unless do returns an error.
func (s *store) inTx(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(ctx, tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// load reads all keys, oldest first.
func (s *store) load(ctx context.Context) ([]*entry, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, digest, pepper, hint, name, team, models, expires, requests_per_minute, tokens_per_minute,
		in_flight, budgets, trust_incoming, content, created, revoked, last_used FROM keys ORDER BY created, rowid`)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	defer rows.Close()
	var out []*entry
	for rows.Next() {
		e, err := s.scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return out, nil
}

func (s *store) scan(rows *sql.Rows) (*entry, error) {
	e := &entry{Record: Record{Source: SourceStore}}
	var sum, pepper, models, budgets []byte
	var expires, created, revoked, used int64
	err := rows.Scan(&e.ID, &sum, &pepper, &e.Hint, &e.Name, &e.Team, &models, &expires, &e.Limits.RequestsPerMinute, &e.Limits.TokensPerMinute,
		&e.Limits.InFlight, &budgets, &e.TrustIncoming, &e.Content, &created, &revoked, &used)
	if err != nil {
		return nil, fmt.Errorf("read key %q: %w", e.ID, err)
	}
	if copy(e.digest[:], sum) != len(e.digest) {
		return nil, fmt.Errorf("read key %q: a digest of %d bytes", e.ID, len(sum))
	}
	if err := errors.Join(json.Unmarshal(models, &e.Models), json.Unmarshal(budgets, &e.Budgets)); err != nil {
		return nil, fmt.Errorf("read key %q: %w", e.ID, err)
	}
	if e.patterns, err = e.check(); err != nil {
		return nil, fmt.Errorf("read key %q: %w", e.ID, err)
	}
	e.Dead = !bytes.Equal(pepper, s.pepper)
	e.Expires, e.Created, e.Revoked = fromMillis(expires), fromMillis(created), fromMillis(revoked)
	if used != 0 {
		e.LastUsed = time.Unix(used, 0).UTC()
	}
	return e, nil
}

// insert writes a new key.
func (s *store) insert(ctx context.Context, e *entry) error {
	models, err := json.Marshal(e.Models)
	if err != nil {
		return err
	}
	budgets, err := json.Marshal(e.Budgets)
	if err != nil {
		return err
	}
	return s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO keys (id, digest, pepper, hint, name, team, models, expires, requests_per_minute, tokens_per_minute,
			in_flight, budgets, trust_incoming, content, created, revoked, last_used) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)`,
			e.ID, e.digest[:], s.pepper, e.Hint, e.Name, e.Team, string(models), toMillis(e.Expires), e.Limits.RequestsPerMinute, e.Limits.TokensPerMinute,
			e.Limits.InFlight, string(budgets), e.TrustIncoming, e.Content, toMillis(e.Created))
		return err
	})
}

// revoke writes that a key is revoked, unless it was before.
func (s *store) revoke(ctx context.Context, id string, at time.Time) error {
	return s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE keys SET revoked = ? WHERE id = ? AND revoked = 0", toMillis(at), id)
		return err
	})
}

// use writes when keys were last used.
func (s *store) use(ctx context.Context, used map[string]int64) error {
	return s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		update, err := tx.PrepareContext(ctx, "UPDATE keys SET last_used = ? WHERE id = ?")
		if err != nil {
			return err
		}
		defer update.Close()
		for id, t := range used {
			if _, err := update.ExecContext(ctx, t, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

var _ gateway.Callers = (*Registry)(nil)
