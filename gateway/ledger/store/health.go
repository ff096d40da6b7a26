package store

import (
	"fmt"
	"time"
)

// health is what fails at present.
type health struct {
	journal  error // of the last write, nil when it worked
	turn     error // of the last time the journal began a new file, or removed an old one
	database error // of the last commit
	readOnly error // an ErrReadOnly: no money is set aside until the store is opened again
	stopped  bool  // and the database is not written either
	damage   error // what verification found
	since    time.Time
	verified int64 // lines of the history found intact
	whole    bool  // all of them have been verified
}

// Health says how a store does.
type Health struct {
	// Err is nil while everything can be written; otherwise an ErrUnavailable,
	// ErrReadOnly or ErrCorrupt, since Since.
	Err   error
	Since time.Time
	// OpenHolds is how many holds are not settled, QueuedLines and QueuedBytes
	// what waits for the database, JournalBytes the size of the journal's
	// newest file.
	OpenHolds    int
	QueuedLines  int
	QueuedBytes  int
	JournalBytes int64
	// Lost counts settlements that are neither on disk nor in memory.
	Lost uint64
	// Verified is how many old lines have been found intact since the start,
	// and Whole says that these are all.
	Verified int64
	Whole    bool
}

// Health returns how the store does now.
func (s *Store) Health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := Health{
		Since: s.state.since, OpenHolds: len(s.open), JournalBytes: s.size,
		QueuedLines: int(s.queued - s.committed), QueuedBytes: s.pending.bytes + s.batch,
		Lost: s.lost, Verified: s.state.verified, Whole: s.state.whole,
	}
	switch st := &s.state; {
	case st.readOnly != nil:
		h.Err = st.readOnly
	case st.damage != nil:
		h.Err = st.damage
	case st.journal != nil:
		h.Err = unavailable("journal", st.journal)
	case st.database != nil:
		h.Err = unavailable("database", st.database)
	case st.turn != nil:
		h.Err = unavailable("journal", st.turn)
	}
	return h
}

// fail notes that the journal cannot be written.
func (s *Store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.journal == nil {
		s.begin("the ledger's journal cannot be written", err)
	}
	s.state.journal = err
}

// failTurn notes that the journal cannot begin a new file, or nil: it can. It
// grows meanwhile.
func (s *Store) failTurn(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.state.turn == nil {
		s.begin("the ledger's journal cannot begin a new file", err)
	}
	s.state.turn = err
}

// failDatabase notes that the database cannot be written.
func (s *Store) failDatabase(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.database == nil {
		s.begin("the ledger cannot be written; lines wait in memory", err)
	}
	s.state.database = err
	if unsynced(err) {
		s.stopWriting(err)
		s.state.stopped = true
	}
}

// failSync notes that a sync of the journal has failed. There is no way back:
// what the kernel has dropped, a second sync would not report. The database
// still takes the lines that are known, since it syncs for itself.
func (s *Store) failSync(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopWriting(err)
}

// stopWriting makes the store read-only. mu is locked.
func (s *Store) stopWriting(err error) {
	if s.state.readOnly == nil {
		s.state.readOnly = fmt.Errorf("%w: sync: %w", ErrReadOnly, err)
		s.begin("the ledger is read-only until it is opened again", err)
	}
}

// begin notes the begin of a failure. mu is locked.
func (s *Store) begin(what string, err error) {
	if s.state.journal == nil && s.state.database == nil && s.state.turn == nil {
		s.state.since = s.opts.Now()
	}
	s.log.Error(what, "error", err)
}

// recovered notes that the database can be written. mu is locked.
func (s *Store) recovered() {
	if s.state.database != nil {
		s.log.Info("the ledger can be written again", "after", s.opts.Now().Sub(s.state.since))
	}
	s.state.database = nil
}
