package ledger

import (
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
)

// Store returns where the ledger keeps what was spent, for reading: spend,
// lines, health, backups. Whoever settles goes through the Ledger.
func (l *Ledger) Store() *store.Store { return l.store }

// Statuses yields what is known of every account of every budget now, each once.
// It is an iter.Seq; see [budget.Book.Statuses].
func (l *Ledger) Statuses(yield func(budget.Status) bool) { l.book.Statuses(yield) }

// OpenHolds returns how many holds have not ended; none while nothing is in
// flight.
func (l *Ledger) OpenHolds() int { return l.open.len() }

// Leaked returns how many holds have been settled because nobody else did. Each
// is a bug.
func (l *Ledger) Leaked() uint64 { return l.leaks.Load() }
