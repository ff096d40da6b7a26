package gatewaytest_test

import (
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

func TestScriptFailsFirstAndSucceedsThen(t *testing.T) {
	p, url := serve(t, gatewaytest.ProviderOptions{Script: map[string][]gatewaytest.Step{"flaky": {{Status: 429}, {Status: 500}}}})
	for round := range 2 {
		for i, want := range []int{429, 500, 200, 200} {
			if got := dialects[0].ask(t, url, "flaky", ""); got.status != want {
				t.Errorf("round %d, request %d: got %d, want %d", round, i, got.status, want)
			}
		}
		if got := dialects[0].ask(t, url, "steady", ""); got.status != 200 {
			t.Errorf("another model: got %d", got.status)
		}
		p.Reset()
	}
	p.SetScript("", gatewaytest.Step{Status: 529})
	if got := dialects[0].ask(t, url, "steady", ""); got.status != 529 {
		t.Errorf("script for every model: got %d", got.status)
	}
}

func TestModelNameCarriesBehaviour(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	for model, want := range map[string]int{"simulate-429": 429, "gpt-5-simulate-500": 500, "simulate-context_length": 400, "simulate-events=3+event_bytes=4": 200, "simulate-whatever": 200} {
		for _, d := range dialects {
			if got := d.ask(t, url, model, ""); got.status != want {
				t.Errorf("%s %s: got %d, want %d", d.name, model, got.status, want)
			}
		}
	}
}

func TestKeysAreRequiredWhenConfigured(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{Keys: []string{"right"}})
	for header, value := range map[string]string{"X-Api-Key": "right", "Authorization": "Bearer right", "X-Goog-Api-Key": "right", "X-Other": "right"} {
		r := dialects[0].request(t, t.Context(), url, "m", "")
		r.Header.Set(header, value)
		want := 200
		if header == "X-Other" {
			want = 401
		}
		if got := do(t, r); got.status != want {
			t.Errorf("%s: got %d, want %d", header, got.status, want)
		}
	}
}

func TestHeaderSetsTheText(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	r := dialects[2].request(t, t.Context(), url, "m", "")
	r.Header.Set("X-Simulate-Text", "na%C3%AFve%2C+really")
	if got := do(t, r); !strings.Contains(got.body, `"content":"naïve, really"`) {
		t.Errorf("got %s", got.body)
	}
}

func TestUsageChunkComesOnlyWhenAsked(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	asked := dialect{path: "/v1/chat/completions", body: `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`}
	if got := asked.ask(t, url, "m", ""); strings.Count(got.body, `"choices":[]`) != 1 || !strings.Contains(got.body, `"usage":null`) {
		t.Errorf("asked: got %s", got.body)
	}
	if got := dialects[3].ask(t, url, "m", ""); strings.Contains(got.body, `"usage"`) || strings.Contains(got.body, `"choices":[]`) {
		t.Errorf("not asked: got %s", got.body)
	}
}

func TestFunctionIsNotCalledAgainAfterItsResult(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	tests := []dialect{
		{path: "/v1/messages", body: `{"model":"m","max_tokens":9,"tools":[{"name":"f","input_schema":{}}],"messages":[{"role":"user","content":"use the tool"},{"role":"assistant","content":[]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"42"}]}]}`},
		{path: "/v1/chat/completions", body: `{"model":"m","tools":[{"type":"function","function":{"name":"f"}}],"messages":[{"role":"user","content":"use the tool"},{"role":"tool","tool_call_id":"1","content":"42"}]}`},
		{path: "/v1/responses", body: `{"model":"m","tools":[{"type":"function","name":"f"}],"input":[{"role":"user","content":"use the tool"},{"type":"function_call_output","call_id":"1","output":"42"}]}`},
		{path: "/v1beta/models/m:generateContent", body: `{"tools":[{"functionDeclarations":[{"name":"f"}]}],"contents":[{"role":"user","parts":[{"text":"use the tool"}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{}}}]}]}`},
	}
	for _, d := range tests {
		if got := d.ask(t, url, "m", ""); !strings.Contains(got.body, "Simulated answer") || strings.Contains(got.body, `"name":"f","arg`) {
			t.Errorf("%s: got %s", d.path, got.body)
		}
	}
}

func TestPromptCacheIsWrittenThenRead(t *testing.T) {
	p, url := serve(t, gatewaytest.ProviderOptions{PrefixCache: true})
	big := strings.Repeat("long words ", 1000)
	conversation := func(ttl, turns string) dialect {
		return dialect{path: "/v1/messages", body: `{"model":"m","max_tokens":9,"system":[{"type":"text","text":"` + big + `","cache_control":{"type":"ephemeral"` + ttl + `}}],"messages":[{"role":"user","content":"one"}` + turns + `]}`}
	}
	usage := func(d dialect) gatewaytest.Usage {
		t.Helper()
		if got := d.ask(t, url, "m", ""); got.status != 200 {
			t.Fatalf("got %d %s", got.status, got.body)
		}
		all := finished(t, p)
		return all[len(all)-1].Usage
	}
	first := usage(conversation("", ""))
	second := usage(conversation("", ""))
	third := usage(conversation("", `,{"role":"assistant","content":"two"},{"role":"user","content":"three"}`))
	if first.CacheWrite5m < 2700 || first.CacheRead != 0 || second.CacheRead != first.CacheWrite5m || second.CacheWrite5m != 0 || third.CacheRead != first.CacheWrite5m || third.Input <= second.Input {
		t.Errorf("got %+v, then %+v, then %+v", first, second, third)
	}
	p.Reset()
	if hour := usage(conversation(`,"ttl":"1h"`, "")); hour.CacheWrite1h < first.CacheWrite5m || hour.CacheWrite5m != 0 {
		t.Errorf("one hour: got %+v", hour)
	}
	chat := dialect{path: "/v1/chat/completions", body: `{"model":"m","messages":[{"role":"system","content":"` + big + `"},{"role":"user","content":"one"}]}`}
	gem := dialect{path: "/v1beta/models/m:generateContent", body: `{"systemInstruction":{"parts":[{"text":"` + big + `"}]},"contents":[{"parts":[{"text":"one"}]}]}`}
	for _, d := range []dialect{chat, gem} {
		cold, warm := usage(d), usage(d)
		if cold.CacheRead != 0 || warm.CacheRead == 0 || warm.CacheRead%128 != 0 || warm.Prompt() != cold.Prompt() {
			t.Errorf("%s: got %+v, then %+v", d.path, cold, warm)
		}
	}
}
