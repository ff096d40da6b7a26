package command

import (
	"io"
	"os"
)

// style is a colour by what it means.
type style string

// The styles, as ANSI parameters.
const (
	styleNone     style = ""
	styleDim      style = "2"
	styleBold     style = "1"
	styleBad      style = "31"
	styleGood     style = "32"
	styleWarn     style = "33"
	styleOwn      style = "34"
	styleLabel    style = "35"
	styleUpstream style = "36"
)

// pen paints words, or leaves them as they are.
type pen struct{ color bool }

func (p pen) paint(s style, words string) string {
	if !p.color || s == styleNone || words == "" {
		return words
	}
	return "\x1b[" + string(s) + "m" + words + "\x1b[0m"
}

func (p pen) dim(words string) string  { return p.paint(styleDim, words) }
func (p pen) bold(words string) string { return p.paint(styleBold, words) }

// defaultWidth is assumed where there is no terminal to ask, in columns.
const defaultWidth = 100

// screen is where output for people goes.
type screen struct {
	out   io.Writer
	width int // columns
	pen
}

// newScreen finds out what w is. Colour is for terminals, and for nobody who set NO_COLOR (https://no-color.org) or
// whose terminal is dumb.
func newScreen(w io.Writer) *screen {
	s := &screen{out: w, width: defaultWidth}
	f, ok := w.(*os.File)
	if !ok {
		return s
	}
	columns, terminal := terminalWidth(f)
	if !terminal {
		return s
	}
	if columns > 0 {
		s.width = min(columns, 160)
	}
	s.color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}
