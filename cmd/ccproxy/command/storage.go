package command

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ccproxy/ccproxy/gateway/caller"
)

// The files of a storage directory.
const (
	runName    = "run.json"
	lockName   = "ccproxy.lock"
	logName    = "ccproxy.log"
	pepperName = "pepper"
	ledgerName = "ledger.db"
)

// runInfo is what a running gateway tells the commands: run.json, readable by its owner alone.
type runInfo struct {
	PID     int       `json:"pid"`
	URL     string    `json:"url"`                 // of the data port
	Admin   string    `json:"admin_url,omitempty"` // of the admin port; "": off
	Token   string    `json:"token,omitempty"`     // for the admin port
	Config  string    `json:"config,omitempty"`    // the file it runs by; "": none
	Version string    `json:"version"`
	Started time.Time `json:"started"`
}

// errLocked says that another gateway uses the storage directory.
var errLocked = errors.New("another gateway uses this storage directory")

// storage is a storage directory this process has for itself.
type storage struct {
	dir  string
	lock *os.File
}

// lockPatience is how long a lock that is held is tried again: a command that looks for a running gateway holds it for a
// moment.
const lockPatience = 200 * time.Millisecond

// openStorage makes dir if need be and locks it. When another gateway has it the error wraps errLocked and names it.
func openStorage(dir string) (*storage, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the storage directory: %w; set storage.path to one that can be written", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot write to the storage directory: %w; set storage.path to one that can be written", err)
	}
	ok, err := tryLock(f)
	for end := time.Now().Add(lockPatience); err == nil && !ok && time.Now().Before(end); ok, err = tryLock(f) {
		time.Sleep(lockPatience / 10)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock storage %s: %w", dir, err), f.Close())
	}
	if !ok {
		return nil, errors.Join(inUse(dir), f.Close())
	}
	s := &storage{dir, f}
	// Only a directory that is ours alone is narrowed: a shared one may have been given on purpose.
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 && filepath.Base(dir) == ".ccproxy" {
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("storage %s: %w", dir, err), s.close())
		}
	}
	return s, nil
}

func inUse(dir string) error {
	run, err := readRun(dir)
	if err != nil {
		return fmt.Errorf("%w: %s; end it, or set storage.path to another directory", errLocked, dir)
	}
	return fmt.Errorf("a gateway is running already: pid %d at %s; end it with `ccproxy stop`, or set storage.path to another directory (%w)",
		run.PID, run.URL, errLocked)
}

// close removes run.json and gives the directory back.
func (s *storage) close() error {
	err := os.Remove(filepath.Join(s.dir, runName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.lock.Close())
}

// publish writes run.json whole or not at all.
func (s *storage) publish(run runInfo) error {
	b, err := json.MarshalIndent(run, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, runName)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// pepper returns what keys and end users' ids are digested with. It stays the same from one start to the next.
func (s *storage) pepper() ([]byte, error) {
	return caller.LoadPepper(filepath.Join(s.dir, pepperName))
}

func newToken() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func readRun(dir string) (runInfo, error) {
	var run runInfo
	b, err := os.ReadFile(filepath.Join(dir, runName))
	if err != nil {
		return run, err
	}
	return run, json.Unmarshal(b, &run)
}

// errNotRunning says that no gateway uses a storage directory.
var errNotRunning = errors.New("the gateway is not running; start it with `ccproxy start`")

// running returns what the gateway that uses dir says of itself, or errNotRunning. A run.json left behind by one that was
// killed does not count: its lock is gone.
func running(dir string) (runInfo, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return runInfo{}, errNotRunning
	}
	if err != nil {
		return runInfo{}, fmt.Errorf("look for a running gateway: %w", err)
	}
	defer f.Close() // which unlocks
	free, err := tryLock(f)
	if err != nil {
		return runInfo{}, fmt.Errorf("look for a running gateway: %w", err)
	}
	if free {
		return runInfo{}, errNotRunning
	}
	run, err := readRun(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return runInfo{}, errors.New("the gateway is starting or ending; try again")
	}
	if err != nil {
		return runInfo{}, fmt.Errorf("read %s: %w", filepath.Join(dir, runName), err)
	}
	return run, nil
}
