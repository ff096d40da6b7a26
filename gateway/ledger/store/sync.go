package store

import "time"

// runSync makes the journal durable whenever somebody waits for it: all that was
// written until then, with one sync.
func (s *Store) runSync() {
	for {
		select {
		case <-s.wakeSync:
			s.syncJournal()
		case <-s.stop:
			return
		}
	}
}

func (s *Store) syncJournal() {
	s.syncing.Lock()
	defer s.syncing.Unlock()

	s.gate.lock()
	f, end := s.journal.file, s.journal.end
	s.mu.Lock()
	written, refuse := s.written, s.state.readOnly
	s.mu.Unlock()
	s.gate.unlock()
	if refuse == nil {
		if err := f.Sync(); err != nil {
			s.failSync(err)
		} else {
			s.gate.lock()
			s.journal.synced = end
			s.mu.Lock()
			s.durable = max(s.durable, written)
			s.mu.Unlock()
			s.gate.unlock()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.synced)
	s.synced = make(chan struct{})
}

// waitDurable waits until a frame survives a power cut, if Options say so.
func (s *Store) waitDurable(number uint64, limit time.Time) error {
	if !s.opts.Full {
		return nil
	}
	var timer *time.Timer
	for {
		s.mu.Lock()
		durable, refuse, synced := s.durable >= number, s.state.readOnly, s.synced
		s.mu.Unlock()
		if durable {
			return nil
		}
		if refuse != nil {
			return refuse
		}
		signal(s.wakeSync)
		if timer == nil {
			timer = time.NewTimer(time.Until(limit))
			defer timer.Stop()
		}
		select {
		case <-synced:
		case <-timer.C:
			return unavailable("sync", errSlow)
		}
	}
}
