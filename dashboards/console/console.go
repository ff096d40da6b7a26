package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/store"
)

// Spending adds up what was spent. It is called concurrently.
type Spending interface {
	Spend(ctx context.Context, q store.SpendQuery) (store.Spend, error)
}

// Config says what a console shows. Funcs are called concurrently, for every view.
type Config struct {
	// Store has the recent exchanges. It is required, and must be closed after the last request: then live lists end.
	Store *store.Store
	// Spending has what was spent; nil: Store, which knows the recent exchanges only. Source names it on the page.
	Spending Spending
	Source   string
	// Budgets returns the accounts of budgets; nil: there are none.
	Budgets func() []Budget
	// Health says how the gateway fares; nil: only what Store knows.
	Health func() Health
	// Links are shown on every page, such as Grafana's. Of TraceURL, "{trace_id}" is replaced by the id; "": there is no such
	// link.
	Links    []Link
	TraceURL string
	// Token authorizes programs, as a bearer, and whoever types it into the page; "": nobody.
	Token func() string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Link leads elsewhere. URL is http or https.
type Link struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// Budget is one account of a budget: what a subject has spent in the current window. Amounts are USD; a null limit is none.
type Budget struct {
	Name     string    `json:"name"`
	Scope    string    `json:"scope"`
	Subject  string    `json:"subject,omitempty"`
	Window   string    `json:"window"`
	Action   string    `json:"action"` // deny, warn, route
	Route    string    `json:"route,omitempty"`
	Limit    *float64  `json:"limit_usd"`
	Spent    float64   `json:"spent_usd"`
	Reserved float64   `json:"reserved_usd"`
	Forecast *float64  `json:"forecast_usd"` // null: nothing can be said
	Start    time.Time `json:"start,omitzero"`
	Resets   time.Time `json:"resets,omitzero"` // zero: never
	State    string    `json:"state"`           // names.BudgetState…
}

// Health is how the gateway fares.
type Health struct {
	Version    string                     `json:"version"`
	Started    time.Time                  `json:"started,omitzero"`
	URL        string                     `json:"url,omitempty"` // of the data port
	ConfigPath string                     `json:"config_path,omitempty"`
	ConfigID   string                     `json:"config_version,omitempty"`
	Config     string                     `json:"config,omitempty"` // YAML, secrets as ***
	Reload     *Reload                    `json:"last_reload,omitempty"`
	Active     int64                      `json:"active"`
	Draining   bool                       `json:"draining"`
	Targets    []Target                   `json:"targets"` // with a breaker
	Exporters  []telemetry.ExporterStatus `json:"exporters"`
}

// Reload is the last reload of the configuration.
type Reload struct {
	At      time.Time `json:"at"`
	Error   string    `json:"error,omitempty"`
	Restart []string  `json:"needs_restart,omitempty"`
}

// Target is a target's breaker.
type Target struct {
	Target string    `json:"target"`
	State  string    `json:"state"` // closed, half_open, open
	Since  time.Time `json:"since,omitzero"`
}

// Console serves the page and the API. Its methods may be called concurrently.
type Console struct {
	cfg     Config
	files   map[string]*asset
	gate    gate
	streams atomic.Int64
	routes  []string
	mu      sync.Mutex // guards gate
}

// New returns a console. It fails on a Config that cannot work.
func New(cfg Config) (*Console, error) {
	if cfg.Store == nil {
		return nil, errors.New("console: a store is needed")
	}
	for _, l := range append(cfg.Links[:len(cfg.Links):len(cfg.Links)], Link{"trace", cfg.TraceURL}) {
		if l.URL != "" && !webURL(l.URL) {
			return nil, fmt.Errorf("console: %q is no http or https URL", l.URL)
		}
	}
	if cfg.Spending == nil {
		cfg.Spending, cfg.Source = cfg.Store, recentSource
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Token == nil {
		cfg.Token = func() string { return "" }
	}
	files, err := loadAssets()
	if err != nil {
		return nil, err
	}
	return &Console{cfg: cfg, files: files}, nil
}

// recentSource names the store as the source of figures.
const recentSource = "from recent requests"

// webURL reports whether a link may be followed: a javascript URL must not be.
func webURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// Register adds the console's routes to the admin port's. The caller keeps foreign hosts and origins away; everything but the
// page itself, which holds no data, wants a session or the token.
func (c *Console) Register(mux *http.ServeMux) {
	open := func(pattern string, h http.HandlerFunc) {
		c.routes = append(c.routes, pattern)
		mux.HandleFunc(pattern, h)
	}
	guarded := func(pattern string, h http.HandlerFunc) { open(pattern, c.authorized(h)) }

	for _, path := range []string{"/{$}", "/trace/{id}", "/money", "/health"} {
		open("GET "+path, c.servePage)
	}
	open("GET /assets/{name}", c.serveAsset)
	open("GET /favicon.ico", c.serveIcon)
	open("POST /api/session", c.serveSignIn)
	open("DELETE /api/session", c.serveSignOut)
	open("POST /api/console", c.serveOpen)

	guarded("GET /api/requests", c.serveRequests)
	guarded("GET /api/requests/live", c.serveLive)
	guarded("GET /api/requests/{id}", c.serveTrace)
	guarded("GET /api/requests/{id}/otlp", c.serveOTLP)
	guarded("GET /api/values", c.serveValues)
	guarded("GET /api/money", c.serveMoney)
	guarded("GET /api/health", c.serveHealth)

	guarded("GET /api/services", c.serveServices)
	guarded("GET /api/services/{service}/operations", c.serveServiceOperations)
	guarded("GET /api/operations", c.serveOperations)
	guarded("GET /api/traces", c.serveTraces)
	guarded("GET /api/traces/{id}", c.serveJaegerTrace)
}

// Routes are the patterns that Register has added.
func (c *Console) Routes() []string { return slices.Clone(c.routes) }

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, `{"error":"the answer cannot be written"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left is no matter
}

func refuse(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]string{"error": err.Error()})
}

// query are the parameters of a request, read one by one; err is the first mistake.
type query struct {
	values url.Values
	err    error
}

// readQuery reads the parameters of r, which must be known, and, but for those in many, given once.
func readQuery(r *http.Request, known []string, many ...string) *query {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &query{nil, fmt.Errorf("the query cannot be read: %w", err)}
	}
	for key, list := range v {
		if !slices.Contains(known, key) {
			return &query{nil, fmt.Errorf("unknown parameter %q; known: %s", key, strings.Join(known, ", "))}
		}
		if len(list) > 1 && !slices.Contains(many, key) {
			return &query{nil, fmt.Errorf("parameter %q is given twice", key)}
		}
	}
	return &query{v, nil}
}

func (q *query) text(key string) string { return q.values.Get(key) }

func (q *query) fail(key, want string) {
	if q.err == nil {
		q.err = fmt.Errorf("%s: want %s, got %q", key, want, q.values.Get(key))
	}
}

// number reads a number from low to high.
func (q *query) number(key string, otherwise, low, high float64) float64 {
	text := q.values.Get(key)
	if text == "" {
		return otherwise
	}
	var n float64
	if err := json.Unmarshal([]byte(text), &n); err != nil || !(n >= low && n <= high) {
		q.fail(key, fmt.Sprintf("a number from %v to %v", low, high))
		return otherwise
	}
	return n
}

// moment reads a time.
func (q *query) moment(key string) time.Time {
	text := q.values.Get(key)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		q.fail(key, "a time such as 2026-11-01T12:00:00Z")
	}
	return t
}
