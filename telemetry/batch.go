package telemetry

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// batch is a run of encoded items that will leave together.
type batch struct {
	scopes []scopeItems // indexed by the scope's number; most are empty
	count  int
	bytes  int
	born   time.Time // when its first item came
}

// scopeItems are the items of one scope, each a field 2 (spans of ScopeSpans, log_records of ScopeLogs).
type scopeItems struct {
	data  []byte
	count int
}

const itemField = 2

// itemSize is what an item of n bytes takes in a batch.
func itemSize(n int) int { return 1 + protowire.SizeBytes(n) }

func (b *batch) add(scope int, item []byte, hint int) {
	for len(b.scopes) <= scope {
		b.scopes = append(b.scopes, scopeItems{})
	}
	s := &b.scopes[scope]
	if s.data == nil {
		s.data = make([]byte, 0, max(hint, 2*itemSize(len(item))))
	}
	s.data = appendBytes(s.data, itemField, item)
	s.count++
	b.count++
	b.bytes += itemSize(len(item))
}

// request returns the export request as pieces to be sent one after the other. It shares the batch's memory.
func (b *batch) request(resource, resourceFooter []byte, known []scope) [][]byte {
	size := len(resource) + len(resourceFooter)
	pieces := [][]byte{nil, resource}
	for i, s := range b.scopes {
		if s.count == 0 {
			continue
		}
		header, footer := known[i].header, known[i].footer
		n := len(header) + len(s.data) + len(footer)
		prefix := protowire.AppendTag(nil, 2, protowire.BytesType) // scope_spans, scope_logs
		prefix = append(protowire.AppendVarint(prefix, uint64(n)), header...)
		pieces = append(pieces, prefix, s.data, footer)
		size += len(prefix) + len(s.data) + len(footer)
	}
	pieces = append(pieces, resourceFooter)
	pieces[0] = protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.BytesType), uint64(size)) // resource_spans, resource_logs
	return pieces
}

// split returns two halves of b that share its memory.
func (b *batch) split() (first, second *batch) {
	first, second = &batch{born: b.born}, &batch{born: b.born}
	left := b.count / 2
	for _, s := range b.scopes {
		n := min(left, s.count)
		left -= n
		at := 0
		for range n {
			at += protowire.ConsumeFieldValue(itemField, protowire.BytesType, s.data[at+1:]) + 1 // the tag is one byte
		}
		first.scopes = append(first.scopes, scopeItems{data: s.data[:at], count: n})
		second.scopes = append(second.scopes, scopeItems{data: s.data[at:], count: s.count - n})
		first.count, second.count = first.count+n, second.count+s.count-n
		first.bytes, second.bytes = first.bytes+at, second.bytes+len(s.data)-at
	}
	return first, second
}

func pieceSize(pieces [][]byte) int {
	n := 0
	for _, p := range pieces {
		n += len(p)
	}
	return n
}
