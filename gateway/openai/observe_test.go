package openai

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
)

// relay reads a stream as the engine does: it returns the bytes relayed and
// what was understood.
func relay(t testing.TB, d gateway.Dialect, body io.Reader) ([]byte, gateway.Result) {
	t.Helper()
	var out []byte
	var r gateway.Result
	events := d.Events(body, "text/event-stream")
	defer events.Release()
	for {
		var e gateway.Event
		err := events.Next(&e)
		if errors.Is(err, io.EOF) {
			return out, r
		}
		if err != nil {
			t.Fatalf("reading the stream: %v", err)
		}
		out = append(out, e.Raw...)
		d.Observe(&e, &r)
	}
}

func stream(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	chatID     = "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT"
	responseID = "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b"
	model      = "gpt-5.5-2026-07-09"
	build      = "fp_44709d6fcb"
)

var recorded = []struct {
	file    string
	dialect gateway.Dialect
	want    gateway.Result
}{
	{"chat_openai.sse", Chat(), gateway.Result{ID: chatID, Model: model, ServiceTier: "default", SystemFingerprint: build,
		FinishReasons: []string{"stop"}, Content: true, Done: true, OutputBytes: 12,
		Counts: gateway.Counts{Seen: true, Input: 1200, CacheRead: 1024, CacheWrite: 100, Output: 50, Reasoning: 20, Total: 1250},
		Usage:  gateway.Usage{Input: 76, CacheRead: 1024, CacheWrite: 100, Output: 30, Reasoning: 20, Source: "provider"}}},
	{"chat_tools.sse", Chat(), gateway.Result{ID: chatID, Model: model, ServiceTier: "default", SystemFingerprint: build,
		FinishReasons: []string{"tool_calls"}, Content: true, Done: true, OutputBytes: 26}},
	{"chat_azure.sse", Chat(), gateway.Result{ID: chatID, Model: model, ServiceTier: "default", SystemFingerprint: build,
		FinishReasons: []string{"content_filter"}, Incomplete: "content_filter", Content: true, Done: true, OutputBytes: 2,
		Counts: gateway.Counts{Seen: true, Input: 9, Output: 1, Total: 10}, Usage: gateway.Usage{Input: 9, Output: 1, Source: "provider"}}},
	{"chat_deepseek.sse", Chat(), gateway.Result{ID: "930c60df", Model: "deepseek-reasoner", SystemFingerprint: "fp_x",
		FinishReasons: []string{"length"}, Incomplete: "max_tokens", Content: true, Done: true, OutputBytes: 6,
		Counts: gateway.Counts{Seen: true, Input: 100, CacheRead: 64, Output: 30, Reasoning: 25, Total: 130},
		Usage:  gateway.Usage{Input: 36, CacheRead: 64, Output: 5, Reasoning: 25, Source: "provider"}}},
	{"chat_mistral.sse", Chat(), gateway.Result{ID: "m1", Model: "magistral-medium-2607",
		FinishReasons: []string{"model_length"}, Incomplete: "context_window", Content: true, Done: true, OutputBytes: 7,
		Counts: gateway.Counts{Seen: true, Input: 20, CacheRead: 16, Output: 7, Total: 27},
		Usage:  gateway.Usage{Input: 4, CacheRead: 16, Output: 7, Source: "provider"}}},
	{"chat_groq.sse", Chat(), gateway.Result{ID: "chatcmpl-g", Model: "llama-3.3-70b-versatile", SystemFingerprint: "fp_g",
		FinishReasons: []string{"stop"}, Content: true, Done: true, OutputBytes: 3,
		Counts: gateway.Counts{Seen: true, Input: 37, Output: 8, Total: 45}, Usage: gateway.Usage{Input: 37, Output: 8, Source: "provider"}}},
	{"chat_vllm.sse", Chat(), gateway.Result{ID: "cmpl-v", Model: "qwen",
		FinishReasons: []string{"stop"}, Content: true, Done: true, OutputBytes: 5,
		Counts: gateway.Counts{Seen: true, Input: 11, Output: 3, Total: 14}, Usage: gateway.Usage{Input: 11, Output: 3, Source: "provider"}}},
	{"chat_openrouter_error.sse", Chat(), gateway.Result{ID: "gen-1", Model: "x/y",
		FinishReasons: []string{"error"}, Content: true, Done: true, OutputBytes: 5,
		Err: &gateway.Error{Type: "502", Origin: "provider", Status: 502, Code: "502", Message: "Upstream went away"}}},
	{"chat_error.sse", Chat(), gateway.Result{ID: chatID, Model: model, ServiceTier: "default", SystemFingerprint: build,
		Err: &gateway.Error{Type: "server_error", Origin: "provider", Code: "server_error", Message: "The server had an error while processing your request"}}},
	{"chat_xai.sse", Chat(), gateway.Result{ID: "x1", Model: "grok-4",
		FinishReasons: []string{"stop"}, Content: true, Done: true, OutputBytes: 2,
		Counts: gateway.Counts{Seen: true, Input: 32, CacheRead: 6, Output: 9, Reasoning: 200, Total: 241},
		Usage:  gateway.Usage{Input: 26, CacheRead: 6, Output: 9, Reasoning: 200, Source: "provider"}}},
	{"chat_two_choices.sse", Chat(), gateway.Result{ID: chatID, Model: model, ServiceTier: "default", SystemFingerprint: build,
		FinishReasons: []string{"stop", "length"}, Incomplete: "max_tokens", Content: true, Done: true, OutputBytes: 2}},
	{"completions.sse", Completions(), gateway.Result{ID: "cmpl-7", Model: "gpt-3.5-turbo-instruct",
		FinishReasons: []string{"length"}, Incomplete: "max_tokens", Content: true, Done: true, OutputBytes: 9,
		Counts: gateway.Counts{Seen: true, Input: 4, Output: 2, Total: 6}, Usage: gateway.Usage{Input: 4, Output: 2, Source: "provider"}}},
	{"responses_completed.sse", Responses(), gateway.Result{ID: responseID, Model: model, ServiceTier: "priority",
		FinishReasons: []string{"completed"}, Content: true, Done: true, OutputBytes: 12,
		Counts: gateway.Counts{Seen: true, Input: 328, CacheRead: 200, CacheWrite: 60, CacheWrite1h: 10, Output: 52, Reasoning: 30, Total: 380, WebSearches: 1},
		Usage:  gateway.Usage{Input: 68, CacheRead: 200, CacheWrite: 50, CacheWrite1h: 10, Output: 22, Reasoning: 30, WebSearches: 1, Source: "provider"}}},
	{"responses_incomplete.sse", Responses(), gateway.Result{ID: responseID, Model: model, ServiceTier: "flex",
		FinishReasons: []string{"max_output_tokens"}, Incomplete: "max_tokens", Content: true, Done: true, OutputBytes: 12,
		Counts: gateway.Counts{Seen: true, Input: 328, CacheRead: 200, CacheWrite: 60, CacheWrite1h: 10, Output: 52, Reasoning: 30, Total: 380, WebSearches: 3},
		Usage:  gateway.Usage{Input: 68, CacheRead: 200, CacheWrite: 50, CacheWrite1h: 10, Output: 22, Reasoning: 30, WebSearches: 3, Source: "provider"}}},
	{"responses_failed.sse", Responses(), gateway.Result{ID: responseID, Model: model, ServiceTier: "auto",
		FinishReasons: []string{"failed"}, Done: true,
		Err:    &gateway.Error{Type: "rate_limit_exceeded", Origin: "provider", Code: "rate_limit_exceeded", Message: "Slow"},
		Counts: gateway.Counts{Seen: true, Input: 5, Total: 5}, Usage: gateway.Usage{Input: 5, Source: "provider"}}},
	{"responses_error.sse", Responses(), gateway.Result{ID: responseID, Model: model, Content: true, OutputBytes: 4,
		Err: &gateway.Error{Type: "server_error", Origin: "provider", Code: "server_error", Message: "Oops"}}},
	{"responses_no_event_lines.sse", Responses(), gateway.Result{ID: responseID, Model: model, ServiceTier: "auto",
		FinishReasons: []string{"completed"}, Content: true, Done: true, OutputBytes: 12,
		Counts: gateway.Counts{Seen: true, Input: 328, CacheRead: 200, CacheWrite: 60, CacheWrite1h: 10, Output: 52, Reasoning: 30, Total: 380},
		Usage:  gateway.Usage{Input: 68, CacheRead: 200, CacheWrite: 50, CacheWrite1h: 10, Output: 22, Reasoning: 30, Source: "provider"}}},
	{"responses_cut.sse", Responses(), gateway.Result{ID: responseID, Model: model, Content: true, OutputBytes: 6,
		Counts: gateway.Counts{WebSearches: 1}, Usage: gateway.Usage{WebSearches: 1}}},
}

func TestRecordedStreams(t *testing.T) {
	for _, tt := range recorded {
		t.Run(tt.file, func(t *testing.T) {
			body := stream(t, tt.file)
			for name, src := range map[string]io.Reader{
				"whole": bytes.NewReader(body), "a byte at a time": iotest.OneByteReader(bytes.NewReader(body)), "halves": iotest.HalfReader(bytes.NewReader(body)),
			} {
				out, got := relay(t, tt.dialect, src)
				if !bytes.Equal(out, body) {
					t.Errorf("%s: the bytes relayed differ", name)
				}
				if !sameResult(tt.want, got) {
					t.Errorf("%s: result differs (-want +got):\n%s", name, cmp.Diff(tt.want, got))
				}
			}
		})
	}
}

// sameResult compares results, their errors by value.
func sameResult(a, b gateway.Result) bool {
	if (a.Err == nil) != (b.Err == nil) || a.Err != nil && *a.Err != *b.Err {
		return false
	}
	a.Err, b.Err = nil, nil
	return cmp.Equal(a, b)
}

func TestRecordedStreamsHideOnlyUsage(t *testing.T) {
	for _, tt := range recorded {
		injector, ok := tt.dialect.(gateway.UsageInjector)
		if !ok {
			continue
		}
		events := tt.dialect.Events(bytes.NewReader(stream(t, tt.file)), "")
		hidden := 0
		for {
			var e gateway.Event
			if events.Next(&e) != nil {
				break
			}
			if injector.UsageOnly(&e) {
				hidden++
			}
		}
		events.Release()
		events.Release() // once more does no harm
		want := 0
		if slices.Contains([]string{"chat_openai.sse", "chat_azure.sse", "chat_vllm.sse", "chat_xai.sse", "completions.sse"}, tt.file) {
			want = 1
		}
		if hidden != want {
			t.Errorf("%s: got %d events hidden, want %d", tt.file, hidden, want)
		}
	}
}

func TestPlainAnswers(t *testing.T) {
	tests := []struct {
		name    string
		dialect gateway.Dialect
		body    string
		want    gateway.Result
	}{
		{"chat", Chat(), `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello","refusal":null,"tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5},"service_tier":"flex","system_fingerprint":"fp"}`,
			gateway.Result{ID: "c", Model: "m", FinishReasons: []string{"tool_calls"}, ServiceTier: "flex", SystemFingerprint: "fp", Content: true, OutputBytes: 8,
				Counts: gateway.Counts{Seen: true, Input: 3, Output: 2, Total: 5}, Usage: gateway.Usage{Input: 3, Output: 2, Source: "provider"}}},
		{"chat with audio", Chat(), `{"choices":[{"index":0,"message":{"content":null,"audio":{"id":"a","data":"QUJD","transcript":"abc"}},"finish_reason":"stop"}],"usage":{"prompt_tokens":50,"completion_tokens":40,"total_tokens":90,"prompt_tokens_details":{"audio_tokens":30,"image_tokens":5},"completion_tokens_details":{"audio_tokens":25,"image_tokens":1}}}`,
			gateway.Result{FinishReasons: []string{"stop"}, Content: true, OutputBytes: 3,
				Counts: gateway.Counts{Seen: true, Input: 50, AudioIn: 30, ImageIn: 5, Output: 40, AudioOut: 25, ImageOut: 1, Total: 90},
				Usage:  gateway.Usage{Input: 15, AudioIn: 30, ImageIn: 5, Output: 14, AudioOut: 25, ImageOut: 1, Source: "provider"}}},
		{"chat with an error", Chat(), `{"error":{"message":"no","code":429}}`,
			gateway.Result{Err: &gateway.Error{Type: "rate_limit_exceeded", Origin: "provider", Status: 429, Code: "429", Message: "no"}}},
		{"completions", Completions(), `{"id":"c","choices":[{"text":"ab","index":0,"finish_reason":"stop"},{"text":"c","index":1,"finish_reason":"length"}]}`,
			gateway.Result{ID: "c", FinishReasons: []string{"stop", "length"}, Incomplete: "max_tokens", Content: true, OutputBytes: 3}},
		{"responses", Responses(), `{"id":"r","object":"response","status":"completed","model":"m","output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"abc"}]},{"type":"web_search_call"},{"type":"message","content":[{"type":"output_text","text":"de"},{"type":"refusal","refusal":"f"}]},{"type":"function_call","arguments":"{}"}],"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3},"service_tier":"default"}`,
			gateway.Result{ID: "r", Model: "m", FinishReasons: []string{"completed"}, ServiceTier: "default", Content: true, OutputBytes: 8,
				Counts: gateway.Counts{Seen: true, Input: 1, Output: 2, Total: 3, WebSearches: 1}, Usage: gateway.Usage{Input: 1, Output: 2, WebSearches: 1, Source: "provider"}}},
		{"responses that failed", Responses(), `{"id":"r","object":"response","status":"failed","error":null}`,
			gateway.Result{ID: "r", FinishReasons: []string{"failed"}, Err: &gateway.Error{Type: "server_error", Origin: "provider", Code: "failed", Message: "the provider reports that the response failed"}}},
		{"responses in the background", Responses(), `{"id":"r","object":"response","status":"queued","output":[],"usage":null}`, gateway.Result{ID: "r"}},
		{"embeddings", Embeddings(), `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-0.2]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}`,
			gateway.Result{Model: "e", Content: true, Counts: gateway.Counts{Seen: true, Input: 8, Total: 8}, Usage: gateway.Usage{Input: 8, Source: "provider"}}},
		{"embeddings, total alone", Embeddings(), `{"data":[],"usage":{"total_tokens":8}}`,
			gateway.Result{Counts: gateway.Counts{Seen: true, Total: 8}, Usage: gateway.Usage{Input: 8, Source: "provider"}}},
		{"input tokens", InputTokens(), `{"object":"response.input_tokens","input_tokens":77}`, gateway.Result{Counts: gateway.Counts{Input: 77}}},
		{"a web page", Chat(), `<html>`, gateway.Result{}},
	}
	for _, tt := range tests {
		var got gateway.Result
		tt.dialect.Observe(&gateway.Event{Raw: []byte(tt.body), Data: []byte(tt.body)}, &got)
		if !sameResult(tt.want, got) {
			t.Errorf("%s: result differs (-want +got):\n%s", tt.name, cmp.Diff(tt.want, got))
		}
	}
}

func TestUsageIsDisjoint(t *testing.T) {
	tests := []struct {
		name, usage string // of chat
		want        gateway.Usage
	}{
		{"explicit zeros are known", `{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`, gateway.Usage{Source: "provider"}},
		{"an empty object is nothing", `{}`, gateway.Usage{}},
		{"null is nothing", `null`, gateway.Usage{}},
		{"texts are no counters", `{"prompt_tokens":"12"}`, gateway.Usage{}},
		{"fractions are no counters", `{"prompt_tokens":1.5,"completion_tokens":2}`, gateway.Usage{Output: 2, Source: "provider"}},
		{"negatives are zero", `{"prompt_tokens":-5,"completion_tokens":-1}`, gateway.Usage{Source: "provider"}},
		{"huge is capped", `{"prompt_tokens":9000000000000000000,"completion_tokens":1}`, gateway.Usage{Input: 1 << 40, Output: 1, Source: "provider"}},
		{"details null", `{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":null,"completion_tokens_details":null}`, gateway.Usage{Input: 5, Output: 1, Source: "provider"}},
		{"misspelt", `{"prompt_tokens":5,"completion_tokens":1,"prompt_token_details":{"cached_tokens":4}}`, gateway.Usage{Input: 1, CacheRead: 4, Output: 1, Source: "provider"}},
		{"DeepSeek's hits", `{"prompt_tokens":10,"completion_tokens":1,"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":4}`, gateway.Usage{Input: 4, CacheRead: 6, Output: 1, Source: "provider"}},
		{"Moonshot's cached", `{"prompt_tokens":10,"completion_tokens":1,"cached_tokens":6,"prompt_tokens_details":{"cached_tokens":0}}`, gateway.Usage{Input: 4, CacheRead: 6, Output: 1, Source: "provider"}},
		{"the other API's zeros", `{"prompt_tokens":10,"completion_tokens":1,"input_tokens":0,"output_tokens":0}`, gateway.Usage{Input: 10, Output: 1, Source: "provider"}},
		{"cache outside the prompt is billed", `{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":100}}`, gateway.Usage{CacheRead: 100, Output: 1, Source: "provider"}},
		{"audio among the cached", `{"prompt_tokens":100,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":80,"audio_tokens":50}}`, gateway.Usage{CacheRead: 80, AudioIn: 20, Output: 1, Source: "provider"}},
		{"reasoning inside", `{"prompt_tokens":1,"completion_tokens":10,"total_tokens":11,"completion_tokens_details":{"reasoning_tokens":7}}`, gateway.Usage{Input: 1, Output: 3, Reasoning: 7, Source: "provider"}},
		{"reasoning outside", `{"prompt_tokens":1,"completion_tokens":10,"total_tokens":18,"completion_tokens_details":{"reasoning_tokens":7}}`, gateway.Usage{Input: 1, Output: 10, Reasoning: 7, Source: "provider"}},
		{"reasoning outside, no total", `{"prompt_tokens":1,"completion_tokens":10,"completion_tokens_details":{"reasoning_tokens":70}}`, gateway.Usage{Input: 1, Output: 10, Reasoning: 70, Source: "provider"}},
		{"reasoning beyond the output", `{"prompt_tokens":1,"completion_tokens":10,"total_tokens":11,"completion_tokens_details":{"reasoning_tokens":70}}`, gateway.Usage{Input: 1, Reasoning: 10, Source: "provider"}},
		{"reasoning at the top", `{"prompt_tokens":1,"completion_tokens":10,"total_tokens":11,"reasoning_tokens":4}`, gateway.Usage{Input: 1, Output: 6, Reasoning: 4, Source: "provider"}},
	}
	for _, tt := range tests {
		var r gateway.Result
		Chat().Observe(&gateway.Event{Data: []byte(`{"choices":[],"usage":` + tt.usage + `}`)}, &r)
		if r.Usage != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, r.Usage, tt.want)
		}
		if r.Counts.Seen != (tt.want.Source != "") {
			t.Errorf("%s: got seen %v with source %q", tt.name, r.Counts.Seen, tt.want.Source)
		}
	}
}

func TestUsageOfAStreamIsNeverAdded(t *testing.T) {
	var r gateway.Result
	for i := range 5 {
		Chat().Observe(&gateway.Event{Data: fmt.Appendf(nil, `{"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":10,"completion_tokens":%d}}`, i)}, &r)
	}
	Chat().Observe(&gateway.Event{Data: []byte(`{"choices":[],"usage":{"completion_tokens":null,"prompt_tokens_details":{"cached_tokens":4}}}`)}, &r)
	if want := (gateway.Usage{Input: 6, CacheRead: 4, Output: 4, Source: "provider"}); r.Usage != want {
		t.Errorf("got %+v, want %+v", r.Usage, want)
	}
}

func TestContentBeginsWithTheFirstOutput(t *testing.T) {
	tests := []struct {
		dialect    gateway.Dialect
		name, data string
		want       bool
	}{
		{Chat(), "", `{"choices":[{"delta":{"role":"assistant","content":""}}]}`, false},
		{Chat(), "", `{"choices":[{"delta":{"role":"assistant","content":null,"refusal":null}}]}`, false},
		{Chat(), "", `{"choices":[{"delta":{},"finish_reason":"stop"}]}`, false},
		{Chat(), "", `{"choices":[{"delta":{"content":"x"}}]}`, true},
		{Chat(), "", `{"choices":[{"delta":{"reasoning_content":"x"}}]}`, true},
		{Chat(), "", `{"choices":[{"delta":{"reasoning":"x"}}]}`, true},
		{Chat(), "", `{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.encrypted"}]}}]}`, true},
		{Chat(), "", `{"choices":[{"delta":{"refusal":"x"}}]}`, true},
		{Chat(), "", `{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"","arguments":""}}]}}]}`, true},
		{Chat(), "", `{"choices":[{"delta":{"function_call":{"name":"f"}}}]}`, true},
		{Chat(), "", `{"choices":[{"delta":{"audio":{"data":"QQ"}}}]}`, true},
		{Chat(), "", `{"choices":[{"delta":{"audio":{"id":"a"}}}]}`, false},
		{Completions(), "", `{"choices":[{"text":"x"}]}`, true},
		{Completions(), "", `{"choices":[{"text":""}]}`, false},
		{Responses(), "response.output_text.delta", `{"delta":"x"}`, true},
		{Responses(), "response.output_text.delta", `{"delta":""}`, false},
		{Responses(), "response.function_call_arguments.delta", `{"delta":"{"}`, true},
		{Responses(), "response.reasoning_text.delta", `{"delta":"x"}`, true},
		{Responses(), "response.audio.delta", `{"delta":"QQ"}`, true},
		{Responses(), "response.image_generation_call.partial_image", `{}`, true},
		{Responses(), "response.output_item.added", `{"item":{"type":"message"}}`, false},
		{Responses(), "", `{"type":"response.refusal.delta","delta":"x"}`, true},
	}
	for _, tt := range tests {
		var r gateway.Result
		tt.dialect.Observe(&gateway.Event{Name: []byte(tt.name), Data: []byte(tt.data)}, &r)
		if r.Content != tt.want {
			t.Errorf("%s %s: got content %v, want %v", tt.name, tt.data, r.Content, tt.want)
		}
	}
}

func TestUsageOfAnEventTooLargeToHold(t *testing.T) {
	big := strings.Repeat("x", 2<<20)
	chat := `data: {"id":"c","model":"m","choices":[{"index":0,"message":{"content":"` + big + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}` + "\n\ndata: [DONE]\n\n"
	out, r := relay(t, Chat(), strings.NewReader(chat))
	if string(out) != chat || !r.Done || !r.Content || r.Usage != (gateway.Usage{Input: 3, Output: 4, Source: "provider"}) {
		t.Errorf("chat: got %+v, want usage 3/4", r)
	}
	resp := "event: response.completed\n" + `data: {"type":"response.completed","response":{"id":"r","output":"` + big + `","tools":[{"parameters":{"usage":{"type":"string"}}}],"usage":{"input_tokens":3,"output_tokens":4},"metadata":{"usage":"x"}}}` + "\n\n"
	_, r = relay(t, Responses(), strings.NewReader(resp))
	if !r.Done || r.Usage != (gateway.Usage{Input: 3, Output: 4, Source: "provider"}) || !slices.Equal(r.FinishReasons, []string{"completed"}) {
		t.Errorf("responses: got %+v, want usage 3/4", r)
	}
	_, r = relay(t, Responses(), strings.NewReader("event: response.failed\ndata: {\"x\":\""+big+"\"}\n\n"))
	if !r.Done || r.Err == nil || r.Usage.Source != "" {
		t.Errorf("responses that failed: got %+v, want an error", r)
	}
	_, r = relay(t, Responses(), strings.NewReader("event: response.output_text.delta\ndata: {\"delta\":\""+big+"\"}\n\n"))
	if !r.Content || r.Done {
		t.Errorf("large delta: got %+v, want content", r)
	}
}

// The quick reading of a chunk and the full one must agree on everything.
func TestQuickReadingAgreesWithTheFullOne(t *testing.T) {
	for _, data := range []string{
		`{"choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}],"usage":null}`,
		`{"choices":[{"index":0,"delta":{"content":"finish_reason"},"finish_reason":null}]}`,
		`{"choices":[{"index":0,"delta":{"content":"usage"},"finish_reason" : null}]}`,
		`{"choices":[{"index":0,"delta":{"content":"delta"},"finish_reason":null}]}`,
		`{"choices":[{"index":0,"delta":{"content":"a\"b"},"finish_reason":null}]}`,
		`{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}`,
		`{"choices":[{"index":0,"delta":{"content":"x"}},{"index":1,"delta":{"content":"yy"},"finish_reason":"length"}]}`,
		`{"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"arguments":"{}"}}]}}]}`,
		`{"choices":[{"index":0,"delta":{"content":"x"}}],"x_groq":{"usage":{"prompt_tokens":1}}}`,
		`{"choices":[{"index":0,"delta":{"content":"x"}}],"error":{"message":"m"}}`,
		`{"choices":[{"index":0,"delta":null}]}`,
		`{"choices":[{"index":0,"delta"`,
		`{"choices":[{"index":0,"delta":{"content":"x`,
	} {
		compareReadings(t, []byte(data))
	}
}

func compareReadings(t *testing.T, data []byte) {
	t.Helper()
	quick, full := gateway.Result{Content: true}, gateway.Result{Content: true}
	if !plainDelta(data, &quick) {
		return
	}
	observeChunk(data, &full)
	// Once content has been seen the identity of the stream is known.
	full.ID, full.Model, full.ServiceTier, full.SystemFingerprint = "", "", "", ""
	if diff := cmp.Diff(full, quick); diff != "" {
		t.Errorf("%s: readings differ (-full +quick):\n%s", data, diff)
	}
}

func FuzzObserve(f *testing.F) {
	for _, tt := range recorded {
		b, err := os.ReadFile(filepath.Join("testdata", tt.file))
		if err != nil {
			f.Fatal(err)
		}
		for _, line := range bytes.Split(b, []byte("\n")) {
			if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
				f.Add("", data)
			}
		}
	}
	f.Add("response.completed", []byte(`{"response":{"status":"completed","usage":{"input_tokens":1}}}`))
	dialects := []gateway.Dialect{Chat(), Completions(), Responses(), InputTokens(), Embeddings()}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		for _, d := range dialects {
			var r gateway.Result
			for _, e := range []gateway.Event{{Name: []byte(name), Data: data}, {Name: []byte(name), Tail: data}, {Name: []byte(name), Data: data}} {
				d.Observe(&e, &r)
			}
			u := r.Usage
			for _, n := range []int64{u.Input, u.CacheRead, u.CacheWrite, u.CacheWrite1h, u.Output, u.Reasoning, u.AudioIn, u.AudioOut, u.ImageIn, u.ImageOut, u.WebSearches, u.InputTokens(), u.OutputTokens(), r.OutputBytes} {
				if n < 0 {
					t.Fatalf("%s: got a negative counter in %+v", d.Name(), r)
				}
			}
			if u.Source == "provider" && u.InputTokens() < r.Counts.Input {
				t.Errorf("%s: got %d input tokens of %d", d.Name(), u.InputTokens(), r.Counts.Input)
			}
			if u.Source == "provider" && d.Operation() != "embeddings" && u.OutputTokens() != r.Counts.Output && u.OutputTokens() != r.Counts.Output+r.Counts.Reasoning {
				t.Errorf("%s: got %d output tokens of %d", d.Name(), u.OutputTokens(), r.Counts.Output)
			}
			if len(r.FinishReasons) > maxChoices {
				t.Errorf("%s: got %d finish reasons", d.Name(), len(r.FinishReasons))
			}
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	chunk := `{"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,"model":"gpt-5.5-2026-07-09","service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"k3xQ"}`
	for _, bb := range []struct {
		name    string
		dialect gateway.Dialect
		event   gateway.Event
	}{
		{"chat delta", Chat(), gateway.Event{Data: []byte(chunk)}},
		{"chat delta with an escape", Chat(), gateway.Event{Data: []byte(strings.Replace(chunk, " word", `\nword`, 1))}},
		{"chat usage", Chat(), gateway.Event{Data: []byte(strings.Replace(chunk, `"usage":null`, `"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}`, 1))}},
		{"responses delta", Responses(), gateway.Event{Name: []byte("response.output_text.delta"), Data: []byte(`{"type":"response.output_text.delta","sequence_number":7,"item_id":"msg_67c9fdcf37fc8190ba82116e33fb28c5","output_index":0,"content_index":0,"delta":" word","logprobs":[],"obfuscation":"k3xQ"}`)}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			var r gateway.Result
			bb.dialect.Observe(&bb.event, &r)
			for b.Loop() {
				bb.dialect.Observe(&bb.event, &r)
			}
		})
	}
	b.Run("usage only", func(b *testing.B) {
		b.ReportAllocs()
		injector, e := Chat().(gateway.UsageInjector), &gateway.Event{Data: []byte(chunk)}
		for b.Loop() {
			if injector.UsageOnly(e) {
				b.Fatal("hidden")
			}
		}
	})
}

func TestDeltasAllocateNothing(t *testing.T) {
	for _, tt := range []struct {
		dialect    gateway.Dialect
		name, data string
	}{
		{Chat(), "", `{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"x\n"},"finish_reason":null}],"usage":null}`},
		{Chat(), "", `{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}],"usage":null}`},
		{Completions(), "", `{"id":"c","model":"m","choices":[{"index":0,"text":"x","finish_reason":null}]}`},
		{Responses(), "response.output_text.delta", `{"type":"response.output_text.delta","delta":"x"}`},
		{Responses(), "", `{"type":"response.output_text.delta","delta":"x"}`},
	} {
		var r gateway.Result
		e := &gateway.Event{Name: []byte(tt.name), Data: []byte(tt.data)}
		tt.dialect.Observe(e, &r)
		if n := testing.AllocsPerRun(100, func() { tt.dialect.Observe(e, &r) }); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", tt.data, n)
		}
	}
}

func TestUsageOfAStreamThatGoesOnIsPartial(t *testing.T) {
	var r gateway.Result
	for _, c := range []struct {
		data, want string
		output     int64
	}{
		{`{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":{"prompt_tokens":9,"completion_tokens":1}}`, "partial", 1},
		{`{"usage":{"prompt_tokens":9,"completion_tokens":2},"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":null}]}`, "partial", 2},
		{`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3}}`, "provider", 3},
		{`[DONE]`, "provider", 3},
	} {
		Chat().Observe(&gateway.Event{Data: []byte(c.data)}, &r)
		if r.Usage.Source != c.want || r.Usage.Output != c.output {
			t.Errorf("%s: got %s %d, want %s %d", c.data, r.Usage.Source, r.Usage.Output, c.want, c.output)
		}
	}
	r = gateway.Result{}
	for _, data := range []string{`{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}`, `[DONE]`} {
		Chat().Observe(&gateway.Event{Data: []byte(data)}, &r)
	}
	if r.Usage.Source != "provider" {
		t.Errorf("got %s of a stream that ended without a reason, want provider", r.Usage.Source)
	}
}
