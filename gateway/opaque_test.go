package gateway_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func TestOpaquePathsAreRelayedOnlyWhereListed(t *testing.T) {
	var got *http.Request
	var body []byte
	cfg := rigConfig{
		upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.Clone(r.Context())
			body, _ = io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/x-thing")
			w.Header().Set("Set-Cookie", "a=b")
			w.WriteHeader(207)
			_, _ = w.Write([]byte("\x00\xff answer"))
		}),
		provider: func(p *gateway.Provider) {
			p.Keys = []gateway.Secret{providerKey}
			if p.Name == "openai" {
				p.Passthrough = []string{"/v1/files*", "/v1/batches"}
			}
		},
	}
	r := newRig(t, cfg)
	for _, method := range []string{"GET", "POST", "DELETE", "PUT"} {
		sent := "\x00\xfe binary"
		if method == "GET" || method == "DELETE" {
			sent = ""
		}
		a := r.do(method, "/v1/files/abc%2Fd?x=1&y=%20", sent, "X-Api-Key", clientKey, "Cookie", "a=b")
		x, spans := r.exchange()
		if a.status != 207 || a.body != "\x00\xff answer" || a.header.Get("Set-Cookie") != "" || a.header.Get("Content-Type") != "application/x-thing" {
			t.Errorf("%s: got %d, %q, %v", method, a.status, a.body, a.header)
		}
		if got.Method != method || got.URL.RequestURI() != "/v1/files/abc%2Fd?x=1&y=%20" || string(body) != sent || got.Header.Get("Authorization") != "Bearer "+providerKey || got.Header.Get("X-Api-Key") != "" || got.Header.Get("Cookie") != "" {
			t.Errorf("%s: sent %s %q with %v", method, got.URL, body, got.Header)
		}
		if x.Outcome != names.OutcomeCompleted || len(spans.genai()) != 0 {
			t.Errorf("%s: got outcome %s, spans %v", method, x.Outcome, describe(spans))
		}
	}
	got = nil
	for _, path := range []string{"/v1/batches/x", "/v1/file", "/v1/filesystem/../models", "/v1/assistants"} {
		if a := r.do("GET", path, ""); a.status != 404 || got != nil {
			t.Errorf("%s: got %d, relayed %v", path, a.status, got != nil)
		}
		r.exchange()
	}
}

func TestOpaqueFailuresAreVisible(t *testing.T) {
	open := func(p *gateway.Provider) { p.Passthrough = []string{"/v1/files*"} }
	r := newRig(t, rigConfig{baseURL: closedPort(t), provider: open})
	a := r.do("GET", "/v1/files", "")
	if x, _ := r.exchange(); a.status != 502 || x.Err.Type != names.ErrorConnectError {
		t.Errorf("refused: got %d, %v", a.status, x.Err)
	}
	for name, c := range map[string]struct {
		response string
		status   int
		broken   bool
	}{
		"error":    {"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", 404, false},
		"redirect": {"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n", 502, false},
		"cut":      {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\npart", 200, true},
		"server":   {"HTTP/1.1 503 Unavailable\r\nContent-Length: 2\r\n\r\nno", 503, false},
	} {
		r := newRig(t, rigConfig{baseURL: rawUpstream(t, c.response), provider: open})
		a := r.do("GET", "/v1/files", "")
		x, _ := r.exchange()
		if a.status != c.status || (a.err != nil) != c.broken || x.Err == nil || a.header.Get("Location") != "" {
			t.Errorf("%s: got %d, %v, %v", name, a.status, a.err, x.Err)
		}
	}
}
