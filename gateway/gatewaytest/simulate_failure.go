package gatewaytest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// misbehaviour is the reply of a step that asks for anything but an answer, or nil.
func misbehaviour(to endpoint, step Step) *reply {
	switch {
	case step.HTML:
		return &reply{status: http.StatusOK, header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
			body: []byte("<!DOCTYPE html><html><head><title>Sign in (simulated)</title></head><body>Please sign in to the network.</body></html>\n")}
	case step.Redirect:
		out := failure(to, Step{Status: http.StatusNotFound, Text: "Moved (simulated)"})
		out.status = http.StatusTemporaryRedirect
		out.header["Location"] = []string{"/redirected" + to.path}
		return out
	case step.EchoKey:
		step.Status = http.StatusUnauthorized
	case step.ContextLength:
		step.Status = http.StatusBadRequest
	case step.Quota:
		step.Status = http.StatusTooManyRequests
		if to.vendor == anthropic {
			step.Status = http.StatusPaymentRequired
		}
	}
	if step.Status == 0 || step.Status == http.StatusOK {
		return nil
	}
	if step.Status == 529 && to.vendor != anthropic {
		step.Status = http.StatusServiceUnavailable
	}
	return failure(to, step)
}

// failure is the error answer of a vendor.
func failure(to endpoint, step Step) *reply {
	var out *reply
	switch to.vendor {
	case anthropic:
		out = anthropicFailure(step)
	case gemini:
		out = geminiFailure(step)
	default:
		out = openAIFailure(to, step)
	}
	out.status = step.Status
	return out
}

func (s Step) retrySeconds() string {
	d := s.RetryAfter
	if d == 0 {
		d = time.Second
	}
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// message is the step's own text or the vendor's usual one.
func (s Step) message(usual string) string {
	if s.Text != "" {
		return s.Text
	}
	return usual
}

func anthropicFailure(step Step) *reply {
	kind, message := "api_error", "Internal server error (simulated)"
	switch step.Status {
	case http.StatusBadRequest:
		kind, message = "invalid_request_error", "messages: Input should be valid (simulated)"
		if step.ContextLength {
			message = "prompt is too long: 210000 tokens > 200000 maximum"
		}
	case http.StatusUnauthorized:
		kind, message = "authentication_error", "invalid x-api-key"
		if step.echo != "" {
			message += ": " + step.echo
		}
	case http.StatusPaymentRequired:
		kind, message = "billing_error", "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."
	case http.StatusForbidden:
		kind, message = "permission_error", "Your API key does not have permission to use the specified resource."
	case http.StatusNotFound:
		kind, message = "not_found_error", "Not found"
	case http.StatusMethodNotAllowed:
		kind, message = "invalid_request_error", "Method Not Allowed"
	case http.StatusRequestEntityTooLarge:
		kind, message = "request_too_large", "Request exceeds the maximum size"
	case http.StatusTooManyRequests:
		kind, message = "rate_limit_error", "This request would exceed your organization's rate limit of 4000 requests per minute (simulated)"
	case http.StatusGatewayTimeout:
		kind, message = "timeout_error", "The request timed out (simulated)"
	case 529:
		kind, message = "overloaded_error", "Overloaded"
	}
	out := &reply{header: jsonHeader()}
	out.body = fmt.Appendf(nil, `{"type":"error","error":{"type":"%s","message":%s}}`, kind, quote(step.message(message)))
	if step.Status == http.StatusTooManyRequests || step.Status == 529 {
		out.header["Retry-After"] = []string{step.retrySeconds()}
		out.header["X-Should-Retry"] = []string{"true"}
	}
	return out
}

func openAIFailure(to endpoint, step Step) *reply {
	kind, code, param, message := "server_error", "server_error", "null", "The server had an error while processing your request. Sorry about that! (simulated)"
	switch step.Status {
	case http.StatusBadRequest:
		kind, code, message = "invalid_request_error", "", "Invalid request (simulated)"
		if step.ContextLength {
			code, param = "context_length_exceeded", `"messages"`
			message = "This model's maximum context length is 128000 tokens. However, your messages resulted in 210000 tokens. Please reduce the length of the messages."
			if to.name == "openai.responses" {
				param, message = `"input"`, "Your input exceeds the context window of this model. Please adjust your input and try again."
			}
		}
	case http.StatusUnauthorized:
		kind, code, message = "invalid_request_error", "invalid_api_key", "Incorrect API key provided: "+step.echo+". You can find your API key at https://platform.openai.com/account/api-keys."
	case http.StatusForbidden:
		kind, code, message = "invalid_request_error", "model_not_allowed", "You are not allowed to use this model (simulated)"
	case http.StatusNotFound:
		kind, code, message = "invalid_request_error", "", "Invalid URL ("+to.path+")"
		if to.render != nil || to.name == "models" {
			code, param, message = "model_not_found", `"model"`, "The model does not exist or you do not have access to it. (simulated)"
		}
	case http.StatusMethodNotAllowed:
		kind, code, message = "invalid_request_error", "method_not_supported", "Not allowed to use this method on "+to.path
	case http.StatusRequestEntityTooLarge:
		kind, code, message = "invalid_request_error", "request_too_large", "The request is too large"
	case http.StatusTooManyRequests:
		kind, code, message = "requests", "rate_limit_exceeded", "Rate limit reached for requests per min (RPM): Limit 10000, Used 10000, Requested 1. Please try again in 6ms. (simulated)"
		if step.Quota {
			kind, code, message = "insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan and billing details."
		}
	case http.StatusServiceUnavailable:
		code, message = "server_is_overloaded", "The server is currently overloaded with other requests. Please retry later. (simulated)"
	}
	quoted := "null"
	if code != "" {
		quoted = quote(code)
	}
	out := &reply{header: jsonHeader()}
	out.body = fmt.Appendf(nil, "{\n  \"error\": {\n    \"message\": %s,\n    \"type\": %s,\n    \"param\": %s,\n    \"code\": %s\n  }\n}\n",
		quote(step.message(message)), quote(kind), param, quoted)
	if step.Status == http.StatusTooManyRequests && !step.Quota {
		out.header["Retry-After"] = []string{step.retrySeconds()}
		out.header["Retry-After-Ms"] = []string{strconv.FormatInt(max(step.RetryAfter, time.Millisecond).Milliseconds(), 10)}
	}
	if step.Quota {
		out.header["X-Should-Retry"] = []string{"false"}
	}
	return out
}

func geminiFailure(step Step) *reply {
	state, message, details := "INTERNAL", "An internal error has occurred. Please retry. (simulated)", ""
	switch step.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		state, message = "INVALID_ARGUMENT", "Request contains an invalid argument. (simulated)"
		if step.ContextLength {
			message = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
		}
	case http.StatusUnauthorized:
		state, message = "UNAUTHENTICATED", "API key not valid. Please pass a valid API key."
		if step.echo != "" {
			message += " Received: " + step.echo
		}
	case http.StatusForbidden:
		state, message = "PERMISSION_DENIED", "The caller does not have permission (simulated)"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		state, message = "NOT_FOUND", "Requested entity was not found. (simulated)"
	case http.StatusTooManyRequests:
		state, message, details = "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details. (simulated)", quotaDetails(step)
	case http.StatusServiceUnavailable:
		state, message = "UNAVAILABLE", "The model is overloaded. Please try again later. (simulated)"
	case http.StatusGatewayTimeout:
		state, message = "DEADLINE_EXCEEDED", "Deadline expired before operation could complete. (simulated)"
	}
	out := &reply{header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}}}
	out.body = fmt.Appendf(nil, "{\n  \"error\": {\n    \"code\": %d,\n    \"message\": %s,\n    \"status\": \"%s\"%s\n  }\n}\n",
		step.Status, quote(step.message(message)), state, details)
	return out
}

// quotaDetails tells a minute's quota, worth a retry, from a day's.
func quotaDetails(step Step) string {
	per := "PerMinute"
	if step.Quota {
		per = "PerDay"
	}
	return fmt.Sprintf(`,"details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/generate_content_requests",`+
		`"quotaId":"GenerateRequests%sPerProjectPerModel","quotaDimensions":{"location":"global"},"quotaValue":"10"}]},`+
		`{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"%ss"}]`, per, step.retrySeconds())
}

// fixed answers what needs no body: model lists, the probe, unknown paths.
func (p *Provider) fixed(r *http.Request, to endpoint) *reply {
	switch {
	case !to.method:
		return failure(to, Step{Status: http.StatusMethodNotAllowed})
	case to.name == "hello":
		return &reply{status: http.StatusOK, header: jsonHeader(), body: []byte(`{"message":"hello"}`)}
	case to.name != "models":
		return failure(to, Step{Status: http.StatusNotFound})
	}
	out := plainReply(Usage{}, p.modelList(to))
	out.status = http.StatusOK
	if to.model != "" {
		model := strings.TrimPrefix(to.model, "models/")
		if !contains(p.opts.Models, model) {
			return failure(to, Step{Status: http.StatusNotFound})
		}
		out.body = []byte(modelObject(to.vendor, model))
	}
	return out
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

func (p *Provider) modelList(to endpoint) string {
	all := make([]string, len(p.opts.Models))
	for i, model := range p.opts.Models {
		all[i] = modelObject(to.vendor, model)
	}
	data := strings.Join(all, ",")
	switch to.vendor {
	case gemini:
		return `{"models":[` + data + `]}`
	case anthropic:
		first, last := "null", "null"
		if n := len(p.opts.Models); n > 0 {
			first, last = quote(p.opts.Models[0]), quote(p.opts.Models[n-1])
		}
		return fmt.Sprintf(`{"data":[%s],"has_more":false,"first_id":%s,"last_id":%s}`, data, first, last)
	}
	return `{"object":"list","data":[` + data + `]}`
}

func modelObject(v vendor, model string) string {
	name := quote(model + " (simulated)")
	switch v {
	case anthropic:
		return fmt.Sprintf(`{"type":"model","id":%s,"display_name":%s,"created_at":"2026-01-01T00:00:00Z"}`, quote(model), name)
	case gemini:
		return fmt.Sprintf(`{"name":%s,"version":"1","displayName":%s,"description":"Simulated model","inputTokenLimit":1048576,"outputTokenLimit":65536,`+
			`"supportedGenerationMethods":["generateContent","countTokens","embedContent"]}`, quote("models/"+model), name)
	}
	return fmt.Sprintf(`{"id":%s,"object":"model","created":%d,"owned_by":"simulated"}`, quote(model), created)
}
