package ledger

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// primeLines is how many of the newest lines tell what is typical at the start.
const primeLines = 5000

// restore takes up where the process before has left off.
func (l *Ledger) restore(ctx context.Context, cfg *Config, found *store.Recovered) error {
	var saved budget.Saved
	var err error
	if saved.Sums, err = l.store.Sums(ctx); err != nil {
		return fmt.Errorf("read sums: %w", err)
	}
	if saved.Alerts, err = l.store.Alerts(ctx); err != nil {
		return fmt.Errorf("read alerts: %w", err)
	}
	if saved.Budgets, err = l.store.Budgets(ctx); err != nil {
		return fmt.Errorf("read budgets: %w", err)
	}
	for _, s := range saved.Budgets {
		l.states[s.Name] = s
	}
	book, changes, err := budget.New(cfg.Budgets, saved, budget.Options{Clock: l.clock, Alias: cfg.Alias})
	if err != nil {
		return err
	}
	l.book = book
	l.resolve(ctx, found)
	if err := l.apply(ctx, changes); err != nil {
		return err
	}
	return l.prime(ctx)
}

// resolve settles the holds in doubt.
func (l *Ledger) resolve(ctx context.Context, found *store.Recovered) {
	var cost gateway.NanoUSD
	for i := range found.InDoubt {
		d := &found.InDoubt[i]
		l.book.Charge(d.Budgets, d.Line.Cost.Total)
		if err := l.store.Settled(&d.Line, d.Budgets, nil); err != nil {
			l.troubled(err)
		}
		cost = sum(cost, d.Line.Cost.Total)
	}
	if found.Unclean {
		l.log.WarnContext(ctx, "the process before did not end its ledger; it is recovered", "lines", found.Lines,
			"holds_in_doubt", len(found.InDoubt), "estimated_usd", cost.Dollars(), "bytes_unreadable", found.Gaps, "took", found.Took)
	}
}

// apply persists what a new list of budgets has changed. What is remembered of
// the budgets comes last: a process that dies before that begins again.
func (l *Ledger) apply(ctx context.Context, changes *budget.Changes) error {
	for _, name := range changes.Void {
		if err := l.store.DropSums(ctx, name, math.MaxInt64); err != nil {
			return fmt.Errorf("budget %q: drop sums: %w", name, err)
		}
	}
	if err := l.backfill(ctx, changes.Backfills); err != nil {
		return err
	}
	for _, s := range changes.Budgets {
		l.states[s.Name] = s
	}
	if len(changes.Budgets) > 0 {
		if err := l.store.SaveBudgets(ctx, slices.Collect(maps.Values(l.states))); err != nil {
			return fmt.Errorf("save budgets: %w", err)
		}
	}
	if len(changes.Alerts) > 0 {
		if err := l.store.SaveAlerts(ctx, changes.Alerts); err != nil {
			return fmt.Errorf("save alerts: %w", err)
		}
	}
	return nil
}

// backfill adds up the lines for budgets that start from them.
func (l *Ledger) backfill(ctx context.Context, fills []*budget.Backfill) error {
	if len(fills) == 0 {
		return nil
	}
	f := store.Filter{Since: fills[0].From, Until: fills[0].Until}
	for _, fill := range fills[1:] {
		if fill.From.Before(f.Since) {
			f.Since = fill.From
		}
		if fill.Until.After(f.Until) {
			f.Until = fill.Until
		}
	}
	f.Until = f.Until.Add(time.Millisecond) // lines are no more exact; Add is
	for line, err := range l.store.Lines(ctx, f, 0) {
		if err != nil {
			return fmt.Errorf("add up lines for budgets: %w", err)
		}
		facts := lineFacts(line)
		for _, fill := range fills {
			fill.Add(facts, line.Time, line.Cost.Total)
		}
	}
	l.settling.Lock()
	defer l.settling.Unlock()
	var sums []store.Sum
	for _, fill := range fills {
		sums = append(sums, l.book.Fill(fill)...)
	}
	if err := l.store.SaveSums(ctx, sums); err != nil {
		return fmt.Errorf("save sums: %w", err)
	}
	return nil
}

// lineFacts are what budgets judge a line by.
func lineFacts(line *store.Line) budget.Facts {
	return budget.Facts{KeyID: line.KeyID, KeyAlias: line.KeyAlias, Team: line.Team, User: line.User, Model: line.Model, Provider: line.Provider,
		Label: line.Label, Session: line.Session, Tags: line.Tags, Billing: line.Cost.Billing}
}

// prime learns from the newest lines how long answers are.
func (l *Ledger) prime(ctx context.Context) error {
	recent := make([]pair, 0, primeLines)
	tokens := make([]int64, 0, primeLines)
	for line, err := range l.store.Lines(ctx, store.Filter{Outcome: names.OutcomeCompleted}, primeLines) {
		if err != nil {
			return fmt.Errorf("read recent lines: %w", err)
		}
		if line.Usage.Source == names.UsageSourceProvider {
			recent, tokens = append(recent, pair{line.KeyID, line.Model}), append(tokens, line.Usage.OutputTokens())
		}
	}
	for i := range slices.Backward(recent) { // the newest last
		l.typical.learn(recent[i].key, recent[i].model, tokens[i])
	}
	return nil
}

// Configure puts new settings in force. Sums, holds and alerts stay as far as
// the budgets do. On an error of the settings nothing has changed; on any other,
// an error of the store, the settings are in force, and a budget that should
// have started from the lines may know only of what is spent from now on.
func (l *Ledger) Configure(ctx context.Context, s Settings) error {
	n, err := newSettings(&s)
	if err != nil {
		return err
	}
	l.configuring.Lock()
	defer l.configuring.Unlock()
	changes, err := l.replace(ctx, s.Budgets)
	if err != nil {
		return err
	}
	l.settings.Store(n)
	l.nudge()
	return l.apply(ctx, changes)
}

// replace changes the budgets, and drops the sums of those that are others now
// before anything is added to them.
func (l *Ledger) replace(ctx context.Context, list []budget.Budget) (*budget.Changes, error) {
	l.settling.Lock()
	defer l.settling.Unlock()
	changes, err := l.book.Configure(list)
	if err != nil {
		return nil, err
	}
	for _, name := range changes.Void {
		if err := l.store.DropSums(ctx, name, math.MaxInt64); err != nil {
			l.troubled(err) // apply tries again and reports it
			return changes, nil
		}
	}
	changes.Void = nil
	return changes, nil
}
