//go:build !linux

package store

import "os"

func syncData(f *os.File) error { return f.Sync() }

// bootID is not known here: every start counts as one after a power cut.
func bootID() string { return "" }
