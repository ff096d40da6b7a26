package caller_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/caller"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// limited is a registry of one key, perhaps with a team.
func limited(t *testing.T, key caller.Limits, team *caller.Limits) (*caller.Registry, gateway.Access) {
	t.Helper()
	r := open(t, nil)
	k, teams := caller.Key{Name: "a", Limits: key}, []caller.Team(nil)
	if team != nil {
		k.Team, teams = "t", []caller.Team{{Name: "t", Limits: *team}}
	}
	configure(t, r, []caller.FileKey{fileKey(k)}, teams, caller.Policy{})
	return r, identify(t, r, secretOf("a"))
}

func TestRequestsPerMinute(t *testing.T) {
	for _, limit := range []int64{1, 3, 7, 60, 601} {
		synctest.Test(t, func(t *testing.T) {
			_, a := limited(t, caller.Limits{RequestsPerMinute: limit}, nil)
			for range limit {
				enter(t, a).Leave(0)
			}
			e := refused(t, a)
			if e.Type != names.ErrorRateLimitExceeded || e.Origin != names.ErrorOriginPolicy || e.Reason != names.RejectionRateLimit || e.Status != 429 || e.NoRetry {
				t.Errorf("got %+v", e)
			}
			if !strings.Contains(e.Message, `key "a"`) || !strings.Contains(e.Message, "requests per minute") {
				t.Errorf("message %q", e.Message)
			}
			// Retry-After is exact: a moment before is too early.
			time.Sleep(e.RetryAfter - 1)
			refused(t, a)
			time.Sleep(time.Nanosecond)
			enter(t, a).Leave(0)
			refused(t, a)
			time.Sleep(time.Hour) // no more than a minute's worth is saved up
			for range limit {
				enter(t, a).Leave(0)
			}
			refused(t, a)
		})
	}
}

func TestTokensPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a := limited(t, caller.Limits{TokensPerMinute: 600}, nil)
		left := func(v gateway.Visit) string { return headers(v, "openai", nil).Get("X-Ratelimit-Remaining-Tokens") }

		v := enter(t, a)
		if got := left(v); got != "500" {
			t.Errorf("with 100 estimated: %s left, want 500", got)
		}
		v.Leave(40)
		if v = enter(t, a); left(v) != "460" {
			t.Errorf("after 40: %s left, want 460", left(v))
		}
		v.Leave(1160) // overdrawn by 600: once, and then the caller waits

		e := refused(t, a)
		if want := time.Minute + 100*time.Millisecond; e.RetryAfter != want || !strings.Contains(e.Message, "600 tokens per minute") {
			t.Errorf("wait %v, want %v: %s", e.RetryAfter, want, e.Message)
		}
		time.Sleep(e.RetryAfter - 1)
		refused(t, a)
		time.Sleep(time.Nanosecond)
		v = enter(t, a)
		if left(v) != "0" {
			t.Errorf("overdrawn: %s left, want 0", left(v))
		}
		v.Leave(-5) // nonsense counts as nothing
		v.Leave(1e9)
		enter(t, a).Leave(0)
	})
}

func TestTheTokenEstimateIsTheCountedOneWhenThereIsOne(t *testing.T) {
	_, a := limited(t, caller.Limits{TokensPerMinute: 1e6}, nil)
	v, err := a.Enter(&gateway.Exchange{Body: make([]byte, 400), InputTokens: 250_000}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Leave(0)
	if got := headers(v, "openai", nil).Get("X-Ratelimit-Remaining-Tokens"); !strings.HasPrefix(got, "7500") && got != "750000" {
		t.Errorf("%s left, want 750000", got)
	}
}

func TestAMonstrousCountDoesNotShutACallerOutForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a := limited(t, caller.Limits{TokensPerMinute: 1}, nil)
		enter(t, a).Leave(1<<63 - 1)
		if e := refused(t, a); e.RetryAfter > 24*time.Hour {
			t.Errorf("wait %v", e.RetryAfter)
		}
	})
}

func TestInFlight(t *testing.T) {
	r := open(t, nil)
	for _, c := range []struct {
		limits caller.Limits
		policy caller.Policy
		want   int
	}{
		{caller.Limits{}, caller.Policy{}, 64},
		{caller.Limits{}, caller.Policy{DefaultInFlight: 5}, 5},
		{caller.Limits{InFlight: 3}, caller.Policy{DefaultInFlight: 5}, 3},
	} {
		configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a", Limits: c.limits})}, nil, c.policy)
		a := identify(t, r, secretOf("a"))
		var visits []gateway.Visit
		for range c.want {
			visits = append(visits, enter(t, a))
		}
		e := refused(t, a)
		if e.Status != 429 || e.RetryAfter <= 0 || !strings.Contains(e.Message, "in flight") {
			t.Errorf("got %+v", e)
		}
		visits[0].Leave(0)
		visits[0].Leave(0) // leaving twice frees one place
		visits[0] = enter(t, a)
		refused(t, a)
		for _, v := range visits {
			v.Leave(0)
		}
	}
}

func TestATeamsLimitsBoundAllItsKeysTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		teams := []caller.Team{{Name: "t", Limits: caller.Limits{RequestsPerMinute: 5, InFlight: 3}}}
		keys := []caller.FileKey{fileKey(caller.Key{Name: "a", Team: "t"}), fileKey(caller.Key{Name: "b", Team: "t"}), fileKey(caller.Key{Name: "c"})}
		configure(t, r, keys, teams, caller.Policy{})
		a, b, c := identify(t, r, secretOf("a")), identify(t, r, secretOf("b")), identify(t, r, secretOf("c"))
		v1, v2, v3 := enter(t, a), enter(t, b), enter(t, a)
		if e := refused(t, b); !strings.Contains(e.Message, `team "t"`) || !strings.Contains(e.Message, "3 requests in flight") {
			t.Errorf("got %q", e.Message)
		}
		v1.Leave(0)
		v2.Leave(0)
		v3.Leave(0)
		enter(t, a).Leave(0)
		enter(t, b).Leave(0)
		if e := refused(t, a); !strings.Contains(e.Message, `team "t"`) || !strings.Contains(e.Message, "5 requests per minute") {
			t.Errorf("got %q", e.Message)
		}
		for range 10 {
			enter(t, c).Leave(0)
		}
	})
}

func TestARefusalLeavesNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := limited(t, caller.Limits{RequestsPerMinute: 100, TokensPerMinute: 10_000}, &caller.Limits{RequestsPerMinute: 1})
		v := enter(t, a)
		for range 50 {
			refused(t, a) // the team is full, the key is not
		}
		configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a", Limits: caller.Limits{RequestsPerMinute: 100, TokensPerMinute: 10_000}})}, nil, caller.Policy{})
		w := enter(t, identify(t, r, secretOf("a")))
		h := headers(w, "openai", nil)
		if h.Get("X-Ratelimit-Remaining-Requests") != "98" || h.Get("X-Ratelimit-Remaining-Tokens") != "9800" {
			t.Errorf("got %v", h)
		}
		v.Leave(0)
		w.Leave(0)
	})
}

func TestTheLongestWaitIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a := limited(t, caller.Limits{RequestsPerMinute: 1, TokensPerMinute: 60}, nil)
		enter(t, a).Leave(240) // a minute for the request, three for the tokens
		if e := refused(t, a); e.RetryAfter != 3*time.Minute+time.Second || !strings.Contains(e.Message, "tokens") {
			t.Errorf("got %v: %s", e.RetryAfter, e.Message)
		}
	})
}

func TestHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A whole number of seconds, so that the reset is one.
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
		_, both := limited(t, caller.Limits{RequestsPerMinute: 10, TokensPerMinute: 1000}, &caller.Limits{RequestsPerMinute: 5})
		_, one := limited(t, caller.Limits{RequestsPerMinute: 10}, nil)
		_, none := limited(t, caller.Limits{}, nil)
		upstream := http.Header{
			"Anthropic-Ratelimit-Requests-Limit": {"4000"}, "Anthropic-Ratelimit-Tokens-Reset": {"x"}, "Anthropic-Ratelimit-Input-Tokens-Remaining": {"1"},
			"Anthropic-Ratelimit-Unified-Status": {"allowed"}, "X-Ratelimit-Limit-Requests": {"500"}, "X-Ratelimit-Reset-Tokens": {"1s"},
			"Ratelimit": {`"x";r=1`}, "Ratelimit-Policy": {`"x";q=1`}, "Request-Id": {"req_1"},
		}
		for _, c := range []struct {
			name, family string
			access       gateway.Access
			want         map[string]string // what ours are; all others stay
			gone         []string
		}{
			{"anthropic, the team is tighter", "anthropic", both, map[string]string{
				"Anthropic-Ratelimit-Requests-Limit": "5", "Anthropic-Ratelimit-Requests-Remaining": "4", "Anthropic-Ratelimit-Requests-Reset": "@12s",
				"Anthropic-Ratelimit-Tokens-Limit": "1000", "Anthropic-Ratelimit-Tokens-Remaining": "900", "Anthropic-Ratelimit-Tokens-Reset": "@6s",
			}, []string{"Anthropic-Ratelimit-Input-Tokens-Remaining"}},
			{"anthropic, requests only", "anthropic", one, map[string]string{
				"Anthropic-Ratelimit-Requests-Limit": "10", "Anthropic-Ratelimit-Requests-Remaining": "9", "Anthropic-Ratelimit-Requests-Reset": "@6s",
			}, []string{"Anthropic-Ratelimit-Input-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset"}},
			{"openai", "openai", both, map[string]string{
				"X-Ratelimit-Limit-Requests": "5", "X-Ratelimit-Remaining-Requests": "4", "X-Ratelimit-Reset-Requests": "12s",
				"X-Ratelimit-Limit-Tokens": "1000", "X-Ratelimit-Remaining-Tokens": "900", "X-Ratelimit-Reset-Tokens": "6s",
			}, nil},
			{"gemini", "gemini", both, map[string]string{
				"Ratelimit-Policy": `"requests";q=5;w=60, "tokens";q=1000;w=60`, "Ratelimit": `"requests";r=4;t=12, "tokens";r=900;t=6`,
			}, nil},
			{"no limit", "gemini", none, nil, []string{"Ratelimit", "Ratelimit-Policy"}},
			{"no limit", "openai", none, nil, []string{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Reset-Tokens"}},
		} {
			v := enter(t, c.access)
			want := upstream.Clone()
			for k, val := range c.want {
				if after, ok := strings.CutPrefix(val, "@"); ok { // so long from now
					d, err := time.ParseDuration(after)
					if err != nil {
						t.Fatal(err)
					}
					val = time.Now().Add(d).UTC().Format(time.RFC3339)
				}
				if http.CanonicalHeaderKey(k) != k {
					t.Errorf("%s is not what net/http makes of it: there would be two", k)
				}
				want[k] = []string{val}
			}
			for _, k := range c.gone {
				delete(want, k)
			}
			if got := headers(v, c.family, upstream); !cmp.Equal(got, want) {
				t.Errorf("%s %s: %s", c.family, c.name, cmp.Diff(got, want))
			}
			v.Leave(0)
			time.Sleep(time.Minute)
		}
	})
}

func TestResetsAreWrittenAsClientsReadThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a := limited(t, caller.Limits{TokensPerMinute: 7}, nil)
		v := enter(t, a) // 100 tokens of 7 a minute: 857142857142 ns
		defer v.Leave(0)
		if got := headers(v, "openai", nil).Get("X-Ratelimit-Reset-Tokens"); got != "14m17.143s" {
			t.Errorf("got %s", got)
		}
		reset, err := time.Parse(time.RFC3339, headers(v, "anthropic", nil).Get("Anthropic-Ratelimit-Tokens-Reset"))
		if d := time.Until(reset); err != nil || d < 857142857142 || d > 858142857142 {
			t.Errorf("%v from now, %v", d, err)
		}
		if got := headers(v, "", nil).Get("Ratelimit"); got != `"tokens";r=0;t=858` {
			t.Errorf("got %s", got)
		}
	})
}

func TestConcurrentCallersNeverPassALimit(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	teams := []caller.Team{{Name: "t", Limits: caller.Limits{InFlight: 12}}}
	keys := []caller.FileKey{
		fileKey(caller.Key{Name: "a", Team: "t", Limits: caller.Limits{InFlight: 8}}), fileKey(caller.Key{Name: "b", Team: "t", Limits: caller.Limits{InFlight: 8}}),
	}
	configure(t, r, keys, teams, caller.Policy{})
	_, stored := create(t, r, caller.Key{Name: "c"})
	var running [3]atomic.Int64
	var passed, over atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		a := identify(t, r, keys[i%2].Secret)
		wg.Go(func() {
			for range 300 {
				v, err := a.Enter(exchange(), func() {})
				if err != nil {
					continue
				}
				passed.Add(1)
				if running[i%2].Add(1) > 8 || running[2].Add(1) > 12 {
					over.Add(1)
				}
				headers(v, "openai", nil)
				running[2].Add(-1)
				running[i%2].Add(-1)
				v.Leave(10)
			}
		})
	}
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := r.Identify(stored, home); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		defer close(done)
		for range 50 {
			if err := r.Configure(keys, teams, caller.Policy{}); err != nil {
				t.Error(err)
			}
			r.List()
		}
	})
	wg.Wait()
	if over.Load() > 0 || passed.Load() == 0 {
		t.Errorf("%d over the limit of %d let in", over.Load(), passed.Load())
	}
	for _, rec := range r.List() {
		if rec.InFlight != 0 {
			t.Errorf("%s: %d in flight at the end", rec.Name, rec.InFlight)
		}
	}
}
