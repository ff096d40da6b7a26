package price

import (
	"bytes"
	"math"
	"math/bits"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
)

// reach says in which tiers and at which place a request may be served and billed.
type reach struct {
	priority, fast, every bool
	asked                 string // the tier asked for
	geo                   string
	anywhere              bool // at the dearest place
}

// reach returns what an attempt may come to. What is asked for in another tier than the standard one may come back as that.
func (p *Pricer) reach(a *gateway.Attempt, e *Entry) (r reach) {
	call := &a.Exchange.Call
	r.asked, r.geo = strings.ToLower(call.ServiceTier), call.Geo
	switch r.asked { // Gemini's are in capitals as well
	case "", "default", "standard", "standard_only", serviceFlex, serviceBatch, "scale":
	case servicePriority, "auto":
		r.priority = true
	case serviceFast, "ultrafast":
		r.priority, r.fast = true, true
	default:
		r.every = true
	}
	r.fast = r.fast || call.Speed == serviceFast
	if u := p.unasked[a.Target.Provider.Name]; u != nil {
		seen := u.Load()
		r.priority = r.priority || seen&unaskedPriority != 0
		r.anywhere = seen&unaskedPlace != 0
	}
	if r.fast && !e.offers(serviceFast) {
		r.priority = true
	}
	return r
}

// notice remembers what a provider billed that was not asked for, because it will again.
func (p *Pricer) notice(a *gateway.Attempt, e *Entry) {
	r, call := &a.Result, &a.Exchange.Call
	var seen uint32
	if s := r.ServiceTier; s == servicePriority || s == serviceFast {
		if call.ServiceTier == "" || call.ServiceTier == "default" {
			seen |= unaskedPriority
		}
	}
	if g := r.Usage.Geo; g != "" && g != call.Geo && e.place(unscaled, g) != unscaled {
		seen |= unaskedPlace
	}
	if seen == 0 {
		return
	}
	if u := p.unasked[a.Target.Provider.Name]; u != nil && u.Load()&seen != seen {
		u.Or(seen)
	}
}

// reaches reports whether requests may be billed in a tier.
func (r *reach) reaches(tier string) bool {
	switch tier {
	case serviceStandard:
		return true
	case servicePriority:
		return r.priority || r.every
	case serviceFast:
		return r.fast || r.every
	}
	return r.every || tier == r.asked
}

// dearest sets the rates: of all schedules that a prompt of up to input tokens may be billed by, and of the classes that the
// request may have, the highest.
func (q *request) dearest(input int64, r reach) {
	in, out := q.classes()
	place := q.place(r)
	for i := range q.e.Schedules {
		s := &q.e.Schedules[i]
		if s.Above != 0 && s.Above >= input || !r.reaches(s.Service) {
			continue
		}
		q.consider(&s.Rates, in, out, place)
		if s.Service != serviceStandard {
			continue
		}
		for _, f := range q.e.Factors {
			if !strings.HasPrefix(f.Name, geoPrefix) && r.reaches(f.Name) && q.e.at(f.Name, 0) == nil {
				q.consider(&s.Rates, in, out, place.times(f))
			}
		}
	}
}

// place returns the factor of the place a request may be served at: that asked for, if it is dearer, or the dearest.
func (q *request) place(r reach) scale {
	s := unscaled
	for _, f := range q.e.Factors {
		if region, geo := strings.CutPrefix(f.Name, geoPrefix); geo && (r.anywhere || region == r.geo) && uint64(f.Num)*s.den > uint64(f.Den)*s.num {
			s = unscaled.times(f)
		}
	}
	return s
}

// consider raises the rates to those of a schedule.
func (q *request) consider(rates *Rates, in, out ClassSet, s scale) {
	odd := false
	for c, pico := range rates {
		class := gateway.CostClass(c)
		switch {
		case class == gateway.CostWebSearch:
			q.searchRate = max(q.searchRate, pico)
		case in.Has(class):
			n, exact := scaled(pico, s)
			q.inputRate, odd = max(q.inputRate, n), odd || !exact
		case out.Has(class):
			n, exact := scaled(pico, s)
			q.outputRate, odd = max(q.outputRate, n), odd || !exact
		}
	}
	if odd { // each class is rounded up for itself, on both sides of a threshold
		q.rounding = gateway.NanoUSD(classCount + len(q.e.Schedules))
	}
}

// scaled returns pico × s, rounded up; exact says that amounts of such tokens are whole nano-dollars.
func scaled(pico int64, s scale) (n int64, exact bool) {
	if s == unscaled {
		return pico, pico%1000 == 0
	}
	hi, lo := bits.Mul64(uint64(pico), s.num)
	if hi >= s.den {
		return math.MaxInt64, true
	}
	q, rest := bits.Div64(hi, lo, s.den)
	if rest != 0 {
		q++
	}
	if q > math.MaxInt64 {
		return math.MaxInt64, true
	}
	return int64(q), rest == 0 && q%1000 == 0
}

// writes reports whether the prompt can be written to the provider's cache, and for an hour or longer. Anthropic does so where
// the body says cache_control; OpenAI does unasked, for twelve hours where the body says so; Gemini bills no writing. Nothing is
// looked for where writing costs no more than reading.
func (q *request) writes() (write, hour bool) {
	body, family := q.a.Body, q.a.Target.Provider.Family
	if !q.e.writeDearer || family == "gemini" {
		return false, false
	}
	if write = family == "openai" || caches(body); write && q.e.hourDearer {
		hour = bytes.Contains(body, []byte(`1h"`)) || family == "openai" && bytes.Contains(body, []byte(`12h"`))
	}
	if (!write || !hour && q.e.hourDearer) && hidesWords(body) {
		return true, true
	}
	return write, hour
}

// caches reports whether cache_control stands in the body. The search is for the part of it that begins with a rare letter.
func caches(body []byte) bool {
	const before, rare = "cache", "_control"
	for i := 0; ; i += len(rare) {
		n := bytes.Index(body[i:], []byte(rare))
		if n < 0 {
			return false
		}
		if i += n; bytes.HasSuffix(body[:i], []byte(before)) {
			return true
		}
	}
}

// hidesWords reports whether a letter, a digit or an underscore is written as an escape (\u0041), as no JSON library does: a
// search for a word may miss it then. What is searched for is its zeros, which text has fewer of than backslashes.
func hidesWords(body []byte) bool {
	for i := 0; ; i += len(`00\u`) {
		n := bytes.Index(body[min(i, len(body)):], []byte("00"))
		if i += n; n < 0 || i+4 > len(body) {
			return false
		}
		if !bytes.HasSuffix(body[:i], []byte(`\u`)) || !isWord(body[i+2], body[i+3]) {
			continue
		}
		slashes := 1 // two are one that is no escape
		for i-2-slashes >= 0 && body[i-2-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 1 {
			return true
		}
	}
}

// isWord reports whether two hexadecimal digits are an ASCII letter, a digit or an underscore.
func isWord(hi, lo byte) bool {
	h, ok1 := hexDigit(hi)
	l, ok2 := hexDigit(lo)
	c := h<<4 | l
	return ok1 && ok2 && (c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c == '_' || c >= 'a' && c <= 'z')
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
