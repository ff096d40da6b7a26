package store

import (
	"encoding/binary"
	"hash/crc32"
)

// A file of the journal is a header and frames:
//
//	header  magic(16) version(4) flags(4) number(8) created(8) process(16) boot(16) crc(4)
//	frame   0xC5 kind(1) length(4) crc(4) body(length)
//
// Integers are little-endian, checksums CRC-32C. A frame's checksum begins with
// the process that wrote it and the place it was written at, so that bytes which
// look like a frame are one only where they stand.
const (
	headerSize   = 76
	frameSize    = 10 // without body
	frameMagic   = 0xC5
	maxBody      = 4 << 20
	formatNumber = 1

	flagFull = 1 // the file was written with Options.Full
)

const headerMagic = "ccproxy journal\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header begins a file of the journal.
type header struct {
	full    bool
	number  uint64   // of the file, one more than the one before
	created int64    // Unix milliseconds
	process [16]byte // random, of the process that wrote the file
	boot    [16]byte // of the machine's life the process ran in; zeros: not known
}

func (h *header) append(b []byte) []byte {
	at := len(b)
	b = append(b, headerMagic...)
	b = binary.LittleEndian.AppendUint32(b, formatNumber)
	flags := uint32(0)
	if h.full {
		flags |= flagFull
	}
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.created))
	b = append(b, h.process[:]...)
	b = append(b, h.boot[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// seed begins the checksums of the file's frames.
func (h *header) seed() uint32 {
	s := crc32.Checksum(h.process[:], castagnoli)
	return crc32.Update(s, castagnoli, binary.LittleEndian.AppendUint64(nil, h.number))
}

// checksum is the one of a frame at an offset; f is the frame.
func checksum(seed uint32, offset int64, f []byte) uint32 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(offset))
	s := crc32.Update(seed, castagnoli, at[:])
	s = crc32.Update(s, castagnoli, f[:6])
	return crc32.Update(s, castagnoli, f[frameSize:])
}

// seal fills in the first frameSize bytes of f, whose body follows them.
func seal(f []byte, kind byte, seed uint32, offset int64) {
	f[0], f[1] = frameMagic, kind
	binary.LittleEndian.PutUint32(f[2:], uint32(len(f)-frameSize))
	binary.LittleEndian.PutUint32(f[6:], checksum(seed, offset, f))
}

// frame is what a file has at an offset. Its body aliases the file.
type frame struct {
	kind byte
	body []byte
	size int64 // of the whole frame
}

// frameAt returns the frame at an offset of a file, if there is an intact one.
func frameAt(data []byte, seed uint32, at int64) (frame, bool) {
	b := data[at:]
	if len(b) < frameSize || b[0] != frameMagic || b[1] < kindHold || b[1] > kindMark {
		return frame{}, false
	}
	n := binary.LittleEndian.Uint32(b[2:])
	if n > maxBody || int64(n) > int64(len(b)-frameSize) {
		return frame{}, false
	}
	b = b[:frameSize+int(n)]
	if checksum(seed, at, b) != binary.LittleEndian.Uint32(b[6:]) {
		return frame{}, false
	}
	return frame{b[1], b[frameSize:], int64(len(b))}, true
}

// cutShort reports whether what is at an offset can be the beginning of a frame
// whose end was not written.
func cutShort(data []byte, at int64) bool {
	b := data[at:]
	if b[0] != frameMagic || len(b) > 1 && (b[1] < kindHold || b[1] > kindMark) {
		return false
	}
	if len(b) < frameSize {
		return true
	}
	n := binary.LittleEndian.Uint32(b[2:])
	return n <= maxBody && int64(n) > int64(len(b)-frameSize)
}

// nextFrame returns the offset of the first intact frame after at, -1 when there
// is none.
func nextFrame(data []byte, seed uint32, at int64) int64 {
	for at++; at < int64(len(data)); at++ {
		if data[at] != frameMagic {
			continue
		}
		if _, ok := frameAt(data, seed, at); ok {
			return at
		}
	}
	return -1
}
