package telemetry_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/log/noop"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// madeExchange returns an exchange as the engine leaves it: answered, with gaps between the events of a stream.
func madeExchange(tracer trace.Tracer, gaps, hooks int) (context.Context, *gateway.Exchange) {
	start := time.Now()
	ctx, server := tracer.Start(context.Background(), "POST /v1/messages", trace.WithSpanKind(trace.SpanKindServer))
	_, span := tracer.Start(ctx, "chat "+sonnet)
	base := &url.URL{Scheme: "https", Host: "api.example.com"}
	p := &gateway.Provider{Name: "main", Type: "anthropic", Family: "anthropic", GenAI: "anthropic", BaseURL: base}
	target := gateway.Target{Provider: p, Model: sonnet, Name: "main/" + sonnet}
	x := &gateway.Exchange{
		ID: "0198c5b0-0000-7000-8000-000000000000", Start: start, Dialect: anthropic.Messages(), Span: server,
		Request: &http.Request{Method: "POST", URL: &url.URL{Path: "/v1/messages"}, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}},
		Call:    gateway.Call{Operation: "chat", Model: "claude-opus-5", Stream: gaps > 0},
		Route: gateway.Route{Label: "think", Rule: "thinking", Reason: names.RouteReasonRule, Model: sonnet, Provider: "main",
			Targets: []gateway.Target{target}},
		Outcome: names.OutcomeCompleted, Status: 200, FirstByte: start.Add(time.Millisecond), Finish: start.Add(2 * time.Millisecond),
		Overhead: 100 * time.Microsecond, Streamed: gaps > 0,
	}
	for range hooks {
		x.HookRuns = append(x.HookRuns, gateway.HookRun{Hook: "request_analyzer", Phase: names.HookPhasePreCall, Action: names.HookActionNone, Duration: time.Microsecond})
	}
	a := &gateway.Attempt{
		Exchange: x, Number: 1, Kind: names.AttemptKindPrimary, Target: target, Start: start, Issued: start, Finish: x.Finish, Span: span,
		Request: &http.Request{Method: "POST"}, Sends: []gateway.Send{{Start: start, End: x.Finish, Status: 200, Protocol: "2"}},
		Result:     gateway.Result{Model: sonnet, Usage: gateway.Usage{Input: 10, Output: 20, Source: names.UsageSourceProvider}},
		ResultKind: names.AttemptResultUsed, Routing: gateway.Routing{Analysed: true, Effective: true, Reason: names.RoutingReasonOK},
	}
	if gaps > 0 {
		a.Stream = gateway.Stream{Started: start.Add(time.Millisecond), FirstToken: x.FirstByte, Ended: x.Finish, Events: gaps + 1,
			MaxGap: 30 * time.Millisecond, End: names.StreamEndDone}
		for i := range gaps {
			a.Stream.Gaps = append(a.Stream.Gaps, 0.001*float64(1+i%20))
		}
		a.Stream.Gaps[0] = a.Stream.MaxGap.Seconds()
	}
	x.Attempts = []*gateway.Attempt{a}
	return ctx, x
}

// seriesOf counts the series of each instrument.
func seriesOf(t *testing.T, reader *sdkmetric.ManualReader) map[string]int {
	t.Helper()
	r := rig{t: t, reader: reader}
	n := map[string]int{}
	for name, points := range r.collect() {
		n[name] = len(points)
	}
	return n
}

const hostileExchanges = 100_000

func TestClientsCannotMakeSeries(t *testing.T) {
	for name, known := range map[string]func(string) string{
		"nothing known": nil,
		"one known": func(m string) string {
			if m == "claude-opus-5" {
				return m
			}
			return names.ErrorOther
		},
	} {
		t.Run(name, func(t *testing.T) {
			reader := sdkmetric.NewManualReader()
			rec := newRecorder(t, telemetry.RecorderConfig{KnownModel: known,
				MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithCardinalityLimit(0))})
			ctx, x := madeExchange(sdktrace.NewTracerProvider().Tracer("test"), 0, 0)
			a := x.Attempts[0]
			for i := range hostileExchanges {
				v := fmt.Sprintf("v%d\x1b[31m\xff", i)
				x.Call.Model, a.Result.Model = v, v
				x.Request.Method, x.Request.Host = v, v
				x.Request.URL.Path = "/v1beta/models/" + v + ":" + v
				x.Request.ProtoMajor = i
				x.Request.Header["User-Agent"] = []string{v}
				x.Caller = gateway.Caller{User: v, Session: v, Tags: map[string]string{v: v}, Team: v, KeyAlias: v}
				a.Cost = gateway.Cost{Total: 1, Source: names.CostSourceLocal, Billing: names.CostBillingMetered, Status: names.PriceStatusExact}
				a.Cost.Classes[gateway.CostOutput] = 1
				a.Budget.Decisions = []gateway.BudgetDecision{{Budget: "users", Decision: names.BudgetDecisionAllow}}
				rec.BudgetAlert(ctx, budget.Alert{Type: names.AlertBudgetCrossed, Budget: "users", Scope: "user", Subject: v, Model: v})
				a.Sends[0].ErrorType, a.Sends[0].Status = v, i
				a.Err = &gateway.Error{Type: v, Code: v, Message: v}
				x.Err, x.Status = a.Err, 200+i%300
				a.Target.Model = ""
				if i%2 == 0 { // a model the client put behind a provider's name
					a.Target.Model = v
				}
				a.Target.Name = "main/_OTHER"
				rec.Begin(ctx, x)
				rec.End(ctx, x)
			}
			for name, n := range seriesOf(t, reader) {
				limit := 4
				if strings.HasPrefix(name, "http.") {
					limit = 5 * 600 // statuses are closed
				}
				if n > min(limit, 2000) {
					t.Errorf("%s: got %d series, want at most %d", name, n, min(limit, 2000))
				}
			}
		})
	}
}

func TestSeriesAreBoundedWhateverTheConfiguration(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	rec := newRecorder(t, telemetry.RecorderConfig{KnownModel: func(m string) string { return m },
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithCardinalityLimit(0))})
	ctx, x := madeExchange(sdktrace.NewTracerProvider().Tracer("test"), 2, 1)
	a := x.Attempts[0]
	for i := range hostileExchanges {
		v := fmt.Sprint("v", i)
		x.Call.Model, a.Result.Model, a.Target.Model, a.Target.Name = v, v, v, "main/"+v
		x.Route.Label, x.Route.Rule, x.HookRuns[0].Hook, a.Routing.Reason = v, v, v, v
		a.Target.Provider.GenAI, a.Target.Provider.BaseURL.Host = v, v
		a.Budget.Decisions = []gateway.BudgetDecision{{Budget: v, Decision: names.BudgetDecisionAllow}, {Budget: v, Decision: names.BudgetDecisionWarn}}
		a.Budget.Overshoot, x.Rerouted = []gateway.BudgetAmount{{Budget: v, Amount: 1}}, v
		rec.BudgetAlert(ctx, budget.Alert{Type: names.AlertReset, Budget: v})
		rec.FellBack(ctx, x, a.Target, a.Target, v, 0)
		rec.Begin(ctx, x)
		rec.End(ctx, x)
	}
	counts := seriesOf(t, reader)
	for name, n := range counts {
		if n > 2000 {
			t.Errorf("%s: got %d series, want at most 2000", name, n)
		}
	}
	if n := counts[names.MetricGenAIClientInferenceDuration]; n < 1000 {
		t.Errorf("got %d series of durations; the bound was not reached, so nothing was tried", n)
	}
}

func newRecorder(t testing.TB, cfg telemetry.RecorderConfig) *telemetry.Recorder {
	t.Helper()
	rec, err := telemetry.NewRecorder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// TestNobodyListeningCostsNothing counts allocations of every event without a listener.
func TestNobodyListeningCostsNothing(t *testing.T) {
	for name, cfg := range map[string]telemetry.RecorderConfig{
		"nothing":       {},
		"not enabled":   {LoggerProvider: noop.NewLoggerProvider(), Log: slog.New(slog.DiscardHandler)},
		"no processors": {LoggerProvider: sdklog.NewLoggerProvider()},
	} {
		cfg.PreAPICall, cfg.PostAPICall, cfg.RoutingAnalysis = true, true, true
		rec := newRecorder(t, cfg)
		ctx, x := madeExchange(sdktrace.NewTracerProvider().Tracer("test"), 0, 0)
		a := x.Attempts[0]
		a.Response = &http.Response{StatusCode: 200}
		if n := testing.AllocsPerRun(100, func() {
			rec.Routed(ctx, x)
			rec.Forwarded(ctx, a)
			rec.AttemptStarted(ctx, a)
			rec.Settled(ctx, a)
			rec.AttemptEnded(ctx, a)
			rec.BudgetAlert(context.Background(), budget.Alert{Type: names.AlertReset, Budget: "b"})
		}); n != 0 {
			t.Errorf("%s: got %v allocations for events nobody wants, want 0", name, n)
		}
	}
}

func TestPanicInAStreamDoesNotLeaveItActive(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	rec := newRecorder(t, telemetry.RecorderConfig{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	ctx, x := madeExchange(sdktrace.NewTracerProvider().Tracer("test"), 3, 0)
	x.Attempts[0].Stream.End = "" // as a panic leaves it
	rec.Begin(ctx, x)
	rec.StreamStarted(ctx, x.Attempts[0])
	rec.End(ctx, x)
	r := rig{t: t, reader: reader}
	if p := only(t, &r, names.MetricStreamsActive); p.sum != 0 {
		t.Errorf("got %v streams active, want 0", p.sum)
	}
}

func BenchmarkEnd(b *testing.B) {
	for _, c := range []struct {
		name        string
		gaps, hooks int
		keep        bool
	}{
		{"plain", 0, 0, true},
		{"plain, 6 hook runs", 0, 6, true},
		{"plain, dropped", 0, 0, false},
		{"stream of 50 gaps", 50, 0, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			reader := sdkmetric.NewManualReader()
			rec := newRecorder(b, telemetry.RecorderConfig{
				MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
				LoggerProvider: noop.NewLoggerProvider(), Log: slog.New(slog.DiscardHandler),
				Keep: func(trace.TraceID, telemetry.KeepFacts) (string, bool) { return "", c.keep },
			})
			ctx, x := madeExchange(sdktrace.NewTracerProvider().Tracer("test"), c.gaps, c.hooks)
			b.ReportAllocs()
			for b.Loop() {
				rec.Begin(ctx, x)
				rec.End(ctx, x)
			}
		})
	}
}

func BenchmarkSuccessEvent(b *testing.B) {
	rec := newRecorder(b, telemetry.RecorderConfig{LoggerProvider: sdklog.NewLoggerProvider(sdklog.WithProcessor(discardLogs{})),
		Log: slog.New(telemetry.NewLogHandler(discardWriter{}, false, nil))})
	ctx, x := madeExchange(sdktrace.NewTracerProvider().Tracer("test"), 0, 0)
	b.ReportAllocs()
	for b.Loop() {
		rec.End(ctx, x)
	}
}

type discardLogs struct{}

func (discardLogs) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (discardLogs) OnEmit(context.Context, *sdklog.Record) error           { return nil }
func (discardLogs) Shutdown(context.Context) error                         { return nil }
func (discardLogs) ForceFlush(context.Context) error                       { return nil }

type discardWriter struct{}

func (discardWriter) Write(p []byte) (int, error) { return len(p), nil }
