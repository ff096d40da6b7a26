package caller

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// pepperSize is the length of a pepper, in bytes.
const pepperSize = 32

// LoadPepper reads the secret that keys are digested with from the file path,
// which only its owner may read. A file that is not there is made, with a new
// pepper. Two processes must not do so at once: hold the storage lock.
//
// Whoever loses the file loses every key that was made with it.
func LoadPepper(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makePepper(path)
	}
	if err != nil {
		return nil, fmt.Errorf("pepper: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("pepper: %s may be read by others (mode %04o); chmod 600 it", path, info.Mode().Perm())
	}
	pepper, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("pepper: %w", err)
	}
	if len(pepper) != pepperSize {
		return nil, fmt.Errorf("pepper: %s has %d bytes, want %d; restore it from a backup", path, len(pepper), pepperSize)
	}
	return pepper, nil
}

// makePepper writes a new pepper in full before it has its name.
func makePepper(path string) ([]byte, error) {
	pepper := make([]byte, pepperSize)
	rand.Read(pepper)
	f, err := os.CreateTemp(filepath.Dir(path), ".pepper-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("pepper: %w", err)
	}
	defer os.Remove(f.Name()) // nothing, once it is renamed
	_, err = f.Write(pepper)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, fmt.Errorf("pepper: %w", err)
	}
	return pepper, syncDir(filepath.Dir(path))
}

// syncDir makes a rename in dir survive a loss of power.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be opened there
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("pepper: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("pepper: %w", err)
	}
	return nil
}
