package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// healthy gives a snapshot circuit breakers.
func healthy(s *gateway.Snapshot) { s.Health = route.NewHealth() }

// retrying allows retries with next to no back-off.
func retrying(l *gateway.Limits) {
	l.RetryBudget, l.RetryBase = 0.2, time.Millisecond
}

// tape is a transport that answers from memory, each send as the next of its
// steps says, the last for ever. It works in a bubble of synctest.
type tape struct {
	mu    sync.Mutex
	steps []tapeStep
	at    []time.Time // of the sends
}

type tapeStep struct {
	status int
	header http.Header
	body   string
	delay  time.Duration
	err    error
}

var good = tapeStep{status: 200, body: string(plainAnswer())}

func fault(status int, kind string, header ...string) tapeStep {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return tapeStep{status: status, header: h, body: fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":"no"}}`, kind)}
}

func (p *tape) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.at = append(p.at, time.Now())
	s := p.steps[min(len(p.at), len(p.steps))-1]
	p.mu.Unlock()
	if s.delay > 0 {
		timer := time.NewTimer(s.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return nil, context.Cause(r.Context())
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	h := s.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Type", "application/json")
	return &http.Response{StatusCode: s.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: h,
		ContentLength: int64(len(s.body)), Body: io.NopCloser(strings.NewReader(s.body))}, nil
}

// play sends one request through a gateway whose providers are p, in a bubble.
// It returns the exchange and how long it took.
func (p *tape) play(t *testing.T, cfg rigConfig, edit ...func(*http.Request) *http.Request) (*gateway.Exchange, *sink, time.Duration) {
	t.Helper()
	cfg.baseURL = "http://provider.example"
	snapshot := cfg.newSnapshot(t)
	if cfg.snapshot == nil {
		snapshot.Limits.RetryBudget = 0 // the default
	}
	end := &ending{done: make(chan *gateway.Exchange, 1)}
	g, err := gateway.New(gateway.Config{Routes: routes(), Snapshot: snapshot, Recorder: end, Transport: p})
	if err != nil {
		t.Fatal(err)
	}
	path, body := apis[0].request("", false)
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, e := range edit {
		r = e(r)
	}
	w, start := &sink{header: http.Header{}}, time.Now()
	g.ServeHTTP(w, r)
	snapshot.Ledger.(*purse).check(t)
	return <-end.done, w, time.Since(start)
}

var errDial = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

func TestRetriesOfOneTarget(t *testing.T) {
	for name, c := range map[string]struct {
		steps       []tapeStep
		sends       int
		status      int
		least, most time.Duration // of waiting, in all
	}{
		"U-16 a server error":                   {[]tapeStep{fault(500, "api_error"), good}, 2, 200, 0, 500 * time.Millisecond},
		"U-16 502 of a proxy":                   {[]tapeStep{{status: 502, body: "<html>"}, good}, 2, 200, 0, 500 * time.Millisecond},
		"U-16 for ever":                         {[]tapeStep{fault(500, "api_error")}, 3, 500, 0, 1500 * time.Millisecond},
		"U-15 overloaded":                       {[]tapeStep{fault(529, "overloaded_error"), fault(503, "overloaded_error"), good}, 3, 200, 0, 1500 * time.Millisecond},
		"U-14 throttled":                        {[]tapeStep{fault(429, "rate_limit_error", "Retry-After", "3"), good}, 2, 200, 3 * time.Second, 4 * time.Second},
		"U-14 throttled, in milliseconds":       {[]tapeStep{fault(429, "rate_limit_error", "Retry-After-Ms", "1500"), good}, 2, 200, 1500 * time.Millisecond, 2 * time.Second},
		"U-14 throttled for too long":           {[]tapeStep{fault(429, "rate_limit_error", "Retry-After", "30"), good}, 1, 429, 0, 0},
		"U-14 a hint that means nothing":        {[]tapeStep{fault(429, "rate_limit_error", "Retry-After", "-1"), good}, 2, 200, 0, 500 * time.Millisecond},
		"U-14 a hint beside an answer":          {[]tapeStep{{status: 200, header: http.Header{"Retry-After": {"9"}}, body: string(plainAnswer())}}, 1, 200, 0, 0},
		"U-01 refused":                          {[]tapeStep{{err: errDial}, good}, 2, 200, 0, 500 * time.Millisecond},
		"U-05 headers that never come":          {[]tapeStep{{delay: time.Hour}, good}, 2, 200, 5 * time.Minute, 5*time.Minute + time.Second},
		"the provider says not to":              {[]tapeStep{fault(500, "api_error", "X-Should-Retry", "false"), good}, 1, 500, 0, 0},
		"a bad request":                         {[]tapeStep{fault(400, "invalid_request_error"), good}, 1, 400, 0, 0},
		"not allowed":                           {[]tapeStep{fault(403, "permission_error"), good}, 1, 403, 0, 0},
		"no money":                              {[]tapeStep{fault(402, "billing_error"), good}, 1, 402, 0, 0},
		"U-22 a redirect":                       {[]tapeStep{{status: 307, header: http.Header{"Location": {"/"}}}, good}, 1, 502, 0, 0},
		"U-18 a page":                           {[]tapeStep{{status: 200, body: "hello"}, good}, 1, 502, 0, 0},
		"U-03 a host that does not exist":       {[]tapeStep{{err: &net.DNSError{Err: "no such host", IsNotFound: true}}, good}, 1, 502, 0, 0},
		"a name server that fails for a moment": {[]tapeStep{{err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}, good}, 2, 200, 0, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &tape{steps: c.steps}
				x, w, took := p.play(t, rigConfig{})
				if len(p.at) != c.sends || w.status != c.status {
					t.Errorf("got %d sends and status %d, want %d and %d", len(p.at), w.status, c.sends, c.status)
				}
				if took < c.least || took > c.most {
					t.Errorf("took %v, want %v to %v", took, c.least, c.most)
				}
				if len(x.Attempts) != 1 || x.Fallbacks != 0 || x.Overhead > time.Millisecond {
					t.Errorf("got %d attempts, %d fallbacks, overhead %v", len(x.Attempts), x.Fallbacks, x.Overhead)
				}
			})
		})
	}
}

func TestBackOffGrowsAndIsRandom(t *testing.T) {
	var first, second time.Duration
	synctest.Test(t, func(t *testing.T) {
		for range 200 {
			p := &tape{steps: []tapeStep{fault(500, "api_error")}}
			p.play(t, rigConfig{})
			a, b := p.at[1].Sub(p.at[0]), p.at[2].Sub(p.at[1])
			if a > 500*time.Millisecond || b > time.Second {
				t.Fatalf("waited %v, then %v", a, b)
			}
			first, second = first+a, second+b
		}
	})
	// The means of full jitter are half of the limits.
	if first < 200*200*time.Millisecond || first > 200*300*time.Millisecond || second < 200*400*time.Millisecond || second > 200*600*time.Millisecond {
		t.Errorf("waited %v and %v on average", first/200, second/200)
	}
}

func TestRetryNeverOutlivesTheExchangeOrTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tape{steps: []tapeStep{fault(429, "rate_limit_error", "Retry-After", "10"), good}}
		x, w, took := p.play(t, rigConfig{snapshot: limits(func(l *gateway.Limits) { l.Exchange, l.RetryBudget = 5*time.Second, 0.2 })})
		if w.status != 429 || took != 0 || len(p.at) != 1 || w.header.Get("Retry-After") != "10" || x.Err.RetryAfter != 10*time.Second {
			t.Errorf("got %d after %v and %d sends, Retry-After %q", w.status, took, len(p.at), w.header.Get("Retry-After"))
		}

		p = &tape{steps: p.steps}
		ctx, cancel := context.WithCancel(t.Context())
		x, w, took = p.play(t, rigConfig{provider: func(p *gateway.Provider) { p.Drain = true }}, func(r *http.Request) *http.Request {
			time.AfterFunc(2*time.Second, cancel)
			return r.WithContext(ctx)
		})
		if took != 2*time.Second || len(p.at) != 1 || w.n != 0 || x.Outcome != names.OutcomeClientDisconnect {
			t.Errorf("the client left: %d sends, %v, %d bytes, outcome %s", len(p.at), took, w.n, x.Outcome)
		}
	})
}

func TestC30RevokedKeyEndsTheWaitForARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &doorman{stop: make(chan func(), 1)}
		time.AfterFunc(2*time.Second, func() { (<-d.stop)() })
		p := &tape{steps: []tapeStep{fault(429, "rate_limit_error", "Retry-After", "10"), good}}
		x, w, took := p.play(t, rigConfig{snapshot: func(s *gateway.Snapshot) { s.Callers, s.Limits.RetryBudget = d, 0.2 }}, func(r *http.Request) *http.Request {
			r.Header.Set("X-CCProxy-Key", goodKey)
			return r
		})
		if w.status != 401 || took != 2*time.Second || x.Outcome != names.OutcomeRejected {
			t.Errorf("got %d after %v, outcome %s", w.status, took, x.Outcome)
		}
	})
}

func TestU05SendThatMayHaveBeenBilledIsPaidFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		usage := func(steps ...tapeStep) gateway.Usage {
			p := &tape{steps: steps}
			l := &purse{}
			x, _, _ := p.play(t, rigConfig{snapshot: func(s *gateway.Snapshot) { l.into(s); s.Limits.RetryBudget = 0.2 }})
			if len(l.holds) != 1 || l.holds[0].settled != 1 {
				t.Errorf("got %d holds, the first settled %d times", len(l.holds), l.holds[0].settled)
			}
			return x.Final().Result.Usage
		}
		once, lost := usage(good), usage(tapeStep{delay: time.Hour}, fault(400, "invalid_request_error"))
		twice := usage(tapeStep{delay: time.Hour}, good)
		if lost.Source != names.UsageSourceEstimated || lost.Input == 0 || lost.Output != 0 {
			t.Errorf("a send that got no answer: got usage %+v", lost)
		}
		if twice.Source != names.UsageSourceEstimated || twice.Input != once.Input+lost.Input || twice.Output != once.Output {
			t.Errorf("got usage %+v, want %+v and the prompt of the first send", twice, once)
		}
		if refused := usage(tapeStep{err: errDial}, fault(500, "api_error"), good); refused != once {
			t.Errorf("sends that cannot have been billed count: %+v", refused)
		}
	})
}

func TestRetryBudgetBoundsAmplification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tape{steps: []tapeStep{fault(500, "api_error")}}
		cfg := rigConfig{baseURL: "http://provider.example"}
		snapshot := cfg.newSnapshot(t)
		snapshot.Limits.RetryBudget = 0.2
		g, err := gateway.New(gateway.Config{Routes: routes(), Snapshot: snapshot, Transport: p})
		if err != nil {
			t.Fatal(err)
		}
		path, body := apis[0].request("", false)
		const n = 500
		for range n {
			r := httptest.NewRequest("POST", path, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			g.ServeHTTP(&sink{header: http.Header{}}, r)
		}
		if got := len(p.at); got < n+n/5 || got > n+n/5+10 {
			t.Errorf("%d requests made %d sends, want %d and ten at most", n, got, n+n/5)
		}
	})
}

func TestAnotherTargetIsPreferredToWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tape{steps: []tapeStep{fault(429, "rate_limit_error", "Retry-After", "3"), fault(500, "api_error"), good}}
		x, w, took := p.play(t, rigConfig{extra: []string{"mirror=anthropic"}, any: []string{"mirror/claude-sonnet-5"}})
		if w.status != 200 || took > 500*time.Millisecond || len(p.at) != 3 {
			t.Errorf("got %d after %v and %d sends", w.status, took, len(p.at))
		}
		// The second has no other left, and is asked again.
		if len(x.Attempts) != 2 || len(x.Attempts[0].Sends) != 1 || len(x.Attempts[1].Sends) != 2 || x.Fallbacks != 1 {
			t.Errorf("got %d attempts, %d fallbacks", len(x.Attempts), x.Fallbacks)
		}
	})
}

func TestRetryIsAFurtherSendOfTheSameAttempt(t *testing.T) {
	for _, a := range apis {
		for _, stream := range []bool{false, true} {
			sim := gatewaytest.ProviderOptions{Script: map[string][]gatewaytest.Step{"": {{Status: 500}, {Cut: gatewaytest.CutError}}}}
			r := newRig(t, rigConfig{sim: sim, snapshot: limits(retrying)})
			got := r.ask(a, stream, "")
			x, spans := r.exchange()
			sends := 3
			if !stream { // a plain answer has no error event
				sends = 2
			}
			llm, posts := spans.genai(), spans.named("POST")
			if got.status != 200 || got.err != nil || got.header.Get("X-CCProxy-Attempts") != "1" || len(llm) != 1 || len(posts) != sends {
				t.Errorf("%s, streamed %v: got %d, %v, %d GenAI spans, %d sends: %s", a.name, stream, got.status, got.err, len(llm), len(posts), got.body)
				continue
			}
			for i, p := range posts {
				if n := attr(p, names.KeyHTTPRequestResendCount).AsInt64(); n != int64(i) || p.Parent().SpanID() != llm[0].SpanContext().SpanID() {
					t.Errorf("%s, streamed %v: send %d has resend_count %d", a.name, stream, i, n)
				}
			}
			f := x.Final()
			if x.Outcome != names.OutcomeCompleted || f.ResultKind != names.AttemptResultUsed || attr(llm[0], names.KeyAttemptSends).AsInt64() != int64(sends) ||
				f.Result.Usage.Source != names.UsageSourceProvider || len(spans.failures()) != sends-1-(sends-2) {
				t.Errorf("%s, streamed %v: got %s, %s, usage %+v, errors on %v", a.name, stream, x.Outcome, f.ResultKind, f.Result.Usage, spans.failures())
			}
		}
	}
}

// closing is a provider that closes each connection after n answers, without
// saying so, when the next request is on its way at the earliest.
type closing struct {
	n       int
	drop    func(c net.Conn) // ends a connection
	served  atomic.Int64
	dropped atomic.Int64
}

func (p *closing) start(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { ln.Close() })
	return "http://" + ln.Addr().String()
}

func (p *closing) serve(c net.Conn) {
	defer c.Close()
	br, answer := bufio.NewReader(c), plainAnswer()
	for i := 0; ; i++ {
		// As the connection is idle: the first byte of a request is there, and nobody has read it.
		if _, err := br.Peek(1); err != nil {
			return
		}
		if i == p.n {
			p.dropped.Add(1)
			p.drop(c)
			return
		}
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		p.served.Add(1)
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer); err != nil {
			return
		}
	}
}

func TestU19IdleConnectionRace(t *testing.T) {
	const n = 1000
	for name, drop := range map[string]func(net.Conn){
		"closed": func(net.Conn) {},
		"reset": func(c net.Conn) {
			_ = c.(*net.TCPConn).SetLinger(0)
		},
		"half closed": func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite(); _, _ = io.Copy(io.Discard, c) },
	} {
		t.Run(name, func(t *testing.T) {
			p := &closing{n: 7, drop: drop}
			r := newRig(t, rigConfig{baseURL: p.start(t)})
			again := 0
			for range n {
				got := r.ask(apis[0], false, "")
				x, _ := r.exchange()
				if got.status != 200 {
					t.Fatalf("got %d, %s: %v", got.status, got.body, x.Err)
				}
				if len(x.Attempts) != 1 {
					t.Fatalf("got %d attempts", len(x.Attempts))
				}
				again += len(x.Final().Sends) - 1
			}
			// Each connection is dropped once, with the eighth request on it.
			if served, dropped := p.served.Load(), p.dropped.Load(); served != n || dropped < n/int64(p.n+1) || again != int(dropped) {
				t.Errorf("%d requests were served, %d dropped, %d sent again", served, dropped, again)
			}
		})
	}
}

func TestU19FreshConnectionThatFailsIsNotTheRace(t *testing.T) {
	p := &closing{n: 0, drop: func(net.Conn) {}}
	r := newRig(t, rigConfig{baseURL: p.start(t)})
	got := r.ask(apis[0], false, "")
	x, _ := r.exchange()
	if got.status != 502 || len(x.Final().Sends) != 1 {
		t.Errorf("got %d, %d sends", got.status, len(x.Final().Sends))
	}
	if h := r.ledger.holds[0]; h.settled != 1 {
		t.Error("a request that may have been seen is not settled")
	}
}

func TestU19ProviderThatTookTheRequestIsNotAskedAgain(t *testing.T) {
	// It answers once, then reads a request and hangs up later than an idle connection would.
	var asked atomic.Int64
	p := &closing{n: 1}
	p.drop = func(c net.Conn) {
		asked.Add(1)
		timer := time.NewTimer(1200 * time.Millisecond)
		defer timer.Stop()
		<-timer.C
	}
	r := newRig(t, rigConfig{baseURL: p.start(t)})
	r.ask(apis[0], false, "")
	r.exchange()
	got := r.ask(apis[0], false, "")
	x, _ := r.exchange()
	if got.status != 502 || asked.Load() != 1 || len(x.Final().Sends) != 1 {
		t.Errorf("got %d, asked %d times, %d sends", got.status, asked.Load(), len(x.Final().Sends))
	}
}
