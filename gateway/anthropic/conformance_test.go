package anthropic_test

import (
	"os"
	"testing"

	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

func TestDialectsConform(t *testing.T) {
	plain, err := os.ReadFile("testdata/text.json")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("messages", func(t *testing.T) {
		gatewaytest.TestDialect(t, anthropic.Messages(), gatewaytest.DialectSamples{
			Path: "/v1/messages?beta=true", Stream: stream(t, "text.sse"), Plain: plain,
			Request: []byte(`{"model":"claude-sonnet-5","max_tokens":64,"stream":true,"system":"s","tools":[{"name":"t","input_schema":{}}],"thinking":{"type":"enabled","budget_tokens":1024},"metadata":{"user_id":"u"},"stop_sequences":["x"],"temperature":0.5,"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}]}`),
		})
	})
	t.Run("count_tokens", func(t *testing.T) {
		gatewaytest.TestDialect(t, anthropic.CountTokens(), gatewaytest.DialectSamples{
			Path: "/v1/messages/count_tokens", Plain: []byte(`{"input_tokens":8}`),
			Request: []byte(`{"model":"claude-sonnet-5","messages":[{"role":"user","content":"hello"}]}`),
		})
	})
}
