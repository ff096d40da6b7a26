package store

import (
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// Line is what the ledger keeps of one attempt. Empty strings are stored as
// such: nothing in a line is null. Strings are cut at 512 bytes (Cost.Entry and
// Usage.Others at 16 KiB) and made valid UTF-8, tags are cut at 64; the time is kept to the
// millisecond. A Cost that is not Known has no amounts.
type Line struct {
	ID       string    // of the attempt, UUIDv7: a line is written once per id
	Exchange string    // X-CCProxy-Request-Id
	Trace    string    // hex trace id; "" without one
	Node     string    // the process's host name, for several gateways on one database
	Time     time.Time // when money was held, UTC; it decides the windows the cost falls in
	Duration time.Duration
	Attempt  int // 1 for the first of its exchange

	KeyID, KeyAlias, Team, User, Session string
	Tags                                 map[string]string

	Dialect, Label, Rule                string
	OriginalModel, Model, AnsweredModel string // as the client named it, as sent, as answered
	Provider                            string // as configured
	Streamed                            bool

	Usage       gateway.Usage // with its source
	ServiceTier string
	Cost        gateway.Cost
	// Baseline is the cost of the same usage on the model the client named;
	// absent when it is not known.
	Baseline gateway.Optional[gateway.NanoUSD]

	Outcome   string // names.Outcome… as seen by the attempt, or OutcomeVoid
	ErrorType string // error.type; ""
	Status    int    // of the provider's answer; 0: none came
	Held      gateway.NanoUSD
	Estimated bool // settled from a checkpoint after the process died, or from what was seen
}

// OutcomeVoid is the outcome of an attempt whose hold was given back.
const OutcomeVoid = "void"

// ErrorTypeInterrupted is the error type of a line whose process died before
// the attempt was settled.
const ErrorTypeInterrupted = "process_interrupted"

// HoldRecord is money set aside, written before the request is sent. Should the
// process die, Line becomes the attempt's line, with the cost of the last
// checkpoint.
type HoldRecord struct {
	Line Line // all that is known already; Held and Cost.Total (the floor) are set
	// Budgets are the accounts the money is reserved in.
	Budgets []Account
	// PerSecond is what a second of output is taken to cost, for what was
	// generated after the last checkpoint.
	PerSecond gateway.NanoUSD
}

// InDoubt is a hold whose process died before it was settled.
type InDoubt struct {
	// Line is what the attempt has to cost: the dearer of its floor and its last
	// checkpoint, one more second of output, but not more than was held. It is
	// flagged Estimated, and to be handed to Settled as it is.
	Line Line
	// Budgets are the accounts the money was reserved in, in which it counts.
	Budgets []Account
}

// Account names a sum: what a subject spent under a budget in one window.
type Account struct {
	Budget  string
	Subject string // "" for global
	Window  int64  // Unix seconds of the window's start; 0 for a budget without windows
}

// Sum is the persisted total of an account.
type Sum struct {
	Account
	Spent gateway.NanoUSD
}

// AlertState is how far the alerts of an account have got. Level is 0 when
// nothing fired, else 1 + the index of the highest threshold that did; it
// belongs to one window.
type AlertState struct {
	Account
	Level    int
	Forecast bool // forecast_overrun has fired
	Crossed  bool // budget_crossed has fired
}

// BudgetState is what is remembered of a budget's definition, so that a changed
// one is recognised.
type BudgetState struct {
	Name        string
	Fingerprint string    // of scope, match, window, time zone and what it counts; not of the limit
	Since       time.Time // when the budget was first seen
}

// Message is an alert that waits to be delivered to a webhook.
type Message struct {
	ID       string // UUIDv7
	Webhook  string // its URL's key in the configuration: a stable name
	Body     []byte
	Created  time.Time
	Attempts int
	Next     time.Time // not before
	LastErr  string
}
