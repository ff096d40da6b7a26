package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// lineAt returns a line with every field set, different for each i.
func lineAt(i int) *Line {
	l := &Line{
		ID: fmt.Sprintf("0192f0c0-0000-7000-8000-%012x", i), Exchange: fmt.Sprintf("0192f0c0-0000-7000-9000-%012x", i/2),
		Trace: fmt.Sprintf("%032x", i+1), Node: "node-1", Time: time.UnixMilli(1_800_000_000_000 + int64(i)*1000).UTC(),
		Duration: time.Duration(i+1) * time.Millisecond, Attempt: 1 + i%2,
		KeyID: "k1", KeyAlias: "laptop", Team: "research", User: "ann", Session: fmt.Sprint("session-", i%10),
		Tags:    map[string]string{"app": "chat", "n": fmt.Sprint(i % 3)},
		Dialect: names.DialectAnthropicMessages, Label: "default", Rule: "r1",
		OriginalModel: "claude-opus-4-5", Model: "claude-sonnet-5", AnsweredModel: "claude-sonnet-5-1", Provider: "anthropic",
		Streamed: true,
		Usage:    gateway.Usage{Input: int64(i), CacheRead: 100, Output: 50, Speed: "fast", Geo: "us", Others: "claude-haiku 1 2 3 4 5", Source: names.UsageSourceProvider},
		Cost: gateway.Cost{Total: gateway.NanoUSD(1000 + i), Source: names.CostSourceLocal, Billing: names.CostBillingMetered,
			Status: names.PriceStatusExact, PriceVersion: "v1", Entry: "anthropic/claude-sonnet-5 input=3 output=15"},
		ServiceTier: "priority", Baseline: gateway.Some(gateway.NanoUSD(5000)),
		Outcome: names.OutcomeCompleted, Status: 200, Held: 9000,
	}
	l.Cost.Classes[gateway.CostInput] = gateway.NanoUSD(i)
	l.Cost.Classes[gateway.CostOutput] = 1000
	return l
}

func openStore(t testing.TB, dir string, more ...func(*Options)) (*Store, *Recovered) {
	t.Helper()
	o := Options{Dir: dir}
	for _, m := range more {
		m(&o)
	}
	s, r, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s, r
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsSettledIsReadBack(t *testing.T) {
	for _, full := range []bool{false, true} {
		dir := t.TempDir()
		s, r := openStore(t, dir, func(o *Options) { o.Full = full })
		if r.Unclean || len(r.InDoubt) > 0 {
			t.Errorf("a new store recovers %+v", r)
		}
		var want []Line
		for i := range 10 {
			l := lineAt(i)
			if err := s.Held(&HoldRecord{Line: *l, Budgets: childAccounts}); err != nil {
				t.Fatal(err)
			}
			if err := s.Settled(l, childAccounts, nil); err != nil {
				t.Fatal(err)
			}
			want = append([]Line{*l}, want...)
		}
		check := func(s *Store) {
			t.Helper()
			var got []Line
			for l, err := range s.Lines(t.Context(), Filter{}, 0) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, *l)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			verified(t, s)
		}
		check(s)
		closeStore(t, s)
		again, r := openStore(t, dir)
		if r.Unclean || r.Lines > 0 || len(r.InDoubt) > 0 {
			t.Errorf("a store that was closed recovers %+v", r)
		}
		check(again)
		closeStore(t, again)
	}
}

// A line keeps what is known: void and unpriced attempts have no cost, which is
// not a cost of nothing.
func TestUnknownCostIsNotZero(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	void, unpriced, free := *lineAt(1), *lineAt(2), *lineAt(3)
	void.Cost, void.Outcome, void.Baseline = gateway.Cost{}, OutcomeVoid, gateway.Optional[gateway.NanoUSD]{}
	unpriced.Cost = gateway.Cost{Source: names.CostSourceNone, Status: names.PriceStatusUnknown}
	unpriced.Baseline = gateway.Optional[gateway.NanoUSD]{}
	free.Cost = gateway.Cost{Source: names.CostSourceLocal, Billing: names.CostBillingFree}
	free.Baseline = gateway.Some(gateway.NanoUSD(0))
	for _, l := range []*Line{&void, &unpriced, &free} {
		if err := s.Settled(l, childAccounts, nil); err != nil {
			t.Fatal(err)
		}
		got, err := s.Line(t.Context(), l.ID)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		if d := cmp.Diff(*l, got[0]); d != "" {
			t.Error(d)
		}
	}
	var nulls int
	if err := s.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM ledger WHERE cost IS NULL AND baseline IS NULL").Scan(&nulls); err != nil || nulls != 2 {
		t.Errorf("got %d lines without cost, %v", nulls, err)
	}
	rows, err := s.Spend(t.Context(), Query{})
	if err != nil || len(rows) != 1 || rows[0].Free != 1 || rows[0].Void != 1 || rows[0].Unpriced != 1 || rows[0].Attempts != 3 {
		t.Errorf("spend: %+v %v", rows, err)
	}
	verified(t, s)
}

func TestLineIsFoundByAttemptAndExchange(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	for i := range 6 {
		if err := s.Settled(lineAt(i), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]int{lineAt(3).ID: 1, lineAt(3).Exchange: 2, "nothing": 0, "": 0} {
		got, err := s.Line(t.Context(), id)
		if err != nil || len(got) != want {
			t.Errorf("%q: got %d lines, want %d (%v)", id, len(got), want, err)
		}
		if want == 2 && (got[0].Attempt != 1 || got[1].Attempt != 2) {
			t.Errorf("attempts out of order: %v", got)
		}
	}
}

// The files are nobody else's to read.
func TestFilesAreOnlyOurs(t *testing.T) {
	dir := t.TempDir() + "/storage"
	s, _ := openStore(t, dir)
	if err := settled(s, "a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), filepath.Join(dir, "backup.db")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 4 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", e.Name(), info.Mode(), err)
		}
	}
}

func TestBackupIsALedger(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	fillStore(t, s, 50)
	want, err := contentOf(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	path := filepath.Join(to, databaseName)
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another file: %v", err)
	}
	if err := settled(s, "later"); err != nil {
		t.Fatal(err)
	}
	again, _ := openStore(t, to)
	verified(t, again)
	got, err := contentOf(t.Context(), again)
	if err != nil || !cmp.Equal(want, got) {
		t.Error(err, cmp.Diff(want, got))
	}
}

// Everything at once, for the race detector.
func TestManyAtOnce(t *testing.T) {
	s, _ := openStore(t, t.TempDir(), func(o *Options) { o.rotate = 16 << 10 })
	var group sync.WaitGroup
	const workers, each = 16, 60
	for w := range workers {
		group.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", w, i)
				if err := s.Held(childHold(id)); err != nil {
					t.Error(err)
				}
				s.Checkpoint(id, 1, 1)
				if err := s.Extend(id, 2_000_000); err != nil {
					t.Error(err)
				}
				if err := s.Settled(&childHold(id).Line, childAccounts, []AlertState{{Account: childAccounts[0], Level: i % 7}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		group.Go(func() {
			for range 10 {
				if _, err := s.Spend(t.Context(), Query{By: []string{"model"}}); err != nil {
					t.Error(err)
				}
				if err := s.PutMessages(t.Context(), []Message{{ID: "m"}}); err != nil {
					t.Error(err)
				}
				verified(t, s)
				_ = s.Health()
			}
		})
	}
	group.Wait()
	sums, err := s.Sums(t.Context())
	if err != nil || len(sums) != 2 || sums[0].Spent != workers*each*1000 {
		t.Errorf("sums: %v %v", sums, err)
	}
	alerts, err := s.Alerts(t.Context())
	if err != nil || len(alerts) != 1 || alerts[0].Level != 6 {
		t.Errorf("alerts: %v %v", alerts, err)
	}
	if h := s.Health(); h.OpenHolds != 0 || h.QueuedLines != 0 || h.Err != nil {
		t.Errorf("health: %+v", h)
	}
}

func TestClosedStoreSaysSo(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	closeStore(t, s)
	if err := s.Held(childHold("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("hold: %v", err)
	}
	if err := settled(s, "a"); !errors.Is(err, ErrClosed) {
		t.Errorf("settle: %v", err)
	}
	if err := s.SaveBudgets(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("save: %v", err)
	}
	s.Checkpoint("a", 1, 1)
	closeStore(t, s)
}

// A hold that is open when the store is closed is in doubt afterwards.
func TestOpenHoldOutlivesClose(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	for _, id := range []string{"a", "b"} {
		if err := s.Held(childHold(id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := settled(s, "b"); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	for range 2 { // until it is settled
		again, r := openStore(t, dir)
		if len(r.InDoubt) != 1 || r.InDoubt[0].Line.ID != "a" || r.Lines != 0 {
			t.Errorf("recovered %+v", r)
		}
		closeStore(t, again)
	}
}

func TestInDoubtCostsNoMoreThanIsHeld(t *testing.T) {
	for _, c := range []struct {
		name                                string
		floor, held, extended, seen, second gateway.NanoUSD
		source                              string
		want                                gateway.NanoUSD
		known                               bool
	}{
		{"nothing seen", 1000, 10_000, 0, 0, 500, names.CostSourceLocal, 1500, true},
		{"checkpoint", 1000, 10_000, 0, 4000, 500, names.CostSourceLocal, 4500, true},
		{"less seen than the floor", 1000, 10_000, 0, 400, 500, names.CostSourceLocal, 1500, true},
		{"held is the limit", 1000, 4200, 0, 4000, 500, names.CostSourceLocal, 4200, true},
		{"extended", 1000, 4200, 9000, 4000, 500, names.CostSourceLocal, 4500, true},
		{"more seen than held", 1000, 4200, 0, 5000, 500, names.CostSourceLocal, 5000, true},
		{"source not known yet", 1000, 4200, 0, 0, 500, "", 1500, true},
		{"no price", 0, 0, 0, 0, 0, names.CostSourceNone, 0, false},
		{"free", 0, 0, 0, 0, 0, names.CostSourceLocal, 0, true},
		{"overflow", 1, 1<<63 - 1, 0, 1<<63 - 10, 1 << 62, names.CostSourceLocal, 1<<63 - 1, true},
	} {
		l := *lineAt(1)
		l.Held, l.Cost.Total, l.Cost.Source = c.held, c.floor, c.source
		dir := t.TempDir()
		s, _ := openStore(t, dir)
		if err := s.Held(&HoldRecord{Line: l, Budgets: childAccounts, PerSecond: c.second}); err != nil {
			t.Fatal(err)
		}
		if c.seen > 0 {
			s.Checkpoint(l.ID, c.seen, 70)
		}
		if c.extended > 0 {
			if err := s.Extend(l.ID, c.extended); err != nil {
				t.Fatal(err)
			}
		}
		left := copyDir(t, dir)
		closeStore(t, s)
		again, r := openStore(t, left)
		if len(r.InDoubt) != 1 {
			t.Fatalf("%s: %+v", c.name, r)
		}
		got := r.InDoubt[0].Line
		if got.Cost.Total != c.want || got.Cost.Known() != c.known || !got.Estimated || got.ErrorType != ErrorTypeInterrupted || got.Usage.Source != names.UsageSourceEstimated {
			t.Errorf("%s: got %d (%v), want %d", c.name, got.Cost.Total, got.Cost.Source, c.want)
		}
		var classes gateway.NanoUSD
		for _, n := range got.Cost.Classes {
			classes += n
		}
		if c.known && classes != got.Cost.Total {
			t.Errorf("%s: classes add up to %d, not %d", c.name, classes, got.Cost.Total)
		}
		closeStore(t, again)
	}
}
