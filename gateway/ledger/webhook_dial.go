package ledger

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// errAddress says that a webhook's address is none it may have.
var errAddress = errors.New("the address is not allowed for a webhook")

// dialer refuses addresses that no webhook has, after resolution and on every
// dial: a name cannot lead elsewhere than it did before (reliability S-31).
func dialer(loopback bool) *net.Dialer {
	return &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			if ap, err := netip.ParseAddrPort(address); err == nil && reachable(ap.Addr(), loopback) {
				return nil
			}
			return errAddress
		}}
}

// The blocks in which services may live. Private networks are among them.
var allowed = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("2000::/3"), netip.MustParsePrefix("fc00::/7"),
}

// What of the allowed blocks leads to the machine itself, to its cloud's
// metadata, or in disguise to either.
var forbidden = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("192.0.0.0/24"),       // protocol assignments; Oracle Cloud's metadata
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud's
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure's host
	netip.MustParsePrefix("224.0.0.0/3"),        // multicast, reserved, broadcast
	netip.MustParsePrefix("2001::/32"),          // Teredo
	netip.MustParsePrefix("2002::/16"),          // 6to4
	netip.MustParsePrefix("fd00:ec2::/32"),      // AWS's metadata
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google Cloud's
}

// nat64 is how networks without IPv4 reach it (RFC 6052): the address is in the
// last four bytes.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// reachable reports whether a webhook may be at a.
func reachable(a netip.Addr, loopback bool) bool {
	a = a.Unmap().WithZone("")
	switch {
	case a.IsLoopback():
		return loopback
	case a.IsLinkLocalUnicast():
		return false
	case nat64.Contains(a):
		b := a.As16()
		return reachable(netip.AddrFrom4([4]byte(b[12:])), false)
	}
	return within(a, allowed) && !within(a, forbidden)
}

func within(a netip.Addr, blocks []netip.Prefix) bool {
	for _, p := range blocks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// isLoopback reports whether the host of a URL plainly names this machine.
func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && a.Unmap().IsLoopback()
}
