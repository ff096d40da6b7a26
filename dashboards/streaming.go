package dashboards

// streaming shows how answers flow.
func streaming() Dashboard {
	const (
		first = "gen_ai_client_inference_time_to_first_chunk_seconds"
		chunk = "gen_ai_client_inference_time_per_output_chunk_seconds"
	)
	ended := `resource.service.name =~ "${job:regex}" && name = "ccproxy.stream"`
	return dashboard("streaming", "Streaming", "When answers begin, how they flow, and where they stop.", "now-1h", []Variable{chooseJob, chooseLabel, chooseProvider, chooseModel},
		stat(6, "First chunk, p50", "From sending a request to the first piece of the answer.", "s", now(quantileOver("0.5", first, ofModel)), above(2, 5)...),
		stat(6, "First chunk, p95", "From sending a request to the first piece of the answer.", "s", now(quantileOver("0.95", first, ofModel)), above(5, 15)...),
		stat(6, "Between chunks, p95", "The pause between two pieces of an answer.", "s", now(quantileOver("0.95", chunk, ofModel)), above(0.5, 2)...),
		stat(6, "Streams now", "Streams that are open.", "short", now("sum(ccproxy_streams_active{"+ofJob+"}) or vector(0)")),
		lines(12, "Time to first chunk", "Dots are single answers: click one to see its trace.", "s",
			withExemplars(quantile("0.5", first, ofModel), "p50"), withExemplars(quantile("0.95", first, ofModel), "p95"), withExemplars(quantile("0.99", first, ofModel), "p99")),
		lines(12, "Time to first chunk by model, p95", "Which models begin late.", "s", graphed(quantile("0.95", first, ofModel, "gen_ai_request_model"), "{{gen_ai_request_model}}")),
		heatmap(12, "Time to first chunk, spread", "How many answers began after how long.", "s", "sum by (le) (increase("+first+"_bucket{"+ofModel+"}[$__rate_interval]))"),
		heatmap(12, "Between chunks, spread", "How long the pauses between two pieces of an answer are.", "s", "sum by (le) (increase("+chunk+"_bucket{"+ofModel+"}[$__rate_interval]))"),
		lines(8, "Between chunks by model, p95", "Dots are the longest pauses of single answers: click one to see its trace.", "s",
			withExemplars(quantile("0.95", chunk, ofModel, "gen_ai_request_model"), "{{gen_ai_request_model}}")),
		lines(8, "Streams open", "By what the client speaks.", "short", graphed("sum by (ccproxy_dialect) (ccproxy_streams_active{"+ofJob+"})", "{{ccproxy_dialect}}")),
		bars(8, "Clients that left, answers that were cut", "A client that leaves still pays for what came. Truncated: the provider's stream ended without its end.", "short",
			graphed(each("ccproxy:requests:increase1m", ofRequest+`, ccproxy_outcome=~"client_disconnect|truncated|timeout"`, "ccproxy_outcome"), "{{ccproxy_outcome}}")).outcomes().silent("none"),
		lines(12, "How streams ended", "A second, of the traces that are kept.", "short", traced("{ "+ended+" } | rate() by (span.ccproxy.stream.end)")),
		spans(12, "Stalls", "Streams that paused for longer than half a second.", found(ended+" && span.ccproxy.stream.max_gap > 0.5", "span.ccproxy.stream.max_gap", "span.ccproxy.stream.mean_gap", "span.ccproxy.stream.client_stall", "span.ccproxy.stream.events", "span.ccproxy.stream.end"),
			column{field: "ccproxy.stream.max_gap", title: "Longest pause", unit: "s"}, column{field: "ccproxy.stream.mean_gap", title: "Mean", unit: "s"}, column{field: "ccproxy.stream.client_stall", title: "Waited for client", unit: "s"},
			column{field: "ccproxy.stream.events", title: "Events"}, column{field: "ccproxy.stream.end", title: "End"}).sorted("Longest pause").silent("none"),
	)
}
