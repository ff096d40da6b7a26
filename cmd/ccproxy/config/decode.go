package config

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder fills structs from nodes by their tags:
//
//	yaml   the key, "-" for none
//	named  a slice written as a mapping: the keys go to the elements' Name
//	loose  unknown keys below are warnings and quoted numbers are numbers, as in the original
//	enum   the words allowed, in a string, its list's elements or its map's values
//	check  "positive": not zero; "url": http or https with a host
//	raw    no ${…} expansion
//	keep   (for the encoder) a list written even when empty
//	zero   (for the encoder) an amount written even when 0
//
// It collects every problem instead of stopping at the first.
type decoder struct {
	lookup   Lookup
	lenient  bool
	loose    bool
	places   map[string]Place
	env      map[string][]string
	problems []*Problem
	warnings []Warning
	hooks    []string // names besides the built-in ones
	literal  bool     // a secret stands in the file itself
}

// shaped is a type with a shape of its own in the file.
type shaped interface {
	decodeNode(d *decoder, n *node, path string)
}

// defaulter is a list element that does not start from zero.
type defaulter interface{ setDefaults() }

func newDecoder(lookup Lookup, lenient bool) *decoder {
	return &decoder{lookup: lookup, lenient: lenient, places: map[string]Place{}, env: map[string][]string{}}
}

func (d *decoder) fail(p Place, path, format string, args ...any) {
	d.problems = append(d.problems, &Problem{Place: p, Key: path, Message: fmt.Sprintf(format, args...)})
}

func (d *decoder) warn(p Place, path, format string, args ...any) {
	d.warnings = append(d.warnings, Warning{Place: p, Key: path, Message: fmt.Sprintf(format, args...)})
}

// cannotRun reports something of the original's that has no counterpart here: a problem, or when lenient a warning.
func (d *decoder) cannotRun(p Place, path, format string, args ...any) {
	if d.lenient {
		d.warn(p, path, format+"; dropped (compat: lenient)", args...)
		return
	}
	remedy := "; remove it, or set compat: lenient to drop it"
	if message := fmt.Sprintf(format, args...); strings.HasSuffix(message, "?") {
		format, args, remedy = "%s", []any{message}, "" // a slip of the pen has its remedy already
	}
	d.fail(p, path, format+remedy, args...)
}

// missing reports that the mapping at path has no key, unless what is there has been found wrong already.
func (d *decoder) missing(path, key, format string, args ...any) {
	known := slices.ContainsFunc(d.problems, func(p *Problem) bool { return p.Key == path || p.Key == join(path, key) })
	if !known {
		d.fail(d.at(path), path, "no %q"+format, append([]any{key}, args...)...)
	}
}

// at returns the place of path, or of the nearest key above it.
func (d *decoder) at(path string) Place { return placeOf(d.places, path) }

func placeOf(places map[string]Place, path string) Place {
	for path != "" {
		if p, ok := places[path]; ok {
			return p
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return places[""]
}

// join appends key to path, quoted when it would be ambiguous.
func join(path, key string) string {
	for _, r := range key {
		if r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return fmt.Sprintf("%s[%q]", path, key)
		}
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// value decodes n into v, whose field had tag.
func (d *decoder) value(n *node, path string, v reflect.Value, tag reflect.StructTag) {
	d.places[path] = n.place
	if tag.Get("loose") != "" && !d.loose {
		d.loose = true
		defer func() { d.loose = false }()
	}
	if s, ok := v.Addr().Interface().(shaped); ok {
		s.decodeNode(d, n, path)
		return
	}
	// A key with nothing after it, its lines commented out, is as good as absent. A secret is not: see scalar.
	if n.kind == kindNull && v.Type() != reflect.TypeFor[Secret]() {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			d.scalar(n, path, v, tag)
			return
		}
		d.structure(n, path, v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, path, v.Elem(), tag)
	case reflect.Slice:
		d.slice(n, path, v, tag)
	case reflect.Map:
		d.mapping(n, path, v, tag)
	default:
		d.scalar(n, path, v, tag)
	}
}

// fields returns the struct's fields by key.
func fields(t reflect.Type) (keys []string, index map[string]int) {
	index = map[string]int{}
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "" && key != "-" {
			keys, index[key] = append(keys, key), i
		}
	}
	return keys, index
}

func (d *decoder) structure(n *node, path string, v reflect.Value) {
	if n.kind != kindMapping {
		d.fail(n.place, path, "want keys and values, got %s", n.got())
		return
	}
	keys, at := fields(v.Type())
	for _, p := range n.pairs {
		i, ok := at[p.key]
		if !ok {
			d.unknown(p, path, keys)
			continue
		}
		d.value(p.value, join(path, p.key), v.Field(i), v.Type().Field(i).Tag)
	}
}

// unknown reports a key nobody reads.
func (d *decoder) unknown(p pair, path string, keys []string) {
	if path == "" && strings.HasPrefix(p.key, "x-") {
		return // a place for anchors
	}
	if d.loose {
		what := "has no meaning here and is ignored"
		if near := nearest(p.key, keys); near != "" {
			what += fmt.Sprintf("; did you mean %q?", near)
		}
		d.warn(p.place, join(path, p.key), "%s", cmp.Or(inert[join(path, p.key)], what))
		return
	}
	d.fail(p.place, path, "unknown key %q%s", p.key, suggestion(p.key, keys))
}

func (d *decoder) slice(n *node, path string, v reflect.Value, tag reflect.StructTag) {
	if tag.Get("named") != "" {
		d.named(n, path, v)
		return
	}
	if n.kind != kindList {
		d.fail(n.place, path, "want a list, got %s", n.got())
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(n.items)))
	for i, item := range n.items {
		e := element(v.Type().Elem())
		before := len(d.problems)
		d.value(item, index(path, i), e, tag)
		if item.kind == kindNull && len(d.problems) == before {
			d.fail(item.place, index(path, i), "an empty list entry; fill it in or remove the dash")
			continue
		}
		if skip, ok := e.Addr().Interface().(interface{ dropped() bool }); ok && skip.dropped() {
			continue
		}
		v.Set(reflect.Append(v, e))
	}
}

func element(t reflect.Type) reflect.Value {
	e := reflect.New(t)
	if def, ok := e.Interface().(defaulter); ok {
		def.setDefaults()
	}
	return e.Elem()
}

// named decodes a mapping into a slice, the keys into the elements' Name.
func (d *decoder) named(n *node, path string, v reflect.Value) {
	if n.kind != kindMapping {
		d.fail(n.place, path, "want a mapping from names, got %s", n.got())
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(n.pairs)))
	for _, p := range n.pairs {
		if strings.TrimSpace(p.key) == "" {
			d.fail(p.place, path, "an empty name")
			continue
		}
		e := element(v.Type().Elem())
		e.FieldByName("Name").SetString(p.key)
		d.value(p.value, join(path, p.key), e, "")
		d.places[join(path, p.key)] = p.place
		v.Set(reflect.Append(v, e))
	}
}

func (d *decoder) mapping(n *node, path string, v reflect.Value, tag reflect.StructTag) {
	if n.kind != kindMapping {
		d.fail(n.place, path, "want a mapping from names, got %s", n.got())
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.pairs)))
	for _, p := range n.pairs {
		e := element(v.Type().Elem())
		d.value(p.value, join(path, p.key), e, tag)
		v.SetMapIndex(reflect.ValueOf(p.key).Convert(v.Type().Key()), e)
	}
}

// text returns the scalar's text with the environment in it.
func (d *decoder) text(n *node, path string, raw bool) (string, bool) {
	if n.kind == kindList || n.kind == kindMapping {
		d.fail(n.place, path, "want a single value, got %s", n.got())
		return "", false
	}
	if raw || n.expanded {
		return n.text, true
	}
	text, names, err := expand(n.text, d.lookup)
	if err != nil {
		d.fail(n.place, path, "%v", err)
		return "", false
	}
	if len(names) > 0 {
		d.env[path] = names
	}
	return text, true
}

func (d *decoder) scalar(n *node, path string, v reflect.Value, tag reflect.StructTag) {
	text, ok := d.text(n, path, tag.Get("raw") != "")
	if !ok {
		return
	}
	if v.Type() == reflect.TypeFor[Secret]() {
		v.SetString(string(d.secret(n, path, text)))
		return
	}
	fromEnv := n.fromEnv || len(d.env[path]) > 0
	wrong, err := setScalar(v, n, text, fromEnv || d.loose)
	if wrong != "" {
		d.fail(n.place, path, "want %s, got %s", wrong, n.got())
		return
	}
	if err != nil {
		d.fail(n.place, path, "%v", err)
		return
	}
	d.check(n, path, v, tag)
}

// setScalar sets v from text. It returns what was wanted when the YAML type is wrong; coerce lets text be a number.
func setScalar(v reflect.Value, n *node, text string, coerce bool) (wrong string, err error) {
	number := n.kind == kindNumber || coerce && n.kind == kindText
	switch x := v.Addr().Interface().(type) {
	case *time.Duration:
		if n.kind == kindBool {
			return "a duration such as 30s", nil
		}
		if _, e := strconv.Atoi(text); e == nil && coerce {
			text += "s" // the original's seconds
		}
		*x, err = parseDuration(text)
		return "", err
	case *Size:
		if n.kind == kindBool {
			return "a size such as 32MiB", nil
		}
		*x, err = parseSize(text)
		return "", err
	case *USD:
		if !number {
			return "an amount in dollars such as 50 or 0.25", nil
		}
		nano, e := parseAmount(text, 9)
		*x = USD(nano)
		return "", e
	case *PerMillion:
		if !number {
			return "dollars per million tokens such as 3 or 0.25", nil
		}
		micro, e := parseAmount(text, 6)
		*x = PerMillion(micro)
		return "", e
	case *time.Time:
		return "", setTime(x, text)
	}
	switch v.Kind() {
	case reflect.String:
		if n.kind != kindText && !(coerce && n.kind != kindNull) {
			return "text (put it in quotes)", nil
		}
		v.SetString(text)
	case reflect.Bool:
		b, e := strconv.ParseBool(strings.ToLower(text))
		if e != nil || n.kind != kindBool && !(coerce && n.kind == kindText) {
			return "true or false", nil
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		i, e := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
		if e != nil || !number || v.OverflowInt(i) {
			return "a whole number", nil
		}
		v.SetInt(i)
	case reflect.Float64:
		f, e := strconv.ParseFloat(text, 64)
		if e != nil || !number || math.IsNaN(f) || math.IsInf(f, 0) {
			return "a number", nil
		}
		v.SetFloat(f)
	}
	return "", nil
}

func setTime(t *time.Time, text string) (err error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if *t, err = time.Parse(layout, text); err == nil {
			return nil
		}
	}
	return fmt.Errorf("want a date such as 2026-12-31 or 2026-12-31T12:00:00Z, got %q", text)
}

// check applies the enum and check tags.
func (d *decoder) check(n *node, path string, v reflect.Value, tag reflect.StructTag) {
	if words := strings.Fields(tag.Get("enum")); len(words) > 0 && !slices.Contains(words, v.String()) {
		d.fail(n.place, path, "unknown value %q%s", v.String(), suggestion(v.String(), words))
	}
	switch tag.Get("check") {
	case "positive":
		if v.Int() <= 0 {
			d.fail(n.place, path, "must be greater than 0; leave the key out for the default")
		}
	case "url":
		if err := checkURL(v.String()); err != nil {
			d.fail(n.place, path, "%v", err)
		}
	}
}

// secret refuses what cannot be a credential. An empty one must never come to mean "no authentication".
func (d *decoder) secret(n *node, path, text string) Secret {
	source := ""
	if names := d.env[path]; len(names) > 0 {
		source = " (from " + strings.Join(names, ", ") + ")"
	}
	switch {
	case n.kind == kindBool:
		d.fail(n.place, path, "want a secret in quotes, got a boolean")
	case strings.TrimSpace(text) == "":
		d.fail(n.place, path, "the secret is empty%s; set it, or remove the key", source)
	case strings.TrimSpace(text) != text || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		d.fail(n.place, path, "the secret%s has white space around it or a line break in it; remove them", source)
	case strings.HasPrefix(text, "os.environ/"):
		d.fail(n.place, path, "os.environ/ is for LiteLLM's model_list; write ${%s}", strings.TrimPrefix(text, "os.environ/"))
	default:
		d.literal = d.literal || source == "" && !n.fromEnv
		return Secret(text)
	}
	return ""
}

func (s *Secrets) decodeNode(d *decoder, n *node, path string) {
	items, at := []*node{n}, func(int) string { return path }
	if n.kind == kindList {
		items, at = n.items, func(i int) string { return index(path, i) }
		if len(items) == 0 {
			d.fail(n.place, path, "an empty list of secrets; remove the key")
		}
	}
	seen := map[Secret]bool{}
	for i, item := range items {
		d.places[at(i)] = item.place
		text, ok := d.text(item, at(i), false)
		if !ok {
			continue
		}
		secret := d.secret(item, at(i), text)
		if secret != "" && seen[secret] {
			d.fail(item.place, at(i), "the same secret twice")
		}
		seen[secret] = true
		if secret != "" {
			*s = append(*s, secret)
		}
	}
}
