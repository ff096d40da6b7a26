package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// PutMessages writes messages to the outbox. When it returns they survive a
// power cut. A message that is there already stays as it is.
func (s *Store) PutMessages(ctx context.Context, messages []Message) error {
	if len(messages) == 0 {
		return nil
	}
	tx, err := s.full.BeginTx(ctx, nil)
	if err != nil {
		return outboxError("put", err)
	}
	for _, m := range messages {
		_, err := tx.ExecContext(ctx, "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT (id) DO NOTHING",
			m.ID, m.Webhook, append([]byte{}, m.Body...), unixMilli(m.Created), m.Attempts, unixMilli(m.Next), m.LastErr, m.crc())
		if err != nil {
			return errors.Join(outboxError("put", err), tx.Rollback())
		}
	}
	if err := tx.Commit(); err != nil {
		return outboxError("put", err)
	}
	return nil
}

// crc is the checksum of what does not change in a message.
func (m *Message) crc() int64 {
	b := append(append([]byte(m.ID), 0), m.Webhook...)
	return int64(crc32.Checksum(append(append(b, 0), m.Body...), castagnoli))
}

// outboxError is the error of a statement; most pass.
func outboxError(doing string, err error) error {
	switch {
	case damaged(err):
		return fmt.Errorf("%s message: %w: %w", doing, ErrCorrupt, err)
	case !passing(err):
		return fmt.Errorf("%s message: %w", doing, err)
	}
	return unavailable(doing+" message", err)
}

// DueMessages returns the messages to be delivered at a time, oldest first.
// limit 0 is no limit.
func (s *Store) DueMessages(ctx context.Context, now time.Time, limit int) (due []Message, err error) {
	if limit == 0 {
		limit = -1
	}
	err = eachMessage(ctx, s.full, s.path, "WHERE failed = 0 AND next <= ? ORDER BY created, id LIMIT ?", intactOnly(s.path, &due), now.UnixMilli(), limit)
	return due, err
}

// eachMessage calls f with the rows of outbox that a clause picks, and whether
// they match their checksum.
func eachMessage(ctx context.Context, db queryer, path, where string, f func(m *Message, place string, intact bool) error, args ...any) error {
	const query = "SELECT id, webhook, body, created, attempts, next, last_error, crc FROM outbox "
	return eachRow(ctx, db, path, "outbox", query+where, func(rows *sql.Rows) error {
		var m Message
		var created, next, crc int64
		if err := rows.Scan(&m.ID, &m.Webhook, &m.Body, &created, &m.Attempts, &next, &m.LastErr, &crc); err != nil {
			return rowDamaged(path, "table outbox")
		}
		m.Created, m.Next = fromMilli(created), fromMilli(next)
		return f(&m, "message "+m.ID, crc == m.crc())
	}, args...)
}

// NextMessage returns when the next message is due, the zero time when none
// waits.
func (s *Store) NextMessage(ctx context.Context) (time.Time, error) {
	var next int64
	err := s.full.QueryRowContext(ctx, "SELECT coalesce(min(max(next, 1)), 0) FROM outbox WHERE failed = 0").Scan(&next)
	if err != nil {
		return time.Time{}, fileError(s.path, "table outbox", err)
	}
	return fromMilli(next), nil
}

// DoneMessage removes a message that was delivered.
func (s *Store) DoneMessage(ctx context.Context, id string) error {
	return s.change(ctx, "done with", "DELETE FROM outbox WHERE id = ?", id)
}

// RetryMessage notes that a delivery did not work, and when to try again.
func (s *Store) RetryMessage(ctx context.Context, id string, next time.Time, lastErr string) error {
	return s.change(ctx, "retry", "UPDATE outbox SET attempts = attempts + 1, next = ?, last_error = ? WHERE id = ?",
		unixMilli(next), clean(lastErr, maxText), id)
}

// FailedMessage gives a message up. It stays in the table, for people to see,
// until failedMessages newer ones have failed.
func (s *Store) FailedMessage(ctx context.Context, id string, lastErr string) error {
	if err := s.change(ctx, "give up", "UPDATE outbox SET attempts = attempts + 1, failed = 1, last_error = ? WHERE id = ?",
		clean(lastErr, maxText), id); err != nil {
		return err
	}
	return s.change(ctx, "forget", `DELETE FROM outbox WHERE failed = 1 AND id NOT IN
		(SELECT id FROM outbox WHERE failed = 1 ORDER BY created DESC, id DESC LIMIT ?)`, failedMessages)
}

// failedMessages is how many messages that were given up are kept.
const failedMessages = 1000

func (s *Store) change(ctx context.Context, doing, statement string, args ...any) error {
	if _, err := s.full.ExecContext(ctx, statement, args...); err != nil {
		return outboxError(doing, err)
	}
	return nil
}
