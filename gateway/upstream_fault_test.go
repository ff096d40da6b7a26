package gateway_test

import (
	"bytes"
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
