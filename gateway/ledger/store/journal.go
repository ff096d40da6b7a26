package store

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// journalName begins the names of the journal's files; a number follows.
const journalName = "ledger.journal."

// journalTemp is a file that is not yet one of the journal's.
const journalTemp = "ledger.journal-new"

// journal appends frames to the newest of its files. Its methods are called by
// one goroutine at a time, but for sync.
type journal struct {
	disk    disk
	dir     string
	full    bool
	process [16]byte
	boot    [16]byte

	file   file // nil before the first rotate
	number uint64
	seed   uint32
	end    int64 // where the next frame goes
	torn   bool  // something is left after end by a write that failed
	synced int64 // up to where file is known to be durable
	marked int64 // the synced of the last mark
	mark   []byte
	// old are the files before this one, still needed.
	old []string
}

// newJournal returns a journal that has no file yet.
func newJournal(o *Options) *journal {
	j := &journal{disk: o.disk, dir: o.Dir, full: o.Full, boot: o.boot}
	_, _ = rand.Read(j.process[:]) // never fails: crypto/rand.Read
	return j
}

// bootHash names the machine's life in 16 bytes, zeros when it is not known.
func bootHash() (h [16]byte) {
	if id := strings.TrimSpace(bootID()); id != "" {
		sum := sha256.Sum256([]byte(id))
		copy(h[:], sum[:])
	}
	return h
}

// journalFile is a file of a journal that was read.
type journalFile struct {
	name string
	data []byte
}

// journalFiles returns the names of the journal's files in a directory, oldest
// first.
func journalFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var names []string
	for _, e := range entries {
		if isJournal(e.Name()) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	slices.SortFunc(names, compareJournals)
	return names, nil
}

// readJournal reads the journal's files in a directory, oldest first.
func readJournal(dir string) (files []journalFile, err error) {
	names, err := journalFiles(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a running store no longer needs it
		}
		if err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		files = append(files, journalFile{name, b})
	}
	return files, nil
}

// isJournal reports whether a file of that name belongs to a journal.
func isJournal(name string) bool {
	n, ok := strings.CutPrefix(name, journalName)
	_, err := strconv.ParseUint(n, 10, 64)
	return ok && err == nil
}

// journalNumber returns the number in a file's name.
func journalNumber(name string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(filepath.Base(name), journalName), 10, 64)
	return n
}

func compareJournals(a, b string) int { return cmp.Compare(journalNumber(a), journalNumber(b)) }

func (j *journal) path(number uint64) string {
	return filepath.Join(j.dir, journalName+strconv.FormatUint(number, 10))
}

// append writes one frame; f begins with frameSize bytes for append to fill.
// After an error nothing of it counts.
func (j *journal) append(f []byte, kind byte) error {
	if len(f)-frameSize > maxBody {
		return fmt.Errorf("record of %d bytes", len(f))
	}
	if j.torn {
		if err := j.file.Truncate(j.end); err != nil {
			return fmt.Errorf("truncate journal: %w", err)
		}
		j.torn = false
	}
	if j.full && j.marked != j.synced {
		p := progress{tokens: j.synced}
		j.mark = p.append(append(j.mark[:0], make([]byte, frameSize)...))
		if err := j.write(j.mark, kindMark); err != nil {
			return err
		}
		j.marked = j.synced
	}
	return j.write(f, kind)
}

func (j *journal) write(f []byte, kind byte) error {
	seal(f, kind, j.seed, j.end)
	if _, err := j.file.WriteAt(f, j.end); err != nil {
		j.torn = true
		if terr := j.file.Truncate(j.end); terr == nil {
			j.torn = false
		}
		return fmt.Errorf("write journal: %w", err)
	}
	j.end += int64(len(f))
	return nil
}

// next is a file that is to become the journal's.
type next struct {
	file   file
	header header
	end    int64
}

// prepare makes the file after the current one, durable if sync is set.
func (j *journal) prepare(now time.Time, sync bool) (*next, error) {
	n := &next{header: header{full: j.full, number: j.number + 1, created: now.UnixMilli(), process: j.process, boot: j.boot}}
	temp := filepath.Join(j.dir, journalTemp)
	if err := j.disk.remove(temp); err != nil {
		return nil, fmt.Errorf("remove %s: %w", temp, err)
	}
	f, err := j.disk.create(temp)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	n.file = f
	if err := n.begin(j, temp, sync); err != nil {
		return nil, errors.Join(err, j.discard(n), j.disk.remove(temp))
	}
	return n, nil
}

func (n *next) begin(j *journal, temp string, sync bool) error {
	b := n.header.append(nil)
	if _, err := n.file.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	n.end = int64(len(b))
	if sync {
		if err := n.file.Sync(); err != nil {
			return fmt.Errorf("sync journal: %w", err)
		}
	}
	if err := j.disk.rename(temp, j.path(n.header.number)); err != nil {
		return fmt.Errorf("rename journal: %w", err)
	}
	if sync {
		if err := j.disk.syncDir(j.dir); err != nil {
			return fmt.Errorf("sync directory: %w", err)
		}
	}
	return nil
}

// discard gives up a file that did not become the journal's.
func (j *journal) discard(n *next) error {
	return errors.Join(n.file.Close(), j.disk.remove(j.path(n.header.number)))
}

// write appends sealed frames with one write.
func (n *next) write(b []byte) error {
	if _, err := n.file.WriteAt(b, n.end); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	n.end += int64(len(b))
	return nil
}

// turn makes n the file that is written to, and returns the one before, nil if
// there was none. That one is old until removeOld.
func (j *journal) turn(n *next) (before file) {
	before = j.file
	if before != nil {
		j.old = append(j.old, j.path(j.number))
	}
	j.file, j.number, j.seed, j.end = n.file, n.header.number, n.header.seed(), n.end
	j.torn, j.synced, j.marked = false, 0, 0
	return before
}

// removeOld removes the files before the current one.
func (j *journal) removeOld() error {
	for len(j.old) > 0 {
		if err := j.disk.remove(j.old[0]); err != nil {
			return fmt.Errorf("remove journal: %w", err)
		}
		j.old = j.old[1:]
	}
	return nil
}
