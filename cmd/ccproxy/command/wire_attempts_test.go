package command

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/route"
)

func TestAttemptsAreConfigured(t *testing.T) {
	const text = `version: 1
providers:
  anthropic: { type: anthropic, api_key: sk-test-anthropic-0001 }
  mirror: { type: anthropic, base_url: "https://mirror.example", api_key: sk-test-mirror-0001 }
models:
  fast: { targets: [ anthropic/claude-sonnet-5, mirror/claude-sonnet-5 ], strategy: latency }
limits: { retry_budget: 0 }
timeouts: { retry_wait: 3s, retry_after: 1m }
`
	load := func(text string) (*config.Config, error) {
		path := filepath.Join(t.TempDir(), "ccproxy.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, _, err := config.Load(path, config.Options{})
		return cfg, err
	}
	cfg, err := load(text)
	if err != nil {
		t.Fatal(err)
	}
	w := newWiring(nil, slog.New(slog.DiscardHandler))
	defer w.close()
	s, err := w.snapshot(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if l := s.Limits; l.RetryBudget >= 0 || l.RetryBase != 500*time.Millisecond || l.RetryWait != 3*time.Second || l.RetryAfter != time.Minute {
		t.Errorf("got limits %+v", l)
	}
	again, err := w.snapshot(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.Health == nil || s.Health != again.Health {
		t.Error("a reload forgets how targets do")
	}
	// The circuits of the table are there before anybody asks.
	n := 0
	for range s.Router.(*route.Router).States() {
		n++
	}
	if n != 2 {
		t.Errorf("got %d circuits, want 2", n)
	}
	trial, _ := s.Health.Enter(gateway.Target{Name: "mirror/claude-sonnet-5"})
	trial.End(gateway.VerdictThrottled, time.Hour)
	if again.Health.Ready(gateway.Target{Name: "mirror/claude-sonnet-5"}) {
		t.Error("a circuit that opens is open in one configuration only")
	}
	_, err = load(strings.Replace(text, "mirror/claude-sonnet-5 ]", "{ target: mirror/claude-sonnet-5, weight: 3 } ]", 1))
	if err == nil || !strings.Contains(err.Error(), "weights mean nothing under strategy: latency") {
		t.Errorf("weights beside latency: got %v", err)
	}
}
