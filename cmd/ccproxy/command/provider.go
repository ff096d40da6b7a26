package command

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway"
)

func (w *wiring) providers(cfg *config.Config) ([]*gateway.Provider, error) {
	var out []*gateway.Provider
	var errs []error
	for _, c := range cfg.Providers {
		p, err := w.provider(cfg, c)
		if err != nil {
			errs = append(errs, fmt.Errorf("provider %s: %w", c.Name, err))
			continue
		}
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

func (w *wiring) provider(cfg *config.Config, c config.Provider) (*gateway.Provider, error) {
	base, err := url.Parse(c.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("base_url: %w", err)
	}
	source, err := w.tokenSource(cfg, c.Name)
	if err != nil {
		return nil, err
	}
	p := &gateway.Provider{
		Name: c.Name, Type: c.Type, Family: family(c.Type), GenAI: genAIName(c, base.Hostname()), BaseURL: base, Tokens: source,
		Passthrough: c.Passthrough, Propagate: c.Propagate, KeepUsage: c.InjectUsage == "never", Drain: c.OnDisconnect == "drain",
		HeaderTimeout: c.Timeouts.UpstreamHeaders, StreamHeaderTimeout: c.Timeouts.UpstreamStream, IdleTimeout: c.Timeouts.Idle,
		Transport: w.transport(c.Timeouts), Header: http.Header{}, Billing: c.Billing,
	}
	if c.PassthroughPrice != nil {
		p.PassthroughPrice = gateway.Some(gateway.NanoUSD(c.PassthroughPrice.PerRequest))
	}
	for _, key := range c.APIKeys {
		p.Keys = append(p.Keys, gateway.Secret(key.Reveal()))
	}
	for name, value := range c.Headers {
		p.Header.Set(name, value.Reveal())
	}
	if c.UserAgent != "" {
		p.Header.Set("User-Agent", c.UserAgent)
	}
	p.Anonymous = anonymous(c, base.Hostname(), p.Header)
	return p, nil
}

// family is the vendor whose dialects a provider type speaks.
func family(providerType string) string {
	if providerType == config.TypeOpenAICompatible {
		return config.TypeOpenAI
	}
	return providerType
}

// anonymous reports whether a provider may be asked without a credential: it is on this machine, nobody is billed, its
// headers carry one, or it is somebody's own server. A known vendor never takes a request without.
func anonymous(c config.Provider, host string, h http.Header) bool {
	if c.Billing == "free" || h.Get("Authorization") != "" || h.Get("X-Api-Key") != "" || h.Get("Api-Key") != "" || h.Get("X-Goog-Api-Key") != "" {
		return true
	}
	if host == "localhost" {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	return c.Type == config.TypeOpenAICompatible && vendorOfHost(host) == ""
}

// genAIName is gen_ai.provider.name: the conventions' word for the vendor that serves, by its address, by the name of a
// provider that speaks somebody else's format, or by its own format. Others go by their configured name.
func genAIName(c config.Provider, host string) string {
	if v := vendorOfHost(host); v != "" {
		return v
	}
	if c.Type == config.TypeOpenAICompatible {
		if v, ok := genAINames[c.Name]; ok {
			return v
		}
		return c.Name
	}
	return genAINames[c.Type]
}

// genAINames are the well-known values of gen_ai.provider.name by the names providers go by here
// (semantic-conventions-genai v0.1.0).
var genAINames = map[string]string{
	"anthropic": "anthropic", "openai": "openai", "gemini": "gcp.gemini", "cohere": "cohere", "deepseek": "deepseek", "groq": "groq",
	"mistral": "mistral_ai", "moonshot": "moonshot_ai", "perplexity": "perplexity", "xai": "x_ai",
}

// vendorHosts are the ends of vendors' host names and their gen_ai.provider.name.
var vendorHosts = []struct{ suffix, name string }{
	{"api.anthropic.com", "anthropic"},
	{"api.openai.com", "openai"},
	{"generativelanguage.googleapis.com", "gcp.gemini"},
	{"aiplatform.googleapis.com", "gcp.vertex_ai"},
	{"openai.azure.com", "azure.ai.openai"},
	{"services.ai.azure.com", "azure.ai.inference"},
	{"api.cohere.ai", "cohere"}, {"api.cohere.com", "cohere"},
	{"api.deepseek.com", "deepseek"},
	{"api.groq.com", "groq"},
	{"api.mistral.ai", "mistral_ai"},
	{"api.moonshot.ai", "moonshot_ai"}, {"api.moonshot.cn", "moonshot_ai"},
	{"api.perplexity.ai", "perplexity"},
	{"api.x.ai", "x_ai"},
	{"api.cerebras.ai", "cerebras"},
	{"api.deepinfra.com", "deepinfra"},
	{"api.fireworks.ai", "fireworks_ai"},
	{"integrate.api.nvidia.com", "nvidia_nim"},
	{"openrouter.ai", "openrouter"},
	{"api.sambanova.ai", "sambanova"},
	{"api.together.xyz", "together_ai"},
	{"ai-gateway.vercel.sh", "vercel_ai_gateway"},
}

// vendorOfHost returns the vendor that serves under host, or "".
func vendorOfHost(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, v := range vendorHosts {
		if rest, ok := strings.CutSuffix(host, v.suffix); ok && (rest == "" || rest[len(rest)-1] == '.' || rest[len(rest)-1] == '-') {
			return v.name
		}
	}
	return ""
}
