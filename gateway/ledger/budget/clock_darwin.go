package budget

import (
	"time"

	"golang.org/x/sys/unix"
)

// Boot returns CLOCK_MONOTONIC_RAW: it "will continue to increment while the
// system is asleep" and is "unaffected by frequency or time adjustments"
// (macOS, clock_gettime(3)).
func (SystemClock) Boot() time.Duration { return bootTime(unix.CLOCK_MONOTONIC_RAW) }
