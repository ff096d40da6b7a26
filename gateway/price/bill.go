package price

import (
	"slices"

	"github.com/ccproxy/ccproxy/gateway"
)

// Term is one product of the sum that is a cost: Count × Price × Factor, rounded up to the nano-dollar.
type Term struct {
	Class gateway.CostClass
	// Entry is whose price it is, as the book names it: "vendor/model". "": the amount is a provider's own figure, or the
	// configuration's for a request that nobody reads, and the factors below are 1, the amount and 1.
	Entry string
	// Schedule is the tier and the threshold the price is stated for, such as "priority>200000"; "": the standard price.
	Schedule string
	Count    int64 // tokens, or calls
	Price    int64 // pico-dollars for one
	Factor   Factor
	Amount   gateway.NanoUSD
}

// bill adds up terms.
type bill struct {
	classes [gateway.CostClasses]gateway.NanoUSD
	total   gateway.NanoUSD
	explain bool // keep the terms
	terms   []Term
}

// add adds count × price × s. It is not ok when one of them is negative or the sum does not fit.
func (b *bill) add(e *Entry, sch *Schedule, class gateway.CostClass, count int64, s scale) bool {
	if count == 0 {
		return true
	}
	amount, ok := charge(count, sch.Rates[class], s)
	if !ok {
		return false
	}
	b.classes[class] += amount // no more than the total, which is looked at
	if b.total += amount; b.total < 0 {
		return false
	}
	if b.explain {
		b.terms = append(b.terms, Term{Class: class, Entry: e.Name(), Schedule: sch.name(), Count: count, Price: sch.Rates[class],
			Factor: Factor{Num: int64(s.num), Den: int64(s.den)}, Amount: amount})
	}
	return true
}

// charge adds what u costs, Others aside, in a tier. The factors multiply tokens, not calls. It is not ok when the usage
// makes no sense or an amount does not fit.
func (e *Entry) charge(u *gateway.Usage, tier string, b *bill) bool {
	prompt := u.InputTokens()
	sch, s := e.schedule(prompt, tier, u.Geo)
	if e.marginal {
		return e.chargeMarginal(u, sch, s, b)
	}
	n := e.counts(u)
	for c, count := range n {
		by := s
		if gateway.CostClass(c) == gateway.CostWebSearch {
			by = unscaled
		}
		if !b.add(e, sch, gateway.CostClass(c), count, by) {
			return false
		}
	}
	return true
}

// counts returns the usage by class, as it is billed.
func (e *Entry) counts(u *gateway.Usage) [classCount]int64 {
	searches := u.WebSearches
	if e.SearchOnce {
		searches = min(searches, 1)
	}
	return [classCount]int64{u.Input, u.CacheRead, u.CacheWrite, u.CacheWrite1h, u.Output, u.Reasoning,
		u.AudioIn, u.AudioOut, u.ImageIn, u.ImageOut, searches}
}

// promptOrder is how the classes of a prompt are taken to follow each other: what is cached comes first. Read-only.
var promptOrder = [...]gateway.CostClass{gateway.CostCacheRead, gateway.CostCacheWrite1h, gateway.CostCacheWrite, gateway.CostInput,
	gateway.CostAudioIn, gateway.CostImageIn}

// chargeMarginal is charge where the tokens beyond a threshold have other prices than those before it.
func (e *Entry) chargeMarginal(u *gateway.Usage, base *Schedule, s scale, b *bill) bool {
	n := e.counts(u)
	for _, count := range n {
		if count < 0 {
			return false
		}
	}
	out := base
	at := int64(0) // tokens of the prompt so far
	for _, c := range promptOrder {
		for left := n[c]; left > 0; {
			sch, end := e.beyond(base, at)
			count := left
			if end > 0 {
				count = min(left, end-at)
			}
			if !b.add(e, sch, c, count, s) {
				return false
			}
			out = sch
			if at += count; at < 0 {
				return false
			}
			left -= count
		}
	}
	for c, count := range n {
		class, by := gateway.CostClass(c), s
		if slices.Contains(promptOrder[:], class) {
			continue
		}
		if class == gateway.CostWebSearch {
			by = unscaled
		}
		if !b.add(e, out, class, count, by) {
			return false
		}
	}
	return true
}

// beyond returns the prices of the next token of a prompt of which there are at tokens already, and where they end; 0: they
// do not. base is the schedule of the request as a whole.
func (e *Entry) beyond(base *Schedule, at int64) (sch *Schedule, end int64) {
	sch = base
	for i := range e.Schedules {
		m := &e.Schedules[i]
		if !m.Marginal || m.Service != base.Service || m.Above < base.Above {
			continue
		}
		if m.Above > at {
			return sch, m.Above // they are sorted
		}
		sch = m
	}
	return sch, 0
}
