package workload

import (
	"testing"

	"pgregory.net/rapid"
)

// A value says which one it is, and any change to it shows.
func TestValueIsVerifiableOnItsOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Int64Range(1, 1<<50).Draw(t, "number")
		v := fillValue(number, rapid.IntRange(0, 5000).Draw(t, "max"))
		if got, ok := readValue(v); !ok || got != number {
			t.Fatalf("value %d reads as %d, %v", number, got, ok)
		}
		bit := rapid.IntRange(0, len(v)*8-1).Draw(t, "bit")
		v[bit/8] ^= 1 << (bit % 8)
		if got, ok := readValue(v); ok && got == number {
			t.Fatalf("bit %d of %d was turned unseen", bit, len(v)*8)
		}
		if _, ok := readValue(v[:valueMin-1]); ok {
			t.Fatal("a stump passes for a value")
		}
	})
}
