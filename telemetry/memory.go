package telemetry

import (
	"bytes"
	"os"
	"strconv"
)

// residentMemory returns the bytes of this process that are in memory; not ok where the system has no /proc.
func residentMemory() (int64, bool) {
	// https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html: size resident …, in pages
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err == nil
}
