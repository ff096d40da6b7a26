package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// bareModels are the model names LiteLLM knows without a prefix.
var bareModels = []struct {
	pattern *regexp.Regexp
	prefix  string
}{
	{regexp.MustCompile(`^claude-`), "anthropic"},
	{regexp.MustCompile(`^(gpt-|chatgpt-|o[0-9]|text-embedding-|omni-moderation-)`), "openai"},
}

// litellmAliases are prefixes that mean another one's API.
var litellmAliases = map[string]string{"text-completion-openai": "openai", "ollama_chat": "ollama"}

// deployment returns provider and model of an entry that is no alias, declaring the provider when there is none like it.
func (m *importer) deployment(path string, e *litellmEntry) (provider, model string, ok bool) {
	at := m.at(path + ".litellm_params.model")
	prefix, model := e.prefix()
	if prefix == "" {
		m.cannotRun(at, path, "no provider is known for model %q; write provider/model", e.Params.Model)
		return "", "", false
	}
	if a, ok := litellmAliases[prefix]; ok {
		prefix = a
	}
	v, known := vendors[prefix]
	if prefix == "azure" {
		v, known = vendor{TypeOpenAICompatible, ""}, true
	}
	if !known {
		m.cannotRun(at, path, "provider %q of LiteLLM's is not supported%s", prefix, suggestion(prefix, []string{"anthropic", "openai", "gemini", "azure"}))
		return "", "", false
	}
	base, ok := m.base(path, e, prefix, v)
	if !ok {
		return "", "", false
	}
	key, variable, ok := m.key(path, e, prefix, base == v.baseURL)
	if !ok {
		return "", "", false
	}
	acc := account{prefix, base, key.Reveal(), fmt.Sprint(e.Params.ExtraHeaders)}
	if name, ok := m.accounts[acc]; ok {
		return name, model, true
	}
	name, declared := m.providerName(prefix, v, base)
	m.accounts[acc] = name
	if declared && m.said(path+".litellm_params.api_key") {
		m.warn(m.at(path+".litellm_params.api_key"), path, "ignored; provider %q of %s has the say about its keys", name, fileName)
	}
	if !declared {
		m.declare(path, e, Provider{Name: name, Type: v.typeAt(prefix, base), BaseURL: base}, key, variable)
	}
	return name, model, true
}

// typeAt is the vendor's type; at an address of its own, openai/ means any server that speaks its API.
func (v vendor) typeAt(prefix, base string) string {
	if prefix == "openai" && base != v.baseURL {
		return TypeOpenAICompatible
	}
	return v.providerType
}

func (e *litellmEntry) prefix() (prefix, model string) {
	if p := e.Params.CustomProvider; p != "" {
		return p, strings.TrimPrefix(e.Params.Model, p+"/")
	}
	if prefix, model, ok := splitTarget(e.Params.Model); ok {
		return prefix, model
	}
	for _, b := range bareModels {
		if b.pattern.MatchString(e.Params.Model) {
			return b.prefix, e.Params.Model
		}
	}
	return "", e.Params.Model
}

var versionSuffix = regexp.MustCompile(`/v[0-9]+(alpha|beta)?[0-9]*(/messages)?$`)

// base returns the base URL as a provider here takes it.
func (m *importer) base(path string, e *litellmEntry, prefix string, v vendor) (string, bool) {
	text, key := e.Params.APIBase, path+".litellm_params.api_base"
	if text == "" {
		text, key = e.Params.BaseURL, path+".litellm_params.base_url"
	}
	if text == "" && v.baseURL == "" {
		m.cannotRun(m.at(path), path, "no api_base; say where %s is served", prefix)
		return "", false
	}
	if text == "" {
		return v.baseURL, true
	}
	base, _, ok := m.environment(text, key)
	if !ok {
		return "", false
	}
	if err := checkURL(base); err != nil {
		m.fail(m.at(key), key, "%v", err)
		return "", false
	}
	base = strings.TrimRight(base, "/")
	if versionless(v.providerType) {
		base = versionSuffix.ReplaceAllString(base, "")
	}
	if prefix == "azure" && !strings.Contains(base, "/openai") {
		base += "/openai/v1" // Azure's versionless API, which speaks OpenAI's
	}
	return base, true
}

// environment resolves LiteLLM's os.environ/NAME; other text is as it stands.
func (m *importer) environment(text, key string) (value, variable string, ok bool) {
	name, fromEnv := strings.CutPrefix(text, "os.environ/")
	if !fromEnv {
		return text, "", true
	}
	if value, ok := m.lookup(name); ok && strings.TrimSpace(value) != "" {
		return value, name, true
	}
	if value := m.settings[name]; strings.TrimSpace(value) != "" && !strings.HasPrefix(value, "os.environ/") {
		return value, name, true
	}
	m.cannotRun(m.at(key), key, "environment variable %s is not set; export it", name)
	return "", "", false
}

// key returns the deployment's API key. Without one LiteLLM takes PREFIX_API_KEY, so the same is done here unless a token
// source stands for the provider, or the address is not the vendor's: a key goes nowhere it was not meant for.
func (m *importer) key(path string, e *litellmEntry, prefix string, atVendor bool) (key Secret, variable string, ok bool) {
	at := path + ".litellm_params.api_key"
	if m.said(at) {
		value, variable, ok := m.environment(e.Params.APIKey, at)
		if !ok {
			return "", "", false
		}
		n := &node{kind: kindText, place: m.at(at), fromEnv: variable != ""}
		key := m.secret(n, at, value)
		return key, variable, key != ""
	}
	if _, source := m.c.CCProxy.OATSources[prefix]; source || !atVendor {
		return "", "", true
	}
	name := strings.ToUpper(prefix) + "_API_KEY"
	if prefix == "together_ai" {
		name = "TOGETHERAI_API_KEY"
	}
	if value, set := m.lookup(name); set && strings.TrimSpace(value) == value && value != "" {
		return Secret(value), name, true
	}
	return "", "", true
}

var unsafeName = regexp.MustCompile(`[^0-9A-Za-z._-]+`)

// providerName finds the provider of the gateway's own file at this address, or makes up a name.
func (m *importer) providerName(prefix string, v vendor, base string) (name string, declared bool) {
	taken := map[string]bool{}
	ours := len(m.c.Providers)
	for _, imported := range m.accounts {
		taken[imported] = true
	}
	for _, p := range m.c.Providers[:ours] {
		providerType := p.Type
		if providerType == "" {
			providerType = vendors[p.Name].providerType
		}
		at := strings.TrimRight(p.BaseURL, "/")
		if at == "" {
			at = defaultBaseURL(p.Name, providerType)
		}
		if !taken[p.Name] && at == base && providerType == v.typeAt(prefix, base) {
			return p.Name, true
		}
		taken[p.Name] = true
	}
	name = prefix
	if base != v.baseURL {
		if u, err := url.Parse(base); err == nil {
			name += "-" + unsafeName.ReplaceAllString(u.Host, "-")
		}
	}
	unique := name
	for i := 2; taken[unique]; i++ {
		unique = fmt.Sprintf("%s-%d", name, i)
	}
	return unique, false
}

func (m *importer) declare(path string, e *litellmEntry, p Provider, key Secret, variable string) {
	full := join("providers", p.Name)
	p.setDefaults()
	m.places[full] = m.at(path)
	m.places[join(full, "base_url")] = m.at(path + ".litellm_params.api_base")
	if key != "" {
		p.APIKeys = Secrets{key}
		m.places[join(full, "api_key")] = m.at(path + ".litellm_params.api_key")
	}
	if variable != "" && !m.said(path+".litellm_params.api_key") {
		m.warn(m.at(path), path, "no api_key; %s is used, as LiteLLM does", variable)
	}
	if variable != "" {
		m.env[join(full, "api_key")] = []string{variable}
	}
	if plainHTTP(p.BaseURL) {
		p.AllowHTTP = true // reported here, where the remedy is another one
		const what = "plain http leaves this machine unencrypted"
		if at := m.at(path + ".litellm_params.api_base"); m.lenient {
			m.warn(at, full, what)
		} else {
			m.fail(at, full, what+"; use https, or add to %s providers: %s: {type: %s, base_url: %q, allow_http: true}", fileName, p.Name, p.Type, p.BaseURL)
		}
	}
	for name, value := range e.Params.ExtraHeaders {
		if p.Headers == nil {
			p.Headers = map[string]Secret{}
		}
		p.Headers[name] = Secret(value)
	}
	m.c.Providers = append(m.c.Providers, p)
}
