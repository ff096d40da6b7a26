// Package store keeps the ledger on disk.
//
//	Held, Checkpoint, Settled ──one write(2)──▶ ledger.journal.N
//	                 Settled ──queue, in bytes──▶ one writer ──group commit──▶ ledger.db
//
// A request never waits for SQLite. What it must not lose is in the journal
// when the call returns: a killed process loses nothing, and with
// [Options.Full] neither does a power cut. A single goroutine moves settled
// lines to the database, many in one transaction, and then the journal starts
// a new file that begins with the holds that are still open; so it stays small.
//
// [Open] replays the journal: settled lines that the database lacks are
// inserted, once per id, and holds without a settlement are handed out as in
// doubt, with what they have to cost. No hold outlives its process.
//
// Every line carries a checksum over itself and its predecessor's checksum,
// every sum one of its own. What does not add up is an error with its place:
// nothing here silently starts again from zero.
//
// A storage directory belongs to one process at a time; whoever opens the
// store holds the lock.
package store
