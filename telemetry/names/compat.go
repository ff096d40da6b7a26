package names

import "go.opentelemetry.io/otel/attribute"

// Further vocabularies (telemetry.compat), each off by default. Their attributes stand on GenAI spans only, beside those of
// the contract, for backends that read nothing else.
const (
	// CompatGenAI141 adds what GenAI conventions up to semantic conventions v1.41 called otherwise.
	CompatGenAI141 = "genai_1_41"
	// CompatOpenInference adds OpenInference's names (https://arize-ai.github.io/openinference/spec, read 2026-11).
	CompatOpenInference = "openinference"
	// CompatLangfuse adds the names Langfuse has of its own (https://langfuse.com/integrations/native/opentelemetry, read
	// 2026-11).
	CompatLangfuse = "langfuse"
)

// Attributes of CompatGenAI141.
const (
	// KeyGenAISystem (string; GenAI): provider, in the spelling from before v1.37.
	KeyGenAISystem = attribute.Key("gen_ai.system")
	// KeyGenAIUsagePromptTokens (int; GenAI): input tokens, by their name from before v1.27.
	KeyGenAIUsagePromptTokens = attribute.Key("gen_ai.usage.prompt_tokens")
	// KeyGenAIUsageCompletionTokens (int; GenAI): output tokens, by their name from before v1.27.
	KeyGenAIUsageCompletionTokens = attribute.Key("gen_ai.usage.completion_tokens")
	// KeyGenAIUsageCacheCreationInputTokens (int; GenAI): input tokens written to the provider's cache.
	KeyGenAIUsageCacheCreationInputTokens = attribute.Key("gen_ai.usage.cache_creation.input_tokens")
	// KeyGenAITokenType (string; metrics): input or output.
	KeyGenAITokenType = attribute.Key("gen_ai.token.type")
)

// Metrics of CompatGenAI141.
const (
	// MetricGenAIClientTokenUsage (histogram, {token}): tokens of one inference or embeddings call, by type.
	MetricGenAIClientTokenUsage = "gen_ai.client.token.usage"
	// MetricGenAIClientOperationDuration (histogram, s): duration of one inference or embeddings call.
	MetricGenAIClientOperationDuration = "gen_ai.client.operation.duration"
)

// Attributes of CompatOpenInference; session.id and user.id join them.
const (
	// KeyOpenInferenceSpanKind (string; GenAI): LLM or EMBEDDING.
	KeyOpenInferenceSpanKind = attribute.Key("openinference.span.kind")
	// KeyLLMSystem (string; GenAI): whose product answers.
	KeyLLMSystem = attribute.Key("llm.system")
	// KeyLLMProvider (string; GenAI): who hosts it.
	KeyLLMProvider = attribute.Key("llm.provider")
	// KeyLLMModelName (string; GenAI): model that answered, else the one asked.
	KeyLLMModelName = attribute.Key("llm.model_name")
	// KeyEmbeddingModelName (string; GenAI): the same of an embeddings call.
	KeyEmbeddingModelName = attribute.Key("embedding.model_name")
	// KeyLLMTokenCountPrompt (int; GenAI): input tokens, cached ones included.
	KeyLLMTokenCountPrompt = attribute.Key("llm.token_count.prompt")
	// KeyLLMTokenCountCompletion (int; GenAI): output tokens, reasoning included.
	KeyLLMTokenCountCompletion = attribute.Key("llm.token_count.completion")
	// KeyLLMTokenCountTotal (int; GenAI): both.
	KeyLLMTokenCountTotal = attribute.Key("llm.token_count.total")
	// KeyLLMTokenCountCacheRead (int; GenAI): of the input, read from the provider's cache.
	KeyLLMTokenCountCacheRead = attribute.Key("llm.token_count.prompt_details.cache_read")
	// KeyLLMTokenCountCacheWrite (int; GenAI): of the input, written to the provider's cache.
	KeyLLMTokenCountCacheWrite = attribute.Key("llm.token_count.prompt_details.cache_write")
	// KeyLLMTokenCountPromptAudio (int; GenAI): of the input, audio.
	KeyLLMTokenCountPromptAudio = attribute.Key("llm.token_count.prompt_details.audio")
	// KeyLLMTokenCountReasoning (int; GenAI): of the output, reasoning.
	KeyLLMTokenCountReasoning = attribute.Key("llm.token_count.completion_details.reasoning")
	// KeyLLMTokenCountCompletionAudio (int; GenAI): of the output, audio.
	KeyLLMTokenCountCompletionAudio = attribute.Key("llm.token_count.completion_details.audio")
	// KeyLLMCostPrompt (float; GenAI): USD for input, cached input included.
	KeyLLMCostPrompt = attribute.Key("llm.cost.prompt")
	// KeyLLMCostCompletion (float; GenAI): USD for output, reasoning included.
	KeyLLMCostCompletion = attribute.Key("llm.cost.completion")
	// KeyLLMCostTotal (float; GenAI): USD in all, calls included.
	KeyLLMCostTotal = attribute.Key("llm.cost.total")
	// KeyLLMCostInput (float; GenAI): of the prompt, text that no cache took part in.
	KeyLLMCostInput = attribute.Key("llm.cost.prompt_details.input")
	// KeyLLMCostCacheRead (float; GenAI): of the prompt, reads of the provider's cache.
	KeyLLMCostCacheRead = attribute.Key("llm.cost.prompt_details.cache_read")
	// KeyLLMCostCacheWrite (float; GenAI): of the prompt, writes to the provider's cache.
	KeyLLMCostCacheWrite = attribute.Key("llm.cost.prompt_details.cache_write")
	// KeyLLMCostPromptAudio (float; GenAI): of the prompt, audio.
	KeyLLMCostPromptAudio = attribute.Key("llm.cost.prompt_details.audio")
	// KeyLLMCostOutput (float; GenAI): of the completion, text.
	KeyLLMCostOutput = attribute.Key("llm.cost.completion_details.output")
	// KeyLLMCostReasoning (float; GenAI): of the completion, reasoning.
	KeyLLMCostReasoning = attribute.Key("llm.cost.completion_details.reasoning")
	// KeyLLMCostCompletionAudio (float; GenAI): of the completion, audio.
	KeyLLMCostCompletionAudio = attribute.Key("llm.cost.completion_details.audio")
)

// Attributes of CompatLangfuse.
const (
	// KeyLangfuseObservationType (string; GenAI): generation or embedding.
	KeyLangfuseObservationType = attribute.Key("langfuse.observation.type")
	// KeyLangfuseCompletionStartTime (string; GenAI): when the first token came, ISO 8601; streams only.
	KeyLangfuseCompletionStartTime = attribute.Key("langfuse.observation.completion_start_time")
	// KeyLangfuseTraceName (string; GenAI): name of the SERVER span.
	KeyLangfuseTraceName = attribute.Key("langfuse.trace.name")
	// KeyLangfuseSessionID (string; GenAI): session.id.
	KeyLangfuseSessionID = attribute.Key("langfuse.session.id")
	// KeyLangfuseUserID (string; GenAI): user.id, by the same policy.
	KeyLangfuseUserID = attribute.Key("langfuse.user.id")
	// KeyLangfuseCostDetails (string; GenAI): USD by class and in all, a JSON object.
	KeyLangfuseCostDetails = attribute.Key("langfuse.observation.cost_details")
)

// Values of these vocabularies.
const (
	TokenTypeInput             = "input"
	TokenTypeOutput            = "output"
	OpenInferenceKindLLM       = "LLM"
	OpenInferenceKindEmbedding = "EMBEDDING"
	LangfuseTypeGeneration     = "generation"
	LangfuseTypeEmbedding      = "embedding"
)

// Closed vocabularies of theirs. Read-only.
var (
	// TokenTypes are the legal values of gen_ai.token.type.
	TokenTypes = []string{TokenTypeInput, TokenTypeOutput}
	// OpenInferenceKinds are the values of openinference.span.kind the gateway has a use for.
	OpenInferenceKinds = []string{OpenInferenceKindLLM, OpenInferenceKindEmbedding}
	// LangfuseTypes are the values of langfuse.observation.type the gateway has a use for.
	LangfuseTypes = []string{LangfuseTypeGeneration, LangfuseTypeEmbedding}
)

var compatAttributes = []Attribute{
	{Key: KeyGenAISystem, Type: TypeString},
	{Key: KeyGenAIUsagePromptTokens, Type: TypeInt},
	{Key: KeyGenAIUsageCompletionTokens, Type: TypeInt},
	{Key: KeyGenAIUsageCacheCreationInputTokens, Type: TypeInt},
	{Key: KeyGenAITokenType, Type: TypeString, Values: TokenTypes},
	{Key: KeyOpenInferenceSpanKind, Type: TypeString, Values: OpenInferenceKinds},
	{Key: KeyLLMSystem, Type: TypeString},
	{Key: KeyLLMProvider, Type: TypeString},
	{Key: KeyLLMModelName, Type: TypeString},
	{Key: KeyEmbeddingModelName, Type: TypeString},
	{Key: KeyLLMTokenCountPrompt, Type: TypeInt},
	{Key: KeyLLMTokenCountCompletion, Type: TypeInt},
	{Key: KeyLLMTokenCountTotal, Type: TypeInt},
	{Key: KeyLLMTokenCountCacheRead, Type: TypeInt},
	{Key: KeyLLMTokenCountCacheWrite, Type: TypeInt},
	{Key: KeyLLMTokenCountPromptAudio, Type: TypeInt},
	{Key: KeyLLMTokenCountReasoning, Type: TypeInt},
	{Key: KeyLLMTokenCountCompletionAudio, Type: TypeInt},
	{Key: KeyLLMCostPrompt, Type: TypeFloat},
	{Key: KeyLLMCostCompletion, Type: TypeFloat},
	{Key: KeyLLMCostTotal, Type: TypeFloat},
	{Key: KeyLLMCostInput, Type: TypeFloat},
	{Key: KeyLLMCostCacheRead, Type: TypeFloat},
	{Key: KeyLLMCostCacheWrite, Type: TypeFloat},
	{Key: KeyLLMCostPromptAudio, Type: TypeFloat},
	{Key: KeyLLMCostOutput, Type: TypeFloat},
	{Key: KeyLLMCostReasoning, Type: TypeFloat},
	{Key: KeyLLMCostCompletionAudio, Type: TypeFloat},
	{Key: KeyLangfuseObservationType, Type: TypeString, Values: LangfuseTypes},
	{Key: KeyLangfuseCompletionStartTime, Type: TypeString},
	{Key: KeyLangfuseTraceName, Type: TypeString},
	{Key: KeyLangfuseSessionID, Type: TypeString},
	{Key: KeyLangfuseUserID, Type: TypeString},
	{Key: KeyLangfuseCostDetails, Type: TypeString},
}

var compatMetrics = []Metric{
	{Name: MetricGenAIClientTokenUsage, Unit: "{token}", Kind: Histogram, Description: "Tokens of one inference or embeddings call, by type.", Boundaries: TokenBoundaries,
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort, KeyGenAITokenType)},
	{Name: MetricGenAIClientOperationDuration, Unit: "s", Kind: Histogram, Description: "Duration of one inference or embeddings call.", Boundaries: DurationBoundaries,
		Attributes: keys(KeyGenAIOperationName, KeyGenAIProviderName, KeyGenAIRequestModel, KeyGenAIResponseModel, KeyServerAddress, KeyServerPort, KeyErrorType)},
}
