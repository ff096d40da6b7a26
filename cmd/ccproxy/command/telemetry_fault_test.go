package command

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

const (
	faultRequests = 2000
	faultGrowth   = 8 << 20 // bytes the heap may grow by: queues, and what the runtime holds besides
)

// plainUpstream is a provider that says the same to everybody and remembers nothing.
func plainUpstream(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-5","content":[{"type":"text","text":"yes"}],"stop_reason":"end_turn","usage":{"input_tokens":8,"output_tokens":1}}`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// refusedAddress is an address at which nobody listens.
func refusedAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// hammer sends n requests over a few connections and returns how many failed.
func (r *rig) hammer(n int) (failed int64) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	var bad, left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := askOnce(client, r.server.DataURL()+"/v1/messages"); err != nil && bad.Add(1) == 1 {
					r.t.Errorf("request: %v", err)
				}
			}
		})
	}
	all.Wait()
	return bad.Load()
}

func askOnce(client *http.Client, url string) error {
	req, err := http.NewRequest("POST", url, strings.NewReader(question))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-Key", "a-client-key")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("got %d %s", resp.StatusCode, body)
	}
	return err
}

var droppedLine = regexp.MustCompile(`(?m)^ccproxy_telemetry_dropped_total\{(.*)\} (\S+)$`)

// dropped is how many items of a signal /metrics counts as lost, for whatever reason.
func (r *rig) dropped(signal string) (n float64) {
	_, text := send(r.t, "GET", r.server.AdminURL()+"/metrics", "")
	for _, m := range droppedLine.FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], `ccproxy_telemetry_signal="`+signal+`"`) {
			v, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				r.t.Fatal(err)
			}
			n += v
		}
	}
	return n
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// withCollector runs a gateway whose collector is at endpoint through the measure: it starts as ever, no request fails,
// memory is bounded, losses are counted, and it ends in time.
func withCollector(t *testing.T, endpoint, protocol string) {
	t.Helper()
	start := time.Now()
	r := newRig(t, fmt.Sprintf(`
providers: { anthropic: { base_url: %q } }
timeouts: { telemetry_flush: 1s }
telemetry:
  queue_bytes: 256KiB
  exporters: [ { name: faulty, endpoint: %q, protocol: %s } ]
`, plainUpstream(t), endpoint, protocol))
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("starting took %v, want under 2 s", took)
	}
	if failed := r.hammer(200); failed > 0 { // connections, caches and queues fill
		t.Errorf("%d of the first 200 requests failed", failed)
	}
	before := heap()
	if failed := r.hammer(faultRequests); failed > 0 {
		t.Errorf("%d of %d requests failed", failed, faultRequests)
	}
	if grown := heap() - before; grown > faultGrowth {
		t.Errorf("the heap grew by %d bytes, want at most %d", grown, faultGrowth)
	}
	eventually(t, func() bool { return r.dropped("traces") > 0 && r.dropped("logs") > 0 })
	start = time.Now()
	r.stopped()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("shutting down took %v, want at most 2 s", took)
	}
}

// faultySink is a collector with a fault, over both protocols.
func faultySink(t *testing.T, f gatewaytest.Fault) map[string]string {
	t.Helper()
	sink := gatewaytest.NewSink()
	t.Cleanup(sink.Close)
	sink.SetFault(f)
	return map[string]string{"grpc": sink.StartGRPC(), "http": sink.StartHTTP()}
}

func TestO01GatewayServesWhileTheCollectorRefuses(t *testing.T) {
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) { withCollector(t, "http://"+refusedAddress(t), protocol) })
	}
}

func TestO02GatewayServesWhileTheCollectorIsABlackHole(t *testing.T) {
	for protocol, endpoint := range faultySink(t, gatewaytest.Fault{BlackHole: true}) {
		t.Run(protocol, func(t *testing.T) { withCollector(t, endpoint, protocol) })
	}
}

func TestO03GatewayServesWhileTheCollectorIsSlow(t *testing.T) {
	for protocol, endpoint := range faultySink(t, gatewaytest.Fault{Delay: 5 * time.Second}) {
		t.Run(protocol, func(t *testing.T) { withCollector(t, endpoint, protocol) })
	}
}

func TestO04GatewayServesWhileTheCollectorRejects(t *testing.T) {
	for protocol, endpoint := range faultySink(t, gatewaytest.Fault{HTTPStatus: 400, GRPCCode: codes.InvalidArgument, Message: "no"}) {
		t.Run(protocol, func(t *testing.T) { withCollector(t, endpoint, protocol) })
	}
}

// TestO10ShutdownSaysWhatWasLost: with a collector that never answers the gateway still ends in time and without an error,
// and the log has the count.
func TestO10ShutdownSaysWhatWasLost(t *testing.T) {
	endpoint := faultySink(t, gatewaytest.Fault{BlackHole: true})["grpc"]
	r := newRig(t, anthropicOnly+fmt.Sprintf("telemetry: { exporters: [ { name: faulty, endpoint: %q, protocol: grpc } ] }\n", endpoint))
	if failed := r.hammer(10); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	start := time.Now()
	r.stopped()
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("shutting down took %v, want at most 6 s", took)
	}
	if log := r.log.String(); !strings.Contains(log, "telemetry was lost at shutdown") || !regexp.MustCompile(`traces [1-9]`).MatchString(log) {
		t.Errorf("the log does not say what was lost:\n%s", log)
	}
}
