package config

import "strings"

// The provider types.
const (
	TypeAnthropic        = "anthropic"
	TypeOpenAI           = "openai"
	TypeOpenAICompatible = "openai_compatible"
	TypeGemini           = "gemini"
)

var providerTypes = map[string]bool{TypeAnthropic: true, TypeOpenAI: true, TypeOpenAICompatible: true, TypeGemini: true}

// Provider is a place that serves models.
type Provider struct {
	// Name is the key in the file and the part of a target before its first "/".
	Name string `yaml:"-"`
	// Type is one of the Type constants: the API it speaks. It may be left out for a provider named after a known vendor.
	Type string `yaml:"type" enum:"anthropic openai openai_compatible gemini"`
	// BaseURL is what the vendor's SDK takes: without a version for anthropic and gemini, with /v1 for openai.
	BaseURL string `yaml:"base_url" check:"url"`
	// APIKeys are rotated on 429 and quota errors. Empty: the client's own credential.
	APIKeys Secrets `yaml:"api_key"`
	// Headers are set on every send.
	Headers map[string]Secret `yaml:"headers"`
	// UserAgent replaces the client's. Empty: unchanged.
	UserAgent string `yaml:"user_agent"`
	// Propagate sends traceparent to this provider.
	Propagate bool `yaml:"propagate"`
	// Billing is "metered", "notional" or "free".
	Billing string `yaml:"billing" enum:"metered notional free"`
	// Default makes this the provider of models that no entry and no vendor's dialect places.
	Default bool `yaml:"default"`
	// InjectUsage is "auto" or "never": whether include_usage is added to OpenAI streams that did not ask.
	InjectUsage string `yaml:"inject_usage" enum:"auto never"`
	// OnDisconnect is "cancel" or "drain": what becomes of the upstream when the client has gone.
	OnDisconnect string `yaml:"on_disconnect" enum:"cancel drain"`
	// Passthrough lists the paths relayed unread. Empty: none.
	Passthrough []string `yaml:"passthrough"`
	// PassthroughPrice is what such a request costs. Nil: unknown.
	PassthroughPrice *PassthroughPrice `yaml:"passthrough_price"`
	// Timeouts override those of the whole gateway; Load fills in the rest.
	Timeouts ProviderTimeouts `yaml:"timeouts"`
	// AllowHTTP permits a plain http base_url off loopback.
	AllowHTTP bool `yaml:"allow_http"`
}

func (p *Provider) setDefaults() {
	p.Billing, p.InjectUsage, p.OnDisconnect = "metered", "auto", "cancel"
}

// PassthroughPrice is the price of one opaque request.
type PassthroughPrice struct {
	PerRequest USD `yaml:"per_request" zero:"true"`
}

// Model is a label or client-visible model and where it goes.
type Model struct {
	// Name is the label or model name.
	Name string `yaml:"-"`
	// Targets in order, references to other entries already expanded.
	Targets []Target `yaml:"targets"`
	// Fallbacks are tried after the targets.
	Fallbacks Fallbacks `yaml:"fallbacks"`
	// Strategy is "order" (first target first), "weight" (drawn by weight) or "latency" (the one that begins to answer
	// soonest). Default: weight if a target has one.
	Strategy string `yaml:"strategy" enum:"order weight latency"`

	imported bool // from LiteLLM's file
}

// Target is one model at one provider.
type Target struct {
	Provider string
	Model    string
	// Weight counts under strategy "weight"; 1 unless given, 0 draws never.
	Weight int

	ref   string // as written
	alias bool   // LiteLLM's: ref is an entry of models, and of its fallbacks nothing is taken
	path  string // its key path
}

// String returns "provider/model".
func (t Target) String() string { return t.Provider + "/" + t.Model }

// Fallbacks are further targets, for any reason or for one.
type Fallbacks struct {
	// Any serves every reason without a list of its own.
	Any []Target
	// ByReason holds lists for the reasons of telemetry's ccproxy.fallback.reason.
	ByReason map[string][]Target
}

// For returns the targets to try after a failure for reason.
func (f Fallbacks) For(reason string) []Target {
	if own, ok := f.ByReason[reason]; ok {
		return own
	}
	return f.Any
}

// Provider returns the provider called name.
func (c *Config) Provider(name string) (Provider, bool) {
	for _, p := range c.Providers {
		if p.Name == name {
			return p, true
		}
	}
	return Provider{}, false
}

// Model returns the entry called name.
func (c *Config) Model(name string) (Model, bool) {
	for _, m := range c.Models {
		if m.Name == name {
			return m, true
		}
	}
	return Model{}, false
}

// Unrouted returns the provider of a model that no entry names, asked for in a dialect whose vendor is providerType: the
// provider of that type (the one named like it, else the first), else the default one.
func (c *Config) Unrouted(providerType string) (Provider, bool) {
	var typed, fallback *Provider
	for i := range c.Providers {
		p := &c.Providers[i]
		if p.Type == providerType && (typed == nil || p.Name == providerType) {
			typed = p
		}
		if p.Default && fallback == nil {
			fallback = p
		}
	}
	if typed == nil {
		typed = fallback
	}
	if typed == nil {
		return Provider{}, false
	}
	return *typed, true
}

// vendor is what is known of a provider from its name alone.
type vendor struct {
	providerType string
	baseURL      string // "": must be given
}

// vendors are the names a provider may go by without saying its type; LiteLLM's model prefixes are the same words.
// Base URLs as the vendors document them for their own or OpenAI's SDK (read 2026-08).
var vendors = map[string]vendor{
	"anthropic":         {TypeAnthropic, "https://api.anthropic.com"},
	"openai":            {TypeOpenAI, "https://api.openai.com/v1"},
	"gemini":            {TypeGemini, "https://generativelanguage.googleapis.com"},
	"cerebras":          {TypeOpenAICompatible, "https://api.cerebras.ai/v1"},
	"cohere":            {TypeOpenAICompatible, "https://api.cohere.ai/compatibility/v1"},
	"custom_openai":     {TypeOpenAICompatible, ""},
	"deepinfra":         {TypeOpenAICompatible, "https://api.deepinfra.com/v1/openai"},
	"deepseek":          {TypeOpenAICompatible, "https://api.deepseek.com/v1"},
	"fireworks_ai":      {TypeOpenAICompatible, "https://api.fireworks.ai/inference/v1"},
	"groq":              {TypeOpenAICompatible, "https://api.groq.com/openai/v1"},
	"hosted_vllm":       {TypeOpenAICompatible, ""},
	"litellm_proxy":     {TypeOpenAICompatible, ""},
	"lm_studio":         {TypeOpenAICompatible, "http://127.0.0.1:1234/v1"},
	"mistral":           {TypeOpenAICompatible, "https://api.mistral.ai/v1"},
	"moonshot":          {TypeOpenAICompatible, "https://api.moonshot.ai/v1"},
	"nvidia_nim":        {TypeOpenAICompatible, "https://integrate.api.nvidia.com/v1"},
	"ollama":            {TypeOpenAICompatible, "http://127.0.0.1:11434/v1"},
	"openai_like":       {TypeOpenAICompatible, ""},
	"openrouter":        {TypeOpenAICompatible, "https://openrouter.ai/api/v1"},
	"perplexity":        {TypeOpenAICompatible, "https://api.perplexity.ai"},
	"sambanova":         {TypeOpenAICompatible, "https://api.sambanova.ai/v1"},
	"together_ai":       {TypeOpenAICompatible, "https://api.together.xyz/v1"},
	"xai":               {TypeOpenAICompatible, "https://api.x.ai/v1"},
	"ollama_chat":       {TypeOpenAICompatible, "http://127.0.0.1:11434/v1"},
	"vercel_ai_gateway": {TypeOpenAICompatible, "https://ai-gateway.vercel.sh/v1"},
}

// defaultBaseURL is the public address of the vendor a provider is named after, else of its type's own vendor.
func defaultBaseURL(name, providerType string) string {
	if v, ok := vendors[name]; ok && v.providerType == providerType {
		return v.baseURL
	}
	if v, ok := vendors[providerType]; ok {
		return v.baseURL
	}
	return ""
}

// splitTarget cuts "provider/model" at the first slash.
func splitTarget(s string) (provider, model string, ok bool) {
	provider, model, ok = strings.Cut(s, "/")
	return provider, model, ok && provider != "" && model != ""
}
