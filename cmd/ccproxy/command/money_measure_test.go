package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/hooks"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// What the money has to stand (the measures), through real sockets. The numbers here fit a test run of minutes;
// CCPROXY_MEASURE=full asks for those of the measure.

// full is few, or as many as the whole measure asks for.
func full(few, all int) int {
	if os.Getenv("CCPROXY_MEASURE") == "full" {
		return all
	}
	return few
}

// get asks the admin API.
func (r *rig) get(path string, out any) {
	r.t.Helper()
	askAdmin(r.t, r.server.run, "GET", path, out)
}

func askAdmin(t *testing.T, run runInfo, method, path string, out any) {
	t.Helper()
	if err := ask(t.Context(), run, method, path, out); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// budget returns the one account of a budget.
func (r *rig) budget(name string) budgetView {
	r.t.Helper()
	var list budgetList
	r.get("/api/budgets", &list)
	for _, b := range list.Budgets {
		if b.Name == name {
			return b
		}
	}
	r.t.Fatalf("budget %s has no account: %+v", name, list)
	return budgetView{}
}

// tenCents is a provider whose every answer is 100 tokens of output, which are ten cents at a dollar a thousand.
func tenCents(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		time.Sleep(rand.N(5 * time.Millisecond)) // a provider takes its time; what is counted does not depend on it
		if !strings.Contains(string(body), `"stream":true`) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"id":"msg_1","type":"message","role":"assistant","model":"dime","content":[{"type":"text","text":"yes"}],"stop_reason":"end_turn","usage":{"input_tokens":8,"output_tokens":100}}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range []string{
			`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"dime","content":[],"usage":{"input_tokens":8,"output_tokens":1}}}`,
			`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"yes"}}`,
			`{"type":"content_block_stop","index":0}`,
			`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":100}}`,
			`{"type":"message_stop"}`,
		} {
			kind, _, _ := strings.Cut(e[len(`{"type":"`):], `"`)
			fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, e)
			w.(http.Flusher).Flush()
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const measureKey = "ccp_measure0123456789abcdefghijklmnopq"

// TestL07ThousandRequestsOfTenCentsAgainstFiveDollars: exactly fifty get through, whatever the race, in one budget and in
// three at once.
func TestL07ThousandRequestsOfTenCentsAgainstFiveDollars(t *testing.T) {
	upstream := tenCents(t)
	for round := range full(2, 20) {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("round %d stream %v", round, stream), func(t *testing.T) { fiftyOfAThousand(t, upstream, stream) })
		}
	}
}

func fiftyOfAThousand(t *testing.T, upstream string, stream bool) {
	r := newRig(t, fmt.Sprintf(`
providers: { anthropic: { base_url: %q, api_key: sk-upstream-0123456789 } }
prices: { anthropic/dime: { input: 0, output: 1000 } }
limits: { connections: 4000 }
teams: [ { name: research } ]
keys: [ { name: alice, key: %s, team: research, limits: { in_flight: 4000 } } ]
budgets:
  - { name: all, scope: global, limit: 6, window: month }
  - { name: research, scope: team, match: research, limit: 5, window: day }
  - { name: alice, scope: key, match: alice, limit: 7, window: none }
`, upstream, measureKey))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	defer client.CloseIdleConnections()
	body := fmt.Sprintf(`{"model":"dime","max_tokens":100,"stream":%v,"messages":[{"role":"user","content":"hello"}]}`, stream)
	var admitted, refused, other atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	for range 1000 {
		all.Go(func() {
			<-start
			status, said, err := askDime(client, r.server.DataURL(), body)
			// A ledger that falls behind sheds with 503 after a quarter of a second (L-28), and the client asks again.
			for tries := 0; err == nil && status == http.StatusServiceUnavailable && tries < 100; tries++ {
				time.Sleep(rand.N(100 * time.Millisecond))
				status, said, err = askDime(client, r.server.DataURL(), body)
			}
			switch {
			case err == nil && status == 200:
				admitted.Add(1)
			case err == nil && status == 429:
				refused.Add(1)
			default:
				if other.Add(1) == 1 {
					t.Errorf("got %d %s, %v", status, said, err)
				}
			}
		})
	}
	close(start)
	all.Wait()
	if admitted.Load() != 50 || refused.Load() != 950 {
		t.Errorf("got %d admitted, %d refused, %d otherwise; want 50 and 950", admitted.Load(), refused.Load(), other.Load())
	}
	for _, name := range []string{"all", "research", "alice"} {
		if b := r.budget(name); b.Spent != 5e9 || b.Reserved != 0 {
			t.Errorf("budget %s: got %v spent and %v reserved, want 5 and nothing", name, b.Spent, b.Reserved)
		}
	}
	var spend spendReport
	r.get("/api/spend", &spend)
	if spend.Total.Cost != 5e9 {
		t.Errorf("the ledger adds up to %v, want 5", spend.Total.Cost)
	}
}

func askDime(client *http.Client, url, body string) (status int, said []byte, err error) {
	req, _ := http.NewRequest("POST", url+"/v1/messages", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-Key", measureKey)
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	said, err = io.ReadAll(resp.Body)
	return resp.StatusCode, said, err
}

// measured is a gateway before the simulated provider with budgets that never refuse.
const measured = `
providers:
  anthropic: { base_url: "UPSTREAM" }
  openai: { base_url: "UPSTREAM/v1" }
  gemini: { base_url: "UPSTREAM" }
timeouts: { idle: 300ms, upstream_headers: 300ms, upstream_stream: 300ms }
budgets:
  - { name: all, scope: global, limit: 1000000, window: month }
  - { name: models, scope: model, match: "*", limit: 1000000, window: day }
`

// mixed are the steps of the mix, with how often they come.
var mixed = []struct {
	step  string
	share int
	leave bool
}{
	{"", 50, false}, {"events=12", 20, false}, {"status=400", 4, false}, {"status=429", 4, false}, {"status=500", 4, false}, {"hangup", 2, false},
	{"delay=1s", 1, false}, {"events=20,stall_after=8", 1, false}, {"events=20,reset_after=9", 1, false}, {"events=20,truncate_after=7", 3, false}, {"events=20,error_after=6", 3, false}, {"events=40,event_delay=1ms", 7, true},
}

func pick() (step string, leave bool) {
	n := rand.IntN(100)
	for _, m := range mixed {
		if n -= m.share; n < 0 {
			return m.step, m.leave
		}
	}
	return "", false
}

// costOnSpans adds up what spans say that generations cost.
type costOnSpans struct {
	mu  sync.Mutex
	sum float64
}

func (c *costOnSpans) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (c *costOnSpans) OnEnd(s sdktrace.ReadOnlySpan) {
	for _, kv := range s.Attributes() {
		if kv.Key == names.KeyGenAIUsageCost {
			c.mu.Lock()
			c.sum += kv.Value.AsFloat64()
			c.mu.Unlock()
		}
	}
}
func (c *costOnSpans) Shutdown(context.Context) error   { return nil }
func (c *costOnSpans) ForceFlush(context.Context) error { return nil }

// clumsy is a hook that panics now and then, in every phase.
func clumsy(hooks.Params) (gateway.Hook, error) {
	fall := func() error {
		if rand.IntN(300) == 0 {
			panic("a hook stumbles")
		}
		return nil
	}
	return gateway.HookFunc("clumsy", func(context.Context, *gateway.Exchange) (gateway.Phases, error) {
		return gateway.Phases{
			Attempt:  func(context.Context, *gateway.Attempt) error { return fall() },
			Response: func(context.Context, *gateway.Attempt) error { return fall() },
			Event:    func(context.Context, *gateway.Event) error { return fall() },
			Settle:   func(context.Context, *gateway.Attempt) error { return fall() },
			End:      func(context.Context, *gateway.Exchange) error { return fall() },
		}, fall()
	}), nil
}

// TestMixedTrafficLeavesNoHoldAndOneSum sends requests that end in every way, in all dialects, past a hook that panics.
// Afterwards nothing is held, nobody was refused, and ledger, budgets, metrics and spans agree, with each other to the
// nano-dollar and with what the provider billed as far as it can be known.
func TestMixedTrafficLeavesNoHoldAndOneSum(t *testing.T) {
	spans := &costOnSpans{}
	r := newRigWith(t, measured, func(o *serverOptions) {
		o.SpanProcessors = append(o.SpanProcessors, spans)
		o.Hooks = map[string]hooks.Constructor{"clumsy": clumsy}
	})
	calls := []struct{ path, body string }{
		{"/v1/messages", `{"model":"claude-sonnet-5","max_tokens":512,"stream":%v,"messages":[{"role":"user","content":"hello there"}]}`},
		{"/v1/chat/completions", `{"model":"gpt-5.5","stream":%v,"messages":[{"role":"user","content":"hello there"}]}`},
		{"/v1/responses", `{"model":"gpt-5.5","stream":%v,"input":"hello there"}`},
		{"gemini", `{"contents":[{"role":"user","parts":[{"text":"hello there"}]}]}`},
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	defer client.CloseIdleConnections()
	var left, refused atomic.Int64
	n := int64(full(2000, 100_000))
	left.Store(n)
	var all sync.WaitGroup
	for range 24 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				c, stream := calls[rand.IntN(len(calls))], rand.IntN(2) == 0
				body, path := c.body, c.path
				if path == "gemini" {
					path = "/v1beta/models/gemini-3.5-flash:generateContent"
					if stream {
						path = "/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse"
					}
				} else {
					body = fmt.Sprintf(body, stream)
				}
				step, leave := pick()
				if status := askMixed(client, r.server.DataURL()+path, body, step, leave); status == 402 || status == 429 && step != "status=429" {
					refused.Add(1)
				}
			}
		})
	}
	all.Wait()
	eventually(t, func() bool { return r.server.active.Load() == 0 && r.budget("all").Reserved == 0 })
	if n := refused.Load(); n > 0 {
		t.Errorf("%d requests were refused, though no budget is near its limit", n)
	}
	total := r.sumsAgree()
	if total.Requests < n*8/10 { // a circuit may open for a second, and some leave before anything is sent
		t.Errorf("only %d of %d requests came to a target", total.Requests, n)
	}
	if want := float64(total.Cost) / 1e9; spans.sum < want-1e-6 || spans.sum > want+1e-6 {
		t.Errorf("the spans add up to %.9f, the ledger to %.9f", spans.sum, want)
	}
	var billed gatewaytest.Usage
	for _, u := range r.provider.Billed() {
		billed = billed.Add(u)
	}
	// What was on its way when an answer was cut is billed and was never seen.
	off := float64(total.Tokens.Output)/float64(billed.Output) - 1
	t.Logf("%d attempts, %v; output: %d tokens in the ledger, %d billed, %+.2f %%; %d attempts estimated", total.Attempts, total.Cost, total.Tokens.Output, billed.Output, 100*off, total.Estimated)
	if off > 0.02 {
		t.Errorf("the ledger is %.1f %% above what was billed", 100*off)
	}
}

func askMixed(client *http.Client, url, body, step string, leave bool) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-Key", "a-client-key")
	if step != "" {
		req.Header.Set("X-Simulate", step)
	}
	if leave {
		time.AfterFunc(rand.N(40*time.Millisecond), cancel)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // it may well break off
	return resp.StatusCode
}

// sumsAgree compares the ledger with the budgets and with the metrics.
func (r *rig) sumsAgree() spendRow {
	r.t.Helper()
	var spend spendReport
	r.get("/api/spend", &spend)
	if b := r.budget("all"); b.Spent != spend.Total.Cost {
		r.t.Errorf("the budget has spent %v, the ledger %v", b.Spent, spend.Total.Cost)
	}
	_, text := send(r.t, "GET", r.server.AdminURL()+"/metrics", "")
	metric := 0.0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "ccproxy_cost_total{") {
			fields := strings.Fields(line[strings.LastIndexByte(line, '}')+1:])
			v, err := strconv.ParseFloat(fields[0], 64)
			if err != nil {
				r.t.Fatal(err)
			}
			metric += v
		}
	}
	if want := float64(spend.Total.Cost) / 1e9; metric < want-1e-9*max(1, want) || metric > want+1e-9*max(1, want) {
		r.t.Errorf("the metric adds up to %.12f, the ledger to %.12f", metric, want)
	}
	if spend.Total.Unpriced > 0 {
		r.t.Errorf("%d attempts have no price", spend.Total.Unpriced)
	}
	return spend.Total
}

// TestC01ClientsThatLeaveStillPay: streams end at random points. Each has a line, and all lines add up to what the provider
// billed, within five per cent for what it could not report.
func TestC01ClientsThatLeaveStillPay(t *testing.T) {
	r := newRig(t, measured)
	n := full(200, 1000)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				leaveAfter(t, client, r.server.DataURL()+"/v1/messages", rand.IntN(4000))
			}
		})
	}
	all.Wait()
	eventually(t, func() bool { return r.server.active.Load() == 0 && r.budget("all").Reserved == 0 })
	var spend spendReport
	r.get("/api/spend", &spend)
	if spend.Total.Attempts != int64(n) {
		t.Errorf("got %d lines, want one for each of %d requests", spend.Total.Attempts, n)
	}
	var billed gatewaytest.Usage
	for _, u := range r.provider.Billed() {
		billed = billed.Add(u)
	}
	if spend.Total.Tokens.Input != billed.Input {
		t.Errorf("got %d tokens of input, billed were %d", spend.Total.Tokens.Input, billed.Input)
	}
	off := float64(spend.Total.Tokens.Output)/float64(billed.Output) - 1
	t.Logf("%d streams left: %d tokens of output in the ledger, %d billed, %+.2f %%", n, spend.Total.Tokens.Output, billed.Output, 100*off)
	if off < -0.05 || off > 0.05 {
		t.Errorf("the ledger is %.1f %% off what was billed, want at most 5", 100*off)
	}
}

// leaveAfter reads so many bytes of a stream and leaves.
func leaveAfter(t *testing.T, client *http.Client, url string, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	body := `{"model":"claude-sonnet-5","max_tokens":2048,"stream":true,"messages":[{"role":"user","content":"tell me a long story"}]}`
	req, _ := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-Key", "a-client-key")
	req.Header.Set("X-Simulate", "events=60,event_delay=6ms")
	resp, err := client.Do(req)
	if err != nil {
		t.Errorf("request: %v", err)
		return
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, int64(n))
}

// message is the last of a stream's usage, as its client saw it.
type seenUsage struct {
	Usage struct {
		Output int64 `json:"output_tokens"`
	} `json:"usage"`
	Message struct {
		Usage struct {
			Input int64 `json:"input_tokens"`
		} `json:"usage"`
	} `json:"message"`
}

// readUsage reads an Anthropic stream; done says that its end was seen.
func readUsage(body io.Reader) (input, output int64, done bool) {
	b, _ := io.ReadAll(body) // it may break off
	for line := range strings.Lines(string(b)) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var u seenUsage
		if json.Unmarshal([]byte(data), &u) != nil {
			continue
		}
		if u.Message.Usage.Input > 0 {
			input = u.Message.Usage.Input
		}
		if u.Usage.Output > 0 {
			output = u.Usage.Output
		}
		done = done || strings.Contains(data, `"message_stop"`)
	}
	return input, output, done
}
