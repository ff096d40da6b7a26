package gatewaytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// created is the time, in Unix seconds, every answer says it was made:
// 2026-01-01T00:00:00Z. Answers do not depend on the clock.
const created = 1767225600

const (
	finishLength  = "length"
	finishRefusal = "refusal"
)

// turn is an answer before it takes the form of a dialect.
type turn struct {
	thinking []string // pieces
	text     []string // pieces; nil when only a function is called
	tool     string   // the function called, or ""
	callID   string
	args     string
	finish   string // "", "length" or "refusal"
	usage    Usage
}

func (t turn) words() string   { return strings.Join(t.text, "") }
func (t turn) thought() string { return strings.Join(t.thinking, "") }

// render makes the reply to a request: what is said, then how it is written.
func render(a *ask, step Step, usage Usage) *reply {
	t := compose(a, step, usage)
	out := a.render(a, t, step)
	if out.status == 0 {
		out.status = http.StatusOK
	}
	if out.events == nil && step.Big > 0 {
		out.body = pad(a, t, step)
	}
	out.weigh()
	return out
}

// compose decides what to say.
func compose(a *ask, step Step, usage Usage) turn {
	t := turn{usage: usage, finish: step.Finish}
	if a.think {
		t.thinking = pieces("Simulated thinking: the user said «"+clip(a.text, 80)+"».", 16)
		t.usage.Reasoning = tokensOf(len(t.thought()))
	}
	asked := step.Tool || a.must || strings.Contains(strings.ToLower(a.text), "tool")
	if a.tool != nil && asked && !a.results {
		t.tool, t.callID, t.args = a.tool.name, a.id[:16], a.tool.arguments(a.text)
		t.usage.Output = t.usage.Reasoning + tokensOf(len(t.tool)+len(t.args))
		return t
	}
	t.text = words(a, step)
	t.usage.Output = t.usage.Reasoning + tokensOf(len(t.words()))
	return t
}

// words are the pieces of the answer's text.
func words(a *ask, step Step) []string {
	size := step.EventBytes
	if size == 0 {
		size = 16
	}
	text := step.Text
	if text == "" {
		text = fmt.Sprintf("Simulated answer from %s. You said: %s", a.model, clip(a.text, 400))
	}
	if step.Events == 0 && step.EventBytes == 0 {
		return pieces(text, size)
	}
	n := max(step.Events, 1)
	for len(text) < n*size {
		text += " " + text
	}
	all := make([]string, n)
	for i := range all {
		all[i] = clip(text, size)
		if all[i] == "" { // one character is larger than a piece
			all[i] = "."
		}
		text = text[len(all[i]):]
	}
	return all
}

// pieces cuts text into pieces of about size bytes, never inside a character.
func pieces(text string, size int) []string {
	var all []string
	for len(text) > 0 {
		piece := clip(text, size)
		if piece == "" {
			piece = clip(text, 4)
		}
		all = append(all, piece)
		text = text[len(piece):]
	}
	return all
}

// pad renders a plain body again with as much text as step.Big needs, and blanks
// after it for the exact size. JSON readers skip those.
func pad(a *ask, t turn, step Step) []byte {
	if t.text == nil {
		t.text = []string{""}
	}
	bare := a.render(a, t, step).body
	if short := step.Big - len(bare); short > 0 {
		t.text = append(t.text, strings.Repeat("x", short))
		bare = a.render(a, t, step).body
		if over := len(bare) - step.Big; over > 0 {
			t.text[len(t.text)-1] = strings.Repeat("x", max(short-over, 0))
			bare = a.render(a, t, step).body
		}
	}
	if blank := step.Big - len(bare); blank > 0 {
		bare = append(bare, strings.Repeat(" ", blank)...)
	}
	return bare
}

// quote writes a string as JSON.
func quote(s string) string {
	b, _ := json.Marshal(s) // a string cannot fail
	return string(b)
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }

func streamHeader() http.Header {
	return http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}, "Cache-Control": {"no-cache"}}
}

// plainReply is a 200 with a JSON body.
func plainReply(u Usage, body string) *reply {
	return &reply{header: jsonHeader(), body: []byte(body), usage: u}
}

// renderCount answers the token-counting endpoints, which cost nothing.
func renderCount(a *ask, t turn, _ Step) *reply {
	switch a.name {
	case "openai.input_tokens":
		return plainReply(Usage{}, fmt.Sprintf(`{"object":"response.input_tokens","input_tokens":%d}`, t.usage.Prompt()))
	case "gemini.count_tokens":
		return plainReply(Usage{}, fmt.Sprintf(`{"totalTokens":%d,"promptTokensDetails":[{"modality":"TEXT","tokenCount":%d}]}`, t.usage.Prompt(), t.usage.Prompt()))
	}
	return plainReply(Usage{}, fmt.Sprintf(`{"input_tokens":%d}`, t.usage.Prompt()))
}
