package route

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
)

// Bounds of the model table: an entry may name entries, but not without end.
const (
	maxDepth   = 8
	maxTargets = 64
)

// entry is a compiled Model.
type entry struct {
	name       string
	targets    []gateway.Target // in configured order; with weights, heaviest first
	weights    []float64        // nil: the order stands, but for latency
	latency    bool             // the quickest goes first
	candidates []string
	fallbacks  map[string][]gateway.Target // the table's own lists included
}

// weighted is a target with its share; shares are only compared.
type weighted struct {
	target gateway.Target
	weight float64
}

// builder resolves names while the table is made.
type builder struct {
	r       *Router
	models  map[string]Model
	done    map[string][]weighted
	depth   map[string]int // of entries in done
	failed  map[string]bool
	options []string // every name that a target may be, for hints
}

func (r *Router) addEntries(cfg Config) (errs []error) {
	b := &builder{r: r, models: cfg.Models, done: map[string][]weighted{}, depth: map[string]int{}, failed: map[string]bool{}}
	labels := slices.Sorted(maps.Keys(cfg.Models))
	b.options = append(append(b.options, labels...), slices.Sorted(maps.Keys(r.providers))...)

	global, globalErrs := b.fallbacks("", "", cfg.Fallbacks)
	for _, err := range globalErrs {
		errs = append(errs, fmt.Errorf("default fallbacks: %w", err))
	}
	r.fallbacks = global
	for _, name := range labels {
		e, entryErrs := b.entry(name, global)
		for _, err := range entryErrs {
			errs = append(errs, fmt.Errorf("models: %q: %w", name, err))
		}
		r.entries[name] = e
	}
	return errs
}

func (b *builder) entry(name string, global map[string][]gateway.Target) (*entry, []error) {
	if name == "" || len(name) > 256 || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, []error{errors.New("a label or model name has 1 to 256 characters, none of them control characters")}
	}
	var errs []error
	list, err := b.expand(name, nil)
	if err != nil && !errors.Is(err, errReported) {
		errs = append(errs, err)
	}
	m := b.models[name]
	lists := maps.Clone(m.FallbacksFor)
	if lists == nil {
		lists = map[string][]string{}
	}
	if len(m.Fallbacks) > 0 {
		lists[""] = append(slices.Clone(m.Fallbacks), lists[""]...)
	}
	fallbacks, fallbackErrs := b.fallbacks(name, "fallbacks: ", lists)
	errs = append(errs, fallbackErrs...)
	if m.Strategy != "" && m.Strategy != StrategyLatency {
		errs = append(errs, fmt.Errorf("strategy %q is not known; it is %q, or left out", m.Strategy, StrategyLatency))
	}
	if len(errs) > 0 {
		return nil, errs
	}
	for reason, targets := range global {
		if _, own := fallbacks[reason]; !own {
			fallbacks[reason] = targets
		}
	}
	e := newEntry(name, list, fallbacks)
	if m.Strategy == StrategyLatency {
		e.latency, e.weights = true, nil
	}
	return e, nil
}

func newEntry(name string, list []weighted, fallbacks map[string][]gateway.Target) *entry {
	e := &entry{name: name, fallbacks: fallbacks}
	for _, w := range heaviestFirst(list) {
		e.targets = append(e.targets, w.target)
		e.candidates = append(e.candidates, w.target.Name)
		if hasWeights(list) {
			e.weights = append(e.weights, w.weight)
		}
	}
	return e
}

func hasWeights(list []weighted) bool {
	return slices.ContainsFunc(list, func(w weighted) bool { return w.weight > 0 })
}

// errReported stands for an error that another entry reports.
var errReported = errors.New("names an entry that is wrong itself")

// expand returns the targets of an entry, those of the entries it names
// included. above are the names on the way here.
func (b *builder) expand(name string, above []string) ([]weighted, error) {
	if list, ok := b.done[name]; ok {
		return slices.Clone(list), nil
	}
	if b.failed[name] {
		return nil, errReported
	}
	if slices.Contains(above, name) {
		return nil, fmt.Errorf("names itself: %s; end the chain with a provider/model", strings.Join(append(above, name), " → "))
	}
	list, depth, err := b.targets(name, append(above[:len(above):len(above)], name))
	if err != nil {
		b.failed[name] = true
		return nil, err
	}
	b.done[name], b.depth[name] = list, depth
	return slices.Clone(list), nil
}

func (b *builder) targets(name string, path []string) (list []weighted, depth int, err error) {
	m := b.models[name]
	if len(m.Targets) == 0 {
		return nil, 0, errors.New("has no targets: write targets: [ provider/model ]")
	}
	var errs []error
	for _, t := range m.Targets {
		if !(t.Weight >= 0 && t.Weight <= 1e9) {
			errs = append(errs, fmt.Errorf("target %q: weight must be 0 or more, not %v", t.Target, t.Weight))
			continue
		}
		sub, d, err := b.resolve(t.Target, path)
		if err != nil {
			errs = append(errs, fmt.Errorf("target %q: %w", t.Target, err))
			continue
		}
		depth = max(depth, d)
		list = merge(list, scale(sub, t.Weight))
	}
	switch {
	case len(errs) > 0:
		return nil, 0, errors.Join(errs...)
	case depth > maxDepth:
		return nil, 0, fmt.Errorf("names entries that name entries, more than %d deep: name targets directly", maxDepth)
	case len(list) > maxTargets:
		return nil, 0, fmt.Errorf("comes to %d targets, more than %d: name fewer", len(list), maxTargets)
	}
	return list, depth, nil
}

// resolve returns what one target means: a provider's model, or another
// entry's targets; and how many entries deep that is.
func (b *builder) resolve(s string, path []string) ([]weighted, int, error) {
	if t, ok := b.direct(s); ok {
		return []weighted{{target: t}}, 0, nil
	}
	if _, ok := b.models[s]; ok {
		list, err := b.expand(s, path)
		return list, b.depth[s] + 1, err
	}
	if p, _, _ := strings.Cut(s, "/"); b.r.providers[p] != nil {
		return nil, 0, fmt.Errorf("names a provider but no model: write %s/MODEL", p)
	}
	if p, model, ok := strings.Cut(s, "/"); ok && model != "" {
		return nil, 0, fmt.Errorf("provider %q is not configured%s", p, b.hint(p))
	}
	return nil, 0, fmt.Errorf("is neither provider/model nor an entry of models%s", b.hint(s))
}

func (b *builder) hint(name string) string {
	if h := nearest(name, b.options); h != "" {
		return h
	}
	return "; add it under providers: or models:"
}

// direct reads "provider/model", split at the first slash.
func (b *builder) direct(s string) (gateway.Target, bool) {
	p, model, ok := strings.Cut(s, "/")
	if !ok || model == "" || b.r.providers[p] == nil {
		return gateway.Target{}, false
	}
	return gateway.Target{Provider: b.r.providers[p], Model: model, Name: s}, true
}

// scale gives list the share w: split by its own weights, or all to the first.
func scale(list []weighted, w float64) []weighted {
	sum := 0.0
	for _, t := range list {
		sum += t.weight
	}
	for i := range list {
		switch {
		case w == 0:
			list[i].weight = 0
		case sum > 0:
			list[i].weight *= w / sum
		case i == 0:
			list[i].weight = w
		}
	}
	return list
}

// merge appends targets; one that is there already adds its weight.
func merge(list, more []weighted) []weighted {
	for _, t := range more {
		i := slices.IndexFunc(list, func(have weighted) bool { return have.target.Name == t.target.Name })
		if i >= 0 {
			list[i].weight += t.weight
			continue
		}
		list = append(list, t)
	}
	return list
}

// fallbacks resolves lists by reason. self is the entry they belong to.
func (b *builder) fallbacks(self, prefix string, lists map[string][]string) (map[string][]gateway.Target, []error) {
	out := make(map[string][]gateway.Target, len(lists))
	var errs []error
	for _, reason := range slices.Sorted(maps.Keys(lists)) {
		if !slices.Contains(fallbackReasons, reason) {
			errs = append(errs, fmt.Errorf("%sunknown reason %q%s; known are %s", prefix, reason, nearest(reason, fallbackReasons), strings.Join(fallbackReasons[1:], ", ")))
			continue
		}
		var list []weighted
		for _, s := range lists[reason] {
			sub, _, err := b.resolve(s, nil)
			_, direct := b.direct(s)
			switch {
			case s == self && !direct:
				errs = append(errs, fmt.Errorf("%s%q falls back to itself: remove it", prefix, s))
			case errors.Is(err, errReported):
			case err != nil:
				errs = append(errs, fmt.Errorf("%s%q: %w", prefix, s, err))
			default:
				list = merge(list, heaviestFirst(sub))
			}
		}
		targets := make([]gateway.Target, len(list))
		for i, w := range list {
			targets[i] = w.target
		}
		if len(targets) > maxTargets {
			errs = append(errs, fmt.Errorf("%scomes to %d targets, more than %d: name fewer", prefix, len(targets), maxTargets))
		}
		out[reason] = targets
	}
	return out, errs
}

// heaviestFirst sorts list by weight; targets of equal weight, and so lists
// without weights, keep their order.
func heaviestFirst(list []weighted) []weighted {
	slices.SortStableFunc(list, func(a, b weighted) int { return cmp.Compare(b.weight, a.weight) })
	return list
}
