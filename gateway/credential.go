package gateway

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// clientCredential is what the client sent to identify itself.
type clientCredential struct {
	header   string // canonical name of the carrier it goes upstream in; "" when there is none
	value    Secret // with "Bearer " in Authorization
	bearer   bool   // came in Authorization
	key      Secret // a gateway key (ccp_…), which never goes upstream
	conflict bool   // two carriers, two values
}

// gatewayKeyPrefix marks the keys this gateway issues.
const gatewayKeyPrefix = "ccp_"

// dummyKey is what SDKs are given that have no key of their own: the original's
// documentation says that it is not real and the proxy handles authentication.
const dummyKey = "sk-proxy-dummy"

// takeCredential reads the client's credential from whatever carrier it came
// in. Equal values in two carriers are one credential.
func takeCredential(r *http.Request) clientCredential {
	var c clientCredential
	take := func(header, raw, value string, bearer bool) {
		switch {
		case value == "" || value == dummyKey:
		case strings.HasPrefix(value, gatewayKeyPrefix):
			c.conflict = c.conflict || c.key != "" && c.key != Secret(value)
			c.key = Secret(value)
		case c.header == "":
			c.header, c.value, c.bearer = header, Secret(raw), bearer
		case strings.TrimPrefix(c.value.Reveal(), "Bearer ") != value:
			c.conflict = true
		}
	}
	if v := r.Header["X-Ccproxy-Key"]; len(v) > 0 {
		c.key = Secret(v[0])
	}
	for _, v := range r.Header["Authorization"] {
		scheme, token, ok := strings.Cut(v, " ")
		if ok && strings.EqualFold(scheme, "bearer") {
			take("Authorization", "Bearer "+token, token, true)
		} else {
			take("Authorization", v, v, true)
		}
	}
	for _, h := range [...]string{"X-Api-Key", "X-Goog-Api-Key", "Api-Key"} {
		for _, v := range r.Header[h] {
			take(h, v, v, false)
		}
	}
	// The key in a Gemini URL moves to a header: URLs end up in logs.
	if strings.Contains(r.URL.RawQuery, "key=") {
		v := r.URL.Query().Get("key")
		take("X-Goog-Api-Key", v, v, false)
	}
	return c
}

// twoCredentials refuses a request that could be two callers'.
func twoCredentials() *Error {
	return Invalid("two different credentials were sent; send one of Authorization, x-api-key and x-goog-api-key")
}

// withoutKey returns a query without its key parameter, otherwise unchanged.
func withoutKey(query string) string {
	if !strings.Contains(query, "key=") {
		return query
	}
	kept := make([]string, 0, 4)
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		if n, err := url.QueryUnescape(name); err == nil && n == "key" {
			continue
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, "&")
}

// authorize puts the credential for a's target on h, in the order of DESIGN §5.
// A credential never travels to a provider it was not meant for.
func (g *Gateway) authorize(ctx context.Context, a *Attempt, h http.Header) (Secret, *Error) {
	x, p := a.Exchange, a.Target.Provider
	own := p == x.Snapshot.Router.Implied(x.Dialect)
	c := &x.credential
	forward := c.bearer && x.Snapshot.ForwardOAuth || !c.bearer && x.Snapshot.ForwardAPIKey || !p.HasCredential()
	if c.header != "" && own && forward {
		h[c.header] = []string{c.value.Reveal()}
		a.Credential = CredentialClient
		return c.value, nil
	}
	if len(p.Keys) > 0 {
		k := p.key(a.Target.Name)
		setKey(p, h, k)
		a.Credential = CredentialKey
		return k, nil
	}
	if p.Tokens != nil {
		tok, err := p.Tokens.Token(ctx)
		if err != nil {
			return "", &Error{Type: names.ErrorUpstreamAuthFailed, Origin: names.ErrorOriginGateway, Status: http.StatusBadGateway,
				Message: "no token for provider " + p.Name + ": its oat_sources command failed", Err: err}
		}
		setToken(p, h, tok)
		a.Credential = CredentialToken
		return tok, nil
	}
	a.Credential = CredentialNone
	if p.Anonymous || own {
		return "", nil
	}
	return "", &Error{Type: names.ErrorUpstreamAuthFailed, Origin: names.ErrorOriginGateway, Status: http.StatusBadGateway,
		Message: "no credential for provider " + p.Name + ": set providers." + p.Name + ".api_key (a client's own credential goes only to the provider its path implies)"}
}

func setKey(p *Provider, h http.Header, k Secret) {
	switch {
	case p.Family == "anthropic":
		h["X-Api-Key"] = []string{k.Reveal()}
	case p.Family == "gemini":
		h["X-Goog-Api-Key"] = []string{k.Reveal()}
	case p.Type == "azure":
		h["Api-Key"] = []string{k.Reveal()}
	default:
		h["Authorization"] = []string{"Bearer " + k.Reveal()}
	}
}

// oauthBeta is the beta value without which Anthropic refuses an OAuth token
// (reference: the original's add_beta_headers hook, 2026-04).
const oauthBeta = "oauth-2025-04-20"

func setToken(p *Provider, h http.Header, tok Secret) {
	h["Authorization"] = []string{"Bearer " + tok.Reveal()}
	if ua := p.Tokens.UserAgent(); ua != "" {
		h["User-Agent"] = []string{ua}
	}
	if p.Family == "anthropic" && strings.HasPrefix(tok.Reveal(), "sk-ant-oat") {
		betas := strings.Join(h["Anthropic-Beta"], ",")
		if !strings.Contains(betas, oauthBeta) {
			h["Anthropic-Beta"] = []string{strings.TrimPrefix(betas+","+oauthBeta, ",")}
		}
	}
}

// scrub masks the provider's secrets, and the credential in use, in what the
// client or telemetry will see (reliability S-22).
func scrub(body []byte, p *Provider, used Secret) []byte {
	list := p.secrets()
	if v := strings.TrimPrefix(used.Reveal(), "Bearer "); len(v) >= 8 {
		list = append(list, v)
	}
	s := string(body)
	changed := false
	for _, secret := range list {
		if strings.Contains(s, secret) {
			s, changed = strings.ReplaceAll(s, secret, "***"), true
		}
	}
	if !changed {
		return body
	}
	return []byte(s)
}
