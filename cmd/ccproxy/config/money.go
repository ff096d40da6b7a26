package config

import "time"

// Price is one override, USD per million tokens. Nil: not given, which the pricer fills in from the classes that are.
type Price struct {
	Input        *PerMillion `yaml:"input"`
	Output       *PerMillion `yaml:"output"`
	CacheRead    *PerMillion `yaml:"cache_read"`
	CacheWrite   *PerMillion `yaml:"cache_write"`
	CacheWrite1h *PerMillion `yaml:"cache_write_1h"`
	Reasoning    *PerMillion `yaml:"reasoning"`
	AudioIn      *PerMillion `yaml:"audio_in"`
	AudioOut     *PerMillion `yaml:"audio_out"`
	ImageIn      *PerMillion `yaml:"image_in"`
	ImageOut     *PerMillion `yaml:"image_out"`
	// Tools are prices per call, USD, by tool name ("web_search").
	Tools map[string]USD `yaml:"tools" zero:"true"`
	// Inherit takes the price book's figure for what is not given.
	Inherit bool `yaml:"inherit"`
	// Confirm says that a price over 1,000 USD per million tokens is meant.
	Confirm bool `yaml:"confirm"`
}

// Key is a virtual key declared in the file.
type Key struct {
	// Name is the key's alias.
	Name string `yaml:"name"`
	// Key is the secret a caller presents.
	Key Secret `yaml:"key"`
	// Team the key belongs to. Empty: none.
	Team string `yaml:"team"`
	// Models are the models and labels the key may use, with "*" as a wildcard. Empty: all.
	Models []string `yaml:"models"`
	// Expires is when the key stops working. Zero: never.
	Expires time.Time    `yaml:"expires"`
	Limits  CallerLimits `yaml:"limits"`
	// Budget limits what the key may spend, besides the budgets that match it. In the file it is one or a list.
	Budget KeyBudgets `yaml:"budget"`
	// Fail says what becomes of the key's requests under an enforcing budget while the ledger cannot be written:
	// "closed" refuses them, "open" counts them in memory until it can. Empty: closed.
	Fail string `yaml:"fail" enum:"closed open"`
	// TrustIncoming accepts this caller's traceparent as parent.
	TrustIncoming bool `yaml:"trust_incoming"`
	// Content overrides telemetry.content for this caller. Empty: no override.
	Content string `yaml:"content" enum:"none redacted full"`
}

// Team groups keys.
type Team struct {
	Name   string       `yaml:"name"`
	Models []string     `yaml:"models"`
	Limits CallerLimits `yaml:"limits"`
}

// CallerLimits bound one caller. Zero: no limit of this kind, except InFlight, where limits.key_in_flight holds.
type CallerLimits struct {
	RequestsPerMinute int64 `yaml:"requests_per_minute" check:"positive"`
	TokensPerMinute   int64 `yaml:"tokens_per_minute" check:"positive"`
	InFlight          int   `yaml:"in_flight" check:"positive"`
}

// KeyBudgets are the budgets of one key, each with a window of its own.
type KeyBudgets []KeyBudget

// KeyBudget is a Budget of one key; it has no name of its own.
type KeyBudget struct {
	// Limit in USD; zero blocks. It must be given.
	Limit *USD `yaml:"limit"`
	// Window, Timezone, Action and Thresholds are as in Budget.
	Window     string    `yaml:"window"`
	Timezone   string    `yaml:"timezone"`
	Thresholds []float64 `yaml:"thresholds" keep:"true"`
	Action     string    `yaml:"action" enum:"deny warn"`
}

func (b *KeyBudget) setDefaults() {
	b.Timezone, b.Action, b.Thresholds = "UTC", "deny", DefaultThresholds()
}

// Named returns the budget that limits what the key called key may spend: a budget like others, named after the key and
// the window, so that its spend is found again whatever else becomes of it.
func (b KeyBudget) Named(key string) Budget {
	return Budget{
		Name: key + "/" + b.Window, Scope: "key", Match: key, Limit: b.Limit, Window: b.Window, Timezone: b.Timezone,
		Thresholds: b.Thresholds, Action: b.Action, Counts: "metered",
	}
}

// DefaultThresholds are those of a budget that names none.
func DefaultThresholds() []float64 { return []float64{0.5, 0.8, 0.95} }

// Budgets holds the budgets and what is common to them. In the file it is a list, or a mapping with the list under "list".
type Budgets struct {
	List []Budget `yaml:"list"`
	// AssumeOutputTokens bounds the output of a request that names no maximum. Zero: the model's maximum.
	AssumeOutputTokens int64 `yaml:"assume_output_tokens" check:"positive"`
	// HoldPercentile is the typical usage a stream may be admitted on when its full bound does not fit, 0 to 1.
	HoldPercentile float64 `yaml:"hold_percentile"`
	// ShowAmounts lets refusals tell the caller the sums.
	ShowAmounts bool `yaml:"show_amounts"`
	// UnknownPrice is what becomes of a request without a known price under an enforcing budget.
	UnknownPrice UnknownPrice `yaml:"unknown_price"`
	// Webhooks receive alerts.
	Webhooks []Webhook `yaml:"webhooks"`
}

// UnknownPrice is "deny", or a price to assume for every token.
type UnknownPrice struct {
	// Assume is the price. Nil: deny.
	Assume *PerMillion
}

// Budget limits what may be spent.
type Budget struct {
	Name string `yaml:"name"`
	// Scope is global, team, key, user, model, provider, label, session or tag.
	Scope string `yaml:"scope" enum:"global team key user model provider label session tag"`
	// Match picks subjects of the scope: a name, a pattern, or "*" for a budget each. Empty only for global.
	Match string `yaml:"match"`
	// Limit in USD. Nil: unlimited; zero blocks.
	Limit *USD `yaml:"limit"`
	// Window is minute, hour, day, week, month, none, or a rolling span such as 30d.
	Window string `yaml:"window"`
	// Timezone aligns the window, an IANA name.
	Timezone string `yaml:"timezone"`
	// Thresholds raise alerts, as rising fractions of the limit up to 1.
	Thresholds []float64 `yaml:"thresholds" keep:"true"`
	// Action is "deny" or "warn".
	Action string `yaml:"action" enum:"deny warn"`
	// Over says what to do instead of refusing.
	Over Over `yaml:"over"`
	// Counts is "metered", or "notional" to count subscription traffic as well.
	Counts string `yaml:"counts" enum:"metered notional"`
}

func (b *Budget) setDefaults() {
	b.Timezone, b.Action, b.Counts = "UTC", "deny", "metered"
	b.Thresholds = DefaultThresholds()
}

// Over routes a request to another label when the budget is spent. Zero: refuse.
type Over struct {
	Route string `yaml:"route"`
}

// Webhook is where alerts go.
type Webhook struct {
	// Name tells webhooks apart, also in the queue of what has yet to be delivered. Empty: the URL's host and its place.
	Name string `yaml:"name"`
	URL  string `yaml:"url" check:"url"`
	// Secret signs the body. Empty: unsigned.
	Secret Secret `yaml:"secret"`
	// Format is "json" or "slack".
	Format string `yaml:"format" enum:"json slack"`
}

func (w *Webhook) setDefaults() { w.Format = "json" }

// Moderation names what looks at content and when. It acts only while ccproxy.logging.enable_moderation is true.
type Moderation struct {
	Backends []ModerationBackend `yaml:"backends" named:"true"`
	Checks   []ModerationCheck   `yaml:"checks"`
}

// ModerationBackend judges content.
type ModerationBackend struct {
	Name string `yaml:"-"`
	// Type is "patterns" (local), "openai" (its moderations API), "webhook", or "model" (a model asked to judge).
	Type string `yaml:"type" enum:"patterns openai webhook model"`
	// Patterns are regular expressions of Go's syntax, for type patterns.
	Patterns []string `yaml:"patterns" raw:"true"`
	// Verdict is what a matching pattern means: flag, redact or block.
	Verdict string `yaml:"verdict" enum:"flag redact block"`
	// URL of type webhook, or instead of OpenAI's.
	URL string `yaml:"url" check:"url"`
	// APIKey of type openai, or sent as bearer token to a webhook.
	APIKey Secret `yaml:"api_key"`
	// Model is the label or target of type model.
	Model string `yaml:"model"`
	// Timeout bounds one call. Load fills in Timeouts.Moderation.
	Timeout time.Duration `yaml:"timeout" check:"positive"`
	// OnError is "deny" or "allow".
	OnError string `yaml:"on_error" enum:"deny allow"`
	// AllowHTTP permits a plain http URL off loopback.
	AllowHTTP bool `yaml:"allow_http"`
}

func (b *ModerationBackend) setDefaults() { b.Verdict, b.OnError = "block", "deny" }

// ModerationCheck applies a backend at stages of the life of an exchange.
type ModerationCheck struct {
	Backend string `yaml:"backend"`
	// Stages are input, output and stream.
	Stages []string `yaml:"stages" enum:"input output stream"`
	// Mode is blocking, parallel or audit.
	Mode string `yaml:"mode" enum:"blocking parallel audit"`
	// Labels the check applies to. Empty: all.
	Labels []string `yaml:"labels"`
}

func (m *ModerationCheck) setDefaults() { m.Mode = "blocking" }
