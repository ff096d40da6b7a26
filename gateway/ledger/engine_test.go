package ledger

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/price"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// flat prices each request alike, before and after.
type flat gateway.NanoUSD

func (f flat) Price(a *gateway.Attempt) gateway.Cost {
	if a.Result.Usage.Source == "" {
		return gateway.Cost{Source: names.CostSourceNone}
	}
	c := gateway.Cost{Total: gateway.NanoUSD(f), Source: names.CostSourceLocal, Billing: names.CostBillingMetered, Status: names.PriceStatusOverride}
	c.Classes[gateway.CostOutput] = c.Total
	return c
}
func (flat) Baseline(*gateway.Attempt) (gateway.NanoUSD, bool) { return 0, false }
func (f flat) Bound(a *gateway.Attempt) gateway.Bound {
	return gateway.Bound{Output: gateway.NanoUSD(f), Floor: gateway.NanoUSD(f), Billing: a.Billing(), Status: names.PriceStatusOverride}
}
func (flat) Complete(*gateway.Attempt)                  {}
func (f flat) Accrued(*gateway.Attempt) gateway.NanoUSD { return gateway.NanoUSD(f) }

// gatewayRig is a gateway with a ledger, before a simulated provider.
type gatewayRig struct {
	*rig
	url      string
	client   *http.Client
	snapshot *gateway.Snapshot
	gateway  *gateway.Gateway
}

func newGateway(t testing.TB, cfg Config, pricer func([]*gateway.Provider) gateway.Pricer) *gatewayRig {
	t.Helper()
	g := &gatewayRig{rig: newRig(t, cfg)}
	sim := gatewaytest.NewProvider(gatewaytest.ProviderOptions{KeepRequests: -1})
	up := httptest.NewServer(sim)
	base, err := url.Parse(up.URL)
	if err != nil {
		t.Fatal(err)
	}
	providers := []*gateway.Provider{{Name: "anthropic", Type: "anthropic", Family: "anthropic", GenAI: "anthropic", BaseURL: base, Anonymous: true}}
	router, err := route.New(route.Config{Providers: providers, DefaultPassthrough: true})
	if err != nil {
		t.Fatal(err)
	}
	g.snapshot = &gateway.Snapshot{Version: "test", Providers: providers, Router: router, Models: router.Models(), Pricer: pricer(providers), Ledger: g.Ledger}
	transport := gateway.NewTransport()
	g.gateway, err = gateway.New(gateway.Config{Snapshot: g.snapshot, Transport: transport, Log: g.cfg.Log,
		Routes: []gateway.RouteSpec{{Method: "POST", Path: "/v1/messages", Dialect: anthropic.Messages()}}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(g.gateway)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	g.url, g.client = srv.URL, srv.Client()
	t.Cleanup(func() {
		sim.Close()
		srv.Close()
		transport.CloseIdleConnections()
		up.Close()
	})
	return g
}

// ask posts a message and reads the answer; step says how the provider behaves.
func (g *gatewayRig) ask(ctx context.Context, stream bool, maxTokens int, text, step string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/v1/messages", strings.NewReader(fmt.Sprintf(
		`{"model":"claude-sonnet-4-5","max_tokens":%d,"stream":%v,"messages":[{"role":"user","content":%q}]}`, maxTokens, stream, text)))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Simulate", step)
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// idle waits until nothing is in flight.
func (g *gatewayRig) idle() {
	g.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); g.OpenHolds() > 0; <-tick.C {
		if time.Now().After(end) {
			g.t.Fatalf("%d holds stay open", g.OpenHolds())
		}
	}
}

func TestThroughTheEngineExactlyFiftyOfAThousandAreServed(t *testing.T) {
	for _, stream := range []bool{false, true} {
		g := newGateway(t, with(limit("everything", 5*dollar), each("provider", "anthropic", 6*dollar)), func([]*gateway.Provider) gateway.Pricer { return flat(10 * cent) })
		var served, refused atomic.Int64
		var group sync.WaitGroup
		work := make(chan struct{})
		for range 100 {
			group.Go(func() {
				for range work {
					switch status, body, err := g.ask(context.Background(), stream, 64, "hello", ""); {
					case err == nil && status == 200:
						served.Add(1)
					case err == nil && status == 429:
						refused.Add(1)
					default:
						t.Errorf("got %d %s %v", status, body, err)
					}
				}
			})
		}
		for range 1000 {
			work <- struct{}{}
		}
		close(work)
		group.Wait()
		g.idle()
		if served.Load() != 50 || refused.Load() != 950 {
			t.Errorf("streamed %v: got %d served and %d refused, want 50 and 950", stream, served.Load(), refused.Load())
		}
		g.spent("everything", "", 5*dollar)
		g.spent("provider-budget", "anthropic", 5*dollar)
		if got := g.total(); got != 5*dollar {
			t.Errorf("lines come to %v, want 5", got)
		}
	}
}

func bookPricer(t testing.TB, overrides map[string]price.Override) func([]*gateway.Provider) gateway.Pricer {
	return func(providers []*gateway.Provider) gateway.Pricer {
		book, err := price.Embedded()
		if err != nil {
			t.Fatal(err)
		}
		p, err := price.New(price.Config{Book: book, Overrides: overrides, Providers: providers})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func TestThroughTheEngineAStreamIsCutAtTheLimit(t *testing.T) {
	// The answer would be 40,000 tokens, at $15 for a million of them.
	g := newGateway(t, with(limit("everything", 20*cent)), bookPricer(t, nil))
	status, body, err := g.ask(context.Background(), true, 60_000, "hello", "events=4000,event_bytes=40")
	if status != 200 || strings.Contains(body, "message_stop") || !strings.Contains(body, "is used up: the answer ends here") {
		t.Fatalf("got %d, %v: %.300s … %s", status, err, body, body[max(0, len(body)-400):])
	}
	g.idle()
	s := g.account("everything", "")
	if s.Reserved != 0 || s.Spent > 21*cent || s.Spent < 10*cent {
		t.Errorf("got %v spent and %v reserved, want nearly 0.2", s.Spent, s.Reserved)
	}
	if line := g.lines()[0]; line.Outcome != names.OutcomeRejected || !line.Estimated {
		t.Errorf("got %+v", line)
	}
}

func TestThroughTheEngineNothingLeaks(t *testing.T) {
	g := newGateway(t, with(limit("everything", 1000*dollar)), bookPricer(t, nil))
	steps := []string{"", "status=500", "status=429", "hangup", "reset_after=3", "truncate_after=2", "error_after=3", "stall_after=2", "delay=30s"}
	var answered atomic.Int64
	var group sync.WaitGroup
	for i := range 180 {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			step := steps[i%len(steps)]
			if step == "stall_after=2" || step == "delay=30s" { // the client leaves
				ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
			}
			if status, _, _ := g.ask(ctx, i%2 == 0, 100, "hello", step); status > 0 {
				answered.Add(1)
			}
		})
	}
	group.Wait()
	g.idle()
	if got := len(g.lines()); got < int(answered.Load()) || got > 180 {
		t.Errorf("got %d lines, want one for each of %d to 180 attempts", got, answered.Load())
	}
	g.spent("everything", "", g.total())
	if g.Leaked() != 0 {
		t.Errorf("got %d leaked holds", g.Leaked())
	}
}

func TestL16PriceOfARunningRequestIsThatOfItsStart(t *testing.T) {
	dear := map[string]price.Override{"claude-sonnet-4-5": {Rates: price.Rates{gateway.CostInput: 1e9, gateway.CostOutput: 1e9},
		Given: price.ClassSet(0).With(gateway.CostInput).With(gateway.CostOutput)}}
	g := newGateway(t, with(budget.Budget{Name: "b", Scope: "global", Window: "month"}), bookPricer(t, nil))
	before := g.snapshot.Pricer.(*price.Pricer).Version()
	next := *g.snapshot
	next.Pricer = bookPricer(t, dear)(g.snapshot.Providers)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = g.ask(context.Background(), true, 100, "hello hello hello", "delay=100ms")
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for g.OpenHolds() == 0 {
		<-tick.C
	}
	g.gateway.Swap(&next)
	<-done
	_, _, _ = g.ask(context.Background(), true, 100, "hello", "")
	g.idle()
	lines := g.lines()
	if len(lines) != 2 || lines[0].Cost.PriceVersion != before || lines[1].Cost.PriceVersion == before || lines[0].Cost.Total >= lines[1].Cost.Total {
		t.Errorf("got %+v", lines)
	}
}

func TestL18LongPromptIsHeldAtTheDearerTier(t *testing.T) {
	g := newGateway(t, with(limit("everything", 1000*dollar)), bookPricer(t, nil))
	held := func(words int) gateway.NanoUSD {
		_, _, _ = g.ask(context.Background(), false, 1000, strings.Repeat("word ", words), "")
		g.idle()
		lines := g.lines()
		line := lines[len(lines)-1]
		if line.Cost.Total > line.Held {
			t.Errorf("%d words: cost %v, held %v", words, line.Cost.Total, line.Held)
		}
		return line.Held
	}
	// 500,000 bytes may be 250,000 tokens: $6 for a million of them instead of $3.
	if got := held(100_000); got < 150*cent {
		t.Errorf("got %v held, want more than 1.5", got)
	}
	if got := held(1000); got > 3*cent {
		t.Errorf("got %v held for a short one, want less than 0.03", got)
	}
}
