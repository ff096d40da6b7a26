package names

import "log/slog"

// Names of log events. The log record's EventName is the event; the level is given with each.
const (
	// EventRouting (INFO): the routing decision, once an exchange.
	EventRouting = "ccproxy_routing"
	// EventPreAPICall (INFO): an attempt about to be sent, if enabled.
	EventPreAPICall = "ccproxy_pre_api_call"
	// EventPostAPICall (INFO): an attempt that answered, if enabled.
	EventPostAPICall = "ccproxy_post_api_call"
	// EventSuccess (INFO): an exchange that was answered.
	EventSuccess = "ccproxy_success"
	// EventFailure (ERROR): a failed attempt or a failed exchange.
	EventFailure = "ccproxy_failure"
	// EventStreamComplete (INFO): beside success, a stream that ended.
	EventStreamComplete = "ccproxy_stream_complete"
	// EventFallback (WARN): a fallback decision.
	EventFallback = "ccproxy_fallback"
	// EventBudgetAlert (WARN): a budget crossed a threshold.
	EventBudgetAlert = "ccproxy_budget_alert"
	// EventModeration (WARN): a moderation verdict.
	EventModeration = "ccproxy_moderation"
	// EventOAuthForwarding (INFO): the client's own credential was forwarded.
	EventOAuthForwarding = "oauth_forwarding"
	// EventGenAIException (WARN): an attempt failed (GenAI conventions).
	EventGenAIException = "gen_ai.client.operation.exception"
	// EventGenAIDetails (DEBUG): content, only if capture is on (GenAI conventions).
	EventGenAIDetails = "gen_ai.client.inference.operation.details"
)

// Fields of log events, the original's names where it has one. Strings unless said.
const (
	// FieldRequestID: our id of the exchange.
	FieldRequestID = "request_id"
	// FieldLabel: name a rule gave the exchange.
	FieldLabel = "label"
	// FieldTraceID: 32 hex digits.
	FieldTraceID = "trace_id"
	// FieldSpanID: 16 hex digits.
	FieldSpanID = "span_id"
	// FieldModelName: the label, under the original's name.
	FieldModelName = "model_name"
	// FieldOriginalModel: model the client named.
	FieldOriginalModel = "original_model"
	// FieldRoutedModel: model chosen.
	FieldRoutedModel = "routed_model"
	// FieldIsPassthrough: bool; whether the client's model was kept.
	FieldIsPassthrough = "is_passthrough"
	// FieldRule: rule that matched.
	FieldRule = "rule"
	// FieldReason: why.
	FieldReason = "reason"
	// FieldMessageCount: int; messages in the request.
	FieldMessageCount = "message_count"
	// FieldHasTools: bool; whether tools were offered.
	FieldHasTools = "has_tools"
	// FieldIsStreaming: bool; whether a stream was asked for.
	FieldIsStreaming = "is_streaming"
	// FieldAttempt: int; ordinal of the attempt, from 1.
	FieldAttempt = "attempt"
	// FieldProvider: configured name of the provider.
	FieldProvider = "provider"
	// FieldDurationMS: float; milliseconds with two decimals.
	FieldDurationMS = "duration_ms"
	// FieldRoutingEffective: bool; whether routing did what the rule hoped.
	FieldRoutingEffective = "routing_effective"
	// FieldCostEfficiency: float; baseline cost divided by cost.
	FieldCostEfficiency = "cost_efficiency"
	// FieldCostUSD: float; USD.
	FieldCostUSD = "cost_usd"
	// FieldBaselineCostUSD: float; USD on the model the client named.
	FieldBaselineCostUSD = "baseline_cost_usd"
	// FieldUsage: group of token counts.
	FieldUsage = "usage"
	// FieldModel: model that answered.
	FieldModel = "model"
	// FieldErrorType: our error.type.
	FieldErrorType = "error_type"
	// FieldErrorMessage: at most 500 bytes, scrubbed.
	FieldErrorMessage = "error_message"
	// FieldStatus: int; HTTP status.
	FieldStatus = "status"
	// FieldWillRetry: bool; whether another send or target follows.
	FieldWillRetry = "will_retry"
	// FieldOrigin: our ccproxy.error.origin.
	FieldOrigin = "origin"
	// FieldStreaming: bool; always true.
	FieldStreaming = "streaming"
	// FieldTTFTMS: float; milliseconds to the first token.
	FieldTTFTMS = "ttft_ms"
	// FieldEvents: int; events relayed.
	FieldEvents = "events"
	// FieldOutcome: our ccproxy.outcome.
	FieldOutcome = "outcome"
	// FieldFrom: target given up.
	FieldFrom = "from"
	// FieldTo: target tried next.
	FieldTo = "to"
	// FieldDelayMS: float; milliseconds waited before.
	FieldDelayMS = "delay_ms"
	// FieldAlertType: kind of alert.
	FieldAlertType = "alert_type"
	// FieldCurrentSpend: float; USD spent in the window.
	FieldCurrentSpend = "current_spend"
	// FieldBudgetLimit: float; USD.
	FieldBudgetLimit = "budget_limit"
	// FieldBudget: configured name of the budget.
	FieldBudget = "budget"
	// FieldSubject: alias the sum is kept for.
	FieldSubject = "subject"
	// FieldScope: what the budget is kept for.
	FieldScope = "scope"
	// FieldWindow: period of the budget.
	FieldWindow = "window"
	// FieldThreshold: float; fraction of the limit crossed.
	FieldThreshold = "threshold"
	// FieldResetsAt: time the window ends, RFC 3339.
	FieldResetsAt = "resets_at"
	// FieldPercentageUsed: float; per cent of the limit.
	FieldPercentageUsed = "percentage_used"
	// FieldStage: what was moderated.
	FieldStage = "stage"
	// FieldBackend: moderation back end.
	FieldBackend = "backend"
	// FieldVerdict: the verdict.
	FieldVerdict = "verdict"
	// FieldCategories: string list; categories found.
	FieldCategories = "categories"
	// FieldFailedOpen: bool; whether an error let the exchange pass.
	FieldFailedOpen = "failed_open"
	// FieldAuthPresent: bool; whether a credential was found.
	FieldAuthPresent = "auth_present"
	// FieldUserAgent: User-Agent of the client.
	FieldUserAgent = "user_agent"
	// FieldInputTokens: int; in usage; cached ones included.
	FieldInputTokens = "input_tokens"
	// FieldOutputTokens: int; in usage; reasoning included.
	FieldOutputTokens = "output_tokens"
	// FieldTotalTokens: int; in usage; input and output.
	FieldTotalTokens = "total_tokens"
	// FieldCacheReadInputTokens: int; in usage.
	FieldCacheReadInputTokens = "cache_read_input_tokens"
	// FieldCacheWriteInputTokens: int; in usage.
	FieldCacheWriteInputTokens = "cache_write_input_tokens"
	// FieldReasoningOutputTokens: int; in usage.
	FieldReasoningOutputTokens = "reasoning_output_tokens"
)

// Event describes one log event.
type Event struct {
	Name   string
	Level  slog.Level
	Fields []string // beside CommonFields; those of gen_ai events are attributes of the conventions
}

// CommonFields are carried by every event of an exchange. Read-only.
var CommonFields = []string{FieldRequestID, FieldLabel, FieldTraceID, FieldSpanID}

// UsageFields are the members of the group FieldUsage; those that are zero may be absent. Read-only.
var UsageFields = []string{FieldInputTokens, FieldOutputTokens, FieldTotalTokens, FieldCacheReadInputTokens, FieldCacheWriteInputTokens, FieldReasoningOutputTokens}

// Events lists every log event. Read-only.
var Events = []Event{
	{Name: EventRouting, Level: slog.LevelInfo, Fields: []string{FieldModelName, FieldOriginalModel, FieldRoutedModel, FieldIsPassthrough, FieldRule, FieldReason}},
	{Name: EventPreAPICall, Level: slog.LevelInfo, Fields: []string{FieldModelName, FieldOriginalModel, FieldRoutedModel, FieldMessageCount, FieldHasTools, FieldIsStreaming, FieldAttempt, FieldProvider}},
	{Name: EventPostAPICall, Level: slog.LevelInfo, Fields: []string{FieldModelName, FieldDurationMS, FieldRoutingEffective, FieldCostEfficiency, FieldCostUSD, FieldBaselineCostUSD, FieldUsage}},
	{Name: EventSuccess, Level: slog.LevelInfo, Fields: []string{FieldModelName, FieldDurationMS, FieldModel, FieldProvider, FieldUsage, FieldCostUSD}},
	{Name: EventFailure, Level: slog.LevelError, Fields: []string{FieldModelName, FieldOriginalModel, FieldRoutedModel, FieldDurationMS, FieldModel, FieldErrorType, FieldErrorMessage, FieldStatus, FieldAttempt, FieldWillRetry, FieldOrigin}},
	{Name: EventStreamComplete, Level: slog.LevelInfo, Fields: []string{FieldModelName, FieldDurationMS, FieldModel, FieldStreaming, FieldTTFTMS, FieldEvents, FieldOutcome}},
	{Name: EventFallback, Level: slog.LevelWarn, Fields: []string{FieldFrom, FieldTo, FieldReason, FieldAttempt, FieldDelayMS, FieldOutcome}},
	{Name: EventBudgetAlert, Level: slog.LevelWarn, Fields: []string{FieldAlertType, FieldCurrentSpend, FieldBudgetLimit, FieldBudget, FieldSubject, FieldScope, FieldWindow, FieldThreshold, FieldResetsAt, FieldPercentageUsed}},
	{Name: EventModeration, Level: slog.LevelWarn, Fields: []string{FieldStage, FieldBackend, FieldVerdict, FieldCategories, FieldFailedOpen}},
	{Name: EventOAuthForwarding, Level: slog.LevelInfo, Fields: []string{FieldProvider, FieldModel, FieldAuthPresent, FieldUserAgent}},
	{Name: EventGenAIException, Level: slog.LevelWarn, Fields: []string{string(KeyExceptionType), string(KeyExceptionMessage)}},
	{Name: EventGenAIDetails, Level: slog.LevelDebug, Fields: []string{string(KeyGenAIInputMessages), string(KeyGenAIOutputMessages), string(KeyGenAISystemInstructions), string(KeyGenAIToolDefinitions)}},
}
