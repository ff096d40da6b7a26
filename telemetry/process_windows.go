package telemetry

import (
	"syscall"
	"time"
)

// cpuTimes returns the CPU time this process has spent in user and kernel mode.
func cpuTimes() (user, system time.Duration, ok bool) {
	var created, exited, kernel, usermode syscall.Filetime
	process, err := syscall.GetCurrentProcess()
	if err != nil {
		return 0, 0, false
	}
	if err := syscall.GetProcessTimes(process, &created, &exited, &kernel, &usermode); err != nil {
		return 0, 0, false
	}
	return span100ns(usermode), span100ns(kernel), true
}

// span100ns reads a Filetime that holds a duration, in units of 100 ns.
func span100ns(f syscall.Filetime) time.Duration {
	return time.Duration(uint64(f.HighDateTime)<<32|uint64(f.LowDateTime)) * 100
}
