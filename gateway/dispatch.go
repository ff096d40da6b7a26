package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// dispatch tries the targets until one answers.
func (g *Gateway) dispatch(ctx context.Context, rp *reply) {
	x := rp.x
	x.queue = x.Route.Targets
	g.retries.deposit(x.Snapshot.Limits.RetryBudget)
	t, trial, ok := g.first(ctx, x)
	if !ok {
		rp.fail(x.circuitOpen())
		return
	}
	var prev *Attempt
	for {
		a := g.attempt(ctx, rp, t, trial, prev)
		if a.Err == nil || rp.committed || x.ClientGone() {
			if x.Err == nil {
				x.Err = a.Err
			}
			return
		}
		reason := fallbackReason(a.Err, a.Credential)
		if x.extend(reason); reason == "" || len(x.Attempts)+x.retries >= x.Snapshot.Limits.Attempts {
			rp.giveUp(a)
			return
		}
		if t, trial, ok = g.next(ctx, x); !ok {
			rp.giveUp(a)
			return
		}
		a.WillRetry, a.ResultKind = true, names.AttemptResultSuperseded
		g.retries.charge()
		x.fellBack(reason)
		g.closeAttempt(ctx, a)
		g.recorder.FellBack(ctx, x, a.Target, t, reason, 0)
		prev = a
	}
}

// first takes the first target to try. When the circuits of all are open, the
// fallbacks for that follow.
func (g *Gateway) first(ctx context.Context, x *Exchange) (Target, Trial, bool) {
	t, trial, ok := g.next(ctx, x)
	if ok {
		return t, trial, true
	}
	x.extend(names.FallbackCircuitOpen)
	if t, trial, ok = g.next(ctx, x); ok {
		x.fellBack(names.FallbackCircuitOpen)
		g.recorder.FellBack(ctx, x, x.Route.Targets[0], t, names.FallbackCircuitOpen, 0)
	}
	return t, trial, ok
}

func (x *Exchange) fellBack(reason string) {
	x.Fallbacks++
	x.FallbackWhy = reason
}

// extend puts the fallbacks for reason that were not in the queue yet at its end.
func (x *Exchange) extend(reason string) {
	if reason == "" || x.extended == reason {
		return
	}
	x.extended = reason
	for _, list := range [2][]Target{x.Route.Fallbacks[reason], x.Route.Fallbacks[""]} {
		for _, t := range list {
			if !x.had(t) && !x.denied(t) {
				// A copy: the first queue is the router's.
				x.queue = append(x.queue[:len(x.queue):len(x.queue)], t)
				x.later = append(x.later, t)
			}
		}
	}
}

// had reports whether t has been in the queue already, under whatever name: a
// target without a model asks for the client's.
func (x *Exchange) had(t Target) bool {
	same := func(q Target) bool { return q.Provider == t.Provider && x.effective(q) == x.effective(t) }
	return slices.ContainsFunc(x.Route.Targets, same) || slices.ContainsFunc(x.later, same)
}

func (x *Exchange) effective(t Target) string {
	if t.Model == "" {
		return x.Call.Model
	}
	return t.Model
}

// giveUp answers with what the last attempt failed of: the provider's own
// words where it had any, because clients match them.
func (rp *reply) giveUp(a *Attempt) {
	e := a.Err
	rp.x.Err = e
	ours := a.Credential == CredentialKey || a.Credential == CredentialToken
	if ours && (e.Type == names.ErrorAuthenticationError || e.Type == names.ErrorPermissionError) {
		rp.fail(&Error{Type: names.ErrorUpstreamAuthFailed, Origin: names.ErrorOriginGateway, Status: http.StatusBadGateway, NoRetry: true,
			Message: "provider " + a.Target.Provider.Name + " refused the gateway's credential", Err: e})
		return
	}
	if a.Response == nil || a.answer == nil || a.Response.StatusCode < 400 {
		rp.fail(e)
		return
	}
	rp.answer(a.Response.StatusCode, a.Response.Header, a.answer)
}

// attempt tries one target. On return a is open: closeAttempt follows.
func (g *Gateway) attempt(ctx context.Context, rp *reply, t Target, trial Trial, prev *Attempt) *Attempt {
	x := rp.x
	a := newAttempt(x, t)
	if x.Fallbacks > 0 {
		a.Kind = names.AttemptKindFallback
	}
	x.Attempts = append(x.Attempts, a)
	header, used, err := g.preAPI(ctx, a)
	if err != nil {
		a.Err = err
		if trial != nil {
			trial.End(VerdictNone, 0)
		}
		return a
	}
	u := &upstream{g: g, base: g.openAttempt(ctx, a, prev), a: a, rp: rp, header: header, used: used, trial: trial}
	u.ctx, u.cancel = context.WithCancelCause(u.base)
	defer func() { u.cancel(nil) }()
	if t.Provider.Drain {
		u.drain = x.Snapshot.Limits.Drain
	}
	x.cancel.run(u.cancel, u.drain)
	defer x.cancel.done()
	u.run()
	return a
}

func newAttempt(x *Exchange, t Target) *Attempt {
	return &Attempt{ID: newID(), Exchange: x, Number: len(x.Attempts) + 1, Kind: names.AttemptKindPrimary, Target: t, Start: time.Now(), Body: x.Body, Span: x.Span}
}

// preAPI prepares an attempt: model, hooks, headers, credential.
func (g *Gateway) preAPI(ctx context.Context, a *Attempt) (http.Header, Secret, *Error) {
	x := a.Exchange
	pctx, p := g.phase(ctx, x, names.SpanPreAPI, names.PhasePreAPI)
	defer p.End()
	if p.IsRecording() {
		p.SetAttributes(names.KeyTarget.String(a.Target.Name), names.KeyAttemptNumber.Int(a.Number))
	}
	header, used, err := g.prepare(pctx, a)
	if err == nil {
		err = a.setAside(pctx)
	}
	if p.IsRecording() {
		p.SetAttributes(a.holdAttributes()...)
	}
	if err != nil && err.Reason != "" {
		// A refusal is a result of the phase, not a failure of it.
		return nil, "", err
	}
	if err != nil {
		p.fail(err.Type, names.KeyTarget.String(a.Target.Name), names.KeyAttemptNumber.Int(a.Number))
		return nil, "", err
	}
	g.recorder.AttemptStarted(pctx, a)
	return header, used, nil
}

func (g *Gateway) prepare(ctx context.Context, a *Attempt) (http.Header, Secret, *Error) {
	x, p := a.Exchange, a.Target.Provider
	if inj, ok := x.Dialect.(UsageInjector); ok && x.Call.Stream && !x.Call.IncludeUsage && !p.KeepUsage {
		a.Body = inj.InjectUsage(a.Body, &x.Call)
	}
	if m := a.Target.Model; m != "" && m != x.Call.Model && x.Call.ModelSpan != (jsonscan.Span{}) {
		spliced, err := spliceModel(a.Body, x, m)
		if err != nil {
			return nil, "", err
		}
		a.Body = spliced
	}
	for _, h := range x.hooks {
		if h.phases.Attempt == nil {
			continue
		}
		before := a.Body
		err := runHook(g, ctx, x, h.ConfiguredHook, names.HookPhasePreAPI, h.phases.Attempt, a)
		if err != nil {
			return nil, "", err
		}
		a.edited = a.edited || !sameBytes(before, a.Body)
	}
	header := copyRequestHeader(x.Request.Header)
	for k, v := range a.Header {
		header[k] = v
	}
	for k, v := range p.Header {
		header[k] = v
	}
	// Observed answers must be readable (DESIGN §4).
	header["Accept-Encoding"] = []string{"identity"}
	used, err := g.authorize(ctx, a, header)
	if err != nil {
		return nil, "", err
	}
	if a.Credential == CredentialClient || a.Credential == CredentialToken {
		g.recorder.Forwarded(ctx, a)
	}
	return header, used, nil
}

// sameBytes reports whether a and b are one slice: a hook that edits in place
// breaks its contract.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// spliceModel writes the routed model at the place of the client's and changes
// no other byte. The injected usage option may have moved it.
func spliceModel(body []byte, x *Exchange, model string) ([]byte, *Error) {
	span := x.Call.ModelSpan
	if len(body) != len(x.Body) || &body[0] != &x.Body[0] {
		span = jsonscan.Get(body, jsonscan.Root(body), "model")
	}
	if span == (jsonscan.Span{}) {
		return nil, Invalid("the request names no model to replace")
	}
	return jsonscan.Splice(body, span, jsonscan.Quote(make([]byte, 0, len(model)+2), model)), nil
}

// openAttempt starts the GenAI span. Calls that generate nothing have none:
// their POST span hangs from SERVER.
func (g *Gateway) openAttempt(ctx context.Context, a *Attempt, prev *Attempt) context.Context {
	x := a.Exchange
	op := x.Call.Operation
	if op == "" {
		return ctx
	}
	host, port := hostPort(a.Target.Provider.BaseURL)
	attrs := [...]attribute.KeyValue{
		names.KeyGenAIOperationName.String(op), names.KeyGenAIProviderName.String(a.Target.Provider.GenAI),
		names.KeyGenAIRequestModel.String(clip(a.Model())), names.KeyServerAddress.String(host), names.KeyServerPort.Int(port),
		names.KeyAttemptNumber.Int(a.Number), names.KeyAttemptKind.String(a.Kind), names.KeyTarget.String(a.Target.Name),
		names.KeyPhase.String(names.PhaseUpstream),
	}
	opts := make([]trace.SpanStartOption, 0, 3)
	opts = append(opts, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs[:]...))
	if prev != nil && prev.genai {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: prev.Span.SpanContext()}))
	}
	ctx, a.Span = g.genai.Start(ctx, op+" "+clip(a.Model()), opts...)
	a.genai = true
	return ctx
}

// upstream is an attempt's talk with its provider.
type upstream struct {
	g      *Gateway
	base   context.Context // of the attempt
	ctx    context.Context // cancelled when the send must stop
	cancel context.CancelCauseFunc
	drain  time.Duration // how long to read on when the client leaves
	a      *Attempt
	rp     *reply
	header http.Header
	used   Secret // the credential
	tried  int    // keys that were refused
	resent int    // sends so far
	dog    *watchdog
	trial  Trial // with the target's circuit; nil: none
	passed bool  // the trial has ended well
	voted  bool  // an earlier send has counted against the target
}

// run sends until there is an answer or no sense in sending again, and relays.
// It sets a.Err, or has answered the client.
func (u *upstream) run() {
	a := u.a
	a.Issued = time.Now()
	u.dog = newWatchdog(u.cancel, u.headerTimeout(), errHeaderTimeout)
	defer func() { u.dog.stop() }()
	for {
		u.once()
		reason := ""
		if a.Err != nil {
			reason = fallbackReason(a.Err, a.Credential)
			if u.again(reason) {
				continue
			}
		}
		u.judge(reason)
		return
	}
}

// once sends and relays.
func (u *upstream) once() {
	a, x := u.a, u.a.Exchange
	a.Sent = time.Now()
	resp, err := u.sendFresh()
	if err == nil && resp.StatusCode == http.StatusUnauthorized && a.Credential == CredentialToken {
		resp, err = u.refresh(resp)
	}
	x.wait += time.Since(a.Sent)
	if err != nil {
		a.Err = u.transportError(err)
		return
	}
	defer resp.Body.Close()
	a.Response, a.UpstreamID = resp, upstreamID(resp.Header)
	if err := decodeBody(resp); err != nil {
		a.Err = err
		return
	}
	switch {
	case resp.StatusCode >= 400:
		a.Err = u.readError(resp)
	case resp.StatusCode >= 300:
		a.Err = &Error{Type: names.ErrorServerError, Origin: names.ErrorOriginProvider, Status: http.StatusBadGateway,
			Message: fmt.Sprintf("provider %s answered with a redirect (%d); check its base_url", a.Target.Provider.Name, resp.StatusCode)}
	default:
		u.relay(resp)
	}
}

func (u *upstream) headerTimeout() time.Duration {
	lim, p := u.a.Exchange.Snapshot.Limits, u.a.Target.Provider
	d := lim.HeaderTimeout
	if p.HeaderTimeout > 0 {
		d = p.HeaderTimeout
	}
	if u.a.Exchange.Call.Stream {
		d = lim.StreamHeaderTimeout
		if p.StreamHeaderTimeout > 0 {
			d = p.StreamHeaderTimeout
		}
	}
	return min(d, u.left())
}

// left is what remains of the time the exchange may take.
func (u *upstream) left() time.Duration {
	return max(time.Millisecond, u.a.Exchange.Snapshot.Limits.Exchange-time.Since(u.a.Exchange.Start))
}

// send makes one physical request.
func (u *upstream) send() (*http.Response, *sendInfo, error) {
	a, x := u.a, u.a.Exchange
	target, err := targetURL(a)
	if err != nil {
		return nil, &sendInfo{}, err
	}
	info := &sendInfo{resend: u.resent, phase: !a.genai, propagate: a.Target.Provider.Propagate, attempt: a}
	u.resent++
	req := &http.Request{
		Method: x.Request.Method, URL: target, Host: target.Host, Header: u.header, ContentLength: int64(len(a.Body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if len(a.Body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(a.Body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(a.Body)), nil }
	}
	a.Request = req.WithContext(httptrace.WithClientTrace(u.ctx, info.watch()))
	resp, err := u.g.transport.roundTrip(u.transport(), a.Request, info)
	return resp, info, err
}

func (u *upstream) transport() http.RoundTripper {
	if t := u.a.Target.Provider.Transport; t != nil {
		return t
	}
	return u.g.transport.base
}

// refresh sends once more with a fresh token after the provider refused ours.
func (u *upstream) refresh(refused *http.Response) (*http.Response, error) {
	p := u.a.Target.Provider
	tok, err := p.Tokens.Refresh(u.ctx, u.used)
	if err != nil {
		return refused, nil // the provider's 401 says it better
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(refused.Body, 64<<10))
	refused.Body.Close()
	u.header = u.header.Clone()
	setToken(p, u.header, tok)
	u.used = tok
	return u.sendFresh()
}

// targetURL is the provider's URL for the call.
func targetURL(a *Attempt) (*url.URL, error) {
	x, base := a.Exchange, a.Target.Provider.BaseURL
	path := x.Dialect.Path(&x.Call, a.Model())
	u, err := base.Parse(strings.TrimSuffix(base.EscapedPath(), "/") + path)
	if err != nil {
		return nil, fmt.Errorf("build the URL for %s: %w", a.Target.Name, err)
	}
	u.RawQuery = withoutKey(x.Request.URL.RawQuery)
	return u, nil
}

// transportError is what the client and telemetry learn of a failed send. The
// cause goes to the log without its URL.
func (u *upstream) transportError(err error) *Error {
	u.a.unsent = neverSent(err)
	switch context.Cause(u.ctx) {
	case errClientGone:
		return nil
	case errRevoked:
		return revoked()
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	t := sendErrorType(u.ctx, err)
	status := http.StatusBadGateway
	if t == names.ErrorTimeout || t == names.ErrorIdleTimeout {
		status = http.StatusGatewayTimeout
	}
	return &Error{Type: t, Origin: names.ErrorOriginProvider, Status: status, Err: err,
		Message: fmt.Sprintf("provider %s could not be reached (%s)", u.a.Target.Provider.Name, strings.ReplaceAll(t, "_", " "))}
}

// maxErrorBody bounds how much of an error answer is kept.
const maxErrorBody = 1 << 20

// readError keeps a provider's error answer and says what it means.
func (u *upstream) readError(resp *http.Response) *Error {
	a := u.a
	body, err := readAtMost(resp.Body, maxErrorBody, resp.ContentLength)
	if err != nil && len(body) == 0 {
		body = []byte{}
	}
	p := a.Target.Provider
	a.answer = scrub(body, p, u.used)
	e := a.Exchange.Dialect.DecodeError(resp.StatusCode, resp.Header, a.answer)
	if e.Type == "" {
		e.Type = strconv.Itoa(resp.StatusCode)
	}
	if e.Status == 0 {
		e.Status = resp.StatusCode
	}
	if e.RetryAfter == 0 && e.Type == names.ErrorRateLimitExceeded {
		e.RetryAfter = limitReset(resp.Header)
	}
	return e
}
