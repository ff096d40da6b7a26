package telemetry

import (
	"context"
	"log/slog"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// recordBudgets records what the budgets said of an attempt, sent or refused, and by how much it took them beyond their
// limits; ctx holds its span.
func (r *Recorder) recordBudgets(ctx context.Context, a *gateway.Attempt) {
	for i := range a.Budget.Decisions {
		d := &a.Budget.Decisions[i]
		r.recordDecision(ctx, d.Budget, d.Decision)
	}
	if hidden(a.Exchange) {
		return
	}
	for _, o := range a.Budget.Overshoot {
		if o.Amount > 0 {
			r.in.budgetOvershoot.Add(ctx, o.Amount.Dollars(), r.in.budget.of(labels{o.Budget}).add...)
		}
	}
}

// recordDecision counts a decision. One that allows leaves no exemplar: nobody looks for it, and offering one costs as much
// as the count.
func (r *Recorder) recordDecision(ctx context.Context, budget, decision string) {
	if decision == names.BudgetDecisionAllow {
		ctx = context.Background()
	}
	r.in.budgetDecisions.Add(ctx, 1, r.in.budgetDecision.of(budget, decision).add...)
}

// budgetDenied reports whether a budget refused something: all of the exchange, the rest of a stream, or a target.
func budgetDenied(x *gateway.Exchange) bool {
	if x.Err != nil && x.Err.Reason == names.RejectionBudget {
		return true
	}
	for _, a := range x.Attempts {
		if a.Budget.Decision == names.BudgetDecisionDeny {
			return true
		}
	}
	return false
}

// refusing is the budget that refused an exchange or sent it to another label; "" when none did.
func refusing(x *gateway.Exchange) string {
	if x.Err != nil && x.Err.Budget != nil {
		return x.Err.Budget.Budget
	}
	return x.Rerouted
}

// BudgetAlert makes of an alert a log event, a count, and an event on the span in ctx if that is recorded: the request
// that raised it. Alerts that no request raised come with a context without a span. It does not block and may be called
// concurrently.
func (r *Recorder) BudgetAlert(ctx context.Context, a budget.Alert) {
	// Whether the trace is kept is not known yet, so an exemplar might lead nowhere.
	r.in.budgetAlerts.Add(context.Background(), 1, r.in.budgetAlert.of(labels{a.Budget, a.Type}).add...)
	if a.Scope == "user" { // the policy on end users' ids covers those in budgets
		if r.cfg.BudgetUser == nil {
			a.Subject = ""
		} else {
			a.Subject = r.cfg.BudgetUser(a.Subject)
		}
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(names.SpanEventBudgetAlert, trace.WithAttributes(alertAttributes(&a)...))
	}
	r.logAlert(ctx, &a)
}

// alertAttributes are those of the event on the span; the amounts are in the log event of the same trace.
func alertAttributes(a *budget.Alert) []attribute.KeyValue {
	k := attributes(make([]attribute.KeyValue, 0, 7))
	text := func(key attribute.Key, v string) { k.text(key, clean(v, maxName)) }
	text(names.KeyBudgetAlertType, a.Type)
	text(names.KeyBudgetName, a.Budget)
	text(names.KeyBudgetScope, a.Scope)
	text(names.KeyBudgetWindow, a.Window)
	text(names.KeyBudgetSubject, a.Subject)
	if a.Threshold > 0 {
		k = append(k, names.KeyBudgetThreshold.Float64(a.Threshold))
	}
	text(names.KeyModelRouted, a.Model)
	return k
}

// logAlert logs an alert. It stands in the log at its own level: there is one a window and threshold, and who reads
// nothing else wants to see it.
func (r *Recorder) logAlert(ctx context.Context, a *budget.Alert) {
	to := r.events.listening(ctx, names.EventBudgetAlert, slog.LevelWarn, slog.LevelWarn)
	if to.none() {
		return
	}
	f := make(fields, 0, 10)
	f.text(names.FieldAlertType, a.Type)
	if a.Budget != "" {
		f.money(names.FieldCurrentSpend, a.Spent)
	}
	if limited(a) {
		f.money(names.FieldBudgetLimit, a.Limit)
	}
	f.text(names.FieldBudget, a.Budget)
	f.text(names.FieldSubject, a.Subject)
	f.text(names.FieldScope, a.Scope)
	f.text(names.FieldWindow, a.Window)
	if a.Threshold > 0 {
		f = append(f, attribute.Float64(names.FieldThreshold, a.Threshold))
	}
	if !a.Resets.IsZero() {
		f.text(names.FieldResetsAt, a.Resets.UTC().Format(time.RFC3339))
	}
	if limited(a) {
		percent := 100 * utilization(a.Spent, a.Limit)
		f = append(f, attribute.Float64(names.FieldPercentageUsed, math.Round(percent*100)/100))
	}
	ev := logEvent{name: names.EventBudgetAlert, level: slog.LevelWarn, line: slog.LevelWarn, body: alertText(a.Type), at: a.At, fields: f}
	ev.extra.text(names.FieldModel, a.Model)
	r.events.emit(ctx, to, nil, &ev)
}

// limited reports whether an alert is about a limit. That of a budget that was crossed may be nothing.
func limited(a *budget.Alert) bool { return a.Limit > 0 || a.Type == names.AlertBudgetCrossed }

// alertText is the constant text of an alert's log event.
func alertText(kind string) string {
	switch kind {
	case names.AlertThresholdCrossed:
		return "a budget has reached a threshold"
	case names.AlertBudgetCrossed:
		return "a budget is used up"
	case names.AlertForecastOverrun:
		return "a budget will be used up before it resets"
	case names.AlertUnpricedRequest:
		return "a request has no known price"
	case names.AlertReset:
		return "a budget has been reset"
	}
	return "budget alert"
}
