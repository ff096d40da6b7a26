//go:build !linux && !darwin && !windows

package budget

import "time"

// Boot returns the time since the program was started. Time asleep may be
// missing: a jump of the wall clock then takes its time to be believed.
func (SystemClock) Boot() time.Duration { return time.Since(started) }
