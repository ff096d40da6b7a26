package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// phases are those a hook can break in.
var phases = []string{"begin", "attempt", "response", "event", "settle", "end"}

// breaking is a hook that runs fault in one phase.
func breaking(phase string, fault func(context.Context) error) gateway.Hook {
	in := func(p string) func(context.Context) error {
		if p == phase {
			return fault
		}
		return func(context.Context) error { return nil }
	}
	return gateway.HookFunc("breaking", func(ctx context.Context, _ *gateway.Exchange) (gateway.Phases, error) {
		return gateway.Phases{
			Attempt:  func(ctx context.Context, _ *gateway.Attempt) error { return in("attempt")(ctx) },
			Response: func(ctx context.Context, _ *gateway.Attempt) error { return in("response")(ctx) },
			Event:    func(ctx context.Context, _ *gateway.Event) error { return in("event")(ctx) },
			Settle:   func(ctx context.Context, _ *gateway.Attempt) error { return in("settle")(ctx) },
			End:      func(ctx context.Context, _ *gateway.Exchange) error { return in("end")(ctx) },
		}, in("begin")(ctx)
	})
}

func withHook(h gateway.ConfiguredHook) func(*gateway.Snapshot) {
	return func(s *gateway.Snapshot) { s.Hooks = []gateway.ConfiguredHook{h} }
}

// faults are the ways of breaking that a policy decides about.
var faults = map[string]func(context.Context) error{
	"panic":     func(context.Context) error { panic("sk-secret-in-a-panic") },
	"nil panic": func(context.Context) error { return make([]error, 0)[len("x")] },
	"error":     func(context.Context) error { return errors.New("sk-secret-in-an-error") },
	"timeout": func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	},
}

func TestH01H02HookThatBreaksIsHandledByItsPolicy(t *testing.T) {
	for name, fault := range faults {
		for _, phase := range phases {
			if name == "timeout" && phase == "event" {
				continue // events have no deadline of their own
			}
			for _, deny := range []bool{false, true} {
				for _, stream := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s in %s, deny %v, streamed %v", name, phase, deny, stream), func(t *testing.T) {
						r := newRig(t, rigConfig{snapshot: withHook(gateway.ConfiguredHook{Hook: breaking(phase, fault), Deny: deny, Timeout: 10 * time.Millisecond})})
						got := r.ask(apis[0], stream, "")
						x, spans := r.exchange()
						refusedAt := deny && phase != "settle" && phase != "end" // too late to refuse anything
						switch {
						case refusedAt && (got.status != 500 || !strings.HasPrefix(got.body, `{"type":"error"`) || x.Err == nil || x.Err.Type != names.ErrorHookError) && !x.Streamed:
							t.Errorf("got %d, %s, %v, want a refusal", got.status, got.body, x.Err)
						case refusedAt && x.Streamed && (got.err == nil || !strings.Contains(got.body, "event: error")):
							t.Errorf("got %d, %v, %s, want a broken stream", got.status, got.err, got.body)
						case !refusedAt && (got.status != 200 || got.err != nil || x.Err != nil):
							t.Errorf("got %d, %s, %v, want an answer", got.status, got.body, x.Err)
						}
						if strings.Contains(got.body, "sk-secret") {
							t.Errorf("the client learns what broke: %s", got.body)
						}
						if n := len(r.end.hookFailures()); n == 0 {
							t.Error("the recorder was not told")
						}
						if phase != "event" {
							// A call that only took long on a busy machine has a span too.
							shown := slices.ContainsFunc(spans.named(names.SpanHook), func(h sdktrace.ReadOnlySpan) bool {
								return h.Status().Code == codes.Error && attr(h, names.KeyErrorType).AsString() == names.ErrorHookError
							})
							if !shown {
								t.Errorf("the trace does not show it: %v", describe(spans))
							}
						}
						if phase == "begin" && deny {
							nothingSent(t, r, "refused in Begin")
						}
					})
				}
			}
		}
	}
}

func TestHookThatBlocksRefusesWhateverItsPolicy(t *testing.T) {
	verdict := func(context.Context) error {
		return &gateway.Error{Type: names.ErrorModerationBlocked, Origin: names.ErrorOriginPolicy, Reason: names.RejectionModeration, Message: "not here"}
	}
	for _, phase := range []string{"begin", "attempt", "response", "event"} {
		for _, deny := range []bool{false, true} {
			for _, a := range apis {
				r := newRig(t, rigConfig{snapshot: withHook(gateway.ConfiguredHook{Hook: breaking(phase, verdict), Deny: deny}), any: []string{a.family() + "/fallback"}})
				got := r.ask(a, false, "")
				x, spans := r.exchange()
				if got.status != 400 || !strings.Contains(got.body, "not here") || x.Outcome != names.OutcomeBlocked {
					t.Errorf("%s in %s: got %d, %s, outcome %s", a.name, phase, got.status, got.body, x.Outcome)
				}
				if spans.server().Status().Code != codes.Unset || len(x.Attempts) > 1 {
					t.Errorf("%s in %s: SERVER %v, %d attempts", a.name, phase, spans.server().Status(), len(x.Attempts))
				}
			}
		}
	}
}

func TestHooksSeeEveryPhaseInOrder(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		if len(calls) == 0 || calls[len(calls)-1] != s {
			calls = append(calls, s)
		}
	}
	hook := func(name string) gateway.ConfiguredHook {
		return gateway.ConfiguredHook{Hook: gateway.HookFunc(name, func(context.Context, *gateway.Exchange) (gateway.Phases, error) {
			note(name + " begin")
			return gateway.Phases{
				Attempt:  func(context.Context, *gateway.Attempt) error { note(name + " attempt"); return nil },
				Response: func(context.Context, *gateway.Attempt) error { note(name + " response"); return nil },
				Event:    func(context.Context, *gateway.Event) error { note("event"); return nil },
				Settle:   func(context.Context, *gateway.Attempt) error { note(name + " settle"); return nil },
				End:      func(context.Context, *gateway.Exchange) error { note(name + " end"); return nil },
			}, nil
		})}
	}
	r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Hooks = []gateway.ConfiguredHook{hook("a"), hook("b")} }})
	r.ask(apis[0], true, "")
	r.exchange()
	mu.Lock()
	defer mu.Unlock()
	want := []string{"a begin", "b begin", "a attempt", "b attempt", "a response", "b response", "event", "b settle", "a settle", "b end", "a end"}
	if !slices.Equal(calls, want) {
		t.Errorf("got %v, want %v", calls, want)
	}
}

func TestHookMayChangeTheBody(t *testing.T) {
	change := gateway.HookFunc("change", func(_ context.Context, x *gateway.Exchange) (gateway.Phases, error) {
		return gateway.Phases{}, x.SetBody([]byte(strings.Replace(string(x.Body), "hello", "goodbye", 1)))
	})
	r := newRig(t, rigConfig{snapshot: withHook(gateway.ConfiguredHook{Hook: change})})
	r.ask(apis[0], false, "")
	_, spans := r.exchange()
	if sent := string(r.received()[0].Body); !strings.Contains(sent, "goodbye") {
		t.Errorf("sent %s", sent)
	}
	h := spans.named(names.SpanHook)
	if len(h) != 1 || attr(h[0], names.KeyHookAction).AsString() != names.HookActionModified || h[0].Status().Code != codes.Unset {
		t.Errorf("the trace does not show the change: %v", describe(spans))
	}
}

func TestHookThatSetsANonsenseBodyChangesNothing(t *testing.T) {
	spoil := gateway.HookFunc("spoil", func(_ context.Context, x *gateway.Exchange) (gateway.Phases, error) {
		if err := x.SetBody([]byte("{")); err == nil {
			t.Error("a malformed body was accepted")
		}
		return gateway.Phases{}, nil
	})
	r := newRig(t, rigConfig{snapshot: withHook(gateway.ConfiguredHook{Hook: spoil})})
	if got := r.ask(apis[0], false, ""); got.status != 200 {
		t.Errorf("got %d", got.status)
	}
	r.exchange()
}
