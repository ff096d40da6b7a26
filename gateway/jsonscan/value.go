package jsonscan

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
)

// Kind tells what the value at s is by its first byte: '{', '[', '"', 't', 'f', 'n', or '0' for a number. It returns 0 when s
// is absent or starts like no value.
func Kind(doc []byte, s Span) byte {
	b := text(doc, s)
	if b == nil {
		return 0
	}
	switch c := b[0]; c {
	case '{', '[', '"', 't', 'f', 'n':
		return c
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return '0'
	}
	return 0
}

// RawString returns the bytes between the quotes of the string at s, pointing into doc. It reports false when s is no string
// or when the string holds escapes, which only [String] resolves.
func RawString(doc []byte, s Span) ([]byte, bool) {
	b, ok := inner(doc, s)
	if !ok || bytes.IndexByte(b, '\\') >= 0 {
		return nil, false
	}
	return b, true
}

// String returns the string at s with its escapes resolved, and whether s is a string. The result is always valid UTF-8: as
// in encoding/json, each byte that is not, and each lone surrogate, becomes U+FFFD. It allocates the result.
func String(doc []byte, s Span) (string, bool) {
	b, ok := inner(doc, s)
	if !ok {
		return "", false
	}
	if bytes.IndexByte(b, '\\') < 0 && utf8.Valid(b) {
		return string(b), true
	}
	return string(unescape(make([]byte, 0, len(b)), b)), true
}

// StringSize returns the length in bytes of what [String] returns, without making it; 0 when s is no string. Bytes that are
// not UTF-8 count as they stand.
func StringSize(doc []byte, s Span) int {
	b, ok := inner(doc, s)
	if !ok {
		return 0
	}
	n := len(b)
	for i := bytes.IndexByte(b, '\\'); i >= 0 && i+1 < len(b); {
		written, size := 1, 1 // an escape that is none is kept as it stands
		if b[i+1] == 'u' {
			if r, length := escapedRune(b[i:]); length > 0 {
				written, size = length, utf8.RuneLen(r)
			}
		} else if escapes[b[i+1]] != 0 {
			written = 2
		}
		n += size - written
		i += written
		next := bytes.IndexByte(b[i:], '\\')
		if next < 0 {
			break
		}
		i += next
	}
	return n
}

// inner returns what stands between the quotes of the string at s.
func inner(doc []byte, s Span) ([]byte, bool) {
	b := text(doc, s)
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return nil, false
	}
	return b[1 : len(b)-1], true
}

// Bool returns the value at s if it is true or false.
func Bool(doc []byte, s Span) (v, ok bool) {
	b := text(doc, s)
	if string(b) == "true" {
		return true, true
	}
	return false, string(b) == "false"
}

// IsNull reports whether the value at s is null. An absent value is not.
func IsNull(doc []byte, s Span) bool { return string(text(doc, s)) == "null" }

// Float returns the number at s. It reports false when s is no number, or one beyond the range of a float64.
func Float(doc []byte, s Span) (float64, bool) {
	b := text(doc, s)
	if end, ok := scanNumber(b, 0); !ok || end != len(b) {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(b), 64)
	return f, err == nil
}

// Int returns the number at s if it is exactly an integer that fits in 64 bits, in whatever notation: 1000, 1e3, 12.0.
func Int(doc []byte, s Span) (int64, bool) {
	b := text(doc, s)
	if end, ok := scanNumber(b, 0); !ok || end != len(b) {
		return 0, false
	}
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	n, ok := magnitude(b)
	switch {
	case !ok:
		return 0, false
	case negative && n == 1<<63:
		return math.MinInt64, true
	case n > math.MaxInt64:
		return 0, false
	case negative:
		return -int64(n), true
	}
	return int64(n), true
}

// magnitude returns the value of a number without sign whose syntax is known to be right, if it is integral and fits.
func magnitude(b []byte) (uint64, bool) {
	exponent := 0
	if e := bytes.IndexAny(b, "eE"); e >= 0 {
		exponent = clampedExponent(b[e+1:])
		b = b[:e]
	}
	whole, fraction := b, []byte(nil)
	if dot := bytes.IndexByte(b, '.'); dot >= 0 {
		whole, fraction = b[:dot], bytes.TrimRight(b[dot+1:], "0")
	}
	// The value is the digits of whole and fraction together, times 10^(exponent-len(fraction)).
	exponent -= len(fraction)
	var n uint64
	drop := 0 // trailing zeros of whole that a negative exponent takes away
	if len(fraction) == 0 && exponent < 0 {
		trimmed := bytes.TrimRight(whole, "0")
		drop = min(len(whole)-len(trimmed), -exponent)
		whole = whole[:len(whole)-drop]
		exponent += drop
	}
	for _, digits := range [2][]byte{whole, fraction} {
		for _, c := range digits {
			d := uint64(c - '0')
			if n > (math.MaxUint64-d)/10 {
				return 0, false
			}
			n = n*10 + d
		}
	}
	if n == 0 {
		return 0, true
	}
	if exponent < 0 {
		return 0, false
	}
	for ; exponent > 0; exponent-- {
		if n > math.MaxUint64/10 {
			return 0, false
		}
		n *= 10
	}
	return n, true
}

// clampedExponent reads the digits behind the e of a number. Its bound is beyond the length of any document that fits in
// memory, so clamping changes no answer.
func clampedExponent(b []byte) int {
	const bound = 1 << 40
	negative := b[0] == '-'
	if b[0] == '-' || b[0] == '+' {
		b = b[1:]
	}
	n := 0
	for _, c := range b {
		n = min(n*10+int(c-'0'), bound)
	}
	if negative {
		return -n
	}
	return n
}

// unescape appends the content of a string to dst with its escapes resolved. An escape that is none is kept as it stands.
func unescape(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(b[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
		case c != '\\' || i+1 == len(b):
			dst = append(dst, c)
			i++
		case b[i+1] == 'u':
			r, size := escapedRune(b[i:])
			if size == 0 {
				dst = append(dst, c)
				size = 1
			} else {
				dst = utf8.AppendRune(dst, r)
			}
			i += size
		default:
			if e := escapes[b[i+1]]; e != 0 {
				dst = append(dst, e)
				i += 2
			} else {
				dst = append(dst, c)
				i++
			}
		}
	}
	return dst
}

// escapes maps the letter behind a backslash to the byte the escape means; 0: no escape of one letter.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escapedRune reads the \u escape b starts with, both halves of a surrogate pair together, and returns the length read. A
// lone surrogate is U+FFFD. The length is 0 when b starts with no such escape.
func escapedRune(b []byte) (rune, int) {
	r := hex4(b)
	switch {
	case r < 0:
		return 0, 0
	case r < 0xD800 || r > 0xDFFF:
		return r, 6
	case r <= 0xDBFF:
		if low := hex4(b[6:]); low >= 0xDC00 && low <= 0xDFFF {
			return (r-0xD800)<<10 + (low - 0xDC00) + 0x10000, 12
		}
	}
	return utf8.RuneError, 6
}

// hex4 returns the number in the escape \uXXXX b starts with, or -1.
func hex4(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
