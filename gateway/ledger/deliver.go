package ledger

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
)

const (
	maxMail       = 4096 // alerts that wait for the outbox
	firstBackoff  = 5 * time.Second
	longestPause  = 30 * time.Minute
	giveUpAfter   = 24 * time.Hour
	hopelessTries = 5
	dueAtOnce     = 256 // messages that are looked at in one round
	// outboxPause is how long the outbox is left alone when it cannot be read or
	// written.
	outboxPause = 5 * time.Second
	// idlePause is how long an outbox with nothing due soon is left alone: the
	// clock may be set meanwhile.
	idlePause = time.Minute
)

// mail is the alerts that are not yet in the outbox. It is safe for concurrent
// use.
type mail struct {
	mu      sync.Mutex
	alerts  []budget.Alert
	dropped int
	wake    chan struct{}
}

func (m *mail) add(alerts []budget.Alert) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range alerts {
		if len(m.alerts) >= maxMail {
			m.dropped++
			continue
		}
		m.alerts = append(m.alerts, a)
	}
}

// take returns what there is, and how many alerts there was no room for.
func (m *mail) take() (alerts []budget.Alert, dropped int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	alerts, dropped = m.alerts, m.dropped
	m.alerts, m.dropped = nil, 0
	return alerts, dropped
}

// raise tells of alerts: whoever listens now, the webhooks later.
func (l *Ledger) raise(ctx context.Context, alerts []budget.Alert) {
	if len(alerts) == 0 {
		return
	}
	for i := range alerts {
		if b := l.settings.Load().budgets[alerts[i].Budget]; b != nil && b.Location != nil && !alerts[i].Resets.IsZero() {
			alerts[i].Resets = alerts[i].Resets.In(b.Location)
		}
		l.alerted(ctx, alerts[i])
	}
	if len(l.settings.Load().webhooks) > 0 {
		l.mail.add(alerts)
		l.nudge()
	}
}

// nudge has the outbox looked at.
func (l *Ledger) nudge() {
	select {
	case l.mail.wake <- struct{}{}:
	default: // it is about to be
	}
}

// deliver brings alerts to the webhooks, until ctx ends.
func (l *Ledger) deliver(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.mail.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		pause := outboxPause
		if l.file(ctx) {
			pause = l.round(ctx)
		}
		timer.Reset(pause)
	}
}

// file puts alerts into the outbox, from where they are delivered even if the
// process dies. It reports false when the outbox takes nothing.
func (l *Ledger) file(ctx context.Context) bool {
	alerts, dropped := l.mail.take()
	if dropped > 0 {
		l.log.ErrorContext(ctx, "alerts are lost to webhooks: too many wait", "alerts", dropped)
	}
	if len(alerts) == 0 {
		return true
	}
	now := l.clock.Wall()
	var messages []store.Message
	for i := range alerts {
		for _, w := range l.settings.Load().webhooks {
			m := store.Message{ID: uuid.Must(uuid.NewV7()).String(), Webhook: w.Name, Created: now, Next: now}
			body, err := w.encode(m.ID, &alerts[i])
			if err != nil { // numbers that JSON has not
				l.log.ErrorContext(ctx, "an alert cannot be written as JSON", "type", alerts[i].Type, "budget", alerts[i].Budget, "error", err)
				continue
			}
			m.Body = body
			messages = append(messages, m)
		}
	}
	if err := l.store.PutMessages(ctx, messages); err != nil {
		l.mail.add(alerts)
		l.troubled(err)
		return false
	}
	return true
}

// round delivers what is due, each webhook's messages in turn and the webhooks
// side by side, and returns how long nothing more will be.
func (l *Ledger) round(ctx context.Context) time.Duration {
	due, err := l.store.DueMessages(ctx, l.clock.Wall(), dueAtOnce)
	if err != nil {
		l.troubled(err)
		return outboxPause
	}
	byWebhook := map[string][]store.Message{}
	for _, m := range due {
		byWebhook[m.Webhook] = append(byWebhook[m.Webhook], m)
	}
	var group sync.WaitGroup
	for name, messages := range byWebhook {
		w := l.settings.Load().webhooks[name]
		group.Go(func() { l.post(ctx, w, messages) })
	}
	group.Wait()
	if len(due) == dueAtOnce {
		return 0
	}
	return l.nextDue(ctx)
}

// post delivers messages to one webhook. Once it fails in a way that the others
// would share, they wait as well.
func (l *Ledger) post(ctx context.Context, w *Webhook, messages []store.Message) {
	for i := range messages {
		m := &messages[i]
		if w == nil {
			l.log.WarnContext(ctx, "an alert is for a webhook that is no longer configured; it is given up", "webhook", m.Webhook, "event_id", m.ID)
			l.noted(ctx, l.store.FailedMessage(ctx, m.ID, "the webhook is no longer configured"))
			continue
		}
		err := l.poster.post(ctx, w, m.ID, m.Body, l.clock.Wall())
		if ctx.Err() != nil {
			return // whatever became of it, it is tried again
		}
		if err == nil {
			l.noted(ctx, l.store.DoneMessage(ctx, m.ID))
			continue
		}
		if next, shared := l.postpone(ctx, m, err); shared {
			for _, other := range messages[i+1:] {
				l.noted(ctx, l.store.RetryMessage(ctx, other.ID, next, err.Error()))
			}
			return
		}
	}
}

// postpone has a message tried again later, unless that has gone on for too
// long. It returns when the webhook may be tried again, and whether other
// messages would have failed like this one.
func (l *Ledger) postpone(ctx context.Context, m *store.Message, cause error) (next time.Time, shared bool) {
	var answer *answerError
	now, pause, hopeless := l.clock.Wall(), backoff(m.Attempts), false
	if errors.As(cause, &answer) {
		pause, hopeless = max(pause, answer.after), answer.hopeless()
	}
	next = now.Add(pause)
	if hopeless && m.Attempts+1 >= hopelessTries || next.Sub(m.Created) > giveUpAfter {
		l.log.ErrorContext(ctx, "an alert could not be delivered and is given up", "webhook", m.Webhook, "event_id", m.ID, "attempts", m.Attempts+1, "error", cause)
		l.noted(ctx, l.store.FailedMessage(ctx, m.ID, cause.Error()))
		return next, !hopeless
	}
	if m.Attempts == 0 {
		l.log.WarnContext(ctx, "an alert could not be delivered; it is tried again", "webhook", m.Webhook, "event_id", m.ID, "error", cause)
	}
	l.noted(ctx, l.store.RetryMessage(ctx, m.ID, next, cause.Error()))
	return next, !hopeless
}

// noted hears what became of a change of the outbox. One that did not work has
// an alert delivered twice, with the same id.
func (l *Ledger) noted(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		l.troubled(err)
	}
}

// nextDue returns how long no message will be due.
func (l *Ledger) nextDue(ctx context.Context) time.Duration {
	next, err := l.store.NextMessage(ctx)
	switch {
	case err != nil:
		l.noted(ctx, err)
		return outboxPause
	case next.IsZero():
		return idlePause
	}
	return min(max(next.Sub(l.clock.Wall()), time.Second), idlePause)
}

// backoff is how long to wait after one more than so many attempts: twice as long each time,
// less up to a half at random.
func backoff(before int) time.Duration {
	d := longestPause
	if before < 12 {
		d = min(d, firstBackoff<<before)
	}
	return d - rand.N(d/2)
}
