package budget

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

const second = int64(time.Second)

// buckets is how many parts a rolling span is divided into. What is spent
// counts for at least the span, and for at most one part longer.
const buckets = 60

// never is the end of a window that does not end.
const never = math.MaxInt64

// unit is the kind of a window.
type unit int

const (
	unitNone unit = iota
	unitMinute
	unitHour
	unitDay
	unitWeek
	unitMonth
	unitRolling
)

// units gives the words for calendar windows.
var units = map[string]unit{
	"none": unitNone, "minute": unitMinute, "hour": unitHour, "day": unitDay, "week": unitWeek, "month": unitMonth,
}

// spans is the grammar of rolling windows, as the configuration checks it.
var spans = regexp.MustCompile(`^[1-9][0-9]{0,3}[mhd]$`)

// window is a period that spending is limited in. A calendar window starts when
// the clocks of its zone show a new minute, hour, day, Monday or month; it is
// as long as the zone makes it (a day of 23 or 25 hours). A rolling one is a
// span of elapsed time that ends now; the zone and its summer time mean nothing
// to it.
type window struct {
	unit unit
	span int64 // seconds, of a rolling window
	step int64 // seconds, of one of its buckets
	zone *time.Location
}

func parseWindow(s string, zone *time.Location) (window, error) {
	if zone == nil {
		zone = time.UTC
	}
	if u, ok := units[s]; ok {
		return window{unit: u, zone: zone}, nil
	}
	if !spans.MatchString(s) {
		return window{}, fmt.Errorf("window %q: want minute, hour, day, week, month, none, or a span such as 30d, 12h or 90m", s)
	}
	n, err := strconv.ParseInt(s[:len(s)-1], 10, 64)
	if err != nil {
		return window{}, fmt.Errorf("window %q: %w", s, err)
	}
	span := n * map[byte]int64{'m': 60, 'h': 3600, 'd': 86400}[s[len(s)-1]]
	return window{unit: unitRolling, span: span, step: (span + buckets - 1) / buckets, zone: zone}, nil
}

// calendar reports whether w starts anew at some moment.
func (w *window) calendar() bool { return w.unit != unitNone && w.unit != unitRolling }

// at returns the window that holds t, or for a rolling one the bucket, in Unix
// seconds: start ≤ t < end.
func (w *window) at(t int64) (start, end int64) {
	switch w.unit {
	case unitNone:
		return 0, never
	case unitMinute:
		return w.aligned(t, 60)
	case unitHour:
		return w.aligned(t, 3600)
	case unitRolling:
		start = t - floorMod(t, w.step)
		return start, start + w.step
	}
	y, m, d := time.Unix(t, 0).In(w.zone).Date()
	if start = w.nth(y, m, d, 0); start > t {
		// The clocks will be set back over midnight: what they showed of the new
		// date until then belongs to the old one.
		d--
		start = w.nth(y, m, d, 0)
	}
	// A zone may have skipped a whole date (Samoa had no 30 December 2011).
	for n := 1; end <= t; n++ {
		end = w.nth(y, m, d, n)
	}
	return start, end
}

// nth returns the start of the nth window after the one that holds a date.
func (w *window) nth(y int, m time.Month, d, n int) int64 {
	noon := time.Date(y, m, d, 12, 0, 0, 0, time.UTC)
	y, m, d = noon.Date()
	switch w.unit {
	case unitWeek:
		d += 7*n - (int(noon.Weekday())+6)%7
	case unitMonth:
		m, d = m+time.Month(n), 1
	default:
		d += n
	}
	return w.midnight(time.Date(y, m, d, 12, 0, 0, 0, w.zone).Unix())
}

// aligned returns the period of so many seconds that the zone's clocks count.
func (w *window) aligned(t, length int64) (start, end int64) {
	_, offset := time.Unix(t, 0).In(w.zone).Zone()
	start = t - floorMod(t+int64(offset), length)
	return start, start + length
}

// midnight returns the first second of the date that t falls on. Where summer
// time begins at midnight a date starts at 01:00; where it ends then, 00:00
// comes twice and the first one counts.
func (w *window) midnight(t int64) int64 {
	for {
		at := time.Unix(t, 0).In(w.zone)
		h, m, s := at.Clock()
		start := t - int64(h*3600+m*60+s)
		since, _ := at.ZoneBounds()
		if since.IsZero() || since.Unix() < start {
			return start
		}
		before := since.Unix() - 1
		if !sameDate(time.Unix(before, 0).In(w.zone), at) {
			return since.Unix()
		}
		t = before
	}
}

func sameDate(a, b time.Time) bool {
	y, m, d := a.Date()
	yy, mm, dd := b.Date()
	return y == yy && m == mm && d == dd
}

func floorMod(a, b int64) int64 {
	return (a%b + b) % b
}
