package dashboards

// sessions shows what coding agents do, session by session. A session's id is on spans only, so that these panels are made of
// the traces that are kept.
func sessions() Dashboard {
	session := text("session", "Session", "a session's id, or a regular expression of it", ".+")
	of := ofServer + ` && span.session.id =~ "$session"`
	return dashboard("sessions", "Agent sessions", "What agents such as Claude Code and Codex do, by session and label. Made of the traces that are kept.", "now-3h", []Variable{chooseJob, chooseLabel, session},
		lines(12, "Spend by session", "A session's spend in each step.", "currencyUSD", traced("{ "+of+" && span.ccproxy.cost > 0.0 } | sum_over_time(span.ccproxy.cost) by (span.session.id)")).silent("no session named itself"),
		lines(12, "Requests by session", "A second.", "reqps", traced("{ "+of+" } | rate() by (span.session.id)")).silent("no session named itself"),
		bars(12, "Requests by label", "All sessions: background requests beside those one waits for.", "short", graphed(each("ccproxy:requests:increase1m", ofLabel, "ccproxy_label"), "{{ccproxy_label}}")),
		bars(12, "Spend by label", "All sessions.", "currencyUSD", graphed(each("ccproxy:cost:increase1m", ofLabel, "ccproxy_label"), "{{ccproxy_label}}")).
			linked(requestsOf("Requests of this time", "var-label=${__field.labels.ccproxy_label}")),
		lines(12, "Longest requests by label", "The 95th percentile, of the traces that are kept.", "s", traced("{ "+ofServer+" } | quantile_over_time(duration, .95) by (span.ccproxy.label)")),
		lines(12, "Input from cache", "Of the input tokens, by model. It falls when a client's prompt begins differently each time.", "percentunit", graphed(`ccproxy:cache_read:ratio1h{job=~"$job"}`, "{{gen_ai_request_model}}")).between(0, 1),
		spans(24, "Requests", "Of the sessions above, the latest.", found(of, "span.session.id", "span.ccproxy.label", "span.ccproxy.model.routed", "span.ccproxy.outcome", "span.ccproxy.cost", "span.user.id"),
			column{field: "session.id", title: "Session"}, column{field: "ccproxy.label", title: "Label"}, column{field: "ccproxy.model.routed", title: "Model"}, column{field: "ccproxy.outcome", title: "Outcome", width: 110},
			column{field: "ccproxy.cost", title: "Cost", unit: "currencyUSD", width: 100}, column{field: "user.id", title: "User"}).silent("no session named itself"),
	)
}
