package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// nothingSent checks that no request reached the provider.
func nothingSent(t *testing.T, r *rig, what string) {
	t.Helper()
	if n := len(r.received()); n != 0 {
		t.Errorf("%s: %d requests reached the provider", what, n)
		r.sim.Reset()
	}
}

// refused checks a refusal: in the client's dialect, no error of ours.
func refused(t *testing.T, r *rig, what string, got answer, status int) {
	t.Helper()
	x, spans := r.exchange()
	if got.status != status || !strings.Contains(got.body, `"error"`) || x.Outcome != names.OutcomeRejected {
		t.Errorf("%s: got %d, %.200s, outcome %s, want %d", what, got.status, got.body, x.Outcome, status)
	}
	if f := spans.failures(); len(f) > 0 {
		t.Errorf("%s: a refusal made errors of %v", what, f)
	}
	if reason := attr(spans.server(), names.KeyRejectionReason).AsString(); reason == "" {
		t.Errorf("%s: SERVER has no rejection reason", what)
	}
	nothingSent(t, r, what)
}

func TestC09BodiesTooLarge(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: limits(func(l *gateway.Limits) { l.Body = 1 << 10 })})
	// Refused by its length alone: nothing of it is sent.
	c := r.dial("POST /v1/messages HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nContent-Length: 10737418240\r\n\r\n")
	defer c.Close()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	refused(t, r, "10 GiB announced", answer{resp.StatusCode, resp.Header, string(b), nil}, 413)

	// Endless chunks are cut, and the connection with them.
	c2 := r.dial("POST /v1/messages HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" +
		strings.Repeat("100\r\n"+strings.Repeat("a", 256)+"\r\n", 5))
	defer c2.Close()
	if resp, err = http.ReadResponse(bufio.NewReader(c2), nil); err != nil {
		t.Fatal(err)
	}
	b, _ = io.ReadAll(resp.Body)
	refused(t, r, "endless chunks", answer{resp.StatusCode, resp.Header, string(b), nil}, 413)
	if !resp.Close {
		t.Error("the connection is kept")
	}
}

func TestC11ExpectIsAnsweredAndNotForwarded(t *testing.T) {
	r := newRig(t, rigConfig{snapshot: limits(func(l *gateway.Limits) { l.Body = 1 << 10 })})
	path, body := apis[0].request("", false)
	head := func(length int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", path, length)
	}
	c := r.dial(head(len(body)))
	defer c.Close()
	br := bufio.NewReader(c)
	if line, err := br.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("got %q, %v", line, err)
	}
	if line, err := br.ReadString('\n'); line != "\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	_, _ = io.WriteString(c, body)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v", resp, err)
	}
	r.exchange()
	if got := r.received()[0].Header["Expect"]; got != nil {
		t.Errorf("sent Expect: %v", got)
	}
	// What is too large is never asked for.
	c2 := r.dial(head(1 << 20))
	defer c2.Close()
	line, err := bufio.NewReader(c2).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 413") {
		t.Errorf("got %q, %v", line, err)
	}
	r.exchange()
}

func TestC12C13C14HeadersThatPlayGames(t *testing.T) {
	r := newRig(t, rigConfig{provider: func(p *gateway.Provider) { p.Keys = []gateway.Secret{"sk-provider-key-1234"} }})
	path, body := apis[0].request("", false)
	c := r.dial("POST " + path + " HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-Api-Key, X-Late\r\n" +
		"Connection: X-Api-Key, Content-Length, X-Hop, close\r\nX-Hop: 1\r\nTE: trailers\r\nKeep-Alive: 9\r\nProxy-Authorization: Basic eDp5\r\nProxy-Connection: x\r\n" +
		"X_Api_Key: forged\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nVia: x\r\nCookie: a=b\r\nUpgrade: h2c\r\nBaggage: a=b\r\n\r\n" +
		fmt.Sprintf("%x\r\n%s\r\n0\r\nX-Api-Key: late\r\nX-Late: 1\r\nX-Undeclared: 1\r\n\r\n", len(body), body))
	defer c.Close()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Fatalf("got %v, %v", resp, err)
	}
	r.exchange()
	sent := r.received()[0]
	if got := sent.Header["X-Api-Key"]; !slices.Equal(got, []string{"sk-provider-key-1234"}) {
		t.Errorf("sent X-Api-Key %v", got)
	}
	if got := sent.Header.Get("Content-Length"); got != strconv.Itoa(len(body)) || string(sent.Body) != body {
		t.Errorf("sent Content-Length %q and %q", got, sent.Body)
	}
	for k := range sent.Header {
		switch k {
		case "X-Api-Key", "Content-Length", "Content-Type", "Accept-Encoding", "User-Agent":
		default:
			t.Errorf("sent %s: %v", k, sent.Header[k])
		}
	}
}

func TestC14ConflictingCredentialsAreRefused(t *testing.T) {
	r := newRig(t, rigConfig{})
	path, body := apis[0].request("", false)
	for name, h := range map[string][]string{
		"two Authorization": {"Authorization", "Bearer aaaaaaaa", "Authorization", "Bearer bbbbbbbb"},
		"two carriers":      {"Authorization", "Bearer aaaaaaaa", "X-Api-Key", "bbbbbbbb"},
		"two gateway keys":  {"Authorization", "Bearer ccp_aaaaaaaa", "X-Api-Key", "ccp_bbbbbbbb"},
	} {
		refused(t, r, name, r.post(path, body, h...), 400)
	}
	if got := r.post(path, body, "Authorization", "Bearer same", "X-Api-Key", "same"); got.status != 200 {
		t.Errorf("equal values: got %d, %s", got.status, got.body)
	}
	r.exchange()
}

func TestC16PathsAndMethodsThatAreNotServed(t *testing.T) {
	r := newRig(t, rigConfig{provider: func(p *gateway.Provider) { p.Passthrough = []string{"/v1/files*"} }})
	for _, c := range []struct {
		line   string
		status int
	}{
		{"TRACE /v1/messages", 405}, {"OPTIONS /v1/messages", 405}, {"GET /v1/messages", 405}, {"PUT /v1/messages", 405}, {"post /v1/messages", 405},
		{"CONNECT evil:443", 404}, {"OPTIONS *", 200} /* net/http's own answer */, {"POST //v1/messages", 404}, {"POST /v1//messages", 404}, {"POST /v1/x/../messages", 404},
		{"POST /v1/messages/", 404}, {"POST /V1/messages", 404}, {"POST /v1/messages;a=b", 404}, {"POST /v1/%2e%2e/v1/messages", 404},
		{"POST /v1/files/../messages", 404}, {"POST /v1/files/%2e%2e/messages", 404}, {"POST /v1/files//x", 404},
		{"POST /", 404}, {"POST /admin", 404}, {"GET /metrics", 404}, {"GET /debug/pprof/", 404}, {"POST /v1beta/models/x:unknownAction", 404},
	} {
		conn := r.dial(c.line + " HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			conn.Close()
			continue
		}
		if resp.StatusCode != c.status {
			t.Errorf("%s: got %d, want %d", c.line, resp.StatusCode, c.status)
		}
		if c.status == 405 && resp.Header.Get("Allow") != "POST" {
			t.Errorf("%s: got Allow %q", c.line, resp.Header.Get("Allow"))
		}
		conn.Close()
		nothingSent(t, r, c.line)
	}
}

func TestC17HeadGetAndOptions(t *testing.T) {
	r := newRig(t, rigConfig{})
	for _, c := range []struct {
		method, path string
		status       int
	}{{"HEAD", "/v1/models", 200}, {"GET", "/v1/models", 200}, {"HEAD", "/api/hello", 200}, {"HEAD", "/", 200}, {"GET", "/", 404}, {"OPTIONS", "/v1/models", 405}, {"HEAD", "/v1/messages", 405}, {"DELETE", "/v1/chat/completions", 405}} {
		got := r.do(c.method, c.path, "")
		r.exchange()
		if got.status != c.status || c.method == "HEAD" && got.body != "" {
			t.Errorf("%s %s: got %d, %q, want %d", c.method, c.path, got.status, got.body, c.status)
		}
	}
	nothingSent(t, r, "models and refusals")
}

func TestC18UpgradesAreRefused(t *testing.T) {
	r := newRig(t, rigConfig{})
	got := r.do("GET", "/v1/responses", "", "Upgrade", "websocket", "Connection", "Upgrade", "Sec-Websocket-Key", "x", "Sec-Websocket-Version", "13")
	refused(t, r, "WebSocket", got, 426)
	path, body := apis[0].request("", false)
	if got := r.post(path, body, "Upgrade", "h2c", "Connection", "Upgrade, HTTP2-Settings", "HTTP2-Settings", "AAMAAABkAAQ"); got.status != 200 {
		t.Errorf("h2c: got %d", got.status)
	}
	r.exchange()
	if h := r.received()[0].Header; h["Upgrade"] != nil || h["Http2-Settings"] != nil {
		t.Errorf("sent %v", h)
	}
}

func TestC21C22C23C24BodiesThatAreRefused(t *testing.T) {
	deep := strings.Repeat("[", 1_000_000)
	members := new(strings.Builder)
	members.WriteString(`{"model":"x","a":{"0":0`)
	for i := 1; i <= 100_001; i++ {
		fmt.Fprintf(members, `,"%d":0`, i)
	}
	members.WriteString("}}")
	r := newRig(t, rigConfig{})
	for name, body := range map[string]string{
		"empty": " ", "text": "hello", "array": "[]", "null": "null", "number": "1", "open": `{"model":"x"`, "trailing": `{"model":"x"} {}`,
		"comma": `{"model":"x",}`, "BOM": "\ufeff{}", "NUL": "{\"model\":\"x\x00\"}", "comment": `{"model":"x"/**/}`, "single quotes": `{'model':'x'}`, "NaN": `{"model":"x","temperature":NaN}`,
		"C-22 invalid UTF-8": "{\"model\":\"x\",\"messages\":\"\xff\"}", "C-22 overlong": "{\"model\":\"x\",\"messages\":\"\xc0\xaf\"}",
		"C-22 lone surrogate": `{"model":"x","messages":"\ud800"}`, "C-22 surrogate in UTF-8": "{\"model\":\"x\",\"m\":\"\xed\xa0\x80\"}",
		"C-23 depth": deep, "C-23 depth in a member": `{"model":"x","a":` + strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 201), "C-23 members": members.String(),
		"C-24 model twice": `{"model":"x","model":"y"}`, "C-24 twice, escaped": `{"model":"x","mod\u0065l":"y"}`, "C-24 stream twice": `{"model":"x","stream":true,"stream":false}`,
	} {
		for _, a := range apis {
			if strings.HasPrefix(name, "C-24") && a.family() == "gemini" {
				continue // its model and stream flag stand in the path
			}
			path, _ := a.request("", false)
			refused(t, r, name+" to "+a.name, r.post(path, body), 400)
		}
	}
}

func TestC23C24BodiesThatPass(t *testing.T) {
	r := newRig(t, rigConfig{})
	const rest = `"max_tokens":9,"messages":[{"role":"user","content":"hello"}]`
	for name, body := range map[string]string{
		"case variant":  `{"Model":"evil","MODEL":"evil","ſtream":true,"model":"claude-sonnet-5","stream":false,` + rest + `}`,
		"huge number":   `{"model":"claude-sonnet-5","x":1e400,"y":-0.0e-99999,` + rest + `}`,
		"long string":   `{"model":"claude-sonnet-5","x":"` + strings.Repeat("a", 10<<20) + `",` + rest + `}`,
		"escaped slash": `{"model":"claude\u002dsonnet-5","x":"\/\ud83d\ude00",` + rest + `}`,
	} {
		r.sim.Reset()
		got := r.post("/v1/messages", body)
		x, _ := r.exchange()
		if got.status != 200 || x.Call.Model != "claude-sonnet-5" || x.Call.Stream {
			t.Errorf("%s: got %d, model %q, %.200s", name, got.status, x.Call.Model, got.body)
			continue
		}
		if sent := r.received()[0]; string(sent.Body) != body {
			t.Errorf("%s: sent another body", name)
		}
	}
}

func gzipped(s string) string {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	_, _ = io.WriteString(zw, s) // a buffer takes all
	_ = zw.Close()
	return b.String()
}

func TestC25EncodedRequests(t *testing.T) {
	r := newRig(t, rigConfig{})
	path, body := apis[0].request("", false)
	if got := r.post(path, gzipped(body), "Content-Encoding", "gzip"); got.status != 200 {
		t.Fatalf("got %d, %s", got.status, got.body)
	}
	r.exchange()
	if sent := r.received()[0]; string(sent.Body) != body || sent.Header.Get("Content-Encoding") != "" {
		t.Errorf("sent %q, %v", sent.Body, sent.Header)
	}
	r.sim.Reset()
	crc := []byte(gzipped(body))
	crc[len(crc)-5] ^= 1
	for name, c := range map[string]struct {
		encoding, body string
		status         int
	}{
		"br": {"br", "x", 415}, "zstd": {"zstd", "x", 415}, "twice": {"gzip, gzip", gzipped(gzipped(body)), 415},
		"no gzip": {"gzip", body, 400}, "wrong CRC": {"gzip", string(crc), 400}, "cut": {"gzip", gzipped(body)[:40], 400},
		"gzip in gzip": {"gzip", gzipped(gzipped(body)), 400}, "bomb": {"gzip", gzipped(strings.Repeat(" ", 64<<20)), 413},
	} {
		refused(t, r, name, r.post(path, c.body, "Content-Encoding", c.encoding), c.status)
	}
}

func TestC27ContentTypes(t *testing.T) {
	r := newRig(t, rigConfig{})
	for _, a := range apis {
		path, body := a.request("", false)
		for _, ct := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "a/b/c"} {
			req := r.request(t.Context(), "POST", path, body)
			req.Header.Set("Content-Type", ct)
			resp, err := r.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			refused(t, r, a.name+" as "+ct, answer{resp.StatusCode, resp.Header, string(b), nil}, 415)
		}
	}
	path, body := apis[0].request("", false)
	for _, ct := range []string{"application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"} {
		req := r.request(t.Context(), "POST", path, body)
		req.Header.Set("Content-Type", ct)
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: got %d", ct, resp.StatusCode)
		}
		r.exchange()
	}
}

// TestC10C15C19RawRequests documents what net/http makes of ambiguous requests,
// and shows that none of it reaches the provider as it came: upstream framing is
// always the gateway's own.
func TestC10C15C19RawRequests(t *testing.T) {
	path, body := apis[0].request("", false)
	const (
		smuggled = "POST /v1/messages HTTP/1.1\r\nHost: gw\r\nX-Smuggled: 1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
		start    = "Host: gw\r\nContent-Type: application/json\r\n"
	)
	post := "POST " + path + " HTTP/1.1\r\n"
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	for name, c := range map[string]struct {
		raw    string
		status int  // of the first answer; 0: none, the connection is closed
		closes bool // the connection is not reused
		sent   int  // requests that reach the provider
	}{
		// net/http refuses these.
		"differing lengths":          {post + start + "Content-Length: 1\r\n" + length + "\r\n" + body, 400, true, 0},
		"list of lengths":            {post + start + "Content-Length: 5, 5\r\n\r\n" + body, 400, true, 0},
		"signed length":              {post + start + "Content-Length: +5\r\n\r\n" + body, 400, true, 0},
		"hex length":                 {post + start + "Content-Length: 0x5\r\n\r\n" + body, 400, true, 0},
		"space before the colon":     {post + start + "Transfer-Encoding : chunked\r\n\r\n" + chunked, 400, true, 0},
		"unknown transfer encoding":  {post + start + "Transfer-Encoding: xchunked\r\n\r\n" + chunked, 501, true, 0},
		"two transfer encodings":     {post + start + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked, 501, true, 0},
		"NUL in a header":            {post + start + "X-A: a\x00b\r\n" + length + "\r\n" + body, 400, true, 0},
		"CR in a header":             {post + start + "X-A: a\rb\r\n" + length + "\r\n" + body, 400, true, 0},
		"no Host":                    {post + "Content-Type: application/json\r\n" + length + "\r\n" + body, 400, true, 0},
		"two Hosts":                  {post + "Host: a\r\n" + start + length + "\r\n" + body, 400, true, 0},
		"HTTP/0.9":                   {"POST /v1/messages\r\n\r\n", 400, true, 0},
		"HTTP/2.0 in plain text":     {"POST " + path + " HTTP/2.0\r\n" + start + length + "\r\n" + body, 505, true, 0},
		"C-15 header beyond the cap": {post + start + "X-A: " + strings.Repeat("a", 80<<10) + "\r\n" + length + "\r\n" + body, 431, true, 0},
		"C-15 many headers":          {post + start + strings.Repeat("X-A: a\r\n", 20_000) + length + "\r\n" + body, 431, true, 0},
		// The gateway refuses these: the body does not come to its end.
		"bad chunk size":      {post + start + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + chunked, 400, true, 0},
		"bare LF chunk size":  {post + start + "Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n", 400, true, 0},
		"smuggled in a chunk": {post + start + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, true, 0},
		// net/http accepts these; what goes on is whole and framed anew.
		"length and chunks":       {post + start + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked + smuggled, 200, true, 1},
		"chunk extensions":        {post + start + "Transfer-Encoding: chunked\r\n\r\n" + strings.Replace(chunked, "\r\n", ";a=b\r\n", 1), 200, true, 1},
		"bare LF":                 {strings.ReplaceAll(post+start+length+"Connection: close\r\n\r\n", "\r\n", "\n") + body, 200, true, 1},
		"folded header":           {post + start + "X-A: a\r\n b\r\n" + length + "Connection: close\r\n\r\n" + body, 200, true, 1},
		"equal lengths":           {post + start + length + length + "Connection: close\r\n\r\n" + body, 200, true, 1},
		"absolute URI":            {"POST http://evil.example" + path + " HTTP/1.1\r\n" + start + length + "Connection: close\r\n\r\n" + body, 200, true, 1},
		"C-19 HTTP/1.0":           {"POST " + path + " HTTP/1.0\r\n" + start + length + "\r\n" + body, 200, true, 1},
		"C-19 HTTP/1.0, no Host":  {"POST " + path + " HTTP/1.0\r\nContent-Type: application/json\r\n" + length + "\r\n" + body, 200, true, 1},
		"C-19 two in one segment": {strings.Repeat(post+start+length+"\r\n"+body, 2), 200, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{server: func(s *httptest.Server) { s.Config.MaxHeaderBytes = 64 << 10 }})
			conn := r.dial(c.raw)
			defer conn.Close()
			br := bufio.NewReader(conn)
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("got no answer: %v", err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != c.status || resp.Close != c.closes {
				t.Errorf("got %d, close %v, want %d, %v", resp.StatusCode, resp.Close, c.status, c.closes)
			}
			if !c.closes {
				if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 200 {
					t.Errorf("second answer: got %v, %v", resp, err)
				}
			} else if rest, _ := io.ReadAll(br); len(rest) > 0 { // a reset is an end as well
				t.Errorf("got a second answer: %q", rest)
			}
			all := r.received()
			if len(all) != c.sent {
				t.Fatalf("%d requests reached the provider, want %d", len(all), c.sent)
			}
			for _, q := range all {
				if string(q.Body) != body || q.Header.Get("Content-Length") != strconv.Itoa(len(body)) || q.Header["Transfer-Encoding"] != nil || q.Header["X-Smuggled"] != nil {
					t.Errorf("sent %q with %v", q.Body, q.Header)
				}
				if host := strings.TrimPrefix(r.upstream, "http://"); q.Host != host {
					t.Errorf("sent to Host %q, want %q", q.Host, host)
				}
			}
		})
	}
}

func TestModelListHasTheShapeOfTheClientsVendor(t *testing.T) {
	r := newRig(t, rigConfig{models: map[string]route.Model{"smart": {Targets: []route.WeightedTarget{{Target: "gemini/gemini-3.5-pro"}}}}})
	for _, c := range []struct {
		path   string
		header []string
		want   string
	}{
		{"/v1/models", nil, `{"object":"list","data":[{"id":"smart"`},
		{"/models", nil, `{"object":"list","data":[{"id":"smart"`},
		{"/v1/models?limit=1000", []string{"Anthropic-Version", "2023-06-01"}, `{"data":[{"type":"model","id":"smart"`},
		{"/v1beta/models", nil, `{"models":[{"name":"models/smart"`},
		{"/v1alpha/models", nil, `{"models":[{"name":"models/smart"`},
		{"/v1/models", []string{"X-Goog-Api-Key", "k"}, `{"models":[{"name":"models/smart"`},
		{"/v1/models/smart", nil, `{"id":"smart","object":"model"`},
		{"/v1/models/smart", []string{"Anthropic-Version", "2023-06-01"}, `{"type":"model","id":"smart"`},
		{"/v1beta/models/smart", nil, `{"name":"models/smart"`},
		{"/v1/models", []string{"Authorization", "Bearer t", "X-Goog-Api-Client", "google-genai-sdk/3.6.1"}, `{"models":[{"name":"models/smart"`},
	} {
		got := r.do("GET", c.path, "", c.header...)
		r.exchange()
		if got.status != 200 || !strings.HasPrefix(got.body, c.want) {
			t.Errorf("%s %v: got %d, %s, want %s…", c.path, c.header, got.status, got.body, c.want)
		}
	}
	if got := r.do("GET", "/v1/models/other", "", "X-Goog-Api-Key", "k"); got.status != 404 || !strings.HasPrefix(got.body, `{"error":{"code":404`) {
		t.Errorf("unknown model: got %d, %s, want Gemini's error", got.status, got.body)
	}
	r.exchange()
}
