package gateway

import (
	"math"
	"strconv"
	"strings"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// NanoUSD is an amount of money in nano-dollars, exact.
type NanoUSD int64

// Dollars returns the amount in dollars, for telemetry.
func (n NanoUSD) Dollars() float64 { return float64(n) / 1e9 }

// String returns the amount in dollars, as a decimal number without exponent
// and without trailing zeros.
func (n NanoUSD) String() string {
	b := make([]byte, 0, 24)
	u := uint64(n)
	if n < 0 {
		b, u = append(b, '-'), -u
	}
	b = strconv.AppendUint(b, u/1e9, 10)
	if f := u % 1e9; f != 0 {
		digits := strconv.FormatUint(1e9+f, 10)
		b = append(append(b, '.'), strings.TrimRight(digits[1:], "0")...)
	}
	return string(b)
}

// CostClass is one of the classes a cost is split into. Those before
// CostUndivided are the classes of Usage, in its order.
type CostClass int

// The classes.
const (
	CostInput CostClass = iota
	CostCacheRead
	CostCacheWrite
	CostCacheWrite1h
	CostOutput
	CostReasoning
	CostAudioIn
	CostAudioOut
	CostImageIn
	CostImageOut
	CostWebSearch
	CostUndivided // a provider's own figure, which it does not split
	CostClasses   // how many there are
)

// Cost is what an attempt costs. The zero value says that nobody has priced it.
type Cost struct {
	Classes [CostClasses]NanoUSD // by CostClass; each is rounded up
	Total   NanoUSD              // Σ Classes
	// Source says who computed it: names.CostSource…. With none, or "", the
	// amounts mean nothing.
	Source  string
	Billing string // names.CostBilling…; "" when there is no cost
	// Status says how the price was found: names.PriceStatus…; "" when none
	// was looked for, because no usage is known.
	Status string
	// PriceVersion identifies the prices; with the usage it gives the cost again.
	PriceVersion string
	// Entry is the entry of the price book or the configuration that was
	// applied, as the price book writes it; "" when none was. All costs by one
	// entry share the string.
	Entry string
}

// Known reports whether there is a cost, if only an assumed one.
func (c *Cost) Known() bool { return c.Source != "" && c.Source != names.CostSourceNone }

// Unpriced reports whether tokens were used that have no price.
func (c *Cost) Unpriced() bool { return c.Status == names.PriceStatusUnknown }

// Input, CacheRead, CacheWrite, Output and Other are the classes as telemetry
// groups them (TELEMETRY §3); their sum is Total.
func (c *Cost) Input() NanoUSD {
	return c.Classes[CostInput] + c.Classes[CostAudioIn] + c.Classes[CostImageIn]
}

// CacheRead is money for reading the provider's prompt cache; see Input.
func (c *Cost) CacheRead() NanoUSD { return c.Classes[CostCacheRead] }

// CacheWrite is money for writing it; see Input.
func (c *Cost) CacheWrite() NanoUSD {
	return c.Classes[CostCacheWrite] + c.Classes[CostCacheWrite1h]
}

// Output is money for what was generated, reasoning included; see Input.
func (c *Cost) Output() NanoUSD {
	return c.Classes[CostOutput] + c.Classes[CostReasoning] + c.Classes[CostAudioOut] + c.Classes[CostImageOut]
}

// Other is money for calls, and what a provider does not split; see Input.
func (c *Cost) Other() NanoUSD { return c.Classes[CostWebSearch] + c.Classes[CostUndivided] }

// Pricer says what attempts cost. Implementations are safe for concurrent use
// and quick: the client may be waiting for the end of its answer.
type Pricer interface {
	// Price returns the cost of a's usage, which is final.
	Price(a *Attempt) Cost
	// Baseline returns what the same usage costs on the model the client
	// named. It is called after Price, whose result is a.Cost; known is false
	// when either price is.
	Baseline(a *Attempt) (cost NanoUSD, known bool)
	// Bound returns the most a can cost, from what is sent; a.Body is final. For
	// opaque calls it is what the configuration says that they cost.
	Bound(a *Attempt) Bound
	// Complete fills in what the usage of a lacks that may be billed, once,
	// before Price: what a stream that was cut had generated, or the prompt of a
	// request that came to no answer. The usage's source says so.
	Complete(a *Attempt)
	// Accrued returns what a has cost so far: what its provider has reported and
	// what has been seen, whichever is more. a.Bound is set. It is called with
	// each event of a stream.
	Accrued(a *Attempt) NanoUSD
}

// subscriptionToken begins the tokens that Claude subscriptions sign in with
// (reference: Claude Code's setup-token).
const subscriptionToken = "sk-ant-oat"

// Billing says whether what the attempt costs is really billed:
// names.CostBilling…. Traffic of a subscription is not: it is notional.
func (a *Attempt) Billing() string {
	p := a.Target.Provider
	switch {
	case p.Billing != "" && p.Billing != names.CostBillingMetered:
		return p.Billing
	case a.Credential == CredentialToken:
		return names.CostBillingNotional
	case a.Credential == CredentialClient && p.Family == "anthropic":
		c := &a.Exchange.credential
		if c.bearer && strings.HasPrefix(strings.TrimPrefix(c.value.Reveal(), "Bearer "), subscriptionToken) {
			return names.CostBillingNotional
		}
	}
	return names.CostBillingMetered
}

// Cost returns what the exchange cost, summed over its attempts. known is false
// when nothing was priced, or something could not be: a part is no sum.
func (x *Exchange) Cost() (sum NanoUSD, known bool) {
	for _, a := range x.Attempts {
		if a.Cost.Unpriced() {
			return 0, false
		}
		if a.Cost.Known() {
			known = true
			if sum += a.Cost.Total; sum < 0 {
				return 0, false
			}
		}
	}
	return sum, known
}

// Fixed reads a JSON number as a fixed-point one: the value times 10^places,
// rounded up. exact is false when it was rounded. Negative and overlarge
// numbers, and what is no number, are not ok. No exponent makes it slow.
func Fixed(text []byte, places int) (n int64, exact, ok bool) {
	digits, point, seen := uint64(0), 0, false // value = digits · 10^-point
	exact = true
	i, fraction := 0, false
	for ; i < len(text); i++ {
		c := text[i]
		if c == '.' && !fraction {
			fraction = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		seen = true
		switch {
		case digits <= (math.MaxUint64-9)/10:
			digits = digits*10 + uint64(c-'0')
			if fraction {
				point++
			}
		case !fraction:
			return 0, false, false
		case c != '0': // further digits only round up
			exact = false
		}
	}
	if !seen {
		return 0, false, false
	}
	if i < len(text) {
		if text[i] != 'e' && text[i] != 'E' || len(text)-i > 6 {
			return 0, false, false
		}
		e, err := strconv.Atoi(string(text[i+1:]))
		if err != nil {
			return 0, false, false
		}
		point -= e
	}
	return shift(digits, places-point, exact)
}

// shift returns digits · 10^by, rounded up.
func shift(digits uint64, by int, exact bool) (int64, bool, bool) {
	if digits == 0 {
		by = 0
	}
	for ; by > 0; by-- {
		if digits > math.MaxInt64/10 {
			return 0, false, false
		}
		digits *= 10
	}
	for ; by < 0 && (digits > 0 || !exact); by++ {
		exact = exact && digits%10 == 0
		digits /= 10
		if digits == 0 {
			break
		}
	}
	if !exact {
		digits++
	}
	if digits > math.MaxInt64 {
		return 0, false, false
	}
	return int64(digits), exact, true
}
