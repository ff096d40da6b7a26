package command

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
)

func stopCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "stop", Short: "Stop the gateway, once what runs has ended", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			run, err := a.stop(cmd.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "ccproxy stopped (pid %d)\n", run.PID)
			return err
		},
	}
}

func restartCommand(a *app) *cobra.Command {
	var f startFlags
	cmd := &cobra.Command{
		Use: "restart", Short: "Stop the gateway if it runs, and start it", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A configuration that would not start must not cost the gateway that runs.
			if _, _, _, err := a.load(); err != nil {
				return err
			}
			if _, err := a.stop(cmd.Context()); err != nil && !errors.Is(err, errNotRunning) {
				return err
			}
			return a.start(cmd.Context(), f)
		},
	}
	f.add(cmd)
	return cmd
}

// stop asks the gateway to end and waits; one that does not in time is killed.
func (a *app) stop(ctx context.Context) (runInfo, error) {
	dir, limit := a.storageDir(), config.Default().Timeouts.Exit
	if cfg, _, _, err := a.load(); err == nil {
		limit = cfg.Timeouts.Exit
	}
	run, err := running(dir)
	if err != nil {
		return run, err
	}
	p, err := os.FindProcess(run.PID)
	if err != nil {
		return run, fmt.Errorf("find process %d: %w", run.PID, err)
	}
	defer func() { _ = p.Release() }() // frees a handle, if there is one
	if err := terminate(p); err != nil {
		if asked := ask(ctx, run, http.MethodPost, "/api/stop", nil); asked != nil {
			return run, fmt.Errorf("stop process %d: %w", run.PID, errors.Join(err, asked))
		}
	}
	if gone(ctx, dir, limit) {
		return run, nil
	}
	if err := ctx.Err(); err != nil {
		return run, err
	}
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return run, fmt.Errorf("kill process %d: %w", run.PID, err)
	}
	if !gone(ctx, dir, 5*time.Second) {
		return run, fmt.Errorf("process %d does not end", run.PID)
	}
	_, err = fmt.Fprintf(a.err, "ccproxy: killed pid %d, which had not ended within %v\n", run.PID, limit)
	return run, err
}

// gone reports whether the gateway that uses dir ends within limit.
func gone(ctx context.Context, dir string, limit time.Duration) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := running(dir); errors.Is(err, errNotRunning) {
			return true
		}
		select {
		case <-tick.C:
		case <-end.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}
