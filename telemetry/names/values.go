package names

// Values of ccproxy.dialect; the set is closed. Source: the telemetry contract.
const (
	DialectAnthropicMessages     = "anthropic.messages"
	DialectAnthropicCountTokens  = "anthropic.count_tokens"
	DialectOpenAIChat            = "openai.chat"
	DialectOpenAICompletions     = "openai.completions"
	DialectOpenAIResponses       = "openai.responses"
	DialectOpenAIEmbeddings      = "openai.embeddings"
	DialectOpenAIInputTokens     = "openai.input_tokens"
	DialectGeminiGenerateContent = "gemini.generate_content"
	DialectGeminiCountTokens     = "gemini.count_tokens"
	DialectGeminiEmbedContent    = "gemini.embed_content"
	DialectModels                = "models"
	DialectOpaque                = "opaque"
)

// Values of ccproxy.outcome; the set is closed. Source: the telemetry contract.
const (
	OutcomeCompleted        = "completed"
	OutcomeRejected         = "rejected"
	OutcomeFailed           = "failed"
	OutcomeClientDisconnect = "client_disconnect"
	OutcomeTimeout          = "timeout"
	OutcomeTruncated        = "truncated"
	OutcomeBlocked          = "blocked"
)

// Values of ccproxy.rejection.reason; the set is closed. Source: the telemetry contract.
const (
	RejectionAuth       = "auth"
	RejectionInvalid    = "invalid"
	RejectionBudget     = "budget"
	RejectionRateLimit  = "rate_limit"
	RejectionPolicy     = "policy"
	RejectionModeration = "moderation"
	RejectionOverload   = "overload"
	RejectionNoRoute    = "no_route"
	RejectionNotFound   = "not_found"
)

// Values of ccproxy.fallback.reason; the set is closed. Source: the telemetry contract.
const (
	FallbackRateLimit     = "rate_limit"
	FallbackOverloaded    = "overloaded"
	FallbackTimeout       = "timeout"
	FallbackServerError   = "server_error"
	FallbackConnect       = "connect"
	FallbackContextWindow = "context_window"
	FallbackContentPolicy = "content_policy"
	FallbackBudget        = "budget"
	FallbackCredit        = "credit"
	FallbackAuth          = "auth"
	FallbackCircuitOpen   = "circuit_open"
	FallbackDialect       = "dialect"
)

// Values of ccproxy.attempt.kind; the set is closed. Source: the telemetry contract.
const (
	AttemptKindPrimary    = "primary"
	AttemptKindFallback   = "fallback"
	AttemptKindModeration = "moderation"
)

// Values of ccproxy.attempt.result; the set is closed. Source: the telemetry contract.
const (
	AttemptResultUsed       = "used"
	AttemptResultSuperseded = "superseded"
	AttemptResultFailed     = "failed"
	AttemptResultSkipped    = "skipped"
)

// Values of ccproxy.stream.end; the set is closed. Source: the telemetry contract.
const (
	StreamEndDone             = "done"
	StreamEndError            = "error"
	StreamEndClientDisconnect = "client_disconnect"
	StreamEndIdleTimeout      = "idle_timeout"
	StreamEndTruncated        = "truncated"
	StreamEndCutOff           = "cut_off"
)

// Values of ccproxy.usage.source; the set is closed. Source: the telemetry contract.
const (
	UsageSourceProvider  = "provider"
	UsageSourcePartial   = "partial"
	UsageSourceEstimated = "estimated"
	UsageSourceNone      = "none"
)

// Values of ccproxy.cost.source; the set is closed. Source: the telemetry contract.
const (
	CostSourceLocal    = "local"
	CostSourceProvider = "provider"
	CostSourceAssumed  = "assumed"
	CostSourceNone     = "none"
)

// Values of ccproxy.cost.billing; the set is closed. Source: the telemetry contract.
const (
	CostBillingMetered  = "metered"
	CostBillingNotional = "notional"
	CostBillingFree     = "free"
)

// Values of ccproxy.cost.class; the set is closed. Source: the telemetry contract.
const (
	CostClassInput      = "input"
	CostClassCacheRead  = "cache_read"
	CostClassCacheWrite = "cache_write"
	CostClassOutput     = "output"
	CostClassOther      = "other"
)

// Values of ccproxy.route.reason; the set is closed. Source: the telemetry contract.
const (
	RouteReasonRule        = "rule"
	RouteReasonModel       = "model"
	RouteReasonDefault     = "default"
	RouteReasonPassthrough = "passthrough"
	RouteReasonSticky      = "sticky"
	RouteReasonHealth      = "health"
	RouteReasonBudget      = "budget"
)

// Values of ccproxy.hook.action; the set is closed. Source: the telemetry contract.
const (
	HookActionNone       = "none"
	HookActionModified   = "modified"
	HookActionBlocked    = "blocked"
	HookActionSkipped    = "skipped"
	HookActionFailedOpen = "failed_open"
)

// Values of ccproxy.hook.phase; the set is closed. Source: the telemetry contract.
const (
	HookPhasePreCall    = "pre_call"
	HookPhasePreAPI     = "pre_api"
	HookPhasePostAPI    = "post_api"
	HookPhaseModeration = "moderation"
	HookPhaseStream     = "stream"
	HookPhaseEnd        = "end"
)

// Values of ccproxy.moderation.verdict; the set is closed. Source: the telemetry contract.
const (
	ModerationVerdictPass   = "pass"
	ModerationVerdictFlag   = "flag"
	ModerationVerdictRedact = "redact"
	ModerationVerdictBlock  = "block"
	ModerationVerdictError  = "error"
)

// Values of ccproxy.moderation.mode; the set is closed. Source: the telemetry contract.
const (
	ModerationModeBlocking = "blocking"
	ModerationModeParallel = "parallel"
	ModerationModeAudit    = "audit"
)

// Values of ccproxy.moderation.stage; the set is closed. Source: the telemetry contract.
const (
	ModerationStageInput  = "input"
	ModerationStageOutput = "output"
	ModerationStageStream = "stream"
)

// Values of ccproxy.budget.decision; the set is closed. Source: the telemetry contract.
const (
	BudgetDecisionAllow    = "allow"
	BudgetDecisionWarn     = "warn"
	BudgetDecisionDeny     = "deny"
	BudgetDecisionReroute  = "reroute"
	BudgetDecisionFailOpen = "fail_open"
)

// Values of ccproxy.budget.state; the set is closed. Source: the telemetry contract.
const (
	BudgetStateOK        = "ok"
	BudgetStateWarn      = "warn"
	BudgetStateExhausted = "exhausted"
)

// Values of ccproxy.budget.alert_type; the set is closed. Source: the money contract, section 5.
const (
	AlertThresholdCrossed = "threshold_crossed"
	AlertBudgetCrossed    = "budget_crossed"
	AlertForecastOverrun  = "forecast_overrun"
	AlertUnpricedRequest  = "unpriced_request"
	AlertReset            = "reset"
)

// What telemetry.dimensions may list: by what costs are told apart in metrics, besides provider, model and label.
const (
	DimensionTeam     = "team"      // ccproxy.team
	DimensionKeyAlias = "key_alias" // ccproxy.key.alias
)

// Values of ccproxy.price.status; the set is closed. Source: the telemetry contract.
const (
	PriceStatusExact    = "exact"
	PriceStatusAlias    = "alias"
	PriceStatusOverride = "override"
	PriceStatusProvider = "provider"
	PriceStatusAssumed  = "assumed"
	PriceStatusUnknown  = "unknown"
)

// Values of ccproxy.error.origin; the set is closed. Source: the telemetry contract.
const (
	ErrorOriginCaller   = "caller"
	ErrorOriginPolicy   = "policy"
	ErrorOriginProvider = "provider"
	ErrorOriginGateway  = "gateway"
)

// Values of error.type; the set is closed. Source: the telemetry contract and the conventions.
const (
	ErrorRateLimitExceeded     = "rate_limit_exceeded"
	ErrorInsufficientQuota     = "insufficient_quota"
	ErrorInvalidRequestError   = "invalid_request_error"
	ErrorAuthenticationError   = "authentication_error"
	ErrorPermissionError       = "permission_error"
	ErrorNotFoundError         = "not_found_error"
	ErrorContextLengthExceeded = "context_length_exceeded"
	ErrorContentFilter         = "content_filter"
	ErrorOverloadedError       = "overloaded_error"
	ErrorServerError           = "server_error"
	ErrorTimeout               = "timeout"
	ErrorIdleTimeout           = "idle_timeout"
	ErrorConnectError          = "connect_error"
	ErrorTLSError              = "tls_error"
	ErrorDNSError              = "dns_error"
	ErrorStreamTruncated       = "stream_truncated"
	ErrorResponseDecodeError   = "response_decode_error"
	ErrorResponseTooLarge      = "response_too_large"
	ErrorCircuitOpen           = "circuit_open"
	ErrorNoRoute               = "no_route"
	ErrorBudgetExceeded        = "budget_exceeded"
	ErrorPriceUnknown          = "price_unknown"
	ErrorModerationBlocked     = "moderation_blocked"
	ErrorHookError             = "hook_error"
	ErrorUnauthorized          = "unauthorized"
	ErrorUpstreamAuthFailed    = "upstream_auth_failed"
	ErrorOverload              = "overload"
	ErrorOther                 = "_OTHER"
)

// Values of ccproxy.phase; the set is closed. Source: the telemetry contract.
const (
	PhasePreCall    = "pre_call"
	PhaseModeration = "moderation"
	PhasePreAPI     = "pre_api"
	PhaseUpstream   = "upstream"
	PhaseStream     = "stream"
	PhasePostAPI    = "post_api"
)

// Values of ccproxy.kept; the set is closed. Source: the telemetry contract.
const (
	KeptError           = "error"
	KeptFallback        = "fallback"
	KeptCost            = "cost"
	KeptDuration        = "duration"
	KeptModerationBlock = "moderation_block"
	KeptBudgetDenied    = "budget_denied"
	KeptRatio           = "ratio"
)

// Values of gen_ai.operation.name; the set is closed. Source: the telemetry contract and the conventions.
const (
	OperationChat            = "chat"
	OperationGenerateContent = "generate_content"
	OperationTextCompletion  = "text_completion"
	OperationEmbeddings      = "embeddings"
)

// Values of gen_ai.output.type; the set is closed. Source: the telemetry contract and the conventions.
const (
	OutputTypeText   = "text"
	OutputTypeJSON   = "json"
	OutputTypeImage  = "image"
	OutputTypeSpeech = "speech"
)

// Values of gen_ai.token.modality; the set is closed. Source: the telemetry contract and the conventions.
const (
	ModalityText    = "text"
	ModalityImage   = "image"
	ModalityAudio   = "audio"
	ModalityUnknown = "unknown"
)

// Values of openai.api.type; the set is closed. Source: the telemetry contract and the conventions.
const (
	OpenAIAPIChatCompletions = "chat_completions"
	OpenAIAPIResponses       = "responses"
)

// Values of ccproxy.telemetry.signal; the set is closed. Source: the telemetry contract.
const (
	SignalTraces  = "traces"
	SignalMetrics = "metrics"
	SignalLogs    = "logs"
)

// Values of ccproxy.telemetry.drop_reason; the set is closed. Source: the telemetry contract.
const (
	DropQueueFull    = "queue_full"
	DropTooLarge     = "too_large"
	DropExportFailed = "export_failed"
	DropRejected     = "rejected"
	DropShutdown     = "shutdown"
)

// Values of ccproxy.config.result; the set is closed. Source: the telemetry contract.
const (
	ConfigResultOK    = "ok"
	ConfigResultError = "error"
)

// Values of cpu.mode; the set is closed. Source: the telemetry contract and the conventions.
const (
	CPUModeUser   = "user"
	CPUModeSystem = "system"
)
