package command

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watch reloads s when what its configuration file says changes, until ctx is done. Bursts of events are one change once
// timeouts.reload has passed in silence; a file that is not valid is left for the next event.
func watch(ctx context.Context, s *server, path string) {
	if path == "" {
		return
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn("configuration is not watched", slog.String("error", err.Error()))
		return
	}
	defer w.Close()
	// Editors and Kubernetes replace files: only the directory sees that.
	if err := w.Add(filepath.Dir(path)); err != nil {
		s.log.Warn("configuration is not watched", slog.String("error", err.Error()))
		return
	}
	last := contents(path)
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-w.Events:
			if concerns(e.Name, path) {
				quiet.Reset(s.config.Load().Timeouts.Reload)
			}
		case err := <-w.Errors:
			// Events may be lost.
			s.log.Debug("watching the configuration", slog.Any("error", err))
			quiet.Reset(s.config.Load().Timeouts.Reload)
		case <-quiet.C:
			if now := contents(path); now != last {
				last = now
				_, _ = s.reloadFile() // which logs it
			}
		}
	}
}

// besideNames are the files that make a configuration, and the link Kubernetes swaps.
var besideNames = []string{"config.yaml", "ccproxy.yaml", "..data"}

func concerns(event, path string) bool {
	name := filepath.Base(event)
	return name == filepath.Base(path) || slices.Contains(besideNames, name)
}

// contents sums up what the configuration's files hold, so that a touched file is no change.
func contents(path string) string {
	var b strings.Builder
	for _, p := range []string{path, filepath.Join(filepath.Dir(path), "config.yaml")} {
		data, err := os.ReadFile(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			data = []byte(err.Error())
		}
		sum := sha256.Sum256(data)
		b.Write(sum[:])
	}
	return b.String()
}
