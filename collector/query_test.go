package collector

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSelectorsOfQueries(t *testing.T) {
	tests := []struct {
		expr     string
		want     []Selector
		grouping []string
	}{
		{expr: `up`, want: []Selector{{Metric: "up"}}},
		{expr: `sum by (job, le) (rate(x_bucket{a="b", c=~"$d|${e:regex}"}[$__rate_interval]))`,
			want: []Selector{{"x_bucket", []string{"a", "c"}}}, grouping: []string{"job", "le"}},
		{expr: `sum without (instance) (increase(ccproxy_cost_total[1m] anchored))`,
			want: []Selector{{Metric: "ccproxy_cost_total"}}, grouping: []string{"instance"}},
		{expr: `a:b:c > 0.5 and on (x) d offset 1h unless ignoring(y) e{f!~'g"h'}`,
			want: []Selector{{Metric: "a:b:c"}, {Metric: "d"}, {"e", []string{"f"}}}, grouping: []string{"x", "y"}},
		{expr: `topk(5, sum(m) by (l)) or vector(0)`, want: []Selector{{Metric: "m"}}, grouping: []string{"l"}},
		{expr: `label_replace(m, "new", "$1", "old", "(.*)") * 1e3 % 2h`, want: []Selector{{Metric: "m"}}},
		{expr: `{__name__="x", a="b"}`, want: []Selector{{"", []string{"__name__", "a"}}}},
		{expr: `histogram_quantile(0.95, m[5m]) * $factor`, want: []Selector{{Metric: "m"}}},
	}
	for _, tt := range tests {
		got, grouping := Selectors(tt.expr)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: selectors (-want +got):\n%s", tt.expr, diff)
		}
		if !slices.Equal(grouping, tt.grouping) {
			t.Errorf("%s: groups by %v, want %v", tt.expr, grouping, tt.grouping)
		}
	}
}

func TestCheckFindsWhatIsWrongWithAQuery(t *testing.T) {
	known, err := Known(Rules{Groups: []Group{{Rules: []Rule{{Record: "ccproxy:x:sum", Expr: "sum by (ccproxy_label) (ccproxy_cost_total)"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for expr, want := range map[string]int{
		`sum by (ccproxy_label) (ccproxy_cost_total{ccproxy_cost_class="input"})`:                                  0,
		`ccproxy:x:sum{ccproxy_label="a"}`:                                                                         0,
		`ccproxy_request_duration_seconds_bucket{le="1", ccproxy_outcome="failed"}`:                                0,
		`ccproxy_budget_utilization_ratio + ccproxy_budget_reset_seconds + ccproxy_target_state_ratio`:             0,
		`process_memory_usage_bytes + process_cpu_time_seconds_total + ccproxy_telemetry_queue_bytes`:              0,
		`gen_ai_client_inference_usage_cache_read_input_tokens_total + http_server_request_duration_seconds_count`: 0,
		`ccproxy_cost`:           1, // a counter ends in _total
		`ccproxy_cost_USD_total`: 1,
		`ccproxy_cost_total{ccproxy_outcome="failed"}`: 1,
		`sum by (labels) (ccproxy_cost_total)`:         1,
		`ccproxy_request_duration_seconds`:             1,
	} {
		if wrong := known.Check(expr); len(wrong) != want {
			t.Errorf("%s: %d faults, want %d: %v", expr, len(wrong), want, wrong)
		}
	}
}

func FuzzSelectors(f *testing.F) {
	for _, s := range []string{`sum by (a) (b{c="d"}[5m])`, `{`, `a{b`, `by (`, `"`, "a by", `$__range`, `${`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		selectors, _ := Selectors(expr) // neither panics nor goes on for ever
		for _, s := range selectors {
			if s.Metric != "" && !isName(s.Metric) {
				t.Errorf("%q: %q is no name", expr, s.Metric)
			}
		}
	})
}
