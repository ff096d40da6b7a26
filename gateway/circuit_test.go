package gateway_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// hosts is a transport that answers from memory by the host asked.
type hosts struct {
	mu    sync.Mutex
	steps map[string]func() tapeStep // :: host → what it does; absent: it answers
	sends map[string]int
}

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	if h.sends == nil {
		h.sends = map[string]int{}
	}
	h.sends[r.URL.Host]++
	s := good
	if f := h.steps[r.URL.Host]; f != nil {
		s = f()
	}
	h.mu.Unlock()
	one := tape{steps: []tapeStep{s}}
	return one.RoundTrip(r)
}

func (h *hosts) set(host string, f func() tapeStep) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps[host] = f
}

func (h *hosts) total() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, k := range h.sends {
		n += k
	}
	return n
}

// fleet is a gateway with three targets of equal weight, in a bubble.
type fleet struct {
	*hosts
	g   *gateway.Gateway
	end *ending
}

func newFleet(t *testing.T, strategy string) *fleet {
	t.Helper()
	list := []route.WeightedTarget{{Target: "one/m", Weight: 1}, {Target: "two/m", Weight: 1}, {Target: "three/m", Weight: 1}}
	health := route.NewHealth()
	cfg := rigConfig{baseURL: "http://unused.example"}
	for _, name := range []string{"one", "two", "three"} {
		cfg.extra = append(cfg.extra, name+"=anthropic=http://"+name)
	}
	s := cfg.newSnapshot(t)
	router, err := route.New(route.Config{Providers: s.Providers, Health: health, Models: map[string]route.Model{"claude-sonnet-5": {Targets: list, Strategy: strategy}}, DefaultPassthrough: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Router, s.Health, s.Limits.RetryBudget = router, health, 0.2
	f := &fleet{hosts: &hosts{steps: map[string]func() tapeStep{}}, end: &ending{done: make(chan *gateway.Exchange, 1<<16)}}
	if f.g, err = gateway.New(gateway.Config{Routes: routes(), Snapshot: s, Recorder: f.end, Transport: f.hosts}); err != nil {
		t.Fatal(err)
	}
	return f
}

// ask sends one request and returns the status and how long it took.
func (f *fleet) ask() (int, time.Duration, *gateway.Exchange) {
	path, body := apis[0].request("", false)
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w, start := &sink{header: http.Header{}}, time.Now()
	f.g.ServeHTTP(w, r)
	return w.status, time.Since(start), <-f.end.done
}

// load asks at a rate for a while and returns how many failed of how many. It
// does not wait for answers before it asks again.
func (f *fleet) load(every, during time.Duration) (failed, asked int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for start := time.Now(); time.Since(start) < during; time.Sleep(every) {
		asked++
		wg.Go(func() {
			if status, _, _ := f.ask(); status != 200 {
				mu.Lock()
				failed++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed, asked
}

func down() tapeStep { return tapeStep{err: errDial} }

func TestU27TotalOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "")
		if failed, _ := f.load(10*time.Millisecond, time.Second); failed != 0 {
			t.Fatalf("%d failed before the outage", failed)
		}
		for _, name := range []string{"one", "two", "three"} {
			f.set(name, down)
		}
		before := f.total()
		failed, asked := f.load(20*time.Millisecond, 10*time.Minute)
		if failed != asked {
			t.Errorf("%d of %d failed", failed, asked)
		}
		if sent := f.total() - before; sent > asked*12/10 {
			t.Errorf("%d requests made %d sends", asked, sent)
		}
		// All circuits are open now: who asks is answered at once. One may be due for a probe.
		fast := 0
		for range 10 {
			status, took, x := f.ask()
			if status == 503 && took < 50*time.Millisecond && x.Err.Type == names.ErrorCircuitOpen && x.Err.RetryAfter >= time.Second && x.Err.RetryAfter <= 5*time.Second {
				fast++
			}
		}
		if fast < 7 {
			t.Errorf("%d of 10 were refused fast", fast)
		}
		for _, name := range []string{"one", "two", "three"} {
			f.set(name, nil)
		}
		recovered := time.Now()
		for {
			if status, _, _ := f.ask(); status == 200 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if took := time.Since(recovered); took > 5*time.Second {
			t.Errorf("recovered after %v", took)
		}
		time.Sleep(5 * time.Second)
		if failed, asked := f.load(10*time.Millisecond, 5*time.Second); failed != 0 {
			t.Errorf("%d of %d failed after the recovery", failed, asked)
		}
	})
}

func TestU28OneBadTargetOfThree(t *testing.T) {
	for name, c := range map[string]struct {
		step func() tapeStep
		most float64 // share of requests that may fail
	}{
		"one in ten fails": {func() tapeStep {
			if rand.N(10) == 0 {
				return fault(500, "api_error")
			}
			return tapeStep{status: 200, body: good.body, delay: 30 * time.Second}
		}, 0.01},
		"all fail":    {func() tapeStep { return fault(500, "api_error") }, 0.01},
		"half fail":   {func() tapeStep { return []tapeStep{good, fault(503, "overloaded_error")}[rand.N(2)] }, 0.01},
		"throttled":   {func() tapeStep { return fault(429, "rate_limit_error", "Retry-After", "60") }, 0.01},
		"no hint":     {func() tapeStep { return fault(429, "rate_limit_error") }, 0.01},
		"down":        {down, 0.0001},
		"black hole":  {func() tapeStep { return tapeStep{delay: time.Hour} }, 0.01},
		"a bad key":   {func() tapeStep { return fault(401, "authentication_error") }, 0.01},
		"no credit":   {func() tapeStep { return fault(402, "billing_error") }, 0.01},
		"a web page":  {func() tapeStep { return tapeStep{status: 200, body: "sign in"} }, 0.01},
		"a redirect":  {func() tapeStep { return tapeStep{status: 302} }, 0.01},
		"overwhelmed": {func() tapeStep { return fault(529, "overloaded_error", "Retry-After", "2") }, 0.01},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, "")
				f.set("two", c.step)
				failed, asked := f.load(10*time.Millisecond, time.Minute)
				if float64(failed) > c.most*float64(asked) {
					t.Errorf("%d of %d failed", failed, asked)
				}
				// What is lost in a black hole shows only when time is up.
				if sent := f.total(); sent > asked*12/10 && name != "black hole" {
					t.Errorf("%d requests made %d sends", asked, sent)
				}
			})
		})
	}
}

func TestQuickTargetsGetTheTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, route.StrategyLatency)
		for name, d := range map[string]time.Duration{"one": 3 * time.Second, "two": 400 * time.Millisecond, "three": 2 * time.Second} {
			f.set(name, func() tapeStep { return tapeStep{status: 200, body: good.body, delay: d} })
		}
		f.load(50*time.Millisecond, time.Minute)
		if share := float64(f.sends["two"]) / float64(f.total()); share < 0.8 {
			t.Errorf("the quickest got %.0f%%", 100*share)
		}
		for _, name := range []string{"one", "three"} {
			if f.sends[name] < 10 {
				t.Errorf("%s was explored %d times", name, f.sends[name])
			}
		}
		f.set("one", nil)
		f.load(50*time.Millisecond, time.Minute)
		before := f.sends["one"]
		f.load(50*time.Millisecond, time.Minute)
		if n := f.sends["one"] - before; n < 900 {
			t.Errorf("the target that has become quickest got %d of 1200", n)
		}
	})
}

// skips is a recorder that notes the targets passed over.
type skips struct {
	*ending
	mu   sync.Mutex
	seen []string
}

func (s *skips) Skipped(_ context.Context, _ *gateway.Exchange, t gateway.Target, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, t.Name+" "+reason)
}

func (s *skips) FellBack(_ context.Context, _ *gateway.Exchange, from, to gateway.Target, reason string, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, from.Name+" → "+to.Name+" "+reason)
}

// breakerRig gives targets that fail, with a breaker, and notes what is skipped.
func breakerRig(t *testing.T, m route.Model) (*rig, *skips) {
	t.Helper()
	notes := &skips{}
	r := newRig(t, rigConfig{extra: []string{"mirror=anthropic", "third=anthropic"}, models: map[string]route.Model{"m": m}, snapshot: healthy,
		recorder: func(e *ending) gateway.Recorder { notes.ending = e; return notes }})
	return r, notes
}

// askModel asks for the model "m" n times and returns the last exchange.
func (r *rig) askModel(n int) (answer, *gateway.Exchange) {
	r.t.Helper()
	path, body := apis[0].request("m", false)
	var got answer
	var x *gateway.Exchange
	for range n {
		got = r.post(path, body)
		x, _ = r.exchange()
	}
	return got, x
}

func TestU27OpenCircuitIsPassedOver(t *testing.T) {
	r, notes := breakerRig(t, route.Model{Targets: []route.WeightedTarget{{Target: "mirror/simulate-500"}, {Target: "anthropic/claude-sonnet-5"}}})
	if _, x := r.askModel(5); x.Fallbacks != 1 {
		t.Errorf("got %d fallbacks, want one", x.Fallbacks)
	}
	notes.seen = nil
	got, x := r.askModel(1)
	if got.status != 200 || len(x.Attempts) != 1 || x.Fallbacks != 0 || x.Route.Reason != names.RouteReasonHealth || x.Attempts[0].Kind != names.AttemptKindPrimary {
		t.Errorf("got %d, %d attempts, %d fallbacks, reason %s", got.status, len(x.Attempts), x.Fallbacks, x.Route.Reason)
	}
	want := []string{"mirror/simulate-500 circuit_open"}
	if !slices.Equal(notes.seen, want) || len(x.Route.Skipped) != 1 || x.Route.Skipped[0].Reason != names.FallbackCircuitOpen {
		t.Errorf("got %v, %v, want %v", notes.seen, x.Route.Skipped, want)
	}
	if n := len(r.received()); n != 11 {
		t.Errorf("%d sends, want 11", n)
	}
}

func TestU27FallbacksForAnOpenCircuit(t *testing.T) {
	r, notes := breakerRig(t, route.Model{Targets: []route.WeightedTarget{{Target: "mirror/simulate-500"}},
		FallbacksFor: map[string][]string{"circuit_open": {"third/claude-sonnet-5"}}})
	if got, x := r.askModel(5); got.status != 500 || x.Fallbacks != 0 {
		t.Errorf("got %d, %d fallbacks before the circuit opened", got.status, x.Fallbacks)
	}
	notes.seen = nil
	got, x := r.askModel(1)
	want := []string{"mirror/simulate-500 circuit_open", "mirror/simulate-500 → third/claude-sonnet-5 circuit_open"}
	if got.status != 200 || !slices.Equal(notes.seen, want) {
		t.Errorf("got %d, %v, want %v", got.status, notes.seen, want)
	}
	if x.Fallbacks != 1 || x.FallbackWhy != names.FallbackCircuitOpen || len(x.Attempts) != 1 || x.Attempts[0].Kind != names.AttemptKindFallback {
		t.Errorf("got %d fallbacks for %s, %d attempts", x.Fallbacks, x.FallbackWhy, len(x.Attempts))
	}
}

func TestU27SingleTargetFailsFastInTheClientsDialect(t *testing.T) {
	for _, a := range apis {
		r := newRig(t, rigConfig{snapshot: healthy})
		for range 5 {
			r.ask(a, true, "status=500")
			r.exchange()
		}
		start := time.Now()
		got := r.ask(a, true, "")
		took := time.Since(start)
		failsWith(t, r, a, got, 503, names.ErrorCircuitOpen)
		if after := got.header.Get("Retry-After"); after != "1" || got.header.Get("X-CCProxy-Attempts") != "0" {
			t.Errorf("%s: got Retry-After %q, attempts %s", a.name, after, got.header.Get("X-CCProxy-Attempts"))
		}
		if took > 50*time.Millisecond {
			t.Errorf("%s: refused after %v", a.name, took)
		}
		if n := len(r.received()); n != 5 {
			t.Errorf("%s: the provider got %d requests, want 5", a.name, n)
		}
	}
}

func TestCircuitSurvivesAReload(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: healthy})
	for range 5 {
		r.ask(apis[0], false, "hangup")
		r.exchange()
	}
	s := *r.gw.Snapshot()
	s.Version = "next"
	r.gw.Swap(&s)
	if got := r.ask(apis[0], false, ""); got.status != 503 {
		t.Errorf("got %d after the reload, want 503", got.status)
	}
	r.exchange()
}

func TestWhatIsNoFaultOfTheTargetOpensNoCircuit(t *testing.T) {
	for _, step := range []string{"status=400", "status=404", "context_length", "quota", "status=401", "status=403"} {
		r := newRig(t, rigConfig{snapshot: healthy, provider: keyed(providerKey)})
		for range 30 {
			r.ask(apis[0], false, step)
			r.exchange()
		}
		if got := r.ask(apis[0], false, ""); got.status != 200 {
			t.Errorf("%s: got %d, %s", step, got.status, got.body)
		}
		r.exchange()
	}
}

// TestRequestThatIsSentAgainCountsOnceAgainstItsTarget: what fails for its own sake fails every time, and must not keep
// others from the target.
func TestRequestThatIsSentAgainCountsOnceAgainstItsTarget(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) {
		healthy(s)
		s.Limits.RetryBudget, s.Limits.RetryBase = 1, time.Millisecond
	}})
	for range 4 {
		r.ask(apis[0], false, "status=500")
		if x, _ := r.exchange(); len(x.Final().Sends) < 2 {
			t.Fatalf("got %d sends: nothing was sent again", len(x.Final().Sends))
		}
	}
	if got := r.ask(apis[0], false, ""); got.status != 200 {
		t.Errorf("after four bad requests a good one got %d %s", got.status, got.body)
	}
	r.exchange()
}

func TestU17BrokenStreamsOpenTheCircuit(t *testing.T) {
	for _, step := range []string{"reset_after=3", "truncate_after=3", "error_after=3"} {
		r := newRig(t, rigConfig{snapshot: healthy})
		opened := 0
		for range 20 {
			r.ask(apis[0], true, step)
			if x, _ := r.exchange(); x.Err.Type == names.ErrorCircuitOpen {
				opened++
			}
		}
		if opened == 0 {
			t.Errorf("%s: twenty broken streams did not open the circuit", step)
		}
	}
}

func TestClientThatLeavesSaysNothingOfTheTarget(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: healthy})
	path, body := apis[0].request("", false)
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		seen := len(r.received())
		done := make(chan struct{})
		go func() {
			defer close(done)
			resp, err := r.client.Do(r.request(ctx, "POST", path, body, "X-Simulate", "delay=1h"))
			if err == nil {
				resp.Body.Close()
			}
		}()
		r.wait("the provider has the request", func(all []gatewaytest.Request) bool { return len(all) > seen })
		cancel()
		<-done
		r.exchange()
	}
	if got := r.ask(apis[0], false, ""); got.status != 200 {
		t.Errorf("got %d, %s", got.status, got.body)
	}
	r.exchange()
}
