package caller

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

var testPepper = bytes.Repeat([]byte("p"), 32)

// opened is a registry of n keys of the file, and the secret of the last.
func opened(t testing.TB, n int) (*Registry, gateway.Secret) {
	t.Helper()
	r, err := Open(t.Context(), Config{Pepper: testPepper})
	if err != nil {
		t.Fatal(err)
	}
	keys := make([]FileKey, n)
	for i := range keys {
		keys[i] = FileKey{Key: Key{Name: fmt.Sprint("k", i), Team: "t", Limits: Limits{RequestsPerMinute: 1e9, TokensPerMinute: 1e12}}, Secret: makeSecret()}
	}
	if err := r.Configure(keys, []Team{{Name: "t", Limits: Limits{InFlight: 1000}}}, Policy{}); err != nil {
		t.Fatal(err)
	}
	return r, keys[n-1].Secret
}

// asRegexp is what a pattern means.
func asRegexp(pattern string) *regexp.Regexp {
	return regexp.MustCompile("^(?s:" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + ")$")
}

func TestGlobIsTheRegularExpression(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	word := func(letters string, n int) string {
		b := make([]byte, rng.IntN(n))
		for i := range b {
			b[i] = letters[rng.IntN(len(letters))]
		}
		return string(b)
	}
	matched := 0
	for range 50_000 {
		pattern, name := word("ab**", 8), word("ab", 8)
		want := asRegexp(pattern).MatchString(name)
		if got := glob(pattern, name); got != want {
			t.Fatalf("%q %q: got %v, want %v", pattern, name, got, want)
		}
		if want {
			matched++
		}
	}
	if matched < 1000 {
		t.Errorf("only %d matched", matched)
	}
}

func TestGlobIsNotExponential(t *testing.T) {
	pattern, name := strings.Repeat("*a", maxPattern/2-1)+"b", strings.Repeat("a", 100_000)
	start := time.Now()
	if glob(pattern, name) {
		t.Error("it matched")
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestS04CoverIsInclusion(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	word := func(letters string, n int) string {
		b := make([]byte, 1+rng.IntN(n))
		for i := range b {
			b[i] = letters[rng.IntN(len(letters))]
		}
		return string(b)
	}
	covered := 0
	for range 20_000 {
		p, err := compile([]string{word("ab*", 5), word("ab*", 5)})
		if err != nil {
			t.Fatal(err)
		}
		child := word("ab*", 5)
		if p.cover([]string{child}) != "" {
			// There is a name that shows it: text that is in neither for each star.
			if witness := strings.ReplaceAll(child, "*", "#"); p.match(witness) || !glob(child, witness) {
				t.Fatalf("%q does not cover %q, but %q shows nothing", p.list, child, witness)
			}
			continue
		}
		covered++
		for range 20 {
			name := asName(child, func() string { return word("abc#", 3)[1:] })
			if !glob(child, name) || !p.match(name) {
				t.Fatalf("%q covers %q, but not %q", p.list, child, name)
			}
		}
	}
	if covered < 1000 {
		t.Errorf("only %d covered", covered)
	}
}

// asName replaces each star of a pattern.
func asName(pattern string, star func() string) string {
	var b strings.Builder
	for _, c := range pattern {
		if c == '*' {
			b.WriteString(star())
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func TestS11TheWholeDigestIsTheKey(t *testing.T) {
	r, secret := opened(t, 3)
	d := r.digests.digest(secret.Reveal())
	m := hmac.New(sha256.New, testPepper)
	m.Write([]byte(secret.Reveal()))
	if !bytes.Equal(d[:], m.Sum(nil)) {
		t.Errorf("got %x, want HMAC-SHA-256 %x", d, m.Sum(nil))
	}
	table := r.table.Load()
	if _, ok := table.find(d); !ok {
		t.Fatal("the key is not found")
	}
	for bit := range len(d) * 8 {
		near := d
		near[bit/8] ^= 1 << (bit % 8)
		if _, ok := table.find(near); ok {
			t.Errorf("a digest that differs in bit %d is found", bit)
		}
	}
	// Nor do a secret's parts run together with anything.
	for _, s := range []string{secret.Reveal() + "0", secret.Reveal()[:35], secret.Reveal() + secret.Reveal()} {
		if r.digests.digest(s) == d {
			t.Errorf("%d characters have the digest of 36", len(s))
		}
	}
}

// countedHash counts what a digest costs.
type countedHash struct {
	hash.Hash
	n *atomic.Int64
}

func (h countedHash) Write(b []byte) (int, error) {
	h.n.Add(int64(len(b)))
	return h.Hash.Write(b)
}

func (h countedHash) Sum(b []byte) []byte {
	h.n.Add(1 << 32)
	return h.Hash.Sum(b)
}

func TestS12KnownAndUnknownKeysTakeTheSameSteps(t *testing.T) {
	r, known := opened(t, 100)
	var n atomic.Int64
	r.digests = digesterOf(func() hash.Hash { return countedHash{hmac.New(sha256.New, testPepper), &n} })
	near := gateway.Secret(known.Reveal()[:35] + "!")
	near = near[:35] + map[bool]gateway.Secret{true: "b", false: "a"}[known[35] == 'a']
	for name, s := range map[string]gateway.Secret{"known": known, "almost known": near, "unknown": makeSecret()} {
		n.Store(0)
		_, err := r.Identify(s, netip.Addr{})
		if (err == nil) != (name == "known") {
			t.Errorf("%s: %v", name, err)
		}
		if got := n.Load(); got != 1<<32+36 {
			t.Errorf("%s: %d digests of %d bytes, want 1 of 36", name, got>>32, got&(1<<32-1))
		}
	}
	// What is compared is a whole digest, whether there is a key or not, and never
	// one that anybody could know.
	table := r.table.Load()
	a, ok := table.find(digest{})
	if ok || a != table.nobody || a.record.digest == (digest{}) {
		t.Errorf("an unknown digest is compared with %x, %v", a.record.digest, ok)
	}
}

// TestS12Timing reports Welch's t of the times that two kinds of unknown keys
// take, as dudect does. On a shared machine it decides nothing.
func TestS12Timing(t *testing.T) {
	r, known := opened(t, 1000)
	table := r.table.Load()
	near := known.Reveal()[:35] + map[bool]string{true: "b", false: "a"}[known[35] == 'a']
	far := makeSecret().Reveal()
	var sum, square [2]float64
	const samples = 50_000
	rng := rand.New(rand.NewPCG(9, 10))
	var count [2]float64
	for range samples * 2 {
		class := rng.IntN(2)
		s := [2]string{near, far}[class]
		start := time.Now()
		if _, ok := table.find(r.digests.digest(s)); ok {
			t.Fatal("an unknown key was found")
		}
		d := float64(time.Since(start))
		if d > 20_000 { // interrupted
			continue
		}
		count[class]++
		sum[class] += d
		square[class] += d * d
	}
	mean := func(i int) float64 { return sum[i] / count[i] }
	variance := func(i int) float64 { return square[i]/count[i] - mean(i)*mean(i) }
	welch := (mean(0) - mean(1)) / math.Sqrt(variance(0)/count[0]+variance(1)/count[1])
	t.Logf("t = %.2f over %.0f samples; almost known %.0f ns, unknown %.0f ns", welch, count[0]+count[1], mean(0), mean(1))
	if count[0] < samples/2 || count[1] < samples/2 {
		t.Errorf("only %v samples", count)
	}
}

func TestSecretsUseEveryCharacterAlike(t *testing.T) {
	var seen [256]int
	const n = 62 * 2000
	for _, c := range []byte(randomText(n)) {
		seen[c]++
	}
	chi := 0.0
	for _, c := range []byte(base62) {
		d := float64(seen[c]) - 2000
		chi += d * d / 2000
	}
	// 61 degrees of freedom: beyond 140 once in ten million runs.
	if chi > 140 {
		t.Errorf("chi² = %.0f", chi)
	}
	if !wellFormed(makeSecret().Reveal()) || wellFormed("ccp_"+strings.Repeat("a", 26)) || !wellFormed("ccp_"+strings.Repeat("a", 508)) || wellFormed("ccp_"+strings.Repeat("a", 509)) {
		t.Error("the shape is not what the configuration wants")
	}
}

func TestFailuresRememberFewAddresses(t *testing.T) {
	f := newFailures()
	f.all.limit = math.MaxInt64 // else it would not come to that
	for i := range 100_000 {
		f.count(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), int64(i)*1000)
	}
	if n := len(f.from); n > maxAddresses {
		t.Errorf("%d addresses, want at most %d", n, maxAddresses)
	}
	f.count(netip.AddrFrom4([4]byte{192, 0, 2, 1}), int64(time.Hour)) // all that is old goes first
	if n := len(f.from); n != 1 {
		t.Errorf("%d addresses an hour later, want 1", n)
	}
}

// FuzzBucket compares a bucket with exact fractions.
func FuzzBucket(f *testing.F) {
	f.Add(int64(60), int64(1), int64(2), int64(3), int64(5))
	f.Add(int64(7), int64(700), int64(1e9), int64(0), int64(100))
	f.Add(int64(1), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt32), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, limit, take, give, later, other int64) {
		limit, take, give, other = max(1, abs(limit)), abs(take), abs(give), max(1, abs(other))
		later = abs(later) % maxDebt
		b := bucket{limit: limit}
		b.take(0, take)
		debt := new(big.Int).Div(new(big.Int).Mul(big.NewInt(take), big.NewInt(minute)), big.NewInt(limit))
		if want := debt.Cmp(big.NewInt(maxDebt)); want < 0 && b.full != debt.Int64() || want >= 0 && b.full != maxDebt {
			t.Errorf("a debt of %d, want %v", b.full, debt)
		}
		if left := b.left(later); left < 0 || left > limit {
			t.Errorf("%d left of %d", left, limit)
		}
		if b.wait(later) <= 0 != (b.wait(later+1) <= 1) && b.debt(later+1) > 0 {
			t.Errorf("waits %v, then %v", b.wait(later), b.wait(later+1))
		}
		b.set(later, other)
		if d := b.debt(later); d < 0 || d > maxDebt {
			t.Errorf("a debt of %d after a change", d)
		}
		b.give(give)
		b.set(later, 0)
		if b.wait(later) != 0 {
			t.Error("without a limit there is a wait")
		}
	})
}

func abs(n int64) int64 {
	if n == math.MinInt64 {
		return math.MaxInt64
	}
	return max(n, -n)
}

func visitOnce(t testing.TB, r *Registry, secret gateway.Secret, from netip.Addr, x *gateway.Exchange, stop func()) {
	a, err := r.Identify(secret, from)
	if err != nil {
		t.Fatal(err)
	}
	v, err := a.Enter(x, stop)
	if err != nil {
		t.Fatal(err)
	}
	v.Leave(100)
}

// BenchmarkVisit is what a request's key costs: Identify, Enter and Leave.
func BenchmarkVisit(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint("keys=", n), func(b *testing.B) {
			r, secret := opened(b, n)
			x, from, stop := &gateway.Exchange{Body: make([]byte, 1000)}, netip.MustParseAddr("192.0.2.1"), func() {}
			b.ReportAllocs()
			for b.Loop() {
				visitOnce(b, r, secret, from, x, stop)
			}
		})
	}
}

// BenchmarkWrongKey is what a key costs that is none.
func BenchmarkWrongKey(b *testing.B) {
	r, _ := opened(b, 10_000)
	secret, from := makeSecret(), netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Identify(secret, from); err == nil {
			b.Fatal("a wrong key was let in")
		}
	}
}
