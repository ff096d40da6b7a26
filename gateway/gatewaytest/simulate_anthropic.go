package gatewaytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

func decodeMessages(a *ask, body []byte) error {
	var q struct {
		Model        string
		MaxTokens    *int64 `json:"max_tokens"`
		Stream       bool
		System       json.RawMessage
		Tools        json.RawMessage
		ToolChoice   struct{ Type string }          `json:"tool_choice"`
		Thinking     struct{ Type, Display string } `json:"thinking"`
		CacheControl *struct{ TTL string }          `json:"cache_control"`
		Messages     []struct {
			Role    string
			Content json.RawMessage
		}
	}
	if err := parse(body, &q); err != nil {
		return err
	}
	switch {
	case q.Model == "":
		return errNoModel
	case q.MaxTokens == nil && a.name == "anthropic.messages":
		return errors.New("max_tokens: Field required")
	case len(q.Messages) == 0:
		return errors.New("messages: at least one message is required")
	}
	a.model, a.stream = q.Model, q.Stream
	a.think = q.Thinking.Type != "" && q.Thinking.Type != "disabled"
	a.showThoughts = q.Thinking.Display != "omitted"
	a.must = q.ToolChoice.Type == "any" || q.ToolChoice.Type == "tool"
	if q.ToolChoice.Type != "none" {
		a.tool = firstMessagesTool(q.Tools)
	}
	total := len(q.System) + len(q.Tools)
	for _, m := range q.Messages {
		total += len(m.Content)
		if m.Role != "user" {
			continue
		}
		var text string
		if text, a.results = textOf(m.Content); text != "" {
			a.text = text
		}
	}
	a.tokens = tokensOf(total)
	// Counting is an estimate that knows nothing of caches.
	if a.name == "anthropic.count_tokens" || !bytes.Contains(body, []byte(`"cache_control"`)) {
		return nil
	}
	a.auto = q.CacheControl != nil
	p := newPrefix()
	p.add("tools "+q.Model, q.Tools)
	p.add("system", q.System)
	for _, m := range q.Messages {
		p.add(m.Role, m.Content)
	}
	a.blocks = p.blocks
	return nil
}

func firstMessagesTool(raw json.RawMessage) *tool {
	var tools []struct {
		Name        string
		InputSchema json.RawMessage `json:"input_schema"`
	}
	_ = json.Unmarshal(raw, &tools)
	for _, t := range tools {
		if t.Name != "" && t.InputSchema != nil { // server tools have no schema
			return &tool{t.Name, t.InputSchema}
		}
	}
	return nil
}

// signature stands for the encrypted thinking of the real vendors. It does not
// depend on how the answer is delivered.
func signature(a *ask) string {
	sum := sha256.Sum256([]byte(a.model + "\n" + a.text))
	return base64.StdEncoding.EncodeToString(append([]byte("simulated signature "), sum[:]...))
}

func messagesUsage(u Usage, output int64) string {
	return fmt.Sprintf(`{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,`+
		`"cache_creation":{"ephemeral_5m_input_tokens":%d,"ephemeral_1h_input_tokens":%d},"output_tokens":%d,"service_tier":"standard"}`,
		u.Input, u.CacheWrite5m+u.CacheWrite1h, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, output)
}

func finalMessagesUsage(u Usage) string {
	s := messagesUsage(u, u.Output)
	if u.Reasoning > 0 {
		s = strings.TrimSuffix(s, "}") + fmt.Sprintf(`,"output_tokens_details":{"thinking_tokens":%d}}`, u.Reasoning)
	}
	return s
}

func messagesStop(t turn) (reason, details string) {
	switch {
	case t.finish == finishLength:
		return "max_tokens", "null"
	case t.finish == finishRefusal:
		return "refusal", `{"type":"refusal","category":"cyber","explanation":"Simulated refusal."}`
	case t.tool != "":
		return "tool_use", "null"
	}
	return "end_turn", "null"
}

func renderMessages(a *ask, t turn, step Step) *reply {
	if a.stream {
		return streamMessages(a, t, step)
	}
	var blocks []string
	if a.think {
		thought := ""
		if a.showThoughts {
			thought = t.thought()
		}
		blocks = append(blocks, fmt.Sprintf(`{"type":"thinking","thinking":%s,"signature":%s}`, quote(thought), quote(signature(a))))
	}
	if t.text != nil {
		blocks = append(blocks, fmt.Sprintf(`{"type":"text","text":%s}`, quote(t.words())))
	}
	if t.tool != "" {
		blocks = append(blocks, fmt.Sprintf(`{"type":"tool_use","id":"toolu_sim%s","name":%s,"input":%s}`, t.callID, quote(t.tool), t.args))
	}
	usage := `,"usage":` + finalMessagesUsage(t.usage)
	if step.NoUsage {
		usage = ""
	}
	stop, details := messagesStop(t)
	return plainReply(t.usage, fmt.Sprintf(`{"id":"msg_sim%s","type":"message","role":"assistant","model":%s,"content":[%s],`+
		`"stop_reason":%s,"stop_sequence":null,"stop_details":%s%s}`,
		a.id, quote(a.model), strings.Join(blocks, ","), quote(stop), details, usage))
}

// messagesEvent frames an event whose name is the type within.
func messagesEvent(kind, members string) []byte {
	return fmt.Appendf(nil, "event: %s\ndata: {\"type\":\"%s\"%s}\n\n", kind, kind, members)
}

func streamMessages(a *ask, t turn, step Step) *reply {
	out := &reply{header: streamHeader(), usage: t.usage}
	out.fail = messagesEvent("error", `,"error":{"type":"overloaded_error","message":"Overloaded (simulated)"}`)
	usage, final := `,"usage":`+messagesUsage(t.usage, 1), `,"usage":`+finalMessagesUsage(t.usage)
	if step.NoUsage {
		usage, final = "", ""
	}
	add := func(kind, members string) { out.events = append(out.events, messagesEvent(kind, members)) }
	add("message_start", fmt.Sprintf(`,"message":{"id":"msg_sim%s","type":"message","role":"assistant","model":%s,"content":[],`+
		`"stop_reason":null,"stop_sequence":null%s}`, a.id, quote(a.model), usage))
	s := &messagesStream{add: add}
	if a.think {
		s.thinking(a, t)
	}
	if t.text != nil {
		s.open(`{"type":"text","text":""}`)
		for _, piece := range t.text {
			s.delta("text_delta", "text", piece)
		}
		s.stop()
	}
	if t.tool != "" {
		s.open(fmt.Sprintf(`{"type":"tool_use","id":"toolu_sim%s","name":%s,"input":{}}`, t.callID, quote(t.tool)))
		s.delta("input_json_delta", "partial_json", "")
		for _, piece := range pieces(t.args, 12) {
			s.delta("input_json_delta", "partial_json", piece)
		}
		s.stop()
	}
	stop, details := messagesStop(t)
	add("message_delta", fmt.Sprintf(`,"delta":{"stop_reason":%s,"stop_sequence":null,"stop_details":%s}%s`, quote(stop), details, final))
	add("message_stop", "             ") // the real one pads its events like this
	return out
}

// messagesStream numbers the content blocks of a stream.
type messagesStream struct {
	index int
	add   func(kind, members string)
}

func (s *messagesStream) open(block string) {
	s.add("content_block_start", fmt.Sprintf(`,"index":%d,"content_block":%s`, s.index, block))
	if s.index == 0 {
		s.add("ping", "")
	}
}

func (s *messagesStream) delta(kind, member, text string) {
	s.add("content_block_delta", fmt.Sprintf(`,"index":%d,"delta":{"type":"%s","%s":%s}`, s.index, kind, member, quote(text)))
}

func (s *messagesStream) stop() {
	s.add("content_block_stop", fmt.Sprintf(`,"index":%d`, s.index))
	s.index++
}

func (s *messagesStream) thinking(a *ask, t turn) {
	s.open(`{"type":"thinking","thinking":"","signature":""}`)
	if a.showThoughts {
		for _, piece := range t.thinking {
			s.delta("thinking_delta", "thinking", piece)
		}
	}
	s.delta("signature_delta", "signature", signature(a))
	s.stop()
}
