package quic

import (
	"net/netip"
	"time"
)

// handshakes bounds how many handshakes begin in a second, over all and from each address. A handshake costs a
// client a packet or two and a listener signatures: half a millisecond of a processor.
//
// Each has a bucket that holds two seconds' worth and fills at the rate; a bucket is the time at which it will be
// full, so one that is full is nothing to remember.
type handshakes struct {
	perSecond, perSecondEach int
	full                     time.Time
	fullEach                 map[netip.Addr]time.Time
}

// handshakeBurst is how much a bucket holds.
const handshakeBurst = 2 * time.Second

// handshakeAddressesMax is how many addresses are remembered. When as many come at once, only the bound over all
// holds.
const handshakeAddressesMax = 16 << 10

func newHandshakes(perSecond, perSecondEach int) handshakes {
	return handshakes{perSecond: perSecond, perSecondEach: perSecondEach, fullEach: map[netip.Addr]time.Time{}}
}

// allow takes one from both buckets, if there is one in each.
func (h *handshakes) allow(now time.Time, from netip.Addr) bool {
	from = network(from)
	each, known := h.fullEach[from]
	next, ok := take(now, each, h.perSecondEach)
	if !ok {
		return false
	}
	full, ok := take(now, h.full, h.perSecond)
	if !ok {
		return false
	}
	h.full = full
	if !known && len(h.fullEach) >= handshakeAddressesMax {
		h.forget(now)
	}
	if known || len(h.fullEach) < handshakeAddressesMax {
		h.fullEach[from] = next
	}
	return true
}

// take takes one from a bucket that will be full at a time.
func take(now, full time.Time, perSecond int) (time.Time, bool) {
	if full.Before(now) {
		full = now
	}
	full = full.Add(time.Second / time.Duration(perSecond))
	return full, full.Sub(now) <= handshakeBurst
}

// forget drops buckets that are full again.
func (h *handshakes) forget(now time.Time) {
	for addr, full := range h.fullEach {
		if full.Before(now) {
			delete(h.fullEach, addr)
		}
	}
}

// network is what one party has: an address of IPv4, and 64 bits of one of IPv6.
func network(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	const bits = 64
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return a
	}
	return p.Addr()
}
