package gatewaytest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"runtime"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// TestHook reports to t each rule of [gateway.Hook] that what build makes breaks, and why it is one. A hook with a method
// Close is closed before goroutines are counted, so nothing else may start or end any meanwhile. For concurrency, run it
// under the race detector.
func TestHook(t T, build func() gateway.Hook) {
	t.Helper()
	before := runtime.NumGoroutine()
	h := build()
	s := &hookSuite{suite: suite{T: t, subject: "hook " + h.Name()}, h: h}
	s.name()
	s.bare()
	s.client()
	s.cancelled()
	s.concurrent()
	s.close(before)
}

type hookSuite struct {
	suite
	h gateway.Hook
}

var hookName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func (s *hookSuite) name() {
	s.Helper()
	s.check("Name is constant and lower_snake_case", "it is a metric attribute and a configuration key", func() {
		if n := s.h.Name(); !hookName.MatchString(n) || n != s.h.Name() {
			s.broken("Name is %q", n)
		}
	})
}

func (s *hookSuite) bare() {
	s.Helper()
	s.check("every phase takes an exchange of which little is known", "requests come in every dialect and with hardly a header, and attempts fail before there is an answer", func() {
		x := bareExchange()
		phases, err := s.h.Begin(context.Background(), x)
		s.tryError("Begin", err)
		s.phases(context.Background(), x, phases)
	})
}

// phases runs what a hook wants, with an attempt that got nowhere.
func (s *hookSuite) phases(ctx context.Context, x *gateway.Exchange, p gateway.Phases) {
	s.Helper()
	provider := &gateway.Provider{Name: "bare", Type: "bare", Family: "bare", BaseURL: &url.URL{Scheme: "http", Host: "provider"}}
	a := &gateway.Attempt{Exchange: x, Number: 1, Kind: names.AttemptKindPrimary, Start: time.Now(), Target: gateway.Target{Provider: provider, Name: "bare/model"}}
	x.Attempts = append(x.Attempts, a)
	if p.Attempt != nil {
		s.tryError("Attempt", p.Attempt(ctx, a))
	}
	if p.Response != nil {
		a.Response = &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
		s.tryError("Response", p.Response(ctx, a))
	}
	if p.Event != nil {
		s.tryError("Event", p.Event(ctx, &gateway.Event{Raw: []byte("{}"), Data: []byte("{}")}))
		s.tryError("Event", p.Event(ctx, &gateway.Event{}))
	}
	if p.Settle != nil {
		s.tryError("Settle", p.Settle(ctx, a))
	}
	if p.End != nil {
		s.tryError("End", p.End(ctx, x))
	}
}

// tryError: an error is a hook's right, but a refusal must be one a client can be told.
func (s *hookSuite) tryError(phase string, err error) {
	s.Helper()
	var e *gateway.Error
	if errors.As(err, &e) && e.Reason != "" && e.Message == "" {
		s.broken("%s refuses without a message: %#v", phase, e)
	}
}

func (s *hookSuite) client() {
	s.Helper()
	s.check("the client's request stays as it came", "spans, logs and other hooks read it; what is sent has a header of its own", func() {
		x := bareExchange()
		x.Request.Header.Set("User-Agent", "client/1")
		before, target := x.Request.Header.Clone(), x.Request.URL.String()
		phases, err := s.h.Begin(context.Background(), x)
		s.tryError("Begin", err)
		s.phases(context.Background(), x, phases)
		if !reflect.DeepEqual(before, x.Request.Header) || target != x.Request.URL.String() {
			s.broken("header %v became %v, URL %s became %s", before, x.Request.Header, target, x.Request.URL)
		}
	})
}

func (s *hookSuite) cancelled() {
	s.Helper()
	s.check("a context that is done ends every call", "the engine bounds hooks by their context alone", func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		start := time.Now()
		x := bareExchange()
		phases, err := s.h.Begin(ctx, x)
		s.tryError("Begin", err)
		s.phases(ctx, x, phases)
		if took := time.Since(start); took > time.Second {
			s.broken("it took %v", took)
		}
	})
}

func (s *hookSuite) concurrent() {
	s.Helper()
	s.check("one hook serves many exchanges at a time", "state of an exchange lives in the closures of its phases", func() {
		var all sync.WaitGroup
		panics := make(chan any, 8)
		for range cap(panics) {
			all.Go(func() {
				defer func() {
					if p := recover(); p != nil {
						panics <- p
					}
				}()
				x := bareExchange()
				if phases, err := s.h.Begin(context.Background(), x); err == nil {
					s.phases(context.Background(), x, phases)
				}
			})
		}
		all.Wait()
		close(panics)
		for p := range panics {
			s.broken("panic: %v", p)
		}
	})
}

func (s *hookSuite) close(before int) {
	s.Helper()
	s.check("nothing runs on once it is over", "whoever starts a goroutine stops it and waits", func() {
		if c, ok := s.h.(io.Closer); ok {
			if err := c.Close(); err != nil {
				s.broken("Close: %v", err)
			}
		}
		// Connections take a moment to notice that they are closed.
		deadline := time.After(2 * time.Second)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for runtime.NumGoroutine() > before {
			select {
			case <-tick.C:
			case <-deadline:
				s.broken("%d goroutines, %d before", runtime.NumGoroutine(), before)
				return
			}
		}
	})
}

// bareExchange is one of which only what the engine always knows is set.
func bareExchange() *gateway.Exchange {
	return &gateway.Exchange{ID: "bare", Start: time.Now(), Dialect: bareDialect{}, Request: requestFor("/bare"), Body: []byte("{}"),
		Snapshot: &gateway.Snapshot{Router: bareRouter{}, Limits: gateway.DefaultLimits()}}
}

// bareDialect reads nothing. Hooks have no business with the rest of a dialect.
type bareDialect struct{ gateway.Dialect }

func (bareDialect) Name() string      { return "bare" }
func (bareDialect) Family() string    { return "bare" }
func (bareDialect) Operation() string { return "" }
func (bareDialect) Decode(*http.Request, []byte) (gateway.Call, error) {
	return gateway.Call{}, nil
}

// bareRouter knows no target.
type bareRouter struct{}

func (bareRouter) Label(_ context.Context, x *gateway.Exchange) error {
	x.Route.Label = "default"
	return nil
}

func (bareRouter) Route(context.Context, *gateway.Exchange) error {
	return &gateway.Error{Type: names.ErrorNoRoute, Origin: names.ErrorOriginGateway, Reason: names.RejectionNoRoute, Status: 400, Message: "no target"}
}

func (bareRouter) Implied(gateway.Dialect) *gateway.Provider { return nil }
