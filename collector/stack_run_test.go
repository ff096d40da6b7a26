//go:build stack

package collector

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
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

// process is a running server.
type process struct {
	cmd    *exec.Cmd
	log    *output
	exited chan struct{}
}

// output keeps what a process says, and can be waited on.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// launch starts a program that ends with the test at the latest. What it said is shown if the test failed.
func launch(t *testing.T, name string, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program(t, name), args...), log: &output{}, exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is seen in what it said
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if t.Failed() {
			text := p.log.String()
			t.Logf("%s said:\n%s", name, text[max(0, len(text)-4000):])
		}
	})
	return p
}

// end sends the signal and waits; a process that does not end is killed.
func (p *process) end(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal) // it may have ended
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// until asks again and again, for as long as it may take.
func until(t *testing.T, what string, patience time.Duration, ok func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

func get(url string) ([]byte, error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return body, err
}

func answers(url string) func() error {
	return func() error { _, err := get(url); return err }
}

// freePort is a port nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// hosts gives each Collector a loopback address of its own, since its ports are fixed.
var hosts = struct {
	sync.Mutex
	next int
}{next: os.Getpid() % 200}

func ownHost() string {
	hosts.Lock()
	defer hosts.Unlock()
	hosts.next++
	return fmt.Sprintf("127.77.%d.%d", os.Getpid()/200%250, hosts.next%250+1)
}

// collectorProcess is the Collector, by the file that is shipped.
type collectorProcess struct {
	*process
	host string
	env  []string
}

// endpoint is where it takes OTLP over gRPC.
func (c *collectorProcess) endpoint() string { return "http://" + c.host + ":4317" }

// startCollector starts one that sends to the places given, "" for nowhere that answers.
func startCollector(t *testing.T, tempo, prometheus, loki string, env ...string) *collectorProcess {
	t.Helper()
	nowhere := "127.0.0.1:" + freePort(t)
	if tempo == "" {
		tempo = nowhere
	}
	if prometheus == "" {
		prometheus = "http://" + nowhere
	}
	if loki == "" {
		loki = "http://" + nowhere
	}
	c := &collectorProcess{host: ownHost()}
	c.env = append([]string{"OTELCOL_HOST=" + c.host, "OTELCOL_STORAGE=" + t.TempDir(), "TEMPO_OTLP=" + strings.TrimPrefix(tempo, "http://"),
		"PROMETHEUS_OTLP=" + prometheus, "LOKI_OTLP=" + loki}, env...)
	c.start(t)
	return c
}

// start starts it, again after it ended.
func (c *collectorProcess) start(t *testing.T, env ...string) {
	t.Helper()
	config, err := filepath.Abs("otelcol.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.env = append(c.env, env...)
	c.process = launch(t, "otelcol", c.env, "--config", config)
	until(t, "the Collector does not get ready", time.Minute, answers("http://"+c.host+":13133/"))
}

// prometheusProcess is a Prometheus with the rules that are shipped.
type prometheusProcess struct {
	*process
	url string
}

// minute is what stands for a minute in the rules here.
const minute = "10s"

// startPrometheus starts one that is configured as shipped, but for minutes that are shorter and servers that are elsewhere.
// scrape is the Collector's own metrics, host:port.
func startPrometheus(t *testing.T, scrape string) *prometheusProcess {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rules"), 0o755); err != nil {
		t.Fatal(err)
	}
	shorter := strings.NewReplacer("interval: 1m", "interval: "+minute, "[1m]", "["+minute+"]", "query_offset: 30s", "query_offset: 5s", "interval: 30s", "interval: 5s", "interval: 15s", "interval: 5s")
	for _, name := range []string{"rules/recording.anchored.yaml", "rules/recording.gauges.yaml", "rules/alerts.yaml", "prometheus.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.NewReplacer("collector:8888", scrape, "localhost:9090", "127.0.0.1:1", "tempo:3200", "127.0.0.1:1", "loki:3100", "127.0.0.1:1", "alertmanager:9093", "127.0.0.1:1", "grafana:3000", "127.0.0.1:1").Replace(shorter.Replace(string(text)))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	address := "127.0.0.1:" + freePort(t)
	args := []string{"--config.file=" + filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--log.level=warn"}
	for _, flag := range readCompose(t, "../docker-compose.yml").Services["prometheus"].Command {
		if strings.HasPrefix(flag, "--web.enable") || strings.HasPrefix(flag, "--enable-feature") {
			args = append(args, flag)
		}
	}
	p := &prometheusProcess{process: launch(t, "prometheus", nil, args...), url: "http://" + address}
	until(t, "Prometheus does not get ready", time.Minute, answers(p.url+"/-/ready"))
	return p
}

// sample is one series of a result.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

// number is the value of a sample.
func (s sample) number() (v float64) {
	_, _ = fmt.Sscan(fmt.Sprint(s.Value[1]), &v) // what is no number is 0
	return v
}

// ask evaluates a query now.
func (p *prometheusProcess) ask(query string) ([]sample, error) {
	body, err := get(p.url + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	var samples []sample
	if answer.Data.ResultType != "vector" {
		return nil, fmt.Errorf("a %s", answer.Data.ResultType)
	}
	return samples, json.Unmarshal(answer.Data.Result, &samples)
}

// sinks are stores that are seen into, in place of Tempo and Loki.
func startSink(t *testing.T) *gatewaytest.Sink {
	t.Helper()
	s := gatewaytest.NewSink()
	t.Cleanup(s.Close)
	return s
}
