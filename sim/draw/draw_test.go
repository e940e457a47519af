package draw

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What a seed means is fixed for ever: a pinned regression seed must draw the same on every release.
func TestDrawsAreGolden(t *testing.T) {
	var b strings.Builder
	s := Seed(42).Stream("net.delay", 7)
	for range 3 {
		fmt.Fprintf(&b, "%x ", s.Uint64())
	}
	for range 4 {
		fmt.Fprintf(&b, "%d ", s.Below(1000))
	}
	fmt.Fprintf(&b, "%d %d %d ", s.Between(-5, 5), s.LogUniform(10, 100000), s.Exp(1_000_000))
	p := []int{0, 1, 2, 3, 4, 5, 6, 7}
	s.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	buf := make([]byte, 11)
	s.Fill(buf)
	fmt.Fprintf(&b, "%v %x", p, buf)
	const want = "99e5958e0c84bbd1 6f4ee340eaf672f2 cd8907eb6e1e0aff 766 302 983 622 4 68 1032882 [4 5 6 3 0 2 7 1] ab6e74fc64c460fef1f9dd"
	if b.String() != want {
		t.Errorf("drew\n%s\nwant\n%s", b.String(), want)
	}
}

func TestStreamsOfDifferentSitesAndEntitiesDiffer(t *testing.T) {
	seen := map[uint64]string{}
	for _, site := range []string{"a", "b", "net.delay", "disk.sync"} {
		for e := range uint64(100) {
			for seed := range Seed(20) {
				v := seed.Stream(site, e).Uint64()
				id := fmt.Sprint(seed, site, e)
				if seen[v] != "" {
					t.Fatalf("%s and %s draw the same", id, seen[v])
				}
				seen[v] = id
			}
		}
	}
}

func TestOneStreamsDrawsDoNotMoveAnothers(t *testing.T) {
	a, b := Seed(1).Stream("x", 1), Seed(1).Stream("x", 2)
	want := Seed(1).Stream("x", 2).Uint64()
	for range 100 {
		a.Uint64()
	}
	if b.Uint64() != want {
		t.Error("draws of one entity moved another's")
	}
}

func TestBoundsHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Seed(rapid.Uint64().Draw(t, "seed")).Stream("bounds", 0)
		n := rapid.Uint64Range(1, 1<<63).Draw(t, "n")
		if v := s.Below(n); v >= n {
			t.Fatalf("Below(%d) = %d", n, v)
		}
		lo := rapid.Int64Range(-1<<40, 1<<40).Draw(t, "lo")
		hi := lo + rapid.Int64Range(0, 1<<40).Draw(t, "width")
		if v := s.Between(lo, hi); v < lo || v > hi {
			t.Fatalf("Between(%d, %d) = %d", lo, hi, v)
		}
		from := rapid.Int64Range(1, 1<<30).Draw(t, "from")
		to := from + rapid.Int64Range(0, 1<<40).Draw(t, "over")
		if v := s.LogUniform(from, to); v < from || v > to {
			t.Fatalf("LogUniform(%d, %d) = %d", from, to, v)
		}
		mean := rapid.Int64Range(0, 1<<40).Draw(t, "mean")
		if v := s.Exp(mean); v < 0 || v > 40*mean {
			t.Fatalf("Exp(%d) = %d", mean, v)
		}
	})
}

func TestDistributionsAreRoughlyRight(t *testing.T) {
	s := Seed(3).Stream("dist", 0)
	var counts [10]int
	var sum int64
	hits := 0
	const draws = 200_000
	for range draws {
		counts[s.Below(10)]++
		sum += s.Exp(1000)
		if s.PerMillion(50_000) {
			hits++
		}
	}
	for v, n := range counts {
		if n < draws/10*95/100 || n > draws/10*105/100 {
			t.Errorf("Below(10) drew %d %d times of %d", v, n, draws)
		}
	}
	if mean := sum / draws; mean < 930 || mean > 1070 {
		t.Errorf("Exp(1000) has mean %d", mean)
	}
	if hits < 9500 || hits > 10500 {
		t.Errorf("PerMillion(50000) hit %d of %d", hits, draws)
	}
}

func BenchmarkUint64(b *testing.B) {
	s := Seed(1).Stream("bench", 0)
	b.ReportAllocs()
	for b.Loop() {
		s.Uint64()
	}
}
