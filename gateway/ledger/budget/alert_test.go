package budget_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// evening is so late that no forecast is worse than what is spent.
const evening = "2026-03-18T23:59:00Z"

// However many keys and requests, and in whatever order: once each.
func TestThresholdsFireOncePerBudget(t *testing.T) {
	for round := range 20 {
		r := newRig(t, clockAt(evening), daily(5))
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				f := everyone()
				f.KeyID = fmt.Sprint("k", i)
				res, _, refusal := r.Reserve(f, usd(0.1))
				if refusal != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				r.settle(res, usd(0.1))
			})
		}
		all.Wait()
		if round == 0 {
			a := r.fired[2]
			want := budget.Alert{Type: names.AlertBudgetCrossed, Budget: "all", Scope: "global", Window: "day", Spent: usd(5), Limit: usd(5), Resets: time.Date(2026, 3, 19, 0, 0, 0, 0, time.UTC), At: r.clock.wall}
			if a != want {
				t.Errorf("alert %+v, want %+v", a, want)
			}
		}
		wantTypes(t, r, "threshold_crossed 0.5", "threshold_crossed 0.8", "budget_crossed")
		r.tick()
		wantTypes(t, r)
	}
}

// One budget for each key is an alert for each key.
func TestEachAccountHasItsOwnAlerts(t *testing.T) {
	r := newRig(t, clockAt(evening), budget.Budget{Name: "keys", Scope: "key", Match: "*", Limit: limit(1), Window: "day", Thresholds: []float64{0.5}})
	for range 3 {
		for _, alias := range []string{"a", "b"} {
			r.spend(budget.Facts{KeyID: "id-" + alias, KeyAlias: alias}, usd(0.3))
		}
	}
	var got []string
	for _, a := range r.fired {
		got = append(got, a.Type+" "+a.Subject)
	}
	if want := []string{"threshold_crossed a", "threshold_crossed b"}; !slices.Equal(got, want) {
		t.Errorf("alerts %q, want %q", got, want)
	}
}

func TestSeveralThresholdsAtOnceFireInOrder(t *testing.T) {
	r := newRig(t, clockAt(evening), daily(5))
	r.spend(everyone(), usd(5))
	wantTypes(t, r, "threshold_crossed 0.5", "threshold_crossed 0.8", "budget_crossed")
}

// Reservations are no spending: a hold that comes to nothing alarms nobody.
func TestReservationsFireNothing(t *testing.T) {
	r := newRig(t, clockAt(evening), daily(5))
	r.Release(r.reserve(everyone(), usd(5)))
	r.tick()
	wantTypes(t, r)
}

func TestAlertsAreExactAtTheThreshold(t *testing.T) {
	b := daily(50)
	b.Thresholds, b.Window = []float64{0.1, 0.55, 0.95, 1}, "none"
	r := newRig(t, clockAt(evening), b)
	for _, step := range []struct {
		more  float64
		fires string
	}{{4.999999999, ""}, {0.000000001, "threshold_crossed 0.1"}, {22.499999999, ""}, {0.000000001, "threshold_crossed 0.55"},
		{19.999999999, ""}, {0.000000001, "threshold_crossed 0.95"}, {2.499999999, ""}, {0.000000001, "threshold_crossed 1,budget_crossed"}} {
		r.spend(everyone(), usd(step.more))
		if got := strings.Join(r.types(), ","); got != step.fires {
			t.Errorf("after %v more: alerts %q, want %q", step.more, got, step.fires)
		}
		r.fired = nil
	}
}

func TestAlertsSurviveARestartAndAreArmedAtTheReset(t *testing.T) {
	r := newRig(t, clockAt("2026-03-18T10:00:00Z"), daily(5))
	r.spend(everyone(), usd(3))
	wantTypes(t, r, "threshold_crossed 0.5", "forecast_overrun")
	r.restart()
	r.tick()
	r.spend(everyone(), usd(0.5))
	wantTypes(t, r)
	r.spend(everyone(), usd(1.5))
	wantTypes(t, r, "threshold_crossed 0.8", "budget_crossed")
	r.restart()
	r.tick()
	wantTypes(t, r)

	r.clock.pass(14*time.Hour - time.Second)
	r.tick()
	wantTypes(t, r)
	r.clock.pass(time.Second) // midnight
	r.tick()
	if len(r.fired) == 1 {
		if a := r.fired[0]; a.Spent != 0 || !a.Resets.Equal(time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("the reset says %+v, want nothing spent, until the next midnight", a)
		}
	}
	wantTypes(t, r, "reset")
	r.restart()
	r.tick()
	wantTypes(t, r)
	r.spend(everyone(), usd(2.5))
	wantTypes(t, r, "threshold_crossed 0.5")
}

func TestResetFiresAlsoWhenTheProcessWasAway(t *testing.T) {
	r := newRig(t, clockAt(evening), daily(5), budget.Budget{Name: "quiet", Scope: "team", Match: "x", Limit: limit(1), Window: "day"})
	r.spend(everyone(), usd(5))
	r.fired = nil
	r.clock.pass(30 * time.Hour)
	r.restart()
	r.tick()
	wantTypes(t, r, "reset")
	r.restart()
	r.tick()
	wantTypes(t, r)
}

// The request that comes before the Tick does not swallow the reset.
func TestResetFiresOnceWhoeverComesFirst(t *testing.T) {
	r := newRig(t, clockAt(evening), daily(5))
	r.spend(everyone(), usd(5))
	r.fired = nil
	r.clock.pass(15 * time.Hour)
	r.spend(everyone(), usd(2.5))
	wantTypes(t, r, "threshold_crossed 0.5")
	r.tick()
	wantTypes(t, r, "reset")
	r.tick()
	wantTypes(t, r)
}

func TestForecastOverrunFiresOnceAfterATenth(t *testing.T) {
	b := daily(24)
	b.Thresholds = nil
	r := newRig(t, clockAt("2026-03-18T01:00:00Z"), b)
	r.spend(everyone(), usd(4)) // the forecast is 96, too early to say
	r.tick()
	wantTypes(t, r)
	r.clock.pass(83 * time.Minute) // 2:23
	r.tick()
	wantTypes(t, r)
	r.clock.pass(time.Minute) // 2:24
	r.tick()
	wantTypes(t, r, "forecast_overrun")
	r.spend(everyone(), usd(4))
	r.tick()
	r.restart()
	r.tick()
	wantTypes(t, r)
	r.clock.pass(24 * time.Hour)
	r.tick()
	wantTypes(t, r, "reset")
	r.spend(everyone(), usd(2)) // 2:24, a forecast of 20
	wantTypes(t, r)
	r.clock.pass(time.Hour)
	r.spend(everyone(), usd(3)) // 3:24, a forecast of 35
	wantTypes(t, r, "forecast_overrun")
	r.clock.pass(18 * time.Hour)
	r.tick()
	r.spend(everyone(), usd(19))
	wantTypes(t, r, "budget_crossed")
}

func TestRollingWindowsAreArmedWhenTheyHaveEmptied(t *testing.T) {
	r := newRig(t, clockAt(noon), budget.Budget{Name: "roll", Scope: "global", Limit: limit(10), Window: "60m", Thresholds: []float64{0.5}})
	r.spend(everyone(), usd(2))
	r.clock.pass(10 * time.Minute)
	r.spend(everyone(), usd(3))
	wantTypes(t, r, "threshold_crossed 0.5")
	r.clock.pass(52 * time.Minute)
	r.tick() // 3 left: under nine tenths of 5
	wantTypes(t, r, "reset")
	r.spend(everyone(), usd(1.9))
	wantTypes(t, r)
	r.spend(everyone(), usd(0.1))
	wantTypes(t, r, "threshold_crossed 0.5")
	r.restart()
	r.tick()
	r.spend(everyone(), usd(1))
	wantTypes(t, r)
	r.clock.pass(62 * time.Minute)
	r.restart()
	r.tick()
	wantTypes(t, r, "reset")
	r.restart()
	r.tick()
	wantTypes(t, r)
}

// A sum that hovers about a threshold does not alarm again and again.
func TestRollingWindowsDoNotFlap(t *testing.T) {
	r := newRig(t, clockAt(noon), budget.Budget{Name: "roll", Scope: "global", Limit: limit(10), Window: "60m", Thresholds: []float64{0.5}})
	for range 300 {
		r.spend(everyone(), usd(5.0/60))
		r.clock.pass(time.Minute)
		r.tick()
	}
	wantTypes(t, r, "threshold_crossed 0.5")
}

func TestANewLimitIsJudgedByWhatIsSpent(t *testing.T) {
	r := newRig(t, clockAt(evening), daily(5))
	r.spend(everyone(), usd(4.5))
	wantTypes(t, r, "threshold_crossed 0.5", "threshold_crossed 0.8")
	r.reload(daily(5)) // nothing new
	r.tick()
	wantTypes(t, r)
	r.reload(daily(8)) // 56 %
	r.tick()
	r.wantSpent("all", "", 4.5)
	wantTypes(t, r)
	r.restart()
	r.spend(everyone(), usd(1.9)) // 80 %
	r.tick()
	wantTypes(t, r, "threshold_crossed 0.8")
	r.reload(daily(6))
	r.tick()
	wantTypes(t, r, "budget_crossed")
	r.refused(everyone(), 1)
	r.reload(daily(7.5))
	r.spend(everyone(), usd(1.1))
	wantTypes(t, r, "budget_crossed")
	r.restart(daily(100))
	r.tick()
	wantTypes(t, r)
	r.spend(everyone(), usd(50))
	wantTypes(t, r, "threshold_crossed 0.5")
}

func TestNewThresholdsDoNotRepeatOldOnes(t *testing.T) {
	r := newRig(t, clockAt(evening), daily(10))
	r.spend(everyone(), usd(7))
	wantTypes(t, r, "threshold_crossed 0.5")
	more := daily(10)
	more.Thresholds = []float64{0.25, 0.5, 0.6, 0.9}
	r.reload(more)
	r.tick()
	wantTypes(t, r, "threshold_crossed 0.6")
	fewer := daily(10)
	fewer.Thresholds = []float64{0.9}
	r.reload(fewer)
	r.tick()
	wantTypes(t, r)
	r.spend(everyone(), usd(2))
	wantTypes(t, r, "threshold_crossed 0.9")
	fewer.Thresholds = nil
	r.restart(fewer)
	r.tick()
	wantTypes(t, r)
}

func TestUnpricedRequestsAreReportedOncePerModelAndWindow(t *testing.T) {
	team := budget.Budget{Name: "team", Scope: "team", Match: "research", Limit: limit(1), Window: "week"}
	r := newRig(t, clockAt(evening), daily(5), team)
	ask := func(f budget.Facts, want ...string) {
		t.Helper()
		alerts, states := r.Unpriced(f)
		r.disk.keepAlerts(states)
		var got []string
		for _, a := range alerts {
			if a.Type != names.AlertUnpricedRequest {
				t.Errorf("alert %+v", a)
			}
			got = append(got, a.Budget+" "+a.Model)
		}
		if !slices.Equal(got, want) {
			t.Errorf("alerts %q, want %q", got, want)
		}
	}
	f := everyone()
	ask(f, "all claude-opus-4-8", "team claude-opus-4-8")
	ask(f)
	f.Model = "mystery"
	f.Tags = nil
	ask(f, "all mystery", "team mystery")
	r.restart()
	ask(f)
	r.clock.pass(4 * time.Hour)
	ask(f, "all mystery")
	r.reload()
	ask(f, " mystery")
	ask(f)
	r.restart(team)
	f.Team = ""
	ask(f)
	r.clock.pass(24 * time.Hour)
	ask(f, " mystery")
	for i := range 1000 {
		f.Model = fmt.Sprint("made-up-", i)
		r.Unpriced(f)
	}
	f.Model = "made-up-again"
	ask(f)
}
