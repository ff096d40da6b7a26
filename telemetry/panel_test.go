package telemetry

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ccproxy/ccproxy/gateway"
)

func TestPanelShowsTheDecision(t *testing.T) {
	for _, tc := range []struct {
		name             string
		route            gateway.Route
		original         string
		title, colour    string
		shownOriginal    string
		shownRoutedModel string
	}{
		{"routed", gateway.Route{Label: "think", Model: "claude-opus-5"}, "claude-sonnet-5", "ROUTED", colourGreen, "claude-sonnet-5", "claude-opus-5"},
		{"no change", gateway.Route{Label: "think", Model: "claude-opus-5"}, "claude-opus-5", "NO CHANGE", colourBlue, "claude-opus-5", "claude-opus-5"},
		{"passthrough", gateway.Route{Label: "default", Model: "m", Passthrough: true}, "m", "PASSTHROUGH", colourDim, "m", "m"},
		{"hostile", gateway.Route{Label: "default", Model: "m"}, "\x1b]0;owned\a\n╯ forged", "ROUTED", colourGreen, `\u001b]0;owned\u0007\n╯ forged`, "m"},
		{"long", gateway.Route{Label: "default", Model: "m"}, strings.Repeat("é", 100), "ROUTED", colourGreen, strings.Repeat("é", 59) + "…", "m"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			r, err := NewRecorder(RecorderConfig{Debug: true, Terminal: &b})
			if err != nil {
				t.Fatal(err)
			}
			r.Routed(context.Background(), &gateway.Exchange{Route: tc.route, Call: gateway.Call{Model: tc.original}})
			got := b.String()
			if !strings.HasPrefix(got, tc.colour+"╭─ "+tc.title+" ─") {
				t.Errorf("got %q, want the title %s", got, tc.title)
			}
			lines := strings.Split(strings.TrimSuffix(withoutColour(got), "\n"), "\n")
			if len(lines) != 5 {
				t.Fatalf("got %d lines, want 5: %q", len(lines), lines)
			}
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); n != panelWidth {
					t.Errorf("got %d columns in %q, want %d", n, line, panelWidth)
				}
				if strings.ContainsAny(line, "\x1b\a") {
					t.Errorf("got an escape of the client's in %q", line)
				}
			}
			for i, want := range []string{"label     " + tc.route.Label, "original  " + tc.shownOriginal, "routed    " + tc.shownRoutedModel} {
				if !strings.HasPrefix(lines[i+1], "│ "+want+" ") {
					t.Errorf("got %q, want %q", lines[i+1], want)
				}
			}
		})
	}
}

func TestNoPanelWithoutATerminal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, cfg := range []RecorderConfig{{Debug: true, Terminal: file}, {Debug: true}} {
		r, err := NewRecorder(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r.Routed(context.Background(), &gateway.Exchange{})
	}
	if info, err := file.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("got %d bytes in a file, want no panel there", info.Size())
	}
	var b bytes.Buffer
	r, err := NewRecorder(RecorderConfig{Terminal: &b})
	if err != nil {
		t.Fatal(err)
	}
	r.Routed(context.Background(), &gateway.Exchange{})
	if b.Len() != 0 {
		t.Errorf("got %q without debug", b.String())
	}
}
