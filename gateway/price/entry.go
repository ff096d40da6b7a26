package price

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
)

// The service tiers that have prices of their own. Other tiers, such as a provider's commitments, cost the standard price.
const (
	serviceStandard = ""
	serviceBatch    = "batch"
	serviceFlex     = "flex"
	servicePriority = "priority"
	serviceFast     = "fast"
	geoPrefix       = "geo:"
)

// Entry is what one model costs. It is immutable once in a Book.
type Entry struct {
	Vendor, Model      string
	Context, MaxOutput int64 // tokens; 0: not known
	// Schedules are sorted by service and threshold; the first is the standard one above 0.
	Schedules []Schedule
	Factors   []Factor
}

// Schedule is a list of prices for one service tier, for requests whose prompt is longer than Above tokens. The whole
// request is at these prices.
type Schedule struct {
	Service string // "" is the standard tier
	Above   int64
	Given   ClassSet // the prices that are stated; the others are derived from them
	Rates   Rates    // complete
}

// Name returns "vendor/model".
func (e *Entry) Name() string { return e.Vendor + "/" + e.Model }

// Standard returns the prices of a short request in the standard tier.
func (e *Entry) Standard() *Rates { return &e.Schedules[0].Rates }

// service returns the tier that was used, in the book's words. An answer's speed wins over its tier: Anthropic reports both.
func service(r *gateway.Result) string {
	if r.Usage.Speed == serviceFast {
		return serviceFast
	}
	switch s := r.ServiceTier; s {
	case serviceBatch, serviceFlex, servicePriority, serviceFast:
		return s
	}
	return serviceStandard
}

// rates returns the prices of a request, and what multiplies them.
func (e *Entry) rates(prompt int64, tier, geo string) (*Rates, scale) {
	s := unscaled
	if tier == serviceFast && !e.offers(tier) {
		tier = servicePriority // OpenAI reports its fast tier as priority
	}
	at, exact := 0, false
	for i := range e.Schedules {
		sch := &e.Schedules[i]
		if sch.Above >= prompt && sch.Above != 0 {
			continue
		}
		if own := sch.Service == tier; own || sch.Service == serviceStandard && !exact {
			at, exact = i, exact || own && tier != serviceStandard
		}
	}
	if !exact && tier != serviceStandard {
		for _, f := range e.Factors {
			if f.Name == tier {
				s = s.times(f)
			}
		}
	}
	if geo != "" {
		for _, f := range e.Factors {
			if strings.HasPrefix(f.Name, geoPrefix) && f.Name[len(geoPrefix):] == geo {
				s = s.times(f)
			}
		}
	}
	return &e.Schedules[at].Rates, s
}

func (e *Entry) offers(tier string) bool {
	return slices.ContainsFunc(e.Schedules, func(s Schedule) bool { return s.Service == tier }) ||
		slices.ContainsFunc(e.Factors, func(f Factor) bool { return f.Name == tier })
}

// charge prices a result into c. It is not ok when the usage makes no sense or the amount does not fit.
func (e *Entry) charge(r *gateway.Result, c *gateway.Cost) bool {
	rates, s := e.rates(r.Usage.InputTokens(), service(r), r.Usage.Geo)
	return rates.charge(&r.Usage, s, c)
}

// finish sorts the schedules and completes their prices.
func (e *Entry) finish() {
	slices.SortFunc(e.Schedules, func(a, b Schedule) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Above, b.Above))
	})
	base := e.Schedules[0]
	for i := range e.Schedules {
		s := &e.Schedules[i]
		// What a tier does not state and the standard price states is the standard price's.
		s.Rates = s.Rates.over(base.Rates, base.Given&^s.Given).complete(s.Given | base.Given)
	}
	e.lengthen()
}

// lengthen gives tiers without a price for long requests the dearer of their own and the standard one, class by class.
func (e *Entry) lengthen() {
	var more []Schedule
	for _, long := range e.Schedules {
		if long.Service != serviceStandard || long.Above == 0 {
			continue
		}
		for _, own := range e.Schedules {
			if own.Service == serviceStandard || own.Above != 0 || e.at(own.Service, long.Above) != nil {
				continue
			}
			own.Above = long.Above
			for c := range own.Rates {
				own.Rates[c] = max(own.Rates[c], long.Rates[c])
			}
			own.Given = 0 // derived: not written
			more = append(more, own)
		}
	}
	if len(more) > 0 {
		e.Schedules = append(e.Schedules, more...)
		slices.SortStableFunc(e.Schedules, func(a, b Schedule) int {
			return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Above, b.Above))
		})
	}
}

func (e *Entry) at(service string, above int64) *Schedule {
	for i := range e.Schedules {
		if s := &e.Schedules[i]; s.Service == service && s.Above == above {
			return s
		}
	}
	return nil
}
