package command

import (
	"os"

	"golang.org/x/sys/windows"
)

// terminalWidth reports whether f is a console, and how many columns it has. It turns on the console's ANSI sequences;
// one that has none counts as no terminal.
func terminalWidth(f *os.File) (columns int, terminal bool) {
	h := windows.Handle(f.Fd())
	var mode uint32
	if windows.GetConsoleMode(h, &mode) != nil {
		return 0, false
	}
	if windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) != nil {
		return 0, false
	}
	var info windows.ConsoleScreenBufferInfo
	if windows.GetConsoleScreenBufferInfo(h, &info) != nil {
		return 0, true
	}
	return int(info.Window.Right-info.Window.Left) + 1, true
}
