package telemetry

import (
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/metric"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// instruments are those of exchanges, with the series they share.
type instruments struct {
	inferenceDuration, firstChunk, outputChunk       metric.Float64Histogram
	usageInput, usageOutput, usageCacheRead          metric.Int64Counter
	usageCacheWrite, usageReasoning                  metric.Int64Counter
	inferenceInput, inferenceOutput, embeddingsInput metric.Int64Histogram
	embeddingsDuration                               metric.Float64Histogram
	requestDuration, requestFirstByte, overhead      metric.Float64Histogram
	requestsActive, streamsActive                    metric.Int64UpDownCounter
	attempts, fallbacks, decisions, outcomes         metric.Int64Counter
	hookDuration, serverDuration, clientDuration     metric.Float64Histogram
	cost, comparedCost, baselineCost                 metric.Float64Counter
	requestCost                                      metric.Float64Histogram
	lookups                                          metric.Int64Counter
	budgetDecisions, budgetAlerts                    metric.Int64Counter
	budgetOvershoot                                  metric.Float64Counter

	// Of GenAI conventions up to v1.41; nil without them.
	operationDuration metric.Float64Histogram
	tokenUsage        metric.Int64Histogram
	genAITokenType    *series

	genAI, genAIError, genAIModality     *series
	request, dialect, attempt, fallback  *series
	decision, outcome, hook, server, out *series

	costClass, requestCosts, compared, lookup *series
	budget, budgetAlert                       *series
	budgetDecision                            *pairs
}

func newInstruments(mp metric.MeterProvider, older bool) (*instruments, error) {
	m := maker{provider: mp}
	i := &instruments{
		inferenceDuration:  m.floats(names.MetricGenAIClientInferenceDuration),
		firstChunk:         m.floats(names.MetricGenAIClientInferenceTimeToFirstChunk),
		outputChunk:        m.floats(names.MetricGenAIClientInferenceTimePerOutputChunk),
		usageInput:         m.counter(names.MetricGenAIClientInferenceUsageInputTokens),
		usageOutput:        m.counter(names.MetricGenAIClientInferenceUsageOutputTokens),
		usageCacheRead:     m.counter(names.MetricGenAIClientInferenceUsageCacheReadInputTokens),
		usageCacheWrite:    m.counter(names.MetricGenAIClientInferenceUsageCacheWriteInputTokens),
		usageReasoning:     m.counter(names.MetricGenAIClientInferenceUsageReasoningOutputTokens),
		inferenceInput:     m.counts(names.MetricGenAIClientInferenceOperationInputTokens),
		inferenceOutput:    m.counts(names.MetricGenAIClientInferenceOperationOutputTokens),
		embeddingsInput:    m.counts(names.MetricGenAIClientEmbeddingsOperationInputTokens),
		embeddingsDuration: m.floats(names.MetricGenAIClientEmbeddingsDuration),
		requestDuration:    m.floats(names.MetricRequestDuration),
		requestFirstByte:   m.floats(names.MetricRequestTimeToFirstByte),
		overhead:           m.floats(names.MetricRequestOverhead),
		requestsActive:     m.gauge(names.MetricRequestsActive),
		streamsActive:      m.gauge(names.MetricStreamsActive),
		attempts:           m.counter(names.MetricAttempts),
		fallbacks:          m.counter(names.MetricFallbacks),
		decisions:          m.counter(names.MetricRoutingDecisions),
		outcomes:           m.counter(names.MetricRoutingOutcomes),
		hookDuration:       m.floats(names.MetricHookDuration),
		serverDuration:     m.floats(names.MetricHTTPServerRequestDuration),
		clientDuration:     m.floats(names.MetricHTTPClientRequestDuration),
		cost:               m.money(names.MetricCost),
		comparedCost:       m.money(names.MetricRoutingComparedCost),
		baselineCost:       m.money(names.MetricRoutingBaselineCost),
		requestCost:        m.floats(names.MetricRequestCost),
		lookups:            m.counter(names.MetricPriceLookups),
		budgetDecisions:    m.counter(names.MetricBudgetDecisions),
		budgetAlerts:       m.counter(names.MetricBudgetAlerts),
		budgetOvershoot:    m.money(names.MetricBudgetOvershoot),

		genAI: newSeries(names.KeyGenAIOperationName, names.KeyGenAIProviderName, names.KeyGenAIRequestModel, names.KeyGenAIResponseModel,
			names.KeyServerAddress, names.KeyServerPort),
		genAIError: newSeries(names.KeyGenAIOperationName, names.KeyGenAIProviderName, names.KeyGenAIRequestModel, names.KeyGenAIResponseModel,
			names.KeyServerAddress, names.KeyServerPort, names.KeyErrorType),
		genAIModality: newSeries(names.KeyGenAIOperationName, names.KeyGenAIProviderName, names.KeyGenAIRequestModel, names.KeyGenAIResponseModel,
			names.KeyServerAddress, names.KeyServerPort, names.KeyGenAITokenModality),
		request: newSeries(names.KeyDialect, names.KeyLabel, names.KeyModelRouted, names.KeyOutcome),
		dialect: newSeries(names.KeyDialect),
		attempt: newSeries(names.KeyGenAIProviderName, names.KeyGenAIRequestModel, names.KeyTarget, names.KeyAttemptKind,
			names.KeyAttemptResult, names.KeyErrorType),
		fallback: newSeries(names.KeyFallbackFrom, names.KeyFallbackTo, names.KeyFallbackReason),
		decision: newSeries(names.KeyLabel, names.KeyRouteRule, names.KeyModelOriginal, names.KeyModelRouted, names.KeyRoutePassthrough),
		outcome:  newSeries(names.KeyLabel, names.KeyRoutingEffective, names.KeyRoutingReason),
		hook:     newSeries(names.KeyHookName, names.KeyHookPhase, names.KeyHookAction),
		server: newSeries(names.KeyHTTPRequestMethod, names.KeyURLScheme, names.KeyErrorType, names.KeyHTTPResponseStatusCode,
			names.KeyHTTPRoute, names.KeyNetworkProtocolVersion),
		out: newSeries(names.KeyHTTPRequestMethod, names.KeyServerAddress, names.KeyServerPort, names.KeyErrorType,
			names.KeyHTTPResponseStatusCode, names.KeyNetworkProtocolVersion, names.KeyURLScheme),
		costClass: newSeries(names.KeyGenAIProviderName, names.KeyGenAIRequestModel, names.KeyLabel, names.KeyCostClass, names.KeyCostBilling,
			names.KeyTeam, names.KeyKeyAlias),
		requestCosts:   newSeries(names.KeyGenAIProviderName, names.KeyGenAIRequestModel, names.KeyLabel),
		compared:       newSeries(names.KeyLabel, names.KeyModelOriginal, names.KeyModelRouted),
		lookup:         newSeries(names.KeyPriceStatus),
		budget:         newSeries(names.KeyBudgetName),
		budgetDecision: newPairs(names.KeyBudgetName, names.KeyBudgetDecision),
		budgetAlert:    newSeries(names.KeyBudgetName, names.KeyBudgetAlertType),
	}
	if older {
		i.operationDuration = m.floats(names.MetricGenAIClientOperationDuration)
		i.tokenUsage = m.counts(names.MetricGenAIClientTokenUsage)
		i.genAITokenType = newSeries(names.KeyGenAIOperationName, names.KeyGenAIProviderName, names.KeyGenAIRequestModel, names.KeyGenAIResponseModel,
			names.KeyServerAddress, names.KeyServerPort, names.KeyGenAITokenType)
	}
	return i, errors.Join(m.errs...)
}

// maker makes instruments as the contract describes them and collects what goes wrong.
type maker struct {
	provider metric.MeterProvider
	errs     []error
}

// find returns the contract's entry for a metric and the meter of its scope.
func (m *maker) find(name string) (names.Metric, metric.Meter) {
	scope := names.ScopeGateway
	switch {
	case strings.HasPrefix(name, "gen_ai."):
		scope = names.ScopeGenAI
	case strings.HasPrefix(name, "http."):
		scope = names.ScopeHTTP
	}
	for _, entry := range names.Metrics {
		if entry.Name == name {
			return entry, m.provider.Meter(scope)
		}
	}
	m.errs = append(m.errs, fmt.Errorf("metric %s is not in the contract", name))
	return names.Metric{Name: name}, m.provider.Meter(scope)
}

func (m *maker) floats(name string) metric.Float64Histogram {
	e, meter := m.find(name)
	h, err := meter.Float64Histogram(name, metric.WithUnit(e.Unit), metric.WithDescription(e.Description), metric.WithExplicitBucketBoundaries(e.Boundaries...))
	m.errs = append(m.errs, err)
	return h
}

func (m *maker) counts(name string) metric.Int64Histogram {
	e, meter := m.find(name)
	h, err := meter.Int64Histogram(name, metric.WithUnit(e.Unit), metric.WithDescription(e.Description), metric.WithExplicitBucketBoundaries(e.Boundaries...))
	m.errs = append(m.errs, err)
	return h
}

func (m *maker) counter(name string) metric.Int64Counter {
	e, meter := m.find(name)
	c, err := meter.Int64Counter(name, metric.WithUnit(e.Unit), metric.WithDescription(e.Description))
	m.errs = append(m.errs, err)
	return c
}

func (m *maker) gauge(name string) metric.Int64UpDownCounter {
	e, meter := m.find(name)
	c, err := meter.Int64UpDownCounter(name, metric.WithUnit(e.Unit), metric.WithDescription(e.Description))
	m.errs = append(m.errs, err)
	return c
}
