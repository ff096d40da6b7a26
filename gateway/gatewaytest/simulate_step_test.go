package gatewaytest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseStep(t *testing.T) {
	tests := map[string]Step{
		"":                                {},
		"status=429, retry_after=2":       {Status: 429, RetryAfter: 2 * time.Second},
		"events=50,event_bytes=40":        {Events: 50, EventBytes: 40},
		"delay=50ms,event_delay=5ms":      {Delay: 50 * time.Millisecond, EventDelay: 5 * time.Millisecond},
		"stall_after=2":                   {Cut: CutStall, CutAfter: 2},
		"reset_after=0":                   {Cut: CutReset},
		"truncate_after=7,gzip,no_usage":  {Cut: CutTruncate, CutAfter: 7, Gzip: true, NoUsage: true},
		"first_event_error":               {Cut: CutError},
		"text=a%2Cb+c,tool,finish=length": {Text: "a,b c", Tool: true, Finish: "length"},
	}
	for text, want := range tests {
		if got, err := ParseStep(text); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"status", "status=200.5", "status=302", "events=-1", "gzip=1", "nonsense", "delay=soon", "finish=later", "text=%zz", "events=67108864,event_bytes=2000"} {
		if got, err := ParseStep(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

func FuzzParseStep(f *testing.F) {
	f.Add("status=429,delay=1s,text=a%2C")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseStep(text); err != nil && s != (Step{}) {
			t.Errorf("got %+v beside the error %v", s, err)
		}
	})
}

// FuzzDecode feeds every decoder; none may panic, and what decodes renders.
func FuzzDecode(f *testing.F) {
	f.Add("/v1/messages", `{"model":"m","max_tokens":1,"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"tool"}]}],"tools":[{"name":"f","input_schema":{"properties":{"a":{"type":["x"]}}}}]}`)
	f.Add("/v1/chat/completions", `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}],"tool_choice":"required"}`)
	f.Add("/v1/responses", `{"model":"m","stream":true,"input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]}],"reasoning":{"effort":"low"}}`)
	f.Add("/v1/embeddings", `{"model":"m","input":[[1,2],[3]],"dimensions":3}`)
	f.Add("/v1beta/models/m:streamGenerateContent", `{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}`)
	f.Add("/v1beta/models/m:batchEmbedContents", `{"requests":[{"content":{"parts":[{"text":"hi"}]}}]}`)
	f.Fuzz(func(t *testing.T, path, body string) {
		if !strings.HasPrefix(path, "/") {
			return
		}
		r := httptest.NewRequest("POST", "/", nil)
		r.URL.Path = path
		to := route(r)
		if to.decode == nil {
			return
		}
		a, err := decode(to, []byte(body))
		if err != nil {
			return
		}
		if out := render(a, Step{}, Usage{Input: a.tokens}); len(out.body) == 0 && len(out.events) == 0 {
			t.Errorf("%s %s: got nothing", path, body)
		}
	})
}

func TestDelaysAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProvider(ProviderOptions{})
		r := httptest.NewRequest("POST", "/v1/messages", strings.NewReader(`{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}`))
		r.Header.Set("X-Simulate", "delay=3s,event_delay=1s,events=4")
		w := httptest.NewRecorder()
		start := time.Now()
		p.ServeHTTP(w, r)
		// start, block start, ping, 4 deltas, block stop, message_delta, stop: 10 events, 9 gaps.
		if got := time.Since(start); got != 12*time.Second {
			t.Errorf("took %v, want 12s", got)
		}
	})
}

func BenchmarkProvider(b *testing.B) {
	for name, step := range map[string]Step{"plain": {Big: 1024}, "stream50": {Events: 50}} {
		b.Run(name, func(b *testing.B) {
			p := NewProvider(ProviderOptions{Default: step})
			stream := "false"
			if step.Events > 0 {
				stream = "true"
			}
			body := `{"model":"m","max_tokens":9,"stream":` + stream + `,"messages":[{"role":"user","content":"` + strings.Repeat("x", 900) + `"}]}`
			for b.Loop() {
				w := &discard{header: http.Header{}}
				p.ServeHTTP(w, httptest.NewRequest("POST", "/v1/messages", strings.NewReader(body)))
			}
		})
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Flush()                      {}
