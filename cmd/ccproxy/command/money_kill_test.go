//go:build unix

package command

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

// killed is a gateway in a process of its own, to be killed.
type killed struct {
	t        *testing.T
	config   string
	dir      string
	url      string
	process  *exec.Cmd
	recovery time.Duration // from start to ready, the longest
}

// seenStream is what a client saw of one stream.
type seenStream struct {
	id            string // "": no answer came
	input, output int64
	done          bool
}

// TestL01KilledGatewayKeepsItsBooks kills a gateway under fifty streams, again and again. What a client saw completed is in
// the ledger to the nano-dollar; what was in doubt has one line, flagged, within its hold; nothing stays held.
func TestL01KilledGatewayKeepsItsBooks(t *testing.T) {
	provider := gatewaytest.NewProvider(gatewaytest.ProviderOptions{})
	upstream := httptest.NewServer(provider)
	t.Cleanup(upstream.Close)
	t.Cleanup(provider.Close)
	k := newKilled(t, upstream.URL)
	var seen []seenStream
	rounds := full(4, 200)
	for range rounds {
		k.start()
		seen = append(seen, k.underStreams(50)...)
	}
	k.start()
	k.check(seen)
	t.Logf("%d kills, %d streams; ready after %v at the latest", rounds, len(seen), k.recovery)
	k.kill()
}

func newKilled(t *testing.T, upstream string) *killed {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &killed{t: t, dir: filepath.Join(t.TempDir(), "storage"), config: filepath.Join(t.TempDir(), "ccproxy.yaml"), url: "http://" + l.Addr().String()}
	_ = l.Close()
	text := fmt.Sprintf(`
server: { listen: %q, admin: "127.0.0.1:0" }
storage: { path: %q }
providers: { anthropic: { base_url: %q } }
prices: { anthropic/claude-sonnet-5: { input: 1, output: 10 } }
budgets: [ { name: all, scope: global, limit: 1000, window: none } ]
`, strings.TrimPrefix(k.url, "http://"), k.dir, upstream)
	if err := os.WriteFile(k.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.kill)
	return k
}

// start starts the gateway and waits until it is ready.
func (k *killed) start() {
	k.t.Helper()
	k.process = exec.Command("ccproxy", "start", "--config", k.config)
	k.process.Stderr = k.t.Output()
	begun := time.Now()
	if err := k.process.Start(); err != nil {
		k.t.Fatal(err)
	}
	eventually(k.t, func() bool {
		resp, err := http.Get(k.url + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == 200
	})
	k.recovery = max(k.recovery, time.Since(begun))
}

func (k *killed) kill() {
	if k.process == nil {
		return
	}
	_ = k.process.Process.Signal(syscall.SIGKILL)
	_ = k.process.Wait() // it was killed
	k.process = nil
}

// underStreams kills the gateway while n streams run, and returns what their clients saw.
func (k *killed) underStreams(n int) []seenStream {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	seen := make([]seenStream, n)
	var all sync.WaitGroup
	ended := make(chan struct{}, n)
	for i := range n {
		all.Go(func() {
			seen[i] = streamOnce(client, k.url+"/v1/messages")
			ended <- struct{}{}
		})
	}
	for range rand.IntN(n / 2) { // the kill comes at any moment, however fast the machine
		<-ended
	}
	k.kill()
	all.Wait()
	return seen
}

func streamOnce(client *http.Client, url string) (s seenStream) {
	body := `{"model":"claude-sonnet-5","max_tokens":1024,"stream":true,"messages":[{"role":"user","content":"tell me a story"}]}`
	req, _ := http.NewRequest("POST", url, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-Key", "a-client-key")
	req.Header.Set("X-Simulate", fmt.Sprintf("events=%d,event_delay=2ms", 2+rand.IntN(60)))
	resp, err := client.Do(req)
	if err != nil {
		return s
	}
	defer resp.Body.Close()
	s.id = resp.Header.Get("X-CCProxy-Request-Id")
	s.input, s.output, s.done = readUsage(resp.Body)
	return s
}

// check compares what the clients saw with the ledger.
func (k *killed) check(seen []seenStream) {
	k.t.Helper()
	run, err := readRun(k.dir)
	if err != nil {
		k.t.Fatal(err)
	}
	byRequest := map[string][]lineView{}
	for _, s := range seen {
		if s.id == "" {
			continue
		}
		var list struct{ Lines []lineView }
		askAdmin(k.t, run, "GET", "/api/spend/lines?request="+s.id, &list)
		byRequest[s.id] = list.Lines
	}
	done, doubtful := 0, 0
	for _, s := range seen {
		lines := byRequest[s.id]
		switch {
		case s.id == "":
			continue
		case len(lines) != 1 || lines[0].Cost == nil:
			k.t.Fatalf("request %s, of which the client saw an answer, has %d lines, want one with a cost: %+v", s.id, len(lines), lines)
		case s.done:
			done++
			if want := usd(s.input*1000 + s.output*10_000); *lines[0].Cost != want || lines[0].Estimated {
				k.t.Errorf("request %s completed: got cost %v (estimated %v), want %v", s.id, *lines[0].Cost, lines[0].Estimated, want)
			}
		default:
			doubtful++
			if l := lines[0]; *l.Cost > l.Held || *l.Cost <= 0 {
				k.t.Errorf("request %s was in doubt: got cost %v, want more than nothing and at most its hold of %v", s.id, *l.Cost, l.Held)
			}
		}
	}
	if done == 0 || doubtful == 0 {
		k.t.Errorf("%d streams completed and %d were cut: this shows nothing", done, doubtful)
	}
	var spend spendReport
	askAdmin(k.t, run, "GET", "/api/spend", &spend)
	var budgets budgetList
	askAdmin(k.t, run, "GET", "/api/budgets", &budgets)
	if b, sum := budgets.Budgets[0], spend.Total.Cost; b.Reserved != 0 || b.Spent != sum {
		k.t.Errorf("the budget has %v spent and %v reserved, the ledger says %v spent: want the same, and nothing reserved", b.Spent, b.Reserved, sum)
	}
	k.t.Logf("%d completed, %d in doubt", done, doubtful)
}
