package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// runWriter moves settlements from the queue to the database.
func (s *Store) runWriter() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for armed := true; ; {
		now := false
		select {
		case <-s.wake:
			s.mu.Lock()
			failing := s.state.database != nil
			now = !failing && (s.urgent || s.pending.lines >= commitLines)
			s.mu.Unlock()
			if !now && !armed { // while it fails, the timer is armed
				armed = true
				timer.Reset(commitEvery)
			}
		case <-timer.C:
			armed, now = false, true
		case j := <-s.jobs:
			s.runJob(j)
		case <-s.stop:
			return
		}
		if now && !s.commitPending() && !armed {
			armed = true
			timer.Reset(retryEvery)
		}
	}
}

// commitPending writes what has failed before, and what is queued. It reports
// whether nothing is left to retry.
func (s *Store) commitPending() bool {
	defer s.announce()
	if s.retained.lines > 0 && s.commitBatch() != nil {
		return false
	}
	if s.takePending() && s.commitBatch() != nil {
		return false
	}
	return s.reread() == nil && s.retireJournal() == nil
}

// reread writes what only the journal has, because the queue was full.
func (s *Store) reread() error {
	s.mu.Lock()
	keep := s.keep
	s.keep = false // what comes now is for the next time
	s.mu.Unlock()
	if !keep {
		return nil
	}
	err := s.commitJournal()
	if err != nil {
		s.mu.Lock()
		s.keep = true
		s.mu.Unlock()
		s.failDatabase(err)
	}
	return err
}

func (s *Store) commitJournal() error {
	if err := s.databaseStopped(); err != nil {
		return err
	}
	if s.writer == nil {
		return errNoWriter
	}
	s.gate.lock()
	files, err := readJournal(s.opts.Dir)
	s.gate.unlock()
	if err != nil {
		return err
	}
	found, err := replay(files, s.journal.boot, false)
	if err != nil {
		return err
	}
	for chunks := range slices.Chunk(found.settled.chunks, recoverBatch) {
		if _, err := s.writer.commit(&queue{chunks: chunks}); err != nil {
			return err
		}
	}
	return nil
}

// takePending makes the queue the batch to commit, and turns the journal's page
// when it has grown. It reports whether there is a batch.
func (s *Store) takePending() bool {
	if s.grown() {
		taken, err := s.rotate()
		s.failTurn(err)
		if err == nil {
			return taken
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take()
}

// take swaps the queue for an empty one. mu is locked.
func (s *Store) take() bool {
	s.urgent = false
	if s.pending.lines == 0 {
		return false
	}
	s.retained, s.pending = s.pending, queue{}
	s.batch = s.retained.bytes
	return true
}

// databaseStopped returns an error after a sync of the database has failed.
func (s *Store) databaseStopped() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.stopped {
		return s.state.readOnly
	}
	return nil
}

// errNoWriter says that there was no connection to be had.
var errNoWriter = errors.New("no connection to the ledger's database")

func (s *Store) commit() (batch, error) {
	if s.opts.commit != nil {
		if err := s.opts.commit(); err != nil {
			return batch{}, err
		}
	}
	if s.writer == nil {
		return batch{}, errNoWriter
	}
	return s.writer.commit(&s.retained)
}

// renewWriter takes another connection when the error leaves in doubt what
// state the present one is in.
func (s *Store) renewWriter(cause error) error {
	if primary, _ := code(cause); primary > sqlite3.SQLITE_ERROR {
		return nil
	}
	if s.writer != nil {
		_ = s.writer.close() // it may be broken
		s.writer = nil
	}
	w, err := newWriter(context.Background(), s.write)
	if err != nil {
		return err
	}
	s.writer = w
	return nil
}

// spareChunks is how many chunks of memory are kept for the queue.
const spareChunks = 16

// commitBatch writes the batch; when it fails, it stays.
func (s *Store) commitBatch() error {
	if err := s.databaseStopped(); err != nil {
		return err
	}
	b, err := s.commit()
	if err != nil {
		s.failDatabase(err)
		return errors.Join(err, s.renewWriter(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.retained.chunks {
		if len(s.chunks) < spareChunks && cap(c) == chunkSize {
			s.chunks = append(s.chunks, c)
		}
	}
	s.retained = queue{}
	s.recovered()
	s.batch = 0
	s.committed += uint64(b.added + b.had + b.skipped)
	if b.skipped > 0 {
		s.log.Error("records of the ledger cannot be stored as lines; they are in the table rejects", "records", b.skipped)
	}
	return nil
}

// grown reports whether the journal's file is to be replaced.
func (s *Store) grown() bool {
	s.gate.lock()
	defer s.gate.unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.end > int64(s.opts.rotate+2*s.openBytes) && !s.keep && s.state.readOnly == nil
}

// rotate begins a new file of the journal with the holds that are open, and
// takes the queue: what the file before has settled is in the batch then.
func (s *Store) rotate() (taken bool, err error) {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	j := s.journal
	n, err := j.prepare(s.opts.Now(), s.opts.Full)
	if err != nil {
		return false, err
	}
	s.gate.lock()
	defer s.gate.unlock()
	if s.opts.Full {
		if err := j.file.Sync(); err != nil {
			s.failSync(err)
			return false, errors.Join(err, j.discard(n))
		}
	}
	if err := s.carry(n); err != nil {
		return false, errors.Join(err, j.discard(n))
	}
	s.mu.Lock()
	s.durable = s.written
	before := j.turn(n)
	s.size = j.end
	taken = s.take()
	s.mu.Unlock()
	if s.opts.Full {
		j.synced = j.end
	}
	return taken, before.Close()
}

// carry writes the open holds to a new file. The gate is locked.
func (s *Store) carry(n *next) error {
	var b []byte
	seed := n.header.seed()
	add := func(f []byte, kind byte) {
		at := len(b)
		b = append(b, f...)
		seal(b[at:], kind, seed, n.end+int64(at))
	}
	s.mu.Lock()
	for id, o := range s.open {
		add(o.frame, kindHold)
		if o.extended != 0 {
			p := progress{id: id, amount: o.extended}
			add(p.append(make([]byte, frameSize)), kindExtend)
		}
		if o.shown {
			add(o.progress.append(make([]byte, frameSize)), kindCheckpoint)
		}
	}
	s.mu.Unlock()
	if len(b) > 0 {
		if err := n.write(b); err != nil {
			return err
		}
	}
	if s.opts.Full {
		if err := n.file.Sync(); err != nil {
			return fmt.Errorf("sync journal: %w", err)
		}
	}
	return nil
}

// retireJournal removes the files of the journal that the database has
// replaced. The open holds they had are made durable elsewhere first.
func (s *Store) retireJournal() error {
	if len(s.journal.old) == 0 {
		return nil
	}
	err := s.syncCarried()
	if err == nil {
		err = s.journal.removeOld()
	}
	s.failTurn(err)
	return err
}

func (s *Store) syncCarried() error {
	if s.opts.Full { // rotate has done it
		return nil
	}
	if err := s.journal.file.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	if err := s.opts.disk.syncDir(s.opts.Dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// announce wakes those who wait for a commit.
func (s *Store) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.moved)
	s.moved = make(chan struct{})
}

// flush waits until all that was queued before is in the database. It returns
// the error of a database that cannot be written.
func (s *Store) flush(ctx context.Context) error {
	s.mu.Lock()
	target := s.queued
	s.mu.Unlock()
	for {
		s.mu.Lock()
		if s.committed >= target {
			s.mu.Unlock()
			return nil
		}
		if err := s.state.database; err != nil {
			s.mu.Unlock()
			return unavailable("write lines", err)
		}
		s.urgent = true
		moved := s.moved
		s.mu.Unlock()
		signal(s.wake)
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// job is something the writer does between batches, in a transaction.
type job struct {
	do   func(w *writer) error
	done chan error
}

// run has the writer do something after all that was queued before.
func (s *Store) run(ctx context.Context, do func(w *writer) error) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	j := &job{do: do, done: make(chan error, 1)}
	select {
	case s.jobs <- j:
	case <-s.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-j.done
}

func (s *Store) runJob(j *job) {
	s.mu.Lock()
	readOnly := s.state.readOnly
	s.mu.Unlock()
	if readOnly != nil {
		j.done <- readOnly
		return
	}
	err := errNoWriter
	if s.writer != nil {
		err = s.writer.transact(func() error { return j.do(s.writer) })
	}
	if unsynced(err) {
		s.failDatabase(err)
	}
	j.done <- err
}
