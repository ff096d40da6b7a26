package budget

import (
	"slices"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// fired is how far the alerts of an account have got; see store.AlertState.
//
// Each threshold fires once in a window, in order, also when several are
// crossed at once; so do budget_crossed, when what is spent has reached the
// limit, and forecast_overrun. A new window arms them all again, with a reset
// alert if anything had fired. A rolling window has no such moment: there a
// threshold is armed again when what is spent has fallen under nine tenths of
// it, and reset fires when all are.
type fired struct {
	window            int64 // Unix nanoseconds; 0 for windows without a start
	level             int
	forecast, crossed bool
}

func (f *fired) any() bool { return f.level > 0 || f.forecast || f.crossed }

// outbox collects what a critical section has to tell.
type outbox struct {
	alerts []Alert
	states []store.AlertState
}

// update brings a up to date, with its alerts.
func (b *Book) update(a *account, now int64) {
	a.at(now)
	f := &a.fired
	if !f.any() {
		return
	}
	p := a.pot
	before := *f
	switch {
	case p.window.unit == unitRolling:
		if a.disarm(9, 10); *f == before {
			return
		}
	case f.window < p.start:
		*f = fired{window: f.window}
	default:
		return
	}
	if p.retired {
		return
	}
	b.due.states = append(b.due.states, a.state())
	if !f.any() {
		b.due.alerts = append(b.due.alerts, b.alert(a, names.AlertReset, 0, now))
	}
}

// disarm takes back what has fired and is no longer so: what is spent is under
// num/den of the amount in question.
func (a *account) disarm(num, den gateway.NanoUSD) {
	f, p := &a.fired, a.pot
	under := func(cut gateway.NanoUSD) bool { return a.spent < cut/den*num }
	f.level = min(f.level, len(p.cuts))
	for f.level > 0 && under(p.cuts[f.level-1]) {
		f.level--
	}
	limit := p.def.Limit
	f.crossed = f.crossed && limit.Set && !under(limit.Value)
}

// state is what is to be persisted of a's alerts.
func (a *account) state() store.AlertState {
	f := &a.fired
	return store.AlertState{Account: a.key(f.window / second), Level: f.level, Forecast: f.forecast, Crossed: f.crossed}
}

// evaluate fires what a's spending has come to. a is up to date.
func (b *Book) evaluate(a *account, now int64, out *outbox) {
	p, f := a.pot, &a.fired
	limit := p.def.Limit
	if !limit.Set || limit.Value == 0 || p.retired {
		return
	}
	before := *f
	for f.level < len(p.cuts) && a.spent >= p.cuts[f.level] {
		out.alerts = append(out.alerts, b.alert(a, names.AlertThresholdCrossed, p.def.Thresholds[f.level], now))
		f.level++
	}
	if !f.crossed && a.spent >= limit.Value {
		out.alerts = append(out.alerts, b.alert(a, names.AlertBudgetCrossed, 0, now))
		f.crossed = true
	}
	// What has been crossed needs no forecast.
	if n, ok := a.forecast(now, 100); ok && n > limit.Value && !f.forecast && !f.crossed {
		out.alerts = append(out.alerts, b.alert(a, names.AlertForecastOverrun, 0, now))
		f.forecast = true
	}
	if *f == before {
		return
	}
	if f.window = 0; p.window.calendar() {
		f.window = p.start
	}
	out.states = append(out.states, a.state())
}

// alert makes an alert about a.
func (b *Book) alert(a *account, kind string, threshold float64, now int64) Alert {
	def := a.pot.def
	return Alert{
		Type: kind, Budget: def.Name, Scope: def.Scope, Window: def.Window, Subject: a.name(b.alias), Threshold: threshold,
		Spent: a.spent, Limit: def.Limit.Value, Resets: a.resets(), At: wallTime(now),
	}
}

// Reports of unpriced requests are remembered as alert states of a subject
// that no request can have. maxUnpriced bounds how many models are told apart
// in a budget; clients make them up.
const (
	unpricedPrefix = "\x1f" + names.AlertUnpricedRequest + "\x1f"
	maxUnpriced    = 100
)

// Unpriced is told of a request whose model has no price. It returns the alerts
// unpriced_request that are due, with what to persist: one for each budget that
// applies, model and window (for a rolling one, each of its lengths); where no
// budget applies, one for each model and day (UTC), without a budget.
func (b *Book) Unpriced(f Facts) ([]Alert, []store.AlertState) {
	var few [6]part
	var out outbox
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.time.read()
	parts := b.collect(&f, now, few[:0])
	for i, p := range parts {
		pot := p.account.pot
		if slices.ContainsFunc(parts[:i], func(q part) bool { return q.account.pot == pot }) {
			continue
		}
		window := pot.start
		if pot.window.unit == unitRolling {
			window = now - now%(pot.window.span*second)
		}
		if model, ok := report(pot.unpriced, f.Model, window); ok {
			alert := b.alert(p.account, names.AlertUnpricedRequest, 0, now)
			alert.Model = model
			out.alerts = append(out.alerts, alert)
			out.states = append(out.states, unpricedState(pot.name, model, window))
		}
	}
	if len(parts) == 0 {
		day := now - now%int64(24*time.Hour)
		if model, ok := report(b.loose, f.Model, day); ok {
			out.alerts = append(out.alerts, Alert{Type: names.AlertUnpricedRequest, Window: "day", Model: model, At: wallTime(now), Resets: wallTime(day + int64(24*time.Hour))})
			out.states = append(out.states, unpricedState("", model, day))
		}
	}
	return out.alerts, out.states
}

// report notes the model as reported in the window. ok is false when it was
// already.
func report(seen map[string]int64, model string, window int64) (name string, ok bool) {
	if last, found := seen[model]; found && last == window {
		return "", false
	}
	if _, found := seen[model]; !found && len(seen) >= maxUnpriced {
		for m, last := range seen {
			if last < window {
				delete(seen, m)
			}
		}
		if len(seen) >= maxUnpriced {
			model = names.ErrorOther
		}
	}
	if last, found := seen[model]; found && last == window {
		return "", false
	}
	model = strings.Clone(model)
	seen[model] = window
	return model, true
}

func unpricedState(budget, model string, window int64) store.AlertState {
	return store.AlertState{Account: store.Account{Budget: budget, Subject: unpricedPrefix + model, Window: window / second}, Level: 1}
}

func wallTime(now int64) time.Time { return time.Unix(0, now).UTC() }
