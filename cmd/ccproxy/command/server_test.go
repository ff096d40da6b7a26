package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

// rig is a gateway in this process, before a simulated provider.
type rig struct {
	t        *testing.T
	server   *server
	provider *gatewaytest.Provider
	upstream string // URL of the provider

	stopUpstream func()
	path         string // of the configuration file
	done         chan error
	end          context.CancelFunc
	log          *syncBuffer
}

const anthropicOnly = "providers: { anthropic: { base_url: \"UPSTREAM\" } }\n"

// newRig starts a gateway by the configuration text, in which UPSTREAM is the provider's URL.
func newRig(t *testing.T, text string) *rig {
	t.Helper()
	return newRigWith(t, text, func(*serverOptions) {})
}

// newRigWith is newRig with edited options.
func newRigWith(t *testing.T, text string, edit func(*serverOptions)) *rig {
	t.Helper()
	r := &rig{t: t, provider: gatewaytest.NewProvider(gatewaytest.ProviderOptions{}), path: filepath.Join(t.TempDir(), "ccproxy.yaml"), log: &syncBuffer{}}
	upstream := httptest.NewServer(r.provider)
	r.upstream, r.stopUpstream = upstream.URL, upstream.Close
	t.Cleanup(upstream.Close)
	t.Cleanup(r.provider.Close)
	r.write(text)
	opt := onFreePorts(t)
	opt.Log = slog.New(slog.NewTextHandler(r.log, nil))
	opt.Path, opt.Load = r.path, r.load
	edit(&opt)
	cfg, err := r.load()
	if err != nil {
		t.Fatal(err)
	}
	if r.server, err = newServer(t.Context(), cfg, opt); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	r.end, r.done = end, make(chan error, 1)
	go func() { r.done <- r.server.Serve(ctx) }()
	t.Cleanup(func() { end(); r.server.Abort(); r.wait() })
	return r
}

// onFreePorts are options for a server in this process that logs to the test and takes any ports.
func onFreePorts(t *testing.T) serverOptions {
	t.Helper()
	return serverOptions{
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Storage: filepath.Join(t.TempDir(), "storage"), DataAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0",
		Lookup: emptyEnv,
	}
}

func emptyEnv(string) (string, bool) { return "", false }

func (r *rig) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path, []byte(strings.ReplaceAll(text, "UPSTREAM", r.upstream)), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) load() (*config.Config, error) {
	cfg, _, err := config.Load(r.path, config.Options{Lookup: emptyEnv})
	return cfg, err
}

// wait waits until the server has ended.
func (r *rig) wait() {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		if err != nil {
			r.t.Errorf("serve: %v", err)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatal("the server did not end")
	}
}

const question = `{"model":"claude-sonnet-5","max_tokens":64,"messages":[{"role":"user","content":"hello"}]}`

// send sends a request and returns the answer, its body read.
func send(t *testing.T, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func (r *rig) ask(header ...string) (*http.Response, string) {
	r.t.Helper()
	return send(r.t, "POST", r.server.DataURL()+"/v1/messages", question, append([]string{"Content-Type", "application/json", "X-Api-Key", "a-client-key"}, header...)...)
}

func TestConfiguredProviderAnswersAtEveryPath(t *testing.T) {
	r := newRig(t, "providers:\n  anthropic: { base_url: UPSTREAM }\n  openai: { base_url: UPSTREAM/v1 }\n  gemini: { base_url: UPSTREAM }\n")
	for path, body := range map[string]string{
		"/v1/messages":              question,
		"/messages":                 question,
		"/v1/messages/count_tokens": question,
		"/messages/count_tokens":    question,
		"/v1/chat/completions":      `{"model":"gpt-5","messages":[{"role":"user","content":"hello"}]}`,
		"/chat/completions":         `{"model":"gpt-5","messages":[{"role":"user","content":"hello"}]}`,
		"/v1/completions":           `{"model":"gpt-3.5-turbo-instruct","prompt":"hello"}`,
		"/v1/responses":             `{"model":"gpt-5","input":"hello"}`,
		"/responses":                `{"model":"gpt-5","input":"hello"}`,
		"/v1/embeddings":            `{"model":"text-embedding-3-small","input":"hello"}`,
		"/embeddings":               `{"model":"text-embedding-3-small","input":"hello"}`,
		"/v1beta/models/gemini-2.5-pro:generateContent":       `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`,
		"/v1beta/models/gemini-2.5-pro:streamGenerateContent": `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`,
		"/v1beta/models/gemini-2.5-pro:countTokens":           `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`,
		"/v1beta/models/gemini-embedding-001:embedContent":    `{"content":{"parts":[{"text":"hello"}]}}`,
	} {
		resp, got := send(t, "POST", r.server.DataURL()+path, body, "Content-Type", "application/json", "Authorization", "Bearer a-client-key")
		if resp.StatusCode != 200 || resp.Header.Get("X-CCProxy-Request-Id") == "" {
			t.Errorf("%s: got %d %s", path, resp.StatusCode, got)
		}
	}
}

func TestG06InvalidReloadKeepsTheOldConfiguration(t *testing.T) {
	r := newRig(t, anthropicOnly)
	before := r.server.gateway.Snapshot()
	r.write("providers: { anthropic: { base_ulr: UPSTREAM } }\n")
	resp, body := send(t, "POST", r.server.AdminURL()+"/api/reload", "", "Authorization", "Bearer "+r.server.run.Token)
	if resp.StatusCode != 422 || !strings.Contains(body, "base_url") {
		t.Errorf("reload: got %d %s, want 422 naming base_url", resp.StatusCode, body)
	}
	if r.server.gateway.Snapshot() != before {
		t.Error("the snapshot was replaced")
	}
	if resp, _ := r.ask(); resp.StatusCode != 200 {
		t.Errorf("request after a failed reload: got %d", resp.StatusCode)
	}
	if resp, _ := send(t, "GET", r.server.DataURL()+"/readyz", ""); resp.StatusCode != 200 {
		t.Errorf("readyz after a failed reload: got %d", resp.StatusCode)
	}
	var s serverStatus
	if err := ask(t.Context(), r.server.run, "GET", "/api/status", &s); err != nil {
		t.Fatal(err)
	}
	if s.Reload == nil || !strings.Contains(s.Reload.Error, "base_ulr") {
		t.Errorf("status: got last reload %+v, want its reason", s.Reload)
	}
	if _, metrics := send(t, "GET", r.server.AdminURL()+"/metrics", ""); !strings.Contains(metrics, `ccproxy_config_reloads_total{ccproxy_config_result="error"`) {
		t.Error("the failed reload is not counted")
	}
}

func TestG08ReloadSendsNewExchangesElsewhere(t *testing.T) {
	r := newRig(t, anthropicOnly)
	if resp, _ := r.ask(); resp.Header.Get("X-CCProxy-Routed-Model") != "claude-sonnet-5" {
		t.Fatalf("before: routed to %s", resp.Header.Get("X-CCProxy-Routed-Model"))
	}
	r.write(anthropicOnly + "ccproxy: { default_model_passthrough: false }\nmodels: { default: { targets: [anthropic/claude-haiku-4-5] } }\nserver: { listen: \"127.0.0.1:4444\" }\n")
	restart, err := r.server.reloadFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(restart); got != "[server.listen]" {
		t.Errorf("needs a restart: got %s, want [server.listen]", got)
	}
	if resp, _ := r.ask(); resp.Header.Get("X-CCProxy-Routed-Model") != "claude-haiku-4-5" {
		t.Errorf("after: routed to %s", resp.Header.Get("X-CCProxy-Routed-Model"))
	}
}

func TestG07FileChangesAreTakenOverOnceTheyAreWhole(t *testing.T) {
	r := newRig(t, anthropicOnly)
	w, err := newWatcher(r.server, r.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	haiku := anthropicOnly + "ccproxy: { default_model_passthrough: false }\nmodels: { default: { targets: [anthropic/claude-haiku-4-5] } }\n"
	for i := 1; i <= len(haiku); i++ { // a storm of events, most of them of a file that is not valid
		r.write(haiku[:i])
	}
	routed := func() string {
		resp, _ := r.ask()
		return resp.Header.Get("X-CCProxy-Routed-Model")
	}
	eventually(t, func() bool { return routed() == "claude-haiku-4-5" })
	before := strings.Count(r.log.String(), "configuration not reloaded")
	r.write("{")
	eventually(t, func() bool { return strings.Count(r.log.String(), "configuration not reloaded") > before })
	if got := routed(); got != "claude-haiku-4-5" {
		t.Errorf("after an invalid change: routed to %s", got)
	}
	r.write("") // a file that is being written says nothing
	replaceFile(t, r.path, anthropicOnly, r.upstream)
	eventually(t, func() bool { return routed() == "claude-sonnet-5" })
}

func replaceFile(t *testing.T, path, text, upstream string) {
	t.Helper()
	if err := os.WriteFile(path+"~", []byte(strings.ReplaceAll(text, "UPSTREAM", upstream)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	end := time.After(15 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("it did not happen within 15 s")
		}
	}
}

func TestG09PortInUseIsOneClearLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, set := range map[string]func(*serverOptions, string){
		"server.listen": func(o *serverOptions, a string) { o.DataAddr = a },
		"server.admin":  func(o *serverOptions, a string) { o.AdminAddr = a },
	} {
		opt := onFreePorts(t)
		set(&opt, taken.Addr().String())
		_, err := newServer(t.Context(), config.Default(), opt)
		if err == nil || !strings.Contains(err.Error(), "port is in use") || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with the remedy", name, err)
		}
		if _, err := running(opt.Storage); !errors.Is(err, errNotRunning) {
			t.Errorf("%s: the storage stays locked: %v", name, err)
		}
	}
}

func TestG09StorageThatCannotBeWrittenIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	opt := onFreePorts(t)
	opt.Storage = filepath.Join(file, "storage")
	if _, err := newServer(t.Context(), config.Default(), opt); err == nil || !strings.Contains(err.Error(), "storage.path") {
		t.Errorf("got %v, want an error that names storage.path", err)
	}
}

func TestG10OtherMachinesNeedKeysOrServerOpen(t *testing.T) {
	for address, allowed := range map[string]bool{"127.0.0.1:0": true, "[::1]:0": true, "localhost:0": true, "0.0.0.0:0": false, ":0": false, "192.0.2.1:0": false} {
		cfg := config.Default()
		if got := checkOpen(cfg, address, false) == nil; got != allowed {
			t.Errorf("%s: allowed %v, want %v", address, got, allowed)
		}
		if err := checkOpen(cfg, address, true); err != nil {
			t.Errorf("%s with keys: %v", address, err)
		}
		cfg.Server.Open = true
		if err := checkOpen(cfg, address, false); err != nil {
			t.Errorf("%s with server.open: %v", address, err)
		}
	}
}

func TestG10OpenListenerIsWarnedAbout(t *testing.T) {
	cfg := config.Default()
	cfg.Server.Open = true
	opt, log := onFreePorts(t), &syncBuffer{}
	opt.DataAddr, opt.Log = "0.0.0.0:0", slog.New(slog.NewTextHandler(log, nil))
	s, err := newServer(t.Context(), cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "without a key") {
		t.Errorf("log: got %q, want a warning", log)
	}
	if !strings.HasPrefix(s.DataURL(), "http://127.0.0.1:") {
		t.Errorf("URL: got %s, want one that can be dialled", s.DataURL())
	}
}

func TestD01DrainLetsStreamsEnd(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-5","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`)
	}))
	defer slow.Close()
	r := newRig(t, "providers: { anthropic: { base_url: \""+slow.URL+"\" } }\n")
	answered := make(chan int, 1)
	go func() {
		resp, err := http.Post(r.server.DataURL()+"/v1/messages", "application/json", strings.NewReader(question))
		if err != nil {
			answered <- 0
			return
		}
		defer resp.Body.Close()
		answered <- resp.StatusCode
	}()
	<-entered
	r.end()
	eventually(t, func() bool {
		resp, _ := send(t, "GET", r.server.AdminURL()+"/readyz", "")
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	close(release)
	if got := <-answered; got != 200 {
		t.Errorf("the exchange that ran: got status %d, want 200", got)
	}
	r.wait()
	if _, err := net.Dial("tcp", strings.TrimPrefix(r.server.DataURL(), "http://")); err == nil {
		t.Error("the data port still accepts connections")
	}
}

func TestD02AbortEndsTheDrainAtOnce(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	stuck := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(entered)
		<-r.Context().Done()
		close(left)
	}))
	defer stuck.Close()
	r := newRig(t, "providers: { anthropic: { base_url: \""+stuck.URL+"\" } }\n")
	go func() {
		resp, err := http.Post(r.server.DataURL()+"/v1/messages", "application/json", strings.NewReader(question))
		if err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	r.end()
	r.server.Abort()
	start := time.Now()
	r.wait()
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the end took %v", took)
	}
	<-left
	if r.server.active.Load() != 0 {
		t.Error("an exchange was not seen to its end")
	}
}

func TestServerLeavesNothingRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	r := newRig(t, anthropicOnly)
	if resp, _ := r.ask(); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
	r.end()
	r.wait()
	r.stopUpstream()
	goleak.VerifyNone(t, before)
}

func TestS41DataPortHasNothingOfTheAdminPort(t *testing.T) {
	r := newRig(t, anthropicOnly)
	for _, path := range []string{"/metrics", "/api/status", "/api/config", "/api/reload", "/api/stop", "/debug/pprof/", "/"} {
		for _, method := range []string{"GET", "POST"} {
			resp, body := send(t, method, r.server.DataURL()+path, "", "Authorization", "Bearer "+r.server.run.Token)
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: got %d %s, want 404", method, path, resp.StatusCode, body)
			}
		}
	}
}

func TestS41AdminPortWantsItsToken(t *testing.T) {
	r := newRig(t, anthropicOnly)
	for _, c := range []struct{ method, path string }{{"GET", "/api/status"}, {"GET", "/api/config"}, {"POST", "/api/reload"}, {"POST", "/api/stop"}} {
		for _, token := range []string{"", "Bearer ", "Bearer x", "Basic " + r.server.run.Token, r.server.run.Token, "Bearer " + r.server.run.Token + "x"} {
			resp, body := send(t, c.method, r.server.AdminURL()+c.path, "", "Authorization", token)
			if resp.StatusCode != http.StatusUnauthorized || strings.Contains(body, r.upstream) {
				t.Errorf("%s with %q: got %d %s, want 401", c.path, token, resp.StatusCode, body)
			}
		}
	}
	resp, body := send(t, "GET", r.server.AdminURL()+"/api/config", "", "Authorization", "Bearer "+r.server.run.Token)
	if resp.StatusCode != 200 || !strings.Contains(body, r.upstream) {
		t.Errorf("config with the token: got %d %s", resp.StatusCode, body)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Cache-Control": "no-store"} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestConfigOfTheAdminPortHidesSecrets(t *testing.T) {
	const secret = "sk-ant-very-secret-key"
	r := newRig(t, "providers: { anthropic: { base_url: UPSTREAM, api_key: "+secret+" } }\n")
	for _, path := range []string{"/api/config", "/api/status"} {
		_, body := send(t, "GET", r.server.AdminURL()+path, "", "Authorization", "Bearer "+r.server.run.Token)
		if strings.Contains(body, secret) || strings.Contains(body, r.server.run.Token) {
			t.Errorf("%s shows a secret: %s", path, body)
		}
	}
}

func TestS48HealthIsABooleanOnBothPorts(t *testing.T) {
	r := newRig(t, anthropicOnly)
	for _, base := range []string{r.server.DataURL(), r.server.AdminURL()} {
		for _, path := range []string{"/healthz", "/readyz"} {
			resp, body := send(t, "GET", base+path, "")
			if resp.StatusCode != 200 || body != "true\n" {
				t.Errorf("%s%s: got %d %q, want 200 true", base, path, resp.StatusCode, body)
			}
		}
	}
}

func TestS51OtherNamesForThisMachineAreRefused(t *testing.T) {
	r := newRig(t, anthropicOnly+"server: { public_name: llm.example.com, admin_hosts: [console.example.com] }\n")
	data, admin := strings.TrimPrefix(r.server.DataURL(), "http://"), strings.TrimPrefix(r.server.AdminURL(), "http://")
	for host, want := range map[string]int{"evil.test": 421, "evil.test:4000": 421, "localhost.evil.test": 421, "10.0.0.1": 421, "console.example.com": 421,
		data: 200, "localhost": 200, "LOCALHOST:4000": 200, "[::1]:4000": 200, "127.0.0.2": 200, "llm.example.com": 200} {
		if resp, _ := r.ask("Host", host); resp.StatusCode != want {
			t.Errorf("data port, Host %s: got %d, want %d", host, resp.StatusCode, want)
		}
	}
	for host, want := range map[string]int{"evil.test": 421, admin: 200, "localhost:4001": 200, "console.example.com": 200} {
		resp, _ := send(t, "GET", r.server.AdminURL()+"/api/status", "", "Host", host, "Authorization", "Bearer "+r.server.run.Token)
		if resp.StatusCode != want {
			t.Errorf("admin port, Host %s: got %d, want %d", host, resp.StatusCode, want)
		}
	}
}

func TestS52ForeignPagesAreRefused(t *testing.T) {
	r := newRig(t, anthropicOnly)
	for _, c := range []struct {
		header []string
		want   int
	}{
		{nil, 200},
		{[]string{"Origin", r.server.DataURL()}, 200},
		{[]string{"Origin", "https://evil.test"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Origin", "http://127.0.0.1:3000"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 200},
		{[]string{"Sec-Fetch-Site", "none"}, 200},
	} {
		resp, body := r.ask(c.header...)
		if resp.StatusCode != c.want || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%v: got %d %s, want %d without CORS", c.header, resp.StatusCode, body, c.want)
		}
	}
	resp, _ := send(t, "POST", r.server.AdminURL()+"/api/stop", "", "Authorization", "Bearer "+r.server.run.Token, "Origin", "https://evil.test")
	if resp.StatusCode != 403 {
		t.Errorf("admin port: got %d, want 403", resp.StatusCode)
	}
}

func TestS56FilesAreTheOwnersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("Windows keeps access rights elsewhere")
		return
	}
	r := newRig(t, anthropicOnly)
	err := filepath.WalkDir(r.server.storage.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, want none for others", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(r.server.storage.dir, runName))
	if err != nil {
		t.Fatal(err)
	}
	var run runInfo
	if err := json.Unmarshal(b, &run); err != nil || run.PID != os.Getpid() || run.URL != r.server.DataURL() || len(run.Token) < 32 {
		t.Errorf("run.json: got %s, %v", b, err)
	}
	r.end()
	r.wait()
	if _, err := os.Stat(filepath.Join(r.server.storage.dir, runName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("run.json after the end: %v, want none", err)
	}
}

func TestSecondGatewayOnTheSameStorageIsRefused(t *testing.T) {
	r := newRig(t, anthropicOnly)
	opt := onFreePorts(t)
	opt.Storage = r.server.storage.dir
	_, err := newServer(t.Context(), config.Default(), opt)
	if !errors.Is(err, errLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) || !strings.Contains(err.Error(), r.server.DataURL()) {
		t.Errorf("got %v, want the first's pid and URL", err)
	}
}

func TestHooksListWithoutRouterKeepsTheModel(t *testing.T) {
	const routed = anthropicOnly + "models: { default: { targets: [anthropic/claude-haiku-4-5] } }\n"
	for hooks, want := range map[string]string{"[rule_evaluator, model_router]": "claude-haiku-4-5", "[rule_evaluator]": "claude-sonnet-5", "[]": "claude-sonnet-5"} {
		r := newRig(t, routed+"ccproxy: { default_model_passthrough: false, hooks: "+hooks+" }\n")
		if resp, _ := r.ask(); resp.Header.Get("X-CCProxy-Routed-Model") != want {
			t.Errorf("hooks %s: routed to %s, want %s", hooks, resp.Header.Get("X-CCProxy-Routed-Model"), want)
		}
	}
}

func TestPlainWriterTakesColoursAway(t *testing.T) {
	var b bytes.Buffer
	n, err := plainWriter{&b}.Write([]byte("\x1b[1;32mgreen\x1b[0m plain\n"))
	if err != nil || n != 23 || b.String() != "green plain\n" {
		t.Errorf("got %d, %v, %q", n, err, b.String())
	}
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns what has been written.
func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
