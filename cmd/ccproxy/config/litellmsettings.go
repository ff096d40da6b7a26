package config

import "slices"

// litellmSettings says what happens instead of a setting.
var litellmSettings = map[string]string{
	"num_retries":                    "ignored; use limits.attempts",
	"request_timeout":                "ignored; use timeouts.request",
	"timeout":                        "ignored; use timeouts.request",
	"stream_timeout":                 "ignored; use timeouts.upstream_stream",
	"master_key":                     "ignored; callers are let in by keys",
	"database_url":                   "ignored; use storage",
	"success_callback":               "ignored; use telemetry.exporters",
	"failure_callback":               "ignored; use telemetry.exporters",
	"turn_off_message_logging":       "ignored; content is not recorded unless telemetry.content says so",
	"max_internal_user_budget":       "ignored; use budgets of scope team or key",
	"internal_user_budget_duration":  "ignored; use budgets of scope team or key",
	"default_internal_user_params":   "ignored; use budgets of scope team or key",
	"default_team_settings":          "ignored; use teams, and budgets of scope team",
	"default_key_generate_params":    "ignored; each key says so itself, or budgets of scope key with match: \"*\"",
	"upperbound_key_generate_params": "ignored; each key says so itself, or budgets of scope key with match: \"*\"",
	"set_verbose":                    "ignored; use ccproxy.debug",
	"max_parallel_requests":          "ignored; use limits.key_in_flight",
	"global_max_parallel_requests":   "ignored; use limits.connections",
}

// section reads litellm_settings, router_settings or general_settings.
func (m *importer) section(s pair) {
	for _, p := range s.value.pairs {
		path := join(s.key, p.key)
		m.places[path] = p.value.place
		if m.budgetSetting(path, p, s.value) {
			continue
		}
		switch p.key {
		case "callbacks":
			m.callbacks(path, p.value)
		case "fallbacks":
			m.fallbacks(path, p.value, "")
		case "context_window_fallbacks":
			m.fallbacks(path, p.value, "context_window")
		case "content_policy_fallbacks":
			m.fallbacks(path, p.value, "content_policy")
		case "default_fallbacks":
			m.defaultFallbacks(path, p.value)
		case "model_group_alias":
			m.groupAliases(path, p.value)
		case "forward_client_headers_to_llm_api", "add_function_to_prompt", "drop_params":
		case "routing_strategy":
			if p.value.text != "simple-shuffle" {
				m.warn(p.place, path, "%q is not done here; targets are drawn by weight", p.value.text)
			}
		default:
			what, ok := litellmSettings[p.key]
			if !ok {
				what = "has no meaning here and is ignored"
			}
			m.warn(p.place, path, "%s", what)
		}
	}
}

func (m *importer) callbacks(path string, n *node) {
	items := n.items
	if n.kind == kindText {
		items = []*node{n}
	}
	for _, item := range items {
		if item.text != "ccproxy.handler" {
			m.warn(item.place, path, "callback %q does not run here; use telemetry.exporters", item.text)
		}
	}
}

// list returns the model names in a list, or in a single value.
func (m *importer) list(path string, n *node) []Target {
	items := []*node{n}
	if n.kind == kindList {
		items = n.items
	}
	var out []Target
	for i, item := range items {
		if item.kind != kindText {
			m.warn(item.place, path, "want a model_name, got %s; ignored", item.got())
			continue
		}
		at := index(path, i)
		m.places[at] = item.place
		if !slices.Contains(m.names, item.text) && !m.own[item.text] {
			m.cannotRun(item.place, path, "no model_name %q%s", item.text, suggestion(item.text, m.names))
			continue
		}
		out = append(out, Target{ref: item.text, alias: true, Weight: 1, path: at})
	}
	return out
}

// fallbacks reads [{model_name: [model_name, …]}, …].
func (m *importer) fallbacks(path string, n *node, reason string) {
	for i, item := range n.items {
		for _, p := range item.pairs {
			if p.key == "*" {
				m.defaultFallbacks(index(path, i), p.value)
				continue
			}
			at := join(index(path, i), p.key)
			list := m.list(at, p.value)
			model := m.models[p.key]
			if model == nil {
				m.warn(p.place, at, "ignored; %q is not in model_list", p.key)
				continue
			}
			model.fallBack(reason, list)
		}
	}
}

func (model *Model) fallBack(reason string, list []Target) {
	list = slices.DeleteFunc(list, func(t Target) bool { return t.ref == model.Name })
	if reason == "" {
		model.Fallbacks.Any = append(model.Fallbacks.Any, list...)
		return
	}
	if model.Fallbacks.ByReason == nil {
		model.Fallbacks.ByReason = map[string][]Target{}
	}
	model.Fallbacks.ByReason[reason] = append(model.Fallbacks.ByReason[reason], list...)
}

// defaultFallbacks are for every model_name without a list of its own, wherever in the file that list stands.
func (m *importer) defaultFallbacks(path string, n *node) {
	m.defaults = append(m.defaults, m.list(path, n)...)
}

// groupAliases reads {alias: model_name}.
func (m *importer) groupAliases(path string, n *node) {
	for _, p := range n.pairs {
		at := join(path, p.key)
		if p.value.kind == kindMapping {
			p.value = p.value.get("model")
		}
		if p.value == nil || m.own[p.key] || m.models[p.key] != nil {
			m.warn(p.place, at, "ignored; there is a model of that name, or none is named")
			continue
		}
		targets := m.list(at, p.value)
		if len(targets) == 0 {
			continue
		}
		m.places[join("models", p.key)] = p.place
		m.names = append(m.names, p.key)
		m.models[p.key] = &Model{Name: p.key, Targets: targets, imported: true}
		m.orders[p.key] = make([]int, len(targets))
	}
}
