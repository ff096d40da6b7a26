package route

import (
	"net/textproto"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Variable is a name an expression may use.
type Variable struct {
	Name string // such as "call.model"
	Type string // as CEL writes it
	Doc  string
}

// Variables lists what an expression under when: may use, beside CEL's standard
// functions and macros and its string functions. A name that is not listed is
// an error when the configuration is loaded. In headers and caller.tags an
// absent key reads as "": use `in` or has() to tell.
func Variables() []Variable {
	out := make([]Variable, len(variables))
	for i, v := range variables {
		out[i] = Variable{v.name, cel.FormatCELType(v.typ), v.doc}
	}
	return out
}

// variables are dotted names instead of messages: the checker still knows each
// field and its type, and each is worked out only when an expression reads it.
var variables = []struct {
	name string
	typ  *cel.Type
	doc  string
	get  func(*facts) any
}{
	{"call.model", cel.StringType, "model as the client named it", func(f *facts) any { return f.x.Call.Model }},
	{"call.operation", cel.StringType, `"chat", "text_completion", "embeddings", "generate_content", or ""`, func(f *facts) any { return f.x.Call.Operation }},
	{"call.dialect", cel.StringType, `such as "anthropic.messages"`, func(f *facts) any { return f.x.Dialect.Name() }},
	{"call.stream", cel.BoolType, "whether a stream is asked for", func(f *facts) any { return f.x.Call.Stream }},
	{"call.max_tokens", cel.IntType, "upper bound on output tokens, 0 when none is given", func(f *facts) any { return f.x.Call.MaxTokens }},
	{"call.messages", cel.IntType, "number of messages", func(f *facts) any { return int64(f.x.Call.Messages) }},
	{"call.tools", cel.ListType(cel.StringType), "names of the tools on offer, at most 1,000", func(f *facts) any { return types.NewStringList(types.DefaultTypeAdapter, f.x.Call.Tools) }},
	{"call.tool_count", cel.IntType, "number of tools on offer", func(f *facts) any { return int64(f.x.Call.ToolCount) }},
	{"call.thinking", cel.BoolType, "whether thinking or reasoning is asked for", func(f *facts) any { return f.x.Call.Thinking }},
	{"call.reasoning_level", cel.StringType, `effort as sent, such as "high"`, func(f *facts) any { return f.x.Call.ReasoningLevel }},
	{"call.images", cel.IntType, "number of images in the prompt", func(f *facts) any { return int64(f.x.Call.Images) }},
	{"call.session", cel.StringType, "session id, as the caller's", func(f *facts) any { return session(f) }},
	{"call.input_tokens", cel.IntType, "estimated tokens of the prompt", func(f *facts) any { return f.inputTokens() }},
	{"call.service_tier", cel.StringType, "service tier asked for", func(f *facts) any { return f.x.Call.ServiceTier }},
	{"caller.key", cel.StringType, `id of the virtual key, "" without one`, func(f *facts) any { return f.x.Caller.KeyID }},
	{"caller.alias", cel.StringType, "alias of the virtual key", func(f *facts) any { return f.x.Caller.KeyAlias }},
	{"caller.team", cel.StringType, "team of the virtual key", func(f *facts) any { return f.x.Caller.Team }},
	{"caller.user", cel.StringType, "end user the request names", func(f *facts) any { return f.x.Caller.User }},
	{"caller.session", cel.StringType, "session the request belongs to", func(f *facts) any { return session(f) }},
	{"caller.tags", cel.MapType(cel.StringType, cel.StringType), "tags of X-CCProxy-Tags", func(f *facts) any { return &textMap{tagSource(f.x.Caller.Tags)} }},
	{"caller.loopback", cel.BoolType, "whether the connection comes from this machine", func(f *facts) any { return f.x.Caller.Loopback }},
	{"headers", cel.MapType(cel.StringType, cel.StringType), "request headers by lower-case name, first value; credentials are left out", func(f *facts) any { return &textMap{headerSource{f}} }},
}

// getters finds a variable by name.
var getters = func() map[string]func(*facts) any {
	m := make(map[string]func(*facts) any, len(variables))
	for _, v := range variables {
		m[v.name] = v.get
	}
	return m
}()

// ResolveName implements cel.Activation.
func (f *facts) ResolveName(name string) (any, bool) {
	get := getters[name]
	if get == nil {
		return nil, false
	}
	return get(f), true
}

// Parent implements cel.Activation.
func (f *facts) Parent() cel.Activation { return nil }

func session(f *facts) string {
	if s := f.x.Caller.Session; s != "" {
		return s
	}
	return f.x.Call.Session
}

// textSource is a map of text that need not be built.
type textSource interface {
	get(key string) (string, bool)
	keys() []string // sorted
}

type tagSource map[string]string

func (t tagSource) get(key string) (string, bool) { v, ok := t[key]; return v, ok }
func (t tagSource) keys() []string {
	out := make([]string, 0, len(t))
	for k := range t {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

type headerSource struct{ f *facts }

// secretHeaders may carry credentials, and no expression reads them.
var secretHeaders = map[string]bool{
	"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "X-Api-Key": true, "Api-Key": true, "X-Goog-Api-Key": true,
	"X-Ccproxy-Key": true, "X-Amz-Security-Token": true, "X-Auth-Token": true, "X-Access-Token": true,
}

func (h headerSource) get(key string) (string, bool) {
	if h.f.x.Request == nil {
		return "", false
	}
	key = textproto.CanonicalMIMEHeaderKey(key)
	if secretHeaders[key] {
		return "", false
	}
	v := h.f.x.Request.Header[key]
	if len(v) == 0 {
		return "", false
	}
	return v[0], true
}

func (h headerSource) keys() []string {
	if h.f.x.Request == nil {
		return nil
	}
	out := make([]string, 0, len(h.f.x.Request.Header))
	for k, v := range h.f.x.Request.Header {
		if len(v) > 0 && !secretHeaders[k] {
			out = append(out, strings.ToLower(k))
		}
	}
	slices.Sort(out)
	return out
}

// textMap shows a textSource to CEL as map(string, string), except that an
// absent key reads as "": otherwise every rule about a header would fail on
// every request without it. It is no traits.Mapper on purpose: CEL would then
// take has() from Find, which must say yes to every key.
type textMap struct{ src textSource }

var (
	_ traits.Indexer     = (*textMap)(nil)
	_ traits.FieldTester = (*textMap)(nil)
	_ traits.Container   = (*textMap)(nil)
	_ traits.Iterable    = (*textMap)(nil)
	_ traits.Sizer       = (*textMap)(nil)
)

// Get implements traits.Indexer.
func (m *textMap) Get(key ref.Val) ref.Val {
	k, ok := key.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(key)
	}
	v, _ := m.src.get(string(k))
	return types.String(v)
}

// IsSet implements traits.FieldTester.
func (m *textMap) IsSet(key ref.Val) ref.Val { return m.Contains(key) }

// Contains implements traits.Container.
func (m *textMap) Contains(key ref.Val) ref.Val {
	k, ok := key.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(key)
	}
	_, found := m.src.get(string(k))
	return types.Bool(found)
}

// Size implements traits.Sizer.
func (m *textMap) Size() ref.Val { return types.Int(len(m.src.keys())) }

// Iterator implements traits.Iterable; it yields the keys.
func (m *textMap) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, m.src.keys()).Iterator()
}

// ConvertToNative implements ref.Val.
func (m *textMap) ConvertToNative(t reflect.Type) (any, error) { return m.plain().ConvertToNative(t) }

// ConvertToType implements ref.Val.
func (m *textMap) ConvertToType(t ref.Type) ref.Val { return m.plain().ConvertToType(t) }

// Equal implements ref.Val.
func (m *textMap) Equal(other ref.Val) ref.Val {
	if o, ok := other.(*textMap); ok {
		other = o.plain()
	}
	return m.plain().Equal(other)
}

// Type implements ref.Val.
func (m *textMap) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (m *textMap) Value() any { return m.plain().Value() }

func (m *textMap) plain() traits.Mapper {
	keys := m.src.keys()
	out := make(map[string]string, len(keys))
	for _, k := range keys {
		out[k], _ = m.src.get(k)
	}
	return types.NewStringStringMap(types.DefaultTypeAdapter, out)
}
