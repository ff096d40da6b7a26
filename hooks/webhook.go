package hooks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/guard"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// The phases a webhook can be called in, as configuration names them.
const (
	phasePreCall  = names.HookPhasePreCall
	phasePreAPI   = names.HookPhasePreAPI
	phaseResponse = "response"
	phasePostAPI  = names.HookPhasePostAPI
	phaseEnd      = names.HookPhaseEnd
)

var webhookPhases = []string{phasePreCall, phasePreAPI, phaseResponse, phasePostAPI, phaseEnd}

var webhookIncludes = []string{"call", "caller", "body"}

// Webhook asks an HTTP service of the operator's what to do with an exchange. It posts JSON and obeys the answer:
//
//	{"action": "continue"}
//	{"action": "block", "message": "…", "status": 403, "type": "content_filter"}
//	{"action": "modify", "body": {…}, "model": "…", "label": "…", "headers": {…}, "response_headers": {…}}
//
// Status 204 means continue. A refusal is possible in pre_call, pre_api and response. In pre_call everything can be
// modified: the body; label and model only before model_router; headers hold for all attempts. In pre_api headers and
// response_headers can, in response the latter. What post_api and end are answered is checked and changes nothing.
//
// Whatever else comes back (another status, a redirect, no JSON, an unknown or repeated key, a wrong type, too many bytes,
// nothing in time) is a failure of the hook, and its policy decides.
//
// The service never sees a credential. A Webhook is safe for concurrent use; Close frees its idle connections.
type Webhook struct {
	url       string
	host      string // for messages
	headers   http.Header
	phases    []string
	include   []string
	timeout   time.Duration
	maxBytes  int64
	transport *http.Transport
}

func newWebhook(params Params) (gateway.Hook, error) {
	p := struct {
		URL      string            `yaml:"url"`
		Phases   []string          `yaml:"phases"`
		Headers  map[string]string `yaml:"headers"`
		Timeout  time.Duration     `yaml:"timeout"`
		MaxBytes int64             `yaml:"max_bytes"`
		Include  []string          `yaml:"include"`
	}{Phases: []string{phasePreCall}, Timeout: 2 * time.Second, MaxBytes: 1 << 20, Include: []string{"call", "caller"}}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	u, loopback, err := parseWebhookURL(p.URL)
	problems := []error{err}
	for _, phase := range p.Phases {
		if !slices.Contains(webhookPhases, phase) {
			problems = append(problems, fmt.Errorf("parameter phases: unknown phase %q%s", phase, suggest(phase, webhookPhases)))
		}
	}
	for _, part := range p.Include {
		if !slices.Contains(webhookIncludes, part) {
			problems = append(problems, fmt.Errorf("parameter include: unknown part %q%s", part, suggest(part, webhookIncludes)))
		}
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"ccproxy"}}
	for name, value := range p.Headers {
		if err := errors.Join(checkHeader(name), checkHeaderValue(value)); err != nil {
			problems = append(problems, fmt.Errorf("parameter headers: %s: %w", name, err))
		}
		header.Set(name, value)
	}
	if len(p.Phases) == 0 || p.Timeout <= 0 || p.MaxBytes <= 0 {
		problems = append(problems, errors.New("parameters phases, timeout and max_bytes must not be empty or zero"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Webhook{
		url: u.String(), host: u.Host, headers: header, phases: p.Phases, include: p.Include, timeout: p.Timeout, maxBytes: p.MaxBytes,
		transport: newWebhookTransport(loopback),
	}, nil
}

// parseWebhookURL checks the URL of a webhook and reports whether its host is this machine.
func parseWebhookURL(s string) (u *url.URL, loopback bool, err error) {
	// The parser's own errors repeat the URL, which may hold a secret in its query.
	u, err = url.Parse(s)
	switch {
	case s == "":
		return nil, false, errors.New("parameter url is missing")
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return nil, false, errors.New("parameter url is no URL such as https://guard.example/check")
	case u.User != nil:
		return nil, false, errors.New("parameter url: put credentials into headers, not into the URL")
	case u.Fragment != "":
		return nil, false, errors.New("parameter url: a fragment is never sent")
	}
	loopback = guard.Loopback(u.Hostname())
	switch {
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback):
		return nil, false, errors.New("parameter url must be https; http is for this machine alone")
	case guard.Literal(u.Hostname(), loopback) != nil:
		return nil, false, fmt.Errorf("parameter url: %w", guard.Literal(u.Hostname(), loopback))
	}
	return u, loopback, nil
}

// newWebhookTransport uses no proxy, no compression and no address a webhook may not have.
func newWebhookTransport(loopback bool) *http.Transport {
	return &http.Transport{
		DialContext: guard.Dialer(loopback).DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 16,
		MaxConnsPerHost: 128, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
	}
}

// Name implements gateway.Hook.
func (w *Webhook) Name() string { return "webhook" }

// String implements fmt.Stringer. The URL's query and the headers may hold secrets.
func (w *Webhook) String() string { return "webhook " + w.host }

// GoString implements fmt.GoStringer.
func (w *Webhook) GoString() string { return w.String() }

// Close frees idle connections. The webhook may still be used.
func (w *Webhook) Close() error {
	w.transport.CloseIdleConnections()
	return nil
}

// guards reports whether the webhook can refuse an exchange.
func (w *Webhook) guards() bool {
	return w.on(phasePreCall) || w.on(phasePreAPI) || w.on(phaseResponse)
}

func (w *Webhook) on(phase string) bool { return slices.Contains(w.phases, phase) }

// Begin implements gateway.Hook.
func (w *Webhook) Begin(ctx context.Context, x *gateway.Exchange) (gateway.Phases, error) {
	r := &webhookRun{w: w, x: x}
	var p gateway.Phases
	if w.on(phasePreCall) {
		if err := r.ask(ctx, phasePreCall, nil); err != nil {
			return p, err
		}
	}
	if w.on(phasePreAPI) || len(r.headers) > 0 {
		p.Attempt = func(ctx context.Context, a *gateway.Attempt) error {
			r.setHeaders(a)
			if !w.on(phasePreAPI) {
				return nil
			}
			return r.ask(ctx, phasePreAPI, a)
		}
	}
	if w.on(phaseResponse) {
		p.Response = func(ctx context.Context, a *gateway.Attempt) error { return r.ask(ctx, phaseResponse, a) }
	}
	if w.on(phasePostAPI) {
		p.Settle = func(ctx context.Context, a *gateway.Attempt) error { return r.tell(ctx, phasePostAPI, a) }
	}
	if w.on(phaseEnd) {
		p.End = func(ctx context.Context, x *gateway.Exchange) error { return r.tell(ctx, phaseEnd, x.Final()) }
	}
	return p, nil
}

// webhookRun is a webhook's part in one exchange.
type webhookRun struct {
	w       *Webhook
	x       *gateway.Exchange
	headers map[string]string // for all attempts
}

// ask calls the service and does what it says.
func (r *webhookRun) ask(ctx context.Context, phase string, a *gateway.Attempt) error {
	v, err := r.call(ctx, phase, a)
	if err == nil {
		err = r.obey(ctx, phase, a, v)
	}
	var refusal *gateway.Error
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	return fmt.Errorf("webhook %s in %s: %w", r.w.host, phase, err)
}

// tell calls the service where it has nothing to decide any more.
func (r *webhookRun) tell(ctx context.Context, phase string, a *gateway.Attempt) error {
	v, err := r.call(ctx, phase, a)
	if err != nil {
		return fmt.Errorf("webhook %s in %s: %w", r.w.host, phase, err)
	}
	if v.action != actionContinue {
		return fmt.Errorf("webhook %s in %s: %q came when nothing can change any more", r.w.host, phase, v.action)
	}
	return nil
}

// call posts the exchange as the phase sees it and reads the verdict.
func (r *webhookRun) call(ctx context.Context, phase string, a *gateway.Attempt) (verdict, error) {
	payload, err := r.w.encode(phase, r.x, a)
	if err != nil {
		return verdict{}, err
	}
	answer, err := r.w.post(ctx, payload)
	if err != nil {
		return verdict{}, err
	}
	if answer == nil {
		return verdict{action: actionContinue}, nil
	}
	return parseVerdict(answer)
}

// post sends payload and returns the answer's body, nil for 204. What it calls hangs from the span in ctx.
func (w *Webhook) post(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(payload))
	if err != nil {
		return nil, errors.New("the request could not be made")
	}
	req.Header = w.headers.Clone()
	client := http.Client{
		Transport:     gateway.NewTraceTransport(w.transport, trace.SpanFromContext(ctx).TracerProvider()),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, callError(ctx, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return nil, nil
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, fmt.Errorf("the service answered %d; redirects are not followed", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the service answered %d, want 200 or 204", resp.StatusCode)
	}
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || t != "application/json" && !strings.HasSuffix(t, "+json") {
		return nil, errors.New("the service did not answer with application/json")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, w.maxBytes+1))
	switch {
	case err != nil:
		return nil, callError(ctx, err)
	case int64(len(body)) > w.maxBytes:
		return nil, fmt.Errorf("the service answered with more than %d bytes (max_bytes)", w.maxBytes)
	}
	return body, nil
}

// callError drops the URL, whose query may hold a secret, from a client's error.
func callError(ctx context.Context, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("the service did not answer in time")
	}
	return fmt.Errorf("the service could not be asked: %w", err)
}
