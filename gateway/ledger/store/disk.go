package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// disk is what the journal does to files. Tests put one in its place that
// fails, or forgets what was not synced.
type disk interface {
	// create makes a file for this process alone; it fails when there is one.
	create(name string) (file, error)
	rename(from, to string) error
	remove(name string) error // of a file that is not there is no error
	// syncDir makes the names in a directory durable.
	syncDir(dir string) error
}

// file is one the journal writes to. Sync makes its bytes durable.
type file interface {
	WriteAt(b []byte, at int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// realDisk is the file system.
type realDisk struct{}

func (realDisk) create(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return realFile{f}, nil
}

func (realDisk) rename(from, to string) error { return os.Rename(from, to) }

func (realDisk) remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (realDisk) syncDir(dir string) error { return syncDir(dir) }

// realFile is an *os.File whose Sync leaves out what is not needed to read the
// data back.
type realFile struct{ *os.File }

func (f realFile) Sync() error { return syncData(f.File) }

// createEmpty makes an empty file for this process alone, unless it is there.
func createEmpty(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// syncFile makes a file durable that somebody else has written.
func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}
