package gatewaytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

type responsesRequest struct {
	Model        string
	Input        json.RawMessage
	Instructions json.RawMessage
	Tools        json.RawMessage
	ToolChoice   json.RawMessage `json:"tool_choice"`
	Stream       bool
	Include      []string
	Metadata     json.RawMessage
	PreviousID   json.RawMessage `json:"previous_response_id"`
	Reasoning    *struct{ Effort, Summary string }
}

func decodeResponses(a *ask, body []byte) error {
	var q responsesRequest
	if err := parse(body, &q); err != nil {
		return err
	}
	if q.Model == "" {
		return errors.New("missing required parameter: 'model'")
	}
	if len(q.Input) == 0 {
		return errors.New("missing required parameter: 'input'")
	}
	a.model, a.stream = q.Model, q.Stream
	a.think = q.Reasoning != nil && q.Reasoning.Effort != "none"
	a.showThoughts = a.think && q.Reasoning.Summary != ""
	a.encrypted = slices.Contains(q.Include, "reasoning.encrypted_content")
	a.tool = firstOpenAITool(q.Tools)
	a.choose(q.ToolChoice)
	a.echo = q.echoed()
	p := newPrefix()
	p.add("tools "+q.Model, q.Tools)
	p.add("instructions", q.Instructions)
	p.add("input", q.Input)
	a.readInput(q.Input)
	a.tokens = tokensOf(p.bytes)
	if a.name == "openai.responses" {
		a.blocks = p.blocks
	}
	return nil
}

// readInput finds the last user text and whether function results come last.
func (a *ask) readInput(raw json.RawMessage) {
	var items []struct {
		Type, Role string
		Content    json.RawMessage
	}
	if json.Unmarshal(raw, &items) != nil {
		a.text, _ = textOf(raw)
		return
	}
	for _, item := range items {
		a.results = strings.HasSuffix(item.Type, "_output")
		if text, _ := textOf(item.Content); item.Role == "user" && text != "" {
			a.text = text
		}
	}
}

// echoed are the members of a response that repeat the request.
func (q *responsesRequest) echoed() json.RawMessage {
	or := func(raw json.RawMessage, other string) string {
		if len(raw) == 0 {
			return other
		}
		return string(raw)
	}
	effort, summary := "null", "null"
	if q.Reasoning != nil && q.Reasoning.Effort != "" {
		effort = quote(q.Reasoning.Effort)
	}
	if q.Reasoning != nil && q.Reasoning.Summary != "" {
		summary = quote(q.Reasoning.Summary)
	}
	return json.RawMessage(fmt.Sprintf(`"instructions":%s,"metadata":%s,"parallel_tool_calls":true,"previous_response_id":%s,`+
		`"reasoning":{"effort":%s,"summary":%s},"store":true,"temperature":1.0,"text":{"format":{"type":"text"},"verbosity":"medium"},`+
		`"tool_choice":%s,"tools":%s,"top_p":1.0,"truncation":"disabled"`,
		or(q.Instructions, "null"), or(q.Metadata, "{}"), or(q.PreviousID, "null"), effort, summary, or(q.ToolChoice, `"auto"`), or(q.Tools, "[]")))
}

func responsesUsage(u Usage) string {
	return fmt.Sprintf(`{"input_tokens":%d,"input_tokens_details":{"cached_tokens":%d},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":%d},"total_tokens":%d}`,
		u.Prompt(), u.CacheRead, u.Output, u.Reasoning, u.Prompt()+u.Output)
}

// response is the response object at one moment of its life.
func response(a *ask, status, details, failure, output, usage string) string {
	return fmt.Sprintf(`{"id":"resp_sim%s","object":"response","created_at":%d,"status":"%s","background":false,"error":%s,"incomplete_details":%s,`+
		`"model":%s,"output":[%s],%s,"service_tier":"default","usage":%s}`,
		a.id, created, status, failure, details, quote(a.model), output, a.echo, usage)
}

// finished is the response object at its end, and its status.
func finished(a *ask, t turn, step Step) (object, status string) {
	status, details, usage := "completed", "null", responsesUsage(t.usage)
	switch t.finish {
	case finishLength:
		status, details = "incomplete", `{"reason":"max_output_tokens"}`
	case finishRefusal:
		status, details = "incomplete", `{"reason":"content_filter"}`
	}
	if step.NoUsage {
		usage = "null"
	}
	return response(a, status, details, "null", strings.Join(responsesOutput(a, t), ","), usage), status
}

func reasoningItem(a *ask, summary string) string {
	encrypted := ""
	if a.encrypted {
		encrypted = `,"encrypted_content":` + quote(signature(a))
	}
	return fmt.Sprintf(`{"id":"rs_sim%s","type":"reasoning","summary":[%s]%s}`, a.id, summary, encrypted)
}

func summaryPart(text string) string { return `{"type":"summary_text","text":` + quote(text) + `}` }

func textPart(text string) string {
	return `{"type":"output_text","annotations":[],"logprobs":[],"text":` + quote(text) + `}`
}

func messageItem(a *ask, status, parts string) string {
	return fmt.Sprintf(`{"id":"msg_sim%s","type":"message","status":"%s","content":[%s],"role":"assistant"}`, a.id, status, parts)
}

func callItem(a *ask, t turn, status, args string) string {
	return fmt.Sprintf(`{"id":"fc_sim%s","type":"function_call","status":"%s","arguments":%s,"call_id":"call_sim%s","name":%s}`,
		a.id, status, quote(args), t.callID, quote(t.tool))
}

func responsesOutput(a *ask, t turn) []string {
	var items []string
	if a.think {
		summary := ""
		if a.showThoughts {
			summary = summaryPart(t.thought())
		}
		items = append(items, reasoningItem(a, summary))
	}
	if t.text != nil {
		items = append(items, messageItem(a, "completed", textPart(t.words())))
	}
	if t.tool != "" {
		items = append(items, callItem(a, t, "completed", t.args))
	}
	return items
}

func renderResponses(a *ask, t turn, step Step) *reply {
	object, status := finished(a, t, step)
	if !a.stream {
		return plainReply(t.usage, object)
	}
	s := &responsesStream{out: &reply{header: streamHeader(), usage: t.usage}}
	initial := `,"response":` + response(a, "in_progress", "null", "null", "", "null")
	s.add("response.created", initial)
	s.add("response.in_progress", initial)
	if a.think {
		s.reasoning(a, t)
	}
	if t.text != nil {
		s.message(a, t)
	}
	if t.tool != "" {
		s.call(a, t)
	}
	s.add("response."+status, `,"response":`+object)
	s.out.fail = responsesFail(a, step, s.sequence)
	return s.out
}

// responsesFail is response.failed inside a stream, and a bare error as its first event.
func responsesFail(a *ask, step Step, sequence int) []byte {
	const message = `"The server had an error while processing your request (simulated)"`
	s := &responsesStream{out: &reply{}, sequence: min(step.CutAfter, sequence)}
	if step.CutAfter == 0 {
		s.add("error", `,"code":"server_error","message":`+message+`,"param":null`)
	} else {
		s.add("response.failed", `,"response":`+response(a, "failed", "null", `{"code":"server_error","message":`+message+`}`, "", "null"))
	}
	return s.out.events[0]
}

// responsesStream numbers the events and the output items of a stream.
type responsesStream struct {
	out      *reply
	sequence int
	item     int
}

func (s *responsesStream) add(kind, members string) {
	s.out.events = append(s.out.events, fmt.Appendf(nil, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%d%s}\n\n", kind, kind, s.sequence, members))
	s.sequence++
}

// in adds an event that concerns a part of the current output item.
func (s *responsesStream) in(kind, id, members string) {
	s.add(kind, fmt.Sprintf(`,"item_id":"%s","output_index":%d%s`, id, s.item, members))
}

func (s *responsesStream) begin(item string) {
	s.add("response.output_item.added", fmt.Sprintf(`,"output_index":%d,"item":%s`, s.item, item))
}

func (s *responsesStream) end(item string) {
	s.add("response.output_item.done", fmt.Sprintf(`,"output_index":%d,"item":%s`, s.item, item))
	s.item++
}

func (s *responsesStream) reasoning(a *ask, t turn) {
	s.begin(reasoningItem(a, ""))
	if !a.showThoughts {
		s.end(reasoningItem(a, ""))
		return
	}
	id, thought := "rs_sim"+a.id, t.thought()
	s.in("response.reasoning_summary_part.added", id, `,"summary_index":0,"part":`+summaryPart(""))
	for _, piece := range t.thinking {
		s.in("response.reasoning_summary_text.delta", id, `,"summary_index":0,"delta":`+quote(piece)+`,"obfuscation":"`+a.id[:6]+`"`)
	}
	s.in("response.reasoning_summary_text.done", id, `,"summary_index":0,"text":`+quote(thought))
	s.in("response.reasoning_summary_part.done", id, `,"summary_index":0,"part":`+summaryPart(thought))
	s.end(reasoningItem(a, summaryPart(thought)))
}

func (s *responsesStream) message(a *ask, t turn) {
	id, text := "msg_sim"+a.id, t.words()
	s.begin(messageItem(a, "in_progress", ""))
	s.in("response.content_part.added", id, `,"content_index":0,"part":`+textPart(""))
	for _, piece := range t.text {
		s.in("response.output_text.delta", id, `,"content_index":0,"delta":`+quote(piece)+`,"logprobs":[],"obfuscation":"`+a.id[:6]+`"`)
	}
	s.in("response.output_text.done", id, `,"content_index":0,"text":`+quote(text)+`,"logprobs":[]`)
	s.in("response.content_part.done", id, `,"content_index":0,"part":`+textPart(text))
	s.end(messageItem(a, "completed", textPart(text)))
}

func (s *responsesStream) call(a *ask, t turn) {
	id := "fc_sim" + a.id
	s.begin(callItem(a, t, "in_progress", ""))
	for _, piece := range pieces(t.args, 12) {
		s.in("response.function_call_arguments.delta", id, `,"delta":`+quote(piece)+`,"obfuscation":"`+a.id[:6]+`"`)
	}
	s.in("response.function_call_arguments.done", id, `,"arguments":`+quote(t.args)+`,"name":`+quote(t.tool))
	s.end(callItem(a, t, "completed", t.args))
}
