package config

import (
	"cmp"
	"slices"
	"strings"
)

const (
	maxReferences = 8   // of entries of models from one to the next
	maxTargets    = 256 // of one entry, references expanded
)

// providers gives each provider its type, base URL and deadlines, and the zero configuration its three vendors.
func (d *decoder) providers(c *Config) {
	if len(c.Providers) == 0 {
		for _, name := range []string{TypeAnthropic, TypeOpenAI, TypeGemini} {
			p := Provider{Name: name}
			p.setDefaults()
			c.Providers = append(c.Providers, p)
		}
	}
	for i := range c.Providers {
		p := &c.Providers[i]
		path := join("providers", p.Name)
		if strings.Contains(p.Name, "/") {
			d.fail(d.at(path), path, `a provider's name has no "/": targets are cut there`)
		}
		if p.Type == "" {
			p.Type = vendors[p.Name].providerType
		}
		if p.Type == "" {
			d.missing(path, "type", "; want %s", strings.Join([]string{TypeAnthropic, TypeOpenAI, TypeOpenAICompatible, TypeGemini}, ", "))
			continue
		}
		if !providerTypes[p.Type] {
			continue // reported
		}
		if p.BaseURL == "" {
			p.BaseURL = defaultBaseURL(p.Name, p.Type)
		}
		if p.BaseURL == "" && !d.said(join(path, "base_url")) {
			d.missing(path, "base_url", "; say where %s is served, with its version, as in https://host/v1", p.Name)
		}
		p.BaseURL = strings.TrimRight(p.BaseURL, "/")
		inherit(&p.Timeouts, c.Timeouts)
		d.providerBounds(join(path, "timeouts"), &p.Timeouts)
	}
}

func inherit(p *ProviderTimeouts, all Timeouts) {
	p.TLSHandshake = cmp.Or(p.TLSHandshake, all.TLSHandshake)
	p.Connect = cmp.Or(p.Connect, all.Connect)
	p.DNS = cmp.Or(p.DNS, all.DNS)
	p.UpstreamHeaders = cmp.Or(p.UpstreamHeaders, all.UpstreamHeaders)
	p.UpstreamStream = cmp.Or(p.UpstreamStream, all.UpstreamStream)
	p.Idle = cmp.Or(p.Idle, all.Idle)
	p.NoProgress = cmp.Or(p.NoProgress, all.NoProgress)
	p.Request = cmp.Or(p.Request, all.Request)
	p.Keepalive = cmp.Or(p.Keepalive, all.KeepaliveUpstream)
	p.DisconnectDrain = cmp.Or(p.DisconnectDrain, all.DisconnectDrain)
}

// resolver turns what targets and fallbacks refer to into provider and model.
type resolver struct {
	*decoder
	c       *Config
	entries map[string]*Model
	names   []string // of entries and providers, for suggestions
	failed  map[string]bool
	done    map[string]expansion
}

// expansion is an entry without its references.
type expansion struct {
	targets []Target
	depth   int // of the longest chain of entries, itself included
}

func (d *decoder) resolve(c *Config) {
	r := resolver{decoder: d, c: c, entries: map[string]*Model{}, failed: map[string]bool{}, done: map[string]expansion{}}
	for i := range c.Models {
		r.entries[c.Models[i].Name] = &c.Models[i]
		r.names = append(r.names, c.Models[i].Name)
	}
	for _, p := range c.Providers {
		r.names = append(r.names, p.Name)
	}
	var resolved []Model
	for _, m := range c.Models {
		m = r.model(m)
		if len(m.Targets) == 0 && m.imported && d.lenient {
			continue // each target was dropped with a warning
		}
		resolved = append(resolved, m)
	}
	c.Models = resolved
}

func (r *resolver) model(m Model) Model {
	path := join("models", m.Name)
	if len(m.Targets) == 0 {
		r.missing(path, "targets", "; give at least one provider/model")
	}
	weighted := slices.ContainsFunc(m.Targets, func(t Target) bool { return t.Weight != 1 })
	if m.Strategy == "" {
		m.Strategy = "order"
		if weighted {
			m.Strategy = "weight"
		}
	}
	if m.Strategy != "weight" && weighted {
		r.fail(r.at(path), path, "weights mean nothing under strategy: %s; remove one of them", m.Strategy)
	}
	if weighted && !slices.ContainsFunc(m.Targets, func(t Target) bool { return t.Weight > 0 }) {
		r.fail(r.at(path), path, "every weight is 0; raise one")
	}
	fallbacks := m.Fallbacks
	m.Targets = r.entry(r.entries[m.Name], nil).targets
	m.Fallbacks = Fallbacks{Any: r.fallbacks(m, fallbacks.Any)}
	if fallbacks.ByReason != nil {
		m.Fallbacks.ByReason = map[string][]Target{}
	}
	for _, reason := range fallbackReasons {
		if list, ok := fallbacks.ByReason[reason]; ok {
			m.Fallbacks.ByReason[reason] = r.fallbacks(m, list)
		}
	}
	return m
}

// targets resolves list. trail is the chain of entries that led here, depth how many entries the longest chain goes on
// through.
func (r *resolver) targets(list []Target, trail []string) (out []Target, depth int) {
	for _, t := range list {
		direct, entry := r.target(t)
		if direct != nil {
			out = append(out, *direct)
			continue
		}
		if entry == nil || r.loops(t, entry.Name, trail) {
			continue
		}
		inner := r.entry(entry, trail)
		if len(trail)+inner.depth > maxReferences {
			r.once(t, "refers on through more than %d entries; name the target itself", maxReferences)
			continue
		}
		if len(out)+len(inner.targets) > maxTargets {
			r.once(t, "more than %d targets in all; name fewer", maxTargets)
			break
		}
		depth = max(depth, inner.depth)
		for _, target := range inner.targets {
			if t.Weight != 1 {
				target.Weight = t.Weight
			}
			out = append(out, target)
		}
	}
	return out, depth + 1
}

// entry resolves an entry once: many may refer to it.
func (r *resolver) entry(m *Model, trail []string) expansion {
	done, ok := r.done[m.Name]
	if !ok {
		done.targets, done.depth = r.targets(m.Targets, append(slices.Clone(trail), m.Name))
		r.done[m.Name] = done
	}
	return done
}

// fallbacks resolves a list of m's: a reference stands for the entry's targets and then its own fallbacks.
func (r *resolver) fallbacks(m Model, list []Target) []Target {
	var out []Target
	used, followed := map[string]bool{}, map[string]bool{}
	for _, t := range m.Targets {
		used[t.String()] = true
	}
	add := func(t Target) {
		if t.Weight = 1; !used[t.String()] {
			used[t.String()] = true
			out = append(out, t)
		}
	}
	var follow func(list []Target, trail []string)
	follow = func(list []Target, trail []string) {
		for _, t := range list {
			direct, entry := r.target(t)
			switch {
			case direct != nil:
				if len(trail) == 1 && used[direct.String()] && !m.imported {
					r.once(t, "%s is tried already; remove it", direct)
					continue
				}
				add(*direct)
			case entry != nil && !r.loops(t, entry.Name, trail):
				trail := append(slices.Clone(trail), entry.Name)
				before := len(out)
				for _, inner := range r.entry(entry, nil).targets {
					add(inner)
				}
				if !t.alias && !followed[entry.Name] {
					followed[entry.Name] = true
					follow(entry.Fallbacks.Any, trail)
				}
				if len(out) == before && !t.alias && len(trail) == 2 && len(entry.Targets) > 0 {
					r.once(t, "every target of %q is tried already; remove it", entry.Name)
				}
			}
		}
	}
	follow(list, []string{m.Name})
	return out
}

// target finds what t refers to: a model of a provider, or another entry. Neither: it has been reported.
func (r *resolver) target(t Target) (*Target, *Model) {
	if t.Provider != "" {
		return &t, nil
	}
	if t.ref == "" {
		return nil, nil
	}
	if t.alias {
		return nil, r.alias(t)
	}
	provider, model, ok := splitTarget(t.ref)
	if ok {
		if _, known := r.c.Provider(provider); known {
			t.Provider, t.Model = provider, model
			return &t, nil
		}
	}
	if entry, ok := r.entries[t.ref]; ok {
		return nil, entry
	}
	if ok {
		var known []string
		for _, p := range r.c.Providers {
			known = append(known, p.Name)
		}
		r.once(t, "unknown provider %q%s", provider, suggestion(provider, known))
		return nil, nil
	}
	r.once(t, "%q is neither provider/model nor an entry of models%s", t.ref, suggestion(t.ref, r.names))
	return nil, nil
}

// alias finds the entry LiteLLM's file refers to, which may have been dropped.
func (r *resolver) alias(t Target) *Model {
	entry := r.entries[t.ref]
	if entry == nil && !r.failed[t.path] {
		r.failed[t.path] = true
		r.cannotRun(r.at(t.path), t.path, "model_name %q has no deployment that can be used", t.ref)
	}
	return entry
}

// loops reports whether following t to the entry called name would go round or too deep.
func (r *resolver) loops(t Target, name string, trail []string) bool {
	if at := slices.Index(trail, name); at >= 0 {
		circle := slices.Sorted(slices.Values(trail[at:]))
		if key := strings.Join(circle, "\x00"); !r.failed[key] {
			r.failed[key] = true // found again from each of its entries
			r.once(t, "goes in a circle: %s", strings.Join(append(slices.Clone(trail[at:]), name), " → "))
		}
		return true
	}
	if len(trail) >= maxReferences {
		r.once(t, "refers on through more than %d entries; name the target itself", maxReferences)
		return true
	}
	return false
}

// once reports a problem of t the first time: entries are followed from every entry that refers to them.
func (r *resolver) once(t Target, format string, args ...any) {
	if !r.failed[t.path] {
		r.failed[t.path] = true
		r.fail(r.at(t.path), t.path, format, args...)
	}
}
