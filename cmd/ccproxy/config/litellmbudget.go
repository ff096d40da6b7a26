package config

import (
	"regexp"
	"strconv"
)

// What LiteLLM's file says of budgets, https://docs.litellm.ai/docs/proxy/users and
// https://docs.litellm.ai/docs/proxy/provider_budget_routing (read 2026-08).

// budgetSetting reads a setting that has a budget for its counterpart, and reports whether p was one. beside is the
// section it stands in.
func (m *importer) budgetSetting(path string, p pair, beside *node) bool {
	switch path {
	case "litellm_settings.max_budget":
		m.limit(path, "litellm", "global", "", p.value, beside.get("budget_duration"))
	case "litellm_settings.budget_duration":
		if beside.get("max_budget") == nil {
			m.warn(p.place, path, "ignored; there is no max_budget beside it")
		}
	case "litellm_settings.max_end_user_budget":
		m.limit(path, "litellm-end-users", "user", "*", p.value, nil)
	case "router_settings.provider_budget_config":
		m.providerBudgets(path, p.value)
	default:
		return false
	}
	return true
}

func (m *importer) providerBudgets(path string, n *node) {
	for _, p := range n.mappingPairs() {
		at := join(path, p.key)
		if _, ok := m.c.Provider(p.key); !ok {
			m.warn(p.place, at, "ignored; there is no provider %q", p.key)
			continue
		}
		if _, more := m.c.Provider(p.key + "-2"); more {
			m.warn(p.place, at, "ignored; %s has several accounts here, which are providers each; use budgets", p.key)
			continue
		}
		amount, period := p.value.get("budget_limit"), p.value.get("time_period")
		if amount == nil {
			amount, period = p.value.get("max_budget"), p.value.get("budget_duration")
		}
		if amount == nil {
			m.warn(p.place, at, "ignored; it has no budget_limit")
			continue
		}
		m.limit(at, "litellm-"+p.key, "provider", p.key, amount, period)
	}
}

// limit adds a budget, unless the gateway's own file has budgets.
func (m *importer) limit(path, name, scope, subject string, amount, period *node) {
	if m.said("budgets") {
		m.warn(amount.place, path, "ignored; budgets has its own")
		return
	}
	limit, err := parseAmount(amount.text, 9)
	if err != nil {
		m.warn(amount.place, path, "ignored; %v", err)
		return
	}
	window := "none"
	if period != nil && period.kind != kindNull {
		if window = litellmWindow(period.text); window == "" {
			m.warn(period.place, path, "ignored; no window is %q long; use budgets", period.text)
			return
		}
	}
	b := Budget{Name: name, Scope: scope, Match: subject, Window: window}
	b.setDefaults()
	usd := USD(limit)
	b.Limit = &usd
	m.places[index("budgets", len(m.c.Budgets.List))] = amount.place
	m.c.Budgets.List = append(m.c.Budgets.List, b)
}

var litellmPeriod = regexp.MustCompile(`^([1-9][0-9]{0,3})(s|m|h|d|mo)$`)

// litellmWindow returns the window that LiteLLM's duration means, "" without one. Its days, weeks and months begin when
// the calendar's do: duration_parser.py, get_next_standardized_reset_time.
func litellmWindow(duration string) string {
	switch duration {
	case "60s", "1m":
		return "minute"
	case "60m", "1h":
		return "hour"
	case "24h", "1d":
		return "day"
	case "7d":
		return "week"
	case "30d", "1mo":
		return "month"
	}
	parts := litellmPeriod.FindStringSubmatch(duration)
	if parts == nil || parts[2] == "mo" {
		return ""
	}
	n, _ := strconv.Atoi(parts[1]) // at most four digits
	if parts[2] != "s" {
		return duration
	}
	if n%60 != 0 {
		return ""
	}
	return strconv.Itoa(n/60) + "m"
}
