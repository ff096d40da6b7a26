package config

import (
	"reflect"
	"slices"
)

// fallbackReasons are the values of ccproxy.fallback.reason.
var fallbackReasons = []string{
	"rate_limit", "overloaded", "timeout", "server_error", "connect", "context_window", "content_policy", "budget",
	"credit", "auth", "circuit_open", "dialect",
}

func (t *Target) decodeNode(d *decoder, n *node, path string) {
	t.Weight, t.path = 1, path
	if n.kind != kindMapping {
		d.scalar(n, path, reflect.ValueOf(&t.ref).Elem(), "")
		return
	}
	written := struct {
		Target string `yaml:"target"`
		Weight int    `yaml:"weight"`
	}{Weight: 1}
	d.structure(n, path, reflect.ValueOf(&written).Elem())
	t.ref, t.Weight = written.Target, written.Weight
	if t.Weight < 0 {
		d.fail(n.place, path, "weight must not be negative")
	}
	if n.get("target") == nil {
		d.fail(n.place, path, `no "target"; write provider/model`)
	}
}

func (f *Fallbacks) decodeNode(d *decoder, n *node, path string) {
	switch n.kind {
	case kindNull:
	case kindList:
		d.value(n, path, reflect.ValueOf(&f.Any).Elem(), "")
	case kindMapping:
		f.ByReason = map[string][]Target{}
		for _, p := range n.pairs {
			if p.key != "any" && !slices.Contains(fallbackReasons, p.key) {
				d.fail(p.place, path, "unknown reason %q%s", p.key, suggestion(p.key, append([]string{"any"}, fallbackReasons...)))
				continue
			}
			var targets []Target
			d.value(p.value, join(path, p.key), reflect.ValueOf(&targets).Elem(), "")
			if p.key == "any" {
				f.Any = targets
				continue
			}
			f.ByReason[p.key] = targets
		}
	default:
		d.fail(n.place, path, "want a list of targets, or a mapping from reasons to such lists, got %s", n.got())
	}
}

func (b *Budgets) decodeNode(d *decoder, n *node, path string) {
	switch n.kind {
	case kindNull:
	case kindList:
		d.value(n, path, reflect.ValueOf(&b.List).Elem(), "")
	default:
		d.structure(n, path, reflect.ValueOf(b).Elem())
	}
}

func (b *KeyBudgets) decodeNode(d *decoder, n *node, path string) {
	switch n.kind {
	case kindNull:
	case kindList:
		d.slice(n, path, reflect.ValueOf(b).Elem(), "")
	default:
		var one KeyBudget
		one.setDefaults()
		d.structure(n, path, reflect.ValueOf(&one).Elem())
		*b = KeyBudgets{one}
	}
}

func (u *UnknownPrice) decodeNode(d *decoder, n *node, path string) {
	if n.kind == kindMapping {
		written := struct {
			Assume *PerMillion `yaml:"assume"`
		}{}
		d.structure(n, path, reflect.ValueOf(&written).Elem())
		u.Assume = written.Assume
		return
	}
	var word string
	d.scalar(n, path, reflect.ValueOf(&word).Elem(), `enum:"deny"`)
}
