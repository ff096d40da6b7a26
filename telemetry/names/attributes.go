package names

import "go.opentelemetry.io/otel/attribute"

// Attributes of the HTTP and general conventions, semantic conventions v1.43.0.
const (
	// KeyHTTPRequestMethod (string; SERVER, POST): HTTP request method.
	KeyHTTPRequestMethod = attribute.Key("http.request.method")
	// KeyHTTPRequestResendCount (int; POST): ordinal of a repeated send, absent on the first.
	KeyHTTPRequestResendCount = attribute.Key("http.request.resend_count")
	// KeyHTTPResponseStatusCode (int; SERVER, POST): HTTP response status code.
	KeyHTTPResponseStatusCode = attribute.Key("http.response.status_code")
	// KeyHTTPRoute (string; SERVER): matched route pattern, never the raw path.
	KeyHTTPRoute = attribute.Key("http.route")
	// KeyURLFull (string; POST): URL sent to, credentials removed.
	KeyURLFull = attribute.Key("url.full")
	// KeyURLPath (string; SERVER): path of the request.
	KeyURLPath = attribute.Key("url.path")
	// KeyURLScheme (string; SERVER): scheme of the request.
	KeyURLScheme = attribute.Key("url.scheme")
	// KeyNetworkProtocolVersion (string; SERVER, POST): HTTP version, "1.1" or "2".
	KeyNetworkProtocolVersion = attribute.Key("network.protocol.version")
	// KeyNetworkPeerAddress (string; SERVER, POST): address of the peer of the connection.
	KeyNetworkPeerAddress = attribute.Key("network.peer.address")
	// KeyNetworkPeerPort (int; SERVER, POST): port of the peer of the connection.
	KeyNetworkPeerPort = attribute.Key("network.peer.port")
	// KeyServerAddress (string; SERVER, GenAI, POST, metrics): host of the provider's end point; on the SERVER span our own configured name, never the Host header.
	KeyServerAddress = attribute.Key("server.address")
	// KeyServerPort (int; SERVER, GenAI, POST, metrics): port of the provider's end point.
	KeyServerPort = attribute.Key("server.port")
	// KeyUserAgentOriginal (string; SERVER): User-Agent header as received.
	KeyUserAgentOriginal = attribute.Key("user_agent.original")
	// KeyErrorType (string; SERVER, hook, GenAI, POST, metrics): closed class of the error, only where the span's status is Error; a bare HTTP status code ("500") is legal too.
	KeyErrorType = attribute.Key("error.type")
	// KeySessionID (string; SERVER): the caller's session, if one was given.
	KeySessionID = attribute.Key("session.id")
	// KeyUserID (string; SERVER): the caller's end user, hashed unless the policy says plain.
	KeyUserID = attribute.Key("user.id")
	// KeyServiceName (string; resource): name of this service.
	KeyServiceName = attribute.Key("service.name")
	// KeyServiceVersion (string; resource): version of this build.
	KeyServiceVersion = attribute.Key("service.version")
	// KeyServiceInstanceID (string; resource): unique id of this process.
	KeyServiceInstanceID = attribute.Key("service.instance.id")
	// KeyExceptionType (string; event): our error.type on the exception event.
	KeyExceptionType = attribute.Key("exception.type")
	// KeyExceptionMessage (string; event): our own constant text, never the error's.
	KeyExceptionMessage = attribute.Key("exception.message")
	// KeyCPUMode (string; metrics): whether CPU time was spent in user or kernel mode.
	KeyCPUMode = attribute.Key("cpu.mode")
)

// Attributes of the GenAI conventions v0.1.0 (development) and their refinements.
const (
	// KeyGenAIOperationName (string; GenAI, metrics): GenAI operation.
	KeyGenAIOperationName = attribute.Key("gen_ai.operation.name")
	// KeyGenAIProviderName (string; GenAI, metrics): telemetry format flavour of the provider, from its configured type.
	KeyGenAIProviderName = attribute.Key("gen_ai.provider.name")
	// KeyGenAIRequestModel (string; GenAI, metrics): model as sent to the provider.
	KeyGenAIRequestModel = attribute.Key("gen_ai.request.model")
	// KeyGenAIRequestStream (bool; GenAI): set, to true, only when the request streams.
	KeyGenAIRequestStream = attribute.Key("gen_ai.request.stream")
	// KeyGenAIRequestMaxTokens (int; GenAI): most output tokens asked for.
	KeyGenAIRequestMaxTokens = attribute.Key("gen_ai.request.max_tokens")
	// KeyGenAIRequestTemperature (float; GenAI): sampling temperature.
	KeyGenAIRequestTemperature = attribute.Key("gen_ai.request.temperature")
	// KeyGenAIRequestTopP (float; GenAI): nucleus sampling probability.
	KeyGenAIRequestTopP = attribute.Key("gen_ai.request.top_p")
	// KeyGenAIRequestTopK (int; GenAI): top-k sampling.
	KeyGenAIRequestTopK = attribute.Key("gen_ai.request.top_k")
	// KeyGenAIRequestReasoningLevel (string; GenAI): reasoning effort exactly as sent.
	KeyGenAIRequestReasoningLevel = attribute.Key("gen_ai.request.reasoning.level")
	// KeyGenAIOutputType (string; GenAI): output format the request asks for.
	KeyGenAIOutputType = attribute.Key("gen_ai.output.type")
	// KeyGenAIConversationID (string; GenAI): conversation the client named, never made up.
	KeyGenAIConversationID = attribute.Key("gen_ai.conversation.id")
	// KeyGenAIResponseID (string; GenAI): id of the provider's answer.
	KeyGenAIResponseID = attribute.Key("gen_ai.response.id")
	// KeyGenAIResponseModel (string; GenAI, metrics): model the provider says answered.
	KeyGenAIResponseModel = attribute.Key("gen_ai.response.model")
	// KeyGenAIResponseFinishReasons (string[]; GenAI): one finish reason per choice.
	KeyGenAIResponseFinishReasons = attribute.Key("gen_ai.response.finish_reasons")
	// KeyGenAIResponseTimeToFirstChunk (float; GenAI): seconds from send to first chunk, streams only.
	KeyGenAIResponseTimeToFirstChunk = attribute.Key("gen_ai.response.time_to_first_chunk")
	// KeyGenAIUsageInputTokens (int; GenAI): input tokens, cached ones included.
	KeyGenAIUsageInputTokens = attribute.Key("gen_ai.usage.input_tokens")
	// KeyGenAIUsageOutputTokens (int; GenAI): output tokens, reasoning included.
	KeyGenAIUsageOutputTokens = attribute.Key("gen_ai.usage.output_tokens")
	// KeyGenAIUsageCacheReadInputTokens (int; GenAI): input tokens read from the provider's cache, a part of the input.
	KeyGenAIUsageCacheReadInputTokens = attribute.Key("gen_ai.usage.cache_read.input_tokens")
	// KeyGenAIUsageCacheWriteInputTokens (int; GenAI): input tokens written to the provider's cache, a part of the input.
	KeyGenAIUsageCacheWriteInputTokens = attribute.Key("gen_ai.usage.cache_write.input_tokens")
	// KeyGenAIUsageReasoningOutputTokens (int; GenAI): reasoning tokens, a part of the output.
	KeyGenAIUsageReasoningOutputTokens = attribute.Key("gen_ai.usage.reasoning.output_tokens")
	// KeyGenAIUsageCost (float; GenAI): cost of the generation in USD; no convention, but the one cost key several backends read.
	KeyGenAIUsageCost = attribute.Key("gen_ai.usage.cost")
	// KeyGenAITokenModality (string; metrics): modality of counted tokens.
	KeyGenAITokenModality = attribute.Key("gen_ai.token.modality")
	// KeyGenAIInputMessages (string; content event): content: the conversation as sent.
	KeyGenAIInputMessages = attribute.Key("gen_ai.input.messages")
	// KeyGenAIOutputMessages (string; content event): content: the answer.
	KeyGenAIOutputMessages = attribute.Key("gen_ai.output.messages")
	// KeyGenAISystemInstructions (string; content event): content: system instructions sent apart from the conversation.
	KeyGenAISystemInstructions = attribute.Key("gen_ai.system_instructions")
	// KeyGenAIToolDefinitions (string; content event): content: tools offered.
	KeyGenAIToolDefinitions = attribute.Key("gen_ai.tool.definitions")
	// KeyOpenAIRequestServiceTier (string; GenAI): service tier asked for.
	KeyOpenAIRequestServiceTier = attribute.Key("openai.request.service_tier")
	// KeyOpenAIResponseServiceTier (string; GenAI): service tier used.
	KeyOpenAIResponseServiceTier = attribute.Key("openai.response.service_tier")
	// KeyOpenAIResponseSystemFingerprint (string; GenAI): fingerprint of the provider's back end.
	KeyOpenAIResponseSystemFingerprint = attribute.Key("openai.response.system_fingerprint")
	// KeyOpenAIAPIType (string; GenAI): which of OpenAI's APIs was called.
	KeyOpenAIAPIType = attribute.Key("openai.api.type")
)

// Attributes of our own: exchange.
const (
	// KeyPhase (string; every span below SERVER): phase of the exchange a span stands for.
	KeyPhase = attribute.Key("ccproxy.phase")
	// KeyRequestID (string; SERVER): our id of the exchange, a UUIDv7.
	KeyRequestID = attribute.Key("ccproxy.request.id")
	// KeyDialect (string; SERVER, metrics): what the client speaks.
	KeyDialect = attribute.Key("ccproxy.dialect")
	// KeyOutcome (string; SERVER, metrics): how the exchange ended.
	KeyOutcome = attribute.Key("ccproxy.outcome")
	// KeyRejectionReason (string; SERVER): why the gateway refused.
	KeyRejectionReason = attribute.Key("ccproxy.rejection.reason")
	// KeyModelOriginal (string; SERVER, pre_call, metrics): model the client named (normalised on metrics).
	KeyModelOriginal = attribute.Key("ccproxy.model.original")
	// KeyModelRouted (string; SERVER, pre_call, metrics): model that was chosen.
	KeyModelRouted = attribute.Key("ccproxy.model.routed")
	// KeyLabel (string; SERVER, pre_call, metrics): name a rule gave the exchange.
	KeyLabel = attribute.Key("ccproxy.label")
	// KeyProvider (string; SERVER): configured name of the provider that answered.
	KeyProvider = attribute.Key("ccproxy.provider")
	// KeyRouteRule (string; SERVER, pre_call, metrics): rule that matched.
	KeyRouteRule = attribute.Key("ccproxy.route.rule")
	// KeyRouteReason (string; SERVER, pre_call): why this route.
	KeyRouteReason = attribute.Key("ccproxy.route.reason")
	// KeyRoutePassthrough (bool; SERVER, metrics): whether the client's model was kept.
	KeyRoutePassthrough = attribute.Key("ccproxy.route.passthrough")
	// KeyRouteCandidates (string[]; pre_call): targets considered, in order.
	KeyRouteCandidates = attribute.Key("ccproxy.route.candidates")
	// KeyAttempts (int; SERVER): targets tried.
	KeyAttempts = attribute.Key("ccproxy.attempts")
	// KeyFallbacks (int; SERVER): fallbacks taken.
	KeyFallbacks = attribute.Key("ccproxy.fallbacks")
	// KeyFallbackReason (string; SERVER, metrics): why a target was given up.
	KeyFallbackReason = attribute.Key("ccproxy.fallback.reason")
	// KeyFallbackFrom (string; metrics): target given up.
	KeyFallbackFrom = attribute.Key("ccproxy.fallback.from")
	// KeyFallbackTo (string; metrics): target tried next.
	KeyFallbackTo = attribute.Key("ccproxy.fallback.to")
	// KeyCost (float; SERVER): cost of the exchange in USD, summed over its attempts.
	KeyCost = attribute.Key("ccproxy.cost")
	// KeyOverhead (float; SERVER): seconds spent in the gateway: total less upstream wait and client back-pressure.
	KeyOverhead = attribute.Key("ccproxy.overhead")
	// KeyKeyID (string; SERVER): id of the caller's virtual key, never the key.
	KeyKeyID = attribute.Key("ccproxy.key.id")
	// KeyKeyAlias (string; metrics): alias of the caller's virtual key, allow-listed.
	KeyKeyAlias = attribute.Key("ccproxy.key.alias")
	// KeyTeam (string; SERVER, metrics): the caller's team, allow-listed on metrics.
	KeyTeam = attribute.Key("ccproxy.team")
	// KeyKept (string; SERVER): why sampling kept the trace, set only below ratio 1.
	KeyKept = attribute.Key("ccproxy.kept")
	// KeyErrorOrigin (string; SERVER, GenAI): whose error it was.
	KeyErrorOrigin = attribute.Key("ccproxy.error.origin")
	// KeyRequestMessageCount (int; pre_call): messages in the request.
	KeyRequestMessageCount = attribute.Key("ccproxy.request.message_count")
	// KeyRequestHasTools (bool; pre_call): whether tools were offered.
	KeyRequestHasTools = attribute.Key("ccproxy.request.has_tools")
	// KeyRequestToolCount (int; pre_call): tools offered.
	KeyRequestToolCount = attribute.Key("ccproxy.request.tool_count")
	// KeyRequestHasThinking (bool; pre_call): whether thinking was asked for.
	KeyRequestHasThinking = attribute.Key("ccproxy.request.has_thinking")
	// KeyRequestStream (bool; pre_call): whether a stream was asked for.
	KeyRequestStream = attribute.Key("ccproxy.request.stream")
	// KeyRequestInputTokensEstimated (int; pre_call): input tokens as the router counts them.
	KeyRequestInputTokensEstimated = attribute.Key("ccproxy.request.input_tokens_estimated")
	// KeyRequestStopSequences (int; pre_call): number of stop sequences.
	KeyRequestStopSequences = attribute.Key("ccproxy.request.stop_sequences")
)

// Attributes of our own: hooks, attempts, stream.
const (
	// KeyHookName (string; hook, metrics): hook as configured.
	KeyHookName = attribute.Key("ccproxy.hook.name")
	// KeyHookPhase (string; hook, metrics): phase the hook ran in.
	KeyHookPhase = attribute.Key("ccproxy.hook.phase")
	// KeyHookAction (string; hook, metrics): what the hook did.
	KeyHookAction = attribute.Key("ccproxy.hook.action")
	// KeyTarget (string; pre_api, GenAI, metrics): provider/model.
	KeyTarget = attribute.Key("ccproxy.target")
	// KeyAttemptNumber (int; pre_api, GenAI): ordinal of the attempt, from 1.
	KeyAttemptNumber = attribute.Key("ccproxy.attempt.number")
	// KeyAttemptKind (string; GenAI, metrics): what the attempt was for.
	KeyAttemptKind = attribute.Key("ccproxy.attempt.kind")
	// KeyAttemptResult (string; GenAI, metrics): what became of the attempt.
	KeyAttemptResult = attribute.Key("ccproxy.attempt.result")
	// KeyAttemptSends (int; GenAI): times the request was sent to this target.
	KeyAttemptSends = attribute.Key("ccproxy.attempt.sends")
	// KeyUpstreamRequestID (string; GenAI): the provider's id of the request.
	KeyUpstreamRequestID = attribute.Key("ccproxy.upstream.request_id")
	// KeyUsageSource (string; GenAI): where the token counts come from.
	KeyUsageSource = attribute.Key("ccproxy.usage.source")
	// KeyCostInput (float; GenAI): USD for uncached input.
	KeyCostInput = attribute.Key("ccproxy.cost.input")
	// KeyCostOutput (float; GenAI): USD for output.
	KeyCostOutput = attribute.Key("ccproxy.cost.output")
	// KeyCostCacheRead (float; GenAI): USD for cache reads.
	KeyCostCacheRead = attribute.Key("ccproxy.cost.cache_read")
	// KeyCostCacheWrite (float; GenAI): USD for cache writes.
	KeyCostCacheWrite = attribute.Key("ccproxy.cost.cache_write")
	// KeyCostOther (float; GenAI): USD for everything else.
	KeyCostOther = attribute.Key("ccproxy.cost.other")
	// KeyCostSource (string; GenAI): who computed the cost.
	KeyCostSource = attribute.Key("ccproxy.cost.source")
	// KeyCostPriceVersion (string; GenAI): version of the price table used.
	KeyCostPriceVersion = attribute.Key("ccproxy.cost.price_version")
	// KeyCostBilling (string; GenAI, metrics): whether the cost is really billed.
	KeyCostBilling = attribute.Key("ccproxy.cost.billing")
	// KeyCostClass (string; metrics): class of tokens the cost is for.
	KeyCostClass = attribute.Key("ccproxy.cost.class")
	// KeyStreamEvents (int; stream): events relayed.
	KeyStreamEvents = attribute.Key("ccproxy.stream.events")
	// KeyStreamBytes (int; stream): bytes relayed.
	KeyStreamBytes = attribute.Key("ccproxy.stream.bytes")
	// KeyStreamTimeToFirstToken (float; stream): seconds to the first token.
	KeyStreamTimeToFirstToken = attribute.Key("ccproxy.stream.time_to_first_token")
	// KeyStreamMaxGap (float; stream): longest gap between events in seconds.
	KeyStreamMaxGap = attribute.Key("ccproxy.stream.max_gap")
	// KeyStreamMeanGap (float; stream): mean gap between events in seconds.
	KeyStreamMeanGap = attribute.Key("ccproxy.stream.mean_gap")
	// KeyStreamClientStall (float; stream): seconds spent waiting for the client.
	KeyStreamClientStall = attribute.Key("ccproxy.stream.client_stall")
	// KeyStreamEnd (string; stream): how the stream ended.
	KeyStreamEnd = attribute.Key("ccproxy.stream.end")
	// KeyRoutingEffective (bool; post_api, metrics): whether the routed attempt answered as the rule hoped.
	KeyRoutingEffective = attribute.Key("ccproxy.routing.effective")
	// KeyRoutingReason (string; post_api, metrics): why routing was or was not effective.
	KeyRoutingReason = attribute.Key("ccproxy.routing.reason")
	// KeyRoutingCostEfficiency (float; post_api): cost on the model named by the client divided by the actual cost, 1.
	KeyRoutingCostEfficiency = attribute.Key("ccproxy.routing.cost_efficiency")
	// KeyRoutingBaselineCost (float; post_api): USD the same usage would have cost on the model named by the client.
	KeyRoutingBaselineCost = attribute.Key("ccproxy.routing.baseline_cost")
)

// Attributes of our own: budgets, moderation, prices, telemetry, configuration.
const (
	// KeyBudgetHeld (float; pre_api): USD set aside before sending.
	KeyBudgetHeld = attribute.Key("ccproxy.budget.held")
	// KeyBudgetSettled (float; post_api): USD that replaced the hold.
	KeyBudgetSettled = attribute.Key("ccproxy.budget.settled")
	// KeyBudgetDecision (string; SERVER, pre_api, metrics): what the budgets said.
	KeyBudgetDecision = attribute.Key("ccproxy.budget.decision")
	// KeyBudgetName (string; alert event, metrics): configured name of the budget.
	KeyBudgetName = attribute.Key("ccproxy.budget.name")
	// KeyBudgetScope (string; alert event, metrics): what the budget is kept for.
	KeyBudgetScope = attribute.Key("ccproxy.budget.scope")
	// KeyBudgetWindow (string; alert event, metrics): period of the budget.
	KeyBudgetWindow = attribute.Key("ccproxy.budget.window")
	// KeyBudgetSubject (string; alert event, metrics): alias the sum is kept for, "" for global.
	KeyBudgetSubject = attribute.Key("ccproxy.budget.subject")
	// KeyBudgetState (string; metrics): state of a subject's budget.
	KeyBudgetState = attribute.Key("ccproxy.budget.state")
	// KeyBudgetAlertType (string; alert event, metrics): kind of alert raised.
	KeyBudgetAlertType = attribute.Key("ccproxy.budget.alert_type")
	// KeyBudgetThreshold (float; alert event): fraction of the limit that was crossed.
	KeyBudgetThreshold = attribute.Key("ccproxy.budget.threshold")
	// KeyModerationStage (string; moderation, metrics): what was moderated.
	KeyModerationStage = attribute.Key("ccproxy.moderation.stage")
	// KeyModerationBackend (string; moderation, metrics): configured name of the moderation back end.
	KeyModerationBackend = attribute.Key("ccproxy.moderation.backend")
	// KeyModerationMode (string; moderation): whether the exchange waits for the verdict.
	KeyModerationMode = attribute.Key("ccproxy.moderation.mode")
	// KeyModerationVerdict (string; moderation, metrics): the verdict.
	KeyModerationVerdict = attribute.Key("ccproxy.moderation.verdict")
	// KeyModerationCategories (string[]; moderation): categories found, never the matched text.
	KeyModerationCategories = attribute.Key("ccproxy.moderation.categories")
	// KeyModerationFailedOpen (bool; moderation, metrics): whether an error let the exchange pass.
	KeyModerationFailedOpen = attribute.Key("ccproxy.moderation.failed_open")
	// KeyPriceStatus (string; metrics): how a price was found.
	KeyPriceStatus = attribute.Key("ccproxy.price.status")
	// KeyTelemetrySignal (string; metrics): telemetry signal.
	KeyTelemetrySignal = attribute.Key("ccproxy.telemetry.signal")
	// KeyTelemetryDropReason (string; metrics): why telemetry was lost.
	KeyTelemetryDropReason = attribute.Key("ccproxy.telemetry.drop_reason")
	// KeyConfigResult (string; metrics): result of a reload.
	KeyConfigResult = attribute.Key("ccproxy.config.result")
)
