package gatewaytest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

func serve(t *testing.T, opts gatewaytest.ProviderOptions) (*gatewaytest.Provider, string) {
	t.Helper()
	p := gatewaytest.NewProvider(opts)
	s := httptest.NewServer(p)
	t.Cleanup(func() {
		p.Close()
		s.Close()
	})
	return p, s.URL
}

// dialect is a request in one of the formats, plain or streamed.
type dialect struct {
	name, path, body string
	stream           bool
}

// dialects are the ways to ask for an answer; %s is the model.
var dialects = []dialect{
	{"messages", "/v1/messages?beta=true", `{"model":"%s","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`, false},
	{"messages stream", "/v1/messages", `{"model":"%s","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hi"}]}`, true},
	{"chat", "/v1/chat/completions", `{"model":"%s","messages":[{"role":"user","content":"hi"}]}`, false},
	{"chat stream", "/v1/chat/completions", `{"model":"%s","stream":true,"messages":[{"role":"user","content":"hi"}]}`, true},
	{"completions", "/v1/completions", `{"model":"%s","prompt":"hi"}`, false},
	{"completions stream", "/v1/completions", `{"model":"%s","prompt":"hi","stream":true}`, true},
	{"responses", "/v1/responses", `{"model":"%s","input":"hi"}`, false},
	{"responses stream", "/v1/responses", `{"model":"%s","input":"hi","stream":true}`, true},
	{"generate", "/v1beta/models/%s:generateContent", `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`, false},
	{"generate stream", "/v1beta/models/%s:streamGenerateContent?alt=sse", `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`, true},
	{"generate array", "/v1beta/models/%s:streamGenerateContent", `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`, true},
}

// answer is a response read to its end or error.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body, or of the request
}

func (d dialect) request(t *testing.T, ctx context.Context, url, model, simulate string) *http.Request {
	t.Helper()
	fill := func(s string) string { return strings.ReplaceAll(s, "%s", model) }
	r, err := http.NewRequestWithContext(ctx, "POST", url+fill(d.path), strings.NewReader(fill(d.body)))
	if err != nil {
		t.Fatal(err)
	}
	if simulate != "" {
		r.Header.Set("X-Simulate", simulate)
	}
	return r
}

func (d dialect) ask(t *testing.T, url, model, simulate string) answer {
	t.Helper()
	return do(t, d.request(t, t.Context(), url, model, simulate))
}

func do(t *testing.T, r *http.Request) answer {
	t.Helper()
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body), err}
}

// ended reports whether a streamed body has its dialect's terminator.
func (d dialect) ended(body string) bool {
	switch d.name {
	case "messages stream":
		return strings.Contains(body, "event: message_stop\n")
	case "chat stream", "completions stream":
		return strings.HasSuffix(body, "data: [DONE]\n\n")
	case "responses stream":
		return strings.Contains(body, "event: response.completed\n")
	case "generate array":
		return json.Valid([]byte(body))
	case "generate stream":
		return strings.Contains(body, `"finishReason":"STOP"`)
	}
	return json.Valid([]byte(body))
}

func forDialects(t *testing.T, test func(t *testing.T, d dialect)) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) { test(t, d) })
	}
}

func TestEveryAnswerIsWholeAndLabelled(t *testing.T) {
	p, url := serve(t, gatewaytest.ProviderOptions{Record: true})
	forDialects(t, func(t *testing.T, d dialect) {
		p.Reset()
		got := d.ask(t, url, "some-model", "")
		if got.err != nil || got.status != 200 {
			t.Fatalf("got status %d, error %v, body %s", got.status, got.err, got.body)
		}
		if !d.ended(got.body) || !strings.Contains(got.body, "imulated") {
			t.Errorf("got body %s", got.body)
		}
		if got.header.Get("X-Simulated-Provider") != "true" {
			t.Errorf("got headers %v", got.header)
		}
		if id := got.header.Get("Request-Id") + got.header.Get("X-Request-Id"); id != p.Requests()[0].ID {
			t.Errorf("got request id %q, want %q", id, p.Requests()[0].ID)
		}
		r := finished(t, p)[0]
		if string(r.Sent) != got.body || r.BytesSent != int64(len(got.body)) || r.Model != "some-model" || r.Dialect == "" || !r.Left.IsZero() {
			t.Errorf("recorded %+v", r)
		}
		if p.Billed()["some-model"] != r.Usage || r.Usage.Input == 0 || r.Usage.Output == 0 {
			t.Errorf("billed %+v, recorded %+v", p.Billed(), r.Usage)
		}
		if again := d.ask(t, url, "some-model", ""); again.body != got.body {
			t.Errorf("a second identical request got another answer:\n%s\n%s", got.body, again.body)
		}
	})
}

// finished waits for the handlers to be done with what clients have read already.
func finished(t *testing.T, p *gatewaytest.Provider) []gatewaytest.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var all []gatewaytest.Request
	err := p.WaitRequests(ctx, func(rs []gatewaytest.Request) bool {
		all = rs
		for _, r := range rs {
			if r.End.IsZero() {
				return false
			}
		}
		return len(rs) > 0
	})
	if err != nil {
		t.Fatalf("waiting for the provider: %v", err)
	}
	return all
}

func TestStreamCutsLookLikeTheRealThing(t *testing.T) {
	p, url := serve(t, gatewaytest.ProviderOptions{})
	forDialects(t, func(t *testing.T, d dialect) {
		p.Reset()
		whole := d.ask(t, url, "m", "events=6").body
		reset := d.ask(t, url, "m", "events=6,reset_after=3")
		if !errors.Is(reset.err, syscall.ECONNRESET) && !errors.Is(reset.err, io.ErrUnexpectedEOF) || !strings.HasPrefix(whole, reset.body) {
			t.Errorf("reset: got %v after %q", reset.err, reset.body)
		}
		cut := d.ask(t, url, "m", "events=6,truncate_after=3")
		if cut.err != nil || d.ended(cut.body) || !strings.HasPrefix(whole, cut.body) || cut.body == "" {
			t.Errorf("truncate: got %v after %q", cut.err, cut.body)
		}
		hangup := d.ask(t, url, "m", "hangup")
		if hangup.err == nil {
			t.Errorf("hangup: got status %d", hangup.status)
		}
		full := finished(t, p)[0].Usage
		if part := finished(t, p)[2].Usage; part.Input != full.Input || part.Output >= full.Output {
			t.Errorf("a cut answer is billed %+v, the whole %+v", part, full)
		}
		if !d.stream {
			return
		}
		failed := d.ask(t, url, "m", "events=6,error_after=3")
		if failed.err != nil || failed.status != 200 || !strings.HasPrefix(failed.body, cut.body) || !strings.Contains(failed.body[len(cut.body):], `"error":{`) {
			t.Errorf("error: got %v, %q", failed.err, failed.body)
		}
		if d.name == "generate array" && !json.Valid([]byte(failed.body)) {
			t.Errorf("error: got invalid JSON %q", failed.body)
		}
		first := d.ask(t, url, "m", "first_event_error")
		if first.status != 200 || !strings.Contains(first.body, "error") || len(first.body) > 400 {
			t.Errorf("first event: got %d %q", first.status, first.body)
		}
	})
}

func TestStallLastsUntilTheClientLeaves(t *testing.T) {
	p, url := serve(t, gatewaytest.ProviderOptions{})
	forDialects(t, func(t *testing.T, d dialect) {
		p.Reset()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		resp, err := http.DefaultClient.Do(d.request(t, ctx, url, "m", "stall_after=2"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
			t.Fatalf("reading before the stall: %v", err)
		}
		if !p.Requests()[0].End.IsZero() {
			t.Error("the request ended while the client was there")
		}
		cancel()
		if r := finished(t, p)[0]; r.Left.IsZero() || r.BytesSent == 0 {
			t.Errorf("got left %v, %d bytes", r.Left, r.BytesSent)
		}
	})
}

func TestClosingTheProviderReleasesStalledRequests(t *testing.T) {
	p, url := serve(t, gatewaytest.ProviderOptions{})
	go func() {
		_ = p.WaitRequests(t.Context(), func(rs []gatewaytest.Request) bool { return len(rs) > 0 && rs[0].Model != "" })
		p.Close()
	}()
	if got := dialects[1].ask(t, url, "m", "stall_after=2"); got.err != nil || got.body == "" {
		t.Errorf("got %q, %v", got.body, got.err)
	}
}

func TestFailuresHaveTheVendorsShape(t *testing.T) {
	p, url := serve(t, gatewaytest.ProviderOptions{})
	tests := []struct {
		dialect, simulate string
		status            int
		body, header      string
	}{
		{"messages", "status=429", 429, `{"type":"error","error":{"type":"rate_limit_error"`, "Retry-After"},
		{"messages stream", "status=529", 529, `"type":"overloaded_error","message":"Overloaded"`, "Retry-After"},
		{"messages", "status=500", 500, `"type":"api_error"`, ""},
		{"messages", "status=401", 401, `"type":"authentication_error"`, ""},
		{"messages", "status=403", 403, `"type":"permission_error"`, ""},
		{"messages", "status=404", 404, `"type":"not_found_error"`, ""},
		{"messages", "quota", 402, `"type":"billing_error"`, ""},
		{"messages", "context_length", 400, `prompt is too long`, ""},
		{"chat", "status=429", 429, `"code": "rate_limit_exceeded"`, "Retry-After-Ms"},
		{"chat", "quota", 429, `"code": "insufficient_quota"`, ""},
		{"chat", "status=529", 503, `"code": "server_is_overloaded"`, ""},
		{"chat", "context_length", 400, `"code": "context_length_exceeded"`, ""},
		{"responses", "context_length", 400, `Your input exceeds the context window of this model`, ""},
		{"chat", "status=401", 401, `"code": "invalid_api_key"`, ""},
		{"chat", "status=404", 404, `"code": "model_not_found"`, ""},
		{"generate", "status=429,retry_after=22s", 429, `"retryDelay":"22s"`, ""},
		{"generate", "status=429", 429, `PerMinutePerProject`, ""},
		{"generate", "quota", 429, `PerDayPerProject`, ""},
		{"generate", "status=500", 500, `"status": "INTERNAL"`, ""},
		{"generate stream", "context_length", 400, `"status": "INVALID_ARGUMENT"`, ""},
		{"messages", "bananas", 400, `unknown word`, ""},
		{"messages", "status=503,text=gone+fishing", 503, `gone fishing`, ""},
	}
	for _, test := range tests {
		for _, d := range dialects {
			if d.name != test.dialect {
				continue
			}
			got := d.ask(t, url, "m", test.simulate)
			if got.status != test.status || !strings.Contains(got.body, test.body) || !json.Valid([]byte(got.body)) {
				t.Errorf("%s %s: got %d %s", d.name, test.simulate, got.status, got.body)
			}
			if test.header != "" && got.header.Get(test.header) == "" {
				t.Errorf("%s %s: no %s in %v", d.name, test.simulate, test.header, got.header)
			}
		}
	}
	if got := p.Billed(); len(got) != 0 {
		t.Errorf("failures were billed: %v", got)
	}
}

func TestUnknownPathsAndBadBodiesAreRefusedInTheVendorsShape(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	tests := []struct {
		method, path, body, header string
		status                     int
		want                       string
	}{
		{"GET", "/v1/nothing", "", "", 404, `"code": null`},
		{"GET", "/v1/nothing", "", "Anthropic-Version", 404, `"type":"not_found_error"`},
		{"POST", "/v1beta/models/m:explode", "{}", "", 404, `"status": "NOT_FOUND"`},
		{"GET", "/v1/messages", "", "", 405, `"type":"error"`},
		{"POST", "/v1/messages", "{", "", 400, `"type":"invalid_request_error"`},
		{"POST", "/v1/messages", `{"model":"m","messages":[{"role":"user","content":"x"}]}`, "", 400, `max_tokens: Field required`},
		{"POST", "/v1/messages", `{"model":7}`, "", 400, `Input should be a valid string`},
		{"POST", "/v1/chat/completions", `{"model":"m"}`, "", 400, `messages`},
		{"POST", "/v1/responses", `{"model":"m"}`, "", 400, `input`},
		{"POST", "/v1/embeddings", `{"model":"m","input":{}}`, "", 400, `input`},
		{"POST", "/v1beta/models/m:generateContent", `{}`, "", 400, `contents is not specified`},
		{"GET", "/v1/models/unheard-of", "", "", 404, `"code": "model_not_found"`},
		{"GET", "/v1beta/models/gemini-3.5-pro", "", "", 200, `"name":"models/gemini-3.5-pro"`},
		{"GET", "/v1/models", "", "Anthropic-Version", 200, `"has_more":false`},
		{"GET", "/v1/models", "", "", 200, `{"object":"list"`},
		{"HEAD", "/api/hello", "", "", 200, ""},
	}
	for _, test := range tests {
		r, err := http.NewRequestWithContext(t.Context(), test.method, url+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		if test.header != "" {
			r.Header.Set(test.header, "2023-06-01")
		}
		got := do(t, r)
		if got.err != nil || got.status != test.status || !strings.Contains(got.body, test.want) {
			t.Errorf("%s %s: got %d %s %v", test.method, test.path, got.status, got.body, got.err)
		}
	}
}

func TestOddAnswers(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	forDialects(t, func(t *testing.T, d dialect) {
		plain := d.ask(t, url, "m", "")
		if got := d.ask(t, url, "m", "html"); got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
			t.Errorf("html: got %d %v", got.status, got.header)
		}
		if got := d.ask(t, url, "m", "redirect"); got.status != 307 || got.header.Get("Location") == "" {
			t.Errorf("redirect: got %d %v", got.status, got.header)
		}
		zipped := d.ask(t, url, "m", "gzip")
		r, err := gzip.NewReader(strings.NewReader(zipped.body))
		if err != nil || zipped.header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("gzip: got %v, %v", zipped.header, err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != plain.body {
			t.Errorf("gzip: got %q, %v", got, err)
		}
		if got := d.ask(t, url, "m", "chunk=7"); got.body != plain.body {
			t.Errorf("chunk: got %q, want %q", got.body, plain.body)
		}
		if got := d.ask(t, url, "m", "no_usage"); strings.Contains(got.body, `okens":`) || strings.Contains(got.body, `TokenCount`) || !d.ended(got.body) {
			t.Errorf("no_usage: got %q", got.body)
		}
		if got := d.ask(t, url, "m", "text=a%2Cb%22"); !d.stream && !strings.Contains(got.body, `a,b\"`) {
			t.Errorf("text: got %q", got.body)
		}
		if got := d.ask(t, url, "m", "cached=1"); d.name != "completions stream" && d.name != "chat stream" && !strings.Contains(got.body, `okens":1`) && !strings.Contains(got.body, `TokenCount":1`) {
			t.Errorf("cached: got %q", got.body)
		}
		r2 := d.request(t, t.Context(), url, "m", "echo_key")
		r2.Header.Set("Authorization", "Bearer sk-secret-canary")
		if got := do(t, r2); got.status != 401 || !strings.Contains(got.body, "sk-secret-canary") {
			t.Errorf("echo_key: got %d %s", got.status, got.body)
		}
		if d.stream {
			return
		}
		for _, size := range []int{3000, 1 << 20} {
			if got := d.ask(t, url, "m", fmt.Sprintf("big=%d", size)); len(got.body) != size || !json.Valid([]byte(got.body)) {
				t.Errorf("big=%d: got %d bytes", size, len(got.body))
			}
		}
	})
}

func TestEventsAndEventBytesSetTheStreamsLength(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	got := dialects[1].ask(t, url, "m", "events=50,event_bytes=40")
	if n := strings.Count(got.body, "text_delta"); n != 50 {
		t.Errorf("got %d text deltas, want 50", n)
	}
	for line := range strings.Lines(got.body) {
		data, ok := strings.CutPrefix(line, "data: ")
		var e struct{ Delta struct{ Text *string } }
		if ok && json.Unmarshal([]byte(data), &e) == nil && e.Delta.Text != nil && len(*e.Delta.Text) != 40 {
			t.Errorf("got a delta of %d bytes, want 40", len(*e.Delta.Text))
		}
	}
}

func TestEmbeddingsInBase64HoldTheSameNumbers(t *testing.T) {
	_, url := serve(t, gatewaytest.ProviderOptions{})
	var floats, packed struct {
		Data []struct{ Embedding json.RawMessage }
	}
	for format, into := range map[string]any{"float": &floats, "base64": &packed} {
		d := dialect{path: "/v1/embeddings", body: `{"model":"m","input":[1,2,3],"dimensions":4,"encoding_format":"` + format + `"}`}
		if got := d.ask(t, url, "m", ""); json.Unmarshal([]byte(got.body), into) != nil {
			t.Fatalf("%s: got %s", format, got.body)
		}
	}
	var numbers []float32
	var text string
	if json.Unmarshal(floats.Data[0].Embedding, &numbers) != nil || json.Unmarshal(packed.Data[0].Embedding, &text) != nil {
		t.Fatalf("got %s and %s", floats.Data[0].Embedding, packed.Data[0].Embedding)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 16 || len(numbers) != 4 {
		t.Fatalf("got %d numbers, %d bytes, %v", len(numbers), len(raw), err)
	}
	if want := float32Bytes(numbers); !bytes.Equal(raw, want) {
		t.Errorf("got % x, want % x", raw, want)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	p, url := serve(t, gatewaytest.ProviderOptions{KeepRequests: 3})
	for i := range 5 {
		dialects[0].ask(t, url, fmt.Sprint("m", i), "")
	}
	all := finished(t, p)
	if len(all) != 3 || all[0].Model != "m2" || all[2].Model != "m4" {
		t.Errorf("got %d requests: %+v", len(all), all)
	}
	if got := len(p.Billed()); got != 5 {
		t.Errorf("got %d models billed, want 5", got)
	}
}

func float32Bytes(v []float32) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, v)
	return b.Bytes()
}
