package gateway

import (
	"context"
	"time"
)

// Recorder turns exchanges into metrics and log events. It is called on the
// goroutine that owns the exchange, with a context that holds the SERVER span
// (for attempts: the attempt's span) and outlives the client. It must not block.
// Metrics are recorded in End only, when the sampling decision is known; the
// rest are log events and gauges.
type Recorder interface {
	// Begin is called once an exchange has been accepted.
	Begin(ctx context.Context, x *Exchange)
	// Routed is called once, when label and targets are decided.
	Routed(ctx context.Context, x *Exchange)
	// Forwarded is called when a credential is attached to an attempt.
	Forwarded(ctx context.Context, a *Attempt)
	// AttemptStarted is called before an attempt's first send.
	AttemptStarted(ctx context.Context, a *Attempt)
	// StreamStarted is called with the first event of a stream; StreamEnded
	// follows exactly once.
	StreamStarted(ctx context.Context, a *Attempt)
	StreamEnded(ctx context.Context, a *Attempt)
	// Settled is called in post_api, when usage and routing analysis are final.
	Settled(ctx context.Context, a *Attempt)
	// AttemptEnded is called when an attempt is over, after Settled.
	AttemptEnded(ctx context.Context, a *Attempt)
	// FellBack is called when another target follows a failed one.
	FellBack(ctx context.Context, x *Exchange, from, to Target, reason string, delay time.Duration)
	// Skipped is called when a target is passed over without an attempt.
	Skipped(ctx context.Context, x *Exchange, t Target, reason string)
	// HookFailed is called when a hook fails or panics.
	HookFailed(ctx context.Context, x *Exchange, hook, phase, action string, err error)
	// End is called exactly once per Begin, after the last byte, while the
	// SERVER span is still open. It may set attributes on it.
	End(ctx context.Context, x *Exchange)
}

// NopRecorder records nothing.
type NopRecorder struct{}

// The methods of Recorder, without effect.
func (NopRecorder) Begin(context.Context, *Exchange)                   {}
func (NopRecorder) Routed(context.Context, *Exchange)                  {}
func (NopRecorder) Forwarded(context.Context, *Attempt)                {}
func (NopRecorder) AttemptStarted(context.Context, *Attempt)           {}
func (NopRecorder) StreamStarted(context.Context, *Attempt)            {}
func (NopRecorder) StreamEnded(context.Context, *Attempt)              {}
func (NopRecorder) Settled(context.Context, *Attempt)                  {}
func (NopRecorder) AttemptEnded(context.Context, *Attempt)             {}
func (NopRecorder) Skipped(context.Context, *Exchange, Target, string) {}
func (NopRecorder) End(context.Context, *Exchange)                     {}
func (NopRecorder) FellBack(context.Context, *Exchange, Target, Target, string, time.Duration) {
}
func (NopRecorder) HookFailed(context.Context, *Exchange, string, string, string, error) {}
