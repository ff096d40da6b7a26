// Package ledger says whether an attempt may be made, by what its budgets have
// left, and writes down what it has cost.
//
//	Hold ──▶ budget.Book: the money is reserved, in all budgets or in none
//	     ──▶ store.Store: the hold is in the journal before anything is sent
//	Watch ─▶ the hold grows with the stream; a checkpoint a second
//	Settle ▶ the Book charges what it cost, the Store keeps the line
//	         alerts ──▶ Alerted, and through the outbox to webhooks
//
// Admitted holds never exceed a limit. What an attempt costs may exceed its hold
// only where the pricer's bound can be exceeded, and where a stream that is
// watched is cut off: by one event, and by what the provider still generates
// meanwhile. Either is counted as overshoot.
//
// Nothing here waits for the network or for SQLite while a request does.
package ledger
