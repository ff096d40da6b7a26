// Package jsonscan reads facts out of JSON text in place, without decoding it.
//
// A gateway needs a handful of values of a body that may be megabytes long, and must send every other byte on as it came.
// So a value is a [Span] of the document: found by walking, read only when asked for, replaced by [Splice].
//
//	if err := jsonscan.Validate(body, jsonscan.Limits{}); err != nil { … }
//	model := jsonscan.Get(body, jsonscan.Root(body), "model")
//	body = jsonscan.Splice(body, model, jsonscan.Quote(nil, "claude-sonnet-5"))
//
// Only [Validate] judges a document. Every other function also accepts bytes nobody has checked (a provider's answer, a
// truncated document): it neither panics nor loops, reads what comes before the first break, and takes time linear in what it
// walks over. Nothing allocates unless its comment says so. All functions are safe for concurrent use on documents that are
// not being written to.
package jsonscan

import (
	"bytes"
	"unicode/utf8"
)

// Span is where a value's text lies in a document: doc[Start:End], without the space around it.
// The zero Span means the value is absent.
type Span struct{ Start, End int }

// Exists reports whether the span is that of a value.
func (s Span) Exists() bool { return s.End > s.Start }

// Root returns the span of the document's value: all of it but the space around it. On a document that is not valid it
// reaches to the last byte that is not space. An empty document has no root.
func Root(doc []byte) Span {
	i, j := skipSpace(doc, 0), len(doc)
	for j > i && isSpace(doc[j-1]) {
		j--
	}
	if i == j {
		return Span{}
	}
	return Span{i, j}
}

// Object calls f for each member of the object at s, in order, until f returns false. The key is unescaped; it points into
// doc unless it holds escapes, in which case it is allocated. Keys may repeat. A span that is not an object makes no calls.
func Object(doc []byte, s Span, f func(key []byte, v Span) bool) {
	doc, i, ok := open(doc, s, '{')
	for ok {
		var k, v Span
		if k, v, i, ok = member(doc, i); !ok {
			return
		}
		key := doc[k.Start:k.End]
		if bytes.IndexByte(key, '\\') >= 0 {
			key = unescape(nil, key)
		}
		if !f(key, v) {
			return
		}
		i, ok = comma(doc, i)
	}
}

// Array calls f for each element of the array at s, in order, until f returns false. A span that is not an array makes no
// calls.
func Array(doc []byte, s Span, f func(i int, v Span) bool) {
	doc, i, ok := open(doc, s, '[')
	for n := 0; ok; n++ {
		var v Span
		if v, i, ok = value(doc, i); !ok {
			return
		}
		if !f(n, v) {
			return
		}
		i, ok = comma(doc, i)
	}
}

// Get returns the value reached from s by the path, or the zero Span. A step is the exact key of an object's member (the
// first, if it repeats) or, on an array, an index as "#0". An empty path returns s.
func Get(doc []byte, s Span, path ...string) Span {
	for _, step := range path {
		switch Kind(doc, s) {
		case '{':
			s = find(doc, s, step)
		case '[':
			s = element(doc, s, step)
		default:
			return Span{}
		}
	}
	return s
}

// find returns the first member of the object at s whose key is key.
func find(doc []byte, s Span, key string) Span {
	doc, i, ok := open(doc, s, '{')
	var buf [64]byte
	for ok {
		var k, v Span
		if k, v, i, ok = member(doc, i); !ok {
			return Span{}
		}
		raw := doc[k.Start:k.End]
		if bytes.IndexByte(raw, '\\') >= 0 {
			raw = unescape(buf[:0], raw)
		}
		if string(raw) == key {
			return v
		}
		i, ok = comma(doc, i)
	}
	return Span{}
}

// element returns the element of the array at s that step names ("#3").
func element(doc []byte, s Span, step string) Span {
	if len(step) < 2 || len(step) > 10 || step[0] != '#' {
		return Span{}
	}
	want := 0
	for _, c := range []byte(step[1:]) {
		if c < '0' || c > '9' {
			return Span{}
		}
		want = want*10 + int(c-'0')
	}
	doc, i, ok := open(doc, s, '[')
	for ; ok; want-- {
		var v Span
		if v, i, ok = value(doc, i); !ok {
			return Span{}
		}
		if want == 0 {
			return v
		}
		i, ok = comma(doc, i)
	}
	return Span{}
}

// Splice returns a new document in which the value at s is replaced; every other byte is the same. The new document is
// allocated; neither argument is kept. A span outside the document panics.
func Splice(doc []byte, s Span, replacement []byte) []byte {
	out := make([]byte, 0, len(doc)-(s.End-s.Start)+len(replacement))
	out = append(out, doc[:s.Start]...)
	out = append(out, replacement...)
	return append(out, doc[s.End:]...)
}

// text returns doc[s.Start:s.End], or nil when s is absent or does not lie in doc.
func text(doc []byte, s Span) []byte {
	if s.Start < 0 || s.End > len(doc) || s.Start >= s.End {
		return nil
	}
	return doc[s.Start:s.End]
}

// open cuts doc to the end of s and returns the position of the first member or element of the container at s. It reports
// false when s is no such container or when the container is empty.
func open(doc []byte, s Span, bracket byte) ([]byte, int, bool) {
	if s.Start < 0 || s.End > len(doc) || s.Start >= s.End || doc[s.Start] != bracket {
		return nil, 0, false
	}
	doc = doc[:s.End]
	i := skipSpace(doc, s.Start+1)
	return doc, i, i < len(doc) && doc[i] != bracket+2 // '{'+2 is '}', '['+2 is ']'
}

// comma steps over the comma at i and the space around it. It reports false at the end of the container and at garbage.
func comma(doc []byte, i int) (int, bool) {
	if i < len(doc) && doc[i] == ',' { // compact documents
		return skipSpace(doc, i+1), true
	}
	if i = skipSpace(doc, i); i < len(doc) && doc[i] == ',' {
		return skipSpace(doc, i+1), true
	}
	return i, false
}

// member reads the member of an object at i: its key without quotes, its value, and the position behind.
func member(doc []byte, i int) (key, v Span, next int, ok bool) {
	if i >= len(doc) || doc[i] != '"' {
		return key, v, i, false
	}
	j, ok := skipString(doc, i)
	if !ok {
		return key, v, i, false
	}
	key = Span{i + 1, j - 1}
	if j = skipSpace(doc, j); j >= len(doc) || doc[j] != ':' {
		return key, v, j, false
	}
	v, next, ok = value(doc, skipSpace(doc, j+1))
	return key, v, next, ok
}

// value reads the value at i and returns its span and the position behind it. It reports false when there is none or when it
// is not finished.
func value(doc []byte, i int) (Span, int, bool) {
	if i >= len(doc) {
		return Span{}, i, false
	}
	j, ok := i, false
	switch c := doc[i]; {
	case c == '"':
		j, ok = skipString(doc, i)
	case c == '{' || c == '[':
		j, ok = skipContainer(doc, i)
	case class[c]&scalar != 0:
		j, ok = skipScalar(doc, i), true
	}
	if !ok {
		return Span{}, i, false
	}
	return Span{i, j}, j, true
}

// skipSpace returns the position of the first byte at or behind i that is not space.
func skipSpace(doc []byte, i int) int {
	for i < len(doc) && doc[i] <= ' ' && isSpace(doc[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// skipScalar returns the end of the number or literal at i.
func skipScalar(doc []byte, i int) int {
	for i < len(doc) && class[doc[i]]&scalar != 0 {
		i++
	}
	return i
}

// skipString returns the position behind the string whose opening quote is at i. It reports false when the string does not
// end.
func skipString(doc []byte, i int) (int, bool) {
	i++
	// Keys and short values end within a few bytes, where a call of IndexByte costs more than the loop.
	for end := min(i+16, len(doc)); i < end; i++ {
		if doc[i] == '"' {
			return i + 1, true
		}
		if doc[i] == '\\' {
			break
		}
	}
	for from := i; ; {
		n := bytes.IndexByte(doc[from:], '"')
		if n < 0 {
			return len(doc), false
		}
		// A quote belongs to the string when an odd number of backslashes stands before it. Runs between two quotes are
		// counted once, so this stays linear.
		quote, first := from+n, from+n
		for first > i && doc[first-1] == '\\' {
			first--
		}
		if (quote-first)%2 == 0 {
			return quote + 1, true
		}
		from = quote + 1
		i = from
	}
}

// skipContainer returns the position behind the object or array that opens at i. It reports false when that does not end.
// Brackets are counted, not matched by kind: telling valid from invalid is Validate's work.
func skipContainer(doc []byte, i int) (int, bool) {
	depth := 0
	for i < len(doc) {
		c := class[doc[i]]
		if c&structural == 0 {
			i++
			continue
		}
		switch c & structural {
		case quote:
			var ok bool
			if i, ok = skipString(doc, i); !ok {
				return i, false
			}
			continue
		case opener:
			depth++
		case closer:
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
		i++
	}
	return i, false
}

const (
	quote      = 1 << iota // "
	opener                 // { [
	closer                 // } ]
	scalar                 // what numbers and literals are made of
	structural = quote | opener | closer
)

// class says what a byte may be outside strings.
var class = func() (t [256]uint8) {
	t['"'] = quote
	t['{'], t['['] = opener, opener
	t['}'], t[']'] = closer, closer
	for _, c := range []byte("+-.0123456789") {
		t[c] = scalar
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = scalar, scalar
	}
	return t
}()

// Quote appends s to dst as a JSON string with its quotes and returns the longer slice. Bytes that are not UTF-8 become
// U+FFFD; nothing is escaped that need not be.
func Quote(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, '"')
}
