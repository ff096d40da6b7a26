package command

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// detach makes cmd outlive this process and its console.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}

// endSignals ask to end. There is none to reload by; the file is watched.
var (
	endSignals    = []os.Signal{os.Interrupt, syscall.SIGTERM}
	reloadSignals []os.Signal
)

// ignoreBrokenPipe has nothing to do: writes fail with an error.
func ignoreBrokenPipe() (restore func()) { return func() {} }

// terminate always fails: a process without console cannot be asked; the admin port can.
func terminate(*os.Process) error { return errors.ErrUnsupported }

// endedBy returns 0: there are no signals.
func endedBy(*os.ProcessState) int { return 0 }
