package store

import (
	"errors"
	"fmt"
	"strings"

	sqlite3 "modernc.org/sqlite/lib"
)

// What the store's errors are, for errors.Is.
var (
	// ErrUnavailable says that what was asked for is not on disk: no space, a
	// failing or slow disk, a full queue. It passes by itself.
	ErrUnavailable = errors.New("the ledger cannot write")
	// ErrReadOnly is an ErrUnavailable that lasts until the store is opened
	// again: a failed sync leaves unknown what is on disk, and repeating it may
	// report success for data that is gone.
	ErrReadOnly = fmt.Errorf("%w until it is opened again", ErrUnavailable)
	// ErrCorrupt says that a file does not hold what was written to it. The
	// error is a *CorruptError.
	ErrCorrupt = errors.New("the ledger is damaged")
	// ErrNewer says that a file was written by a newer version.
	ErrNewer = errors.New("the ledger was written by a newer version of ccproxy")
	// ErrClosed is returned by calls after Close.
	ErrClosed = errors.New("the ledger is closed")
)

// CorruptError says where a file of the ledger is damaged.
type CorruptError struct {
	File   string
	Offset int64  // byte in the file; -1 when only Place is known
	Place  string // such as "line 17"; "" when only Offset is known
	Reason string
}

// Error names the place, and the commands that help.
func (e *CorruptError) Error() string {
	where := e.Place
	if e.Offset >= 0 {
		where = fmt.Sprintf("byte %d", e.Offset)
		if e.Place != "" {
			where += " (" + e.Place + ")"
		}
	}
	return fmt.Sprintf("%v: %s at %s: %s; see `ccproxy ledger verify`, then `ccproxy ledger repair`", ErrCorrupt, e.File, where, e.Reason)
}

// Is makes every CorruptError an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// unavailable wraps the error of a write that may work later.
func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}

// code returns the primary and the extended result code of an error of SQLite,
// zeros for any other.
func code(err error) (primary, extended int) {
	var e interface {
		error
		Code() int
	} // *sqlite.Error
	if !errors.As(err, &e) {
		return 0, 0
	}
	return e.Code() & 0xff, e.Code()
}

// damaged reports whether SQLite found its file malformed, or without a table or
// a column that was made with it.
func damaged(err error) bool {
	switch primary, _ := code(err); primary {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	case sqlite3.SQLITE_ERROR:
		return strings.Contains(err.Error(), "no such ") || strings.Contains(err.Error(), "has no column ")
	}
	return false
}

// unsynced reports whether the error is of a sync, after which nothing is known
// of what the disk holds.
func unsynced(err error) bool {
	_, extended := code(err)
	return extended == sqlite3.SQLITE_IOERR_FSYNC || extended == sqlite3.SQLITE_IOERR_DIR_FSYNC
}

// passing reports whether the statement may well succeed later, unchanged. Other
// errors are of what was written.
func passing(err error) bool {
	switch primary, _ := code(err); primary {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return false
	}
	return true
}
