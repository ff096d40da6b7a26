package names

// The closed vocabularies, each in the order the contract lists them. Read-only.
var (
	// Dialects are the legal values of ccproxy.dialect.
	Dialects = []string{DialectAnthropicMessages, DialectAnthropicCountTokens, DialectOpenAIChat, DialectOpenAICompletions, DialectOpenAIResponses, DialectOpenAIEmbeddings, DialectOpenAIInputTokens, DialectGeminiGenerateContent, DialectGeminiCountTokens, DialectGeminiEmbedContent, DialectModels, DialectOpaque}
	// Outcomes are the legal values of ccproxy.outcome.
	Outcomes = []string{OutcomeCompleted, OutcomeRejected, OutcomeFailed, OutcomeClientDisconnect, OutcomeTimeout, OutcomeTruncated, OutcomeBlocked}
	// RejectionReasons are the legal values of ccproxy.rejection.reason.
	RejectionReasons = []string{RejectionAuth, RejectionInvalid, RejectionBudget, RejectionRateLimit, RejectionPolicy, RejectionModeration, RejectionOverload, RejectionNoRoute, RejectionNotFound}
	// FallbackReasons are the legal values of ccproxy.fallback.reason.
	FallbackReasons = []string{FallbackRateLimit, FallbackOverloaded, FallbackTimeout, FallbackServerError, FallbackConnect, FallbackContextWindow, FallbackContentPolicy, FallbackBudget, FallbackCredit, FallbackAuth, FallbackCircuitOpen, FallbackDialect}
	// AttemptKinds are the legal values of ccproxy.attempt.kind.
	AttemptKinds = []string{AttemptKindPrimary, AttemptKindFallback, AttemptKindModeration}
	// AttemptResults are the legal values of ccproxy.attempt.result.
	AttemptResults = []string{AttemptResultUsed, AttemptResultSuperseded, AttemptResultFailed, AttemptResultSkipped}
	// StreamEnds are the legal values of ccproxy.stream.end.
	StreamEnds = []string{StreamEndDone, StreamEndError, StreamEndClientDisconnect, StreamEndIdleTimeout, StreamEndTruncated, StreamEndCutOff}
	// UsageSources are the legal values of ccproxy.usage.source.
	UsageSources = []string{UsageSourceProvider, UsageSourcePartial, UsageSourceEstimated, UsageSourceNone}
	// CostSources are the legal values of ccproxy.cost.source.
	CostSources = []string{CostSourceLocal, CostSourceProvider, CostSourceAssumed, CostSourceNone}
	// CostBillings are the legal values of ccproxy.cost.billing.
	CostBillings = []string{CostBillingMetered, CostBillingNotional, CostBillingFree}
	// CostClasses are the legal values of ccproxy.cost.class.
	CostClasses = []string{CostClassInput, CostClassCacheRead, CostClassCacheWrite, CostClassOutput, CostClassOther}
	// RouteReasons are the legal values of ccproxy.route.reason.
	RouteReasons = []string{RouteReasonRule, RouteReasonModel, RouteReasonDefault, RouteReasonPassthrough, RouteReasonSticky, RouteReasonHealth, RouteReasonBudget}
	// HookActions are the legal values of ccproxy.hook.action.
	HookActions = []string{HookActionNone, HookActionModified, HookActionBlocked, HookActionSkipped, HookActionFailedOpen}
	// HookPhases are the legal values of ccproxy.hook.phase.
	HookPhases = []string{HookPhasePreCall, HookPhasePreAPI, HookPhasePostAPI, HookPhaseModeration, HookPhaseStream, HookPhaseEnd}
	// ModerationVerdicts are the legal values of ccproxy.moderation.verdict.
	ModerationVerdicts = []string{ModerationVerdictPass, ModerationVerdictFlag, ModerationVerdictRedact, ModerationVerdictBlock, ModerationVerdictError}
	// ModerationModes are the legal values of ccproxy.moderation.mode.
	ModerationModes = []string{ModerationModeBlocking, ModerationModeParallel, ModerationModeAudit}
	// ModerationStages are the legal values of ccproxy.moderation.stage.
	ModerationStages = []string{ModerationStageInput, ModerationStageOutput, ModerationStageStream}
	// BudgetDecisions are the legal values of ccproxy.budget.decision.
	BudgetDecisions = []string{BudgetDecisionAllow, BudgetDecisionWarn, BudgetDecisionDeny, BudgetDecisionReroute, BudgetDecisionFailOpen}
	// BudgetStates are the legal values of ccproxy.budget.state.
	BudgetStates = []string{BudgetStateOK, BudgetStateWarn, BudgetStateExhausted}
	// AlertTypes are the legal values of ccproxy.budget.alert_type.
	AlertTypes = []string{AlertThresholdCrossed, AlertBudgetCrossed, AlertForecastOverrun, AlertUnpricedRequest, AlertReset}
	// PriceStatuses are the legal values of ccproxy.price.status.
	PriceStatuses = []string{PriceStatusExact, PriceStatusAlias, PriceStatusOverride, PriceStatusProvider, PriceStatusAssumed, PriceStatusUnknown}
	// ErrorOrigins are the legal values of ccproxy.error.origin.
	ErrorOrigins = []string{ErrorOriginCaller, ErrorOriginPolicy, ErrorOriginProvider, ErrorOriginGateway}
	// ErrorTypes are the legal values of error.type.
	ErrorTypes = []string{ErrorRateLimitExceeded, ErrorInsufficientQuota, ErrorInvalidRequestError, ErrorAuthenticationError, ErrorPermissionError, ErrorNotFoundError, ErrorContextLengthExceeded, ErrorContentFilter, ErrorOverloadedError, ErrorServerError, ErrorTimeout, ErrorIdleTimeout, ErrorConnectError, ErrorTLSError, ErrorDNSError, ErrorStreamTruncated, ErrorResponseDecodeError, ErrorResponseTooLarge, ErrorCircuitOpen, ErrorNoRoute, ErrorBudgetExceeded, ErrorPriceUnknown, ErrorModerationBlocked, ErrorHookError, ErrorUnauthorized, ErrorUpstreamAuthFailed, ErrorOverload, ErrorOther}
	// Phases are the legal values of ccproxy.phase.
	Phases = []string{PhasePreCall, PhaseModeration, PhasePreAPI, PhaseUpstream, PhaseStream, PhasePostAPI}
	// KeepReasons are the legal values of ccproxy.kept.
	KeepReasons = []string{KeptError, KeptFallback, KeptCost, KeptDuration, KeptModerationBlock, KeptBudgetDenied, KeptRatio}
	// Operations are the legal values of gen_ai.operation.name.
	Operations = []string{OperationChat, OperationGenerateContent, OperationTextCompletion, OperationEmbeddings}
	// OutputTypes are the legal values of gen_ai.output.type.
	OutputTypes = []string{OutputTypeText, OutputTypeJSON, OutputTypeImage, OutputTypeSpeech}
	// Modalities are the legal values of gen_ai.token.modality.
	Modalities = []string{ModalityText, ModalityImage, ModalityAudio, ModalityUnknown}
	// OpenAIAPITypes are the legal values of openai.api.type.
	OpenAIAPITypes = []string{OpenAIAPIChatCompletions, OpenAIAPIResponses}
	// TelemetrySignals are the legal values of ccproxy.telemetry.signal.
	TelemetrySignals = []string{SignalTraces, SignalMetrics, SignalLogs}
	// TelemetryDropReasons are the legal values of ccproxy.telemetry.drop_reason.
	TelemetryDropReasons = []string{DropQueueFull, DropTooLarge, DropExportFailed, DropRejected, DropShutdown}
	// ConfigResults are the legal values of ccproxy.config.result.
	ConfigResults = []string{ConfigResultOK, ConfigResultError}
	// CPUModes are the legal values of cpu.mode.
	CPUModes = []string{CPUModeUser, CPUModeSystem}
)

// Values maps an attribute key to its closed set of values. Read-only; an attribute that is absent is open.
var Values = map[string][]string{
	"ccproxy.dialect":               Dialects,
	"ccproxy.outcome":               Outcomes,
	"ccproxy.rejection.reason":      RejectionReasons,
	"ccproxy.fallback.reason":       FallbackReasons,
	"ccproxy.attempt.kind":          AttemptKinds,
	"ccproxy.attempt.result":        AttemptResults,
	"ccproxy.stream.end":            StreamEnds,
	"ccproxy.usage.source":          UsageSources,
	"ccproxy.cost.source":           CostSources,
	"ccproxy.cost.billing":          CostBillings,
	"ccproxy.cost.class":            CostClasses,
	"ccproxy.route.reason":          RouteReasons,
	"ccproxy.hook.action":           HookActions,
	"ccproxy.hook.phase":            HookPhases,
	"ccproxy.moderation.verdict":    ModerationVerdicts,
	"ccproxy.moderation.mode":       ModerationModes,
	"ccproxy.moderation.stage":      ModerationStages,
	"ccproxy.budget.decision":       BudgetDecisions,
	"ccproxy.budget.state":          BudgetStates,
	"ccproxy.budget.alert_type":     AlertTypes,
	"ccproxy.price.status":          PriceStatuses,
	"ccproxy.error.origin":          ErrorOrigins,
	"error.type":                    ErrorTypes,
	"ccproxy.phase":                 Phases,
	"ccproxy.kept":                  KeepReasons,
	"gen_ai.operation.name":         Operations,
	"gen_ai.output.type":            OutputTypes,
	"gen_ai.token.modality":         Modalities,
	"openai.api.type":               OpenAIAPITypes,
	"ccproxy.telemetry.signal":      TelemetrySignals,
	"ccproxy.telemetry.drop_reason": TelemetryDropReasons,
	"ccproxy.config.result":         ConfigResults,
	"cpu.mode":                      CPUModes,
	"gen_ai.token.type":             TokenTypes,
	"openinference.span.kind":       OpenInferenceKinds,
	"langfuse.observation.type":     LangfuseTypes,
}
