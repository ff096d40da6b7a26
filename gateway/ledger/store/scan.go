package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
)

// scanned says how a file of the journal was read.
type scanned struct {
	header header
	end    int64 // of the last intact frame
	torn   int64 // bytes after it that a write left behind
	// gaps are the places a power cut has left unreadable in front of intact
	// frames.
	gaps []gap
}

type gap struct{ from, to int64 }

// readHeader reads the first bytes of a file. ok is false when the file ends
// within them.
func readHeader(data []byte, name string) (h header, ok bool, err error) {
	if n := min(len(data), len(headerMagic)); string(data[:n]) != headerMagic[:n] && strings.Trim(string(data), "\x00") != "" {
		return h, false, &CorruptError{File: name, Offset: 0, Reason: "not a journal of the ledger"}
	}
	if len(data) < headerSize {
		return h, false, nil
	}
	if v := binary.LittleEndian.Uint32(data[16:]); v > formatNumber && string(data[:16]) == headerMagic {
		return h, false, fmt.Errorf("%w: %s has format %d, this version knows %d", ErrNewer, name, v, formatNumber)
	}
	if crc32.Checksum(data[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(data[headerSize-4:]) {
		return h, false, &CorruptError{File: name, Offset: 0, Place: "header", Reason: "does not match its checksum"}
	}
	h.full = binary.LittleEndian.Uint32(data[20:])&flagFull != 0
	h.number = binary.LittleEndian.Uint64(data[24:])
	h.created = int64(binary.LittleEndian.Uint64(data[32:]))
	copy(h.process[:], data[40:])
	copy(h.boot[:], data[56:])
	return h, true, nil
}

// scan calls visit for each intact frame of a file, in order. What a write left
// unfinished at its end is not an error. Neither is, when the machine has been
// restarted since, what was not synced: with flagFull that is known, and
// anything before it has to be intact. All else is a *CorruptError.
//
// lenient goes on after any damage: it is how a repair reads.
func scan(data []byte, name string, boot [16]byte, lenient bool, visit func(at int64, f frame) error) (scanned, error) {
	h, ok, err := readHeader(data, name)
	if err != nil || !ok {
		return scanned{header: h, torn: int64(len(data))}, err
	}
	var (
		seed     = h.seed()
		sc       = scanned{header: h, end: headerSize}
		restart  = h.boot != boot || boot == [16]byte{}
		durable  = int64(-1) // not known yet
		at, size = int64(headerSize), int64(len(data))
	)
	for at < size {
		f, ok := frameAt(data, seed, at)
		if !ok {
			if durable < 0 {
				durable = durableEnd(data, seed)
			}
			next := nextFrame(data, seed, at)
			tail := next < 0
			switch {
			case lenient, restart && at >= durable, tail && cutShort(data, at):
			default:
				return sc, &CorruptError{File: name, Offset: at, Reason: "a record does not match its checksum"}
			}
			if tail {
				sc.torn = size - at
				return sc, nil
			}
			sc.gaps = append(sc.gaps, gap{at, next})
			at = next
			continue
		}
		if f.kind != kindMark {
			if err := visit(at, f); err != nil {
				return sc, &CorruptError{File: name, Offset: at, Reason: err.Error()}
			}
		}
		at += f.size
		sc.end = at
	}
	return sc, nil
}

// durableEnd returns up to where a file is known to have been synced, by all
// marks that can be read.
func durableEnd(data []byte, seed uint32) (end int64) {
	for at := int64(headerSize); at >= 0 && at < int64(len(data)); {
		f, ok := frameAt(data, seed, at)
		if !ok {
			at = nextFrame(data, seed, at)
			continue
		}
		var p progress
		if f.kind == kindMark && p.decode(f.body) == nil {
			end = max(end, p.tokens)
		}
		at += f.size
	}
	return end
}
