package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"
)

func TestJSONHandlerIsWellBehaved(t *testing.T) {
	var b bytes.Buffer
	err := slogtest.TestHandler(NewLogHandler(&b, false, nil), func() []map[string]any {
		var list []map[string]any
		for line := range strings.Lines(b.String()) {
			m := map[string]any{}
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			list = append(list, m)
		}
		return list
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTerminalHandlerIsWellBehaved reads the lines back: "time LEVEL message key=value group.key=value".
func TestTerminalHandlerIsWellBehaved(t *testing.T) {
	var b bytes.Buffer
	err := slogtest.TestHandler(NewLogHandler(&b, true, nil), func() []map[string]any {
		var list []map[string]any
		for line := range strings.Lines(withoutColour(b.String())) {
			list = append(list, parseLine(strings.TrimSuffix(line, "\n")))
		}
		return list
	})
	if err != nil {
		t.Error(err)
	}
}

func parseLine(line string) map[string]any {
	m := map[string]any{}
	words := strings.Fields(line)
	if strings.Contains(words[0], ":") {
		m[slog.TimeKey], words = words[0], words[1:]
	}
	m[slog.LevelKey], m[slog.MessageKey] = words[0], words[1]
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		at := m
		for {
			group, rest, nested := strings.Cut(key, ".")
			if !nested {
				break
			}
			if at[group] == nil {
				at[group] = map[string]any{}
			}
			at, key = at[group].(map[string]any), rest
		}
		at[key] = value
	}
	return m
}

func withoutColour(s string) string {
	for _, c := range []string{colourGreen, colourYellow, colourBlue, colourRed, colourDim, colourReset} {
		s = strings.ReplaceAll(s, c, "")
	}
	return s
}

func TestTerminalLineNamesItsEvent(t *testing.T) {
	var b bytes.Buffer
	h := NewLogHandler(&b, true, slog.LevelInfo)
	r := slog.NewRecord(time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), slog.LevelError, "exchange failed", 0)
	r.AddAttrs(slog.String("event", "ccproxy_failure"), slog.String("trace_id", "abc"), slog.String("span_id", "def"),
		slog.String("error_message", "said \"no\"\n\x1b[2Jto it"), slog.Group("usage", slog.Int("input_tokens", 3)))
	if err := h.Handle(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	want := `03:04:05.006 ERROR ccproxy_failure trace_id=abc error_message="said \"no\"\n\u001b[2Jto it" usage.input_tokens=3` + "\n"
	if got := withoutColour(b.String()); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !strings.Contains(b.String(), colourRed+"ERROR"+colourReset) {
		t.Errorf("got %q, want a red level", b.String())
	}
	if h.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("got DEBUG enabled at level INFO")
	}
}

// gate is a writer that blocks until it is opened.
type gate struct {
	mu      sync.Mutex
	entered chan struct{}
	open    chan struct{}
	b       bytes.Buffer
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 1000), open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	g.entered <- struct{}{}
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Write(p)
}

func TestBlockedLogNeverBlocksWhoLogs(t *testing.T) {
	g := newGate()
	w := NewLogWriter(g)
	line := bytes.Repeat([]byte("x"), 1023)
	line = append(line, '\n')
	_, _ = w.Write(line)
	<-g.entered // the writer is stuck with the first line
	const lines = 2000
	for range lines {
		if n, err := w.Write(line); n != len(line) || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
	}
	kept := maxLogBytes/len(line) - 1
	if got := w.Dropped(); got != int64(lines-kept) {
		t.Errorf("got %d dropped, want %d: what is above 1 MiB", got, lines-kept)
	}
	close(g.open)
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got, want := g.b.Len(), (kept+1)*len(line); got != want {
		t.Errorf("got %d bytes written, want %d: whole lines", got, want)
	}
	if n, err := w.Write(line); n != len(line) || err != nil || w.Dropped() != int64(lines-kept+1) {
		t.Errorf("got %d, %v and %d dropped after Close, want a counted loss", n, err, w.Dropped())
	}
}

func TestDroppedLinesAreReportedOnce(t *testing.T) {
	g := newGate()
	w := NewLogWriter(g)
	log := slog.New(NewLogHandler(w, false, nil)).With("a", 1).WithGroup("g")
	log.Info("first")
	<-g.entered
	big := strings.Repeat("x", maxLogBytes)
	log.Info(big)
	log.Info("second")
	log.Info("third")
	close(g.open)
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(g.b.String()), "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], `"msg":"log lines dropped","count":1}`) {
		t.Errorf("got %q, want one line that says that one was dropped", lines)
	}
}

func TestClosingGivesUpOnAFullPipe(t *testing.T) {
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer pipe.Close()
	w := NewLogWriter(pipe)
	_, _ = w.Write(make([]byte, maxLogBytes)) // more than a pipe holds, and nobody reads
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want what ended the wait", err)
	}
}

func TestErrorOfTheLogIsReportedAtItsEnd(t *testing.T) {
	r, pipe := io.Pipe()
	broken := errors.New("disk full")
	_ = r.CloseWithError(broken)
	w := NewLogWriter(pipe)
	_, _ = w.Write([]byte("line\n"))
	if err := w.Close(context.Background()); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func BenchmarkLogWriter(b *testing.B) {
	w := NewLogWriter(io.Discard)
	line := bytes.Repeat([]byte("x"), 500)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = w.Write(line)
	}
	_ = w.Close(context.Background())
}
