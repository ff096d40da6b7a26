package command

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
)

var update = flag.Bool("update", false, "write what is observed into testdata as what is expected")

const exchangeDir = "testdata/exchange"

// TestExchanges plays every script through the whole gateway over real
// sockets, with the telemetry going out over OTLP, and compares what the
// provider received, what the client received, and the telemetry.
func TestExchanges(t *testing.T) {
	scripts, err := gatewaytest.LoadScripts(exchangeDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		t.Run(s.Name(), func(t *testing.T) { playScript(t, s) })
	}
}

func playScript(t *testing.T, s *gatewaytest.Script) {
	provider, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	sink := gatewaytest.NewSink()
	defer sink.Close()
	url, stop := startForScript(t, s, provider.URL, sink)

	reply, err := s.Do(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Left {
		provider.WaitLeft(1)
	}
	lines := stop() // flushes telemetry

	spans := sink.Spans()
	checkTrace(t, spans, sink)
	checkLines(t, lines, spans)
	mask := newMasker(provider.URL, url)
	got := map[string]string{
		"sent":    mask.text(provider.Sent()),
		"reply":   mask.text(reply.Render(provider.LastBody(), replyHeaders...)),
		"spans":   mask.text(renderSpans(spans)),
		"metrics": renderMetrics(sink.Metrics()),
		"logs":    mask.text(renderLogs(sink.Logs())),
		"ledger":  renderLines(lines),
	}
	if *update {
		for _, section := range []string{"sent", "reply", "spans", "metrics", "logs", "ledger"} {
			s.Set(section, got[section])
		}
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
		return
	}
	for section, text := range got {
		want, _ := s.File(section)
		if diff := cmp.Diff(strings.TrimRight(want, "\n"), strings.TrimRight(text, "\n")); diff != "" {
			t.Errorf("%s (-want +got; -update rewrites):\n%s", section, diff)
		}
	}
}

// replyHeaders are those a reply shows.
var replyHeaders = []string{
	"Retry-After", "X-Should-Retry", "Upgrade", "Request-Id", "X-Request-Id", "X-CCProxy-Model-Name", "X-CCProxy-Original-Model",
	"X-CCProxy-Routed-Model", "X-CCProxy-Provider", "X-CCProxy-Attempts", "X-CCProxy-Cost", "Location", "Set-Cookie",
}

// startForScript starts a gateway with the script's configuration. stop ends
// it, waits until all telemetry has left, and returns the ledger's lines, oldest
// first.
func startForScript(t *testing.T, s *gatewaytest.Script, upstream string, sink *gatewaytest.Sink) (url string, stop func() []*store.Line) {
	t.Helper()
	name, ok := s.File("config")
	if !ok {
		name = "default"
	}
	text := name
	if !strings.Contains(name, "version:") {
		b, err := os.ReadFile(filepath.Join(exchangeDir, "config", strings.TrimSpace(name)+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	return startGateway(t, text, upstream, sink)
}

// startGateway runs a gateway configured by text, exporting to sink; a text with
// a telemetry section of its own names the sink there, as ${SINK}.
func startGateway(t *testing.T, text, upstream string, sink *gatewaytest.Sink) (url string, stop func() []*store.Line) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "ccproxy.yaml")
	text += fmt.Sprintf("\nserver: { listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\" }\nstorage: { path: %q }\n", filepath.Join(dir, "storage"))
	env := map[string]string{"UPSTREAM": upstream}
	if sink != nil {
		env["SINK"] = sink.StartGRPC()
		if !strings.Contains(text, "telemetry:") {
			text += "telemetry: { exporters: [ { name: test, endpoint: \"${SINK}\", protocol: grpc } ] }\n"
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lookup := func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	cfg, _, err := config.Load(path, config.Options{Lookup: lookup})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	srv, err := newServer(ctx, cfg, testOptions(t))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	stopped := false
	stop = func() (lines []*store.Line) {
		if stopped {
			return nil
		}
		stopped = true
		eventually(t, func() bool { return srv.active.Load() == 0 })
		for l, err := range srv.accounts.store.Lines(t.Context(), store.Filter{}, 0) {
			if err != nil {
				t.Error(err)
				break
			}
			kept := *l // l is the store's
			lines = append(lines, &kept)
		}
		slices.Reverse(lines)
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the gateway did not stop")
		}
		return lines
	}
	t.Cleanup(func() { stop() })
	return srv.DataURL(), stop
}
