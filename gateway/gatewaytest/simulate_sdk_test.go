package gatewaytest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"google.golang.org/genai"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

// The vendors' own SDKs judge whether the simulated streams are right.

var weather = map[string]any{
	"type":       "object",
	"properties": map[string]any{"city": map[string]any{"type": "string"}, "days": map[string]any{"type": "integer"}},
	"required":   []string{"city", "days"},
}

const weatherArgs = `{"city":"simulated: use the tool please","days":1}`

func anthropicClient(url string) anthropic.Client {
	return anthropic.NewClient(anthropicoption.WithBaseURL(url), anthropicoption.WithAPIKey("sk-ant-test"), anthropicoption.WithMaxRetries(0))
}

func messageParams(text string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: "claude-sonnet-5", MaxTokens: 4096,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(text))},
		Thinking: anthropic.ThinkingConfigParamOfEnabled(2048),
		Tools: []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{Name: "get_weather",
			InputSchema: anthropic.ToolInputSchemaParam{Properties: weather["properties"], Required: []string{"city", "days"}}}}},
	}
}

func TestAnthropicSDKReadsPlainAndStreamAlike(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	client := anthropicClient(url)
	for _, text := range []string{"hello", "use the tool please"} {
		plain, err := client.Messages.New(t.Context(), messageParams(text))
		if err != nil {
			t.Fatalf("plain: %v", err)
		}
		stream := client.Messages.NewStreaming(t.Context(), messageParams(text))
		var streamed anthropic.Message
		for stream.Next() {
			if err := streamed.Accumulate(stream.Current()); err != nil {
				t.Fatalf("accumulate: %v", err)
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatalf("stream: %v", err)
		}
		if len(plain.Content) != 2 || len(streamed.Content) != 2 {
			t.Fatalf("got %d and %d blocks, want thinking and one more", len(plain.Content), len(streamed.Content))
		}
		if p, s := plain.Content[0], streamed.Content[0]; p.Type != "thinking" || p.Thinking == "" || p.Signature == "" || p.Thinking != s.Thinking || p.Signature != s.Signature {
			t.Errorf("thinking: got plain %q, streamed %q", p.Thinking, s.Thinking)
		}
		p, s := plain.Content[1], streamed.Content[1]
		if p.Text != s.Text || string(p.Input) != string(s.Input) || p.Name != s.Name || plain.StopReason != streamed.StopReason {
			t.Errorf("got plain %+v, streamed %+v", p, s)
		}
		if text == "hello" {
			if !strings.Contains(p.Text, "Simulated") || plain.StopReason != anthropic.StopReasonEndTurn {
				t.Errorf("got %q, %s", p.Text, plain.StopReason)
			}
		} else if p.Type != "tool_use" || string(p.Input) != weatherArgs || plain.StopReason != anthropic.StopReasonToolUse {
			t.Errorf("got %s %s, %s", p.Type, p.Input, plain.StopReason)
		}
		pu, su := plain.Usage, streamed.Usage
		if pu.InputTokens != su.InputTokens || pu.OutputTokens != su.OutputTokens || pu.OutputTokensDetails.ThinkingTokens != su.OutputTokensDetails.ThinkingTokens {
			t.Errorf("usage: got plain %+v, streamed %+v", pu, su)
		}
		if pu.OutputTokens <= pu.OutputTokensDetails.ThinkingTokens || pu.OutputTokensDetails.ThinkingTokens == 0 {
			t.Errorf("got output %d, thinking %d", pu.OutputTokens, pu.OutputTokensDetails.ThinkingTokens)
		}
		counted, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{
			Model: "claude-sonnet-5", Messages: messageParams(text).Messages,
			Tools: []anthropic.MessageCountTokensToolUnionParam{{OfTool: messageParams(text).Tools[0].OfTool}},
		})
		if err != nil || counted.InputTokens != pu.InputTokens {
			t.Errorf("count_tokens: got %+v, %v, want %d", counted, err, pu.InputTokens)
		}
	}
	models, err := client.Models.List(t.Context(), anthropic.ModelListParams{})
	if err != nil || len(models.Data) == 0 || models.Data[0].DisplayName == "" {
		t.Errorf("models: got %+v, %v", models, err)
	}
}

func TestAnthropicSDKSeesTheVendorsErrors(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	client := anthropicClient(url)
	params := messageParams("hello")
	params.Model = "simulate-529"
	_, err := client.Messages.New(t.Context(), params)
	var apiErr *anthropic.Error
	if !errors.As(err, &apiErr) || apiErr.StatusCode != 529 || apiErr.Type() != "overloaded_error" || apiErr.RequestID == "" {
		t.Errorf("got %v", err)
	}
	params.Model = "simulate-error_after=3"
	stream := client.Messages.NewStreaming(t.Context(), params)
	n := 0
	for stream.Next() {
		n++
	}
	if stream.Err() == nil || n != 2 { // the SDK swallows the ping
		t.Errorf("got %d events and error %v", n, stream.Err())
	}
}

func openaiClient(url string) openai.Client {
	return openai.NewClient(openaioption.WithBaseURL(url+"/v1"), openaioption.WithAPIKey("sk-test"), openaioption.WithMaxRetries(0))
}

func chatParams(text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: "gpt-5.5", ReasoningEffort: shared.ReasoningEffortLow,
		Messages:      []openai.ChatCompletionMessageParamUnion{openai.SystemMessage("be brief"), openai.UserMessage(text)},
		Tools:         []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "get_weather", Parameters: weather})},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	}
}

func TestOpenAISDKReadsChatPlainAndStreamAlike(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	client := openaiClient(url)
	for _, text := range []string{"hello", "use the tool please"} {
		params := chatParams(text)
		stream := client.Chat.Completions.NewStreaming(t.Context(), params)
		var acc openai.ChatCompletionAccumulator
		for stream.Next() {
			if !acc.AddChunk(stream.Current()) {
				t.Fatal("the accumulator refused a chunk")
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatalf("stream: %v", err)
		}
		params.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
		plain, err := client.Chat.Completions.New(t.Context(), params)
		if err != nil {
			t.Fatalf("plain: %v", err)
		}
		p, s := plain.Choices[0], acc.Choices[0]
		if p.Message.Content != s.Message.Content || p.FinishReason != s.FinishReason || len(p.Message.ToolCalls) != len(s.Message.ToolCalls) {
			t.Errorf("got plain %+v, streamed %+v", p, s)
		}
		if text == "hello" {
			if !strings.Contains(p.Message.Content, "Simulated") || p.FinishReason != "stop" {
				t.Errorf("got %q, %s", p.Message.Content, p.FinishReason)
			}
		} else if got := s.Message.ToolCalls; len(got) != 1 || got[0].Function.Name != "get_weather" || got[0].Function.Arguments != weatherArgs || p.FinishReason != "tool_calls" {
			t.Errorf("got %+v, %s", got, p.FinishReason)
		}
		pu, su := plain.Usage, acc.Usage
		if pu.PromptTokens != su.PromptTokens || pu.CompletionTokens != su.CompletionTokens || pu.TotalTokens != pu.PromptTokens+pu.CompletionTokens {
			t.Errorf("usage: got plain %+v, streamed %+v", pu, su)
		}
		if r := pu.CompletionTokensDetails.ReasoningTokens; r == 0 || r >= pu.CompletionTokens {
			t.Errorf("got reasoning %d of %d", r, pu.CompletionTokens)
		}
	}
}

func TestOpenAISDKReadsCompletionsAndEmbeddings(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	client := openaiClient(url)
	completion := openai.CompletionNewParams{Model: "gpt-5.5", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("hello")}}
	plain, err := client.Completions.New(t.Context(), completion)
	if err != nil {
		t.Fatalf("completions: %v", err)
	}
	stream := client.Completions.NewStreaming(t.Context(), completion)
	text := ""
	for stream.Next() {
		text += stream.Current().Choices[0].Text
	}
	if stream.Err() != nil || text != plain.Choices[0].Text || text == "" {
		t.Errorf("got %q, %v, want %q", text, stream.Err(), plain.Choices[0].Text)
	}

	params := openai.EmbeddingNewParams{Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}}}
	params.EncodingFormat = openai.EmbeddingNewParamsEncodingFormatFloat
	floats, err := client.Embeddings.New(t.Context(), params)
	if err != nil {
		t.Fatalf("embeddings: %v", err)
	}
	if len(floats.Data) != 2 || len(floats.Data[0].Embedding) != 16 || floats.Usage.PromptTokens != 2 {
		t.Errorf("got %+v", floats)
	}
	models, err := client.Models.List(t.Context())
	if err != nil || len(models.Data) == 0 {
		t.Errorf("models: got %+v, %v", models, err)
	}
}

// callID returns the id of the function call in a response; ids depend on every
// byte of the request.
func callID(r *responses.Response) string {
	return strings.TrimPrefix(r.ID, "resp_sim")[:16]
}

func responsesParams(text string) responses.ResponseNewParams {
	return responses.ResponseNewParams{
		Model: "gpt-5.5", Instructions: openai.String("be brief"),
		Input:     responses.ResponseNewParamsInputUnion{OfString: openai.String(text)},
		Reasoning: shared.ReasoningParam{Effort: shared.ReasoningEffortLow, Summary: shared.ReasoningSummaryAuto},
		Tools:     []responses.ToolUnionParam{responses.ToolParamOfFunction("get_weather", weather, true)},
	}
}

func TestOpenAISDKReadsResponsesPlainAndStreamAlike(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	client := openaiClient(url)
	for _, text := range []string{"hello", "use the tool please"} {
		plain, err := client.Responses.New(t.Context(), responsesParams(text))
		if err != nil {
			t.Fatalf("plain: %v", err)
		}
		stream := client.Responses.NewStreaming(t.Context(), responsesParams(text))
		var final responses.Response
		deltas, args, thought, next := "", "", "", int64(0)
		for stream.Next() {
			e := stream.Current()
			if e.SequenceNumber != next {
				t.Fatalf("got sequence number %d, want %d", e.SequenceNumber, next)
			}
			next++
			switch e.Type {
			case "response.output_text.delta":
				deltas += e.Delta
			case "response.function_call_arguments.delta":
				args += e.Delta
			case "response.reasoning_summary_text.delta":
				thought += e.Delta
			case "response.completed":
				final = e.Response
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatalf("stream: %v", err)
		}
		streamed := strings.ReplaceAll(final.RawJSON(), strings.TrimPrefix(final.ID, "resp_"), strings.TrimPrefix(plain.ID, "resp_"))
		streamed = strings.ReplaceAll(streamed, callID(&final), callID(plain))
		if plain.RawJSON() != streamed {
			t.Errorf("got plain %s, streamed %s", plain.RawJSON(), final.RawJSON())
		}
		if deltas != plain.OutputText() || len(plain.Output) != 2 || plain.Output[0].Type != "reasoning" || plain.Output[0].Summary[0].Text != thought {
			t.Errorf("got text %q, thought %q, %+v", deltas, thought, plain.Output)
		}
		if text != "hello" && (plain.Output[1].Name != "get_weather" || args != weatherArgs) {
			t.Errorf("got call %s(%s)", plain.Output[1].Name, args)
		}
		u := plain.Usage
		if u.InputTokens == 0 || u.TotalTokens != u.InputTokens+u.OutputTokens || u.OutputTokensDetails.ReasoningTokens == 0 {
			t.Errorf("got usage %+v", u)
		}
	}
}

func geminiClient(t *testing.T, url string) *genai.Client {
	t.Helper()
	client, err := genai.NewClient(t.Context(), &genai.ClientConfig{APIKey: "test", Backend: genai.BackendGeminiAPI, HTTPOptions: genai.HTTPOptions{BaseURL: url}, HTTPClient: &http.Client{}})
	if err != nil {
		t.Fatalf("genai client: %v", err)
	}
	return client
}

func TestGeminiSDKReadsPlainAndStreamAlike(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	client := geminiClient(t, url)
	config := &genai.GenerateContentConfig{
		SystemInstruction: genai.NewContentFromText("be brief", "user"),
		ThinkingConfig:    &genai.ThinkingConfig{IncludeThoughts: true},
		Tools:             []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{Name: "get_weather", ParametersJsonSchema: weather}}}},
	}
	for _, text := range []string{"hello", "use the tool please"} {
		plain, err := client.Models.GenerateContent(t.Context(), "gemini-3.5-pro", genai.Text(text), config)
		if err != nil {
			t.Fatalf("plain: %v", err)
		}
		said, calls := "", 0
		var last *genai.GenerateContentResponse
		for frame, err := range client.Models.GenerateContentStream(t.Context(), "gemini-3.5-pro", genai.Text(text), config) {
			if err != nil {
				t.Fatalf("stream: %v", err)
			}
			if frame.UsageMetadata == nil {
				t.Error("a frame without usage")
			}
			for _, part := range frame.Candidates[0].Content.Parts {
				if !part.Thought {
					said += part.Text
				}
			}
			calls += len(frame.FunctionCalls())
			last = frame
		}
		if last.Candidates[0].FinishReason != genai.FinishReasonStop || said != plain.Text() || calls != len(plain.FunctionCalls()) {
			t.Errorf("got %q, %d calls, %s; plain %q", said, calls, last.Candidates[0].FinishReason, plain.Text())
		}
		if text != "hello" && (calls != 1 || plain.FunctionCalls()[0].Name != "get_weather" || plain.FunctionCalls()[0].Args["days"] != 1.0) {
			t.Errorf("got calls %+v", plain.FunctionCalls())
		}
		u, su := plain.UsageMetadata, last.UsageMetadata
		if u.TotalTokenCount != u.PromptTokenCount+u.CandidatesTokenCount+u.ThoughtsTokenCount || u.ThoughtsTokenCount == 0 {
			t.Errorf("got usage %+v", u)
		}
		if su.TotalTokenCount != u.TotalTokenCount || su.CandidatesTokenCount != u.CandidatesTokenCount {
			t.Errorf("usage: got plain %+v, streamed %+v", u, su)
		}
	}
	counted, err := client.Models.CountTokens(t.Context(), "gemini-3.5-pro", genai.Text("hello"), nil)
	if err != nil || counted.TotalTokens == 0 {
		t.Errorf("countTokens: got %+v, %v", counted, err)
	}
	vectors, err := client.Models.EmbedContent(t.Context(), "gemini-embedding-2", genai.Text("hello"), nil)
	if err != nil || len(vectors.Embeddings) != 1 || len(vectors.Embeddings[0].Values) == 0 {
		t.Errorf("embedContent: got %+v, %v", vectors, err)
	}
	models, err := client.Models.List(t.Context(), nil)
	if err != nil || len(models.Items) == 0 {
		t.Errorf("models: got %+v, %v", models, err)
	}
}

func TestGeminiSDKSeesTheVendorsErrors(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	client := geminiClient(t, url)
	ctx := context.WithoutCancel(t.Context())
	_, err := client.Models.GenerateContent(ctx, "simulate-429", genai.Text("hello"), nil)
	var apiErr genai.APIError
	if !errors.As(err, &apiErr) || apiErr.Code != 429 || apiErr.Status != "RESOURCE_EXHAUSTED" || len(apiErr.Details) != 2 {
		t.Errorf("got %v", err)
	}
	n := 0
	var last error
	for _, err := range client.Models.GenerateContentStream(ctx, "simulate-error_after=2", genai.Text("hello"), nil) {
		n, last = n+1, err
	}
	if !errors.As(last, &apiErr) || apiErr.Code != 503 || n != 3 {
		t.Errorf("got %d frames and %v", n, last)
	}
}
