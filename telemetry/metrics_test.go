package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func metricNamed(s *sink, name string) *metricspb.Metric {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rm := range slices.Backward(s.metrics) {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				if m.Name == name {
					return m
				}
			}
		}
	}
	return nil
}

func TestHistogramsHaveTheContractsBoundariesAndExemplars(t *testing.T) {
	s := newSink(t)
	tel := start(t, Config{Exporters: []Exporter{{Name: "sink", Endpoint: s.grpcAddr}}})
	ctx, span := tel.TracerProvider().Tracer("t").Start(t.Context(), "s")
	meter := tel.MeterProvider().Meter("anyone")
	for _, m := range names.Metrics {
		if m.Kind == names.Histogram {
			h, _ := meter.Float64Histogram(m.Name, metric.WithUnit(m.Unit))
			h.Record(ctx, 1)
		}
	}
	size, _ := meter.Int64Histogram("http.server.request.body.size")
	size.Record(ctx, 1)
	span.End()
	shutdown(t, tel)
	for _, m := range names.Metrics {
		if m.Kind != names.Histogram {
			continue
		}
		got := metricNamed(s, m.Name)
		if got == nil {
			t.Errorf("%s did not arrive", m.Name)
			continue
		}
		point := got.GetHistogram().DataPoints[0]
		if !slices.Equal(point.ExplicitBounds, m.Boundaries) {
			t.Errorf("%s: got boundaries %v, want %v", m.Name, point.ExplicitBounds, m.Boundaries)
		}
		if len(point.Exemplars) != 1 || fmt.Sprintf("%x", point.Exemplars[0].TraceId) != span.SpanContext().TraceID().String() {
			t.Errorf("%s: got exemplars %v, want the span's trace", m.Name, point.Exemplars)
		}
		if got.GetHistogram().AggregationTemporality != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE {
			t.Errorf("%s is not cumulative", m.Name)
		}
	}
	if metricNamed(s, "http.server.request.body.size") != nil {
		t.Error("body sizes are exported, which the contract does not have")
	}
	for _, name := range []string{"go.goroutine.count", names.MetricProcessCPUTime, names.MetricTelemetryDropped, names.MetricTelemetryQueueBytes} {
		if metricNamed(s, name) == nil {
			t.Errorf("%s did not arrive", name)
		}
	}
}

func TestO12HostileValuesMakeAtMostTwoThousandSeries(t *testing.T) {
	s := newSink(t)
	tel := start(t, Config{Exporters: []Exporter{{Name: "sink", Endpoint: s.grpcAddr, Signals: []Signal{Metrics}}}})
	counter, _ := tel.MeterProvider().Meter("t").Int64Counter("hostile")
	for i := range 100_000 {
		counter.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("model", i)))
	}
	shutdown(t, tel)
	points := metricNamed(s, "hostile").GetSum().DataPoints
	var sum int64
	for _, p := range points {
		sum += p.GetAsInt()
	}
	if len(points) > seriesLimit || sum != 100_000 {
		t.Errorf("got %d series adding up to %d, want at most %d and 100000", len(points), sum, seriesLimit)
	}
}

func TestEachSeriesStartsWhenItBegan(t *testing.T) {
	s := newSink(t)
	tel := start(t, Config{Exporters: []Exporter{{Name: "sink", Endpoint: s.grpcAddr, Signals: []Signal{Metrics}}}})
	counter, _ := tel.MeterProvider().Meter("t").Int64Counter("c")
	counter.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("n", 1)))
	between := time.Now()
	counter.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("n", 2)))
	shutdown(t, tel)
	for _, p := range metricNamed(s, "c").GetSum().DataPoints {
		late := p.Attributes[0].Value.GetIntValue() == 2
		if began := time.Unix(0, int64(p.StartTimeUnixNano)); began.Before(between) == late {
			t.Errorf("series %d starts at %v, the second began after %v", p.Attributes[0].Value.GetIntValue(), began, between)
		}
	}
}

func TestDeltaLossesAreCounted(t *testing.T) {
	for temporality, wantLoss := range map[string]bool{"delta": true, "cumulative": false} {
		tel := start(t, Config{Temporality: temporality, Exporters: []Exporter{{Name: "down", Endpoint: refused(t), Signals: []Signal{Metrics}}}})
		counter, _ := tel.MeterProvider().Meter("t").Int64Counter("c")
		counter.Add(t.Context(), 1)
		_ = tel.Shutdown(t.Context())
		if got := tel.Status()[0]; (got.Dropped[names.DropExportFailed] > 0) != wantLoss || got.LastError == "" {
			t.Errorf("%s: got %+v", temporality, got)
		}
	}
}

func scrape(t *testing.T, tel *Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	tel.PrometheusHandler().ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("got %d, %v: %s", w.Code, err, body)
	}
	return string(body)
}

func TestPrometheusSpellsNamesAsTheContractSays(t *testing.T) {
	tel := start(t, Config{SpanProcessors: []sdktrace.SpanProcessor{&endedSpan{}}})
	ctx, span := tel.TracerProvider().Tracer("t").Start(t.Context(), "s")
	defer span.End()
	meter := tel.MeterProvider().Meter(names.ScopeGateway)
	cost, _ := meter.Float64Counter(names.MetricCost, metric.WithUnit("{USD}"))
	cost.Add(ctx, 0.25)
	use, _ := meter.Float64Gauge(names.MetricBudgetUtilization, metric.WithUnit("1"))
	use.Record(ctx, 0.5)
	took, _ := meter.Float64Histogram(names.MetricRequestDuration, metric.WithUnit("s"))
	took.Record(ctx, 200)
	body := scrape(t, tel)
	for _, want := range []string{"ccproxy_cost_total{", "ccproxy_budget_utilization_ratio{", `ccproxy_request_duration_seconds_bucket{`, `le="163.84"`, "trace_id=\"" + span.SpanContext().TraceID().String()} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in:\n%s", want, body)
		}
	}
}

func TestPrometheusSpellsBudgetsAsTheContractSays(t *testing.T) {
	tel := start(t, Config{})
	if _, err := RegisterBudgets(tel.MeterProvider(), BudgetGauges{Statuses: func(yield func(budget.Status) bool) {
		key := &budget.Budget{Name: "each-key", Scope: "key", Match: "*", Window: "day", Limit: gateway.Some(gateway.NanoUSD(4e9))}
		user := &budget.Budget{Name: "users", Scope: "user", Match: "*", Window: "day"}
		_ = yield(budget.Status{Budget: key, Subject: "laptop", Spent: 1e9, Reserved: 1e9, Resets: time.Now().Add(time.Hour), Forecast: gateway.Some(gateway.NanoUSD(3e9))}) &&
			yield(budget.Status{Budget: user, Subject: "u", State: names.BudgetStateWarn})
	}}); err != nil {
		t.Fatal(err)
	}
	rec, err := NewRecorder(RecorderConfig{MeterProvider: tel.MeterProvider()})
	if err != nil {
		t.Fatal(err)
	}
	rec.BudgetAlert(t.Context(), budget.Alert{Type: names.AlertReset, Budget: "each-key"})
	rec.recordDecision(t.Context(), "each-key", names.BudgetDecisionDeny)
	rec.in.budgetOvershoot.Add(t.Context(), 0.5, rec.in.budget.of(labels{"each-key"}).add...)
	rec.in.lookups.Add(t.Context(), 1, rec.in.lookup.of(labels{names.PriceStatusExact}).add...)
	rec.in.requestCost.Record(t.Context(), 0.3)
	body := scrape(t, tel)
	for _, want := range []string{
		`ccproxy_budget_limit{`, `ccproxy_budget_spent{`, `ccproxy_budget_reserved{`, `ccproxy_budget_remaining{`, `ccproxy_budget_utilization_ratio{`,
		`ccproxy_budget_reset_seconds{`, `ccproxy_budget_forecast{`, `ccproxy_budget_subjects{`, `ccproxy_budget_decisions_total{`,
		`ccproxy_budget_alerts_total{`, `ccproxy_budget_overshoot_total{`, `ccproxy_price_lookups_total{`, `ccproxy_request_cost_bucket{`,
		`ccproxy_budget_name="each-key"`, `ccproxy_budget_scope="key"`, `ccproxy_budget_subject="laptop"`, `ccproxy_budget_window="day"`,
		`ccproxy_budget_state="warn"`, `ccproxy_budget_decision="deny"`, `ccproxy_budget_alert_type="reset"`, `le="0.25"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in:\n%s", want, body)
		}
	}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "ccproxy_budget_utilization_ratio{") && !strings.HasSuffix(line, " 0.5\n") {
			t.Errorf("got %s, want a half", line)
		}
	}
}

// counting is a gatherer that counts.
type counting struct{ n int }

func (c *counting) Gather() ([]*dto.MetricFamily, error) { c.n++; return nil, nil }

var _ prometheus.Gatherer = (*counting)(nil)

func TestO16ScrapesAreCollectedAtMostOnceASecond(t *testing.T) {
	c := &counting{}
	g := &cachedGatherer{gatherer: c}
	for range 100 {
		if _, err := g.Gather(); err != nil {
			t.Fatal(err)
		}
	}
	if c.n != 1 {
		t.Errorf("collected %d times for 100 scrapes, want once", c.n)
	}
	g.at = g.at.Add(-scrapeCache)
	_, _ = g.Gather()
	if c.n != 2 {
		t.Errorf("collected %d times, want again after a second", c.n)
	}
}

func TestDisabledDoesNothingAndStillAnswers(t *testing.T) {
	tel := start(t, Config{Disabled: true, Exporters: []Exporter{{Endpoint: refused(t)}}})
	makeSpans(tel, 3)
	counter, _ := tel.MeterProvider().Meter("t").Int64Counter("c")
	counter.Add(t.Context(), 1)
	if reason, kept := tel.Keep([16]byte{}, KeepFacts{}); reason != "" || !kept {
		t.Errorf("got %q, %v", reason, kept)
	}
	w := httptest.NewRecorder()
	tel.PrometheusHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("got %d, want 404", w.Code)
	}
	shutdown(t, tel)
}

func TestConsolePrintsALineEach(t *testing.T) {
	var out bytes.Buffer
	tel := start(t, Config{Console: &out, Exporters: []Exporter{{Name: "console", Protocol: ProtocolConsole}}})
	_, span := tel.TracerProvider().Tracer("t").Start(t.Context(), "hello")
	span.SetAttributes(allKindsOfAttributes()...)
	span.AddEvent("event")
	span.End()
	var r log.Record
	r.SetEventName("ccproxy_success")
	tel.LoggerProvider().Logger("t").Emit(context.Background(), r)
	shutdown(t, tel)
	for _, want := range []string{`"name":"hello"`, span.SpanContext().TraceID().String(), `"event":"ccproxy_success"`, names.MetricProcessCPUTime} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in:\n%s", want, out.String())
		}
	}
}
