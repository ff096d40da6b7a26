package gemini_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gemini"
)

func request(path string) *http.Request {
	return &http.Request{Method: "POST", URL: &url.URL{Path: path}, Header: http.Header{}}
}

const generatePath = "/v1beta/models/gemini-3.5-pro:generateContent"

const camel = `{
	"contents": [
		{"role": "user", "parts": [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
		{"role": "model", "parts": [{"text": "image/png"}]},
		{"role": "user", "parts": [{"fileData": {"mimeType": "image\/jpeg", "fileUri": "u"}}, {"inlineData": {"mimeType": "audio/wav"}}]}
	],
	"systemInstruction": {"parts": [{"text": "x"}]},
	"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"name": 1}}, {"name": "g"}]}, {"googleSearch": {}}, {"functionDeclarations": [{}]}],
	"generationConfig": {
		"temperature": 0.5, "topP": 0.9, "topK": 40.0, "seed": -7, "maxOutputTokens": "2048", "candidateCount": 2, "stopSequences": ["a"],
		"responseMimeType": "application/json", "thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": true}
	},
	"cachedContent": "cachedContents/abc", "serviceTier": "flex", "model": "models/other"
}`

func TestRequestFactsAreReadInBothSpellings(t *testing.T) {
	want := gateway.Call{
		Operation: "generate_content", Model: "gemini-3.5-pro", Action: "streamGenerateContent", Stream: true,
		MaxTokens: 2048, Temperature: gateway.Some(0.5), TopP: gateway.Some(0.9), TopK: gateway.Some[int64](40), Seed: gateway.Some[int64](-7),
		Choices: 2, ReasoningLevel: "HIGH", OutputType: "json", ServiceTier: "flex", Messages: 3,
		Tools: []string{"f", "g", "googleSearch"}, ToolCount: 4, Thinking: true, StopSequences: 1, Images: 2,
		Session: "s-1", PreviousResponse: "cachedContents/abc", HiddenThinking: true, ServerTools: true, WebSearches: -1,
	}
	snake := camel
	for _, k := range [][2]string{
		{"inlineData", "inline_data"}, {"mimeType", "mime_type"}, {"fileData", "file_data"}, {"functionDeclarations", "function_declarations"},
		{"generationConfig", "generation_config"}, {"topP", "top_p"}, {"topK", "top_k"}, {"maxOutputTokens", "max_output_tokens"},
		{"candidateCount", "candidate_count"}, {"stopSequences", "stop_sequences"}, {"responseMimeType", "response_mime_type"},
		{"thinkingConfig", "thinking_config"}, {"thinkingLevel", "thinking_level"}, {"cachedContent\"", "cached_content\""}, {"serviceTier", "service_tier"},
	} {
		snake = strings.ReplaceAll(snake, `"`+k[0], `"`+k[1])
	}
	for name, body := range map[string]string{"camel": camel, "snake": snake} {
		r := request("/v1beta/models/gemini-3.5-pro:streamGenerateContent")
		r.Header.Set("X-Session-Id", "s-1")
		got, err := gemini.GenerateContent().Decode(r, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestModelAndMethodStandInThePath(t *testing.T) {
	tests := []struct {
		dialect                     gateway.Dialect
		path, model, operation, out string
		stream                      bool
	}{
		{gemini.GenerateContent(), "/v1beta/models/m:generateContent", "m", "generate_content", "/v1beta/models/n%2F1:generateContent", false},
		{gemini.GenerateContent(), "/v1/models/m:streamGenerateContent", "m", "generate_content", "/v1/models/n%2F1:streamGenerateContent", true},
		{gemini.GenerateContent(), "/v1alpha/models/m:generateContent", "m", "generate_content", "/v1alpha/models/n%2F1:generateContent", false},
		{gemini.GenerateContent(), "/models/m:generateContent", "m", "generate_content", "/v1beta/models/n%2F1:generateContent", false},
		{gemini.GenerateContent(), "/v9/models/m:generateContent", "m", "generate_content", "/v1beta/models/n%2F1:generateContent", false},
		{gemini.GenerateContent(), "/v1beta/models/org/m:latest:generateContent", "org/m:latest", "generate_content", "/v1beta/models/n%2F1:generateContent", false},
		{gemini.CountTokens(), "/v1beta/models/m:countTokens", "m", "", "/v1beta/models/n%2F1:countTokens", false},
		{gemini.EmbedContent(), "/v1beta/models/m:embedContent", "m", "embeddings", "/v1beta/models/n%2F1:embedContent", false},
		{gemini.EmbedContent(), "/v1beta/models/m:batchEmbedContents", "m", "embeddings", "/v1beta/models/n%2F1:batchEmbedContents", false},
	}
	for _, tt := range tests {
		c, err := tt.dialect.Decode(request(tt.path), []byte(`{}`))
		if err != nil {
			t.Errorf("%s: %v", tt.path, err)
			continue
		}
		if c.Model != tt.model || c.Operation != tt.operation || c.Stream != tt.stream || c.ModelSpan.Exists() {
			t.Errorf("%s: got %+v, want model %s", tt.path, c, tt.model)
		}
		if got := tt.dialect.Path(&c, "n/1"); got != tt.out {
			t.Errorf("%s: got path %s, want %s", tt.path, got, tt.out)
		}
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	const ok = `{"contents":[]}`
	tests := []struct{ path, body string }{
		{"/v1beta/models/:generateContent", ok},
		{"/v1beta/models/m", ok},
		{"/v1beta/m:generateContent", ok},
		{"/v1beta/models/m:countTokens", ok},
		{"/v1beta/models/m:GenerateContent", ok},
		{"/v1beta/models/../m:generateContent", ok},
		{"/v1beta/models/m\n:generateContent", ok},
		{"/v1beta/models/m\xff:generateContent", ok},
		{"/v1beta/models/" + strings.Repeat("m", 257) + ":generateContent", ok},
		{generatePath, ``}, {generatePath, `[]`}, {generatePath, `"a"`}, {generatePath, `null`},
		{generatePath, `{"contents":[],"contents":[]}`},
		{generatePath, `{"generationConfig":{},"generation_config":{}}`},
		{generatePath, `{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":2}}`},
		{generatePath, `{"generationConfig":{"maxOutputTokens":-1}}`},
		{generatePath, `{"generationConfig":{"maxOutputTokens":1.5}}`},
		{generatePath, `{"generationConfig":{"maxOutputTokens":"many"}}`},
		{generatePath, `{"generationConfig":{"maxOutputTokens":""}}`},
		{generatePath, `{"generationConfig":{"candidateCount":true}}`},
		{generatePath, `{"tools":[{"functionDeclarations":[{"name":"a","name":"b"}]}]}`},
		{generatePath, `{"generationConfig":{"thinkingConfig":{"thinkingBudget":0,"thinking_budget":1}}}`},
	}
	for _, tt := range tests {
		c, err := gemini.GenerateContent().Decode(request(tt.path), []byte(tt.body))
		var e *gateway.Error
		if !errors.As(err, &e) || e.Status != 400 || e.Type != "invalid_request_error" {
			t.Errorf("%.60q %s: got %+v, %v; want status 400", tt.path, tt.body, c, err)
		}
	}
}

func TestOddValuesPass(t *testing.T) {
	for _, body := range []string{
		`{}`, `{"contents":{"parts":[]},"tools":{},"generationConfig":[]}`, `{"contents":7,"tools":[7,null,{"functionDeclarations":7}]}`,
		`{"Contents":[1],"GENERATIONCONFIG":{"maxOutputTokens":-1}}`, `{"generationConfig":{"maxOutputTokens":null,"temperature":"hot"}}`,
	} {
		if _, err := gemini.GenerateContent().Decode(request(generatePath), []byte(body)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestThinkingIsWhatTheClientAskedFor(t *testing.T) {
	for config, want := range map[string]bool{
		`{}`: false, `{"thinkingBudget":0}`: false, `{"thinkingBudget":-1}`: true, `{"thinkingBudget":1024}`: true,
		`{"thinkingLevel":"LOW"}`: true, `{"includeThoughts":true}`: true, `{"includeThoughts":false}`: false,
		`{"thinkingBudget":0,"includeThoughts":true}`: false, `null`: false,
	} {
		c, err := gemini.GenerateContent().Decode(request(generatePath), []byte(`{"generationConfig":{"thinkingConfig":`+config+`}}`))
		if err != nil || c.Thinking != want || c.ThinkingKey {
			t.Errorf("%s: got thinking %v, key %v, %v; want %v", config, c.Thinking, c.ThinkingKey, err, want)
		}
		if off := strings.HasPrefix(config, `{"thinkingBudget":0`); c.HiddenThinking == off { // else the model decides
			t.Errorf("%s: got hidden thinking %v, want %v", config, c.HiddenThinking, !off)
		}
	}
}

func TestOutputTypeIsTheFormatAskedFor(t *testing.T) {
	for config, want := range map[string]string{
		`{}`: "", `{"responseMimeType":"text/plain"}`: "text", `{"responseMimeType":"text/x.enum"}`: "",
		`{"responseModalities":["TEXT","IMAGE"]}`: "image", `{"responseModalities":["AUDIO"]}`: "speech", `{"responseModalities":["TEXT"]}`: "text",
		`{"responseModalities":["TEXT"],"responseMimeType":"application/json"}`: "json",
	} {
		c, err := gemini.GenerateContent().Decode(request(generatePath), []byte(`{"generationConfig":`+config+`}`))
		if err != nil || c.OutputType != want {
			t.Errorf("%s: got %q, %v; want %q", config, c.OutputType, err, want)
		}
	}
}

func TestCountingReadsAWrappedRequest(t *testing.T) {
	for _, body := range []string{
		`{"contents":[{},{}],"tools":[{"googleSearch":{}}]}`,
		`{"generateContentRequest":{"model":"models/m","contents":[{},{}],"tools":[{"googleSearch":{}}]}}`,
		`{"generate_content_request":{"contents":[{},{}],"tools":[{"googleSearch":{}}]}}`,
	} {
		c, err := gemini.CountTokens().Decode(request("/v1beta/models/m:countTokens"), []byte(body))
		if err != nil || c.Messages != 2 || c.ToolCount != 1 {
			t.Errorf("%s: got %+v, %v; want 2 messages, 1 tool", body, c, err)
		}
	}
}

func TestEmbeddingsCountTheirTexts(t *testing.T) {
	for body, want := range map[string]int{
		`{"content":{"parts":[{"text":"a"}]}}`:                         1,
		`{"requests":[{"model":"models/m","content":{}},{},{}]}`:       3,
		`{"model":"models/m","outputDimensionality":3,"content":null}`: 1,
	} {
		c, err := gemini.EmbedContent().Decode(request("/v1beta/models/m:embedContent"), []byte(body))
		if err != nil || c.Messages != want {
			t.Errorf("%s: got %d, %v; want %d", body, c.Messages, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(generatePath, []byte(camel))
	f.Add("/v1/models/m:countTokens", []byte(`{"generateContentRequest":{"contents":[{"parts":[{"inline_data":{"mime_type":"image/png"}}]}]}}`))
	f.Add("/v1alpha/models/m:embedContent", []byte(`{"requests":[{}]}`))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		for _, d := range []gateway.Dialect{gemini.GenerateContent(), gemini.CountTokens(), gemini.EmbedContent()} {
			c, err := d.Decode(request(path), body)
			if err != nil {
				if e := gateway.AsError(err); e.Status != 400 {
					t.Fatalf("got status %d, want 400", e.Status)
				}
				continue
			}
			if c.Model == "" || len(c.Model) > 256 || c.MaxTokens < 0 || c.Choices < 0 || len(c.Tools) > 1000 {
				t.Fatalf("out of bounds: %+v", c)
			}
			// The path made must be one that names the same model.
			r := httptest.NewRequest("POST", d.Path(&c, c.Model), nil)
			if again, err := d.Decode(r, body); err != nil || again.Model != c.Model || again.Action != c.Action {
				t.Fatalf("path %s gives %+v, %v; want model %q", r.URL, again, err, c.Model)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	small := `{"contents":[{"role":"user","parts":[{"text":"` + strings.Repeat("hello ", 150) + `"}]}],"generationConfig":{"maxOutputTokens":1024}}`
	function := `{"name":"Tool","description":"` + strings.Repeat("Does a thing. ", 260) + `","parameters":{"type":"object","properties":{"a":{"type":"string","enum":["x","y"]}}}}`
	large := `{"contents":[{"role":"user","parts":[{"text":"` + strings.Repeat(`func main() { }\n `, 2600) + `"}]}],"tools":[{"functionDeclarations":[` + strings.Repeat(function+",", 11) + function + `]}]}`
	for _, bench := range []struct{ name, body string }{{"1kB", small}, {"88kB", large}} {
		b.Run(bench.name, func(b *testing.B) {
			d, r, body := gemini.GenerateContent(), request(generatePath), []byte(bench.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Decode(r, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
