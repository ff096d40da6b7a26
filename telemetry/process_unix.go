//go:build unix

package telemetry

import (
	"syscall"
	"time"
)

// cpuTimes returns the CPU time this process has spent in user and kernel mode.
func cpuTimes() (user, system time.Duration, ok bool) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, 0, false
	}
	return time.Duration(usage.Utime.Nano()), time.Duration(usage.Stime.Nano()), true
}
