package dashboards

// money shows what is spent, on what and by whom, and what budgets are left.
func money() Dashboard {
	by := oneOf("by", "By", "what the spend is split by", "model", "gen_ai_request_model", "label", "ccproxy_label", "provider", "gen_ai_provider_name",
		"team", "ccproxy_team", "key", "ccproxy_key_alias", "gateway", "job")
	panels := append(spending(), budgets()...)
	return dashboard("money", "Money and budgets", "What is spent, on what and by whom; what saved; how long budgets last.", "now-6h",
		[]Variable{chooseJob, chooseLabel, chooseProvider, chooseModel, chooseTeam, by}, panels...)
}

func spending() []Panel {
	const cost = "ccproxy:cost:increase1m"
	return []Panel{
		stat(4, "Spend", "What the requests of the time shown cost at the providers.", "currencyUSD", now(over(cost, ofCost)+" or vector(0)")),
		stat(4, "Pace", "Spend of the last hour, as if it went on for a month of 30 days.", "currencyUSD",
			now("sum(sum_over_time("+cost+"{"+ofCost+"}[1h])) * 720 or vector(0)")),
		stat(4, "Billed by the token", "The rest is notional: at list price, paid by a subscription.", "percentunit",
			now(over(cost, ofCost+`, ccproxy_cost_billing="metered"`)+" / ("+over(cost, ofCost)+" > 0) or vector(0)")),
		stat(4, "A request", "Mean cost of the requests that had one.", "currencyUSD",
			now("sum(rate(ccproxy_request_cost_sum{"+ofModel+", "+`ccproxy_label=~"$label"`+"}[$__range])) / sum(rate(ccproxy_request_cost_count{"+ofModel+", "+`ccproxy_label=~"$label"`+"}[$__range]))")),
		stat(4, "Input from cache", "Of the input tokens: those read from the providers' caches, at about a tenth of the price.", "percentunit",
			now(over("ccproxy:cache_read_input_tokens:increase1m", ofModel)+" / ("+over("ccproxy:input_tokens:increase1m", ofModel)+" > 0) or vector(0)")),
		stat(4, "Look-ups without a price", "Unknown: not in the spend. Assumed: the dearest model of the family stood in. Give them a price under prices: in the configuration.", "short",
			now(over("ccproxy:price_lookups:increase1m", ofJob+`, ccproxy_price_status=~"unknown|assumed"`)+" or vector(0)"), above(1, 100)...),

		bars(16, "Spend by $by", "Each bar is what was spent in that step.", "currencyUSD", graphed(each(cost, ofCost, "$by"), "{{$by}}")).
			linked(requestsOf("Requests of this time", "var-label=$__all")),
		table(8, "Spend by $by, in all", "Over the time shown.", []Target{tabled(over(cost, ofCost, "$by"))},
			column{field: "$by", title: "$by"}, column{field: "Value", title: "Spend", unit: "currencyUSD", width: 120}).sorted("Spend"),
		bars(8, "Spend by label", "Click a bar to come to its requests.", "currencyUSD", graphed(each(cost, ofCost, "ccproxy_label"), "{{ccproxy_label}}")).
			linked(requestsOf("Requests of this time", "var-label=${__field.labels.ccproxy_label}")),
		bars(8, "Spend by class", "What is paid for: input, what is read from and written to the provider's cache, output with reasoning, and the rest, such as web searches.", "currencyUSD",
			graphed(each(cost, ofCost, "ccproxy_cost_class"), "{{ccproxy_cost_class}}")).
			coloured("input", "blue", "cache_read", "super-light-blue", "cache_write", "purple", "output", "orange", "other", "text"),
		lines(8, "Cost of a request", "Dots are single requests: click one to see its trace.", "currencyUSD",
			withExemplars(quantile("0.5", "ccproxy_request_cost", ofModel+`, ccproxy_label=~"$label"`), "p50"),
			withExemplars(quantile("0.95", "ccproxy_request_cost", ofModel+`, ccproxy_label=~"$label"`), "p95"),
			withExemplars(quantile("0.99", "ccproxy_request_cost", ofModel+`, ccproxy_label=~"$label"`), "p99")).logarithmic(),
	}
}

func budgets() []Panel {
	const a = "job, ccproxy_budget_name, ccproxy_budget_scope, ccproxy_budget_subject, ccproxy_budget_window"
	legend := "{{ccproxy_budget_name}} {{ccproxy_budget_subject}}"
	value := func(record string) Target {
		return tabled("max by (" + a + ") (ccproxy:budget_" + record + "{" + ofJob + "})")
	}
	return []Panel{
		row("Budgets: the ledger's own numbers, exact at any time"),
		table(24, "Budgets", "Used: spent and set aside of the limit. Forecast: spent by the end of the window, if it goes on as it has. Budgets of users, sessions and tags are counted below instead.",
			[]Target{value("limit:max"), value("spent:max"), value("reserved:max"), value("utilization:max"), value("forecast:max"), value("reset:max")},
			column{field: "ccproxy_budget_name", title: "Budget"}, column{field: "ccproxy_budget_scope", title: "Of", width: 90}, column{field: "ccproxy_budget_subject", title: "Which"},
			column{field: "ccproxy_budget_window", title: "Window", width: 90}, column{field: "Value #A", title: "Limit", unit: "currencyUSD", width: 110},
			column{field: "Value #B", title: "Spent", unit: "currencyUSD", width: 110}, column{field: "Value #C", title: "Set aside", unit: "currencyUSD", width: 110},
			column{field: "Value #D", title: "Used", unit: "percentunit", gauge: true, width: 220}, column{field: "Value #E", title: "Forecast", unit: "currencyUSD", width: 110},
			column{field: "Value #F", title: "Ends in", unit: "s", width: 110}).sorted("Used").silent("no budget is configured"),
		lines(12, "What is left", "Limit less spent and set aside. A line that falls to nothing before it jumps up is a budget too small, or a spend too large.", "currencyUSD",
			graphed("ccproxy:budget_remaining:min{"+ofJob+"}", legend)).silent("no budget is configured"),
		lines(12, "Used and forecast", "Of the limit. The forecast is above 100 % where a budget will not last.", "percentunit",
			graphed("ccproxy:budget_utilization:max{"+ofJob+"}", legend),
			graphed("ccproxy:budget_forecast:max{"+ofJob+"} / (ccproxy:budget_limit:max > 0)", legend+" forecast")).silent("no budget is configured"),
		bars(8, "Decisions", "What budgets said of requests: allow, warn, deny, send to a cheaper label (reroute), or pass unchecked because the ledger could not answer (fail_open).", "short",
			graphed(each("ccproxy:budget_decisions:increase1m", ofJob, "ccproxy_budget_decision"), "{{ccproxy_budget_decision}}")).
			coloured("allow", "green", "warn", "yellow", "deny", "red", "reroute", "blue", "fail_open", "dark-red").silent("no budget is configured"),
		bars(8, "Alerts of the ledger", "Thresholds crossed, budgets used up, forecasts above the limit, requests without a price, windows that ended.", "short",
			graphed(each("ccproxy:budget_alerts:increase1m", ofJob, "ccproxy_budget_alert_type"), "{{ccproxy_budget_alert_type}}")).silent("none"),
		lines(8, "Users, sessions, tags", "How many there are in each state, of budgets that are not shown one by one.", "short",
			graphed("ccproxy:budget_subjects:max{"+ofJob+"}", "{{ccproxy_budget_name}} {{ccproxy_budget_state}}")).silent("no such budget"),
		logLines(24, "Alerts of the ledger, in words", "The log event of each.", `{service_name=~"$job"} | event="ccproxy_budget_alert"`).silent("none"),
	}
}
