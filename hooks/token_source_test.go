//go:build unix

package hooks

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// counting is a command that prints tok-1, tok-2, … and fails once a file "broken" stands in dir.
func counting(dir string) string {
	return fmt.Sprintf(`cd '%s'; test -e broken && { echo leaked-output; echo leaked-stderr >&2; exit 7; }; echo x >> runs; echo "tok-$(wc -l < runs | tr -d ' ')"`, dir)
}

func runs(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "runs"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("x"))
}

func newSource(t *testing.T, cfg TokenConfig) gateway.TokenSource {
	t.Helper()
	cfg.Provider = "anthropic"
	s, err := NewTokenSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustToken(t *testing.T, s gateway.TokenSource, want string) {
	t.Helper()
	got, err := s.Token(t.Context())
	if err != nil || got.Reveal() != want {
		t.Errorf("got %q, %v, want %q", got.Reveal(), err, want)
	}
}

func TestTokenIsFetchedAtNinetyPercentOfItsLife(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, TokenConfig{Command: counting(dir)})
		mustToken(t, s, "tok-1")
		time.Sleep(8*time.Hour*9/10 - time.Second)
		mustToken(t, s, "tok-1")
		time.Sleep(2 * time.Second)
		mustToken(t, s, "tok-2")
	})
}

func TestTokenThatNamesItsEndIsFetchedBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		end := time.Now().Add(time.Hour)
		claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, end.Unix()))
		for name, out := range map[string]string{
			"milliseconds": fmt.Sprintf(`{"accessToken":"first","expiresAt":%d}`, end.UnixMilli()),
			"seconds":      fmt.Sprintf(`{"access_token":"first","expires_at":%d}`, end.Unix()),
			"text":         fmt.Sprintf(`{"access_token":"first","expires_at":"%s"}`, end.UTC().Format(time.RFC3339)),
			"jwt":          "h." + claims + ".s",
		} {
			file := filepath.Join(dir, name)
			if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
			s := newSource(t, TokenConfig{Command: fmt.Sprintf("cat '%s'", file)})
			got, err := s.Token(t.Context())
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			src := s.(*tokenSource)
			if src.due.Before(end.Add(-6*time.Minute-2*time.Second)) || src.due.After(end.Add(-6*time.Minute+2*time.Second)) {
				t.Errorf("%s: got a refresh %v before the end, want 6 m", name, end.Sub(src.due))
			}
			if !strings.HasPrefix(got.Reveal(), "first") && name != "jwt" {
				t.Errorf("%s: got %q", name, got.Reveal())
			}
		}
	})
}

func TestOldTokenServesUntilItsEndWhenTheCommandFails(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, TokenConfig{Command: counting(dir), TTL: time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil))})
		mustToken(t, s, "tok-1")
		if err := os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(55 * time.Minute)
		mustToken(t, s, "tok-1")
		mustToken(t, s, "tok-1")
		if n := strings.Count(log.String(), "token refresh failed"); n != 1 {
			t.Errorf("got %d warnings in one pause, want 1: %s", n, &log)
		}
		time.Sleep(6 * time.Minute)
		_, err := s.Token(t.Context())
		if err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "anthropic") {
			t.Errorf("got %v, want the exit status", err)
		}
		if text := log.String() + fmt.Sprint(err); strings.Contains(text, "leaked") || strings.Contains(text, "tok-1") {
			t.Errorf("got output in %s", text)
		}
		if err := os.Remove(filepath.Join(dir, "broken")); err != nil {
			t.Fatal(err)
		}
		if _, again := s.Token(t.Context()); again == nil {
			t.Error("got a token within the pause, want the remembered failure")
		}
		time.Sleep(pause + time.Second)
		mustToken(t, s, "tok-2")
	})
}

func TestManyRefusalsRunTheCommandOnce(t *testing.T) {
	dir := t.TempDir()
	s := newSource(t, TokenConfig{Command: "sleep 0.1; " + counting(dir)})
	mustToken(t, s, "tok-1")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got, err := s.Refresh(t.Context(), "tok-1"); err != nil || got != "tok-2" {
				t.Errorf("got %q, %v, want tok-2", got.Reveal(), err)
			}
		})
	}
	wg.Wait()
	if n := runs(t, dir); n != 2 {
		t.Errorf("got %d runs, want 2", n)
	}
	mustToken(t, s, "tok-2")
}

func TestCommandThatReturnsTheRefusedTokenIsAnErrorAndNotRunForEachRequest(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, TokenConfig{Command: fmt.Sprintf("echo x >> '%s/runs'; echo same", dir)})
		mustToken(t, s, "same")
		for range 5 {
			if _, err := s.Refresh(t.Context(), "same"); !errors.Is(err, errSameToken) {
				t.Errorf("got %v, want %v", err, errSameToken)
			}
		}
		if n := runs(t, dir); n != 2 {
			t.Errorf("got %d runs, want 2", n)
		}
		time.Sleep(pause + time.Second)
		if _, err := s.Refresh(t.Context(), "same"); !errors.Is(err, errSameToken) || runs(t, dir) != 3 {
			t.Errorf("got %v after %d runs, want a new run after the pause", err, runs(t, dir))
		}
	})
}

func TestClientThatLeavesDoesNotTakeTheTokenWithIt(t *testing.T) {
	dir := t.TempDir()
	s := newSource(t, TokenConfig{Command: "sleep 0.1; " + counting(dir)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := s.Token(ctx); err != nil || got != "tok-1" {
		t.Errorf("got %q, %v, want tok-1", got.Reveal(), err)
	}
}

func TestCommandsAreBoundedAndSilent(t *testing.T) {
	for name, c := range map[string]struct{ command, want string }{
		"too long":       {"sleep 30", "longer than 300ms"},
		"ignores TERM":   {"trap '' TERM INT; sleep 30; sleep 30", "longer than 300ms"},
		"fails":          {"echo leaked; echo leaked >&2; exit 3", "exit status 3"},
		"not found":      {"no-such-program-here leaked", "exit status 127"},
		"no output":      {"true", "no token"},
		"null":           {"echo null", "no token"},
		"words":          {"echo 'please log in: leaked'", "no token"},
		"broken JSON":    {`echo '{"accessToken":"leaked"'`, "begins like JSON"},
		"odd end":        {`echo '{"accessToken":"leaked","expiresAt":"soon"}'`, "no time"},
		"expired":        {`echo '{"accessToken":"leaked","expiresAt":1700000000}'`, "expired at 2023-11-14"},
		"prints forever": {"yes leaked", ""},
		"too large":      {"head -c 20000 /dev/zero | tr '\\0' a", "no token"},
	} {
		start := time.Now()
		_, err := newSource(t, TokenConfig{Command: c.command, Timeout: 300 * time.Millisecond}).Token(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "leaked") {
			t.Errorf("%s: got %v, want %q and no output", name, err, c.want)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func TestTimeoutEndsEverythingTheCommandStarted_H07(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "survived")
	s := newSource(t, TokenConfig{Command: fmt.Sprintf("(sleep 0.6; echo x > '%s') & wait", mark), Timeout: 100 * time.Millisecond})
	if _, err := s.Token(t.Context()); err == nil {
		t.Error("got no error, want a timeout")
	}
	// The child would have written by the end of a shell that sleeps longer.
	if err := shell(t.Context(), "sleep 0.8").Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("got a child that outlived its command")
	}
}

func TestChildThatKeepsThePipeDoesNotHoldTheToken(t *testing.T) {
	start := time.Now()
	mustToken(t, newSource(t, TokenConfig{Command: "sleep 3 & echo tok"}), "tok")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v, want less than the child", took)
	}
}

func TestTokenFormats(t *testing.T) {
	for out, want := range map[string]string{
		"tok\n": "tok", "  Bearer tok \nsecond line": "tok", "bearer tok": "tok", "a.b.c": "a.b.c",
		`{"access_token":"tok"}`: "tok", `{"claudeAiOauth":{"accessToken":"tok","expiresAt":4102444800000,"scopes":["x"]}}`: "tok",
	} {
		got, err := parseToken([]byte(out))
		if err != nil || got.Value.Reveal() != want {
			t.Errorf("%q: got %q, %v, want %q", out, got.Value.Reveal(), err, want)
		}
	}
}

func TestTokenConfigIsChecked(t *testing.T) {
	for _, cfg := range []TokenConfig{
		{}, {Command: "x", Source: "claude"}, {Source: "cluade"}, {Command: "x", TTL: -1}, {Command: "x", TTL: time.Hour, RefreshBuffer: time.Hour}, {Command: "x", UserAgent: "a\nb"},
	} {
		if _, err := NewTokenSource(cfg); err == nil {
			t.Errorf("%+v: got no error", cfg)
		}
	}
	if got := newSource(t, TokenConfig{Command: "x", UserAgent: "cli/1"}).UserAgent(); got != "cli/1" {
		t.Errorf("got %q", got)
	}
	s := newSource(t, TokenConfig{Command: "echo secret-token"})
	mustToken(t, s, "secret-token")
	if text := fmt.Sprintf("%v %+v %#v %v", s, s, s, token{Value: "secret-token"}); strings.Contains(text, "secret-token") {
		t.Errorf("got %s", text)
	}
}

func TestClaudeTokenComesFromItsFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CLAUDE_CONFIG_DIR", dir)
	if _, err := claudeFile(); err == nil || !strings.Contains(err.Error(), "logged in") {
		t.Errorf("got %v, want a hint", err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, ".credentials.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(fmt.Sprintf(`{"claudeAiOauth":{"accessToken":"sk-ant-oat01-x","refreshToken":"r","expiresAt":%d}}`, time.Now().Add(time.Hour).UnixMilli()))
	if got, err := claudeFile(); err != nil || got.Value != "sk-ant-oat01-x" || !got.Expires.After(time.Now()) {
		t.Errorf("got %q until %v, %v", got.Value.Reveal(), got.Expires, err)
	}
	write(strings.Repeat("x", maxOutput+1))
	if _, err := claudeFile(); err == nil {
		t.Error("got no error for a file too large")
	}
}

func TestClaudeTokenComesFromTheKeychain(t *testing.T) {
	program := filepath.Join(t.TempDir(), "security")
	script := "#!/bin/sh\n[ \"$*\" = 'find-generic-password -s Claude Code-credentials -w' ] || exit 44\n" +
		`echo '{"claudeAiOauth":{"accessToken":"from-keychain","expiresAt":4102444800000}}'` + "\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := keychain(t.Context(), program)
	if err != nil || got.Value != "from-keychain" || got.Expires.Year() != 2100 {
		t.Errorf("got %q until %v, %v", got.Value.Reveal(), got.Expires, err)
	}
}
