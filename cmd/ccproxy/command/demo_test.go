package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// noVariables is an environment without variables.
func noVariables(string) (string, bool) { return "", false }

// leakFree fails the test for goroutines it leaves behind.
func leakFree(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// paper is a screen that is no terminal and wide enough for every line.
func paper(w io.Writer) *screen { return &screen{out: w, width: 160} }

var (
	hexPattern      = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
	addressPattern  = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	hookPattern     = regexp.MustCompile(`(?m)^.* ccproxy\.hook .*\n`) // there when a hook happens to be slow
	storagePattern  = regexp.MustCompile(`storage  .*ccproxy-demo-\d+`)
	durationPattern = regexp.MustCompile(` *\b\d+(\.\d+)? (µs|ms|s)\b( *[╺━╸]+)?`)
)

// maskStory replaces what differs from run to run.
func maskStory(text string) string {
	text = hookPattern.ReplaceAllString(text, "")
	text = hexPattern.ReplaceAllString(text, "<trace>")
	text = addressPattern.ReplaceAllString(text, "<address>")
	text = storagePattern.ReplaceAllString(text, "storage  <directory>")
	return durationPattern.ReplaceAllString(text, " <time>")
}

func TestDemoTellsTheStory(t *testing.T) {
	leakFree(t)
	var out, log bytes.Buffer
	start := time.Now()
	if err := runDemo(t.Context(), paper(&out), demoOptions{exit: true, log: demoLog(&log), lookup: noVariables}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("the story took %v, want a few seconds at most", took)
	}
	compareGolden(t, "testdata/demo/story.txt", maskStory(out.String()))
	if log.Len() > 0 {
		t.Errorf("a demonstration that goes well logs nothing, got %s", log.String())
	}
}

func TestDemoSendsItsTelemetryOn(t *testing.T) {
	leakFree(t)
	sink := gatewaytest.NewSink()
	defer sink.Close()
	endpoint := sink.StartHTTP()
	env := func(k string) (string, bool) {
		v, ok := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}[k]
		return v, ok
	}
	var out bytes.Buffer
	if err := runDemo(t.Context(), paper(&out), demoOptions{exit: true, log: demoLog(io.Discard), lookup: env}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "sent to "+endpoint) {
		t.Errorf("the output does not say that telemetry goes to %s:\n%.600s", endpoint, out.String())
	}
	servers := 0
	for _, s := range sink.Spans() {
		if s.Kind == "SERVER" {
			servers++
		}
	}
	if servers != len(story()) {
		t.Errorf("got %d SERVER spans over OTLP, want %d", servers, len(story()))
	}
}

func TestTracesOfTheStoryKeepTheContract(t *testing.T) {
	leakFree(t)
	rec := tracetest.NewSpanRecorder()
	opt := demoOptions{exit: true, log: demoLog(io.Discard), lookup: noVariables, spans: []sdktrace.SpanProcessor{rec}}
	if err := runDemo(t.Context(), paper(io.Discard), opt); err != nil {
		t.Fatal(err)
	}
	traces := map[string][]treeSpan{} // :: trace id → spans in the order they ended
	for _, s := range rec.Ended() {
		id := s.SpanContext().TraceID().String()
		traces[id] = append(traces[id], treeSpanOf(s))
	}
	if len(traces) != len(story()) {
		t.Errorf("got %d traces, want one for each of %d requests", len(traces), len(story()))
	}
	for id, spans := range traces {
		t.Run(id, func(t *testing.T) { checkContract(t, spans) })
	}
}

// checkContract checks what is true of every trace.
func checkContract(t *testing.T, spans []treeSpan) {
	byID := map[string]*treeSpan{}
	for i := range spans {
		byID[spans[i].ID] = &spans[i]
	}
	last := &spans[len(spans)-1]
	if last.Kind != trace.SpanKindServer || last.Parent != "" {
		t.Fatalf("the span that ended last is %s, want the SERVER span, which is the root", last.Name)
	}
	generations := int64(0)
	for i := range spans {
		s := &spans[i]
		parent := byID[s.Parent]
		switch {
		case s == last:
		case parent == nil:
			t.Errorf("%s has no parent in its trace", s.Name)
		case s.Start.Before(parent.Start) || s.End.After(parent.End):
			t.Errorf("%s (%v to %v) is not within %s (%v to %v)", s.Name, s.Start, s.End, parent.Name, parent.Start, parent.End)
		}
		if s.End.Before(s.Start) {
			t.Errorf("%s ends before it starts", s.Name)
		}
		for _, link := range s.Links {
			if byID[link] == nil {
				t.Errorf("%s is linked to a span of another trace", s.Name)
			}
		}
		if s.has(names.KeyGenAIOperationName) {
			generations++
			continue
		}
		for k := range s.Attributes {
			if strings.HasPrefix(string(k), "gen_ai.usage.") || k == names.KeyGenAIRequestModel {
				t.Errorf("%s has %s, which belongs on the GenAI span alone", s.Name, k)
			}
		}
	}
	want := last.number(names.KeyAttempts)
	if last.text(names.KeyBudgetDecision) == names.BudgetDecisionDeny {
		want = 0 // what a budget refuses is not sent
	}
	if generations != want {
		t.Errorf("got %d GenAI spans, want one for each of %d attempts", generations, want)
	}
}

// runningDemo starts a demonstration that ends with the test.
func runningDemo(t *testing.T) *demonstration {
	t.Helper()
	d, err := startDemo(t.Context(), demoOptions{log: demoLog(io.Discard), lookup: noVariables})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestStoryPlaysAgainstARunningGateway(t *testing.T) {
	leakFree(t)
	d := runningDemo(t)
	var out bytes.Buffer
	if err := playAgainst(t.Context(), paper(&out), d.server.DataURL()+"/", false, 0); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "testdata/demo/against.txt", maskStory(out.String()))
}

// lineWatch calls back after so many lines.
type lineWatch struct {
	lines, at int
	then      func()
}

func (w *lineWatch) Write(p []byte) (int, error) {
	w.lines += bytes.Count(p, []byte("\n"))
	if w.lines >= w.at {
		w.then()
	}
	return len(p), nil
}

func TestLoopedStoryGoesOnUntilStopped(t *testing.T) {
	leakFree(t)
	d := runningDemo(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &lineWatch{at: len(story()) + 3, then: cancel}
	if err := playAgainst(ctx, paper(out), d.server.DataURL(), true, time.Microsecond); err != nil {
		t.Fatal(err)
	}
	if out.lines < out.at {
		t.Errorf("got %d lines, want the story to begin again after %d", out.lines, len(story()))
	}
}

func TestStoryStopsAtOnceBeforeARealProvider(t *testing.T) {
	leakFree(t)
	var requests atomic.Int64
	real := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		fmt.Fprint(w, `{"type":"message"}`)
	}))
	defer real.Close()
	err := playAgainst(t.Context(), paper(io.Discard), real.URL, true, time.Microsecond)
	if !errors.Is(err, errRealProvider) {
		t.Errorf("got error %v, want errRealProvider", err)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("got %d requests, want 1", n)
	}
}

func TestStoryAgainstNobodySaysSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	l.Close()
	if err := playAgainst(t.Context(), paper(io.Discard), base, false, 0); err == nil || !strings.Contains(err.Error(), "no gateway answers at "+base) {
		t.Errorf("got error %v, want one that says nobody answers at %s", err, base)
	}
	if err := playAgainst(t.Context(), paper(io.Discard), "localhost:4000", false, 0); err == nil {
		t.Error("an address that is no URL is taken")
	}
}

// TestDemoShowsTheUsersOwnRequests plays a user who tries the printed examples and then presses Ctrl-C.
func TestDemoShowsTheUsersOwnRequests(t *testing.T) {
	leakFree(t)
	d := runningDemo(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan string, len(examples))
	out := writerFunc(func(p []byte) (int, error) {
		seen <- string(p)
		return len(p), nil
	})
	var up sync.WaitGroup
	up.Go(func() { d.stayUp(ctx, paper(out)) })
	for _, e := range examples {
		tryExample(t, d.server.DataURL(), e, http.StatusOK) // the fallback of the overloaded one answers
		got := <-seen
		path, _, _ := strings.Cut(e.path, "gemini-3.5-flash")
		if !strings.HasPrefix(got, "Your request\n") || !strings.Contains(got, "POST "+path) {
			t.Errorf("%s: got %q, want its trace", e.name, got)
		}
	}
	cancel()
	up.Wait()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// tryExample sends an example as the printed curl does.
func tryExample(t *testing.T, base string, e example, want int) {
	t.Helper()
	if strings.Contains(e.body, "'") {
		t.Errorf("%s: its body ends the quotes it stands in", e.name)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Post(base+e.path, "application/json", strings.NewReader(e.body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Errorf("%s: got status %d, want %d", e.name, resp.StatusCode, want)
	}
}

func TestDemoLeavesPortsInUseAlone(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	got, err := freeAddress(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if got == taken.Addr().String() {
		t.Errorf("got %s, which is in use", got)
	}
	if again, err := freeAddress(got, got); err != nil || again == got {
		t.Errorf("got %s and error %v, want another port than the one set aside", again, err)
	}
}

func TestPrintedConfigurationLoadsWithoutAWarning(t *testing.T) {
	var out bytes.Buffer
	cmd := newDemoCommand()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--print-config"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := (demoPlaces{demoListen, demoAdmin, simulatorAddr, "~/.ccproxy-demo"}).text(); out.String() != want {
		t.Errorf("got %s, want %s", out.String(), want)
	}
	cfg, err := demoPlaces{demoListen, demoAdmin, simulatorAddr, t.TempDir()}.load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Server.Listen != demoListen || len(cfg.Providers) != 5 || len(cfg.CCProxy.Rules) != 4 {
		t.Errorf("got %s with %d providers and %d rules, want %s, 5 and 4", cfg.Server.Listen, len(cfg.Providers), len(cfg.CCProxy.Rules), demoListen)
	}
	if _, err := newWiring(nil, demoLog(io.Discard)).snapshot(cfg); err != nil {
		t.Error(err)
	}
	if list := unserved(cfg); len(list) > 0 {
		t.Errorf("it asks for what is not served: %v", list)
	}
}

func TestLoopNeedsAGateway(t *testing.T) {
	cmd := newDemoCommand()
	cmd.SetArgs([]string{"--loop"})
	var exit *exitError
	if err := cmd.ExecuteContext(t.Context()); !errors.As(err, &exit) || exit.code != 2 {
		t.Errorf("got %v, want wrong usage", err)
	}
}
