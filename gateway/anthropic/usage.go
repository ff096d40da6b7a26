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
		}
		return true
	})
	if long >= 0 {
		c.CacheWrite1h = long
	}
	if split := max(short, 0) + max(long, 0); split > c.CacheWrite {
		c.CacheWrite = split // older answers have the split without its sum
	}
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
