package gatewaytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// streamOptions are OpenAI's, of chat and completions.
type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

func decodeChat(a *ask, body []byte) error {
	var q struct {
		Model           string
		Stream          bool
		StreamOptions   streamOptions `json:"stream_options"`
		Tools           json.RawMessage
		ToolChoice      json.RawMessage `json:"tool_choice"`
		ReasoningEffort string          `json:"reasoning_effort"`
		Messages        []struct {
			Role    string
			Content json.RawMessage
		}
	}
	if err := parse(body, &q); err != nil {
		return err
	}
	if q.Model == "" {
		return errors.New("you must provide a model parameter")
	}
	if len(q.Messages) == 0 {
		return errors.New("missing required parameter: 'messages'")
	}
	a.model, a.stream, a.includeUsage = q.Model, q.Stream, q.StreamOptions.IncludeUsage
	a.think = q.ReasoningEffort != "" && q.ReasoningEffort != "none"
	a.tool = firstOpenAITool(q.Tools)
	a.choose(q.ToolChoice)
	p := newPrefix()
	p.add("tools "+q.Model, q.Tools)
	for _, m := range q.Messages {
		p.add(m.Role, m.Content)
		a.results = m.Role == "tool" || m.Role == "function"
		if text, _ := textOf(m.Content); m.Role == "user" && text != "" {
			a.text = text
		}
	}
	a.tokens, a.blocks = tokensOf(p.bytes), p.blocks
	return nil
}

// choose applies OpenAI's tool_choice, a word or an object that names a function.
func (a *ask) choose(choice json.RawMessage) {
	var word string
	if json.Unmarshal(choice, &word) != nil {
		a.must = len(choice) > 0 && choice[0] == '{'
		return
	}
	a.must = word == "required"
	if word == "none" {
		a.tool = nil
	}
}

// firstOpenAITool finds the first function, nested as chat has it or flat as responses do.
func firstOpenAITool(raw json.RawMessage) *tool {
	var tools []struct {
		Type, Name string
		Parameters json.RawMessage
		Function   struct {
			Name       string
			Parameters json.RawMessage
		}
	}
	_ = json.Unmarshal(raw, &tools)
	for _, t := range tools {
		switch {
		case t.Type == "function" && t.Function.Name != "":
			return &tool{t.Function.Name, t.Function.Parameters}
		case t.Type == "function" && t.Name != "":
			return &tool{t.Name, t.Parameters}
		}
	}
	return nil
}

func chatUsage(u Usage) string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},`+
		`"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
		u.Prompt(), u.Output, u.Prompt()+u.Output, u.CacheRead, u.Reasoning)
}

func chatFinish(t turn) string {
	switch {
	case t.finish == finishLength:
		return "length"
	case t.finish == finishRefusal:
		return "content_filter"
	case t.tool != "":
		return "tool_calls"
	}
	return "stop"
}

func openAIFail() []byte {
	return []byte("data: {\"error\":{\"message\":\"The server had an error while processing your request (simulated)\",\"type\":\"server_error\",\"param\":null,\"code\":\"server_error\"}}\n\n")
}

func renderChat(a *ask, t turn, step Step) *reply {
	if a.stream {
		return streamChat(a, t, step)
	}
	text, calls := "null", ""
	if t.text != nil {
		text = quote(t.words())
	}
	if t.tool != "" {
		calls = fmt.Sprintf(`,"tool_calls":[{"id":"call_sim%s","type":"function","function":{"name":%s,"arguments":%s}}]`, t.callID, quote(t.tool), quote(t.args))
	}
	usage := `,"usage":` + chatUsage(t.usage)
	if step.NoUsage {
		usage = ""
	}
	return plainReply(t.usage, fmt.Sprintf(`{"id":"chatcmpl-sim%s","object":"chat.completion","created":%d,"model":%s,`+
		`"choices":[{"index":0,"message":{"role":"assistant","content":%s%s,"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":%s}]%s,`+
		`"service_tier":"default","system_fingerprint":"fp_simulated"}`,
		a.id, created, quote(a.model), text, calls, quote(chatFinish(t)), usage))
}

// openAIStream adds the chunks of a chat or completions stream.
type openAIStream struct {
	out    *reply
	before string // what every chunk starts with
	after  string // and ends with
}

// chunk adds one; choices is what stands between the brackets.
func (s *openAIStream) chunk(choices, usage string) {
	s.out.events = append(s.out.events, []byte("data: "+s.before+`"choices":[`+choices+"]"+usage+s.after+"}\n\n"))
}

// end adds the usage chunk, when asked for, and the terminator.
func (s *openAIStream) end(a *ask, t turn, step Step) {
	if a.includeUsage && !step.NoUsage {
		s.chunk("", `,"usage":`+chatUsage(t.usage))
	}
	s.out.events = append(s.out.events, []byte("data: [DONE]\n\n"))
}

// noUsage is what the other chunks carry when usage was asked for.
func (a *ask) noUsage() string {
	if a.includeUsage {
		return `,"usage":null`
	}
	return ""
}

func streamChat(a *ask, t turn, step Step) *reply {
	out := &reply{header: streamHeader(), usage: t.usage, fail: openAIFail()}
	s := &openAIStream{out: out, after: `,"obfuscation":"` + a.id[:6] + `"`}
	s.before = fmt.Sprintf(`{"id":"chatcmpl-sim%s","object":"chat.completion.chunk","created":%d,"model":%s,"service_tier":"default","system_fingerprint":"fp_simulated",`,
		a.id, created, quote(a.model))
	delta := func(members, finish string) {
		s.chunk(fmt.Sprintf(`{"index":0,"delta":{%s},"logprobs":null,"finish_reason":%s}`, members, finish), a.noUsage())
	}
	first := `"role":"assistant","content":"","refusal":null`
	if t.tool != "" {
		first = `"role":"assistant","content":null,"refusal":null`
	}
	delta(first, "null")
	for _, piece := range t.text {
		delta(`"content":`+quote(piece), "null")
	}
	if t.tool != "" {
		delta(fmt.Sprintf(`"tool_calls":[{"index":0,"id":"call_sim%s","type":"function","function":{"name":%s,"arguments":""}}]`, t.callID, quote(t.tool)), "null")
		for _, piece := range pieces(t.args, 12) {
			delta(`"tool_calls":[{"index":0,"function":{"arguments":`+quote(piece)+`}}]`, "null")
		}
	}
	delta("", quote(chatFinish(t)))
	s.end(a, t, step)
	return out
}

func decodeCompletions(a *ask, body []byte) error {
	var q struct {
		Model         string
		Prompt        json.RawMessage
		Stream        bool
		StreamOptions streamOptions `json:"stream_options"`
	}
	if err := parse(body, &q); err != nil {
		return err
	}
	if q.Model == "" {
		return errors.New("you must provide a model parameter")
	}
	prompts, tokens, err := texts(q.Prompt)
	if err != nil {
		return fmt.Errorf("prompt: %w", err)
	}
	a.model, a.stream, a.includeUsage = q.Model, q.Stream, q.StreamOptions.IncludeUsage
	a.text, a.tokens = strings.Join(prompts, "\n"), tokens
	return nil
}

func renderCompletions(a *ask, t turn, step Step) *reply {
	choice := func(text, finish string) string {
		return fmt.Sprintf(`{"text":%s,"index":0,"logprobs":null,"finish_reason":%s}`, quote(text), finish)
	}
	head := fmt.Sprintf(`{"id":"cmpl-sim%s","object":"text_completion","created":%d,"model":%s,`, a.id, created, quote(a.model))
	finish := quote(chatFinish(t))
	if !a.stream {
		usage := `,"usage":` + chatUsage(t.usage)
		if step.NoUsage {
			usage = ""
		}
		return plainReply(t.usage, head+`"choices":[`+choice(t.words(), finish)+"]"+usage+"}")
	}
	out := &reply{header: streamHeader(), usage: t.usage, fail: openAIFail()}
	s := &openAIStream{out: out, before: head}
	for _, piece := range t.text {
		s.chunk(choice(piece, "null"), a.noUsage())
	}
	s.chunk(choice("", finish), a.noUsage())
	s.end(a, t, step)
	return out
}
