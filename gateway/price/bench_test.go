package price

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// agentCall is an attempt with a coding agent's request of about n bytes.
func agentCall(t testing.TB, n int) *gateway.Attempt {
	t.Helper()
	text := strings.Repeat(`func (r *Reader) Next() error {\n\treturn r.err\n}\n`, n/50+1)
	body := fmt.Appendf(nil, `{"model":"claude-sonnet-5-20260201","max_tokens":32000,"stream":true,"messages":[{"role":"user","content":[{"type":"text","text":"%s"}]}],`+
		`"system":[{"type":"text","text":"You are an agent.","cache_control":{"type":"ephemeral"}}],"tools":[{"name":"Read","input_schema":{"type":"object"}}]}`, text)
	p := provider("anthropic", "anthropic")
	p.Family = "anthropic"
	x := &gateway.Exchange{Dialect: anthropic.Messages(), Request: httptest.NewRequest("POST", "/v1/messages", bytes.NewReader(body)), Body: body}
	var err error
	if x.Call, err = x.Dialect.Decode(x.Request, body); err != nil {
		t.Fatal(err)
	}
	return &gateway.Attempt{Exchange: x, Target: gateway.Target{Provider: p, Model: x.Call.Model}, Body: body}
}

func benchPricer(t testing.TB, a *gateway.Attempt) *Pricer {
	t.Helper()
	p, err := New(Config{Book: embeddedBook(t), Providers: []*gateway.Provider{a.Target.Provider}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func BenchmarkBound(b *testing.B) {
	for _, n := range []int{500, 90_000} {
		a := agentCall(b, n)
		p := benchPricer(b, a)
		b.Run(fmt.Sprintf("%dB", len(a.Body)), func(b *testing.B) {
			b.SetBytes(int64(len(a.Body)))
			b.ReportAllocs()
			for b.Loop() {
				if r := p.Bound(a); !r.Known() {
					b.Fatal("no bound")
				}
			}
		})
	}
}

func BenchmarkAccrued(b *testing.B) {
	a := agentCall(b, 500)
	p := benchPricer(b, a)
	a.Bound = p.Bound(a)
	a.Result.Usage = gateway.Usage{Input: 1000, CacheRead: 20_000, CacheWrite: 900, Source: names.UsageSourcePartial}
	p.counter.LearnOutput(a.Model(), false, 100, 33)
	b.ReportAllocs()
	for b.Loop() {
		a.Result.OutputBytes += 16
		if p.Accrued(a) == 0 {
			b.Fatal("no cost")
		}
	}
}

func TestBoundsOnTheRequestPathAllocateNothing(t *testing.T) {
	a := agentCall(t, 1000)
	p := benchPricer(t, a)
	a.Bound = p.Bound(a)
	a.Result.OutputBytes = 1000
	if n := testing.AllocsPerRun(100, func() { p.Bound(a) }); n != 0 {
		t.Errorf("Bound: got %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { p.Accrued(a) }); n != 0 {
		t.Errorf("Accrued: got %v allocations, want 0", n)
	}
	a.Result.Usage = gateway.Usage{Input: 1, Output: 2, Source: names.UsageSourceProvider}
	if n := testing.AllocsPerRun(100, func() { p.Price(a) }); n != 0 {
		t.Errorf("Price: got %v allocations, want 0", n)
	}
}
