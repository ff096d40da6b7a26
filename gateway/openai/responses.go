package openai

import (
	"bytes"
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/sse"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// responses is the dialect openai.responses.
type responses struct{ family }

// Responses returns the dialect of the Responses API.
func Responses() gateway.Dialect {
	return &responses{family{name: "openai.responses", operation: names.OperationChat, path: "/responses", fields: responsesFields()}}
}

func responsesFields() fields {
	return shared(map[string]func(*request, jsonscan.Span){
		"input":             (*request).inputItems,
		"max_output_tokens": maxTokens("max_output_tokens"),
		"reasoning":         (*request).reasoning,
		"text":              func(q *request, s jsonscan.Span) { q.format(q.member(s, "format")) },
		"tools":             (*request).tools,
		"max_tool_calls":    func(q *request, s jsonscan.Span) { q.calls, _ = jsonscan.Int(q.body, s) },
		"prompt":            (*request).storedPrompt,
		"stream_options":    func(q *request, s jsonscan.Span) { q.call.StreamOptions = s },
		"prompt_cache_key":  cacheKeyOf,
		"conversation":      func(q *request, s jsonscan.Span) { q.conversation = q.id(s) },
		"previous_response_id": func(q *request, s jsonscan.Span) {
			q.call.PreviousResponse = q.text(s)
		},
	})
}

// Decode implements [gateway.Dialect].
func (d *responses) Decode(r *http.Request, body []byte) (gateway.Call, error) {
	q, err := d.decode(r, body)
	if err != nil {
		return gateway.Call{}, err
	}
	if q.call.WebSearches < 0 && q.calls > 0 && q.calls <= maxSearches {
		q.call.WebSearches = q.calls
	}
	return q.finish()
}

// inputItems counts the items of the input; a text is one.
func (q *request) inputItems(s jsonscan.Span) {
	switch jsonscan.Kind(q.body, s) {
	case '"':
		q.call.Messages = 1
	case '[':
		q.call.Messages = q.length(s)
		q.images(s, "input_image")
		q.call.Elsewhere = q.call.Elsewhere || bytes.Contains(q.body[s.Start:s.End], []byte(`"item_reference"`))
	}
}

// Observe implements [gateway.Dialect]. Of the many events of a stream only
// deltas, the first and the last are read.
func (d *responses) Observe(e *gateway.Event, r *gateway.Result) {
	doc, name := e.Data, e.Name
	if len(doc) == 0 {
		d.observeLarge(e, r)
		return
	}
	root := jsonscan.Root(doc)
	if len(name) == 0 {
		name, _ = jsonscan.RawString(doc, jsonscan.Get(doc, root, "type"))
	}
	switch string(name) {
	case "response.created":
		response := jsonscan.Get(doc, root, "response")
		setString(&r.ID, doc, jsonscan.Get(doc, response, "id"))
		setString(&r.Model, doc, jsonscan.Get(doc, response, "model"))
	case "response.output_item.added": // of a call, with its name
		output(r, stringSize(doc, jsonscan.Get(doc, root, "item", "name")))
	case "response.completed", "response.incomplete", "response.failed":
		r.Done = true
		observeResponse(doc, jsonscan.Get(doc, root, "response"), r)
		noteFailure(name, r)
	case "error":
		observeErrorEvent(doc, root, r)
	case "response.web_search_call.completed":
		// The last event has the figure; this one serves when it never comes.
		r.Counts.WebSearches++
		r.Usage.WebSearches = r.Counts.WebSearches
	case "response.image_generation_call.partial_image":
		r.Content = true
	case "":
		observePlain(doc, root, r)
	default:
		if bytes.HasSuffix(name, []byte(".delta")) {
			observeDelta(doc, root, name, r)
		}
	}
}

// observeDelta reads a piece of output. It is a text in most events, an object
// in none that matters.
func observeDelta(doc []byte, root jsonscan.Span, name []byte, r *gateway.Result) {
	n := stringSize(doc, jsonscan.Get(doc, root, "delta"))
	if string(name) == "response.audio.delta" { // base64, not text
		r.Content = r.Content || n > 0
		return
	}
	output(r, n)
}

// observeLarge reads what the name and the tail of an event too large to hold
// tell.
func (d *responses) observeLarge(e *gateway.Event, r *gateway.Result) {
	if len(e.Tail) == 0 {
		return
	}
	switch string(e.Name) {
	case "response.completed", "response.incomplete", "response.failed":
		r.Done = true
		observeTail(e.Tail, &responsesCounters, r)
		if len(r.FinishReasons) == 0 {
			r.FinishReasons = []string{string(e.Name[len("response."):])}
		}
		noteFailure(e.Name, r)
	default:
		if bytes.HasSuffix(e.Name, []byte(".delta")) {
			r.Content = true
		}
	}
}

// noteFailure makes sure that an answer that failed has an error.
func noteFailure(name []byte, r *gateway.Result) {
	if string(name) == "response.failed" && r.Err == nil {
		r.Err = &gateway.Error{Type: names.ErrorServerError, Origin: names.ErrorOriginProvider, Code: "failed", Message: "the provider reports that the response failed"}
	}
}

// observePlain reads a plain body: a response object, or an error.
func observePlain(doc []byte, root jsonscan.Span, r *gateway.Result) {
	observeResponse(doc, root, r)
	if len(r.FinishReasons) == 1 && r.FinishReasons[0] == "failed" {
		noteFailure([]byte("response.failed"), r)
	}
}

// observeResponse reads the response object at s.
func observeResponse(doc []byte, s jsonscan.Span, r *gateway.Result) {
	var status, reason, items, searches jsonscan.Span
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "id":
			setString(&r.ID, doc, v)
		case "model":
			setString(&r.Model, doc, v)
		case "service_tier":
			setString(&r.ServiceTier, doc, v)
		case "status":
			status = v
		case "incomplete_details":
			reason = jsonscan.Get(doc, v, "reason")
		case "error":
			observeError(doc, v, r)
		case "usage":
			responsesCounters.observe(doc, v, r)
		case "tool_usage":
			searches = jsonscan.Get(doc, v, "web_search", "num_requests")
		case "output":
			items = v
		}
		return true
	})
	observeStatus(doc, status, reason, r)
	observeOutput(doc, items, searches, r)
}

// observeStatus notes how a response ended, in the provider's words: its
// status, or why it is incomplete.
func observeStatus(doc []byte, status, reason jsonscan.Span, r *gateway.Result) {
	var ended string
	setString(&ended, doc, status)
	switch ended {
	case "", "queued", "in_progress":
		return
	case "incomplete":
		setString(&ended, doc, reason)
	}
	r.FinishReasons = append(r.FinishReasons[:0], ended)
	switch ended {
	case "max_output_tokens":
		r.Incomplete = "max_tokens"
	case "content_filter":
		r.Incomplete = "content_filter"
	}
}

// observeOutput counts web searches and, when no delta was seen, the text of
// the output items.
func observeOutput(doc []byte, items, searches jsonscan.Span, r *gateway.Result) {
	var calls, text int64
	found := false
	jsonscan.Array(doc, items, func(_ int, item jsonscan.Span) bool {
		found = true
		jsonscan.Object(doc, item, func(key []byte, v jsonscan.Span) bool {
			switch string(key) {
			case "type":
				if stringIs(doc, v, "web_search_call") {
					calls++
				}
			case "name", "arguments", "input":
				text += int64(stringSize(doc, v))
			case "content", "summary":
				text += partsSize(doc, v)
			}
			return true
		})
		return true
	})
	if !r.Content && found {
		r.Content = true
		r.OutputBytes += text
	}
	if n, ok := tokens(doc, searches); ok {
		calls = n
	}
	if items.Exists() || searches.Exists() {
		r.Counts.WebSearches = calls
	}
	r.Usage.WebSearches = r.Counts.WebSearches
}

// partsSize returns the size of the texts and refusals in the parts at s.
func partsSize(doc []byte, s jsonscan.Span) (n int64) {
	jsonscan.Array(doc, s, func(_ int, part jsonscan.Span) bool {
		n += int64(stringSize(doc, jsonscan.Get(doc, part, "text")) + stringSize(doc, jsonscan.Get(doc, part, "refusal")))
		return true
	})
	return n
}

// observeErrorEvent reads an error event: its members stand at the top, or, as
// some servers have it, in a member "error".
func observeErrorEvent(doc []byte, root jsonscan.Span, r *gateway.Result) {
	if nested := jsonscan.Get(doc, root, "error"); jsonscan.Kind(doc, nested) == '{' {
		observeError(doc, nested, r)
		return
	}
	f := readFault(doc, root)
	if f.kind == "error" { // the event's own type
		f.kind = ""
	}
	r.Err = f.asError(0)
}

// EncodeStreamError implements [gateway.Dialect]. The sequence number, which
// the gateway does not keep, is 0.
func (d *responses) EncodeStreamError(e *gateway.Error, _ string) []byte {
	m := meaning(e)
	code := m.code
	if code == "" {
		code = m.kind
	}
	body := append([]byte(nil), `{"type":"error","code":`...)
	body = jsonscan.Quote(body, code)
	body = append(body, `,"message":`...)
	body = jsonscan.Quote(body, e.Message)
	body = append(body, `,"param":null,"sequence_number":0}`...)
	return sse.AppendEvent(nil, "error", body)
}
