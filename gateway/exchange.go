package gateway

import (
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Exchange is one client request and all that came of it. It is owned by the
// goroutine that serves the request: nothing else may touch it.
type Exchange struct {
	ID       string // UUIDv7, also the X-CCProxy-Request-Id header
	Start    time.Time
	Dialect  Dialect       // what the client speaks
	Request  *http.Request // as received; its Body has been read
	Pattern  string        // http.route it was served under, such as "/v1/messages"; "" for paths that are none
	Body     []byte        // what will be sent; hooks change it with SetBody
	Call     Call
	Caller   Caller
	Route    Route
	Attempts []*Attempt // oldest first
	Snapshot *Snapshot  // the configuration this exchange runs under
	Err      *Error     // why the exchange failed or was refused, or nil

	// The following are set as the exchange proceeds and are final when the
	// recorder's End is called.

	Outcome     string // names.Outcome…
	Status      int    // HTTP status sent; 0: nothing was
	FirstByte   time.Time
	Finish      time.Time
	Fallbacks   int
	FallbackWhy string // reason of the last fallback
	Overhead    time.Duration
	InputTokens int64 // estimated; 0 unless a hook or rule counted
	HookRuns    []HookRun
	Streamed    bool   // whether the client was sent a stream of events
	Kept        string // ccproxy.kept: why sampling kept the trace; "" when nothing was decided
	// Rerouted names the budget that sent the exchange to another label; "": none did.
	Rerouted string

	// Span is the SERVER span.
	Span trace.Span

	credential clientCredential
	access     Access        // what the caller may do; nil: anything
	visit      Visit         // nil: the exchange counts against no limit
	headers    http.Header   // set on the response by hooks
	hooks      []activeHook  // those that want more than Begin
	beginning  activeHook    // the hook whose Begin runs
	wait       time.Duration // for the provider
	stall      time.Duration // in writes to the client
	gone       *atomic.Bool  // the client has left
	cancel     *canceller
	scratch    *[]attribute.KeyValue // attributes being gathered; see gather
	queue      []Target              // still to be tried
	later      []Target              // put into the queue after the route's targets
	extended   string                // reason for which that was done last
	openFor    time.Duration         // until the first of the circuits that were found open may close
	retries    int                   // further sends to the same target
	modified   bool                  // by the hook that is running
	routed     bool
	labelled   bool
}

// Caller is who asks.
type Caller struct {
	KeyID    string // id of the virtual key; "" without one
	KeyAlias string
	Team     string
	User     string // end user, as the client says
	Account  string // account the client names (Claude Code)
	Session  string
	Tags     map[string]string // X-CCProxy-Tags, at most 16
	Loopback bool              // the connection comes from this machine
}

// Route is the decision where an exchange goes.
type Route struct {
	Label       string // "default" when no rule matched
	Rule        string // name of the rule that matched, or ""
	Reason      string // names.RouteReason…
	Passthrough bool   // the model the client named is kept
	Model       string // model of the first target, as sent; "" while undecided
	Provider    string // provider of the first target
	// Candidates are the targets considered, in order, as "provider/model".
	Candidates []string
	Targets    []Target            // in the order they are tried; all speak the client's dialect
	Skipped    []Skip              // candidates passed over when the route was decided
	Fallbacks  map[string][]Target // by fallback reason; "" for any reason
}

// Skip is a target passed over without an attempt.
type Skip struct {
	Target Target
	Reason string // names.FallbackReason…
}

// Target is one model at one provider.
type Target struct {
	Provider *Provider
	Model    string // as the provider names it; "" for the model the client named
	Name     string // "provider/model", for telemetry
}

// Attempt is one target tried.
type Attempt struct {
	ID       string // UUIDv7
	Exchange *Exchange
	Number   int    // 1 for the first
	Kind     string // names.AttemptKind…
	Target   Target
	Start    time.Time
	// Issued is when the request was first written to the provider.
	Issued time.Time
	// Sent is when the last send began. With one send it is Issued.
	Sent   time.Time
	Finish time.Time
	// Body is what is sent; hooks change it in their Attempt phase.
	Body []byte
	// Header holds additional request headers, set by hooks in their Attempt
	// phase. They win over the client's, never over credentials.
	Header http.Header
	// Request is the last request sent, or nil.
	Request *http.Request
	// Response is the provider's answer, or nil until headers arrive. Its Body
	// belongs to the engine.
	Response   *http.Response
	Sends      []Send
	Result     Result
	Bound      Bound    // set in pre_api, when a ledger holds
	Budget     Budgeted // set when money is held, and when it is settled
	Cost       Cost     // set in post_api, before the hooks' Settle phases
	ResultKind string   // names.AttemptResult…
	Err        *Error   // why it failed, or nil
	WillRetry  bool     // another target follows
	Stream     Stream
	Routing    Routing
	Credential CredentialSource
	UpstreamID string // the provider's request id

	// Span is the GenAI span, or the SERVER span for calls that make none.
	Span trace.Span

	hold    Hold      // money set aside; nil: none
	watched time.Time // when the hold was last told of the stream
	answer  []byte    // body of a plain or failed answer, whole
	settled bool
	edited  bool // a hook replaced Body
	unsent  bool // no byte of the last send's request can have left
	doubts  int  // earlier sends that were not answered and may have been billed
	genai   bool // Span is a GenAI span of this attempt
}

// Send is one physical HTTP request.
type Send struct {
	Start, End time.Time
	Status     int    // 0 when no answer came
	ErrorType  string // "" when it succeeded
	Protocol   string // "1.1" or "2"
}

// Stream is what was seen of a streamed answer; zero for plain ones.
type Stream struct {
	Started    time.Time // first event
	FirstToken time.Time // first generated output
	Ended      time.Time
	Events     int
	Bytes      int64
	MaxGap     time.Duration
	Gaps       []float64     // seconds between events, at most maxGaps
	Stall      time.Duration // time blocked in writes to the client
	End        string        // names.StreamEnd…; "" when the answer was plain
}

// FirstChunk returns the time from issuing the request to the first event, or
// 0 when none came.
func (a *Attempt) FirstChunk() time.Duration {
	if a.Stream.Started.IsZero() || a.Issued.IsZero() {
		return 0
	}
	return a.Stream.Started.Sub(a.Issued)
}

// Routing is the analysis of how well the routing decision served.
type Routing struct {
	Analysed  bool
	Effective bool
	Reason    string // why not, or "ok"
	// Baseline is what the same usage costs on the model the client named; it
	// means nothing unless Compared.
	Baseline NanoUSD
	Compared bool // both costs are known
}

// Efficiency is the baseline divided by what the attempt cost; ok is false when
// they cannot be compared.
func (a *Attempt) Efficiency() (ratio float64, ok bool) {
	if !a.Routing.Compared || a.Cost.Total == 0 {
		return 0, false
	}
	return float64(a.Routing.Baseline) / float64(a.Cost.Total), true
}

// HookRun is one call of a hook, for the hook metrics.
type HookRun struct {
	Hook, Phase, Action string
	Duration            time.Duration
}

// SetBody replaces what will be sent upstream. The facts in x.Call are read
// again from the new body, so later hooks and rules see what is sent. It
// returns an error when the new body is malformed, and then changes nothing.
func (x *Exchange) SetBody(body []byte) error {
	call, err := x.decode(body)
	if err != nil {
		return err
	}
	x.Body, x.Call, x.modified = body, call, true
	return nil
}

// SetLabel names the exchange in place of the rules. Hooks call it before
// model_router; label must be one the configuration knows.
func (x *Exchange) SetLabel(label string) {
	x.Route.Label, x.Route.Rule, x.labelled, x.modified = label, "", true, true
}

// Routed reports whether the route has been decided.
func (x *Exchange) Routed() bool { return x.routed }

// String is the exchange's id: printing an exchange shows no credential.
func (x *Exchange) String() string { return x.ID }

// GoString is String, for %#v.
func (x *Exchange) GoString() string { return x.ID }

// SetResponseHeader sets a header on the answer to the client, whatever it
// will be. Hooks call it in any phase before the first byte.
func (x *Exchange) SetResponseHeader(key, value string) {
	if x.headers == nil {
		x.headers = make(http.Header, 4)
	}
	x.headers.Set(key, value)
}

// SetAttributes puts attributes on the SERVER span if it is recorded.
func (x *Exchange) SetAttributes(kv ...attribute.KeyValue) {
	if x.Span != nil && x.Span.IsRecording() {
		x.Span.SetAttributes(kv...)
	}
}

// ClientGone reports whether the client has left. Safe from any goroutine.
func (x *Exchange) ClientGone() bool { return x.gone != nil && x.gone.Load() }

// Final returns the last attempt, the one that answered or failed last, or nil
// when none was made.
func (x *Exchange) Final() *Attempt {
	if len(x.Attempts) == 0 {
		return nil
	}
	return x.Attempts[len(x.Attempts)-1]
}

// Generates reports whether the attempt has a GenAI span of its own; else Span
// is the exchange's.
func (a *Attempt) Generates() bool { return a.genai }

// Model returns the model the attempt asks for: the target's, or the client's.
func (a *Attempt) Model() string {
	if a.Target.Model != "" {
		return a.Target.Model
	}
	return a.Exchange.Call.Model
}

// Duration returns how long the attempt took; 0 while it runs.
func (a *Attempt) Duration() time.Duration {
	if a.Finish.IsZero() {
		return 0
	}
	return a.Finish.Sub(a.Start)
}
