package price

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/gemini"
	"github.com/ccproxy/ccproxy/gateway/openai"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// call decodes a request and makes an attempt of it at a provider of the dialect's family.
func call(t testing.TB, d gateway.Dialect, path, body string) *gateway.Attempt {
	t.Helper()
	p := provider(d.Family(), d.Family())
	p.Family = d.Family()
	x := &gateway.Exchange{Dialect: d, Request: httptest.NewRequest("POST", path, nil), Body: []byte(body), Snapshot: &gateway.Snapshot{Router: home{p}}}
	var err error
	if x.Call, err = d.Decode(x.Request, x.Body); err != nil {
		t.Fatalf("%.100s: %v", body, err)
	}
	return &gateway.Attempt{Exchange: x, Target: gateway.Target{Provider: p, Model: x.Call.Model}, Body: x.Body}
}

func messages(t testing.TB, body string) *gateway.Attempt {
	return call(t, anthropic.Messages(), "/v1/messages", body)
}
func chat(t testing.TB, body string) *gateway.Attempt {
	return call(t, openai.Chat(), "/v1/chat/completions", body)
}
func responses(t testing.TB, body string) *gateway.Attempt {
	return call(t, openai.Responses(), "/v1/responses", body)
}
func generate(t testing.TB, model, body string) *gateway.Attempt {
	return call(t, gemini.GenerateContent(), "/v1beta/models/"+model+":streamGenerateContent", body)
}

// padded returns body with blanks behind it, n bytes in all.
func padded(body string, n int) string { return body + strings.Repeat(" ", n-len(body)) }

// totalOf is the whole bound of an attempt.
func totalOf(p *Pricer, a *gateway.Attempt) gateway.NanoUSD {
	b := p.Bound(a)
	return b.Total()
}

// boundBook has prices that are easy to follow: a class, a tier and a threshold each have another one.
const boundBook = `version 1
anthropic/m context=100000 max_output=5000 input=1 cache_read=0.1 cache_write=2 cache_write_1h=3 output=10 web_search=0.01 >1000:input=4 >1000:cache_read=0.4 >1000:cache_write=5 >1000:cache_write_1h=6 >1000:output=40 fast*3/1 geo:us*2/1
anthropic/plain context=1000 max_output=100 input=1 output=2
anthropic/long context=1000 max_output=100 input=1 output=2 >1000:input=3
anthropic/claude-fable-x input=1 output=2
openai/m context=10000 max_output=500 input=1 cache_read=0.1 output=10 reasoning=20 audio_in=5 audio_out=50 image_in=3 image_out=30 web_search=0.02 priority*2/1 flex*1/2
openai/gpt-5-x context=10000 max_output=500 input=1 output=10
openai/w input=1 cache_write=2 cache_write_1h=7 output=1
openai/e context=100 input=1 output=0
gemini/gemini-2.5-x context=10000 max_output=500 input=1 cache_write=9 output=10 audio_in=3 web_search=0.035/request
gemini/gemini-2.0-x context=10000 max_output=500 input=1 output=10 priority:input=2 priority:output=30
family anthropic/fam*
anthropic/family-a context=50 max_output=10 input=1 output=2
`

func boundPricer(t testing.TB, edit func(*Config), providers ...*gateway.Provider) *Pricer {
	t.Helper()
	cfg := Config{Book: parse(t, boundBook), Providers: providers}
	if edit != nil {
		edit(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBoundsAreWorkedOutAsTheRulesSay(t *testing.T) {
	const (
		text  = `"messages":[{"role":"user","content":"hi"}]`
		tools = `"tools":[{"type":"web_search_20250305","name":"web_search"`
	)
	image := `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]`
	for name, c := range map[string]struct {
		a                    *gateway.Attempt
		edit                 func(*Config)
		input, output, tools gateway.NanoUSD
		tokens, rate         int64
	}{
		// 200 bytes are 100 tokens at most; 1 $/M is 1,000 nano-dollars a token.
		"plain":                          {messages(t, padded(`{"model":"m","max_tokens":10,`+text+`}`, 200)), nil, 100 * 1000, 10 * 10_000, 0, 10, 10e6},
		"cached":                         {messages(t, padded(`{"model":"m","max_tokens":10,"cache_control":{"type":"ephemeral"},`+text+`}`, 200)), nil, 100 * 2000, 10 * 10_000, 0, 10, 10e6},
		"cached for an hour":             {messages(t, padded(`{"model":"m","max_tokens":10,"cache_control":{"type":"ephemeral","ttl":"1h"},`+text+`}`, 200)), nil, 100 * 3000, 10 * 10_000, 0, 10, 10e6},
		"cached, in disguise":            {messages(t, padded(`{"model":"m","max_tokens":10,"cache\u005fcontrol":{"type":"ephemeral","ttl":"\u0031h"},`+text+`}`, 200)), nil, 100 * 3000, 10 * 10_000, 0, 10, 10e6},
		"an escape in the text":          {messages(t, padded(`{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"\\u0041 \u001b \u003c"}]}`, 200)), nil, 100 * 1000, 10 * 10_000, 0, 10, 10e6},
		"long":                           {messages(t, padded(`{"model":"m","max_tokens":10,`+text+`}`, 2002)), nil, 1001 * 4000, 10 * 40_000, 0, 10, 40e6},
		"just not long":                  {messages(t, padded(`{"model":"m","max_tokens":10,`+text+`}`, 2000)), nil, 1000 * 1000, 10 * 10_000, 0, 10, 10e6},
		"longer than the window":         {messages(t, padded(`{"model":"plain","max_tokens":10,`+text+`}`, 9000)), nil, 1000 * 1000, 10 * 2000, 0, 10, 2e6},
		"a window longer than is said":   {messages(t, padded(`{"model":"long","max_tokens":10,`+text+`}`, 9000)), nil, 4500 * 3000, 10 * 2000, 0, 10, 2e6},
		"fast":                           {messages(t, padded(`{"model":"m","max_tokens":10,"speed":"fast",`+text+`}`, 200)), nil, 100 * 3000, 10 * 30_000, 0, 10, 30e6},
		"in the US":                      {messages(t, padded(`{"model":"m","max_tokens":10,"inference_geo":"us",`+text+`}`, 200)), nil, 100 * 2000, 10 * 20_000, 0, 10, 20e6},
		"fast in the US":                 {messages(t, padded(`{"model":"m","max_tokens":10,"speed":"fast","inference_geo":"us",`+text+`}`, 200)), nil, 100 * 6000, 10 * 60_000, 0, 10, 60e6},
		"with tools":                     {messages(t, padded(`{"model":"m","max_tokens":10,"tools":[{"name":"f"}],`+text+`}`, 200)), nil, (100 + 512) * 1000, 10 * 10_000, 0, 10, 10e6},
		"with three searches":            {messages(t, padded(`{"model":"m","max_tokens":10,`+tools+`,"max_uses":3}],`+text+`}`, 200)), nil, (100 + 512) * 1000, 10 * 10_000, 3 * 10_000_000, 10, 10e6},
		"with searches":                  {messages(t, padded(`{"model":"m","max_tokens":10,`+tools+`}],`+text+`}`, 200)), nil, (100 + 512) * 1000, 10 * 10_000, 10 * 10_000_000, 10, 10e6},
		"an image inside":                {chat(t, padded(`{"model":"m","max_tokens":1,`+image[1:]+`}`, 300)), nil, 10_000 * 5000, 1 * 20_000, 0, 1, 20e6}, // 150 + 16,384 tokens: the window
		"an image elsewhere":             {messages(t, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}]}]}`), nil, 100_000 * 4000, 1 * 40_000, 0, 1, 40e6},
		"a file elsewhere":               {messages(t, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}]}`), nil, 100_000 * 4000, 1 * 40_000, 0, 1, 40e6},
		"a conversation elsewhere":       {responses(t, `{"model":"m","max_output_tokens":1,"input":"x","previous_response_id":"r"}`), nil, 10_000 * 5000, 20_000, 0, 1, 20e6},
		"a prompt elsewhere":             {responses(t, `{"model":"m","max_output_tokens":1,"prompt":{"id":"p"}}`), nil, 10_000 * 5000, 20_000, 0, 1, 20e6},
		"content cached elsewhere":       {generate(t, "gemini-2.5-x", `{"contents":[],"cachedContent":"c","generationConfig":{"maxOutputTokens":1}}`), nil, 10_000 * 3000, 10_000, 0, 1, 10e6},
		"no end":                         {chat(t, padded(`{"model":"m",`+text+`}`, 200)), nil, 100 * 1000, 500 * 20_000, 0, 500, 20e6},
		"no end but the configuration's": {chat(t, padded(`{"model":"m",`+text+`}`, 200)), func(c *Config) { c.AssumeOutputTokens = 7 }, 100 * 1000, 7 * 20_000, 0, 7, 20e6},
		"an end beyond the model's":      {chat(t, padded(`{"model":"plain-m",`+text+`}`, 200)), func(c *Config) { c.Overrides = map[string]Override{"plain-m": given(1e6, 10e6)} }, 100 * 1000, 65_536 * 10_000, 0, 65_536, 10e6},
		"three answers":                  {chat(t, padded(`{"model":"m","max_tokens":10,"n":3,`+text+`}`, 200)), nil, 100 * 1000, 30 * 20_000, 0, 30, 20e6},
		"the best of answers":            {call(t, openai.Completions(), "/v1/completions", padded(`{"model":"m","max_tokens":10,"n":1,"best_of":4,"prompt":["a","b"]}`, 200)), nil, 100 * 1000, 80 * 20_000, 0, 80, 20e6},
		"speech":                         {chat(t, padded(`{"model":"m","max_tokens":10,"modalities":["text","audio"],`+text+`}`, 200)), nil, 100 * 1000, 10 * 50_000, 0, 10, 50e6},
		"a picture":                      {chat(t, padded(`{"model":"m","max_tokens":10,"modalities":["image"],`+text+`}`, 200)), nil, 100 * 1000, 10 * 30_000, 0, 10, 30e6},
		"any tier":                       {chat(t, padded(`{"model":"m","max_tokens":10,"service_tier":"auto",`+text+`}`, 200)), nil, 100 * 2000, 10 * 40_000, 0, 10, 40e6},
		"an unheard-of tier":             {chat(t, padded(`{"model":"m","max_tokens":10,"service_tier":"warp",`+text+`}`, 200)), nil, 100 * 2000, 10 * 40_000, 0, 10, 40e6},
		"flex, which may not be had":     {chat(t, padded(`{"model":"m","max_tokens":10,"service_tier":"flex",`+text+`}`, 200)), nil, 100 * 1000, 10 * 20_000, 0, 10, 20e6},
		"a chat that searches":           {chat(t, padded(`{"model":"m","max_tokens":10,"web_search_options":{},`+text+`}`, 200)), nil, 100 * 1000, 10 * 20_000, 10 * 20_000_000, 10, 20e6},
		"grounding":                      {generate(t, "gemini-2.5-x", padded(`{"contents":[{"parts":[{"text":"x"}]}],"tools":[{"googleSearch":{}}],"generationConfig":{"maxOutputTokens":1}}`, 200)), nil, (100 + 512) * 1000, 10_000, 35_000_000, 1, 10e6},
		"priority at Google":             {generate(t, "gemini-2.0-x", padded(`{"contents":[{"parts":[{"text":"x"}]}],"serviceTier":"priority","generationConfig":{"maxOutputTokens":1}}`, 200)), nil, 100 * 2000, 30_000, 0, 1, 30e6},
		"writes that nobody asked for":   {chat(t, padded(`{"model":"w","max_tokens":1,`+text+`}`, 200)), nil, 100 * 2000, 1000, 0, 1, 1e6},
		"and for long":                   {chat(t, padded(`{"model":"w","max_tokens":1,"prompt_cache_options":{"ttl":"12h"},`+text+`}`, 200)), nil, 100 * 7000, 1000, 0, 1, 1e6},
		"embeddings":                     {call(t, openai.Embeddings(), "/v1/embeddings", padded(`{"model":"e","input":["a","b","c"]}`, 1000)), nil, 300 * 1000, 0, 0, 0, 0},
		"another of the family":          {messages(t, padded(`{"model":"family-b","max_tokens":99999,`+text+`}`, 2000)), nil, 1000 * 1000, 99_999 * 2000, 0, 99_999, 2e6},
		"a model unheard of":             {messages(t, padded(`{"model":"x","max_tokens":10,`+text+`}`, 200)), func(c *Config) { c.Assume = gateway.Some(int64(5e6)) }, 100 * 5000, 10 * 5000, 0, 10, 5e6},
	} {
		t.Run(name, func(t *testing.T) {
			got := boundPricer(t, c.edit).Bound(c.a)
			if got.Input != c.input || got.Output != c.output || got.Tools != c.tools || got.OutputTokens != c.tokens || got.Rate != c.rate || !got.Known() {
				t.Errorf("got %+v, want input %d, output %d (%d tokens, %d each), tools %d", got, c.input, c.output, c.tokens, c.rate, c.tools)
			}
			if got.Floor > got.Input || got.InputTokens < 0 {
				t.Errorf("got a floor of %d above the bound of the input, %d", got.Floor, got.Input)
			}
		})
	}
}

func TestWordsInDisguiseAreSeen(t *testing.T) {
	for body, want := range map[string]bool{
		``: false, `{"a":"b"}`: false, `\u0041`: true, `\\u0041`: false, `\\\u0041`: true, `x\u005fy`: true, `\u005F`: true, `\u0031`: true, `\u007a`: true,
		`\u003c\u003e\u0026\u001b\u0000\u005c`: false, `\u0000\u0041`: true, `00\u0041`: true, `000\u0041`: true, `0000\u0041`: true, `00\u00`: false, `\u004`: false, `u0041`: false, `\u00g1`: false,
		`100000000041`: false, `\u0141`: false,
	} {
		if got := hidesWords([]byte(body)); got != want {
			t.Errorf("%s: got %v, want %v", body, got, want)
		}
	}
	for body, want := range map[string]bool{``: false, `cache_control`: true, `"x_control":1,"cache_control":{}`: true, `_control_control`: false, `cache_contro`: false, `access_control`: false} {
		if got := caches([]byte(body)); got != want {
			t.Errorf("%s: got %v, want %v", body, got, want)
		}
	}
}

func TestTheFloorIsWhatThePromptProbablyCosts(t *testing.T) {
	a := messages(t, `{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"`+strings.Repeat("word ", 800)+`"}]}`)
	got := boundPricer(t, nil).Bound(a)
	if got.InputTokens != 1004 || got.Floor != 1004*4000 { // 4,000 bytes and the marks of a turn; beyond the threshold
		t.Errorf("got %d tokens and a floor of %d, want 1004 and %d", got.InputTokens, got.Floor, 1004*4000)
	}
	p := boundPricer(t, nil)
	for range 50 {
		p.counter.Calibrate("m", 1000, 1300)
	}
	if got := p.Bound(a).InputTokens; got < 1290 || got > 1320 {
		t.Errorf("got %d tokens where answers taught 1.3 times as many, want about 1305", got)
	}
}

func TestBoundsOfWhatIsFreeOrUnreadOrUnpriced(t *testing.T) {
	free, flat, dark := provider("free", "anthropic"), provider("flat", "openai"), provider("dark", "openai")
	free.Billing, flat.PassthroughPrice = names.CostBillingFree, gateway.Some[gateway.NanoUSD](5_000_000)
	p := boundPricer(t, nil, free, flat, dark)
	at := func(to *gateway.Provider, operation, model string) *gateway.Attempt {
		a := attempt(to, nil, model, model)
		a.Exchange.Call.Operation, a.Body = operation, []byte(`{}`)
		return a
	}
	counting := at(dark, "", "m")
	counting.Exchange.Dialect = anthropic.CountTokens()
	unreadFree := at(free, "", "")
	for name, c := range map[string]struct {
		a      *gateway.Attempt
		total  gateway.NanoUSD
		known  bool
		status string
	}{
		"free":             {at(free, "chat", "m"), 0, true, "override"},
		"unread":           {at(flat, "", ""), 5_000_000, true, "override"},
		"unread, no price": {at(dark, "", ""), 0, false, "unknown"},
		"unread and free":  {unreadFree, 0, true, "override"},
		"counting tokens":  {counting, 0, true, "override"},
		"no price":         {at(dark, "chat", "other"), 0, false, "unknown"},
		"no model":         {at(dark, "chat", ""), 0, false, "unknown"},
	} {
		got := p.Bound(c.a)
		if got.Total() != c.total || got.Known() != c.known || got.Status != c.status || got.Billing == "" {
			t.Errorf("%s: got %+v, want %d, %s", name, got, c.total, c.status)
		}
	}
	a := at(dark, "chat", "other")
	a.Body = []byte(`{"messages":[{"content":"12345678"}]}`)
	if got := p.Bound(a); got.InputTokens == 0 {
		t.Error("the prompt of a model without a price is not counted")
	}
}

func TestPassThroughIsBilledWhenItWasAccepted(t *testing.T) {
	flat, dark := provider("flat", "openai"), provider("dark", "openai")
	flat.PassthroughPrice = gateway.Some[gateway.NanoUSD](5_000_000)
	p := boundPricer(t, nil, flat, dark)
	for name, c := range map[string]struct {
		to       *gateway.Provider
		status   int // 0: no answer
		complete bool
		want     gateway.Cost
	}{
		"accepted":            {flat, 200, true, gateway.Cost{Total: 5_000_000, Source: "local", Status: "override", Billing: "metered"}},
		"refused":             {flat, 400, false, gateway.Cost{Source: "none"}},
		"never sent":          {flat, 0, false, gateway.Cost{Source: "none"}},
		"sent, and no answer": {flat, 0, true, gateway.Cost{Total: 5_000_000, Source: "local", Status: "override", Billing: "metered"}},
		"of no price":         {dark, 200, true, gateway.Cost{Source: "none"}},
	} {
		a := attempt(c.to, nil, "", "")
		a.Exchange.Call, a.Result = gateway.Call{}, gateway.Result{}
		if c.status > 0 {
			a.Response = &http.Response{StatusCode: c.status}
		}
		if c.complete {
			p.Complete(a)
		}
		got := p.Price(a)
		if got.Total != c.want.Total || got.Classes[gateway.CostUndivided] != c.want.Total || got.Source != c.want.Source || got.Status != c.want.Status || got.Billing != c.want.Billing {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
	if got := p.Accrued(attemptUnread(flat)); got != 5_000_000 {
		t.Errorf("got %d so far, want 5000000", got)
	}
}

func attemptUnread(to *gateway.Provider) *gateway.Attempt {
	a := attempt(to, nil, "", "")
	a.Exchange.Call = gateway.Call{}
	return a
}

// C-28: what makes no sense is refused, or bounded by something that does.
func TestAbsurdNumbersAreRefusedOrBounded(t *testing.T) {
	for _, c := range []struct {
		d          gateway.Dialect
		path, body string
	}{
		{anthropic.Messages(), "/v1/messages", `{"model":"m","messages":[],"max_tokens":-1}`},
		{anthropic.Messages(), "/v1/messages", `{"model":"m","messages":[],"max_tokens":1e400}`},
		{openai.Chat(), "/v1/chat/completions", `{"model":"m","messages":[],"max_tokens":-1}`},
		{openai.Chat(), "/v1/chat/completions", `{"model":"m","messages":[],"max_completion_tokens":"NaN"}`},
		{openai.Chat(), "/v1/chat/completions", `{"model":"m","messages":[],"n":-1}`},
		{openai.Responses(), "/v1/responses", `{"model":"m","input":"x","max_output_tokens":-1}`},
		{gemini.GenerateContent(), "/v1beta/models/m:generateContent", `{"generationConfig":{"maxOutputTokens":-1}}`},
		{gemini.GenerateContent(), "/v1beta/models/m:generateContent", `{"generationConfig":{"candidateCount":-5}}`},
	} {
		if _, err := c.d.Decode(httptest.NewRequest("POST", c.path, nil), []byte(c.body)); err == nil {
			t.Errorf("%s: got no error", c.body)
		}
	}
	for name, c := range map[string]struct {
		a     *gateway.Attempt
		want  gateway.NanoUSD
		exact bool
	}{
		"a trillion tokens, window known": {chat(t, padded(`{"model":"m","max_tokens":1e12,"messages":[]}`, 200)), 100*1000 + 10_000*20_000, true},
		"a million answers":               {chat(t, padded(`{"model":"m","max_tokens":1000,"n":1e6,"messages":[]}`, 200)), 100*1000 + 1000*1e6*20_000, true},
		"a million endless answers":       {chat(t, padded(`{"model":"m","n":1e6,"messages":[]}`, 200)), 100*1000 + 500*1e6*20_000, true},
		"beyond all numbers":              {chat(t, padded(`{"model":"m","max_tokens":9223372036854775807,"n":9223372036854775807,"messages":[]}`, 200)), math.MaxInt64, true},
		"a trillion tokens, no window":    {chat(t, padded(`{"model":"w","max_tokens":1e12,"messages":[]}`, 200)), 100*2000 + 1e12*1000, true},
		"more than there are, no window":  {chat(t, padded(`{"model":"w","max_tokens":9223372036854775807,"messages":[]}`, 200)), math.MaxInt64, true},
	} {
		got := boundPricer(t, nil).Bound(c.a)
		if got.Total() != c.want || !got.Known() || got.Input < 0 || got.Output < 0 || got.OutputTokens < 0 {
			t.Errorf("%s: got %+v, %d in all, want %d", name, got, got.Total(), c.want)
		}
	}
}

func TestStreamsAreVisibleWhenNothingIsBilledUnseen(t *testing.T) {
	const text = `"messages":[{"role":"user","content":"hi"}]`
	const contents = `"contents":[{"parts":[{"text":"x"}]}]`
	for name, c := range map[string]struct {
		a    *gateway.Attempt
		want bool
	}{
		"plain answer":            {messages(t, `{"model":"m","max_tokens":1,`+text+`}`), false},
		"stream":                  {messages(t, `{"model":"m","max_tokens":1,"stream":true,`+text+`}`), true},
		"tools of one's own":      {messages(t, `{"model":"m","max_tokens":1,"stream":true,"tools":[{"name":"f"}],`+text+`}`), true},
		"tools of the provider's": {messages(t, `{"model":"m","max_tokens":1,"stream":true,"tools":[{"type":"web_search_20250305"}],`+text+`}`), false},
		"thinking shown":          {messages(t, `{"model":"m","max_tokens":1,"stream":true,"thinking":{"type":"enabled","budget_tokens":1024},`+text+`}`), true},
		"thinking hidden":         {messages(t, `{"model":"m","max_tokens":1,"stream":true,"thinking":{"type":"adaptive","display":"omitted"},`+text+`}`), false},
		"thinks unasked":          {messages(t, `{"model":"claude-fable-x","max_tokens":1,"stream":true,`+text+`}`), false},
		"chat":                    {chat(t, `{"model":"openai-plain","stream":true,`+text+`}`), true},
		"a reasoning model":       {chat(t, `{"model":"gpt-5-x","stream":true,`+text+`}`), false},
		"that is not to reason":   {chat(t, `{"model":"gpt-5-x","stream":true,"reasoning_effort":"none",`+text+`}`), true},
		"reasoning asked for":     {chat(t, `{"model":"openai-plain","stream":true,"reasoning_effort":"low",`+text+`}`), false},
		"reasoning has a price":   {chat(t, `{"model":"m","stream":true,`+text+`}`), false},
		"speech":                  {chat(t, `{"model":"openai-plain","stream":true,"modalities":["audio"],`+text+`}`), false},
		"a model that thinks":     {generate(t, "gemini-2.5-x", `{`+contents+`}`), false},
		"and is not to":           {generate(t, "gemini-2.5-x", `{`+contents+`,"generationConfig":{"thinkingConfig":{"thinkingBudget":0}}}`), true},
		"an older one":            {generate(t, "gemini-2.0-x", `{`+contents+`}`), true},
	} {
		p := boundPricer(t, func(c *Config) { c.Overrides = map[string]Override{"openai-plain": given(1e6, 2e6)} })
		if got := p.Bound(c.a); got.Visible != c.want || !got.Known() {
			t.Errorf("%s: got %v, want %v", name, got.Visible, c.want)
		}
	}
}

func TestWhatAProviderBillsUnaskedIsExpectedNextTime(t *testing.T) {
	a := chat(t, padded(`{"model":"m","max_tokens":10,"messages":[]}`, 200))
	p := boundPricer(t, nil, a.Target.Provider)
	before := totalOf(p, a)
	a.Result.Usage, a.Result.ServiceTier = gateway.Usage{Input: 1, Source: names.UsageSourceProvider}, "priority"
	p.Price(a)
	if got := totalOf(p, a); got != 2*before {
		t.Errorf("got %d after a priority answer nobody asked for, want twice %d", got, before)
	}
	m := messages(t, padded(`{"model":"m","max_tokens":10,"messages":[]}`, 200))
	p = boundPricer(t, nil, m.Target.Provider)
	before = totalOf(p, m)
	m.Result.Usage = gateway.Usage{Input: 1, Geo: "eu", Source: names.UsageSourceProvider}
	p.Price(m)
	if got := totalOf(p, m); got != before {
		t.Errorf("got %d after an answer from a place that costs nothing more, want %d", got, before)
	}
	m.Result.Usage.Geo = "us"
	p.Price(m)
	if got := totalOf(p, m); got != 2*before {
		t.Errorf("got %d after an answer from a dearer place, want twice %d", got, before)
	}
}
