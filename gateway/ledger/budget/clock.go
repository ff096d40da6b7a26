package budget

import "time"

// Clock is where a Book reads the time. Implementations are safe for concurrent
// use and quick: they are read with every reservation.
type Clock interface {
	// Wall is the time of day, which people and NTP may set.
	Wall() time.Time
	// Boot is the time since some fixed moment, time asleep included. Nobody can
	// set it.
	Boot() time.Duration
}

// SystemClock is the clock of this machine.
type SystemClock struct{}

// Wall returns time.Now.
func (SystemClock) Wall() time.Time { return time.Now() }

const (
	// tolerance is by how much the wall clock may be set forward in an hour
	// before it is no longer followed.
	tolerance = 5 * time.Minute
	// acceptance is how long the wall clock must have kept pace after it was set
	// forward by more, until it is believed.
	acceptance = time.Hour
)

// steady is the time that windows go by: the wall clock, so long as its
// movements can be true. A clock that is set wrongly must not refill budgets.
//
//   - It never goes back, and starts no earlier than the newest window that is
//     remembered. While the wall clock is behind, it runs at half speed until
//     the wall clock has caught up: no window ends early, and none lasts more
//     than twice its length.
//   - It follows the wall clock forward when that and Boot agree within
//     tolerance. What has been followed against Boot adds up, and is forgotten
//     at the rate of one tolerance an hour; so small steps cannot do what a
//     large one cannot. A machine that slept is no jump: Boot slept as well.
//   - When the wall clock is ahead by more, time goes on as Boot says, which
//     keeps the windows as they were, until the two agree again, or until the
//     wall clock has kept pace with Boot for the time of acceptance: then it was
//     the past that was wrong. (In a virtual machine that was paused, Boot may
//     not have counted the pause.) A restart believes the wall clock at once.
type steady struct {
	clock Clock
	now   int64 // Unix nanoseconds

	// The last time that both clocks were read.
	base, wall int64
	boot       time.Duration

	followed time.Duration // against Boot, not yet forgotten
	ahead    time.Duration // how far the wall clock was when it was last set; 0: it is followed
	since    time.Duration // Boot, when that was
	behind   bool
	jump     time.Duration // to be reported; 0: nothing is
}

// started is the fixed moment of Boot where the system has no better one.
var started = time.Now()

// newSteady starts at the wall clock, but not before floor (Unix nanoseconds).
func newSteady(clock Clock, floor int64) steady {
	wall := unixNano(clock.Wall())
	s := steady{clock: clock, now: max(wall, floor), base: max(wall, floor), wall: wall, boot: clock.Boot()}
	if gap := time.Duration(wall - s.now); gap < -tolerance {
		s.behind, s.jump = true, gap
	}
	return s
}

// read returns the time. The caller holds the lock of the Book.
func (s *steady) read() int64 {
	wall := unixNano(s.clock.Wall())
	if d := wall - s.wall; d >= 0 && d < second && s.ahead == 0 && !s.behind {
		// Too little to matter; the next look at Boot, which may cost a system
		// call, takes account of it.
		s.now = max(s.now, wall)
		return s.now
	}
	boot := s.clock.Boot()
	s.step(wall, max(0, boot-s.boot), boot)
	s.base, s.wall, s.boot = s.now, wall, boot
	return s.now
}

// step moves the time on by what has passed by Boot, or to the wall clock.
func (s *steady) step(wall int64, passed, boot time.Duration) {
	expected := s.base + int64(passed)
	gap := time.Duration(wall - expected)
	s.followed = max(0, s.followed-passed/(time.Hour/tolerance))
	switch {
	case gap <= 0:
		if gap < -tolerance && !s.behind {
			s.jump = gap
		}
		s.behind, s.ahead = gap < -tolerance, 0
		s.now = max(s.now, wall, s.base+int64(passed/2))
	case s.followed+gap <= tolerance:
		s.followed += gap
		s.behind, s.ahead = false, 0
		s.now = max(s.now, wall)
	default:
		s.behind = false
		s.outrun(wall, expected, gap, boot)
	}
}

// outrun is a step while the wall clock is ahead by gap, further than it is
// followed.
func (s *steady) outrun(wall, expected int64, gap, boot time.Duration) {
	if d := gap - s.ahead; s.ahead == 0 || d > tolerance || d < -tolerance {
		if s.ahead == 0 {
			s.jump = gap
		}
		s.ahead, s.since = gap, boot
	}
	if boot-s.since < acceptance {
		s.now = max(s.now, expected)
		return
	}
	s.now = max(s.now, wall)
	s.ahead, s.followed = 0, 0
}

// unixNano is t.UnixNano for any t: beyond the years it can tell, the nearest.
func unixNano(t time.Time) int64 {
	const last = 1 << 33 // seconds: the year 2242
	return min(max(t.Unix(), 0), last)*second + int64(t.Nanosecond())
}
