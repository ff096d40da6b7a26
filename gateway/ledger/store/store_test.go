package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// lineAt returns a line with every field set, different for each i.
func lineAt(i int) *Line {
	l := &Line{
		ID: fmt.Sprintf("0192f0c0-0000-7000-8000-%012x", i), Exchange: fmt.Sprintf("0192f0c0-0000-7000-9000-%012x", i/2),
		Trace: fmt.Sprintf("%032x", i+1), Node: "node-1", Time: time.UnixMilli(1_800_000_000_000 + int64(i)*1000).UTC(),
		Duration: time.Duration(i+1) * time.Millisecond, Attempt: 1 + i%2,
		KeyID: "k1", KeyAlias: "laptop", Team: "research", User: "ann", Session: fmt.Sprint("session-", i%10),
		Tags:    map[string]string{"app": "chat", "n": fmt.Sprint(i % 3)},
		Dialect: names.DialectAnthropicMessages, Label: "default", Rule: "r1",
		OriginalModel: "claude-opus-4-5", Model: "claude-sonnet-5", AnsweredModel: "claude-sonnet-5-1", Provider: "anthropic",
		Streamed: true,
		Usage:    gateway.Usage{Input: int64(i), CacheRead: 100, Output: 50, Speed: "fast", Geo: "us", Others: "claude-haiku 1 2 3 4 5", Source: names.UsageSourceProvider},
		Cost: gateway.Cost{Total: gateway.NanoUSD(1000 + i), Source: names.CostSourceLocal, Billing: names.CostBillingMetered,
			Status: names.PriceStatusExact, PriceVersion: "v1", Entry: "anthropic/claude-sonnet-5 input=3 output=15"},
		ServiceTier: "priority", Baseline: gateway.Some(gateway.NanoUSD(5000)),
		Outcome: names.OutcomeCompleted, Status: 200, Held: 9000,
	}
	l.Cost.Classes[gateway.CostInput] = gateway.NanoUSD(i)
	l.Cost.Classes[gateway.CostOutput] = 1000
	return l
}

func openStore(t testing.TB, dir string, more ...func(*Options)) (*Store, *Recovered) {
	t.Helper()
	o := Options{Dir: dir}
	for _, m := range more {
		m(&o)
	}
	s, r, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s, r
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsSettledIsReadBack(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	acc := []Account{{"everything", "", 0}, {"team", "research", 1_800_000_000}}
	var want []Line
	for i := range 10 {
		l := lineAt(i)
		if err := s.Held(&HoldRecord{Line: *l, Budgets: acc}); err != nil {
			t.Fatal(err)
		}
		if err := s.Settled(l, acc, []AlertState{{Account: acc[1], Level: 1 + i%3}}); err != nil {
			t.Fatal(err)
		}
		want = append(want, *l)
	}
	var got []Line
	for l, err := range s.Lines(t.Context(), Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append([]Line{*l}, got...)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	r, err := s.Verify(t.Context(), nil)
	if err != nil || !r.OK() {
		t.Fatalf("verify: %v %+v", err, r)
	}
	rows, err := s.Spend(t.Context(), Query{By: []string{"day", "team", "tag:n"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		t.Logf("%+v", r)
	}
	sums, err := s.Sums(t.Context())
	t.Log(sums, err)
	closeStore(t, s)
}
