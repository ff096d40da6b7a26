package command

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// printStart says what runs where.
func (d *demonstration) printStart(s *screen, opt demoOptions) {
	fmt.Fprintf(s.out, "%s: a gateway before a %s provider. No model answers, nothing leaves this machine.\n\n",
		s.bold("ccproxy demo"), s.paint(styleWarn, "simulated"))
	row := func(name, value string) { fmt.Fprintf(s.out, "  %-20s %s\n", name, value) }
	row("gateway", d.server.DataURL())
	row("admin", d.server.AdminURL())
	row("simulated provider", "http://"+d.simulator.address())
	row("storage", d.dir+" (removed at the end)")
	lookup := opt.lookup
	if lookup == nil {
		lookup = os.LookupEnv
	}
	if to, _ := lookup("OTEL_EXPORTER_OTLP_ENDPOINT"); to != "" {
		row("telemetry", "shown here, and sent to "+to+" (OTEL_EXPORTER_OTLP_ENDPOINT)")
	} else {
		row("telemetry", "shown here; set OTEL_EXPORTER_OTLP_ENDPOINT to send it on")
	}
	fmt.Fprintf(s.out, "\nIts configuration: ccproxy demo --print-config\n\n")
}

// printScene prints a request of the story: what was asked, what happened, and the trace.
func printScene(s *screen, n int, sc scene, r demoReply, spans []treeSpan) {
	left := s.width - len("12  ") - len([]rune(sc.title)) - 1
	rule := strings.Repeat("─", max(left, 0))
	// The trace's id, to find it wherever else it went.
	if id := r.header.Get("X-CCProxy-Trace-Id"); left > len(id)+3 {
		rule = strings.Repeat("─", left-len(id)-1) + " " + id
	}
	fmt.Fprintf(s.out, "%s  %s %s\n", s.bold(fmt.Sprintf("%2d", n)), s.bold(sc.title), s.dim(rule))
	line := happened(spans)
	if sc.note != nil {
		if note := sc.note(r); note != "" {
			line += " · client: " + note
		}
	}
	for _, l := range wrap(line, s.width-4) {
		fmt.Fprintf(s.out, "    %s\n", l)
	}
	fmt.Fprintf(s.out, "\n%s\n", indent(renderTree(spans, s.width-4, s.color), "    "))
}

// happened is one line on an exchange, read off its trace.
func happened(spans []treeSpan) string {
	server := serverSpan(spans)
	if server == nil {
		return "the trace has no SERVER span"
	}
	var words []string
	add := func(w string) {
		if w != "" {
			words = append(words, plain(w))
		}
	}
	switch outcome := server.text(names.KeyOutcome); outcome {
	case names.OutcomeClientDisconnect:
		add("client gone")
	default:
		add(server.text(names.KeyHTTPResponseStatusCode) + " " + outcome)
	}
	if reason := server.text(names.KeyRejectionReason); reason != "" {
		words[len(words)-1] += ": " + reason
	}
	if label := server.text(names.KeyLabel); label != "" {
		add("label " + label)
	}
	add(modelsOf(server))
	add(totalUsage(spans).String())
	add(spendingOf(spans).String())
	for i := range spans {
		for _, alert := range spans[i].Alerts {
			add(alert)
		}
	}
	add(formatDuration(server.duration()))
	if n := server.number(names.KeyAttempts); n > 0 {
		add(plural(n, "attempt"))
	} else {
		add("nothing sent")
	}
	return strings.Join(words, " · ")
}

func serverSpan(spans []treeSpan) *treeSpan {
	i := slices.IndexFunc(spans, func(s treeSpan) bool { return s.Kind == trace.SpanKindServer })
	if i < 0 {
		return nil
	}
	return &spans[i]
}

// totalUsage adds up a trace's generations.
func totalUsage(spans []treeSpan) tokenUsage {
	var sum tokenUsage
	for i := range spans {
		u := usageOf(&spans[i])
		sum.in, sum.out, sum.cached = sum.in+u.in, sum.out+u.out, sum.cached+u.cached
		if u.in+u.out > 0 && sum.source != names.UsageSourceEstimated {
			sum.source = u.source
		}
	}
	return sum
}

// printReply prints a request as its client saw it, in one line.
func printReply(s *screen, n int, sc scene, r demoReply) {
	status, color := fmt.Sprint(r.status), styleGood
	switch {
	case sc.leaveAfter > 0:
		status, color = "left", styleWarn
	case r.status >= 500:
		color = styleBad
	case r.status >= 400:
		color = styleWarn
	}
	fmt.Fprintf(s.out, "%2d  %s %8s  %s  %-11s  %s\n", n, s.paint(color, fmt.Sprintf("%-4s", status)), formatDuration(r.took),
		s.dim(r.header.Get("X-CCProxy-Trace-Id")), plain(r.header.Get("X-CCProxy-Model-Name")), sc.title)
}

// summary counts what the story's traces say.
type summary struct {
	rows []summaryRow // by outcome, in the order they came
}

type summaryRow struct {
	outcome                       string
	requests, attempts, fallbacks int64
	usage                         tokenUsage
	spending                      spending
	errors                        map[string]int64 // :: error.type of failed attempts, rejection reason → how many
}

func (m *summary) add(spans []treeSpan) {
	server := serverSpan(spans)
	if server == nil {
		return
	}
	r := m.row(server.text(names.KeyOutcome))
	r.requests++
	r.attempts += server.number(names.KeyAttempts)
	r.fallbacks += server.number(names.KeyFallbacks)
	u := totalUsage(spans)
	r.usage.in, r.usage.out, r.usage.cached = r.usage.in+u.in, r.usage.out+u.out, r.usage.cached+u.cached
	r.spending.add(spendingOf(spans))
	if reason := server.text(names.KeyRejectionReason); reason != "" {
		r.errors[reason]++
	}
	for i := range spans {
		if s := &spans[i]; s.Error && s.has(names.KeyGenAIOperationName) {
			r.errors[s.text(names.KeyErrorType)]++
		}
	}
}

func (m *summary) row(outcome string) *summaryRow {
	for i := range m.rows {
		if m.rows[i].outcome == outcome {
			return &m.rows[i]
		}
	}
	m.rows = append(m.rows, summaryRow{outcome: outcome, errors: map[string]int64{}})
	return &m.rows[len(m.rows)-1]
}

func (m *summary) print(s *screen) {
	fmt.Fprintf(s.out, "%s\n\n", s.bold("The story in numbers"))
	line := func(cells ...any) string { return fmt.Sprintf("  %-18s%9s%9s%10s%11s%9s%8s%12s%12s", cells...) }
	fmt.Fprintln(s.out, s.dim(line("outcome", "requests", "attempts", "fallbacks", "tokens in", "cached", "out", "cost", "saved")))
	total := summaryRow{outcome: "all"}
	var errs []string
	for _, r := range m.rows {
		fmt.Fprintln(s.out, line(r.cells()...))
		total.requests += r.requests
		total.attempts += r.attempts
		total.fallbacks += r.fallbacks
		total.usage.in += r.usage.in
		total.usage.out += r.usage.out
		total.spending.add(r.spending)
		total.usage.cached += r.usage.cached
		for _, name := range slices.Sorted(maps.Keys(r.errors)) {
			errs = append(errs, fmt.Sprintf("%d × %s (%s)", r.errors[name], name, r.outcome))
		}
	}
	fmt.Fprintf(s.out, "%s\n\n", s.bold(line(total.cells()...)))
	for _, l := range wrap(total.spending.explain(), s.width-2) {
		fmt.Fprintf(s.out, "  %s\n", l)
	}
	for _, l := range wrap("errors: "+strings.Join(errs, " · "), s.width-2) {
		fmt.Fprintf(s.out, "  %s\n", l)
	}
	fmt.Fprintln(s.out)
}

func (r summaryRow) cells() []any {
	return []any{r.outcome, formatCount(r.requests), formatCount(r.attempts), formatCount(r.fallbacks),
		formatCount(r.usage.in), formatCount(r.usage.cached), formatCount(r.usage.out), formatUSD(r.spending.cost), formatUSD(r.spending.saved())}
}

// example is a request to try by hand.
type example struct{ name, path, body string }

// examples has one request for each dialect. Bodies hold no single quote: they stand between some.
var examples = []example{
	{"Anthropic", "/v1/messages", `{"model":"claude-sonnet-5","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"Hello"}]}`},
	{"OpenAI chat", "/v1/chat/completions", `{"model":"gpt-5.5","messages":[{"role":"user","content":"Hello"}]}`},
	{"OpenAI Responses", "/v1/responses", `{"model":"gpt-5.5","input":"Hello"}`},
	{"OpenAI embeddings", "/v1/embeddings", `{"model":"text-embedding-3-small","input":"Hello"}`},
	{"Gemini", "/v1beta/models/gemini-3.5-flash:generateContent", `{"contents":[{"role":"user","parts":[{"text":"Hello"}]}]}`},
	{"An overloaded model (a fallback answers where there is one)", "/v1/messages", `{"model":"simulate-529","max_tokens":100,"messages":[{"role":"user","content":"Hello"}]}`},
}

func (e example) curl(base string) string {
	return fmt.Sprintf("curl -N %s%s \\\n      -H 'content-type: application/json' \\\n      -d '%s'", base, e.path, e.body)
}

// printExamples says how to use the gateway that stays up.
func (d *demonstration) printExamples(s *screen) {
	base := d.server.DataURL()
	fmt.Fprintf(s.out, "%s: send requests, and their traces appear here.\n\n", s.bold("The gateway stays up"))
	if c := d.server.console; c != nil {
		fmt.Fprintf(s.out, "  The console: requests, traces, money (this address works once)\n    %s/#%s\n\n", d.server.AdminURL(), c.Ticket(consoleDemoLife))
	}
	printCurls(s, base)
	fmt.Fprintf(s.out, "  Claude Code\n    ANTHROPIC_BASE_URL=%s ANTHROPIC_API_KEY=simulated claude\n\n", base)
	fmt.Fprintf(s.out, "%s\n\n", s.dim("Ctrl-C ends it."))
}

func printCurls(s *screen, base string) {
	for _, e := range examples {
		fmt.Fprintf(s.out, "  %s\n    %s\n\n", e.name, e.curl(base))
	}
}

// printSimulator says what the simulated provider is and how to ask it.
func printSimulator(s *screen, base string) {
	fmt.Fprintf(s.out, "%s at %s: %s. It repeats what it is asked; no model answers.\n\n",
		s.bold("Simulated provider"), base, s.paint(styleWarn, "every answer is made up"))
	printCurls(s, base)
	fmt.Fprintf(s.out, "%s\n\n", s.dim("Ctrl-C ends it."))
}

func indent(text, by string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(by + line)
	}
	return b.String()
}

// wrap cuts a line between its parts, so that no piece is wider than width unless a part is.
func wrap(line string, width int) []string {
	var out []string
	now := ""
	for part := range strings.SplitSeq(line, " · ") {
		switch {
		case now == "":
			now = part
		case len([]rune(now))+3+len([]rune(part)) <= width:
			now += " · " + part
		default:
			out = append(out, now)
			now = part
		}
	}
	return append(out, now)
}
