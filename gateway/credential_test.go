package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/codes"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	providerKey = "sk-provider-secret-0001"
	otherKey    = "sk-provider-secret-0002"
	clientKey   = "sk-client-secret-0003"
	gatewayKey  = "ccp_gateway_secret_0004"
)

// keyed gives every provider keys.
func keyed(keys ...gateway.Secret) func(*gateway.Provider) {
	return func(p *gateway.Provider) { p.Keys, p.Anonymous = keys, false }
}

// simulatorWith accepts one key alone.
func simulatorWith(key string) gatewaytest.ProviderOptions {
	return gatewaytest.ProviderOptions{Keys: []string{key}}
}

// leaks checks that a secret stands nowhere a client or a backend sees.
func leaks(t *testing.T, what, secret string, got answer, spans tree) {
	t.Helper()
	if strings.Contains(got.body, secret) {
		t.Errorf("%s: the body holds the secret: %s", what, got.body)
	}
	for k, vs := range got.header {
		if strings.Contains(strings.Join(vs, " "), secret) {
			t.Errorf("%s: header %s holds the secret", what, k)
		}
	}
	for _, s := range spans {
		if strings.Contains(s.Name()+s.Status().Description, secret) {
			t.Errorf("%s: the name or status of span %q holds the secret", what, s.Name())
		}
		attrs := s.Attributes()
		for _, e := range s.Events() {
			attrs = append(attrs, e.Attributes...)
		}
		for _, kv := range attrs {
			if strings.Contains(kv.Value.String(), secret) {
				t.Errorf("%s: %s of %q holds the secret", what, kv.Key, s.Name())
			}
		}
	}
}

// holds reports whether a request carries a secret anywhere.
func holds(q gatewaytest.Request, secret string) bool {
	for _, vs := range q.Header {
		if strings.Contains(strings.Join(vs, " "), secret) {
			return true
		}
	}
	return strings.Contains(q.Path+q.Query+string(q.Body), secret)
}

func TestS22KeysInErrorBodiesAreMasked(t *testing.T) {
	for _, a := range apis {
		// Our credential: the client learns only that it was refused.
		r := newRig(t, rigConfig{provider: keyed(providerKey)})
		got := r.ask(a, false, "echo_key")
		x, spans := r.exchange()
		if got.status != 502 || x.Err.Type != names.ErrorUpstreamAuthFailed {
			t.Errorf("%s: got %d, %v", a.name, got.status, x.Err)
		}
		leaks(t, a.name, providerKey, got, spans)
		if strings.Contains(x.Err.Error(), providerKey) {
			t.Errorf("%s: the log would show the key: %v", a.name, x.Err)
		}
		// The client's own: the provider's words, masked.
		r = newRig(t, rigConfig{})
		got = r.ask(a, false, "echo_key", "Authorization", "Bearer "+clientKey)
		x, spans = r.exchange()
		if got.status != 401 || x.Err.Type != names.ErrorAuthenticationError || !strings.Contains(got.body, "***") {
			t.Errorf("%s: got %d, %s, %v", a.name, got.status, got.body, x.Err)
		}
		leaks(t, a.name, clientKey, got, spans)
	}
}

func TestS23KeysInURLsMoveToAHeader(t *testing.T) {
	r := newRig(t, rigConfig{})
	a := api{"gemini.generate_content"}
	path, body := a.request("", false)
	got := r.post(path+"?key="+clientKey+"&%6bey="+clientKey+"&a=b", body)
	_, spans := r.exchange()
	leaks(t, "answer", clientKey, got, spans)
	q := r.received()[0]
	if q.Query != "a=b" || q.Header.Get("X-Goog-Api-Key") != clientKey {
		t.Errorf("sent query %q and %v", q.Query, q.Header)
	}
	dead := newRig(t, rigConfig{baseURL: closedPort(t)})
	got = dead.post(path+"?key="+clientKey, body)
	x, spans := dead.exchange()
	leaks(t, "failure", clientKey, got, spans)
	if strings.Contains(x.Err.Error(), clientKey) {
		t.Errorf("the log would show the key: %v", x.Err)
	}
	lost := newRig(t, rigConfig{})
	got = lost.post("/v1beta/nowhere?key="+clientKey, body)
	_, spans = lost.exchange()
	leaks(t, "unknown path", clientKey, got, spans)
}

func TestS26GatewayKeysGoNowhere(t *testing.T) {
	for _, a := range apis {
		r := newRig(t, rigConfig{provider: keyed(providerKey)})
		path, body := a.request("", false)
		for _, h := range [][2]string{
			{"Authorization", "Bearer " + gatewayKey}, {"Authorization", gatewayKey}, {"X-Api-Key", gatewayKey}, {"X-Goog-Api-Key", gatewayKey},
			{"Api-Key", gatewayKey}, {"X-Ccproxy-Key", gatewayKey}, {"Cookie", "k=" + gatewayKey}, {"Proxy-Authorization", "Bearer " + gatewayKey}, {"", ""},
		} {
			p, header := path, h[:]
			if h[0] == "" {
				p, header = p+"?key="+gatewayKey, nil
			}
			got := r.post(p, body, header...)
			_, spans := r.exchange()
			if got.status != 200 {
				t.Errorf("%s in %q: got %d, %s", a.name, h[0], got.status, got.body)
			}
			leaks(t, a.name+" in "+h[0], gatewayKey, got, spans)
		}
		for _, q := range r.received() {
			if holds(q, gatewayKey) || !holds(q, providerKey) {
				t.Errorf("%s: sent %v, query %q", a.name, q.Header, q.Query)
			}
		}
	}
}

func TestS26ClientsCredentialStaysWithItsProvider(t *testing.T) {
	other := gatewaytest.NewProvider(gatewaytest.ProviderOptions{})
	srv := httptest.NewServer(other)
	defer srv.Close()
	defer other.Close()
	cfg := rigConfig{
		extra:  []string{"other=anthropic=" + srv.URL},
		models: map[string]route.Model{"m": {Targets: []route.WeightedTarget{{Target: "anthropic/simulate-429"}}, Fallbacks: []string{"other/claude-sonnet-5"}}},
	}
	for _, keys := range [][]gateway.Secret{nil, {otherKey}} {
		cfg.provider = func(p *gateway.Provider) {
			if p.Name == "other" {
				p.Keys = keys
			}
		}
		for _, h := range [][2]string{{"Authorization", "Bearer " + clientKey}, {"X-Api-Key", clientKey}} {
			other.Reset()
			r := newRig(t, cfg)
			path, body := apis[0].request("m", false)
			got := r.post(path, body, h[0], h[1])
			x, _ := r.exchange()
			if got.status != 200 || len(x.Attempts) != 2 || x.Attempts[0].Credential != gateway.CredentialClient {
				t.Fatalf("got %d, %d attempts", got.status, len(x.Attempts))
			}
			if !holds(r.received()[0], clientKey) {
				t.Error("the client's own provider did not get its credential")
			}
			q := other.Requests()[0]
			if holds(q, clientKey) || keys != nil && !holds(q, otherKey) {
				t.Errorf("the fallback got %v", q.Header)
			}
		}
	}
}

func TestProviderKeysStayWithTheirProvider(t *testing.T) {
	other := gatewaytest.NewProvider(gatewaytest.ProviderOptions{})
	srv := httptest.NewServer(other)
	defer srv.Close()
	defer other.Close()
	r := newRig(t, rigConfig{
		extra: []string{"other=anthropic=" + srv.URL},
		provider: func(p *gateway.Provider) {
			p.Keys = []gateway.Secret{providerKey}
			if p.Name == "other" {
				p.Keys = []gateway.Secret{otherKey}
			}
		},
		models: map[string]route.Model{"m": {Targets: []route.WeightedTarget{{Target: "anthropic/simulate-500"}}, Fallbacks: []string{"other/claude-sonnet-5"}}},
	})
	path, body := apis[0].request("m", false)
	r.post(path, body)
	r.exchange()
	if holds(r.received()[0], otherKey) || holds(other.Requests()[0], providerKey) || !holds(other.Requests()[0], otherKey) {
		t.Errorf("sent %v, then %v", r.received()[0].Header, other.Requests()[0].Header)
	}
}

func TestCredentialPrecedence(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(*gateway.Snapshot)
		header []string
		want   string
	}{
		"the provider's own before the client's": {nil, []string{"X-Api-Key", clientKey}, providerKey},
		"forward_apikey":                         {func(s *gateway.Snapshot) { s.ForwardAPIKey = true }, []string{"X-Api-Key", clientKey}, clientKey},
		"forward_apikey and a bearer token":      {func(s *gateway.Snapshot) { s.ForwardAPIKey = true }, []string{"Authorization", "Bearer " + clientKey}, providerKey},
		"forward_oauth":                          {func(s *gateway.Snapshot) { s.ForwardOAuth = true }, []string{"Authorization", "Bearer " + clientKey}, clientKey},
		"forward_oauth and an API key":           {func(s *gateway.Snapshot) { s.ForwardOAuth = true }, []string{"X-Api-Key", clientKey}, providerKey},
		"a dummy key":                            {func(s *gateway.Snapshot) { s.ForwardOAuth, s.ForwardAPIKey = true, true }, []string{"X-Api-Key", "sk-proxy-dummy"}, providerKey},
	} {
		r := newRig(t, rigConfig{provider: keyed(providerKey), snapshot: c.edit})
		r.ask(apis[0], false, "", c.header...)
		r.exchange()
		q := r.received()[0]
		for _, k := range []string{providerKey, clientKey, "sk-proxy-dummy"} {
			if holds(q, k) != (k == c.want) {
				t.Errorf("%s: sent %v, want %s alone", name, q.Header, c.want)
			}
		}
	}
}

// tokens is a TokenSource whose tokens are numbered.
type tokens struct {
	mu        sync.Mutex
	token     gateway.Secret
	next      gateway.Secret
	refreshes int
	err       error
}

func (s *tokens) Token(context.Context) (gateway.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == "" {
		return "", s.err
	}
	return s.token, nil
}

func (s *tokens) Refresh(_ context.Context, refused gateway.Secret) (gateway.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshes++
	if s.err != nil {
		return "", s.err
	}
	if s.token == refused {
		s.token = s.next
	}
	return s.token, nil
}

func (s *tokens) UserAgent() string { return "token-agent/1" }

func TestRefusedTokenIsRefreshedAndSentAgain(t *testing.T) {
	for _, stream := range []bool{false, true} {
		src := &tokens{token: "sk-ant-oat-stale-0001", next: "sk-ant-oat-fresh-0002"}
		r := newRig(t, rigConfig{sim: gatewaytest.ProviderOptions{Keys: []string{"sk-ant-oat-fresh-0002"}},
			provider: func(p *gateway.Provider) { p.Tokens, p.Anonymous = src, false }})
		got := r.ask(apis[0], stream, "", "Anthropic-Beta", "mine")
		x, spans := r.exchange()
		a := x.Final()
		if got.status != 200 || len(x.Attempts) != 1 || len(a.Sends) != 2 || a.Sends[0].Status != 401 || src.refreshes != 1 {
			t.Fatalf("got %d, %d attempts, sends %+v, %d refreshes", got.status, len(x.Attempts), a.Sends, src.refreshes)
		}
		posts := spans.named("POST")
		if len(posts) != 2 || has(posts[0], names.KeyHTTPRequestResendCount) || attr(posts[1], names.KeyHTTPRequestResendCount).AsInt64() != 1 {
			t.Errorf("got %d POST spans, want the second with http.request.resend_count 1", len(posts))
		}
		if posts[0].Status().Code != codes.Error || posts[1].Status().Code != codes.Unset || spans.genai()[0].Status().Code != codes.Unset {
			t.Errorf("got errors on %v", spans.failures())
		}
		for _, q := range r.received() {
			if q.Header.Get("User-Agent") != "token-agent/1" || q.Header.Get("Anthropic-Beta") != "mine,oauth-2025-04-20" {
				t.Errorf("sent %v", q.Header)
			}
		}
		leaks(t, "fresh", "sk-ant-oat", got, spans)
	}
}

func TestTokenThatStaysRefused(t *testing.T) {
	for name, src := range map[string]*tokens{
		"refresh fails":      {token: "stale-token", err: errors.New("stale-token: no")},
		"refused again":      {token: "stale-token", next: "staler-token"},
		"no token at all":    {err: errors.New("stale-token: no")},
		"the same once more": {token: "stale-token", next: "stale-token"},
	} {
		r := newRig(t, rigConfig{sim: gatewaytest.ProviderOptions{Keys: []string{"fresh-token"}},
			provider: func(p *gateway.Provider) { p.Tokens, p.Anonymous = src, false }})
		got := r.ask(apis[0], false, "")
		x, spans := r.exchange()
		if got.status != 502 || x.Err.Type != names.ErrorUpstreamAuthFailed || got.header.Get("X-Should-Retry") == "" && name != "no token at all" {
			t.Errorf("%s: got %d, %v, X-Should-Retry %q", name, got.status, x.Err, got.header.Get("X-Should-Retry"))
		}
		leaks(t, name, "stale-token", got, spans)
		if n := len(r.received()); n > 2 {
			t.Errorf("%s: %d requests were sent", name, n)
		}
	}
}

func TestOnlyOurCredentialIsTheGatewaysFault(t *testing.T) {
	for _, step := range []string{"status=401", "status=403"} {
		for _, a := range apis {
			r := newRig(t, rigConfig{})
			got := r.ask(a, false, step, "X-Api-Key", clientKey)
			r.exchange()
			if want := strings.TrimPrefix(step, "status="); got.header.Get("X-CCProxy-Attempts") != "1" || want != map[int]string{401: "401", 403: "403"}[got.status] {
				t.Errorf("%s: the client's own credential: got %d, want %s", a.name, got.status, want)
			}
			r = newRig(t, rigConfig{provider: keyed(providerKey)})
			got = r.ask(a, false, step, "X-Api-Key", clientKey)
			x, _ := r.exchange()
			if got.status != 502 || x.Err.Type != names.ErrorUpstreamAuthFailed || x.Err.Origin != names.ErrorOriginGateway {
				t.Errorf("%s: ours: got %d, %v", a.name, got.status, x.Err)
			}
		}
	}
}

func TestS30ClientsDoNotChooseTheProvider(t *testing.T) {
	var hits atomic.Int32
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer canary.Close()
	host := strings.TrimPrefix(canary.URL, "http://")
	r := newRig(t, rigConfig{})
	for _, a := range apis {
		path, body := a.request("", false)
		members := ""
		for _, k := range []string{"base_url", "api_base", "endpoint", "url", "host", "proxy", "api_host"} {
			members += `"` + k + `":"` + canary.URL + `",`
		}
		body = strings.Replace(body, "{", "{"+members, 1)
		req := r.request(t.Context(), "POST", path, body)
		for _, k := range []string{"X-Forwarded-Host", "X-Original-Url", "X-Rewrite-Url", "X-Base-Url", "X-Api-Base", "X-Upstream", "Forwarded", "Destination", "X-Ccproxy-Provider", "Location", "Origin"} {
			req.Header.Set(k, canary.URL)
		}
		req.Host = host
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: got %d", a.name, resp.StatusCode)
		}
		r.exchange()
	}
	for _, q := range r.received() {
		if q.Host == host {
			t.Errorf("sent Host %q", q.Host)
		}
	}
	if hits.Load() != 0 {
		t.Error("a client chose where its request goes")
	}
}

func TestS34ClientTextBreaksNoHeader(t *testing.T) {
	r := newRig(t, rigConfig{})
	for _, model := range []string{`x\r\nX-Evil: 1`, `x\ny`, `x\u0000`, `é`, strings.Repeat("m", 1000)} {
		got := r.post("/v1/messages", `{"model":"`+model+`","max_tokens":9,"messages":[{"role":"user","content":"hello"}],"metadata":{"user_id":"a\r\nX-Evil: 1"}}`)
		r.exchange()
		if got.header.Get("X-Evil") != "" || got.header.Get("X-CCProxy-Original-Model") != "unknown" {
			t.Errorf("%.40q: got %d, %v", model, got.status, got.header)
		}
	}
	for _, q := range r.received() {
		if q.Header.Get("X-Evil") != "" {
			t.Errorf("sent %v", q.Header)
		}
	}
}

func TestAttemptsAreLimited(t *testing.T) {
	targets := []route.WeightedTarget{}
	for _, m := range []string{"a", "b", "c", "d", "e"} {
		targets = append(targets, route.WeightedTarget{Target: "anthropic/" + m + "-simulate-500"})
	}
	for limit, want := range map[int]int{0: 3, 1: 1, 2: 2, 9: 5} {
		r := newRig(t, rigConfig{models: map[string]route.Model{"m": {Targets: targets}}, snapshot: limits(func(l *gateway.Limits) { l.Attempts = limit })})
		path, body := apis[0].request("m", false)
		got := r.post(path, body)
		x, spans := r.exchange()
		if got.status != 500 || len(x.Attempts) != want || len(r.received()) != want || x.Fallbacks != want-1 || len(spans.genai()) != want {
			t.Errorf("limit %d: got %d, %d attempts, %d requests, %d fallbacks, want %d", limit, got.status, len(x.Attempts), len(r.received()), x.Fallbacks, want)
		}
	}
}
