package store

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ccproxy/ccproxy/gateway"
)

// childEnv names what a re-executed test binary is to do.
const childEnv = "CCPROXY_STORE_CHILD"

var children = map[string]func(){
	"load":  loadChild,
	"steps": stepsChild,
	"tmpfs": tmpfsChild,
}

// child returns a command that runs one of children on a directory.
func child(ctx context.Context, name, dir string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), append(env, childEnv+"="+name, "DIR="+dir)...)
	return cmd
}

func die(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

var childAccounts = []Account{{"everything", "", 0}, {"team", "research", 1_800_000_000}}

// childHold is a hold of 1,000,000 with a floor of 1,000 and 500 a second.
func childHold(id string) *HoldRecord {
	l := lineAt(1)
	l.ID, l.Exchange = id, id
	l.Held = 1_000_000
	l.Cost.Total, l.Cost.Classes = 1000, [gateway.CostClasses]gateway.NanoUSD{gateway.CostInput: 1000}
	return &HoldRecord{Line: *l, Budgets: childAccounts, PerSecond: 500}
}

// loadChild settles as fast as it can, and says what it has been promised.
func loadChild() {
	s, r, err := Open(context.Background(), Options{Dir: os.Getenv("DIR"), rotate: 64 << 10})
	die(err)
	var mu sync.Mutex
	say := func(format string, args ...any) {
		line := fmt.Appendf(nil, format+"\n", args...)
		mu.Lock()
		defer mu.Unlock()
		_, err := os.Stdout.Write(line)
		die(err)
	}
	for _, d := range r.InDoubt {
		die(s.Settled(&d.Line, d.Budgets, nil))
		say("settled %s %d", d.Line.ID, d.Line.Cost.Total)
	}
	say("ready 0 0")
	for range 8 {
		go func() {
			for {
				h := childHold(uuid.Must(uuid.NewV7()).String())
				id := h.Line.ID
				say("starts %s 0", id)
				die(s.Held(h))
				say("held %s 0", id)
				cost := gateway.NanoUSD(1000)
				for range rand.IntN(3) {
					cost += gateway.NanoUSD(rand.IntN(1000))
					s.Checkpoint(id, cost, 10)
					say("checkpoint %s %d", id, cost)
				}
				l := &h.Line
				l.Cost.Total, l.Cost.Classes = cost, [gateway.CostClasses]gateway.NanoUSD{gateway.CostOutput: cost}
				die(s.Settled(l, childAccounts, nil))
				say("settled %s %d", id, cost)
			}
		}()
	}
	select {}
}

// told is what a child has said of its attempts.
type told struct {
	started, held map[string]bool
	checkpoint    map[string]gateway.NanoUSD
	settled       map[string]gateway.NanoUSD
	ready         bool
}

func newTold() *told {
	return &told{map[string]bool{}, map[string]bool{}, map[string]gateway.NanoUSD{}, map[string]gateway.NanoUSD{}, false}
}

// hear reads what a child says until it is dead.
func (k *told) hear(t *testing.T, r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 {
			continue // cut by the kill
		}
		n, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			t.Errorf("child says %q", lines.Text())
		}
		switch id := f[1]; f[0] {
		case "ready":
			k.ready = true
		case "starts":
			k.started[id] = true
		case "held":
			k.held[id] = true
		case "checkpoint":
			k.checkpoint[id] = gateway.NanoUSD(n)
		case "settled":
			k.settled[id] = gateway.NanoUSD(n)
		}
	}
}

// check opens the store of a dead child, compares it with what the child was
// promised, and settles what is in doubt.
func (k *told) check(t *testing.T, dir string) {
	t.Helper()
	s, r := openStore(t, dir)
	doubt := map[string]gateway.NanoUSD{}
	for _, d := range r.InDoubt {
		id, cost := d.Line.ID, d.Line.Cost.Total
		if !k.started[id] {
			t.Errorf("hold %s in doubt was never made", id)
		}
		if _, ok := k.settled[id]; ok {
			t.Errorf("hold %s in doubt was settled", id)
		}
		if low := max(k.checkpoint[id], 1000) + 500; cost < low || cost > 1_000_000 {
			t.Errorf("hold %s in doubt costs %d, want at least %d and at most what was held", id, cost, low)
		}
		if !d.Line.Estimated || len(d.Budgets) != 2 {
			t.Errorf("hold %s in doubt: %+v", id, d)
		}
		doubt[id] = cost
	}
	lines := map[string]gateway.NanoUSD{}
	for l, err := range s.Lines(t.Context(), Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		lines[l.ID] = l.Cost.Total
		if !k.started[l.ID] {
			t.Errorf("line %s was never held", l.ID)
		}
	}
	for id, cost := range k.settled {
		if got, ok := lines[id]; !ok || got != cost {
			t.Errorf("settled %s costs %d (%v), want %d", id, got, ok, cost)
		}
	}
	for id := range k.held {
		_, settled := lines[id]
		_, open := doubt[id]
		if settled == open {
			t.Errorf("hold %s: settled %v, in doubt %v", id, settled, open)
		}
	}
	for _, d := range r.InDoubt {
		if err := s.Settled(&d.Line, d.Budgets, nil); err != nil {
			t.Fatal(err)
		}
		lines[d.Line.ID] = d.Line.Cost.Total
		k.settled[d.Line.ID] = d.Line.Cost.Total
	}
	checkTotals(t, s, lines)
	verified(t, s)
	if h := s.Health(); h.OpenHolds != 0 || h.Err != nil {
		t.Errorf("health: %+v", h)
	}
	closeStore(t, s)
	if names, err := journalFiles(dir); err != nil || len(names) > 0 {
		t.Errorf("journal after close: %v %v", names, err)
	}
}

// checkTotals compares the sums of childAccounts with lines.
func checkTotals(t *testing.T, s *Store, lines map[string]gateway.NanoUSD) {
	t.Helper()
	var total gateway.NanoUSD
	for _, cost := range lines {
		total += cost
	}
	sums, err := s.Sums(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sum := range sums {
		if sum.Spent != total {
			t.Errorf("sum %+v, want %d", sum, total)
		}
	}
	if len(lines) > 0 && len(sums) != 2 {
		t.Errorf("sums: got %v", sums)
	}
}

// verified fails the test unless everything verifies.
func verified(t testing.TB, s *Store) {
	t.Helper()
	r, err := s.Verify(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Error(p)
	}
}

// L-01
func TestKilledProcessLosesNothing(t *testing.T) {
	dir := t.TempDir()
	k := newTold()
	for round := range 6 {
		cmd := child(t.Context(), "load", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(50+rand.IntN(250))*time.Millisecond, func() { cmd.Process.Kill() })
		k.hear(t, out)
		err = cmd.Wait()
		timer.Stop()
		if stderr.Len() > 0 {
			t.Fatalf("child: %v: %s", err, &stderr)
		}
		if round%2 == 1 { // in between, the child recovers by itself
			k.check(t, dir)
		}
	}
	if !k.ready || len(k.settled) == 0 {
		t.Fatalf("children settled %d attempts", len(k.settled))
	}
}

// stepsChild does the same few things every time, and kills itself at one of the
// steps of the disk or the database.
func stepsChild() {
	at, err := strconv.Atoi(os.Getenv("AT"))
	die(err)
	before := os.Getenv("BEFORE") != ""
	var mu sync.Mutex
	step := 0
	reach := func(done bool) {
		mu.Lock()
		defer mu.Unlock()
		if done != before {
			step++
		}
		if step == at && done != before {
			self, err := os.FindProcess(os.Getpid())
			die(err)
			die(self.Kill())
			select {}
		}
	}
	d := newFaultDisk()
	d.fail = func(op) (int, error) { reach(false); return 0, nil }
	d.after = func(op) { reach(true) }
	s, r, err := Open(context.Background(), Options{
		Dir: os.Getenv("DIR"), Full: os.Getenv("FULL") != "", disk: d, rotate: 3 << 10,
		commit: func() error { reach(false); reach(true); return nil },
	})
	die(err)
	say := func(what, id string, n gateway.NanoUSD) { fmt.Printf("%s %s %d\n", what, id, n) }
	for _, x := range r.InDoubt {
		die(s.Settled(&x.Line, x.Budgets, nil))
		say("settled", x.Line.ID, x.Line.Cost.Total)
	}
	say("ready", "0", 0)
	var ids []string
	for i := range 16 {
		id := fmt.Sprintf("0192f0c0-0000-7000-8000-%012x", i)
		ids = append(ids, id)
		say("starts", id, 0)
		die(s.Held(childHold(id)))
		say("held", id, 0)
		if i%3 == 0 {
			s.Checkpoint(id, 2000, 10)
			say("checkpoint", id, 2000)
		}
		if i%4 == 3 { // the others stay open, through new files of the journal
			for _, id := range ids[:3] {
				l := &childHold(id).Line
				die(s.Settled(l, childAccounts, nil))
				say("settled", id, l.Cost.Total)
			}
			ids = ids[3:]
			die(s.flush(context.Background()))
		}
	}
	die(s.Close(context.Background()))
	say("steps", "0", gateway.NanoUSD(step))
}

// L-02
func TestKilledAtAnyStepLosesNothing(t *testing.T) {
	for _, full := range []string{"", "1"} {
		whole := runSteps(t, newTold(), t.TempDir(), 0, "", full)
		if whole < 40 {
			t.Fatalf("only %d steps", whole)
		}
		stride := 1 + whole/40
		for at := 1 + rand.IntN(stride); at <= whole; at += stride {
			for _, before := range []string{"", "1"} {
				dir, k := t.TempDir(), newTold()
				runSteps(t, k, dir, at, before, full)
				if t.Failed() {
					t.Fatalf("killed at step %d, before=%q full=%q", at, before, full)
				}
				k.check(t, dir)
				if t.Failed() {
					t.Fatalf("killed at step %d, before=%q full=%q", at, before, full)
				}
			}
		}
	}
}

// runSteps runs stepsChild and returns the steps it says there are, 0 when it
// was killed.
func runSteps(t *testing.T, k *told, dir string, at int, before, full string) int {
	t.Helper()
	cmd := child(t.Context(), "steps", dir, "AT="+strconv.Itoa(at), "BEFORE="+before, "FULL="+full)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && (cmd.ProcessState == nil || cmd.ProcessState.Exited()) {
		t.Fatalf("child: %v: %s", err, &stderr)
	}
	k.hear(t, bytes.NewReader(out))
	_, last, _ := strings.Cut(string(out), "steps 0 ")
	n, _ := strconv.Atoi(strings.TrimSpace(last))
	return n
}

// journalOf replays the journal of a directory.
func journalOf(t testing.TB, dir string) *replayed {
	t.Helper()
	files, err := readJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := replay(files, bootHash(), false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// copyDir copies the files of a directory, as a kill leaves them, to a new one.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := copyFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return to
}
