package budget_test

import (
	"fmt"
	"testing"

	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// manyBudgets is n budgets, a few of which apply to a request by everyone or by
// manyKeys: what grows is what does not apply.
func manyBudgets(n int) []budget.Budget {
	list := []budget.Budget{
		{Name: "global", Scope: "global", Limit: limit(1e9), Window: "month", Thresholds: []float64{0.5, 0.8}},
		{Name: "team", Scope: "team", Match: "research", Limit: limit(1e9), Window: "day"},
		{Name: "keys", Scope: "key", Match: "*", Limit: limit(1e9), Window: "week"},
		{Name: "opus", Scope: "model", Match: "claude-opus-*", Limit: limit(1e9), Window: "30d"},
	}
	for i := len(list); i < n; i++ {
		b := budget.Budget{Name: fmt.Sprint("b", i), Scope: "team", Match: fmt.Sprint("team", i), Limit: limit(1), Window: "day"}
		switch i % 4 {
		case 0:
			b.Scope, b.Match = "key", fmt.Sprint("key", i)
		case 1:
			b.Scope, b.Match = "model", fmt.Sprintf("model-%d-*", i)
		case 2:
			b.Scope, b.Match = "user", fmt.Sprintf("*@%d.example", i)
		}
		list = append(list, b)
	}
	return list
}

func manyKeys(n int) []budget.Facts {
	list := make([]budget.Facts, n)
	for i := range list {
		list[i] = budget.Facts{
			KeyID: fmt.Sprintf("0198f3a2-0000-7000-8000-%012d", i), KeyAlias: fmt.Sprint("alias", i), Team: "research", User: "ann@example",
			Model: "claude-opus-4-8", Provider: "anthropic", Label: "default", Session: fmt.Sprint("session-", i), Billing: names.CostBillingMetered,
		}
	}
	return list
}

func benchReserve(b *testing.B, budgets, keys int) {
	book, changes, err := budget.New(manyBudgets(budgets), budget.Saved{}, budget.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range changes.Backfills {
		book.Fill(f)
	}
	facts := manyKeys(keys)
	for i := range facts {
		r, _, _ := book.Reserve(facts[i], 1000)
		book.Release(r)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r, _, refusal := book.Reserve(facts[i%keys], 1000)
		if refusal != nil {
			b.Fatal(refusal)
		}
		book.Settle(r, 900, true)
		i += 7919 // no two of a kind in a row
	}
}

// What a request costs with ten budgets and with a thousand, one key and ten
// thousand, is to be the same.
func BenchmarkReserveSettle(b *testing.B) {
	for _, n := range []struct{ budgets, keys int }{{4, 1}, {10, 1}, {1000, 1}, {10, 10_000}, {1000, 10_000}} {
		b.Run(fmt.Sprintf("budgets=%d/keys=%d", n.budgets, n.keys), func(b *testing.B) { benchReserve(b, n.budgets, n.keys) })
	}
}

func BenchmarkNoBudgetApplies(b *testing.B) {
	book, _, err := budget.New([]budget.Budget{{Name: "b", Scope: "team", Match: "x", Limit: limit(1), Window: "day"}}, budget.Saved{}, budget.Options{})
	if err != nil {
		b.Fatal(err)
	}
	f := manyKeys(1)[0]
	b.ReportAllocs()
	for b.Loop() {
		r, _, _ := book.Reserve(f, 1000)
		book.Settle(r, 900, true)
	}
}

func BenchmarkExtend(b *testing.B) {
	book, _, err := budget.New(manyBudgets(1000), budget.Saved{}, budget.Options{})
	if err != nil {
		b.Fatal(err)
	}
	r, _, _ := book.Reserve(manyKeys(1)[0], 1000)
	b.ReportAllocs()
	for b.Loop() {
		if !r.Extend(1) {
			b.Fatal("no room")
		}
	}
}

func BenchmarkContended(b *testing.B) {
	book, _, err := budget.New(manyBudgets(1000), budget.Saved{}, budget.Options{})
	if err != nil {
		b.Fatal(err)
	}
	f := manyKeys(1)[0]
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, _, _ := book.Reserve(f, 1000)
			book.Settle(r, 900, true)
		}
	})
}

func BenchmarkStatuses(b *testing.B) {
	book, _, err := budget.New(manyBudgets(4), budget.Saved{}, budget.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range manyKeys(10_000) {
		r, _, _ := book.Reserve(f, 1000)
		book.Settle(r, 900, true)
	}
	b.ReportAllocs()
	for b.Loop() {
		for s := range book.Statuses {
			_ = s
		}
	}
}
