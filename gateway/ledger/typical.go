package ledger

import (
	"math"
	"math/bits"
	"sync"
)

const (
	// unknownLength is the length assumed of an answer, in tokens, when no key
	// has had one from the model.
	unknownLength = 4096
	// maxPairs bounds the memory: about 250 bytes a pair.
	maxPairs = 4096
	// memory is after how many answers older ones begin to count less.
	memory = 256
)

// typical remembers how long answers have been lately, by key and model. It is
// safe for concurrent use.
type typical struct {
	mu    sync.Mutex
	pairs map[pair]*lengths
}

type pair struct{ key, model string }

// learn adds an answer of so many tokens.
func (t *typical) learn(key, model string, tokens int64) {
	if tokens <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.pairs[pair{key, model}]
	if l == nil {
		if len(t.pairs) >= maxPairs {
			for p := range t.pairs { // any will do: the order is random
				delete(t.pairs, p)
				break
			}
		}
		if t.pairs == nil {
			t.pairs = map[pair]*lengths{}
		}
		l = new(lengths)
		t.pairs[pair{key, model}] = l
	}
	l.add(tokens)
}

// length returns a length that the given part of the answers does not exceed.
func (t *typical) length(key, model string, part float64) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.pairs[pair{key, model}]; l != nil {
		return l.percentile(part)
	}
	return unknownLength
}

// lengths is a histogram with four buckets an octave: a percentile is at most
// a quarter too high.
type lengths struct {
	counts [100]uint16
	total  int
}

// bucket returns the bucket of n ≥ 0.
func bucket(n int64) int {
	if n < 4 {
		return int(n)
	}
	shift := bits.Len64(uint64(n)) - 3
	return min(4*shift+int(n>>shift), len(lengths{}.counts)-1)
}

// longest returns the largest n in a bucket.
func longest(bucket int) int64 {
	if bucket < 4 {
		return int64(bucket)
	}
	shift := bucket/4 - 1
	return int64(bucket%4+5)<<shift - 1
}

func (l *lengths) add(tokens int64) {
	l.counts[bucket(tokens)]++
	if l.total++; l.total < memory {
		return
	}
	l.total = 0
	for i := range l.counts {
		l.counts[i] /= 2
		l.total += int(l.counts[i])
	}
}

func (l *lengths) percentile(part float64) int64 {
	want, seen := int(math.Ceil(part*float64(l.total))), 0
	for i, n := range l.counts {
		if seen += int(n); seen >= want && seen > 0 {
			return longest(i)
		}
	}
	return unknownLength // halving left nothing
}
