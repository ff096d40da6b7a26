package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// closedPort is an address nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return "http://" + ln.Addr().String()
}

// failsWith checks a failure before the first byte: the client's dialect says
// it, and the trace knows its type.
func failsWith(t *testing.T, r *rig, a api, got answer, status int, errorType string) {
	t.Helper()
	x, spans := r.exchange()
	if got.status != status || !strings.Contains(got.body, `"error"`) || got.err != nil {
		t.Errorf("%s: got %d, %s, %v, want %d", a.name, got.status, got.body, got.err, status)
	}
	if x.Err == nil || x.Err.Type != errorType {
		t.Errorf("%s: got error %v, want %s", a.name, x.Err, errorType)
	}
	s := spans.server()
	if s.Status().Code != codes.Error || attr(s, names.KeyErrorType).AsString() != errorType {
		t.Errorf("%s: SERVER has status %v and attributes %v", a.name, s.Status(), s.Attributes())
	}
	for _, s := range spans.genai() {
		if s.Status().Code != codes.Error || attr(s, names.KeyErrorType).AsString() != errorType {
			t.Errorf("%s: %s has status %v and error.type %q", a.name, s.Name(), s.Status(), attr(s, names.KeyErrorType).AsString())
		}
	}
}

// rescuedFor checks that another target answered.
func rescuedFor(t *testing.T, r *rig, got answer, reason string) {
	t.Helper()
	x, spans := r.exchange()
	if got.status != 200 || x.Fallbacks != 1 || x.FallbackWhy != reason || x.Outcome != names.OutcomeCompleted {
		t.Errorf("got %d, %d fallbacks for %q, outcome %s, %s, want one for %q", got.status, x.Fallbacks, x.FallbackWhy, x.Outcome, got.body, reason)
		return
	}
	llm := spans.genai()
	if len(llm) != 2 || len(llm[1].Links()) != 1 || llm[1].Links()[0].SpanContext.SpanID() != llm[0].SpanContext().SpanID() {
		t.Errorf("the fallback is not linked to the attempt it replaces: %v", describe(spans))
		return
	}
	if llm[0].Status().Code != codes.Error || llm[1].Status().Code != codes.Unset || spans.server().Status().Code != codes.Unset {
		t.Errorf("got status %v, %v, SERVER %v", llm[0].Status(), llm[1].Status(), spans.server().Status())
	}
	if result := attr(llm[0], names.KeyAttemptResult).AsString(); result != names.AttemptResultSuperseded {
		t.Errorf("got attempt result %q", result)
	}
}

// backup makes every provider named first fall back to one that works.
func backup(t *testing.T, first string) (rigConfig, *gatewaytest.Provider) {
	t.Helper()
	sim := gatewaytest.NewProvider(gatewaytest.ProviderOptions{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	return rigConfig{baseURL: first, extra: []string{"backup=anthropic=" + srv.URL}, any: []string{"backup/claude-sonnet-5"}}, sim
}

func TestU01ConnectionRefused(t *testing.T) {
	r := newRig(t, rigConfig{baseURL: closedPort(t)})
	for _, a := range apis {
		for _, stream := range []bool{false, true} {
			got := r.ask(a, stream, "")
			failsWith(t, r, a, got, 502, names.ErrorConnectError)
			if strings.Contains(got.body, "127.0.0.1") {
				t.Errorf("%s: the client learns the address: %s", a.name, got.body)
			}
		}
	}
	cfg, _ := backup(t, closedPort(t))
	r = newRig(t, cfg)
	rescuedFor(t, r, r.ask(apis[0], true, ""), names.FallbackConnect)
}

func TestU03TLSThatCannotBeTrusted(t *testing.T) {
	self := httptest.NewUnstartedServer(http.NotFoundHandler())
	self.Config.ErrorLog = log.New(io.Discard, "", 0)
	self.StartTLS()
	defer self.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, at := range []string{self.URL, "https" + strings.TrimPrefix(plain.URL, "http")} {
		r := newRig(t, rigConfig{baseURL: at})
		got := r.ask(apis[0], false, "")
		failsWith(t, r, apis[0], got, 502, names.ErrorTLSError)
		for _, word := range []string{"x509", "certificate", "Acme"} {
			if strings.Contains(got.body, word) {
				t.Errorf("the client learns %q: %s", word, got.body)
			}
		}
	}
}

func TestU05HeadersThatNeverCome(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: limits(func(l *gateway.Limits) {
		l.HeaderTimeout, l.StreamHeaderTimeout = 40*time.Millisecond, 40*time.Millisecond
	})})
	for _, a := range apis {
		for _, stream := range []bool{false, true} {
			failsWith(t, r, a, r.ask(a, stream, "delay=1h"), 504, names.ErrorTimeout)
		}
	}
	r.wait("the provider saw them go", func(all []gatewaytest.Request) bool {
		for _, q := range all {
			if q.Left.IsZero() {
				return false
			}
		}
		return true
	})
}

// brokenStream checks what a client sees of a stream that failed on the way.
func brokenStream(t *testing.T, r *rig, a api, got answer, outcome, end, errorType string) {
	t.Helper()
	x, spans := r.exchange()
	if got.status != 200 || got.err == nil || !strings.Contains(got.body, `"error"`) {
		t.Errorf("%s: got %d, a body that ends %.120q, error %v: no visible end", a.name, got.status, got.body[max(0, len(got.body)-120):], got.err)
	}
	f := x.Final()
	if x.Outcome != outcome || f.Stream.End != end || f.Err == nil || f.Err.Type != errorType {
		t.Errorf("%s: got outcome %s, end %s, error %v, want %s, %s, %s", a.name, x.Outcome, f.Stream.End, f.Err, outcome, end, errorType)
	}
	want := 4 // SERVER, GenAI, POST, stream
	if end == names.StreamEndTruncated {
		want = 3 // HTTP knows of no error
	}
	if n := len(spans.failures()); n != want {
		t.Errorf("%s: got errors on %v, want %d", a.name, spans.failures(), want)
	}
}

func TestU06StallMidStream(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: limits(func(l *gateway.Limits) { l.IdleTimeout = 60 * time.Millisecond })})
	for _, a := range apis {
		brokenStream(t, r, a, r.ask(a, true, "stall_after=3"), names.OutcomeTimeout, names.StreamEndIdleTimeout, names.ErrorIdleTimeout)
	}
}

func TestU06StallOfAPlainBody(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: limits(func(l *gateway.Limits) { l.HeaderTimeout = 60 * time.Millisecond })})
	for _, a := range apis {
		failsWith(t, r, a, r.ask(a, false, "stall_after=3"), 504, names.ErrorTimeout)
	}
}

func TestU07ResetAfterEveryEvent(t *testing.T) {
	r := newRig(t, rigConfig{})
	for _, a := range apis {
		for k := 0; ; k++ {
			got := r.ask(a, true, fmt.Sprintf("events=4,reset_after=%d", k))
			if k == 0 {
				failsWith(t, r, a, got, 502, names.ErrorStreamTruncated)
				continue
			}
			if got.err == nil { // a reset beyond the end leaves the stream whole
				if x, _ := r.exchange(); x.Outcome != names.OutcomeCompleted || k < 5 {
					t.Errorf("%s: reset after %d events: got outcome %s", a.name, k, x.Outcome)
				}
				break
			}
			if got.status == 502 { // the reset overtook the events
				failsWith(t, r, a, got, 502, names.ErrorStreamTruncated)
				continue
			}
			brokenStream(t, r, a, got, names.OutcomeTruncated, names.StreamEndError, names.ErrorStreamTruncated)
		}
	}
}

func TestU08EndWithoutTerminator(t *testing.T) {
	r := newRig(t, rigConfig{})
	for _, a := range apis {
		brokenStream(t, r, a, r.ask(a, true, "events=4,truncate_after=2"), names.OutcomeTruncated, names.StreamEndTruncated, names.ErrorStreamTruncated)
		failsWith(t, r, a, r.ask(a, true, "truncate_after=0"), 502, names.ErrorStreamTruncated)
	}
}

func TestU07ResetOfAPlainBodyIsAFailedAttempt(t *testing.T) {
	r := newRig(t, rigConfig{})
	for _, a := range apis {
		failsWith(t, r, a, r.ask(a, false, "reset_after=1"), 502, names.ErrorStreamTruncated)
	}
}

// bigLine streams one event whose data line has size bytes, then the end.
func bigLine(size int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		piece := bytes.Repeat([]byte("a"), 64<<10)
		_, _ = io.WriteString(w, `data: {"type":"novelty","x":"`)
		for left := size; left > 0; left -= len(piece) {
			if _, err := w.Write(piece[:min(left, len(piece))]); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, "\"}\n\ndata: {\"type\":\"message_stop\"}\n\n")
	})
}

func TestU11GiantLineIsRelayedInBoundedMemory(t *testing.T) {
	const size = 20 << 20
	r := newRig(t, rigConfig{upstream: bigLine(size)})
	path, body := apis[0].request("", true)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	resp, err := r.client.Do(r.request(t.Context(), "POST", path, body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{resp.Body}, make([]byte, 32<<10))
	r.exchange()
	runtime.ReadMemStats(&after)
	if n < size || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
	// All that was ever allocated, live or not: a line held whole would be 20 MB at least.
	if spent := after.TotalAlloc - before.TotalAlloc; spent > size/2 {
		t.Errorf("relaying a line of %d bytes allocated %d", size, spent)
	}
}

func TestU11LineBeyondTheCapEndsTheStream(t *testing.T) {
	r := newRig(t, rigConfig{upstream: bigLine(65 << 20)})
	path, body := apis[0].request("", true)
	resp, err := r.client.Do(r.request(t.Context(), "POST", path, body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if x, _ := r.exchange(); err == nil || x.Outcome == names.OutcomeCompleted {
		t.Errorf("got %d bytes, outcome %s, %v", n, x.Outcome, err)
	}
}

func TestU12MissingUsageIsEstimated(t *testing.T) {
	r := newRig(t, rigConfig{})
	for _, a := range apis {
		for _, stream := range []bool{false, true} {
			r.ask(a, stream, "no_usage")
			_, spans := r.exchange()
			s := spans.genai()[0]
			if attr(s, names.KeyUsageSource).AsString() != names.UsageSourceEstimated || attr(s, names.KeyGenAIUsageInputTokens).AsInt64() == 0 || attr(s, names.KeyGenAIUsageOutputTokens).AsInt64() == 0 {
				t.Errorf("%s, streamed %v: got usage %v from %q", a.name, stream, attr(s, names.KeyGenAIUsageOutputTokens).AsInt64(), attr(s, names.KeyUsageSource).AsString())
			}
		}
	}
}

func TestU14RetryAfterReachesTheClient(t *testing.T) {
	var value atomic.Value
	r := newRig(t, rigConfig{upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", value.Load().(string))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(429)
		_, _ = io.WriteString(w, `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`)
	})})
	for v, want := range map[string]time.Duration{"7": 7 * time.Second, "0": 0, "-1": 0, "1000000000": time.Hour, "soon": 0, "0.5": 500 * time.Millisecond, "NaN": 0} {
		value.Store(v)
		got := r.ask(apis[0], false, "")
		x, _ := r.exchange()
		if got.status != 429 || got.header.Get("Retry-After") != v {
			t.Errorf("%q: got %d, Retry-After %q", v, got.status, got.header.Get("Retry-After"))
		}
		if x.Err.RetryAfter != want || x.Err.Type != names.ErrorRateLimitExceeded {
			t.Errorf("%q: got %v, %s, want %v", v, x.Err.RetryAfter, x.Err.Type, want)
		}
	}
}

func TestU14U15ThrottledAndOverloadedFallBack(t *testing.T) {
	r := newRig(t, rigConfig{models: map[string]route.Model{
		"busy":  {Targets: []route.WeightedTarget{{Target: "anthropic/simulate-429"}}, Fallbacks: []string{"anthropic/claude-sonnet-5"}},
		"full":  {Targets: []route.WeightedTarget{{Target: "anthropic/simulate-529"}}, Fallbacks: []string{"anthropic/claude-sonnet-5"}},
		"ill":   {Targets: []route.WeightedTarget{{Target: "anthropic/simulate-500"}}, Fallbacks: []string{"anthropic/claude-sonnet-5"}},
		"long":  {Targets: []route.WeightedTarget{{Target: "anthropic/simulate-context_length"}}, Fallbacks: []string{"anthropic/claude-sonnet-5"}},
		"broke": {Targets: []route.WeightedTarget{{Target: "anthropic/simulate-quota"}}, Fallbacks: []string{"anthropic/claude-sonnet-5"}},
	}})
	for model, reason := range map[string]string{
		"busy": names.FallbackRateLimit, "full": names.FallbackOverloaded, "ill": names.FallbackServerError,
		"long": names.FallbackContextWindow, "broke": names.FallbackCredit,
	} {
		for _, stream := range []bool{false, true} {
			path, body := apis[0].request(model, stream)
			rescuedFor(t, r, r.post(path, body), reason)
		}
	}
}

func TestU17ErrorAsTheFirstEventIsAFailedAttempt(t *testing.T) {
	r := newRig(t, rigConfig{})
	for _, a := range apis {
		got := r.ask(a, true, "first_event_error")
		x, _ := r.exchange()
		if got.status < 400 || got.err != nil || !strings.Contains(got.body, `"error"`) || x.Streamed {
			t.Errorf("%s: got %d, %s, %v", a.name, got.status, got.body, got.err)
		}
	}
	r = newRig(t, rigConfig{models: map[string]route.Model{
		"flaky": {Targets: []route.WeightedTarget{{Target: "anthropic/simulate-first_event_error"}}, Fallbacks: []string{"anthropic/claude-sonnet-5"}}}})
	path, body := apis[0].request("flaky", true)
	rescuedFor(t, r, r.post(path, body), names.FallbackOverloaded)
}

func TestU17LaterErrorEventIsRelayed(t *testing.T) {
	r := newRig(t, rigConfig{sim: gatewaytest.ProviderOptions{Record: true}})
	for _, a := range apis {
		r.sim.Reset()
		got := r.ask(a, true, "error_after=3")
		x, spans := r.exchange()
		r.wait("the answer is over", func(all []gatewaytest.Request) bool { return !all[0].End.IsZero() })
		if got.body != string(r.received()[0].Sent) {
			t.Errorf("%s: got %q, want %q", a.name, got.body, r.received()[0].Sent)
		}
		if x.Final().Stream.End != names.StreamEndError || spans.genai()[0].Status().Code != codes.Error || spans.server().Status().Code != codes.Error {
			t.Errorf("%s: got end %s, errors on %v", a.name, x.Final().Stream.End, spans.failures())
		}
	}
}

func TestU18WhatIsNoAnswerIsAFailedAttempt(t *testing.T) {
	plain := func(contentType, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header()["Content-Type"] = []string{contentType}
			_, _ = io.WriteString(w, body)
		})
	}
	for name, h := range map[string]http.Handler{
		"HTML":         plain("text/html; charset=utf-8", "<html>sign in</html>"),
		"empty":        plain("application/json", ""),
		"error in 200": plain("application/json", `{"type":"error","error":{"type":"api_error","message":"Internal"}}`),
		"text":         plain("text/plain", "upstream connect error"),
		"JSON string":  plain("application/json", `"hello"`),
		"no content":   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }),
		"empty stream": plain("text/event-stream", ""),
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			for _, stream := range []bool{false, true} {
				cfg, _ := backup(t, srv.URL)
				r := newRig(t, cfg)
				rescuedFor(t, r, r.ask(apis[0], stream, ""), names.FallbackServerError)
				alone := newRig(t, rigConfig{baseURL: srv.URL})
				got := alone.ask(apis[0], stream, "")
				alone.exchange()
				if got.status < 500 || !strings.HasPrefix(got.body, `{"type":"error"`) || strings.Contains(got.body, "<html") {
					t.Errorf("streamed %v: got %d, %s", stream, got.status, got.body)
				}
			}
		})
	}
}

func TestU21EncodedAnswersAreDecoded(t *testing.T) {
	r := newRig(t, rigConfig{})
	for _, a := range apis {
		for _, stream := range []bool{false, true} {
			want := r.ask(a, stream, "")
			r.exchange()
			got := r.ask(a, stream, "gzip")
			x, _ := r.exchange()
			if got.status != 200 || got.body != want.body || got.err != nil || got.header.Get("Content-Encoding") != "" {
				t.Errorf("%s, streamed %v: got %d, %q, %v, %v", a.name, stream, got.status, got.body, got.err, got.header)
			}
			if x.Final().Result.Usage.Source != names.UsageSourceProvider {
				t.Errorf("%s, streamed %v: usage was not observed", a.name, stream)
			}
		}
	}
	for _, q := range r.received() {
		if got := q.Header["Accept-Encoding"]; len(got) != 1 || got[0] != "identity" {
			t.Errorf("sent Accept-Encoding %v", got)
		}
	}
}

func TestU21BombIsNotSwallowed(t *testing.T) {
	var bomb bytes.Buffer
	zw := gzip.NewWriter(&bomb)
	_, _ = io.WriteString(zw, `{"type":"message","x":"`)
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, _ = zw.Write(zeros)
	}
	_ = zw.Close()
	for _, contentType := range []string{"application/json", "text/event-stream"} {
		r := newRig(t, rigConfig{upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		})})
		got := r.ask(apis[0], true, "")
		if x, _ := r.exchange(); x.Err == nil || len(got.body) > 4<<20 || got.status == 200 && got.err == nil {
			t.Errorf("%s: got %d, %d bytes, %v, error %v", contentType, got.status, len(got.body), got.err, x.Err)
		}
	}
}

func TestU21BrokenEncodingIsAFailedAttempt(t *testing.T) {
	for _, encoding := range []string{"gzip", "zstd", "br", "gzip, gzip"} {
		r := newRig(t, rigConfig{upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", encoding)
			_, _ = io.WriteString(w, `{"type":"message"}`)
		})})
		got := r.ask(apis[0], false, "")
		x, _ := r.exchange()
		if got.status != 502 || x.Err == nil {
			t.Errorf("%s: got %d, %s", encoding, got.status, got.body)
		}
	}
}

func TestU22S32RedirectsAreNotFollowed(t *testing.T) {
	var hits atomic.Int32
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer canary.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := newRig(t, rigConfig{
			provider: func(p *gateway.Provider) { p.Keys = []gateway.Secret{"sk-provider-key-1234"} },
			upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", canary.URL+"/v1/messages")
				w.WriteHeader(status)
			})})
		got := r.ask(apis[0], false, "")
		failsWith(t, r, apis[0], got, 502, names.ErrorServerError)
		if got.header.Get("Location") != "" || strings.Contains(got.body, canary.URL) {
			t.Errorf("%d: the client learns where to: %v, %s", status, got.header, got.body)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func TestU24LargePlainBodyIsRelayed(t *testing.T) {
	r := newRig(t, rigConfig{sim: gatewaytest.ProviderOptions{}, snapshot: limits(func(l *gateway.Limits) { l.HeldAnswer = 1 << 20 })})
	const size = 20 << 20
	path, body := apis[0].request("", false)
	resp, err := r.client.Do(r.request(t.Context(), "POST", path, body, "X-Simulate", fmt.Sprintf("big=%d", size)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	h := sha256.New()
	n, err := io.Copy(h, resp.Body)
	x, _ := r.exchange()
	direct, derr := http.NewRequest("POST", r.upstream+path, strings.NewReader(body))
	if derr != nil {
		t.Fatal(derr)
	}
	direct.Header.Set("X-Simulate", fmt.Sprintf("big=%d", size))
	dresp, derr := r.client.Do(direct)
	if derr != nil {
		t.Fatal(derr)
	}
	defer dresp.Body.Close()
	want := sha256.New()
	if _, err := io.Copy(want, dresp.Body); err != nil {
		t.Fatal(err)
	}
	if n != size || err != nil || resp.ContentLength != size || !bytes.Equal(h.Sum(nil), want.Sum(nil)) {
		t.Errorf("got %d bytes (Content-Length %d), %v, or other bytes", n, resp.ContentLength, err)
	}
	if u := x.Final().Result.Usage; x.Outcome != names.OutcomeCompleted || u.Source != names.UsageSourceProvider {
		t.Errorf("got outcome %s, usage %+v", x.Outcome, u)
	}
}

// rawUpstream answers each request with the same bytes and closes.
func rawUpstream(t *testing.T, response string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.Copy(io.Discard, req.Body)
				_, _ = io.WriteString(c, response)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return "http://" + ln.Addr().String()
}

func TestU25FramingThatLies(t *testing.T) {
	const event = "data: {\"type\":\"ping\"}\n\n"
	for name, c := range map[string]struct {
		response string
		broken   bool // after the first byte
	}{
		"body shorter than Content-Length":   {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"type\":\"message\"}", false},
		"chunked body that breaks off":       {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n{\"type\":\"message\"}\r\n", false},
		"two lengths":                        {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", false},
		"bad chunk size":                     {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", false},
		"no HTTP":                            {"hello\r\n\r\n", false},
		"nothing":                            {"", false},
		"stream shorter than Content-Length": {"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999\r\n\r\n" + event, true},
		"stream with a bad chunk":            {"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n18\r\n" + event + "\r\nzz\r\n", true},
		"close-delimited stream":             {"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + event, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{baseURL: rawUpstream(t, c.response)})
			got := r.ask(apis[0], true, "")
			x, _ := r.exchange()
			if broken := got.status == 200 && got.err != nil; broken != c.broken || !broken && got.status != 502 {
				t.Errorf("got %d, %q, %v", got.status, got.body, got.err)
			}
			if x.Outcome == names.OutcomeCompleted {
				t.Errorf("got outcome %s", x.Outcome)
			}
		})
	}
}

func TestU26S27S35HeadersTheClientMustNotGet(t *testing.T) {
	secret := []string{"Set-Cookie", "Location", "Server", "X-Powered-By", "Via", "Authorization", "X-Api-Key", "Openai-Organization", "Openai-Project",
		"Anthropic-Organization-Id", "Access-Control-Allow-Origin", "Content-Security-Policy", "Strict-Transport-Security", "Alt-Svc",
		"Proxy-Authenticate", "Www-Authenticate", "X-Ccproxy-Cost", "Keep-Alive", "X-Hop"}
	passed := []string{"Request-Id", "Anthropic-Ratelimit-Requests-Remaining", "X-Ratelimit-Reset-Tokens", "X-Novelty"}
	r := newRig(t, rigConfig{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for _, k := range append(secret, passed...) {
			w.Header().Set(k, "canary")
		}
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-CCProxy-Provider", "forged")
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("X-Fail") != "" {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"type":"error","error":{"type":"invalid_request_error","message":"no"}}`)
			return
		}
		if r.Header.Get("X-Stream") != "" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {\"type\":\"message_stop\"}\n\n")
			return
		}
		_, _ = io.WriteString(w, `{"type":"message"}`)
	})})
	for _, how := range []string{"X-Plain", "X-Fail", "X-Stream"} {
		got := r.ask(apis[0], false, "", how, "1")
		r.exchange()
		for _, k := range secret {
			if v := got.header.Values(k); len(v) > 0 {
				t.Errorf("%s: the client got %s: %v", how, k, v)
			}
		}
		for _, k := range passed {
			if got.header.Get(k) != "canary" {
				t.Errorf("%s: the client did not get %s", how, k)
			}
		}
		if p := got.header.Get("X-CCProxy-Provider"); p != "anthropic" {
			t.Errorf("%s: got X-CCProxy-Provider %q", how, p)
		}
	}
}
