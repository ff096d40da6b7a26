package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// FileName is the store's file in the storage directory.
const FileName = "traces.db"

const (
	asideSuffix   = ".old"
	applicationID = 0x63637472 // "cctr"
	formatVersion = 1
	alertsKept    = 1000
)

// Large pages suit rows of many kilobytes. The database's log is kept short, as it is written in one go.
var pragmas = []string{"busy_timeout(2000)", "page_size(16384)", "journal_mode(WAL)", "synchronous(NORMAL)", "wal_autocheckpoint(256)"}

const schema = `
CREATE TABLE blocks (id INTEGER PRIMARY KEY, size INTEGER NOT NULL, rows BLOB NOT NULL, spans BLOB NOT NULL) STRICT;
CREATE TABLE alerts (id INTEGER PRIMARY KEY, alert TEXT NOT NULL) STRICT;
`

// file is traces.db. Saves come from one goroutine; reads may come from any.
type file struct{ write, read *sql.DB }

// loaded is what a file has.
type loaded struct {
	blocks  []*block
	alerts  []Alert
	damaged int // blocks left out
}

// errVersion says that a file was written by another version.
var errVersion = errors.New("it was written by another version of ccproxy")

func openFile(ctx context.Context, path string) (_ *file, l loaded, err error) {
	if err := makePrivate(path); err != nil {
		return nil, l, err
	}
	f := &file{}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if f.write, err = openDatabase(path, pragmas); err != nil {
		return nil, l, err
	}
	f.write.SetMaxOpenConns(1)
	if err := prepare(ctx, f.write); err != nil {
		return nil, l, err
	}
	if f.read, err = openDatabase(path, []string{"busy_timeout(2000)", "query_only(1)"}); err != nil {
		return nil, l, err
	}
	f.read.SetMaxOpenConns(4)
	if err := l.load(ctx, f.read); err != nil {
		return nil, l, err
	}
	return f, l, nil
}

// makePrivate makes an empty file for this user alone, unless it is there.
func makePrivate(path string) error {
	w, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.Close()
}

func openDatabase(path string, pragmas []string) (*sql.DB, error) {
	query := url.Values{"_pragma": pragmas}
	return sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: filepath.ToSlash(path), RawQuery: query.Encode()}).String())
}

// prepare makes the tables of an empty file, and refuses one that is not of this version.
func prepare(ctx context.Context, db *sql.DB) error {
	var id, version, tables int
	row := db.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)")
	if err := row.Scan(&id, &version, &tables); err != nil {
		return err
	}
	switch {
	case tables == 0:
		_, err := db.ExecContext(ctx, fmt.Sprintf("BEGIN; %s PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", schema, applicationID, formatVersion))
		return err
	case id != applicationID || version != formatVersion:
		return errVersion
	}
	return nil
}

// load reads everything but the spans.
func (l *loaded) load(ctx context.Context, db *sql.DB) (err error) {
	rows, err := db.QueryContext(ctx, "SELECT id, size, rows FROM blocks ORDER BY id")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var first int64
		var size int
		var part sql.RawBytes
		if err := rows.Scan(&first, &size, &part); err != nil {
			return err
		}
		b, err := decodeRows(first, part)
		if n := len(l.blocks); err != nil || n > 0 && l.blocks[n-1].first+int64(len(l.blocks[n-1].entries)) > first {
			l.damaged++
			continue
		}
		b.size = size
		l.blocks = append(l.blocks, b)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	l.alerts, err = loadAlerts(ctx, db)
	return err
}

// save writes blocks, removes those before oldest, and adds alerts, all or nothing.
func (f *file) save(ctx context.Context, blocks []*block, oldest int64, alerts []Alert, scratch *[]byte) error {
	tx, err := f.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing once it is committed
	for _, b := range blocks {
		buf := b.encodeRows((*scratch)[:0])
		n := len(buf)
		buf = b.encodeSpans(buf)
		*scratch = buf
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO blocks (id, size, rows, spans) VALUES (?, ?, ?, ?)", b.first, b.size, buf[:n], buf[n:]); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM blocks WHERE id < ?", oldest); err != nil {
		return err
	}
	if err := saveAlerts(ctx, tx, alerts); err != nil {
		return err
	}
	return tx.Commit()
}

// spans returns the spans part of a block; nil: it is gone.
func (f *file) spans(ctx context.Context, first int64) ([]byte, error) {
	var part []byte
	err := f.read.QueryRowContext(ctx, "SELECT spans FROM blocks WHERE id = ?", first).Scan(&part)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return part, err
}

func (f *file) close() error {
	var errs []error
	for _, db := range []*sql.DB{f.read, f.write} { // the last one to close tidies up
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// setAside renames a file that is no use; one set aside before is gone.
func setAside(path string) error {
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(path, path+asideSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// damaged reports whether SQLite found its file malformed.
func damaged(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// refused reports whether it is the file system that says no.
func refused(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		code := e.Code() & 0xff
		return code == sqlite3.SQLITE_FULL || code == sqlite3.SQLITE_READONLY || code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_PERM
	}
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EROFS)
}
