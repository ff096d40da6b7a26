package store

import "encoding/binary"

// queue holds encoded settlements, in chunks, so that a long one is not copied
// as it grows.
type queue struct {
	chunks [][]byte
	bytes  int
	lines  int
}

const chunkSize = 64 << 10

// add appends a copy of a settlement. spare is memory for another chunk, or nil;
// it reports whether it took it.
func (q *queue) add(body, spare []byte) (took bool) {
	last := len(q.chunks) - 1
	need := len(body) + binary.MaxVarintLen32
	if last < 0 || cap(q.chunks[last])-len(q.chunks[last]) < need {
		if took = cap(spare) >= need; !took {
			spare = make([]byte, 0, max(chunkSize, need))
		}
		q.chunks = append(q.chunks, spare[:0])
		last++
	}
	c := binary.AppendUvarint(q.chunks[last], uint64(len(body)))
	q.chunks[last] = append(c, body...)
	q.bytes += len(body)
	q.lines++
	return took
}

// all yields the settlements, oldest first. It is an iter.Seq.
func (q *queue) all(yield func(body []byte) bool) {
	for _, c := range q.chunks {
		for len(c) > 0 {
			n, size := binary.Uvarint(c)
			end := size + int(n)
			if !yield(c[size:end]) {
				return
			}
			c = c[end:]
		}
	}
}
