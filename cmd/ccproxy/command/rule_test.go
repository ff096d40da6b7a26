package command

import (
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
