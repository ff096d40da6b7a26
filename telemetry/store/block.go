package store

import (
	"encoding/binary"
	"hash/crc32"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Limits of a block.
const (
	blockExchanges = 128
	blockBytes     = 96 << 10 // of spans
)

// block is a run of exchanges, and a row of the database. Its entries and texts never change once they are there, so that a
// reader may go on with what it has seen under the lock.
type block struct {
	first   int64 // seq of the first entry; the id of the row
	entries []entry
	texts   []string // of the entries
	size    int      // bytes in the database

	// Of a block that is not sealed and saved:
	rows    *table // of the entries
	names   *table // of the spans
	spans   []byte
	sealed  bool // takes no more
	unsaved bool
}

// parts are the memory of a block that takes exchanges, to be used again.
type parts struct {
	rows, names *table
	spans       []byte
}

func newBlock(first int64, p parts) *block {
	if p.rows == nil {
		p = parts{&table{}, &table{}, nil}
	}
	return &block{first: first, rows: p.rows, names: p.names, spans: p.spans, entries: make([]entry, 0, 4)}
}

// add takes an exchange, the last of whose spans is its SERVER span.
func (b *block) add(spans []sdktrace.ReadOnlySpan) {
	b.entries = append(b.entries, entry{at: uint32(len(b.spans))})
	e := encoder{summary: summary{&b.entries[len(b.entries)-1], b.rows}, table: b.names, spans: spans}
	b.spans = e.exchange(b.spans)
	b.texts = b.rows.list
	b.size = b.rows.size + b.names.size + len(b.spans) + 120*len(b.entries)
	b.unsaved = true
	b.sealed = len(b.entries) >= blockExchanges || len(b.spans) >= blockBytes
}

// The parts of a block in the database end with their CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealPart ends the part that begins at from.
func sealPart(b []byte, from int) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli))
}

func openPart(b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, errShort
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return nil, errShort
	}
	return body, nil
}

// encodeRows writes the entries with their texts.
func (b *block) encodeRows(buf []byte) []byte {
	from, base := len(buf), b.entries[0].nums[numStart]
	buf = b.rows.append(buf)
	buf = binary.AppendVarint(buf, base)
	buf = binary.AppendUvarint(buf, uint64(len(b.entries)))
	for i := range b.entries {
		buf = b.entries[i].append(buf, base)
	}
	return sealPart(buf, from)
}

// encodeSpans writes the spans with their texts.
func (b *block) encodeSpans(buf []byte) []byte {
	from := len(buf)
	buf = b.names.append(buf)
	buf = append(buf, b.spans...)
	return sealPart(buf, from)
}

// decodeRows is the inverse of encodeRows.
func decodeRows(first int64, part []byte) (*block, error) {
	body, err := openPart(part)
	if err != nil {
		return nil, err
	}
	r := &reader{b: body}
	b := &block{first: first, sealed: true}
	b.texts = r.table()
	base := r.int()
	b.entries = make([]entry, r.count(smallestEntry))
	for i := range b.entries {
		b.entries[i].read(r, base, len(b.texts))
	}
	if r.err == nil && (len(r.b) > 0 || len(b.entries) == 0 || len(b.entries) > blockExchanges) {
		r.fail()
	}
	return b, r.err
}

// decodeSpans reads the spans of the exchange at from what encodeSpans wrote.
func decodeSpans(part []byte, at uint32) ([]Span, error) {
	body, err := openPart(part)
	if err != nil {
		return nil, err
	}
	d := decoder{reader: reader{b: body}}
	d.list = d.table()
	if uint64(at) > uint64(len(d.b)) {
		d.fail()
	}
	if d.err != nil {
		return nil, d.err
	}
	d.b = d.b[at:]
	return d.exchange()
}

// release gives up what only a block that is not yet saved needs.
func (b *block) release() parts {
	p := parts{b.rows, b.names, b.spans[:0]}
	b.rows, b.names, b.spans = nil, nil, nil
	p.rows.reset(true)
	p.names.reset(false)
	return p
}
