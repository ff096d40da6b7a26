package gateway_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	anthropicsdk "github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	openaisdk "github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"google.golang.org/genai"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// The vendors' own SDKs judge what the gateway relays and makes up. They retry
// as they do by default, so that refusals which must not be retried show it.

var toolSchema = map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"}}

// counting is an http.Client of the rig's that counts what it sends.
type counting struct {
	base http.RoundTripper
	n    atomic.Int32
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.base.RoundTrip(r)
}

func (r *rig) counted() (*http.Client, *counting) {
	c := &counting{base: r.client.Transport}
	return &http.Client{Transport: c}, c
}

func (r *rig) anthropic() (anthropicsdk.Client, *counting) {
	h, c := r.counted()
	return anthropicsdk.NewClient(anthropicoption.WithBaseURL(r.url), anthropicoption.WithAPIKey(clientKey), anthropicoption.WithHTTPClient(h)), c
}

func (r *rig) openai() (openaisdk.Client, *counting) {
	h, c := r.counted()
	return openaisdk.NewClient(openaioption.WithBaseURL(r.url+"/v1"), openaioption.WithAPIKey(clientKey), openaioption.WithHTTPClient(h)), c
}

func (r *rig) gemini() *genai.Client {
	r.t.Helper()
	h, _ := r.counted()
	c, err := genai.NewClient(r.t.Context(), &genai.ClientConfig{APIKey: clientKey, Backend: genai.BackendGeminiAPI, HTTPClient: h, HTTPOptions: genai.HTTPOptions{BaseURL: r.url}})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func messageParams(model, text string) anthropicsdk.MessageNewParams {
	return anthropicsdk.MessageNewParams{
		Model: anthropicsdk.Model(model), MaxTokens: 4096, Thinking: anthropicsdk.ThinkingConfigParamOfEnabled(2048),
		Messages: []anthropicsdk.MessageParam{anthropicsdk.NewUserMessage(anthropicsdk.NewTextBlock(text))},
		Tools: []anthropicsdk.ToolUnionParam{{OfTool: &anthropicsdk.ToolParam{Name: "get_weather",
			InputSchema: anthropicsdk.ToolInputSchemaParam{Properties: toolSchema["properties"], Required: []string{"city"}}}}},
	}
}

func TestAnthropicSDK(t *testing.T) {
	r := newRig(t, rigConfig{models: map[string]route.Model{"smart": {Targets: []route.WeightedTarget{{Target: "anthropic/claude-sonnet-5"}}}}})
	client, _ := r.anthropic()
	for _, text := range []string{"hello", "use the tool please"} {
		plain, err := client.Messages.New(t.Context(), messageParams("smart", text))
		if err != nil {
			t.Fatal(err)
		}
		stream := client.Messages.NewStreaming(t.Context(), messageParams("smart", text))
		var streamed anthropicsdk.Message
		for stream.Next() {
			if err := streamed.Accumulate(stream.Current()); err != nil {
				t.Fatal(err)
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		if len(plain.Content) != 2 || len(streamed.Content) != 2 || plain.Content[0].Thinking == "" || plain.Content[0].Signature == "" || plain.Content[0].Signature != streamed.Content[0].Signature {
			t.Fatalf("%s: got %d and %d blocks", text, len(plain.Content), len(streamed.Content))
		}
		p, s := plain.Content[1], streamed.Content[1]
		if p.Text != s.Text || string(p.Input) != string(s.Input) || p.Text == "" && p.Name != "get_weather" || plain.StopReason != streamed.StopReason || plain.Usage.OutputTokens != streamed.Usage.OutputTokens {
			t.Errorf("%s: got plain %+v, streamed %+v", text, p, s)
		}
		for range 2 {
			x, spans := r.exchange()
			if got := attr(spans.genai()[0], names.KeyGenAIUsageOutputTokens).AsInt64(); got != plain.Usage.OutputTokens || !x.Call.Thinking || x.Call.ToolCount != 1 {
				t.Errorf("%s: the span has %d output tokens, the SDK %d; thinking %v, %d tools", text, got, plain.Usage.OutputTokens, x.Call.Thinking, x.Call.ToolCount)
			}
		}
	}
	counted, err := client.Messages.CountTokens(t.Context(), anthropicsdk.MessageCountTokensParams{Model: "claude-sonnet-5", Messages: messageParams("", "hello").Messages})
	if err != nil || counted.InputTokens == 0 {
		t.Errorf("count_tokens: got %+v, %v", counted, err)
	}
	list, err := client.Models.List(t.Context(), anthropicsdk.ModelListParams{})
	if err != nil || !strings.Contains(list.RawJSON(), `"smart"`) {
		t.Errorf("models: got %s, %v", list.RawJSON(), err)
	}
}

func TestAnthropicSDKSeesErrors(t *testing.T) {
	r := newRig(t, rigConfig{})
	client, _ := r.anthropic()
	var failure *anthropicsdk.Error
	for model, want := range map[string]struct {
		status int
		kind   string
	}{"simulate-400": {400, "invalid_request_error"}, "simulate-403": {403, "permission_error"}, "simulate-404": {404, "not_found_error"}, "simulate-quota": {402, "billing_error"}, "simulate-html": {502, "api_error"}} {
		_, err := client.Messages.New(t.Context(), messageParams(model, "hello"), anthropicoption.WithMaxRetries(0))
		if !errors.As(err, &failure) || failure.StatusCode != want.status || string(failure.Type()) != want.kind || failure.RequestID == "" || !strings.Contains(failure.Error(), "message") {
			t.Errorf("%s: got %v, want %v", model, err, want)
		}
	}
	// Errors on the way, the provider's and ours.
	for model, kind := range map[string]string{"simulate-error_after=3": "overloaded_error", "simulate-truncate_after=3": "api_error", "simulate-reset_after=3": "api_error"} {
		stream := client.Messages.NewStreaming(t.Context(), messageParams(model, "hello"))
		n := 0
		for stream.Next() {
			n++
		}
		if err := stream.Err(); err == nil || !strings.Contains(err.Error(), kind) || n == 0 {
			t.Errorf("%s: got %d events, %v, want %s", model, n, err, kind)
		}
	}
	// Refused by the gateway.
	_, err := client.Messages.New(t.Context(), messageParams("", "hello"))
	if !errors.As(err, &failure) || failure.StatusCode != 400 || string(failure.Type()) != "invalid_request_error" {
		t.Errorf("no model: got %v", err)
	}
	ours := newRig(t, rigConfig{provider: keyed(providerKey), sim: simulatorWith(otherKey)})
	client, sent := ours.anthropic()
	_, err = client.Messages.New(t.Context(), messageParams("claude-sonnet-5", "hello"))
	if !errors.As(err, &failure) || failure.StatusCode != 502 || sent.n.Load() != 1 {
		t.Errorf("our credential refused: got %v after %d requests, want one: x-should-retry is false", err, sent.n.Load())
	}
}

func chatParams(model, text string) openaisdk.ChatCompletionNewParams {
	return openaisdk.ChatCompletionNewParams{
		Model: model, ReasoningEffort: shared.ReasoningEffortLow,
		Messages: []openaisdk.ChatCompletionMessageParamUnion{openaisdk.SystemMessage("be brief"), openaisdk.UserMessage(text)},
		Tools:    []openaisdk.ChatCompletionToolUnionParam{openaisdk.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "get_weather", Parameters: toolSchema})},
	}
}

func TestOpenAISDKChat(t *testing.T) {
	r := newRig(t, rigConfig{models: map[string]route.Model{"smart": {Targets: []route.WeightedTarget{{Target: "openai/gpt-5.5"}}}}})
	client, _ := r.openai()
	for _, text := range []string{"hello", "use the tool please"} {
		for _, usage := range []bool{false, true} { // asked for by the client, or on its behalf
			params := chatParams("smart", text)
			if usage {
				params.StreamOptions.IncludeUsage = openaisdk.Bool(true)
			}
			stream := client.Chat.Completions.NewStreaming(t.Context(), params)
			var acc openaisdk.ChatCompletionAccumulator
			for stream.Next() {
				if !acc.AddChunk(stream.Current()) {
					t.Fatal("the accumulator refused a chunk")
				}
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			plain, err := client.Chat.Completions.New(t.Context(), chatParams("smart", text))
			if err != nil {
				t.Fatal(err)
			}
			p, s := plain.Choices[0], acc.Choices[0]
			if p.Message.Content != s.Message.Content || p.FinishReason != s.FinishReason || len(p.Message.ToolCalls) != len(s.Message.ToolCalls) || len(p.Message.ToolCalls) == 0 && p.Message.Content == "" {
				t.Errorf("%s: got plain %+v, streamed %+v", text, p, s)
			}
			if (acc.Usage.TotalTokens > 0) != usage {
				t.Errorf("%s: asked for usage %v, got %+v", text, usage, acc.Usage)
			}
			for range 2 {
				if _, spans := r.exchange(); attr(spans.genai()[0], names.KeyGenAIUsageOutputTokens).AsInt64() != plain.Usage.CompletionTokens {
					t.Errorf("%s: the span's output tokens differ from the SDK's %d", text, plain.Usage.CompletionTokens)
				}
			}
		}
	}
	floats, err := client.Embeddings.New(t.Context(), openaisdk.EmbeddingNewParams{Model: "text-embedding-3-small", Input: openaisdk.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}}})
	if err != nil || len(floats.Data) != 2 || floats.Usage.PromptTokens == 0 {
		t.Errorf("embeddings: got %+v, %v", floats, err)
	}
	list, err := client.Models.List(t.Context())
	if err != nil || !strings.Contains(list.RawJSON(), `"smart"`) {
		t.Errorf("models: got %s, %v", list.RawJSON(), err)
	}
}

func TestOpenAISDKResponses(t *testing.T) {
	r := newRig(t, rigConfig{})
	client, _ := r.openai()
	for _, text := range []string{"hello", "use the tool please"} {
		params := responses.ResponseNewParams{
			Model: "gpt-5.5", Input: responses.ResponseNewParamsInputUnion{OfString: openaisdk.String(text)}, Reasoning: shared.ReasoningParam{Effort: shared.ReasoningEffortLow},
			Tools: []responses.ToolUnionParam{responses.ToolParamOfFunction("get_weather", toolSchema, true)},
		}
		plain, err := client.Responses.New(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		stream := client.Responses.NewStreaming(t.Context(), params)
		var final responses.Response
		for stream.Next() {
			if e := stream.Current(); e.Type == "response.completed" {
				final = e.Response
			}
		}
		if stream.Err() != nil || final.OutputText() != plain.OutputText() || len(final.Output) != len(plain.Output) || final.Usage.OutputTokens != plain.Usage.OutputTokens {
			t.Errorf("%s: got plain %s, streamed %s, %v", text, plain.RawJSON(), final.RawJSON(), stream.Err())
		}
		for range 2 {
			if _, spans := r.exchange(); attr(spans.genai()[0], names.KeyGenAIUsageOutputTokens).AsInt64() != plain.Usage.OutputTokens {
				t.Errorf("%s: the span's output tokens differ from the SDK's %d", text, plain.Usage.OutputTokens)
			}
		}
	}
}

func TestOpenAISDKSeesErrors(t *testing.T) {
	r := newRig(t, rigConfig{})
	client, _ := r.openai()
	var failure *openaisdk.Error
	for model, want := range map[string]struct {
		status int
		code   string
	}{"simulate-404": {404, "model_not_found"}, "simulate-context_length": {400, "context_length_exceeded"}, "simulate-quota": {429, "insufficient_quota"}} {
		_, err := client.Chat.Completions.New(t.Context(), chatParams(model, "hello"))
		if !errors.As(err, &failure) || failure.StatusCode != want.status || failure.Code != want.code || failure.Message == "" || failure.Type == "" {
			t.Errorf("%s: got %v, want %v", model, err, want)
		}
	}
	for _, model := range []string{"simulate-error_after=3", "simulate-truncate_after=3", "simulate-reset_after=3"} {
		chat := client.Chat.Completions.NewStreaming(t.Context(), chatParams(model, "hello"))
		n := 0
		for chat.Next() {
			n++
		}
		resp := client.Responses.NewStreaming(t.Context(), responses.ResponseNewParams{Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openaisdk.String("hello")}})
		failed := false
		for resp.Next() {
			failed = failed || resp.Current().Type == "error" || resp.Current().Type == "response.failed"
		}
		if chat.Err() == nil || n == 0 || resp.Err() == nil && !failed {
			t.Errorf("%s: got %d chunks, %v; responses: %v", model, n, chat.Err(), resp.Err())
		}
	}
	_, err := client.Chat.Completions.New(t.Context(), chatParams("", "hello"))
	if !errors.As(err, &failure) || failure.StatusCode != 400 || failure.Type != "invalid_request_error" {
		t.Errorf("no model: got %v", err)
	}
	ours := newRig(t, rigConfig{provider: keyed(providerKey), sim: simulatorWith(otherKey)})
	client, sent := ours.openai()
	_, err = client.Chat.Completions.New(t.Context(), chatParams("gpt-5.5", "hello"))
	if !errors.As(err, &failure) || failure.StatusCode != 502 || sent.n.Load() != 1 {
		t.Errorf("our credential refused: got %v after %d requests, want one: x-should-retry is false", err, sent.n.Load())
	}
}

func TestGeminiSDK(t *testing.T) {
	r := newRig(t, rigConfig{models: map[string]route.Model{"smart": {Targets: []route.WeightedTarget{{Target: "gemini/gemini-3.5-pro"}}}}})
	client := r.gemini()
	config := &genai.GenerateContentConfig{
		ThinkingConfig: &genai.ThinkingConfig{IncludeThoughts: true},
		Tools:          []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{Name: "get_weather", ParametersJsonSchema: toolSchema}}}},
	}
	for _, text := range []string{"hello", "use the tool please"} {
		plain, err := client.Models.GenerateContent(t.Context(), "smart", genai.Text(text), config)
		if err != nil {
			t.Fatal(err)
		}
		said, calls := "", 0
		for frame, err := range client.Models.GenerateContentStream(t.Context(), "smart", genai.Text(text), config) {
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range frame.Candidates[0].Content.Parts {
				if !part.Thought {
					said += part.Text
				}
			}
			calls += len(frame.FunctionCalls())
		}
		if said != plain.Text() || calls != len(plain.FunctionCalls()) || said == "" && calls == 0 {
			t.Errorf("%s: got %q and %d calls, plain %q and %d", text, said, calls, plain.Text(), len(plain.FunctionCalls()))
		}
		for range 2 {
			u := plain.UsageMetadata
			if _, spans := r.exchange(); attr(spans.genai()[0], names.KeyGenAIUsageOutputTokens).AsInt64() != int64(u.CandidatesTokenCount+u.ThoughtsTokenCount) {
				t.Errorf("%s: the span's output tokens differ from the SDK's %+v", text, u)
			}
		}
	}
	if n, err := client.Models.CountTokens(t.Context(), "smart", genai.Text("hello"), nil); err != nil || n.TotalTokens == 0 {
		t.Errorf("countTokens: got %+v, %v", n, err)
	}
	if v, err := client.Models.EmbedContent(t.Context(), "gemini-embedding-2", genai.Text("hello"), nil); err != nil || len(v.Embeddings) != 1 {
		t.Errorf("embedContent: got %+v, %v", v, err)
	}
	models, err := client.Models.List(t.Context(), nil)
	if err != nil || len(models.Items) == 0 {
		t.Errorf("models: got %+v, %v", models, err)
	}
}

func TestGeminiSDKSeesErrors(t *testing.T) {
	r := newRig(t, rigConfig{})
	client := r.gemini()
	var failure genai.APIError
	for model, want := range map[string]struct {
		code   int
		status string
	}{"simulate-429": {429, "RESOURCE_EXHAUSTED"}, "simulate-400": {400, "INVALID_ARGUMENT"}, "simulate-503": {503, "UNAVAILABLE"}, "simulate-html": {502, ""}} {
		_, err := client.Models.GenerateContent(t.Context(), model, genai.Text("hello"), nil)
		if !errors.As(err, &failure) || failure.Code != want.code || want.status != "" && failure.Status != want.status || failure.Message == "" {
			t.Errorf("%s: got %v, want %v", model, err, want)
		}
	}
	for _, model := range []string{"simulate-error_after=2", "simulate-truncate_after=2", "simulate-reset_after=2"} {
		var last error
		n := 0
		for _, err := range client.Models.GenerateContentStream(t.Context(), model, genai.Text("hello"), nil) {
			n, last = n+1, err
		}
		if last == nil || n < 2 {
			t.Errorf("%s: got %d frames, %v", model, n, last)
		}
	}
	ours := newRig(t, rigConfig{baseURL: closedPort(t), provider: func(p *gateway.Provider) { p.Keys = []gateway.Secret{providerKey} }})
	_, err := ours.gemini().Models.GenerateContent(t.Context(), "gemini-3.5-pro", genai.Text("hello"), nil)
	if !errors.As(err, &failure) || failure.Code != 502 || failure.Message == "" {
		t.Errorf("unreachable: got %v", err)
	}
}
