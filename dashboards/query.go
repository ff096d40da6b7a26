package dashboards

import "strings"

// The data sources, by the variables that name them.
var (
	metrics = Datasource{Type: "prometheus", UID: "${metrics}"}
	traces  = Datasource{Type: "tempo", UID: "${traces}"}
	logs    = Datasource{Type: "loki", UID: "${logs}"}
)

// What the variables choose, as matchers of the series that have the labels.
const (
	ofJob     = `job=~"$job"`
	ofRequest = `job=~"$job", ccproxy_label=~"$label", ccproxy_model_routed=~"$model"`
	ofLabel   = `job=~"$job", ccproxy_label=~"$label"`
	ofCost    = `job=~"$job", ccproxy_label=~"$label", gen_ai_request_model=~"$model", gen_ai_provider_name=~"$provider", ccproxy_team=~"$team"`
	ofModel   = `job=~"$job", gen_ai_request_model=~"$model", gen_ai_provider_name=~"$provider"`
	// ofServer chooses SERVER spans, which have the request's decision, outcome and cost.
	ofServer = `resource.service.name =~ "${job:regex}" && kind = server && span.ccproxy.label =~ "${label:regex}"`
)

// over sums the minutes of a recorded series over the range shown: by the labels named, or in all.
func over(series, matchers string, by ...string) string {
	return sumBy(by, "sum_over_time("+series+"{"+matchers+"}[$__range])")
}

// each sums the minutes of a recorded series over each step of a graph.
func each(series, matchers string, by ...string) string {
	return sumBy(by, "sum_over_time("+series+"{"+matchers+"}[$__interval])")
}

func sumBy(by []string, expr string) string {
	if len(by) == 0 {
		return "sum(" + expr + ")"
	}
	return "sum by (" + strings.Join(by, ", ") + ") (" + expr + ")"
}

// quantile is a quantile of a histogram over time, such as 0.95, by the labels named.
func quantile(q, histogram, matchers string, by ...string) string {
	return "histogram_quantile(" + q + ", sum by (" + strings.Join(append(by, "le"), ", ") + ") (rate(" + histogram + "_bucket{" + matchers + "}[$__rate_interval])))"
}

// quantileOver is a quantile over the range shown.
func quantileOver(q, histogram, matchers string) string {
	return "histogram_quantile(" + q + ", sum by (le) (rate(" + histogram + "_bucket{" + matchers + "}[$__range])))"
}

// graphed is a query over time.
func graphed(expr, legend string) Target {
	return Target{Datasource: metrics, EditorMode: "code", Expr: expr, LegendFormat: legend, Range: true, Format: "time_series"}
}

// withExemplars is a query over time whose exemplars are shown: dots that lead to traces.
func withExemplars(expr, legend string) Target {
	t := graphed(expr, legend)
	t.Exemplar = true
	return t
}

// now is a query for one value.
func now(expr string) Target {
	return Target{Datasource: metrics, EditorMode: "code", Expr: expr, Instant: true, Format: "time_series"}
}

// tabled is a query for a table's rows.
func tabled(expr string) Target {
	return Target{Datasource: metrics, EditorMode: "code", Expr: expr, Instant: true, Format: "table"}
}

// found is a TraceQL search for spans, newest first, that shows the attributes selected.
func found(condition string, selected ...string) Target {
	query := "{ " + condition + " }"
	if len(selected) > 0 {
		query += " | select(" + strings.Join(selected, ", ") + ")"
	}
	return Target{Datasource: traces, QueryType: "traceql", Query: query + " with (most_recent=true)", TableType: "spans", Limit: 50}
}

// traced is a TraceQL metrics query.
func traced(query string) Target {
	return Target{Datasource: traces, QueryType: "traceql", Query: query}
}

// logged is a LogQL query for lines.
func logged(expr string) Target {
	return Target{Datasource: logs, EditorMode: "code", Expr: expr, QueryType: "range"}
}

// variables of the dashboards, in the order they are shown.
func dataSources() []Variable {
	one := func(name, label, kind, uid string) Variable {
		return Variable{Name: name, Label: label, Type: "datasource", Hide: 2, Query: kind, Refresh: 1,
			Current: Option{Text: label, Value: uid, Selected: true}, Options: []Option{}}
	}
	return []Variable{one("metrics", "Prometheus", "prometheus", "prometheus"), one("traces", "Tempo", "tempo", "tempo"), one("logs", "Loki", "loki", "loki")}
}

// choice is a variable with the values a label has.
func choice(name, label, description, series, of string) Variable {
	definition := "label_values(" + series + ", " + of + ")"
	v := Variable{
		Name: name, Label: label, Description: description, Type: "query", Datasource: &metrics, Definition: definition,
		Query:   map[string]any{"query": definition, "refId": "values", "qryType": 1},
		Refresh: 2, Sort: 1, Multi: true, IncludeAll: true, AllValue: ".*",
		Current: Option{Text: "All", Value: "$__all", Selected: true}, Options: []Option{},
	}
	if name == "job" {
		v.AllValue = ".+" // Loki wants one matcher that does not match nothing
	}
	return v
}

var (
	chooseJob      = choice("job", "Gateway", "service.name of the gateway", "ccproxy_telemetry_queue_bytes", "job")
	chooseLabel    = choice("label", "Label", "the name a rule gave the request", `ccproxy:requests:increase1m{job=~"$job"}`, "ccproxy_label")
	chooseProvider = choice("provider", "Provider", "the provider of an attempt", `ccproxy:attempts:increase1m{job=~"$job"}`, "gen_ai_provider_name")
	chooseModel    = choice("model", "Model", "the model a request was routed to", `ccproxy:attempts:increase1m{job=~"$job", gen_ai_provider_name=~"$provider"}`, "gen_ai_request_model")
	chooseTeam     = choice("team", "Team", "the caller's team, where telemetry.dimensions has it", `ccproxy:cost:increase1m{job=~"$job"}`, "ccproxy_team")
)

// text is a variable one types.
func text(name, label, description, value string) Variable {
	o := Option{Text: value, Value: value, Selected: true}
	return Variable{Name: name, Label: label, Description: description, Type: "textbox", Query: value, Current: o, Options: []Option{o}}
}

// oneOf is a variable with values of ours; options alternate between what is shown and what it stands for.
func oneOf(name, label, description string, options ...string) Variable {
	v := Variable{Name: name, Label: label, Description: description, Type: "custom"}
	var words []string
	for i := 0; i+1 < len(options); i += 2 {
		v.Options = append(v.Options, Option{Text: options[i], Value: options[i+1], Selected: i == 0})
		words = append(words, options[i]+" : "+options[i+1])
	}
	v.Query, v.Current = strings.Join(words, ", "), v.Options[0]
	return v
}
