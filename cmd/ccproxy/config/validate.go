package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func (d *decoder) validate(c *Config) {
	d.server(c)
	d.providerRules(c)
	d.labels(c)
	d.prices(c)
	d.callers(c)
	d.budgets(c)
	d.moderation(c)
	d.telemetry(c)
	d.fractions(c)
}

// failAt reports a problem with the value at path.
func (d *decoder) failAt(path, format string, args ...any) { d.fail(d.at(path), path, format, args...) }

func (d *decoder) server(c *Config) {
	d.address("server.listen", c.Server.Listen)
	if c.Server.Admin != "off" {
		d.address("server.admin", c.Server.Admin)
		if c.Server.Admin == c.Server.Listen && !strings.HasSuffix(c.Server.Listen, ":0") {
			d.failAt("server.admin", "the same address as server.listen; give it another port, or off")
		}
	}
	if t := c.Server.TLS; (t.Cert == "") != (t.Key == "") {
		d.failAt("server.tls", "want both cert and key")
	} else if t.Cert == "" && t.ClientCA != "" {
		d.failAt("server.tls", "client_ca wants cert and key as well")
	}
}

func (d *decoder) address(path, address string) {
	_, port, err := net.SplitHostPort(address)
	if n, e := strconv.Atoi(port); err != nil || e != nil || n < 0 || n > 65535 {
		d.failAt(path, "want host:port such as 127.0.0.1:4000, got %q", address)
	}
}

// Loopback reports whether address (host:port, or a host) can be reached from this machine only.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// checkURL wants an absolute http or https URL without credentials, query or fragment.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("want a URL such as https://host/path") // not the text: it may hold a secret
	case u.User != nil:
		return errors.New("a user or password in the URL; use api_key or headers")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("a query or fragment in the URL; remove it")
	}
	return nil
}

// plainHTTP reports whether text is an http URL that leaves this machine.
func plainHTTP(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "http" && !Loopback(u.Host)
}

func (d *decoder) providerRules(c *Config) {
	defaults := 0
	for _, p := range c.Providers {
		path := join("providers", p.Name)
		base := join(path, "base_url")
		if plainHTTP(p.BaseURL) && !p.AllowHTTP {
			d.failAt(base, "plain http leaves this machine unencrypted; use https, or set allow_http: true")
		}
		if last := p.BaseURL[strings.LastIndexByte(p.BaseURL, '/')+1:]; versionless(p.Type) && version.MatchString(last) {
			d.failAt(base, "ends in /%s, which the gateway adds itself; remove it", last)
		}
		for i, route := range p.Passthrough {
			if !strings.HasPrefix(route, "/") {
				d.failAt(index(join(path, "passthrough"), i), "want a path that begins with /, got %q", route)
			}
		}
		for name := range p.Headers {
			d.header(join(path, "headers"), name)
		}
		if p.Default {
			defaults++
		}
		if p.Default && defaults > 1 {
			d.failAt(join(path, "default"), "two providers have default: true; keep one")
		}
	}
	if len(c.Providers) == 1 && defaults == 0 {
		c.Providers[0].Default = true
	}
	served := func(t string) bool { _, ok := c.Unrouted(t); return ok }
	if !served(TypeAnthropic) && !served(TypeOpenAI) && !served(TypeGemini) {
		d.failAt("providers", "no provider takes a model that no entry of models names; set default: true on one")
	}
}

// version is a last path element that is an API version.
var version = regexp.MustCompile(`^v[0-9]+(alpha|beta)?[0-9]*$`)

func versionless(providerType string) bool {
	return providerType == TypeAnthropic || providerType == TypeGemini
}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func (d *decoder) header(path, name string) {
	if !headerName.MatchString(name) {
		d.failAt(join(path, name), "%q is not a header name", name)
	}
	switch strings.ToLower(name) {
	case "host", "content-length", "transfer-encoding", "connection", "accept-encoding":
		d.failAt(join(path, name), "the gateway sets %s itself; remove it", name)
	}
}

// labels warns of labels that lead nowhere.
func (d *decoder) labels(c *Config) {
	rules := c.CCProxy.Rules
	for i, r := range rules {
		if _, ok := c.Model(r.Name); !ok && r.Name != "default" && r.Name != "" {
			path := index("ccproxy.rules", i)
			d.warn(d.at(path), path, "label %q has no entry in models; such requests go where default goes", r.Name)
		}
	}
	for name := range c.CCProxy.OATSources {
		if _, ok := c.Provider(name); !ok {
			path := join("ccproxy.oat_sources", name)
			d.warn(d.at(path), path, "there is no provider %q; the token is never used", name)
		}
	}
}

// unique wants every element of a list to have a name of its own, and returns the names.
func (d *decoder) unique(path string, n int, name func(int) string) []string {
	var names []string
	for i := range n {
		switch own := name(i); {
		case strings.TrimSpace(own) == "":
			d.missing(index(path, i), "name", "")
		case slices.Contains(names, own):
			d.failAt(index(path, i), "a second %q; names are used once", own)
		default:
			names = append(names, own)
		}
	}
	return names
}

func (c *Config) modelNames() []string {
	names := make([]string, len(c.Models))
	for i, m := range c.Models {
		names[i] = m.Name
	}
	return names
}

func (d *decoder) moderation(c *Config) {
	var backends []string
	for _, b := range c.Moderation.Backends {
		backends = append(backends, b.Name)
		path := join("moderation.backends", b.Name)
		if plainHTTP(b.URL) && !b.AllowHTTP {
			d.failAt(join(path, "url"), "plain http leaves this machine unencrypted; use https, or set allow_http: true")
		}
		switch {
		case b.Type == "":
			d.missing(path, "type", "")
		case b.Type == "patterns" && len(b.Patterns) == 0:
			d.missing(path, "patterns", "")
		case b.Type == "webhook" && b.URL == "":
			d.missing(path, "url", "")
		case b.Type == "model" && b.Model == "":
			d.missing(path, "model", "")
		}
		for i, p := range b.Patterns {
			if _, err := regexp.Compile(p); err != nil {
				d.failAt(index(join(path, "patterns"), i), "%v", err)
			}
		}
		d.moderator(c, join(path, "model"), b.Model)
	}
	for i, check := range c.Moderation.Checks {
		path := index("moderation.checks", i)
		if !slices.Contains(backends, check.Backend) {
			d.failAt(path, "unknown backend %q%s", check.Backend, suggestion(check.Backend, backends))
		}
		if len(check.Stages) == 0 {
			d.missing(path, "stages", "; want input, output, stream")
		}
	}
}

func (d *decoder) moderator(c *Config, path, model string) {
	if model == "" {
		return
	}
	provider, _, ok := splitTarget(model)
	_, known := c.Provider(provider)
	if _, entry := c.Model(model); !entry && !(ok && known) {
		d.failAt(path, "%q is neither provider/model nor an entry of models%s", model, suggestion(model, c.modelNames()))
	}
}

func (d *decoder) telemetry(c *Config) {
	t := c.Telemetry
	d.unique("telemetry.exporters", len(t.Exporters), func(i int) string { return t.Exporters[i].Name })
	for i, e := range t.Exporters {
		path := index("telemetry.exporters", i)
		if strings.Contains(e.Endpoint, "://") {
			if err := checkURL(e.Endpoint); err != nil {
				d.failAt(join(path, "endpoint"), "%v", err)
			}
		} else if e.Endpoint != "" {
			d.address(join(path, "endpoint"), e.Endpoint)
		}
		for name := range e.Headers {
			if !headerName.MatchString(name) {
				d.failAt(join(join(path, "headers"), name), "%q is not a header name", name)
			}
		}
		if len(e.Headers) > 0 && plainHTTP(e.Endpoint) {
			d.warn(d.at(path), path, "headers go over plain http; use https")
		}
		if len(e.Signals) == 0 {
			d.failAt(join(path, "signals"), "no signals; want traces, metrics, logs, or remove the exporter")
		}
	}
}

func (d *decoder) fractions(c *Config) {
	for path, f := range map[string]float64{
		"limits.retry_budget": c.Limits.RetryBudget, "telemetry.sampling.ratio": c.Telemetry.Sampling.Ratio,
		"budgets.hold_percentile": c.Budgets.HoldPercentile, "ccproxy.oauth_refresh_buffer": c.CCProxy.OAuthRefreshBuffer,
	} {
		if f < 0 || f > 1 {
			d.failAt(path, "want a fraction from 0 to 1, got %v", f)
		}
	}
}
