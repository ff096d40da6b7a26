// Package config reads ccproxy.yaml into plain data: strict about the gateway's own sections, forgiving about
// what the original ccproxy and LiteLLM wrote.
//
// Find says where the file is, Load reads it, and a Config is what it says: every default filled in, every
// reference resolved, every limit checked. Whoever wires the gateway turns the data into objects; nothing here
// imports the engine. A Config does not change after Load and may be read concurrently.
package config

import "time"

// Config is the whole effective configuration. Default returns the zero configuration; Load overlays a file on it.
type Config struct {
	// Version of the file's format. 1 is the only one.
	Version int `yaml:"version" keep:"true"`
	// Compat is "strict" or "lenient": whether a Python hook, rule or LiteLLM deployment that cannot run here is an
	// error, or a warning and dropped.
	Compat string `yaml:"compat" enum:"strict lenient"`

	Server  Server  `yaml:"server"`
	CCProxy CCProxy `yaml:"ccproxy" loose:"true"`
	LiteLLM LiteLLM `yaml:"litellm" loose:"true"`

	// Providers in the order of the file.
	Providers []Provider `yaml:"providers" named:"true"`
	// Models maps a label or client-visible model name to targets, in the order of the file.
	Models []Model `yaml:"models" named:"true"`
	// Prices override the price book, keyed "provider/model" or "model".
	Prices map[string]Price `yaml:"prices"`

	Keys       []Key      `yaml:"keys"`
	Teams      []Team     `yaml:"teams"`
	Budgets    Budgets    `yaml:"budgets"`
	Moderation Moderation `yaml:"moderation"`
	Telemetry  Telemetry  `yaml:"telemetry"`
	Storage    Storage    `yaml:"storage"`
	Limits     Limits     `yaml:"limits"`
	Timeouts   Timeouts   `yaml:"timeouts"`

	// Files are the paths that were read, the main one first: what a watcher watches. Empty for the zero configuration.
	Files []string `yaml:"-"`

	places map[string]Place    // :: key path → where it stands
	env    map[string][]string // :: key path → environment variables its value came from
}

// Server says where the gateway listens.
type Server struct {
	// Listen is the client port, host:port.
	Listen string `yaml:"listen"`
	// Admin is the port of console, metrics and commands, host:port, or "off".
	Admin string `yaml:"admin"`
	// Open lets callers without a key in although Listen is not a loopback address. Whether keys exist is known only
	// to the key store, so the refusal to start without Open belongs to whoever starts the listener.
	Open bool `yaml:"open"`
	// AdminHosts are Host header values the admin port accepts besides loopback names.
	AdminHosts []string `yaml:"admin_hosts"`
	// PublicName is the name clients know the gateway by: accepted as Host on the client port.
	PublicName string `yaml:"public_name"`
	TLS        TLS    `yaml:"tls"`
}

// TLS names PEM files for the client port. All empty: plain HTTP.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// ClientCA makes client certificates mandatory.
	ClientCA string `yaml:"client_ca"`
}

// CCProxy is the original's own section, understood as it stands.
type CCProxy struct {
	// Debug turns on debug logs and the routing panel.
	Debug bool `yaml:"debug"`
	// MetricsEnabled is true unless switched off; off means no metrics are exported.
	MetricsEnabled bool `yaml:"metrics_enabled"`
	// DefaultModelPassthrough keeps the model the client asked for on label "default".
	DefaultModelPassthrough bool `yaml:"default_model_passthrough"`
	// Handler names the original's Python class. It is kept so that old files load; nothing reads it.
	Handler string  `yaml:"handler"`
	Logging Logging `yaml:"logging"`
	// Hooks in order. An empty list that was written out means none, hence passthrough.
	Hooks []Hook `yaml:"hooks" keep:"true"`
	// Rules in order; the first that matches names the label. Two rules may give the same label.
	Rules []Rule `yaml:"rules"`
	// OATSources are commands that print a bearer token, by provider name.
	OATSources map[string]OATSource `yaml:"oat_sources"`
	// Credentials is the deprecated spelling of oat_sources.anthropic; Load moves it there and leaves this empty.
	Credentials string `yaml:"credentials" raw:"true"`
	// OAuthTTL is the lifetime of a token whose source gives none.
	OAuthTTL time.Duration `yaml:"oauth_ttl" check:"positive"`
	// OAuthRefreshBuffer is the fraction of the lifetime left when a token is refreshed.
	OAuthRefreshBuffer float64 `yaml:"oauth_refresh_buffer"`
}

// Logging switches the lifecycle's log events.
type Logging struct {
	PreAPICall      bool `yaml:"enable_pre_api_call"`
	PostAPICall     bool `yaml:"enable_post_api_call"`
	RoutingAnalysis bool `yaml:"enable_routing_analysis"`
	// CostTracking off hides cost in telemetry; the ledger runs all the same while a budget or key exists.
	CostTracking bool `yaml:"enable_cost_tracking"`
	Moderation   bool `yaml:"enable_moderation"`
}

// Hook is one entry of the hooks list.
type Hook struct {
	// Name is the short name: "rule_evaluator", not "ccproxy.hooks.rule_evaluator".
	Name string `yaml:"hook"`
	// Params is what the hook was given; see Params.Decode.
	Params Params `yaml:"params"`
	// OnError is "deny", "allow", or empty for the hook's own policy.
	OnError string `yaml:"on_error" enum:"deny allow"`
	// Timeout bounds one call. Load fills in Timeouts.Hook.
	Timeout time.Duration `yaml:"timeout" check:"positive"`
}

// Rule gives an exchange its label.
type Rule struct {
	// Name is the label.
	Name string `yaml:"name"`
	// Rule is the short name of a built-in rule, "ThinkingRule"; empty when When is set.
	Rule string `yaml:"rule"`
	// Params of the built-in rule.
	Params RuleParams `yaml:"params"`
	// When is a CEL expression; empty when Rule is set. It is not compiled here.
	When string `yaml:"when" raw:"true"`
	// Target is what a request under this label should keep within to count as well routed.
	Target RuleTarget `yaml:"target"`
	// Count is what TokenCountRule counts: "all", or "messages" as the original does.
	Count string `yaml:"count" enum:"messages all"`
	// Path is the rule's key in the file, for Config.Place: dropped rules count in it.
	Path string `yaml:"-"`
}

// RuleParams are the parameters of the built-in rules, whichever of the original's four shapes they were written in.
type RuleParams struct {
	// ModelName is MatchModelRule's substring.
	ModelName string `yaml:"model_name"`
	// Threshold is TokenCountRule's: matched when the count is greater.
	Threshold int64 `yaml:"threshold"`
	// ToolName is MatchToolRule's substring, whatever its case.
	ToolName string `yaml:"tool_name"`

	names []string // of the parameters the rule has
}

// RuleTarget bounds latency and cost. Zero: no bound.
type RuleTarget struct {
	Latency time.Duration `yaml:"latency" check:"positive"`
	Cost    USD           `yaml:"cost"`
}

// OATSource is a command that prints a bearer token, or a built-in source of one.
type OATSource struct {
	// Command is given to the shell as written: its own ${…} are the shell's.
	Command string `yaml:"command" raw:"true"`
	// Source is a built-in source instead of a command: claude is the token Claude Code keeps in the macOS Keychain or
	// in ~/.claude/.credentials.json.
	Source string `yaml:"source" enum:"claude"`
	// UserAgent replaces the client's when this token is used. Empty: unchanged.
	UserAgent string `yaml:"user_agent"`
	// TTL is how long a token is taken to live. Load fills in CCProxy.OAuthTTL.
	TTL time.Duration `yaml:"ttl" check:"positive"`
	// Refresh is how long before its end a token is fetched anew. Load fills in OAuthRefreshBuffer × TTL.
	Refresh time.Duration `yaml:"refresh" check:"positive"`
}

// LiteLLM is the section that told the original where LiteLLM listens. Load copies it into Server.Listen when the
// file has no server.listen.
type LiteLLM struct {
	Host string `yaml:"host"`
	Port int    `yaml:"port"`
}

// Storage is where the gateway keeps its files.
type Storage struct {
	// Path is a directory; Load makes it absolute: "~" is the home directory, other relative paths start at the
	// configuration file's directory.
	Path string `yaml:"path"`
	// DSN is reserved for a shared database.
	DSN Secret `yaml:"dsn"`
	// Synchronous is "normal" (survives a killed process) or "full" (survives power loss).
	Synchronous string `yaml:"synchronous" enum:"normal full"`
}
