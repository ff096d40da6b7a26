package ledger

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// crash copies the ledger's directory as a killed process leaves it, and opens
// the copy.
func (r *rig) crash() *rig {
	r.t.Helper()
	cfg := r.cfg
	cfg.Dir = r.t.TempDir()
	entries, err := os.ReadDir(r.cfg.Dir)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(r.cfg.Dir, e.Name()))
		if err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cfg.Dir, e.Name()), b, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	n := newRig(r.t, cfg)
	n.clock.pass(r.clock.Wall().Sub(noon))
	return n
}

func TestRestartKeepsEverything(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar), each("key", "*", dollar)))
	r.spend(30 * cent)
	r.spend(20 * cent)
	r.restart()
	r.spent("everything", "", 50*cent)
	r.spent("key-budget", "key1", 50*cent) // the alias comes with its next request
	r.refused(attempt(51 * cent))
	r.spend(50 * cent)
	r.spent("key-budget", "alice", dollar)
	if got := r.total(); got != dollar {
		t.Errorf("lines come to %v, want 1", got)
	}
}

func TestKilledProcessHoldsNothingAndLosesNothing(t *testing.T) {
	r := newRig(t, with(limit("everything", 100*dollar), each("team", "research", 100*dollar)))
	r.spend(30 * cent) // completed: exact
	unseen, seen, plain := stream(dollar), stream(dollar), attempt(dollar)
	plain.Exchange.Caller.KeyID = "key2" // has no history
	for _, a := range []*gateway.Attempt{unseen, plain} {
		r.hold(a)
	}
	h := r.hold(seen)
	for _, cost := range []gateway.NanoUSD{20 * cent, 60 * cent} { // two events in one second: the first is written
		_ = h.Watch(context.Background(), seen, cost, noon.Add(2*time.Second))
	}
	grown := stream(10 * cent)
	_ = r.hold(grown).Watch(context.Background(), grown, 40*cent, noon.Add(2*time.Second))
	n := r.crash()
	if got := n.OpenHolds(); got != 0 {
		t.Errorf("got %d open holds, want none", got)
	}
	const second = perSecond * 10_000
	want := map[string]gateway.NanoUSD{
		unseen.ID: dollar/20 + second,
		seen.ID:   20*cent + second,
		grown.ID:  40 * cent,                                 // no more than is held
		plain.ID:  dollar/20 + unknownLength*10_000 + second, // an answer of typical length
	}
	total := gateway.NanoUSD(30 * cent)
	for _, line := range n.lines() {
		if line.Cost.Total == 30*cent {
			continue
		}
		if w := want[line.ID]; w != 0 && (line.Cost.Total != w || !line.Estimated) {
			t.Errorf("got %v (estimated %v), want %v", line.Cost.Total, line.Estimated, w)
		}
		total += line.Cost.Total
	}
	n.spent("everything", "", total)
	n.spent("team-budget", "research", total)
	if !contains(n.log.String(), "holds_in_doubt=4") {
		t.Errorf("the log says %s", n.log)
	}
	n.restart() // once is enough
	n.spent("everything", "", total)
}

func TestL09ChangedLimitKeepsTheSpend(t *testing.T) {
	for how, reload := range map[string]func(r *rig, s Settings){
		"reload": func(r *rig, s Settings) {
			if err := r.Configure(context.Background(), s); err != nil {
				r.t.Fatal(err)
			}
		},
		"restart": func(r *rig, s Settings) {
			r.cfg.Settings = s
			r.restart()
		},
	} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, with(limit("everything", dollar)))
			r.spend(80 * cent)
			reload(r, Settings{Budgets: []budget.Budget{limit("everything", 50*cent)}})
			r.refused(attempt(cent))
			reload(r, Settings{Budgets: []budget.Budget{limit("everything", 2*dollar)}})
			r.spent("everything", "", 80*cent)

			weekly := limit("everything", 2*dollar)
			weekly.Window = "week"
			r.clock.pass(24 * time.Hour)
			r.spend(10 * cent)
			r.clock.pass(time.Nanosecond)
			team := each("team", "*", dollar)
			reload(r, Settings{Budgets: []budget.Budget{weekly, team}})
			r.spent("everything", "", 90*cent) // added up from the lines
			r.spent("team-budget", "research", 10*cent)
			r.spend(5 * cent)
			r.cfg.Budgets = []budget.Budget{weekly, team}
			r.restart()
			r.spent("everything", "", 95*cent)
			r.spent("team-budget", "research", 15*cent)
		})
	}
}

func TestReloadKeepsHolds(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar)))
	a := attempt(60 * cent)
	h := r.hold(a)
	if err := r.Configure(context.Background(), Settings{Budgets: []budget.Budget{limit("everything", dollar), each("key", "*", 10*cent)}}); err != nil {
		t.Fatal(err)
	}
	if s := r.account("everything", ""); s.Reserved != 60*cent {
		t.Errorf("got %v reserved, want 0.6", s.Reserved)
	}
	h.Settle(context.Background(), costs(a, 50*cent))
	r.spent("everything", "", 50*cent)
}

func TestSettingsThatAreWrongChangeNothing(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar)))
	bad := limit("", dollar)
	for _, s := range []Settings{
		{Budgets: []budget.Budget{bad}},
		{Webhooks: []Webhook{{Name: "w", URL: "http://example.com/"}}},
		{Webhooks: []Webhook{{Name: "w", URL: "https://a.example/"}, {Name: "w", URL: "https://b.example/"}}},
		{Webhooks: []Webhook{{URL: "https://a.example/"}}},
		{Webhooks: []Webhook{{Name: "w", URL: "https://u:p@a.example/"}}},
		{Webhooks: []Webhook{{Name: "w", URL: "a.example"}}},
		{Policy: Policy{Percentile: 2}},
		{Policy: Policy{UnknownPrice: gateway.Some(int64(-1))}},
		{Policy: Policy{AssumeOutputTokens: -1}},
	} {
		if err := r.Configure(context.Background(), s); err == nil {
			t.Errorf("%+v was accepted", s)
		}
		if s.Budgets == nil {
			if _, err := Open(context.Background(), Config{Dir: t.TempDir(), Settings: s}); err == nil {
				t.Errorf("%+v was accepted at the start", s)
			}
		}
	}
	r.spend(10 * cent)
	r.spent("everything", "", 10*cent)
}

func TestAlertsFireOnceAlsoAcrossRestarts(t *testing.T) {
	b := limit("everything", dollar)
	b.Thresholds = []float64{0.5, 0.8}
	r := newRig(t, with(b))
	expect := func(what string, want ...string) {
		t.Helper()
		if got := r.raised(); !slices.Equal(got, want) {
			t.Errorf("%s: got alerts %v, want %v", what, got, want)
		}
	}
	r.spend(40 * cent)
	r.raised() // the forecast, this early in the month
	r.spend(15 * cent)
	expect("55 %", "threshold_crossed everything")
	r.spend(5 * cent)
	expect("60 %")
	r.restart()
	r.spend(5 * cent)
	expect("65 %, restarted")
	r = r.crash()
	r.spend(20 * cent)
	expect("85 %, killed", "threshold_crossed everything")
	r.spend(15 * cent)
	expect("all", "budget_crossed everything")
	r.restart()
	r.tick(context.Background())
	expect("restarted again")
	r.clock.pass(31 * 24 * time.Hour)
	r.tick(context.Background())
	expect("a new month", "reset everything")
	r.restart()
	r.tick(context.Background())
	expect("and restarted")
	r.spend(60 * cent)
	if got := r.raised(); !slices.Contains(got, "threshold_crossed everything") {
		t.Errorf("got alerts %v, want them armed again", got)
	}
}

func TestDurableLedgerWithDefaults(t *testing.T) {
	cfg := with(limit("everything", dollar))
	cfg.Dir, cfg.Full = t.TempDir(), true
	l, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, Ledger: l}
	r.spend(60 * cent)
	r.refused(attempt(60 * cent))
	if line := r.lines()[0]; line.Node == "" || time.Since(line.Time) > time.Minute {
		t.Errorf("got %+v", line)
	}
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := with(limit("", dollar))
	bad.Dir = t.TempDir()
	for want, cfg := range map[string]Config{"file": {Dir: file}, "no name": bad} {
		if l, err := Open(context.Background(), cfg); l != nil || err == nil || !contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
}

func TestAlertsAreInTheBudgetsZone(t *testing.T) {
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	b := limit("everything", dollar)
	b.Location, b.Thresholds = tokyo, []float64{0.5}
	r := newRig(t, with(b))
	r.spend(60 * cent)
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.alerts[0].Resets.Format(time.RFC3339); got != "2026-09-01T00:00:00+09:00" {
		t.Errorf("got %s", got)
	}
}

func TestTypicalLengthSurvivesARestart(t *testing.T) {
	r := newRig(t, Config{})
	for range 10 {
		r.spend(cent) // 1,000 tokens
	}
	r.restart()
	if got := r.typical.length("key1", "claude-sonnet-5", 0.9); got < 1000 || got > 1250 {
		t.Errorf("got %d, want about 1000", got)
	}
}

func TestIdleSessionsAreForgotten(t *testing.T) {
	b := budget.Budget{Name: "sessions", Scope: "session", Match: "*", Limit: gateway.Some(dollar), Window: "none"}
	r := newRig(t, with(b))
	r.spend(90 * cent)
	r.clock.pass(25 * time.Hour)
	r.tick(context.Background())
	r.spend(dollar)
	r.spent("sessions", "s1", dollar)
	r.restart()
	r.spent("sessions", "s1", dollar)
}

func TestStaleClockIsToldOf(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar)))
	r.clock.mu.Lock()
	r.clock.wall = r.clock.wall.Add(40 * 24 * time.Hour)
	r.clock.mu.Unlock()
	r.tick(context.Background())
	if !contains(r.log.String(), "the clock was set") {
		t.Errorf("the log says %s", r.log)
	}
	if s := r.account("everything", ""); s.Start.Month() != time.August {
		t.Errorf("a jump of the clock began a new window, %v", s.Start)
	}
}
