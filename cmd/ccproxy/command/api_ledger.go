package command

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/ccproxy/ccproxy/gateway/ledger/store"
)

// verification is the answer to POST /api/ledger/verify.
type verification struct {
	OK       bool     `json:"ok"`
	Lines    int64    `json:"lines"`
	Sums     int      `json:"sums"`
	Records  int      `json:"journal_records"`
	Problems []string `json:"problems"`
	More     int      `json:"more"` // problems that are not listed
	TookMS   int64    `json:"took_ms"`
}

func viewReport(r *store.Report) verification {
	v := verification{OK: r.OK(), Lines: r.Lines, Sums: r.Sums, Records: r.Records, Problems: []string{}, More: r.More, TookMS: r.Took.Milliseconds()}
	for _, p := range r.Problems {
		v.Problems = append(v.Problems, problemText(p))
	}
	return v
}

// problemText says what is damaged, without the advice that one who verifies has taken already.
func problemText(err error) string {
	var c *store.CorruptError
	if !errors.As(err, &c) {
		return oneLine(err)
	}
	where := c.Place
	if c.Offset >= 0 {
		where = fmt.Sprintf("byte %d", c.Offset)
		if c.Place != "" {
			where += " (" + c.Place + ")"
		}
	}
	return fmt.Sprintf("%s: %s: %s", c.File, where, c.Reason)
}

// serveVerify reads all of the ledger, while it goes on.
func (m *accounts) serveVerify(w http.ResponseWriter, r *http.Request) {
	if _, err := readQuery(r); err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	unhurried(w)
	report, err := m.store.Verify(r.Context(), nil)
	if err != nil {
		refuseJSON(w, http.StatusInternalServerError, err)
		return
	}
	writeJSON(w, http.StatusOK, viewReport(report))
}

// backupPattern names the copies that are being sent, in the storage directory.
const backupPattern = ".backup-*"

// serveBackup answers POST /api/ledger/backup with a copy of the database, as it is at one moment. No path comes from
// outside: who asks writes the file.
func (m *accounts) serveBackup(w http.ResponseWriter, r *http.Request) {
	if _, err := readQuery(r); err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	unhurried(w)
	out := &lazyWriter{w: w, contentType: "application/vnd.sqlite3"}
	if err := m.backup(r, out); err != nil {
		m.abort(w, out, "backup", err)
	}
}

func (m *accounts) backup(r *http.Request, out io.Writer) (err error) {
	dir, err := os.MkdirTemp(m.dir, backupPattern)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, ledgerName)
	if err := m.store.Backup(r.Context(), path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(out, f); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// removeBackups removes the copies of a process that died while it sent them.
func removeBackups(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, backupPattern)) // the pattern is well-formed
	for _, path := range left {
		_ = os.RemoveAll(path) // the next start tries again
	}
}
