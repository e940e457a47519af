package record

import (
	"encoding/binary"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestVarintsAreZigZagAsTheStandardLibraryHasThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64().Draw(t, "v")
		want := binary.AppendVarint(nil, v)
		got := appendVarint(nil, v)
		if string(got) != string(want) {
			t.Fatalf("%d is % x, want % x", v, got, want)
		}
		if n := varintBytes(v); n != len(want) {
			t.Fatalf("%d takes %d bytes, want %d", v, n, len(want))
		}
		if back, i := varint64(got, 0); back != v || i != len(got) {
			t.Fatalf("%d reads as %d up to %d", v, back, i)
		}
		back, i := varint32(got, 0)
		fits := v >= math.MinInt32 && v <= math.MaxInt32
		if fits && (int64(back) != v || i != len(got)) || !fits && i != -1 {
			t.Fatalf("%d reads in 32 bits as %d up to %d", v, back, i)
		}
	})
}

func TestVarintsThatEndEarlyOrRunOverAreRefused(t *testing.T) {
	for name, p := range map[string][]byte{
		"empty":            {},
		"cut":              {0x80},
		"cut later":        {0xff, 0xff, 0xff},
		"six bytes":        {0x80, 0x80, 0x80, 0x80, 0x80, 0x00},
		"eleven bytes":     {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00},
		"more than 64 bit": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
	} {
		if _, i := varint32(p, 0); i != -1 {
			t.Errorf("%s: 32 bits accepted up to %d", name, i)
		}
		if name == "six bytes" {
			continue // fine for 64 bits: Java accepts padded varints
		}
		if _, i := varint64(p, 0); i != -1 {
			t.Errorf("%s: 64 bits accepted up to %d", name, i)
		}
	}
	if _, i := varint32([]byte{0xff, 0xff, 0xff, 0xff, 0x10}, 0); i != -1 {
		t.Errorf("33 bits accepted up to %d", i)
	}
	if _, i := varint32([]byte{0}, -1); i != -1 {
		t.Error("a failed position is forgotten")
	}
	if _, i := varint64([]byte{0}, -1); i != -1 {
		t.Error("a failed position is forgotten")
	}
}

func TestPaddedVarintsAreAccepted(t *testing.T) {
	if v, i := varint32([]byte{0x82, 0x80, 0x00}, 0); v != 1 || i != 3 {
		t.Errorf("padded 1 reads as %d up to %d", v, i)
	}
}
