package store

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Backup writes the ledger to a new file, as it is at one moment and with what
// was settled before the call, while the store goes on. The file must not exist.
// Open holds are not in it.
func (s *Store) Backup(ctx context.Context, path string) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	// VACUUM INTO takes a file that is empty; this one is nobody else's to read.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	err = f.Close()
	if err == nil {
		_, err = s.full.ExecContext(ctx, "VACUUM INTO ?", path)
	}
	if err == nil {
		err = syncFile(path)
	}
	if err != nil {
		return fmt.Errorf("backup to %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}
