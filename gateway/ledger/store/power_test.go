package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// promise is what callers were told.
type promise struct {
	mu      sync.Mutex
	held    map[string]bool
	settled map[string]gateway.NanoUSD // acknowledged
	tried   map[string]gateway.NanoUSD // Settled was called
}

// load makes holds and settles most of them, from several goroutines, with
// batches committed in between.
func (p *promise) load(t *testing.T, s *Store, r *rand.Rand, n int) {
	p.mu.Lock()
	p.held, p.settled, p.tried = map[string]bool{}, map[string]gateway.NanoUSD{}, map[string]gateway.NanoUSD{}
	p.mu.Unlock()
	var group sync.WaitGroup
	for g := range 4 {
		seed := r.Uint64()
		group.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for i := range n {
				id := fmt.Sprintf("0192f0c0-0000-7000-8000-%04x%08x", g, i)
				if err := s.Held(childHold(id)); err != nil {
					t.Error(err)
					return
				}
				p.mu.Lock()
				p.held[id] = true
				p.mu.Unlock()
				if r.IntN(3) == 0 {
					s.Checkpoint(id, 3000, 3)
				}
				if r.IntN(4) == 0 {
					continue // stays open
				}
				l := &childHold(id).Line
				l.Cost.Total = gateway.NanoUSD(5000 + i)
				l.Cost.Classes = [gateway.CostClasses]gateway.NanoUSD{gateway.CostOutput: l.Cost.Total}
				p.mu.Lock()
				p.tried[id] = l.Cost.Total
				p.mu.Unlock()
				if err := s.Settled(l, childAccounts, nil); err != nil {
					t.Error(err)
					return
				}
				p.mu.Lock()
				p.settled[id] = l.Cost.Total
				p.mu.Unlock()
				if r.IntN(6) == 0 {
					if err := s.flush(context.Background()); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	group.Wait()
}

// kept checks that what the journal and the database have together keeps the
// promise.
func (p *promise) kept(t *testing.T, found *replayed, lines map[string]gateway.NanoUSD) {
	t.Helper()
	for body := range found.settled.all {
		var s settlement
		if err := s.decode(body); err != nil {
			t.Fatal(err)
		}
		l, err := decodeLine(s.line)
		if err != nil {
			t.Fatal(err)
		}
		if p.tried[l.ID] != l.Cost.Total {
			t.Errorf("line %s costs %d, want %d", l.ID, l.Cost.Total, p.tried[l.ID])
		}
		lines[l.ID] = l.Cost.Total
	}
	for id := range p.held {
		_, settled := lines[id]
		open := found.holds[id] != nil
		if !settled && !open {
			t.Errorf("acknowledged hold %s is gone", id)
		}
	}
	for id, cost := range p.settled {
		if lines[id] != cost {
			t.Errorf("acknowledged line %s costs %d, want %d", id, lines[id], cost)
		}
	}
}

// L-03: thousands of ways the power may be cut while the store works.
func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	const runs, cuts = 10, 300
	for run := range uint64(runs) {
		r := rand.New(rand.NewPCG(run, 3))
		d, dir := newFaultDisk(), t.TempDir()
		var p promise
		s, _ := openStore(t, dir, func(o *Options) {
			o.Full, o.disk, o.rotate, o.boot = true, d, 8<<10, [16]byte{1}
			o.Wait = time.Minute
		})
		between := rand.New(rand.NewPCG(run, 4))
		s.opts.commit = func() error {
			p.cutBetween(t, s, d, between)
			return nil
		}
		p.load(t, s, r, 60)
		if t.Failed() {
			return
		}
		// The database syncs each of its commits: what it has, it has.
		committed := map[string]gateway.NanoUSD{}
		for l, err := range s.Lines(t.Context(), Filter{}, 0) {
			if err != nil {
				t.Fatal(err)
			}
			committed[l.ID] = l.Cost.Total
		}
		p.cutOften(t, d, r, cuts, committed)
		if t.Failed() {
			t.Fatalf("run %d", run)
		}
		p.cutOnce(t, s, d, r)
	}
}

// cutBetween cuts the power while the writer is about to commit.
func (p *promise) cutBetween(t *testing.T, s *Store, d *faultDisk, r *rand.Rand) {
	runtime.Gosched() // others hear that what they wrote is durable
	p.mu.Lock()
	then := promise{held: maps.Clone(p.held), settled: maps.Clone(p.settled)}
	p.mu.Unlock()
	committed := map[string]gateway.NanoUSD{}
	err := s.each(context.Background(), "", nil, func(r *row) bool {
		committed[r.ID] = r.Cost.Total
		return true
	})
	if err != nil {
		t.Error(err)
	}
	for range 3 {
		files := d.cut(r)
		p.mu.Lock()
		then.tried = maps.Clone(p.tried)
		p.mu.Unlock()
		found, err := replay(files, [16]byte{2}, false)
		if err != nil {
			t.Error(err)
			return
		}
		then.kept(t, found, maps.Clone(committed))
	}
}

// cutOften reads what journals may be left, without a database: the lines that
// only it has are not in committed. Operations under way are cut too, by
// forgetting the last of them.
func (p *promise) cutOften(t *testing.T, d *faultDisk, r *rand.Rand, cuts int, committed map[string]gateway.NanoUSD) {
	for cut := range cuts {
		found, err := replay(d.cut(r), [16]byte{2}, false)
		if err != nil {
			t.Fatalf("cut %d: %v", cut, err)
		}
		lines := map[string]gateway.NanoUSD{}
		for id, cost := range committed {
			lines[id] = cost
		}
		if p.kept(t, found, lines); t.Failed() {
			t.Fatalf("cut %d", cut)
		}
	}
}

// cutOnce opens the store after a cut.
func (p *promise) cutOnce(t *testing.T, s *Store, d *faultDisk, r *rand.Rand) {
	dir := copyDir(t, s.opts.Dir)
	names, err := journalFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := (realDisk{}).remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range d.cut(r) {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f.name)), f.data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, rec := openStore(t, dir, func(o *Options) { o.boot = [16]byte{2}; o.Full = true })
	if !rec.Unclean {
		t.Error("a power cut was not noticed")
	}
	for _, x := range rec.InDoubt {
		if err := again.Settled(&x.Line, x.Budgets, nil); err != nil {
			t.Fatal(err)
		}
	}
	for id, cost := range p.settled {
		l, err := again.Line(t.Context(), id)
		if err != nil || len(l) != 1 || l[0].Cost.Total != cost {
			t.Errorf("line %s: %v %v, want cost %d", id, l, err, cost)
		}
	}
	verified(t, again)
	closeStore(t, again)
	closeStore(t, s)
}

// L-03: a journal that was not to survive a power cut opens all the same, with
// what has survived.
func TestPowerCutWithoutFullOpens(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 40 {
		d, dir := newFaultDisk(), t.TempDir()
		s, _ := openStore(t, dir, func(o *Options) { o.disk, o.boot = d, [16]byte{1} })
		var p promise
		p.load(t, s, r, 20)
		found, err := replay(d.cut(r), [16]byte{2}, false)
		if err != nil {
			t.Fatal(err)
		}
		for id := range found.holds {
			if !p.held[id] {
				t.Errorf("hold %s was never made", id)
			}
		}
		closeStore(t, s)
	}
}

// L-04
func TestFailedSyncStopsWritingForGood(t *testing.T) {
	d, dir := newFaultDisk(), t.TempDir()
	s, _ := openStore(t, dir, func(o *Options) { o.Full, o.disk = true, d })
	if err := s.Held(childHold("a")); err != nil {
		t.Fatal(err)
	}
	once := true
	d.setFail(func(o op) (int, error) {
		if o.kind == "sync" && once {
			once = false
			return 0, syscall.EIO
		}
		return 0, nil
	})
	if err := s.Held(childHold("b")); !errors.Is(err, ErrReadOnly) || !errors.Is(err, syscall.EIO) {
		t.Errorf("hold while the sync fails: %v", err)
	}
	writes := 0
	d.setFail(func(o op) (int, error) {
		if o.kind == "write" || o.kind == "sync" {
			writes++
		}
		return 0, nil
	})
	if err := s.Held(childHold("c")); !errors.Is(err, ErrReadOnly) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("hold afterwards: %v", err)
	}
	if err := s.Extend("a", 5); !errors.Is(err, ErrReadOnly) {
		t.Errorf("extend afterwards: %v", err)
	}
	if err := s.Settled(&childHold("a").Line, childAccounts, nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("settle afterwards: %v", err)
	}
	if writes > 0 {
		t.Errorf("%d writes and syncs after a failed sync", writes)
	}
	if h := s.Health(); !errors.Is(h.Err, ErrReadOnly) || h.Since.IsZero() {
		t.Errorf("health: %+v", h)
	}
	closeStore(t, s)

	again, r := openStore(t, dir)
	// b was refused; a is in the database, which syncs for itself.
	if len(r.InDoubt) != 0 {
		t.Errorf("in doubt: %+v", r.InDoubt)
	}
	if l, err := again.Line(t.Context(), "a"); err != nil || len(l) != 1 || l[0].Estimated {
		t.Errorf("line: %+v %v", l, err)
	}
	closeStore(t, again)
}

// L-28: a sync that takes half a second is not waited for.
func TestSlowSyncIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := newFaultDisk()
		s, _ := openStore(t, dir, func(o *Options) { o.Full, o.disk = true, d })
		d.setFail(func(o op) (int, error) {
			if o.kind == "sync" {
				time.Sleep(500 * time.Millisecond)
			}
			return 0, nil
		})
		start := time.Now()
		if err := s.Held(childHold("a")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("hold: %v", err)
		}
		if took := time.Since(start); took != 250*time.Millisecond {
			t.Errorf("hold took %v", took)
		}
		if h := s.Health(); h.OpenHolds != 0 {
			t.Errorf("a refused hold stays open: %+v", h)
		}
		d.setFail(nil)
		time.Sleep(time.Second)
		if err := s.Held(childHold("b")); err != nil {
			t.Errorf("hold afterwards: %v", err)
		}
		found := journalOf(t, dir)
		closeStore(t, s)
		if found.holds["a"] != nil || found.holds["b"] == nil {
			t.Errorf("holds of the journal: %v", found.holds)
		}
	})
}
