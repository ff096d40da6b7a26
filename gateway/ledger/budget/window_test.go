package budget

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestWindowsStartAndEndWhereTheClocksSaySo(t *testing.T) {
	tests := []struct{ why, window, zone, at, start, end string }{
		{"UTC by default", "day", "", "2026-03-15T13:00:00Z", "2026-03-15T00:00:00Z", "2026-03-16T00:00:00Z"},
		{"the first second is in", "day", "", "2026-03-15T00:00:00Z", "2026-03-15T00:00:00Z", "2026-03-16T00:00:00Z"},
		{"a minute", "minute", "", "2026-03-15T13:07:59Z", "2026-03-15T13:07:00Z", "2026-03-15T13:08:00Z"},
		{"an hour", "hour", "Europe/Berlin", "2026-03-15T13:07:59Z", "2026-03-15T13:00:00Z", "2026-03-15T14:00:00Z"},
		{"hours of a zone at half past", "hour", "Asia/Kolkata", "2026-03-15T13:07:59Z", "2026-03-15T12:30:00Z", "2026-03-15T13:30:00Z"},
		{"hours of a zone at a quarter to", "hour", "Asia/Kathmandu", "2026-03-15T13:20:00Z", "2026-03-15T13:15:00Z", "2026-03-15T14:15:00Z"},
		{"a day of 23 hours", "day", "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"a day of 25 hours", "day", "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"a day of 24½ hours", "day", "Australia/Lord_Howe", "2026-04-05T00:00:00Z", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z"},
		{"the hour that comes twice, first", "hour", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"},
		{"the hour that comes twice, again", "hour", "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"},
		{"no midnight: Beirut starts at one", "day", "Asia/Beirut", "2026-03-29T10:00:00Z", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"},
		{"no midnight: Santiago", "day", "America/Santiago", "2026-09-06T12:00:00Z", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		{"midnight twice: Havana", "day", "America/Havana", "2026-11-01T04:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"midnight twice, after the second", "day", "America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"set back over midnight: the minute before belongs to the old date", "day", "America/St_Johns", "2010-11-07T02:30:30Z", "2010-11-06T02:30:00Z", "2010-11-07T03:30:00Z"},
		{"no 30 December: Samoa", "day", "Pacific/Apia", "2011-12-30T05:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"a week starts on Monday", "week", "", "2026-03-15T13:00:00Z", "2026-03-09T00:00:00Z", "2026-03-16T00:00:00Z"},
		{"also on a Monday", "week", "", "2026-03-16T00:00:00Z", "2026-03-16T00:00:00Z", "2026-03-23T00:00:00Z"},
		{"a week over the year", "week", "", "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"},
		{"a week with a change of the clocks", "week", "America/New_York", "2026-03-10T12:00:00Z", "2026-03-09T04:00:00Z", "2026-03-16T04:00:00Z"},
		{"a month of 28 days", "month", "", "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"a leap month", "month", "", "2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"the leap day", "day", "", "2028-02-29T12:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"a month of 31 days", "month", "", "2026-01-31T23:59:59Z", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"},
		{"December", "month", "Europe/Berlin", "2026-12-31T22:59:59Z", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z"},
		{"no windows", "none", "", "2026-03-15T13:00:00Z", "1970-01-01T00:00:00Z", ""},
		{"a bucket of 12 hours", "30d", "Europe/Berlin", "2026-03-15T13:00:00Z", "2026-03-15T12:00:00Z", "2026-03-16T00:00:00Z"},
		{"a bucket of 90 seconds", "90m", "", "2026-03-15T00:02:00Z", "2026-03-15T00:01:30Z", "2026-03-15T00:03:00Z"},
	}
	for _, tt := range tests {
		w, err := parseWindow(tt.window, zone(t, tt.zone))
		if err != nil {
			t.Fatal(err)
		}
		at, _ := time.Parse(time.RFC3339, tt.at)
		start, end := w.at(at.Unix())
		got := time.Unix(start, 0).UTC().Format(time.RFC3339)
		if got != tt.start {
			t.Errorf("%s: starts %s, want %s", tt.why, got, tt.start)
		}
		if got := time.Unix(end, 0).UTC().Format(time.RFC3339); tt.end != "" && got != tt.end {
			t.Errorf("%s: ends %s, want %s", tt.why, got, tt.end)
		}
		if (end == never) != (tt.end == "") {
			t.Errorf("%s: end %d", tt.why, end)
		}
	}
}

// Time runs through windows without a gap and without going back, whatever the
// zone does.
func TestWindowsFollowOneAnother(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/Havana", "Asia/Beirut", "Africa/Cairo", "America/Asuncion", "Australia/Lord_Howe",
		"America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "America/Nuuk", "Africa/Casablanca", "Antarctica/Troll", "Atlantic/Azores"}
	for _, name := range zones {
		z := zone(t, name)
		for _, unit := range []string{"day", "week", "month"} {
			w, err := parseWindow(unit, z)
			if err != nil {
				t.Fatal(err)
			}
			for at := time.Date(2005, 1, 1, 0, 0, 0, 0, z).Unix(); at < time.Date(2028, 1, 1, 0, 0, 0, 0, z).Unix(); {
				start, end := w.at(at)
				if start > at || end <= at {
					t.Fatalf("%s %s: %d is not in its window %d…%d", name, unit, at, start, end)
				}
				for _, in := range []int64{start, (start + end) / 2, end - 1} {
					if s, e := w.at(in); s != start || e != end {
						t.Fatalf("%s %s: %s is in %d…%d, want %d…%d", name, unit, time.Unix(in, 0).In(z), s, e, start, end)
					}
				}
				if s := time.Unix(start, 0).In(z); unit == "week" && s.Weekday() != time.Monday || unit == "month" && s.Day() != 1 {
					t.Fatalf("%s: a %s starts %s", name, unit, s)
				}
				at = end
			}
		}
	}
}

// An hour whose zone moves by part of one may come twice; its window never goes
// back all the same.
func TestHoursNeverGoBack(t *testing.T) {
	for _, name := range []string{"Australia/Lord_Howe", "Europe/Berlin", "Asia/Pyongyang"} {
		z := zone(t, name)
		p := newPot(&Budget{Name: "b", Scope: "global", Window: "hour", Location: z}, time.Date(2015, 1, 1, 0, 0, 0, 0, z).UnixNano())
		last := p.start
		for now := p.start; now < time.Date(2019, 1, 1, 0, 0, 0, 0, z).UnixNano(); now += int64(7 * time.Minute) {
			p.advance(now)
			if p.start < last || p.start > now || p.end <= now || p.end-p.start > int64(2*time.Hour) {
				t.Fatalf("%s: at %d the window is %d…%d, after one from %d", name, now, p.start, p.end, last)
			}
			last = p.start
		}
	}
}

func TestWindowsThatAreRefused(t *testing.T) {
	for _, s := range []string{"", "Day", "days", "1mo", "1w", "30", "d", "0d", "-1d", "1.5d", "07d", "10000d", "30d ", "١d", "1s", "9999999999999999999m"} {
		if w, err := parseWindow(s, nil); err == nil {
			t.Errorf("parseWindow(%q) = %+v, want an error", s, w)
		}
	}
}

func FuzzParseWindow(f *testing.F) {
	for _, s := range []string{"minute", "hour", "day", "week", "month", "none", "30d", "12h", "90m", "9999d", "1m", "0d", ""} {
		f.Add(s, int64(1_790_000_000))
	}
	z := zone(f, "America/Havana")
	f.Fuzz(func(t *testing.T, s string, at int64) {
		w, err := parseWindow(s, z)
		if err != nil {
			return
		}
		if at = min(max(at, 0), 1<<33); w.unit == unitRolling && (w.step < 1 || w.step*buckets < w.span || w.step*buckets > w.span+buckets) {
			t.Errorf("%q: %d buckets of %d s are no %d s", s, buckets, w.step, w.span)
		}
		start, end := w.at(at)
		if start > at || end <= at {
			t.Errorf("%q at %d: %d…%d", s, at, start, end)
		}
	})
}
