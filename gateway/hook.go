package gateway

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Hook takes part in the life of exchanges. One value serves all exchanges,
// concurrently; what it remembers of one lives in the closures of [Phases].
type Hook interface {
	// Name is constant, as in configuration and spans: lower_snake_case.
	Name() string
	// Begin is called once an exchange is decoded and before a target is
	// chosen. It may edit x. An error is handled by the hook's policy: deny
	// refuses the exchange (the client gets an *Error's message in its own
	// dialect), allow records it and goes on.
	Begin(ctx context.Context, x *Exchange) (Phases, error)
}

// Phases are the callbacks a hook wants of one exchange; nil: not interested.
// All run on the goroutine that owns the exchange: the first three in the
// configured order, Settle and End in reverse.
type Phases struct {
	// Attempt runs in pre_api, before each target's first send. An error with
	// policy deny fails the exchange, not only the attempt.
	Attempt func(ctx context.Context, a *Attempt) error
	// Response runs when headers are in and nothing has been sent to the client.
	Response func(ctx context.Context, a *Attempt) error
	// Event runs on each event before the client sees it. A plain body is one
	// event. An error ends the answer.
	Event func(ctx context.Context, e *Event) error
	// Settle runs in post_api, once for each attempt offered, when usage is
	// final. It can refuse nothing any more: an error is recorded.
	Settle func(ctx context.Context, a *Attempt) error
	// End runs exactly once if Begin succeeded, after the last byte or failure.
	// An error is recorded.
	End func(ctx context.Context, x *Exchange) error
}

// HookFunc makes a Hook of a name and a Begin function.
func HookFunc(name string, begin func(context.Context, *Exchange) (Phases, error)) Hook {
	return hookFunc{name, begin}
}

type hookFunc struct {
	name  string
	begin func(context.Context, *Exchange) (Phases, error)
}

func (h hookFunc) Name() string { return h.name }
func (h hookFunc) Begin(ctx context.Context, x *Exchange) (Phases, error) {
	return h.begin(ctx, x)
}

// ConfiguredHook is a hook with its policy.
type ConfiguredHook struct {
	Hook
	// Deny refuses the exchange when the hook fails or panics; false records
	// the failure and goes on (ccproxy.hook.action failed_open).
	Deny bool
	// Timeout bounds each call's context; 0: none (for hooks that only compute).
	Timeout time.Duration
	// CallsOut says that the hook does I/O: it gets a live span, so that what
	// it calls can hang from it.
	CallsOut bool

	events map[string][]trace.EventOption // :: phase → options of the span event of a call that did nothing; see prepare
}

// prepare makes what each call of the hook would else make anew.
func (h *ConfiguredHook) prepare() {
	h.events = make(map[string][]trace.EventOption, len(names.HookPhases))
	for _, phase := range names.HookPhases {
		h.events[phase] = []trace.EventOption{trace.WithAttributes(
			names.KeyHookName.String(h.Name()), names.KeyHookPhase.String(phase), names.KeyHookAction.String(names.HookActionNone))}
	}
}

type activeHook struct {
	*ConfiguredHook
	phases Phases
}
