package budget_test

import (
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func daily(d float64) budget.Budget {
	return budget.Budget{Name: "all", Scope: "global", Limit: limit(d), Window: "day", Thresholds: []float64{0.5, 0.8}}
}

// L-10: what the clocks do, and whether a budget that was spent has room again.
func TestNoClockJumpRefillsABudget(t *testing.T) {
	const noon = "2026-03-15T12:00:00Z"
	tests := []struct {
		why      string
		window   string
		zone     string
		start    string
		move     func(*rig)
		refilled bool
		jump     time.Duration // reported by the next Tick
	}{
		{"an hour passes", "day", "UTC", noon, func(r *rig) { r.clock.pass(time.Hour) }, false, 0},
		{"midnight passes", "day", "UTC", noon, func(r *rig) { r.clock.pass(12 * time.Hour) }, true, 0},
		{"a second before midnight", "day", "UTC", noon, func(r *rig) { r.clock.pass(12*time.Hour - time.Second) }, false, 0},
		{"the machine sleeps over midnight", "day", "UTC", noon, func(r *rig) { r.clock.pass(20 * time.Hour) }, true, 0},
		{"set forward over midnight", "day", "UTC", noon, func(r *rig) { r.clock.set(12 * time.Hour) }, false, 12 * time.Hour},
		{"set forward by 40 days", "month", "UTC", noon, func(r *rig) { r.clock.set(40 * 24 * time.Hour) }, false, 40 * 24 * time.Hour},
		{"set forward by 40 days, rolling", "30d", "UTC", noon, func(r *rig) { r.clock.set(40 * 24 * time.Hour) }, false, 40 * 24 * time.Hour},
		{"set forward by a year, and half an hour passes", "month", "UTC", noon, func(r *rig) {
			r.clock.set(365 * 24 * time.Hour)
			every(r, 30*time.Minute, time.Minute)
		}, false, 0},
		{"set forward, then right again, then midnight passes", "day", "UTC", noon, func(r *rig) {
			r.clock.set(13 * time.Hour)
			r.tick()
			r.clock.pass(time.Minute)
			r.clock.set(-13 * time.Hour)
			r.tick()
			r.clock.pass(12 * time.Hour)
		}, true, 0},
		{"set forward over midnight, which then passes for true", "day", "UTC", "2026-03-15T23:30:00Z", func(r *rig) {
			r.clock.set(40 * 24 * time.Hour)
			r.tick()
			every(r, 31*time.Minute, time.Minute)
		}, true, 0},
		{"set forward, and believed after an hour", "day", "UTC", noon, func(r *rig) {
			r.clock.set(12 * time.Hour)
			r.tick()
			every(r, time.Hour+time.Minute, time.Minute)
		}, true, 0},
		{"set forward again and again: believed only when it is left alone", "day", "UTC", noon, func(r *rig) {
			for range 5 {
				r.clock.set(12 * time.Hour)
				r.tick()
				every(r, 50*time.Minute, time.Minute)
			}
		}, false, 0},
		{"four hours in small steps", "day", "UTC", "2026-03-15T22:00:00Z", func(r *rig) {
			for range 60 {
				r.clock.set(4 * time.Minute)
				r.clock.pass(2 * time.Second)
				r.tick()
			}
		}, false, 0},
		{"a step that NTP makes", "day", "UTC", "2026-03-15T23:58:00Z", func(r *rig) { r.clock.set(3 * time.Minute) }, true, 0},
		{"steps that NTP makes, hours apart", "day", "UTC", "2026-03-15T17:40:00Z", func(r *rig) {
			for range 3 {
				r.clock.pass(2 * time.Hour)
				r.tick()
				r.clock.set(4 * time.Minute)
				r.tick()
			} // 23:52
			r.clock.pass(4 * time.Minute)
			r.clock.set(4 * time.Minute)
		}, false, 4 * time.Minute}, // the last one came too soon
		{"and the last one an hour later", "day", "UTC", "2026-03-15T16:44:00Z", func(r *rig) {
			for range 3 {
				r.clock.pass(2 * time.Hour)
				r.tick()
				r.clock.set(4 * time.Minute)
				r.tick()
			} // 22:56
			r.clock.pass(time.Hour)
			r.clock.set(4 * time.Minute)
		}, true, 0},
		{"set back over the start of the window", "day", "UTC", "2026-03-15T01:00:00Z", func(r *rig) { r.clock.set(-2 * time.Hour) }, false, -2 * time.Hour},
		{"set back, and the old midnight passes again", "day", "UTC", "2026-03-15T00:10:00Z", func(r *rig) {
			r.clock.set(-20 * time.Minute)
			r.tick()
			every(r, 30*time.Minute, time.Minute)
		}, false, 0},
		{"set back by 40 days", "month", "UTC", noon, func(r *rig) { r.clock.set(-40 * 24 * time.Hour) }, false, -40 * 24 * time.Hour},
		{"set back by 3 days, and 2 days pass", "day", "UTC", noon, func(r *rig) {
			r.clock.set(-72 * time.Hour)
			r.tick()
			every(r, 48*time.Hour, time.Hour)
		}, true, 0},
		{"set back, then restarted", "day", "UTC", "2026-03-15T01:00:00Z", func(r *rig) {
			r.clock.set(-2 * time.Hour)
			r.restart()
		}, false, -time.Hour}, // from the start of the newest window
		{"set forward, then restarted: believed", "day", "UTC", noon, func(r *rig) {
			r.clock.set(12 * time.Hour)
			r.restart()
		}, true, 0},
		{"restarted the next day", "day", "UTC", noon, func(r *rig) {
			r.clock.pass(24 * time.Hour)
			r.clock.boot = 0 // a reboot
			r.restart()
		}, true, 0},
		{"restarted in the window", "day", "UTC", noon, func(r *rig) { r.restart() }, false, 0},
		{"a day of 23 hours ends after 23", "day", "Europe/Berlin", "2026-03-28T23:00:00Z", func(r *rig) { r.clock.pass(23 * time.Hour) }, true, 0},
		{"and not before", "day", "Europe/Berlin", "2026-03-28T23:00:00Z", func(r *rig) { r.clock.pass(23*time.Hour - time.Second) }, false, 0},
		{"a day of 25 hours does not end after 24", "day", "Europe/Berlin", "2026-10-24T22:00:00Z", func(r *rig) { r.clock.pass(24 * time.Hour) }, false, 0},
		{"but after 25", "day", "Europe/Berlin", "2026-10-24T22:00:00Z", func(r *rig) { r.clock.pass(25 * time.Hour) }, true, 0},
		{"29 February is a day of its own", "day", "UTC", "2028-02-28T23:59:59Z", func(r *rig) { r.clock.pass(time.Second) }, true, 0},
		{"and still February", "month", "UTC", "2028-02-28T23:59:59Z", func(r *rig) { r.clock.pass(24 * time.Hour) }, false, 0},
		{"the month ends", "month", "UTC", "2028-02-29T23:59:59Z", func(r *rig) { r.clock.pass(time.Second) }, true, 0},
		{"30 days roll", "30d", "UTC", noon, func(r *rig) { r.clock.pass(30*24*time.Hour + 12*time.Hour) }, true, 0},
		{"and not before", "30d", "UTC", noon, func(r *rig) { r.clock.pass(30*24*time.Hour - time.Second) }, false, 0},
		{"no windows, no refill", "none", "UTC", noon, func(r *rig) { r.clock.pass(1000 * 24 * time.Hour) }, false, 0},
	}
	for _, tt := range tests {
		zone, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, clockAt(tt.start), budget.Budget{Name: "all", Scope: "global", Limit: limit(5), Window: tt.window, Location: zone})
		r.spend(budget.Facts{}, usd(5))
		r.refused(budget.Facts{}, usd(0.1))
		tt.move(r)
		res, _, refusal := r.Reserve(budget.Facts{}, usd(5))
		if got := refusal == nil; got != tt.refilled {
			t.Errorf("%s: refilled %v, want %v", tt.why, got, tt.refilled)
		}
		if res != nil {
			r.Release(res)
		}
		got := r.tick().Jump
		if tt.jump == 0 && got != 0 && tt.why != "set forward by a year, and half an hour passes" || tt.jump != 0 && (got < tt.jump-time.Second || got > tt.jump+time.Second) {
			t.Errorf("%s: reported a jump of %v, want %v", tt.why, got, tt.jump)
		}
	}
}

// every lets time pass in steps, with a Tick after each.
func every(r *rig, total, step time.Duration) {
	for ; total > 0; total -= step {
		r.clock.pass(step)
		r.Tick()
	}
}

func TestAJumpIsReportedOnceUntilTheClocksAgreeAgain(t *testing.T) {
	r := newRig(t, clockAt("2026-03-15T12:00:00Z"), daily(5))
	r.clock.set(24 * time.Hour)
	if got := r.tick().Jump; got != 24*time.Hour {
		t.Errorf("jump %v, want 24h", got)
	}
	for range 10 {
		r.clock.pass(time.Minute)
		if got := r.tick().Jump; got != 0 {
			t.Errorf("reported again: %v", got)
		}
	}
	r.clock.set(-24 * time.Hour)
	r.tick()
	r.clock.set(-24 * time.Hour)
	if got := r.tick().Jump; got != -24*time.Hour {
		t.Errorf("jump %v, want -24h", got)
	}
	r.clock.pass(time.Minute)
	if got := r.tick().Jump; got != 0 {
		t.Errorf("reported again: %v", got)
	}
}

// A minute's budget must not wait for hours because the clock was set back.
func TestWindowsGoOnWhileTheClockIsBehind(t *testing.T) {
	r := newRig(t, clockAt("2026-03-15T12:00:00Z"), budget.Budget{Name: "all", Scope: "global", Limit: limit(1), Window: "minute"})
	r.clock.set(-5 * time.Hour)
	r.tick()
	for range 10 {
		r.spend(budget.Facts{}, usd(1))
		r.refused(budget.Facts{}, usd(1))
		every(r, 2*time.Minute, 10*time.Second)
	}
}

func TestAClockFromTheFarFutureIsNotFollowed(t *testing.T) {
	r := newRig(t, clockAt("2026-03-15T12:00:00Z"), daily(5))
	r.spend(budget.Facts{}, usd(5))
	for _, at := range []time.Time{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), {}, time.Unix(-1<<60, 0), time.Unix(1<<60, 0)} {
		r.clock.mu.Lock()
		r.clock.wall = at
		r.clock.mu.Unlock()
		r.clock.pass(time.Second)
		r.tick()
		if got := r.refused(budget.Facts{}, usd(1)).Resets; !got.Equal(time.Date(2026, 3, 16, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("at %v: resets %v", at, got)
		}
	}
}

func TestSystemClockGoesOn(t *testing.T) {
	var c budget.SystemClock
	wall, boot := c.Wall(), c.Boot()
	for c.Boot() == boot {
	}
	if d := time.Since(wall); boot <= 0 || c.Boot() < boot || c.Boot()-boot > d+time.Second {
		t.Errorf("Boot went from %v to %v in %v", boot, c.Boot(), d)
	}
}

// L-11: what was reserved before midnight is charged to the old day, also when
// it grows and is settled in the new one.
func TestHoldIsChargedToItsOwnWindow(t *testing.T) {
	r := newRig(t, clockAt("2026-03-15T23:59:00Z"), daily(5))
	before, early := r.reserve(budget.Facts{}, usd(3)), r.reserve(budget.Facts{}, usd(1))
	r.clock.pass(2 * time.Minute)
	if s, _ := r.status("all", ""); s.Spent != 0 || s.Reserved != 0 {
		t.Errorf("the new day starts with spent %s, reserved %s", s.Spent, s.Reserved)
	}
	after := r.reserve(budget.Facts{}, usd(5))
	if !before.Extend(usd(1)) {
		t.Error("the old day has room for 1 more, and gives none")
	}
	if before.Extend(usd(0.1)) {
		t.Error("the old day gives more than its limit")
	}
	s := r.settle(before, usd(4.5))
	want := store.Sum{Account: store.Account{Budget: "all", Window: time.Date(2026, 3, 15, 0, 0, 0, 0, time.UTC).Unix()}, Spent: usd(4.5)}
	if len(s.Sums) != 1 || s.Sums[0] != want || len(s.Fired) != 0 {
		t.Errorf("settled %+v, want the sum %+v and no alerts", s, want)
	}
	want.Spent = usd(5.25)
	if s = r.settle(early, usd(0.75)); len(s.Sums) != 1 || s.Sums[0] != want {
		t.Errorf("settled %+v, want the sum %+v", s, want)
	}
	if len(s.Overshoot) != 1 || s.Overshoot[0] != (gateway.BudgetAmount{Budget: "all", Amount: usd(0.25)}) {
		t.Errorf("overshoot of the old day %v, want 0.25", s.Overshoot)
	}
	r.settle(after, usd(2))
	r.wantSpent("all", "", 2)
}

func TestRollingWindowForgetsBucketByBucket(t *testing.T) {
	// Buckets of two minutes.
	r := newRig(t, clockAt("2026-03-15T12:00:00Z"), budget.Budget{Name: "all", Scope: "global", Limit: limit(3), Window: "2h"})
	r.reserve(budget.Facts{}, usd(1))
	r.clock.pass(time.Minute)
	r.spend(budget.Facts{}, usd(1))
	r.clock.pass(time.Hour)
	r.spend(budget.Facts{}, usd(1))
	if got := r.refused(budget.Facts{}, 1).Resets; !got.Equal(time.Date(2026, 3, 15, 14, 2, 0, 0, time.UTC)) {
		t.Errorf("room again at %v, want 14:02", got)
	}
	r.restart()
	r.wantSpent("all", "", 2)
	r.clock.pass(61 * time.Minute) // 14:02
	r.wantSpent("all", "", 1)
	r.clock.pass(time.Hour)
	r.wantSpent("all", "", 0)

	open := r.reserve(budget.Facts{}, usd(2))
	r.clock.pass(121 * time.Minute)
	if s, _ := r.status("all", ""); s.Reserved != usd(2) {
		t.Errorf("reserved %s, want 2: the bucket still counts", s.Reserved)
	}
	r.clock.pass(2 * time.Minute)
	if s, _ := r.status("all", ""); s.Reserved != 0 {
		t.Errorf("reserved %s, want 0: the bucket has ended", s.Reserved)
	}
	r.settle(open, usd(2))
	r.wantSpent("all", "", 0)
	if s, _ := r.status("all", ""); s.State != names.BudgetStateOK || s.Forecast.Set {
		t.Errorf("status %+v", s)
	}
}

// A stream that runs for hours finds the room that has come free meanwhile.
func TestExtensionSeesWhatHasStoppedCounting(t *testing.T) {
	r := newRig(t, clockAt(noon), budget.Budget{Name: "all", Scope: "global", Limit: limit(3), Window: "2h"})
	r.spend(budget.Facts{}, usd(2))
	r.clock.pass(time.Hour)
	open := r.reserve(budget.Facts{}, usd(1))
	r.clock.pass(time.Hour)
	if open.Extend(usd(1)) {
		t.Error("extended beyond the limit")
	}
	r.clock.pass(3 * time.Minute)
	if !open.Extend(usd(2)) {
		t.Error("what was spent two hours ago still counts")
	}
}
