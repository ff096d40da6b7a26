package config

import (
	"errors"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// Params are a hook's parameters, whose shape only the hook knows. The zero value has none.
type Params struct {
	root *node
	path string
}

// Decode fills the struct that into points to, by its yaml tags, with the strictness of the whole file: an unknown key
// or a wrong type is a *Problem with its place, all of them joined. Fields not given keep their value.
func (p Params) Decode(into any) error {
	if p.root == nil {
		return nil
	}
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return errors.New("config: Params.Decode wants a pointer to a struct")
	}
	d := newDecoder(nil, false)
	d.value(p.root, p.path, v.Elem(), "")
	return joinProblems(d.problems)
}

// Map returns the parameters as strings, numbers (int64 or float64), booleans, []any and map[string]any. Nil: none.
func (p Params) Map() map[string]any {
	if p.root == nil {
		return nil
	}
	m, _ := p.root.any().(map[string]any)
	return m
}

func (p *Params) decodeNode(d *decoder, n *node, path string) {
	n = d.expandAll(n, path)
	switch n.kind {
	case kindNull:
		return
	case kindMapping:
	case kindList:
		// The original's README writes hooks' parameters like rules': one-key mappings in a list.
		all := &node{kind: kindMapping, place: n.place}
		for _, item := range n.items {
			if item.kind != kindMapping {
				d.fail(item.place, path, "want names and values, got %s", item.got())
				return
			}
			all.pairs = append(all.pairs, item.pairs...)
		}
		n = all
	default:
		d.fail(n.place, path, "want names and values, got %s", n.got())
		return
	}
	p.root, p.path = n, path
}

// expandAll returns a copy of n with the environment in its scalars.
func (d *decoder) expandAll(n *node, path string) *node {
	c := *n
	switch n.kind {
	case kindList:
		c.items = make([]*node, len(n.items))
		for i, item := range n.items {
			c.items[i] = d.expandAll(item, index(path, i))
		}
	case kindMapping:
		c.pairs = make([]pair, len(n.pairs))
		for i, p := range n.pairs {
			c.pairs[i] = pair{p.key, p.place, d.expandAll(p.value, join(path, p.key))}
		}
	default:
		c.text, _ = d.text(n, path, false)
		c.expanded, c.fromEnv = true, len(d.env[path]) > 0
	}
	return &c
}

// any returns n as plain Go values.
func (n *node) any() any {
	switch n.kind {
	case kindBool:
		b, _ := strconv.ParseBool(strings.ToLower(n.text))
		return b
	case kindNumber:
		if i, err := strconv.ParseInt(n.text, 10, 64); err == nil {
			return i
		}
		if f, err := strconv.ParseFloat(n.text, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return n.text
	case kindText:
		return n.text
	case kindList:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.any()
		}
		return list
	case kindMapping:
		m := make(map[string]any, len(n.pairs))
		for _, p := range n.pairs {
			m[p.key] = p.value.any()
		}
		return m
	}
	return nil
}

// secretName matches keys whose value is masked although its type is not known here.
var secretName = regexp.MustCompile(`(?i)secret|token|passw|api_?key|authorization|credential|cookie`)

func (p Params) encode() any {
	if p.root == nil {
		return nil
	}
	return p.root.masked(false)
}

// masked returns n for printing. What came from the environment, or is called like a secret, or is a value in a
// mapping of headers, is a secret.
func (n *node) masked(secret bool) any {
	switch n.kind {
	case kindList:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.masked(secret)
		}
		return list
	case kindMapping:
		m := make(yaml.MapSlice, 0, len(n.pairs))
		for _, p := range n.pairs {
			hide := secret || secretName.MatchString(p.key) || p.key == "headers" && p.value.kind == kindMapping
			m = append(m, yaml.MapItem{Key: p.key, Value: p.value.masked(hide)})
		}
		return m
	}
	if secret || n.fromEnv {
		return mask
	}
	if n.kind == kindText {
		return escape(n.text, "")
	}
	return n.any()
}
