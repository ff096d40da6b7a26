package price_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/gemini"
	"github.com/ccproxy/ccproxy/gateway/openai"
	"github.com/ccproxy/ccproxy/gateway/price"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// nowhere is a router that decides nothing.
type nowhere struct{}

func (nowhere) Label(context.Context, *gateway.Exchange) error { return nil }
func (nowhere) Route(context.Context, *gateway.Exchange) error { return nil }
func (nowhere) Implied(gateway.Dialect) *gateway.Provider      { return nil }

// asker asks a simulated provider, sees what a gateway sees, and keeps both bills.
type asker struct {
	t         testing.TB
	simulated *gatewaytest.Provider
	pricer    *price.Pricer
	provider  *gateway.Provider
	rnd       *rand.Rand

	billed, settled int64   // nano-dollars, of streams that were cut
	worst           float64 // error of one, as a share
	reported        int     // whose usage was
}

// Prices of the model: a token of output costs five of input.
const inputPico, outputPico = 2_000_000, 10_000_000

func newAsker(t testing.TB, family string) *asker {
	u, _ := url.Parse("http://127.0.0.1")
	p := &gateway.Provider{Name: family, GenAI: family, Family: family, BaseURL: u}
	book, err := price.Parse([]byte("version 1\n" + family + "/m context=1000000 max_output=100000 input=2 output=10\n"))
	if err != nil {
		t.Fatal(err)
	}
	pricer, err := price.New(price.Config{Book: book, Providers: []*gateway.Provider{p}})
	if err != nil {
		t.Fatal(err)
	}
	return &asker{t: t, simulated: gatewaytest.NewProvider(gatewaytest.ProviderOptions{KeepRequests: -1}), pricer: pricer, provider: p, rnd: rand.New(rand.NewPCG(1, 2))}
}

// ask sends a request, of whose stream cut events are sent; a negative number: all. It checks that the cost never falls
// while the stream runs.
func (q *asker) ask(d gateway.Dialect, path, body, step string, cut int) {
	q.t.Helper()
	r := httptest.NewRequest("POST", path, nil)
	c, err := d.Decode(r, []byte(body))
	if err != nil {
		q.t.Fatal(err)
	}
	x := &gateway.Exchange{Dialect: d, Request: r, Body: []byte(body), Call: c, Snapshot: &gateway.Snapshot{Router: nowhere{}, Pricer: q.pricer}}
	a := &gateway.Attempt{Exchange: x, Target: gateway.Target{Provider: q.provider, Model: c.Model}, Body: x.Body}
	if inject, ok := d.(gateway.UsageInjector); ok {
		a.Body = inject.InjectUsage(a.Body, &c)
	}
	a.Bound = q.pricer.Bound(a)
	if cut >= 0 {
		step = strings.Trim(step+fmt.Sprintf(",truncate_after=%d", cut), ",")
	}
	request := httptest.NewRequest("POST", path, bytes.NewReader(a.Body))
	request.Header.Set("X-Simulate", step)
	answer := httptest.NewRecorder()
	q.simulated.Reset()
	q.simulated.ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		q.t.Fatalf("%s: %d %s", step, answer.Code, answer.Body)
	}
	a.Response = answer.Result()
	q.observe(d, a, answer)
	done := a.Result.Usage.Source == names.UsageSourceProvider
	so := q.pricer.Price(a)
	q.pricer.Complete(a)
	cost := q.pricer.Price(a)
	// The simulated Gemini says at once that all was thought, and bills the share that was sent: what it said holds.
	bill := max(q.bill(), int64(so.Total))
	switch {
	case !cost.Known():
		q.t.Fatalf("%s: no cost of %+v", step, a.Result.Usage)
	case done && int64(cost.Total) != bill:
		q.t.Errorf("%s: cost %d of an answer whose usage was reported, billed %d", step, cost.Total, bill)
	case done:
		q.reported++
	}
	if cut < 0 {
		return
	}
	q.billed, q.settled = q.billed+bill, q.settled+int64(cost.Total)
	if bill > 0 {
		q.worst = max(q.worst, math.Abs(float64(cost.Total)/float64(bill)-1))
	}
}

func (q *asker) observe(d gateway.Dialect, a *gateway.Attempt, answer *httptest.ResponseRecorder) {
	events := d.Events(answer.Body, answer.Header().Get("Content-Type"))
	defer events.Release()
	var e gateway.Event
	last := gateway.NanoUSD(0)
	for i := 0; events.Next(&e) != io.EOF; i++ {
		d.Observe(&e, &a.Result)
		now := q.pricer.Accrued(a)
		if i > 0 && now < last && a.Result.Usage.Source != names.UsageSourceProvider {
			q.t.Errorf("the cost so far falls from %d to %d at event %d", last, now, i)
		}
		last = now
	}
}

// bill is what the provider billed since the last request.
func (q *asker) bill() int64 {
	var n int64
	for _, u := range q.simulated.Billed() {
		n += (u.Prompt()*inputPico + u.Output*outputPico) / 1000
	}
	return n
}

// error is how far the sum of what was settled is from what was billed.
func (q *asker) error() float64 { return float64(q.settled)/float64(q.billed) - 1 }

// families are requests of each API: text, a tool call, thinking.
var families = []struct {
	name, family string
	dialect      gateway.Dialect
	path         string
	bodies       []string
}{
	{"messages", "anthropic", anthropic.Messages(), "/v1/messages", []string{
		`{"model":"m","max_tokens":4000,"stream":true,"messages":[{"role":"user","content":%s}]}`,
		`{"model":"m","max_tokens":4000,"stream":true,"tool_choice":{"type":"any"},"tools":[{"name":"edit_file","input_schema":{"type":"object","properties":{"path":{"type":"string"},"old":{"type":"string"},"new":{"type":"string"}}}}],"messages":[{"role":"user","content":%s}]}`,
		`{"model":"m","max_tokens":4000,"stream":true,"thinking":{"type":"enabled","budget_tokens":1024},"messages":[{"role":"user","content":%s}]}`}},
	{"chat", "openai", openai.Chat(), "/v1/chat/completions", []string{
		`{"model":"m","stream":true,"messages":[{"role":"user","content":%s}]}`,
		`{"model":"m","stream":true,"tool_choice":"required","tools":[{"type":"function","function":{"name":"edit_file","parameters":{"type":"object","properties":{"path":{"type":"string"},"old":{"type":"string"}}}}}],"messages":[{"role":"user","content":%s}]}`}},
	{"responses", "openai", openai.Responses(), "/v1/responses", []string{
		`{"model":"m","stream":true,"input":%s}`,
		`{"model":"m","stream":true,"tool_choice":"required","tools":[{"type":"function","name":"edit_file","parameters":{"type":"object","properties":{"path":{"type":"string"},"old":{"type":"string"}}}}],"input":%s}`}},
	{"gemini", "gemini", gemini.GenerateContent(), "/v1beta/models/m:streamGenerateContent?alt=sse", []string{
		`{"contents":[{"role":"user","parts":[{"text":%s}]}]}`,
		`{"toolConfig":{"functionCallingConfig":{"mode":"ANY"}},"tools":[{"functionDeclarations":[{"name":"edit_file","parameters":{"type":"object","properties":{"path":{"type":"string"}}}}]}],"contents":[{"role":"user","parts":[{"text":%s}]}]}`,
		`{"generationConfig":{"thinkingConfig":{"includeThoughts":true}},"contents":[{"role":"user","parts":[{"text":%s}]}]}`}},
}

// L-14: a stream that is cut at any event is settled within 5 % of what was billed, on the whole, and exactly where its usage
// had been reported.
func TestCutStreamsAreSettledNearWhatWasBilled(t *testing.T) {
	const prompt = `"Explain what this does, \"line by line\":\n\tfunc (r *Reader) Next() (Event, error) {\n\t\treturn r.last()\n\t}\n`
	for _, f := range families {
		for kind, body := range f.bodies {
			t.Run(fmt.Sprintf("%s/%d", f.name, kind), func(t *testing.T) {
				q := newAsker(t, f.family)
				for range 300 {
					text := prompt + strings.Repeat(" and so on, until it ends", q.rnd.IntN(60)) + `"`
					n := 5 + q.rnd.IntN(60)
					step := fmt.Sprintf("events=%d,event_bytes=%d", n, 8+q.rnd.IntN(32))
					cut := q.rnd.IntN(n + 6)
					if q.rnd.IntN(3) == 0 {
						cut = -1 // whole answers teach
					}
					q.ask(f.dialect, f.path, fmt.Sprintf(body, text), step, cut)
				}
				t.Logf("billed %s, settled %+.2f %%, at worst %.1f %% for one; %d reported", gateway.NanoUSD(q.billed), 100*q.error(), 100*q.worst, q.reported)
				if math.Abs(q.error()) > 0.05 {
					t.Errorf("got %+.2f %% off what was billed, want at most 5", 100*q.error())
				}
			})
		}
	}
}
