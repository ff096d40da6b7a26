package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// buffer is where a frame is put together.
type buffer struct{ b []byte }

// frame returns an empty frame to append a body to.
func (b *buffer) frame() []byte {
	return append(b.b[:0], make([]byte, frameSize)...)
}

// release keeps a frame's memory for the next one.
func (s *Store) release(b *buffer, f []byte) {
	if cap(f) <= 64<<10 {
		b.b = f
		s.buffers.Put(b)
	}
}

// Held writes down that money is set aside, before anything is sent. The hold
// ends when Settled is called with a line of its id. After an error, an
// ErrUnavailable, there is no hold. h is not kept.
func (s *Store) Held(h *HoldRecord) error {
	limit := time.Now().Add(s.opts.Wait)
	if err := s.room(limit); err != nil {
		return err
	}
	b := s.buffers.Get().(*buffer)
	f := appendHold(b.frame(), h)
	defer s.release(b, f)

	if !s.gate.enter(time.Until(limit)) {
		return unavailable("hold", errSlow)
	}
	n, err := s.append(f, kindHold)
	if err == nil {
		s.remember(h.Line.ID, f)
	}
	s.gate.unlock()
	if err != nil {
		return unavailable("hold", err)
	}
	if err := s.waitDurable(n, limit); err != nil {
		s.drop(h.Line.ID)
		return err
	}
	return nil
}

// errSlow says that a limit has passed.
var errSlow = errors.New("the disk is too slow")

// append writes one frame to the journal, and returns its number. The gate is
// locked.
func (s *Store) append(f []byte, kind byte) (number uint64, err error) {
	s.mu.Lock()
	refuse := s.refusal()
	s.mu.Unlock()
	// What ends a hold that was refused is written all the same: it can only
	// keep money from being charged for nothing.
	if refuse != nil && kind != kindDrop {
		return 0, refuse
	}
	if err := s.journal.append(f, kind); err != nil {
		s.fail(err)
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.journal != nil {
		s.log.Info("the ledger's journal can be written again")
		s.state.journal = nil
	}
	s.written++
	s.size = s.journal.end
	return s.written, nil
}

// refusal returns why nothing may be written, nil when it may. mu is locked.
func (s *Store) refusal() error {
	switch {
	case s.state.readOnly != nil:
		return s.state.readOnly
	case s.closed && s.stopped():
		return ErrClosed
	}
	return nil
}

func (s *Store) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// remember keeps an open hold.
func (s *Store) remember(id string, f []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[id]
	if o == nil {
		if n := len(s.spare); n > 0 {
			o, s.spare = s.spare[n-1], s.spare[:n-1]
		} else {
			o = new(openHold)
		}
		s.open[id] = o
	}
	s.openBytes += len(f) - len(o.frame)
	o.frame = append(o.frame[:0], f...)
	o.progress, o.extended, o.shown = progress{}, 0, false
}

// endHold forgets an open hold. mu is locked.
func (s *Store) endHold(id string) {
	o := s.open[id]
	if o == nil {
		return
	}
	delete(s.open, id)
	s.openBytes -= len(o.frame)
	o.frame = o.frame[:0]
	if len(s.spare) < 256 {
		s.spare = append(s.spare, o)
	}
}

// drop ends a hold of which nothing was sent: Held has failed after it wrote.
func (s *Store) drop(id string) {
	s.mu.Lock()
	s.endHold(id)
	s.mu.Unlock()
	s.note(kindDrop, progress{id: id})
}

// note writes a small record that nobody waits for. A failure is seen by the
// next call that matters.
func (s *Store) note(kind byte, p progress) {
	b := s.buffers.Get().(*buffer)
	f := p.append(b.frame())
	defer s.release(b, f)
	if !s.gate.enter(s.opts.Wait) {
		return
	}
	defer s.gate.unlock()
	_, _ = s.append(f, kind)
}

// Checkpoint notes what an open hold's attempt has cost so far, and the tokens
// of output seen: what it costs at least should the process die. It is cheap and
// meant to be called about once a second. Without an open hold of that id it
// does nothing.
func (s *Store) Checkpoint(id string, accrued gateway.NanoUSD, outputTokens int64) {
	p := progress{id: id, amount: accrued, tokens: outputTokens}
	s.mu.Lock()
	o := s.open[id]
	if o == nil {
		s.mu.Unlock()
		return
	}
	o.progress, o.shown = p, true
	s.mu.Unlock()
	s.note(kindCheckpoint, p)
}

// Extend writes down that an open hold has grown to held. The error is Held's;
// then the hold is what it was. Without an open hold of that id it does nothing.
func (s *Store) Extend(id string, held gateway.NanoUSD) error {
	s.mu.Lock()
	o := s.open[id]
	s.mu.Unlock()
	if o == nil {
		return nil
	}
	limit := time.Now().Add(s.opts.Wait)
	b := s.buffers.Get().(*buffer)
	p := progress{id: id, amount: held}
	f := p.append(b.frame())
	defer s.release(b, f)
	if !s.gate.enter(time.Until(limit)) {
		return unavailable("extend hold", errSlow)
	}
	n, err := s.append(f, kindExtend)
	if err == nil {
		s.mu.Lock()
		if o := s.open[id]; o != nil {
			o.extended = held
		}
		s.mu.Unlock()
	}
	s.gate.unlock()
	if err != nil {
		return unavailable("extend hold", err)
	}
	return s.waitDurable(n, limit)
}

// Settled writes down what an attempt has cost, which ends its hold, if it has
// one. The cost is added to the sums of accounts, once per id however often
// Settled is called, and alerts move forward, never back: settlements may come
// in any order.
//
// When it returns nil a killed process loses nothing; see [Options.Full]. When
// it returns an ErrUnavailable, the line is in memory and written as soon as the
// disk takes it; the caller has nothing to repeat. Only [Health.Lost] counts
// lines that are nowhere, when memory for them has run out. l, accounts and
// alerts are not kept.
func (s *Store) Settled(l *Line, accounts []Account, alerts []AlertState) error {
	limit := time.Now().Add(s.opts.Wait)
	b := s.buffers.Get().(*buffer)
	f := appendSettled(b.frame(), l, accounts, alerts)
	defer s.release(b, f)

	if !s.gate.enter(time.Until(limit)) {
		return errors.Join(unavailable("settle", errSlow), s.enqueue(l.ID, f[frameSize:], false))
	}
	n, err := s.append(f, kindSettled)
	if errors.Is(err, ErrClosed) {
		s.gate.unlock()
		return err
	}
	lost := s.enqueue(l.ID, f[frameSize:], err == nil)
	s.gate.unlock()
	if err != nil {
		return errors.Join(unavailable("settle", err), lost)
	}
	return s.waitDurable(n, limit)
}

// enqueue hands a settlement to the writer. The gate is locked if the journal
// has it: a file of the journal is replaced together with the queue.
func (s *Store) enqueue(id string, body []byte, journaled bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endHold(id)
	if s.pending.bytes+s.batch+len(body) > 2*s.opts.QueueBytes {
		if journaled { // the writer finds it there
			s.keep = true
			return nil
		}
		s.lost++
		return fmt.Errorf("%w: the line of attempt %s is lost", ErrUnavailable, id)
	}
	var spare []byte
	n := len(s.chunks)
	if n > 0 {
		spare = s.chunks[n-1]
	}
	if s.pending.add(body, spare) {
		s.chunks = s.chunks[:n-1]
	}
	s.queued++
	if s.pending.lines == 1 || s.pending.lines == commitLines {
		signal(s.wake)
	}
	return nil
}

// signal wakes the goroutine that waits for c.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// room waits until the queue has room for one more line, and for those of all
// open holds.
func (s *Store) room(limit time.Time) error {
	var timer *time.Timer
	for {
		s.mu.Lock()
		switch {
		case s.closed:
			s.mu.Unlock()
			return ErrClosed
		case s.state.readOnly != nil:
			defer s.mu.Unlock()
			return s.state.readOnly
		case s.pending.bytes+s.batch+(len(s.open)+1)*settlementSize <= s.opts.QueueBytes:
			s.mu.Unlock()
			return nil
		}
		moved := s.moved
		s.urgent = true
		s.mu.Unlock()
		signal(s.wake)
		if timer == nil {
			timer = time.NewTimer(time.Until(limit))
			defer timer.Stop()
		}
		select {
		case <-moved:
		case <-timer.C:
			return unavailable("hold", errors.New("too many lines wait for the database"))
		}
	}
}
