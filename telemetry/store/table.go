package store

import (
	"encoding/binary"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
)

// quickSize is a power of two above the number of keys and common values of an exchange.
const quickSize = 512

// table numbers the strings of a block, so that a key or a model is written once. The zero value is empty.
type table struct {
	list  []string
	ids   map[string]uint32 // :: string → its place in list
	size  int               // bytes in list
	quick [quickSize]uint32 // place + 1 of the string last seen with a hash; 0: none
	roles []role            // of the strings, taken as keys of attributes; shorter than list, for keys that were asked for
}

// id returns the number of s, which it takes in if it is new.
func (t *table) id(s string) uint32 {
	slot := &t.quick[hash(s)]
	if n := *slot; n > 0 && t.list[n-1] == s {
		return n - 1
	}
	n, ok := t.ids[s]
	if !ok {
		if t.ids == nil {
			t.ids = make(map[string]uint32, 128)
		}
		n = uint32(len(t.list))
		s = strings.Clone(s) // it may be a piece of a request
		t.list, t.ids[s] = append(t.list, s), n
		t.size += len(s)
	}
	*slot = n + 1
	return n
}

// reset empties t for another block; keep: the list stays the last block's.
func (t *table) reset(keep bool) {
	if keep {
		t.list = make([]string, 0, len(t.list))
	} else {
		clear(t.list)
		t.list = t.list[:0]
	}
	clear(t.ids)
	t.size, t.quick, t.roles = 0, [quickSize]uint32{}, t.roles[:0]
}

// key returns the number of a key, and what the summary makes of its values.
func (t *table) key(key attribute.Key) (uint32, role) {
	n := t.id(string(key))
	for int(n) >= len(t.roles) {
		t.roles = append(t.roles, roleOf(attribute.Key(t.list[len(t.roles)])))
	}
	return n, t.roles[n]
}

// hash looks at two words only: a collision costs a look into the map.
func hash(s string) uint {
	n := len(s)
	if n < 8 {
		h := uint64(n)
		for i := range n {
			h = h*31 + uint64(s[i])
		}
		return uint(h*mix>>32) % quickSize
	}
	h := word(s[n-8:])*mix ^ word(s[(n-8)/2:]) + uint64(n)
	return uint(h*mix>>40) % quickSize
}

const mix = 0x9e3779b97f4a7c15 // 2⁶⁴ divided by the golden ratio

func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// append writes the table.
func (t *table) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(t.list)))
	for _, s := range t.list {
		b = appendText(b, s)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// errShort says that bytes do not hold what they should. They come from a file whose checksum was right, or from a fuzzer.
var errShort = errors.New("a block of traces.db cannot be read")

// reader reads what append methods wrote. After a mistake it returns zeros and err is set.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	r.err, r.b = errShort, nil
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes returns the next n bytes, which stay r's.
func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail()
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) fixed64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) text() string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	return string(r.bytes(int(n)))
}

// count reads how many items follow, each of which takes size bytes at least.
func (r *reader) count(size int) int {
	n := r.uint()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) table() []string {
	list := make([]string, r.count(1))
	for i := range list {
		list[i] = r.text()
	}
	return list
}
