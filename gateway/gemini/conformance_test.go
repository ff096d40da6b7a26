package gemini_test

import (
	"os"
	"testing"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/gemini"
)

func TestDialectsConform(t *testing.T) {
	stream, err := os.ReadFile("testdata/text.sse")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("generate_content", func(t *testing.T) {
		gatewaytest.TestDialect(t, gemini.GenerateContent(), gatewaytest.DialectSamples{
			Path: "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", Stream: stream,
			Plain:   []byte(`{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":1,"totalTokenCount":3},"modelVersion":"gemini-2.5-pro","responseId":"r"}`),
			Request: []byte(`{"contents":[{"role":"user","parts":[{"text":"hello"}]}],"tools":[{"functionDeclarations":[{"name":"t"}]}],"generationConfig":{"maxOutputTokens":64,"temperature":0.5,"stopSequences":["x"],"thinkingConfig":{"thinkingBudget":1024}},"systemInstruction":{"parts":[{"text":"s"}]}}`),
		})
	})
	t.Run("count_tokens", func(t *testing.T) {
		gatewaytest.TestDialect(t, gemini.CountTokens(), gatewaytest.DialectSamples{
			Path: "/v1beta/models/gemini-2.5-pro:countTokens", Plain: []byte(`{"totalTokens":8}`),
			Request: []byte(`{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`),
		})
	})
	t.Run("embed_content", func(t *testing.T) {
		gatewaytest.TestDialect(t, gemini.EmbedContent(), gatewaytest.DialectSamples{
			Path:    "/v1beta/models/gemini-embedding-001:embedContent",
			Request: []byte(`{"content":{"parts":[{"text":"hello"}]}}`),
		})
	})
}
