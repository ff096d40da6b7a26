package openai

import (
	"io"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

var (
	_ gateway.Dialect       = (*chat)(nil)
	_ gateway.UsageInjector = (*chat)(nil)
	_ gateway.Dialect       = (*completions)(nil)
	_ gateway.UsageInjector = (*completions)(nil)
	_ gateway.Dialect       = (*responses)(nil)
	_ gateway.Dialect       = (*inputTokens)(nil)
	_ gateway.Dialect       = (*embeddings)(nil)
)

// family is the part of a dialect that all of OpenAI's APIs share.
type family struct {
	name, operation, path string
	fields                fields
}

// Name implements [gateway.Dialect].
func (f *family) Name() string { return f.name }

// Family implements [gateway.Dialect].
func (f *family) Family() string { return "openai" }

// Operation implements [gateway.Dialect].
func (f *family) Operation() string { return f.operation }

// Path implements [gateway.Dialect]. A base URL of this family ends in the
// version, as the vendor's SDK takes it.
func (f *family) Path(*gateway.Call, string) string { return f.path }

// Events implements [gateway.Dialect]. Streams of this family are server-sent
// events whatever the content type says.
func (f *family) Events(body io.Reader, _ string) gateway.EventReader {
	return gateway.ServerSentEvents(body)
}

// setString stores the string at s in dst unless it is empty, absent or what
// dst already holds.
func setString(dst *string, doc []byte, s jsonscan.Span) {
	if raw, ok := jsonscan.RawString(doc, s); ok && (len(raw) == 0 || string(raw) == *dst) {
		return
	}
	if v, ok := jsonscan.String(doc, s); ok && v != "" {
		*dst = clip(v)
	}
}

// stringIs reports whether the value at s is the string want.
func stringIs(doc []byte, s jsonscan.Span, want string) bool {
	raw, ok := jsonscan.RawString(doc, s)
	if ok {
		return string(raw) == want
	}
	v, ok := jsonscan.String(doc, s)
	return ok && v == want
}
