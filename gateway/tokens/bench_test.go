package tokens_test

import (
	"testing"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
)

func BenchmarkEstimate(b *testing.B) {
	for name, body := range map[string][]byte{"1kB": agentBody(300, 0, 500), "90kB": agentBody(28_900, 12, 11_500), "1MB": agentBody(28_900, 12, 900_000)} {
		b.Run(name, func(b *testing.B) {
			root := jsonscan.Root(body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				tokens.Estimate(body, root, tokens.All)
			}
		})
	}
}

func BenchmarkExact(b *testing.B) {
	body := agentBody(28_900, 12, 11_500)
	root := jsonscan.Root(body)
	near := tokens.Estimate(body, root, tokens.All).Tokens
	run := func(b *testing.B, c *tokens.Counter) {
		c.Exceeds(body, root, near, "gpt-5", tokens.All)
		b.ReportAllocs()
		for b.Loop() {
			if _, _, method := c.Exceeds(body, root, near, "gpt-5", tokens.All); method != tokens.MethodExact {
				b.Fatalf("counted by %s", method)
			}
		}
	}
	b.Run("cold", func(b *testing.B) { run(b, tokens.NewCounter(tokens.Options{CacheBytes: -1})) })
	b.Run("warm", func(b *testing.B) { run(b, tokens.NewCounter(tokens.Options{})) })
}

func TestEstimateAllocatesNothing(t *testing.T) {
	body := agentBody(28_900, 12, 11_500)
	root := jsonscan.Root(body)
	if n := testing.AllocsPerRun(20, func() { tokens.Estimate(body, root, tokens.All) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}
