package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// The measures of a tree, in columns.
const (
	treeMinWidth  = 40 // narrower terminals wrap
	treeBarsFrom  = 92 // narrower trees have no bars
	treeBarMin    = 10
	treeBarMax    = 32
	treeTimeWidth = 8 // "999.9 ms"
	treeGap       = 2 // between columns
)

// renderTree draws a trace for a terminal: a line a span, children below their parent by start time, with what the span
// says, how long it took and, where width allows, when. No line is wider than width columns (at least 40). color adds
// ANSI colours. A span whose parent is not among spans stands at the top; spans that are each other's parents are left
// out. The result ends with a line end, and is empty for no spans.
func renderTree(spans []treeSpan, width int, color bool) string {
	if len(spans) == 0 {
		return ""
	}
	t := &tree{spans: spans, pen: pen{color}}
	t.arrange()
	t.measure(max(width, treeMinWidth))
	var b strings.Builder
	for i := range t.rows {
		t.draw(&b, &t.rows[i])
	}
	return b.String()
}

type tree struct {
	spans      []treeSpan
	rows       []treeRow
	pen        pen
	start, end time.Time // of the whole trace

	name, facts, bar int // widths of the columns; bar 0: none
}

// treeRow is a span in its place.
type treeRow struct {
	span  *treeSpan
	rails string // what joins it to its parent
	facts []treeFact
}

// arrange puts the spans in order and finds the trace's begin and end.
func (t *tree) arrange() {
	byID := make(map[string]*treeSpan, len(t.spans))
	for i := range t.spans {
		s := &t.spans[i]
		byID[s.ID] = s
		if i == 0 || s.Start.Before(t.start) {
			t.start = s.Start
		}
		if s.End.After(t.end) {
			t.end = s.End
		}
	}
	children := map[string][]*treeSpan{} // :: parent's id, "" at the top → by start
	for i := range t.spans {
		s := &t.spans[i]
		parent := s.Parent
		if byID[parent] == nil || parent == s.ID {
			parent = ""
		}
		children[parent] = append(children[parent], s)
	}
	for _, list := range children {
		// The SERVER span is first even where clocks are coarse.
		slices.SortStableFunc(list, func(a, b *treeSpan) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), a.Start.Compare(b.Start))
		})
	}
	for _, s := range children[""] {
		t.add(s, "", "", children, byID)
	}
}

func rank(s *treeSpan) int {
	if s.Kind == trace.SpanKindServer {
		return 0
	}
	return 1
}

// add appends s and what is below it. Each span is below one parent, so this ends even for ids that go round in circles.
func (t *tree) add(s *treeSpan, rails, below string, children map[string][]*treeSpan, byID map[string]*treeSpan) {
	t.rows = append(t.rows, treeRow{span: s, rails: rails, facts: factsOf(s, byID)})
	list := children[s.ID]
	for i, c := range list {
		if i == len(list)-1 {
			t.add(c, below+"└─ ", below+"   ", children, byID)
		} else {
			t.add(c, below+"├─ ", below+"│  ", children, byID)
		}
	}
}

// measure divides width between the columns: names and facts take what they need, a bar what is left.
func (t *tree) measure(width int) {
	facts := 0
	for i := range t.rows {
		r := &t.rows[i]
		t.name = max(t.name, utf8.RuneCountInString(r.rails)+utf8.RuneCountInString(r.span.Name))
		facts = max(facts, factsWidth(r.facts))
	}
	left := width - treeTimeWidth - 2*treeGap
	if width >= treeBarsFrom {
		t.bar = min(max(left-treeGap-t.name-facts, treeBarMin), treeBarMax)
		left -= t.bar + treeGap
	}
	t.name = min(t.name, max(left-facts, left/2))
	t.facts = min(facts, left-t.name)
}

func (t *tree) draw(b *strings.Builder, r *treeRow) {
	rails := clipTo(r.rails, t.name)
	railsWidth := utf8.RuneCountInString(rails)
	name := clipTo(plain(r.span.Name), t.name-railsWidth)
	b.WriteString(t.pen.dim(rails))
	b.WriteString(t.nameStyle(r.span)(name))
	pad(b, t.name-railsWidth-utf8.RuneCountInString(name)+treeGap)

	left := t.facts
	over := factsWidth(r.facts) > left
	if over {
		left-- // for the ellipsis
	}
	write := func(st style, words string) {
		words = cut(plain(words), left)
		left -= utf8.RuneCountInString(words)
		b.WriteString(t.pen.paint(st, words))
	}
	for i, f := range r.facts {
		if i > 0 {
			write(styleDim, " · ")
		}
		write(f.style, f.words)
	}
	if over {
		b.WriteString("…")
	}
	pad(b, left+treeGap)

	took := formatDuration(r.span.duration())
	pad(b, treeTimeWidth-utf8.RuneCountInString(took))
	b.WriteString(took)
	if t.bar > 0 {
		pad(b, treeGap)
		offset, bar := t.barOf(r.span)
		pad(b, offset)
		b.WriteString(t.pen.paint(barStyle(r.span), bar))
	}
	b.WriteByte('\n')
}

func (t *tree) nameStyle(s *treeSpan) func(string) string {
	switch s.Kind {
	case trace.SpanKindServer:
		return t.pen.bold
	case trace.SpanKindClient:
		return func(w string) string { return t.pen.paint(styleUpstream, w) }
	}
	return func(w string) string { return w }
}

// barOf draws when the span ran, in half columns: how many columns are left blank, and the bar.
func (t *tree) barOf(s *treeSpan) (int, string) {
	whole := t.end.Sub(t.start)
	halves := 2 * t.bar
	if whole <= 0 {
		return 0, strings.Repeat("━", t.bar)
	}
	from := int(float64(halves) * float64(s.Start.Sub(t.start)) / float64(whole))
	to := int(float64(halves)*float64(s.End.Sub(t.start))/float64(whole) + 0.5)
	from = min(max(from, 0), halves-1)
	to = min(max(to, from+1), halves)
	var bar strings.Builder
	offset := from / 2
	if from%2 == 1 {
		bar.WriteString("╺")
		from++
	}
	bar.WriteString(strings.Repeat("━", max(to-from, 0)/2))
	if to > from && (to-from)%2 == 1 {
		bar.WriteString("╸")
	}
	return offset, bar.String()
}

func barStyle(s *treeSpan) style {
	switch {
	case s.Error:
		return styleBad
	case s.Name == names.SpanStream:
		return styleGood
	case s.Kind == trace.SpanKindClient:
		return styleUpstream
	}
	return styleOwn
}

func pad(b *strings.Builder, n int) {
	for range n {
		b.WriteByte(' ')
	}
}

// clipTo cuts s to width columns, with an ellipsis where something is missing.
func clipTo(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	if width <= 0 {
		return ""
	}
	return cut(s, width-1) + "…"
}

// cut cuts s to width columns.
func cut(s string, width int) string {
	runes := []rune(s)
	return string(runes[:min(len(runes), width)])
}

// plain keeps what a client named, such as a model, from steering the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}

// formatDuration writes a duration in the unit that suits it, in at most 8 columns below 1000 s.
func formatDuration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", max(d, 0).Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// formatCount writes a count with its thousands apart.
func formatCount(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
