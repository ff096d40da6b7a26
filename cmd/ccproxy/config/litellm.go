package config

import (
	"cmp"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// LiteLLM's own file, https://docs.litellm.ai/docs/proxy/config_settings (read 2026-08): what of it has a meaning here
// becomes providers, models and prices, the rest a warning.

// litellmSections are the keys at the top of LiteLLM's file.
var litellmSections = []string{
	"model_list", "litellm_settings", "general_settings", "router_settings", "environment_variables",
	"callback_settings", "guardrails", "mcp_servers", "credential_list", "include", "files_settings",
	"finetune_settings", "search_tools", "vector_store_registry", "prompts",
}

// split separates our sections from LiteLLM's. A file with none of ours is LiteLLM's as a whole.
func split(root *node) (own, litellm *node) {
	keys, _ := fields(reflect.TypeFor[Config]())
	own, litellm = &node{kind: kindMapping, place: root.place}, &node{kind: kindMapping, place: root.place}
	mine := slices.ContainsFunc(root.pairs, func(p pair) bool { return slices.Contains(keys, p.key) })
	theirs := slices.ContainsFunc(root.pairs, func(p pair) bool { return slices.Contains(litellmSections, p.key) })
	for _, p := range root.pairs {
		if slices.Contains(litellmSections, p.key) || theirs && !mine {
			litellm.pairs = append(litellm.pairs, p)
			continue
		}
		own.pairs = append(own.pairs, p)
	}
	return own, litellm
}

// litellmListen takes the address from the original's litellm section.
func (d *decoder) litellmListen(c *Config) {
	host, port := c.LiteLLM.Host, c.LiteLLM.Port
	if host == "" && port == 0 && !d.said("litellm.port") {
		return
	}
	if !d.said("litellm.port") {
		port = 4000
	}
	c.Server.Listen = net.JoinHostPort(cmp.Or(host, "127.0.0.1"), strconv.Itoa(port))
	for _, path := range []string{"litellm.host", "litellm.port"} {
		if d.said(path) {
			d.places["server.listen"] = d.places[path]
		}
	}
}

type litellmEntry struct {
	ModelName string        `yaml:"model_name" raw:"true"`
	Params    litellmParams `yaml:"litellm_params"`
	Info      litellmInfo   `yaml:"model_info"`
}

type litellmParams struct {
	Model          string            `yaml:"model" raw:"true"`
	APIBase        string            `yaml:"api_base" raw:"true"`
	BaseURL        string            `yaml:"base_url" raw:"true"`
	APIKey         string            `yaml:"api_key" raw:"true"`
	CustomProvider string            `yaml:"custom_llm_provider" raw:"true"`
	ExtraHeaders   map[string]string `yaml:"extra_headers" raw:"true"`
	Weight         *int              `yaml:"weight"`
	Order          int               `yaml:"order" check:"positive"`
	RPM            int               `yaml:"rpm"`
	TPM            int               `yaml:"tpm"`
	Input          string            `yaml:"input_cost_per_token"`
	Output         string            `yaml:"output_cost_per_token"`
}

// litellmInfo may name the costs as well.
type litellmInfo struct {
	Input      string `yaml:"input_cost_per_token"`
	Output     string `yaml:"output_cost_per_token"`
	CacheRead  string `yaml:"cache_read_input_token_cost"`
	CacheWrite string `yaml:"cache_creation_input_token_cost"`
}

// importer carries one LiteLLM file into c.
type importer struct {
	*decoder
	c        *Config
	own      map[string]bool    // models the gateway's own file has: it wins
	names    []string           // every model_name, in order
	models   map[string]*Model  // :: model_name → entry under construction
	orders   map[string][]int   // :: model_name → order of each target
	accounts map[account]string // → provider name
	settings map[string]string  // LiteLLM's environment_variables
	defaults []Target           // default_fallbacks
}

// account is what makes two deployments belong to one provider.
type account struct{ prefix, base, key, headers string }

// litellm adds what n, LiteLLM's file or its keys in ours, says. Our own sections win.
func (d *decoder) litellm(c *Config, n *node) {
	if len(n.pairs) == 0 {
		return
	}
	d.loose = true
	defer func() { d.loose = false }()
	m := &importer{
		decoder: d, c: c, own: map[string]bool{}, models: map[string]*Model{}, orders: map[string][]int{},
		accounts: map[account]string{}, settings: map[string]string{},
	}
	for _, name := range c.modelNames() {
		m.own[name] = true
	}
	for _, p := range n.get("environment_variables").mappingPairs() {
		m.settings[p.key] = p.value.text
	}
	m.modelList(n.get("model_list"))
	for _, p := range n.pairs {
		switch p.key {
		case "model_list", "environment_variables":
		case "litellm_settings", "router_settings", "general_settings":
			m.section(p)
		case "include":
			d.cannotRun(p.place, p.key, "other files are not read from here; write their entries into this one")
		default:
			d.warn(p.place, p.key, "has no meaning here and is ignored")
		}
	}
	for _, name := range m.names {
		if model := m.models[name]; model != nil {
			if len(model.Fallbacks.Any) == 0 {
				model.fallBack("", slices.Clone(m.defaults))
			}
			m.arrange(model)
			c.Models = append(c.Models, *model)
		}
	}
}

func (n *node) mappingPairs() []pair {
	if n == nil {
		return nil
	}
	return n.pairs
}

func (m *importer) modelList(list *node) {
	if list == nil || list.kind == kindNull {
		return
	}
	if list.kind != kindList {
		m.fail(list.place, "model_list", "want a list, got %s", list.got())
		return
	}
	entries := make([]litellmEntry, len(list.items))
	for i, item := range list.items {
		path := index("model_list", i)
		m.value(item, path, reflect.ValueOf(&entries[i]).Elem(), "")
		e := &entries[i]
		if e.ModelName == "" || e.Params.Model == "" {
			m.fail(item.place, path, "want model_name and litellm_params.model")
			continue
		}
		if !slices.Contains(m.names, e.ModelName) {
			m.names = append(m.names, e.ModelName)
		}
	}
	for i := range entries {
		if e := &entries[i]; e.ModelName != "" && e.Params.Model != "" {
			m.entry(index("model_list", i), e)
		}
	}
}

// entry adds one deployment to the targets of its model_name.
func (m *importer) entry(path string, e *litellmEntry) {
	p := m.at(path)
	if m.own[e.ModelName] {
		m.warn(p, path, "ignored; %s has an entry %q in models", fileName, e.ModelName)
		return
	}
	t := Target{Weight: e.weight(), path: path + ".litellm_params.model"}
	alias := e.Params.Model != e.ModelName && slices.Contains(m.names, e.Params.Model)
	if alias {
		t.ref, t.alias = e.Params.Model, true
	} else {
		var ok bool
		if t.Provider, t.Model, ok = m.deployment(path, e); !ok {
			return
		}
		m.price(path, e, t.String())
	}
	if strings.Contains(e.ModelName, "*") {
		m.wildcard(path, e.ModelName, t.Provider)
		return
	}
	model := m.models[e.ModelName]
	if model == nil {
		model = &Model{Name: e.ModelName, imported: true}
		m.models[e.ModelName] = model
		m.places[join("models", e.ModelName)] = p
	}
	model.Targets = append(model.Targets, t)
	m.orders[e.ModelName] = append(m.orders[e.ModelName], cmp.Or(e.Params.Order, 1<<30))
	if e.Params.RPM > 0 || e.Params.TPM > 0 {
		m.warn(p, path, "rpm and tpm share the load out but are not enforced; limit callers in keys and teams")
	}
}

// weight is the share of a deployment as LiteLLM's simple-shuffle takes it: weight, else rpm, else tpm.
func (e *litellmEntry) weight() int {
	if e.Params.Weight != nil {
		return max(0, *e.Params.Weight)
	}
	return cmp.Or(max(0, e.Params.RPM), max(0, e.Params.TPM), 1)
}

// arrange makes the deployments of the lowest order the targets and the others the first fallbacks.
func (m *importer) arrange(model *Model) {
	orders := m.orders[model.Name]
	first := slices.Min(orders)
	var targets, later []Target
	for _, order := range slices.Compact(slices.Sorted(slices.Values(orders))) {
		for i, t := range model.Targets {
			switch {
			case orders[i] != order:
			case order == first:
				targets = appendTarget(targets, t)
			default:
				later = append(later, t)
			}
		}
	}
	model.Targets, model.Fallbacks.Any = targets, append(later, model.Fallbacks.Any...)
	model.Strategy = "order"
	if len(targets) > 1 {
		model.Strategy = "weight"
	} else {
		model.Targets[0].Weight = 1
	}
}

// appendTarget adds t, or its weight when it is there already.
func appendTarget(list []Target, t Target) []Target {
	for i := range list {
		if list[i].Provider == t.Provider && list[i].Model == t.Model && list[i].ref == t.ref {
			list[i].Weight += t.Weight
			return list
		}
	}
	return append(list, t)
}

func (m *importer) wildcard(path, name, provider string) {
	m.warn(m.at(path), path, "a wildcard: provider %q is there, and takes models without an entry as providers do", provider)
	if name != "*" || slices.ContainsFunc(m.c.Providers, func(p Provider) bool { return p.Default }) {
		return
	}
	for i := range m.c.Providers {
		if m.c.Providers[i].Name == provider {
			m.c.Providers[i].Default = true
		}
	}
}

// price takes over the costs that stand with a deployment, USD per token there.
func (m *importer) price(path string, e *litellmEntry, target string) {
	if _, own := m.c.Prices[target]; own {
		return
	}
	price, given := Price{Inherit: true}, false
	for _, cost := range []struct {
		text string
		to   **PerMillion
	}{
		{cmp.Or(e.Params.Input, e.Info.Input), &price.Input}, {cmp.Or(e.Params.Output, e.Info.Output), &price.Output},
		{e.Info.CacheRead, &price.CacheRead}, {e.Info.CacheWrite, &price.CacheWrite},
	} {
		if cost.text == "" {
			continue
		}
		pico, err := parseAmount(cost.text, 12)
		if err != nil {
			m.fail(m.at(path), path, "cost per token: %v", err)
			continue
		}
		perMillion := PerMillion(pico)
		*cost.to, given = &perMillion, true
	}
	if !given {
		return
	}
	if m.c.Prices == nil {
		m.c.Prices = map[string]Price{}
	}
	m.c.Prices[target] = price
	m.places[join("prices", target)] = m.at(path)
}
