package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"
)

// Secret is a string that prints as ***.
type Secret string

// String implements fmt.Stringer.
func (Secret) String() string { return "***" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "***" }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// TokenSource yields a bearer token that is bound to one provider.
// Implementations are safe for concurrent use.
type TokenSource interface {
	// Token returns the current token, fetching it if need be.
	Token(ctx context.Context) (Secret, error)
	// Refresh replaces a token the provider refused. It returns a token that
	// differs from refused, or an error.
	Refresh(ctx context.Context, refused Secret) (Secret, error)
	// UserAgent is sent with the token; "": the client's own.
	UserAgent() string
}

// CredentialSource says whose credential an attempt used.
type CredentialSource string

// The credential sources.
const (
	CredentialNone   CredentialSource = "none"
	CredentialClient CredentialSource = "client"
	CredentialKey    CredentialSource = "api_key"
	CredentialToken  CredentialSource = "oauth"
)

// Provider is a place that serves models. The exported fields are read-only
// once the provider is in use; the state of its keys inside is safe for
// concurrent use.
type Provider struct {
	Name    string   // as in configuration
	Type    string   // anthropic, openai, gemini, openai_compatible, …
	Family  string   // of the dialects it speaks: anthropic, openai, gemini
	GenAI   string   // gen_ai.provider.name
	BaseURL *url.URL // as the vendor's SDK takes it

	Keys   []Secret    // API keys; the next is used when one is throttled or out of credit
	Tokens TokenSource // nil: none
	// Anonymous says that the provider needs no credential (a local server).
	Anonymous bool
	// Header is added to each request; the client cannot override it.
	Header http.Header
	// Passthrough lists the paths that may be relayed unobserved, such as
	// "/v1/files"; a trailing * matches what follows.
	Passthrough []string
	// PassthroughPrice is what one such request costs; absent: not known.
	PassthroughPrice Optional[NanoUSD]
	// Propagate sends traceparent to the provider.
	Propagate bool
	// Billing says whether what it does is billed: names.CostBilling…; "":
	// metered.
	Billing string
	// KeepUsage turns off asking for usage on the client's behalf.
	KeepUsage bool
	// Drain reads a stream to its end, within bounds, when the client leaves.
	Drain bool
	// HeaderTimeout and StreamHeaderTimeout bound the wait for response
	// headers of plain and streamed calls; IdleTimeout the gap between events.
	// 0: the snapshot's.
	HeaderTimeout, StreamHeaderTimeout, IdleTimeout time.Duration
	// Transport sends the requests; nil: the gateway's.
	Transport http.RoundTripper

	keys atomic.Pointer[keyring] // state of Keys; nil until needed
}

// Speaks reports whether the provider understands requests in d.
func (p *Provider) Speaks(d Dialect) bool {
	return d.Family() == "" || d.Family() == p.Family
}

// HasCredential reports whether the provider has a credential of its own.
func (p *Provider) HasCredential() bool { return len(p.Keys) > 0 || p.Tokens != nil }

// secrets returns every static secret of the provider, longest first, for
// scrubbing answers.
func (p *Provider) secrets() []string {
	out := make([]string, 0, len(p.Keys))
	for _, k := range p.Keys {
		if len(k) >= 8 {
			out = append(out, k.Reveal())
		}
	}
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}
