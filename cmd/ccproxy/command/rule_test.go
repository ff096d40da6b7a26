package command

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRuleThatFailsIsReportedOnceAndDoesNotMatch(t *testing.T) {
	r := newRig(t, anthropicOnly+`
ccproxy:
  rules:
    - { name: first, when: "call.tools[99] == 'x'" }
    - { name: second, when: "call.tools[98] == 'x'" }
    - { name: third, when: "call.model.startsWith('claude')" }
models:
  first: { targets: [ anthropic/claude-opus-4-5 ] }
  second: { targets: [ anthropic/claude-opus-4-5 ] }
  third: { targets: [ anthropic/claude-haiku-4-5 ] }
`)
	resp, body := r.ask()
	if resp.StatusCode != 200 || resp.Header.Get("X-CCProxy-Model-Name") != "third" {
		t.Fatalf("got %d, label %q: %s", resp.StatusCode, resp.Header.Get("X-CCProxy-Model-Name"), body)
	}
	r.end()
	r.wait()
	var reports []string
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, "hook failed") {
			reports = append(reports, line)
		}
	}
	if len(reports) != 1 {
		t.Fatalf("got %d reports, want one an exchange:\n%s", len(reports), strings.Join(reports, ""))
	}
	for _, want := range []string{"hook=rule_evaluator", "phase=pre_call", "action=failed_open", `rule \"first\"`, `rule \"second\"`, "request_id=" + resp.Header.Get("X-CCProxy-Request-Id")} {
		if !strings.Contains(reports[0], want) {
			t.Errorf("got %s, want %s in it", reports[0], want)
		}
	}
}

// TestThresholdsFollowWhatTheProviderCounts: the gateway estimates some 700 tokens, the provider counts twice as many, and
// the threshold lies between.
func TestThresholdsFollowWhatTheProviderCounts(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-5","content":[{"type":"text","text":"yes"}],"stop_reason":"end_turn","usage":{"input_tokens":1400,"output_tokens":1}}`)
	}))
	defer upstream.Close()
	r := newRig(t, `
ccproxy: { rules: [ { name: long, rule: TokenCountRule, params: { threshold: 1000 } } ] }
models: { long: { targets: [ anthropic/claude-opus-4-5 ] } }
providers: { anthropic: { base_url: "`+upstream.URL+`" } }
`)
	body := fmt.Sprintf(`{"model":"claude-sonnet-5","max_tokens":1,"messages":[{"role":"user","content":%q}]}`, strings.Repeat("seven words that say nothing at all. ", 78))
	label := func() string {
		resp, text := send(t, "POST", r.server.DataURL()+"/v1/messages", body, "Content-Type", "application/json", "X-Api-Key", "a-client-key")
		if resp.StatusCode != 200 {
			t.Fatalf("got %d %s", resp.StatusCode, text)
		}
		return resp.Header.Get("X-CCProxy-Model-Name")
	}
	if got := label(); got != "default" {
		t.Fatalf("the first prompt: got label %q, want default", got)
	}
	for range 10 {
		if label() == "long" {
			return
		}
	}
	t.Error("after ten answers of 1400 tokens the estimate is still below 1000")
}
