package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/caller"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	aliceKey = "ccp_alice0123456789abcdefghijklmnop"
	bobKey   = "ccp_bob00123456789abcdefghijklmnop"
)

// priced is a configuration whose only price makes the simulated answer, of 2 and 14 tokens, cost $0.142.
const priced = `
providers: { anthropic: { base_url: "UPSTREAM", api_key: sk-upstream-0123456789 } }
prices: { claude-sonnet-5: { input: 1000, output: 10000, confirm: true } }
`

// admin calls the admin API as a command does, and returns the status and the answer.
func (r *rig) admin(method, path, body string) (int, string) {
	r.t.Helper()
	resp, text := send(r.t, method, r.server.AdminURL()+path, body, "Authorization", "Bearer "+r.server.run.Token, "Content-Type", "application/json")
	return resp.StatusCode, text
}

// makeKey makes a key and returns its id and its secret.
func (r *rig) makeKey(input string) (id, secret string) {
	r.t.Helper()
	status, text := r.admin("POST", "/api/keys", input)
	var made newKey
	if err := json.Unmarshal([]byte(text), &made); err != nil || status != http.StatusCreated {
		r.t.Fatalf("make key %s: got %d %s", input, status, text)
	}
	return made.Key.ID, made.Secret
}

func (r *rig) reload(text string) (int, string) {
	r.t.Helper()
	r.write(text)
	return r.admin("POST", "/api/reload", "")
}

// wants asks as key and wants that status.
func (r *rig) wants(status int, key string) {
	r.t.Helper()
	if resp, body := r.ask("X-Ccproxy-Key", key); resp.StatusCode != status {
		r.t.Errorf("got %d %s, want %d", resp.StatusCode, body, status)
	}
}

func TestL09ReloadChangesLimitsAndKeepsTheSpend(t *testing.T) {
	budgets := func(limit, window string) string {
		return priced + fmt.Sprintf("budgets: [ { name: all, scope: global, limit: %s, window: %s } ]\n", limit, window)
	}
	r := newRig(t, budgets("1000", "day"))
	for range 2 {
		if resp, body := r.ask(); resp.StatusCode != 200 {
			t.Fatalf("got %d %s", resp.StatusCode, body)
		}
	}
	want := usd(284_000_000)
	if got := r.budget("all"); got.Spent != want || got.Reserved != 0 {
		t.Fatalf("spent: got %s and %s reserved, want %s", got.Spent, got.Reserved, want)
	}
	for _, c := range []struct {
		limit  string
		status int
	}{{"0.2", 429}, {"0", 429}, {"null", 200}, {"1000", 200}} {
		if status, text := r.reload(budgets(c.limit, "day")); status != 200 {
			t.Fatalf("reload: got %d %s", status, text)
		}
		if got := r.budget("all"); got.Spent != want || (got.Limit == nil) != (c.limit == "null") {
			t.Errorf("limit %s: got %s of %v, want %s", c.limit, got.Spent, got.Limit, want)
		}
		resp, body := r.ask()
		if resp.StatusCode != c.status {
			t.Errorf("limit %s: got %d %s, want %d", c.limit, resp.StatusCode, body, c.status)
		}
		if resp.StatusCode == 200 {
			want += 142_000_000
		}
	}
	if status, text := r.reload(budgets("1000", "month")); status != 200 {
		t.Fatalf("reload: got %d %s", status, text)
	}
	if got := r.budget("all"); got.Spent != want || got.Window != "month" {
		t.Errorf("another window: got %s a %s, want %s, from the lines", got.Spent, got.Window, want)
	}
}

func TestG08KeyThatAReloadRemovesIsRefused(t *testing.T) {
	keys := func(names ...string) string {
		text := priced + "keys:\n"
		for _, name := range names {
			text += map[string]string{"alice": "  - { name: alice, key: " + aliceKey + " }\n", "bob": "  - { name: bob, key: " + bobKey + " }\n"}[name]
		}
		return text
	}
	r := newRig(t, keys("alice", "bob"))
	r.wants(200, aliceKey)
	r.wants(200, bobKey)
	r.wants(401, "")
	if status, text := r.reload(keys("bob")); status != 200 {
		t.Fatalf("reload: got %d %s", status, text)
	}
	r.wants(401, aliceKey)
	r.wants(200, bobKey)
}

func TestKeyMadeByCommandHasItsBudgetAtOnce(t *testing.T) {
	r := newRig(t, priced)
	r.wants(200, "") // without any key callers need none
	_, rich := r.makeKey(`{"name":"rich","budgets":[{"limit_usd":"1000","window":"week"}]}`)
	id, poor := r.makeKey(`{"name":"poor","budgets":[{"limit_usd":"0","window":"day"}]}`)
	r.wants(401, "")
	r.wants(200, rich)
	r.wants(429, poor)
	if got := r.budget("rich/week"); got.Spent != 142_000_000 || got.Subject != "rich" {
		t.Errorf("rich: got %s by %q, want 0.142 by rich", got.Spent, got.Subject)
	}
	if status, text := r.admin("POST", "/api/keys/"+id+"/revoke", `{}`); status != 200 {
		t.Fatalf("revoke: got %d %s", status, text)
	}
	r.wants(401, poor)
	var list budgetList
	r.get("/api/budgets", &list)
	if slices.ContainsFunc(list.Budgets, func(v budgetView) bool { return v.Name == "poor/day" }) {
		t.Error("the budget of a revoked key is still there")
	}
	if status, text := r.reload(priced + "budgets: [ { name: rich/week, scope: global, limit: 1, window: day } ]\n"); status != 422 || !strings.Contains(text, "rename it") {
		t.Errorf("a budget that takes a key's name: got %d %s, want 422", status, text)
	}
}

func TestSpendOfAKeyOutlivesARestart(t *testing.T) {
	r := newRig(t, priced+"budgets: [ { name: each, scope: key, match: \"*\", limit: 1000, window: none } ]\n")
	_, secret := r.makeKey(`{"name":"alice","budgets":[{"limit_usd":"5","window":"none"}]}`)
	r.wants(200, secret)
	storage := r.server.storage.dir
	r.end()
	r.wait()
	opt := onFreePorts(t)
	opt.Storage = storage
	cfg, err := r.load()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(t.Context(), cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var got []string
	for v := range s.accounts.ledger.Statuses {
		got = append(got, fmt.Sprint(v.Budget.Name, " ", v.Subject, " ", v.Spent, " ", v.State))
	}
	slices.Sort(got)
	if want := []string{"alice/none alice 0.142 ok", "each alice 0.142 ok"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReloadThatWouldLetEverybodyInIsRefused(t *testing.T) {
	cfg := config.Default()
	cfg.Keys = []config.Key{{Name: "alice", Key: aliceKey}}
	opt := onFreePorts(t)
	opt.DataAddr = "0.0.0.0:0"
	s, err := newServer(t.Context(), cfg, opt)
	if err != nil {
		t.Fatalf("with a key in the file: %v", err)
	}
	if _, err := s.Reload(config.Default()); err == nil || !strings.Contains(err.Error(), "would need no key") {
		t.Errorf("reload without keys: got %v, want it refused", err)
	}
	if !s.accounts.anyKey(s.config.Load()) {
		t.Error("the old keys are gone")
	}
	if _, _, err := s.accounts.createKey(t.Context(), mustKey(t, keyInput{Name: "made"})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(config.Default()); err != nil {
		t.Errorf("reload with a key made by command: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	// The key that was made lets the gateway start by itself.
	if s, err = newServer(t.Context(), config.Default(), opt); err != nil {
		t.Fatalf("start with a key made by command: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestL26SecondProcessIsTold(t *testing.T) {
	r := newRig(t, priced)
	opt := onFreePorts(t)
	opt.Storage = r.server.storage.dir
	if _, err := newServer(t.Context(), config.Default(), opt); !errors.Is(err, errLocked) {
		t.Errorf("a second gateway: got %v, want %v", err, errLocked)
	}
	a := &app{out: &bytes.Buffer{}, err: &bytes.Buffer{}, env: emptyEnv, configDir: r.server.storage.dir}
	if code := a.main(t.Context(), []string{"--config-dir", r.server.storage.dir, "ledger", "repair"}); code != 1 {
		t.Errorf("repair beside a gateway: got exit code %d, want 1", code)
	}
	if got := a.err.(*bytes.Buffer).String(); !strings.Contains(got, "a gateway is running already: pid ") {
		t.Errorf("repair beside a gateway: got %q", got)
	}
}

func mustKey(t *testing.T, in keyInput) (k caller.Key) {
	t.Helper()
	k, err := in.key()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestS03AdminAPIRefusesWhatItDoesNotKnow(t *testing.T) {
	r := newRig(t, priced)
	r.makeKey(`{"name":"there"}`)
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/api/spend?by=colour", "", 400, "by: want model, key"},
		{"GET", "/api/spend?by=tag:", "", 400, "by: want"},
		{"GET", "/api/spend?since=yesterday", "", 400, "since: want a span such as 7d"},
		{"GET", "/api/spend?since=0s", "", 400, "since: want a span above 0"},
		{"GET", "/api/spend?since=2026-02-01&until=2026-01-01", "", 400, "since is not before until"},
		{"GET", "/api/spend?sinc=7d", "", 400, `unknown parameter \"sinc\"`},
		{"GET", "/api/spend?since=7d&since=8d", "", 400, "given twice"},
		{"GET", "/api/spend?zone=Mars/Olympus", "", 400, "zone: want a name"},
		{"GET", "/api/spend?tag==x", "", 400, "tag: want name=value"},
		{"GET", "/api/spend?limit=-1", "", 400, "limit: want a number from 1"},
		{"GET", "/api/spend?since=%zz", "", 400, "the query cannot be read"},
		{"GET", "/api/spend/lines?limit=1000000", "", 400, "limit: want a number from 1 to 10000"},
		{"GET", "/api/spend/lines?format=csv", "", 400, "unknown parameter"},
		{"GET", "/api/spend/export?format=xml", "", 400, "format: want jsonl or csv"},
		{"GET", "/api/spend/export?until=x", "", 400, "until: want"},
		{"GET", "/api/spend/explain/nothing", "", 404, "has no request"},
		{"GET", "/api/spend/explain/" + strings.Repeat("0", 32), "", 404, "has no request"},
		{"GET", "/api/spend/explain/x?y=z", "", 400, "unknown parameter"},
		{"GET", "/api/budgets?state=red", "", 400, "state: want ok, warn or exhausted"},
		{"GET", "/api/budgets?limit=0", "", 400, "limit"},
		{"POST", "/api/keys", `{"name":"x","admin":true}`, 400, "unknown field"},
		{"POST", "/api/keys", `{"name":"x","id":"key_mine"}`, 400, "unknown field"},
		{"POST", "/api/keys", `{"name":"x"} {}`, 400, "want a JSON object"},
		{"POST", "/api/keys", `["x"]`, 400, "want a JSON object"},
		{"POST", "/api/keys", `{"name":"` + strings.Repeat("x", maxInput) + `"}`, 400, "too large"},
		{"POST", "/api/keys", `{"name":"a b"}`, 400, "want a name"},
		{"POST", "/api/keys", `{"name":"x","budgets":[{"limit_usd":"-1","window":"day"}]}`, 400, "budget: want an amount"},
		{"POST", "/api/keys", `{"name":"x","budgets":[{"limit_usd":"1e12","window":"day"}]}`, 400, "budget"},
		{"POST", "/api/keys", `{"name":"x","budgets":[{"limit_usd":"1","window":"fortnight"}]}`, 400, "window"},
		{"POST", "/api/keys", `{"name":"x","budgets":[{"limit_usd":"1","window":"day"},{"limit_usd":"2","window":"day"}]}`, 400, "two for each day"},
		{"POST", "/api/keys", `{"name":"x","team":"none"}`, 400, "is not configured"},
		{"POST", "/api/keys", `{"name":"x","requests_per_minute":-1}`, 400, "negative"},
		{"POST", "/api/keys", `{"name":"there"}`, 409, "taken"},
		{"POST", "/api/keys/nobody/revoke", `{}`, 404, "no such key"},
		{"POST", "/api/keys/there/revoke", `{"end_stream":true}`, 400, "unknown field"},
		{"POST", "/api/ledger/verify?path=/etc/passwd", "", 400, "unknown parameter"},
		{"POST", "/api/ledger/backup?path=/etc/passwd", "", 400, "unknown parameter"},
		{"GET", "/api/ledger/backup", "", 405, ""},
	} {
		status, body := r.admin(c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s %.80s: got %d %s, want %d and %q", c.method, c.path, c.body, status, body, c.status, c.says)
		}
	}
	resp, body := send(t, "POST", r.server.AdminURL()+"/api/keys", `{"name":"x"}`, "Authorization", "Bearer "+r.server.run.Token, "Content-Type", "text/plain")
	if resp.StatusCode != 400 || !strings.Contains(body, "Content-Type") {
		t.Errorf("a body of another type: got %d %s, want 400", resp.StatusCode, body)
	}
}

func TestEveryRouteOfTheAccountsWantsTheToken(t *testing.T) {
	r := newRig(t, priced)
	for pattern := range r.server.accounts.routes() {
		method, path, _ := strings.Cut(pattern, " ")
		for _, token := range []string{"", "Bearer wrong", "Bearer "} {
			resp, body := send(t, method, r.server.AdminURL()+strings.ReplaceAll(path, "{id}", "x"), "{}", "Authorization", token, "Content-Type", "application/json")
			if resp.StatusCode != 401 {
				t.Errorf("%s with %q: got %d %s, want 401", pattern, token, resp.StatusCode, body)
			}
		}
		if resp, _ := send(t, method, r.server.DataURL()+strings.ReplaceAll(path, "{id}", "x"), "{}", "Content-Type", "application/json"); resp.StatusCode == 200 {
			t.Errorf("%s is served to clients", pattern)
		}
	}
}

func TestS08ListedKeysShowNoSecret(t *testing.T) {
	r := newRig(t, priced+"keys: [ { name: alice, key: "+aliceKey+" } ]\n")
	_, secret := r.makeKey(`{"name":"made"}`)
	r.wants(200, secret)
	for _, path := range []string{"/api/keys", "/api/status", "/api/config", "/api/spend/lines", "/api/spend/export", "/api/budgets"} {
		status, body := r.admin("GET", path, "")
		if status != 200 {
			t.Errorf("%s: got %d %s", path, status, body)
		}
		for _, s := range []string{secret, aliceKey} {
			if strings.Contains(body, s[4:16]) {
				t.Errorf("%s shows a secret: %s", path, body)
			}
		}
	}
	entries, err := os.ReadDir(r.server.storage.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(r.server.storage.dir, e.Name()))
		if err != nil {
			continue
		}
		if bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte(aliceKey)) {
			t.Errorf("%s holds a secret", e.Name())
		}
	}
}

func TestRevokedKeyEndsItsStreamsWhenAsked(t *testing.T) {
	r := newRig(t, priced)
	id, secret := r.makeKey(`{"name":"alice"}`)
	done := make(chan string, 1)
	go func() {
		body := strings.Replace(question, `"max_tokens"`, `"stream":true,"max_tokens"`, 1)
		req, _ := http.NewRequestWithContext(t.Context(), "POST", r.server.DataURL()+"/v1/messages", strings.NewReader(body))
		for k, v := range map[string]string{"Content-Type": "application/json", "X-Api-Key": secret, "X-Simulate": "events=1000,event_delay=20ms"} {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			done <- err.Error()
			return
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body) // it is cut off
		done <- b.String()
	}()
	var list struct{ Keys []keyView }
	eventually(t, func() bool {
		r.get("/api/keys", &list)
		return list.Keys[0].InFlight == 1
	})
	status, body := r.admin("POST", "/api/keys/"+id+"/revoke", `{"end_streams":true}`)
	var ended revokedKey
	if err := json.Unmarshal([]byte(body), &ended); err != nil || status != 200 || ended.Ended != 1 || ended.Key.State != "revoked" {
		t.Errorf("revoke: got %d %s, want one ended", status, body)
	}
	select {
	case text := <-done:
		if strings.Contains(text, "message_stop") {
			t.Error("the stream looks complete")
		}
	case <-time.After(10 * time.Second):
		t.Error("the stream goes on")
	}
}

func TestAlertsRaisedBeforeAnybodyListensAreKept(t *testing.T) {
	m := &accounts{}
	for range 3 {
		m.alerts.raise(t.Context(), budget.Alert{Type: names.AlertReset})
	}
	var got []string
	m.onAlert(func(_ context.Context, a budget.Alert) { got = append(got, a.Type) })
	m.alerts.raise(t.Context(), budget.Alert{Type: names.AlertBudgetCrossed})
	if want := []string{names.AlertReset, names.AlertReset, names.AlertReset, names.AlertBudgetCrossed}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestL05KeysOfTheFileMayGoOnWhileNothingCanBeWritten(t *testing.T) {
	cfg := config.Default()
	cfg.Keys = []config.Key{{Name: "careful"}, {Name: "bold", Fail: "open"}}
	fails := ledgerPolicy(cfg).FailOpen
	if !fails(&gateway.Caller{KeyAlias: "bold"}) || fails(&gateway.Caller{KeyAlias: "careful"}) || fails(&gateway.Caller{}) {
		t.Error("want the bold key, and no other, to go on")
	}
	if ledgerPolicy(config.Default()).FailOpen != nil {
		t.Error("without such a key there is a policy")
	}
}

func TestDamagedLedgerIsRefusedVerifiedAndRepaired(t *testing.T) {
	r := newRig(t, priced+"budgets: [ { name: all, scope: global, limit: 1000, window: none } ]\n")
	_, secret := r.makeKey(`{"name":"alice"}`)
	for range 20 {
		r.wants(200, secret)
	}
	dir := r.server.storage.dir
	r.end()
	r.wait()
	path := filepath.Join(dir, ledgerName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A digit of a checksummed text of some line is another one.
	broken := bytes.Replace(whole, []byte("claude-sonnet-5"), []byte("claude-sonnet-6"), 1)
	if bytes.Equal(broken, whole) {
		t.Fatal("the model is not found in the ledger")
	}
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	opt := onFreePorts(t)
	opt.Storage = dir
	cfg, err := r.load()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newServer(t.Context(), cfg, opt); err == nil || !strings.Contains(err.Error(), "ccproxy ledger verify") {
		t.Errorf("start: got %v, want it refused with what helps", err)
	}
	run := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		a := &app{out: &out, err: &out, env: emptyEnv}
		if code := a.main(t.Context(), append([]string{"--config-dir", dir}, args...)); code != want {
			t.Errorf("%v: got exit code %d, want %d: %s", args, code, want, out.String())
		}
		return out.String()
	}
	if out := run(1, "ledger", "verify"); !strings.Contains(out, "the ledger is damaged in ") || !strings.Contains(out, ledgerName+": ") {
		t.Errorf("verify: got %s", out)
	}
	if out := run(0, "ledger", "repair"); !strings.HasSuffix(out, "repaired\n") || !strings.Contains(out, "kept as ") {
		t.Errorf("repair: got %s", out)
	}
	run(0, "ledger", "verify")
	s, err := newServer(t.Context(), cfg, opt)
	if err != nil {
		t.Fatalf("start after the repair: %v", err)
	}
	if !s.accounts.anyKey(cfg) {
		t.Error("the key is lost")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestBudgetsThatNothingCountsTowardsAreWarnedOf(t *testing.T) {
	r := newRig(t, priced+`
keys: [ { name: alice, key: `+aliceKey+` } ]
budgets:
  - { name: a, scope: key, match: alice, limit: 1, window: day }
  - { name: b, scope: key, match: someone-else, limit: 1, window: day }
  - { name: c, scope: model, match: claude-sonnet-5, limit: 1, window: day }
  - { name: d, scope: model, match: claude-sonet-5, limit: 1, window: day }
  - { name: e, scope: model, match: "nothing-*", limit: 1, window: day }
`)
	log := r.log.String()
	for name, want := range map[string]bool{"a": false, "b": true, "c": false, "d": true, "e": false} {
		if got := strings.Contains(log, `budget \"`+name+`\": `); got != want {
			t.Errorf("budget %s: warned %v, want %v: %s", name, got, want, log)
		}
	}
}
