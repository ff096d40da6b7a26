package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func TestS21SecretNeverPrints(t *testing.T) {
	const canary = "canary-4711"
	holder := struct {
		Name string
		Key  Secret
		Keys Secrets
		Map  map[string]Secret
	}{"x", canary, Secrets{canary}, map[string]Secret{"a": canary}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T%v", "%10.3s"} {
		fmt.Fprintf(&out, verb, holder, holder)
		fmt.Fprintf(&out, verb, holder.Key, holder.Key)
		fmt.Fprintf(&out, verb, &holder, &holder)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", holder.Key, "all", holder)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", holder.Key, "all", holder)
	if err := json.NewEncoder(&out).Encode(holder); err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(y)
	fmt.Fprintln(&out, fmt.Errorf("wrap %w %v", fmt.Errorf("%s", holder.Key), holder.Key))
	for _, leak := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary)} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q is in %s", leak, out.String())
		}
	}
	same(t, "Reveal", holder.Key.Reveal(), canary)
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "64KiB": 64 << 10, "32MiB": 32 << 20, "1GiB": 1 << 30, "64KB": 64e3, "5 MB": 5e6, "12": 12, "7B": 7} {
		got, err := parseSize(text)
		if err != nil || got != want {
			t.Errorf("parseSize(%q): got %d, %v, want %d", text, got, err, want)
		}
		if back, err := parseSize(got.String()); err != nil || back != got {
			t.Errorf("%s: got %v, %v, want itself", got, back, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "1TiB2", "99999999999GiB", "x"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q): got %d, want an error", text, got)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"15m": 15 * time.Minute, "30d": 720 * time.Hour, "250ms": 250 * time.Millisecond, "1m15s": 75 * time.Second} {
		got, err := parseDuration(text)
		if err != nil || got != want {
			t.Errorf("parseDuration(%q): got %s, %v, want %s", text, got, err, want)
		}
	}
	for d, want := range map[time.Duration]string{15 * time.Minute: "15m", 8 * time.Hour: "8h", 75 * time.Second: "1m15s", 10 * time.Second: "10s", 90 * time.Minute: "1h30m", 20 * time.Minute: "20m"} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%d): got %s, want %s", d, got, want)
		}
	}
}

func TestAmountsAreExact(t *testing.T) {
	for text, want := range map[string]int64{"0.1": 100_000_000, "500": 500e9, "3e-7": 300, ".5": 500_000_000, "9000000000.000000001": 9_000_000_000_000_000_001} {
		got, err := parseAmount(text, 9)
		if err != nil || got != want {
			t.Errorf("parseAmount(%q): got %d, %v, want %d", text, got, err, want)
		}
		if back, err := parseAmount(USD(got).String(), 9); err != nil || back != got {
			t.Errorf("%s: got %d, %v, want itself", text, back, err)
		}
	}
	for _, text := range []string{"", "-1", "1e999999999", "NaN", "Inf", "0x10", "1_000", "1e-10", "99999999999", "1e30"} {
		if got, err := parseAmount(text, 9); err == nil {
			t.Errorf("parseAmount(%q): got %d, want an error", text, got)
		}
	}
}

func TestNearestName(t *testing.T) {
	for name, want := range map[string]string{"bse_url": "base_url", "bugdet": "budget", "baes_url": "base_url", "ap": "", "completely": "", "APIKEY": "api_key"} {
		if got := nearest(name, []string{"base_url", "budget", "api_key", "id"}); got != want {
			t.Errorf("nearest(%s): got %q, want %q", name, got, want)
		}
	}
}
