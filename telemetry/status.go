package telemetry

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ExporterStatus is how one signal of one exporter fares.
type ExporterStatus struct {
	Name        string           `json:"name"`
	Signal      Signal           `json:"signal"`
	Endpoint    string           `json:"endpoint"` // without credentials
	Protocol    string           `json:"protocol"`
	Exported    int64            `json:"exported"`        // items taken by the receiver
	Dropped     map[string]int64 `json:"dropped"`         // :: names.TelemetryDropReasons → items lost
	QueueBytes  int64            `json:"queue_bytes"`     // waiting and in flight; 0 for metrics, which do not queue
	QueueLimit  int64            `json:"queue_limit"`     // bytes; 0 for metrics
	LastError   string           `json:"last_error"`      // "": none yet
	LastErrorAt time.Time        `json:"last_error_at"`   // zero: none yet
	LastSuccess time.Time        `json:"last_success_at"` // zero: none yet
}

// Status returns the state of every signal of every exporter, in the order of the configuration.
func (t *Telemetry) Status() []ExporterStatus {
	list := make([]ExporterStatus, 0, len(t.states))
	for _, s := range t.states {
		list = append(list, s.status())
	}
	return list
}

func (s *exporterState) status() ExporterStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := ExporterStatus{
		Name: s.name, Signal: s.signal, Endpoint: s.endpoint, Protocol: s.protocol,
		Exported: s.exported, Dropped: s.drops.byReason(),
		LastError: s.lastError, LastErrorAt: s.lastErrorAt, LastSuccess: s.lastSuccess,
	}
	if s.queue != nil {
		status.QueueBytes, status.QueueLimit = s.queue.bytes(), int64(s.queue.limit)
	}
	return status
}

// losses adds up what every exporter of a signal lost, and the sampler.
func (t *Telemetry) losses(signal Signal) map[string]int64 {
	total := map[string]int64{}
	if signal == Traces {
		maps.Copy(total, t.tailDrops.byReason())
	}
	for _, s := range t.states {
		if s.signal != signal {
			continue
		}
		for reason, n := range s.drops.byReason() {
			total[reason] += n
		}
	}
	return total
}

// waiting adds up the bytes a signal holds in its queues and the sampler.
func (t *Telemetry) waiting(signal Signal) (bytes int64) {
	for _, s := range t.states {
		if s.signal == signal && s.queue != nil {
			bytes += s.queue.bytes()
		}
	}
	if signal == Traces && t.tail != nil {
		bytes += t.tail.held()
	}
	return bytes
}

// LostError is returned by Shutdown when telemetry that was made did not leave.
type LostError struct {
	Lost map[Signal]int64 // items lost at shutdown; only signals that lost some
}

// Error names the signals and counts.
func (e *LostError) Error() string {
	var parts []string
	for _, s := range slices.Sorted(maps.Keys(e.Lost)) {
		parts = append(parts, fmt.Sprintf("%s %d", s, e.Lost[s]))
	}
	return "telemetry lost at shutdown: " + strings.Join(parts, ", ")
}
