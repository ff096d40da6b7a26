// Package guard keeps what the gateway calls of its own accord, such as webhooks,
// away from addresses that lead back into the machine or its cloud.
package guard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// ErrAddress says that an address is none a webhook may have.
var ErrAddress = errors.New("the address is not allowed for a webhook")

// Dialer dials only addresses a webhook may have, this machine's only with
// loopback. They are judged after resolution, on every dial, so that a name
// cannot lead elsewhere than it did when it was configured.
func Dialer(loopback bool) *net.Dialer {
	return &net.Dialer{
		Timeout: 3 * time.Second, KeepAlive: 15 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return ErrAddress
			}
			return denied(ap.Addr(), loopback)
		},
	}
}

// The blocks that are refused beside those netip knows. Read-only.
var deniedPrefixes = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),          // this network (RFC 1122)
	netip.MustParsePrefix("240.0.0.0/4"),        // reserved, broadcast
	netip.MustParsePrefix("100.100.100.200/32"), // metadata at Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // host at Azure
	netip.MustParsePrefix("192.0.0.0/24"),       // IETF protocol assignments; metadata at Oracle Cloud
	netip.MustParsePrefix("fd00:ec2::/32"),      // metadata at AWS
	netip.MustParsePrefix("fd20:ce::254/128"),   // metadata at Google Cloud
	netip.MustParsePrefix("fec0::/10"),          // site-local, deprecated
	netip.MustParsePrefix("2001::/32"),          // Teredo
	netip.MustParsePrefix("64:ff9b:1::/48"),     // translation within a site (RFC 8215)
	netip.MustParsePrefix("::ffff:0:0:0/96"),    // translated IPv4 (RFC 2765)
}

// The blocks of IPv6 that carry an IPv4 address, and where. Read-only.
var embedded = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4
	{netip.MustParsePrefix("::/96"), 12},        // IPv4-compatible
}

// denied returns ErrAddress for what could reach the machine itself, its cloud's metadata or many machines at once.
// Private networks are allowed: that is where such services live.
func denied(a netip.Addr, loopback bool) error {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast():
		return ErrAddress
	case a.IsLoopback():
		if loopback {
			return nil
		}
		return ErrAddress
	}
	for _, p := range deniedPrefixes {
		if p.Contains(a) {
			return ErrAddress
		}
	}
	for _, e := range embedded {
		if a.Is6() && e.prefix.Contains(a) {
			b := a.As16()
			// Loopback is never meant in disguise.
			return denied(netip.AddrFrom4([4]byte(b[e.at:e.at+4])), false)
		}
	}
	return nil
}

// Loopback reports whether the host of a URL plainly names this machine.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// Literal judges a host that is an IP address, so that configuration is refused and not only each call.
func Literal(host string, loopback bool) error {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	if err := denied(a, loopback); err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	return nil
}
