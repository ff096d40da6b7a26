package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// SpendQuery asks what was spent.
type SpendQuery struct {
	Since, Until time.Time     // Until is not in it
	Step         time.Duration // of a point; positive
	By           string        // SpendBy…
	Series       int           // the most series; the others are one, the last, with Rest set
}

// What spend can be told apart by.
const (
	SpendByModel    = "model"
	SpendByLabel    = "label"
	SpendByProvider = "provider"
	SpendByTeam     = "team"
	SpendByKey      = "key"
	SpendBySession  = "session"
)

// SpendDimensions lists the values of SpendQuery.By. Read-only.
var SpendDimensions = []string{SpendByModel, SpendByLabel, SpendByProvider, SpendByTeam, SpendByKey, SpendBySession}

// Points is how many points a series has; none for a query that makes no sense.
func (q *SpendQuery) Points() int {
	if q.Step <= 0 || !q.Until.After(q.Since) {
		return 0
	}
	return int((q.Until.Sub(q.Since) + q.Step - 1) / q.Step)
}

// Spend is the answer to a SpendQuery. Amounts are USD.
type Spend struct {
	Total  SpendSum      `json:"total"`
	Series []SpendSeries `json:"series"` // dearest first
}

// SpendSeries is what was spent under one name.
type SpendSeries struct {
	Name string `json:"name"` // "": the exchanges had none
	Rest bool   `json:"rest,omitempty"`
	SpendSum
	Points []float64 `json:"points"` // Cost by time
}

// SpendSum adds up exchanges. Cost holds Notional, what a subscription has paid for. Compared is the part of Cost whose model
// the client named is priced, and Baseline what that one would have cost.
type SpendSum struct {
	Requests   int64   `json:"requests"`
	Input      int64   `json:"input_tokens"`
	CacheRead  int64   `json:"cache_read_tokens"`
	Output     int64   `json:"output_tokens"`
	Unpriced   int64   `json:"unpriced"`
	Cost       float64 `json:"cost_usd"`
	Notional   float64 `json:"notional_usd"`
	Compared   float64 `json:"compared_usd"`
	Baseline   float64 `json:"baseline_usd"`
	InputCost  float64 `json:"input_usd"` // the classes of Cost
	ReadCost   float64 `json:"cache_read_usd"`
	WriteCost  float64 `json:"cache_write_usd"`
	OutputCost float64 `json:"output_usd"`
	OtherCost  float64 `json:"other_usd"`
}

// Spend adds up the exchanges that are kept, which may be fewer than there were. It never fails.
func (s *Store) Spend(_ context.Context, q SpendQuery) (Spend, error) {
	text := spendText(q.By)
	n := q.Points()
	sums := map[string]*SpendSeries{}
	f := Filter{Since: q.Since, Until: q.Until}
	var total SpendSum
	s.walk(&f, func(b *block, i int) bool {
		e := &b.entries[i]
		name := b.texts[e.texts[text]]
		sum := sums[name]
		if sum == nil {
			sum = &SpendSeries{Name: name, Points: make([]float64, n)}
			sums[name] = sum
		}
		free := b.texts[e.texts[textBilling]] == names.CostBillingFree
		notional := b.texts[e.texts[textBilling]] == names.CostBillingNotional
		sum.add(e, free, notional)
		total.add(e, free, notional)
		if p := int((e.nums[numStart] - q.Since.UnixNano()) / int64(q.Step)); p >= 0 && p < n && !free {
			sum.Points[p] += float64(e.nums[numCost]) / 1e9
		}
		return n > 0
	})
	return Spend{total, TopSeries(sums, q.Series)}, nil
}

func spendText(by string) int {
	switch by {
	case SpendByLabel:
		return textLabel
	case SpendByProvider:
		return textProvider
	case SpendByTeam:
		return textTeam
	case SpendByKey:
		return textKey
	case SpendBySession:
		return textSession
	}
	return textRouted
}

func (s *SpendSum) add(e *entry, free, notional bool) {
	usd := func(i int) float64 { return float64(e.nums[i]) / 1e9 }
	s.Requests++
	s.Input += e.nums[numInput]
	s.CacheRead += e.nums[numCacheRead]
	s.Output += e.nums[numOutput]
	if e.nums[numFlags]&flagPriced == 0 {
		if e.nums[numInput]+e.nums[numOutput] > 0 && !free {
			s.Unpriced++
		}
		return
	}
	if free {
		return
	}
	s.Cost += usd(numCost)
	if notional {
		s.Notional += usd(numCost)
	}
	s.Compared += usd(numCompared)
	s.Baseline += usd(numBaseline)
	s.InputCost += usd(numCostInput)
	s.ReadCost += usd(numCostCacheRead)
	s.WriteCost += usd(numCostCacheWrite)
	s.OutputCost += usd(numCostOutput)
	s.OtherCost += usd(numCostOther)
}

// Plus adds o to s.
func (s *SpendSum) Plus(o *SpendSum) {
	s.Requests += o.Requests
	s.Input += o.Input
	s.CacheRead += o.CacheRead
	s.Output += o.Output
	s.Unpriced += o.Unpriced
	s.Cost += o.Cost
	s.Notional += o.Notional
	s.Compared += o.Compared
	s.Baseline += o.Baseline
	s.InputCost += o.InputCost
	s.ReadCost += o.ReadCost
	s.WriteCost += o.WriteCost
	s.OutputCost += o.OutputCost
	s.OtherCost += o.OtherCost
}

// TopSeries returns series, the dearest first; those beyond most are added up in one with Rest set. most 0: all.
func TopSeries(sums map[string]*SpendSeries, most int) []SpendSeries {
	out := make([]SpendSeries, 0, len(sums))
	for _, s := range sums {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b SpendSeries) int {
		return cmp.Or(cmp.Compare(b.Cost, a.Cost), cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Name, b.Name))
	})
	if most <= 0 || len(out) <= most {
		return out
	}
	rest := SpendSeries{Rest: true, Points: make([]float64, len(out[0].Points))}
	for i := range out[most-1:] {
		s := &out[most-1+i]
		rest.Plus(&s.SpendSum)
		for p, v := range s.Points {
			rest.Points[p] += v
		}
	}
	return append(out[:most-1], rest)
}
