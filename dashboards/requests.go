package dashboards

// requests finds single requests, and shows one.
func requests() Dashboard {
	cost := text("min_cost", "Dearer than", "USD a request, as a decimal fraction", "0.01")
	slow := text("min_duration", "Slower than", "a duration, such as 5s or 200ms", "1s")
	trace := text("trace", "Trace", "a trace id, shown at the end", "")
	request := []string{"span.ccproxy.label", "span.ccproxy.model.original", "span.ccproxy.model.routed", "span.ccproxy.outcome", "span.ccproxy.cost"}
	columns := []column{{field: "ccproxy.label", title: "Label"}, {field: "ccproxy.model.original", title: "Asked for"}, {field: "ccproxy.model.routed", title: "Routed to"},
		{field: "ccproxy.outcome", title: "Outcome", width: 110}, {field: "ccproxy.cost", title: "Cost", unit: "currencyUSD", width: 100}}
	with := func(extra ...string) []string { return append(append([]string{}, request...), extra...) }
	and := func(extra ...column) []column { return append(append([]column{}, columns...), extra...) }
	ofRouted := ofServer + ` && span.ccproxy.model.routed =~ "${model:regex}"`
	return dashboard("requests", "Requests", "Single requests: the dear, the slow, the failed, those rescued by a fallback, those a budget or moderation stopped. Each leads to its trace.", "now-1h",
		[]Variable{chooseJob, chooseLabel, chooseProvider, chooseModel, cost, slow, trace},
		lines(12, "Cost of a request", "Dots are single requests: click one to see its trace.", "currencyUSD",
			withExemplars(quantile("0.99", "ccproxy_request_cost", ofModel+`, ccproxy_label=~"$label"`, "ccproxy_label"), "{{ccproxy_label}} p99")).logarithmic(),
		lines(12, "Duration", "Dots are single requests: click one to see its trace.", "s",
			withExemplars(quantile("0.99", "ccproxy_request_duration_seconds", ofRequest, "ccproxy_label"), "{{ccproxy_label}} p99")),
		spans(24, "Dear", "Cost more than the amount above.", found(ofRouted+" && span.ccproxy.cost > $min_cost", with("span.ccproxy.team")...),
			and(column{field: "ccproxy.team", title: "Team"})...).sorted("Cost").silent("none"),
		spans(24, "Slow", "Took longer than the time above.", found(ofRouted+" && duration > $min_duration", with("span.ccproxy.attempts", "span.ccproxy.overhead")...),
			and(column{field: "ccproxy.attempts", title: "Attempts", width: 80}, column{field: "ccproxy.overhead", title: "In the gateway", unit: "s", width: 110})...).sorted("Duration").silent("none"),
		spans(24, "Failed", "Whose error it was, and which.", found(ofRouted+` && span.ccproxy.outcome =~ "failed|timeout|truncated"`, with("span.error.type", "span.ccproxy.error.origin")...),
			and(column{field: "error.type", title: "Error"}, column{field: "ccproxy.error.origin", title: "Whose", width: 90})...).silent("none"),
		spans(24, "Rescued by a fallback", "Why the first target was given up.", found(ofRouted+" && span.ccproxy.fallbacks > 0", with("span.ccproxy.fallback.reason", "span.ccproxy.attempts", "span.ccproxy.provider")...),
			and(column{field: "ccproxy.fallback.reason", title: "Why"}, column{field: "ccproxy.attempts", title: "Attempts", width: 80}, column{field: "ccproxy.provider", title: "Answered by"})...).silent("none"),
		spans(24, "Refused", "By the gateway: no key, no route, a budget, a limit, a policy, moderation, a request that cannot be right.",
			found(`resource.service.name =~ "${job:regex}" && kind = server && span.ccproxy.outcome =~ "rejected|blocked"`, "span.ccproxy.rejection.reason", "span.ccproxy.budget.decision", "span.ccproxy.label", "span.ccproxy.model.original", "span.ccproxy.outcome"),
			column{field: "ccproxy.rejection.reason", title: "Why"}, column{field: "ccproxy.budget.decision", title: "Budget", width: 90}, column{field: "ccproxy.label", title: "Label"},
			column{field: "ccproxy.model.original", title: "Asked for"}, column{field: "ccproxy.outcome", title: "Outcome", width: 110}).silent("none"),
		logLines(24, "Log", "The events of these requests: each line's trace_id leads to its trace.", `{service_name=~"$job"} | event=~"ccproxy_(success|failure|fallback|moderation|stream_complete)" | label=~"$label"`),
		folded("One trace", oneTrace(24, "Trace $trace", "The trace whose id is given above.")),
	)
}
