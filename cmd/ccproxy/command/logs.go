package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

func logsCommand(a *app) *cobra.Command {
	var follow bool
	var lines int
	cmd := &cobra.Command{
		Use: "logs", Short: "Print the log of a gateway started with --detach", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lines < 0 {
				return usage(errors.New("--lines must not be negative"))
			}
			return a.logs(cmd.Context(), lines, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing what is added, until Ctrl-C")
	cmd.Flags().IntVarP(&lines, "lines", "n", 100, "print the last `n` lines")
	return cmd
}

func (a *app) logs(ctx context.Context, lines int, follow bool) error {
	path := filepath.Join(a.storageDir(), logName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no log at %s; `ccproxy start --detach` writes one", path)
	}
	if err != nil {
		return err
	}
	defer func() { f.Close() }() // f is replaced when the file is
	start, err := lastLines(f, lines)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if _, err := io.Copy(a.out, f); err != nil || !follow {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if _, err := io.Copy(a.out, f); err != nil {
				return err
			}
			if f, err = reopened(f, path); err != nil {
				return fmt.Errorf("follow log: %w", err)
			}
		}
	}
}

// reopened returns the file now at path, f itself unless it was replaced; a file that was cut is read from its start.
func reopened(f *os.File, path string) (*os.File, error) {
	now, err := os.Stat(path)
	if err != nil {
		return f, nil // between two files
	}
	old, err := f.Stat()
	if err != nil {
		return f, err
	}
	if !os.SameFile(old, now) {
		fresh, err := os.Open(path)
		if err != nil {
			return f, nil
		}
		return fresh, f.Close()
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err == nil && at > now.Size() {
		_, err = f.Seek(0, io.SeekStart)
	}
	return f, err
}

// lastLines returns the offset at which the last n lines of f begin.
func lastLines(f *os.File, n int) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	if n == 0 {
		return size, nil
	}
	block := make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(0, end-int64(len(block)))
		b := block[:end-start]
		if _, err := f.ReadAt(b, start); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := bytes.LastIndexByte(b, '\n'); i >= 0; i = bytes.LastIndexByte(b[:i], '\n') {
			if start+int64(i) == size-1 {
				continue // ends the last line
			}
			if n--; n <= 0 {
				return start + int64(i) + 1, nil
			}
		}
		end = start
	}
	return 0, nil
}
