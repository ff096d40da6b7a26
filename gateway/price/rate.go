package price

import (
	"math/bits"
	"slices"

	"github.com/ccproxy/ccproxy/gateway"
)

// classCount is the number of classes that have a price: those of usage.
const classCount = int(gateway.CostUndivided)

// classNames are the classes' names in the book's format and in configuration, by gateway.CostClass. Read-only.
var classNames = [classCount]string{"input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning",
	"audio_in", "audio_out", "image_in", "image_out", "web_search"}

// ClassNames returns the names of the priced classes, by gateway.CostClass.
func ClassNames() []string { return slices.Clone(classNames[:]) }

// Rates are prices by gateway.CostClass: pico-dollars per token, for web_search per call.
type Rates [classCount]int64

// ClassSet is a set of classes.
type ClassSet uint16

// Has reports whether c is in the set.
func (s ClassSet) Has(c gateway.CostClass) bool { return s>>c&1 == 1 }

// With returns the set with c in it.
func (s ClassSet) With(c gateway.CostClass) ClassSet { return s | 1<<c }

// fallbacks say which class's price stands in for one that is not given (MONEY §2), in an order in which the other is
// known already. Read-only.
var fallbacks = [...][2]gateway.CostClass{
	{gateway.CostReasoning, gateway.CostOutput}, {gateway.CostCacheRead, gateway.CostInput}, {gateway.CostCacheWrite, gateway.CostInput},
	{gateway.CostCacheWrite1h, gateway.CostCacheWrite}, {gateway.CostAudioIn, gateway.CostInput}, {gateway.CostImageIn, gateway.CostInput},
	{gateway.CostAudioOut, gateway.CostOutput}, {gateway.CostImageOut, gateway.CostOutput},
}

// complete returns r with the classes that are not given filled in.
func (r Rates) complete(given ClassSet) Rates {
	for _, f := range fallbacks {
		if !given.Has(f[0]) {
			r[f[0]] = r[f[1]]
		}
	}
	return r
}

// over returns r with the classes of given taken from other.
func (r Rates) over(other Rates, given ClassSet) Rates {
	for c := range r {
		if given.Has(gateway.CostClass(c)) {
			r[c] = other[c]
		}
	}
	return r
}

// Factor multiplies the price of every token class.
type Factor struct {
	Name     string // a service tier, or "geo:" and a region
	Num, Den int64  // both 1 to 10,000
}

// scale is a product of factors.
type scale struct{ num, den uint64 }

var unscaled = scale{1, 1}

func (s scale) times(f Factor) scale { return scale{s.num * uint64(f.Num), s.den * uint64(f.Den)} }

// charge returns count × pico × s in nano-dollars, rounded up. It is not ok when a factor is negative or the result does
// not fit. s is a product of at most two factors.
func charge(count, pico int64, s scale) (gateway.NanoUSD, bool) {
	if count <= 0 || pico <= 0 {
		return 0, count >= 0 && pico >= 0
	}
	hi, lo := bits.Mul64(uint64(count), uint64(pico))
	if s.num != 1 {
		over, top := bits.Mul64(hi, s.num)
		carry, low := bits.Mul64(lo, s.num)
		var c uint64
		hi, c = bits.Add64(top, carry, 0)
		if over != 0 || c != 0 {
			return 0, false
		}
		lo = low
	}
	den := 1000 * s.den
	if hi >= den {
		return 0, false // the quotient is 2^64 or more
	}
	q, rest := bits.Div64(hi, lo, den)
	if q >= 1<<63-1 {
		return 0, false
	}
	if rest != 0 {
		q++
	}
	return gateway.NanoUSD(q), true
}
