package price

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// oddBills are worked out by hand like bills, for what few models have. Prices are in USD per million.
var oddBills = []struct {
	name, entry string
	usage       gateway.Usage
	tier        string
	want        gateway.NanoUSD
}{
	{"a threshold that must be passed", "input=2 output=8 >100:input=4 >100:output=16", gateway.Usage{Input: 100, Output: 10}, "", 280_000}, // 100 × 2 + 10 × 8 = 280 µ$
	{"and is", "input=2 output=8 >100:input=4 >100:output=16", gateway.Usage{Input: 101, Output: 10}, "", 564_000},                          // 101 × 4 + 10 × 16 = 564 µ$
	{"a threshold to reach", "input=2 output=8 >=100:input=4 >=100:output=16", gateway.Usage{Input: 99, Output: 10}, "", 278_000},           // 99 × 2 + 10 × 8 = 278 µ$
	{"and reached", "input=2 output=8 >=100:input=4 >=100:output=16", gateway.Usage{Input: 100, Output: 10}, "", 560_000},                   // 100 × 4 + 10 × 16 = 560 µ$
	{"a margin not reached", "input=2 output=8 +>100:input=4", gateway.Usage{Input: 100, Output: 10}, "", 280_000},                          // 100 × 2 + 10 × 8 = 280 µ$
	{"a margin", "input=2 output=8 +>100:input=4", gateway.Usage{Input: 130, Output: 10}, "", 400_000},                                      // 100 × 2 + 30 × 4 + 10 × 8 = 400 µ$
	{"a margin from a token on", "input=2 output=8 +>=100:input=4", gateway.Usage{Input: 130, Output: 10}, "", 402_000},                     // 99 × 2 + 31 × 4 + 10 × 8 = 402 µ$
	{"a margin with its own output", "input=2 output=8 +>100:input=4 +>100:output=9", gateway.Usage{Input: 130, Output: 10}, "", 410_000},   // 100 × 2 + 30 × 4 + 10 × 9 = 410 µ$
	{"two margins", "input=2 output=8 +>100:input=3 +>200:input=4", gateway.Usage{Input: 250, Output: 1}, "", 708_000},                      // 100 × 2 + 100 × 3 + 50 × 4 + 1 × 8 = 708 µ$
	{"a margin beyond a threshold", "input=2 output=8 >100:input=3 +>200:input=4", gateway.Usage{Input: 250, Output: 1}, "", 808_000},       // 200 × 3 + 50 × 4 + 1 × 8 = 808 µ$
	// What is read from the cache comes first in a prompt: 90 of it are before the margin; of the 40 others 10 are, 30 beyond.
	{"a margin behind the cache", "input=2 cache_read=0.2 output=8 +>100:input=4 +>100:cache_read=0.4", gateway.Usage{Input: 40, CacheRead: 90}, "", 158_000},            // 90 × 0.2 + 10 × 2 + 30 × 4 = 158 µ$
	{"the cache beyond a margin", "input=2 cache_read=0.2 output=8 +>100:input=4 +>100:cache_read=0.4", gateway.Usage{Input: 5, CacheRead: 130}, "", 52_000},             // 100 × 0.2 + 30 × 0.4 + 5 × 4 = 52 µ$
	{"a margin in another tier", "input=2 output=8 +>100:input=4 flex:input=1 flex:output=4 flex+>100:input=1.5", gateway.Usage{Input: 120, Output: 5}, "flex", 150_000}, // 100 × 1 + 20 × 1.5 + 5 × 4 = 150 µ$
	{"a margin at half the price", "input=2 output=8 +>100:input=4 batch*1/2", gateway.Usage{Input: 120, Output: 5}, "batch", 160_000},                                   // (100 × 2 + 20 × 4 + 5 × 8) × 1/2 = 160 µ$
	{"searches, each", "input=2 output=8 web_search=0.014", gateway.Usage{Input: 10, WebSearches: 3}, "", 42_020_000},                                                    // 10 × 2 + 3 × 0.014 $ = 42,020 µ$
	{"searches, once", "input=2 output=8 web_search=0.035/request", gateway.Usage{Input: 10, WebSearches: 3}, "", 35_020_000},                                            // 10 × 2 + 0.035 $ = 35,020 µ$
	{"no search", "input=2 output=8 web_search=0.035/request", gateway.Usage{Input: 10}, "", 20_000},                                                                     // 10 × 2 = 20 µ$
	{"fractions of a nano-dollar, on both sides", "input=0.0001 output=8 +>3:input=0.0002", gateway.Usage{Input: 5}, "", 2},                                              // 3 × 0.1 n$ = 0.3, up to 1; 2 × 0.2 n$ = 0.4, up to 1
}

func TestOddBillsComeOutAsWorkedOutByHand(t *testing.T) {
	for _, b := range oddBills {
		e, _ := parse(t, "version 1\nv/m "+b.entry+"\n").Look("v", "m")
		c, ok := costOf(e, &gateway.Result{Usage: b.usage, ServiceTier: b.tier})
		if !ok || c.Total != b.want {
			t.Errorf("%s: got %d nano-dollars, want %d", b.name, c.Total, b.want)
		}
	}
}

func TestGeminiBillsGroundingByPromptOrByQuery(t *testing.T) {
	book := embeddedBook(t)
	for model, want := range map[string]gateway.NanoUSD{"gemini-2.5-flash": 35_000_000, "gemini-3.5-flash": 42_000_000} { // 0.035 $; 3 × 0.014 $
		e, _ := book.Look("gcp.gemini", model)
		if c, ok := costOf(e, &gateway.Result{Usage: gateway.Usage{WebSearches: 3}}); !ok || c.Total != want {
			t.Errorf("%s: got %d, want %d", model, c.Total, want)
		}
	}
}

func TestSamplingsByOtherModelsAreBilledAtTheirPrices(t *testing.T) {
	anthropic := provider("anthropic", "anthropic")
	p := newPricer(t, nil, anthropic)
	const big, small = "anthropic/claude-big context=1000 input=10 cache_read=1 output=50 >100:input=20 >100:output=75 batch*1/2", "anthropic/claude-small input=1 output=5"
	for name, c := range map[string]struct {
		add   func(u *gateway.Usage)
		want  gateway.NanoUSD
		entry string
	}{
		// All begin with 10 × 10 + 4 × 50 = 300 µ$.
		"none":                              {func(*gateway.Usage) {}, 300_000, big},
		"compacted":                         {func(u *gateway.Usage) { u.AddOther("", gateway.Usage{Input: 90, Output: 2}) }, 1_300_000, big},  // + 90 × 10 + 2 × 50
		"compacted, of a long conversation": {func(u *gateway.Usage) { u.AddOther("", gateway.Usage{Input: 101, Output: 2}) }, 2_470_000, big}, // + 101 × 20 + 2 × 75
		"advised": {func(u *gateway.Usage) {
			u.AddOther("claude-small", gateway.Usage{Input: 7, CacheRead: 1, CacheWrite: 1, CacheWrite1h: 1, Output: 3})
		}, 325_000, big + "\n" + small}, // + 10 × 1 + 3 × 5
		"both": {func(u *gateway.Usage) {
			u.AddOther("claude-small", gateway.Usage{Input: 7})
			u.AddOther("", gateway.Usage{Input: 1})
		}, 317_000, big + "\n" + small}, // + 7 × 1 + 1 × 10
		"by a new one":  {func(u *gateway.Usage) { u.AddOther("claude-new", gateway.Usage{Input: 7}) }, 370_000, big + "\n" + big}, // + 7 × 10, assumed
		"by an unknown": {func(u *gateway.Usage) { u.AddOther("other", gateway.Usage{Input: 7}) }, 0, ""},
	} {
		a := attempt(anthropic, nil, "", "claude-big")
		c.add(&a.Result.Usage)
		got := p.Price(a)
		if got.Total != c.want || got.Entry != c.entry || got.Known() != (c.entry != "") {
			t.Errorf("%s: got %d by %q, want %d by %q", name, got.Total, got.Entry, c.want, c.entry)
		}
		if c.entry == "" {
			continue
		}
		if _, total, err := Explain(&got, &a.Result.Usage, ""); err != nil || total != c.want {
			t.Errorf("%s: explained as %d, %v, want %d", name, total, err, c.want)
		}
	}
}

// randomEntry is an entry of a book with all that one can have.
func randomEntry(rnd *rand.Rand) string {
	var b strings.Builder
	price := func() string {
		return FormatRate(gateway.CostInput, rnd.Int64N(40)*int64(math.Pow10(rnd.IntN(7))))
	}
	fmt.Fprintf(&b, "v/m input=%s output=%s", price(), price())
	if rnd.IntN(2) == 0 {
		fmt.Fprintf(&b, " context=%d max_output=%d", 50+rnd.IntN(5000), 1+rnd.IntN(300))
	}
	some := func(prefix string) {
		for i, name := range classNames {
			if i == int(gateway.CostWebSearch) || prefix == "" && (name == "input" || name == "output") || rnd.IntN(2) == 0 {
				continue
			}
			fmt.Fprintf(&b, " %s%s=%s", prefix, name, price())
		}
	}
	some("")
	switch rnd.IntN(3) {
	case 0:
		fmt.Fprintf(&b, " web_search=0.%04d", rnd.IntN(1000))
	case 1:
		fmt.Fprintf(&b, " web_search=0.%04d/request", rnd.IntN(1000))
	}
	for _, service := range []string{"", "flex", "priority", "fast"} {
		if service != "" && rnd.IntN(3) > 0 {
			continue
		}
		if service != "" && rnd.IntN(2) == 0 {
			some(service + ":")
		}
		for range rnd.IntN(3) {
			plus := [...]string{"", "+"}[rnd.IntN(2)]
			some(fmt.Sprintf("%s%s>%d:", service, plus, 1+rnd.IntN(100)))
		}
	}
	for _, f := range []string{"batch", "flex", "priority", "fast", "geo:us", "geo:eu"} {
		if rnd.IntN(2) == 0 {
			fmt.Fprintf(&b, " %s*%d/%d", f, 1+rnd.IntN(30), 1+rnd.IntN(30))
		}
	}
	return b.String()
}

func randomUsage(rnd *rand.Rand, most int64) gateway.Usage {
	n := func() int64 { return rnd.Int64N(most+1) * int64(rnd.IntN(2)) }
	return gateway.Usage{Input: n(), CacheRead: n(), CacheWrite: n(), CacheWrite1h: n(), Output: n(), Reasoning: n(), AudioIn: n(), AudioOut: n(),
		ImageIn: n(), ImageOut: n(), WebSearches: int64(rnd.IntN(4)), Speed: [...]string{"", "", "standard", "fast"}[rnd.IntN(4)],
		Geo: [...]string{"", "us", "eu", "asia"}[rnd.IntN(4)], Source: names.UsageSourceProvider}
}

// bigBill works out a bill a token at a time, in big integers, from the definitions in the book's format.
func bigBill(e *Entry, u *gateway.Usage, tier string) *big.Int {
	if u.Speed == "fast" {
		tier = "fast"
	}
	offers := func(tier string) bool {
		for _, s := range e.Schedules {
			if s.Service == tier {
				return true
			}
		}
		for _, f := range e.Factors {
			if f.Name == tier {
				return true
			}
		}
		return false
	}
	if tier == "fast" && !offers("fast") {
		tier = "priority"
	}
	find := func(service string, at int64, marginal bool, least int64) *Schedule {
		var best *Schedule
		for i := range e.Schedules {
			s := &e.Schedules[i]
			if s.Service == service && s.Marginal == marginal && (s.Above == 0 || s.Above < at) && s.Above >= least && (best == nil || s.Above > best.Above) {
				best = s
			}
		}
		return best
	}
	prompt := u.Input + u.CacheRead + u.CacheWrite + u.CacheWrite1h + u.AudioIn + u.ImageIn
	factor := big.NewRat(1, 1)
	base := find(tier, prompt, false, 0)
	if base == nil {
		base = find("", prompt, false, 0)
		for _, f := range e.Factors {
			if f.Name == tier {
				factor.Mul(factor, big.NewRat(f.Num, f.Den))
			}
		}
	}
	for _, f := range e.Factors {
		if u.Geo != "" && f.Name == "geo:"+u.Geo {
			factor.Mul(factor, big.NewRat(f.Num, f.Den))
		}
	}
	type key struct {
		class    gateway.CostClass
		schedule *Schedule
	}
	sums := map[key]*big.Rat{}
	take := func(class gateway.CostClass, s *Schedule, factor *big.Rat) {
		k := key{class, s}
		if sums[k] == nil {
			sums[k] = new(big.Rat)
		}
		sums[k].Add(sums[k], new(big.Rat).Mul(big.NewRat(s.Rates[class], 1000), factor))
	}
	at := int64(0)
	last := base
	for _, c := range []struct {
		class gateway.CostClass
		n     int64
	}{{gateway.CostCacheRead, u.CacheRead}, {gateway.CostCacheWrite1h, u.CacheWrite1h}, {gateway.CostCacheWrite, u.CacheWrite}, {gateway.CostInput, u.Input},
		{gateway.CostAudioIn, u.AudioIn}, {gateway.CostImageIn, u.ImageIn}} {
		for range c.n {
			at++
			last = base
			if m := find(base.Service, at, true, base.Above); m != nil {
				last = m
			}
			take(c.class, last, factor)
		}
	}
	for _, c := range []struct {
		class gateway.CostClass
		n     int64
	}{{gateway.CostOutput, u.Output}, {gateway.CostReasoning, u.Reasoning}, {gateway.CostAudioOut, u.AudioOut}, {gateway.CostImageOut, u.ImageOut}} {
		for range c.n {
			take(c.class, last, factor)
		}
	}
	searches := u.WebSearches
	if e.SearchOnce {
		searches = min(searches, 1)
	}
	for range searches {
		take(gateway.CostWebSearch, last, big.NewRat(1, 1))
	}
	total := new(big.Int)
	for _, r := range sums {
		up := new(big.Int).Add(r.Num(), new(big.Int).Sub(r.Denom(), big.NewInt(1)))
		total.Add(total, up.Quo(up, r.Denom()))
	}
	return total
}

var tiers = []string{"", "standard", "default", "batch", "flex", "priority", "fast", "scale"}

func TestWholeBillsAgreeWithBigIntegers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 6000 {
		line := randomEntry(rnd)
		book, err := Parse([]byte("version 1\n" + line + "\n"))
		if err != nil {
			if strings.Contains(err.Error(), "second time") || strings.Contains(err.Error(), "want +") {
				continue // two thresholds came out the same
			}
			t.Fatalf("%s: %v", line, err)
		}
		e, _ := book.Look("v", "m")
		u, tier := randomUsage(rnd, 60), tiers[rnd.IntN(len(tiers))]
		got, ok := costOf(e, &gateway.Result{Usage: u, ServiceTier: tier})
		if want := bigBill(e, &u, tier); !ok || want.Cmp(big.NewInt(int64(got.Total))) != 0 {
			t.Fatalf("%d: %s\n%+v %s: got %d, want %d", i, line, u, tier, got.Total, want)
		}
	}
}

func TestCostsAreExplainedExactly(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	anthropic := provider("anthropic", "anthropic")
	for i := range 4000 {
		line := strings.Replace(randomEntry(rnd), "v/m", "anthropic/m", 1)
		book, err := Parse([]byte("version 1\n" + line + "\nanthropic/n input=1 output=2 +>5:input=7\n"))
		if err != nil {
			continue
		}
		o := Override{Rates: Rates(randomRates(rnd)), Given: ClassSet(rnd.UintN(1 << classCount)), Inherit: rnd.IntN(2) == 0}
		p, err := New(Config{Book: book, Overrides: map[string]Override{"anthropic/m": o, "odd name\n# *=\u200b": o}, Providers: []*gateway.Provider{anthropic},
			Assume: gateway.Some(int64(rnd.IntN(1e6)))})
		if err != nil {
			if o.Inherit {
				o.Inherit = false
				p, err = New(Config{Book: book, Overrides: map[string]Override{"anthropic/m": o, "odd name\n# *=\u200b": o}, Providers: []*gateway.Provider{anthropic},
					Assume: gateway.Some(int64(rnd.IntN(1e6)))})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		a := attempt(anthropic, nil, "", [...]string{"m", "odd name\n# *=\u200b", "n", "unheard of"}[rnd.IntN(4)])
		a.Result.Usage, a.Result.ServiceTier = randomUsage(rnd, int64(1)<<rnd.IntN(40)), tiers[rnd.IntN(len(tiers))]
		for range rnd.IntN(3) {
			a.Result.Usage.AddOther([...]string{"", "m", "n", "unheard of"}[rnd.IntN(4)], randomUsage(rnd, 50))
		}
		c := p.Price(a)
		if !c.Known() {
			if c.Status != names.PriceStatusUnknown {
				t.Fatalf("%d: got no cost and status %s", i, c.Status)
			}
			continue // it does not fit
		}
		terms, total, err := Explain(&c, &a.Result.Usage, a.Result.ServiceTier)
		if err != nil || total != c.Total {
			t.Fatalf("%d: %s\n%+v: got %d, %v, want %d", i, c.Entry, a.Result.Usage, total, err, c.Total)
		}
		checkTerms(t, &c, terms)
	}
}

func randomRates(rnd *rand.Rand) (r [classCount]int64) {
	for i := range r {
		r[i] = rnd.Int64N(int64(math.Pow10(1 + rnd.IntN(14))))
	}
	return r
}

// checkTerms checks each product, and that the terms make the classes.
func checkTerms(t *testing.T, c *gateway.Cost, terms []Term) {
	t.Helper()
	var classes [gateway.CostClasses]gateway.NanoUSD
	for _, x := range terms {
		if want := oracle(x.Count, x.Price, scale{uint64(x.Factor.Num), uint64(x.Factor.Den)}); want == nil || want.Int64() != int64(x.Amount) || x.Entry == "" || x.Count <= 0 {
			t.Fatalf("%+v: want %d", x, want)
		}
		classes[x.Class] += x.Amount
	}
	if classes != c.Classes {
		t.Fatalf("the terms make %v, the classes are %v", classes, c.Classes)
	}
}

func TestCostsThatNobodyWorkedOutAreExplainedToo(t *testing.T) {
	u := gateway.Usage{Input: 5}
	for name, c := range map[string]struct {
		cost  gateway.Cost
		total gateway.NanoUSD
		terms int
		err   string
	}{
		"a provider's":       {gateway.Cost{Classes: [gateway.CostClasses]gateway.NanoUSD{gateway.CostUndivided: 77}, Total: 77, Source: "provider", Billing: "metered"}, 77, 1, ""},
		"free":               {gateway.Cost{Source: "local", Billing: "free"}, 0, 0, ""},
		"unknown":            {gateway.Cost{Source: "none", Status: "unknown"}, 0, 0, "known"},
		"never priced":       {gateway.Cost{}, 0, 0, "known"},
		"kept wrongly":       {gateway.Cost{Source: "local", Entry: "v/m input=x"}, 0, 0, "read the price"},
		"of a model too few": {gateway.Cost{Source: "local", Entry: "v/m input=1\nv/n input=1"}, 0, 0, "usage of a model"},
	} {
		terms, total, err := Explain(&c.cost, &u, "")
		if total != c.total || len(terms) != c.terms || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, %d, %v", name, terms, total, err)
		}
	}
	u.AddOther("x", gateway.Usage{Input: 1})
	if _, _, err := Explain(&gateway.Cost{Source: "local", Entry: "v/m input=1"}, &u, ""); err == nil || !strings.Contains(err.Error(), "of x") {
		t.Errorf("got %v, want an error about x", err)
	}
}

func TestEntriesKeptWithCostsAreReadAsTheyWere(t *testing.T) {
	check := func(e *Entry) {
		t.Helper()
		got, err := readEntry(e.String())
		if err != nil || got.String() != e.String() || len(got.Schedules) != len(e.Schedules) {
			t.Fatalf("%s: got %v, %v", e, got, err)
		}
		for i := range e.Schedules {
			if got.Schedules[i].Rates != e.Schedules[i].Rates {
				t.Fatalf("%s: schedule %d: got %v, want %v", e, i, got.Schedules[i].Rates, e.Schedules[i].Rates)
			}
		}
	}
	book := embeddedBook(t)
	for e := range book.Entries() {
		check(e)
	}
	rnd := rand.New(rand.NewPCG(7, 8))
	overrides := map[string]Override{}
	for e := range book.Entries() {
		overrides[e.Name()] = Override{Rates: Rates(randomRates(rnd)), Given: ClassSet(rnd.UintN(1 << classCount)), Inherit: rnd.IntN(3) > 0}
	}
	p, err := New(Config{Book: book, Overrides: overrides})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.byModel {
		check(e)
	}
}
