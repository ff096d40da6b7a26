package gateway_test

import (
	"errors"
	"strings"
	"testing"

	anthropicsdk "github.com/anthropics/anthropic-sdk-go"
	openaisdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"

	"github.com/ccproxy/ccproxy/gateway"
)

// TestSDKsDoNotRetryASpentBudget asks with each vendor's SDK and its default
// options, plain and streamed: one request, and an error that says which budget.
func TestSDKsDoNotRetryASpentBudget(t *testing.T) {
	p := &purse{refuse: func(*gateway.Attempt) *gateway.Error { return spent() }}
	r := newRig(t, rigConfig{snapshot: p.into})
	client, anthropicCalls := r.anthropic()
	openai, openaiCalls := r.openai()
	google := r.gemini()
	calls := map[string]func() error{
		"anthropic": func() error {
			_, err := client.Messages.New(t.Context(), messageParams("claude-sonnet-5", "hello"))
			return err
		},
		"anthropic stream": func() error {
			s := client.Messages.NewStreaming(t.Context(), messageParams("claude-sonnet-5", "hello"))
			for s.Next() {
			}
			return s.Err()
		},
		"openai chat": func() error {
			_, err := openai.Chat.Completions.New(t.Context(), chatParams("gpt-5.5", "hello"))
			return err
		},
		"openai chat stream": func() error {
			s := openai.Chat.Completions.NewStreaming(t.Context(), chatParams("gpt-5.5", "hello"))
			for s.Next() {
			}
			return s.Err()
		},
		"openai responses": func() error {
			_, err := openai.Responses.New(t.Context(), responses.ResponseNewParams{Model: "gpt-5.5", Input: responses.ResponseNewParamsInputUnion{OfString: openaisdk.String("hello")}})
			return err
		},
		"gemini": func() error {
			_, err := google.Models.GenerateContent(t.Context(), "gemini-3.5-pro", genai.Text("hello"), nil)
			return err
		},
		"gemini stream": func() error {
			for _, err := range google.Models.GenerateContentStream(t.Context(), "gemini-3.5-pro", genai.Text("hello"), nil) {
				return err
			}
			return nil
		},
	}
	for name, call := range calls {
		err := call()
		r.exchange()
		said := ""
		var oe *openaisdk.Error
		if errors.As(err, &oe) {
			said = oe.Message
		} else if err != nil {
			said = err.Error()
		}
		if !strings.Contains(said, "budget research is spent") {
			t.Errorf("%s: got %v, want the refusal's own words", name, err)
		}
		select {
		case <-r.end.done:
			t.Errorf("%s: the SDK asked again", name)
		default:
		}
		var ae *anthropicsdk.Error
		if errors.As(err, &ae) && ae.StatusCode != 429 {
			t.Errorf("%s: got status %d, want 429", name, ae.StatusCode)
		}
	}
	if a, o := anthropicCalls.n.Load(), openaiCalls.n.Load(); a != 2 || o != 3 {
		t.Errorf("got %d calls to Anthropic and %d to OpenAI, want 2 and 3", a, o)
	}
}
