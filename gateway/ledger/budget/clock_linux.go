package budget

import (
	"time"

	"golang.org/x/sys/unix"
)

// Boot returns CLOCK_BOOTTIME: "CLOCK_MONOTONIC, except that it also includes
// any time that the system is suspended" (clock_gettime(2)).
func (SystemClock) Boot() time.Duration { return bootTime(unix.CLOCK_BOOTTIME) }
