// Package ledger writes down who spent what: holds before a request is sent,
// one line an attempt when its cost is known, budgets and their alerts.
package ledger

import _ "modernc.org/sqlite" // the database/sql driver "sqlite"
