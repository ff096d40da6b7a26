package telemetry

import (
	"sync/atomic"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// drops counts what was lost, by reason. It is safe for concurrent use.
type drops struct {
	counts [5]atomic.Int64 // in the order of names.TelemetryDropReasons
}

func (d *drops) add(reason string, n int64) {
	for i, r := range names.TelemetryDropReasons {
		if r == reason {
			d.counts[i].Add(n)
			return
		}
	}
}

// byReason returns the counts that are not zero.
func (d *drops) byReason() map[string]int64 {
	counts := map[string]int64{}
	for i, r := range names.TelemetryDropReasons {
		if n := d.counts[i].Load(); n > 0 {
			counts[r] = n
		}
	}
	return counts
}
