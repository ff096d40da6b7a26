//go:build linux || darwin

package budget

import (
	"time"

	"golang.org/x/sys/unix"
)

func bootTime(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return time.Since(started)
	}
	return time.Duration(t.Nano())
}
