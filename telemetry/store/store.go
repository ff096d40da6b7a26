package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Options say how a store is opened. The zero value of all but Dir is good.
type Options struct {
	// Dir is the storage directory; it is made, 0700, when it is not there. "": everything is kept in memory only, within
	// QueueBytes.
	Dir string
	// Rows is how many exchanges are kept; 0: 100,000.
	Rows int
	// Bytes is how many bytes they may take on disk; 0: 256 MiB. A memory-only store keeps no more than QueueBytes.
	Bytes int
	// QueueBytes bounds what waits in memory: spans of exchanges that run, and what is not yet on disk, each; 0: 32 MiB.
	QueueBytes int
	// Flush is how long what has ended may wait for the disk; 0: 1 s. Lists show it at once.
	Flush time.Duration
	// Log takes what nobody calls for: a file set aside, writes that fail. nil: nothing is logged.
	Log *slog.Logger
}

// Defaults of Options.
const (
	DefaultRows  = 100_000
	DefaultBytes = 256 << 20
	defaultQueue = 32 << 20
	defaultFlush = time.Second
	takeEvery    = 50 * time.Millisecond // how long ended exchanges gather before they are taken in
	takeBytes    = 1 << 20               // from this size on they are taken in at once
	flushBlocks  = 12                    // sealed blocks that are written at once
	maxSpare     = 16
)

func (o Options) withDefaults() Options {
	if o.Rows <= 0 {
		o.Rows = DefaultRows
	}
	if o.Bytes <= 0 {
		o.Bytes = DefaultBytes
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = defaultQueue
	}
	if o.Flush <= 0 {
		o.Flush = defaultFlush
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dir == "" {
		o.Bytes = min(o.Bytes, o.QueueBytes)
	}
	return o
}

// Store keeps recent exchanges. It is a span processor. Its methods are safe for concurrent use.
type Store struct {
	opts Options
	log  *slog.Logger
	file *file // nil: memory only; of the goroutine, and of readers under fileMu

	fileMu sync.RWMutex // held to replace file
	hold   holder       // spans of exchanges that run, and the queue

	mu     sync.RWMutex // guards what follows
	blocks []*block     // oldest first; the last takes new exchanges unless it is sealed
	next   int64        // seq of the next exchange
	rows   int          // exchanges in blocks
	bytes  int          // of blocks
	alerts []Alert      // oldest first
	feeds  map[*Feed]struct{}

	lost       atomic.Int64 // exchanges dropped
	closed     atomic.Bool
	stop, done chan struct{}
	hurry      chan chan struct{} // asks that the queue be taken in at once; closed in answer
	once       sync.Once
	closeErr   error

	scratch []byte  // of the goroutine
	spare   []parts // guarded by mu
	warned  time.Time
	dirty   []Alert // alerts to be written
}

// Open opens the store of a directory. It fails when the directory cannot be written, never because of what is in the file:
// one that is damaged, or of another version, is set aside as traces.db.old, which the log says.
func Open(ctx context.Context, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	s := &Store{opts: opts, log: opts.Log, next: 1, feeds: map[*Feed]struct{}{}, stop: make(chan struct{}), done: make(chan struct{}), hurry: make(chan chan struct{})}
	s.hold.limit = opts.QueueBytes
	s.hold.wake = make(chan struct{}, 1)
	if opts.Dir != "" {
		if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("make storage directory: %w", err)
		}
		if err := s.openFile(ctx); err != nil {
			return nil, err
		}
	}
	go s.run()
	return s, nil
}

// openFile opens traces.db and reads what is in it, or begins a new one.
func (s *Store) openFile(ctx context.Context) error {
	path := filepath.Join(s.opts.Dir, FileName)
	f, loaded, err := openFile(ctx, path)
	if err != nil && ctx.Err() == nil && !refused(err) {
		s.log.Warn("recent traces cannot be read: they are set aside and new ones begun", slog.String("file", path+asideSuffix), slog.String("error", err.Error()))
		if err := setAside(path); err != nil {
			return fmt.Errorf("set aside %s: %w", path, err)
		}
		f, loaded, err = openFile(ctx, path)
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if loaded.damaged > 0 {
		s.log.Warn("some recent traces cannot be read and are left out", slog.Int("blocks", loaded.damaged))
	}
	s.file, s.blocks, s.alerts = f, loaded.blocks, loaded.alerts
	for _, b := range s.blocks {
		s.rows += len(b.entries)
		s.bytes += b.size
		s.next = b.first + int64(len(b.entries))
	}
	return nil
}

// run takes exchanges in as they end, and writes them down.
func (s *Store) run() {
	defer close(s.done)
	flush := time.NewTicker(s.opts.Flush)
	defer flush.Stop()
	take := time.NewTimer(time.Hour)
	defer take.Stop()
	waiting := false
	for {
		select {
		case <-s.hold.wake:
			if s.hold.queued() >= takeBytes {
				s.take()
			} else if !waiting {
				waiting = true
				take.Reset(takeEvery)
			}
		case <-take.C:
			waiting = false
			s.take()
		case taken := <-s.hurry:
			s.take()
			close(taken)
		case <-flush.C:
			s.flush(context.Background())
		case <-s.stop:
			s.take()
			s.flush(context.Background())
			return
		}
	}
}

// catchUp returns once what had ended before is in the index.
func (s *Store) catchUp(ctx context.Context) {
	if s.hold.queued() == 0 {
		return
	}
	taken := make(chan struct{})
	select {
	case s.hurry <- taken:
		<-taken
	case <-s.done:
	case <-ctx.Done():
	}
}

// take moves the queue into the index.
func (s *Store) take() {
	ended := s.hold.take()
	if len(ended) == 0 {
		return
	}
	s.mu.Lock()
	first := s.next
	for i := range ended {
		s.add(ended[i].spans)
	}
	s.retain()
	last, full := s.next, 0
	for _, b := range slices.Backward(s.blocks) {
		if !b.unsaved {
			break
		}
		full++
	}
	feeds := make([]*Feed, 0, len(s.feeds))
	for f := range s.feeds {
		feeds = append(feeds, f)
	}
	s.mu.Unlock()
	s.hold.taken(ended)
	if last > first {
		for _, f := range feeds {
			f.wake()
		}
	}
	if full > flushBlocks {
		s.flush(context.Background())
	}
}

// add puts an exchange into the open block. A bug that a span reveals costs that exchange alone.
func (s *Store) add(spans []sdktrace.ReadOnlySpan) {
	b := s.open()
	size, entries := b.size, len(b.entries)
	defer func() {
		if recover() != nil {
			s.lost.Add(1)
			b.sealed = true
		}
		if n := len(b.entries) - entries; n > 0 {
			s.next += int64(n)
			s.rows += n
		}
		s.bytes += b.size - size
	}()
	b.add(spans)
}

// open returns the block that takes the next exchange.
func (s *Store) open() *block {
	if n := len(s.blocks); n > 0 && !s.blocks[n-1].sealed {
		return s.blocks[n-1]
	}
	var p parts
	if n := len(s.spare); n > 0 {
		p, s.spare = s.spare[n-1], s.spare[:n-1]
	}
	b := newBlock(s.next, p)
	s.blocks = append(s.blocks, b)
	return b
}

// retain drops the oldest blocks beyond the bounds, but never the last.
func (s *Store) retain() {
	n := 0
	for n < len(s.blocks)-1 && (s.rows-len(s.blocks[n].entries) >= s.opts.Rows || s.bytes > s.opts.Bytes) {
		s.rows -= len(s.blocks[n].entries)
		s.bytes -= s.blocks[n].size
		s.blocks[n] = nil
		n++
	}
	s.blocks = s.blocks[n:]
}

// flush writes what is new, and removes what is gone. What cannot be written waits, within QueueBytes.
func (s *Store) flush(ctx context.Context) {
	if s.file == nil {
		return
	}
	s.mu.RLock()
	var fresh []*block
	unsaved := 0
	for i := len(s.blocks) - 1; i >= 0 && (s.blocks[i].unsaved || !s.blocks[i].sealed); i-- {
		if s.blocks[i].unsaved && len(s.blocks[i].entries) > 0 {
			fresh = append(fresh, s.blocks[i])
			unsaved += len(s.blocks[i].spans)
		}
	}
	oldest := s.next
	if len(s.blocks) > 0 {
		oldest = s.blocks[0].first
	}
	alerts := s.dirty
	s.mu.RUnlock()
	if len(fresh) == 0 && len(alerts) == 0 {
		return
	}
	// Blocks change on this goroutine alone, so they need no lock to be read here.
	err := s.file.save(ctx, fresh, oldest, alerts, &s.scratch)
	if err != nil {
		s.failed(ctx, err, unsaved)
		return
	}
	s.mu.Lock()
	s.dirty = s.dirty[min(len(alerts), len(s.dirty)):]
	for _, b := range fresh {
		b.unsaved = false
		if b.sealed {
			if p := b.release(); len(s.spare) < maxSpare {
				s.spare = append(s.spare, p)
			}
		}
	}
	s.mu.Unlock()
}

// failed handles a write that failed: a damaged file is replaced, and what does not fit into memory any more is dropped.
func (s *Store) failed(ctx context.Context, err error, unsaved int) {
	if time.Since(s.warned) > time.Minute {
		s.warned = time.Now()
		s.log.Warn("recent traces cannot be written", slog.String("error", err.Error()))
	}
	if damaged(err) {
		s.replaceFile(ctx)
		return
	}
	if unsaved <= s.opts.QueueBytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, b := range s.blocks {
		if unsaved <= s.opts.QueueBytes/2 {
			break
		}
		if !b.unsaved || !b.sealed {
			continue
		}
		unsaved -= len(b.spans)
		s.rows -= len(b.entries)
		s.bytes -= b.size
		s.lost.Add(int64(len(b.entries)))
		s.blocks[i] = nil
	}
	kept := s.blocks[:0:0]
	for _, b := range s.blocks {
		if b != nil {
			kept = append(kept, b)
		}
	}
	s.blocks = kept
}

// replaceFile begins a new file. What was only in the old one is gone.
func (s *Store) replaceFile(ctx context.Context) {
	s.fileMu.Lock()
	defer s.fileMu.Unlock()
	path := filepath.Join(s.opts.Dir, FileName)
	err := errors.Join(s.file.close(), setAside(path))
	if err == nil {
		var f *file
		if f, _, err = openFile(ctx, path); err == nil {
			s.file = f
		}
	}
	if err != nil {
		s.log.Error("recent traces are not written any more", slog.String("error", err.Error()))
		return
	}
	s.log.Warn("recent traces were damaged: they are set aside and new ones begun", slog.String("file", path+asideSuffix))
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.blocks[:0:0]
	s.rows, s.bytes = 0, 0
	for _, b := range s.blocks {
		if b.spans == nil {
			continue
		}
		b.unsaved = true
		kept = append(kept, b)
		s.rows += len(b.entries)
		s.bytes += b.size
	}
	s.blocks = kept
}

// Close writes down what has ended and ends the goroutine. Calling it again returns the same. Queries after it find nothing
// that was only on disk.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.closed.Store(true)
		close(s.stop)
		<-s.done
		s.mu.Lock()
		for f := range s.feeds {
			delete(s.feeds, f)
			f.end()
		}
		s.mu.Unlock()
		if s.file != nil {
			s.fileMu.Lock()
			defer s.fileMu.Unlock()
			s.closeErr = s.file.close()
		}
	})
	return s.closeErr
}

// Status is how a store fares.
type Status struct {
	Exchanges int   `json:"exchanges"`
	Bytes     int   `json:"bytes"`       // of what is kept
	Rows      int   `json:"rows_limit"`  // the most exchanges
	Limit     int   `json:"bytes_limit"` // the most bytes
	Lost      int64 `json:"lost"`        // exchanges dropped since the start, for lack of room
	Held      int   `json:"held_bytes"`  // of exchanges that run, and of the queue
}

// Status returns how s fares.
func (s *Store) Status() Status {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return Status{s.rows, s.bytes, s.opts.Rows, s.opts.Bytes, s.lost.Load() + s.hold.lost.Load(), s.hold.size()}
}
