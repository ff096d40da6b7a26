// Package caller knows who may call the gateway: virtual keys, the teams they
// belong to, and what both are limited to.
//
// A key is declared in the configuration file or made at run time and kept in
// the ledger's database, as a keyed digest of its secret. Requests are answered
// from memory alone:
//
//	secret → shape → HMAC-SHA-256 → table → expiry, team → Access → Enter … Leave
package caller

import (
	"errors"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// Errors that [Registry.Create], [Registry.Show] and [Registry.Revoke] wrap. Any
// other error they return is the database's.
var (
	// ErrInvalid: what is asked for makes no sense, or is more than the team may.
	ErrInvalid = errors.New("invalid key")
	// ErrExists: a live key of that name exists.
	ErrExists = errors.New("the name is taken")
	// ErrNotFound: no key has that id or name.
	ErrNotFound = errors.New("no such key")
	// ErrReadOnly: the key is declared in the configuration file, or there is no
	// database.
	ErrReadOnly = errors.New("read-only")
)

// Limits bound a key, or all keys of a team together. Zero: no limit of this
// kind, except a key's InFlight, where [Policy.DefaultInFlight] holds.
type Limits struct {
	// RequestsPerMinute and TokensPerMinute refill steadily; a whole minute's
	// worth may be used at once.
	RequestsPerMinute int64 `json:"requests_per_minute,omitzero"`
	TokensPerMinute   int64 `json:"tokens_per_minute,omitzero"`
	InFlight          int   `json:"in_flight,omitzero"`
}

// Budget limits what one key may spend. It is only kept here: whoever owns the
// ledger holds it.
type Budget struct {
	Limit    gateway.NanoUSD `json:"limit_nano_usd"` // 0: nothing may be spent
	Window   string          `json:"window"`         // minute hour day week month none, or a rolling span such as "30d"
	Timezone string          `json:"timezone"`       // IANA name; "": UTC
	Action   string          `json:"action"`         // "deny" or "warn"; "": deny
}

// Key is what a virtual key may do.
type Key struct {
	// Name is the key's alias, unique among the keys that are not revoked.
	Name string `json:"name"`
	// Team the key belongs to; "": none.
	Team string `json:"team,omitzero"`
	// Models are patterns over labels, models and "provider/model", in which "*"
	// stands for any text. Empty: whatever the team may use, or everything.
	Models []string `json:"models,omitempty"`
	// Expires is when the key stops working; zero: never.
	Expires time.Time `json:"expires,omitzero"`
	Limits  Limits    `json:"limits,omitzero"`
	Budgets []Budget  `json:"budgets,omitempty"`
	// TrustIncoming makes the caller's traceparent a parent.
	TrustIncoming bool `json:"trust_incoming,omitzero"`
	// Content is none, redacted or full, and overrides telemetry.content for this
	// caller; "": no override.
	Content string `json:"content,omitzero"`
}

// FileKey is a key declared in the configuration file.
type FileKey struct {
	Key
	Secret gateway.Secret
}

// Team groups keys. Its limits bound all its keys together, and its models
// narrow theirs.
type Team struct {
	Name   string
	Models []string // as Key.Models; empty: everything
	Limits Limits
}

// Policy is what holds for all callers.
type Policy struct {
	// Open lets callers without a key in although there are keys.
	Open bool
	// DefaultInFlight is the number of exchanges a key without a limit of its own
	// may have open; 0: 64.
	DefaultInFlight int
}

// defaultInFlight is Policy.DefaultInFlight's default (reliability §4.1).
const defaultInFlight = 64

// Sources of keys.
const (
	SourceFile  = "file"
	SourceStore = "store"
)

// Record is a key as it may be shown: nothing of its secret but a hint.
type Record struct {
	Key
	ID      string    `json:"id"`   // key_…, stable
	Hint    string    `json:"hint"` // prefix and last four characters of the secret
	Source  string    `json:"source"`
	Created time.Time `json:"created,omitzero"` // zero for keys of the file
	Revoked time.Time `json:"revoked,omitzero"` // zero: not revoked
	// LastUsed has a resolution of a second; zero: never, or, for keys of the
	// file, not since the start.
	LastUsed time.Time `json:"last_used,omitzero"`
	// InFlight is the number of exchanges the key has open now.
	InFlight int `json:"in_flight"`
	// Dead says that the key was made with another pepper, so that no secret fits
	// it any more.
	Dead bool `json:"dead,omitzero"`
}
