package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// leave starts a stream and leaves once it has read n events. It returns when
// that was.
func (r *rig) leave(a api, step string, n int) time.Time {
	r.t.Helper()
	path, body := a.request("", true)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	resp, err := r.client.Do(r.request(ctx, "POST", path, body, "X-Simulate", step))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	for br := bufio.NewReader(resp.Body); n > 0; {
		line, err := br.ReadString('\n')
		if err != nil {
			r.t.Fatal(err)
		}
		if strings.TrimSpace(line) == "" {
			n--
		}
	}
	return time.Now()
}

// leftAt waits until the provider has seen n clients go and returns when it
// saw the last.
func (r *rig) leftAt(n int) time.Time {
	r.t.Helper()
	var last time.Time
	r.wait("the provider saw the client leave", func(all []gatewaytest.Request) bool {
		left := 0
		for _, q := range all {
			if !q.Left.IsZero() {
				left++
				last = q.Left
			}
		}
		return left >= n
	})
	return last
}

// wentAway checks that a client that left is an outcome and no error.
func wentAway(t *testing.T, x *gateway.Exchange, spans tree) {
	t.Helper()
	if x.Outcome != names.OutcomeClientDisconnect {
		t.Errorf("got outcome %s, want %s", x.Outcome, names.OutcomeClientDisconnect)
	}
	if f := spans.failures(); len(f) > 0 {
		t.Errorf("a client that left made errors of %v", f)
	}
	if got := attr(spans.server(), names.KeyOutcome).AsString(); got != names.OutcomeClientDisconnect {
		t.Errorf("SERVER has outcome %q", got)
	}
}

func TestC01ClientLeavesMidStream(t *testing.T) {
	r := newRig(t, rigConfig{})
	fastest := time.Hour
	runs := 0
	for _, a := range apis {
		for k := 1; k <= 3; k++ {
			runs++
			left := r.leave(a, "stall_after=4", k)
			fastest = min(fastest, r.leftAt(runs).Sub(left))
			x, spans := r.exchange()
			wentAway(t, x, spans)
			if f := x.Final(); f.Stream.End != names.StreamEndClientDisconnect || f.Result.Usage.Source == "" {
				t.Errorf("%s: got stream end %q, usage of %q", a.name, f.Stream.End, f.Result.Usage.Source)
			}
		}
	}
	// The fastest of several: a busy machine may delay any one of them.
	if fastest > 250*time.Millisecond {
		t.Errorf("the provider was cancelled after %v, want 250ms at most", fastest)
	}
}

func TestC01ClientThatLeavesABusyStream(t *testing.T) {
	r := newRig(t, rigConfig{})
	for i := range 5 {
		r.leave(apis[i%len(apis)], "events=5000,event_bytes=1000,event_delay=1ms", 2)
		r.leftAt(i + 1)
		x, spans := r.exchange()
		wentAway(t, x, spans)
	}
}

// dial opens a raw connection to the gateway and writes a request.
func (r *rig) dial(request string) *net.TCPConn {
	r.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		r.t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// wire writes a request as bytes.
func wire(path, body string, header ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s",
		path, len(body), strings.Join(append(header, ""), "\r\n"), body)
}

func TestC02ClientLeavesASilentProvider(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn) error{
		"FIN":             (*net.TCPConn).Close,
		"C-03 half-close": (*net.TCPConn).CloseWrite, // net/http takes it for leaving; so do we
		"RST": func(c *net.TCPConn) error {
			return errors.Join(c.SetLinger(0), c.Close())
		},
	} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, streamed %v", name, stream), func(t *testing.T) {
				r := newRig(t, rigConfig{})
				path, body := apis[0].request("", stream)
				c := r.dial(wire(path, body, "X-Simulate: delay=1h"))
				defer c.Close()
				r.wait("the request is there", func(all []gatewaytest.Request) bool { return len(all) == 1 && all[0].Body != nil })
				if err := leave(c); err != nil {
					t.Fatal(err)
				}
				r.leftAt(1)
				x, spans := r.exchange()
				wentAway(t, x, spans)
				if x.Status != 0 && x.Status < 400 {
					t.Errorf("got status %d for a request that was not answered", x.Status)
				}
				if len(x.Attempts) != 1 || x.Fallbacks != 0 {
					t.Errorf("got %d attempts", len(x.Attempts))
				}
			})
		}
	}
}

func TestC02NoFallbackForAClientThatLeft(t *testing.T) {
	cfg, backup := backup(t, "")
	cfg.baseURL = ""
	r := newRig(t, cfg)
	path, body := apis[0].request("", true)
	c := r.dial(wire(path, body, "X-Simulate: delay=1h"))
	r.wait("the request is there", func(all []gatewaytest.Request) bool { return len(all) == 1 })
	c.Close()
	x, spans := r.exchange()
	wentAway(t, x, spans)
	if n := len(backup.Requests()); n != 0 {
		t.Errorf("%d requests went to the fallback", n)
	}
}

func TestC05ClientThatReadsNothingIsCutOff(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: limits(func(l *gateway.Limits) { l.WriteTimeout = 150 * time.Millisecond })})
	path, body := apis[0].request("", true)
	c := r.dial(wire(path, body, "X-Simulate: events=4000,event_bytes=16000"))
	defer c.Close()
	x, spans := r.exchange()
	r.leftAt(1)
	if f := x.Final(); x.Outcome != names.OutcomeTimeout || f.Stream.End != names.StreamEndCutOff || x.Err.Origin != names.ErrorOriginCaller {
		t.Errorf("got outcome %s, stream end %s, error %v", x.Outcome, f.Stream.End, x.Err)
	}
	if len(spans.failures()) == 0 {
		t.Error("a stream we cut off is an error of SERVER")
	}
}

func TestC05ClientThatReadsNoPlainBodyIsCutOff(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: limits(func(l *gateway.Limits) { l.WriteTimeout = 150 * time.Millisecond })})
	path, body := apis[0].request("", false)
	for _, size := range []int{7 << 20, 64 << 20} { // held, and relayed as it comes
		c := r.dial(wire(path, body, fmt.Sprintf("X-Simulate: big=%d", size)))
		_ = c.SetReadBuffer(4 << 10)
		if x, _ := r.exchange(); size > 8<<20 && x.Outcome == names.OutcomeCompleted {
			t.Errorf("%d bytes: got outcome %s", size, x.Outcome)
		}
		c.Close()
	}
}

func TestC04SlowReaderThatMakesProgressGetsItAll(t *testing.T) {
	t.Parallel()
	const timeout = 800 * time.Millisecond
	r := newRig(t, rigConfig{snapshot: limits(func(l *gateway.Limits) { l.WriteTimeout = timeout })})
	path, body := apis[0].request("", true)
	resp, err := r.client.Do(r.request(t.Context(), "POST", path, body, "X-Simulate", "events=2500,event_bytes=16000"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	start := time.Now()
	var n int64
	pause := time.NewTicker(timeout / 4)
	defer pause.Stop()
	for err == nil {
		var m int64
		m, err = io.CopyN(io.Discard, resp.Body, 6<<20)
		n += m
		<-pause.C
	}
	x, _ := r.exchange()
	if n < 2500*16000 || err != io.EOF || x.Outcome != names.OutcomeCompleted {
		t.Errorf("got %d bytes, %v, outcome %s", n, err, x.Outcome)
	}
	if took := time.Since(start); took < timeout {
		t.Errorf("the test proves nothing: reading took %v", took)
	}
}

func TestDrainReadsOnForUsage(t *testing.T) {
	r := newRig(t, rigConfig{provider: func(p *gateway.Provider) { p.Drain = true }})
	for i, a := range apis {
		r.leave(a, "events=8,event_delay=5ms", 2)
		x, spans := r.exchange()
		wentAway(t, x, spans)
		r.wait("the answer is over", func(all []gatewaytest.Request) bool { return len(all) == i+1 && !all[i].End.IsZero() })
		if q := r.received()[i]; !q.Left.IsZero() {
			t.Errorf("%s: the provider was cancelled although it is drained", a.name)
		}
		if u := x.Final().Result.Usage; u.Source != names.UsageSourceProvider || u.Output == 0 || !x.Final().Result.Done {
			t.Errorf("%s: got usage %+v", a.name, u)
		}
	}
}

func TestDrainIsBounded(t *testing.T) {
	r := newRig(t, rigConfig{provider: func(p *gateway.Provider) { p.Drain = true },
		snapshot: limits(func(l *gateway.Limits) { l.Drain = 50 * time.Millisecond })})
	r.leave(apis[0], "stall_after=3", 2)
	r.leftAt(1)
	x, spans := r.exchange()
	wentAway(t, x, spans)
	if end := x.Final().Stream.End; end != names.StreamEndClientDisconnect {
		t.Errorf("got stream end %s", end)
	}
}

func TestExchangeTakesNoLongerThanItMay(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: limits(func(l *gateway.Limits) { l.Exchange = 150 * time.Millisecond })})
	for _, a := range apis {
		got := r.ask(a, true, "events=500,event_delay=5ms")
		x, _ := r.exchange()
		if got.err == nil || x.Outcome != names.OutcomeTimeout || x.Final().Stream.End != names.StreamEndCutOff {
			t.Errorf("%s: got %v, outcome %s, stream end %s", a.name, got.err, x.Outcome, x.Final().Stream.End)
		}
	}
}

// TestUsageIsSettledBeforeTheStreamEnds: a client that has read the last event
// may rely on the money being counted (P4).
func TestUsageIsSettledBeforeTheStreamEnds(t *testing.T) {
	terminal := map[string]string{"anthropic.messages": "message_stop", "openai.chat": "[DONE]", "openai.responses": "response.completed", "gemini.generate_content": `"finishReason"`}
	var settled atomic.Bool
	r := newRig(t, rigConfig{recorder: func(e *ending) gateway.Recorder { return settleWatch{e, &settled} }})
	for _, a := range apis {
		settled.Store(false)
		path, body := a.request("", true)
		resp, err := r.client.Do(r.request(t.Context(), "POST", path, body, "X-Simulate", "event_delay=1ms"))
		if err != nil {
			t.Fatal(err)
		}
		seen := false
		for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
			if strings.Contains(sc.Text(), terminal[a.name]) {
				seen = true
				if !settled.Load() {
					t.Errorf("%s: the client has the last event and nothing is settled", a.name)
				}
				break
			}
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if !seen {
			t.Errorf("%s: no terminal event", a.name)
		}
		r.exchange()
	}
}

type settleWatch struct {
	*ending
	settled *atomic.Bool
}

func (s settleWatch) Settled(ctx context.Context, a *gateway.Attempt) {
	s.settled.Store(true)
	s.ending.Settled(ctx, a)
}

func TestManyClientsThatComeAndGo(t *testing.T) {
	r := newRig(t, rigConfig{})
	steps := []string{"", "stall_after=2", "reset_after=2", "truncate_after=2", "error_after=2", "status=500", "hangup", "gzip", "events=20,event_delay=1ms"}
	var wg sync.WaitGroup
	for i := range 72 {
		wg.Go(func() {
			a := apis[i%len(apis)]
			path, body := a.request("", i%8 != 0)
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*3*time.Millisecond)
			defer cancel()
			resp, err := r.client.Do(r.request(ctx, "POST", path, body, "X-Simulate", steps[i%len(steps)]))
			if err != nil {
				return
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
		})
	}
	wg.Wait()
	// The rig's invariants are the test.
	if got := r.ask(apis[0], false, ""); got.status != http.StatusOK {
		t.Errorf("afterwards: got %d", got.status)
	}
}
