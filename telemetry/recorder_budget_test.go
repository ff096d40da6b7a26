package telemetry_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log/noop"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// rigLedger says of every attempt what it is told to.
type rigLedger struct {
	refuse    *gateway.Error // of the first attempt; nil: nobody is refused
	decisions []gateway.BudgetDecision
	overshoot []gateway.BudgetAmount
	reroute   string // budget that sends all to the label background; "": none
}

func refusal(errType string) *gateway.Error {
	return &gateway.Error{Type: errType, Origin: names.ErrorOriginPolicy, Reason: names.RejectionBudget, Status: 429, NoRetry: true,
		Message: "budget research is used up", Budget: &gateway.BudgetRefusal{Budget: "research", Window: "day"}}
}

func (l *rigLedger) Hold(_ context.Context, a *gateway.Attempt) (gateway.Hold, error) {
	a.Budget.Decisions = l.decisions
	if l.refuse != nil {
		a.Budget.Decision = names.BudgetDecisionDeny
		return nil, l.refuse
	}
	if len(l.decisions) > 0 {
		a.Budget.Decision = l.decisions[0].Decision
	}
	return l, nil
}

func (l *rigLedger) Reroute(context.Context, *gateway.Attempt) (label, budget string) {
	if l.reroute == "" {
		return "", ""
	}
	return "background", l.reroute
}

func (l *rigLedger) Watch(context.Context, *gateway.Attempt, gateway.NanoUSD, time.Time) error {
	return nil
}

func (l *rigLedger) Settle(_ context.Context, a *gateway.Attempt) {
	a.Budget.Settled, a.Budget.Overshoot = a.Cost.Total, l.overshoot
}

func (l *rigLedger) Void(context.Context, *gateway.Attempt) {}

// figures returns the points of a metric, "attributes value" each, sorted.
func figures(r *rig, name string) []string {
	a := accounts{rig: *r}
	return a.figures(name)
}

func TestDecisionsOfBudgetsAreCounted(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{sonnet}, pricer: fixed{names.PriceStatusExact}, ledger: &rigLedger{
		decisions: []gateway.BudgetDecision{{Budget: "each-key", Decision: names.BudgetDecisionWarn}, {Budget: "everything", Decision: names.BudgetDecisionAllow}},
		overshoot: []gateway.BudgetAmount{{Budget: "each-key", Amount: usd(0.25)}, {Budget: "everything"}},
	}})
	x := r.post("/v1/messages", plainCall)
	if got, want := figures(r, names.MetricBudgetDecisions), []string{"decision=allow name=everything 1", "decision=warn name=each-key 1"}; !slices.Equal(got, want) {
		t.Errorf("got decisions %q, want %q", got, want)
	}
	if got, want := figures(r, names.MetricBudgetOvershoot), []string{"name=each-key 0.25"}; !slices.Equal(got, want) {
		t.Errorf("got overshoot %q, want %q", got, want)
	}
	id := x.Final().Span.SpanContext().TraceID().String()
	for _, name := range []string{names.MetricBudgetDecisions, names.MetricBudgetOvershoot} {
		for _, p := range r.metric(name) {
			allowed := strings.Contains(p.attrs, "decision=allow")
			if slices.Contains(p.exemplars, id) == allowed {
				t.Errorf("%s: got exemplars %v of %s, want the trace %s, and none of what is allowed", name, p.exemplars, p.attrs, id)
			}
		}
	}
}

func TestRefusalIsADecisionWithoutGenAIMetrics(t *testing.T) {
	var facts telemetry.KeepFacts
	r := newRig(t, rigConfig{targets: []string{sonnet}, pricer: fixed{names.PriceStatusExact},
		ledger: &rigLedger{refuse: refusal(names.ErrorBudgetExceeded),
			decisions: []gateway.BudgetDecision{{Budget: "everything", Decision: names.BudgetDecisionAllow}, {Budget: "research", Decision: names.BudgetDecisionDeny}}},
		recorder: telemetry.RecorderConfig{Keep: func(_ trace.TraceID, f telemetry.KeepFacts) (string, bool) {
			facts = f
			return names.KeptBudgetDenied, true
		}}})
	x := r.post("/v1/messages", plainCall)
	if got, want := figures(r, names.MetricBudgetDecisions), []string{"decision=allow name=everything 1", "decision=deny name=research 1"}; !slices.Equal(got, want) {
		t.Errorf("got decisions %q, want %q", got, want)
	}
	for name := range r.collect() {
		if strings.HasPrefix(name, "gen_ai.") || name == names.MetricCost || name == names.MetricRequestCost {
			t.Errorf("got %s of an attempt that was refused", name)
		}
	}
	if !facts.BudgetDenied || facts.Error || x.Kept != names.KeptBudgetDenied {
		t.Errorf("got facts %+v, kept %q; want a budget's denial that is no error", facts, x.Kept)
	}
	id := x.Span.SpanContext().TraceID().String()
	if !slices.ContainsFunc(r.metric(names.MetricBudgetDecisions), func(p point) bool { return slices.Contains(p.exemplars, id) }) {
		t.Error("got no exemplar that leads from the denial to its trace")
	}
}

func TestRefusalForAnUnknownPriceIsALookUp(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{sonnet}, pricer: fixed{names.PriceStatusUnknown}, ledger: &rigLedger{refuse: refusal(names.ErrorPriceUnknown)}})
	r.post("/v1/messages", plainCall)
	if got, want := figures(r, names.MetricPriceLookups), []string{"ccproxy.price.status=unknown 1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDeniedTargetKeepsTheTraceOfARescuedExchange(t *testing.T) {
	var facts telemetry.KeepFacts
	rec := newRecorder(t, telemetry.RecorderConfig{Keep: func(_ trace.TraceID, f telemetry.KeepFacts) (string, bool) { facts = f; return "", false }})
	ctx, x := madeExchange(sdktrace.NewTracerProvider().Tracer("test"), 0, 0)
	rec.End(ctx, x)
	if facts.BudgetDenied {
		t.Error("got a denial, though no budget applied")
	}
	denied := *x.Attempts[0]
	denied.Budget.Decision = names.BudgetDecisionDeny
	x.Attempts = []*gateway.Attempt{&denied, x.Attempts[0]}
	rec.End(ctx, x)
	if !facts.BudgetDenied {
		t.Error("got no denial, though a budget denied the first target")
	}
}

func TestRerouteIsADecision(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{sonnet}, ledger: &rigLedger{reroute: "opus"}})
	r.post("/v1/messages", plainCall)
	if got, want := figures(r, names.MetricBudgetDecisions), []string{"decision=reroute name=opus 1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if line := r.lines.String(); !strings.Contains(line, `"reason":"budget"`) || !strings.Contains(line, `"budget":"opus"`) {
		t.Errorf("got %s, want the budget in it", line)
	}
}

func TestDroppedTraceLeavesNoExemplarOnBudgets(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{sonnet}, pricer: fixed{names.PriceStatusExact},
		ledger:   &rigLedger{decisions: []gateway.BudgetDecision{{Budget: "b", Decision: names.BudgetDecisionWarn}}, overshoot: []gateway.BudgetAmount{{Budget: "b", Amount: 1}}},
		recorder: telemetry.RecorderConfig{Keep: func(trace.TraceID, telemetry.KeepFacts) (string, bool) { return "", false }}})
	r.post("/v1/messages", plainCall)
	for _, name := range []string{names.MetricBudgetDecisions, names.MetricBudgetOvershoot, names.MetricCost, names.MetricRequestCost} {
		if points := r.metric(name); len(points) == 0 || len(points[0].exemplars) > 0 {
			t.Errorf("%s: got %+v, want points without exemplars", name, points)
		}
	}
}

func TestHiddenCostHidesTheOvershoot(t *testing.T) {
	r := newRig(t, rigConfig{targets: []string{sonnet}, pricer: fixed{names.PriceStatusExact}, hideCost: true,
		ledger: &rigLedger{decisions: []gateway.BudgetDecision{{Budget: "b", Decision: names.BudgetDecisionAllow}}, overshoot: []gateway.BudgetAmount{{Budget: "b", Amount: 1}}}})
	r.post("/v1/messages", plainCall)
	if p := r.metric(names.MetricBudgetOvershoot); len(p) > 0 {
		t.Errorf("got %+v, though costs are hidden", p)
	}
	if p := r.metric(names.MetricBudgetDecisions); len(p) != 1 {
		t.Errorf("got decisions %+v, want one: they are no cost", p)
	}
}

// alerts are one of each type.
func alerts() []budget.Alert {
	at := time.Date(2026, 12, 3, 10, 0, 0, 0, time.UTC)
	resets := time.Date(2026, 12, 4, 0, 0, 0, 0, time.FixedZone("CET", 3600))
	return []budget.Alert{
		{Type: names.AlertThresholdCrossed, Budget: "research", Scope: "team", Window: "day", Subject: "research", Threshold: 0.8, Spent: usd(40.125), Limit: usd(50), Resets: resets, At: at},
		{Type: names.AlertBudgetCrossed, Budget: "everything", Scope: "global", Window: "none", Spent: usd(0), Limit: 0, At: at},
		{Type: names.AlertForecastOverrun, Budget: "research", Scope: "team", Window: "day", Subject: "research", Spent: usd(20), Limit: usd(60), Resets: resets, At: at},
		{Type: names.AlertReset, Budget: "research", Scope: "team", Window: "day", Subject: "research", Limit: usd(50), Resets: resets.AddDate(0, 0, 1), At: at},
		{Type: names.AlertUnpricedRequest, At: at, Model: "made-up\x1b[31m"},
		{Type: names.AlertBudgetCrossed, Budget: "users", Scope: "user", Window: "week", Subject: "someone@example.com", Spent: usd(6), Limit: usd(5), Resets: resets, At: at},
	}
}

func TestAlertsMatchTheirGoldenFile(t *testing.T) {
	logs, lines, spans := &logMemory{}, &lineBuffer{}, tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	reader := sdkmetric.NewManualReader()
	rec := newRecorder(t, telemetry.RecorderConfig{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		LoggerProvider: sdklog.NewLoggerProvider(sdklog.WithProcessor(logs)), Log: slog.New(telemetry.NewLogHandler(lines, false, slog.LevelInfo))})
	ctx, span := tracer.Start(t.Context(), "ccproxy.post_api")
	for _, a := range alerts() {
		if a.Type == names.AlertReset || a.Type == names.AlertForecastOverrun {
			rec.BudgetAlert(t.Context(), a) // no request raised it
			continue
		}
		rec.BudgetAlert(ctx, a)
	}
	span.End()

	contract := names.Events[slices.IndexFunc(names.Events, func(e names.Event) bool { return e.Name == names.EventBudgetAlert })]
	var b strings.Builder
	b.WriteString("-- OpenTelemetry --\n")
	for _, record := range logs.all() {
		if record.EventName() != contract.Name || record.SeverityText() != contract.Level.String() || record.Timestamp().IsZero() {
			t.Errorf("got event %s, level %s, at %v", record.EventName(), record.SeverityText(), record.Timestamp())
		}
		fmt.Fprintf(&b, "%s %s %q traced=%v", record.EventName(), record.SeverityText(), record.Body().String(), record.TraceID().IsValid())
		last := -1
		record.WalkAttributes(func(kv attribute.KeyValue) bool {
			at := slices.Index(contract.Fields, string(kv.Key))
			if at <= last {
				t.Errorf("field %s is out of place or not in the contract", kv.Key)
			}
			last = at
			fmt.Fprintf(&b, " %s=%s", kv.Key, kv.Value.String())
			return true
		})
		b.WriteByte('\n')
	}
	b.WriteString("-- log at INFO --\n" + steady(lines.String()))
	b.WriteString("-- span --\n")
	for _, e := range spans.Ended()[0].Events() {
		fmt.Fprintf(&b, "%s %s\n", e.Name, encode(attribute.NewSet(e.Attributes...)))
	}
	b.WriteString("-- metric --\n" + strings.Join(figures(&rig{t: t, reader: reader}, names.MetricBudgetAlerts), "\n") + "\n")
	golden(t, "budget_alert", b.String())
}

func TestEndUsersInAlertsFollowThePolicy(t *testing.T) {
	lines := &lineBuffer{}
	rec := newRecorder(t, telemetry.RecorderConfig{Log: slog.New(telemetry.NewLogHandler(lines, false, slog.LevelInfo)),
		BudgetUser: func(id string) string { return fmt.Sprint("hash-of-", len(id)) }})
	rec.BudgetAlert(t.Context(), budget.Alert{Type: names.AlertBudgetCrossed, Budget: "users", Scope: "user", Subject: "someone@example.com"})
	rec.BudgetAlert(t.Context(), budget.Alert{Type: names.AlertBudgetCrossed, Budget: "keys", Scope: "key", Subject: "laptop"})
	got := lines.String()
	if strings.Contains(got, "someone") || !strings.Contains(got, `"subject":"hash-of-19"`) || !strings.Contains(got, `"subject":"laptop"`) {
		t.Errorf("got %s, want the user's id as the policy has it, and the key's alias", got)
	}
}

func TestAlertLeadsToNoTraceThatMayBeDropped(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	rec := newRecorder(t, telemetry.RecorderConfig{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	ctx, _ := sdktrace.NewTracerProvider().Tracer("test").Start(t.Context(), "s")
	rec.BudgetAlert(ctx, alerts()[0])
	r := rig{t: t, reader: reader}
	if p := only(t, &r, names.MetricBudgetAlerts); p.sum != 1 || len(p.exemplars) > 0 {
		t.Errorf("got %+v, want one alert without exemplar", p)
	}
}

func TestCostIsToldApartByWhatIsListed(t *testing.T) {
	for _, c := range []struct {
		list       []string
		key, alias string
		want       string
	}{
		{nil, "research", "laptop", ""},
		{[]string{names.DimensionTeam}, "research", "laptop", " ccproxy.team=research"},
		{[]string{names.DimensionKeyAlias}, "research", "laptop", " ccproxy.key.alias=laptop"},
		{[]string{names.DimensionKeyAlias, names.DimensionTeam}, "", "", ""},
	} {
		reader := sdkmetric.NewManualReader()
		rec := newRecorder(t, telemetry.RecorderConfig{Dimensions: c.list, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
		ctx, x := madeExchange(sdktrace.NewTracerProvider().Tracer("test"), 0, 0)
		x.Caller.Team, x.Caller.KeyAlias, x.Caller.Tags = c.key, c.alias, map[string]string{"team": "forged"}
		x.Attempts[0].Cost = gateway.Cost{Total: 1, Source: names.CostSourceLocal, Billing: names.CostBillingFree}
		x.Attempts[0].Cost.Classes[gateway.CostOutput] = 1
		rec.End(ctx, x)
		r := rig{t: t, reader: reader}
		got := " " + only(t, &r, names.MetricCost).attrs
		for _, key := range []string{" ccproxy.team=", " ccproxy.key.alias="} {
			if strings.Contains(got, key) != strings.HasPrefix(c.want, key) {
				t.Errorf("%v: got %s, want %q", c.list, got, c.want)
			}
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%v: got %s, want %q in it", c.list, got, c.want)
		}
	}
}

// TestManyKeysStillTellModelsApart: keys beyond what an instrument may have are _OTHER, the model is not.
func TestManyKeysStillTellModelsApart(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	rec := newRecorder(t, telemetry.RecorderConfig{Dimensions: []string{names.DimensionKeyAlias, names.DimensionTeam}, KnownModel: func(m string) string { return m },
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithCardinalityLimit(0))})
	ctx, x := madeExchange(sdktrace.NewTracerProvider().Tracer("test"), 0, 0)
	a := x.Attempts[0]
	a.Cost = gateway.Cost{Total: 3, Source: names.CostSourceLocal, Billing: names.CostBillingMetered}
	a.Cost.Classes[gateway.CostInput], a.Cost.Classes[gateway.CostOutput] = 1, 2
	for i := range hostileExchanges {
		x.Caller.KeyAlias, x.Caller.Team = fmt.Sprint("key", i), fmt.Sprint("team", i%3)
		a.Target.Model = fmt.Sprint("model", i%20)
		rec.End(ctx, x)
	}
	r := rig{t: t, reader: reader}
	points, sum := r.metric(names.MetricCost), 0.0
	models := map[string]bool{}
	for _, p := range points {
		sum += p.sum
		if strings.Contains(p.attrs, "ccproxy.key.alias=_OTHER") {
			_, model, _ := strings.Cut(p.attrs, "gen_ai.request.model=")
			models[model] = true
		}
	}
	if len(points) > 2000 || len(models) != 20 || models[names.ErrorOther] {
		t.Errorf("got %d series, models %v; want at most 2000 and 20 models", len(points), models)
	}
	if want := 3e-9 * hostileExchanges; sum < want*(1-1e-9) || sum > want*(1+1e-9) {
		t.Errorf("got %v in all, want %v", sum, want)
	}
}

func TestCostOfACallThatIsOnlyPassedOnIsCounted(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	rec := newRecorder(t, telemetry.RecorderConfig{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	ctx, x := madeExchange(sdktrace.NewTracerProvider().Tracer("test"), 0, 0)
	x.Call = gateway.Call{}
	a := x.Attempts[0]
	a.Cost = gateway.Cost{Total: 1e9, Source: names.CostSourceLocal, Billing: names.CostBillingMetered, Status: names.PriceStatusOverride}
	a.Cost.Classes[gateway.CostUndivided] = 1e9
	rec.End(ctx, x)
	r := rig{t: t, reader: reader}
	for _, name := range []string{names.MetricCost, names.MetricRequestCost, names.MetricPriceLookups} {
		if p := only(t, &r, name); p.sum != 1 {
			t.Errorf("%s: got %+v, want 1", name, p)
		}
	}
}

func TestFurtherVocabulariesHaveTheCost(t *testing.T) {
	run := func(hide bool) map[attribute.Key]attribute.Value {
		r := newRig(t, rigConfig{targets: []string{sonnet}, pricer: fixed{names.PriceStatusExact}, hideCost: hide,
			recorder: telemetry.RecorderConfig{Compat: []string{names.CompatOpenInference, names.CompatLangfuse}}})
		r.post("/v1/messages", plainCall)
		got := map[attribute.Key]attribute.Value{}
		for _, kv := range r.span("chat " + sonnet).Attributes() {
			if strings.HasPrefix(string(kv.Key), "llm.cost.") || kv.Key == names.KeyLangfuseCostDetails {
				got[kv.Key] = kv.Value
			}
		}
		return got
	}
	got := run(false)
	for key, want := range map[attribute.Key]float64{
		names.KeyLLMCostTotal: 2, names.KeyLLMCostPrompt: 0.7, names.KeyLLMCostInput: 0.1, names.KeyLLMCostPromptAudio: 0.1,
		names.KeyLLMCostCacheRead: 0.2, names.KeyLLMCostCacheWrite: 0.3, names.KeyLLMCostCompletion: 0.7, names.KeyLLMCostOutput: 0.4, names.KeyLLMCostReasoning: 0.3,
	} {
		if got[key].AsFloat64() != want {
			t.Errorf("%s: got %v, want %v", key, got[key].String(), want)
		}
	}
	const want = `{"input":0.2,"cache_read_input_tokens":0.2,"cache_creation_input_tokens":0.3,"output":0.7,"other":0.6,"total":2}`
	if s := got[names.KeyLangfuseCostDetails].AsString(); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
	if len(got) != 10 {
		t.Errorf("got %v, want no cost of audio that was not made", got)
	}
	if got := run(true); len(got) > 0 {
		t.Errorf("got %v, though costs are hidden", got)
	}
}

// BenchmarkBudgetDecisions is what the counters of five budgets add to an attempt.
func BenchmarkBudgetDecisions(b *testing.B) {
	five := make([]gateway.BudgetDecision, 5)
	for i := range five {
		five[i] = gateway.BudgetDecision{Budget: fmt.Sprint("budget-", i), Decision: names.BudgetDecisionAllow}
	}
	for _, c := range []struct {
		name      string
		decisions []gateway.BudgetDecision
	}{{"no budget", nil}, {"5 budgets", five}} {
		b.Run(c.name, func(b *testing.B) {
			rec := newRecorder(b, telemetry.RecorderConfig{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
				LoggerProvider: noop.NewLoggerProvider(), Log: slog.New(slog.DiscardHandler)})
			ctx, x := madeExchange(sdktrace.NewTracerProvider().Tracer("test"), 0, 0)
			x.Attempts[0].Budget.Decisions = c.decisions
			b.ReportAllocs()
			for b.Loop() {
				rec.Begin(ctx, x)
				rec.End(ctx, x)
			}
		})
	}
}
