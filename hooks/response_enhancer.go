package hooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
)

// responseEnhancer adds headers to answers, and takes headers of the provider's away. The headers X-CCProxy-… are the
// engine's and come without it.
type responseEnhancer struct {
	fixed  [][2]string // name and value
	filled []template
	remove []string
}

// placeholders are what a value may hold, in braces.
var placeholders = []string{"label", "original_model", "routed_model", "provider", "request_id"}

// template is a header whose value differs from exchange to exchange. Odd parts are placeholders.
type template struct {
	name  string
	parts []string
}

func newResponseEnhancer(params Params) (gateway.Hook, error) {
	var p struct {
		Set    map[string]string `yaml:"set"`
		Remove []string          `yaml:"remove"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	var h responseEnhancer
	var problems []error
	for name, value := range p.Set {
		if err := h.set(name, value); err != nil {
			problems = append(problems, fmt.Errorf("parameter set: %s: %w", name, err))
		}
	}
	for _, name := range p.Remove {
		if err := checkHeader(name); err != nil {
			problems = append(problems, fmt.Errorf("parameter remove: %w", err))
		}
		h.remove = append(h.remove, http.CanonicalHeaderKey(name))
	}
	return h, errors.Join(problems...)
}

func (h *responseEnhancer) set(name, value string) error {
	if err := errors.Join(checkHeader(name), checkHeaderValue(value)); err != nil {
		return err
	}
	parts, err := parseTemplate(value)
	if err != nil {
		return err
	}
	if len(parts) == 1 {
		h.fixed = append(h.fixed, [2]string{name, value})
		return nil
	}
	h.filled = append(h.filled, template{name, parts})
	return nil
}

// parseTemplate splits value into text and placeholders in turn.
func parseTemplate(value string) ([]string, error) {
	var parts []string
	for {
		text, rest, ok := strings.Cut(value, "{")
		parts = append(parts, text)
		if !ok {
			return parts, nil
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return nil, fmt.Errorf("%q lacks its closing brace", "{"+rest)
		}
		if !slices.Contains(placeholders, name) {
			return nil, fmt.Errorf("unknown placeholder {%s}%s", name, suggest(name, placeholders))
		}
		parts, value = append(parts, name), after
	}
}

// Name implements gateway.Hook.
func (responseEnhancer) Name() string { return "response_enhancer" }

// Begin implements gateway.Hook.
func (h responseEnhancer) Begin(_ context.Context, x *gateway.Exchange) (gateway.Phases, error) {
	var p gateway.Phases
	for _, f := range h.fixed {
		x.SetResponseHeader(f[0], f[1])
	}
	if len(h.filled) > 0 {
		// Now for an exchange that is refused, and again when the target is known.
		h.fill(x, "", "")
		p.Attempt = func(_ context.Context, a *gateway.Attempt) error {
			h.fill(x, a.Model(), a.Target.Provider.Name)
			return nil
		}
	}
	if len(h.remove) > 0 {
		p.Response = func(_ context.Context, a *gateway.Attempt) error {
			for _, name := range h.remove {
				delete(a.Response.Header, name)
			}
			return nil
		}
	}
	return p, nil
}

func (h responseEnhancer) fill(x *gateway.Exchange, model, provider string) {
	for _, t := range h.filled {
		var b strings.Builder
		for i, part := range t.parts {
			if i%2 == 0 {
				b.WriteString(part)
				continue
			}
			switch part {
			case "label":
				b.WriteString(known(x.Route.Label))
			case "original_model":
				b.WriteString(known(x.Call.Model))
			case "routed_model":
				b.WriteString(known(model))
			case "provider":
				b.WriteString(known(provider))
			case "request_id":
				b.WriteString(x.ID)
			}
		}
		x.SetResponseHeader(t.name, b.String())
	}
}

// known is s if a header can hold it. What is undecided reads "unknown", as in the headers of the engine.
func known(s string) string {
	if s == "" || len(s) > 256 || !printable(s) {
		return "unknown"
	}
	return s
}
