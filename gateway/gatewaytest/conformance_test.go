package gatewaytest_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/openai"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// complaints is a T that remembers.
type complaints struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *complaints) Helper() {}
func (c *complaints) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(&c.text, format+"\n", args...)
}

var conformanceSamples = gatewaytest.DialectSamples{
	Path:    "/v1/messages",
	Request: []byte(`{"model":"claude-sonnet-5","max_tokens":64,"stream":true,"metadata":{"user_id":"u"},"messages":[{"role":"user","content":"hello"}]}`),
	Plain:   []byte(`{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-5","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":2,"output_tokens":1}}`),
	Stream: []byte("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-sonnet-5\",\"usage\":{\"input_tokens\":2,\"output_tokens\":1}}}\n\n" +
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n" +
		"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n" +
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
}

// bad is a good dialect with one method broken; nil ones are good.
type bad struct {
	gateway.Dialect
	name         string
	decode       func(gateway.Call, []byte) (gateway.Call, error)
	path         string
	encode       func(int, []byte) (int, []byte)
	decodeError  func(*gateway.Error) *gateway.Error
	encodeStream func([]byte) []byte
	observe      func(*gateway.Event, *gateway.Result)
}

func (b bad) Name() string {
	if b.name != "" {
		return b.name
	}
	return b.Dialect.Name()
}

func (b bad) Decode(r *http.Request, body []byte) (gateway.Call, error) {
	c, err := b.Dialect.Decode(r, body)
	if b.decode != nil && err == nil {
		return b.decode(c, body)
	}
	return c, err
}

func (b bad) Path(c *gateway.Call, model string) string {
	if b.path != "" {
		return fmt.Sprintf(b.path, model)
	}
	return b.Dialect.Path(c, model)
}

func (b bad) EncodeError(e *gateway.Error, id string) (int, http.Header, []byte) {
	status, h, body := b.Dialect.EncodeError(e, id)
	if b.encode != nil {
		status, body = b.encode(status, body)
	}
	return status, h, body
}

func (b bad) DecodeError(status int, h http.Header, body []byte) *gateway.Error {
	e := b.Dialect.DecodeError(status, h, body)
	if b.decodeError != nil {
		return b.decodeError(e)
	}
	return e
}

func (b bad) EncodeStreamError(e *gateway.Error, id string) []byte {
	out := b.Dialect.EncodeStreamError(e, id)
	if b.encodeStream != nil {
		return b.encodeStream(out)
	}
	return out
}

func (b bad) Observe(e *gateway.Event, r *gateway.Result) {
	b.Dialect.Observe(e, r)
	if b.observe != nil {
		b.observe(e, r)
	}
}

// alias is a string over b: what a dialect that keeps buffers has.
func alias(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

func TestDialectSuiteFindsEachBrokenRule(t *testing.T) {
	for want, b := range map[string]bad{
		"Name and Family are constant":        {name: "Anthropic Messages"},
		"names its model":                     {decode: func(c gateway.Call, _ []byte) (gateway.Call, error) { c.Model = ""; return c, nil }},
		"ModelSpan is where the model stands": {decode: func(c gateway.Call, _ []byte) (gateway.Call, error) { c.ModelSpan.Start++; return c, nil }},
		"Decode changes and keeps no buffer":  {decode: func(c gateway.Call, body []byte) (gateway.Call, error) { c.User = alias(body); return c, nil }},
		"Decode refuses what it cannot read": {decode: func(c gateway.Call, body []byte) (gateway.Call, error) {
			_ = body[bytes.Index(body, []byte("user_id"))]
			return c, nil
		}},
		"with status 4xx and words":             {decode: func(c gateway.Call, _ []byte) (gateway.Call, error) { return c, fmt.Errorf("no") }},
		"Path is below the base":                {path: "/v1/%s"},
		"JSON that carries the message":         {encode: func(status int, _ []byte) (int, []byte) { return status, []byte(`{}`) }},
		"EncodeError answers with status 4xx":   {encode: func(_ int, body []byte) (int, []byte) { return 200, body }},
		"DecodeError reads its own":             {decodeError: func(e *gateway.Error) *gateway.Error { e.Type = names.ErrorOther; return e }},
		"DecodeError finds a type and words":    {decodeError: func(e *gateway.Error) *gateway.Error { e.Message = ""; return e }},
		"Observe takes anything":                {observe: func(e *gateway.Event, _ *gateway.Result) { _ = e.Data[2] }},
		"usage off a plain answer":              {observe: func(_ *gateway.Event, r *gateway.Result) { r.Usage = gateway.Usage{} }},
		"keeps no buffer":                       {observe: func(e *gateway.Event, r *gateway.Result) { r.ID = alias(e.Data) }},
		"a whole stream ends with":              {observe: func(_ *gateway.Event, r *gateway.Result) { r.Done = false }},
		"a stream cut short":                    {observe: func(_ *gateway.Event, r *gateway.Result) { r.Done = true }},
		"EncodeStreamError is one whole event":  {encodeStream: func(b []byte) []byte { return bytes.TrimRight(b, "\n") }},
		"which Observe takes for an error":      {encodeStream: func([]byte) []byte { return []byte("event: ping\ndata: {\"type\":\"ping\"}\n\n") }},
		"Decode may run concurrently and alway": {decode: counted()},
	} {
		b.Dialect = anthropic.Messages()
		var c complaints
		gatewaytest.TestDialect(&c, b, conformanceSamples)
		if got := c.text.String(); !strings.Contains(got, want) || !strings.Contains(got, "why: ") {
			t.Errorf("no complaint that %q, but:\n%s", want, got)
		}
	}
}

// counted gives each call another answer.
func counted() func(gateway.Call, []byte) (gateway.Call, error) {
	var mu sync.Mutex
	n := 0
	return func(c gateway.Call, _ []byte) (gateway.Call, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		c.Messages = n
		return c, nil
	}
}

// rewrites injects usage by writing the request anew.
type rewrites struct {
	gateway.Dialect
	gateway.UsageInjector
}

func (rewrites) InjectUsage([]byte, *gateway.Call) []byte {
	return []byte(`{"model":"m","stream_options":{"include_usage":true}}`)
}

func (rewrites) UsageOnly(*gateway.Event) bool { return true }

func TestDialectSuiteFindsInjectionThatRewrites(t *testing.T) {
	var c complaints
	gatewaytest.TestDialect(&c, rewrites{Dialect: openai.Chat()}, gatewaytest.DialectSamples{
		Path: "/v1/chat/completions", Request: []byte(`{"model":"gpt-5","stream":true,"messages":[{"role":"user","content":"hello"}]}`),
	})
	for _, want := range []string{"InjectUsage only inserts", "UsageOnly takes no event of content"} {
		if !strings.Contains(c.text.String(), want) {
			t.Errorf("no complaint that %q, but:\n%s", want, c.text.String())
		}
	}
}

func TestHookSuiteFindsEachBrokenRule(t *testing.T) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	begin := func(f func(context.Context, *gateway.Exchange) gateway.Phases) func(context.Context, *gateway.Exchange) (gateway.Phases, error) {
		return func(ctx context.Context, x *gateway.Exchange) (gateway.Phases, error) { return f(ctx, x), nil }
	}
	for want, h := range map[string]gateway.Hook{
		"Name is constant": gateway.HookFunc("Not A Name", begin(func(context.Context, *gateway.Exchange) gateway.Phases { return gateway.Phases{} })),
		"every phase takes an exchange": gateway.HookFunc("panics", begin(func(context.Context, *gateway.Exchange) gateway.Phases {
			return gateway.Phases{End: func(_ context.Context, x *gateway.Exchange) error {
				x.SetResponseHeader("X-Model", x.Final().Response.Status)
				return nil
			}}
		})),
		"the client's request stays": gateway.HookFunc("edits", begin(func(_ context.Context, x *gateway.Exchange) gateway.Phases {
			x.Request.Header.Set("X-Mine", "1")
			return gateway.Phases{}
		})),
		"nothing runs on": gateway.HookFunc("leaks", begin(func(context.Context, *gateway.Exchange) gateway.Phases {
			all.Go(func() { <-stop })
			return gateway.Phases{}
		})),
	} {
		var c complaints
		gatewaytest.TestHook(&c, func() gateway.Hook { return h })
		if got := c.text.String(); !strings.Contains(got, want) || !strings.Contains(got, "why: ") {
			t.Errorf("no complaint that %q, but:\n%s", want, got)
		}
	}
	close(stop)
	all.Wait()
}
