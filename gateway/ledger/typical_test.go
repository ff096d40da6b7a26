package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestLengthsAreNeverUnderstatedAndAtMostAQuarterOver(t *testing.T) {
	for n := int64(0); n < 1<<20; n += 1 + n/97 {
		if got := longest(bucket(n)); got < n || float64(got) > 1.25*float64(n) {
			t.Fatalf("%d tokens are in a bucket up to %d", n, got)
		}
	}
	if got := bucket(1 << 62); got != len(lengths{}.counts)-1 {
		t.Errorf("got bucket %d for what no answer has", got)
	}
}

func TestTypicalLengthIsThePercentileAskedFor(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var l lengths
	var all []int64
	for range memory - 1 {
		n := 1 + r.Int64N(8000)
		all = append(all, n)
		l.add(n)
	}
	slices.Sort(all)
	for _, part := range []float64{0.5, 0.9, 0.99, 1} {
		want := all[int(part*float64(len(all)))-1]
		if got := l.percentile(part); got < want || float64(got) > 1.3*float64(want) {
			t.Errorf("%v of the answers: got %d tokens, want about %d", part, got, want)
		}
	}
}

func TestTypicalLengthFollowsWhatIsRecent(t *testing.T) {
	var tt typical
	for range 2000 {
		tt.learn("k", "m", 10_000)
	}
	for range 1000 {
		tt.learn("k", "m", 100)
	}
	if got := tt.length("k", "m", 0.9); got > 125 {
		t.Errorf("got %d tokens, want about 100", got)
	}
}

func TestTypicalLengthWithoutHistory(t *testing.T) {
	var tt typical
	tt.learn("k", "m", 0) // says nothing
	if got := tt.length("k", "m", 0.9); got != unknownLength {
		t.Errorf("got %d, want %d", got, unknownLength)
	}
	tt.learn("k", "m", 7)
	if got := tt.length("other", "m", 0.9); got != unknownLength {
		t.Errorf("another key: got %d, want %d", got, unknownLength)
	}
}

func TestTypicalLengthsAreBounded(t *testing.T) {
	var tt typical
	for i := range 3 * maxPairs {
		tt.learn(fmt.Sprint(i), "m", 5)
	}
	if len(tt.pairs) != maxPairs {
		t.Errorf("got %d pairs, want %d", len(tt.pairs), maxPairs)
	}
}
