package dashboards

// spans is a table of the spans a search found: the id, which leads to the trace, when, its name, the attributes selected and how
// long it took. The data source names and orders the columns; columns say how those of attributes are called and look.
func spans(w int, title, description string, target Target, columns ...column) Panel {
	p := newTable(w, title, description, []Target{target})
	hide := []Property{{"custom.hidden", true}}
	for _, name := range []string{"traceService", "traceName", "Trace Service", "Trace Name", "service.name", "kind"} {
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{Matcher{"byName", name}, hide})
	}
	for _, c := range columns {
		properties := append([]Property{{"displayName", c.title}}, c.properties()...)
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{Matcher{"byName", c.field}, properties})
	}
	return p
}

// logLines are lines of the log.
func logLines(w int, title, description, expr string) Panel {
	p := panel("logs", w, tableHeight, title, description, "", []Target{logged(expr)})
	p.Options = map[string]any{"showTime": true, "wrapLogMessage": true, "enableLogDetails": true, "sortOrder": "Descending", "dedupStrategy": "none", "prettifyLogMessage": false, "showLabels": false}
	return p
}

// serviceGraph draws who calls whom.
func serviceGraph(w int, title, description string) Panel {
	p := panel("nodeGraph", w, 12, title, description, "", []Target{{Datasource: traces, QueryType: "serviceMap"}})
	p.Options = map[string]any{"nodes": map[string]any{}, "edges": map[string]any{}, "layoutAlgorithm": "layered"}
	return p
}

// oneTrace draws the trace the variable trace names.
func oneTrace(w int, title, description string) Panel {
	return panel("traces", w, 20, title, description, "", []Target{{Datasource: traces, QueryType: "traceql", Query: "$trace"}})
}
