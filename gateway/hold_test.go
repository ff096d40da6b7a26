package gateway_test

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// purse is a ledger that counts. Every rig has one: when a test ends, each hold
// must have ended exactly once.
type purse struct {
	mu      sync.Mutex
	holds   []*purseHold
	refuse  func(a *gateway.Attempt) *gateway.Error // nil: all are let in
	watched bool                                    // holds are smaller than their bounds
	most    gateway.NanoUSD                         // a watched stream may cost; 0: anything
	reroute string
}

type purseHold struct {
	p               *purse
	a               *gateway.Attempt
	settled, voided int
	watched         int
	cost            gateway.Cost
}

func (p *purse) Hold(_ context.Context, a *gateway.Attempt) (gateway.Hold, error) {
	if p.refuse != nil {
		if err := p.refuse(a); err != nil {
			a.Budget.Decision = names.BudgetDecisionDeny
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a.Budget = gateway.Budgeted{Decision: names.BudgetDecisionAllow, Held: 5e8, Watched: p.watched}
	h := &purseHold{p: p, a: a}
	p.holds = append(p.holds, h)
	return h, nil
}

func (p *purse) Reroute(_ context.Context, a *gateway.Attempt) (string, string) {
	if p.reroute == "" || a.Exchange.Route.Label == p.reroute {
		return "", ""
	}
	return p.reroute, "opus"
}

func (h *purseHold) Watch(_ context.Context, _ *gateway.Attempt, accrued gateway.NanoUSD, _ time.Time) error {
	h.watched++
	if h.p.most > 0 && accrued > h.p.most {
		return spent()
	}
	return nil
}

func (h *purseHold) Settle(_ context.Context, a *gateway.Attempt) {
	h.settled++
	h.cost = a.Cost
	a.Budget.Settled = a.Cost.Total
}

func (h *purseHold) Void(context.Context, *gateway.Attempt) { h.voided++ }

// check fails unless every hold has ended exactly once.
func (p *purse) check(t testing.TB) {
	t.Helper()
	for _, h := range p.holds {
		if h.settled+h.voided != 1 {
			t.Errorf("the hold of %s ended %d times settled and %d times void, want once in all (%v)", h.a.Target.Name, h.settled, h.voided, h.a.Err)
		}
	}
}

func spent() *gateway.Error {
	return &gateway.Error{Type: names.ErrorBudgetExceeded, Origin: names.ErrorOriginPolicy, Reason: names.RejectionBudget, Status: 429, NoRetry: true,
		RetryAfter: time.Hour, Message: "budget research is spent", Budget: &gateway.BudgetRefusal{Budget: "research", Window: "day", Resets: time.Unix(2e9, 0)}}
}

// penny prices a token of any kind at a dollar's billionth.
type penny struct{}

func (penny) Price(a *gateway.Attempt) gateway.Cost {
	u := &a.Result.Usage
	if u.Source == "" {
		return gateway.Cost{Source: names.CostSourceNone}
	}
	n := gateway.NanoUSD(u.InputTokens() + u.OutputTokens())
	c := gateway.Cost{Total: n, Source: names.CostSourceLocal, Billing: names.CostBillingMetered, Status: names.PriceStatusExact}
	c.Classes[gateway.CostInput] = n
	return c
}
func (penny) Baseline(*gateway.Attempt) (gateway.NanoUSD, bool) { return 0, false }
func (penny) Bound(*gateway.Attempt) gateway.Bound {
	return gateway.Bound{Input: 1, Status: names.PriceStatusExact, Billing: names.CostBillingMetered}
}
func (penny) Complete(a *gateway.Attempt) {
	if u := &a.Result.Usage; u.Source == "" {
		u.Input, u.Source = int64(len(a.Body)), names.UsageSourceEstimated
	}
}
func (penny) Accrued(a *gateway.Attempt) gateway.NanoUSD {
	return gateway.NanoUSD(a.Result.OutputBytes)
}

func (p *purse) into(s *gateway.Snapshot) { s.Ledger, s.Pricer = p, penny{} }

func TestEveryRouteThatCostsIsHeldAndSettledOnce(t *testing.T) {
	for _, a := range apis {
		for _, stream := range []bool{false, true} {
			for step, void := range map[string]bool{"": false, "status=500": true, "status=429": true, "status=400": true, "hangup": false, "reset_after=3": false, "truncate_after=2": false, "error_after=3": false} {
				t.Run(a.name+" "+step, func(t *testing.T) {
					p := &purse{}
					r := newRig(t, rigConfig{snapshot: p.into})
					r.ask(a, stream, step)
					x, _ := r.exchange()
					if len(p.holds) != len(x.Attempts) {
						t.Fatalf("got %d holds, want one for each of %d attempts", len(p.holds), len(x.Attempts))
					}
					if got := p.holds[0].voided == 1; got != void {
						t.Errorf("got void %v, want %v", got, void)
					}
				})
			}
		}
	}
}

func TestL13OtherRoutesThatCostAreHeldToo(t *testing.T) {
	for name, call := range map[string][2]string{
		"embeddings":  {"/v1/embeddings", `{"model":"text-embedding-3-small","input":"hello"}`},
		"gemini":      {"/v1beta/models/gemini-embedding-001:embedContent", `{"content":{"parts":[{"text":"hello"}]}}`},
		"completions": {"/v1/completions", `{"model":"gpt-5.5","prompt":"hello"}`},
	} {
		t.Run(name, func(t *testing.T) {
			p := &purse{}
			r := newRig(t, rigConfig{snapshot: p.into})
			if got := r.post(call[0], call[1]); got.status != 200 {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			r.exchange()
			if len(p.holds) != 1 || p.holds[0].settled != 1 {
				t.Errorf("got %d holds, want one that is settled", len(p.holds))
			}
		})
	}
	t.Run("opaque", func(t *testing.T) {
		p := &purse{}
		r := newRig(t, rigConfig{snapshot: p.into, provider: func(q *gateway.Provider) { q.Passthrough = []string{"/v1/files"} },
			upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })})
		if got := r.do("GET", "/v1/files", ""); got.status != 200 {
			t.Fatalf("got %d %s", got.status, got.body)
		}
		r.exchange()
		if len(p.holds) != 1 || p.holds[0].settled != 1 {
			t.Errorf("got %d holds, want one that is settled", len(p.holds))
		}
	})
}

func TestWhatIsFreeIsNotHeld(t *testing.T) {
	p := &purse{refuse: func(*gateway.Attempt) *gateway.Error { return spent() }}
	r := newRig(t, rigConfig{snapshot: p.into})
	for _, call := range [][3]string{
		{"POST", "/v1/messages/count_tokens", `{"model":"claude-sonnet-5","messages":[{"role":"user","content":"hello"}]}`},
		{"GET", "/v1/models", ""},
	} {
		if got := r.do(call[0], call[1], call[2]); got.status != 200 {
			t.Errorf("%s: got %d, want 200 although every budget is spent", call[1], got.status)
		}
		r.exchange()
	}
}

func TestConnectFailureIsVoidAndAResetIsNot(t *testing.T) {
	p := &purse{}
	r := newRig(t, rigConfig{snapshot: p.into, baseURL: "http://127.0.0.1:1"})
	r.ask(apis[0], false, "")
	r.exchange()
	if h := p.holds[0]; h.voided != 1 {
		t.Error("a request that never left was settled")
	}
	p = &purse{}
	r = newRig(t, rigConfig{snapshot: p.into, upstream: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })})
	r.ask(apis[0], false, "")
	r.exchange()
	if h := p.holds[0]; h.settled != 1 || h.cost.Total == 0 {
		t.Errorf("a request that was sent and reset settled %d times at %v, want once and more than nothing", h.settled, h.cost.Total)
	}
}

func TestBudgetRefusalSendsNothing(t *testing.T) {
	for _, a := range apis {
		for _, stream := range []bool{false, true} {
			p := &purse{refuse: func(*gateway.Attempt) *gateway.Error { return spent() }}
			r := newRig(t, rigConfig{snapshot: p.into})
			got := r.ask(a, stream, "")
			x, tr := r.exchange()
			if got.status != 429 || len(r.received()) != 0 {
				t.Errorf("%s: got %d and %d requests upstream, want 429 and none", a.name, got.status, len(r.received()))
			}
			if a.family() != "gemini" && got.header.Get("X-Should-Retry") != "false" {
				t.Errorf("%s: the client is not told to stop retrying", a.name)
			}
			if a.family() == "anthropic" && got.header.Get("Anthropic-Ratelimit-Unified-Overage-Period") != "daily" {
				t.Errorf("Claude Code does not learn of the spend cap: %v", got.header)
			}
			if x.Outcome != names.OutcomeRejected || x.Err.Reason != names.RejectionBudget {
				t.Errorf("got outcome %s, reason %s", x.Outcome, x.Err.Reason)
			}
			if d := attr(tr.server(), names.KeyBudgetDecision); d.AsString() != names.BudgetDecisionDeny {
				t.Errorf("%s: got decision %q on SERVER, want deny", a.name, d.AsString())
			}
		}
	}
}

func TestSpentBudgetFallsBackToAnotherTarget(t *testing.T) {
	p := &purse{refuse: func(a *gateway.Attempt) *gateway.Error {
		if a.Target.Provider.Name == "anthropic" {
			return spent()
		}
		return nil
	}}
	r := newRig(t, rigConfig{snapshot: p.into, extra: []string{"mirror=anthropic"}, any: []string{"mirror/claude-sonnet-5"}})
	if got := r.ask(apis[0], false, ""); got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	x, _ := r.exchange()
	if x.FallbackWhy != names.FallbackBudget || x.Attempts[0].ResultKind != names.AttemptResultSuperseded {
		t.Errorf("got fallback reason %q, first attempt %s", x.FallbackWhy, x.Attempts[0].ResultKind)
	}
}

func TestSpentBudgetReroutesToACheaperLabel(t *testing.T) {
	p := &purse{reroute: "cheap"}
	r := newRig(t, rigConfig{snapshot: p.into, models: map[string]route.Model{"cheap": {Targets: []route.WeightedTarget{{Target: "anthropic/claude-haiku-4-5"}}}}})
	if got := r.ask(apis[0], false, ""); got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	x, tr := r.exchange()
	if x.Route.Label != "cheap" || x.Route.Reason != names.RouteReasonBudget || x.Rerouted != "opus" || x.Route.Model != "claude-haiku-4-5" {
		t.Errorf("got label %q, reason %q, model %q, by budget %q", x.Route.Label, x.Route.Reason, x.Route.Model, x.Rerouted)
	}
	if d := attr(tr.server(), names.KeyBudgetDecision); d.AsString() != names.BudgetDecisionReroute {
		t.Errorf("got decision %q on SERVER, want reroute", d.AsString())
	}
}

func TestWatchedStreamIsCutVisibly(t *testing.T) {
	for _, a := range apis {
		p := &purse{watched: true, most: 20}
		r := newRig(t, rigConfig{snapshot: p.into, sim: gatewaytest.ProviderOptions{}})
		got := r.ask(a, true, "events=200")
		x, _ := r.exchange()
		if got.err == nil {
			t.Errorf("%s: the cut stream ended cleanly:\n%s", a.name, got.body)
		}
		if a.family() != "gemini" && !strings.Contains(got.body, "budget research is spent") {
			t.Errorf("%s: the client is not told why:\n%s", a.name, got.body)
		}
		h := p.holds[0]
		if h.watched == 0 || h.settled != 1 || x.Final().Stream.End != names.StreamEndCutOff {
			t.Errorf("%s: watched %d, settled %d, stream end %s", a.name, h.watched, h.settled, x.Final().Stream.End)
		}
	}
}

func TestH04HookThatAsksForMoreIsHeldForMore(t *testing.T) {
	p := &purse{}
	asks := gateway.HookFunc("greedy", func(context.Context, *gateway.Exchange) (gateway.Phases, error) {
		return gateway.Phases{Attempt: func(_ context.Context, a *gateway.Attempt) error {
			a.Body = []byte(strings.Replace(string(a.Body), `"max_tokens":256`, `"max_tokens":9999`, 1))
			return nil
		}}, nil
	})
	r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) {
		s.Ledger, s.Pricer = p, byMaxTokens{}
		s.Hooks = []gateway.ConfiguredHook{{Hook: asks}}
	}})
	r.ask(apis[0], false, "")
	x, _ := r.exchange()
	if got := p.holds[0].a.Bound.Output; got != 9999 || x.Call.MaxTokens != 256 {
		t.Errorf("got a bound of %v and a call of %d tokens, want 9999 held and the client's 256 remembered", got, x.Call.MaxTokens)
	}
}

// byMaxTokens bounds an attempt by its call.
type byMaxTokens struct{ penny }

func (byMaxTokens) Bound(a *gateway.Attempt) gateway.Bound {
	return gateway.Bound{Output: gateway.NanoUSD(a.Exchange.Call.MaxTokens), Status: names.PriceStatusExact}
}

// doorman is a key store with one key.
type doorman struct {
	allow func(gateway.Target) bool
	stop  chan func()
	left  chan int64
	full  bool
}

const goodKey = "ccp_0123456789abcdefghijklmnopq"

func (d *doorman) Identify(key gateway.Secret, _ netip.Addr) (gateway.Access, error) {
	if key.Reveal() != goodKey {
		return nil, &gateway.Error{Type: names.ErrorUnauthorized, Origin: names.ErrorOriginPolicy, Reason: names.RejectionAuth, Status: 401, NoRetry: true, Message: "send a key"}
	}
	return d, nil
}
func (d *doorman) Describe(c *gateway.Caller) {
	c.KeyID, c.KeyAlias, c.Team = "key_1", "alice", "research"
}
func (d *doorman) TrustIncoming() bool { return false }
func (d *doorman) Allows(_ *gateway.Exchange, t gateway.Target) bool {
	return d.allow == nil || d.allow(t)
}
func (d *doorman) Sees(model string) bool { return d.allow == nil || !strings.Contains(model, "opus") }
func (d *doorman) Enter(_ *gateway.Exchange, stop func()) (gateway.Visit, error) {
	if d.full {
		return nil, &gateway.Error{Type: names.ErrorRateLimitExceeded, Origin: names.ErrorOriginPolicy, Reason: names.RejectionRateLimit, Status: 429, RetryAfter: time.Second, Message: "slow down"}
	}
	if d.stop != nil {
		d.stop <- stop
	}
	return d, nil
}
func (d *doorman) Header(h http.Header, _ string) { h.Set("X-Left", "7") }
func (d *doorman) Leave(tokens int64) {
	if d.left != nil {
		d.left <- tokens
	}
}

func TestCallersWithoutAKeyReachNothing(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Callers = &doorman{} },
		provider: func(p *gateway.Provider) { p.Passthrough = []string{"/v1/files"} }})
	calls := [][3]string{{"GET", "/v1/models", ""}, {"GET", "/v1/models/claude-opus-5", ""}, {"GET", "/v1/files", ""}, {"GET", "/nowhere", ""}}
	for _, s := range routes() {
		path := s.Path
		if s.Actions != nil {
			path += "gemini-3.5-pro:" + s.Actions[0]
		}
		calls = append(calls, [3]string{"POST", path, "{}"})
	}
	for _, c := range calls {
		for _, key := range []string{"", "ccp_wrong", "sk-other"} {
			got := r.do(c[0], c[1], c[2], "X-Api-Key", key)
			x, _ := r.exchange()
			if got.status != 401 || x.Err.Reason != names.RejectionAuth {
				t.Errorf("S-02: %s %s with %q: got %d, want 401", c[0], c[1], key, got.status)
			}
		}
	}
	if n := len(r.received()); n != 0 {
		t.Errorf("%d requests reached the provider", n)
	}
}

func TestCallerIsOnTheTraceAndItsKeyGoesNowhere(t *testing.T) {
	d := &doorman{left: make(chan int64, 1)}
	r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Callers = d }})
	got := r.ask(apis[0], false, "", "Authorization", "Bearer "+goodKey)
	_, tr := r.exchange()
	if got.status != 200 || got.header.Get("X-Left") != "7" {
		t.Fatalf("got %d %v", got.status, got.header)
	}
	if n := <-d.left; n == 0 {
		t.Error("the visit ended without the tokens that were used")
	}
	if team := attr(tr.server(), names.KeyTeam); team.AsString() != "research" {
		t.Errorf("got team %q on SERVER", team.AsString())
	}
	for k, v := range r.received()[0].Header {
		if strings.Contains(strings.Join(v, " "), "ccp_") {
			t.Errorf("S-26: the gateway key went upstream in %s", k)
		}
	}
}

func TestKeyMayUseOnlyItsModels(t *testing.T) {
	d := &doorman{allow: func(t gateway.Target) bool { return t.Provider.Name == "mirror" }}
	with := []string{"X-CCProxy-Key", goodKey}
	r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Callers = d }})
	if got := r.ask(apis[0], false, "", with...); got.status != 403 || len(r.received()) != 0 {
		t.Errorf("got %d and %d requests upstream, want 403 and none", got.status, len(r.received()))
	}
	r.exchange()
	r = newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Callers = d }, extra: []string{"mirror=anthropic", "third=anthropic"},
		models: map[string]route.Model{"claude-sonnet-5": {Targets: []route.WeightedTarget{{Target: "mirror/claude-sonnet-5"}}, Fallbacks: []string{"third/claude-sonnet-5"}}}})
	if got := r.ask(apis[0], false, "status=500", with...); got.status != 500 {
		t.Errorf("got %d, want the one target's 500: the fallback is forbidden", got.status)
	}
	x, _ := r.exchange()
	if len(x.Attempts) != 1 {
		t.Errorf("got %d attempts, want 1", len(x.Attempts))
	}
}

func TestKeyOfSomeModelsMayNotUsePathsThatNobodyReads(t *testing.T) {
	d := &doorman{allow: func(t gateway.Target) bool { return t.Model != "" }}
	reached := 0
	r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Callers = d }, provider: func(q *gateway.Provider) { q.Passthrough = []string{"/v1/files"} },
		upstream: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ })})
	got := r.do("GET", "/v1/files", "", "X-CCProxy-Key", goodKey)
	r.exchange()
	if got.status != 403 || reached != 0 {
		t.Errorf("got %d and %d requests upstream, want 403 and none", got.status, reached)
	}
}

func TestCallerOverItsLimitIsRefused(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Callers = &doorman{full: true} }})
	got := r.ask(apis[1], false, "", "Authorization", "Bearer "+goodKey)
	x, _ := r.exchange()
	if got.status != 429 || got.header.Get("Retry-After") != "1" || x.Err.Reason != names.RejectionRateLimit || len(r.received()) != 0 {
		t.Errorf("got %d %v, reason %s", got.status, got.header, x.Err.Reason)
	}
}

func TestC30RevokedKeyEndsItsStreams(t *testing.T) {
	for _, a := range apis {
		d := &doorman{stop: make(chan func(), 1)}
		p := &purse{}
		r := newRig(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Callers = d; p.into(s) }})
		path, body := a.request("", true)
		resp, err := r.client.Do(r.request(t.Context(), "POST", path, body, "X-Simulate", "events=9,stall_after=5", "X-CCProxy-Key", goodKey))
		if err != nil {
			t.Fatal(err)
		}
		begun := make([]byte, 1)
		if _, err := io.ReadFull(resp.Body, begun); err != nil {
			t.Fatal(err)
		}
		(<-d.stop)()
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		x, _ := r.exchange()
		if err == nil || x.Outcome != names.OutcomeRejected {
			t.Errorf("%s: got error %v, outcome %s; want a visible end and rejected", a.name, err, x.Outcome)
		}
		if p.holds[0].settled != 1 {
			t.Errorf("%s: what was streamed before was not settled", a.name)
		}
	}
}
