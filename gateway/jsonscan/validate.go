package jsonscan

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// Limits bounds what Validate accepts.
type Limits struct {
	// Depth is how deep objects and arrays may nest. Zero or less: 128. More than 1024: 1024.
	Depth int
	// Members is how many members of objects and elements of arrays the whole document may hold. Zero or less: 100,000.
	// Numbers in arrays are not counted: an embeddings request may carry its text as hundreds of thousands of token ids.
	Members int
}

const (
	defaultDepth   = 128
	defaultMembers = 100_000
	maxDepth       = 1024
)

// The reasons of an [Error].
const (
	ReasonSyntax      = "syntax"       // not JSON as RFC 8259 defines it
	ReasonInvalidUTF8 = "invalid_utf8" // bytes that are not UTF-8, or a \u escape of half a surrogate pair
	ReasonDepth       = "depth"        // nested deeper than Limits.Depth
	ReasonMembers     = "members"      // more members than Limits.Members
	ReasonTrailing    = "trailing"     // something other than space behind the value
)

// Error says why and where a document was refused.
type Error struct {
	Offset int    // of the byte at fault; the document's length when it ends too early
	Reason string // one of the Reason constants
	Msg    string // for people; holds nothing of the document
}

func (e *Error) Error() string { return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.Msg) }

// Validate checks, in one pass, that doc is one JSON value as RFC 8259 defines it, that it is valid UTF-8 with no half of a
// surrogate pair in a \u escape, and that it keeps within lim. Byte order marks, NUL and trailing data are refused. The
// error is always an [*Error]. It allocates nothing but that.
func Validate(doc []byte, lim Limits) error {
	v := validator{doc: doc, maxDepth: lim.Depth, members: lim.Members}
	if v.maxDepth <= 0 {
		v.maxDepth = defaultDepth
	}
	v.maxDepth = min(v.maxDepth, maxDepth)
	if v.members <= 0 {
		v.members = defaultMembers
	}
	i := v.run(skipSpace(doc, 0))
	if v.failed {
		e := v.err
		return &e
	}
	if i = skipSpace(doc, i); i < len(doc) {
		return &Error{i, ReasonTrailing, "data behind the value"}
	}
	return nil
}

// validator is the state of one Validate.
type validator struct {
	doc      []byte
	maxDepth int
	members  int // that may still come
	depth    int
	objects  [maxDepth / 64]uint64 // one bit a level: the container is an object
	failed   bool
	err      Error
}

func (v *validator) fail(offset int, reason, msg string) int {
	v.failed, v.err = true, Error{offset, reason, msg}
	return len(v.doc)
}

// run checks the value at i and returns the position behind it. It keeps the nesting in a bit set instead of recursing, so
// that depth costs no stack.
func (v *validator) run(i int) int {
	for !v.failed {
		// A value is due at i.
		if i >= len(v.doc) {
			return v.fail(len(v.doc), ReasonSyntax, "unexpected end")
		}
		opened := false
		switch c := v.doc[i]; c {
		case '"':
			i = v.str(i)
		case '{', '[':
			i, opened = v.open(i, c)
		default:
			i = v.scalar(i, c)
		}
		if opened {
			continue
		}
		if i = v.close(i); v.depth == 0 {
			return i
		}
	}
	return i
}

// open enters the container at i and returns where its first value is due, or the position behind it when it is empty.
func (v *validator) open(i int, c byte) (int, bool) {
	if v.depth == v.maxDepth {
		return v.fail(i, ReasonDepth, "nested too deep"), false
	}
	j := skipSpace(v.doc, i+1)
	if j < len(v.doc) && v.doc[j] == c+2 {
		return j + 1, false
	}
	word, bit := &v.objects[v.depth/64], uint64(1)<<(v.depth%64)
	v.depth++
	if c == '{' {
		*word |= bit
		return v.key(j), true
	}
	*word &^= bit
	return v.element(j), true
}

// close reads what follows a value: the ends of the containers it was the last of, then a comma. It returns where the next
// value is due, or the position behind the outermost container.
func (v *validator) close(i int) int {
	for v.depth > 0 {
		if i < len(v.doc) && v.doc[i] <= ' ' {
			i = skipSpace(v.doc, i)
		}
		if i >= len(v.doc) {
			if v.failed {
				return i
			}
			return v.fail(len(v.doc), ReasonSyntax, "unexpected end")
		}
		object := v.objects[(v.depth-1)/64]>>((v.depth-1)%64)&1 == 1
		switch c := v.doc[i]; {
		case c == ',' && object:
			return v.key(skipSpace(v.doc, i+1))
		case c == ',':
			return v.element(skipSpace(v.doc, i+1))
		case c == '}' && object, c == ']' && !object:
			v.depth--
			i++
		case object:
			return v.fail(i, ReasonSyntax, "expected ',' or '}'")
		default:
			return v.fail(i, ReasonSyntax, "expected ',' or ']'")
		}
	}
	return i
}

// key checks the key at i and its colon and returns where the value is due.
func (v *validator) key(i int) int {
	if i >= len(v.doc) {
		return v.fail(len(v.doc), ReasonSyntax, "unexpected end")
	}
	if v.doc[i] != '"' {
		return v.fail(i, ReasonSyntax, "expected a key")
	}
	if v.members--; v.members < 0 {
		return v.fail(i, ReasonMembers, "too many members")
	}
	if i = v.str(i); v.failed {
		return i
	}
	if i = skipSpace(v.doc, i); i >= len(v.doc) {
		return v.fail(len(v.doc), ReasonSyntax, "unexpected end")
	}
	if v.doc[i] != ':' {
		return v.fail(i, ReasonSyntax, "expected ':'")
	}
	return skipSpace(v.doc, i+1)
}

// element counts the array element at i.
func (v *validator) element(i int) int {
	if i < len(v.doc) && v.doc[i] != '-' && v.doc[i]-'0' > 9 {
		if v.members--; v.members < 0 {
			return v.fail(i, ReasonMembers, "too many members")
		}
	}
	return i
}

// scalar checks the number or literal at i and returns the position behind it.
func (v *validator) scalar(i int, c byte) int {
	literal := ""
	switch c {
	case 't':
		literal = "true"
	case 'f':
		literal = "false"
	case 'n':
		literal = "null"
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		end, ok := scanNumber(v.doc, i)
		if !ok {
			return v.fail(end, ReasonSyntax, "malformed number")
		}
		return end
	case 0xEF, 0xFE, 0xFF:
		return v.fail(i, ReasonSyntax, "byte order mark or other encoding than UTF-8")
	default:
		return v.fail(i, ReasonSyntax, "expected a value")
	}
	for k := range len(literal) {
		if i+k >= len(v.doc) {
			return v.fail(len(v.doc), ReasonSyntax, "unexpected end")
		}
		if v.doc[i+k] != literal[k] {
			return v.fail(i+k, ReasonSyntax, "unknown literal")
		}
	}
	return i + len(literal)
}

// str checks the string whose opening quote is at i and returns the position behind it.
func (v *validator) str(i int) int {
	doc := v.doc
	i++
	for {
		i = plainRun(doc, i)
		if i >= len(doc) {
			return v.fail(len(doc), ReasonSyntax, "string does not end")
		}
		switch c := doc[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i+1 < len(doc) && escapes[doc[i+1]] != 0 {
				i += 2
				continue
			}
			if i = v.unicodeEscape(i); v.failed {
				return i
			}
		case c < ' ':
			return v.fail(i, ReasonSyntax, "control character in a string")
		default:
			r, size := utf8.DecodeRune(doc[i:])
			if r == utf8.RuneError && size == 1 {
				return v.fail(i, ReasonInvalidUTF8, "invalid UTF-8 in a string")
			}
			i += size
		}
	}
}

// unicodeEscape checks the \u escape at i, both of them when it is a surrogate pair, and returns the position behind.
func (v *validator) unicodeEscape(i int) int {
	if i+1 >= len(v.doc) {
		return v.fail(len(v.doc), ReasonSyntax, "string does not end")
	}
	r, size := escapedRune(v.doc[i:])
	if size == 0 {
		return v.fail(i, ReasonSyntax, "malformed escape")
	}
	if half := hex4(v.doc[i:]); r == utf8.RuneError && half != utf8.RuneError {
		return v.fail(i, ReasonInvalidUTF8, "half of a surrogate pair")
	}
	return i + size
}

// plainRun returns the position of the first byte at or behind i that a string cannot hold as it stands, or that is not
// ASCII. It looks at eight bytes at a time: the top bit of each byte of mask is set for those, exactly so for the lowest.
func plainRun(doc []byte, i int) int {
	const (
		ones = 0x0101010101010101
		tops = 0x8080808080808080
	)
	for ; i+8 <= len(doc); i += 8 {
		w := binary.LittleEndian.Uint64(doc[i:])
		q, b := w^(ones*'"'), w^(ones*'\\')
		mask := ((w - ones*' ') &^ w) | ((q - ones) &^ q) | ((b - ones) &^ b) | w
		if mask &= tops; mask != 0 {
			return i + bits.TrailingZeros64(mask)/8
		}
	}
	for i < len(doc) && doc[i] >= ' ' && doc[i] != '"' && doc[i] != '\\' && doc[i] < utf8.RuneSelf {
		i++
	}
	return i
}

// scanNumber returns the position behind the number at i. When that is none it reports false and the offset at fault.
func scanNumber(b []byte, i int) (int, bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b) || b[i]-'0' > 9:
		return i, false
	case b[i] == '0':
		i++
	default:
		i = digits(b, i)
	}
	if i < len(b) && b[i] == '.' {
		end := digits(b, i+1)
		if end == i+1 {
			return end, false
		}
		i = end
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		end := digits(b, i)
		if end == i {
			return end, false
		}
		i = end
	}
	return i, true
}

// digits returns the position of the first byte at or behind i that is no digit.
func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}
