package command

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watcher reloads a server when what its configuration file says changes.
type watcher struct {
	server *server
	path   string
	last   string // contents that were taken over or found wanting
	files  *fsnotify.Watcher
}

// newWatcher begins to watch the file at path, whose present contents s runs by.
func newWatcher(s *server, path string) (*watcher, error) {
	files, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch the configuration: %w", err)
	}
	// Editors and Kubernetes replace files: only the directory sees that.
	if err := files.Add(filepath.Dir(path)); err != nil {
		return nil, errors.Join(fmt.Errorf("watch the configuration: %w", err), files.Close())
	}
	return &watcher{s, path, contents(path), files}, nil
}

// run watches until ctx is done. Bursts of events are one change once timeouts.reload has passed in silence; a file that
// is not valid is left for the next event.
func (w *watcher) run(ctx context.Context) {
	defer w.files.Close()
	quiet := time.NewTimer(time.Hour)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-w.files.Events:
			if concerns(e.Name, w.path) {
				quiet.Reset(w.server.config.Load().Timeouts.Reload)
			}
		case err := <-w.files.Errors:
			// Events may be lost.
			w.server.log.Debug("watching the configuration", slog.Any("error", err))
			quiet.Reset(w.server.config.Load().Timeouts.Reload)
		case <-quiet.C:
			if now := contents(w.path); now != w.last {
				w.last = now
				_, _ = w.server.reloadFile() // which logs it
			}
			quiet.Reset(time.Hour) // a look now and then costs nothing, where events get lost
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
