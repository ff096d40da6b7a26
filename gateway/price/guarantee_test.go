package price

import (
	"bytes"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/openai"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// randomCall is an attempt and a usage that keeps to the request's own limits.
func randomCall(rnd *rand.Rand, e *Entry) *gateway.Attempt {
	family := [...]string{"anthropic", "openai", "gemini"}[rnd.IntN(3)]
	p := provider("v", "v")
	p.Family = family
	pick := func(words ...string) string { return words[rnd.IntN(len(words))] }
	c := gateway.Call{Operation: pick("chat", "chat", "text_completion", "embeddings", "generate_content"), Model: "m", Stream: rnd.IntN(2) == 0,
		MaxTokens: int64(rnd.IntN(200)), Choices: int64(rnd.IntN(4)), Messages: rnd.IntN(4), ToolCount: rnd.IntN(2), WebSearches: int64(rnd.IntN(6) - 1),
		ServiceTier: pick("", "", "auto", "default", "flex", "priority", "fast", "standard_only", "odd"), Geo: pick("", "", "us", "eu"), OutputType: pick("", "text", "speech", "image")}
	if family == "anthropic" {
		c.Speed = pick("", "", "fast")
	}
	if rnd.IntN(8) == 0 {
		c.PreviousResponse = "r"
	}
	var body bytes.Buffer
	body.WriteString(`{"messages":[{"content":"`)
	for range rnd.IntN(200) {
		body.WriteString(pick("word ", `\n`, `\u003c`, `\\u0041`, "é", "好"))
	}
	body.WriteString(`"}]` + pick("", `,"cache_control":{}`, `,"cache_control":{"ttl":"1h"}`, `,"cache_control":{"ttl":"5m"}`, `,"x":{"ttl":"12h"}`, `,"cache\u005fcontrol":{"ttl":"\u0031h"}`))
	if rnd.IntN(8) == 0 {
		body.WriteString(`,"input":[{"type":"input_image","image_url":"` + pick("data:image/png;base64,AAAA", "https://example.com/a.png") + `"}]`)
	}
	body.WriteString("}")
	x := &gateway.Exchange{Call: c, Dialect: openai.Chat(), Request: httptest.NewRequest("POST", "/", nil), Snapshot: &gateway.Snapshot{Router: home{p}}, Body: body.Bytes()}
	return &gateway.Attempt{Exchange: x, Target: gateway.Target{Provider: p, Model: "m"}, Body: body.Bytes()}
}

// within makes a usage that the call may lead to.
func within(rnd *rand.Rand, a *gateway.Attempt, e *Entry) (u gateway.Usage, tier string) {
	c, body, family := &a.Exchange.Call, string(a.Body), a.Target.Provider.Family
	share := func(left *int64) int64 {
		n := rnd.Int64N(*left + 1)
		if rnd.IntN(3) == 0 {
			n = *left
		}
		*left -= n
		return n
	}
	image, remote := strings.Contains(body, "data:image"), strings.Contains(body, "https:") || c.PreviousResponse != ""
	prompt := int64(len(body) / 2)
	if image {
		prompt += 5000
	}
	if remote && e.Context > 0 {
		prompt = e.Context
	}
	if prompts := int64(max(c.Messages, 1)); e.Context > 0 {
		window := e.Context
		if c.Operation == "embeddings" || c.Operation == "text_completion" {
			window *= prompts
		}
		prompt = min(prompt, window)
	}
	cached := strings.Contains(body, "cache_control") || strings.Contains(body, `cache\u005f`)
	hour := cached && (strings.Contains(body, `"1h"`) || strings.Contains(body, `\u0031h`))
	u.Source = names.UsageSourceProvider
	u.CacheRead = share(&prompt)
	if family == "anthropic" && cached || family == "openai" {
		u.CacheWrite = share(&prompt)
	}
	if family == "anthropic" && hour || family == "openai" && (hour || strings.Contains(body, `"12h"`)) {
		u.CacheWrite1h = share(&prompt)
	}
	if image || remote {
		u.AudioIn, u.ImageIn = share(&prompt), share(&prompt)
	}
	u.Input = share(&prompt)
	if c.Operation != "embeddings" {
		out := c.MaxTokens
		if out == 0 {
			out = min(e.MaxOutput, 1<<16)
		}
		if e.Context > 0 { // no answer is longer than the window
			out = min(out, max(e.Context, e.MaxOutput))
		}
		out *= max(c.Choices, 1)
		if c.Operation == "text_completion" {
			out *= int64(max(c.Messages, 1))
		}
		u.Output, u.Reasoning = share(&out), share(&out)
		switch c.OutputType {
		case "speech":
			u.AudioOut = share(&out)
		case "image":
			u.ImageOut = share(&out)
		}
	}
	if c.WebSearches != 0 {
		most := c.WebSearches
		if most < 0 {
			most = assumedSearches
		}
		u.WebSearches = share(&most)
	}
	reachable := []string{"", "standard", "default"}
	switch c.ServiceTier {
	case "auto", "priority":
		reachable = append(reachable, "priority", "priority")
	case "fast":
		reachable = append(reachable, "priority", "fast", "fast")
	case "flex":
		reachable = append(reachable, "flex", "flex")
	case "odd":
		reachable = append(reachable, "flex", "batch", "priority", "fast")
	}
	tier = reachable[rnd.IntN(len(reachable))]
	if c.Speed == "fast" && rnd.IntN(2) == 0 {
		u.Speed = "fast"
	}
	if rnd.IntN(2) == 0 {
		u.Geo = c.Geo
	}
	return u, tier
}

func TestNothingCostsMoreThanItsBound(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	checked, tight := 0, 0.0
	for i := range 20_000 {
		line := randomEntry(rnd)
		book, err := Parse([]byte("version 1\n" + line + "\n"))
		if err != nil {
			continue
		}
		e, _ := book.Look("v", "m")
		a := randomCall(rnd, e)
		p, err := New(Config{Book: book, Providers: []*gateway.Provider{a.Target.Provider}})
		if err != nil {
			t.Fatal(err)
		}
		b := p.Bound(a)
		a.Bound = b
		a.Result.Usage, a.Result.ServiceTier = within(rnd, a, e)
		accrued := p.Accrued(a)
		c := p.Price(a)
		in := c.Input() + c.CacheRead() + c.CacheWrite()
		if !b.Known() || !c.Known() || in > b.Input || c.Output() > b.Output || c.Other() > b.Tools || c.Total > b.Total() || accrued > b.Total() {
			t.Fatalf("%d: %s\n%+v\n%s\n%+v tier %q\ncosts %d (%d + %d + %d), bound %+v", i, line, a.Exchange.Call, a.Body, a.Result.Usage, a.Result.ServiceTier,
				c.Total, in, c.Output(), c.Other(), b)
		}
		if b.Total() > 0 {
			checked++
			tight += float64(c.Total) / float64(b.Total())
		}
	}
	if checked < 10_000 || tight/float64(checked) < 0.2 {
		t.Errorf("%d of 20,000 were checked, and cost %.2f of their bounds on average: the check is not sharp", checked, tight/float64(checked))
	}
}

func FuzzBoundsOfHostileBodies(f *testing.F) {
	for _, body := range []string{
		`{"model":"m","max_tokens":1e18,"n":1e18,"messages":[{"content":[{"type":"image","source":{"type":"url"}}]}],"cache_control":{"ttl":"1h"}}`,
		`{"model":"m","messages":[{"content":"\u005c\\u00`, `{"input":[{"image_url":{"url":"data:`, `\u00`, "", `{"contents":[{"parts":[{"inlineData":{}}]}]}`,
	} {
		f.Add([]byte(body), int64(1), int64(1), int64(-1), "auto", 0)
		f.Add([]byte(body), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), "fast", 2)
	}
	book, err := Parse([]byte(boundBook))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, maxTokens, choices, searches int64, tier string, family int) {
		prov := provider("p", [...]string{"anthropic", "openai", "gcp.gemini"}[uint(family)%3])
		prov.Family = [...]string{"anthropic", "openai", "gemini"}[uint(family)%3]
		p, err := New(Config{Book: book, Providers: []*gateway.Provider{prov}})
		if err != nil {
			t.Fatal(err)
		}
		model := [...]string{"m", "m", "gemini-2.5-x"}[uint(family)%3]
		x := &gateway.Exchange{Dialect: openai.Chat(), Call: gateway.Call{Operation: "chat", Model: model, MaxTokens: max(maxTokens, 0), Choices: max(choices, 0), WebSearches: searches, ServiceTier: tier, Stream: true}}
		a := &gateway.Attempt{Exchange: x, Target: gateway.Target{Provider: prov, Model: model}, Body: body}
		b := p.Bound(a)
		if b.Input < 0 || b.Output < 0 || b.Tools < 0 || b.Floor < 0 || b.Floor > b.Input || b.Total() < b.Output || b.InputTokens < 0 || b.OutputTokens < 0 || b.Rate <= 0 || !b.Known() {
			t.Fatalf("got %+v", b)
		}
		a.Bound = b
		if n := p.Accrued(a); n < 0 || n > b.Total() {
			t.Fatalf("accrued %d of %+v", n, b)
		}
	})
}
