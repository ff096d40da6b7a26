//go:build unix

package ledger

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
)

// manyBudgets returns n of all scopes, with thresholds; most are about subjects
// that a request does not have.
func manyBudgets(n int) []budget.Budget {
	scopes := []string{"team", "model", "key", "label", "provider", "tag"}
	list := []budget.Budget{limit("everything", 1e9*dollar), each("key", "*", 1e9*dollar), each("team", "research", 1e9*dollar)}
	for i := len(list); i < n; i++ {
		b := each(scopes[i%len(scopes)], fmt.Sprintf("name%d=value", i), 1e9*dollar)
		b.Name = fmt.Sprintf("budget%d", i)
		list = append(list, b)
	}
	for i := range list {
		list[i].Thresholds = []float64{0.5, 0.8, 0.95}
	}
	return list
}

// BenchmarkHoldAndSettle is what the ledger costs a request: budgets, journal,
// and the line's way into SQLite, which other goroutines go meanwhile.
func BenchmarkHoldAndSettle(b *testing.B) {
	for _, size := range []struct{ budgets, keys int }{{10, 1}, {10, 10_000}, {1000, 10_000}} {
		b.Run(fmt.Sprintf("budgets=%d,keys=%d", size.budgets, size.keys), func(b *testing.B) {
			r := newRig(b, with(manyBudgets(size.budgets)...))
			names := make([]string, size.keys)
			for i := range names {
				names[i] = fmt.Sprintf("key%d", i)
			}
			a := attempt(cent)
			base := *a
			cpu := cpuTime(b)
			b.ReportAllocs()
			b.ResetTimer()
			i := 0
			for b.Loop() {
				*a = base
				a.ID = newID()
				a.Exchange.ID, a.Exchange.Caller.KeyID, a.Exchange.Caller.KeyAlias = a.ID, names[i%len(names)], names[i%len(names)]
				i++
				h, err := r.Hold(context.Background(), a)
				if err != nil {
					b.Fatal(err)
				}
				h.Settle(context.Background(), costs(a, cent))
				if i%1000 == 0 { // no faster than SQLite takes it
					if _, err := r.Store().Line(context.Background(), a.ID); err != nil {
						b.Fatal(err)
					}
				}
			}
			if _, err := r.Store().Spent(context.Background(), store.Filter{}); err != nil { // until it is in SQLite
				b.Fatal(err)
			}
			b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(b.N)/1000, "µs-cpu/op")
		})
	}
}

// BenchmarkWatch is what it costs to tell a hold of an event.
func BenchmarkWatch(b *testing.B) {
	r := newRig(b, with(limit("everything", 1e9*dollar)))
	a := stream(dollar)
	h := r.hold(a)
	now := noon
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(20_000_000)
		_ = h.Watch(context.Background(), a, cent+gateway.NanoUSD(now.Unix()-noon.Unix()), now)
	}
	h.Settle(context.Background(), costs(a, cent))
}

// cpuTime returns the processor time of this process.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
