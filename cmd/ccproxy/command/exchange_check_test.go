package command

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// checkTrace holds the telemetry of one exchange against the contract: the
// shape of the trace, the conventions' required attributes, types and closed
// vocabularies, and the sums that spans and metrics must agree on.
func checkTrace(t *testing.T, spans []gatewaytest.Span, sink *gatewaytest.Sink) {
	t.Helper()
	byID := map[string]gatewaytest.Span{}
	roots := 0
	for _, s := range spans {
		if _, twice := byID[s.SpanID]; twice {
			t.Errorf("span %q was exported twice", s.Name)
		}
		byID[s.SpanID] = s
		if s.ParentID == "" {
			roots++
		}
	}
	if roots != 1 {
		t.Errorf("the trace has %d roots, want 1", roots)
	}
	for _, s := range spans {
		checkPlace(t, s, byID)
		checkStatus(t, s)
		checkAttributes(t, s)
		checkKind(t, s)
	}
	checkSums(t, spans, sink.Metrics())
	checkCosts(t, spans, sink.Metrics())
	checkMetrics(t, sink.Metrics())
}

// checkPlace: parents exist and times nest, with one exception: post_api may
// begin before the stream's last event.
func checkPlace(t *testing.T, s gatewaytest.Span, byID map[string]gatewaytest.Span) {
	t.Helper()
	if s.End.Before(s.Start) {
		t.Errorf("%s ends before it starts", s.Name)
	}
	if s.ParentID == "" {
		return
	}
	p, ok := byID[s.ParentID]
	if !ok {
		t.Errorf("%s has a parent that does not exist", s.Name)
		return
	}
	if s.Start.Before(p.Start) || s.End.After(p.End) {
		t.Errorf("%s [%v %v] is not within its parent %s [%v %v]", s.Name, s.Start, s.End, p.Name, p.Start, p.End)
	}
}

func checkStatus(t *testing.T, s gatewaytest.Span) {
	t.Helper()
	_, typed := s.Attributes["error.type"]
	switch {
	case s.StatusCode == "Ok":
		t.Errorf("%s has status Ok, which instrumentation never sets", s.Name)
	case s.StatusCode == "Error" && !typed:
		t.Errorf("%s is an error without error.type", s.Name)
	case s.StatusCode != "Error" && typed:
		t.Errorf("%s has error.type %v and is no error", s.Name, s.Attributes["error.type"])
	}
	if s.StatusMessage != "" {
		t.Errorf("%s has a status description: %q", s.Name, s.StatusMessage)
	}
}

// known are the attribute definitions by key.
func known() map[string]names.Attribute {
	m := make(map[string]names.Attribute, len(names.Attributes))
	for _, a := range names.Attributes {
		m[string(a.Key)] = a
	}
	return m
}

// fromOTelHTTP are set by otelhttp itself, by the HTTP conventions.
var fromOTelHTTP = []string{"client.address", "http.request.body.size", "http.response.body.size", "network.peer.port", "http.request.method_original"}

var statusCode = regexp.MustCompile(`^[1-5][0-9][0-9]$`)

func checkAttributes(t *testing.T, s gatewaytest.Span) {
	t.Helper()
	defs := known()
	for k, v := range s.Attributes {
		def, ok := defs[k]
		if !ok {
			if !slices.Contains(fromOTelHTTP, k) && !strings.HasPrefix(k, "http.request.header.") {
				t.Errorf("%s has %s, which telemetry/names does not declare", s.Name, k)
			}
			continue
		}
		if got := typeOf(v); got != def.Type {
			t.Errorf("%s: %s has type %s, want %s", s.Name, k, got, def.Type)
		}
		if text, isText := v.(string); isText && def.Values != nil && !slices.Contains(def.Values, text) &&
			!(def.Open && (k != "error.type" || statusCode.MatchString(text))) {
			t.Errorf("%s: %s=%q is not in its closed vocabulary", s.Name, k, text)
		}
	}
	if s.Dropped > 0 {
		t.Errorf("%s: the SDK dropped %d attributes, events or links", s.Name, s.Dropped)
	}
}

func typeOf(v any) names.Type {
	switch v.(type) {
	case string:
		return names.TypeString
	case bool:
		return names.TypeBool
	case int64:
		return names.TypeInt
	case float64:
		return names.TypeFloat
	case []string:
		return names.TypeStrings
	}
	return "?"
}

// required by the conventions (GenAI v0.1.0, HTTP stable) and by TELEMETRY §3.
var required = map[string][]string{
	"SERVER": {"http.request.method", "url.path", "url.scheme", "http.response.status_code", "ccproxy.request.id", "ccproxy.dialect", "ccproxy.outcome", "ccproxy.attempts", "ccproxy.overhead"},
	"genai": {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "server.address", "server.port", "ccproxy.attempt.number",
		"ccproxy.attempt.kind", "ccproxy.attempt.result", "ccproxy.attempt.sends", "ccproxy.target", "ccproxy.phase", "ccproxy.usage.source"},
	"POST":            {"http.request.method", "url.full", "server.address", "server.port"},
	names.SpanPreCall: {"ccproxy.phase"},
	names.SpanPreAPI:  {"ccproxy.phase", "ccproxy.target", "ccproxy.attempt.number"},
	names.SpanStream:  {"ccproxy.phase", "ccproxy.stream.events", "ccproxy.stream.bytes", "ccproxy.stream.end"},
	names.SpanPostAPI: {"ccproxy.phase"},
}

// onlyGenAI must be on the GenAI span and on no other.
var onlyGenAI = []string{"gen_ai.request.model", "gen_ai.response.model", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cost"}

func checkKind(t *testing.T, s gatewaytest.Span) {
	t.Helper()
	kind := s.Name
	_, genai := s.Attributes["gen_ai.operation.name"]
	switch {
	case s.Kind == "SERVER":
		kind = "SERVER"
	case genai:
		kind = "genai"
		op, model := s.Attributes["gen_ai.operation.name"], s.Attributes["gen_ai.request.model"]
		if want := op.(string) + " " + model.(string); s.Name != want || s.Kind != "CLIENT" {
			t.Errorf("GenAI span is called %q (%s), want %q (CLIENT)", s.Name, s.Kind, want)
		}
	}
	for _, k := range required[kind] {
		if _, ok := s.Attributes[k]; !ok && !(k == "http.response.status_code" && s.Attributes["ccproxy.outcome"] == "client_disconnect") {
			t.Errorf("%s lacks %s", s.Name, k)
		}
	}
	if genai {
		return
	}
	for _, k := range onlyGenAI {
		if _, ok := s.Attributes[k]; ok {
			t.Errorf("%s has %s, which belongs to the GenAI span only", s.Name, k)
		}
	}
}

// checkSums: tokens on spans and in metrics are the same, once each.
func checkSums(t *testing.T, spans []gatewaytest.Span, metrics []gatewaytest.Metric) {
	t.Helper()
	for attr, metric := range map[string]string{
		"gen_ai.usage.input_tokens":  names.MetricGenAIClientInferenceUsageInputTokens,
		"gen_ai.usage.output_tokens": names.MetricGenAIClientInferenceUsageOutputTokens,
	} {
		var onSpans, inMetrics float64
		for _, s := range spans {
			src := s.Attributes["ccproxy.usage.source"]
			if n, ok := s.Attributes[attr].(int64); ok && (src == "provider" || src == "partial") && s.Attributes["gen_ai.operation.name"] != "embeddings" {
				onSpans += float64(n)
			}
		}
		for _, m := range metrics {
			if m.Name == metric {
				for _, p := range m.Points {
					inMetrics += p.Value
				}
			}
		}
		if math.Abs(onSpans-inMetrics) > 1e-9 {
			t.Errorf("%s: %v on spans, %v in %s", attr, onSpans, inMetrics, metric)
		}
	}
}

// checkCosts: money on the GenAI spans, on the SERVER span and in metrics is the same, and each cost is the sum of its classes.
func checkCosts(t *testing.T, spans []gatewaytest.Span, metrics []gatewaytest.Metric) {
	t.Helper()
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	var onSpans, inMetrics float64
	priced := 0
	for _, s := range spans {
		cost, ok := s.Attributes["gen_ai.usage.cost"].(float64)
		source, _ := s.Attributes["ccproxy.cost.source"].(string)
		if ok != (source != "" && source != names.CostSourceNone) {
			t.Errorf("%s has cost %v and source %q", s.Name, s.Attributes["gen_ai.usage.cost"], source)
		}
		if !ok {
			continue
		}
		priced++
		onSpans += cost
		var classes float64
		for _, class := range []string{"input", "cache_read", "cache_write", "output", "other"} {
			part, _ := s.Attributes["ccproxy.cost."+class].(float64)
			classes += part
		}
		near(s.Name+": Σ classes", classes, cost)
	}
	for _, m := range metrics {
		for _, p := range m.Points {
			switch m.Name {
			case names.MetricCost:
				inMetrics += p.Value
			case names.MetricRequestCost:
				near(m.Name, p.Sum, onSpans)
			}
		}
	}
	near("Σ "+names.MetricCost, inMetrics, onSpans)
	for _, s := range spans {
		if cost, ok := s.Attributes["ccproxy.cost"].(float64); ok {
			near("ccproxy.cost on SERVER", cost, onSpans)
		} else if s.Kind == "SERVER" && priced > 0 {
			t.Errorf("%d attempts have a cost and SERVER has none", priced)
		}
	}
}

// checkLines: the ledger has one line for each attempt that was sent, and adds up to the cost on the spans.
func checkLines(t *testing.T, lines []*store.Line, spans []gatewaytest.Span) {
	t.Helper()
	var onSpans float64
	attempts := 0
	for _, s := range spans {
		if _, ok := s.Attributes[string(names.KeyAttemptKind)]; ok {
			attempts++
		}
		cost, _ := s.Attributes["gen_ai.usage.cost"].(float64)
		onSpans += cost
	}
	sum, priced := gateway.NanoUSD(0), 0
	for _, l := range lines {
		sum += l.Cost.Total
		if l.Dialect != "opaque" {
			priced++
		}
	}
	if priced != attempts {
		t.Errorf("got %d lines for %d GenAI spans", priced, attempts)
	}
	if math.Abs(sum.Dollars()-onSpans) > 1e-9 && onSpans > 0 { // cost can be hidden from telemetry
		t.Errorf("the ledger has %v, the spans %v", sum, onSpans)
	}
}

// checkMetrics holds each metric against its declaration.
func checkMetrics(t *testing.T, metrics []gatewaytest.Metric) {
	t.Helper()
	defs := map[string]names.Metric{}
	for _, m := range names.Metrics {
		defs[m.Name] = m
	}
	for _, m := range metrics {
		if strings.HasPrefix(m.Name, "go.") || strings.HasPrefix(m.Name, "process.") || strings.HasPrefix(m.Name, "otel.") {
			continue
		}
		def, ok := defs[m.Name]
		if !ok {
			t.Errorf("metric %s is not declared in telemetry/names", m.Name)
			continue
		}
		if m.Unit != def.Unit {
			t.Errorf("metric %s has unit %q, want %q", m.Name, m.Unit, def.Unit)
		}
		if m.Type == "histogram" && !slices.Equal(m.Boundaries, def.Boundaries) {
			t.Errorf("metric %s has boundaries %v, want %v", m.Name, m.Boundaries, def.Boundaries)
		}
		for _, p := range m.Points {
			for k := range p.Attributes {
				if !slices.Contains(def.Attributes, attribute.Key(k)) {
					t.Errorf("metric %s has attribute %s, which its declaration does not list", m.Name, k)
				}
			}
		}
	}
}
