package telemetry

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/ccproxy/ccproxy/gateway"
)

const (
	panelWidth = 78 // columns, frame included
	panelName  = 60 // columns of a name
)

// Colours of a terminal (ECMA-48, SGR).
const (
	colourGreen  = "\x1b[32m"
	colourYellow = "\x1b[33m"
	colourBlue   = "\x1b[34m"
	colourRed    = "\x1b[31m"
	colourDim    = "\x1b[2m"
	colourReset  = "\x1b[0m"
)

// panel prints routing decisions for someone who watches a terminal.
type panel struct{ w io.Writer }

// newPanel returns nil, for no panels, unless w may be a terminal.
func newPanel(w io.Writer) *panel {
	if w == nil {
		return nil
	}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
			return nil
		}
	}
	return &panel{w}
}

// print shows one decision. It is one write, so that panels of concurrent exchanges do not mix. An error of the terminal
// is nobody's to handle.
func (p *panel) print(x *gateway.Exchange) {
	title, colour := "ROUTED", colourGreen
	switch {
	case x.Route.Passthrough:
		title, colour = "PASSTHROUGH", colourDim
	case x.Route.Model == x.Call.Model:
		title, colour = "NO CHANGE", colourBlue
	}
	var b strings.Builder
	b.WriteString(colour + "╭─ " + title + " " + strings.Repeat("─", panelWidth-5-len(title)) + "╮" + colourReset + "\n")
	row := func(name, value string) {
		value = cut(clean(value, 4*panelName), panelName)
		text := name + value
		pad := panelWidth - 4 - len(name) - utf8.RuneCountInString(value)
		b.WriteString(colour + "│" + colourReset + " " + text + strings.Repeat(" ", max(0, pad)) + " " + colour + "│" + colourReset + "\n")
	}
	row("label     ", x.Route.Label)
	row("original  ", x.Call.Model)
	row("routed    ", x.Route.Model)
	b.WriteString(colour + "╰" + strings.Repeat("─", panelWidth-2) + "╯" + colourReset + "\n")
	_, _ = io.WriteString(p.w, b.String())
}

// cut shortens s to n characters, the last of which says so.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:n-1]) + "…"
}
