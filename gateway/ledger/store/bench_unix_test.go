//go:build unix

package store

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
)

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCPU is all the processor time an attempt costs, the writer's
// included, at a number of requests a second. It takes ten seconds for 5,000.
func BenchmarkCPU(b *testing.B) {
	for _, rate := range []int{500, 5000} {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) {
			s, _ := openStore(b, b.TempDir())
			h := benchHold()
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			start, n := cpuTime(b), 0
			for b.Loop() {
				if n++; n%(rate/10) == 0 {
					<-tick.C
				}
				h.Line.ID = uuid.Must(uuid.NewV7()).String()
				h.Line.Exchange = h.Line.ID
				if err := s.Held(h); err != nil {
					b.Fatal(err)
				}
				if err := s.Settled(&h.Line, h.Budgets, nil); err != nil {
					b.Fatal(err)
				}
			}
			closeStore(b, s)
			b.ReportMetric(float64(cpuTime(b)-start)/float64(n), "cpu-ns/op")
		})
	}
}
