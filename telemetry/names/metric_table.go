package names

import "go.opentelemetry.io/otel/attribute"

// Kind is the kind of a metric's instrument.
type Kind string

// The kinds of instruments. Gauges are observable.
const (
	Counter       Kind = "counter"
	UpDownCounter Kind = "updowncounter"
	Histogram     Kind = "histogram"
	Gauge         Kind = "gauge"
)

// Metric describes one metric.
type Metric struct {
	Name        string
	Unit        string // UCUM
	Kind        Kind
	Description string
	Boundaries  []float64       // of a histogram, in Unit
	Attributes  []attribute.Key // every key a data point may carry; conditional ones may be absent
}

// Boundaries of histograms. Read-only.
var (
	// DurationBoundaries, in seconds, are those of the GenAI conventions' durations.
	DurationBoundaries = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	// WideDurationBoundaries, in seconds, go on where long generations need it.
	WideDurationBoundaries = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68}
	// TokenBoundaries, in tokens, are those of the GenAI conventions' token counts.
	TokenBoundaries = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
	// OverheadBoundaries, in seconds, resolve the gateway's own time: 50 µs to 1 s.
	OverheadBoundaries = []float64{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1}
	// CostBoundaries, in USD, run from 1e-5 to 100 in steps of 1, 2.5 and 5.
	CostBoundaries = []float64{0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
		0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100}
)

// Metrics lists every metric the gateway records itself or through a library whose boundaries it sets; the Go runtime's
// go.* metrics are the runtime instrumentation's own. Read-only.
var Metrics = append([]Metric{
	{Name: MetricGenAIClientInferenceDuration, Unit: "s", Kind: Histogram, Description: "Duration of one inference, from the send to the last byte, error or cancellation.", Boundaries: DurationBoundaries,
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort, KeyErrorType)},
	{Name: MetricGenAIClientInferenceTimeToFirstChunk, Unit: "s", Kind: Histogram, Description: "Time from the send to the first chunk, streams only.", Boundaries: DurationBoundaries,
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort)},
	{Name: MetricGenAIClientInferenceTimePerOutputChunk, Unit: "s", Kind: Histogram, Description: "Time between two chunks, one record per chunk after the first.", Boundaries: DurationBoundaries,
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort)},
	{Name: MetricGenAIClientInferenceUsageInputTokens, Unit: "{token}", Kind: Counter, Description: "Input tokens used, cached ones included.",
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort, KeyGenAITokenModality)},
	{Name: MetricGenAIClientInferenceUsageOutputTokens, Unit: "{token}", Kind: Counter, Description: "Output tokens used, reasoning included.",
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort, KeyGenAITokenModality)},
	{Name: MetricGenAIClientInferenceUsageCacheReadInputTokens, Unit: "{token}", Kind: Counter, Description: "Input tokens read from the provider's cache.",
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort, KeyGenAITokenModality)},
	{Name: MetricGenAIClientInferenceUsageCacheWriteInputTokens, Unit: "{token}", Kind: Counter, Description: "Input tokens written to the provider's cache.",
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort, KeyGenAITokenModality)},
	{Name: MetricGenAIClientInferenceUsageReasoningOutputTokens, Unit: "{token}", Kind: Counter, Description: "Reasoning tokens, a part of the output.",
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort, KeyGenAITokenModality)},
	{Name: MetricGenAIClientInferenceOperationInputTokens, Unit: "{token}", Kind: Histogram, Description: "Input tokens of one inference.", Boundaries: TokenBoundaries,
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort)},
	{Name: MetricGenAIClientInferenceOperationOutputTokens, Unit: "{token}", Kind: Histogram, Description: "Output tokens of one inference.", Boundaries: TokenBoundaries,
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort)},
	{Name: MetricGenAIClientEmbeddingsDuration, Unit: "s", Kind: Histogram, Description: "Duration of one embeddings call.", Boundaries: DurationBoundaries,
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort, KeyErrorType)},
	{Name: MetricGenAIClientEmbeddingsOperationInputTokens, Unit: "{token}", Kind: Histogram, Description: "Input tokens of one embeddings call.", Boundaries: TokenBoundaries,
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort)},
	{Name: MetricRequestDuration, Unit: "s", Kind: Histogram, Description: "Duration of an exchange.", Boundaries: WideDurationBoundaries,
		Attributes: keys(KeyDialect, KeyLabel, KeyModelRouted, KeyOutcome)},
	{Name: MetricRequestTimeToFirstByte, Unit: "s", Kind: Histogram, Description: "Time from the request to the first byte of the answer.", Boundaries: WideDurationBoundaries,
		Attributes: keys(KeyDialect, KeyLabel, KeyModelRouted, KeyOutcome)},
	{Name: MetricRequestOverhead, Unit: "s", Kind: Histogram, Description: "Time spent in the gateway itself.", Boundaries: OverheadBoundaries,
		Attributes: keys(KeyDialect, KeyLabel, KeyModelRouted, KeyOutcome)},
	{Name: MetricRequestsActive, Unit: "{request}", Kind: UpDownCounter, Description: "Exchanges in flight.",
		Attributes: keys(KeyDialect)},
	{Name: MetricStreamsActive, Unit: "{stream}", Kind: UpDownCounter, Description: "Streams in flight.",
		Attributes: keys(KeyDialect)},
	{Name: MetricAttempts, Unit: "{attempt}", Kind: Counter, Description: "Attempts by target and result.",
		Attributes: keys(KeyGenAIProviderName, KeyGenAIRequestModel, KeyTarget, KeyAttemptKind, KeyAttemptResult, KeyErrorType)},
	{Name: MetricFallbacks, Unit: "{fallback}", Kind: Counter, Description: "Fallbacks taken.",
		Attributes: keys(KeyFallbackFrom, KeyFallbackTo, KeyFallbackReason)},
	{Name: MetricCost, Unit: "{USD}", Kind: Counter, Description: "Money spent at providers.",
		Attributes: keys(KeyGenAIProviderName, KeyGenAIRequestModel, KeyLabel, KeyCostClass, KeyCostBilling, KeyTeam, KeyKeyAlias)},
	{Name: MetricRequestCost, Unit: "{USD}", Kind: Histogram, Description: "Cost of one exchange.", Boundaries: CostBoundaries,
		Attributes: keys(KeyGenAIProviderName, KeyGenAIRequestModel, KeyLabel)},
	{Name: MetricRoutingComparedCost, Unit: "{USD}", Kind: Counter, Description: "Actual cost of exchanges whose baseline is known.",
		Attributes: keys(KeyLabel, KeyModelOriginal, KeyModelRouted)},
	{Name: MetricRoutingBaselineCost, Unit: "{USD}", Kind: Counter, Description: "Cost of the same usage on the model named by the client.",
		Attributes: keys(KeyLabel, KeyModelOriginal, KeyModelRouted)},
	{Name: MetricRoutingDecisions, Unit: "{decision}", Kind: Counter, Description: "Routing decisions.",
		Attributes: keys(KeyLabel, KeyRouteRule, KeyModelOriginal, KeyModelRouted, KeyRoutePassthrough)},
	{Name: MetricRoutingOutcomes, Unit: "{request}", Kind: Counter, Description: "Exchanges by whether routing was effective.",
		Attributes: keys(KeyLabel, KeyRoutingEffective, KeyRoutingReason)},
	{Name: MetricBudgetLimit, Unit: "{USD}", Kind: Gauge, Description: "Limit of a budget.",
		Attributes: keys(KeyBudgetName, KeyBudgetScope, KeyBudgetWindow, KeyBudgetSubject)},
	{Name: MetricBudgetSpent, Unit: "{USD}", Kind: Gauge, Description: "Spent in the current window.",
		Attributes: keys(KeyBudgetName, KeyBudgetScope, KeyBudgetWindow, KeyBudgetSubject)},
	{Name: MetricBudgetReserved, Unit: "{USD}", Kind: Gauge, Description: "Set aside by exchanges in flight.",
		Attributes: keys(KeyBudgetName, KeyBudgetScope, KeyBudgetWindow, KeyBudgetSubject)},
	{Name: MetricBudgetRemaining, Unit: "{USD}", Kind: Gauge, Description: "Limit less spent and reserved.",
		Attributes: keys(KeyBudgetName, KeyBudgetScope, KeyBudgetWindow, KeyBudgetSubject)},
	{Name: MetricBudgetUtilization, Unit: "1", Kind: Gauge, Description: "Spent and reserved divided by the limit.",
		Attributes: keys(KeyBudgetName, KeyBudgetScope, KeyBudgetWindow, KeyBudgetSubject)},
	{Name: MetricBudgetReset, Unit: "s", Kind: Gauge, Description: "Time until the window ends.",
		Attributes: keys(KeyBudgetName, KeyBudgetScope, KeyBudgetWindow, KeyBudgetSubject)},
	{Name: MetricBudgetForecast, Unit: "{USD}", Kind: Gauge, Description: "Spend expected by the end of the window.",
		Attributes: keys(KeyBudgetName, KeyBudgetScope, KeyBudgetWindow, KeyBudgetSubject)},
	{Name: MetricBudgetSubjects, Unit: "{subject}", Kind: Gauge, Description: "Subjects of a budget by state.",
		Attributes: keys(KeyBudgetName, KeyBudgetScope, KeyBudgetWindow, KeyBudgetState)},
	{Name: MetricBudgetDecisions, Unit: "{decision}", Kind: Counter, Description: "Decisions of a budget.",
		Attributes: keys(KeyBudgetName, KeyBudgetDecision)},
	{Name: MetricBudgetAlerts, Unit: "{alert}", Kind: Counter, Description: "Alerts raised by a budget.",
		Attributes: keys(KeyBudgetName, KeyBudgetAlertType)},
	{Name: MetricBudgetOvershoot, Unit: "{USD}", Kind: Counter, Description: "Spent beyond a budget's limit.",
		Attributes: keys(KeyBudgetName)},
	{Name: MetricHookDuration, Unit: "s", Kind: Histogram, Description: "Duration of one hook in one phase.", Boundaries: OverheadBoundaries,
		Attributes: keys(KeyHookName, KeyHookPhase, KeyHookAction)},
	{Name: MetricModerationDecisions, Unit: "{decision}", Kind: Counter, Description: "Moderation verdicts.",
		Attributes: keys(KeyModerationBackend, KeyModerationStage, KeyModerationVerdict, KeyModerationFailedOpen)},
	{Name: MetricPriceLookups, Unit: "{lookup}", Kind: Counter, Description: "Price look-ups by how the price was found.",
		Attributes: keys(KeyPriceStatus)},
	{Name: MetricTargetState, Unit: "1", Kind: Gauge, Description: "Circuit of a target: 0 closed and healthy, 1 half-open, 2 open.",
		Attributes: keys(KeyTarget)},
	{Name: MetricTelemetryDropped, Unit: "{item}", Kind: Counter, Description: "Spans, log records and data points lost.",
		Attributes: keys(KeyTelemetrySignal, KeyTelemetryDropReason)},
	{Name: MetricTelemetryQueueBytes, Unit: "By", Kind: Gauge, Description: "Telemetry waiting to be exported.",
		Attributes: keys(KeyTelemetrySignal)},
	{Name: MetricConfigReloads, Unit: "{reload}", Kind: Counter, Description: "Configuration reloads.",
		Attributes: keys(KeyConfigResult)},
	{Name: MetricHTTPServerRequestDuration, Unit: "s", Kind: Histogram, Description: "Duration of a served HTTP request.", Boundaries: WideDurationBoundaries,
		Attributes: keys(KeyHTTPRequestMethod, KeyURLScheme, KeyErrorType, KeyHTTPResponseStatusCode, KeyHTTPRoute, KeyNetworkProtocolVersion, KeyServerAddress, KeyServerPort)},
	{Name: MetricHTTPClientRequestDuration, Unit: "s", Kind: Histogram, Description: "Duration of a sent HTTP request, to the end of its answer.", Boundaries: WideDurationBoundaries,
		Attributes: keys(KeyHTTPRequestMethod, KeyServerAddress, KeyServerPort, KeyErrorType, KeyHTTPResponseStatusCode, KeyNetworkProtocolVersion, KeyURLScheme)},
	{Name: MetricProcessCPUTime, Unit: "s", Kind: Counter, Description: "CPU time of this process.",
		Attributes: keys(KeyCPUMode)},
	{Name: MetricProcessMemoryUsage, Unit: "By", Kind: UpDownCounter, Description: "Resident memory of this process."},
}, compatMetrics...)

func keys(k ...attribute.Key) []attribute.Key { return k }
