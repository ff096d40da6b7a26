package price

import (
	"math"
	"math/big"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func embeddedBook(t testing.TB) *Book {
	t.Helper()
	b, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t testing.TB, text string) *Book {
	t.Helper()
	b, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func split(name string) (vendor, model string) {
	vendor, model, _ = strings.Cut(name, "/")
	return vendor, model
}

// costOf is what a result costs by an entry.
func costOf(e *Entry, r *gateway.Result) (c gateway.Cost, ok bool) {
	var b bill
	ok = e.charge(&r.Usage, service(r.ServiceTier, r.Usage.Speed), &b)
	c.Classes, c.Total = b.classes, b.total
	return c, ok
}

// oracle is count × pico × num ÷ (1000 × den), rounded up, or nil when it does not fit.
func oracle(count, pico int64, s scale) *big.Int {
	v := new(big.Int).Mul(big.NewInt(count), big.NewInt(pico))
	v.Mul(v, new(big.Int).SetUint64(s.num))
	den := new(big.Int).Mul(big.NewInt(1000), new(big.Int).SetUint64(s.den))
	v.Add(v, new(big.Int).Sub(den, big.NewInt(1)))
	v.Quo(v, den)
	if !v.IsInt64() || v.Int64() == math.MaxInt64 {
		return nil
	}
	return v
}

func checkCharge(t *testing.T, count, pico int64, s scale) {
	t.Helper()
	got, ok := charge(count, pico, s)
	want := oracle(count, pico, s)
	if ok != (want != nil) || ok && int64(got) != want.Int64() {
		t.Fatalf("charge(%d, %d, %v): got %d, %v, want %v", count, pico, s, got, ok, want)
	}
}

func TestChargesAgreeWithBigIntegers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		s := scale{1 + rnd.Uint64N(1e8), 1 + rnd.Uint64N(1e8)}
		if rnd.IntN(3) == 0 {
			s = unscaled
		}
		checkCharge(t, rnd.Int64()>>rnd.IntN(63), rnd.Int64()>>rnd.IntN(63), s)
	}
	for _, n := range []int64{0, 1, 999, 1000, 1001, 1 << 40, 1 << 50, math.MaxInt64 - 1, math.MaxInt64} {
		for _, m := range []int64{0, 1, 999, 1000, 1001, 1e12, math.MaxInt64} {
			for _, s := range []scale{unscaled, {1, 2}, {11, 10}, {11, 20}, {1e8, 1}, {1, 1e8}} {
				checkCharge(t, n, m, s)
			}
		}
	}
}

func FuzzCharge(f *testing.F) {
	f.Add(int64(1000), int64(3_000_000), uint16(1), uint16(2))
	f.Fuzz(func(t *testing.T, count, pico int64, num, den uint16) {
		s := scale{uint64(num) + 1, uint64(den) + 1}
		if count < 0 || pico < 0 {
			if n, ok := charge(count, pico, s); ok {
				t.Fatalf("a negative factor was charged: %d", n)
			}
			return
		}
		checkCharge(t, count, pico, s)
	})
}

func TestUsageThatMakesNoSenseHasNoCost(t *testing.T) {
	e, _ := embeddedBook(t).Look("anthropic", "claude-opus-5")
	for _, u := range []gateway.Usage{
		{Input: -1}, {Input: 5, Output: -2}, {Output: math.MaxInt64}, {CacheRead: 1 << 62, Output: 1 << 62},
	} {
		if c, ok := costOf(e, &gateway.Result{Usage: u}); ok {
			t.Errorf("%+v: got %v, want a refusal", u, c)
		}
	}
}

func TestPricesNotStatedFollowFromThoseThatAre(t *testing.T) {
	book := parse(t, "version 1\nv/plain input=2 output=8\nv/full input=2 output=8 cache_read=0.5 cache_write=3 reasoning=9 audio_in=4\n"+
		"v/long input=2 output=8 audio_in=7 web_search=0.01 >100:input=4 >100:output=16 flex:input=1 flex:output=4\n")
	for _, c := range []struct {
		model, tier string
		prompt      int64
		want        Rates
	}{
		{"plain", "", 1, Rates{2e6, 2e6, 2e6, 2e6, 8e6, 8e6, 2e6, 8e6, 2e6, 8e6, 0}},
		{"full", "", 1, Rates{2e6, 5e5, 3e6, 3e6, 8e6, 9e6, 4e6, 8e6, 2e6, 8e6, 0}},
		{"long", "", 100, Rates{2e6, 2e6, 2e6, 2e6, 8e6, 8e6, 7e6, 8e6, 2e6, 8e6, 1e10}},
		{"long", "", 101, Rates{4e6, 4e6, 4e6, 4e6, 16e6, 16e6, 7e6, 16e6, 4e6, 16e6, 1e10}},
		{"long", "flex", 100, Rates{1e6, 1e6, 1e6, 1e6, 4e6, 4e6, 7e6, 4e6, 1e6, 4e6, 1e10}},
		// No price for a long flex request: the dearer of both, class by class.
		{"long", "flex", 101, Rates{4e6, 4e6, 4e6, 4e6, 16e6, 16e6, 7e6, 16e6, 4e6, 16e6, 1e10}},
	} {
		e, _ := book.Look("v", c.model)
		if got, s := e.schedule(c.prompt, c.tier, ""); got.Rates != c.want || s != unscaled {
			t.Errorf("%s %s at %d: got %v × %v, want %v", c.model, c.tier, c.prompt, got.Rates, s, c.want)
		}
	}
}

func TestModelsAreFoundByNameAliasDateAndFamily(t *testing.T) {
	book := embeddedBook(t)
	for _, c := range []struct{ vendor, model, want, status string }{
		{"anthropic", "claude-sonnet-5", "anthropic/claude-sonnet-5", names.PriceStatusExact},
		{"anthropic", "claude-sonnet-5-20260201", "anthropic/claude-sonnet-5", names.PriceStatusAlias},
		{"anthropic", "claude-opus-4-20250514", "anthropic/claude-opus-4", names.PriceStatusAlias},
		{"anthropic", "claude-sonnet-4-5[1m]", "anthropic/claude-sonnet-4-5", names.PriceStatusAlias},
		{"anthropic", "claude-sonnet-4-5-20250929[1m]", "anthropic/claude-sonnet-4-5", names.PriceStatusAlias},
		{"anthropic", "claude-opus-4-0", "anthropic/claude-opus-4", names.PriceStatusAlias},
		{"anthropic", "claude-3-5-haiku-latest", "anthropic/claude-3-5-haiku", names.PriceStatusAlias},
		{"anthropic", "claude-opus-9", "anthropic/claude-3-opus", names.PriceStatusAssumed},
		{"anthropic", "claude-novella-1", "anthropic/claude-3-opus", names.PriceStatusAssumed}, // of no kind known: the dearest Claude
		{"anthropic", "gpt-5", "", names.PriceStatusUnknown},
		{"openai", "gpt-4o-2024-05-13", "openai/gpt-4o-2024-05-13", names.PriceStatusExact}, // dearer than gpt-4o
		{"openai", "gpt-5.4-2026-03-05", "openai/gpt-5.4", names.PriceStatusAlias},
		{"openai", "gpt-5.6", "openai/gpt-5.5", names.PriceStatusAssumed},
		{"openai", "gpt-5.6-mini", "openai/gpt-5.4-mini", names.PriceStatusAssumed},
		{"openai", "", "", names.PriceStatusUnknown},
		{"gcp.gemini", "models/gemini-2.5-pro", "gemini/gemini-2.5-pro", names.PriceStatusExact},
		{"x_ai", "grok-4.3", "xai/grok-4.3", names.PriceStatusExact},
		{"nobody", "claude-sonnet-5", "", names.PriceStatusUnknown},
	} {
		e, status := book.Look(c.vendor, c.model)
		got := ""
		if e != nil {
			got = e.Name()
		}
		if got != c.want || status != c.status {
			t.Errorf("%s %s: got %q %s, want %q %s", c.vendor, c.model, got, status, c.want, c.status)
		}
	}
}

func TestTheEmbeddedBookHasEveryVendor(t *testing.T) {
	book := embeddedBook(t)
	n := map[string]int{}
	for e := range book.Entries() {
		n[e.Vendor]++
	}
	for _, vendor := range []string{"anthropic", "openai", "gemini", "mistral", "deepseek", "groq", "xai", "cohere", "together_ai", "fireworks_ai",
		"perplexity", "moonshot", "cerebras", "openrouter"} {
		if n[vendor] == 0 {
			t.Errorf("no prices of %s", vendor)
		}
	}
}

func TestABookIsWrittenAsItIsRead(t *testing.T) {
	first := embeddedBook(t).Format()
	if got := parse(t, string(first)).Format(); string(got) != string(first) {
		t.Error("a book that was written and read is another one")
	}
	if string(first) != string(embedded) {
		t.Error("prices.txt is not as the importer writes it; go generate")
	}
}

func TestBrokenBooksAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "version",
		"version 1\nversion 2":   "line 2",
		"version 1\nv/m input=1": "output",
		"version 1\nv/m input=1 output=2 input=1":               "second time",
		"version 1\nv/m input=1 output=2\nv/m input=1 output=2": "second time",
		"version 1\nm input=1 output=2":                         "vendor/model",
		"version 1\nv/m input=-1 output=2":                      "price",
		"version 1\nv/m input=1e400 output=2":                   "price",
		"version 1\nv/m input=0.0000001 output=2":               "decimals",
		"version 1\nv/m input=9999999 output=2":                 "price",
		"version 1\nv/m input=1 output=2 often:input=1":         "tier",
		"version 1\nv/m input=1 output=2 >x:input=1":            "tokens",
		"version 1\nv/m input=1 output=2 smell=1":               "class",
		"version 1\nv/m input=1 output=2 batch*1/0":             "fraction",
		"version 1\nv/m input=1 output=2 batch*1/2 batch*1/2":   "second time",
		"version 1\nv/m input=1 output=2 geo:*1/2":              "tier",
		"version 1\nv/m input=1 output=2 context=-4":            "tokens",
		"version 1\nalias v/m n":                                "no such model",
		"version 1\nv/m input=1 output=2\nalias v/m m":          "already",
		"version 1\nfamily v":                                   "family",
		"version 1\nfamily v/[":                                 "family",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("version 1\nv/m context=9 input=1 output=2 >10:input=3 flex>10:output=4 batch*1/2 geo:us*11/10\nalias v/m n\nfamily v/m*\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := Parse([]byte(text))
		if err != nil {
			return
		}
		again, err := Parse(b.Format())
		if err != nil {
			t.Fatalf("%q was written as what is no book: %v", text, err)
		}
		if string(again.Format()) != string(b.Format()) {
			t.Fatalf("%q changes when it is written and read", text)
		}
	})
}

func TestFixedReadsNumbersExactly(t *testing.T) {
	for _, c := range []struct {
		text      string
		places    int
		want      int64
		exact, ok bool
	}{
		{"0", 9, 0, true, true}, {"1", 9, 1e9, true, true}, {"0.00014", 9, 140_000, true, true}, {"1.4e-4", 9, 140_000, true, true},
		{"1.4E-04", 9, 140_000, true, true}, {"2e3", 9, 2e12, true, true}, {"0.0000000001", 9, 1, false, true}, {"1e-30", 9, 1, false, true},
		{"0.1234567891", 9, 123_456_790, false, true}, {"9223372036.854775807", 9, math.MaxInt64, true, true}, {"9e18", 9, 0, false, false}, {"1e9999", 9, 0, false, false},
		{"0e9999", 9, 0, true, true}, {"1e-9999", 9, 1, false, true}, {"1e99999999", 9, 0, false, false}, {"", 9, 0, false, false}, {".", 9, 0, false, false}, {"-1", 9, 0, false, false},
		{`"1"`, 9, 0, false, false}, {"1x", 9, 0, false, false}, {"1.2.3", 9, 0, false, false}, {"null", 9, 0, false, false},
		{"0.30000000000000004", 6, 300_001, false, true}, {"123456789012345678901234567890", 0, 0, false, false},
	} {
		n, exact, ok := gateway.Fixed([]byte(c.text), c.places)
		if ok != c.ok || ok && (n != c.want || exact != c.exact) {
			t.Errorf("%s at %d: got %d %v %v, want %d %v %v", c.text, c.places, n, exact, ok, c.want, c.exact, c.ok)
		}
	}
}

func FuzzFixed(f *testing.F) {
	f.Add("1.25e-6", 12)
	f.Fuzz(func(t *testing.T, text string, places int) {
		places = min(max(places, 0), 18)
		n, exact, ok := gateway.Fixed([]byte(text), places)
		if !ok || len(text) > 17 || strings.ContainsAny(text, "eE") {
			return
		}
		r, valid := new(big.Rat).SetString(text)
		if !valid {
			return // "1." is a number here and none there
		}
		r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)))
		want := new(big.Int).Add(r.Num(), new(big.Int).Sub(r.Denom(), big.NewInt(1)))
		want.Quo(want, r.Denom())
		if want.Cmp(big.NewInt(n)) != 0 || exact != r.IsInt() {
			t.Fatalf("%q at %d: got %d %v, want %v %v", text, places, n, exact, want, r.IsInt())
		}
	})
}

func TestAmountsPrintWithoutExponent(t *testing.T) {
	for n, want := range map[gateway.NanoUSD]string{0: "0", 1: "0.000000001", 40: "0.00000004", 1e9: "1", 1_500_000_000: "1.5", -2_000_000_001: "-2.000000001",
		math.MinInt64: "-9223372036.854775808"} {
		if got := n.String(); got != want {
			t.Errorf("%d: got %s, want %s", int64(n), got, want)
		}
	}
}

func provider(name, genAI string) *gateway.Provider {
	return &gateway.Provider{Name: name, GenAI: genAI, Family: "openai", BaseURL: &url.URL{}}
}

func BenchmarkPrice(b *testing.B) {
	p, err := New(Config{Book: embeddedBook(b)})
	if err != nil {
		b.Fatal(err)
	}
	x := &gateway.Exchange{Call: gateway.Call{Operation: names.OperationChat}}
	a := &gateway.Attempt{Exchange: x, Target: gateway.Target{Provider: provider("anthropic", "anthropic"), Model: "claude-sonnet-5-20260201"}}
	a.Result.Usage = gateway.Usage{Input: 1000, CacheRead: 20_000, CacheWrite: 900, Output: 512, Reasoning: 99, WebSearches: 1, Geo: "us", Source: names.UsageSourceProvider}
	b.ReportAllocs()
	for b.Loop() {
		if c := p.Price(a); !c.Known() {
			b.Fatal("no cost")
		}
	}
}
