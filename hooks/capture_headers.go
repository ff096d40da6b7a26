package hooks

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ccproxy/ccproxy/gateway"
)

// The attribute templates of the HTTP conventions: header names in lower case, values string[].
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/ (stable)
const (
	requestHeaderPrefix  = "http.request.header."
	responseHeaderPrefix = "http.response.header."
)

// maxHeaders bounds the headers one message puts on a span: a pattern may match what a client makes up.
const maxHeaders = 32

// maxValues bounds the values kept of one header.
const maxValues = 8

// The headers captured unless configuration names others: what tells clients, features and requests apart.
var (
	defaultRequestHeaders = []string{
		"user-agent", "x-request-id", "x-app", "anthropic-beta", "anthropic-version", "openai-beta", "x-goog-api-client",
		"x-stainless-*", "x-claude-code-*",
	}
	defaultResponseHeaders = []string{
		"request-id", "x-request-id", "retry-after", "openai-version", "openai-processing-ms", "anthropic-ratelimit-*", "x-ratelimit-*",
	}
)

// captureHeaders puts headers on the SERVER span, credentials masked.
type captureHeaders struct {
	request  headerSet
	response headerSet // empty: none
}

func newCaptureHeaders(params Params) (gateway.Hook, error) {
	var p struct {
		Headers  []string `yaml:"headers"`
		Response bool     `yaml:"response"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	request, response := p.Headers, p.Headers
	if p.Headers == nil {
		request, response = defaultRequestHeaders, defaultResponseHeaders
	}
	if !p.Response {
		response = nil
	}
	var h captureHeaders
	var err error
	if h.request, err = newHeaderSet(request, requestHeaderPrefix); err != nil {
		return nil, err
	}
	h.response, err = newHeaderSet(response, responseHeaderPrefix)
	return h, err
}

// Name implements gateway.Hook.
func (captureHeaders) Name() string { return "capture_headers" }

// Begin implements gateway.Hook.
func (h captureHeaders) Begin(_ context.Context, x *gateway.Exchange) (gateway.Phases, error) {
	if x.Span == nil || !x.Span.IsRecording() {
		return gateway.Phases{}, nil
	}
	x.SetAttributes(h.request.attributes(x.Request.Header)...)
	if h.response.empty() {
		return gateway.Phases{}, nil
	}
	// At the end, because a failed answer has headers too.
	return gateway.Phases{End: func(_ context.Context, x *gateway.Exchange) error {
		if a := x.Final(); a != nil && a.Response != nil {
			x.SetAttributes(h.response.attributes(a.Response.Header)...)
		}
		return nil
	}}, nil
}

// headerSet is a choice of headers.
type headerSet struct {
	prefix string // of the attributes
	exact  []exactHeader
	starts []string // lower case; what precedes a *
}

type exactHeader struct {
	key       string // as in http.Header
	lower     string
	attribute string
}

func newHeaderSet(patterns []string, prefix string) (headerSet, error) {
	s := headerSet{prefix: prefix}
	for _, p := range patterns {
		lower := strings.ToLower(p)
		if start, ok := strings.CutSuffix(lower, "*"); ok {
			if start != "" && checkHeaderName(start) != nil || strings.Contains(start, "*") {
				return s, fmt.Errorf("parameter headers: %q: a * may only end a name", p)
			}
			s.starts = append(s.starts, start)
			continue
		}
		if strings.Contains(lower, "*") {
			return s, fmt.Errorf("parameter headers: %q: a * may only end a name", p)
		}
		if err := checkHeaderName(p); err != nil {
			return s, fmt.Errorf("parameter headers: %w", err)
		}
		s.exact = append(s.exact, exactHeader{http.CanonicalHeaderKey(p), lower, prefix + lower})
	}
	return s, nil
}

func (s headerSet) empty() bool { return len(s.exact) == 0 && len(s.starts) == 0 }

// attributes returns the chosen headers of h.
func (s headerSet) attributes(h http.Header) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, 16)
	for _, e := range s.exact {
		if v := h[e.key]; len(v) > 0 && len(out) < maxHeaders {
			out = append(out, attribute.StringSlice(e.attribute, captureAll(e.lower, v)))
		}
	}
	if len(s.starts) == 0 {
		return out
	}
	var found []string
	for key := range h {
		if len(key) <= 100 && s.matches(strings.ToLower(key)) {
			found = append(found, key)
		}
	}
	slices.Sort(found) // so that the bound always leaves out the same ones
	for _, key := range found[:min(len(found), maxHeaders-len(out))] {
		lower := strings.ToLower(key)
		out = append(out, attribute.StringSlice(s.prefix+lower, captureAll(lower, h[key])))
	}
	return out
}

// matches reports whether a pattern, and no exact name, chooses the header.
func (s headerSet) matches(lower string) bool {
	for _, e := range s.exact {
		if e.lower == lower {
			return false
		}
	}
	for _, start := range s.starts {
		if strings.HasPrefix(lower, start) {
			return true
		}
	}
	return false
}

func captureAll(lower string, values []string) []string {
	out := make([]string, 0, min(len(values), maxValues))
	for _, v := range values[:min(len(values), maxValues)] {
		out = append(out, capture(lower, v))
	}
	return out
}
