package config

import (
	"bytes"
	_ "embed"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

//go:embed template.yaml
var template []byte

// Template returns a commented ccproxy.yaml that loads as the zero configuration. The caller owns the copy.
func Template() []byte { return bytes.Clone(template) }

// encoder is a type with a shape of its own in the file; nil leaves the key out.
type encoder interface{ encode() any }

// YAML returns the effective configuration: every limit with its value, references resolved, secrets as "***" with the
// environment variable they came from. A configuration without secrets loads again to itself.
func (c *Config) YAML() ([]byte, error) {
	e := yamlEncoder{env: c.env, comments: yaml.CommentMap{}}
	out, err := yaml.MarshalWithOptions(e.structure(reflect.ValueOf(*c), "", "$"), yaml.IndentSequence(true), yaml.WithComment(e.comments))
	if err != nil {
		return nil, fmt.Errorf("print configuration: %w", err)
	}
	return out, nil
}

// Masked is YAML, for printing where an error would have nowhere to go: it prints the error as a comment.
func (c *Config) Masked() []byte {
	out, err := c.YAML()
	if err != nil {
		return fmt.Appendf(nil, "# %v\n", err)
	}
	return out
}

type yamlEncoder struct {
	env      map[string][]string
	comments yaml.CommentMap
}

// structure encodes a struct. path is the key path as in places, yamlPath the library's.
func (e yamlEncoder) structure(v reflect.Value, path, yamlPath string) yaml.MapSlice {
	var out yaml.MapSlice
	keys, at := fields(v.Type())
	for _, key := range keys {
		tag := v.Type().Field(at[key]).Tag
		value := e.value(v.Field(at[key]), join(path, key), yamlKey(yamlPath, key), tag)
		if value == nil && tag.Get("keep") != "" {
			value = []any{}
		}
		if value != nil {
			out = append(out, yaml.MapItem{Key: key, Value: value})
		}
	}
	return out
}

// value returns v as the library prints it, nil for what is not set. Numbers and booleans are always set.
func (e yamlEncoder) value(v reflect.Value, path, yamlPath string, tag reflect.StructTag) any {
	switch x := v.Interface().(type) {
	case encoder:
		return x.encode()
	case Secret:
		if x == "" {
			return nil
		}
		if names := e.env[path]; len(names) > 0 {
			e.comments[yamlPath] = []*yaml.Comment{yaml.LineComment(" " + strings.Join(names, ", "))}
		}
		return mask
	case time.Duration:
		if x == 0 {
			return nil
		}
		return formatDuration(x)
	case Size:
		return x.String()
	case USD:
		if x == 0 && tag.Get("zero") == "" {
			return nil
		}
		return number(x.String())
	case PerMillion:
		return number(x.String())
	case time.Time:
		if x.IsZero() {
			return nil
		}
		return x.Format(time.RFC3339)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		if usd, ok := v.Interface().(*USD); ok {
			return number(usd.String()) // a limit of 0 blocks
		}
		return e.value(v.Elem(), path, yamlPath, tag)
	case reflect.Struct:
		if m := e.structure(v, path, yamlPath); len(m) > 0 {
			return m
		}
		return nil
	case reflect.Slice:
		return e.slice(v, path, yamlPath, tag)
	case reflect.Map:
		return e.mapping(v, path, yamlPath, tag)
	case reflect.String:
		if v.String() == "" {
			return nil
		}
		return escape(v.String(), tag)
	case reflect.Int, reflect.Int64:
		if v.Int() == 0 {
			return nil // no number here may be 0 and mean it, but for thresholds: see Rule
		}
		return v.Int()
	}
	return v.Interface()
}

// escape keeps a "${" that is in a value from being expanded when the output is loaded.
func escape(s string, tag reflect.StructTag) string {
	if tag.Get("raw") != "" {
		return s
	}
	return strings.ReplaceAll(s, "${", "$${")
}

// number is a decimal that is printed digit for digit, which a float would not be.
type number string

// MarshalYAML implements goccy/go-yaml's BytesMarshaler.
func (n number) MarshalYAML() ([]byte, error) { return []byte(n), nil }

func (e yamlEncoder) slice(v reflect.Value, path, yamlPath string, tag reflect.StructTag) any {
	if v.Len() == 0 {
		return nil
	}
	if tag.Get("named") != "" {
		var out yaml.MapSlice
		for i := range v.Len() {
			name := v.Index(i).FieldByName("Name").String()
			m := e.structure(v.Index(i), join(path, name), yamlKey(yamlPath, name))
			out = append(out, yaml.MapItem{Key: name, Value: m})
		}
		return out
	}
	if secrets, ok := v.Interface().(Secrets); ok && len(secrets) == 1 {
		return e.value(v.Index(0), path, yamlPath, tag)
	}
	var out []any
	for i := range v.Len() {
		out = append(out, e.value(v.Index(i), index(path, i), index(yamlPath, i), tag))
	}
	return out
}

func (e yamlEncoder) mapping(v reflect.Value, path, yamlPath string, tag reflect.StructTag) any {
	if v.Len() == 0 {
		return nil
	}
	var names []string
	for _, k := range v.MapKeys() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	var out yaml.MapSlice
	for _, name := range names {
		value := e.value(v.MapIndex(reflect.ValueOf(name)), join(path, name), yamlKey(yamlPath, name), tag)
		out = append(out, yaml.MapItem{Key: name, Value: value})
	}
	return out
}

// yamlKey appends key to a path in the library's notation.
func yamlKey(path, key string) string {
	if join("", key) != key {
		return path + ".'" + strings.ReplaceAll(key, "'", `\'`) + "'"
	}
	return path + "." + key
}

func (t Target) encode() any {
	if t.Weight == 1 {
		return escape(t.String(), "")
	}
	return yaml.MapSlice{{Key: "target", Value: escape(t.String(), "")}, {Key: "weight", Value: t.Weight}}
}

func (f Fallbacks) encode() any {
	list := func(targets []Target) []any {
		out := make([]any, len(targets))
		for i, t := range targets {
			out[i] = t.encode()
		}
		return out
	}
	if len(f.ByReason) == 0 {
		if len(f.Any) == 0 {
			return nil
		}
		return list(f.Any)
	}
	var out yaml.MapSlice
	if len(f.Any) > 0 {
		out = append(out, yaml.MapItem{Key: "any", Value: list(f.Any)})
	}
	for _, reason := range fallbackReasons {
		if targets, ok := f.ByReason[reason]; ok {
			out = append(out, yaml.MapItem{Key: reason, Value: list(targets)})
		}
	}
	return out
}

func (u UnknownPrice) encode() any {
	if u.Assume == nil {
		return "deny"
	}
	return yaml.MapSlice{{Key: "assume", Value: number(u.Assume.String())}}
}

func (p RuleParams) encode() any {
	if len(p.names) == 0 {
		return nil
	}
	var out yaml.MapSlice
	for _, name := range p.names {
		value := map[string]any{
			"model_name": escape(p.ModelName, ""), "threshold": p.Threshold, "tool_name": escape(p.ToolName, ""),
		}[name]
		out = append(out, yaml.MapItem{Key: name, Value: value})
	}
	return out
}
