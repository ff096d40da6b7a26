package gateway_test

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const thirdKey = "sk-provider-key-3333"

// accounts is a provider that answers by API key.
type accounts struct {
	mu     sync.Mutex
	status map[string]int    // :: key → of its answers; absent: 200
	hint   map[string]string // :: key → Retry-After
	asked  []string          // keys, in order
}

func (p *accounts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	key := r.Header.Get("X-Api-Key")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, key)
	w.Header().Set("Content-Type", "application/json")
	kind := map[int]string{429: "rate_limit_error", 402: "billing_error", 401: "authentication_error"}[p.status[key]]
	if kind == "" {
		_, _ = w.Write(plainAnswer())
		return
	}
	if v := p.hint[key]; v != "" {
		w.Header().Set("Retry-After", v)
	}
	w.WriteHeader(p.status[key])
	_, _ = io.WriteString(w, `{"type":"error","error":{"type":"`+kind+`","message":"not with this key"}}`)
}

// set makes a key be refused with a status, 0: not refused.
func (p *accounts) set(key string, status int, hint string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status[key], p.hint[key] = status, hint
}

// expect asks once and checks which keys were used and what the client got.
func (p *accounts) expect(t *testing.T, r *rig, what string, status int, keys ...string) {
	t.Helper()
	p.mu.Lock()
	p.asked = nil
	p.mu.Unlock()
	got := r.ask(apis[0], false, "")
	x, spans := r.exchange()
	if got.status != status || !slices.Equal(p.asked, keys) {
		t.Errorf("%s: got %d with keys %v, want %d with %v", what, got.status, p.asked, status, keys)
	}
	if len(x.Attempts) != 1 || len(x.Final().Sends) != len(keys) {
		t.Errorf("%s: got %d attempts with %d sends, want one with %d", what, len(x.Attempts), len(x.Final().Sends), len(keys))
	}
	for i, s := range spans.named("POST") {
		if n := attr(s, names.KeyHTTPRequestResendCount).AsInt64(); n != int64(i) {
			t.Errorf("%s: send %d has resend_count %d", what, i, n)
		}
	}
}

func keyRig(t *testing.T) (*rig, *accounts) {
	p := &accounts{status: map[string]int{}, hint: map[string]string{}}
	return newRig(t, rigConfig{provider: keyed(providerKey, otherKey, thirdKey), upstream: p}), p
}

func TestThrottledKeySitsOutAndTheNextIsUsedAtOnce(t *testing.T) {
	r, p := keyRig(t)
	p.expect(t, r, "all well", 200, providerKey)
	p.set(providerKey, 429, "60")
	p.expect(t, r, "one throttled", 200, providerKey, otherKey)
	p.expect(t, r, "it sits out", 200, otherKey)
	p.set(otherKey, 402, "")
	p.expect(t, r, "one out of credit", 200, otherKey, thirdKey)
	p.set(thirdKey, 429, "30")
	p.expect(t, r, "none left", 429, thirdKey)
	// All sit out: the one that will be back first is asked.
	p.set(thirdKey, 0, "")
	p.expect(t, r, "the earliest", 200, thirdKey)
}

func TestRevokedKeyIsReplaced(t *testing.T) {
	r, p := keyRig(t)
	p.set(providerKey, 401, "")
	p.expect(t, r, "revoked", 200, providerKey, otherKey)
	p.expect(t, r, "not asked again", 200, otherKey)
	p.set(otherKey, 401, "")
	p.set(thirdKey, 401, "")
	p.expect(t, r, "all revoked", 502, otherKey, thirdKey)
}

func TestThrottlingIsOfOneTargetAndLackOfCreditOfAll(t *testing.T) {
	r, p := keyRig(t)
	p.set(providerKey, 429, "60")
	p.expect(t, r, "throttled", 200, providerKey, otherKey)
	p.set(providerKey, 0, "")
	p.asked = nil
	path, body := apis[0].request("claude-haiku-4-5", false)
	r.post(path, body)
	r.exchange()
	p.expect(t, r, "the key in use stays in use", 200, otherKey)
	p.set(otherKey, 402, "")
	p.set(thirdKey, 402, "")
	p.asked = nil
	r.post(path, body)
	x, _ := r.exchange()
	if want := []string{otherKey, thirdKey, providerKey}; !slices.Equal(p.asked, want) || x.Outcome != names.OutcomeCompleted {
		t.Errorf("another model: got keys %v, outcome %s, want %v", p.asked, x.Outcome, want)
	}
}

func TestKeysKeepTheirStateOverAReload(t *testing.T) {
	r, p := keyRig(t)
	p.set(providerKey, 429, "60")
	p.expect(t, r, "throttled", 200, providerKey, otherKey)
	old := r.gw.Snapshot()
	for _, keys := range [][]gateway.Secret{{providerKey, otherKey, thirdKey}, {providerKey, thirdKey}} {
		var list []*gateway.Provider
		for _, was := range old.Providers {
			list = append(list, &gateway.Provider{Name: was.Name, Type: was.Type, Family: was.Family, GenAI: was.GenAI, BaseURL: was.BaseURL, Keys: keys})
		}
		router, err := route.New(route.Config{Providers: list, DefaultPassthrough: true})
		if err != nil {
			t.Fatal(err)
		}
		s := *old
		s.Providers, s.Router = list, router
		r.gw.Swap(&s)
		if len(keys) == 3 {
			p.expect(t, r, "the same keys", 200, otherKey)
		} else {
			p.expect(t, r, "other keys", 200, providerKey, thirdKey)
		}
	}
}

func TestClientsOwnCredentialThrottlesNobodyElse(t *testing.T) {
	p := &accounts{status: map[string]int{clientKey: 429}, hint: map[string]string{clientKey: "600"}}
	r := newRig(t, rigConfig{upstream: p, snapshot: healthy})
	for i, key := range []string{clientKey, "sk-another-client-1", clientKey} {
		got := r.ask(apis[0], false, "", "X-Api-Key", key)
		r.exchange()
		want := 200
		if key == clientKey {
			want = 429
		}
		if got.status != want {
			t.Errorf("request %d: got %d, %s, want %d", i, got.status, got.body, want)
		}
	}
	if len(p.asked) != 3 {
		t.Errorf("got %s requests, want all three", strconv.Itoa(len(p.asked)))
	}
}
