package hooks_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/hooks"
)

// service is a webhook's other side. It remembers what it was sent.
type service struct {
	*httptest.Server
	mu     sync.Mutex
	got    []map[string]any
	raw    []string
	header []http.Header
}

// newService answers each phase with its text; "" is 204.
func newService(t *testing.T, answers map[string]string) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var v map[string]any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Errorf("got no JSON: %v", err)
		}
		s.mu.Lock()
		s.got, s.raw, s.header = append(s.got, v), append(s.raw, string(b)), append(s.header, r.Header.Clone())
		s.mu.Unlock()
		phase, _ := v["phase"].(string)
		if answers[phase] == "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		io.WriteString(w, answers[phase])
	}))
	t.Cleanup(s.Close)
	return s
}

// webhook is a hook list with a webhook at url and then the router.
func webhook(t *testing.T, url string, params hooks.Map) []gateway.ConfiguredHook {
	t.Helper()
	m := hooks.Map{"url": url}
	for k, v := range params {
		m[k] = v
	}
	return with(t, "webhook", m, "rule_evaluator", "model_router")
}

var allPhases = []any{"pre_call", "pre_api", "response", "post_api", "end"}

func TestWebhookSeesEveryPhaseAndNoCredential_S24(t *testing.T) {
	s := newService(t, nil)
	r := newRig(t, webhook(t, s.URL+"/check?k=querysecret", hooks.Map{"phases": allPhases, "include": []any{"call", "caller", "body"},
		"headers": map[string]any{"Authorization": "Bearer guard"}}))
	body := strings.Replace(prompt, "{", `{ "x_unknown" : 1.50, "metadata":{"user_id":"u1"},`, 1)
	got := r.send(body, "Authorization", "Bearer sk-ant-api03-client-secret-abcd", "Cookie", "c=client-secret", "X-CCProxy-Tags", "env=prod")
	r.drain()
	if got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	var phases []string
	for i, v := range s.got {
		phases = append(phases, v["phase"].(string))
		if strings.Contains(s.raw[i]+fmt.Sprint(s.header[i]), "client-secret") {
			t.Errorf("got a credential in %s", s.raw[i])
		}
		if s.header[i].Get("Authorization") != "Bearer guard" || s.header[i].Get("Traceparent") != "" {
			t.Errorf("got headers %v", s.header[i])
		}
	}
	if want := "pre_call pre_api response post_api end"; strings.Join(phases, " ") != want {
		t.Errorf("got %v, want %s", phases, want)
	}
	if !strings.Contains(s.raw[0], `"body":`+body+"}") {
		t.Errorf("got %s, want the body byte for byte", s.raw[0])
	}
	call, caller := s.got[0]["call"].(map[string]any), s.got[0]["caller"].(map[string]any)
	if call["model"] != model || call["messages"] != 1.0 || caller["user"] != "u1" || caller["tags"].(map[string]any)["env"] != "prod" {
		t.Errorf("got %v %v", call, caller)
	}
	usage := s.got[3]["usage"].(map[string]any)
	if usage["source"] != "provider" || usage["input_tokens"].(float64) <= 0 || s.got[2]["response"].(map[string]any)["status"] != 200.0 {
		t.Errorf("got usage %v", usage)
	}
}

func TestWebhookLeavesOutWhatIsNotIncluded(t *testing.T) {
	s := newService(t, nil)
	newRig(t, webhook(t, s.URL, hooks.Map{"include": []any{"call"}})).send(prompt)
	if s.got[0]["caller"] != nil || s.got[0]["body"] != nil || s.got[0]["call"] == nil {
		t.Errorf("got %v", s.got[0])
	}
}

func TestWebhookCallsHangFromItsSpan(t *testing.T) {
	s := newService(t, nil)
	r := newRig(t, webhook(t, s.URL+"/check?k=querysecret", nil))
	r.send(prompt)
	var hook, post sdktrace.ReadOnlySpan
	hook = r.span("ccproxy.hook")
	for _, span := range r.spans.Ended() {
		if span.Parent().SpanID() == hook.SpanContext().SpanID() {
			post = span
		}
	}
	if post == nil || post.Name() != "POST" || post.SpanKind() != trace.SpanKindClient {
		t.Fatalf("got %v under the hook's span, want POST", post)
	}
	if got := attributes(post)["url.full"].AsString(); strings.Contains(got, "querysecret") {
		t.Errorf("got url.full %s", got)
	}
}

func TestWebhookBlocks(t *testing.T) {
	for _, c := range []struct {
		phase, answer string
		status        int
		message       string
		asked         int // requests the provider got
	}{
		{"pre_call", `{"action":"block"}`, 403, "refused by policy", 0},
		{"pre_call", `{"action":"block","message":"no\nsecrets","status":451,"type":"permission_error"}`, 451, "no secrets", 0},
		{"pre_api", `{"action":"block","message":"not there"}`, 403, "not there", 0},
		{"response", `{"action":"block","message":"not that","status":400}`, 400, "not that", 1},
	} {
		s := newService(t, map[string]string{c.phase: c.answer})
		r := newRig(t, webhook(t, s.URL, hooks.Map{"phases": []any{c.phase}}))
		got := r.send(prompt)
		x := r.last()
		if got.status != c.status || !strings.Contains(got.body, c.message) {
			t.Errorf("%s %s: got %d %s, want %d %s", c.phase, c.answer, got.status, got.body, c.status, c.message)
		}
		if n := len(r.provider.Requests()); n != c.asked {
			t.Errorf("%s: got %d requests at the provider, want %d", c.phase, n, c.asked)
		}
		if x.Outcome != "rejected" || x.Err.Reason != "policy" || x.Err.Origin != "policy" {
			t.Errorf("%s: got outcome %s, %+v", c.phase, x.Outcome, x.Err)
		}
	}
}

func TestWebhookModifies(t *testing.T) {
	replaced := `{"model":"claude-sonnet-5","max_tokens":7,"messages":[{"role":"user","content":"redacted"}],"z":1.0}`
	for _, c := range []struct {
		name, phase, answer string
		body                string // at the provider; "": the client's
		label               string
		header              string // X-Extra at the provider
		response            string // X-Told at the client
	}{
		{"body", "pre_call", `{"action":"modify","body":` + replaced + `}`, replaced, "default", "", ""},
		{"model", "pre_call", `{"action":"modify","model":"claude-haiku-4-5"}`, strings.Replace(prompt, model, "claude-haiku-4-5", 1), "background", "", ""},
		{"body and model", "pre_call", `{"action":"modify","model":"claude-haiku-4-5","body":` + replaced + `}`, strings.Replace(replaced, model, "claude-haiku-4-5", 1), "background", "", ""},
		{"label", "pre_call", `{"action":"modify","label":"think"}`, strings.Replace(prompt, model, "claude-opus-5", 1), "think", "", ""},
		{"headers for all attempts", "pre_call", `{"action":"modify","headers":{"x-extra":"1"},"response_headers":{"X-Told":"2"}}`, "", "default", "1", "2"},
		{"headers of an attempt", "pre_api", `{"action":"modify","headers":{"x-extra":"3"},"response_headers":{"X-Told":"4"}}`, "", "default", "3", "4"},
		{"response headers", "response", `{"action":"modify","response_headers":{"X-Told":"5"}}`, "", "default", "", "5"},
		{"nothing", "pre_call", `{"action":"modify","body":null,"label":null}`, "", "default", "", ""},
	} {
		s := newService(t, map[string]string{c.phase: c.answer})
		r := newRig(t, webhook(t, s.URL, hooks.Map{"phases": []any{c.phase}}))
		got := r.send(prompt)
		if got.status != 200 {
			t.Errorf("%s: got %d %s %s", c.name, got.status, got.body, r.failed.text())
			continue
		}
		want := c.body
		if want == "" {
			want = prompt
		}
		sent := r.sent()
		if string(sent.Body) != want || sent.Header.Get("X-Extra") != c.header {
			t.Errorf("%s: got %s and X-Extra %q, want %s and %q", c.name, sent.Body, sent.Header.Get("X-Extra"), want, c.header)
		}
		if l := got.header.Get("X-CCProxy-Model-Name"); l != c.label || got.header.Get("X-Told") != c.response {
			t.Errorf("%s: got label %q and X-Told %q, want %q and %q", c.name, l, got.header.Get("X-Told"), c.label, c.response)
		}
	}
}

func TestWebhookAnswersAreValidated_H04(t *testing.T) {
	for _, c := range []struct{ answer, want string }{
		{`not json`, "no JSON"},
		{`[]`, "no JSON object"},
		{`{}`, "no action"},
		{`{"action":"allow"}`, "want continue, block or modify"},
		{`{"Action":"continue"}`, "unknown key"},
		{`{"action":"continue","action":"block"}`, "twice"},
		{`{"action":1}`, "action is no text"},
		{`{"action":"continue","label":"think"}`, "and more"},
		{`{"action":"block","status":200}`, "400 to 499"},
		{`{"action":"block","status":"403"}`, "no whole number"},
		{`{"action":"block","type":"oops"}`, "unknown type"},
		{`{"action":"block","label":"x"}`, "holds changes"},
		{`{"action":"modify","message":"x"}`, "holds a refusal"},
		{`{"action":"modify","lable":"think"}`, `did you mean "label"?`},
		{`{"action":"modify","label":"made-up"}`, "not configured"},
		{`{"action":"modify","body":[]}`, "no JSON object"},
		{`{"action":"modify","body":{"model":"m"}}`, "not what the dialect takes"},
		{`{"action":"modify","body":` + strings.Replace(prompt, "{", `{"stream":true,`, 1) + `}`, "streamed"},
		{`{"action":"modify","headers":{"Authorization":"x"}}`, "credential"},
		{`{"action":"modify","headers":{"X-Api-Key":"x"}}`, "credential"},
		{`{"action":"modify","headers":{"Host":"x"}}`, "gateway alone"},
		{`{"action":"modify","headers":{"X-A":"a\r\nX-B: c"}}`, "line breaks"},
		{`{"action":"modify","headers":{"X-A":1}}`, "no text"},
		{`{"action":"modify","response_headers":{"X-CCProxy-Cost":"0"}}`, "gateway's own"},
		{`{"action":"modify","response_headers":{"Content-Length":"0"}}`, "gateway alone"},
		{`{"action":"continue","padding":"` + strings.Repeat("x", 5000) + `"}`, "more than 4096 bytes"},
	} {
		s := newService(t, map[string]string{"pre_call": c.answer})
		r := newRig(t, webhook(t, s.URL, hooks.Map{"max_bytes": 4096}))
		got := r.send(prompt)
		if got.status != 500 || !strings.Contains(r.failed.text(), c.want) || len(r.provider.Requests()) != 0 {
			t.Errorf("%.60s: got %d, %q, want 500 and %q", c.answer, got.status, r.failed.text(), c.want)
		}
	}
}

func TestChangesThatComeTooLateFailTheHook_H04(t *testing.T) {
	for _, c := range []struct{ phase, answer, want string }{
		{"pre_call", `{"action":"modify","label":"think"}`, "before model_router"},
		{"pre_call", `{"action":"modify","body":` + strings.Replace(prompt, model, "claude-haiku-4-5", 1) + `}`, "before model_router"},
		{"pre_api", `{"action":"modify","body":` + prompt + `}`, "pre_call alone"},
		{"response", `{"action":"modify","headers":{"x-a":"b"}}`, "pre_call and pre_api alone"},
	} {
		s := newService(t, map[string]string{c.phase: c.answer})
		r := newRig(t, with(t, "model_router", "webhook", hooks.Map{"url": s.URL, "phases": []any{c.phase}}))
		if got := r.send(prompt); got.status != 500 || !strings.Contains(r.failed.text(), c.want) {
			t.Errorf("%s: got %d, %q, want 500 and %q", c.phase, got.status, r.failed.text(), c.want)
		}
	}
}

// broken are services that fail, each in its own way.
func broken(t *testing.T) map[string]string {
	serve := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	status := func(n int) string { return serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) }) }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := "http://" + l.Addr().String()
	l.Close()
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = quiet()
	tls.StartTLS()
	t.Cleanup(tls.Close)
	target := newService(t, nil)
	return map[string]string{
		"down": down,
		"tls":  tls.URL,
		"400":  status(400),
		"500":  status(500),
		"201":  status(201),
		"redirect": serve(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.URL, http.StatusTemporaryRedirect)
		}),
		"html": serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, `{"action":"continue"}`)
		}),
		"hangs": serve(func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}),
		"slow body": serve(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}),
		"breaks off": serve(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"action":`)
		}),
	}
}

func TestBrokenServicesAreDecidedByPolicy_H02_H05(t *testing.T) {
	for name, url := range broken(t) {
		if h := webhook(t, url+"/?k=querysecret", nil)[0].Hook; strings.Contains(fmt.Sprintf("%v %+v %#v", h, h, h), "querysecret") {
			t.Errorf("got the query in %+v", h)
		}
		for _, deny := range []bool{true, false} {
			list := webhook(t, url+"/?k=querysecret", hooks.Map{"timeout": "100ms"})
			list[0].Deny = deny
			r := newRig(t, list)
			start := time.Now()
			got := r.send(prompt)
			want, action := 200, "failed_open"
			if deny {
				want, action = 500, "blocked"
			}
			if got.status != want || r.failed.action != action {
				t.Errorf("%s, deny %v: got %d %s, want %d %s", name, deny, got.status, r.failed.action, want, action)
			}
			if text := r.failed.text(); text == "" || strings.Contains(text+got.body, "querysecret") {
				t.Errorf("%s: got %q, want an error without the query", name, text)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%s: took %v", name, took)
			}
		}
	}
}

func TestFailuresAfterTheAnswerAreRecordedAndChangeNothing(t *testing.T) {
	for _, answer := range []string{`garbage`, `{"action":"block"}`} {
		s := newService(t, map[string]string{"post_api": answer, "end": answer})
		r := newRig(t, webhook(t, s.URL, hooks.Map{"phases": []any{"post_api", "end"}}))
		if got := r.send(prompt); got.status != 200 {
			t.Errorf("got %d, want 200", got.status)
		}
		r.drain()
		found := 0
		for _, span := range r.spans.Ended() {
			if span.Name() == "ccproxy.hook" && span.Status().Code == codes.Error {
				found++
			}
		}
		if found != 2 {
			t.Errorf("got %d failures on the hook's spans, want 2", found)
		}
	}
}

func TestWebhookURLsAreChecked_S31(t *testing.T) {
	for _, url := range []string{
		"", "guard", "ftp://a.example", "http://a.example", "https://u:p@a.example", "https://a.example/#f", "https://", "mailto:x",
		"https://169.254.169.254/", "https://[fe80::1%25eth0]/", "https://0.0.0.0/", "https://[::]/", "https://224.0.0.1/", "https://[ff02::1]/",
		"https://[::ffff:169.254.169.254]/", "https://[fd00:ec2::254]/", "https://[64:ff9b::7f00:1]/", "http://0x7f000001/", "http://2130706433/", "http://127.1/",
		"https://a.example/%zzquerysecret",
	} {
		_, err := hooks.New("webhook", hooks.Map{"url": url})
		if err == nil || strings.Contains(err.Error(), "querysecret") {
			t.Errorf("%q: got %v, want an error", url, err)
		}
	}
	for _, url := range []string{"https://guard.example/x", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://10.0.0.1"} {
		if _, err := hooks.New("webhook", hooks.Map{"url": url}); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, params := range []hooks.Map{{"timeout": "0s"}, {"max_bytes": 0}, {"phases": []any{}}, {"headers": map[string]any{"Host": "x"}}, {"headers": map[string]any{"X": "a\nb"}}} {
		params["url"] = "https://guard.example"
		if _, err := hooks.New("webhook", params); err == nil {
			t.Errorf("%v: got no error", params)
		}
	}
}

func TestWebhookServesManyAtOnce_H03(t *testing.T) {
	s := newService(t, map[string]string{"pre_call": `{"action":"modify","response_headers":{"X-Told":"1"}}`})
	r := newRig(t, webhook(t, s.URL, hooks.Map{"phases": allPhases}))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 4 {
				if got := r.send(prompt); got.status != 200 || got.header.Get("X-Told") != "1" {
					t.Errorf("got %d %v", got.status, got.header)
				}
			}
		})
	}
	wg.Wait()
}
