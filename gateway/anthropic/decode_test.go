package anthropic_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

func request() *http.Request { return httptest.NewRequest("POST", "/v1/messages?beta=true", nil) }

func TestRequestFactsAreRead(t *testing.T) {
	body := []byte(`{
		"model": "claude-sonnet-5", "max_tokens": 32000, "stream": true, "temperature": 0.5, "top_p": 0.9, "top_k": 40,
		"stop_sequences": ["a", "b"], "service_tier": "auto",
		"thinking": {"type": "adaptive", "display": "omitted"},
		"output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {}}},
		"system": [{"type": "text", "text": "\"image\""}],
		"messages": [
			{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]},
			{"role": "assistant", "content": "{\"type\":\"image\"}"},
			{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {}}]}]}
		],
		"tools": [{"name": "Read", "input_schema": {"name": 1}}, {"type": "web_search_20250305", "name": "web_search"}, {"type": "mcp_toolset"}, {}],
		"metadata": {"user_id": "alice@example.com"}
	}`)
	got, err := anthropic.Messages().Decode(request(), body)
	if err != nil {
		t.Fatal(err)
	}
	want := gateway.Call{
		Operation: "chat", Model: "claude-sonnet-5", ModelSpan: jsonscan.Get(body, jsonscan.Root(body), "model"),
		Stream: true, MaxTokens: 32000, Temperature: gateway.Some(0.5), TopP: gateway.Some(0.9), TopK: gateway.Some[int64](40),
		ReasoningLevel: "high", OutputType: "json", ServiceTier: "auto", Messages: 3,
		Tools: []string{"Read", "web_search", "mcp_toolset"}, ToolCount: 4, Thinking: true, ThinkingKey: true,
		StopSequences: 2, Images: 2, User: "alice@example.com", HiddenThinking: true, ServerTools: true, WebSearches: -1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	spliced := jsonscan.Splice(body, got.ModelSpan, []byte(`"x"`))
	if again, err := anthropic.Messages().Decode(request(), spliced); err != nil || again.Model != "x" {
		t.Errorf("after a splice got %q, %v; want x", again.Model, err)
	}
}

func TestWhatARequestMayCostBesidesIsRead(t *testing.T) {
	const claudeCode = "claude-code-20250219,thinking-token-count-2026-05-13,effort-2025-11-24"
	for _, c := range []struct {
		name, members, beta string
		want                gateway.Call
	}{
		{"nothing", `"tools":[{"name":"a"},{"type":"custom","name":"b"},{"type":"bash_20250124","name":"bash"},{"type":null,"name":"c"}]`, "", gateway.Call{}},
		{"speed and place", `"speed":"fast","inference_geo":"us"`, "", gateway.Call{Speed: "fast", Geo: "us"}},
		{"some searches", `"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":3},{"type":"web_search_20260209","max_uses":2}]`, "", gateway.Call{ServerTools: true, WebSearches: 5}},
		{"no number of searches", `"tools":[{"type":"web_search_20250305","max_uses":null},{"type":"web_search_20260209","max_uses":2}]`, "", gateway.Call{ServerTools: true, WebSearches: -1}},
		{"an absurd number", `"tools":[{"type":"web_search_20250305","max_uses":1e15}]`, "", gateway.Call{ServerTools: true, WebSearches: -1}},
		{"an escaped type", `"tools":[{"type":"web\u005fsearch_20250305","max_uses":1}]`, "", gateway.Call{ServerTools: true, WebSearches: 1}},
		{"a tool of a kind unheard of", `"tools":[{"type":"time_travel_20270101"}]`, "", gateway.Call{ServerTools: true}},
		{"servers", `"mcp_servers":[{"url":"https://example.com"}]`, "", gateway.Call{ServerTools: true}},
		{"no servers", `"mcp_servers":[],"fallbacks":null,"container":null`, "", gateway.Call{}},
		{"other models", `"fallbacks":[{"model":"claude-haiku-4-5"}]`, "", gateway.Call{ServerTools: true}},
		{"compaction", `"context_management":{"edits":[{"type":"compact_20260112"}]}`, "", gateway.Call{ServerTools: true}},
		{"forgetting", `"context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]}`, "", gateway.Call{}},
		{"a container", `"container":"container_1"`, "", gateway.Call{Elsewhere: true}},
		{"thinking shown", `"thinking":{"type":"enabled","budget_tokens":1024}`, "", gateway.Call{Thinking: true, ThinkingKey: true}},
		{"thinking shown if the model likes", `"thinking":{"type":"adaptive"}`, "", gateway.Call{Thinking: true, ThinkingKey: true, HiddenThinking: true}},
		{"thinking in short", `"thinking":{"type":"adaptive","display":"summarized"}`, "", gateway.Call{Thinking: true, ThinkingKey: true}},
		{"thinking told of in tokens", `"thinking":{"type":"adaptive","display":"omitted"}`, claudeCode, gateway.Call{Thinking: true, ThinkingKey: true}},
		{"thinking hidden", `"thinking":{"type":"enabled","display":"omitted"}`, "", gateway.Call{Thinking: true, ThinkingKey: true, HiddenThinking: true}},
		{"no thinking", `"thinking":{"type":"disabled"}`, "", gateway.Call{ThinkingKey: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request()
			if c.beta != "" {
				r.Header.Set("anthropic-beta", c.beta)
			}
			got, err := anthropic.Messages().Decode(r, []byte(`{"model":"m","max_tokens":1,"messages":[],`+c.members+`}`))
			if err != nil {
				t.Fatal(err)
			}
			c.want.Operation, c.want.Model, c.want.ModelSpan, c.want.MaxTokens = got.Operation, "m", got.ModelSpan, 1
			c.want.Tools, c.want.ToolCount = got.Tools, got.ToolCount
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	const rest = `,"max_tokens":1,"messages":[]}`
	tests := []struct{ body, want string }{
		{``, "object"}, {`[]`, "object"}, {`"a"`, "object"}, {`null`, "object"},
		{`{"max_tokens":1,"messages":[]}`, "model"},
		{`{"Model":"a"` + rest, "model"},
		{`{"model":null` + rest, "model"},
		{`{"model":5` + rest, "model"},
		{`{"model":""` + rest, "model"},
		{`{"model":"a\nb"` + rest, "model"},
		{`{"model":"` + strings.Repeat("a", 257) + `"` + rest, "model"},
		{`{"model":"a","model":"b"` + rest, "model"},
		{`{"model":"a","\u006dodel":"b"` + rest, "model"},
		{`{"model":"a","stream":"true"` + rest, "stream"},
		{`{"model":"a","stream":1` + rest, "stream"},
		{`{"model":"a","stream":false,"stream":true` + rest, "stream"},
		{`{"model":"a","max_tokens":-1,"messages":[]}`, "max_tokens"},
		{`{"model":"a","max_tokens":1.5,"messages":[]}`, "max_tokens"},
		{`{"model":"a","max_tokens":"1","messages":[]}`, "max_tokens"},
		{`{"model":"a","max_tokens":1,"max_tokens":1,"messages":[]}`, "max_tokens"},
		{`{"model":"a","max_tokens":1}`, "messages"},
		{`{"model":"a","messages":{}}`, "messages"},
		{`{"model":"a","messages":null}`, "messages"},
		{`{"model":"a","messages":[],"messages":[]}`, "messages"},
		{`{"model":"a","tools":[{"name":"a","name":"b"}]` + rest, "tools"},
		{`{"model":"a","thinking":{"type":"disabled","type":"enabled"}` + rest, "thinking"},
		{`{"model":"a","metadata":{"user_id":"a","user_id":"b"}` + rest, "metadata"},
		{`{"model":"a","output_config":{"effort":"low","effort":"max"}` + rest, "output_config"},
	}
	for _, tt := range tests {
		c, err := anthropic.Messages().Decode(request(), []byte(tt.body))
		var e *gateway.Error
		if !errors.As(err, &e) {
			t.Errorf("%.80s: got call %+v, want an error", tt.body, c)
			continue
		}
		if e.Status != 400 || e.Type != "invalid_request_error" || !strings.Contains(e.Message, tt.want) {
			t.Errorf("%.80s: got %d %s %q, want 400 about %s", tt.body, e.Status, e.Type, e.Message, tt.want)
		}
	}
}

func TestUnknownAndOddValuesPass(t *testing.T) {
	for _, body := range []string{
		`{"model":"a","messages":[],"max_tokens":0}`,
		`{"model":"a","messages":[],"stream":null,"max_tokens":null}`,
		`{"model":"a","messages":[],"tools":{},"thinking":7,"metadata":[],"temperature":"hot","output_config":null}`,
		`{"model":"a","messages":[1,"x",null],"Stream":true,"MODEL":"b","novel":{"model":"c","model":"d"}}`,
		` {"model":"a","messages":[]} `,
	} {
		c, err := anthropic.Messages().Decode(request(), []byte(body))
		if err != nil || c.Model != "a" || c.Stream {
			t.Errorf("%s: got %+v, %v; want model a, no stream", body, c, err)
		}
	}
}

func TestThinkingIsWhatTheClientAskedFor(t *testing.T) {
	tests := []struct {
		member    string
		key, asks bool
	}{
		{``, false, false},
		{`,"thinking":null`, true, false},
		{`,"thinking":{"type":"disabled"}`, true, false},
		{`,"thinking":{"type":"enabled","budget_tokens":1024}`, true, true},
		{`,"thinking":{"type":"adaptive"}`, true, true},
		{`,"thinking":{"type":"between_tools"}`, true, true},
		{`,"Thinking":{"type":"enabled"}`, false, false},
	}
	for _, tt := range tests {
		c, err := anthropic.Messages().Decode(request(), []byte(`{"model":"a","messages":[]`+tt.member+`}`))
		if err != nil || c.ThinkingKey != tt.key || c.Thinking != tt.asks {
			t.Errorf("%s: got key %v thinking %v, %v; want %v %v", tt.member, c.ThinkingKey, c.Thinking, err, tt.key, tt.asks)
		}
	}
}

func TestCountTokensNeedsNoMessagesAndNeverStreams(t *testing.T) {
	c, err := anthropic.CountTokens().Decode(request(), []byte(`{"model":"a","stream":true}`))
	if err != nil || c.Operation != "" || c.Stream || c.Model != "a" {
		t.Errorf("got %+v, %v; want no operation, no stream", c, err)
	}
	if _, err := anthropic.CountTokens().Decode(request(), []byte(`{"model":"a","messages":5}`)); err == nil {
		t.Error("messages that are no array: got no error")
	}
}

func TestSessionAndUserAreRead(t *testing.T) {
	const device = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	const account, session = "6f1d2c3b-0000-4000-8000-000000000001", "6f1d2c3b-0000-4000-8000-000000000002"
	type facts struct{ User, Account, Session string }
	tests := []struct {
		name, userID, header string
		want                 facts
	}{
		{"json", fmt.Sprintf(`{"device_id":%q,"account_uuid":%q,"session_id":%q}`, device, account, session), "", facts{device, account, session}},
		{"json without account", fmt.Sprintf(`{"device_id":%q,"account_uuid":"","session_id":%q}`, device, session), "", facts{device, "", session}},
		{"old", "user_" + device + "_account_" + account + "_session_" + session, "", facts{device, account, session}},
		{"old without account", "user_" + device + "_account__session_" + session, "", facts{device, "", session}},
		{"header wins", "user_" + device + "_account__session_" + session, "11111111-2222", facts{device, "", "11111111-2222"}},
		{"bad header", "u_session_1", "a b", facts{"u_session_1", "", ""}},
		{"plain", "customer-17", "", facts{User: "customer-17"}},
		{"control characters", "a\nb", "", facts{}},
		{"too long", strings.Repeat("a", 129), strings.Repeat("b", 129), facts{}},
		{"longest", strings.Repeat("a", 128), strings.Repeat("b", 128), facts{strings.Repeat("a", 128), "", strings.Repeat("b", 128)}},
		{"broken json", `{"session_id":"a`, "", facts{}},
		{"json of numbers", `{"session_id":5,"device_id":["a"]}`, "", facts{}},
		{"nothing", "", "", facts{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request()
			if tt.header != "" {
				r.Header.Set("X-Claude-Code-Session-Id", tt.header)
			}
			body := append([]byte(`{"model":"a","messages":[],"metadata":{"user_id":`), jsonscan.Quote(nil, tt.userID)...)
			c, err := anthropic.Messages().Decode(r, append(body, "}}"...))
			if err != nil {
				t.Fatal(err)
			}
			if got := (facts{c.User, c.Account, c.Session}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestToolNamesAreBounded(t *testing.T) {
	tools := strings.TrimSuffix(strings.Repeat(`{"name":"t"},`, 1500), ",")
	c, err := anthropic.Messages().Decode(request(), []byte(`{"model":"a","messages":[],"tools":[`+tools+`]}`))
	if err != nil || len(c.Tools) != 1000 || c.ToolCount != 1500 {
		t.Errorf("got %d names of %d tools, %v; want 1000 of 1500", len(c.Tools), c.ToolCount, err)
	}
}

func TestPathsAreFixed(t *testing.T) {
	if got, want := anthropic.Messages().Path(nil, "a/b"), "/v1/messages"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := anthropic.CountTokens().Path(nil, "a/b"), "/v1/messages/count_tokens"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"model":"a","messages":[{"content":[{"type":"image"}]}],"tools":[{"name":"b"}],"metadata":{"user_id":"{\"session_id\":\"x\"}"}}`), "s")
	f.Add([]byte(`{"model":"a","messages":[],"max_tokens":1e3,"thinking":{"type":"enabled"}}`), "")
	f.Fuzz(func(t *testing.T, body []byte, session string) {
		r := request()
		r.Header.Set("X-Claude-Code-Session-Id", session)
		for _, d := range []gateway.Dialect{anthropic.Messages(), anthropic.CountTokens()} {
			c, err := d.Decode(r, body)
			if err != nil {
				if e := gateway.AsError(err); e.Status != 400 {
					t.Fatalf("got status %d, want 400", e.Status)
				}
				continue
			}
			if name, _ := jsonscan.String(body, c.ModelSpan); name != c.Model || name == "" {
				t.Fatalf("span holds %q, want %q", name, c.Model)
			}
			if c.MaxTokens < 0 || len(c.Session) > 128 || len(c.User) > 128 || len(c.Tools) > 1000 {
				t.Fatalf("out of bounds: %+v", c)
			}
		}
	})
}

// conversation is a request of about the given size, in the proportions of Claude Code's.
func conversation(size int) []byte {
	var b strings.Builder
	b.WriteString(`{"model":"claude-sonnet-5","max_tokens":32000,"stream":true,"thinking":{"type":"adaptive"},"metadata":{"user_id":"{\"device_id\":\"0123456789abcdef\",\"account_uuid\":\"\",\"session_id\":\"6f1d2c3b-0000-4000-8000-000000000002\"}"},"system":[{"type":"text","text":"`)
	b.WriteString(strings.Repeat(`Be helpful.\n`, size/3/13))
	b.WriteString(`"}],"messages":[{"role":"user","content":[{"type":"text","text":"`)
	b.WriteString(strings.Repeat(`func main() { } `, size/8/16))
	b.WriteString(`"}]}],"tools":[`)
	for i := range 12 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"Tool%d","description":"%s","input_schema":{"type":"object","properties":{"a":{"type":"string","enum":["x","y"]}}}}`, i, strings.Repeat("Does a thing. ", size/2/12/14))
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

func BenchmarkDecode(b *testing.B) {
	small := []byte(`{"model":"claude-sonnet-5","max_tokens":1024,"stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("hello ", 150) + `"}]}`)
	for _, bench := range []struct {
		name string
		body []byte
	}{{"1kB", small}, {"88kB", conversation(88_000)}} {
		b.Run(bench.name, func(b *testing.B) {
			d, r := anthropic.Messages(), request()
			b.SetBytes(int64(len(bench.body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Decode(r, bench.body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
