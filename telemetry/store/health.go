package store

import (
	"cmp"
	"slices"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// TargetStats is how a target fared in the exchanges that it answered, or was the last to be tried for.
type TargetStats struct {
	Provider string `json:"provider"`
	Model    string `json:"model"`
	Requests int    `json:"requests"`
	Failed   int    `json:"failed"`    // ended by the provider or by a timeout
	Rescued  int    `json:"fallbacks"` // answered after another target had failed
	// P50 and P95 are quantiles of the duration, TTFT the median time to the first token of streams.
	P50  time.Duration `json:"-"`
	P95  time.Duration `json:"-"`
	TTFT time.Duration `json:"-"`
}

// Overhead is what the gateway added to exchanges.
type Overhead struct {
	Requests int
	P50, P95 time.Duration
	P99      time.Duration
}

// maxSampled bounds the exchanges that Recent looks at.
const maxSampled = 20_000

// Recent returns how targets fared since a time, the busiest first, and what the gateway added.
func (s *Store) Recent(since time.Time) ([]TargetStats, Overhead) {
	type target struct{ provider, model string }
	type sample struct {
		TargetStats
		took, ttft []time.Duration
	}
	targets := map[target]*sample{}
	var overhead []time.Duration
	f := Filter{Since: since}
	s.walk(&f, func(b *block, i int) bool {
		e := &b.entries[i]
		overhead = append(overhead, time.Duration(e.nums[numOverhead]))
		at := target{b.texts[e.texts[textProvider]], b.texts[e.texts[textRouted]]}
		if at.provider == "" || e.nums[numAttempts] == 0 {
			return len(overhead) < maxSampled
		}
		t := targets[at]
		if t == nil {
			t = &sample{TargetStats: TargetStats{Provider: at.provider, Model: at.model}}
			targets[at] = t
		}
		t.Requests++
		switch b.texts[e.texts[textOutcome]] {
		case names.OutcomeFailed, names.OutcomeTimeout, names.OutcomeTruncated:
			t.Failed++
		default:
			if e.nums[numFallbacks] > 0 {
				t.Rescued++
			}
		}
		t.took = append(t.took, time.Duration(e.nums[numDuration]))
		if n := e.nums[numTTFT]; n > 0 {
			t.ttft = append(t.ttft, time.Duration(n))
		}
		return len(overhead) < maxSampled
	})
	out := make([]TargetStats, 0, len(targets))
	for _, t := range targets {
		t.P50, t.P95, t.TTFT = quantile(t.took, 0.5), quantile(t.took, 0.95), quantile(t.ttft, 0.5)
		out = append(out, t.TargetStats)
	}
	slices.SortFunc(out, func(a, b TargetStats) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model))
	})
	return out, Overhead{len(overhead), quantile(overhead, 0.5), quantile(overhead, 0.95), quantile(overhead, 0.99)}
}

// quantile sorts list; of an empty one it is 0.
func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[int(q*float64(len(list)-1)+0.5)]
}
