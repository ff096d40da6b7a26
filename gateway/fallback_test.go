package gateway_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// failing names, for each reason to fall back, a target that fails so.
var failing = map[string]string{
	names.FallbackRateLimit:     "anthropic/simulate-429",
	names.FallbackOverloaded:    "anthropic/simulate-529",
	names.FallbackServerError:   "anthropic/simulate-500",
	names.FallbackTimeout:       "anthropic/simulate-delay=1h",
	names.FallbackConnect:       "closed/claude-sonnet-5",
	names.FallbackContextWindow: "anthropic/simulate-context_length",
	names.FallbackCredit:        "anthropic/simulate-quota",
	names.FallbackAuth:          "keyed/simulate-401",
	names.FallbackContentPolicy: "policy/claude-sonnet-5",
	names.FallbackBudget:        "dear/claude-sonnet-5",
}

// fallbackRig is a gateway with a target for every failure and three that work.
func fallbackRig(t *testing.T, m route.Model) *rig {
	t.Helper()
	policy := startUpstream(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		_, _ = w.Write([]byte(`{"type":"error","error":{"type":"policy_blocked","message":"not that"}}`))
	}))
	return newRig(t, rigConfig{
		extra: []string{"own=anthropic", "other=anthropic", "keyed=anthropic", "dear=anthropic", "closed=anthropic=" + closedPort(t), "policy=anthropic=" + policy},
		provider: func(p *gateway.Provider) {
			if p.Name == "keyed" {
				p.Keys = []gateway.Secret{providerKey}
			}
		},
		models: map[string]route.Model{"m": m},
		snapshot: func(s *gateway.Snapshot) {
			s.Limits.HeaderTimeout = 100 * time.Millisecond
			s.Health = route.NewHealth()
			s.Ledger.(*purse).refuse = func(a *gateway.Attempt) *gateway.Error {
				if a.Target.Provider.Name == "dear" {
					return spent()
				}
				return nil
			}
		},
	})
}

func TestFallbacksByReason(t *testing.T) {
	for reason, target := range failing {
		t.Run(reason, func(t *testing.T) {
			for list, want := range map[string]string{ // which list there is → who answers
				reason: "own",
				"":     "other",
				"both": "own",
				"none": "",
			} {
				m := route.Model{Targets: []route.WeightedTarget{{Target: target}}, FallbacksFor: map[string][]string{}}
				if list == reason || list == "both" {
					m.FallbacksFor[reason] = []string{"own/claude-sonnet-5"}
				}
				if list == "" || list == "both" {
					m.Fallbacks = []string{"other/claude-sonnet-5"}
				}
				for other := range failing { // lists for other reasons are not for this one
					if other != reason && list == "none" {
						m.FallbacksFor[other] = []string{"own/claude-sonnet-5"}
					}
				}
				r := fallbackRig(t, m)
				path, body := apis[0].request("m", false)
				got := r.post(path, body)
				x, spans := r.exchange()
				if want == "" {
					if len(x.Attempts) != 1 || x.Fallbacks != 0 || got.status == 200 {
						t.Errorf("lists for other reasons: got %d, %d attempts", got.status, len(x.Attempts))
					}
					continue
				}
				first := x.Attempts[0]
				if got.status != 200 || x.FallbackWhy != reason || x.Final().Target.Provider.Name != want || len(x.Attempts) != 2 || x.Fallbacks != 1 {
					t.Errorf("list %q: got %d by %s for %q, %d attempts: %v", list, got.status, x.Final().Target.Name, x.FallbackWhy, len(x.Attempts), first.Err)
					continue
				}
				// The decision shows everywhere.
				if got.header.Get("X-CCProxy-Attempts") != "2" || got.header.Get("X-CCProxy-Provider") != want {
					t.Errorf("list %q: got headers %v", list, got.header)
				}
				if v := attr(spans.server(), names.KeyFallbackReason).AsString(); v != reason {
					t.Errorf("list %q: SERVER says %q", list, v)
				}
				if !first.WillRetry || first.ResultKind != names.AttemptResultSuperseded {
					t.Errorf("list %q: the first attempt is %s", list, first.ResultKind)
				}
				llm := spans.genai()
				last := llm[len(llm)-1]
				if links := last.Links(); !first.Issued.IsZero() && (len(links) != 1 || links[0].SpanContext.SpanID() != llm[0].SpanContext().SpanID()) {
					t.Errorf("list %q: the fallback is not linked to what it replaces", list)
				}
				if kind := attr(last, names.KeyAttemptKind).AsString(); kind != names.AttemptKindFallback {
					t.Errorf("list %q: got kind %s", list, kind)
				}
			}
		})
	}
	all := []string{names.FallbackCircuitOpen, names.FallbackDialect} // have tests of their own: no attempt is made
	for reason := range failing {
		all = append(all, reason)
	}
	slices.Sort(all)
	want := slices.Sorted(slices.Values(names.FallbackReasons))
	if !slices.Equal(all, want) {
		t.Errorf("tested %v, want %v", all, want)
	}
}

func TestWhatFallsBackNowhere(t *testing.T) {
	m := route.Model{Targets: []route.WeightedTarget{{Target: "anthropic/simulate-400"}}, Fallbacks: []string{"own/claude-sonnet-5"}}
	for _, step := range []string{"simulate-400", "simulate-404", "simulate-413"} {
		m.Targets[0].Target = "anthropic/" + step
		r := fallbackRig(t, m)
		path, body := apis[0].request("m", false)
		got := r.post(path, body)
		if x, _ := r.exchange(); got.status == 200 || len(x.Attempts) != 1 {
			t.Errorf("%s: got %d, %d attempts", step, got.status, len(x.Attempts))
		}
	}
}

func TestU29EachAttemptHasItsOwnHold(t *testing.T) {
	// The first is cut off before it says anything and may bill; the second refuses; the third answers.
	p := &purse{}
	r := newRig(t, rigConfig{extra: []string{"mirror=anthropic", "third=anthropic"}, snapshot: func(s *gateway.Snapshot) { p.into(s); s.Limits.RetryBudget = -1 },
		models: map[string]route.Model{"m": {Targets: []route.WeightedTarget{{Target: "anthropic/simulate-hangup"}, {Target: "mirror/simulate-500"}, {Target: "third/claude-sonnet-5"}}}}})
	path, body := apis[0].request("m", false)
	got := r.post(path, body)
	x, _ := r.exchange()
	if got.status != 200 || len(p.holds) != 3 || len(x.Attempts) != 3 {
		t.Fatalf("got %d, %d holds, %d attempts", got.status, len(p.holds), len(x.Attempts))
	}
	sum := gateway.NanoUSD(0)
	for i, settled := range []bool{true, false, true} {
		h := p.holds[i]
		if h.a != x.Attempts[i] || (h.settled == 1) != settled || (h.voided == 1) == settled {
			t.Errorf("hold %d: settled %d times, void %d times", i, h.settled, h.voided)
		}
		sum += h.cost.Total
	}
	cost, known := x.Cost()
	if !known || cost != sum || x.Attempts[0].Cost.Total == 0 || x.Attempts[0].Result.Usage.Source != names.UsageSourceEstimated {
		t.Errorf("got cost %v, known %v, want %v; the first: %+v", cost, known, sum, x.Attempts[0].Result.Usage)
	}
	// What a provider has billed is the gateway's own count for the last, and for the first no more than its prompt.
	if out := x.Attempts[0].Result.Usage.Output; out != 0 {
		t.Errorf("an answer that never came has %d tokens", out)
	}
}

func TestTooManyTargetsAreNotTried(t *testing.T) {
	r := fallbackRig(t, route.Model{Targets: []route.WeightedTarget{{Target: "anthropic/simulate-500"}, {Target: "own/simulate-500"}, {Target: "other/simulate-500"}, {Target: "other/claude-sonnet-5"}}})
	path, body := apis[0].request("m", false)
	got := r.post(path, body)
	if x, _ := r.exchange(); got.status != 500 || len(x.Attempts) != 3 {
		t.Errorf("got %d, %d attempts, want 3", got.status, len(x.Attempts))
	}
}
