package gateway

import (
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

// Call is what a request asks for: the facts the engine, rules and telemetry
// need, read from the body without decoding it. The zero value of a field means
// the client did not say.
type Call struct {
	Operation string // gen_ai.operation.name, such as "chat"; "" when the call makes no generation (token counting, opaque)
	Model     string // as the client named it
	Action    string // Gemini: the path's method, such as "streamGenerateContent"; else ""

	// ModelSpan is where the model's name stands in the body, quotes included.
	// The zero Span means it is in the path (Gemini) or absent.
	ModelSpan jsonscan.Span

	Stream       bool // whether the answer will be a stream of events
	IncludeUsage bool // OpenAI chat: the client asked for the usage chunk
	// StreamOptions is the value of OpenAI's stream_options, zero when absent.
	StreamOptions jsonscan.Span

	MaxTokens      int64 // upper bound on output tokens; 0: none given
	Temperature    Optional[float64]
	TopP           Optional[float64]
	TopK           Optional[int64]
	Seed           Optional[int64]
	Choices        int64  // n or candidateCount; 0: not given
	ReasoningLevel string // the effort exactly as sent, such as "high"
	OutputType     string // gen_ai.output.type: text, json, image, speech; "" when the client named no format
	ServiceTier    string // as asked; the answer's decides the price
	Speed          string // Anthropic's speed, as asked, such as "fast"
	Geo            string // Anthropic's inference_geo, as asked, such as "us"

	Messages      int      // conversation messages (contents, input items) in the request
	Tools         []string // names of the tools offered, at most 1,000
	ToolCount     int      // number of tools offered, named or not
	Thinking      bool     // whether thinking or reasoning is asked for
	ThinkingKey   bool     // whether the request has a member "thinking", whatever its value
	StopSequences int
	Images        int // image parts, a modality hint

	// HiddenThinking says that the answer may have thinking that is billed and
	// not shown, as far as the request can tell: the model decides.
	HiddenThinking bool
	// ServerTools says that the provider may run tools within the request, or ask
	// other models, so that the model reads more than was sent.
	ServerTools bool
	// WebSearches is how many web searches the request allows the provider; 0:
	// none, negative: as many as it likes.
	WebSearches int64
	// Elsewhere says that the prompt draws on what a provider keeps, beside
	// PreviousResponse: stored prompts, items, containers.
	Elsewhere bool

	Session          string // session id the body or headers carry, ≤ 128 characters
	User             string // end user the body names, ≤ 128 characters
	Account          string // account id inside Claude Code's user id
	PreviousResponse string // OpenAI previous_response_id, or Gemini cachedContent: state at one provider
}

// Optional is a value that may be absent.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some returns a present Optional.
func Some[T any](v T) Optional[T] { return Optional[T]{v, true} }

// Result is what a provider's answer said of itself, so far. A [Dialect] folds
// events into it; the zero value is an answer of which nothing was seen.
type Result struct {
	ID            string   // the provider's id for the response
	Model         string   // the model that answered
	FinishReasons []string // one per choice, in the provider's words
	Usage         Usage
	Counts        Counts // the provider's own counters, from which Usage is derived
	// ProviderCost is what the answer itself says it costs, as OpenRouter's and
	// Perplexity's do. Whether to believe it is the Pricer's to say.
	ProviderCost Optional[NanoUSD]

	ServiceTier       string // the tier that was used
	SystemFingerprint string // OpenAI's

	// Content reports whether a visible or reasoning token, a tool call or any
	// other generated output has been seen: time to first token ends here.
	Content bool
	// Done reports that the dialect's terminator was seen. Gemini has none:
	// there it is set by a finish reason.
	Done bool
	// Incomplete names why a finished answer is cut short: "max_tokens",
	// "context_window" or "content_filter"; else "".
	Incomplete string
	// Err is the provider's error, from an error body or an error event.
	Err *Error
	// OutputBytes counts the bytes of generated text seen, escapes resolved, for
	// estimates when the provider reports no usage.
	OutputBytes int64
}

// Counts are token counters as a provider reports them, before conversion to
// disjoint classes. A field is updated only when the provider sent it (last
// non-null value wins; values of a stream are cumulative and never added).
type Counts struct {
	Seen         bool // any usage object was reported
	Input        int64
	CacheRead    int64
	CacheWrite   int64 // all cache writes
	CacheWrite1h int64
	Output       int64
	Reasoning    int64
	ToolPrompt   int64 // Gemini toolUsePromptTokenCount
	AudioIn      int64
	AudioOut     int64
	ImageIn      int64
	ImageOut     int64
	Total        int64
	WebSearches  int64
}

// Usage counts tokens in disjoint classes (MONEY §1): each token is in exactly
// one. A [Dialect] converts what its provider reports.
type Usage struct {
	Input        int64 // uncached prompt tokens
	CacheRead    int64
	CacheWrite   int64 // written to the cache for five minutes
	CacheWrite1h int64
	Output       int64 // visible output
	Reasoning    int64
	AudioIn      int64
	AudioOut     int64
	ImageIn      int64
	ImageOut     int64
	WebSearches  int64  // calls, not tokens
	Speed        string // Anthropic usage.speed, such as "fast"
	Geo          string // Anthropic usage.inference_geo
	// Others is what was used besides, at prices of its own, as [Usage.AddOther]
	// writes it; "": nothing.
	Others string
	// Source says where the figures come from: names.UsageSource…; "" and none
	// mean that nothing is known.
	Source string
}

// InputTokens returns the prompt total, cached tokens included, as the GenAI
// conventions define gen_ai.usage.input_tokens.
func (u Usage) InputTokens() int64 {
	return u.Input + u.CacheRead + u.CacheWrite + u.CacheWrite1h + u.AudioIn + u.ImageIn
}

// OutputTokens returns the output total, reasoning included, as the GenAI
// conventions define gen_ai.usage.output_tokens.
func (u Usage) OutputTokens() int64 {
	return u.Output + u.Reasoning + u.AudioOut + u.ImageOut
}
