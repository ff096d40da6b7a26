package budget

import (
	"time"

	"golang.org/x/sys/windows"
)

// Boot returns the time since the system was started, sleep and hibernation
// included (GetTickCount64).
func (SystemClock) Boot() time.Duration { return windows.DurationSinceBoot() }
