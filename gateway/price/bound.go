package price

import (
	"math"
	"math/bits"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// What is taken for granted where neither the request nor the prices say.
const (
	// assumedWindow is the context window of a model of which none is known: that of the largest models of 2026.
	assumedWindow = 1 << 20
	// assumedOutput is the longest answer of a model of which none is known.
	assumedOutput = 64 << 10
	// assumedSearches is how often a provider searches the web for one request that does not bound it.
	assumedSearches = 10
	// mediaTokens is the most an image costs whose bytes are in the request, however few they are: Claude reads up to 4,784
	// tokens of one, Gemini 258 for each tile.
	mediaTokens = 16 << 10
	// mediaLikely is what an image usually costs.
	mediaLikely = 1000
	// toolPrompt is more than the system prompt that Anthropic adds to a request with tools (159 to 395 tokens).
	toolPrompt = 512
)

// Bits of what a provider bills that was not asked for: settings of an account decide, and answers tell.
const (
	unaskedPriority = 1 << iota
	unaskedPlace
)

// Bound implements [gateway.Pricer] (MONEY §3, rule 1). The prompt is half of the body's bytes, or the context window where
// it draws on what the body does not show; the answer is as long as the request allows, or the model. Both are at the dearest
// prices that the request can come to: the class of its tokens, the tier and the place it may be served in, the thresholds
// that so many tokens can cross.
//
// A provider may bill more for three reasons alone: it runs tools or asks other models within the request (ServerTools), it
// thinks beyond the limit of the answer, or its tokenizer makes more than a token of two bytes.
func (p *Pricer) Bound(a *gateway.Attempt) gateway.Bound {
	b := gateway.Bound{Billing: a.Billing(), Status: names.PriceStatusOverride}
	x := a.Exchange
	switch {
	case b.Billing == names.CostBillingFree, x.Call.Operation == "" && !isOpaque(a):
		return b // free, which is known
	case isOpaque(a):
		flat := a.Target.Provider.PassthroughPrice
		if !flat.Set {
			b.Status = names.PriceStatusUnknown
		}
		b.Tools = flat.Value
		return b
	}
	prompt := tokens.Estimate(a.Body, jsonscan.Root(a.Body), tokens.All)
	b.InputTokens = p.counter.Calibrated(a.Model(), prompt.Tokens) + int64(prompt.Media)*mediaLikely
	e, status := p.find(a.Target.Provider, a.Model())
	b.Status = status
	if e == nil {
		return b
	}
	q := request{a: a, e: e, prompt: prompt, assumed: status == names.PriceStatusAssumed}
	input := q.input()
	b.InputTokens = min(b.InputTokens, input)
	b.OutputTokens = q.output(p.output)
	q.dearest(input, p.reach(a, e))
	b.Input = sum(amount(input, q.inputRate), q.rounding)
	b.Output = sum(amount(b.OutputTokens, q.outputRate), q.rounding)
	b.Tools = amount(q.searches(), q.searchRate)
	b.Rate = q.outputRate
	plain, _ := e.schedule(b.InputTokens, serviceStandard, "")
	b.Floor = min(amount(b.InputTokens, plain.Rates[gateway.CostInput]), b.Input)
	b.Visible = q.visible()
	return b
}

// request is an attempt whose bound is looked for.
type request struct {
	a       *gateway.Attempt
	e       *Entry
	prompt  tokens.Count
	assumed bool // e is of another model of the family, whose limits need not be this one's

	// The dearest prices of a token, a token and a call, in pico-dollars, and what rounding adds to them, class by class.
	inputRate, outputRate, searchRate int64
	rounding                          gateway.NanoUSD
}

// window returns the context window; known is false when it is a guess.
func (q *request) window() (n int64, known bool) {
	n = q.e.Context
	last := &q.e.Schedules[0]
	for i := range q.e.Schedules {
		if s := &q.e.Schedules[i]; s.Above > last.Above {
			last = s
		}
	}
	if n == 0 || q.assumed || last.Above >= n { // a price for longer prompts: there is a longer window
		return max(n, assumedWindow), false
	}
	return n, true
}

// input returns the most tokens the prompt can have.
func (q *request) input() int64 {
	call := &q.a.Exchange.Call
	window, known := q.window()
	// Each text of an embedding, and each prompt of a completion, has a window of its own.
	if op := call.Operation; op == names.OperationEmbeddings || op == names.OperationTextCompletion {
		window = times(window, int64(max(call.Messages, 1)))
	}
	if q.unseen() {
		return window
	}
	n := int64(len(q.a.Body)/2) + int64(q.prompt.Media)*mediaTokens
	if call.ToolCount > 0 {
		n += toolPrompt
	}
	if known {
		n = min(n, window)
	}
	return n
}

// unseen reports whether the prompt draws on what the body does not show.
func (q *request) unseen() bool {
	call := &q.a.Exchange.Call
	return q.prompt.Unseen > 0 || call.PreviousResponse != "" || call.Elsewhere
}

// output returns the most tokens the answers can have. assumed bounds those that the request leaves open; 0: does not.
func (q *request) output(assumed int64) int64 {
	call := &q.a.Exchange.Call
	if call.Operation == names.OperationEmbeddings {
		return 0
	}
	most := q.e.MaxOutput
	if most == 0 || q.assumed {
		most = max(most, assumedOutput)
	}
	n := call.MaxTokens
	if n == 0 {
		n = most
		if assumed > 0 {
			n = min(n, assumed)
		}
	} else if window, known := q.window(); known {
		n = min(n, max(window, most))
	}
	n = times(n, max(call.Choices, 1))
	if call.Operation == names.OperationTextCompletion {
		n = times(n, int64(max(call.Messages, 1)))
	}
	return n
}

// searches returns how many web searches the request may come to.
func (q *request) searches() int64 {
	n := q.a.Exchange.Call.WebSearches
	if n < 0 {
		n = assumedSearches
	}
	if n == 0 && tells(q.a.Target.Provider) {
		n = 1 // Perplexity searches unasked, and bills the request
	}
	if q.e.SearchOnce {
		n = min(n, 1)
	}
	return n
}

// classes returns the classes that the prompt and the answer can have.
func (q *request) classes() (in, out ClassSet) {
	call := &q.a.Exchange.Call
	in = ClassSet(0).With(gateway.CostInput).With(gateway.CostCacheRead)
	write, hour := q.writes()
	if write {
		in = in.With(gateway.CostCacheWrite)
	}
	if hour {
		in = in.With(gateway.CostCacheWrite1h)
	}
	if q.prompt.Media > 0 || q.unseen() {
		in = in.With(gateway.CostAudioIn).With(gateway.CostImageIn)
	}
	out = ClassSet(0).With(gateway.CostOutput).With(gateway.CostReasoning)
	model := q.a.Model()
	if call.OutputType == names.OutputTypeSpeech || strings.Contains(model, "audio") || strings.Contains(model, "tts") {
		out = out.With(gateway.CostAudioOut)
	}
	if call.OutputType == names.OutputTypeImage || strings.Contains(model, "image") {
		out = out.With(gateway.CostImageOut)
	}
	return in, out
}

// amount returns what count tokens cost at pico; what does not fit is the largest amount there is.
func amount(count, pico int64) gateway.NanoUSD {
	if n, ok := charge(count, pico, unscaled); ok {
		return n
	}
	return math.MaxInt64
}

// sum and times are sum and product of numbers that are not negative; what does not fit is the largest there is.
func sum(a, b gateway.NanoUSD) gateway.NanoUSD {
	if a == 0 { // nothing to round
		return 0
	}
	if n := a + b; n >= 0 {
		return n
	}
	return math.MaxInt64
}

func times(a, b int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi != 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(lo)
}
