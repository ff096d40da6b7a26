package command

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// masker makes text the same in every run: ports, ids and times go.
type masker struct{ replace *strings.Replacer }

func newMasker(upstream, gateway string) masker {
	u, _ := url.Parse(upstream) // both come from listeners
	g, _ := url.Parse(gateway)
	return masker{strings.NewReplacer(u.Host, "upstream", g.Host, "gateway", u.Port(), "PORT", g.Port(), "PORT")}
}

var (
	uuidRE = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	addrRE = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	userRE = regexp.MustCompile(`(user\.id)=[0-9a-f]{32}`) // hashed with a key of the storage
	peerRE = regexp.MustCompile(`(peer\.port|client\.port)=\d+`)
)

func (m masker) text(s string) string {
	s = addrRE.ReplaceAllString(m.replace.Replace(s), "127.0.0.1:PORT")
	s = userRE.ReplaceAllString(s, "$1=HASH")
	return peerRE.ReplaceAllString(uuidRE.ReplaceAllString(s, "UUID"), "$1=PORT")
}

// timed are the attributes and fields whose values are times.
var timed = regexp.MustCompile(`overhead$|time_to_first|completion_start_time$|_gap$|client_stall$|duration_ms$|ttft_ms$|^ccproxy\.upstream_wait$|^resets_at$`)

func renderValue(key string, v any) string {
	if timed.MatchString(key) {
		return "TIME"
	}
	switch v := v.(type) {
	case []string:
		return "[" + strings.Join(v, " ") + "]"
	case map[string]any:
		return "{" + renderAttributes(v, " ") + "}"
	}
	return fmt.Sprint(v)
}

func renderAttributes(attrs map[string]any, sep string) string {
	keys := make([]string, 0, len(attrs))
	for k := range attrs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	parts := make([]string, 0, len(keys))
	for _, k := range keys {
		parts = append(parts, k+"="+renderValue(k, attrs[k]))
	}
	return strings.Join(parts, sep)
}

// idleHooksAsEvents shows a hook that did nothing as the span event it usually
// is: on a busy machine it may take the millisecond from which it has a span.
func idleHooksAsEvents(spans []gatewaytest.Span) []gatewaytest.Span {
	events := map[string][]gatewaytest.SpanEvent{} // :: span id → the idle hooks below it
	var rest []gatewaytest.Span
	for _, s := range spans {
		if s.Name == names.SpanHook && s.Attributes[string(names.KeyHookAction)] == names.HookActionNone {
			events[s.ParentID] = append(events[s.ParentID], gatewaytest.SpanEvent{Name: names.SpanEventHook, Time: s.End, Attributes: s.Attributes})
			continue
		}
		rest = append(rest, s)
	}
	for i := range rest {
		all := slices.Concat(rest[i].Events, events[rest[i].SpanID])
		slices.SortStableFunc(all, func(a, b gatewaytest.SpanEvent) int { return a.Time.Compare(b.Time) })
		rest[i].Events = all
	}
	return rest
}

// renderSpans writes spans as a tree with attributes. Children stand in the
// order they started.
func renderSpans(spans []gatewaytest.Span) string {
	number := map[string]int{}
	spans = idleHooksAsEvents(spans)
	slices.SortStableFunc(spans, func(a, b gatewaytest.Span) int { return a.Start.Compare(b.Start) })
	for i, s := range spans {
		number[s.SpanID] = i + 1
	}
	var b strings.Builder
	var walk func(parent string, depth int)
	walk = func(parent string, depth int) {
		for _, s := range spans {
			if s.ParentID != parent {
				continue
			}
			pad := strings.Repeat("  ", depth)
			fmt.Fprintf(&b, "%s%s (%s)", pad, s.Name, s.Kind)
			if s.StatusCode != "Unset" {
				fmt.Fprintf(&b, " %s", s.StatusCode)
			}
			for _, l := range s.Links {
				if n := number[l.SpanID]; n > 0 {
					fmt.Fprintf(&b, " linked to %q", spans[n-1].Name)
				}
			}
			b.WriteByte('\n')
			if len(s.Attributes) > 0 {
				fmt.Fprintf(&b, "%s    %s\n", pad, renderAttributes(s.Attributes, "\n"+pad+"    "))
			}
			for _, e := range s.Events {
				fmt.Fprintf(&b, "%s    · %s %s\n", pad, e.Name, renderAttributes(e.Attributes, " "))
			}
			walk(s.SpanID, depth+1)
		}
	}
	walk("", 0)
	return b.String()
}

// renderMetrics writes each series of the gateway's own and the conventions'
// metrics: the value of counters and gauges, the count of histograms, and the
// sum where it is no time.
func renderMetrics(metrics []gatewaytest.Metric) string {
	var lines []string
	for _, m := range metrics {
		if strings.HasPrefix(m.Name, "go.") || strings.HasPrefix(m.Name, "process.") || strings.HasPrefix(m.Name, "ccproxy.telemetry.") {
			continue
		}
		for _, p := range m.Points {
			attrs := map[string]any{}
			for k, v := range p.Attributes {
				if k == "server.port" {
					v = "PORT"
				}
				attrs[k] = v
			}
			value := fmt.Sprint(p.Value)
			if m.Type == "histogram" {
				value = fmt.Sprintf("count=%d", p.Count)
				if m.Unit != "s" {
					value += fmt.Sprintf(" sum=%v", p.Sum)
				}
			}
			lines = append(lines, fmt.Sprintf("%s{%s} %s", m.Name, renderAttributes(attrs, ","), value))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// renderLogs writes log events in order of time.
func renderLogs(logs []gatewaytest.LogRecord) string {
	logs = slices.Clone(logs)
	slices.SortStableFunc(logs, func(a, b gatewaytest.LogRecord) int { return a.Time.Compare(b.Time) })
	var b strings.Builder
	for _, l := range logs {
		attrs := map[string]any{}
		for k, v := range l.Attributes {
			if k != "trace_id" && k != "span_id" {
				attrs[k] = v
			}
		}
		fmt.Fprintf(&b, "%s %s %v\n    %s\n", l.Severity, l.EventName, l.Body, renderAttributes(attrs, "\n    "))
	}
	return b.String()
}

// renderLines prints a ledger's lines, without what differs from run to run.
func renderLines(lines []*store.Line) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%d %s/%s label=%s %s", l.Attempt, l.Provider, l.Model, l.Label, l.Outcome)
		if l.ErrorType != "" {
			fmt.Fprintf(&b, " error=%s", l.ErrorType)
		}
		fmt.Fprintf(&b, " usage=%s in=%d out=%d cost=%s", l.Usage.Source, l.Usage.InputTokens(), l.Usage.OutputTokens(), l.Cost.Source)
		if l.Cost.Known() {
			fmt.Fprintf(&b, ":%s", l.Cost.Total)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
