//go:build unix

package command

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// detach makes cmd outlive this process and its terminal.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// endSignals ask to end; reloadSignals to read the configuration anew.
var (
	endSignals    = []os.Signal{os.Interrupt, syscall.SIGTERM}
	reloadSignals = []os.Signal{syscall.SIGHUP}
)

// ignoreBrokenPipe keeps a write to a standard output that is gone from ending the process. The signal is caught and not
// ignored, because ignoring would be inherited by the commands that print tokens.
func ignoreBrokenPipe() (restore func()) {
	c := make(chan os.Signal, 1) // never read: what does not fit is dropped
	signal.Notify(c, syscall.SIGPIPE)
	return func() { signal.Stop(c) }
}

// terminate asks a process to end.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// endedBy returns the number of the signal that ended a process, or 0.
func endedBy(s *os.ProcessState) int {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return int(ws.Signal())
	}
	return 0
}
