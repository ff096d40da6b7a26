// Package store keeps the recent exchanges and their spans on this machine, for the console: a span processor that ends in
// the file traces.db.
//
//	span ends ─▶ held by trace ─SERVER span ends─▶ queue (bytes) ─▶ one goroutine: summary + spans ─▶ block ─▶ traces.db
//	                                                                      │
//	                                                          index in memory, subscribers
//
// The request path only keeps a reference to what the SDK has made anyway. Everything else, the writing of bytes first of
// all, is done behind a queue that is bounded in bytes and that drops, and counts, when it is full.
//
// A row of the database is a block of up to 128 exchanges: their summaries, which also stay in memory, where a list or a
// search of 10⁵ of them takes milliseconds without an index on disk; and their spans in a compact form, read when somebody
// looks. A secondary index of SQLite alone would cost as much as all of this.
//
// What is here is a convenience that anybody may delete: a file that is damaged, or of a newer version, is set aside and a new
// one begun, and the oldest blocks go when there are too many exchanges or bytes.
package store
