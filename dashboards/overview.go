package dashboards

// badly are the outcomes that are neither the caller's doing nor a policy's.
const badly = `, ccproxy_outcome=~"failed|timeout|truncated"`

// overview answers what it costs, whether it is healthy, and why not.
func overview() Dashboard {
	return dashboard("overview", "Overview", "What the traffic costs, whether it is healthy, and where to look on.", "now-1h",
		[]Variable{chooseJob, chooseLabel, chooseProvider, chooseModel, chooseTeam},
		stat(3, "Spend", "What the requests of the time shown cost at the providers.", "currencyUSD",
			now(over("ccproxy:cost:increase1m", ofCost)+" or vector(0)")),
		stat(3, "Pace", "Spend of the last 15 minutes, as if it went on for a day.", "currencyUSD",
			now("sum(sum_over_time(ccproxy:cost:increase1m{"+ofCost+"}[15m])) * 96 or vector(0)")),
		stat(3, "Saved by routing", "What the same usage would have cost on the models clients named, less what it did cost. Requests whose prices are not known are left out.", "currencyUSD",
			now(over("ccproxy:routing_baseline_cost:increase1m", ofLabel)+" - "+over("ccproxy:routing_compared_cost:increase1m", ofLabel)+" or vector(0)")),
		stat(3, "Fullest budget", "Spent and set aside of the limit, of the budget nearest to its end.", "percentunit",
			now("max(ccproxy:budget_utilization:max{"+ofJob+"}) or vector(0)"), above(0.8, 1)...),
		stat(3, "Requests", "Requests that came in.", "short",
			now(over("ccproxy:requests:increase1m", ofRequest)+" or vector(0)")),
		stat(3, "Failed", "Of the requests that were not refused: those that failed, timed out or were cut off.", "percentunit",
			now(over("ccproxy:requests:increase1m", ofRequest+badly)+" / ("+over("ccproxy:requests:increase1m", ofRequest+`, ccproxy_outcome!="rejected"`)+" > 0) or vector(0)"), above(0.01, 0.05)...),
		stat(3, "Duration, p95", "Of whole requests, streams to their end.", "s",
			now(quantileOver("0.95", "ccproxy_request_duration_seconds", ofRequest)), above(30, 120)...),
		stat(3, "First chunk, p95", "From sending a request to the first piece of a streamed answer.", "s",
			now(quantileOver("0.95", "gen_ai_client_inference_time_to_first_chunk_seconds", ofModel)), above(5, 15)...),

		bars(12, "Requests by outcome", "How requests ended. Rejected and blocked ones were refused by the gateway; a client that left is no error.", "short",
			graphed(each("ccproxy:requests:increase1m", ofRequest, "ccproxy_outcome"), "{{ccproxy_outcome}}")).outcomes(),
		bars(12, "Errors by whose they are", "The caller's: a request that cannot be right. Policy: a budget, limit or moderation. The provider's, the gateway's: theirs. Made of all traces, before any is dropped.", "short",
			graphed(each("ccproxy:errors:increase1m", ofJob, "ccproxy_error_origin"), "{{ccproxy_error_origin}}")).
			coloured("caller", "blue", "policy", "yellow", "provider", "orange", "gateway", "red").silent("none"),

		bars(12, "Spend by model", "Each bar is what was spent in that step. Click one to come to its requests.", "currencyUSD",
			graphed(each("ccproxy:cost:increase1m", ofCost, "gen_ai_request_model"), "{{gen_ai_request_model}}")).
			linked(requestsOf("Requests of this time", "var-model=${__field.labels.gen_ai_request_model}")),
		bars(12, "Tokens", "Input that was read from the provider's cache costs about a tenth of other input.", "short",
			graphed(each("ccproxy:input_tokens:increase1m", ofModel)+" - "+each("ccproxy:cache_read_input_tokens:increase1m", ofModel)+" or "+each("ccproxy:input_tokens:increase1m", ofModel), "input"),
			graphed(each("ccproxy:cache_read_input_tokens:increase1m", ofModel), "input from cache"),
			graphed(each("ccproxy:output_tokens:increase1m", ofModel), "output")).
			coloured("input", "blue", "input from cache", "super-light-blue", "output", "orange"),

		lines(12, "Duration of requests", "Dots are single requests: click one to see its trace.", "s",
			withExemplars(quantile("0.5", "ccproxy_request_duration_seconds", ofRequest), "p50"),
			withExemplars(quantile("0.95", "ccproxy_request_duration_seconds", ofRequest), "p95"),
			withExemplars(quantile("0.99", "ccproxy_request_duration_seconds", ofRequest), "p99")),
		lines(12, "Time to first chunk by model, p95", "Dots are single answers: click one to see its trace.", "s",
			withExemplars(quantile("0.95", "gen_ai_client_inference_time_to_first_chunk_seconds", ofModel, "gen_ai_request_model"), "{{gen_ai_request_model}}")),

		table(12, "Alerts", "What is firing now. The runbook is on the alert: Alerting, in the menu.", []Target{tabled(`max by (alertname, severity, job, ccproxy_budget_name, ccproxy_target) (ALERTS{alertname=~"CCProxy.+", alertstate="firing"})`)},
			column{field: "alertname", title: "Alert"}, column{field: "severity", title: "Severity", width: 90}, column{field: "job", title: "Of", width: 120},
			column{field: "ccproxy_budget_name", title: "Budget"}, column{field: "ccproxy_target", title: "Target"}).silent("nothing is firing"),
		spans(12, "Requests that failed, the latest", "Click an id to see the trace.",
			found(ofServer+` && span.ccproxy.outcome =~ "failed|timeout|truncated"`, "span.ccproxy.label", "span.ccproxy.model.routed", "span.error.type", "span.ccproxy.error.origin"),
			column{field: "ccproxy.label", title: "Label"}, column{field: "ccproxy.model.routed", title: "Model"}, column{field: "error.type", title: "Error"}, column{field: "ccproxy.error.origin", title: "Whose"}),
	)
}
