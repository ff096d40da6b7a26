package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// The actions of a verdict.
const (
	actionContinue = "continue"
	actionBlock    = "block"
	actionModify   = "modify"
)

// maxMessage bounds the text of a refusal, in bytes; maxChanged the headers of a verdict.
const (
	maxMessage = 500
	maxChanged = 32
)

// verdict is what a webhook's service answered.
type verdict struct {
	action          string
	message         string
	status          int64  // 0: not said
	errorType       string // "": not said
	body            []byte // nil: unchanged
	headers         map[string]string
	responseHeaders map[string]string
	label, model    string // "": unchanged
}

// verdictKeys are what an answer may hold.
var verdictKeys = []string{"action", "message", "status", "type", "body", "headers", "response_headers", "label", "model"}

// parseVerdict reads an answer. It is strict: what is misspelt must not pass for consent.
func parseVerdict(doc []byte) (verdict, error) {
	var v verdict
	if err := jsonscan.Validate(doc, jsonscan.Limits{}); err != nil {
		return v, fmt.Errorf("the answer is no JSON: %w", err)
	}
	root := jsonscan.Root(doc)
	if jsonscan.Kind(doc, root) != '{' {
		return v, errors.New("the answer is no JSON object")
	}
	var err error
	seen := map[string]bool{}
	jsonscan.Object(doc, root, func(key []byte, s jsonscan.Span) bool {
		k := string(key)
		if seen[k] {
			err = fmt.Errorf("the answer holds %q twice", clip(k))
			return false
		}
		seen[k] = true
		if jsonscan.IsNull(doc, s) {
			return true
		}
		err = v.read(doc, k, s)
		return err == nil
	})
	if err != nil {
		return verdict{}, err
	}
	if err := v.check(); err != nil {
		return verdict{}, err
	}
	return v, nil
}

func (v *verdict) read(doc []byte, key string, s jsonscan.Span) error {
	text := func(p *string) error {
		t, ok := jsonscan.String(doc, s)
		if !ok {
			return fmt.Errorf("the answer's %s is no text", key)
		}
		*p = t
		return nil
	}
	switch key {
	case "action":
		return text(&v.action)
	case "message":
		return text(&v.message)
	case "type":
		return text(&v.errorType)
	case "label":
		return text(&v.label)
	case "model":
		return text(&v.model)
	case "status":
		n, ok := jsonscan.Int(doc, s)
		if !ok {
			return errors.New("the answer's status is no whole number")
		}
		v.status = n
		return nil
	case "body":
		if jsonscan.Kind(doc, s) != '{' {
			return errors.New("the answer's body is no JSON object")
		}
		v.body = bytes.Clone(doc[s.Start:s.End])
		return nil
	case "headers":
		return readHeaders(doc, s, &v.headers, checkRequestHeader)
	case "response_headers":
		return readHeaders(doc, s, &v.responseHeaders, checkHeader)
	}
	return fmt.Errorf("the answer holds the unknown key %q%s", clip(key), suggest(clip(key), verdictKeys))
}

func readHeaders(doc []byte, s jsonscan.Span, into *map[string]string, check func(string) error) error {
	if jsonscan.Kind(doc, s) != '{' {
		return errors.New("the answer's headers are no JSON object")
	}
	out := map[string]string{}
	var err error
	jsonscan.Object(doc, s, func(key []byte, s jsonscan.Span) bool {
		name := string(key)
		value, ok := jsonscan.String(doc, s)
		switch {
		case len(out) == maxChanged:
			err = fmt.Errorf("the answer sets more than %d headers", maxChanged)
		case !ok:
			err = fmt.Errorf("the answer's header %q is no text", clip(name))
		default:
			err = errors.Join(check(name), checkHeaderValue(value))
		}
		out[http.CanonicalHeaderKey(name)] = value
		return err == nil
	})
	*into = out
	return err
}

// errorTypes are the error types a refusal may have: those that speak of the request.
var errorTypes = []string{
	names.ErrorContentFilter, names.ErrorInvalidRequestError, names.ErrorPermissionError, names.ErrorRateLimitExceeded, names.ErrorInsufficientQuota,
	names.ErrorModerationBlocked, names.ErrorBudgetExceeded,
}

func (v *verdict) changes() bool {
	return v.body != nil || v.headers != nil || v.responseHeaders != nil || v.label != "" || v.model != ""
}

// check says why a verdict contradicts itself.
func (v *verdict) check() error {
	refuses := v.message != "" || v.status != 0 || v.errorType != ""
	switch v.action {
	case "":
		return errors.New("the answer names no action")
	case actionContinue:
		if refuses || v.changes() {
			return errors.New("the answer says continue, and more")
		}
	case actionModify:
		if refuses {
			return errors.New("the answer says modify and holds a refusal")
		}
	case actionBlock:
		switch {
		case v.changes():
			return errors.New("the answer says block and holds changes")
		case v.status != 0 && (v.status < 400 || v.status > 499):
			return fmt.Errorf("the answer refuses with status %d, want 400 to 499", v.status)
		case v.errorType != "" && !slices.Contains(errorTypes, v.errorType):
			return fmt.Errorf("the answer refuses with the unknown type %q%s", clip(v.errorType), suggest(clip(v.errorType), errorTypes))
		}
	default:
		return fmt.Errorf("the answer's action is %q, want continue, block or modify", clip(v.action))
	}
	return nil
}

// refusal is the error a block means.
func (v *verdict) refusal() *gateway.Error {
	e := &gateway.Error{
		Type: names.ErrorContentFilter, Origin: names.ErrorOriginPolicy, Reason: names.RejectionPolicy, Status: http.StatusForbidden,
		Message: "the request was refused by policy", NoRetry: true,
	}
	if v.errorType != "" {
		e.Type = v.errorType
	}
	if v.status != 0 {
		e.Status = int(v.status)
	}
	if m := plainText(v.message); m != "" {
		e.Message = m
	}
	return e
}

// plainText is a message without control characters, at most maxMessage bytes.
func plainText(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "")
	}
	return strings.TrimSpace(s)
}

// obey does what a verdict says.
func (r *webhookRun) obey(ctx context.Context, phase string, a *gateway.Attempt, v verdict) error {
	switch {
	case v.action == actionBlock:
		return v.refusal()
	case v.action == actionContinue:
		return nil
	case phase != phasePreCall && (v.body != nil || v.label != "" || v.model != ""):
		return errors.New("body, label and model can be changed in pre_call alone")
	case phase == phaseResponse && v.headers != nil:
		return errors.New("headers can be changed in pre_call and pre_api alone")
	}
	if phase == phasePreCall {
		if err := r.rewrite(ctx, v); err != nil {
			return err
		}
		r.headers = v.headers
	} else {
		for name, value := range v.headers {
			setHeader(a, name, value)
		}
	}
	for name, value := range v.responseHeaders {
		r.x.SetResponseHeader(name, value)
	}
	return nil
}

// setHeaders gives an attempt the headers asked for in pre_call.
func (r *webhookRun) setHeaders(a *gateway.Attempt) {
	for _, name := range slices.Sorted(maps.Keys(r.headers)) {
		setHeader(a, name, r.headers[name])
	}
}

// rewrite changes body, model and label. All is checked before anything is changed.
func (r *webhookRun) rewrite(ctx context.Context, v verdict) error {
	x := r.x
	decided := len(x.Route.Targets) > 0
	switch {
	case decided && (v.label != "" || v.model != ""):
		return errors.New("label and model came after the decision; list the webhook before model_router")
	case v.label != "" && !configuredLabel(x.Snapshot, v.label):
		return fmt.Errorf("the label %q is not configured", clip(v.label))
	}
	body, err := r.newBody(v)
	if err != nil {
		return err
	}
	if body != nil {
		if err := x.SetBody(body); err != nil {
			return notTheClient(err)
		}
	}
	if v.label == "" {
		return nil
	}
	x.SetLabel(v.label)
	return nil
}

// newBody is the body a verdict asks for, its model included; nil: unchanged.
func (r *webhookRun) newBody(v verdict) ([]byte, error) {
	x := r.x
	body := v.body
	if body == nil {
		if v.model == "" {
			return nil, nil
		}
		body = x.Body
	}
	call, err := x.Dialect.Decode(x.Request, body)
	switch {
	case err != nil:
		return nil, notTheClient(err)
	case call.Stream != x.Call.Stream:
		return nil, errors.New("the body changes whether the answer is streamed, which the client decides")
	case len(x.Route.Targets) > 0 && call.Model != x.Call.Model:
		return nil, errors.New("the body changes the model after the decision; list the webhook before model_router")
	case v.model == "":
		return body, nil
	case call.ModelSpan == jsonscan.Span{}:
		return nil, errors.New("the model stands in the path and cannot be changed")
	}
	return jsonscan.Splice(body, call.ModelSpan, jsonscan.Quote(nil, v.model)), nil
}

// notTheClient makes an error of the service's body the hook's, lest the client be blamed for it.
func notTheClient(err error) error {
	return fmt.Errorf("the body is not what the dialect takes: %s", err.Error())
}

// configuredLabel reports whether a label is one the configuration routes. Labels are dimensions of metrics, whose set
// must stay closed.
func configuredLabel(s *gateway.Snapshot, label string) bool {
	if label == "default" {
		return true
	}
	return slices.ContainsFunc(s.Models, func(m gateway.ModelInfo) bool { return m.ID == label && m.Provider == "ccproxy" })
}

// clip bounds what a service's word takes in a message.
func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "")
	}
	return s
}
