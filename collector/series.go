package collector

import (
	"fmt"
	"slices"

	"github.com/prometheus/otlptranslator"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Series are the series a Prometheus of this stack has: the labels each may carry, by name.
type Series map[string][]string

// common are the labels of every series of a gateway: its name, its process, and the resource attribute prometheus.yaml
// promotes.
var common = []string{"job", "instance", "deployment_environment_name"}

// others are the series of others that rules and dashboards may ask for: those that servers of the stack make, and the Go
// runtime's, which its instrumentation names.
var others = Series{
	"up":     {"job", "instance"},
	"ALERTS": {"alertname", "alertstate", "severity", "category", "ccproxy_budget_name", "ccproxy_budget_subject", "ccproxy_target", "gen_ai_provider_name"},
	// The Collector about itself (service.telemetry in otelcol.yaml).
	"otelcol_receiver_accepted_spans_total":                             {"receiver", "transport"},
	"otelcol_receiver_accepted_metric_points_total":                     {"receiver", "transport"},
	"otelcol_receiver_accepted_log_records_total":                       {"receiver", "transport"},
	"otelcol_receiver_refused_spans_total":                              {"receiver", "transport"},
	"otelcol_receiver_refused_metric_points_total":                      {"receiver", "transport"},
	"otelcol_receiver_refused_log_records_total":                        {"receiver", "transport"},
	"otelcol_exporter_sent_spans_total":                                 {"exporter"},
	"otelcol_exporter_sent_metric_points_total":                         {"exporter"},
	"otelcol_exporter_sent_log_records_total":                           {"exporter"},
	"otelcol_exporter_send_failed_spans_total":                          {"exporter"},
	"otelcol_exporter_send_failed_metric_points_total":                  {"exporter"},
	"otelcol_exporter_send_failed_log_records_total":                    {"exporter"},
	"otelcol_exporter_enqueue_failed_spans_total":                       {"exporter"},
	"otelcol_exporter_enqueue_failed_metric_points_total":               {"exporter"},
	"otelcol_exporter_enqueue_failed_log_records_total":                 {"exporter"},
	"otelcol_exporter_queue_size":                                       {"exporter", "data_type"},
	"otelcol_exporter_queue_capacity":                                   {"exporter", "data_type"},
	"otelcol_processor_tail_sampling_count_traces_sampled_total":        {"policy", "sampled", "decision"},
	"otelcol_processor_tail_sampling_global_count_traces_sampled_total": {"sampled", "decision"},
	// The Collector's span_metrics.
	"traces_spanmetrics_calls_total":             {"service_name", "span_kind", "status_code", "ccproxy_phase", "ccproxy_error_origin", "ccproxy_rejection_reason"},
	"traces_spanmetrics_duration_seconds_bucket": {"service_name", "span_kind", "status_code", "ccproxy_phase", "le"},
	"traces_spanmetrics_duration_seconds_count":  {"service_name", "span_kind", "status_code", "ccproxy_phase"},
	"traces_spanmetrics_duration_seconds_sum":    {"service_name", "span_kind", "status_code", "ccproxy_phase"},
	// go.opentelemetry.io/contrib/instrumentation/runtime.
	"go_goroutine_count":   nil,
	"go_memory_used_bytes": {"go_memory_type"},
}

// Known returns every series there is: the gateway's metrics as Prometheus spells them, those of others, and what the rules
// record of them.
func Known(rules ...Rules) (Series, error) {
	known := Series{}
	for name, labels := range others {
		known[name] = slices.Concat(common, labels)
	}
	for _, m := range names.Metrics {
		if err := known.add(m); err != nil {
			return nil, err
		}
	}
	for _, file := range rules {
		for _, group := range file.Groups {
			for _, rule := range group.Rules {
				if rule.Record != "" {
					known[rule.Record] = known.recorded(rule.Expr)
				}
			}
		}
	}
	return known, nil
}

// add adds the series of a metric, named as Prometheus names what comes by OTLP unless told otherwise.
func (s Series) add(m names.Metric) error {
	kinds := map[names.Kind]otlptranslator.MetricType{
		names.Counter: otlptranslator.MetricTypeMonotonicCounter, names.UpDownCounter: otlptranslator.MetricTypeNonMonotonicCounter,
		names.Gauge: otlptranslator.MetricTypeGauge, names.Histogram: otlptranslator.MetricTypeHistogram,
	}
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	name, err := namer.Build(otlptranslator.Metric{Name: m.Name, Unit: m.Unit, Type: kinds[m.Kind]})
	if err != nil {
		return fmt.Errorf("metric %s: %w", m.Name, err)
	}
	labels := slices.Clone(common)
	for _, key := range m.Attributes {
		label, err := (&otlptranslator.LabelNamer{}).Build(string(key))
		if err != nil {
			return fmt.Errorf("metric %s: attribute %s: %w", m.Name, key, err)
		}
		labels = append(labels, label)
	}
	if m.Kind != names.Histogram {
		s[name] = labels
		return nil
	}
	s[name+"_count"], s[name+"_sum"] = labels, labels
	s[name+"_bucket"] = append(slices.Clone(labels), "le")
	return nil
}

// recorded returns the labels a recorded expression may have: at most those of what it reads.
func (s Series) recorded(expr string) []string {
	var labels []string
	selectors, _ := Selectors(expr)
	for _, sel := range selectors {
		labels = append(labels, s[sel.Metric]...)
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// Check says what is wrong with a query: a series that does not exist, or a label that its series never has.
func (s Series) Check(expr string) []string {
	var wrong []string
	selectors, grouping := Selectors(expr)
	var all []string
	for _, sel := range selectors {
		labels, ok := s[sel.Metric]
		if !ok {
			wrong = append(wrong, fmt.Sprintf("there is no series %q", sel.Metric))
			continue
		}
		all = append(all, labels...)
		for _, label := range sel.Labels {
			if !slices.Contains(labels, label) {
				wrong = append(wrong, fmt.Sprintf("series %s has no label %q", sel.Metric, label))
			}
		}
	}
	for _, label := range grouping {
		if !slices.Contains(all, label) {
			wrong = append(wrong, fmt.Sprintf("no series here has the label %q", label))
		}
	}
	return wrong
}
