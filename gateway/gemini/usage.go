package gemini

import (
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// maxCount bounds a counter, so that sums of hostile ones do not overflow.
const maxCount = 1 << 50

// foldUsage reads the usageMetadata at s into r: of each counter the last value that is not null holds. It is called for
// every piece of an answer, with or without usage, because the piece that finishes it makes the figures final.
func foldUsage(data []byte, s jsonscan.Span, r *gateway.Result) {
	c := &r.Counts
	var cachedAudio, cachedImage int64
	audio, image := int64(-1), int64(-1)
	jsonscan.Object(data, s, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "promptTokenCount":
			set(&c.Input, data, v, c)
		case "cachedContentTokenCount":
			set(&c.CacheRead, data, v, c)
		case "candidatesTokenCount":
			set(&c.Output, data, v, c)
		case "thoughtsTokenCount":
			set(&c.Reasoning, data, v, c)
		case "toolUsePromptTokenCount":
			set(&c.ToolPrompt, data, v, c)
		case "totalTokenCount":
			set(&c.Total, data, v, c)
		case "promptTokensDetails":
			audio, image = modalities(data, v)
		case "cacheTokensDetails":
			cachedAudio, cachedImage = modalities(data, v)
		case "candidatesTokensDetails":
			c.AudioOut, c.ImageOut = modalities(data, v)
		case "trafficType", "serviceTier":
			raw, _ := jsonscan.RawString(data, v)
			setTier(r, raw)
		}
		return true
	})
	// What of the prompt was cached is billed as that, whatever its modality.
	if audio >= 0 {
		c.AudioIn, c.ImageIn = max(audio-cachedAudio, 0), max(image-cachedImage, 0)
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

// modalities returns the audio and image tokens of a …TokensDetails array.
func modalities(data []byte, s jsonscan.Span) (audio, image int64) {
	jsonscan.Array(data, s, func(_ int, detail jsonscan.Span) bool {
		n, ok := jsonscan.Int(data, jsonscan.Get(data, detail, "tokenCount"))
		if !ok || n < 0 {
			return true
		}
		switch m, _ := jsonscan.RawString(data, jsonscan.Get(data, detail, "modality")); string(m) {
		case "AUDIO":
			audio = min(audio+min(n, maxCount), maxCount)
		case "IMAGE":
			image = min(image+min(n, maxCount), maxCount)
		}
		return true
	})
	return audio, image
}

// setTier notes the tier that was used, in the words the price book knows.
func setTier(r *gateway.Result, tier []byte) {
	switch string(tier) {
	case "", "TRAFFIC_TYPE_UNSPECIFIED", "SERVICE_TIER_UNSPECIFIED":
	case "ON_DEMAND", "standard", "STANDARD":
		r.ServiceTier = "standard"
	case "ON_DEMAND_PRIORITY", "priority", "PRIORITY":
		r.ServiceTier = "priority"
	case "ON_DEMAND_FLEX", "flex", "FLEX":
		r.ServiceTier = "flex"
	default:
		if !strings.EqualFold(r.ServiceTier, string(tier)) {
			r.ServiceTier = strings.ToLower(clip(string(tier), maxWord))
		}
	}
}

// deriveUsage converts the counters into disjoint classes. The prompt includes what was cached and all modalities, but not
// what tools added; candidates exclude thoughts, except at providers whose prompt and candidates make the total.
func deriveUsage(r *gateway.Result) {
	c, u := &r.Counts, &r.Usage
	if !c.Seen {
		return
	}
	rest := c.Input
	take := func(n int64) int64 {
		n = min(n, rest)
		rest -= n
		return n
	}
	u.CacheRead = take(c.CacheRead)
	u.AudioIn = take(c.AudioIn)
	u.ImageIn = take(c.ImageIn)
	u.Input = rest + c.ToolPrompt

	rest = c.Output
	if visible := c.Total - c.Input; c.Reasoning > 0 && (visible == c.Output || visible == c.Output+c.ToolPrompt) {
		u.Reasoning = take(c.Reasoning)
	} else {
		u.Reasoning = c.Reasoning
	}
	u.AudioOut = take(c.AudioOut)
	u.ImageOut = take(c.ImageOut)
	u.Output = rest

	u.Source = names.UsageSourcePartial
	if r.Done {
		u.Source = names.UsageSourceProvider
	}
}
