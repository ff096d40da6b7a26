package dashboards

// routing shows where requests are sent, whether that pays, and how the targets do.
func routing() Dashboard {
	panels := append(decisions(), targets()...)
	return dashboard("routing", "Routing", "Where requests are sent and why, what that saves, and how providers and fallbacks do.", "now-3h",
		[]Variable{chooseJob, chooseLabel, chooseProvider, chooseModel}, panels...)
}

func decisions() []Panel {
	const (
		decided  = "ccproxy:routing_decisions:increase1m"
		outcome  = "ccproxy:routing_outcomes:increase1m"
		baseline = "ccproxy:routing_baseline_cost:increase1m"
		compared = "ccproxy:routing_compared_cost:increase1m"
	)
	return []Panel{
		stat(6, "Routed elsewhere", "Of the requests: those that did not go to the model the client named.", "percentunit",
			now(over(decided, ofLabel+`, ccproxy_route_passthrough="false"`)+" / ("+over(decided, ofLabel)+" > 0) or vector(0)")),
		stat(6, "Effective", "Answered by the first choice, not cut short, and within the rule's targets of latency and cost.", "percentunit",
			now(over(outcome, ofLabel+`, ccproxy_routing_effective="true"`)+" / ("+over(outcome, ofLabel)+" > 0)"), below(0.9, 0.97)...),
		stat(6, "Cost efficiency", "Cost of the same usage on the models clients named, divided by what it did cost. Above 1, routing saves.", "none",
			now(over(baseline, ofLabel)+" / ("+over(compared, ofLabel)+" > 0)"), below(1, 1.05)...),
		stat(6, "Fallbacks", "Fallbacks taken, of the requests that were not refused.", "percentunit",
			now(over("ccproxy:fallbacks:increase1m", ofJob)+" / ("+over("ccproxy:requests:increase1m", ofJob+`, ccproxy_outcome!="rejected"`)+" > 0) or vector(0)"), above(0.02, 0.1)...),

		bars(8, "Decisions by label", "What rules called the requests.", "short", graphed(each(decided, ofLabel, "ccproxy_label"), "{{ccproxy_label}}")),
		bars(8, "Effectiveness", "ok, or why not: another target had to answer, it failed, it was cut short, or it missed the rule's target.", "short",
			graphed(each(outcome, ofLabel, "ccproxy_routing_reason"), "{{ccproxy_routing_reason}}")).
			coloured("ok", "green", "fallback", "yellow", "failed", "red", "client_gone", "blue", "max_tokens", "purple").silent("no request was analysed"),
		bars(8, "Saved", "Against the models clients named. Below nothing: routing to a dearer one.", "currencyUSD",
			graphed(each(baseline, ofLabel, "ccproxy_label")+" - "+each(compared, ofLabel, "ccproxy_label"), "{{ccproxy_label}}")),
		table(14, "Decisions", "Over the time shown.", []Target{tabled(over(decided, ofLabel, "ccproxy_label", "ccproxy_route_rule", "ccproxy_model_original", "ccproxy_model_routed") + " > 0")},
			column{field: "ccproxy_label", title: "Label"}, column{field: "ccproxy_route_rule", title: "Rule"}, column{field: "ccproxy_model_original", title: "Asked for"},
			column{field: "ccproxy_model_routed", title: "Routed to"}, column{field: "Value", title: "Requests", unit: "short", width: 90}).sorted("Requests"),
		table(10, "Asked and answered", "What a provider said it answered with. Another model than asked for may have another price.",
			[]Target{tabled("sum by (gen_ai_provider_name, gen_ai_request_model, gen_ai_response_model) (increase(gen_ai_client_inference_duration_seconds_count{" + ofModel + `, gen_ai_response_model!=""}[$__range])) > 0`)},
			column{field: "gen_ai_provider_name", title: "Provider", width: 110}, column{field: "gen_ai_request_model", title: "Asked"},
			column{field: "gen_ai_response_model", title: "Answered"}, column{field: "Value", title: "Calls", unit: "short", width: 80}).sorted("Calls"),
	}
}

func targets() []Panel {
	const attempts = "ccproxy:attempts:increase1m"
	return []Panel{
		row("Providers, targets, fallbacks"),
		states(12, "Targets", "Open: too many failures, nothing is sent there. Half open: a probe decides.", map[string]MappingResult{
			"0": {"healthy", "green", 0}, "1": {"half open", "yellow", 1}, "2": {"open", "red", 2},
		}, graphed("ccproxy:target_state:max{"+ofJob+"}", "{{ccproxy_target}}")).silent("no target has been used"),
		bars(12, "Attempts", "Superseded: it failed and another target answered. Skipped: it does not speak the client's dialect, or its breaker was open.", "short",
			graphed(each(attempts, ofModel, "ccproxy_attempt_result"), "{{ccproxy_attempt_result}}")).
			coloured("used", "green", "superseded", "yellow", "failed", "red", "skipped", "text"),
		bars(12, "Errors by target", "What attempts failed of.", "short",
			graphed(each(attempts, ofModel+`, error_type!=""`, "ccproxy_target", "error_type"), "{{ccproxy_target}} {{error_type}}")).silent("no attempt failed"),
		table(12, "Fallbacks taken", "From which target to which, and why, over the time shown.",
			[]Target{tabled(over("ccproxy:fallbacks:increase1m", ofJob, "ccproxy_fallback_from", "ccproxy_fallback_to", "ccproxy_fallback_reason") + " > 0")},
			column{field: "ccproxy_fallback_from", title: "From"}, column{field: "ccproxy_fallback_to", title: "To"}, column{field: "ccproxy_fallback_reason", title: "Why"},
			column{field: "Value", title: "Times", unit: "short", width: 80}).sorted("Times").silent("no fallback was needed"),
		lines(12, "Duration of calls by provider, p95", "From the send to the end of the answer. Dots are single calls: click one to see its trace.", "s",
			withExemplars(quantile("0.95", "gen_ai_client_inference_duration_seconds", ofModel, "gen_ai_provider_name"), "{{gen_ai_provider_name}}")),
		lines(12, "Failed attempts by provider", "Of those that were sent.", "percentunit",
			graphed(`ccproxy:attempt_errors:ratio5m{job=~"$job", gen_ai_provider_name=~"$provider"}`, "{{gen_ai_provider_name}}")),
		serviceGraph(24, "Who calls whom", "Gateways and the providers they call, with rates and durations. Made of the traces that are kept."),
	}
}
