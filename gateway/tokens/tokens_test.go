package tokens_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/tiktoken-go/tokenizer"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
)

const prose = "You must read the file before you edit it, and prefer the smallest change that works.\n" +
	"- Run `grep -n \"needle\" ./path` first; the answer \t belongs in one line.\n" +
	"func (r *Reader) Next() (Event, error) {\n\treturn r.last()\n}\n"

// text returns n bytes of prose and code as a JSON string.
func text(n int) string {
	return string(jsonscan.Quote(nil, strings.Repeat(prose, n/len(prose)+1)[:n]))
}

// agentBody is a request in the proportions of a coding agent's first turn: instructions, tools with schemas, messages.
func agentBody(system, tools, message int) []byte {
	var list []string
	for i := range tools {
		list = append(list, fmt.Sprintf(`{"name":"Tool%d","description":%s,"input_schema":{"$schema":"https://json-schema.org/draft/2020-12/schema",`+
			`"type":"object","properties":{"file_path":{"type":"string","description":"The absolute path to the file"},"limit":{"type":"integer",`+
			`"minimum":1,"maximum":2000}},"required":["file_path"],"additionalProperties":false}}`, i, text(3500)))
	}
	return fmt.Appendf(nil, `{"model":"claude-sonnet-5","messages":[{"role":"user","content":[{"type":"text","text":%s}]}],`+
		`"system":[{"type":"text","text":%s,"cache_control":{"type":"ephemeral"}}],"tools":[%s],"max_tokens":32000}`,
		text(message), text(system), strings.Join(list, ","))
}

func estimate(body string, mode tokens.Mode) tokens.Count {
	return tokens.Estimate([]byte(body), jsonscan.Root([]byte(body)), mode)
}

func TestEveryDialectsTextCounts(t *testing.T) {
	for _, c := range []struct {
		name, body string
		mode       tokens.Mode
		bytes      int64 // of text
		media      int
	}{
		{"messages with a string", `{"messages":[{"role":"user","content":"12345678"}]}`, tokens.All, 8, 0},
		{"blocks", `{"messages":[{"role":"user","content":[{"type":"text","text":"1234"},{"type":"text","text":"5678"}]}]}`, tokens.All, 8, 0},
		{"system string", `{"system":"12345678"}`, tokens.All, 8, 0},
		{"system blocks", `{"system":[{"type":"text","text":"1234","cache_control":{"type":"ephemeral"}}]}`, tokens.All, 4, 0},
		{"tools with schemas", `{"tools":[{"name":"a","input_schema":{"type":"object"}}]}`, tokens.All, 45, 0},
		{"tool call", `{"messages":[{"content":[{"type":"tool_use","id":"toolu_1","name":"Read","input":{"a":1}}]}]}`, tokens.All, 11, 0},
		{"tool result", `{"messages":[{"content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"1234","is_error":false}]}]}`, tokens.All, 4, 0},
		{"tool result blocks", `{"messages":[{"content":[{"type":"tool_result","content":[{"type":"text","text":"1234"}]}]}]}`, tokens.All, 4, 0},
		{"thinking without signature", `{"messages":[{"content":[{"type":"thinking","thinking":"1234","signature":"abcdefgh"}]}]}`, tokens.All, 4, 0},
		{"image", `{"messages":[{"content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo"}}]}]}`, tokens.All, 0, 1},
		{"document of text", `{"messages":[{"content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"1234"}}]}]}`, tokens.All, 4, 0},
		{"chat image", `{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}`, tokens.All, 0, 1},
		{"chat tool calls", `{"messages":[{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"ab","arguments":"{\"a\":1}"}}]}]}`, tokens.All, 9, 0},
		{"data URL as text", `{"messages":[{"content":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUg"}]}`, tokens.All, 0, 1},
		{"text that only starts like one", `{"messages":[{"content":"data: a, b and c;base64"}]}`, tokens.All, 23, 0},
		{"responses", `{"instructions":"1234","input":[{"role":"user","content":[{"type":"input_text","text":"1234"},{"type":"input_image","image_url":"data:image/png;base64,AA"}]}]}`, tokens.All, 8, 1},
		{"responses string", `{"input":"1234"}`, tokens.All, 4, 0},
		{"responses items", `{"input":[{"type":"function_call_output","call_id":"c","output":"1234"},{"type":"reasoning","encrypted_content":"xxxx","summary":[]}]}`, tokens.All, 4, 0},
		{"gemini", `{"contents":[{"role":"user","parts":[{"text":"1234"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}],"systemInstruction":{"parts":[{"text":"5678"}]}}`, tokens.All, 8, 1},
		{"gemini counting", `{"generateContentRequest":{"model":"models/m","contents":[{"parts":[{"text":"1234"}]}]}}`, tokens.All, 4, 0},
		{"nested beyond reason", `{"messages":` + strings.Repeat("[", 100) + `"1234"` + strings.Repeat("]", 100) + `}`, tokens.All, 83*2 + 6, 0},
		{"completions", `{"prompt":["1234","5678"]}`, tokens.All, 8, 0},
		{"nothing to read", `{"model":"claude-sonnet-5","max_tokens":1,"metadata":{"user_id":"x"}}`, tokens.All, 0, 0},
		{"escapes", `{"system":"a\n\"\u0041\\"}`, tokens.All, 5, 0},
		{"original: string", `{"system":"no","tools":[{"name":"no"}],"messages":[{"content":"1234"}]}`, tokens.Messages, 4, 0},
		{"original: text blocks alone", `{"messages":[{"content":[{"type":"text","text":"1234"},{"type":"tool_result","content":"no"},{"type":"thinking","thinking":"no"}]}]}`, tokens.Messages, 4, 0},
		{"original: no messages", `{"input":"no","contents":[{"parts":[{"text":"no"}]}]}`, tokens.Messages, 0, 0},
		{"no object", `[1,2]`, tokens.All, 0, 0},
		{"cut off", `{"system":"1234","messages":[{"content":"12`, tokens.All, 4, 0},
	} {
		got := estimate(c.body, c.mode)
		if got.Bytes != c.bytes || got.Media != c.media {
			t.Errorf("%s: got %d bytes and %d media, want %d and %d", c.name, got.Bytes, got.Media, c.bytes, c.media)
		}
	}
	if got := estimate(`{"input":[[1,2,3],[4,5]]}`, tokens.All).Tokens; got != 5 {
		t.Errorf("got %d tokens for five token ids, want 5", got)
	}
}

func TestMediaThatNoBytesMeasureAreTold(t *testing.T) {
	for _, c := range []struct {
		part   string
		unseen int
	}{
		{`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA"}}`, 0},
		{`{"type":"image","source":{"type":"base64","media_type":"image\/png","data":"AA"}}`, 0},
		{`{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}`, 1},
		{`{"type":"image","source":{"type":"\u0075rl","url":"https://example.com/a.png"}}`, 1},
		{`{"type":"image","source":{"type":"file","file_id":"file_1"}}`, 1},
		{`{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AA"}}`, 1},
		{`{"type":"document","source":{"type":"base64","data":"AA"}}`, 1},
		{`{"type":"container_upload","file_id":"file_1"}`, 1},
		{`{"type":"tool_result","content":[{"type":"image","source":{"type":"url","url":"u"}}]}`, 1},
		{`{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}`, 0},
		{`{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}`, 1},
		{`{"type":"input_image","image_url":"https://example.com/a.png"}`, 1},
		{`{"type":"input_image","image_url":"data:image/png;base64,AAAA"}`, 0},
		{`{"type":"input_image","image_url":7}`, 1},
		{`{"type":"file","file":{"file_data":"data:application/pdf;base64,AAAA"}}`, 1},
		{`{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}`, 0},
		{`{"role":"assistant","audio":{"id":"audio_1"}}`, 1},
		{`{"inlineData":{"mimeType":"image/png","data":"AA"}}`, 0},
		{`{"inline_data":{"mime_type":"video/mp4","data":"AA"}}`, 1},
		{`{"inlineData":{"data":"AA"}}`, 1},
		{`{"fileData":{"mimeType":"image/png","fileUri":"u"}}`, 1},
	} {
		got := estimate(`{"messages":[{"content":[`+c.part+`]}]}`, tokens.All)
		if got.Media != 1 || got.Unseen != c.unseen {
			t.Errorf("%s: got %d media, %d unseen, want 1 and %d", c.part, got.Media, got.Unseen, c.unseen)
		}
	}
	// Claude Code offers a tool with this property, and sees such calls in the conversation.
	for _, body := range []string{`{"tools":[{"input_schema":{"properties":{"url":{"type":"string"}},"required":["url"]}}]}`,
		`{"messages":[{"content":[{"type":"tool_use","input":{"url":"https://example.com"}}]}]}`} {
		if got := estimate(body, tokens.All); got.Media != 0 {
			t.Errorf("%s: got %d media, want none", body, got.Media)
		}
	}
}

func TestEstimateIsNearTheTokenizers(t *testing.T) {
	chinese := strings.Repeat("网关把每个请求变成一条追踪,并且准确地计算费用。", 200)
	escapedChinese := strings.Repeat(`\u7f51\u5173\u628a\u6bcf\u4e2a`, 500)
	for name, c := range map[string]struct {
		body string
		text string
	}{
		"prose and code": {fmt.Sprintf(`{"messages":[{"content":%s}]}`, text(80_000)), strings.Repeat(prose, 80_000/len(prose)+1)[:80_000]},
		"chinese":        {fmt.Sprintf(`{"messages":[{"content":"%s"}]}`, chinese), chinese},
		"escaped":        {fmt.Sprintf(`{"messages":[{"content":"%s"}]}`, escapedChinese), strings.Repeat("网关把每个", 500)},
	} {
		got := estimate(c.body, tokens.Messages).Tokens
		for _, encoding := range []tokenizer.Encoding{tokenizer.O200kBase, tokenizer.Cl100kBase} {
			codec, err := tokenizer.Get(encoding)
			if err != nil {
				t.Fatal(err)
			}
			want, err := codec.Count(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if off := math.Abs(float64(got)/float64(want) - 1); off > 0.25 {
				t.Errorf("%s, %s: got %d, want %d within 25 %%", name, encoding, got, want)
			}
		}
		if plain := tokens.EstimateText([]byte(c.text)); plain != got {
			t.Errorf("%s: got %d for the text alone, want %d", name, plain, got)
		}
	}
}

func TestTokenizerDecidesOnlyNearTheThreshold(t *testing.T) {
	body := []byte(fmt.Sprintf(`{"messages":[{"content":%s}]}`, text(40_000)))
	root := jsonscan.Root(body)
	codec, err := tokenizer.Get(tokenizer.Cl100kBase)
	if err != nil {
		t.Fatal(err)
	}
	exact, err := codec.Count(strings.Repeat(prose, 40_000/len(prose)+1)[:40_000])
	if err != nil {
		t.Fatal(err)
	}
	near, count := int64(exact), tokens.NewCounter(tokens.Options{})
	for _, c := range []struct {
		threshold int64
		over      bool
		method    string
	}{
		{100, true, tokens.MethodEstimate},
		{1_000_000, false, tokens.MethodEstimate},
		{near, false, tokens.MethodExact}, // strictly more
		{near - 1, true, tokens.MethodExact},
	} {
		over, n, method := count.Exceeds(body, root, c.threshold, "claude-sonnet-5", tokens.Messages)
		if over != c.over || method != c.method {
			t.Errorf("threshold %d: got %v %d %s, want %v %s", c.threshold, over, n, method, c.over, c.method)
		}
		if method == tokens.MethodExact && n != near {
			t.Errorf("threshold %d: got %d tokens, want %d", c.threshold, n, near)
		}
	}
}

func TestMessagesAreJoinedWithSpacesAsTheOriginalDid(t *testing.T) {
	body := []byte(`{"messages":[{"content":"Hello there, general"},{"content":[{"type":"text","text":"Kenobi, you are"},{"type":"text","text":"a bold one"}]}]}`)
	codec, err := tokenizer.Get(tokenizer.O200kBase)
	if err != nil {
		t.Fatal(err)
	}
	want, err := codec.Count("Hello there, general Kenobi, you are a bold one")
	if err != nil {
		t.Fatal(err)
	}
	_, n, method := tokens.NewCounter(tokens.Options{}).Exceeds(body, jsonscan.Root(body), 11, "gpt-4o-mini", tokens.Messages)
	if n != int64(want) || method != tokens.MethodExact {
		t.Errorf("got %d by %s, want %d exact", n, method, want)
	}
}

func TestCountsTheRequestStatesTakePart(t *testing.T) {
	c := tokens.NewCounter(tokens.Options{})
	for body, want := range map[string]int64{
		`{"messages":[],"token_count":70000,"num_tokens":1}`:                    70000,
		`{"messages":[],"input_tokens":60001,"token_count":"90000"}`:            60001,
		`{"messages":[],"num_tokens":60000}`:                                    60000,
		`{"messages":[{"content":"12345678"}],"token_count":-1}`:                2,
		`{"messages":[{"content":"12345678"}],"metadata":{"num_tokens":70000}}`: 2,
	} {
		over, n, _ := c.Exceeds([]byte(body), jsonscan.Root([]byte(body)), 60000, "m", tokens.Messages)
		if n != want || over != (want > 60000) {
			t.Errorf("%s: got %v %d, want %d", body, over, n, want)
		}
	}
	body := []byte(`{"messages":[],"token_count":70000}`)
	if over, n, _ := c.Exceeds(body, jsonscan.Root(body), 60000, "m", tokens.All); over || n != 0 {
		t.Errorf("got %v %d in the mode All, want 0", over, n)
	}
}

func TestTextBeyondTheBudgetIsEstimatedUntilItsTurnComes(t *testing.T) {
	body := []byte(fmt.Sprintf(`{"messages":[{"content":%s},{"content":%s}]}`, text(9000), text(9001)))
	root := jsonscan.Root(body)
	near := tokens.Estimate(body, root, tokens.All).Tokens
	c := tokens.NewCounter(tokens.Options{MaxExact: 10_000})
	for i, want := range []string{tokens.MethodEstimate, tokens.MethodExact} {
		if _, n, got := c.Exceeds(body, root, near, "gpt-5", tokens.All); got != want {
			t.Errorf("call %d: got %d by %s, want %s", i+1, n, got, want)
		}
	}
	never := tokens.NewCounter(tokens.Options{MaxExact: -1})
	if _, _, got := never.Exceeds(body, root, near, "gpt-5", tokens.All); got != tokens.MethodEstimate {
		t.Errorf("got %s without a budget, want %s", got, tokens.MethodEstimate)
	}
}

func TestCalibrationFollowsAnswersWithinBounds(t *testing.T) {
	body := agentBody(8000, 0, 8000)
	root := jsonscan.Root(body)
	plain := tokens.Estimate(body, root, tokens.All).Tokens
	for ratio, want := range map[float64]float64{1.3: 1.3, 0.8: 0.8, 50: 2, 0.01: 0.5} {
		c := tokens.NewCounter(tokens.Options{})
		for range 60 {
			c.Calibrate("claude-opus-5", plain, int64(float64(plain)*ratio))
		}
		got := float64(c.Estimate(body, root, "claude-opus-5")) / float64(plain)
		if math.Abs(got-want) > 0.02 {
			t.Errorf("ratio %v: got a factor of %v, want %v", ratio, got, want)
		}
		if other := c.Estimate(body, root, "claude-haiku-5"); other != plain {
			t.Errorf("got %d for another model, want %d", other, plain)
		}
	}
	c := tokens.NewCounter(tokens.Options{})
	c.Calibrate("m", 10, 10_000)
	c.Calibrate("m", plain, 0)
	if got := c.Estimate(body, root, "m"); got != plain {
		t.Errorf("got %d after answers that teach nothing, want %d", got, plain)
	}
}

func TestCorrectionsFollowAnswersAsCalibrationDoes(t *testing.T) {
	c := tokens.NewCounter(tokens.Options{})
	for range 60 {
		c.Correct("m", c.Calibrated("m", 1000), 1300)
	}
	if got := c.Calibrated("m", 1000); got < 1290 || got > 1310 {
		t.Errorf("got %d, want about 1300", got)
	}
}

func TestOutputIsLearntFromAnswers(t *testing.T) {
	c := tokens.NewCounter(tokens.Options{})
	if got := c.Output("m", false, 4000); got != 1000 {
		t.Errorf("got %d tokens before any answer, want 1000", got)
	}
	for range 100 {
		c.LearnOutput("m", false, 3000, 1000)
	}
	if got := c.Output("m", false, 30_000); got < 9900 || got > 10_100 {
		t.Errorf("got %d tokens for 30,000 bytes, want about 10,000", got)
	}
	if got := c.Output("m", true, 4000); got != 1000 {
		t.Errorf("got %d tokens with thinking, of which nothing was learnt, want 1000", got)
	}
	// An answer of ten bytes for which much was thought weighs ten bytes.
	c.LearnOutput("m", false, 10, 50_000)
	if got := c.Output("m", false, 30_000); got > 10_200 {
		t.Errorf("got %d tokens after one odd answer, want about 10,000", got)
	}
	for range 10_000 {
		c.LearnOutput("mad", false, 1, math.MaxInt64)
		c.LearnOutput("mute", false, 1<<20, 1)
		c.LearnOutput("none", false, -5, 10)
	}
	for model, want := range map[string]int64{"mad": 2000, "mute": 63, "none": 250} {
		if got := c.Output(model, false, 1000); got > want {
			t.Errorf("%s: got %d tokens for 1,000 bytes, want at most %d", model, got, want)
		}
	}
	if got := c.Output("mad", false, math.MaxInt64); got != 1<<62 {
		t.Errorf("got %d tokens for all the bytes there are", got)
	}
}

func TestOutputFollowsAModelThatChanges(t *testing.T) {
	c := tokens.NewCounter(tokens.Options{})
	for range 5000 {
		c.LearnOutput("m", false, 4000, 1000)
	}
	for range 2000 {
		c.LearnOutput("m", false, 4000, 1300)
	}
	if got := c.Output("m", false, 4000); got < 1290 {
		t.Errorf("got %d tokens, want about 1300", got)
	}
}

func TestModelsWhoseOutputIsLearntAreBounded(t *testing.T) {
	c := tokens.NewCounter(tokens.Options{Models: 3})
	for i := range 1000 {
		c.LearnOutput(fmt.Sprint("model-", i), false, 4000, 2000)
		c.LearnOutput("in use", false, 4000, 2000)
	}
	if got := c.Output("in use", false, 4000); got < 1900 {
		t.Errorf("got %d, want the model in use remembered", got)
	}
	if got := c.Output("model-5", false, 4000); got != 1000 {
		t.Errorf("got %d, want the old model forgotten", got)
	}
}

func TestModelsCalibratedAreBounded(t *testing.T) {
	c := tokens.NewCounter(tokens.Options{Models: 3})
	body := agentBody(4000, 0, 4000)
	root := jsonscan.Root(body)
	plain := tokens.Estimate(body, root, tokens.All).Tokens
	for i := range 1000 {
		c.Calibrate(fmt.Sprint("model-", i), 1000, 2000)
		c.Calibrate("in use", 1000, 2000)
	}
	if got := c.Estimate(body, root, "in use"); got <= plain {
		t.Errorf("got %d, want the model in use remembered", got)
	}
	if got := c.Estimate(body, root, "model-5"); got != plain {
		t.Errorf("got %d, want the old model forgotten", got)
	}
}

func TestCounterServesManyAtOnce(t *testing.T) {
	c := tokens.NewCounter(tokens.Options{CacheBytes: 1 << 10, Models: 2})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				body := []byte(fmt.Sprintf(`{"messages":[{"content":"call %d"},{"content":%s}]}`, i, text(400+i)))
				root := jsonscan.Root(body)
				want := tokens.Estimate(body, root, tokens.All).Tokens
				if _, n, method := c.Exceeds(body, root, want, "gpt-5", tokens.All); method != tokens.MethodExact || n <= 0 {
					t.Errorf("got %d by %s", n, method)
				}
				c.Calibrate(fmt.Sprint("m", g, i), 1000, 1100)
				c.LearnOutput(fmt.Sprint("m", g, i), false, 1000, 1100)
				c.Output(fmt.Sprint("m", g, i-1), false, 1000)
			}
		})
	}
	wg.Wait()
}

func FuzzEstimateReadsAnything(f *testing.F) {
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"type":"text","text":"a\u7f51\n"}]}],"system":"é网","tools":[{}]}`), true)
	f.Add([]byte(`{"contents":[{"parts":[{"inlineData":{"data":"AA"}},{"text":"data:;base64,xx"}]}],"input":[1,[2]]}`), false)
	f.Add([]byte("{\"prompt\":\"\xe2\\u12\xf0\\"), false)
	f.Fuzz(func(t *testing.T, doc []byte, original bool) {
		mode := tokens.All
		if original {
			mode = tokens.Messages
		}
		got := tokens.Estimate(doc, jsonscan.Root(doc), mode)
		if got.Bytes < 0 || got.Bytes > int64(len(doc)) || got.Tokens < 0 || got.Tokens > 4*int64(len(doc))+1 {
			t.Fatalf("got %+v for %d bytes", got, len(doc))
		}
		if n := tokens.EstimateText(doc); n < 0 || n > int64(len(doc)) {
			t.Fatalf("got %d tokens for %d bytes of text", n, len(doc))
		}
	})
}

// Nesting that a walk of each level in turn would read again and again.
func TestDeepNestingIsLinear(t *testing.T) {
	const n = 200_000
	for _, open := range []string{`{"generateContentRequest":`, `{"contents":`, `[`, `{"source":`, `{"a":`} {
		for _, doc := range []string{strings.Repeat(open, n), `{"messages":` + strings.Repeat(open, n) + `1` + strings.Repeat(`}`, n+1)} {
			if got := estimate(doc, tokens.All).Tokens; got > int64(len(doc)) {
				t.Errorf("%s: got %d tokens for %d bytes", open, got, len(doc))
			}
		}
	}
}
