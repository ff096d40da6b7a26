package route

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// prompt is an exchange of some 1,000 estimated tokens.
func prompt() *gateway.Exchange {
	return &gateway.Exchange{
		Body:  []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("abcd", 996) + `"}]}`),
		Call:  gateway.Call{Model: "m", Messages: 1},
		Route: gateway.Route{Label: DefaultLabel},
	}
}

// answered is an attempt at the client's model that the provider says read so many tokens.
func answered(x *gateway.Exchange, read int64) *gateway.Attempt {
	return &gateway.Attempt{Exchange: x, Kind: names.AttemptKindPrimary, Result: gateway.Result{
		Usage: gateway.Usage{Input: read - 100, CacheRead: 100, Source: names.UsageSourceProvider},
	}}
}

func TestThresholdComesToHoldForTheProvidersTokens(t *testing.T) {
	counter := tokens.NewCounter(tokens.Options{MaxExact: -1})
	r := mustRouter(t, Config{Tokens: counter, Rules: []Rule{{Name: "long", Kind: KindTokenCount, Params: Params{Threshold: gateway.Some[int64](1400)}}}})
	x := prompt()
	estimate := func() int64 { return counter.Estimate(x.Body, jsonscan.Root(x.Body), "m") }
	if n := estimate(); n != 1000 {
		t.Fatalf("estimate before: got %d, want 1000", n)
	}
	for range 20 {
		r.Learn(answered(x, 1500))
	}
	if n := estimate(); math.Abs(float64(n-1500)) > 30 {
		t.Errorf("estimate after: got %d, want about the provider's 1500", n)
	}
	if err := r.Label(t.Context(), x); err != nil || x.Route.Label != "long" {
		t.Errorf("label: got %q (%v), want long: 1500 tokens are more than 1400", x.Route.Label, err)
	}
}

func TestAnswersThatTeachNothing(t *testing.T) {
	counter := tokens.NewCounter(tokens.Options{MaxExact: -1})
	r := mustRouter(t, Config{Tokens: counter, Rules: []Rule{{Name: "long", When: "call.input_tokens > 1400"}}})
	for name, edit := range map[string]func(x *gateway.Exchange, a *gateway.Attempt){
		"estimated usage":             func(_ *gateway.Exchange, a *gateway.Attempt) { a.Result.Usage.Source = names.UsageSourceEstimated },
		"no usage":                    func(_ *gateway.Exchange, a *gateway.Attempt) { a.Result.Usage = gateway.Usage{} },
		"a rule led to another model": func(x *gateway.Exchange, a *gateway.Attempt) { x.Route.Rule, a.Target.Model = "long", "other" },
		"a fallback was another model": func(_ *gateway.Exchange, a *gateway.Attempt) {
			a.Kind, a.Target.Model = names.AttemptKindFallback, "other"
		},
		"images":                func(x *gateway.Exchange, _ *gateway.Attempt) { x.Call.Images = 1 },
		"state at the provider": func(x *gateway.Exchange, _ *gateway.Attempt) { x.Call.PreviousResponse = "resp_1" },
		"a web search":          func(_ *gateway.Exchange, a *gateway.Attempt) { a.Result.Usage.WebSearches = 1 },
		"a file": func(x *gateway.Exchange, _ *gateway.Attempt) {
			x.Body = []byte(strings.Replace(string(x.Body), `{"role"`, `{"role":"user","content":[{"type":"document","source":{"type":"base64","data":"x"}}]},{"role"`, 1))
		},
		"a large body": func(x *gateway.Exchange, _ *gateway.Attempt) { x.Body = append(x.Body, make([]byte, maxLesson)...) },
	} {
		x := prompt()
		a := answered(x, 1900)
		edit(x, a)
		r.Learn(a)
		if n := counter.Estimate(prompt().Body, jsonscan.Root(prompt().Body), "m"); n != 1000 {
			t.Errorf("%s: got an estimate of %d, want 1000 still", name, n)
			return
		}
	}
	r.Learn(answered(prompt(), 1900))
	if n := counter.Estimate(prompt().Body, jsonscan.Root(prompt().Body), "m"); n <= 1000 {
		t.Errorf("an answer that teaches: got %d, want more than 1000", n)
	}
}

func TestNobodyLearnsWithoutARuleThatCounts(t *testing.T) {
	counter := tokens.NewCounter(tokens.Options{MaxExact: -1})
	r := mustRouter(t, Config{Tokens: counter, Rules: []Rule{
		{Name: "t", Kind: KindThinking}, {Name: "s", When: "call.stream"},
		{Name: "old", Kind: KindTokenCount, Params: Params{Threshold: gateway.Some[int64](9), Count: CountMessages}},
	}})
	x := prompt()
	r.Learn(answered(x, 1900))
	if n := counter.Estimate(x.Body, jsonscan.Root(x.Body), "m"); n != 1000 {
		t.Errorf("got an estimate of %d, want 1000 still", n)
	}
}

func BenchmarkLearn(b *testing.B) {
	for _, size := range []int{1 << 10, 200 << 10} {
		for _, counts := range []bool{true, false} {
			b.Run(fmt.Sprintf("%d kB, counts %v", size>>10, counts), func(b *testing.B) {
				cfg := Config{Tokens: tokens.NewCounter(tokens.Options{})}
				if counts {
					cfg.Rules = []Rule{{Name: "long", Kind: KindTokenCount, Params: Params{Threshold: gateway.Some[int64](60_000)}}}
				}
				r := mustRouter(b, cfg)
				x := prompt()
				x.Body = []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("abcd", size/4) + `"}]}`)
				a := answered(x, 1500)
				b.ReportAllocs()
				for b.Loop() {
					r.Learn(a)
				}
			})
		}
	}
}
