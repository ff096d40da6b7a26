package ledger

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/price"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Policy is what is common to all budgets.
type Policy struct {
	// UnknownPrice is what a token costs, in pico-dollars, when nobody knows its
	// price. Absent: callers under an enforcing budget are refused.
	UnknownPrice gateway.Optional[int64]
	// AssumeOutputTokens is the longest answer to a request without a maximum
	// when the model is not known either. 0: 32,768. (With a model that is known
	// the Pricer says.)
	AssumeOutputTokens int64
	// Percentile is the part of a model's recent answers to a key that is
	// typical, 0 to 1. 0: 0.9.
	Percentile float64
	// ShowAmounts lets refusals name the amounts.
	ShowAmounts bool
	// FailOpen reports whether a caller under an enforcing budget goes on while
	// the ledger cannot be written. nil: none does.
	FailOpen func(*gateway.Caller) bool
}

const (
	defaultOutputTokens = 32_768
	defaultPercentile   = 0.9
)

func (p *Policy) check() error {
	if p.UnknownPrice.Set && p.UnknownPrice.Value < 0 || p.AssumeOutputTokens < 0 {
		return errors.New("budgets: a negative price or number of tokens")
	}
	if !(p.Percentile >= 0 && p.Percentile <= 1) {
		return fmt.Errorf("budgets: percentile %v is not between 0 and 1", p.Percentile)
	}
	return nil
}

// withDefaults fills in what is zero.
func (p Policy) withDefaults() Policy {
	if p.AssumeOutputTokens == 0 {
		p.AssumeOutputTokens = defaultOutputTokens
	}
	if p.Percentile == 0 {
		p.Percentile = defaultPercentile
	}
	return p
}

// assumption is one price for every token of a model that has none.
type assumption struct {
	pico  int64
	entry string // as the price book writes it
}

func (p *Policy) assumption() *assumption {
	if !p.UnknownPrice.Set {
		return nil
	}
	e := price.Entry{Vendor: "assumed", Model: "any", Schedules: []price.Schedule{{Given: price.ClassSet(0).With(gateway.CostInput).With(gateway.CostOutput)}}}
	e.Schedules[0].Rates[gateway.CostInput], e.Schedules[0].Rates[gateway.CostOutput] = p.UnknownPrice.Value, p.UnknownPrice.Value
	return &assumption{p.UnknownPrice.Value, e.String()}
}

// bound replaces a bound that is not known: what is sent at two bytes a token,
// and the longest answer.
func (s *assumption) bound(a *gateway.Attempt, assumeOutput int64) gateway.Bound {
	b := a.Bound
	b.Status, b.Rate = names.PriceStatusAssumed, s.pico
	b.InputTokens = max(b.InputTokens, int64(len(a.Body)+3)/4)
	if b.OutputTokens <= 0 {
		b.OutputTokens = longestAnswer(&a.Exchange.Call, assumeOutput)
	}
	b.Input = times(int64(len(a.Body)+1)/2, s.pico)
	b.Output = times(b.OutputTokens, s.pico)
	b.Floor = times(b.InputTokens, s.pico)
	return b
}

// accrued returns what an attempt has cost so far.
func (s *assumption) accrued(a *gateway.Attempt) gateway.NanoUSD {
	u := &a.Result.Usage
	input := max(u.InputTokens(), int64(len(a.Body)+3)/4)
	return times(input+max(u.OutputTokens(), (a.Result.OutputBytes+3)/4), s.pico)
}

// longestAnswer returns how many tokens a call may be answered with.
func longestAnswer(c *gateway.Call, assume int64) int64 {
	each, choices := c.MaxTokens, max(1, c.Choices)
	if each <= 0 {
		each = assume
	}
	if each > math.MaxInt64/choices {
		return math.MaxInt64
	}
	return each * choices
}

// cost prices usage that has no price.
func (s *assumption) cost(u *gateway.Usage, billing string) gateway.Cost {
	c := gateway.Cost{Source: names.CostSourceAssumed, Status: names.PriceStatusAssumed, Billing: billing, Entry: s.entry}
	s.add(&c, u)
	for model, used := range u.OtherParts() {
		s.add(&c, &used)
		if model != "" {
			c.Entry += "\n" + s.entry // a line for each model
		}
	}
	return c
}

func (s *assumption) add(c *gateway.Cost, u *gateway.Usage) {
	for class, tokens := range [...]int64{u.Input, u.CacheRead, u.CacheWrite, u.CacheWrite1h, u.Output, u.Reasoning, u.AudioIn, u.AudioOut, u.ImageIn, u.ImageOut} {
		n := times(tokens, s.pico)
		c.Classes[class], c.Total = sum(c.Classes[class], n), sum(c.Total, n)
	}
}

// times returns n tokens × pico, rounded up to nano-dollars. Negative factors
// count as 0; what does not fit is the largest amount there is.
func times(n, pico int64) gateway.NanoUSD {
	if n <= 0 || pico <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(n), uint64(pico))
	lo, carry := bits.Add64(lo, 999, 0)
	if hi += carry; hi >= 1000 {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, 1000)
	return gateway.NanoUSD(min(q, math.MaxInt64))
}

// sum adds amounts that are not negative. What does not fit is the largest
// amount there is.
func sum(a, b gateway.NanoUSD) gateway.NanoUSD {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}
