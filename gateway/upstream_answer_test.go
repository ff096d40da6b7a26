package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/codes"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

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
