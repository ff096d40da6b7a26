package openai

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

func decode(d gateway.Dialect, body string, header ...string) (gateway.Call, error) {
	r, err := http.NewRequest(http.MethodPost, "http://gateway.test/v1/x", nil)
	if err != nil {
		return gateway.Call{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return d.Decode(r, []byte(body))
}

func TestRequestIsReadWithoutDecoding(t *testing.T) {
	tests := []struct {
		name    string
		dialect gateway.Dialect
		body    string
		want    gateway.Call
	}{
		{"chat, least", Chat(), `{"model":"gpt-5.5","messages":[{"role":"user","content":"hi"}]}`,
			gateway.Call{Operation: "chat", Model: "gpt-5.5", Messages: 1}},
		{"chat, all", Chat(), `{
			"model": "gpt-5.5", "messages": [{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:x"}},{"type":"image_url","image_url":{"url":"data:y"}}]}],
			"stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false},
			"max_completion_tokens": 100, "temperature": 0.5, "top_p": 1, "top_k": 40, "seed": -7, "n": 2, "stop": ["a","b"],
			"reasoning_effort": "high", "response_format": {"type":"json_schema","json_schema":{"type":"text"}}, "service_tier": "flex",
			"tools": [{"type":"function","function":{"name":"f","parameters":{"name":"no"}}},{"type":"custom","custom":{"name":"c"}},{"type":"web_search"},{}],
			"prompt_cache_key": "k-1", "user": "old", "safety_identifier": "u1"}`,
			gateway.Call{Operation: "chat", Model: "gpt-5.5", Stream: true, IncludeUsage: true, MaxTokens: 100,
				Temperature: gateway.Some(0.5), TopP: gateway.Some(1.0), TopK: gateway.Some[int64](40), Seed: gateway.Some[int64](-7), Choices: 2,
				ReasoningLevel: "high", OutputType: "json", ServiceTier: "flex", Messages: 2, Tools: []string{"f", "c", "web_search"}, ToolCount: 4,
				Thinking: true, StopSequences: 2, Images: 2, Session: "k-1", User: "u1", ServerTools: true, WebSearches: -1}},
		{"nulls are absent", Chat(), `{"model":"m","messages":[],"stream":null,"stream_options":null,"max_tokens":null,"n":null,"stop":null,"temperature":null,"tools":null,"reasoning_effort":null,"response_format":null,"service_tier":null,"user":null}`,
			gateway.Call{Operation: "chat", Model: "m"}},
		{"the larger bound counts", Chat(), `{"model":"m","messages":[],"max_completion_tokens":5,"max_tokens":9}`,
			gateway.Call{Operation: "chat", Model: "m", MaxTokens: 9}},
		{"effort none is no thinking", Chat(), `{"model":"m","messages":[],"reasoning_effort":"none","stop":"x"}`,
			gateway.Call{Operation: "chat", Model: "m", ReasoningLevel: "none", StopSequences: 1}},
		{"vendors' thinking", Chat(), `{"model":"glm","messages":[],"thinking":{"type":"enabled"}}`,
			gateway.Call{Operation: "chat", Model: "glm", Thinking: true, ThinkingKey: true}},
		{"thinking disabled", Chat(), `{"model":"glm","messages":[],"thinking":{"type":"disabled"}}`,
			gateway.Call{Operation: "chat", Model: "glm", ThinkingKey: true}},
		{"other case, other key", Chat(), `{"model":"m","Model":"x","messages":[],"STREAM":true,"Max_Tokens":-1}`,
			gateway.Call{Operation: "chat", Model: "m"}},
		{"speech", Chat(), `{"model":"m","messages":[],"modalities":["text","audio"],"response_format":{"type":"text"}}`,
			gateway.Call{Operation: "chat", Model: "m", OutputType: "speech"}},
		{"legacy functions", Chat(), `{"model":"m","messages":[],"functions":[{"name":"old"}]}`,
			gateway.Call{Operation: "chat", Model: "m", Tools: []string{"old"}, ToolCount: 1}},
		{"escaped key and name", Chat(), `{"mod\u0065l":"gpt\u002d5","messages":[],"max_tokens":1e3}`,
			gateway.Call{Operation: "chat", Model: "gpt-5", MaxTokens: 1000}},
		{"completions", Completions(), `{"model":"m","prompt":["a","b"],"n":1,"best_of":3,"max_tokens":16,"stream":true}`,
			gateway.Call{Operation: "text_completion", Model: "m", Messages: 2, Choices: 3, MaxTokens: 16, Stream: true}},
		{"completions of token ids", Completions(), `{"model":"m","prompt":[1,2,3]}`,
			gateway.Call{Operation: "text_completion", Model: "m", Messages: 1}},
		{"responses, text", Responses(), `{"model":"m","input":"hello","text":{"format":{"type":"json_object"}},"previous_response_id":"resp_1"}`,
			gateway.Call{Operation: "chat", Model: "m", Messages: 1, OutputType: "json", PreviousResponse: "resp_1"}},
		{"responses, all", Responses(), `{"model":"gpt-5.5","stream":true,"input":[{"role":"developer","content":"d"},{"role":"user","content":[{"type":"input_image","image_url":"x"}]},{"type":"function_call_output","output":[{"type":"input_image"}]}],
			"max_output_tokens":7,"reasoning":{"effort":"xhigh","summary":"auto"},"tools":[{"type":"function","name":"shell"},{"type":"custom","name":"apply_patch"},{"type":"web_search"}],"conversation":{"id":"conv_1"},"stream_options":{"include_usage":true}}`,
			gateway.Call{Operation: "chat", Model: "gpt-5.5", Stream: true, Messages: 3, Images: 2, MaxTokens: 7, ReasoningLevel: "xhigh", Thinking: true,
				Tools: []string{"shell", "apply_patch", "web_search"}, ToolCount: 3, Session: "conv_1", PreviousResponse: "conv_1",
				ServerTools: true, WebSearches: -1}},
		{"searches bounded", Responses(), `{"model":"m","input":"x","max_tool_calls":4,"tools":[{"type":"web_search_preview"}]}`,
			gateway.Call{Operation: "chat", Model: "m", Messages: 1, Tools: []string{"web_search_preview"}, ToolCount: 1, ServerTools: true, WebSearches: 4}},
		{"searches bounded absurdly", Responses(), `{"model":"m","input":"x","max_tool_calls":1e9,"tools":[{"type":"web\u005fsearch"}]}`,
			gateway.Call{Operation: "chat", Model: "m", Messages: 1, Tools: []string{"web_search"}, ToolCount: 1, ServerTools: true, WebSearches: -1}},
		{"tools of the client", Responses(), `{"model":"m","input":"x","tools":[{"type":"local_shell"},{"type":"tool_search","execution":"client"}]}`,
			gateway.Call{Operation: "chat", Model: "m", Messages: 1, Tools: []string{"local_shell", "tool_search"}, ToolCount: 2}},
		{"a stored prompt", Responses(), `{"model":"m","prompt":{"id":"pmpt_1"}}`, gateway.Call{Operation: "chat", Model: "m", Elsewhere: true}},
		{"stored items", Responses(), `{"model":"m","input":[{"type":"item_reference","id":"msg_1"}]}`,
			gateway.Call{Operation: "chat", Model: "m", Messages: 1, Elsewhere: true}},
		{"chat that searches", Chat(), `{"model":"m","messages":[],"web_search_options":{}}`,
			gateway.Call{Operation: "chat", Model: "m", ServerTools: true, WebSearches: -1}},
		{"reasoning without effort", Responses(), `{"model":"m","input":"x","reasoning":{"summary":"auto"},"conversation":"conv_2"}`,
			gateway.Call{Operation: "chat", Model: "m", Messages: 1, Session: "conv_2", PreviousResponse: "conv_2"}},
		{"input tokens", InputTokens(), `{"model":"m","input":["a","b"],"stream":true}`, gateway.Call{Model: "m", Messages: 2}},
		{"embeddings", Embeddings(), `{"model":"e","input":[[1,2],[3]],"user":"u"}`, gateway.Call{Operation: "embeddings", Model: "e", Messages: 2, User: "u"}},
		{"embeddings of one text", Embeddings(), `{"model":"e","input":"x"}`, gateway.Call{Operation: "embeddings", Model: "e", Messages: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(tt.dialect, tt.body)
			if err != nil {
				t.Fatalf("got error %v", err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(gateway.Call{}, "ModelSpan", "StreamOptions")); diff != "" {
				t.Errorf("call differs (-want +got):\n%s", diff)
			}
			if m, _ := jsonscan.String([]byte(tt.body), got.ModelSpan); m != tt.want.Model {
				t.Errorf("got model span of %q, want of %q", m, tt.want.Model)
			}
		})
	}
}

func TestMalformedRequestIsRefused(t *testing.T) {
	chat, comp, resp, emb := Chat(), Completions(), Responses(), Embeddings()
	tests := []struct {
		dialect gateway.Dialect
		body    string
		about   string // the message holds this
	}{
		{chat, ``, "JSON object"},
		{chat, `[]`, "JSON object"},
		{chat, `"x"`, "JSON object"},
		{chat, `{"messages":[]}`, "model"},
		{chat, `{"model":1,"messages":[]}`, "model"},
		{chat, `{"model":"","messages":[]}`, "model"},
		{chat, `{"model":null,"messages":[]}`, "model"},
		{chat, `{"model":"` + strings.Repeat("m", 257) + `","messages":[]}`, "model"},
		{chat, `{"model":"m"}`, "messages"},
		{chat, `{"model":"m","messages":null}`, "messages"},
		{chat, `{"model":"m","messages":"x"}`, "messages"},
		{chat, `{"model":"m","messages":[],"stream":"true"}`, "stream"},
		{chat, `{"model":"m","messages":[],"stream":1}`, "stream"},
		{chat, `{"model":"m","messages":[],"max_tokens":-1}`, "max_tokens"},
		{chat, `{"model":"m","messages":[],"max_completion_tokens":1.5}`, "max_completion_tokens"},
		{chat, `{"model":"m","messages":[],"max_tokens":"9"}`, "max_tokens"},
		{chat, `{"model":"m","messages":[],"max_tokens":1e400}`, "max_tokens"},
		{chat, `{"model":"m","messages":[],"n":-1}`, "n must"},
		{chat, `{"model":"m","messages":[],"n":0.5}`, "n must"},
		{comp, `{"model":"m","best_of":-2}`, "best_of"},
		{resp, `{"model":"m","input":"x","max_output_tokens":-3}`, "max_output_tokens"},
		{emb, `{"model":"m"}`, "input"},
		{emb, `{"model":"m","input":null}`, "input"},
		{chat, `{"model":"m","messages":[],"model":"m"}`, "twice"},
		{chat, `{"model":"m","messages":[],"mod\u0065l":"x"}`, "twice"},
		{chat, `{"model":"m","messages":[],"stream_options":{"include_usage":true,"include_usage":false}}`, "twice"},
		{chat, `{"model":"m","messages":[],"tools":[{"type":"function","type":"x"}]}`, "two members"},
		{chat, `{"model":"m","messages":[],"tools":[{"function":{"name":"a","name":"b"}}]}`, "twice"},
		{resp, `{"model":"m","reasoning":{"effort":"low","effort":"high"}}`, "twice"},
		{resp, `{"model":"m","conversation":{"id":"a","id":"b"}}`, "twice"},
		{resp, `{"model":"m","text":{"format":{"type":"text"},"format":{"type":"json_object"}}}`, "twice"},
	}
	for _, tt := range tests {
		_, err := decode(tt.dialect, tt.body)
		var e *gateway.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: got error %v, want a *gateway.Error", tt.body, err)
			continue
		}
		if e.Status != 400 || e.Reason != "invalid" || e.Type != "invalid_request_error" || !strings.Contains(e.Message, tt.about) {
			t.Errorf("%s: got %+v, want a refusal about %q", tt.body, e, tt.about)
		}
	}
}

func TestEveryReadMemberMayStandOnce(t *testing.T) {
	for _, d := range []struct {
		gateway.Dialect
		fields fields
	}{
		{Chat(), Chat().(*chat).fields}, {Completions(), Completions().(*completions).fields},
		{Responses(), responsesFields()}, {InputTokens(), responsesFields()}, {Embeddings(), Embeddings().(*embeddings).fields},
	} {
		for name := range d.fields {
			body := fmt.Sprintf(`{"model":"m","messages":[],"input":"x",%[1]q:null,%[1]q:null}`, name)
			_, err := decode(d.Dialect, body)
			if err == nil || !strings.Contains(err.Error(), "twice") {
				t.Errorf("%s: got %v for two %q, want a refusal", d.Name(), err, name)
			}
		}
	}
}

func TestSessionAndUser(t *testing.T) {
	long := strings.Repeat("é", 200)
	tests := []struct {
		name, members string
		header        []string
		session, user string
	}{
		{"header first", `"prompt_cache_key":"k"`, []string{"session-id", "h"}, "h", ""},
		{"x-session-id", ``, []string{"X-Session-Id", "ses_1"}, "ses_1", ""},
		{"thread-id last", ``, []string{"thread-id", "t", "x-session-id", "s"}, "s", ""},
		{"a bad one is passed over", `"prompt_cache_key":"k"`, []string{"session-id", "a b\x7f"}, "k", ""},
		{"too long is no session", `"prompt_cache_key":"` + strings.Repeat("k", 129) + `"`, nil, "", ""},
		{"escaped control character", `"prompt_cache_key":"a\nb"`, nil, "", ""},
		{"user", `"user":"a b"`, nil, "", "a b"},
		{"safety identifier wins", `"user":"old","safety_identifier":"new"`, nil, "", "new"},
		{"user is cut at 128 characters", `"user":"` + long + `"`, nil, "", long[:256]},
	}
	for _, tt := range tests {
		body := `{"model":"m","messages":[]`
		if tt.members != "" {
			body += "," + tt.members
		}
		got, err := decode(Chat(), body+"}", tt.header...)
		if err != nil {
			t.Errorf("%s: got error %v", tt.name, err)
			continue
		}
		if got.Session != tt.session || got.User != tt.user {
			t.Errorf("%s: got session %q user %q, want %q %q", tt.name, got.Session, got.User, tt.session, tt.user)
		}
	}
}

func TestNamesOfAThousandToolsAreKept(t *testing.T) {
	body := `{"model":"m","messages":[],"tools":[` + strings.Repeat(`{"type":"t"},`, 1500) + `{"type":"t"}]}`
	got, err := decode(Chat(), body)
	if err != nil || len(got.Tools) != 1000 || got.ToolCount != 1501 {
		t.Errorf("got %d names of %d tools, %v; want 1000 of 1501", len(got.Tools), got.ToolCount, err)
	}
}

func TestDialectIdentity(t *testing.T) {
	for _, tt := range []struct {
		d                     gateway.Dialect
		name, operation, path string
		injects               bool
	}{
		{Chat(), "openai.chat", "chat", "/chat/completions", true},
		{Completions(), "openai.completions", "text_completion", "/completions", true},
		{Responses(), "openai.responses", "chat", "/responses", false},
		{InputTokens(), "openai.input_tokens", "", "/responses/input_tokens", false},
		{Embeddings(), "openai.embeddings", "embeddings", "/embeddings", false},
	} {
		_, injects := tt.d.(gateway.UsageInjector)
		if tt.d.Name() != tt.name || tt.d.Family() != "openai" || tt.d.Operation() != tt.operation || tt.d.Path(&gateway.Call{}, "m") != tt.path || injects != tt.injects {
			t.Errorf("got %s %s %q %s injects=%v, want %+v", tt.d.Name(), tt.d.Family(), tt.d.Operation(), tt.d.Path(&gateway.Call{}, "m"), injects, tt)
		}
	}
}

func TestUsageIsAskedFor(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"absent", `{"model":"m","messages":[],"stream":true}`, `{"stream_options":{"include_usage":true},"model":"m","messages":[],"stream":true}`},
		{"spaced", "{ \"model\":\"m\",\"messages\":[],\"stream\":true }\n", "{\"stream_options\":{\"include_usage\":true}, \"model\":\"m\",\"messages\":[],\"stream\":true }\n"},
		{"null", `{"model":"m","messages":[],"stream":true,"stream_options": null }`, `{"model":"m","messages":[],"stream":true,"stream_options": {"include_usage":true} }`},
		{"empty", `{"model":"m","messages":[],"stream":true,"stream_options":{ }}`, `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true }}`},
		{"others", `{"model":"m","messages":[],"stream":true,"stream_options":{"include_obfuscation":false}}`, `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}`},
		{"false", `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage": false}}`, `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage": true}}`},
		{"null inside", `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":null}}`, `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}`},
		{"asked already", `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}`, ""},
		{"no stream", `{"model":"m","messages":[],"stream":false}`, ""},
		{"nonsense is the provider's to refuse", `{"model":"m","messages":[],"stream":true,"stream_options":7}`, ""},
		{"nonsense inside", `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":"no"}}`, ""},
	}
	for _, tt := range tests {
		c, err := decode(Chat(), tt.body)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		want := tt.want
		if want == "" {
			want = tt.body
		}
		if got := string(Chat().(gateway.UsageInjector).InjectUsage([]byte(tt.body), &c)); got != want {
			t.Errorf("%s: got %s, want %s", tt.name, got, want)
		}
	}
	// The model may have been spliced since the call was read: spans are stale.
	body := `{"model":"longer","messages":[],"stream":true,"stream_options":{}}`
	c, err := decode(Completions(), body)
	if err != nil {
		t.Fatal(err)
	}
	spliced := jsonscan.Splice([]byte(body), c.ModelSpan, []byte(`"m"`))
	got := string(Completions().(gateway.UsageInjector).InjectUsage(spliced, &c))
	if want := `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}`; got != want {
		t.Errorf("after a splice: got %s, want %s", got, want)
	}
}

func TestOnlyTheUsageChunkIsHidden(t *testing.T) {
	tests := []struct {
		data string
		want bool
	}{
		{`{"id":"c","choices":[],"usage":{"prompt_tokens":1}}`, true},
		{`{"usage":{"prompt_tokens":1},"choices": [ ] }`, true},
		{`{"choices":[],"usage":null}`, false},
		{`{"choices":[],"prompt_filter_results":[{"prompt_index":0}],"id":"","model":""}`, false}, // Azure's first
		{`{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}`, false},            // continuous usage
		{`{"choices":[{"delta":{"content":"\"choices\":[]"}}],"usage":{}}`, false},
		{`{"choices":[{"delta":{"content":"choices"}}],"x":{"choices":[]},"usage":{}}`, false},
		{`{"choices":[],"usage":{},"error":{"message":"x"}}`, false},
		{`{"choices":[],"usage":{"prompt_tokens":1},"error":null}`, true},
		{`{"usage":{"prompt_tokens":1}}`, false},
		{`[DONE]`, false},
		{``, false},
	}
	for _, tt := range tests {
		if got := Chat().(gateway.UsageInjector).UsageOnly(&gateway.Event{Data: []byte(tt.data)}); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.data, got, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"model":"m","messages":[{"content":[{"type":"image_url"}]}],"tools":[{"function":{"name":"f"}}],"stop":["a"],"max_tokens":1e3,"stream":true}`)
	f.Add(`{"model":"m","input":[[1],[2]],"reasoning":{"effort":"low"},"text":{"format":{"type":"text"}},"conversation":{"id":"c"}}`)
	f.Add(`{"model":"m","input":"x","model":"m"}`)
	dialects := []gateway.Dialect{Chat(), Completions(), Responses(), InputTokens(), Embeddings()}
	f.Fuzz(func(t *testing.T, body string) {
		for _, d := range dialects {
			c, err := decode(d, body)
			if err != nil {
				var e *gateway.Error
				if !errors.As(err, &e) || e.Status != 400 {
					t.Fatalf("%s: got error %v, want a refusal", d.Name(), err)
				}
				continue
			}
			if m, ok := jsonscan.String([]byte(body), c.ModelSpan); !ok || m != c.Model || m == "" {
				t.Errorf("%s: got model %q at a span of %q", d.Name(), c.Model, m)
			}
			if c.MaxTokens < 0 || c.Choices < 0 || len(c.Session) > 128 || len([]rune(c.User)) > 128 || len(c.Tools) > c.ToolCount {
				t.Errorf("%s: got %+v out of bounds", d.Name(), c)
			}
		}
	})
}

func FuzzInjectUsage(f *testing.F) {
	f.Add(`{"model":"m","messages":[],"stream":true}`)
	f.Add(`{"model":"m","messages":[],"stream":true,"stream_options":{"a":1}}`)
	f.Add(`{"model":"m","stream_options":null,"messages":[],"stream":true}`)
	f.Add(`{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":false,"x":{}}}`)
	d := Chat()
	f.Fuzz(func(t *testing.T, body string) {
		doc := []byte(body)
		if jsonscan.Validate(doc, jsonscan.Limits{}) != nil {
			return
		}
		c, err := decode(d, body)
		if err != nil {
			return
		}
		got := d.(gateway.UsageInjector).InjectUsage(slices.Clone(doc), &c)
		if err := jsonscan.Validate(got, jsonscan.Limits{}); err != nil {
			t.Fatalf("%s became %s: %v", body, got, err)
		}
		again, err := decode(d, string(got))
		if err != nil {
			t.Fatalf("%s became %s: %v", body, got, err)
		}
		options := jsonscan.Kind(doc, c.StreamOptions)
		include := jsonscan.Kind(doc, jsonscan.Get(doc, c.StreamOptions, "include_usage"))
		able := (options == 0 || options == 'n' || options == '{') && (include == 0 || include == 'f' || include == 'n' || include == 't')
		if c.Stream && able && !again.IncludeUsage {
			t.Errorf("%s became %s, which does not ask for usage", body, got)
		}
		if diff := cmp.Diff(others(doc, "stream_options"), others(got, "stream_options")); diff != "" {
			t.Errorf("%s: other members changed: %s", body, diff)
		}
		if diff := cmp.Diff(othersAt(doc, c.StreamOptions, "include_usage"), othersAt(got, again.StreamOptions, "include_usage")); diff != "" {
			t.Errorf("%s: other options changed: %s", body, diff)
		}
	})
}

// others returns the members of doc but one, as they stand there.
func others(doc []byte, but string) []string { return othersAt(doc, jsonscan.Root(doc), but) }

func othersAt(doc []byte, s jsonscan.Span, but string) (out []string) {
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		if string(key) != but {
			out = append(out, string(key)+":"+string(doc[v.Start:v.End]))
		}
		return true
	})
	return out
}

// conversation returns a chat request of about size bytes.
func conversation(size int) []byte {
	turn := `{"role":"user","content":"` + strings.Repeat("Some words of a conversation, \\\"quoted\\\" now and then. ", 15) + `"},`
	tool := `{"type":"function","function":{"name":"tool_name","description":"` + strings.Repeat("What it does. ", 20) + `","parameters":{"type":"object","properties":{"path":{"type":"string"},"n":{"type":"integer"}}}}},`
	tools := strings.Repeat(tool, max(size/2/len(tool), 1))
	turns := strings.Repeat(turn, max((size-len(tools))/len(turn), 0))
	return []byte(`{"model":"gpt-5.5","messages":[` + turns + `{"role":"user","content":"go"}],"tools":[` + tools[:len(tools)-1] + `],"stream":true,"max_tokens":1000,"temperature":0.2,"user":"u"}`)
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range []int{1 << 10, 88 << 10} {
		body := conversation(size)
		r, _ := http.NewRequest(http.MethodPost, "http://gateway.test", nil)
		d := Chat()
		b.Run(fmt.Sprintf("%dkB", size>>10), func(b *testing.B) {
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
