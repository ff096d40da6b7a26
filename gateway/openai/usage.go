package openai

import (
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// maxCount bounds a token counter, so that sums of counters cannot overflow.
const maxCount = 1 << 40

// tokens returns the token counter at s: negative ones are 0, what is no
// integer is no counter.
func tokens(doc []byte, s jsonscan.Span) (int64, bool) {
	n, ok := jsonscan.Int(doc, s)
	return min(max(n, 0), maxCount), ok
}

// counters names the members of a usage object. Vendors mix both sets in one
// object, with zeros where they mean the other, so each API reads only its own.
type counters struct {
	input, inputDetails, inputDetailsMisspelt string
	output, outputDetails                     string
}

var (
	chatCounters = counters{
		input: "prompt_tokens", inputDetails: "prompt_tokens_details",
		inputDetailsMisspelt: "prompt_token_details", // Mistral, and an early answer of OpenAI
		output:               "completion_tokens", outputDetails: "completion_tokens_details",
	}
	responsesCounters = counters{
		input: "input_tokens", inputDetails: "input_tokens_details", inputDetailsMisspelt: "input_token_details",
		output: "output_tokens", outputDetails: "output_tokens_details",
	}
)

// observe folds the usage object at s into r: the last value of each counter
// counts, values are never added. An object without any counter says nothing.
func (c *counters) observe(doc []byte, s jsonscan.Span, r *gateway.Result) {
	if jsonscan.Kind(doc, s) != '{' {
		return
	}
	n := &r.Counts
	found := false
	var cached, reasoning int64 = -1, -1
	set := func(dst *int64, v jsonscan.Span) {
		if t, ok := tokens(doc, v); ok {
			*dst, found = t, true
		}
	}
	// The same counter may stand under two names, one of them with a zero.
	raise := func(dst *int64, v jsonscan.Span) {
		if t, ok := tokens(doc, v); ok {
			*dst, found = max(*dst, t), true
		}
	}
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case c.input:
			set(&n.Input, v)
		case c.output:
			set(&n.Output, v)
		case "total_tokens":
			set(&n.Total, v)
		case "cost":
			observeCost(doc, v, r)
		case "prompt_cache_hit_tokens", "cached_tokens": // DeepSeek, Moonshot
			raise(&cached, v)
		case "reasoning_tokens": // Perplexity
			raise(&reasoning, v)
		case c.inputDetails, c.inputDetailsMisspelt:
			inputDetails(doc, v, set, raise, n, &cached)
		case c.outputDetails:
			outputDetails(doc, v, set, raise, n, &reasoning)
		}
		return true
	})
	if cached >= 0 {
		n.CacheRead = cached
	}
	if reasoning >= 0 {
		n.Reasoning = reasoning
	}
	if !found {
		return
	}
	n.Seen = true
	r.Usage = disjoint(n)
}

type counterFunc = func(dst *int64, v jsonscan.Span)

func inputDetails(doc []byte, s jsonscan.Span, set, raise counterFunc, n *gateway.Counts, cached *int64) {
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "cached_tokens":
			raise(cached, v)
		case "cache_write_tokens":
			set(&n.CacheWrite, v)
		case "cache_write_tokens_details":
			// The class for an hour holds whatever is kept longer than the default.
			set(&n.CacheWrite1h, jsonscan.Get(doc, v, "ttl_12h_tokens"))
		case "audio_tokens":
			set(&n.AudioIn, v)
		case "image_tokens":
			set(&n.ImageIn, v)
		}
		return true
	})
}

func outputDetails(doc []byte, s jsonscan.Span, set, raise counterFunc, n *gateway.Counts, reasoning *int64) {
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "reasoning_tokens":
			raise(reasoning, v)
		case "audio_tokens":
			set(&n.AudioOut, v)
		case "image_tokens":
			set(&n.ImageOut, v)
		}
		return true
	})
}

// disjoint converts counters in which the prompt includes what was cached, and
// the output what was thought, into classes that share no token.
func disjoint(n *gateway.Counts) gateway.Usage {
	u := gateway.Usage{Source: names.UsageSourceProvider, WebSearches: n.WebSearches}
	take := func(rest *int64, want int64) int64 {
		got := min(want, *rest)
		*rest -= got
		return got
	}

	// Cached tokens are believed even when they exceed the prompt: a proxy that
	// leaves them out of it is no reason to bill them as nothing. Audio and image
	// tokens may be among the cached ones; only the others are counted apart.
	u.CacheRead = n.CacheRead
	u.CacheWrite1h = n.CacheWrite1h
	u.CacheWrite = max(n.CacheWrite-n.CacheWrite1h, 0)
	rest := max(n.Input-u.CacheRead-u.CacheWrite-u.CacheWrite1h, 0)
	u.AudioIn = take(&rest, n.AudioIn)
	u.ImageIn = take(&rest, n.ImageIn)
	u.Input = rest

	rest = n.Output
	if reasoningOutside(n) {
		u.Reasoning = n.Reasoning
	} else {
		u.Reasoning = take(&rest, n.Reasoning)
	}
	u.AudioOut = take(&rest, n.AudioOut)
	u.ImageOut = take(&rest, n.ImageOut)
	u.Output = rest
	return u
}

// reasoningOutside reports whether the reasoning tokens come on top of the
// output tokens, as xAI counts: the total tells.
func reasoningOutside(n *gateway.Counts) bool {
	if n.Reasoning == 0 {
		return false
	}
	if n.Total == 0 {
		return n.Reasoning > n.Output
	}
	return n.Total == n.Input+n.Output+n.Reasoning
}

// observeCost reads what the answer says it costs: OpenRouter's usage.cost, in dollars, or Perplexity's
// usage.cost.total_cost.
func observeCost(doc []byte, s jsonscan.Span, r *gateway.Result) {
	if jsonscan.Kind(doc, s) == '{' {
		s = jsonscan.Get(doc, s, "total_cost")
	}
	if !s.Exists() {
		return
	}
	if n, _, ok := gateway.Fixed(doc[s.Start:s.End], 9); ok {
		r.ProviderCost = gateway.Some(gateway.NanoUSD(n))
	}
}
