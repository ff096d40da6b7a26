package gateway

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// serveOpaque serves every path that is no dialect's: pass-through of a known
// provider's paths where the configuration allows them, else a clear refusal.
func (g *Gateway) serveOpaque(ctx context.Context, rp *reply) {
	x, r := rp.x, rp.x.Request
	if refused := g.refuseOther(rp, r); refused {
		return
	}
	p := passthroughProvider(x.Snapshot, r.URL.Path)
	if p == nil {
		// The client understands its own vendor's shape only.
		rp.errors = g.family(r)
		rp.fail(unknownPath(r))
		return
	}
	body, err := readOpaque(rp.w, r, x.Snapshot.Limits)
	if err != nil {
		rp.fail(err)
		return
	}
	x.Body = body
	if x.credential.conflict {
		rp.fail(twoCredentials())
		return
	}
	if err := x.admit(); err != nil {
		rp.errors = g.family(r)
		rp.fail(err)
		return
	}
	x.readCaller()
	x.Route = Route{Label: "default", Reason: names.RouteReasonPassthrough, Passthrough: true, Provider: p.Name}
	x.Call.Action = opaquePath(p, r.URL.EscapedPath())
	g.dispatchOpaque(ctx, rp, p)
}

// refuseOther answers what is known and not served: the WebSocket form of the
// Responses API, a known path with another method, and Claude Code's probes
// (HEAD /api/hello; HEAD / as of 2.1.197).
func (g *Gateway) refuseOther(rp *reply, r *http.Request) bool {
	path := r.URL.Path
	if probes(r) {
		rp.answer(http.StatusOK, http.Header{"Content-Type": {"text/plain"}}, nil)
		return true
	}
	known := g.exact[path]
	if r.Method == http.MethodHead && known["GET"] != nil {
		rp.answer(http.StatusOK, http.Header{"Content-Type": {"application/json"}}, nil)
		return true
	}
	if known == nil {
		return false
	}
	e := &Error{Type: names.ErrorInvalidRequestError, Origin: names.ErrorOriginCaller, Reason: names.RejectionInvalid,
		Status: http.StatusMethodNotAllowed, Message: methodName(r.Method) + " is not allowed on " + clip(path)}
	allow := make([]string, 0, len(known))
	for m, rt := range known {
		allow = append(allow, m)
		rp.errors = rt.dialect
	}
	h := rp.w.Header()
	h.Set("Allow", strings.Join(allow, ", "))
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		// Codex falls back to HTTP at once on 426, and after six attempts on 404.
		e.Status, e.Message = http.StatusUpgradeRequired, "WebSockets are not served here; use HTTP with server-sent events"
		h.Set("Upgrade", "HTTP/1.1")
	}
	rp.fail(e)
	return true
}

// probes reports whether a request only asks whether somebody is there, as
// Claude Code does. It needs no key.
func probes(r *http.Request) bool {
	path := r.URL.Path
	return path == "/api/hello" && r.Method == http.MethodGet || (path == "/api/hello" || path == "/") && r.Method == http.MethodHead
}

// passthroughProvider finds the provider that lists path.
func passthroughProvider(s *Snapshot, path string) *Provider {
	if strings.Contains(path, "..") || strings.Contains(path, "//") {
		return nil
	}
	for _, p := range s.Providers {
		for _, allowed := range p.Passthrough {
			prefix, wild := strings.CutSuffix(allowed, "*")
			if path == allowed || wild && strings.HasPrefix(path, prefix) {
				return p
			}
		}
	}
	return nil
}

// opaquePath is the path below a provider's base URL. OpenAI's ends in /v1.
func opaquePath(p *Provider, path string) string {
	if base := strings.TrimSuffix(p.BaseURL.EscapedPath(), "/"); base != "" && p.Family == "openai" {
		if i := strings.LastIndexByte(base, '/'); i >= 0 {
			if rest, ok := strings.CutPrefix(path, base[i:]+"/"); ok {
				return "/" + rest
			}
		}
	}
	return path
}

func readOpaque(w http.ResponseWriter, r *http.Request, lim Limits) ([]byte, *Error) {
	if len(r.TransferEncoding) > 0 {
		w.Header().Set("Connection", "close")
	}
	if r.ContentLength > lim.Body {
		return nil, tooLarge(lim.Body)
	}
	body, err := readAtMost(r.Body, lim.Body, r.ContentLength)
	if err == errTooLarge {
		w.Header().Set("Connection", "close")
		return nil, tooLarge(lim.Body)
	}
	if err != nil {
		e := Invalid("the request body could not be read to its end")
		e.Err = err
		return nil, e
	}
	return body, nil
}

// dispatchOpaque makes the one attempt of a pass-through call.
func (g *Gateway) dispatchOpaque(ctx context.Context, rp *reply, p *Provider) {
	x := rp.x
	t := Target{Provider: p, Name: p.Name}
	x.Route.Targets = []Target{t}
	if err := x.narrow(); err != nil {
		rp.errors = g.family(x.Request)
		rp.fail(err)
		return
	}
	a := newAttempt(x, t)
	x.Attempts = append(x.Attempts, a)
	header := copyRequestHeader(x.Request.Header)
	if ct := x.Request.Header["Content-Encoding"]; ct != nil {
		header["Content-Encoding"] = ct
	}
	for k, v := range p.Header {
		header[k] = v
	}
	header["Accept-Encoding"] = []string{"identity"}
	used, err := g.authorizeOpaque(ctx, a, header)
	if err == nil {
		err = a.setAside(ctx)
	}
	if err != nil {
		a.Err = err
		rp.errors = g.family(x.Request)
		rp.fail(err)
		return
	}
	uctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x.cancel.run(cancel, 0)
	defer x.cancel.done()
	u := &upstream{g: g, base: ctx, ctx: uctx, cancel: cancel, a: a, rp: rp, header: header, used: used}
	u.runOpaque()
	if a.Err != nil && !rp.committed {
		rp.fail(a.Err)
	}
}

// authorizeOpaque is authorize for a path whose provider is the only one it
// could mean.
func (g *Gateway) authorizeOpaque(ctx context.Context, a *Attempt, h http.Header) (Secret, *Error) {
	c, p := &a.Exchange.credential, a.Target.Provider
	if c.header != "" && !p.HasCredential() {
		h[c.header] = []string{c.value.Reveal()}
		a.Credential = CredentialClient
		return c.value, nil
	}
	return g.authorize(ctx, a, h)
}

func (u *upstream) runOpaque() {
	a, x, rp := u.a, u.a.Exchange, u.rp
	a.Issued = time.Now()
	u.dog = newWatchdog(u.cancel, u.headerTimeout(), errHeaderTimeout)
	defer u.dog.stop()
	a.Sent = a.Issued
	resp, err := u.sendFresh()
	x.wait += time.Since(a.Issued)
	if err != nil {
		a.Err = u.transportError(err)
		return
	}
	defer resp.Body.Close()
	a.Response, a.UpstreamID = resp, upstreamID(resp.Header)
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		a.Err = &Error{Type: names.ErrorServerError, Origin: names.ErrorOriginProvider, Status: http.StatusBadGateway,
			Message: "provider " + a.Target.Provider.Name + " answered with a redirect; check its base_url"}
		return
	}
	if resp.StatusCode >= 400 {
		a.Err = u.readError(resp)
		u.refuseKey(fallbackReason(a.Err, a.Credential))
		x.Err = a.Err
		rp.answer(resp.StatusCode, resp.Header, a.answer)
		return
	}
	copyResponseHeader(rp.w.Header(), resp.Header)
	rp.commit(resp.StatusCode)
	defer rp.relax()
	a.Err = u.copyBody(resp, nil)
	if a.Err != nil {
		x.Err = a.Err
	}
}
