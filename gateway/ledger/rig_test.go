package ledger

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	cent   = gateway.NanoUSD(10_000_000)
	dollar = 100 * cent
)

// noon is when tests begin: a Wednesday.
var noon = time.Date(2026, 8, 5, 12, 0, 0, 0, time.UTC)

// clock is set by tests.
type clock struct {
	mu   sync.Mutex
	wall time.Time
	boot time.Duration
}

func (c *clock) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *clock) Boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boot
}

// pass lets time pass.
func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.boot = c.wall.Add(d), c.boot+d
}

// rig is a ledger whose store is real and whose attempts are made up.
type rig struct {
	t     testing.TB
	cfg   Config
	clock *clock
	log   *logged
	*Ledger

	mu     sync.Mutex
	alerts []budget.Alert
}

func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, cfg: cfg, clock: &clock{wall: noon}, log: &logged{}}
	if r.cfg.Dir == "" {
		r.cfg.Dir = t.TempDir()
	}
	r.cfg.Clock, r.cfg.Node = r.clock, "test"
	r.cfg.Log = slog.New(slog.NewTextHandler(r.log, nil))
	r.cfg.Alerted = func(_ context.Context, a budget.Alert) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.alerts = append(r.alerts, a)
	}
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *rig) start() {
	r.t.Helper()
	l, err := Open(context.Background(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Ledger = l
}

func (r *rig) stop() {
	r.t.Helper()
	if r.Ledger == nil {
		return
	}
	if err := r.Close(context.Background()); err != nil {
		r.t.Errorf("close: %v", err)
	}
	r.Ledger = nil
}

// restart closes the ledger and opens it again.
func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.start()
}

// raised returns the alerts so far, as "type budget", and forgets them.
func (r *rig) raised() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, a := range r.alerts {
		list = append(list, a.Type+" "+a.Budget)
	}
	r.alerts = nil
	return list
}

// logged is a log that tests read.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// limit returns a budget for all that denies.
func limit(name string, amount gateway.NanoUSD) budget.Budget {
	return budget.Budget{Name: name, Scope: "global", Limit: gateway.Some(amount), Window: "month"}
}

// each returns a budget of a scope for one subject.
func each(scope, match string, amount gateway.NanoUSD) budget.Budget {
	return budget.Budget{Name: scope + "-budget", Scope: scope, Match: match, Limit: gateway.Some(amount), Window: "day"}
}

func with(budgets ...budget.Budget) Config { return Config{Settings: Settings{Budgets: budgets}} }

var provider = &gateway.Provider{Name: "anthropic", Family: "anthropic", GenAI: "anthropic"}

// attempt returns one that may cost as much as bound: a tenth of it for the
// prompt.
func attempt(bound gateway.NanoUSD) *gateway.Attempt {
	x := &gateway.Exchange{
		ID: newID(), Call: gateway.Call{Operation: names.OperationChat, Model: "claude-sonnet-5"},
		Caller: gateway.Caller{KeyID: "key1", KeyAlias: "alice", Team: "research", Session: "s1", Tags: map[string]string{"env": "test"}},
		Route:  gateway.Route{Label: "default"}, Snapshot: &gateway.Snapshot{},
		Request: httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/v1/messages", nil),
	}
	a := &gateway.Attempt{ID: newID(), Exchange: x, Number: 1, Target: gateway.Target{Provider: provider, Model: "claude-sonnet-5", Name: "anthropic/claude-sonnet-5"},
		Body: []byte(strings.Repeat("x", 400))}
	a.Bound = gateway.Bound{Input: bound / 10, Output: bound - bound/10, Floor: bound / 20, Rate: 10_000_000, InputTokens: 100,
		OutputTokens: int64(bound-bound/10) / 10_000, Billing: names.CostBillingMetered, Status: names.PriceStatusExact}
	x.Attempts = []*gateway.Attempt{a}
	return a
}

// stream is attempt for a stream that shows all its output.
func stream(bound gateway.NanoUSD) *gateway.Attempt {
	a := attempt(bound)
	a.Exchange.Call.Stream, a.Bound.Visible = true, true
	return a
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// costs sets what the attempt has cost.
func costs(a *gateway.Attempt, n gateway.NanoUSD) *gateway.Attempt {
	a.Cost = gateway.Cost{Source: names.CostSourceLocal, Status: names.PriceStatusExact, Billing: a.Bound.Billing, Total: n, PriceVersion: "v1"}
	a.Cost.Classes[gateway.CostOutput] = n
	a.Result.Usage = gateway.Usage{Input: 100, Output: int64(n) / 10_000, Source: names.UsageSourceProvider}
	return a
}

// hold admits an attempt, or the test fails.
func (r *rig) hold(a *gateway.Attempt) gateway.Hold {
	r.t.Helper()
	h, err := r.Hold(context.Background(), a)
	if err != nil {
		r.t.Fatalf("refused: %v", err)
	}
	return h
}

// spend makes an attempt that costs n.
func (r *rig) spend(n gateway.NanoUSD) *gateway.Attempt {
	r.t.Helper()
	a := attempt(n)
	r.hold(a).Settle(context.Background(), costs(a, n))
	return a
}

// refused returns the error of an attempt that must be refused.
func (r *rig) refused(a *gateway.Attempt) *gateway.Error {
	r.t.Helper()
	h, err := r.Hold(context.Background(), a)
	var e *gateway.Error
	if h != nil || !errors.As(err, &e) {
		r.t.Fatalf("got hold %v and error %v, want a refusal", h, err)
	}
	return e
}

// account returns the state of a budget's only account with that subject.
func (r *rig) account(name, subject string) budget.Status {
	r.t.Helper()
	for s := range r.Statuses {
		if s.Budget.Name == name && s.Subject == subject {
			return s
		}
	}
	r.t.Fatalf("budget %s has no account %q", name, subject)
	return budget.Status{}
}

// spent fails the test unless so much is spent, and nothing reserved.
func (r *rig) spent(name, subject string, want gateway.NanoUSD) {
	r.t.Helper()
	if s := r.account(name, subject); s.Spent != want || s.Reserved != 0 {
		r.t.Errorf("budget %s: got %v spent and %v reserved, want %v and 0", name, s.Spent, s.Reserved, want)
	}
}

// lines returns what is written, oldest first.
func (r *rig) lines() []store.Line {
	r.t.Helper()
	var list []store.Line
	for line, err := range r.Store().Lines(context.Background(), store.Filter{}, 0) {
		if err != nil {
			r.t.Fatal(err)
		}
		list = append([]store.Line{*line}, list...)
	}
	return list
}

// total returns the cost of all lines.
func (r *rig) total() (n gateway.NanoUSD) {
	for _, line := range r.lines() {
		n += line.Cost.Total
	}
	return n
}
