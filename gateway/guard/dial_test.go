package guard

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestAddressesAWebhookMayNotHave_S31(t *testing.T) {
	for _, c := range []struct {
		addr            string
		loopback, allow bool
	}{
		{"93.184.216.34", false, true}, {"10.1.2.3", false, true}, {"192.168.1.1", false, true}, {"fd12::1", false, true}, {"2606:4700::1", false, true},
		{"127.0.0.1", false, false}, {"127.9.9.9", false, false}, {"::1", false, false}, {"127.0.0.1", true, true}, {"::1", true, true},
		{"::ffff:127.0.0.1", false, false}, {"::ffff:127.0.0.1", true, true}, {"0.0.0.0", true, false}, {"0.1.2.3", false, false}, {"::", true, false},
		{"169.254.169.254", true, false}, {"::ffff:169.254.169.254", false, false}, {"fe80::1", false, false}, {"fe80::1%eth0", false, false},
		{"224.0.0.1", false, false}, {"ff02::1", false, false}, {"ff01::1", false, false}, {"255.255.255.255", false, false}, {"240.0.0.1", false, false},
		{"fd00:ec2::254", false, false}, {"fd20:ce::254", false, false}, {"100.100.100.200", false, false}, {"168.63.129.16", false, false}, {"192.0.0.192", false, false},
		{"64:ff9b::a9fe:a9fe", false, false}, {"64:ff9b::7f00:1", true, false}, {"64:ff9b::5db8:d822", false, true}, {"64:ff9b:1::1", false, false},
		{"2002:7f00:1::", false, false}, {"2002:a9fe:a9fe::1", false, false}, {"::127.0.0.1", true, false}, {"::ffff:0:7f00:1", false, false}, {"2001::1", false, false},
		{"fec0::1", false, false},
	} {
		if got := denied(netip.MustParseAddr(c.addr), c.loopback) == nil; got != c.allow {
			t.Errorf("%s, loopback %v: got allowed %v, want %v", c.addr, c.loopback, got, c.allow)
		}
	}
	if denied(netip.Addr{}, true) == nil {
		t.Error("got no address allowed")
	}
}

func TestDialerJudgesTheAddressAfterResolution_S31(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1", "0.0.0.0"} {
		c, err := Dialer(false).DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, ErrAddress) {
			t.Errorf("%s: got %v, want %v", host, err, ErrAddress)
		}
	}
	c, err := Dialer(true).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("loopback, allowed: %v", err)
	}
	c.Close()
}
