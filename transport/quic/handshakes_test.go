package quic

import (
	"net/netip"
	"testing"
	"time"
)

func TestHandshakesHaveARatePerAddress(t *testing.T) {
	h := newHandshakes(1000, 10)
	now := time.Unix(1000, 0)
	greedy, modest := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	count := func(a netip.Addr, tries int) (n int) {
		for range tries {
			if h.allow(now, a) {
				n++
			}
		}
		return n
	}
	if n := count(greedy, 100); n != 20 {
		t.Errorf("%d handshakes at once, want two seconds' worth", n)
	}
	if n := count(modest, 5); n != 5 {
		t.Errorf("another address has %d of 5", n)
	}
	now = now.Add(time.Second)
	if n := count(greedy, 100); n != 10 {
		t.Errorf("%d handshakes a second later, want a second's worth", n)
	}
	now = now.Add(time.Hour)
	if n := count(greedy, 100); n != 20 {
		t.Errorf("%d handshakes after an hour: nobody saves up for more than two seconds", n)
	}
}

func TestHandshakesHaveARateOverAll(t *testing.T) {
	h := newHandshakes(100, 10)
	now, n := time.Unix(1000, 0), 0
	for i := range 1000 {
		if h.allow(now, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})) {
			n++
		}
	}
	if n != 200 {
		t.Errorf("%d handshakes from a thousand addresses, want 200", n)
	}
}

func TestAddressesOfOneNetworkShareARate(t *testing.T) {
	h := newHandshakes(1000, 1)
	now, n := time.Unix(1000, 0), 0
	for _, a := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3:4", "2001:db8::5"} {
		if h.allow(now, netip.MustParseAddr(a)) {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d handshakes from 64 bits of IPv6, want 2", n)
	}
	if !h.allow(now, netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Error("another network is held up")
	}
}

func TestAddressesAreForgotten(t *testing.T) {
	h := newHandshakes(1<<30, 10)
	now := time.Unix(1000, 0)
	for i := range 3 * handshakeAddressesMax {
		if !h.allow(now, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})) {
			t.Fatal("refused")
		}
		if i == handshakeAddressesMax {
			now = now.Add(time.Minute)
		}
	}
	if n := len(h.fullEach); n > handshakeAddressesMax {
		t.Errorf("%d addresses are remembered", n)
	}
}
