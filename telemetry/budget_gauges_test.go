package telemetry_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// usd is an amount in dollars.
func usd(dollars float64) gateway.NanoUSD { return gateway.NanoUSD(dollars * 1e9) }

// accounts are statuses that a test changes between collections.
type accounts struct {
	rig
	list []budget.Status
}

// newAccounts registers gauges over statuses; cfg.Statuses is set. The SDK's own limit is off: what bounds the series is
// seen.
func newAccounts(t testing.TB, cfg telemetry.BudgetGauges) *accounts {
	t.Helper()
	a := &accounts{rig: rig{t: t, reader: sdkmetric.NewManualReader()}}
	cfg.Statuses = a.all
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(a.reader), sdkmetric.WithCardinalityLimit(0))
	if _, err := telemetry.RegisterBudgets(mp, cfg); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *accounts) all(yield func(budget.Status) bool) {
	for _, s := range a.list {
		if !yield(s) {
			return
		}
	}
}

// figures returns the points of a metric, "attributes value" each, sorted.
func (a *accounts) figures(name string) []string {
	a.t.Helper()
	var list []string
	for _, p := range a.metric(name) {
		attrs := strings.NewReplacer("ccproxy.budget.", "").Replace(p.attrs)
		list = append(list, fmt.Sprintf("%s %g", attrs, p.sum))
	}
	slices.Sort(list)
	return list
}

func (a *accounts) check(name string, want ...string) {
	a.t.Helper()
	if got := a.figures(name); !slices.Equal(got, want) {
		a.t.Errorf("%s: got %q, want %q", name, got, want)
	}
}

func status(b *budget.Budget, subject string, spent float64) budget.Status {
	return budget.Status{Budget: b, Subject: subject, Spent: usd(spent), State: names.BudgetStateOK}
}

func TestGaugesSayWhatIsKnownOfABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(t, telemetry.BudgetGauges{})
		research := &budget.Budget{Name: "research", Scope: "team", Match: "research", Window: "day", Limit: gateway.Some(usd(50))}
		everything := &budget.Budget{Name: "everything", Scope: "global", Window: "none"}
		nothing := &budget.Budget{Name: "nothing", Scope: "provider", Match: "dear", Window: "month", Limit: gateway.Some(gateway.NanoUSD(0))}
		over := &budget.Budget{Name: "over", Scope: "label", Match: "think", Window: "week", Limit: gateway.Some(usd(1))}
		a.list = []budget.Status{
			{Budget: research, Subject: "research", Spent: usd(30), Reserved: usd(10), Resets: time.Now().Add(time.Hour), Forecast: gateway.Some(usd(60))},
			{Budget: everything, Spent: usd(80), Reserved: usd(0.5)},
			{Budget: nothing, Subject: "dear"},
			{Budget: over, Subject: "think", Spent: usd(1.5), Resets: time.Now().Add(-time.Second)},
		}
		const (
			e = "name=everything scope=global subject= window=none "
			n = "name=nothing scope=provider subject=dear window=month "
			o = "name=over scope=label subject=think window=week "
			r = "name=research scope=team subject=research window=day "
		)
		a.check(names.MetricBudgetSpent, e+"80", n+"0", o+"1.5", r+"30")
		a.check(names.MetricBudgetReserved, e+"0.5", n+"0", o+"0", r+"10")
		a.check(names.MetricBudgetLimit, n+"0", o+"1", r+"50")
		a.check(names.MetricBudgetRemaining, n+"0", o+"-0.5", r+"10")
		a.check(names.MetricBudgetUtilization, n+"1", o+"1.5", r+"0.8")
		a.check(names.MetricBudgetReset, o+"0", r+"3600")
		a.check(names.MetricBudgetForecast, r+"60")
		a.check(names.MetricBudgetSubjects)
	})
}

func TestGaugesOfBudgetsAreTheContracts(t *testing.T) {
	a := newAccounts(t, telemetry.BudgetGauges{})
	key := &budget.Budget{Name: "k", Scope: "key", Match: "*", Window: "day", Limit: gateway.Some(usd(1))}
	user := &budget.Budget{Name: "u", Scope: "user", Match: "*", Window: "day"}
	a.list = []budget.Status{{Budget: key, Subject: "a", Resets: time.Now().Add(time.Hour), Forecast: gateway.Some(usd(1))}, status(user, "u", 0)}
	var rm metricdata.ResourceMetrics
	if err := a.reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]metricdata.Metrics{}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		got[m.Name] = m
	}
	points := a.collect()
	n := 0
	for _, want := range names.Metrics {
		if !strings.HasPrefix(want.Name, "ccproxy.budget.") || want.Kind != names.Gauge {
			continue
		}
		n++
		if m := got[want.Name]; m.Unit != want.Unit || m.Description != want.Description {
			t.Errorf("%s: got unit %q and %q, want %q and %q", want.Name, m.Unit, m.Description, want.Unit, want.Description)
		}
		for _, p := range points[want.Name] {
			if p.attrs != "" && strings.Count(p.attrs, "=") != len(want.Attributes) {
				t.Errorf("%s: got %s, want %v", want.Name, p.attrs, want.Attributes)
			}
			for _, key := range want.Attributes {
				if !strings.Contains(p.attrs, string(key)+"=") {
					t.Errorf("%s: got %s, want %s in it", want.Name, p.attrs, key)
				}
			}
		}
	}
	if n != len(got) || n != 8 {
		t.Errorf("got %d gauges, want the contract's %d", len(got), n)
	}
}

func TestUsersSessionsAndTagsAreCountedByState(t *testing.T) {
	a := newAccounts(t, telemetry.BudgetGauges{})
	b := &budget.Budget{Name: "sessions", Scope: "session", Match: "*", Window: "none", Limit: gateway.Some(usd(5))}
	for i, state := range []string{names.BudgetStateOK, names.BudgetStateWarn, names.BudgetStateWarn} {
		s := status(b, fmt.Sprint("s", i), 1)
		s.State = state
		a.list = append(a.list, s)
	}
	const of = "name=sessions scope=session state=%s window=none %d"
	a.check(names.MetricBudgetSubjects, fmt.Sprintf(of, "exhausted", 0), fmt.Sprintf(of, "ok", 1), fmt.Sprintf(of, "warn", 2))
	a.check(names.MetricBudgetSpent)
	a.list = a.list[:1]
	a.list[0].State = names.BudgetStateExhausted
	a.check(names.MetricBudgetSubjects, fmt.Sprintf(of, "exhausted", 1), fmt.Sprintf(of, "ok", 0), fmt.Sprintf(of, "warn", 0))
}

func TestSubjectsKeepTheirSeriesWhateverIsSpent(t *testing.T) {
	a := newAccounts(t, telemetry.BudgetGauges{Subjects: 2})
	b := &budget.Budget{Name: "each", Scope: "key", Match: "*", Window: "day", Limit: gateway.Some(usd(5))}
	const of = "name=each scope=key subject=%s window=day %g"
	a.list = []budget.Status{status(b, "m", 1), status(b, "c", 2), status(b, "z", 0)}
	a.check(names.MetricBudgetSpent, fmt.Sprintf(of, "c", 2.), fmt.Sprintf(of, "m", 1.))

	a.list = []budget.Status{status(b, "a", 4), status(b, "z", 4.5), status(b, "c", 0), status(b, "m", 0)}
	a.list[1].State = names.BudgetStateWarn
	a.check(names.MetricBudgetSpent, fmt.Sprintf(of, "c", 0.), fmt.Sprintf(of, "m", 0.))
	a.check(names.MetricBudgetSubjects, "name=each scope=key state=exhausted window=day 0", "name=each scope=key state=ok window=day 1", "name=each scope=key state=warn window=day 1")

	a.list = slices.Delete(a.list, 3, 4) // what is free is the next newcomer's
	_ = a.collect()
	a.check(names.MetricBudgetSpent, fmt.Sprintf(of, "a", 4.), fmt.Sprintf(of, "c", 0.))
}

func TestBudgetThatIsGoneHasNoPoints(t *testing.T) {
	a := newAccounts(t, telemetry.BudgetGauges{})
	day := &budget.Budget{Name: "b", Scope: "team", Match: "x", Window: "day"}
	other := &budget.Budget{Name: "other", Scope: "global", Window: "day"}
	a.list = []budget.Status{status(day, "x", 1), status(other, "", 2)}
	a.check(names.MetricBudgetSpent, "name=b scope=team subject=x window=day 1", "name=other scope=global subject= window=day 2")

	week := *day // as a new configuration defines it
	week.Window = "week"
	a.list[0].Budget = &week
	a.check(names.MetricBudgetSpent, "name=b scope=team subject=x window=week 1", "name=other scope=global subject= window=day 2")

	a.list = a.list[1:]
	a.check(names.MetricBudgetSpent, "name=other scope=global subject= window=day 2")
	a.list = nil
	for name, points := range a.collect() {
		t.Errorf("got %s %+v, though no budget is left", name, points)
	}
}

func TestGaugesStartOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(t, telemetry.BudgetGauges{})
		a.list = []budget.Status{status(&budget.Budget{Name: "b", Scope: "global", Window: "day"}, "", 1)}
		started := func() time.Time {
			var rm metricdata.ResourceMetrics
			if err := a.reader.Collect(t.Context(), &rm); err != nil {
				t.Fatal(err)
			}
			return rm.ScopeMetrics[0].Metrics[0].Data.(metricdata.Gauge[float64]).DataPoints[0].StartTime
		}
		first := started()
		time.Sleep(time.Minute)
		if again := started(); !again.Equal(first) {
			t.Errorf("got start %v, want %v as before", again, first)
		}
	})
}

func TestUnknownModelsHaveNoSeries(t *testing.T) {
	a := newAccounts(t, telemetry.BudgetGauges{KnownModel: func(m string) string {
		if m == sonnet {
			return m
		}
		return names.ErrorOther
	}})
	b := &budget.Budget{Name: "models", Scope: "model", Match: "*", Window: "day"}
	a.list = []budget.Status{status(b, "made-up", 1), status(b, sonnet, 2)}
	a.check(names.MetricBudgetSpent, "name=models scope=model subject="+sonnet+" window=day 2")
	a.check(names.MetricBudgetSubjects, "name=models scope=model state=exhausted window=day 0", "name=models scope=model state=ok window=day 1", "name=models scope=model state=warn window=day 0")
}

// TestClientsCannotMakeSeriesOfBudgets: users, sessions and tags are the clients' words; keys may be many.
func TestClientsCannotMakeSeriesOfBudgets(t *testing.T) {
	for _, scope := range []string{"user", "session", "tag", "key", "team", "model", "label", "unheard of"} {
		t.Run(scope, func(t *testing.T) {
			a := newAccounts(t, telemetry.BudgetGauges{})
			b := &budget.Budget{Name: "b", Scope: scope, Match: "*", Window: "day", Limit: gateway.Some(usd(5))}
			a.list = make([]budget.Status, hostileExchanges)
			for i := range a.list {
				a.list[i] = status(b, fmt.Sprintf("v%d\x1b[31m\xff", i), 1)
			}
			want := 0
			if slices.Contains([]string{"key", "team", "model", "label"}, scope) {
				want = 500
			}
			for range 2 {
				counts := seriesOf(t, a.reader)
				if n := counts[names.MetricBudgetUtilization]; n != want {
					t.Errorf("got %d series of subjects, want %d", n, want)
				}
				if n := counts[names.MetricBudgetSubjects]; n != 3 {
					t.Errorf("got %d series of counts, want 3", n)
				}
			}
			sum := 0.0
			for _, p := range a.metric(names.MetricBudgetSubjects) {
				sum += p.sum
			}
			if int(sum)+want != hostileExchanges {
				t.Errorf("got %v counted and %d shown, want %d in all", sum, want, hostileExchanges)
			}
		})
	}
}

func TestSubjectsThatComeAndGoLeaveNothingBehind(t *testing.T) {
	a := newAccounts(t, telemetry.BudgetGauges{})
	round := func(n int) {
		a.list = a.list[:0]
		for i := range 1000 {
			b := &budget.Budget{Name: fmt.Sprint("b", n, "-", i), Scope: "key", Match: "*", Window: "day"}
			a.list = append(a.list, status(b, fmt.Sprint("s", n), 1))
		}
		if got := len(a.metric(names.MetricBudgetSpent)); got > 2000 {
			t.Fatalf("round %d: got %d series", n, got)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for n := range 5 {
		round(n)
	}
	before := heap()
	for n := range 50 {
		round(5 + n)
	}
	if grown := int64(heap()) - int64(before); grown > 4<<20 { // all of them would be above 30 MB
		t.Errorf("got %d bytes more after 50,000 other budgets", grown)
	}
}

// TestBudgetsWithOneAccountComeFirst: many subjects of one budget must not take the series of the global one.
func TestBudgetsWithOneAccountComeFirst(t *testing.T) {
	a := newAccounts(t, telemetry.BudgetGauges{})
	for i := range 10 {
		b := &budget.Budget{Name: fmt.Sprint("wide", i), Scope: "key", Match: "*", Window: "day"}
		for j := range 1000 {
			a.list = append(a.list, status(b, fmt.Sprint(j), 1))
		}
	}
	count := func(prefix string) int {
		n := 0
		for _, p := range a.metric(names.MetricBudgetSpent) {
			if strings.Contains(p.attrs, "ccproxy.budget.name="+prefix) {
				n++
			}
		}
		return n
	}
	if n := count(""); n < 1900 || n > 2000 {
		t.Errorf("got %d series, want as many as an instrument may have", n)
	}
	oldest := a.figures(names.MetricBudgetSpent)[0]
	for i := range 600 { // a new configuration
		b := &budget.Budget{Name: fmt.Sprint("one", i), Scope: "team", Match: "t", Window: "day"}
		a.list = append(a.list, status(b, "t", 1))
	}
	_ = a.collect()
	if n := count("one"); n != 600 {
		t.Errorf("got %d of the budgets with one account, want all 600", n)
	}
	if n := count(""); n > 2000 {
		t.Errorf("got %d series, want at most 2000", n)
	}
	if !slices.Contains(a.figures(names.MetricBudgetSpent), oldest) {
		t.Errorf("got no %s any more, though it was first", oldest)
	}
}

func TestManyBudgetsStayBelowTheLimit(t *testing.T) {
	a := newAccounts(t, telemetry.BudgetGauges{})
	for i := range 5000 {
		global := &budget.Budget{Name: fmt.Sprintf("g%04d", i), Scope: "global", Window: "day", Limit: gateway.Some(usd(1))}
		user := &budget.Budget{Name: fmt.Sprintf("u%04d", i), Scope: "user", Match: "*", Window: "day"}
		a.list = append(a.list, status(global, "", 1), status(user, "u", 1))
	}
	for name, n := range seriesOf(t, a.reader) {
		if n > 2000 {
			t.Errorf("%s: got %d series, want at most 2000", name, n)
		}
	}
	sum := 0.0
	for _, p := range a.metric(names.MetricBudgetSubjects) {
		sum += p.sum
	}
	if shown := len(a.metric(names.MetricBudgetSpent)); int(sum)+shown != 10_000 || shown < 1900 {
		t.Errorf("got %v counted and %d shown, want 10000 in all", sum, shown)
	}
	first := a.figures(names.MetricBudgetSubjects)
	slices.Reverse(a.list)
	if again := a.figures(names.MetricBudgetSubjects); !slices.Equal(names0(again), names0(first)) {
		t.Error("got other series when the budgets came in another order")
	}
}

// names0 cuts the values off figures.
func names0(figures []string) []string {
	list := make([]string, len(figures))
	for i, f := range figures {
		list[i] = f[:strings.LastIndexByte(f, ' ')]
	}
	return list
}

func TestUnregisteredGaugesAskNobody(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	calls := 0
	reg, err := telemetry.RegisterBudgets(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), telemetry.BudgetGauges{
		Statuses: func(func(budget.Status) bool) { calls++ }})
	if err != nil {
		t.Fatal(err)
	}
	r := rig{t: t, reader: reader}
	r.collect()
	if err := reg.Unregister(); err != nil {
		t.Fatal(err)
	}
	r.collect()
	if calls != 1 {
		t.Errorf("got %d calls, want the one before it was unregistered", calls)
	}
}

func TestReadersCollectOneAtATime(t *testing.T) {
	readers := []*sdkmetric.ManualReader{sdkmetric.NewManualReader(), sdkmetric.NewManualReader()}
	b := &budget.Budget{Name: "each", Scope: "key", Match: "*", Window: "day"}
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(readers[0]), sdkmetric.WithReader(readers[1]))
	inside := false // what the race detector watches
	if _, err := telemetry.RegisterBudgets(mp, telemetry.BudgetGauges{Statuses: func(yield func(budget.Status) bool) {
		if inside {
			t.Error("called twice at a time")
		}
		inside = true
		_ = yield(status(b, "a", 1))
		inside = false
	}}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, reader := range readers {
		all.Go(func() {
			for range 100 {
				var rm metricdata.ResourceMetrics
				if err := reader.Collect(context.Background(), &rm); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkBudgetGauges is one collection of all gauges of budgets.
func BenchmarkBudgetGauges(b *testing.B) {
	for _, c := range []struct{ budgets, subjects int }{{10, 1}, {1000, 1}, {1000, 100}} {
		b.Run(fmt.Sprintf("%d budgets of %d", c.budgets, c.subjects), func(b *testing.B) {
			a := newAccounts(b, telemetry.BudgetGauges{})
			for i := range c.budgets {
				of := &budget.Budget{Name: fmt.Sprint("b", i), Scope: "key", Match: "*", Window: "day", Limit: gateway.Some(usd(5))}
				for j := range c.subjects {
					a.list = append(a.list, budget.Status{Budget: of, Subject: fmt.Sprint("s", j), Spent: 1, Resets: time.Now().Add(time.Hour), State: names.BudgetStateOK})
				}
			}
			var rm metricdata.ResourceMetrics
			b.ReportAllocs()
			for b.Loop() {
				if err := a.reader.Collect(context.Background(), &rm); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
