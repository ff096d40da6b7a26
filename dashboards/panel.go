package dashboards

import (
	"maps"
	"slices"
)

// Places of panels: a width and a height on the grid.
const (
	statHeight  = 4
	graphHeight = 8
	tableHeight = 9
)

// dashboard makes one of panels, laid out from left to right and top to bottom.
func dashboard(uid, title, description, from string, variables []Variable, panels ...Panel) Dashboard {
	d := Dashboard{
		UID: "ccproxy-" + uid, Title: title, Description: description, Tags: []string{"ccproxy"},
		SchemaVersion: 42, Version: 1, Editable: true, GraphTooltip: 1, Refresh: "30s",
		Time: TimeRange{From: from, To: "now"}, Timezone: "browser",
		Templating: Templating{List: append(dataSources(), variables...)},
		Links:      []Link{{Title: "ccproxy", Type: "dashboards", Tags: []string{"ccproxy"}, IncludeVars: true, KeepTime: true}},
	}
	d.Annotations.List = []Annotation{{
		Name: "Alerts", Enable: true, Datasource: metrics, Expr: `ALERTS{alertname=~"CCProxy.+", alertstate="firing"}`,
		TitleFormat: "{{alertname}}", TextFormat: "{{severity}} {{ccproxy_budget_name}} {{ccproxy_target}}", IconColor: "red", Step: "60s",
	}}
	d.Panels = layOut(panels)
	return d
}

// layOut numbers the panels and gives each its place; a panel that does not fit beside the ones before begins a line.
func layOut(panels []Panel) []Panel {
	id, x, y, height := 0, 0, 0, 0
	var place func(p *Panel)
	place = func(p *Panel) {
		id++
		p.ID = id
		if x+p.GridPos.W > 24 {
			x, y, height = 0, y+height, 0
		}
		p.GridPos.X, p.GridPos.Y = x, y
		x, height = x+p.GridPos.W, max(height, p.GridPos.H)
		for i := range p.Panels {
			place(&p.Panels[i])
		}
		for i := range p.Targets {
			p.Targets[i].RefID = string(rune('A' + i))
		}
	}
	for i := range panels {
		place(&panels[i])
	}
	return panels
}

// row begins a part of the dashboard.
func row(title string) Panel {
	return Panel{Type: "row", Title: title, GridPos: GridPos{W: 24, H: 1}, Collapsed: new(false)}
}

// folded is a part that is opened by a click, and queries nothing before.
func folded(title string, panels ...Panel) Panel {
	return Panel{Type: "row", Title: title, GridPos: GridPos{W: 24, H: 1}, Collapsed: new(true), Panels: panels}
}

func panel(kind string, w, h int, title, description, unit string, targets []Target) Panel {
	p := Panel{
		Type: kind, Title: title, Description: description, GridPos: GridPos{W: w, H: h}, Targets: targets,
		FieldConfig: &FieldConfig{Defaults: Field{Unit: unit, Custom: map[string]any{}}, Overrides: []Override{}},
		Options:     map[string]any{},
	}
	if len(targets) > 0 {
		p.Datasource = &targets[0].Datasource
	}
	return p
}

// stat is one number, with the colour that thresholds give it.
func stat(w int, title, description, unit string, target Target, steps ...Step) Panel {
	p := panel("stat", w, statHeight, title, description, unit, []Target{target})
	p.Options = map[string]any{
		"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		"colorMode":     "value", "graphMode": "none", "justifyMode": "auto", "textMode": "auto", "wideLayout": true,
	}
	if len(steps) == 0 {
		steps = plain()
	}
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "thresholds"}
	p.FieldConfig.Defaults.Thresholds = &Thresholds{Mode: "absolute", Steps: steps}
	p.FieldConfig.Defaults.NoValue = "0"
	return p
}

// plain colours nothing.
func plain() []Step { return []Step{{Color: "text"}} }

// above turns from green to yellow and red as a value grows.
func above(yellow, red float64) []Step {
	return []Step{{Color: "green"}, {Color: "yellow", Value: &yellow}, {Color: "red", Value: &red}}
}

// below turns from red to yellow and green as a value grows.
func below(yellow, green float64) []Step {
	return []Step{{Color: "red"}, {Color: "yellow", Value: &yellow}, {Color: "green", Value: &green}}
}

// lines are values over time.
func lines(w int, title, description, unit string, targets ...Target) Panel {
	p := panel("timeseries", w, graphHeight, title, description, unit, targets)
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "palette-classic"}
	p.FieldConfig.Defaults.Custom = map[string]any{
		"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "auto", "spanNulls": 180000,
		"axisSoftMin": 0, "stacking": map[string]any{"mode": "none", "group": "A"},
	}
	p.Options = map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	return p
}

// bars are amounts in each step of time, piled up. The minutes they are made of make a step of less than one senseless.
func bars(w int, title, description, unit string, targets ...Target) Panel {
	p := lines(w, title, description, unit, targets...)
	p.Interval = "1m"
	p.FieldConfig.Defaults.Custom = map[string]any{
		"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "showPoints": "never", "axisSoftMin": 0,
		"stacking": map[string]any{"mode": "normal", "group": "A"},
	}
	return p
}

// heatmap shows how a histogram is spread over time.
func heatmap(w int, title, description, unit, expr string) Panel {
	t := graphed(expr, "{{le}}")
	t.Format = "heatmap"
	p := panel("heatmap", w, graphHeight, title, description, unit, []Target{t})
	p.Options = map[string]any{
		"calculate": false, "cellGap": 1, "color": map[string]any{"mode": "scheme", "scheme": "Blues", "steps": 32, "exponent": 0.5},
		"yAxis": map[string]any{"unit": unit, "axisPlacement": "left"}, "legend": map[string]any{"show": true},
		"tooltip": map[string]any{"mode": "single", "yHistogram": true}, "rowsFrame": map[string]any{"layout": "auto"},
	}
	return p
}

// states shows words over time, one line each.
func states(w int, title, description string, mappings map[string]MappingResult, target Target) Panel {
	p := panel("state-timeline", w, graphHeight, title, description, "none", []Target{target})
	p.FieldConfig.Defaults.Mappings = []Mapping{{Type: "value", Options: mappings}}
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "thresholds"}
	p.FieldConfig.Defaults.Thresholds = &Thresholds{Mode: "absolute", Steps: plain()}
	p.FieldConfig.Defaults.Custom = map[string]any{"fillOpacity": 70, "lineWidth": 0, "spanNulls": 180000}
	p.Options = map[string]any{"showValue": "auto", "mergeValues": true, "rowHeight": 0.8, "legend": map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": false}}
	return p
}

// column is a column of a table: what it is called there, how its values look.
type column struct {
	field, title, unit string
	gauge              bool // a bar from 0 to 1
	width              int
	links              []Link
}

// newTable is a table whose columns are those of its query.
func newTable(w int, title, description string, targets []Target) Panel {
	p := panel("table", w, tableHeight, title, description, "none", targets)
	p.Options = map[string]any{"showHeader": true, "cellHeight": "sm", "footer": map[string]any{"show": false}}
	p.FieldConfig.Defaults.NoValue = "–"
	p.FieldConfig.Defaults.Custom = map[string]any{"align": "auto", "cellOptions": map[string]any{"type": "auto"}, "filterable": false}
	return p
}

// table has a row for each combination of labels; its columns are labels and values, in the order given, others are left out.
func table(w int, title, description string, targets []Target, columns ...column) Panel {
	p := newTable(w, title, description, targets)
	order, titles, fields := map[string]any{}, map[string]any{}, []string{}
	for i, c := range columns {
		order[c.field], titles[c.field] = i, c.title
		fields = append(fields, c.field)
		if properties := c.properties(); len(properties) > 0 {
			p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{Matcher{"byName", c.title}, properties})
		}
	}
	if len(targets) > 1 {
		p.Transformations = append(p.Transformations, Transformation{"merge", map[string]any{}})
	}
	p.Transformations = append(p.Transformations,
		Transformation{"filterFieldsByName", map[string]any{"include": map[string]any{"names": fields}}},
		Transformation{"organize", map[string]any{"indexByName": order, "renameByName": titles, "excludeByName": map[string]any{}}})
	return p
}

func (c column) properties() (list []Property) {
	if c.unit != "" {
		list = append(list, Property{"unit", c.unit})
	}
	if c.gauge {
		list = append(list, Property{"custom.cellOptions", map[string]any{"type": "gauge", "mode": "basic"}}, Property{"min", 0}, Property{"max", 1},
			Property{"color", map[string]any{"mode": "thresholds"}}, Property{"thresholds", Thresholds{"absolute", above(0.8, 1)}})
	}
	if c.width > 0 {
		list = append(list, Property{"custom.width", c.width})
	}
	if len(c.links) > 0 {
		list = append(list, Property{"links", c.links})
	}
	return list
}

// sorted orders a table by a column, largest first.
func (p Panel) sorted(title string) Panel {
	p.Options["sortBy"] = []map[string]any{{"displayName": title, "desc": true}}
	return p
}

// linked gives every value of a panel links.
func (p Panel) linked(links ...Link) Panel {
	p.FieldConfig.Defaults.Links = links
	return p
}

// between sets the least value of a graph's axis and the most.
func (p Panel) between(least, most float64) Panel {
	p.FieldConfig.Defaults.Min, p.FieldConfig.Defaults.Max = &least, &most
	return p
}

// logarithmic makes a graph's axis so.
func (p Panel) logarithmic() Panel {
	p.FieldConfig.Defaults.Custom = maps.Clone(p.FieldConfig.Defaults.Custom)
	p.FieldConfig.Defaults.Custom["scaleDistribution"] = map[string]any{"type": "log", "log": 10}
	delete(p.FieldConfig.Defaults.Custom, "axisSoftMin")
	return p
}

// coloured gives series of these names colours: name, colour, name, colour.
func (p Panel) coloured(pairs ...string) Panel {
	p.FieldConfig.Overrides = slices.Clone(p.FieldConfig.Overrides)
	for i := 0; i+1 < len(pairs); i += 2 {
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{Matcher{"byName", pairs[i]},
			[]Property{{"color", map[string]any{"mode": "fixed", "fixedColor": pairs[i+1]}}}})
	}
	return p
}

// silent says what a panel shows when there is nothing to show, which is good.
func (p Panel) silent(text string) Panel {
	p.FieldConfig.Defaults.NoValue = text
	return p
}

// outcomes colours ccproxy.outcome.
func (p Panel) outcomes() Panel {
	return p.coloured("completed", "green", "client_disconnect", "blue", "rejected", "yellow", "blocked", "orange", "failed", "red", "timeout", "dark-red", "truncated", "purple")
}

// requestsOf leads to the requests of the time that was clicked. query narrows them: "var-label=…".
func requestsOf(title, query string) Link {
	return Link{Title: title, URL: "/d/ccproxy-requests/requests?time=${__value.time}&time.window=900000&${job:queryparam}&" + query}
}
