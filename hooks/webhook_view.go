package hooks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

// view is what a webhook is told of an exchange: chosen facts, never headers, queries or anything else a credential could
// be in.
type view struct {
	Version   int           `json:"version"`
	Phase     string        `json:"phase"`
	RequestID string        `json:"request_id"`
	Start     time.Time     `json:"start"`
	Dialect   string        `json:"dialect"`
	Path      string        `json:"path"`
	Call      *callView     `json:"call,omitempty"`
	Caller    *callerView   `json:"caller,omitempty"`
	Route     routeView     `json:"route"`
	Attempt   *attemptView  `json:"attempt,omitempty"`
	Response  *responseView `json:"response,omitempty"`
	Usage     *usageView    `json:"usage,omitempty"`
	Error     *errorView    `json:"error,omitempty"`
}

type callView struct {
	Operation      string   `json:"operation"`
	Model          string   `json:"model"`
	Stream         bool     `json:"stream"`
	MaxTokens      int64    `json:"max_tokens,omitempty"`
	Messages       int      `json:"messages"`
	Tools          []string `json:"tools"`
	ToolCount      int      `json:"tool_count"`
	Thinking       bool     `json:"thinking"`
	ReasoningLevel string   `json:"reasoning_level,omitempty"`
	OutputType     string   `json:"output_type,omitempty"`
	Images         int      `json:"images"`
	InputTokens    int64    `json:"input_tokens_estimated,omitempty"`
}

type callerView struct {
	KeyID    string            `json:"key_id,omitempty"`
	KeyAlias string            `json:"key_alias,omitempty"`
	Team     string            `json:"team,omitempty"`
	User     string            `json:"user,omitempty"`
	Account  string            `json:"account,omitempty"`
	Session  string            `json:"session,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	Loopback bool              `json:"loopback"`
}

type routeView struct {
	Label       string `json:"label,omitempty"`
	Rule        string `json:"rule,omitempty"`
	Reason      string `json:"reason,omitempty"`
	Passthrough bool   `json:"passthrough"`
}

type attemptView struct {
	Number   int    `json:"number"`
	Kind     string `json:"kind"`
	Target   string `json:"target"`
	Provider string `json:"provider"`
	Model    string `json:"model"`
}

type responseView struct {
	Status        int      `json:"status"`
	ContentType   string   `json:"content_type,omitempty"`
	Model         string   `json:"model,omitempty"`
	FinishReasons []string `json:"finish_reasons,omitempty"`
}

type usageView struct {
	Input      int64  `json:"input_tokens"`
	Output     int64  `json:"output_tokens"`
	CacheRead  int64  `json:"cache_read_input_tokens"`
	CacheWrite int64  `json:"cache_write_input_tokens"`
	Reasoning  int64  `json:"reasoning_output_tokens"`
	Source     string `json:"source"`
}

type errorView struct {
	Type   string `json:"type"`
	Origin string `json:"origin"`
}

// encode writes the view of x in a phase; a is the attempt it is about, or nil.
func (w *Webhook) encode(phase string, x *gateway.Exchange, a *gateway.Attempt) ([]byte, error) {
	v := view{
		Version: 1, Phase: phase, RequestID: x.ID, Start: x.Start.UTC(), Dialect: x.Dialect.Name(), Path: x.Request.URL.Path,
		Route: routeView{x.Route.Label, x.Route.Rule, x.Route.Reason, x.Route.Passthrough},
	}
	if slices.Contains(w.include, "call") {
		v.Call = viewCall(x)
	}
	if slices.Contains(w.include, "caller") {
		c := &x.Caller
		v.Caller = &callerView{c.KeyID, c.KeyAlias, c.Team, c.User, c.Account, c.Session, c.Tags, c.Loopback}
	}
	if a != nil {
		v.describe(a)
	}
	if x.Err != nil {
		v.Error = &errorView{x.Err.Type, x.Err.Origin}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the exchange: %w", err)
	}
	if slices.Contains(w.include, "body") {
		appendBody(&b, phase, x, a)
	}
	return b.Bytes(), nil
}

func viewCall(x *gateway.Exchange) *callView {
	c := &x.Call
	tools := c.Tools
	if tools == nil {
		tools = []string{}
	}
	return &callView{
		Operation: c.Operation, Model: c.Model, Stream: c.Stream, MaxTokens: c.MaxTokens, Messages: c.Messages, Tools: tools,
		ToolCount: c.ToolCount, Thinking: c.Thinking, ReasoningLevel: c.ReasoningLevel, OutputType: c.OutputType, Images: c.Images,
		InputTokens: x.InputTokens,
	}
}

func (v *view) describe(a *gateway.Attempt) {
	v.Attempt = &attemptView{a.Number, a.Kind, a.Target.Name, a.Target.Provider.Name, a.Model()}
	if r := a.Response; r != nil {
		v.Response = &responseView{r.StatusCode, r.Header.Get("Content-Type"), a.Result.Model, a.Result.FinishReasons}
	}
	if u := a.Result.Usage; u.Source != "" {
		v.Usage = &usageView{u.InputTokens(), u.OutputTokens(), u.CacheRead, u.CacheWrite + u.CacheWrite1h, u.Reasoning, u.Source}
	}
	if a.Err != nil {
		v.Error = &errorView{a.Err.Type, a.Err.Origin}
	}
}

// appendBody adds the request body, byte for byte, as the last member of the object in b.
func appendBody(b *bytes.Buffer, phase string, x *gateway.Exchange, a *gateway.Attempt) {
	body := x.Body
	switch {
	case phase == phasePreAPI:
		body = a.Body
	case phase != phasePreCall:
		return
	}
	root := jsonscan.Root(body)
	if jsonscan.Kind(body, root) != '{' {
		return
	}
	b.Truncate(b.Len() - len("}\n"))
	b.WriteString(`,"body":`)
	b.Write(body[root.Start:root.End])
	b.WriteString("}\n")
}
