package store

// Feed tells that exchanges have ended. It carries none itself: a reader asks List for those after the last it has seen, so
// that a slow one costs nothing.
type Feed struct {
	store   *Store
	changed chan struct{}
}

// Subscribe returns a feed, to be closed by Unsubscribe.
func (s *Store) Subscribe() *Feed {
	f := &Feed{s, make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		f.end()
		return f
	}
	s.feeds[f] = struct{}{}
	return f
}

// Changed receives when exchanges have ended since it last did, and is closed with the store.
func (f *Feed) Changed() <-chan struct{} { return f.changed }

// Unsubscribe ends f.
func (f *Feed) Unsubscribe() {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	delete(f.store.feeds, f)
}

func (f *Feed) wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *Feed) end() { close(f.changed) }

// Last returns the Seq of the exchange that ended last; 0: there is none.
func (s *Store) Last() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.next - 1
}
