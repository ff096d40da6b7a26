package dashboards

// health shows the gateway itself, and the way its telemetry takes.
func health() Dashboard {
	panels := append(gatewayItself(), pipeline()...)
	return dashboard("health", "Gateway health", "What the gateway itself takes, how its hooks and moderation do, and whether its telemetry arrives.", "now-1h", []Variable{chooseJob, chooseLabel, chooseModel}, panels...)
}

func gatewayItself() []Panel {
	const overhead = "ccproxy_request_overhead_seconds"
	return []Panel{
		stat(4, "Processes", "That sent metrics in the last five minutes.", "short", now("count(count by (job, instance) (ccproxy_telemetry_queue_bytes{"+ofJob+"})) or vector(0)"), below(1, 1)...),
		stat(4, "In the gateway, p50", "Of a request's time, the waiting for providers and clients left out.", "s", now(quantileOver("0.5", overhead, ofRequest)), above(0.005, 0.05)...),
		stat(4, "In the gateway, p95", "Of a request's time, the waiting for providers and clients left out.", "s", now(quantileOver("0.95", overhead, ofRequest)), above(0.01, 0.05)...),
		stat(4, "Requests now", "Requests that are being served.", "short", now("sum(ccproxy_requests_active{"+ofJob+"}) or vector(0)")),
		stat(4, "Telemetry lost", "Spans, log records and data points the gateway dropped.", "short", now(over("ccproxy:telemetry_dropped:increase1m", ofJob)+" or vector(0)"), above(1, 1000)...),
		stat(4, "Configurations refused", "A refused one leaves the one before in force.", "short", now(over("ccproxy:config_reloads:increase1m", ofJob+`, ccproxy_config_result="error"`)+" or vector(0)"), above(1, 1)...),

		lines(12, "Time in the gateway", "Dots are single requests: click one to see its trace.", "s",
			withExemplars(quantile("0.5", overhead, ofRequest), "p50"), withExemplars(quantile("0.95", overhead, ofRequest), "p95"), withExemplars(quantile("0.99", overhead, ofRequest), "p99")),
		lines(12, "Phases of a request, p95", "The spans of a request by phase; upstream and stream are the provider's time. Made of all traces, before any is dropped.", "s",
			graphed(quantile("0.95", "traces_spanmetrics_duration_seconds", ofJob+`, ccproxy_phase!=""`, "ccproxy_phase"), "{{ccproxy_phase}}")).logarithmic(),
		lines(8, "Hooks, p95", "What each hook takes.", "s", graphed(quantile("0.95", "ccproxy_hook_duration_seconds", ofJob, "ccproxy_hook_name"), "{{ccproxy_hook_name}}")),
		bars(8, "What hooks did", "Modified or blocked a request, or failed and let it pass (failed_open).", "short",
			graphed(each("ccproxy:hooks:increase1m", ofJob, "ccproxy_hook_action"), "{{ccproxy_hook_action}}")).
			coloured("none", "text", "modified", "blue", "blocked", "orange", "skipped", "yellow", "failed_open", "red"),
		bars(8, "Moderation", "Verdicts on requests and answers.", "short", graphed(each("ccproxy:moderation_decisions:increase1m", ofJob, "ccproxy_moderation_verdict"), "{{ccproxy_moderation_verdict}}")).
			coloured("pass", "green", "flag", "yellow", "redact", "blue", "block", "orange", "error", "red").silent("nothing is moderated"),
		lines(8, "CPU", "Cores in use.", "short", graphed("sum by (job) (rate(process_cpu_time_seconds_total{"+ofJob+"}[$__rate_interval]))", "{{job}}")),
		lines(8, "Memory", "Resident memory of the processes, and what the Go runtime has in use.", "bytes",
			graphed("sum by (job) (process_memory_usage_bytes{"+ofJob+"})", "{{job}} resident"), graphed("sum by (job) (go_memory_used_bytes{"+ofJob+"})", "{{job}} Go runtime")),
		lines(8, "Goroutines", "About three for each request that is open.", "short", graphed("sum by (job) (go_goroutine_count{"+ofJob+"})", "{{job}}")),
		logLines(24, "Warnings and errors", "Of the gateway, other than of single requests.", `{service_name=~"$job"} | severity_text=~"WARN|ERROR" | event!~"ccproxy_(failure|fallback)|gen_ai.+"`).silent("none"),
	}
}

func pipeline() []Panel {
	sum := func(name, signal, by string) Target {
		return graphed("sum by ("+by+") (rate("+name+"[$__rate_interval]))", signal+" {{"+by+"}}")
	}
	return []Panel{
		row("The way of telemetry: gateway → Collector → stores"),
		lines(8, "Waiting in the gateway", "Telemetry that is not sent yet. A queue that is full drops.", "bytes", graphed("sum by (ccproxy_telemetry_signal) (ccproxy_telemetry_queue_bytes{"+ofJob+"})", "{{ccproxy_telemetry_signal}}")),
		bars(8, "Lost by the gateway", "By signal and cause.", "short", graphed(each("ccproxy:telemetry_dropped:increase1m", ofJob, "ccproxy_telemetry_signal", "ccproxy_telemetry_drop_reason"), "{{ccproxy_telemetry_signal}} {{ccproxy_telemetry_drop_reason}}")),
		states(8, "Servers", "Whether Prometheus can reach them.", map[string]MappingResult{"0": {"down", "red", 0}, "1": {"up", "green", 1}}, graphed(`min by (job) (up)`, "{{job}}")),
		lines(8, "Received by the Collector", "A second.", "short", sum("otelcol_receiver_accepted_spans_total", "spans", "receiver"),
			sum("otelcol_receiver_accepted_metric_points_total", "points", "receiver"), sum("otelcol_receiver_accepted_log_records_total", "records", "receiver")),
		lines(8, "Sent to the stores", "A second. Fewer spans are sent than received where traces are dropped by sampling.", "short", sum("otelcol_exporter_sent_spans_total", "spans", "exporter"),
			sum("otelcol_exporter_sent_metric_points_total", "points", "exporter"), sum("otelcol_exporter_sent_log_records_total", "records", "exporter")),
		lines(8, "Queues of the Collector", "How full. They are on disk.", "percentunit", graphed("max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)", "{{exporter}}")).between(0, 1),
		bars(12, "Traces kept and dropped", "By the sampling of the Collector.", "short", graphed("sum by (decision) (increase(otelcol_processor_tail_sampling_global_count_traces_sampled_total[$__rate_interval]))", "{{decision}}")),
		bars(12, "Why traces are kept", "By the first policy that wanted them, and all others that did.", "short", graphed(`sum by (policy) (increase(otelcol_processor_tail_sampling_count_traces_sampled_total{decision="sampled"}[$__rate_interval]))`, "{{policy}}")),
	}
}
