package openai

import (
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
)

func TestAnswersSayWhatTheyCost(t *testing.T) {
	for name, c := range map[string]struct {
		usage string
		want  gateway.Optional[gateway.NanoUSD]
	}{
		"OpenRouter":       {`{"prompt_tokens":10,"completion_tokens":7,"cost":0.00014,"cost_details":{"upstream_inference_cost":null}}`, gateway.Some(gateway.NanoUSD(140_000))},
		"with an exponent": {`{"prompt_tokens":10,"completion_tokens":7,"cost":1.4e-4}`, gateway.Some(gateway.NanoUSD(140_000))},
		"Perplexity":       {`{"prompt_tokens":10,"completion_tokens":7,"cost":{"input_tokens_cost":0.001,"request_cost":0.005,"total_cost":0.0060000001}}`, gateway.Some(gateway.NanoUSD(6_000_001))},
		"nothing":          {`{"prompt_tokens":10,"completion_tokens":7,"cost":0}`, gateway.Some(gateway.NanoUSD(0))},
		"not said":         {`{"prompt_tokens":10,"completion_tokens":7}`, gateway.Optional[gateway.NanoUSD]{}},
		"null":             {`{"prompt_tokens":10,"completion_tokens":7,"cost":null}`, gateway.Optional[gateway.NanoUSD]{}},
		"negative":         {`{"prompt_tokens":10,"completion_tokens":7,"cost":-1}`, gateway.Optional[gateway.NanoUSD]{}},
		"in words":         {`{"prompt_tokens":10,"completion_tokens":7,"cost":"0.1"}`, gateway.Optional[gateway.NanoUSD]{}},
		"beyond measure":   {`{"prompt_tokens":10,"completion_tokens":7,"cost":1e300}`, gateway.Optional[gateway.NanoUSD]{}},
	} {
		body := []byte(`{"id":"c","object":"chat.completion","choices":[],"usage":` + c.usage + `}`)
		var r gateway.Result
		Chat().Observe(&gateway.Event{Raw: body, Data: body}, &r)
		if r.ProviderCost != c.want {
			t.Errorf("%s: got %+v, want %+v", name, r.ProviderCost, c.want)
		}
		_, r = relay(t, Chat(), strings.NewReader("data: "+string(body)+"\n\ndata: [DONE]\n\n"))
		if r.ProviderCost != c.want {
			t.Errorf("%s, streamed: got %+v, want %+v", name, r.ProviderCost, c.want)
		}
	}
}
