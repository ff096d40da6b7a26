package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
)

// Config is what a Ledger is made of.
type Config struct {
	// Dir is the storage directory, made if it is not there.
	Dir string
	// Full makes holds and settlements survive a power cut, at the price of
	// waiting for the disk; they survive the death of the process in any case.
	Full bool
	// Wait bounds how long a hold waits for a ledger that falls behind, before the
	// request is refused; 0: 250 ms.
	Wait time.Duration
	// Node names this process in lines; "": the host's name.
	Node string
	Settings
	// Alerted is told of each alert, once, with the context of the request that
	// brought it about, or one without. It must not block. nil: nobody is.
	Alerted func(context.Context, budget.Alert)
	// Alias returns what people call a key; see budget.Options. nil: the alias
	// that came with its last request.
	Alias func(keyID string) string
	// Log gets what nobody calls for; nil: nothing is logged.
	Log *slog.Logger
	// Clock nil: budget.SystemClock.
	Clock budget.Clock
	// Transport posts to webhooks; nil: one that reaches no address that leads
	// to this machine or its cloud's metadata, but for webhooks configured on
	// loopback.
	Transport http.RoundTripper
}

// Settings are what a reload may change. They are not changed once they are
// given to a Ledger.
type Settings struct {
	Budgets  []budget.Budget
	Policy   Policy
	Webhooks []Webhook
}

// settings are Settings in force.
type settings struct {
	Policy
	assumed  *assumption
	budgets  map[string]*budget.Budget // :: name → budget
	webhooks map[string]*Webhook       // :: name → webhook
}

func newSettings(s *Settings) (*settings, error) {
	n := &settings{Policy: s.Policy.withDefaults(), assumed: s.Policy.assumption(), budgets: map[string]*budget.Budget{}, webhooks: map[string]*Webhook{}}
	errs := []error{s.Policy.check()}
	for i := range s.Budgets {
		n.budgets[s.Budgets[i].Name] = &s.Budgets[i]
	}
	for i := range s.Webhooks {
		w := &s.Webhooks[i]
		errs = append(errs, w.check())
		if n.webhooks[w.Name] != nil {
			errs = append(errs, fmt.Errorf("webhook %s: there are two of that name", w.Name))
		}
		n.webhooks[w.Name] = w
	}
	return n, errors.Join(errs...)
}

// Ledger implements [gateway.Ledger]: it holds money in memory, writes down in
// the store what must not be lost, and tells of what budgets have come to. It
// is safe for concurrent use.
type Ledger struct {
	node    string
	alerted func(context.Context, budget.Alert)
	log     *slog.Logger
	clock   budget.Clock
	poster  *poster

	store    *store.Store
	book     *budget.Book
	settings atomic.Pointer[settings]
	typical  typical
	open     openHolds
	mail     mail
	leaks    atomic.Uint64
	trouble  atomic.Int64 // Unix seconds of the last complaint that the store cannot write

	// settling is read-locked while a settlement is in the book and not yet in
	// the store, and locked while sums in the store are replaced.
	settling sync.RWMutex

	configuring sync.Mutex                   // guards states
	states      map[string]store.BudgetState // :: name → what is remembered of the budget

	stop context.CancelFunc
	done sync.WaitGroup
}

var _ gateway.Ledger = (*Ledger)(nil)

// Open opens the ledger of a directory, which belongs to this process until
// Close, and ends what the process before has left unfinished. ctx bounds Open
// alone. For damage see package store.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	s, err := newSettings(&cfg.Settings)
	if err != nil {
		return nil, err
	}
	cfg.setDefaults()
	st, found, err := store.Open(ctx, store.Options{Dir: cfg.Dir, Full: cfg.Full, Log: cfg.Log, Now: cfg.Clock.Wall, Wait: cfg.Wait})
	if err != nil {
		return nil, err
	}
	l := &Ledger{
		node: cfg.Node, alerted: cfg.Alerted, log: cfg.Log, clock: cfg.Clock, poster: newPoster(cfg.Transport),
		store: st, states: map[string]store.BudgetState{},
	}
	l.mail.wake = make(chan struct{}, 1)
	l.settings.Store(s)
	if err := l.restore(ctx, &cfg, found); err != nil {
		return nil, errors.Join(err, st.Close(ctx))
	}
	run, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.done.Go(func() { l.keepTime(run) })
	l.done.Go(func() { l.deliver(run) })
	return l, nil
}

func (cfg *Config) setDefaults() {
	if cfg.Node == "" {
		cfg.Node, _ = os.Hostname() // "" will do
	}
	if cfg.Alerted == nil {
		cfg.Alerted = func(context.Context, budget.Alert) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = budget.SystemClock{}
	}
}

// Close stops all work and closes the store. No hold may be made or ended any
// more: what is still open is settled, as estimated, by the next Open. What
// waits for webhooks is delivered after that, too.
func (l *Ledger) Close(ctx context.Context) error {
	l.stop()
	l.done.Wait()
	l.poster.close()
	l.file(ctx)
	return l.store.Close(ctx)
}

const (
	// tickEvery is how often time is looked at for budgets.
	tickEvery = time.Second
	// complainEvery is how often the log hears of the same trouble.
	complainEvery = 10 * time.Second
)

// keepTime does what is due because time passes.
func (l *Ledger) keepTime(ctx context.Context) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	reconciled := time.Time{}
	for {
		select {
		case now := <-ticker.C:
			l.tick(ctx)
			if now.Sub(reconciled) >= reconcileEvery {
				reconciled = now
				l.reconcile(ctx, now)
			}
		case <-ctx.Done():
			return
		}
	}
}

// tick raises the alerts that no request brings about.
func (l *Ledger) tick(ctx context.Context) {
	t := l.book.Tick()
	if t.Jump != 0 {
		l.log.WarnContext(ctx, "the clock was set; budgets do not follow it", "ahead", t.Jump)
	}
	l.raise(ctx, t.Fired)
	if len(t.Alerts) > 0 {
		if err := l.store.SaveAlerts(ctx, t.Alerts); err != nil {
			l.troubled(err)
		}
	}
	if len(t.Expired) > 0 {
		zero := make([]store.Sum, len(t.Expired))
		for i, account := range t.Expired {
			zero[i].Account = account
		}
		if err := l.store.SaveSums(ctx, zero); err != nil {
			l.troubled(err)
		}
	}
}

// troubled logs that the store cannot write, now and then.
func (l *Ledger) troubled(err error) {
	now, last := time.Now().Unix(), l.trouble.Load()
	if now-last >= int64(complainEvery/time.Second) && l.trouble.CompareAndSwap(last, now) {
		l.log.Error("the ledger cannot be written", "error", err)
	}
}
