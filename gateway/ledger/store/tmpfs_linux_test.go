package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tmpfsChild fills a file system of two megabytes, in a mount name space of its
// own, and sees the store through it.
func tmpfsChild() {
	dir := os.Getenv("DIR")
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		os.Exit(noTmpfs)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		os.Exit(noTmpfs)
	}
	ctx := context.Background()
	s, _, err := Open(ctx, Options{Dir: dir})
	die(err)
	open := "open-0"
	die(s.Held(childHold(open)))
	ballast := filepath.Join(dir, "ballast")
	fill(ballast)

	lines, refused := 0, 0
	for refused < 10 {
		id := fmt.Sprint("line-", lines)
		start := time.Now()
		err := s.Held(childHold(id))
		if took := time.Since(start); took > 300*time.Millisecond {
			die(fmt.Errorf("a hold took %v", took))
		}
		if err != nil {
			if !errors.Is(err, ErrUnavailable) {
				die(err)
			}
			refused++
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err := settled(s, id); err != nil && !errors.Is(err, ErrUnavailable) {
			die(err)
		}
		if lines++; lines > 20_000 {
			die(errors.New("the file system does not fill up"))
		}
	}
	if err := settled(s, open); !errors.Is(err, ErrUnavailable) {
		die(fmt.Errorf("settle on a full file system: %v", err))
	}
	die(os.Remove(ballast))
	deadline := time.Now().Add(5 * time.Second)
	for h := s.Health(); h.QueuedLines > 0; h = s.Health() {
		if time.Now().After(deadline) {
			die(fmt.Errorf("health five seconds after there is space: %+v", h))
		}
		time.Sleep(10 * time.Millisecond)
	}
	die(s.Held(childHold("after")))
	die(settled(s, "after"))
	if h := s.Health(); h.Err != nil || h.OpenHolds != 0 {
		die(fmt.Errorf("health: %+v", h))
	}
	got := 0
	for _, err := range s.Lines(ctx, Filter{}, 0) {
		die(err)
		got++
	}
	if got != lines+2 {
		die(fmt.Errorf("got %d lines, want %d", got, lines+2))
	}
	r, err := s.Verify(ctx, nil)
	die(err)
	die(errors.Join(r.Problems...))
	die(s.Close(ctx))
	fmt.Println("survived", lines)
}

// noTmpfs is the exit code of a child that may not mount.
const noTmpfs = 77

// fill leaves no space in a file's file system.
func fill(name string) {
	f, err := os.Create(name)
	die(err)
	defer f.Close()
	for b := make([]byte, 4096); ; {
		if _, err := f.Write(b); errors.Is(err, syscall.ENOSPC) {
			return
		} else {
			die(err)
		}
	}
}

// L-05, on a real file system. Where none can be mounted, the faults that are
// injected are all there is, and they are injected here as well.
func TestFileSystemFull(t *testing.T) {
	cmd := child(t.Context(), "tmpfs", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch started := cmd.ProcessState != nil; {
	case err == nil:
		if !strings.HasPrefix(string(out), "survived") {
			t.Errorf("child says %q", out)
		}
	case errors.As(err, &exit) && exit.ExitCode() == noTmpfs, !started && errors.Is(err, syscall.EPERM):
		t.Log("no file system can be mounted here; faults are injected instead")
		TestDiskFullUnderTheJournal(t)
	default:
		t.Errorf("child: %v: %s", err, &stderr)
	}
}
