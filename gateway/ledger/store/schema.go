package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

// databaseName is the database in a storage directory.
const databaseName = "ledger.db"

// applicationID marks the file as a ledger: "ccpx". https://www.sqlite.org/pragma.html#pragma_application_id
const applicationID = 0x63637078

// migrations make the schema; each is applied once, in order, and never
// changed. The index + 1 is the version it leads to.
var migrations = []string{migrationLines}

// Every time is in Unix milliseconds, every amount in nano-dollars, every
// duration in nanoseconds. Ids that are UUIDs and trace ids are stored in 16
// bytes; the view ledger shows them as people know them.
const migrationLines = `
CREATE TABLE rates (
	id INTEGER PRIMARY KEY,
	version TEXT NOT NULL,
	entry TEXT NOT NULL,
	UNIQUE (version, entry)
);
CREATE TABLE shapes (
	id INTEGER PRIMARY KEY,
	digest BLOB NOT NULL UNIQUE,
	node TEXT NOT NULL, key_id TEXT NOT NULL, key_alias TEXT NOT NULL, team TEXT NOT NULL,
	dialect TEXT NOT NULL, label TEXT NOT NULL, rule TEXT NOT NULL,
	original_model TEXT NOT NULL, model TEXT NOT NULL, answered_model TEXT NOT NULL, provider TEXT NOT NULL,
	speed TEXT NOT NULL, geo TEXT NOT NULL, usage_source TEXT NOT NULL, service_tier TEXT NOT NULL,
	cost_source TEXT NOT NULL, billing TEXT NOT NULL, price_status TEXT NOT NULL,
	rate INTEGER REFERENCES rates (id),
	outcome TEXT NOT NULL, error_type TEXT NOT NULL,
	streamed INTEGER NOT NULL, status INTEGER NOT NULL
);
CREATE TABLE lines (
	seq INTEGER PRIMARY KEY,
	id BLOB NOT NULL,
	exchange BLOB NOT NULL,
	trace BLOB NOT NULL,
	time INTEGER NOT NULL,
	duration INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	shape INTEGER NOT NULL REFERENCES shapes (id),
	user TEXT NOT NULL,
	session TEXT NOT NULL,
	tags TEXT NOT NULL,
	input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL, cache_write_1h INTEGER NOT NULL,
	output INTEGER NOT NULL, reasoning INTEGER NOT NULL,
	audio_in INTEGER NOT NULL, audio_out INTEGER NOT NULL, image_in INTEGER NOT NULL, image_out INTEGER NOT NULL,
	web_search INTEGER NOT NULL,
	others TEXT NOT NULL,
	cost INTEGER,
	cost_classes TEXT NOT NULL,
	baseline INTEGER,
	held INTEGER NOT NULL,
	estimated INTEGER NOT NULL,
	accounts TEXT NOT NULL,
	crc INTEGER NOT NULL
);
CREATE UNIQUE INDEX lines_id ON lines (id);
CREATE INDEX lines_exchange ON lines (exchange);
CREATE INDEX lines_time ON lines (time);
CREATE TABLE chain (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	first INTEGER NOT NULL, base INTEGER NOT NULL,
	last INTEGER NOT NULL, crc INTEGER NOT NULL
);
INSERT INTO chain VALUES (1, 1, 0, 0, 0);
CREATE TABLE sums (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	budget TEXT NOT NULL, subject TEXT NOT NULL, window INTEGER NOT NULL,
	base INTEGER NOT NULL, spent INTEGER NOT NULL,
	crc INTEGER NOT NULL,
	UNIQUE (budget, subject, window)
);
CREATE TABLE alerts (
	budget TEXT NOT NULL, subject TEXT NOT NULL, window INTEGER NOT NULL,
	level INTEGER NOT NULL, forecast INTEGER NOT NULL, crossed INTEGER NOT NULL,
	crc INTEGER NOT NULL,
	PRIMARY KEY (budget, subject, window)
) WITHOUT ROWID;
CREATE TABLE budgets (
	name TEXT PRIMARY KEY,
	fingerprint TEXT NOT NULL,
	since INTEGER NOT NULL,
	crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE outbox (
	id TEXT PRIMARY KEY,
	webhook TEXT NOT NULL,
	body BLOB NOT NULL,
	created INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	next INTEGER NOT NULL,
	last_error TEXT NOT NULL,
	failed INTEGER NOT NULL,
	crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX outbox_next ON outbox (failed, next);
CREATE TABLE rejects (
	id INTEGER PRIMARY KEY,
	time INTEGER NOT NULL,
	record BLOB NOT NULL,
	error TEXT NOT NULL
);
CREATE TABLE repairs (
	id INTEGER PRIMARY KEY,
	time INTEGER NOT NULL,
	kept INTEGER NOT NULL,
	lost INTEGER NOT NULL,
	report TEXT NOT NULL
);
CREATE VIEW ledger AS SELECT
	l.seq,
	CASE typeof(l.id) WHEN 'blob' THEN lower(substr(hex(l.id), 1, 8) || '-' || substr(hex(l.id), 9, 4) || '-' || substr(hex(l.id), 13, 4) || '-' || substr(hex(l.id), 17, 4) || '-' || substr(hex(l.id), 21)) ELSE l.id END AS id,
	CASE typeof(l.exchange) WHEN 'blob' THEN lower(substr(hex(l.exchange), 1, 8) || '-' || substr(hex(l.exchange), 9, 4) || '-' || substr(hex(l.exchange), 13, 4) || '-' || substr(hex(l.exchange), 17, 4) || '-' || substr(hex(l.exchange), 21)) ELSE l.exchange END AS exchange,
	CASE typeof(l.trace) WHEN 'blob' THEN lower(hex(l.trace)) ELSE l.trace END AS trace,
	strftime('%Y-%m-%dT%H:%M:%fZ', l.time / 1000.0, 'unixepoch') AS at, l.time, l.duration, l.attempt,
	s.node, s.key_id, s.key_alias, s.team, l.user, l.session, l.tags,
	s.dialect, s.label, s.rule, s.original_model, s.model, s.answered_model, s.provider, s.streamed,
	l.input, l.cache_read, l.cache_write, l.cache_write_1h, l.output, l.reasoning,
	l.audio_in, l.audio_out, l.image_in, l.image_out, l.web_search, l.others,
	s.speed, s.geo, s.usage_source, s.service_tier,
	l.cost, l.cost_classes, s.cost_source, s.billing, s.price_status, r.version AS price_version, r.entry AS price_entry,
	l.baseline, l.held, l.estimated, s.outcome, s.error_type, s.status
FROM lines l JOIN shapes s ON s.id = l.shape LEFT JOIN rates r ON r.id = s.rate;
`

// dsn names a database for the driver. pragmas are "name(value)".
func dsn(path string, pragmas []string, more ...string) string {
	q := url.Values{"_pragma": append([]string{"busy_timeout(5000)"}, pragmas...)}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	return u.String()
}

// openDatabase returns a handle of at most conns connections.
func openDatabase(dsn string, conns int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// migrate brings the schema to this version. A file that is no ledger, and one
// of a newer version, stay as they are.
func migrate(ctx context.Context, db *sql.DB, path string, now time.Time) error {
	version, err := schemaVersion(ctx, db, path)
	if err != nil {
		return err
	}
	for ; version < len(migrations); version++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("migrate ledger: %w", err)
		}
		if err := apply(ctx, tx, version, now); err != nil {
			return errors.Join(fmt.Errorf("migrate ledger to version %d: %w", version+1, err), tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("migrate ledger to version %d: %w", version+1, err)
		}
	}
	return nil
}

func apply(ctx context.Context, tx *sql.Tx, version int, now time.Time) error {
	if version == 0 {
		first := "PRAGMA application_id = " + strconv.Itoa(applicationID) + `;
			CREATE TABLE schema (version INTEGER PRIMARY KEY, applied INTEGER NOT NULL)`
		if _, err := tx.ExecContext(ctx, first); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, migrations[version]); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO schema VALUES (?, ?)", version+1, now.UnixMilli())
	return err
}

// schemaVersion returns the version of a database's schema, 0 for one that is
// empty.
func schemaVersion(ctx context.Context, db queryer, path string) (int, error) {
	var id, tables, version int
	err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id)
	if err == nil {
		err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables)
	}
	if err != nil {
		return 0, fileError(path, "first page", err)
	}
	if tables == 0 {
		return 0, nil
	}
	if id != applicationID {
		return 0, &CorruptError{File: path, Offset: 68, Place: "application id", Reason: "not a ledger of ccproxy"}
	}
	if err := db.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM schema").Scan(&version); err != nil {
		return 0, fileError(path, "table schema", err)
	}
	if version > len(migrations) {
		return 0, fmt.Errorf("%w: %s has schema %d, this version knows %d", ErrNewer, path, version, len(migrations))
	}
	return version, nil
}

// fileError is the error for what SQLite says while a place of the file is read.
func fileError(path, place string, err error) error {
	if damaged(err) {
		return &CorruptError{File: path, Offset: -1, Place: place, Reason: err.Error()}
	}
	return fmt.Errorf("read %s: %s: %w", path, place, err)
}
