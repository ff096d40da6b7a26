// Package store keeps the ledger on disk: a journal that takes holds,
// checkpoints and settlements with one write each, and the SQLite database
// ledger.db that a single writer moves them to in batches.
package store
