//go:build !race

package caller

import (
	"net/netip"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
)

// The race detector makes pools forget, so that this holds without it only.
func TestAVisitAllocatesAtMostTwice(t *testing.T) {
	r, secret := opened(t, 100)
	x, from, stop := &gateway.Exchange{Body: make([]byte, 1000)}, netip.MustParseAddr("192.0.2.1"), func() {}
	n := testing.AllocsPerRun(1000, func() { visitOnce(t, r, secret, from, x, stop) })
	if n > 2 {
		t.Errorf("%v allocations, want at most 2", n)
	}
}
