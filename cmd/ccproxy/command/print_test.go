package command

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/gateway/price"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// printed compares what print writes with testdata/print/name.
func printed(t *testing.T, name string, print func(out *bytes.Buffer) error) {
	t.Helper()
	var out bytes.Buffer
	if err := print(&out); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	path := filepath.Join("testdata", "print", name)
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, out.Bytes(), want)
	}
}

var printTime = time.Date(2026, 11, 24, 15, 30, 0, 0, time.UTC)

func amount(n usd) *usd { return &n }

func fraction(f float64) *float64 { return &f }

func TestSpendIsPrinted(t *testing.T) {
	r := &spendReport{
		By: "model", Since: printTime.AddDate(0, 0, -7), Until: printTime, More: 3, UnpricedModels: []string{"local/qwen3-coder"},
		Rows: []spendRow{
			{Name: "claude-opus-4-5", Requests: 1234, Attempts: 1240, Tokens: spendTokens{Input: 1_200_345, CacheRead: 45_000_000, CacheWrite: 12_000, Output: 345_678}, Cost: 1_234_567_891_234, Saving: amount(0)},
			{Name: "=claude-haiku-4-5", Requests: 20, Attempts: 20, Tokens: spendTokens{Input: 45, Output: 3}, Cost: 142_000, Saving: amount(12_300_000_000), Estimated: 2},
			{Name: "", Requests: 1, Attempts: 1, Notional: 2_500_000_000, Saving: amount(-40_000_000)},
			{Name: "qwen3-coder", Requests: 7, Attempts: 7, Unpriced: 7},
		},
		Total: spendRow{Requests: 1262, Attempts: 1268, Tokens: spendTokens{Input: 1_200_390, CacheRead: 45_000_000, CacheWrite: 12_000, Output: 345_681}, Cost: 1_234_568_033_234, Notional: 2_500_000_000, Saving: amount(12_260_000_000), Unpriced: 7, Estimated: 2},
	}
	printed(t, "spend.txt", func(out *bytes.Buffer) error { return printSpend(out, r, time.UTC) })
	printed(t, "spend.csv", func(out *bytes.Buffer) error { return printSpendCSV(out, r) })
	printed(t, "spend_tags.txt", func(out *bytes.Buffer) error {
		return printSpend(out, &spendReport{By: "tag", Until: printTime, Repeated: true, Rows: r.Rows[1:2], Total: r.Rows[1]}, time.UTC)
	})
	printed(t, "spend_nothing.txt", func(out *bytes.Buffer) error {
		return printSpend(out, &spendReport{By: "model", Until: printTime}, time.UTC)
	})
}

func TestBudgetsArePrinted(t *testing.T) {
	list := budgetList{More: 12, Budgets: []budgetView{
		{Name: "everything", Scope: "global", Window: "month", Timezone: "Europe/Berlin", Action: "deny", Resets: time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC),
			Limit: amount(500e9), Spent: 205_100_000_000, Reserved: 30_000_000_000, Utilization: fraction(0.4702), Forecast: amount(258e9), State: names.BudgetStateOK},
		{Name: "each-key", Scope: "key", Match: "*", Subject: "alice", Window: "week", Timezone: "UTC", Action: "warn", Resets: printTime.Add(125 * time.Hour),
			Limit: amount(20e9), Spent: 21_000_000_000, Utilization: fraction(1.05), Forecast: amount(73e9), State: names.BudgetStateExhausted},
		{Name: "each-key", Scope: "key", Match: "*", Subject: "bob", Window: "week", Timezone: "UTC", Action: "warn", Resets: printTime.Add(40 * time.Minute),
			Limit: amount(20e9), Spent: 1_000_000, Utilization: fraction(0.00005), State: names.BudgetStateOK},
		{Name: "opus", Scope: "model", Match: "claude-opus-*", Subject: "claude-opus-*", Window: "30d", Timezone: "UTC", Action: "route", Route: "background",
			Limit: amount(100e9), Spent: 81e9, Utilization: fraction(0.81), State: names.BudgetStateWarn},
		{Name: "nothing", Scope: "user", Match: "mallory", Subject: "mallory", Window: "none", Timezone: "UTC", Action: "deny", Limit: amount(0), State: names.BudgetStateExhausted},
		{Name: "counted", Scope: "tag", Match: "job=*", Subject: "job=nightly", Window: "day", Timezone: "UTC", Action: "deny", Spent: 12_345_678, State: names.BudgetStateOK},
	}}
	printed(t, "budgets.txt", func(out *bytes.Buffer) error { return printBudgets(out, list, false, false, printTime) })
	printed(t, "budgets_colour.txt", func(out *bytes.Buffer) error { return printBudgets(out, list, false, true, printTime) })
	printed(t, "budgets_none.txt", func(out *bytes.Buffer) error { return printBudgets(out, budgetList{}, false, false, printTime) })
}

// explained is a line of the ledger, explained.
func explained(t *testing.T, line store.Line) ledger.Explanation {
	t.Helper()
	e := ledger.Explanation{Line: line}
	e.Terms, e.Total, e.Err = price.Explain(&line.Cost, &line.Usage, line.ServiceTier)
	return e
}

func TestCostIsExplainedTermByTerm(t *testing.T) {
	cost := func(entry string, total gateway.NanoUSD) gateway.Cost {
		return gateway.Cost{Total: total, Source: names.CostSourceLocal, Billing: names.CostBillingMetered, Status: names.PriceStatusExact, PriceVersion: "2026-11-01", Entry: entry}
	}
	line := store.Line{
		ID: "01a20ec4-9db0-779b-9bd1-5ceeb117bb3e", Exchange: "01a20ec4-9db0-7644-a979-3b5db5322381", Trace: "1a12142df72d4471da7cde1abde8678f", Time: printTime,
		Attempt: 1, KeyAlias: "alice", Team: "research", Session: "s-1", Label: "think", Rule: "thinking", OriginalModel: "claude-opus-4-5", Model: "claude-sonnet-4-5", AnsweredModel: "claude-sonnet-4-5-20250929",
		Provider: "anthropic", Outcome: names.OutcomeCompleted, Status: 200, ServiceTier: "batch", Held: 5_000_000_000,
		Usage:    gateway.Usage{Input: 12_345, CacheRead: 250_000, CacheWrite1h: 1_000, Output: 1_200, WebSearches: 3, Source: names.UsageSourceProvider},
		Cost:     cost("anthropic/claude-sonnet-4-5 input=3 cache_read=0.3 cache_write=3.75 cache_write_1h=6 output=15 web_search=0.01 >200000:input=6 >200000:cache_read=0.6 >200000:output=22.5 batch*1/2", 0),
		Baseline: gateway.Some(gateway.NanoUSD(1_000_000_000)),
	}
	e := explained(t, line)
	if e.Err != nil {
		t.Fatal(e.Err)
	}
	e.Line.Cost.Total = e.Total
	failed := store.Line{ID: "01a20ec4-9db0-779b-9bd1-5ceeb117bb30", Exchange: line.Exchange, Time: printTime, Attempt: 2, Model: "gpt-5", Provider: "openai", Outcome: names.OutcomeFailed, ErrorType: "overloaded_error", Status: 503}
	own := store.Line{
		ID: "01a20ec4-9db0-779b-9bd1-5ceeb117bb31", Exchange: "01a20ec4-9db0-7644-a979-3b5db5322382", Time: printTime, Attempt: 1, Model: "x/y", OriginalModel: "x/y", Provider: "openrouter", Outcome: names.OutcomeCompleted,
		Usage: gateway.Usage{Output: 1, Source: names.UsageSourceEstimated}, Estimated: true,
		Cost: gateway.Cost{Total: 77, Source: names.CostSourceProvider, Billing: names.CostBillingNotional, Status: names.PriceStatusProvider},
	}
	own.Cost.Classes[gateway.CostUndivided] = 77
	unpriced := store.Line{
		ID: "01a20ec4-9db0-779b-9bd1-5ceeb117bb32", Exchange: "01a20ec4-9db0-7644-a979-3b5db5322383", Time: printTime, Attempt: 1, Model: "new", Provider: "anthropic", Outcome: names.OutcomeCompleted,
		Usage: gateway.Usage{Output: 1, Source: names.UsageSourceProvider}, Cost: gateway.Cost{Source: names.CostSourceNone, Status: names.PriceStatusUnknown},
	}
	view := viewExplanation([]ledger.Explanation{e, explained(t, failed), explained(t, own), explained(t, unpriced)})
	printed(t, "explain.txt", func(out *bytes.Buffer) error { return printExplanation(out, &view, time.UTC) })

	e.Line.Cost.Total++
	altered := viewExplanation([]ledger.Explanation{e})
	if err := printExplanation(&bytes.Buffer{}, &altered, time.UTC); err == nil {
		t.Error("a line that was altered: got no error")
	}
}

func TestAmountsForPeopleAreNeverNothing(t *testing.T) {
	for n, want := range map[usd]string{
		0: "$0.00", 1: "$0.000000", 500: "$0.000001", 142_000: "$0.000142", 9_999_999: "$0.010000", 10_000_000: "$0.0100", 999_950_000: "$1.0000",
		1_000_000_000: "$1.00", 1_234_567_891_234: "$1,234.57", -40_000_000: "-$0.0400", 1<<63 - 1: "$9,223,372,036.85",
	} {
		if got := n.short(); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestAmountsSurviveJSON(t *testing.T) {
	for _, n := range []usd{0, 1, -1, 142_000, 1<<63 - 1} {
		b, err := n.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var back usd
		if err := back.UnmarshalJSON(b); err != nil || back != n {
			t.Errorf("%s: got %d, %v, want %d", b, back, err, n)
		}
	}
	for _, text := range []string{`1`, `"x"`, `""`, `"0.0000000001"`, `null,`} {
		if err := new(usd).UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s: got no error", text)
		}
	}
}
