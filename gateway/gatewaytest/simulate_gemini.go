package gatewaytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// geminiContent is a turn of a Gemini conversation.
type geminiContent struct {
	Role  string
	Parts []struct {
		Text          string
		Thought       bool
		Response      json.RawMessage `json:"functionResponse"`
		SnakeResponse json.RawMessage `json:"function_response"`
	}
}

func (c geminiContent) text() string {
	text := ""
	for _, p := range c.Parts {
		if p.Text != "" && !p.Thought {
			text = p.Text
		}
	}
	return text
}

func (c geminiContent) results() bool {
	for _, p := range c.Parts {
		if p.Response != nil || p.SnakeResponse != nil {
			return true
		}
	}
	return false
}

// generateRequest has each name in both spellings proto-JSON allows.
type generateRequest struct {
	Contents    []json.RawMessage
	System      json.RawMessage `json:"systemInstruction"`
	SnakeSystem json.RawMessage `json:"system_instruction"`
	Tools       json.RawMessage
	ToolConfig  json.RawMessage `json:"toolConfig"`
	SnakeConfig json.RawMessage `json:"tool_config"`
	Generation  json.RawMessage `json:"generationConfig"`
	SnakeGen    json.RawMessage `json:"generation_config"`
	Cached      string          `json:"cachedContent"`
	SnakeCached string          `json:"cached_content"`
	CountWhole  json.RawMessage `json:"generateContentRequest"`
}

// cachedContentTokens is how large every cachedContent is.
const cachedContentTokens = 4096

func decodeGenerate(a *ask, body []byte) error {
	var q generateRequest
	if err := parse(body, &q); err != nil {
		return err
	}
	if len(q.CountWhole) > 0 {
		return decodeGenerate(a, q.CountWhole)
	}
	if len(q.Contents) == 0 {
		return errors.New("* GenerateContentRequest.contents: contents is not specified")
	}
	a.stream = a.action == "streamGenerateContent"
	a.tool = firstGeminiTool(q.Tools)
	a.chooseGemini(either(q.ToolConfig, q.SnakeConfig))
	a.thinkGemini(either(q.Generation, q.SnakeGen))
	p := newPrefix()
	p.add("system "+a.model, either(q.System, q.SnakeSystem))
	p.add("tools", q.Tools)
	for _, raw := range q.Contents {
		var c geminiContent
		_ = json.Unmarshal(raw, &c) // what it cannot read it counts
		p.add("content", raw)
		if c.Role == "model" {
			continue
		}
		a.results = c.results()
		if text := c.text(); text != "" {
			a.text = text
		}
	}
	a.tokens = tokensOf(p.bytes)
	if a.name == "gemini.generate_content" {
		a.blocks = p.blocks
	}
	if q.Cached != "" || q.SnakeCached != "" {
		a.cachedTokens = cachedContentTokens
	}
	return nil
}

func either(a, b json.RawMessage) json.RawMessage {
	if len(a) > 0 {
		return a
	}
	return b
}

func (a *ask) chooseGemini(raw json.RawMessage) {
	type calling struct{ Mode string }
	var q struct {
		Config calling `json:"functionCallingConfig"`
		Snake  calling `json:"function_calling_config"`
	}
	_ = json.Unmarshal(raw, &q)
	mode := q.Config.Mode + q.Snake.Mode
	a.must = mode == "ANY"
	if mode == "NONE" {
		a.tool = nil
	}
}

func (a *ask) thinkGemini(raw json.RawMessage) {
	type thinking struct {
		Budget       *int `json:"thinkingBudget"`
		SnakeBudget  *int `json:"thinking_budget"`
		Include      bool `json:"includeThoughts"`
		SnakeInclude bool `json:"include_thoughts"`
	}
	var q struct {
		Config *thinking `json:"thinkingConfig"`
		Snake  *thinking `json:"thinking_config"`
	}
	_ = json.Unmarshal(raw, &q)
	for _, c := range []*thinking{q.Config, q.Snake} {
		if c == nil {
			continue
		}
		off := c.Budget != nil && *c.Budget == 0 || c.SnakeBudget != nil && *c.SnakeBudget == 0
		a.think, a.showThoughts = !off, !off && (c.Include || c.SnakeInclude)
	}
}

func firstGeminiTool(raw json.RawMessage) *tool {
	type declaration struct {
		Name       string
		Parameters json.RawMessage
		Schema     json.RawMessage `json:"parametersJsonSchema"`
	}
	var tools []struct {
		Declarations []declaration `json:"functionDeclarations"`
		Snake        []declaration `json:"function_declarations"`
	}
	_ = json.Unmarshal(raw, &tools)
	for _, t := range tools {
		for _, d := range append(t.Declarations, t.Snake...) {
			return &tool{d.Name, either(d.Parameters, d.Schema)}
		}
	}
	return nil
}

// geminiUsage counts what has been said so far; candidates leave thinking out.
func geminiUsage(u Usage, candidates, thoughts int64) string {
	s := fmt.Sprintf(`{"promptTokenCount":%d,"candidatesTokenCount":%d,"totalTokenCount":%d,"promptTokensDetails":[{"modality":"TEXT","tokenCount":%d}]`,
		u.Prompt(), candidates, u.Prompt()+candidates+thoughts, u.Prompt())
	if u.CacheRead > 0 {
		s += fmt.Sprintf(`,"cachedContentTokenCount":%d,"cacheTokensDetails":[{"modality":"TEXT","tokenCount":%d}]`, u.CacheRead, u.CacheRead)
	}
	if thoughts > 0 {
		s += fmt.Sprintf(`,"thoughtsTokenCount":%d`, thoughts)
	}
	return s + "}"
}

func geminiFinish(t turn) string {
	switch t.finish {
	case finishLength:
		return "MAX_TOKENS"
	case finishRefusal:
		return "SAFETY"
	}
	return "STOP" // function calls included
}

func geminiThought(text string) string { return `{"text":` + quote(text) + `,"thought":true}` }

func geminiCall(a *ask, t turn) string {
	return fmt.Sprintf(`{"functionCall":{"id":"call_sim%s","name":%s,"args":%s},"thoughtSignature":%s}`, t.callID, quote(t.tool), t.args, quote(signature(a)))
}

// geminiFrame is a whole answer, or one frame of a stream.
func geminiFrame(a *ask, parts, finish, usage string) string {
	if finish != "" {
		finish = `,"finishReason":` + quote(finish)
	}
	if usage != "" {
		usage = `,"usageMetadata":` + usage
	}
	return fmt.Sprintf(`{"candidates":[{"content":{"parts":[%s],"role":"model"}%s,"index":0}]%s,"modelVersion":%s,"responseId":"sim%s"}`,
		parts, finish, usage, quote(a.model), a.id)
}

func renderGenerate(a *ask, t turn, step Step) *reply {
	if a.stream {
		return streamGenerate(a, t, step)
	}
	var parts []string
	if a.showThoughts {
		parts = append(parts, geminiThought(t.thought()))
	}
	if t.text != nil {
		parts = append(parts, `{"text":`+quote(t.words())+`}`)
	}
	if t.tool != "" {
		parts = append(parts, geminiCall(a, t))
	}
	usage := geminiUsage(t.usage, t.usage.Output-t.usage.Reasoning, t.usage.Reasoning)
	if step.NoUsage {
		usage = ""
	}
	return plainReply(t.usage, geminiFrame(a, strings.Join(parts, ","), geminiFinish(t), usage))
}

func streamGenerate(a *ask, t turn, step Step) *reply {
	s := &geminiStream{a: a, u: t.usage, usage: !step.NoUsage}
	if a.think {
		s.thoughts = t.usage.Reasoning
	}
	if a.showThoughts {
		s.frame(geminiThought(t.thought()), "")
	}
	for _, piece := range t.text {
		s.said += len(piece)
		s.frame(`{"text":`+quote(piece)+`}`, "")
	}
	if t.tool != "" {
		s.said += len(t.tool) + len(t.args)
		s.frame(geminiCall(a, t), "")
	}
	s.frame(`{"text":""}`, geminiFinish(t))
	fail := `{"error":{"code":503,"message":"The model is overloaded. Please try again later. (simulated)","status":"UNAVAILABLE"}}`
	if query, _ := url.ParseQuery(a.query); query.Get("alt") != "sse" {
		return arrayReply(s.frames, fail, t.usage, step)
	}
	out := &reply{header: streamHeader(), usage: t.usage, fail: []byte("data: " + fail + "\r\n\r\n")}
	for _, frame := range s.frames {
		out.events = append(out.events, []byte("data: "+frame+"\r\n\r\n"))
	}
	return out
}

// geminiStream makes the frames of a stream, each with the usage so far.
type geminiStream struct {
	a        *ask
	u        Usage
	usage    bool
	said     int // bytes
	thoughts int64
	frames   []string
}

func (s *geminiStream) frame(parts, finish string) {
	usage := ""
	if s.usage {
		usage = geminiUsage(s.u, tokensOf(s.said), s.thoughts)
	}
	s.frames = append(s.frames, geminiFrame(s.a, parts, finish, usage))
}

// arrayReply streams the frames as one JSON array, as without alt=sse.
func arrayReply(frames []string, fail string, u Usage, step Step) *reply {
	out := &reply{header: jsonHeader(), usage: u}
	for i, frame := range frames {
		before, after := ",\r\n", ""
		if i == 0 {
			before = "["
		}
		if i == len(frames)-1 {
			after = "]"
		}
		out.events = append(out.events, []byte(before+frame+after))
	}
	before := ",\r\n"
	if step.CutAfter == 0 {
		before = "["
	}
	out.fail, out.close = []byte(before+fail), []byte("]")
	return out
}
