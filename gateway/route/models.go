package route

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// ownProvider is the provider of labels and model names in the model list.
const ownProvider = "ccproxy"

// Models lists what a client may name: labels and model names with provider
// "ccproxy", then target models. A target's model stands by its bare name when
// a client that names it reaches its provider, else as "provider/model". The
// family is "" when callers of several can use the entry. The result is shared
// and read-only.
func (r *Router) Models() []gateway.ModelInfo { return r.models }

func (r *Router) listModels() []gateway.ModelInfo {
	var out []gateway.ModelInfo
	seen := map[string]bool{}
	add := func(m gateway.ModelInfo) {
		if !seen[m.ID] {
			seen[m.ID] = true
			out = append(out, m)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.entries)) {
		add(gateway.ModelInfo{ID: name, Provider: ownProvider, Family: commonFamily(r.entries[name].targets)})
	}
	own := len(out)
	for _, t := range r.allTargets() {
		id := t.Model
		e := r.entries[id]
		if e != nil && len(e.targets) == 1 && e.targets[0] == t {
			continue // the entry says the same
		}
		if e != nil || r.implied[t.Provider.Family] != t.Provider && !(r.implied[t.Provider.Family] == nil && r.anyFamily == t.Provider) {
			id = t.Name
		}
		add(gateway.ModelInfo{ID: id, Provider: t.Provider.Name, Family: t.Provider.Family})
	}
	slices.SortStableFunc(out[own:], func(a, b gateway.ModelInfo) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// allTargets returns every target of the table and its fallbacks, with
// repetitions, in a fixed order.
func (r *Router) allTargets() []gateway.Target {
	var out []gateway.Target
	addLists := func(lists map[string][]gateway.Target) {
		for _, reason := range slices.Sorted(maps.Keys(lists)) {
			out = append(out, lists[reason]...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.entries)) {
		out = append(out, r.entries[name].targets...)
		addLists(r.entries[name].fallbacks)
	}
	addLists(r.fallbacks)
	return out
}

// commonFamily returns the family that all targets speak, or "".
func commonFamily(targets []gateway.Target) string {
	family := ""
	for i, t := range targets {
		if i > 0 && t.Provider.Family != family {
			return ""
		}
		family = t.Provider.Family
	}
	return family
}

// review looks for what is odd in a valid configuration.
func (r *Router) review() []string {
	out := r.warnings
	for _, rule := range r.rules {
		if r.allKept || r.entries[rule.name] != nil || rule.name == DefaultLabel && r.defaultKept {
			continue
		}
		to := "the client's model is kept"
		if r.entries[DefaultLabel] != nil {
			to = "exchanges it labels go to the entry \"default\""
		}
		out = append(out, fmt.Sprintf("rule %q: no entry %q under models: %s; add models: { %s: { targets: [ provider/model ] } }", rule.name, rule.name, to, rule.name))
	}
	for _, name := range slices.Sorted(maps.Keys(r.entries)) {
		e := r.entries[name]
		out = append(out, r.unserved(name, e)...)
		if commonFamily(e.targets) == "" && !r.gives(name) {
			out = append(out, fmt.Sprintf("models: %q: its targets speak different dialects (%s): each client reaches only those that speak its own", name, strings.Join(families(e.targets), ", ")))
		}
		served := families(e.targets)
		for _, reason := range slices.Sorted(maps.Keys(e.fallbacks)) {
			if inherited(e.fallbacks[reason], r.fallbacks[reason]) {
				continue
			}
			for _, t := range e.fallbacks[reason] {
				if !slices.Contains(served, t.Provider.Family) {
					out = append(out, fmt.Sprintf("models: %q: fallback %s speaks %s and the targets do not: it is skipped", name, t.Name, t.Provider.Family))
				}
			}
		}
	}
	return out
}

// unserved warns of a label that a rule gives to requests of any vendor while
// its targets leave out one that is configured: those requests are refused.
// A rule for a model's name is taken to know whose models it means.
func (r *Router) unserved(label string, e *entry) []string {
	if r.allKept || !slices.ContainsFunc(r.rules, func(u rule) bool { return u.name == label && u.kind != KindMatchModel }) {
		return nil
	}
	served := families(e.targets)
	var missing []string
	for _, family := range slices.Sorted(maps.Keys(r.implied)) {
		if !slices.Contains(served, family) {
			missing = append(missing, family)
		}
	}
	if missing == nil {
		return nil
	}
	return []string{fmt.Sprintf("models: %q: no target speaks %s: such requests are refused when rule %[1]q matches; add a target for them, or match fewer requests with when:",
		label, strings.Join(missing, " or "))}
}

// gives reports whether a rule gives the label.
func (r *Router) gives(label string) bool {
	return slices.ContainsFunc(r.rules, func(u rule) bool { return u.name == label })
}

// inherited reports whether list is the table's own and not the entry's.
func inherited(list, own []gateway.Target) bool {
	return len(list) > 0 && len(own) > 0 && &list[0] == &own[0]
}

func families(targets []gateway.Target) []string {
	var out []string
	for _, t := range targets {
		out = append(out, t.Provider.Family)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Known returns model as a metric may carry it. It is one of a closed set: a
// name in the configuration, a well-known model without its date or options,
// or "_OTHER". "" stays "". It does not allocate.
func (r *Router) Known(model string) string {
	if model == "" {
		return ""
	}
	if _, ok := r.known[model]; ok {
		return model
	}
	if p, rest, ok := strings.Cut(model, "/"); ok && r.providers[p] != nil {
		model = rest
		if _, ok := r.known[model]; ok {
			return model
		}
	}
	if wellKnown[model] {
		return model
	}
	base := undated(model)
	if _, ok := r.known[base]; ok {
		return base
	}
	if wellKnown[base] {
		return base
	}
	return names.ErrorOther
}

func (r *Router) knownModels() map[string]struct{} {
	out := map[string]struct{}{}
	for name := range r.entries {
		out[name] = struct{}{}
	}
	for _, t := range r.allTargets() {
		out[t.Model] = struct{}{}
	}
	return out
}

// undated strips what names a snapshot of a model or an option, not another
// model: "[1m]", "-latest", "@20250929", "-20250929", "-2024-08-06".
func undated(m string) string {
	if i := strings.IndexByte(m, '['); i > 0 && strings.HasSuffix(m, "]") {
		m = m[:i]
	}
	m = strings.TrimSuffix(m, "-latest")
	if i := strings.IndexByte(m, '@'); i > 0 {
		return m[:i]
	}
	if n := len(m) - len("-20250929"); n > 0 && m[n] == '-' && allDigits(m[n+1:]) {
		return m[:n]
	}
	if n := len(m) - len("-2024-08-06"); n > 0 && m[n] == '-' && m[n+5] == '-' && m[n+8] == '-' &&
		allDigits(m[n+1:n+5]) && allDigits(m[n+6:n+8]) && allDigits(m[n+9:]) {
		return m[:n]
	}
	return m
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// wellKnown are the vendors' public text models (models.dev, read 2026-07).
// A model missing here is counted as _OTHER until the configuration names it.
var wellKnown = set(`
claude-3-haiku claude-3-opus claude-3-sonnet claude-3-5-haiku claude-3-5-sonnet claude-3-7-sonnet
claude-haiku-4-5 claude-opus-4 claude-opus-4-0 claude-opus-4-1 claude-opus-4-5 claude-opus-4-6 claude-opus-4-7 claude-opus-4-8
claude-sonnet-4 claude-sonnet-4-0 claude-sonnet-4-5 claude-sonnet-4-6 claude-sonnet-5 claude-fable-5
gpt-3.5-turbo gpt-3.5-turbo-instruct gpt-4 gpt-4-turbo gpt-4.1 gpt-4.1-mini gpt-4.1-nano gpt-4o gpt-4o-mini
gpt-5 gpt-5-chat gpt-5-codex gpt-5-mini gpt-5-nano gpt-5-pro gpt-5.1 gpt-5.1-chat gpt-5.1-codex gpt-5.1-codex-max gpt-5.1-codex-mini
gpt-5.2 gpt-5.2-chat gpt-5.2-codex gpt-5.2-pro gpt-5.3-chat gpt-5.3-codex gpt-5.3-codex-spark
gpt-5.4 gpt-5.4-mini gpt-5.4-nano gpt-5.4-pro gpt-5.5 gpt-5.5-pro
o1 o1-pro o3 o3-mini o3-pro o3-deep-research o4-mini o4-mini-deep-research
text-embedding-3-large text-embedding-3-small text-embedding-ada-002
gemini-2.0-flash gemini-2.0-flash-lite gemini-2.5-flash gemini-2.5-flash-lite gemini-2.5-pro gemini-2.5-flash-image
gemini-3-flash-preview gemini-3-pro-preview gemini-3-pro-image-preview gemini-3.1-pro-preview gemini-3.1-flash-lite gemini-3.1-flash-lite-preview
gemini-3.1-flash-image-preview gemini-3.5-flash gemini-flash-latest gemini-flash-lite-latest gemini-embedding-001
`)

func set(list string) map[string]bool {
	out := map[string]bool{}
	for _, name := range strings.Fields(list) {
		out[name] = true
	}
	return out
}
