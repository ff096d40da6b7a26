package ledger

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/guard"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Webhook is where alerts are posted.
type Webhook struct {
	// Name finds the webhook again for what waits to be delivered to it.
	Name string
	// URL is https, or http to this machine.
	URL string
	// Secret signs what is posted; "": it is not signed.
	Secret gateway.Secret
	// Slack posts what Slack's incoming webhooks take, instead of the alert's
	// fields.
	Slack bool
}

// check returns why w cannot be used. The URL may hold a secret (Slack's do):
// it is not repeated.
func (w *Webhook) check() error {
	u, err := url.Parse(w.URL)
	switch {
	case w.Name == "":
		return errors.New("webhook without a name")
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("webhook %s: its url is none", w.Name)
	case u.User != nil:
		return fmt.Errorf("webhook %s: its url must not hold a user name or password", w.Name)
	case u.Scheme != "https" && !(u.Scheme == "http" && guard.Loopback(u.Hostname())):
		return fmt.Errorf("webhook %s: its url must be https; http is for this machine alone", w.Name)
	}
	return nil
}

// The headers of what is posted.
const (
	// HeaderSignature is "t=<Unix seconds>,v1=<hex>": the HMAC-SHA256, keyed
	// with the secret, of t, a dot, and the body.
	HeaderSignature = "X-CCProxy-Signature"
	// HeaderEventID is the same each time an alert is posted again.
	HeaderEventID = "X-CCProxy-Event-Id"
)

// sign returns the value of HeaderSignature.
func sign(secret gateway.Secret, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// encode returns what is posted of an alert.
func (w *Webhook) encode(id string, a *budget.Alert) ([]byte, error) {
	if w.Slack {
		return json.Marshal(slackMessage(a))
	}
	resets := ""
	if !a.Resets.IsZero() {
		resets = a.Resets.Format(time.RFC3339)
	}
	percentage := 0.0
	if a.Limit > 0 {
		percentage = 100 * a.Spent.Dollars() / a.Limit.Dollars()
	}
	return json.Marshal(struct {
		Type       string      `json:"type"`
		EventID    string      `json:"event_id"`
		Budget     string      `json:"budget"`
		Scope      string      `json:"scope"`
		Window     string      `json:"window"`
		Subject    string      `json:"subject"`
		Model      string      `json:"model,omitempty"`
		Threshold  float64     `json:"threshold"`
		Spent      json.Number `json:"spent_usd"`
		Limit      json.Number `json:"limit_usd"`
		Percentage float64     `json:"percentage_used"`
		Resets     string      `json:"resets_at,omitempty"`
		At         string      `json:"at"`
		Message    string      `json:"message"`
	}{
		a.Type, id, a.Budget, a.Scope, a.Window, a.Subject, a.Model, a.Threshold, json.Number(a.Spent.String()),
		json.Number(a.Limit.String()), percentage, resets, a.At.Format(time.RFC3339Nano), describe(a),
	})
}

// describe puts an alert into words.
func describe(a *budget.Alert) string {
	if a.Type == names.AlertUnpricedRequest {
		return fmt.Sprintf("A request to model %s has no known price: what it cost is not in the budgets.", a.Model)
	}
	of := fmt.Sprintf("Budget %s (%s)", a.Budget, perWindow(a.Window))
	if a.Subject != "" {
		of += " of " + a.Scope + " " + a.Subject
	}
	spent := fmt.Sprintf("%s of %s spent", dollars(a.Spent), dollars(a.Limit))
	var said string
	switch a.Type {
	case names.AlertThresholdCrossed:
		said = fmt.Sprintf("%s has passed %s %%: %s", of, strconv.FormatFloat(a.Threshold*100, 'f', -1, 64), spent)
	case names.AlertBudgetCrossed:
		said = fmt.Sprintf("%s is used up: %s", of, spent)
	case names.AlertForecastOverrun:
		said = fmt.Sprintf("%s will not last at this pace: %s", of, spent)
	case names.AlertReset:
		return fmt.Sprintf("%s has begun anew; it had been at %s.", of, spent)
	default:
		said = fmt.Sprintf("%s: %s, %s", of, strings.ReplaceAll(a.Type, "_", " "), spent)
	}
	if !a.Resets.IsZero() {
		said += "; it begins anew at " + instant(a.Resets)
	}
	return said + "."
}

type slackText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackPost struct {
	Text   string       `json:"text"` // for notifications
	Blocks []slackBlock `json:"blocks"`
}

// slackEscapes are the characters that mean something in Slack's text
// (https://api.slack.com/reference/surfaces/formatting, "escaping text").
var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func slackMessage(a *budget.Alert) slackPost {
	text := slackEscapes.Replace(describe(a))
	return slackPost{Text: text, Blocks: []slackBlock{
		{Type: "section", Text: &slackText{"mrkdwn", text}},
		{Type: "context", Elements: []slackText{{"plain_text", "ccproxy " + a.Type + ", " + a.At.UTC().Format(time.RFC3339)}}},
	}}
}

const (
	postTimeout = 10 * time.Second
	maxAnswer   = 64 << 10 // bytes read of what a webhook answers, to use the connection again
)

// poster posts alerts. It is safe for concurrent use.
type poster struct {
	plain, local http.RoundTripper // local may also reach this machine
}

func newPoster(transport http.RoundTripper) *poster {
	if transport != nil {
		return &poster{transport, transport}
	}
	guarded := func(loopback bool) *http.Transport {
		return &http.Transport{DialContext: guard.Dialer(loopback).DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 1,
			MaxConnsPerHost: 4, MaxResponseHeaderBytes: maxAnswer, DisableCompression: true}
	}
	return &poster{guarded(false), guarded(true)}
}

// close frees idle connections.
func (p *poster) close() {
	for _, t := range [2]http.RoundTripper{p.plain, p.local} {
		if c, ok := t.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// answerError is a webhook's refusal.
type answerError struct {
	status int
	after  time.Duration // when it wants to be asked again; 0: not said
}

func (e *answerError) Error() string { return "the webhook answered " + strconv.Itoa(e.status) }

// hopeless reports whether the same request will most likely be refused again.
func (e *answerError) hopeless() bool {
	return e.status < 500 && e.status != http.StatusRequestTimeout && e.status != http.StatusTooManyRequests
}

// post delivers a body once. The error does not hold the URL.
func (p *poster) post(ctx context.Context, w *Webhook, id string, body []byte, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the request could not be made")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ccproxy")
	req.Header.Set(HeaderEventID, id)
	if w.Secret != "" {
		req.Header.Set(HeaderSignature, sign(w.Secret, now, body))
	}
	transport := p.plain
	if guard.Loopback(req.URL.Hostname()) {
		transport = p.local
	}
	// A round trip, not a client: redirects are answers like others.
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // what it says does not matter
	if resp.StatusCode/100 != 2 {
		return &answerError{resp.StatusCode, gateway.RetryAfter(resp.Header)}
	}
	return nil
}
