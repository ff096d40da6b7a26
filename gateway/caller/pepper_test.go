package caller_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ccproxy/ccproxy/gateway/caller"
)

func TestAPepperIsMadeOnceAndOnlyItsOwnersToRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pepper")
	first, err := caller.LoadPepper(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := caller.LoadPepper(path)
	if err != nil || !bytes.Equal(first, again) || len(first) != 32 {
		t.Errorf("got %d and %d bytes, %v", len(first), len(again), err)
	}
	other, err := caller.LoadPepper(filepath.Join(t.TempDir(), "pepper"))
	if err != nil || bytes.Equal(first, other) {
		t.Errorf("two peppers are equal, %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if runtime.GOOS == "windows" {
		return // no modes
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := caller.LoadPepper(path); err == nil {
		t.Error("a pepper that others may read was taken")
	}
}

func TestADamagedPepperIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pepper")
	if err := os.WriteFile(path, []byte("half of i"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := caller.LoadPepper(path); err == nil {
		t.Error("a pepper of nine bytes was taken")
	}
	if b, _ := os.ReadFile(path); string(b) != "half of i" {
		t.Errorf("the file now holds %q", b)
	}
	if _, err := caller.LoadPepper(filepath.Join(t.TempDir(), "no", "pepper")); err == nil {
		t.Error("a pepper was made in a directory that is not there")
	}
}
