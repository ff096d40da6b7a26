package gateway

import (
	"context"
	"time"
)

// Detail says how much of an exchange becomes spans.
type Detail int

// The detail levels of TELEMETRY §1. The zero value is standard.
const (
	DetailStandard Detail = iota
	DetailMinimal
	DetailFull
)

// Snapshot is a configuration that exchanges run under. It is immutable; a
// reload makes a new one and running exchanges keep theirs.
type Snapshot struct {
	Version   string // identifies the configuration in logs
	Providers []*Provider
	Router    Router
	Hooks     []ConfiguredHook
	// ForwardOAuth and ForwardAPIKey send the client's own Authorization or
	// API key to the provider its path implies, before any configured one.
	ForwardOAuth, ForwardAPIKey bool
	Models                      []ModelInfo
	Limits                      Limits
	Detail                      Detail
	UserID                      UserIDPolicy
	// Trust says from whom an incoming traceparent is a parent.
	Trust Trust
	// RuleLatency and RuleCost are the latency and the cost a rule asks of its
	// route, for the routing analysis.
	RuleLatency map[string]time.Duration
	RuleCost    map[string]NanoUSD
	// Pricer says what attempts cost; nil: nobody does.
	Pricer Pricer
	// Ledger holds and settles money; nil: nobody does.
	Ledger Ledger
	// Callers says who may call; nil: everybody.
	Callers Callers
	// Health knows how targets are doing; nil: all are always ready.
	Health Health
	// HideCost keeps costs out of telemetry and response headers. They are
	// computed all the same.
	HideCost bool
}

// Trust says whose traceparent is believed.
type Trust int

// The trust levels. The zero value trusts loopback callers.
const (
	TrustLoopback Trust = iota
	TrustNone
	TrustAll
)

// UserIDPolicy says what of an end user's id reaches telemetry.
type UserIDPolicy int

// The policies. The zero value writes a keyed hash.
const (
	UserIDHash UserIDPolicy = iota
	UserIDNone
	UserIDPlain
)

// Router decides where exchanges go. It is safe for concurrent use.
type Router interface {
	// Label sets x.Route.Label and Rule.
	Label(ctx context.Context, x *Exchange) error
	// Route sets the rest of x.Route. An *Error with reason no_route means
	// that no target is left.
	Route(ctx context.Context, x *Exchange) error
	// Implied is the provider that requests in d go to when nothing routes
	// them, and the only one the client's own credential may go to; nil: none.
	Implied(d Dialect) *Provider
}

// Learner is a Router that learns from answers.
type Learner interface {
	// Learn is called once for each attempt that was sent, when its usage is
	// final. The client may be waiting for the end of its answer: it must be
	// quick.
	Learn(a *Attempt)
}

// ModelInfo is an entry of the model list.
type ModelInfo struct {
	ID       string // label, model name, or target model
	Provider string // name of the provider, or "ccproxy" for labels
	Family   string // of the dialects that can call it
	Created  time.Time
}

// Limits bound what one exchange may take. Zero fields take DefaultLimits'.
type Limits struct {
	Body                int64 // bytes of a request body
	HeldAnswer          int64 // bytes of a plain answer held whole; larger ones are relayed as they come
	JSONDepth           int
	JSONMembers         int
	Attempts            int
	HeaderTimeout       time.Duration // wait for response headers, plain
	StreamHeaderTimeout time.Duration // and streamed
	IdleTimeout         time.Duration // between events
	WriteTimeout        time.Duration // client write without progress
	Exchange            time.Duration // whole exchange
	Drain               time.Duration // reading on after the client left
	EventInspect        int           // bytes of an event that are inspected
	EventLine           int           // bytes of an event that are relayed at all
	// RetryBudget is the share of exchanges that may send to the same target
	// again; negative: none may. RetryBase is the first back-off, RetryWait the
	// longest wait before such a send, RetryAfter the longest that a target is
	// left alone because it asks for it.
	RetryBudget                      float64
	RetryBase, RetryWait, RetryAfter time.Duration
}

// DefaultLimits returns the limits of reliability §4.1.
func DefaultLimits() Limits {
	return Limits{
		Body: 32 << 20, HeldAnswer: 8 << 20, JSONDepth: 128, JSONMembers: 100_000, Attempts: 3,
		HeaderTimeout: 300 * time.Second, StreamHeaderTimeout: 60 * time.Second, IdleTimeout: 60 * time.Second,
		WriteTimeout: 60 * time.Second, Exchange: 15 * time.Minute, Drain: 30 * time.Second,
		EventInspect: 1 << 20, EventLine: 64 << 20,
		RetryBudget: 0.2, RetryBase: 500 * time.Millisecond, RetryWait: 20 * time.Second, RetryAfter: 5 * time.Minute,
	}
}

// withDefaults fills in what is zero.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	or(&l.Body, d.Body)
	or(&l.HeldAnswer, d.HeldAnswer)
	or(&l.JSONDepth, d.JSONDepth)
	or(&l.JSONMembers, d.JSONMembers)
	or(&l.Attempts, d.Attempts)
	or(&l.HeaderTimeout, d.HeaderTimeout)
	or(&l.StreamHeaderTimeout, d.StreamHeaderTimeout)
	or(&l.IdleTimeout, d.IdleTimeout)
	or(&l.WriteTimeout, d.WriteTimeout)
	or(&l.Exchange, d.Exchange)
	or(&l.Drain, d.Drain)
	or(&l.EventInspect, d.EventInspect)
	or(&l.EventLine, d.EventLine)
	or(&l.RetryBudget, d.RetryBudget)
	or(&l.RetryBase, d.RetryBase)
	or(&l.RetryWait, d.RetryWait)
	or(&l.RetryAfter, d.RetryAfter)
	return l
}

func or[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
