package caller

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// addressFailures and allFailures are how many wrong keys a minute one
	// address, and all together, are told that they are wrong.
	addressFailures = 20
	allFailures     = 1200
	// maxAddresses bounds the addresses that are remembered.
	maxAddresses = 4096
)

// failures limits how often keys may be guessed (reliability S-13), in bounded
// memory. It is safe for concurrent use.
type failures struct {
	mu    sync.Mutex
	from  map[netip.Addr]bucket
	all   bucket
	swept int64 // when entries that matter no more were last looked for
}

func newFailures() *failures {
	return &failures{from: make(map[netip.Addr]bucket), all: bucket{limit: allFailures}}
}

// source is what addresses are told apart by: all of IPv4, and the network of
// IPv6, of which a host has as many addresses as it likes.
func source(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	p, _ := a.WithZone("").Prefix(64) // 64 fits
	return p.Addr()
}

// blocked is how long a source has to wait because of its failures; 0: it need
// not. What others did does not matter: else anyone could shut everyone out.
func (f *failures) blocked(from netip.Addr, now int64) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.from[from]
	if !ok {
		return 0
	}
	return max(0, b.wait(now))
}

// count counts a failure, unless there were too many: then it returns how long
// to wait.
func (f *failures) count(from netip.Addr, now int64) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.from[from]
	if !ok {
		b = bucket{limit: addressFailures}
	}
	if wait := max(b.wait(now), f.all.wait(now)); wait > 0 {
		return wait
	}
	f.all.take(now, 1)
	b.take(now, 1)
	if !ok {
		f.makeRoom(now)
	}
	f.from[from] = b
	return 0
}

// makeRoom forgets addresses whose failures are long past, and any one when
// there are none: to be forgotten that way takes thousands of addresses, which
// the limit on all together slows down. f.mu is held.
func (f *failures) makeRoom(now int64) {
	if len(f.from) < maxAddresses {
		return
	}
	if now-f.swept > int64(time.Second) {
		f.swept = now
		for a, b := range f.from {
			if b.debt(now) == 0 {
				delete(f.from, a)
			}
		}
	}
	for a := range f.from {
		if len(f.from) < maxAddresses {
			return
		}
		delete(f.from, a)
	}
}
