package command

import (
	"io"
	"strings"
	"unicode/utf8"
)

// writeTable prints rows of as many cells as align has letters, in columns two blanks apart: l for left, r for right. What
// stands in the last column is not padded.
func writeTable(w io.Writer, indent, align string, rows [][]string) error {
	widths := make([]int, len(align))
	for _, row := range rows {
		for c, cell := range row {
			widths[c] = max(widths[c], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := indent
		for c, cell := range row {
			pad := strings.Repeat(" ", widths[c]-utf8.RuneCountInString(cell))
			if align[c] == 'r' {
				cell, pad = pad+cell, ""
			}
			line += cell + pad + "  "
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
