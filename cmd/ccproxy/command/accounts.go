package command

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/caller"
	"github.com/ccproxy/ccproxy/gateway/ledger"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
)

// accounts are the keys and the ledger of a storage directory, which the gateway, or a command while none runs, has open.
// Its methods may be called concurrently.
type accounts struct {
	dir     string
	log     *slog.Logger
	db      *sql.DB // of the keys: they are read before the ledger can be opened, whose budgets are theirs too
	callers *caller.Registry
	ledger  *ledger.Ledger // nil: only what is written down is wanted
	store   *store.Store
	alerts  alerts

	mu  sync.Mutex // one change of keys and budgets at a time
	cfg *config.Config
}

// openAccounts opens the keys and the ledger in the storage directory, which is locked, with the budgets of cfg and of the
// keys in force. allowed is asked, before the ledger is opened, whether there may be keys or none; nil: either.
func openAccounts(ctx context.Context, s *storage, cfg *config.Config, allowed func(keys bool) error, log *slog.Logger) (*accounts, error) {
	m := newAccounts(s, log)
	if err := m.open(ctx, s, cfg, allowed); err != nil {
		return nil, errors.Join(err, m.close(ctx))
	}
	return m, nil
}

// openRecords opens the keys and what the ledger has written down, without budgets: for commands that only look, or make
// keys. cfg nil: no team is known.
func openRecords(ctx context.Context, s *storage, cfg *config.Config) (*accounts, error) {
	m := newAccounts(s, nil)
	err := m.openStore(ctx, s)
	if err == nil && cfg != nil {
		m.cfg = cfg
		err = m.configureCallers(cfg)
	}
	if err != nil {
		return nil, errors.Join(err, m.close(ctx))
	}
	return m, nil
}

func newAccounts(s *storage, log *slog.Logger) *accounts {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	removeBackups(s.dir)
	return &accounts{dir: s.dir, log: log}
}

func (m *accounts) open(ctx context.Context, s *storage, cfg *config.Config, allowed func(keys bool) error) error {
	early := m.openCallers(ctx, s, true)
	if early == nil && m.callers != nil {
		early = m.configureCallers(cfg)
	}
	if early == nil && allowed != nil {
		if err := allowed(m.anyKey(cfg)); err != nil {
			return err
		}
	}
	settings, err := m.settings(cfg)
	if err != nil {
		return err
	}
	m.ledger, err = ledger.Open(ctx, ledger.Config{
		Dir: s.dir, Full: cfg.Storage.Synchronous == "full", Wait: cfg.Timeouts.Hold, Settings: settings, Alerted: m.alerts.raise, Alias: m.alias, Log: m.log,
	})
	if err != nil {
		return err // of a damaged ledger this says more than the keys can
	}
	m.store, m.cfg = m.ledger.Store(), cfg
	if early != nil || m.callers != nil {
		return early
	}
	if err := m.openCallers(ctx, s, false); err != nil {
		return err
	}
	return m.configureCallers(cfg)
}

func (m *accounts) openStore(ctx context.Context, s *storage) (err error) {
	if m.store, _, err = store.Open(ctx, store.Options{Dir: s.dir, Log: m.log}); err != nil {
		return err
	}
	return m.openCallers(ctx, s, false)
}

// openCallers opens the keys. With there they must have been there before, else nothing is done: the ledger makes its
// database itself.
func (m *accounts) openCallers(ctx context.Context, s *storage, there bool) error {
	path := filepath.Join(s.dir, ledgerName)
	if info, err := os.Stat(path); there && (err != nil || info.Size() == 0) {
		return nil
	}
	pepper, err := s.pepper()
	if err != nil {
		return err
	}
	if m.db, err = openDatabase(path); err != nil {
		return err
	}
	if there {
		var n int
		err := m.db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'keys'").Scan(&n)
		if err != nil || n == 0 {
			return errors.Join(err, m.closeDatabase())
		}
	}
	m.callers, err = caller.Open(ctx, caller.Config{DB: m.db, Pepper: pepper, Log: m.log})
	return err
}

// openDatabase opens the ledger's database for what must be on disk when it is written.
func openDatabase(path string) (*sql.DB, error) {
	query := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"}, "_txlock": {"immediate"}}
	name := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func (m *accounts) closeDatabase() error {
	if m.db == nil {
		return nil
	}
	err := m.db.Close()
	m.db = nil
	return err
}

// close writes down what is still in memory and gives the files back. No exchange may run any more.
func (m *accounts) close(ctx context.Context) error {
	var errs []error
	if m.callers != nil {
		errs = append(errs, m.callers.Close(ctx))
	}
	errs = append(errs, m.closeDatabase())
	switch {
	case m.ledger != nil:
		errs = append(errs, m.ledger.Close(ctx))
	case m.store != nil:
		errs = append(errs, m.store.Close(ctx))
	}
	return errors.Join(errs...)
}

// alerts keeps what the ledger raises until somebody listens: it opens before what tells of it.
type alerts struct {
	mu     sync.Mutex
	tell   func(context.Context, budget.Alert) // nil: nobody listens yet
	before []budget.Alert
}

// maxAlertsBefore bounds alerts.before. Whoever is not told of an alert sees it in the state of the budget.
const maxAlertsBefore = 1000

func (l *alerts) raise(ctx context.Context, a budget.Alert) {
	l.mu.Lock()
	tell := l.tell
	if tell == nil && len(l.before) < maxAlertsBefore {
		l.before = append(l.before, a)
	}
	l.mu.Unlock()
	if tell != nil {
		tell(ctx, a)
	}
}

// onAlert has tell told of all alerts.
func (m *accounts) onAlert(tell func(context.Context, budget.Alert)) {
	m.alerts.mu.Lock()
	before := m.alerts.before
	m.alerts.tell, m.alerts.before = tell, nil
	m.alerts.mu.Unlock()
	for _, a := range before {
		tell(context.Background(), a)
	}
}

// alias is what people call a key.
func (m *accounts) alias(keyID string) string {
	if m.callers == nil {
		return ""
	}
	r, err := m.callers.Show(keyID)
	if err != nil {
		return "" // it goes by its id
	}
	return r.Name
}

// configure takes over the keys, teams and budgets of cfg. What is spent, held and counted stays. On an error all is as it
// was.
func (m *accounts) configure(ctx context.Context, cfg *config.Config) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.configureCallers(cfg); err != nil {
		return err
	}
	if err := m.apply(ctx, cfg); err != nil {
		return errors.Join(err, m.configureCallers(m.cfg))
	}
	m.cfg = cfg
	return nil
}

// refresh makes the ledger see the budgets of keys as they are now.
func (m *accounts) refresh(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ledger == nil {
		return nil // the gateway sees them when it starts
	}
	return m.apply(ctx, m.cfg)
}

// apply puts the budgets of cfg and of the keys in force.
func (m *accounts) apply(ctx context.Context, cfg *config.Config) error {
	settings, err := m.settings(cfg)
	if err != nil {
		return err
	}
	err = m.ledger.Configure(ctx, settings)
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrCorrupt) {
		// The settings are in force all the same.
		m.log.Warn("budgets that are new may know only of what is spent from now on", slog.String("error", err.Error()))
		return nil
	}
	return err
}

func (m *accounts) configureCallers(cfg *config.Config) error {
	keys, teams := fileKeys(cfg)
	return m.callers.Configure(keys, teams, caller.Policy{Open: cfg.Server.Open, DefaultInFlight: cfg.Limits.KeyInFlight})
}

// anyKey reports whether there is a key under cfg, so that callers need one. A revoked one counts.
func (m *accounts) anyKey(cfg *config.Config) bool {
	return len(cfg.Keys) > 0 || m.callers != nil && slices.ContainsFunc(m.callers.List(), func(r caller.Record) bool { return r.Source == caller.SourceStore })
}

// oddities lists budgets of keys that are not there, in the file or made by command.
func (m *accounts) oddities(cfg *config.Config) []string {
	var out []string
	for _, b := range cfg.Budgets.List {
		if b.Scope != "key" || strings.Contains(b.Match, "*") {
			continue
		}
		if _, err := m.callers.Show(b.Match); err != nil {
			out = append(out, fmt.Sprintf("budget %q: there is no key %q; nothing counts towards it until there is", b.Name, b.Match))
		}
	}
	return out
}

// fileKeys are the keys and teams of a configuration.
func fileKeys(cfg *config.Config) ([]caller.FileKey, []caller.Team) {
	var keys []caller.FileKey
	for _, k := range cfg.Keys {
		key := caller.Key{
			Name: k.Name, Team: k.Team, Models: k.Models, Expires: k.Expires, Limits: callerLimits(k.Limits), TrustIncoming: k.TrustIncoming, Content: k.Content,
		}
		for _, b := range k.Budget {
			key.Budgets = append(key.Budgets, caller.Budget{Limit: gateway.NanoUSD(*b.Limit), Window: b.Window, Timezone: b.Timezone, Action: b.Action})
		}
		keys = append(keys, caller.FileKey{Key: key, Secret: gateway.Secret(k.Key.Reveal())})
	}
	var teams []caller.Team
	for _, t := range cfg.Teams {
		teams = append(teams, caller.Team{Name: t.Name, Models: t.Models, Limits: callerLimits(t.Limits)})
	}
	return keys, teams
}

func callerLimits(l config.CallerLimits) caller.Limits {
	return caller.Limits{RequestsPerMinute: l.RequestsPerMinute, TokensPerMinute: l.TokensPerMinute, InFlight: l.InFlight}
}

// settings are what the ledger is to enforce under cfg, the budgets of keys included.
func (m *accounts) settings(cfg *config.Config) (ledger.Settings, error) {
	var errs []error
	out := ledger.Settings{Policy: ledgerPolicy(cfg)}
	add := func(b config.Budget, match string) {
		made, err := ledgerBudget(b)
		if match != "" {
			made.Match = match
		}
		errs = append(errs, err)
		out.Budgets = append(out.Budgets, made)
	}
	for _, b := range cfg.Budgets.List {
		add(b, "")
	}
	for _, k := range cfg.Keys {
		for _, b := range k.Budget {
			add(b.Named(k.Name), "")
		}
	}
	for _, b := range m.storedBudgets() {
		if slices.ContainsFunc(out.Budgets, func(other budget.Budget) bool { return other.Name == b.Name }) {
			errs = append(errs, fmt.Errorf("budget %q has the name that the budget of key %q goes by; rename it", b.Name, b.key))
			continue
		}
		add(b.Budget, b.id)
	}
	for _, w := range cfg.Budgets.Webhooks {
		out.Webhooks = append(out.Webhooks, ledger.Webhook{Name: w.Name, URL: w.URL, Secret: gateway.Secret(w.Secret.Reveal()), Slack: w.Format == "slack"})
	}
	return out, errors.Join(errs...)
}

// storedBudget is a budget of a key that was made by command.
type storedBudget struct {
	config.Budget
	key, id string // whose it is
}

// storedBudgets are the budgets of the keys made by command that are not revoked. They go by the key's id: a key of the same
// name that is made later begins anew.
func (m *accounts) storedBudgets() []storedBudget {
	if m.callers == nil {
		return nil
	}
	var out []storedBudget
	for _, r := range m.callers.List() {
		if r.Source != caller.SourceStore || !r.Revoked.IsZero() {
			continue
		}
		for _, b := range r.Budgets {
			limit := config.USD(b.Limit)
			kb := config.KeyBudget{
				Limit: &limit, Window: b.Window, Timezone: cmp.Or(b.Timezone, "UTC"), Thresholds: config.DefaultThresholds(), Action: cmp.Or(b.Action, "deny"),
			}
			out = append(out, storedBudget{kb.Named(r.Name), r.Name, r.ID})
		}
	}
	return out
}

func ledgerBudget(b config.Budget) (budget.Budget, error) {
	zone, err := time.LoadLocation(b.Timezone)
	if err != nil {
		err = fmt.Errorf("budget %q: %w", b.Name, err)
	}
	out := budget.Budget{
		Name: b.Name, Scope: b.Scope, Match: b.Match, Window: b.Window, Location: zone, Thresholds: b.Thresholds,
		Warn: b.Action == "warn", Route: b.Over.Route, Notional: b.Counts == "notional",
	}
	if b.Limit != nil {
		out.Limit = gateway.Some(gateway.NanoUSD(*b.Limit))
	}
	return out, err
}

func ledgerPolicy(cfg *config.Config) ledger.Policy {
	p := ledger.Policy{
		AssumeOutputTokens: cfg.Budgets.AssumeOutputTokens, Percentile: cfg.Budgets.HoldPercentile, ShowAmounts: cfg.Budgets.ShowAmounts, UnknownPrice: assumedPrice(cfg),
	}
	open := map[string]bool{} // :: name → whether its requests go on while nothing can be written
	for _, k := range cfg.Keys {
		if k.Fail == "open" {
			open[k.Name] = true
		}
	}
	if len(open) > 0 {
		p.FailOpen = func(c *gateway.Caller) bool { return open[c.KeyAlias] }
	}
	return p
}

// assumedPrice is what a token of a model without a price is taken to cost, in pico-dollars.
func assumedPrice(cfg *config.Config) gateway.Optional[int64] {
	if p := cfg.Budgets.UnknownPrice.Assume; p != nil {
		return gateway.Some(int64(*p))
	}
	return gateway.Optional[int64]{}
}

// routes are the admin API of the accounts, as method and path. Every one wants the token of run.json, parameters and fields
// that are not known are refused with 400, and an error is {"error": "…"}. Amounts are decimal strings of dollars, times RFC
// 3339. What picks lines is since, until (a time, a date in zone, or a span back from now such as 7d), zone, model,
// original_model, key, team, label, provider, user, session, tag (name=value, or name), request, billing and outcome.
//
//	GET  /api/keys                  the keys, without their secrets
//	POST /api/keys                  keyInput → newKey, with the secret: the only answer that has one
//	POST /api/keys/{id}/revoke      revokeInput → revokedKey; id is a key's, or its name
//	GET  /api/spend                 ?by=model|key|…|tag:NAME&limit=N and what picks lines → spendReport
//	GET  /api/spend/lines           ?limit=N and what picks lines → the newest lines, lineView
//	GET  /api/spend/explain/{id}    of a request, an attempt or a trace → explanation
//	GET  /api/spend/export          ?format=jsonl|csv and what picks lines → all of them, in nano-dollars
//	GET  /api/budgets               ?name=&scope=&subject=&state=&limit=N → budgetList
//	POST /api/ledger/verify         → verification
//	POST /api/ledger/backup         → the database, as it is at one moment
func (m *accounts) routes() map[string]http.HandlerFunc {
	list := map[string]http.HandlerFunc{
		"GET /api/keys":               m.serveKeys,
		"POST /api/keys":              m.serveCreateKey,
		"POST /api/keys/{id}/revoke":  m.serveRevokeKey,
		"GET /api/spend":              m.serveSpend,
		"GET /api/spend/lines":        m.serveLines,
		"GET /api/spend/explain/{id}": m.serveExplain,
		"GET /api/spend/export":       m.serveExport,
		"POST /api/ledger/verify":     m.serveVerify,
		"POST /api/ledger/backup":     m.serveBackup,
	}
	if m.ledger != nil {
		list["GET /api/budgets"] = m.serveBudgets
	}
	return list
}

// opener opens a storage directory for commands while no gateway runs.
type opener func(ctx context.Context, a *app, s *storage) (*accounts, error)

// forKeys opens what keys need, whose teams are the configuration's.
func forKeys(ctx context.Context, a *app, s *storage) (*accounts, error) {
	cfg, _, _, err := a.load()
	if err != nil {
		return nil, err
	}
	return openRecords(ctx, s, cfg)
}

// forRecords opens what is written down, whatever the configuration says.
func forRecords(ctx context.Context, _ *app, s *storage) (*accounts, error) {
	return openRecords(ctx, s, nil)
}

// forBudgets opens the ledger with its budgets.
func forBudgets(ctx context.Context, a *app, s *storage) (*accounts, error) {
	cfg, _, _, err := a.load()
	if err != nil {
		return nil, err
	}
	return openAccounts(ctx, s, cfg, nil, nil)
}

// openLocal opens the storage directory dir in this process.
func (a *app) openLocal(ctx context.Context, dir string, open opener) (*api, error) {
	s, err := openStorage(dir)
	if err != nil {
		return nil, err
	}
	m, err := open(ctx, a, s)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	mux := http.NewServeMux()
	for pattern, h := range m.routes() {
		mux.Handle(pattern, h)
	}
	return localAPI(mux, func() error { return errors.Join(m.close(context.WithoutCancel(ctx)), s.close()) }), nil
}
