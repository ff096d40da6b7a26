package console

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/goleak"

	"github.com/ccproxy/ccproxy/telemetry/names"
	"github.com/ccproxy/ccproxy/telemetry/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask sends a request with the token, and decodes the answer into out; nil: it is dropped.
func (r *rig) ask(t testing.TB, method, path string, out any) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	resp, err := r.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil && resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, out); err != nil {
			t.Fatalf("%s: %v in %s", path, err, body)
		}
	}
	return resp
}

type listAnswer struct {
	Requests []row `json:"requests"`
	Next     int64 `json:"next"`
	Last     int64 `json:"last"`
}

func TestRequestsAreListedByPages(t *testing.T) {
	r := newRig(t)
	r.playDay(120)
	r.settle(t)
	seen, before := 0, ""
	for {
		var a listAnswer
		r.ask(t, "GET", "/api/requests?limit=50"+before, &a)
		seen += len(a.Requests)
		if a.Last != 120 {
			t.Errorf("got last %d, want 120", a.Last)
		}
		if a.Next == 0 {
			break
		}
		before = fmt.Sprintf("&before=%d", a.Next)
	}
	if seen != 120 {
		t.Errorf("got %d requests, want 120", seen)
	}
}

func TestFiltersReachTheStore(t *testing.T) {
	r := newRig(t)
	r.playDay(120)
	r.settle(t)
	for query, check := range map[string]func(row) bool{
		"label=think":                          func(x row) bool { return x.Label == "think" },
		"model=claude-haiku-4-5":               func(x row) bool { return x.Routed == "claude-haiku-4-5" },
		"provider=openai":                      func(x row) bool { return x.Provider == "openai" },
		"team=research&key=key-0":              func(x row) bool { return x.Team == "research" && x.Key == "key-0" },
		"outcome=failed&outcome=rejected":      func(x row) bool { return x.Outcome == "failed" || x.Outcome == "rejected" },
		"outcome=problem":                      func(x row) bool { return x.Outcome != "completed" },
		"min_cost=0.01":                        func(x row) bool { return x.Cost != nil && *x.Cost >= 0.01 },
		"min_duration_ms=3000":                 func(x row) bool { return x.DurationMS >= 3000 },
		"max_duration_ms=1000":                 func(x row) bool { return x.DurationMS <= 1000 },
		"q=session-03":                         func(x row) bool { return x.Session == "session-03" },
		"session=session-02&outcome=completed": func(x row) bool { return x.Session == "session-02" },
	} {
		var all, a listAnswer
		r.ask(t, "GET", "/api/requests?limit=500", &all)
		r.ask(t, "GET", "/api/requests?limit=500&"+query, &a)
		if len(a.Requests) == 0 || len(a.Requests) == len(all.Requests) {
			t.Errorf("%s: got %d of %d requests, want some", query, len(a.Requests), len(all.Requests))
		}
		for _, x := range a.Requests {
			if !check(x) {
				t.Errorf("%s: got %+v", query, x)
			}
		}
	}
}

func TestMistakesInQueriesAreRefused(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{
		"/api/requests?limit=0", "/api/requests?limit=x", "/api/requests?min_cost=-1", "/api/requests?min_cost=NaN", "/api/requests?since=yesterday", "/api/requests?colour=red", "/api/requests?label=a&label=b",
		"/api/money?by=colour", "/api/money?window=1y", "/api/values?x=1", "/api/health?x=1", "/api/requests/live?after=x", "/api/traces?limit=-1", "/api/traces?tags=x", "/api/traces?minDuration=soon",
	} {
		if resp := r.ask(t, "GET", path, nil); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: got %s, want 400", path, resp.Status)
		}
	}
	if resp := r.ask(t, "GET", "/api/requests/0123456789abcdef", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %s, want 404", resp.Status)
	}
}

func TestTraceTellsWhatHappened(t *testing.T) {
	r := newRig(t)
	s := plainScene(3, time.Now())
	s.failFirst, s.stream, s.original, s.routed, s.baseline = "rate_limit_exceeded", true, "claude-opus-5", "claude-sonnet-5", 2.5
	id := r.play(s)
	r.settle(t)
	var v traceView
	r.ask(t, "GET", "/api/requests/"+id.String(), &v)
	if len(v.Exchanges) != 1 || v.URL != "http://127.0.0.1:3000/explore?trace="+id.String() {
		t.Fatalf("got %+v", v)
	}
	x := v.Exchanges[0]
	words := strings.Join(x.Story.Decision, "\n")
	for _, want := range []string{"Labelled “think”, because rule “think” matched.", "in place of claude-opus-5", "Attempt 1 at anthropic/claude-opus-5 failed", "after 1 fallback", "not effective: another target had to answer", "(60 %) against claude-opus-5"} {
		if !strings.Contains(words, want) {
			t.Errorf("the story lacks %q:\n%s", want, words)
		}
	}
	sum := 0.0
	for _, c := range x.Story.Cost {
		sum += c.Cost
		if c.Tokens != nil && c.PerMillion != nil && math.Abs(float64(*c.Tokens)**c.PerMillion/1e6-c.Cost) > 1e-9 {
			t.Errorf("%d × %v is not %v", *c.Tokens, *c.PerMillion, c.Cost)
		}
	}
	if x.Request.Cost == nil || math.Abs(sum-*x.Request.Cost) > 1e-9 {
		t.Errorf("the terms are %v, the cost is %v", sum, x.Request.Cost)
	}
	if len(x.Story.Marks) != 3 || x.Story.Marks[1].Name != "first token" {
		t.Errorf("got marks %+v", x.Story.Marks)
	}
	phases, linked := map[string]int{}, 0
	for i, s := range x.Spans {
		phases[s.Phase]++
		if i > 0 && s.Depth == 0 || s.Offset < 0 {
			t.Errorf("span %s at depth %d, offset %v", s.Name, s.Depth, s.Offset)
		}
		for _, l := range s.Links {
			linked++
			if l.Name != "chat claude-opus-5" {
				t.Errorf("got a link to %q", l.Name)
			}
		}
	}
	if phases["server"] != 1 || phases["upstream"] != 2 || phases["http"] != 2 || phases["pre_api"] != 2 || phases["stream"] != 1 || phases["post_api"] != 1 || linked != 1 {
		t.Errorf("got phases %v and %d links", phases, linked)
	}
}

func TestStoryKnowsEveryEnding(t *testing.T) {
	for _, outcome := range names.Outcomes {
		for _, reason := range append([]string{""}, names.RouteReasons...) {
			s := Tell(&store.Trace{Exchange: store.Exchange{Outcome: outcome, Reason: reason, Label: "l", Routed: "m", Attempts: 1}})
			if len(s.Decision) < 2 || strings.Contains(strings.Join(s.Decision, " "), "%!") {
				t.Errorf("%s, %s: got %q", outcome, reason, s.Decision)
			}
		}
	}
	for _, reason := range names.RoutingReasons {
		if reasonWords(reason) == "" {
			t.Errorf("%s: no words", reason)
		}
	}
}

func TestContentIsText(t *testing.T) {
	r := newRig(t)
	s := plainScene(0, time.Now())
	s.attributes = []attribute.KeyValue{names.KeyGenAIInputMessages.String(`[{"role":"user","parts":"<b>hi</b>"}]`)}
	id := r.play(s)
	r.settle(t)
	var v traceView
	r.ask(t, "GET", "/api/requests/"+id.String(), &v)
	if c := v.Exchanges[0].Story.Content; len(c) != 1 || c[0].Text != `[{"role":"user","parts":"<b>hi</b>"}]` {
		t.Errorf("got %+v", c)
	}
}

func TestOTLPDownloadIsWhatCollectorsTake(t *testing.T) {
	r := newRig(t)
	id := r.play(plainScene(1, time.Now()))
	r.settle(t)
	var v otlpTraces
	resp := r.ask(t, "GET", "/api/requests/"+id.String()+"/otlp", &v)
	if got := resp.Header.Get("Content-Disposition"); got != `attachment; filename="trace-`+id.String()+`.json"` {
		t.Errorf("got %q", got)
	}
	n := 0
	for _, s := range v.ResourceSpans[0].ScopeSpans {
		for _, span := range s.Spans {
			n++
			if span.TraceID != id.String() || len(span.SpanID) != 16 || span.Start == "" || span.End < span.Start {
				t.Errorf("got %+v", span)
			}
		}
	}
	if n != 7 {
		t.Errorf("got %d spans, want 7", n)
	}
}

func TestMoneyAddsUp(t *testing.T) {
	r := newRig(t)
	r.playDay(200)
	r.settle(t)
	for _, by := range store.SpendDimensions {
		for _, w := range []string{"1h", "24h", "7d", "30d"} {
			var v moneyView
			r.ask(t, "GET", "/api/money?by="+by+"&window="+w, &v)
			sum, points := 0.0, 0.0
			for _, s := range v.Series {
				sum += s.Cost
				for _, p := range s.Points {
					points += p
				}
			}
			if math.Abs(sum-v.Total.Cost) > 1e-9 || math.Abs(points-v.Total.Cost) > 1e-9 {
				t.Errorf("by %s in %s: got %v by series, %v by time, want %v", by, w, sum, points, v.Total.Cost)
			}
			if len(v.Budgets) != 4 || len(v.Alerts) != 2 || v.Source != recentSource || len(v.Series) > moneySeries {
				t.Errorf("by %s in %s: got %+v", by, w, v)
			}
		}
	}
}

func TestHealthSaysHowTargetsFare(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	for i := range 40 {
		r.play(plainScene(i, now.Add(-time.Minute)))
	}
	r.settle(t)
	var v struct {
		Health
		Recent   []targetStats `json:"recent"`
		Overhead overheadView  `json:"overhead"`
		Store    store.Status  `json:"store"`
	}
	r.ask(t, "GET", "/api/health", &v)
	n := 0
	for _, s := range v.Recent {
		n += s.Requests
		if s.P50 <= 0 || s.P95 < s.P50 {
			t.Errorf("got %+v", s)
		}
	}
	if n != 38 || v.Overhead.Requests != 40 || v.Overhead.P50 != 0.43 || v.Store.Exchanges != 40 || v.Version != "1.0.0" || len(v.Exporters) != 2 {
		t.Errorf("got %d requests at targets, %+v", n, v)
	}
}

func TestLiveListSendsWhatEnds(t *testing.T) {
	r := newRig(t)
	r.play(plainScene(0, time.Now()))
	r.settle(t)
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.server.URL+"/api/requests/live?after=1&label=think", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	resp, err := r.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("got %q", got)
	}
	r.play(plainScene(2, time.Now())) // another label
	r.play(plainScene(3, time.Now()))
	lines := bufio.NewScanner(resp.Body)
	id := ""
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = v
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var a listAnswer
		if err := json.Unmarshal([]byte(data), &a); err != nil {
			t.Fatal(err)
		}
		if len(a.Requests) != 1 || a.Requests[0].Label != "think" || id != "3" {
			t.Errorf("got %+v with id %s", a, id)
		}
		return
	}
	t.Error("the list ended")
}

func TestLiveListsAreBounded(t *testing.T) {
	r := newRig(t)
	r.console.streams.Store(maxStreams)
	if resp := r.ask(t, "GET", "/api/requests/live", nil); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s, want 503", resp.Status)
	}
}

func TestJaegerShapes(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	for i := range 30 {
		r.play(plainScene(i, now.Add(-time.Minute)))
	}
	s := plainScene(3, now)
	s.failFirst = "rate_limit_exceeded"
	id := r.play(s)
	r.settle(t)
	var services struct{ Data []string }
	r.ask(t, "GET", "/api/services", &services)
	if len(services.Data) != 1 || services.Data[0] != "ccproxy" {
		t.Errorf("got %v", services.Data)
	}
	var operations struct{ Data []string }
	r.ask(t, "GET", "/api/services/ccproxy/operations", &operations)
	if !strings.Contains(strings.Join(operations.Data, " "), "POST /v1/messages") {
		t.Errorf("got %v", operations.Data)
	}
	var kinds struct{ Data []jaegerOperation }
	r.ask(t, "GET", "/api/operations?service=ccproxy&spanKind=server", &kinds)
	if len(kinds.Data) != 1 || kinds.Data[0] != (jaegerOperation{"POST /v1/messages", "server"}) {
		t.Errorf("got %v", kinds.Data)
	}
	var one struct{ Data []jaegerTrace }
	r.ask(t, "GET", "/api/traces/"+id.String(), &one)
	if len(one.Data) != 1 || one.Data[0].TraceID != id.String() || one.Data[0].Processes["p1"].ServiceName != "ccproxy" {
		t.Fatalf("got %+v", one)
	}
	roots, follows := 0, 0
	for _, s := range one.Data[0].Spans {
		if s.TraceID != id.String() || s.ProcessID != "p1" || s.StartTime < now.Add(-time.Hour).UnixMicro() || s.Duration < 0 {
			t.Errorf("got %+v", s)
		}
		child := false
		for _, ref := range s.References {
			child = child || ref.RefType == "CHILD_OF"
			if ref.RefType == "FOLLOWS_FROM" {
				follows++
			}
		}
		if !child {
			roots++
		}
	}
	if roots != 1 || follows != 1 {
		t.Errorf("got %d roots and %d links, want 1 each", roots, follows)
	}
	for query, want := range map[string]int{
		"service=ccproxy&limit=7": 7, "service=other": 0, "service=ccproxy&limit=200": 31, "operation=POST+%2Fv1%2Fmessages&limit=100": 31, "operation=nope": 0,
		"limit=100&minDuration=100s": 0, "limit=100&tags=" + url.QueryEscape(`{"ccproxy.label":"background"}`): 4, "limit=100&tags=" + url.QueryEscape(`{"error":"true"}`): 3,
		"limit=100&tag=ccproxy.attempt.number:2": 2, fmt.Sprintf("limit=100&start=%d", now.Add(-time.Second).UnixMicro()): 1, "traceID=" + id.String(): 1,
	} {
		var v struct{ Data []jaegerTrace }
		r.ask(t, "GET", "/api/traces?"+query, &v)
		if len(v.Data) != want {
			t.Errorf("%s: got %d traces, want %d", query, len(v.Data), want)
		}
	}
	if resp := r.ask(t, "GET", "/api/traces/"+strings.Repeat("a", 32), nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %s, want 404: Grafana takes an empty list for a trace", resp.Status)
	}
}

func TestEveryRouteIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("API.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range newRig(t).console.Routes() {
		if strings.Contains(pattern, "/api/") && !strings.Contains(string(doc), "`"+pattern+"`") {
			t.Errorf("API.md lacks %s", pattern)
		}
	}
}

func TestUselessConfigurationsAreRefused(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, cfg := range map[string]Config{
		"no store": {}, "a script as link": {Store: s, Links: []Link{{"x", "javascript:alert(1)"}}}, "a script as trace": {Store: s, TraceURL: "javascript:alert('{trace_id}')"}, "a file": {Store: s, TraceURL: "file:///etc/passwd"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
