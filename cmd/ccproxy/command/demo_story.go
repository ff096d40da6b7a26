package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// scene is one request of the story.
type scene struct {
	title  string // what the client asks
	path   string
	body   string
	header http.Header // nil: none
	// want is the status expected of a gateway configured by demo.yaml, and label the label.
	want  int
	label string
	// leaveAfter is the number of events after which the client leaves; 0: it stays to the end.
	leaveAfter int
	// note says what the client saw besides the status; nil: nothing worth saying.
	note func(demoReply) string
}

// fillerWords is what the large prompt repeats: about ten tokens.
const fillerWords = "The quick brown fox jumps over the lazy dog. "

// story is the demonstration's traffic. What a provider does of its own accord, such as failing, is asked of the
// simulated one in the header X-Simulate, which the gateway passes on as it does any header it does not know.
func story() []scene {
	return slicesOf(anthropicScenes(), otherScenes(), budgetScenes(), troubledScenes())
}

func slicesOf(lists ...[]scene) []scene {
	var all []scene
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func anthropicScenes() []scene {
	const path = "/v1/messages"
	large := demoMessage{Model: "claude-sonnet-5", System: largePrompt(), Messages: say("Summarise the document.")}
	return []scene{
		{title: "A plain question", path: path, want: 200, label: "default",
			body: demoMessage{Model: "claude-sonnet-5", Messages: say("Why is the sky blue?")}.json()},
		{title: "The same, streamed", path: path, want: 200, label: "default", header: behave("event_delay=6ms"), note: countEvents,
			body: demoMessage{Model: "claude-sonnet-5", Stream: true, Messages: say("Why is the sky blue?")}.json()},
		{title: "A tool on offer, and the model calls it", path: path, want: 200, label: "default", note: toolUsed,
			body: demoMessage{Model: "claude-sonnet-5", Tools: offer("get_weather"), Messages: say("Use the tool: what is the weather in Paris?")}.json()},
		{title: "A web search tool: its own label", path: path, want: 200, label: "web_search",
			body: demoMessage{Model: "claude-sonnet-5", Tools: offer("WebSearch"), Messages: say("Who won yesterday?")}.json()},
		{title: "Thinking asked for: routed to the model that thinks", path: path, want: 200, label: "think", header: behave("event_delay=6ms"), note: countEvents,
			body: demoMessage{Model: "claude-sonnet-5", Stream: true, Thinking: &demoThinking{"enabled", 2048}, Messages: say("Is 2027 a prime?")}.json()},
		{title: "A large context: routed to the model with room for it", path: path, want: 200, label: "token_count", body: large.json()},
		{title: "The same document again: read from the provider's cache", path: path, want: 200, label: "token_count", body: large.json()},
		{title: "A background task: routed to the small model", path: path, want: 200, label: "background",
			body: demoMessage{Model: "claude-3-5-haiku-latest", Messages: say("Name this session in three words.")}.json()},
	}
}

func otherScenes() []scene {
	return []scene{
		{title: "OpenAI chat, streamed: usage is asked for, and hidden", path: "/v1/chat/completions", want: 200, label: "default",
			header: behave("event_delay=6ms"), note: hiddenUsage,
			body: `{"model":"gpt-5.5","stream":true,"messages":[{"role":"user","content":"Say hello"}]}`},
		{title: "OpenAI Responses, as Codex asks", path: "/v1/responses", want: 200, label: "default", header: behave("event_delay=4ms"), note: countEvents,
			body: `{"model":"gpt-5.5","stream":true,"store":false,"instructions":"You are a coding agent.",` +
				`"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Fix the failing test"}]}]}`},
		{title: "Embeddings", path: "/v1/embeddings", want: 200, label: "default",
			body: `{"model":"text-embedding-3-small","input":["The sky is blue","The grass is green"]}`},
		{title: "Gemini, streamed", path: "/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse", want: 200, label: "default",
			header: behave("event_delay=6ms"), note: countEvents,
			body: `{"contents":[{"role":"user","parts":[{"text":"Why is the sea salty?"}]}]}`},
	}
}

// budgetScenes are the turns of one coding session, which may spend five cents. Each story is a session of its own.
func budgetScenes() []scene {
	const path = "/v1/messages"
	session := "demo-" + uuid.NewString()
	turn := func(words string) http.Header {
		return http.Header{"X-Simulate": {words}, "X-Session-Id": {session}}
	}
	return []scene{
		{title: "A session with five cents: a long answer, by a cheaper model than it names", path: path, want: 200, label: "default", header: turn("events=255,event_bytes=64"),
			body: demoMessage{Model: "claude-opus-4-1", Messages: say("Write the whole module.")}.json()},
		{title: "The session asks for as much again: its budget refuses", path: path, want: 429, label: "default", header: turn(""), note: refusal,
			body: demoMessage{Model: "claude-opus-4-1", Messages: say("Now write the tests.")}.json()},
	}
}

func troubledScenes() []scene {
	const path = "/v1/messages"
	return []scene{
		{title: "The provider is out of capacity (429): the fallback answers", path: path, want: 200, label: "default",
			body: demoMessage{Model: "claude-opus-5", Messages: say("Review this design.")}.json()},
		{title: "Target and fallback both fail (500): the client is told", path: path, want: 500, label: "default", header: behave("status=500"),
			body: demoMessage{Model: "claude-sonnet-5", Messages: say("Are you there?")}.json()},
		{title: "The client leaves in the middle of the stream", path: path, want: 200, label: "default", header: behave("events=60,event_delay=4ms,stall_after=20"),
			leaveAfter: 20, note: countEvents,
			body: demoMessage{Model: "claude-sonnet-5", Stream: true, Messages: say("Tell me a long story.")}.json()},
		{title: "What is no JSON is refused; nothing is sent upstream", path: path, want: 400,
			body: `{"model":"claude-sonnet-5","max_tokens":64,"messages":[`},
	}
}

func behave(words string) http.Header { return http.Header{"X-Simulate": {words}} }

// demoMessage is a request of the Anthropic Messages API, as far as the story needs it.
type demoMessage struct {
	Model     string        `json:"model"`
	MaxTokens int           `json:"max_tokens"`
	Stream    bool          `json:"stream,omitempty"`
	System    []demoBlock   `json:"system,omitempty"`
	Thinking  *demoThinking `json:"thinking,omitempty"`
	Tools     []demoTool    `json:"tools,omitempty"`
	Messages  []demoTurn    `json:"messages"`
}

type demoThinking struct {
	Type   string `json:"type"`
	Budget int    `json:"budget_tokens"`
}

type demoTurn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type demoBlock struct {
	Type  string            `json:"type"`
	Text  string            `json:"text"`
	Cache map[string]string `json:"cache_control,omitempty"`
}

type demoTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"input_schema"`
}

func (m demoMessage) json() string {
	m.MaxTokens = 4096
	b, _ := json.Marshal(m) // strings and numbers always marshal
	return string(b)
}

func say(words string) []demoTurn { return []demoTurn{{"user", words}} }

func offer(name string) []demoTool {
	return []demoTool{{name, "A simulated tool.", json.RawMessage(`{"type":"object","properties":{"query":{"type":"string"}}}`)}}
}

// largePrompt is more than the 60,000 tokens of demo.yaml's threshold, marked for the prompt cache.
func largePrompt() []demoBlock {
	return []demoBlock{{"text", strings.Repeat(fillerWords, 7000), map[string]string{"type": "ephemeral"}}}
}

func countEvents(r demoReply) string { return plural(int64(r.events), "event") }

func toolUsed(r demoReply) string {
	if strings.Contains(r.body, `"type":"tool_use"`) {
		return "stops for tool_use"
	}
	return ""
}

// refusal is what the client is told in place of an answer.
func refusal(r demoReply) string {
	var said struct {
		Error struct{ Message string }
	}
	if json.Unmarshal([]byte(r.body), &said) != nil {
		return ""
	}
	return said.Error.Message
}

func hiddenUsage(r demoReply) string {
	if strings.Contains(r.body, `"prompt_tokens"`) {
		return fmt.Sprintf("%s, usage among them", countEvents(r))
	}
	return fmt.Sprintf("%s, no usage among them", countEvents(r))
}
