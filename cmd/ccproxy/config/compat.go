package config

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// The original's built-in hooks that exist here, and those that are new here.
var builtinHooks = []string{
	"rule_evaluator", "model_router", "forward_oauth", "forward_apikey", "extract_session_id", "capture_headers",
	"request_analyzer", "response_enhancer", "webhook",
}

// defaultHooks is what runs when the file has no hooks list.
var defaultHooks = []string{"rule_evaluator", "model_router", "forward_oauth", "request_analyzer", "response_enhancer"}

// ruleParams are the parameters of the built-in rules in their positional order.
var ruleParams = map[string][]string{
	"ThinkingRule":   nil,
	"MatchModelRule": {"model_name"},
	"TokenCountRule": {"threshold"},
	"MatchToolRule":  {"tool_name"},
}

var builtinRules = []string{"ThinkingRule", "MatchModelRule", "TokenCountRule", "MatchToolRule"}

// inert says what happens instead of a key of the original's that does nothing here.
var inert = map[string]string{
	"litellm.num_workers":    "ignored; one process uses every core",
	"litellm.debug":          "ignored; use ccproxy.debug",
	"litellm.detailed_debug": "ignored; use ccproxy.debug",
	"litellm.environment":    "ignored; set the variables where the gateway is started",
	"ccproxy.mitm":           "ignored; the gateway does not intercept other traffic",
	"ccproxy.otel":           "ignored; use telemetry.exporters",
	"ccproxy.statusline":     "ignored",
	"ccproxy.providers":      "ignored; use the providers section",
	"ccproxy.transforms":     "ignored; use rules and the models section",
}

func (h *Hook) decodeNode(d *decoder, n *node, path string) {
	if n.kind != kindMapping {
		text, ok := d.text(n, path, false)
		if ok && n.kind != kindText {
			d.fail(n.place, path, "want a hook's name or {hook, params}, got %s", n.got())
			return
		}
		h.Name = d.hookName(text, ok, n.place, path)
		return
	}
	d.structure(n, path, reflect.ValueOf(h).Elem())
	if name := n.get("hook"); name == nil {
		d.fail(n.place, path, `no "hook"; say which one`)
	} else {
		h.Name = d.hookName(h.Name, h.Name != "", name.place, path)
	}
}

func (h *Hook) dropped() bool { return h.Name == "" }

// hookName returns the short name, or "" after reporting that there is no such hook.
func (d *decoder) hookName(name string, ok bool, p Place, path string) string {
	if !ok {
		return ""
	}
	known := append(slices.Clone(builtinHooks), d.hooks...)
	short, original := strings.CutPrefix(name, "ccproxy.hooks.")
	switch {
	case slices.Contains(known, short):
		return short
	case slices.Contains(known, name):
		return name
	case original:
		d.cannotRun(p, path, "hook %q does not exist here%s", name, suggestion(short, known))
	case strings.ContainsAny(name, "./"):
		d.cannotRun(p, path, "hook %q is Python, which cannot run here; write it in Go or use the webhook hook", name)
	default:
		d.fail(p, path, "unknown hook %q%s", name, suggestion(name, known))
	}
	return ""
}

func (*RuleParams) decodeNode(*decoder, *node, string) {} // by Rule, who knows the names

func (r *Rule) decodeNode(d *decoder, n *node, path string) {
	r.Count, r.Path = "all", path
	d.structure(n, path, reflect.ValueOf(r).Elem())
	if n.kind != kindMapping {
		return
	}
	if r.Name == "" {
		d.fail(n.place, path, `no "name"; it becomes the label`)
	}
	if (r.Rule == "") == (r.When == "") {
		d.fail(n.place, path, `want either "rule" or "when"`)
		r.Rule = ""
		return
	}
	params := n.get("params")
	if r.When != "" {
		if params != nil {
			d.fail(params.place, join(path, "params"), `"when" takes none; write the values into the expression`)
		}
		return
	}
	full := r.Rule
	r.Rule = strings.TrimPrefix(full, "ccproxy.rules.")
	if _, ok := ruleParams[r.Rule]; ok {
		r.bind(d, params, n.place, path)
		return
	}
	r.Rule = ""
	at := n.get("rule").place
	if strings.HasPrefix(full, "ccproxy.rules.") || !strings.Contains(full, ".") {
		short := strings.TrimPrefix(full, "ccproxy.rules.")
		d.cannotRun(at, path, "unknown rule %q%s", full, suggestion(short, builtinRules))
		return
	}
	d.cannotRun(at, path, `rule %q is Python, which cannot run here; write it as "when"`, full)
}

func (r *Rule) dropped() bool { return r.Rule == "" && r.When == "" }

// bind assigns params, in any of the original's shapes, to the rule's names: a list of mappings and a mapping by name,
// a list of scalars and a scalar by position.
func (r *Rule) bind(d *decoder, params *node, p Place, path string) {
	names := ruleParams[r.Rule]
	given := map[string]*node{}
	path = join(path, "params")
	positional := func(values []*node) {
		for i, v := range values {
			if i >= len(names) {
				d.cannotRun(v.place, path, "%s takes %d parameters", r.Rule, len(names))
				return
			}
			given[names[i]] = v
		}
	}
	byName := func(m *node) {
		for _, kv := range m.pairs {
			if !slices.Contains(names, kv.key) {
				d.cannotRun(kv.place, path, "%s has no parameter %q%s", r.Rule, kv.key, suggestion(kv.key, names))
				continue
			}
			given[kv.key] = kv.value
		}
	}
	switch {
	case params == nil || params.kind == kindNull:
	case params.kind == kindMapping:
		byName(params)
	case params.kind == kindList && len(params.items) > 0 && params.items[0].kind == kindMapping:
		for _, item := range params.items {
			byName(item)
		}
	case params.kind == kindList:
		positional(params.items)
	default:
		positional([]*node{params})
	}
	r.Params.names = names
	v := reflect.ValueOf(&r.Params).Elem()
	_, at := fields(v.Type())
	for _, name := range names {
		if given[name] == nil {
			d.fail(p, path, "%s needs %q", r.Rule, name)
			continue
		}
		d.value(given[name], join(path, name), v.Field(at[name]), v.Type().Field(at[name]).Tag)
	}
	if r.Params.Threshold < 0 {
		d.fail(given["threshold"].place, path, "threshold must not be negative")
	}
}

func (s *OATSource) decodeNode(d *decoder, n *node, path string) {
	if n.kind == kindMapping {
		d.structure(n, path, reflect.ValueOf(s).Elem())
	} else {
		d.scalar(n, path, reflect.ValueOf(&s.Command).Elem(), `raw:"true"`)
	}
	switch blank := strings.TrimSpace(s.Command) == ""; {
	case blank && s.Source == "":
		d.fail(n.place, path, "no command; give one that prints the token, or remove the key")
	case !blank && s.Source != "":
		d.fail(n.place, path, "both a command and a source; give one of them")
	}
}

// credentials moves the deprecated key to oat_sources.
func (d *decoder) credentials(c *CCProxy) {
	if c.Credentials == "" {
		return
	}
	const path = "ccproxy.credentials"
	if _, both := c.OATSources["anthropic"]; both {
		d.warn(d.at(path), path, "deprecated, and ignored because oat_sources.anthropic is set")
	} else {
		d.warn(d.at(path), path, "deprecated; read as oat_sources.anthropic")
		d.places["ccproxy.oat_sources.anthropic"] = d.at(path)
		if c.OATSources == nil {
			c.OATSources = map[string]OATSource{}
		}
		c.OATSources["anthropic"] = OATSource{Command: c.Credentials}
	}
	c.Credentials = ""
}

// oauthDefaults fills in what a token's source does not say.
func oauthDefaults(c *CCProxy) {
	for name, s := range c.OATSources {
		if s.TTL == 0 {
			s.TTL = c.OAuthTTL
		}
		if s.Refresh == 0 {
			s.Refresh = time.Duration(float64(s.TTL) * c.OAuthRefreshBuffer)
		}
		c.OATSources[name] = s
	}
}
