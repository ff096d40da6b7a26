package price

import (
	"cmp"
	"slices"
	"strconv"
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
	// SearchOnce says that web_search is billed once for a request that searches, however often.
	SearchOnce bool

	text        string // what String returns; "" until finish
	marginal    bool   // whether a schedule is
	writeDearer bool   // writing to the cache costs more than plain input, in some schedule
	hourDearer  bool   // writing for an hour costs more than for five minutes
}

// Schedule is a list of prices for one service tier, for requests whose prompt is longer than Above tokens.
type Schedule struct {
	Service string // "" is the standard tier
	Above   int64
	// Marginal says that the whole request is not at these prices, but only what of the prompt lies beyond Above, and the
	// output if its price is stated.
	Marginal bool
	Given    ClassSet // the prices that are stated; the others are derived from them
	Rates    Rates    // complete
}

// name returns the schedule's tier and threshold as the book writes them, without colon; "" for the first one.
func (s *Schedule) name() string {
	name := s.Service
	if s.Marginal {
		name += "+"
	}
	if s.Above > 0 {
		name += ">" + strconv.FormatInt(s.Above, 10)
	}
	return name
}

// Name returns "vendor/model".
func (e *Entry) Name() string {
	if e.Vendor == "" { // a price of the configuration that holds at every provider
		return e.Model
	}
	return e.Vendor + "/" + e.Model
}

// Standard returns the prices of a short request in the standard tier.
func (e *Entry) Standard() *Rates { return &e.Schedules[0].Rates }

// service returns the tier that was used, in the book's words. An answer's speed wins over its tier: Anthropic reports both.
func service(tier, speed string) string {
	if speed == serviceFast {
		return serviceFast
	}
	switch tier {
	case serviceBatch, serviceFlex, servicePriority, serviceFast:
		return tier
	}
	return serviceStandard
}

// schedule returns the prices of a request, marginal ones aside, and what multiplies them.
func (e *Entry) schedule(prompt int64, tier, geo string) (*Schedule, scale) {
	s := unscaled
	tier = e.own(tier)
	at, exact := 0, false
	for i := range e.Schedules {
		sch := &e.Schedules[i]
		if sch.Above >= prompt && sch.Above != 0 || sch.Marginal {
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
	return &e.Schedules[at], e.place(s, geo)
}

// own returns the tier as this entry calls it: OpenAI reports its fast tier as priority.
func (e *Entry) own(tier string) string {
	if tier == serviceFast && !e.offers(tier) {
		return servicePriority
	}
	return tier
}

// place multiplies s by the factor of a region.
func (e *Entry) place(s scale, geo string) scale {
	if geo == "" {
		return s
	}
	for _, f := range e.Factors {
		if strings.HasPrefix(f.Name, geoPrefix) && f.Name[len(geoPrefix):] == geo {
			s = s.times(f)
		}
	}
	return s
}

func (e *Entry) offers(tier string) bool {
	return slices.ContainsFunc(e.Schedules, func(s Schedule) bool { return s.Service == tier }) ||
		slices.ContainsFunc(e.Factors, func(f Factor) bool { return f.Name == tier })
}

// finish sorts the schedules and completes their prices.
func (e *Entry) finish() {
	slices.SortFunc(e.Schedules, func(a, b Schedule) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Above, b.Above))
	})
	base := e.Schedules[0]
	for i := range e.Schedules {
		s := &e.Schedules[i]
		// What a tier does not state and the standard price states is the standard price's; so it is with a long request of a
		// tier and a short one.
		from := base
		if own := e.at(s.Service, 0); own != nil && s.Above > 0 && s.Service != serviceStandard {
			from = *own
			from.Given |= base.Given
		}
		s.Rates = s.Rates.over(from.Rates, from.Given&^s.Given).complete(s.Given | from.Given)
	}
	e.lengthen()
	for i := range e.Schedules {
		s := &e.Schedules[i]
		input, write, hour := s.Rates[gateway.CostInput], s.Rates[gateway.CostCacheWrite], s.Rates[gateway.CostCacheWrite1h]
		e.marginal = e.marginal || s.Marginal
		e.writeDearer = e.writeDearer || max(write, hour) > input
		e.hourDearer = e.hourDearer || hour > write
	}
	e.text = e.write()
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
			own.Above, own.Marginal = long.Above, long.Marginal
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
