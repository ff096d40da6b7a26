package names

// Metrics of the GenAI conventions v0.1.0 (development).
const (
	// MetricGenAIClientInferenceDuration (histogram, s): duration of one inference, from the send to the last byte, error or cancellation.
	MetricGenAIClientInferenceDuration = "gen_ai.client.inference.duration"
	// MetricGenAIClientInferenceTimeToFirstChunk (histogram, s): time from the send to the first chunk, streams only.
	MetricGenAIClientInferenceTimeToFirstChunk = "gen_ai.client.inference.time_to_first_chunk"
	// MetricGenAIClientInferenceTimePerOutputChunk (histogram, s): time between two chunks, one record per chunk after the first.
	MetricGenAIClientInferenceTimePerOutputChunk = "gen_ai.client.inference.time_per_output_chunk"
	// MetricGenAIClientInferenceUsageInputTokens (counter, {token}): input tokens used, cached ones included.
	MetricGenAIClientInferenceUsageInputTokens = "gen_ai.client.inference.usage.input_tokens"
	// MetricGenAIClientInferenceUsageOutputTokens (counter, {token}): output tokens used, reasoning included.
	MetricGenAIClientInferenceUsageOutputTokens = "gen_ai.client.inference.usage.output_tokens"
	// MetricGenAIClientInferenceUsageCacheReadInputTokens (counter, {token}): input tokens read from the provider's cache.
	MetricGenAIClientInferenceUsageCacheReadInputTokens = "gen_ai.client.inference.usage.cache_read.input_tokens"
	// MetricGenAIClientInferenceUsageCacheWriteInputTokens (counter, {token}): input tokens written to the provider's cache.
	MetricGenAIClientInferenceUsageCacheWriteInputTokens = "gen_ai.client.inference.usage.cache_write.input_tokens"
	// MetricGenAIClientInferenceUsageReasoningOutputTokens (counter, {token}): reasoning tokens, a part of the output.
	MetricGenAIClientInferenceUsageReasoningOutputTokens = "gen_ai.client.inference.usage.reasoning.output_tokens"
	// MetricGenAIClientInferenceOperationInputTokens (histogram, {token}): input tokens of one inference.
	MetricGenAIClientInferenceOperationInputTokens = "gen_ai.client.inference.operation.input_tokens"
	// MetricGenAIClientInferenceOperationOutputTokens (histogram, {token}): output tokens of one inference.
	MetricGenAIClientInferenceOperationOutputTokens = "gen_ai.client.inference.operation.output_tokens"
	// MetricGenAIClientEmbeddingsDuration (histogram, s): duration of one embeddings call.
	MetricGenAIClientEmbeddingsDuration = "gen_ai.client.embeddings.duration"
	// MetricGenAIClientEmbeddingsOperationInputTokens (histogram, {token}): input tokens of one embeddings call.
	MetricGenAIClientEmbeddingsOperationInputTokens = "gen_ai.client.embeddings.operation.input_tokens"
)

// Metrics of our own.
const (
	// MetricRequestDuration (histogram, s): duration of an exchange.
	MetricRequestDuration = "ccproxy.request.duration"
	// MetricRequestTimeToFirstByte (histogram, s): time from the request to the first byte of the answer.
	MetricRequestTimeToFirstByte = "ccproxy.request.time_to_first_byte"
	// MetricRequestOverhead (histogram, s): time spent in the gateway itself.
	MetricRequestOverhead = "ccproxy.request.overhead"
	// MetricRequestsActive (updowncounter, {request}): exchanges in flight.
	MetricRequestsActive = "ccproxy.requests.active"
	// MetricStreamsActive (updowncounter, {stream}): streams in flight.
	MetricStreamsActive = "ccproxy.streams.active"
	// MetricAttempts (counter, {attempt}): attempts by target and result.
	MetricAttempts = "ccproxy.attempts"
	// MetricFallbacks (counter, {fallback}): fallbacks taken.
	MetricFallbacks = "ccproxy.fallbacks"
	// MetricCost (counter, {USD}): money spent at providers.
	MetricCost = "ccproxy.cost"
	// MetricRequestCost (histogram, {USD}): cost of one exchange.
	MetricRequestCost = "ccproxy.request.cost"
	// MetricRoutingComparedCost (counter, {USD}): actual cost of exchanges whose baseline is known.
	MetricRoutingComparedCost = "ccproxy.routing.compared_cost"
	// MetricRoutingBaselineCost (counter, {USD}): cost of the same usage on the model named by the client.
	MetricRoutingBaselineCost = "ccproxy.routing.baseline_cost"
	// MetricRoutingDecisions (counter, {decision}): routing decisions.
	MetricRoutingDecisions = "ccproxy.routing.decisions"
	// MetricRoutingOutcomes (counter, {request}): exchanges by whether routing was effective.
	MetricRoutingOutcomes = "ccproxy.routing.outcomes"
	// MetricBudgetLimit (gauge, {USD}): limit of a budget.
	MetricBudgetLimit = "ccproxy.budget.limit"
	// MetricBudgetSpent (gauge, {USD}): spent in the current window.
	MetricBudgetSpent = "ccproxy.budget.spent"
	// MetricBudgetReserved (gauge, {USD}): set aside by exchanges in flight.
	MetricBudgetReserved = "ccproxy.budget.reserved"
	// MetricBudgetRemaining (gauge, {USD}): limit less spent and reserved.
	MetricBudgetRemaining = "ccproxy.budget.remaining"
	// MetricBudgetUtilization (gauge, 1): spent and reserved divided by the limit.
	MetricBudgetUtilization = "ccproxy.budget.utilization"
	// MetricBudgetReset (gauge, s): time until the window ends.
	MetricBudgetReset = "ccproxy.budget.reset"
	// MetricBudgetForecast (gauge, {USD}): spend expected by the end of the window.
	MetricBudgetForecast = "ccproxy.budget.forecast"
	// MetricBudgetSubjects (gauge, {subject}): subjects of a budget by state.
	MetricBudgetSubjects = "ccproxy.budget.subjects"
	// MetricBudgetDecisions (counter, {decision}): decisions of a budget.
	MetricBudgetDecisions = "ccproxy.budget.decisions"
	// MetricBudgetAlerts (counter, {alert}): alerts raised by a budget.
	MetricBudgetAlerts = "ccproxy.budget.alerts"
	// MetricBudgetOvershoot (counter, {USD}): spent beyond a budget's limit.
	MetricBudgetOvershoot = "ccproxy.budget.overshoot"
	// MetricHookDuration (histogram, s): duration of one hook in one phase.
	MetricHookDuration = "ccproxy.hook.duration"
	// MetricModerationDecisions (counter, {decision}): moderation verdicts.
	MetricModerationDecisions = "ccproxy.moderation.decisions"
	// MetricPriceLookups (counter, {lookup}): price look-ups by how the price was found.
	MetricPriceLookups = "ccproxy.price.lookups"
	// MetricTargetState (gauge, 1): circuit of a target: 0 closed and healthy, 1 half-open, 2 open.
	MetricTargetState = "ccproxy.target.state"
	// MetricTelemetryDropped (counter, {item}): spans, log records and data points lost.
	MetricTelemetryDropped = "ccproxy.telemetry.dropped"
	// MetricTelemetryQueueBytes (gauge, By): telemetry waiting to be exported.
	MetricTelemetryQueueBytes = "ccproxy.telemetry.queue.bytes"
	// MetricConfigReloads (counter, {reload}): configuration reloads.
	MetricConfigReloads = "ccproxy.config.reloads"
)

// Metrics of the HTTP and process conventions, semantic conventions v1.43.0.
const (
	// MetricHTTPServerRequestDuration (histogram, s): duration of a served HTTP request.
	MetricHTTPServerRequestDuration = "http.server.request.duration"
	// MetricHTTPClientRequestDuration (histogram, s): duration of a sent HTTP request, to the end of its answer: that of its span.
	MetricHTTPClientRequestDuration = "http.client.request.duration"
	// MetricProcessCPUTime (counter, s): CPU time of this process.
	MetricProcessCPUTime = "process.cpu.time"
	// MetricProcessMemoryUsage (updowncounter, By): resident memory of this process.
	MetricProcessMemoryUsage = "process.memory.usage"
)
