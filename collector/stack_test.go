//go:build stack

package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/dashboards"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func TestServersTakeTheirConfigurations(t *testing.T) {
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	config := func(name string) string { return filepath.Join(here, name) }
	rules, err := filepath.Glob(config("rules/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := filepath.Glob(config("rules/tests/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	command(t, here, program(t, "otelcol"), "validate", "--config", config("otelcol.yaml"))
	command(t, here, program(t, "amtool"), "check-config", config("alertmanager.yaml"))
	command(t, here, program(t, "promtool"), "check", "config", config("prometheus.yaml"))
	command(t, here, program(t, "promtool"), append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, rules...)...)
	command(t, here, program(t, "promtool"), append([]string{"test", "rules"}, tests...)...)
}

// sender is telemetry as the gateway makes it, sent to a Collector.
func sender(t *testing.T, service, endpoint string, temporality string) *telemetry.Telemetry {
	t.Helper()
	sent, err := telemetry.Start(t.Context(), telemetry.Config{
		ServiceName: service, MetricInterval: time.Second, Temporality: temporality,
		Exporters: []telemetry.Exporter{{Endpoint: endpoint, Protocol: telemetry.ProtocolGRPC}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutDown(t, sent) })
	return sent
}

func shutDown(t *testing.T, sent *telemetry.Telemetry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := sent.Shutdown(ctx); err != nil {
		t.Errorf("telemetry was not sent: %v", err)
	}
}

// The answers of the demonstration's story, through the Collector and Prometheus that are shipped: every panel and rule asks
// for what is there.
func TestDemoFillsTheDashboards(t *testing.T) {
	sink := startSink(t)
	tempo, loki := sink.StartGRPC(), sink.StartHTTP()
	host := ownHost()
	p := startPrometheus(t, host+":8888")
	c := &collectorProcess{host: host, env: []string{"OTELCOL_HOST=" + host, "OTELCOL_STORAGE=" + t.TempDir(), "TEMPO_OTLP=" + strings.TrimPrefix(tempo, "http://"),
		"PROMETHEUS_OTLP=" + p.url + "/api/v1/otlp", "LOKI_OTLP=" + loki, "CCPROXY_KEEP_PERCENT=100"}}
	c.start(t)
	demo := launch(t, "ccproxy", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.endpoint(), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_METRIC_EXPORT_INTERVAL=1000", "OTEL_SERVICE_NAME=ccproxy-demo", "NO_COLOR=1"}, "demo")
	var gateway string
	until(t, "the demonstration does not start", 30*time.Second, func() error {
		m := regexp.MustCompile(`gateway\s+(http://\S+)`).FindStringSubmatch(demo.log.String())
		if m == nil || !strings.Contains(demo.log.String(), "curl") {
			return errors.New("its story is not told")
		}
		gateway = m[1]
		return nil
	})
	tellUntil := time.Now().Add(40 * time.Second) // some minutes, of those that are shorter here
	for stories := 0; stories < 3 || time.Now().Before(tellUntil); stories++ {
		command(t, ".", program(t, "ccproxy"), "demo", "--against", gateway)
	}

	until(t, "the counted minutes do not come", 2*time.Minute, func() error {
		truth, err := p.ask(`sum(ccproxy_cost_total{job="ccproxy-demo"})`)
		if err != nil || len(truth) != 1 || truth[0].number() == 0 {
			return fmt.Errorf("spend %v, error %v", truth, err)
		}
		counted, err := p.ask(`sum(sum_over_time(ccproxy:cost:increase1m{job="ccproxy-demo"}[10m]))`)
		if err != nil || len(counted) != 1 {
			return fmt.Errorf("minutes %v, error %v", counted, err)
		}
		if got, want := counted[0].number(), truth[0].number(); math.Abs(got-want) > 1e-9 {
			return fmt.Errorf("the minutes add up to %.9f USD, the gateway counted %.9f", got, want)
		}
		return nil
	})
	t.Run("panels", func(t *testing.T) { checkPanels(t, p) })
	t.Run("rules", func(t *testing.T) { checkRules(t, p) })
	t.Run("names", func(t *testing.T) { checkNames(t, p) })
	t.Run("exemplars", func(t *testing.T) { checkExemplars(t, p, sink) })
	t.Run("logs", func(t *testing.T) { checkLogs(t, sink) })
}

// quiet are the panels without data in the demonstration, which has no budgets, no keys, no moderation, and nothing wrong with
// it. A search is not asked here.
var quiet = regexp.MustCompile(`^(overview.json Alerts|money.json (Budgets|What is left|Used and forecast|Decisions|Alerts of the ledger|Users, sessions, tags)|health.json Moderation|routing.json Targets)$`)

// checkPanels asks what the dashboards ask.
func checkPanels(t *testing.T, p *prometheusProcess) {
	variables := strings.NewReplacer("$job", ".+", "$label", ".*", "$model", ".*", "$provider", ".*", "$team", ".*", "$by", "gen_ai_request_model",
		"$__rate_interval", "1m", "$__range", "10m", "$__interval", "2m")
	empty, asked := 0, 0
	for file, d := range dashboards.All() {
		for _, panel := range d.Panels {
			data := 0
			queries := 0
			for _, target := range panel.Targets {
				if target.Expr == "" || target.Datasource.Type != "prometheus" {
					continue
				}
				queries++
				got, err := p.ask(variables.Replace(target.Expr))
				if err != nil {
					t.Errorf("%s: %q: %v\n\t%s", file, panel.Title, err, target.Expr)
				}
				for _, s := range got {
					if v := s.number(); math.IsNaN(v) && panel.Type == "stat" {
						t.Errorf("%s: %q is no number: %s", file, panel.Title, target.Expr)
					}
				}
				data += len(got)
			}
			if queries == 0 {
				continue
			}
			asked++
			switch isQuiet := quiet.MatchString(file + " " + panel.Title); {
			case data == 0 && !isQuiet:
				empty++
				t.Errorf("%s: %q has no data", file, panel.Title)
			case data > 0 && isQuiet:
				t.Logf("%s: %q has data, and need not be expected to be quiet any more", file, panel.Title)
			}
		}
	}
	if asked < 50 {
		t.Errorf("%d panels asked, want more", asked)
	}
	t.Logf("%d panels asked, %d without data", asked, empty)
}

// checkRules finds no rule that fails to evaluate.
func checkRules(t *testing.T, p *prometheusProcess) {
	body, err := get(p.url + "/api/v1/rules")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError, Type, State string }
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health == "err" || r.LastError != "" {
				t.Errorf("rule %s: %s %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if n < 60 {
		t.Errorf("%d rules, want more", n)
	}
}

// checkNames holds the spelling of Known against Prometheus' own.
func checkNames(t *testing.T, p *prometheusProcess) {
	known, err := Known(allRules(t, "anchored")...)
	if err != nil {
		t.Fatal(err)
	}
	found, err := p.ask(`count by (__name__) ({job="ccproxy-demo", __name__=~"(ccproxy|gen_ai|http|process|traces_spanmetrics)_.+"})`)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 60 {
		t.Errorf("%d series of the gateway, want more", len(found))
	}
	for _, s := range found {
		name := s.Metric["__name__"]
		labels, ok := known[name]
		if !ok {
			t.Errorf("series %s is not known", name)
			continue
		}
		series, err := p.ask(name + `{job="ccproxy-demo"}`)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range series {
			for label := range one.Metric {
				if label != "__name__" && !slices.Contains(labels, label) {
					t.Errorf("series %s has the label %s, which is not known", name, label)
				}
			}
		}
	}
}

// checkExemplars follows exemplars, as a click on a dot would, to traces that were sent to Tempo.
func checkExemplars(t *testing.T, p *prometheusProcess, sink *gatewaytest.Sink) {
	traces := map[string]bool{}
	for _, s := range sink.Spans() {
		traces[s.TraceID] = true
	}
	for _, name := range []string{"ccproxy_request_cost_bucket", "ccproxy_request_duration_seconds_bucket", "ccproxy_request_overhead_seconds_bucket", "gen_ai_client_inference_time_to_first_chunk_seconds_bucket", "gen_ai_client_inference_time_per_output_chunk_seconds_bucket"} {
		now := time.Now()
		body, err := get(fmt.Sprintf("%s/api/v1/query_exemplars?query=%s&start=%d&end=%d", p.url, url.QueryEscape(name), now.Add(-time.Hour).Unix(), now.Unix()+1))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Data []struct {
				Exemplars []struct{ Labels map[string]string }
			}
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, series := range answer.Data {
			for _, e := range series.Exemplars {
				n++
				if id := e.Labels["trace_id"]; !traces[id] {
					t.Errorf("%s: an exemplar leads to trace %s, which Tempo has not", name, id)
				}
			}
		}
		if n == 0 {
			t.Errorf("%s has no exemplars", name)
		}
	}
}

// checkLogs finds the event's name as an attribute, which is how Loki is asked for it.
func checkLogs(t *testing.T, sink *gatewaytest.Sink) {
	seen := map[string]int{}
	for _, r := range sink.Logs() {
		if r.EventName == "" {
			continue
		}
		seen[r.EventName]++
		if r.Attributes["event"] != r.EventName || r.TraceID == "" {
			t.Errorf("event %s has attribute event = %v and trace %q", r.EventName, r.Attributes["event"], r.TraceID)
		}
	}
	for _, event := range []string{names.EventRouting, names.EventSuccess, names.EventFailure, names.EventFallback, names.EventStreamComplete} {
		if seen[event] == 0 {
			t.Errorf("no event %s came: %v", event, seen)
		}
	}
}

// Known spend, a label's first and only charge included, comes out of the overview's own query to the cent.
func TestKnownSpendIsShownToTheCent(t *testing.T) {
	host := ownHost()
	p := startPrometheus(t, host+":8888")
	c := &collectorProcess{host: host, env: []string{"OTELCOL_HOST=" + host, "OTELCOL_STORAGE=" + t.TempDir(), "TEMPO_OTLP=127.0.0.1:1", "PROMETHEUS_OTLP=" + p.url + "/api/v1/otlp", "LOKI_OTLP=http://127.0.0.1:1"}}
	c.start(t)
	sent := sender(t, "known", c.endpoint(), "")
	cost, err := sent.MeterProvider().Meter("test").Float64Counter(names.MetricCost, metric.WithUnit("{USD}"))
	if err != nil {
		t.Fatal(err)
	}
	charge := func(usd float64, label string) {
		cost.Add(t.Context(), usd, metric.WithAttributes(names.KeyLabel.String(label), names.KeyGenAIRequestModel.String("m"), names.KeyGenAIProviderName.String("p")))
	}
	want := 0.0
	tick := time.NewTicker(1300 * time.Millisecond) // beside the second of exports and the minutes of rules
	defer tick.Stop()
	for i := range 20 {
		usd := 0.01 * float64(i%7+1)
		charge(usd, "default")
		want += usd
		<-tick.C
		if i == 8 {
			charge(7, "once")
			want += 7
		}
	}
	query := ""
	for _, panel := range dashboards.All()["overview.json"].Panels {
		if panel.Title == "Spend" {
			query = strings.NewReplacer("$job", "known", "$label", ".*", "$model", ".*", "$provider", ".*", "$team", ".*", "$__range", "10m").Replace(panel.Targets[0].Expr)
		}
	}
	until(t, "the spend is not shown", time.Minute, func() error {
		got, err := p.ask(query)
		if err != nil || len(got) != 1 || math.Abs(got[0].number()-want) >= 0.005 {
			return fmt.Errorf("%s: got %v, error %v, want %.2f", query, got, err, want)
		}
		return nil
	})
	once, err := p.ask(`sum(sum_over_time(ccproxy:cost:increase1m{job="known", ccproxy_label="once"}[10m]))`)
	if err != nil || len(once) != 1 || math.Abs(once[0].number()-7) > 1e-9 {
		t.Errorf("the one charge of a label: got %v, error %v, want 7", once, err)
	}
}

// Secrets and content that other programs send stay in the Collector, as does what Prometheus would refuse.
func TestCollectorRedactsAndConverts(t *testing.T) {
	sink := startSink(t)
	grpc, http := sink.StartGRPC(), sink.StartHTTP()
	c := startCollector(t, grpc, http, http)
	sent := sender(t, "agent", c.endpoint(), "delta")
	key := "sk-ant-" + strings.Repeat("a1", 20)
	ctx, span := sent.TracerProvider().Tracer("test").Start(t.Context(), "tool", trace.WithAttributes(
		attribute.String("http.request.header.authorization", "Basic dXNlcjpwYXNz"), attribute.String("note", "the key is "+key+"."),
		attribute.String("gen_ai.prompt.0.content", "a secret plan"), attribute.String("gen_ai.input.messages", "[]"),
		attribute.String("user.email", "a@example.com"), attribute.Int("gen_ai.usage.input_tokens", 7), attribute.String("ccproxy.label", "default")))
	var record log.Record
	record.SetTimestamp(time.Now())
	record.SetBody(attribute.StringValue("called with " + key))
	record.AddAttributes(attribute.String("api_key", "whatever"), attribute.String("prompt_id", "p1"))
	record.SetEventName("tool_result")
	sent.LoggerProvider().Logger("test").Emit(ctx, record)
	counter, err := sent.MeterProvider().Meter("test").Int64Counter("agent.calls")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 2)
	span.SetStatus(codes.Error, "kept whatever the ratio")
	span.End()

	wctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = errors.Join(sink.WaitSpans(wctx, func(s []gatewaytest.Span) bool { return len(s) > 0 }),
		sink.WaitLogs(wctx, func(l []gatewaytest.LogRecord) bool { return len(l) > 0 }),
		sink.WaitMetrics(wctx, func([]gatewaytest.Metric) bool { _, ok := sink.Metric("agent.calls"); return ok }))
	if err != nil {
		t.Fatal(err)
	}
	got := sink.Spans()[0].Attributes
	for name, want := range map[string]any{"http.request.header.authorization": "****", "note": "the key is ****.", "user.email": "****",
		"gen_ai.prompt.0.content": nil, "gen_ai.input.messages": nil, "gen_ai.usage.input_tokens": int64(7), "ccproxy.label": "default"} {
		if got[name] != want {
			t.Errorf("attribute %s: got %v, want %v", name, got[name], want)
		}
	}
	line := sink.Logs()[0]
	if line.Body != "called with ****" || line.Attributes["api_key"] != "****" || line.Attributes["prompt_id"] != "p1" || line.Attributes["event"] != "tool_result" {
		t.Errorf("log: got body %v, attributes %v", line.Body, line.Attributes)
	}
	if m, _ := sink.Metric("agent.calls"); m.Temporality != "cumulative" || m.Points[0].Value != 2 {
		t.Errorf("a delta counter became %+v", m)
	}
	if raw := string(sink.Raw()); strings.Contains(raw, key) || strings.Contains(raw, "dXNlcjpwYXNz") || strings.Contains(raw, "secret plan") {
		t.Error("a secret left the Collector")
	}
}

// A trace that tells of something is kept; of the others, with nothing granted to them, hardly any.
func TestSamplingKeepsWhatMatters(t *testing.T) {
	sink := startSink(t)
	c := startCollector(t, sink.StartGRPC(), "", "", "CCPROXY_KEEP_PERCENT=0", "CCPROXY_KEEP_SPANS_PER_SECOND=1")
	sent := sender(t, "ccproxy", c.endpoint(), "")
	tracer := sent.TracerProvider().Tracer("test")
	matters := map[string][]attribute.KeyValue{
		"failed":    {names.KeyOutcome.String(names.OutcomeFailed)},
		"fallback":  {names.KeyFallbacks.Int(1)},
		"blocked":   {names.KeyModerationVerdict.String("block")},
		"denied":    {names.KeyBudgetDecision.String("deny")},
		"expensive": {names.KeyCost.Float64(0.3)},
		"late":      {names.KeyGenAIResponseTimeToFirstChunk.Float64(12)},
		"error":     nil,
		"slow":      nil,
	}
	emit := func(name string, took time.Duration, attrs ...attribute.KeyValue) string {
		end := time.Now()
		ctx, root := tracer.Start(t.Context(), name, trace.WithTimestamp(end.Add(-took)), trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot())
		_, child := tracer.Start(ctx, "child", trace.WithAttributes(attrs...))
		if name == "error" {
			child.SetStatus(codes.Error, "")
		}
		child.End()
		root.End(trace.WithTimestamp(end))
		return root.SpanContext().TraceID().String()
	}
	kept := map[string]string{}
	for name, attrs := range matters {
		took := time.Second
		if name == "slow" {
			took = 90 * time.Second
		}
		kept[emit(name, took, attrs...)] = name
	}
	plain := map[string]bool{}
	for range 300 {
		plain[emit("plain", time.Second, names.KeyCost.Float64(0.01), names.KeyOutcome.String(names.OutcomeCompleted), names.KeyFallbacks.Int(0))] = true
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := sink.WaitSpans(ctx, func(spans []gatewaytest.Span) bool {
		for id := range kept {
			if !slices.ContainsFunc(spans, func(s gatewaytest.Span) bool { return s.TraceID == id && s.ParentID == "" }) {
				return false
			}
		}
		return true
	})
	if err != nil {
		for id, name := range kept {
			if !slices.ContainsFunc(sink.Spans(), func(s gatewaytest.Span) bool { return s.TraceID == id }) {
				t.Errorf("trace %q was dropped", name)
			}
		}
	}
	others := map[string]bool{}
	for _, s := range sink.Spans() {
		if plain[s.TraceID] {
			others[s.TraceID] = true
		}
	}
	if len(others) > 10 {
		t.Errorf("%d of 300 traces that tell of nothing were kept", len(others))
	}
}

// A small installation's every trace is kept, though the ratio is a tenth.
func TestSamplingKeepsAllOfLittle(t *testing.T) {
	sink := startSink(t)
	c := startCollector(t, sink.StartGRPC(), "", "", "CCPROXY_KEEP_PERCENT=10")
	sent := sender(t, "ccproxy", c.endpoint(), "")
	tracer := sent.TracerProvider().Tracer("test")
	for range 12 {
		_, span := tracer.Start(t.Context(), "plain", trace.WithNewRoot())
		span.End()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := sink.WaitSpans(ctx, func(s []gatewaytest.Span) bool { return len(s) == 12 }); err != nil {
		t.Errorf("%d of 12 traces came: %v", len(sink.Spans()), err)
	}
}

// What the Collector has accepted outlives it, killed with its store away.
func TestQueueOutlivesTheCollector(t *testing.T) {
	sink := startSink(t)
	c := startCollector(t, "", "", "")
	sent := sender(t, "ccproxy", c.endpoint(), "")
	tracer, logger := sent.TracerProvider().Tracer("test"), sent.LoggerProvider().Logger("test")
	for range 50 {
		ctx, span := tracer.Start(t.Context(), "kept", trace.WithNewRoot())
		var r log.Record
		r.SetTimestamp(time.Now())
		r.SetBody(attribute.StringValue("kept"))
		logger.Emit(ctx, r)
		span.SetStatus(codes.Error, "")
		span.End()
	}
	queued := regexp.MustCompile(`(?m)^otelcol_exporter_queue_size\{.*exporter="(otlp_grpc/tempo|otlp_http/loki)".*\} ([0-9.e+]+)$`)
	until(t, "nothing is queued", time.Minute, func() error {
		body, err := get("http://" + c.host + ":8888/metrics")
		if err != nil {
			return err
		}
		full := map[string]bool{}
		for _, m := range queued.FindAllStringSubmatch(string(body), -1) {
			if m[2] != "0" {
				full[m[1]] = true
			}
		}
		if len(full) < 2 {
			return fmt.Errorf("queues with something in them: %v", full)
		}
		return nil
	})
	c.end(syscall.SIGKILL)
	c.start(t, "TEMPO_OTLP="+strings.TrimPrefix(sink.StartGRPC(), "http://"), "LOKI_OTLP="+sink.StartHTTP())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := errors.Join(sink.WaitSpans(ctx, func(s []gatewaytest.Span) bool { return len(s) >= 50 }), sink.WaitLogs(ctx, func(l []gatewaytest.LogRecord) bool { return len(l) >= 50 }))
	if err != nil {
		t.Errorf("%d spans and %d records came of 50: %v", len(sink.Spans()), len(sink.Logs()), err)
	}
}
