package anthropic

import (
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// maxCount bounds a counter, so that sums of hostile ones do not overflow.
const maxCount = 1 << 50

// foldUsage reads the usage object at s into r: of each counter the last value that is not null holds, whichever event
// brought it, because later events may correct earlier ones and none repeats all. The output count of a message_start is a
// placeholder of a few tokens; counted says that this one is not.
func foldUsage(data []byte, s jsonscan.Span, counted bool, r *gateway.Result) {
	if jsonscan.Kind(data, s) != '{' {
		return
	}
	c := &r.Counts
	var short, long int64 = -1, -1
	var iterations jsonscan.Span
	jsonscan.Object(data, s, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "input_tokens":
			set(&c.Input, data, v, c)
		case "cache_read_input_tokens":
			set(&c.CacheRead, data, v, c)
		case "cache_creation_input_tokens":
			set(&c.CacheWrite, data, v, c)
		case "cache_creation":
			set(&short, data, jsonscan.Get(data, v, "ephemeral_5m_input_tokens"), c)
			set(&long, data, jsonscan.Get(data, v, "ephemeral_1h_input_tokens"), c)
		case "output_tokens":
			if counted {
				set(&c.Output, data, v, c)
			}
		case "output_tokens_details":
			set(&c.Reasoning, data, jsonscan.Get(data, v, "thinking_tokens"), c)
		case "server_tool_use":
			set(&c.WebSearches, data, jsonscan.Get(data, v, "web_search_requests"), c)
		case "service_tier":
			setText(&r.ServiceTier, data, v)
		case "speed":
			setText(&r.Usage.Speed, data, v)
		case "inference_geo":
			setText(&r.Usage.Geo, data, v)
		case "iterations":
			iterations = v
		}
		return true
	})
	if long >= 0 {
		c.CacheWrite1h = long
	}
	if split := max(short, 0) + max(long, 0); split > c.CacheWrite {
		c.CacheWrite = split // older answers have the split without its sum
	}
	foldIterations(data, iterations, r)
	deriveUsage(r)
}

// set stores the number at s in *to, unless it is absent or null.
func set(to *int64, data []byte, s jsonscan.Span, c *gateway.Counts) {
	if n, ok := jsonscan.Int(data, s); ok {
		*to = min(max(n, 0), maxCount)
		c.Seen = true
	}
}

// deriveUsage converts the counters into disjoint classes. Input excludes the cache as it comes; thinking is part of the
// output.
func deriveUsage(r *gateway.Result) {
	c, u := &r.Counts, &r.Usage
	if !c.Seen {
		return
	}
	u.Input, u.CacheRead, u.WebSearches = c.Input, c.CacheRead, c.WebSearches
	u.CacheWrite1h = min(c.CacheWrite1h, c.CacheWrite)
	u.CacheWrite = c.CacheWrite - u.CacheWrite1h
	u.Reasoning = min(c.Reasoning, c.Output)
	u.Output = c.Output - u.Reasoning
	if u.Source == "" {
		u.Source = names.UsageSourcePartial
	}
}

// iteration is one sampling of those an answer is made of, or all by one model.
type iteration struct {
	model string
	used  gateway.Counts
}

var iterationKeys = []string{"type", "model", "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "output_tokens"}

// foldIterations reads usage.iterations (a beta). The counters of the message are the sum of its samplings, of type message
// or fallback_message. Those may be of several models: then only the first one's, which is the model asked for, stay in the
// counters. Compactions, which have no model of their own, and advisors come on top (SDK 1.84, BetaIterationsUsage).
func foldIterations(data []byte, s jsonscan.Span, r *gateway.Result) {
	if jsonscan.Kind(data, s) != '[' {
		return
	}
	var own iteration
	var others []iteration
	asked, mixed := false, false
	jsonscan.Array(data, s, func(_ int, item jsonscan.Span) bool {
		kind, i := readIteration(data, item)
		to := &own
		switch kind {
		case "message", "fallback_message":
			if !asked {
				asked, own.model = true, i.model
			}
			if i.model != own.model {
				mixed = true
				to = find(&others, i.model)
			}
		case "compaction", "advisor_message":
			to = find(&others, i.model)
		default: // nobody knows whether the message counts it
			return true
		}
		to.used.Input = min(to.used.Input+i.used.Input, maxCount)
		to.used.CacheRead = min(to.used.CacheRead+i.used.CacheRead, maxCount)
		to.used.CacheWrite = min(to.used.CacheWrite+i.used.CacheWrite, maxCount)
		to.used.CacheWrite1h = min(to.used.CacheWrite1h+i.used.CacheWrite1h, maxCount)
		to.used.Output = min(to.used.Output+i.used.Output, maxCount)
		return true
	})
	var sum gateway.Usage
	for _, o := range others {
		u := gateway.Result{Counts: o.used}
		deriveUsage(&u)
		sum.AddOther(o.model, u.Usage)
	}
	r.Usage.Others = sum.Others
	if c := &r.Counts; mixed {
		c.Input, c.CacheRead, c.CacheWrite, c.CacheWrite1h, c.Output = own.used.Input, own.used.CacheRead, own.used.CacheWrite, own.used.CacheWrite1h, own.used.Output
	}
}

// readIteration reads an entry of usage.iterations.
func readIteration(data []byte, s jsonscan.Span) (kind string, i iteration) {
	var v [7]jsonscan.Span
	pick(data, s, iterationKeys, v[:])
	setText(&kind, data, v[0])
	setText(&i.model, data, v[1])
	c := &i.used
	set(&c.Input, data, v[2], c)
	set(&c.CacheRead, data, v[3], c)
	set(&c.CacheWrite, data, v[4], c)
	var short int64
	set(&short, data, jsonscan.Get(data, v[5], "ephemeral_5m_input_tokens"), c)
	set(&c.CacheWrite1h, data, jsonscan.Get(data, v[5], "ephemeral_1h_input_tokens"), c)
	c.CacheWrite = max(c.CacheWrite, short+c.CacheWrite1h)
	set(&c.Output, data, v[6], c)
	return kind, i
}

// maxIterationModels bounds the models kept apart; what is beyond goes to the last.
const maxIterationModels = 32

// find returns the entry of a model, which it makes if there is none.
func find(list *[]iteration, model string) *iteration {
	for i := range *list {
		if (*list)[i].model == model {
			return &(*list)[i]
		}
	}
	if len(*list) < maxIterationModels {
		*list = append(*list, iteration{model: model, used: gateway.Counts{Seen: true}})
	}
	return &(*list)[len(*list)-1]
}
