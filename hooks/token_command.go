package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// maxOutput bounds what is read of a command or a credentials file, in bytes.
const maxOutput = 64 << 10

// errOutput says that a command printed too much.
var errOutput = errors.New("it printed more than a token can be")

// commandToken runs the operator's command.
func commandToken(ctx context.Context, command string) (token, error) {
	return runToken(shell(ctx, command))
}

// runToken runs cmd and reads the token it prints. What it prints on stderr, which may hold secrets, goes nowhere.
func runToken(cmd *exec.Cmd) (token, error) {
	out := limitedBuffer{left: maxOutput}
	cmd.Stdout = &out
	isolate(cmd)
	// A child left behind may hold the pipe open; what it prints is not waited for.
	cmd.WaitDelay = 500 * time.Millisecond
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success():
		return parseToken(out.Bytes())
	case errors.As(err, &exit):
		return token{}, fmt.Errorf("its command ended with %s", exit.ProcessState)
	case errors.Is(err, errOutput):
		return token{}, err
	}
	// The error of a start names the program, which the operator chose, and nothing else.
	return token{}, fmt.Errorf("its command could not be run: %w", err)
}

// limitedBuffer refuses to grow beyond its limit.
type limitedBuffer struct {
	bytes.Buffer
	left int
}

// Write implements io.Writer.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return 0, errOutput
	}
	b.left -= len(p)
	return b.Buffer.Write(p)
}

// keychainService is the name under which Claude Code keeps its token in the macOS Keychain.
const keychainService = "Claude Code-credentials"

// keychainToken reads Claude Code's token from the macOS Keychain.
func keychainToken(ctx context.Context) (token, error) {
	if runtime.GOOS != "darwin" {
		return token{}, errNoToken
	}
	return keychain(ctx, "/usr/bin/security")
}

func keychain(ctx context.Context, program string) (token, error) {
	return runToken(exec.CommandContext(ctx, program, "find-generic-password", "-s", keychainService, "-w"))
}

// claudeFile reads the token from the file Claude Code keeps where there is no Keychain.
func claudeFile() (token, error) {
	dir := os.Getenv("CLAUDE_CONFIG_DIR")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return token{}, fmt.Errorf("find Claude Code's credentials: %w", err)
		}
		dir = filepath.Join(home, ".claude")
	}
	f, err := os.Open(filepath.Join(dir, ".credentials.json"))
	if err != nil {
		return token{}, fmt.Errorf("read Claude Code's credentials (is it logged in?): %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxOutput+1))
	switch {
	case err != nil:
		return token{}, fmt.Errorf("read Claude Code's credentials: %w", err)
	case len(text) > maxOutput:
		return token{}, errors.New("credentials file of Claude Code is larger than one can be")
	}
	return parseToken(text)
}
