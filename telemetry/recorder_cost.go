package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// costOf returns what an exchange cost, if that is known and may be shown.
func costOf(x *gateway.Exchange) (gateway.NanoUSD, bool) {
	if hidden(x) {
		return 0, false
	}
	return x.Cost()
}

// hidden reports whether costs must not be shown.
func hidden(x *gateway.Exchange) bool { return x.Snapshot != nil && x.Snapshot.HideCost }

// recordCost records what an attempt cost, by class; ctx holds its span.
func (r *Recorder) recordCost(ctx context.Context, a *gateway.Attempt, model string) {
	c, status := &a.Cost, a.Cost.Status
	if status == "" && a.Issued.IsZero() { // refused, maybe because of the price
		status = a.Bound.Status
	}
	if status != "" {
		r.in.lookups.Add(ctx, 1, r.in.lookup.of(labels{status}).add...)
	}
	if !c.Known() || hidden(a.Exchange) {
		return
	}
	l := labels{a.Target.Provider.GenAI, model, a.Exchange.Route.Label, "", c.Billing}
	add := func(class string, n gateway.NanoUSD) {
		if n > 0 {
			l[3] = class
			r.in.cost.Add(ctx, n.Dollars(), r.costSeries(l, &a.Exchange.Caller).add...)
		}
	}
	add(names.CostClassInput, c.Input())
	add(names.CostClassCacheRead, c.CacheRead())
	add(names.CostClassCacheWrite, c.CacheWrite())
	add(names.CostClassOutput, c.Output())
	add(names.CostClassOther, c.Other())
}

// costSeries returns the series of a cost, told apart by who caused it as far as that is wanted. The names are those of
// keys and their teams, which nobody else can set. When half of the series are in use, newcomers are _OTHER: their costs
// are still told apart by model, label and class.
func (r *Recorder) costSeries(l labels, c *gateway.Caller) *options {
	if r.byTeam {
		l[5] = c.Team
	}
	if r.byKey {
		l[6] = c.KeyAlias
	}
	if (l[5] != "" || l[6] != "") && r.in.costClass.scarce(l) {
		for i := 5; i <= 6; i++ {
			if l[i] != "" {
				l[i] = names.ErrorOther
			}
		}
	}
	return r.in.costClass.of(l)
}

// recordSpending records what an exchange cost, and what it would have cost on the model its client named. ctx holds the
// span of its last attempt.
func (r *Recorder) recordSpending(ctx context.Context, x *gateway.Exchange, routed string) {
	cost, ok := costOf(x)
	if !ok {
		return
	}
	a := x.Final()
	r.in.requestCost.Record(ctx, cost.Dollars(), r.in.requestCosts.of(labels{a.Target.Provider.GenAI, routed, x.Route.Label}).record...)
	if !a.Routing.Compared {
		return
	}
	o := r.in.compared.of(labels{x.Route.Label, r.known(x.Call.Model), routed})
	r.in.comparedCost.Add(ctx, cost.Dollars(), o.add...)
	r.in.baselineCost.Add(ctx, a.Routing.Baseline.Dollars(), o.add...)
}

// money adds an amount in dollars.
func (f *fields) money(key string, n gateway.NanoUSD) {
	*f = append(*f, attribute.Float64(key, n.Dollars()))
}

// spent adds what an exchange cost, if that may be known.
func (f *fields) spent(x *gateway.Exchange) {
	if cost, ok := costOf(x); ok {
		f.money(names.FieldCostUSD, cost)
	}
}

// analysis adds what an attempt cost beside what it would have cost on the model the client named.
func (f *fields) analysis(a *gateway.Attempt, routing bool) {
	if hidden(a.Exchange) || !a.Cost.Known() {
		return
	}
	if ratio, ok := a.Efficiency(); ok && routing {
		*f = append(*f, attribute.Float64(names.FieldCostEfficiency, ratio))
	}
	f.money(names.FieldCostUSD, a.Cost.Total)
	if a.Routing.Compared && routing {
		f.money(names.FieldBaselineCostUSD, a.Routing.Baseline)
	}
}

// money makes a counter of dollars.
func (m *maker) money(name string) metric.Float64Counter {
	e, meter := m.find(name)
	c, err := meter.Float64Counter(name, metric.WithUnit(e.Unit), metric.WithDescription(e.Description))
	m.errs = append(m.errs, err)
	return c
}
