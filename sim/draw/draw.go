// Package draw is the simulator's randomness: numbers that depend on where they are drawn, not on what
// was drawn before.
//
// A draw is mix(seed, site, entity, n): the site is a name in the source ("net.delay"), the entity is
// which of several (a connection's number), and n counts the draws of that pair. Leaving one fault out of
// a plan therefore changes nothing about the others, which is what makes a failing plan shrinkable. A
// single sequential generator would reshuffle everything after the first change.
//
// Invariants:
//
//  1. Everything is computed with integers, so every machine draws the same.
//  2. The functions are our own down to the shuffle: a new Go release cannot change what a seed means.
//     The golden test pins them.
//
// Deliberately absent: cryptographic quality, and a way to save and restore a stream; a seed is replayed
// from its beginning.
package draw

import "math/bits"

// Seed is the root from which all streams of one simulated world are derived.
type Seed uint64

// Stream is one site and entity's sequence of draws. Copying it forks it: both copies draw the same.
type Stream struct {
	key uint64
	n   uint64
}

// Stream derives the stream of a site and an entity.
func (s Seed) Stream(site string, entity uint64) *Stream {
	return &Stream{key: mix(mix(uint64(s)^hashSite(site)) ^ mix(entity+0x9e3779b97f4a7c15))}
}

// hashSite is FNV-1a, 64 bits.
func hashSite(site string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(site) {
		h = (h ^ uint64(site[i])) * 1099511628211
	}
	return h
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every input bit reaches every
// output bit.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Uint64 draws 64 bits.
func (s *Stream) Uint64() uint64 {
	s.n++
	return mix(s.key + s.n*0x9e3779b97f4a7c15)
}

// Below draws from 0 to n-1; n must be positive. It is Lemire's method (2019), without bias.
func (s *Stream) Below(n uint64) uint64 {
	hi, lo := bits.Mul64(s.Uint64(), n)
	if lo < n {
		for threshold := -n % n; lo < threshold; {
			hi, lo = bits.Mul64(s.Uint64(), n)
		}
	}
	return hi
}

// Intn draws from 0 to n-1; n must be positive.
func (s *Stream) Intn(n int) int { return int(s.Below(uint64(n))) }

// Between draws from lo to hi, both included; lo if there is nothing between them.
func (s *Stream) Between(lo, hi int64) int64 {
	if hi <= lo {
		return lo
	}
	return lo + int64(s.Below(uint64(hi-lo)+1))
}

// PerMillion is true n times in a million.
func (s *Stream) PerMillion(n int64) bool {
	return n > 0 && int64(s.Below(1_000_000)) < n
}

// Percent is true n times in a hundred.
func (s *Stream) Percent(n int64) bool { return n > 0 && int64(s.Below(100)) < n }

// LogUniform draws between lo and hi, both positive, each doubling being as likely as the next; within
// one doubling all values are.
func (s *Stream) LogUniform(lo, hi int64) int64 {
	if hi <= lo {
		return lo
	}
	octaves := bits.Len64(uint64(hi/lo)) - 1
	at := lo << s.Intn(octaves+1)
	return s.Between(at, min(hi, at*2))
}

// Exp draws a waiting time of that mean, exponentially distributed to within a few percent, and never
// more than forty times the mean.
func (s *Stream) Exp(mean int64) int64 {
	// -log2(u) is the count of leading zeros and a fraction, here taken as linear within an octave.
	u := s.Uint64() | 1<<8
	zeros := bits.LeadingZeros64(u)
	fraction := (^(u << (zeros + 1))) >> 48 // 0 to 65535 of an octave
	q16 := uint64(zeros)<<16 + fraction
	hi, lo := bits.Mul64(uint64(mean), q16*45426>>16) // ln 2 in 1/65536ths
	return int64(hi<<48 | lo>>16)
}

// Shuffle permutes n things by swapping (Fisher and Yates).
func (s *Stream) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, s.Intn(i+1))
	}
}

// Fill writes random bytes.
func (s *Stream) Fill(p []byte) {
	for len(p) >= 8 {
		x := s.Uint64()
		for i := range 8 {
			p[i] = byte(x >> (8 * i))
		}
		p = p[8:]
	}
	x := s.Uint64()
	for i := range p {
		p[i] = byte(x >> (8 * i))
	}
}
