package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
)

const (
	startTime  = 15 * time.Second // for a detached gateway to be ready
	maxLogFile = 32 << 20         // bytes of a log file that a start still appends to
)

// startDetached runs the gateway in a process of its own and returns once it is ready. When it ends instead, the error
// holds the last lines it logged.
func (a *app) startDetached(ctx context.Context, cfg *config.Config, f startFlags) error {
	dir := cfg.Storage.Path
	if run, err := running(dir); err == nil {
		return fmt.Errorf("the gateway is running already: pid %d at %s; use `ccproxy restart --detach`", run.PID, run.URL)
	} else if !errors.Is(err, errNotRunning) {
		return err
	}
	log, err := openLog(dir)
	if err != nil {
		return err
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	cmd, err := a.child(f)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the child, or with this process
	return a.awaitReady(ctx, dir, log.Name(), before, cmd.Process, ended)
}

// openLog opens the log for appending, the old one put aside when it has grown large.
func openLog(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the storage directory: %w; set storage.path to one that can be written", err)
	}
	path := filepath.Join(dir, logName)
	if info, err := os.Stat(path); err == nil && info.Size() > maxLogFile {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("put the log aside: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return f, nil
}

// child is this program, started in the foreground with the same flags.
func (a *app) child(f startFlags) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, "start")
	for flag, value := range map[string]string{"--config": a.configFile, "--config-dir": a.configDir, "--listen": f.listen, "--admin": f.admin} {
		if value != "" {
			cmd.Args = append(cmd.Args, flag+"="+value)
		}
	}
	return cmd, nil
}

// awaitReady waits until the gateway p answers that it is ready. The log of this start begins at before.
func (a *app) awaitReady(ctx context.Context, dir, log string, before int64, p *os.Process, ended <-chan error) error {
	limit := time.NewTimer(startTime)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return fmt.Errorf("the gateway ended at once: %s", tailOf(log, before))
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			_ = p.Kill() // it may have ended just now
			return fmt.Errorf("the gateway was not ready within %v: %s", startTime, tailOf(log, before))
		case <-tick.C:
			run, err := readRun(dir)
			if err != nil || run.PID != p.Pid || ready(ctx, run.URL) != nil {
				continue
			}
			_, err = fmt.Fprintf(a.out, "ccproxy listens on %s (pid %d, log %s); point a client at it: %s\n", run.URL, run.PID, log, clientLine(run.URL))
			return err
		}
	}
}

// tailOf returns the last lines of a log from offset on, for an error.
func tailOf(path string, offset int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	const most = 2 << 10
	if info, err := f.Stat(); err == nil && info.Size()-offset > most {
		offset = info.Size() - most
	}
	b, err := io.ReadAll(io.NewSectionReader(f, offset, most))
	if err != nil {
		return err.Error()
	}
	b = bytes.TrimPrefix(bytes.TrimSpace(b), []byte("ccproxy: "))
	if len(b) == 0 {
		return "it logged nothing; see " + path
	}
	return string(b)
}

// ready asks a gateway whether it takes requests; nil if so.
func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := local().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return nil
}
