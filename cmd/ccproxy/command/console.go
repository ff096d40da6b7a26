package command

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/dashboards/console"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	ledgerstore "github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/store"
)

// openConsole opens the store of recent traces and makes the console over it. Without an admin port there is neither.
func (s *server) openConsole(ctx context.Context, cfg *config.Config, adminListen string) (err error) {
	if adminListen == "off" {
		return nil
	}
	if s.traces, err = store.Open(ctx, store.Options{Dir: s.storage.dir, Log: s.log}); err != nil {
		return err
	}
	var links []console.Link
	if u := cfg.Telemetry.GrafanaURL; u != "" {
		links = append(links, console.Link{Name: "Grafana", URL: u})
	}
	s.console, err = console.New(console.Config{
		Store: s.traces, Spending: consoleSpending{s.accounts.store, s.traces}, Source: "from the ledger", Budgets: s.consoleBudgets, Health: s.consoleHealth,
		Links: links, TraceURL: cfg.Telemetry.TraceURL, Token: func() string { return s.run.Token },
	})
	return err
}

// spanProcessors are those that were asked for, and the console's store.
func (s *server) spanProcessors() []sdktrace.SpanProcessor {
	if s.traces == nil {
		return s.opt.SpanProcessors
	}
	return append(slices.Clip(s.opt.SpanProcessors), s.traces)
}

// alertTo returns a func that tells of alerts, and keeps them for the console.
func (s *server) alertTo(tell func(context.Context, budget.Alert)) func(context.Context, budget.Alert) {
	if s.traces == nil {
		return tell
	}
	return func(ctx context.Context, a budget.Alert) {
		tell(ctx, a)
		s.traces.AddAlert(ctx, store.Alert{
			Time: a.At.UTC(), Type: a.Type, Budget: a.Budget, Scope: a.Scope, Subject: a.Subject, Window: a.Window, Threshold: a.Threshold,
			Spent: a.Spent.Dollars(), Limit: a.Limit.Dollars(), Model: a.Model,
		})
	}
}

// registerConsole adds the console's routes to the admin port's.
func (s *server) registerConsole(mux *http.ServeMux) {
	if s.console != nil {
		s.console.Register(mux)
	}
}

// closeConsole writes down what the store has in memory, and ends live lists. No span may end after it.
func (s *server) closeConsole() error {
	if s.traces == nil {
		return nil
	}
	return s.traces.Close()
}

// consoleSubjects is how many accounts of one budget the console shows.
const consoleSubjects = 12

func (s *server) consoleBudgets() []console.Budget {
	var out []console.Budget
	for _, v := range s.accounts.budgetViews(consoleSubjects, func(*budgetView) bool { return true }).Budgets {
		out = append(out, console.Budget{
			Name: v.Name, Scope: v.Scope, Subject: orElse(v.Subject, v.Match), Window: v.Window, Action: v.Action, Route: v.Route, Limit: dollars(v.Limit),
			Spent: v.Spent.dollars(), Reserved: v.Reserved.dollars(), Forecast: dollars(v.Forecast), Start: v.Start, Resets: v.Resets, State: v.State,
		})
	}
	return out
}

func (u usd) dollars() float64 { return float64(u) / 1e9 }

func dollars(u *usd) *float64 {
	if u == nil {
		return nil
	}
	v := u.dollars()
	return &v
}

func (s *server) consoleHealth() console.Health {
	h := console.Health{
		Version: s.run.Version, Started: s.run.Started, URL: s.run.URL, ConfigPath: s.run.Config, ConfigID: s.gateway.Snapshot().Version,
		Config: string(s.config.Load().Masked()), Active: s.active.Load(), Draining: s.draining.Load(), Exporters: s.telemetry.Status(),
	}
	if r := s.reloads.status(); r != nil {
		h.Reload = &console.Reload{At: r.At, Error: r.Error, Restart: r.Restart}
	}
	if r, ok := s.gateway.Snapshot().Router.(*route.Router); ok {
		for name, state := range r.States() {
			h.Targets = append(h.Targets, console.Target{Target: name, State: stateNames[state]})
		}
	}
	return h
}

var stateNames = map[route.State]string{route.Closed: "closed", route.HalfOpen: "half_open", route.Open: "open"}

// consoleSpending adds up the ledger's lines for the console; where a point is shorter than an hour, which the ledger does not tell
// apart, the recent exchanges.
type consoleSpending struct {
	ledger *ledgerstore.Store
	recent *store.Store
}

// Spend implements console.Spending.
func (p consoleSpending) Spend(ctx context.Context, q store.SpendQuery) (store.Spend, error) {
	if q.Step < time.Hour {
		return p.recent.Spend(ctx, q)
	}
	bucket, layout := "hour", "2006-01-02T15:04Z07:00"
	if q.Step >= 24*time.Hour {
		bucket, layout = "day", time.DateOnly
	}
	f := ledgerstore.Filter{Since: q.Since, Until: q.Until}
	rows, err := p.ledger.Spend(ctx, ledgerstore.Query{Filter: f, By: []string{q.By, bucket}, Location: time.UTC})
	if err != nil {
		return store.Spend{}, err
	}
	total, err := p.ledger.Spend(ctx, ledgerstore.Query{Filter: f})
	if err != nil {
		return store.Spend{}, err
	}
	var out store.Spend
	for i := range total {
		sum := spendSum(&total[i])
		out.Total.Plus(&sum)
	}
	series := map[string]*store.SpendSeries{}
	for i := range rows {
		r := &rows[i]
		at := series[r.Group[0]]
		if at == nil {
			at = &store.SpendSeries{Name: r.Group[0], Points: make([]float64, q.Points())}
			series[r.Group[0]] = at
		}
		sum := spendSum(r)
		at.Plus(&sum)
		if t, err := time.Parse(layout, r.Group[1]); err == nil {
			if n := int(t.Sub(q.Since) / q.Step); n >= 0 && n < len(at.Points) {
				at.Points[n] += sum.Cost
			}
		}
	}
	out.Series = store.TopSeries(series, q.Series)
	return out, nil
}

func spendSum(r *ledgerstore.Row) store.SpendSum {
	u := &r.Usage
	return store.SpendSum{
		Requests: r.Requests, Input: u.Input + u.CacheRead + u.CacheWrite + u.CacheWrite1h, CacheRead: u.CacheRead, Output: u.Output + u.Reasoning, Unpriced: r.Unpriced,
		Cost: (r.Metered + r.Notional).Dollars(), Notional: r.Notional.Dollars(), Compared: r.Compared.Dollars(), Baseline: r.Baseline.Dollars(),
	}
}

// openTracesLocal serves the console's API over the traces of a storage directory, for a command while no gateway runs.
func (a *app) openTracesLocal(ctx context.Context, dir string) (*api, error) {
	s, err := openStorage(dir)
	if err != nil {
		return nil, err
	}
	traces, err := store.Open(ctx, store.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, joinErrors(err, s.close)
	}
	token := newToken()
	c, err := console.New(console.Config{Store: traces, Token: func() string { return token }})
	if err != nil {
		return nil, joinErrors(err, traces.Close, s.close)
	}
	mux := http.NewServeMux()
	c.Register(mux)
	local := localAPI(mux, func() error { return joinErrors(nil, traces.Close, s.close) })
	local.token = token
	return local, nil
}

// consoleDemoLife is how long the address that a demonstration prints is good: its storage directory is not the usual one,
// where `ccproxy open` looks.
const consoleDemoLife = 12 * time.Hour
