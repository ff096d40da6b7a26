package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// replayed is what the files of a journal say.
type replayed struct {
	files   []string
	number  uint64 // of the newest file
	settled queue
	holds   map[string]*foundHold // :: id → hold without a settlement
	order   []string              // ids of holds, oldest first; some are settled
	gaps    int64
}

// foundHold is a hold of a process that has ended.
type foundHold struct {
	body []byte
	openHold
}

// replay goes through the files of a journal, oldest first. Damage is an error
// unless lenient is set. boot names the machine's life.
func replay(files []journalFile, boot [16]byte, lenient bool) (*replayed, error) {
	r := &replayed{holds: map[string]*foundHold{}}
	for _, f := range files {
		r.files = append(r.files, f.name)
		r.number = max(r.number, journalNumber(f.name))
		sc, err := scan(f.data, f.name, boot, lenient, func(_ int64, f frame) error { return r.apply(f) })
		if err != nil && (!lenient || errors.Is(err, ErrNewer)) {
			return nil, err
		}
		for _, g := range sc.gaps {
			r.gaps += g.to - g.from
		}
	}
	return r, nil
}

// apply takes one record in.
func (r *replayed) apply(f frame) error {
	switch f.kind {
	case kindHold:
		h, err := decodeHold(f.body)
		if err != nil {
			return err
		}
		id := h.Line.ID
		if r.holds[id] == nil {
			r.order = append(r.order, id)
		}
		r.holds[id] = &foundHold{body: f.body}
	case kindSettled:
		var s settlement
		if err := s.decode(f.body); err != nil {
			return err
		}
		if _, err := decodeLine(s.line); err != nil {
			return err
		}
		r.settled.add(f.body, nil)
		delete(r.holds, string(lineID(s.line)))
	default:
		var p progress
		if err := p.decode(f.body); err != nil {
			return err
		}
		r.move(f.kind, p)
	}
	return nil
}

func (r *replayed) move(kind byte, p progress) {
	h := r.holds[p.id]
	if h == nil {
		return
	}
	switch kind {
	case kindCheckpoint:
		h.progress, h.shown = p, true
	case kindExtend:
		h.extended = p.amount
	case kindDrop:
		delete(r.holds, p.id)
	}
}

// recoverBatch is how many chunks of settlements go into one transaction at the
// start.
const recoverBatch = 16

// recover writes what the journal had to the database, begins a new file with
// the holds that are in doubt, and removes the old ones.
func (s *Store) recover(ctx context.Context, found *replayed) (*Recovered, error) {
	r := &Recovered{Unclean: len(found.files) > 0, Gaps: found.gaps}
	if found.gaps > 0 {
		s.log.Warn("a power cut has left bytes of the ledger's journal unreadable", "bytes", found.gaps)
	}
	for chunks := range slices.Chunk(found.settled.chunks, recoverBatch) {
		b, err := s.writer.commit(&queue{chunks: chunks})
		if err != nil {
			return nil, fmt.Errorf("replay journal: %w", err)
		}
		r.Lines += b.added
		if b.skipped > 0 {
			s.log.Error("records of the ledger's journal cannot be stored as lines; they are in the table rejects", "records", b.skipped)
		}
	}
	for _, id := range found.order {
		if err := s.doubt(ctx, id, found.holds[id], r); err != nil {
			return nil, err
		}
		delete(found.holds, id) // an id may be held more than once
	}
	j := s.journal
	j.number = found.number
	n, err := j.prepare(s.opts.Now(), true)
	if err != nil {
		return nil, err
	}
	if err := s.carry(n); err != nil {
		return nil, errors.Join(err, j.discard(n))
	}
	j.turn(n)
	if s.opts.Full {
		j.synced = j.end
	}
	j.old = found.files
	return r, s.retireJournal()
}

// doubt reopens a hold that nothing has settled.
func (s *Store) doubt(ctx context.Context, id string, h *foundHold, r *Recovered) error {
	if h == nil {
		return nil
	}
	// A settlement the journal could not take may have got to the database.
	var one int
	err := s.read.QueryRowContext(ctx, "SELECT 1 FROM lines WHERE id = ?", packUUID(id)).Scan(&one)
	if err == nil {
		return nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return fileError(s.path, "index lines_id", err)
	}
	record, err := decodeHold(h.body)
	if err != nil {
		return err
	}
	s.remember(id, append(make([]byte, frameSize), h.body...))
	o := s.open[id]
	o.progress, o.extended, o.shown = h.progress, h.extended, h.shown
	r.InDoubt = append(r.InDoubt, InDoubt{Line: inDoubt(record, o), Budgets: record.Budgets})
	return nil
}

// inDoubt returns the line of a hold whose process died.
func inDoubt(h *HoldRecord, o *openHold) Line {
	l := h.Line
	l.Estimated = true
	l.Outcome, l.ErrorType = names.OutcomeFailed, ErrorTypeInterrupted
	l.Held = max(l.Held, o.extended)
	l.Usage.Source = names.UsageSourceEstimated
	l.Usage.Output = max(l.Usage.Output, o.progress.tokens)
	l.Baseline = gateway.Optional[gateway.NanoUSD]{}

	c := &l.Cost
	seen := max(c.Total, o.progress.amount)
	total := seen + h.PerSecond
	if total < seen { // does not fit
		total = l.Held
	}
	if total = min(total, max(l.Held, seen)); total == 0 && !c.Known() {
		return l // nothing was known of the price
	}
	c.Classes = [gateway.CostClasses]gateway.NanoUSD{gateway.CostUndivided: total}
	c.Total = total
	if !c.Known() {
		c.Source = names.CostSourceLocal
	}
	c.Billing = cmp.Or(c.Billing, names.CostBillingMetered)
	return l
}
