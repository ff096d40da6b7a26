package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// Options say how a store is opened. The zero value of all but Dir is good.
type Options struct {
	// Dir is the storage directory; it is made, 0700, when it is not there.
	Dir string
	// Full makes Held, Extend and Settled wait until what they wrote survives a
	// power cut, instead of only the death of the process.
	Full bool
	// Log gets what nobody calls for: the end of a failure, damage found in the
	// background. nil: nothing is logged.
	Log *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// QueueBytes bounds the lines that wait for the database; 0: 16 MiB.
	QueueBytes int
	// Wait bounds how long a call waits for room or for the disk; 0: 250 ms.
	Wait time.Duration

	disk   disk         // nil: the file system
	boot   [16]byte     // the machine's life; zeros: what bootHash says
	rotate int          // bytes after which the journal begins a new file; 0: rotateBytes
	commit func() error // called before a batch is committed; its error is the commit's
}

// Limits of the writer.
const (
	defaultQueue   = 16 << 20
	defaultWait    = 250 * time.Millisecond
	commitEvery    = 100 * time.Millisecond
	commitLines    = 512
	retryEvery     = time.Second
	rotateBytes    = 4 << 20
	settlementSize = 1 << 10 // room kept in the queue for each open hold
)

// Store is the durable part of a ledger. Its methods are safe for concurrent
// use.
type Store struct {
	opts Options
	path string // of the database
	log  *slog.Logger

	write *sql.DB // one connection, the writer's
	read  *sql.DB
	full  *sql.DB

	gate    gate     // orders what is written to the journal
	journal *journal // guarded by gate
	buffers sync.Pool

	mu        sync.Mutex // guards what follows; taken within gate, and never held while waiting
	open      map[string]*openHold
	spare     []*openHold
	openBytes int
	pending   queue
	batch     int      // bytes being committed
	chunks    [][]byte // memory for pending
	queued    uint64   // settlements, since the start
	committed uint64   // of queued
	urgent    bool     // somebody waits for a commit
	keep      bool     // something is only in the journal
	lost      uint64   // settlements that are nowhere
	written   uint64   // frames, since the start
	durable   uint64   // of written
	size      int64    // of the journal\'s newest file
	state     health
	closed    bool
	moved     chan struct{} // closed when a commit has been tried, and replaced
	synced    chan struct{} // closed when a sync has been tried, and replaced

	syncing  sync.Mutex // held while the journal's file is synced or replaced
	wake     chan struct{}
	wakeSync chan struct{}
	jobs     chan *job
	stop     chan struct{} // closed by Close
	cancel   context.CancelFunc
	done     sync.WaitGroup
	writer   *writer
	retained queue // the batch being committed, or that failed; the writer's
}

// openHold is a hold that is not settled.
type openHold struct {
	frame    []byte // of its record, to be carried into the next file
	progress progress
	extended gateway.NanoUSD // what is held now, if it has grown
	shown    bool            // progress is set
}

// Recovered says what Open found.
type Recovered struct {
	// InDoubt are the holds of a process that died before it settled them, in
	// the order in which they were made. Each is open until Settled is called
	// with its line.
	InDoubt []InDoubt
	// Lines is how many settlements the journal had that the database had not.
	Lines int
	// Unclean says that the process before did not close the store.
	Unclean bool
	// Gaps are bytes of the journal that a power cut has left unreadable.
	Gaps int64
	Took time.Duration
}

// Open opens the store of a directory, and makes it if there is none. It ends
// what a process before has left unfinished, but for the holds in doubt, which
// are the caller's to settle. A damaged file is a *CorruptError, a newer one
// ErrNewer; then nothing has been changed. ctx bounds Open alone.
func Open(ctx context.Context, opts Options) (*Store, *Recovered, error) {
	start := time.Now()
	s := newStore(opts)
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make storage directory: %w", err)
	}
	if err := repairing(opts.Dir); err != nil {
		return nil, nil, err
	}
	// The journal is read first: if it is damaged, nothing must have changed.
	files, err := readJournal(opts.Dir)
	if err != nil {
		return nil, nil, err
	}
	found, err := replay(files, s.journal.boot, false)
	if err != nil {
		return nil, nil, err
	}
	if err := s.openDatabases(ctx, len(found.files) > 0); err != nil {
		return nil, nil, errors.Join(err, s.closeDatabases())
	}
	r, err := s.recover(ctx, found)
	if err != nil {
		return nil, nil, errors.Join(err, s.closeFiles())
	}
	s.start()
	r.Took = time.Since(start)
	return s, r, nil
}

func newStore(opts Options) *Store {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.QueueBytes == 0 {
		opts.QueueBytes = defaultQueue
	}
	if opts.Wait == 0 {
		opts.Wait = defaultWait
	}
	if opts.disk == nil {
		opts.disk = realDisk{}
	}
	if opts.rotate == 0 {
		opts.rotate = rotateBytes
	}
	if opts.boot == [16]byte{} {
		opts.boot = bootHash()
	}
	return &Store{
		opts: opts, path: filepath.Join(opts.Dir, databaseName), log: opts.Log,
		gate:    make(gate, 1),
		journal: newJournal(&opts),
		buffers: sync.Pool{New: func() any { return new(buffer) }},
		open:    map[string]*openHold{},
		moved:   make(chan struct{}), synced: make(chan struct{}),
		wake: make(chan struct{}, 1), wakeSync: make(chan struct{}, 1),
		jobs: make(chan *job), stop: make(chan struct{}),
	}
}

// openDatabases opens ledger.db three times: for the writer, for queries, and
// for what has to survive a power cut whatever Options say. begun says that
// there was a store before.
func (s *Store) openDatabases(ctx context.Context, begun bool) error {
	if _, err := os.Stat(s.path); begun && errors.Is(err, fs.ErrNotExist) {
		return nothingThere(s.path)
	}
	if err := createEmpty(s.path); err != nil {
		return fmt.Errorf("make ledger: %w", err)
	}
	sync := "synchronous(NORMAL)"
	if s.opts.Full {
		sync = "synchronous(FULL)"
	}
	var err error
	if s.write, err = openDatabase(dsn(s.path, []string{"journal_mode(WAL)", sync}, "_txlock", "immediate"), 1); err != nil {
		return err
	}
	if s.full, err = openDatabase(dsn(s.path, []string{"journal_mode(WAL)", "synchronous(FULL)"}, "_txlock", "immediate"), 2); err != nil {
		return err
	}
	if s.read, err = openDatabase(dsn(s.path, []string{"query_only(1)"}), 4); err != nil {
		return err
	}
	// This changes nothing yet: a file may be refused.
	version, err := schemaVersion(ctx, s.read, s.path)
	if err != nil {
		return err
	}
	if version == 0 && begun {
		return nothingThere(s.path)
	}
	if err := migrate(ctx, s.write, s.path, s.opts.Now()); err != nil {
		return err
	}
	if err := s.checkRecent(ctx); err != nil {
		return err
	}
	s.writer, err = newWriter(ctx, s.write)
	if err != nil {
		return fileError(s.path, "schema", err)
	}
	return nil
}

func (s *Store) closeDatabases() error {
	var errs []error
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	for _, db := range []*sql.DB{s.read, s.full, s.write} { // the last one to close tidies up
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *Store) closeFiles() error {
	err := s.closeDatabases()
	if s.journal.file != nil {
		err = errors.Join(err, s.journal.file.Close())
	}
	return err
}

// start starts the goroutines that Close stops.
func (s *Store) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(s.runWriter)
	if s.opts.Full {
		s.done.Go(s.runSync)
	}
	s.done.Go(func() { s.verifyHistory(ctx) })
}

// Close writes what is queued, and removes the journal unless something is only
// there. Calls that are under way must have returned. When ctx ends first, or
// the disk takes nothing, the journal stays, and the next Open continues.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()

	err := s.flush(ctx)
	s.cancel()
	close(s.stop)
	s.done.Wait()
	if err == nil {
		err = s.clearJournal()
	}
	return errors.Join(err, s.closeFiles())
}

// clearJournal removes the journal when the database has all of it.
func (s *Store) clearJournal() error {
	if len(s.open) > 0 || s.keep || s.state.readOnly != nil || s.committed != s.queued {
		return nil
	}
	j := s.journal
	j.old = append(j.old, j.path(j.number))
	return j.removeOld()
}

// DB returns a handle on the ledger's database, for tables of other packages
// and for reading: keys and whatever else has to survive a power cut. What it
// commits is synced. Its transactions lock out the writer of lines, so they
// have to be short. Close closes it.
func (s *Store) DB() *sql.DB { return s.full }

// gate is a mutex that can be waited for with a limit.
type gate chan struct{}

func (g gate) lock()   { g <- struct{}{} }
func (g gate) unlock() { <-g }

// enter locks the gate, or gives up after the limit.
func (g gate) enter(limit time.Duration) bool {
	select {
	case g <- struct{}{}:
		return true
	default:
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case g <- struct{}{}:
		return true
	case <-t.C:
		return false
	}
}
