package route

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

var responses = wire{name: names.DialectOpenAIResponses, family: "openai"}

// talk is a conversation with a router that remembers.
type talk struct {
	t    *testing.T
	r    *Router
	roll float64 // what the router draws
}

func newTalk(t *testing.T, models map[string]Model) *talk {
	k := &talk{t: t}
	list := append(providers(), provider("azure", "openai_compatible", "openai"), provider("vertex", "gemini", "gemini"), provider("gemini", "gemini", "gemini"))
	k.r = mustRouter(t, Config{Providers: list, Models: models, Health: NewHealth(), Sticky: NewSticky(), Rand: func() float64 { return k.roll }})
	return k
}

// ask routes a request labelled by its model and returns the exchange.
func (k *talk) ask(d gateway.Dialect, edit func(x *gateway.Exchange)) *gateway.Exchange {
	k.t.Helper()
	x := exchange(d, gateway.Call{Model: "m", Operation: "chat"})
	x.Route.Label = "m"
	if edit != nil {
		edit(x)
	}
	if err := k.r.Route(k.t.Context(), x); err != nil {
		k.t.Fatal(err)
	}
	return x
}

// answer says that one of x's targets has answered, with a response id.
func (k *talk) answer(x *gateway.Exchange, t gateway.Target, id string) {
	a := &gateway.Attempt{Exchange: x, Target: t, Response: &http.Response{StatusCode: 200}, Sent: time.Now()}
	a.Result.ID = id
	k.r.Learn(a)
}

func named(list []gateway.Target) string {
	var out []string
	for _, t := range list {
		out = append(out, t.Name)
	}
	return strings.Join(out, " ")
}

func (k *talk) expect(what string, x *gateway.Exchange, targets, reason string) {
	k.t.Helper()
	if got := named(x.Route.Targets); got != targets || x.Route.Reason != reason {
		k.t.Errorf("%s: got %s for %s, want %s for %s", what, got, x.Route.Reason, targets, reason)
	}
}

func inSession(id string) func(*gateway.Exchange) {
	return func(x *gateway.Exchange) { x.Caller.Session = id }
}

func previous(id string) func(*gateway.Exchange) {
	return func(x *gateway.Exchange) { x.Call.PreviousResponse = id }
}

func TestStateAtAProviderKeepsAConversationThere(t *testing.T) {
	for _, d := range []wire{responses, generate} {
		one, two := "openai", "azure"
		if d.family == "gemini" {
			one, two = "gemini", "vertex"
		}
		k := newTalk(t, map[string]Model{
			"m":     {Targets: targets(one+"/a", two+"/a"), Fallbacks: []string{two + "/b", one + "/b"}},
			"other": {Targets: targets(one + "/z")},
		})
		x := k.ask(d, previous("conv_1")) // nobody knows yet whose it is
		k.expect("unknown", x, one+"/a", names.RouteReasonRule)
		if got := named(x.Route.Fallbacks[""]); got != one+"/b" {
			t.Errorf("fallbacks elsewhere cannot work: %s", got)
		}
		k.answer(x, gateway.Target{Provider: k.r.providers[two], Model: "a", Name: two + "/a"}, "resp_1")
		ids := []string{"conv_1"}
		if d.family == "openai" {
			ids = append(ids, "resp_1")
		}
		for _, id := range ids {
			x = k.ask(d, previous(id))
			k.expect(id, x, two+"/a", names.RouteReasonSticky)
			if got := named(x.Route.Fallbacks[""]); got != two+"/b" {
				t.Errorf("%s: fallbacks %s, want those of the provider that has the state", id, got)
			}
			// Another label whose targets are all elsewhere.
			x = k.ask(d, func(x *gateway.Exchange) { previous(id)(x); x.Route.Label = "other" })
			k.expect(id+" under another label", x, two+"/a", names.RouteReasonSticky)
		}
		// Another caller's conversation of the same name is another one.
		x = k.ask(d, func(x *gateway.Exchange) { previous("conv_1")(x); x.Caller.KeyID = "key_2" })
		k.expect("another caller", x, one+"/a", names.RouteReasonRule)
	}
}

func TestStateIsFoundByTheSessionToo(t *testing.T) {
	k := newTalk(t, map[string]Model{"m": {Targets: targets("openai/a", "azure/a")}})
	x := k.ask(responses, inSession("s1"))
	k.answer(x, x.Route.Targets[1], "resp_1")
	x = k.ask(responses, func(x *gateway.Exchange) { inSession("s1")(x); previous("resp_unseen")(x) })
	k.expect("session", x, "azure/a", names.RouteReasonSticky)
}

func TestSignaturesKeepAConversationWhereItIsWhileThatWorks(t *testing.T) {
	for body, sticky := range map[string]bool{
		`{"messages":[{"content":[{"type":"thinking","thinking":"","signature":"c2ln"}]}]}`: true,
		`{"messages":[{"content":[{"type":"redacted_thinking","data":"x"}]}]}`:              true,
		`{"contents":[{"parts":[{"functionCall":{},"thoughtSignature":"c2ln"}]}]}`:          true,
		`{"input":[{"type":"reasoning","encrypted_content":"x"}]}`:                          true,
		`{"messages":[{"content":"a \"signature\" of mine"}]}`:                              false,
	} {
		k := newTalk(t, map[string]Model{
			"m":     {Targets: targets("anthropic/a", "mirror/a"), Fallbacks: []string{"mirror/b"}},
			"other": {Targets: targets("anthropic/z")},
		})
		with := func(x *gateway.Exchange) { inSession("s1")(x); x.Body = []byte(body) }
		k.expect("first", k.ask(messages, with), "anthropic/a mirror/a", names.RouteReasonRule)
		for _, at := range []string{"mirror/a", "mirror/b"} { // a target, a fallback
			x := k.ask(messages, with)
			k.answer(x, gateway.Target{Provider: k.r.providers["mirror"], Model: at[7:], Name: at}, "")
			x = k.ask(messages, with)
			if !sticky {
				k.expect(body, x, "anthropic/a mirror/a", names.RouteReasonRule)
				continue
			}
			want := at + " anthropic/a mirror/a"
			if at == "mirror/a" {
				want = "mirror/a anthropic/a"
			}
			k.expect(body, x, want, names.RouteReasonSticky) // and others when it fails
			if len(x.Route.Fallbacks[""]) != 1 {
				t.Error("the fallbacks are gone")
			}
			x = k.ask(messages, func(x *gateway.Exchange) { with(x); x.Route.Label = "other" })
			k.expect("the rules lead elsewhere", x, "anthropic/z", names.RouteReasonRule)
		}
	}
}

func TestSessionStaysWhereItsPromptCacheIs(t *testing.T) {
	for _, strategy := range []string{"", StrategyLatency} {
		k := newTalk(t, map[string]Model{"m": {Targets: []WeightedTarget{{"anthropic/a", 1}, {"mirror/a", 1}}, Strategy: strategy, Fallbacks: []string{"mirror/b"}}})
		k.roll = 0.9
		x := k.ask(messages, inSession("s1"))
		k.expect("drawn", x, "mirror/a anthropic/a", names.RouteReasonRule)
		k.answer(x, x.Route.Targets[0], "")
		k.roll = 0
		if strategy != "" { // explored, once: the first would be the quickest
			k.r.health.measure(gateway.Target{Name: "anthropic/a"}, false, time.Nanosecond)
		}
		k.expect("stays", k.ask(messages, inSession("s1")), "mirror/a anthropic/a", names.RouteReasonSticky)
		k.expect("another", k.ask(messages, inSession("s2")), "anthropic/a mirror/a", names.RouteReasonRule)
		// It fell back: the next request tries the targets again.
		k.answer(x, gateway.Target{Provider: k.r.providers["mirror"], Model: "b", Name: "mirror/b"}, "")
		k.expect("a fallback", k.ask(messages, inSession("s1")), "anthropic/a mirror/a", names.RouteReasonRule)
	}
	// Where the order is given, a session goes back to the first.
	k := newTalk(t, map[string]Model{"m": {Targets: targets("anthropic/a", "mirror/a")}})
	x := k.ask(messages, inSession("s1"))
	k.answer(x, x.Route.Targets[1], "")
	k.expect("ordered", k.ask(messages, inSession("s1")), "anthropic/a mirror/a", names.RouteReasonRule)
}

func TestConversationsOfFailedAttemptsAreNotLearnt(t *testing.T) {
	k := newTalk(t, map[string]Model{"m": {Targets: targets("openai/a", "azure/a")}})
	x := k.ask(responses, previous("conv_1"))
	for _, a := range []*gateway.Attempt{
		{Exchange: x, Err: &gateway.Error{}},
		{Exchange: x, Response: &http.Response{StatusCode: 500}, Err: &gateway.Error{}},
		{Exchange: x, Response: &http.Response{StatusCode: 200}, Err: &gateway.Error{}},
	} {
		a.Target = gateway.Target{Provider: k.r.providers["azure"], Model: "a", Name: "azure/a"}
		k.r.Learn(a)
	}
	k.expect("failed", k.ask(responses, previous("conv_1")), "openai/a", names.RouteReasonRule)
}

func TestStickySurvivesAReloadAndProvidersThatGo(t *testing.T) {
	k := newTalk(t, map[string]Model{"m": {Targets: targets("openai/a", "azure/a")}})
	x := k.ask(responses, previous("conv_1"))
	k.answer(x, gateway.Target{Provider: k.r.providers["azure"], Model: "a", Name: "azure/a"}, "")
	sticky := k.r.sticky
	for _, c := range []struct {
		providers []*gateway.Provider
		models    Model
		want      string
		reason    string
	}{
		{append(providers(), provider("azure", "openai_compatible", "openai")), Model{Targets: targets("local/a", "azure/x")}, "azure/x", names.RouteReasonSticky},
		{providers(), Model{Targets: targets("local/a", "openai/a")}, "local/a", names.RouteReasonRule},
	} {
		k.r = mustRouter(t, Config{Providers: c.providers, Models: map[string]Model{"m": c.models}, Sticky: sticky})
		k.expect("after a reload", k.ask(responses, previous("conv_1")), c.want, c.reason)
	}
}

func TestStickyIsBoundedAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSticky()
		x := exchange(responses, gateway.Call{})
		at := gateway.Target{Provider: provider("openai", "openai", "openai"), Model: "m", Name: "openai/m"}
		key := func(i int) stickyKey { return s.key(kindState, x, fmt.Sprint(i)) }
		const most = stickyBytes / placeBytes
		for i := range 2 * most {
			s.remember(key(i), at)
			if i%1000 == 0 {
				if _, ok := s.get(key(0)); !ok {
					t.Fatalf("what is in use was forgotten after %d", i)
				}
			}
		}
		if n := len(s.young) + len(s.old); n > most {
			t.Errorf("%d entries, want %d at most", n, most)
		}
		if _, ok := s.get(key(1)); ok {
			t.Error("the oldest is still known")
		}
		if _, ok := s.get(key(2*most - 1)); !ok {
			t.Error("the newest is not known")
		}
		time.Sleep(stickyTime - time.Minute)
		s.get(key(0))
		time.Sleep(2 * time.Minute)
		if _, ok := s.get(key(2*most - 1)); ok {
			t.Error("what nobody used for a day is known")
		}
		if _, ok := s.get(key(0)); !ok {
			t.Error("what was used is forgotten")
		}
		at.Model = strings.Repeat("m", maxName+1)
		s.remember(key(-1), at)
		if _, ok := s.get(key(-1)); ok {
			t.Error("a client's endless name is kept")
		}
	})
}

func BenchmarkRouteSticky(b *testing.B) {
	r := mustRouter(b, Config{Models: map[string]Model{"m": {Targets: []WeightedTarget{{"anthropic/a", 1}, {"mirror/a", 1}}}}, Health: NewHealth(), Sticky: NewSticky()})
	x := exchange(messages, gateway.Call{Model: "m", Operation: "chat"})
	x.Caller.Session = "0b5e8f7c-1d2f-4a53-9a33-8b8b1f1d2c3d"
	x.Route.Label = "m"
	a := &gateway.Attempt{Exchange: x, Response: &http.Response{StatusCode: 200}, Sent: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Route(b.Context(), x); err != nil {
			b.Fatal(err)
		}
		a.Target = x.Route.Targets[0]
		r.Learn(a)
	}
	if !slices.ContainsFunc(x.Route.Targets, func(t gateway.Target) bool { return t.Name == "mirror/a" }) {
		b.Fatal("a target is missing")
	}
}
