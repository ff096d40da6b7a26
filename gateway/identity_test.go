package gateway_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// recording is a stream as a provider sent it once.
type recording struct {
	name, path, request, contentType string
	body                             []byte
}

func recordings(t *testing.T) []recording {
	t.Helper()
	var out []recording
	for _, family := range []string{"anthropic", "openai", "gemini"} {
		files, err := filepath.Glob(filepath.Join(family, "testdata", "*.*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no recordings of %s: %v", family, err)
		}
		for _, f := range files {
			base := filepath.Base(f)
			if base == "text.json" {
				continue // no stream
			}
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			rec := recording{name: family + "/" + base, contentType: "text/event-stream; charset=utf-8", body: b}
			a := api{family + ".messages"}
			switch {
			case strings.HasPrefix(base, "chat_"):
				a = api{"openai.chat"}
			case strings.HasPrefix(base, "responses_"):
				a = api{"openai.responses"}
			case family == "gemini":
				a = api{"gemini.generate_content"}
			}
			rec.path, rec.request = a.request("", true)
			if base == "completions.sse" {
				rec.path, rec.request = "/v1/completions", `{"model":"gpt-5.5","prompt":"hello","stream":true,"stream_options":{"include_usage":true}}`
			}
			if strings.HasSuffix(base, ".array.json") {
				rec.path, rec.contentType = strings.TrimSuffix(rec.path, "?alt=sse"), "application/json"
			}
			out = append(out, rec)
		}
	}
	return out
}

// play answers with a body, so many bytes at a time; 0: all at once.
func play(body []byte, contentType string, chunk *int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		rc := http.NewResponseController(w)
		n := *chunk
		if n == 0 {
			n = len(body)
		}
		for b := body; len(b) > 0; b = b[min(n, len(b)):] {
			_, _ = w.Write(b[:min(n, len(b))])
			_ = rc.Flush()
		}
	})
}

func TestStreamsAreRelayedByteForByte(t *testing.T) {
	for _, rec := range recordings(t) {
		t.Run(rec.name, func(t *testing.T) {
			var chunk int
			r := newRig(t, rigConfig{upstream: play(rec.body, rec.contentType, &chunk)})
			for _, chunk = range []int{1, 7, 64, 0} {
				got := r.post(rec.path, rec.request)
				x, _ := r.exchange()
				if got.status != 200 {
					t.Fatalf("chunks of %d: got status %d, %s", chunk, got.status, got.body)
				}
				want, cut := string(rec.body), strings.Contains(rec.name, "cut.")
				if cut { // half an event is held back
					want = want[:strings.LastIndex(want, "\n\n")+2]
				}
				if !strings.HasPrefix(got.body, want) || !cut && len(got.body) != len(want) {
					t.Fatalf("chunks of %d: got\n%s\nwant\n%s", chunk, got.body, want)
				}
				if cut != (x.Outcome == names.OutcomeTruncated) || cut != (got.err != nil) {
					t.Errorf("chunks of %d: got outcome %s and error %v", chunk, x.Outcome, got.err)
				}
				if cut && len(got.body) == len(want) {
					t.Errorf("chunks of %d: the client was not told that the stream is cut", chunk)
				}
				if ct := got.header.Get("Content-Type"); ct != rec.contentType {
					t.Errorf("got Content-Type %q, want %q", ct, rec.contentType)
				}
			}
		})
	}
}

// plainBodies are calls of every path that answers plainly.
var plainBodies = map[string]string{
	"/v1/messages":                                          `{"model":"claude-sonnet-5","max_tokens":99,"messages":[{"role":"user","content":"hello"}]}`,
	"/v1/messages/count_tokens":                             `{"model":"claude-sonnet-5","messages":[{"role":"user","content":"hello"}]}`,
	"/v1/chat/completions":                                  `{"model":"gpt-5.5","messages":[{"role":"user","content":"hello"}]}`,
	"/v1/completions":                                       `{"model":"gpt-5.5","prompt":"hello"}`,
	"/v1/responses":                                         `{"model":"gpt-5.5","input":"hello"}`,
	"/v1/responses/input_tokens":                            `{"model":"gpt-5.5","input":"hello"}`,
	"/v1/embeddings":                                        `{"model":"text-embedding-3-small","input":["a","b"]}`,
	"/v1beta/models/gemini-3.5-pro:generateContent":         `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`,
	"/v1beta/models/gemini-3.5-pro:countTokens":             `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`,
	"/v1beta/models/gemini-embedding-2:batchEmbedContents":  `{"requests":[{"model":"models/gemini-embedding-2","content":{"parts":[{"text":"hello"}]}}]}`,
	"/v1beta/models/gemini-embedding-2:embedContent":        `{"content":{"parts":[{"text":"hello"}]}}`,
	"/v1beta/models/gemini-3.5-pro:streamGenerateContent":   `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`,
	"/v1beta/models/gemini-3.5-pro:generateContent?alt=sse": `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`,
}

func TestPlainBodiesAreRelayedByteForByte(t *testing.T) {
	r := newRig(t, rigConfig{sim: gatewaytest.ProviderOptions{Record: true}})
	for path, body := range plainBodies {
		for _, chunk := range []int{1, 7, 64, 0} {
			r.sim.Reset()
			got := r.post(path, body, "X-Simulate", fmt.Sprintf("chunk=%d", chunk))
			r.exchange()
			r.wait("the request is over", func(all []gatewaytest.Request) bool { return len(all) == 1 && !all[0].End.IsZero() })
			sent := r.received()[0]
			if got.status != 200 || got.err != nil || got.body != string(sent.Sent) || got.body == "" {
				t.Errorf("%s in chunks of %d: got %d, %v, %q, want %q", path, chunk, got.status, got.err, got.body, sent.Sent)
			}
			if string(sent.Body) != body {
				t.Errorf("%s: sent %s, want %s", path, sent.Body, body)
			}
		}
	}
}

// Oddities that a decoder would normalise away.
const oddRequest = " {\t\"z\" : 1e0,\"model\" : \"smart\\u002dmodel\" ,\r\n \"max_tokens\":100, \"messages\":[ {\"role\":\"user\",\"content\":\"h\\u00e9 \\/ <&> \\ud83d\\ude00 é\"}], \"unknown\":{\"b\":[1,2.50,-0],\"a\":null}, \"stream\":%v }\n "

func TestRewritingRouteChangesTheModelAlone(t *testing.T) {
	r := newRig(t, rigConfig{models: map[string]route.Model{"smart-model": {Targets: []route.WeightedTarget{{Target: "anthropic/claude \"x\""}}}}})
	for _, stream := range []bool{false, true} {
		r.sim.Reset()
		body := fmt.Sprintf(oddRequest, stream)
		if got := r.post("/v1/messages", body); got.status != 200 {
			t.Fatalf("got %d, %s", got.status, got.body)
		}
		x, spans := r.exchange()
		want := strings.Replace(body, `"smart\u002dmodel"`, `"claude \"x\""`, 1)
		if got := string(r.received()[0].Body); got != want {
			t.Errorf("sent\n%q, want\n%q", got, want)
		}
		if x.Call.Model != "smart-model" || len(spans.named(`chat claude "x"`)) != 1 {
			t.Errorf("got model %q, spans %v", x.Call.Model, describe(spans))
		}
	}
}

func TestRewritingRouteChangesTheModelInThePath(t *testing.T) {
	r := newRig(t, rigConfig{models: map[string]route.Model{"smart": {Targets: []route.WeightedTarget{{Target: "gemini/gemini-3.5-flash"}}}}})
	_, body := api{"gemini.generate_content"}.request("", false)
	if got := r.post("/v1beta/models/smart:generateContent?key=abcdefgh1234&x=1&alt=json", body); got.status != 200 {
		t.Fatalf("got %d, %s", got.status, got.body)
	}
	r.exchange()
	sent := r.received()[0]
	if sent.Path != "/v1beta/models/gemini-3.5-flash:generateContent" || sent.Query != "x=1&alt=json" || string(sent.Body) != body {
		t.Errorf("got %s?%s %s", sent.Path, sent.Query, sent.Body)
	}
}

func TestQueryAndUnknownHeadersReachTheProvider(t *testing.T) {
	r := newRig(t, rigConfig{})
	path, body := apis[0].request("", false)
	r.post(path+"?beta=true&a=%2F", body, "Anthropic-Beta", "one", "Anthropic-Beta", "two", "X-Unknown", "kept")
	r.exchange()
	sent := r.received()[0]
	if sent.Query != "beta=true&a=%2F" || sent.Header.Get("X-Unknown") != "kept" || len(sent.Header["Anthropic-Beta"]) != 2 {
		t.Errorf("got query %q, headers %v", sent.Query, sent.Header)
	}
}

func TestUsageIsAskedForAndHidden(t *testing.T) {
	r := newRig(t, rigConfig{sim: gatewaytest.ProviderOptions{Record: true}})
	body := `{"model":"gpt-5.5","stream":true,"messages":[{"role":"user","content":"hello"}]}`
	got := r.post("/v1/chat/completions", body)
	x, _ := r.exchange()
	sent := r.received()[0]
	var asked struct {
		Options struct {
			Include bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	if err := json.Unmarshal(sent.Body, &asked); err != nil || !asked.Options.Include {
		t.Fatalf("sent %s, %v", sent.Body, err)
	}
	var kept []byte
	hidden := 0
	for event := range bytes.SplitAfterSeq(sent.Sent, []byte("\n\n")) {
		if bytes.Contains(event, []byte(`"choices":[]`)) {
			hidden++
			continue
		}
		kept = append(kept, event...)
	}
	if hidden != 1 || got.body != string(kept) || got.err != nil {
		t.Errorf("got %s, %v, want all but the usage chunk of %s", got.body, got.err, sent.Sent)
	}
	if u := x.Final().Result.Usage; u.Source != names.UsageSourceProvider || u.Output == 0 {
		t.Errorf("got usage %+v", u)
	}
}

func TestMalformedStreamsAreRelayedByteForByte(t *testing.T) {
	const end = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	for name, body := range map[string]string{
		"comments":         ": hi\n\n:\n\n" + end,
		"CR":               strings.ReplaceAll("data: {\"type\":\"ping\"}\n\n"+end, "\n", "\r"),
		"CRLF":             strings.ReplaceAll("data: {\"type\":\"ping\"}\n\n"+end, "\n", "\r\n"),
		"BOM":              "\ufeffdata: {\"type\":\"ping\"}\n\n" + end,
		"no colon":         "data\n\ndata:\n\n" + end,
		"several lines":    "data: {\"type\":\ndata: \"ping\"}\n\n" + end,
		"unknown events":   "event: novelty\nid: 7\nretry: 9\nx: y\ndata: [1\n\n" + end,
		"blank lines":      strings.Repeat("\n", 10_000) + end,
		"broken UTF-8":     "data: \xff\xfe\xed\xa0\x80\n\n" + end,
		"split code point": "data: {\"type\":\"ping\",\"x\":\"é😀\"}\n\n" + end,
		"NUL":              "data: \x00\n\n" + end,
	} {
		t.Run("U-09 "+name, func(t *testing.T) {
			var chunk int
			r := newRig(t, rigConfig{upstream: play([]byte(body), "text/event-stream", &chunk)})
			for _, chunk = range []int{1, 0} {
				if chunk == 1 && len(body) > 5000 {
					continue
				}
				got := r.ask(apis[0], true, "")
				if got.body != body || got.err != nil {
					t.Errorf("chunks of %d: got %.200q, %v", chunk, got.body, got.err)
				}
				r.exchange()
			}
		})
	}
}

func TestHalfAnEventDoesNotSpoilTheErrorThatFollows(t *testing.T) {
	whole := "event: ping\ndata: {\"type\":\"ping\"}\n\n"
	for _, half := range []string{"event: content_block_delta\ndata: {\"type\":\"con", "data: {}\n", ": comm"} {
		var chunk int
		r := newRig(t, rigConfig{upstream: play([]byte(whole+half), "text/event-stream", &chunk)})
		got := r.ask(apis[0], true, "")
		if !strings.HasPrefix(got.body, whole+"event: error\ndata: {\"type\":\"error\"") || got.err == nil {
			t.Errorf("after %q: got %q, %v", half, got.body, got.err)
		}
		r.exchange()
	}
}

func TestAnswerThatIsHalfAnEventIsAFailedAttempt(t *testing.T) {
	var chunk int
	r := newRig(t, rigConfig{upstream: play([]byte("data: {\"type\":\"mess"), "text/event-stream", &chunk)})
	if got := r.ask(apis[0], true, ""); got.status != 502 || got.err != nil {
		t.Errorf("got %d, %q, %v", got.status, got.body, got.err)
	}
	r.exchange()
}

func TestBrokenStreamIsNoCleanEnd(t *testing.T) {
	for _, a := range apis {
		r := newRig(t, rigConfig{})
		if got := r.ask(a, true, "truncate_after=2"); !errors.Is(got.err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v, want %v", a.name, got.err, io.ErrUnexpectedEOF)
		}
		r.exchange()
	}
}
