package sse

import "bytes"

// lines walks the lines of a window and finds the empty ones that end events. It is small, so that looking ahead is a copy.
type lines struct {
	line    int  // where the current line starts
	scan    int  // buf[line:scan] holds no line end
	lf      int  // buf[scan:lf] holds no line feed; kept so that text without any is searched once
	given   int  // bytes of the current line handed out in earlier pieces
	length  int  // of the line next returned, with what was handed out before
	first   bool // the current line is the body's first and may open with a byte order mark
	afterCR bool // the line before ended with CR; a line feed at line belongs to it
	crlf    bool // the line before ended with CRLF
}

// next steps over one line. It returns the line without its end, or block > 0: the line was empty and the event ends before
// buf[block]. It reports false when buf holds no whole line any more.
func (l *lines) next(buf []byte) (from, to, block int, ok bool) {
	if l.afterCR && l.line < len(buf) {
		if l.afterCR, l.crlf = false, buf[l.line] == '\n'; l.crlf {
			l.line++
			l.scan = max(l.scan, l.line)
		}
	}
	end := l.end(buf)
	if end < 0 {
		return 0, 0, 0, false
	}
	from = l.skipMark(buf)
	if from < end || l.given > 0 {
		l.length = end - from + l.given
		l.start(end+1, buf[end] == '\r')
		return from, end, 0, true
	}
	block = end + 1
	if l.length = 0; buf[end] == '\r' && l.crlf {
		// In a body of CRLF lines this CR is half of one. Its line feed is on its way: wait, so that the event is whole.
		if block == len(buf) {
			return 0, 0, 0, false
		}
		if buf[block] == '\n' {
			l.start(block+1, false)
			l.crlf = true
			return 0, 0, block + 1, true
		}
		l.start(block, false)
		return 0, 0, block, true
	}
	l.start(block, buf[end] == '\r')
	return 0, 0, block, true
}

// start begins a line at i.
func (l *lines) start(i int, afterCR bool) {
	l.line, l.scan, l.given = i, i, 0
	l.first, l.afterCR, l.crlf = false, afterCR, false
}

// end returns the position of the line end of the current line, or -1.
func (l *lines) end(buf []byte) int {
	l.lf = max(l.lf, l.scan)
	if l.lf < len(buf) && buf[l.lf] != '\n' {
		if n := bytes.IndexByte(buf[l.lf:], '\n'); n >= 0 {
			l.lf += n
		} else {
			l.lf = len(buf)
		}
	}
	if n := bytes.IndexByte(buf[l.scan:l.lf], '\r'); n >= 0 {
		l.scan += n
		return l.scan
	}
	if l.scan = l.lf; l.scan == len(buf) {
		return -1
	}
	return l.scan
}

// skipMark returns where the text of the current line starts: behind the byte order mark on the first.
func (l *lines) skipMark(buf []byte) int {
	if l.first && l.given == 0 && bytes.HasPrefix(buf[l.line:], []byte("\xef\xbb\xbf")) {
		return l.line + 3
	}
	return l.line
}

// waits reports whether the current line is an empty one whose line feed is still to come.
func (l *lines) waits(buf []byte) bool {
	return l.crlf && l.given == 0 && l.line+1 == len(buf) && buf[l.line] == '\r'
}

// give notes that everything before end has been handed out, the beginning of the current line with it.
func (l *lines) give(end int) {
	l.given += end - l.line
	l.line, l.scan = end, max(l.scan, end)
}

// move notes that the window's bytes moved n towards the front.
func (l *lines) move(n int) {
	l.line, l.scan, l.lf = l.line-n, l.scan-n, max(0, l.lf-n)
}
