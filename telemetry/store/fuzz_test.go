package store

import "testing"

func sample() *block {
	b := newBlock(1, parts{})
	for _, spans := range recorded(5) {
		b.add(spans)
	}
	return b
}

func FuzzRows(f *testing.F) {
	part := sample().encodeRows(nil)
	f.Add(part[:len(part)-4])
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := decodeRows(1, sealPart(append([]byte(nil), body...), 0))
		if err != nil {
			return
		}
		for i := range b.entries { // what was accepted can be shown
			b.entries[i].exchange(1, b.texts)
			b.entries[i].matches("x", b.texts)
		}
	})
}

func FuzzSpans(f *testing.F) {
	part := sample().encodeSpans(nil)
	f.Add(part[:len(part)-4], uint32(0))
	f.Fuzz(func(t *testing.T, body []byte, at uint32) {
		_, _ = decodeSpans(sealPart(append([]byte(nil), body...), 0), at)
	})
}
