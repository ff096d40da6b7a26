package store

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// longLedger makes a ledger of many lines, quickly.
func longLedger(t testing.TB, dir string, lines int) {
	t.Helper()
	s, _ := openStore(t, dir)
	var q queue
	for i := range lines {
		q.add(appendSettled(nil, lineAt(i), childAccounts, nil), nil)
		if q.lines == 5000 || i == lines-1 {
			if _, err := s.writer.commit(&q); err != nil {
				t.Fatal(err)
			}
			q = queue{}
		}
	}
	closeStore(t, s)
}

// logged collects what is logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// What Open leaves is verified in the background, and damage there is reported
// while the store works.
func TestHistoryIsVerifiedInTheBackground(t *testing.T) {
	const lines = recentLines + 5000
	whole := t.TempDir()
	longLedger(t, whole, lines)
	damaged := copyDir(t, whole)
	edit("UPDATE lines SET cost = 1 WHERE seq = 3333")(t, damaged)
	recent := copyDir(t, whole)
	edit(fmt.Sprintf("UPDATE lines SET cost = 1 WHERE seq = %d", lines-10))(t, recent)

	if _, _, err := Open(t.Context(), Options{Dir: recent}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opened with a recent line changed: %v", err)
	}
	for dir, want := range map[string]bool{whole: true, damaged: false} {
		synctest.Test(t, func(t *testing.T) {
			var log logged
			s, r := openStore(t, dir, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
			if r.Unclean {
				t.Errorf("recovered %+v", r)
			}
			for h := s.Health(); !h.Whole && h.Err == nil; h = s.Health() {
				time.Sleep(10 * time.Millisecond)
			}
			h := s.Health()
			if h.Whole != want || want != (h.Err == nil) || want && h.Verified != lines-recentLines || !want && !errors.Is(h.Err, ErrCorrupt) {
				t.Errorf("health: %+v", h)
			}
			if got := log.String(); strings.Contains(got, "line 3333") == want {
				t.Errorf("log: %s", got)
			}
			if err := settled(s, "new"); err != nil {
				t.Error(err)
			}
			if got := sumOf(t, s, childAccounts[0]); got <= gateway.NanoUSD(lines)*1000 {
				t.Errorf("sum: %d", got)
			}
			closeStore(t, s)
		})
	}
}

// Close stops the background at once.
func TestCloseDoesNotWaitForHistory(t *testing.T) {
	dir := t.TempDir()
	longLedger(t, dir, recentLines+5000)
	synctest.Test(t, func(t *testing.T) {
		s, _ := openStore(t, dir)
		closeStore(t, s)
		if s.state.whole {
			t.Error("the history was verified first")
		}
	})
}

// Messages of progress come to an end.
func TestVerifyReportsProgress(t *testing.T) {
	dir := t.TempDir()
	longLedger(t, dir, 2500)
	var seen []string
	r, err := Verify(t.Context(), dir, func(done, total int64) { seen = append(seen, fmt.Sprint(done, "/", total)) })
	if err != nil || !r.OK() || r.Lines != 2500 || r.Sums != 2 {
		t.Fatal(r, err)
	}
	if got := strings.Join(seen, " "); got != "1000/2500 2000/2500 2500/2500" {
		t.Errorf("progress: %s", got)
	}
}
