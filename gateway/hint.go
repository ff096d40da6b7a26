package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter is the longest hint that is believed.
const maxRetryAfter = time.Hour

// RetryAfter reads when a provider wants to be asked again: retry-after-ms,
// else Retry-After in seconds or as a date (RFC 9110 §10.2.3). 0 when it does
// not say, or nonsense; an hour at most.
func RetryAfter(h http.Header) time.Duration {
	if d := RetryDelay(h.Get("Retry-After-Ms"), time.Millisecond); d > 0 {
		return d
	}
	v := h.Get("Retry-After")
	if d := RetryDelay(v, time.Second); d > 0 {
		return d
	}
	if t, err := http.ParseTime(v); err == nil {
		return until(t, h)
	}
	return 0
}

// RetryDelay returns the number v as that many units, an hour at most; 0 when v
// is no positive number.
func RetryDelay(v string, unit time.Duration) time.Duration {
	f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	if err != nil || !(f > 0) { // not a number compares false
		return 0
	}
	if f >= float64(maxRetryAfter/unit) {
		return maxRetryAfter
	}
	return time.Duration(f * float64(unit))
}

// until is how long it is until t, by the provider's own clock where it shows
// it; an hour at most.
func until(t time.Time, h http.Header) time.Duration {
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(t.Sub(now), 0), maxRetryAfter)
}

// limitReset reads when the limits that a throttled request ran into are reset,
// from the headers that vendors report limits in. 0 when they do not say.
//
//	x-ratelimit-reset-{requests,tokens}, x-ratelimit-reset   beside …-remaining…
//	anthropic-ratelimit-{requests,tokens,…}-reset            beside …-remaining
//	anthropic-ratelimit-unified[-5h,-7d]-reset               beside …-status
//
// (reference: wire.md §1.1.6, §1.2.5.) Each response reports every limit: what
// counts is the last reset of those that are used up.
func limitReset(h http.Header) time.Duration {
	var longest time.Duration
	for k, v := range h {
		if len(v) == 0 || !strings.Contains(k, "Ratelimit") || !strings.Contains(k, "Reset") {
			continue
		}
		if usedUp(h, k) {
			longest = max(longest, resetTime(v[0], h))
		}
	}
	return longest
}

// usedUp reports whether the limit whose reset stands in header k lets nothing
// more through. One that does not tell what remains is taken to.
func usedUp(h http.Header, k string) bool {
	if status := h.Get(strings.Replace(k, "Reset", "Status", 1)); status != "" {
		return status == "rejected"
	}
	remaining, err := strconv.ParseFloat(strings.TrimSpace(h.Get(strings.Replace(k, "Reset", "Remaining", 1))), 64)
	return err != nil || remaining <= 0
}

// resetTime reads a reset: a time (RFC 3339, or in seconds or milliseconds since
// the epoch), or a duration (as Go writes it, or in seconds).
func resetTime(v string, h http.Header) time.Duration {
	v = strings.TrimSpace(v)
	if t, err := time.Parse(time.RFC3339, v); err == nil {
		return until(t, h)
	}
	if d, err := time.ParseDuration(v); err == nil {
		return min(max(d, 0), maxRetryAfter)
	}
	switch n, err := strconv.ParseFloat(v, 64); {
	case err != nil || !(n > 0) || n > 1e14:
		return 0
	case n >= 1e11:
		return until(time.UnixMilli(int64(n)), h)
	case n >= 1e8:
		return until(time.Unix(int64(n), 0), h)
	}
	return RetryDelay(v, time.Second)
}
