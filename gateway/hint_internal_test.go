package gateway

import (
	"net/http"
	"testing"
	"time"
)

func headers(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
	return h
}

func TestU14HintsInAllSpellings(t *testing.T) {
	const now = "Mon, 01 Jun 2026 12:00:00 GMT"
	for _, c := range []struct {
		what string
		h    http.Header
		want time.Duration
	}{
		{"nothing", headers(), 0},
		{"milliseconds first", headers("Retry-After-Ms", "250", "Retry-After", "9"), 250 * time.Millisecond},
		{"milliseconds that are none", headers("Retry-After-Ms", "x", "Retry-After", "9"), 9 * time.Second},
		{"seconds", headers("Retry-After", "17"), 17 * time.Second},
		{"a part of a second", headers("Retry-After", "0.25"), 250 * time.Millisecond},
		{"a date, by the provider's clock", headers("Retry-After", "Mon, 01 Jun 2026 12:00:30 GMT", "Date", now), 30 * time.Second},
		{"a date that has passed", headers("Retry-After", "Mon, 01 Jun 2026 11:00:00 GMT", "Date", now), 0},
		{"a date that is far", headers("Retry-After", "Tue, 02 Jun 2026 12:00:00 GMT", "Date", now), time.Hour},
		{"zero", headers("Retry-After", "0"), 0},
		{"less", headers("Retry-After", "-1"), 0},
		{"much", headers("Retry-After", "1e9"), time.Hour},
		{"endless", headers("Retry-After", "Inf"), time.Hour},
		{"words", headers("Retry-After", "soon"), 0},

		{"OpenAI", headers("X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "1.182s", "X-Ratelimit-Remaining-Tokens", "99", "X-Ratelimit-Reset-Tokens", "20m52.666s"), 1182 * time.Millisecond},
		{"OpenAI, both used up", headers("X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "120ms", "X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "6m0s"), 6 * time.Minute},
		{"OpenAI, nothing used up", headers("X-Ratelimit-Remaining-Requests", "5", "X-Ratelimit-Reset-Requests", "1.182s"), 0},
		{"Azure", headers("X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "7"), 7 * time.Second},
		{"Azure's -1", headers("X-Ratelimit-Remaining-Tokens", "-1", "X-Ratelimit-Reset-Tokens", "-1"), 0},
		{"OpenRouter", headers("X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "1780315245000", "Date", now), 45 * time.Second},
		{"seconds since the epoch", headers("X-Ratelimit-Reset", "1780315245", "Date", now), 45 * time.Second},
		{"Anthropic", headers("Anthropic-Ratelimit-Input-Tokens-Remaining", "0", "Anthropic-Ratelimit-Input-Tokens-Reset", "2026-06-01T12:00:20Z",
			"Anthropic-Ratelimit-Requests-Remaining", "40", "Anthropic-Ratelimit-Requests-Reset", "2026-06-01T12:00:50Z", "Date", now), 20 * time.Second},
		{"a subscription", headers("Anthropic-Ratelimit-Unified-Status", "rejected", "Anthropic-Ratelimit-Unified-Reset", "1780316100",
			"Anthropic-Ratelimit-Unified-7d-Status", "allowed", "Anthropic-Ratelimit-Unified-7d-Reset", "1780400000", "Date", now), 15 * time.Minute},
		{"nonsense", headers("X-Ratelimit-Reset-Tokens", "NaN", "X-Ratelimit-Reset", "later", "Anthropic-Ratelimit-Requests-Reset", "1e300"), 0},
	} {
		got := RetryAfter(c.h)
		if got == 0 {
			got = limitReset(c.h)
		}
		if got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}

func FuzzHints(f *testing.F) {
	for _, v := range []string{"", "7", "0", "-1", "1e9", "1e300", "NaN", "0x1p9", "Mon, 01 Jun 2026 12:00:30 GMT", "120ms", "20m52.666s", "2026-06-01T12:00:20Z", "1780315245000", "9999-12-31T23:59:59Z", "2562047h", "soon"} {
		f.Add(v, "0", "Mon, 01 Jun 2026 12:00:00 GMT")
	}
	f.Fuzz(func(t *testing.T, v, remaining, date string) {
		h := headers("Retry-After", v, "Retry-After-Ms", v, "X-Ratelimit-Reset-Tokens", v, "X-Ratelimit-Remaining-Tokens", remaining,
			"Anthropic-Ratelimit-Unified-Reset", v, "Anthropic-Ratelimit-Unified-Status", remaining, "Date", date)
		for _, d := range []time.Duration{RetryAfter(h), limitReset(h)} {
			if d < 0 || d > maxRetryAfter {
				t.Fatalf("got %v", d)
			}
		}
	})
}
