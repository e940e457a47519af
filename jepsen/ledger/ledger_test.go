package ledger

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// sent is a ledger with so many records sent to partition 0, all of them acknowledged at the offsets of their numbers.
func sent(count int64) *Ledger {
	l := New(2)
	for range count {
		n := l.Send(0)
		l.Ack(0, n, n)
	}
	return l
}

func read(l *Ledger, numbers ...int64) {
	for offset, n := range numbers {
		l.Read(0, n, int64(offset))
	}
}

func TestWhatIsKeptIsNothingWrong(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		l := New(3)
		// Acknowledgements and reads come in any order that a producer and a reader can see.
		var log [3][]int64
		acked, readTo := [3]int{}, [3]int{}
		for range 400 {
			p := int32(r.IntN(3))
			switch r.IntN(3) {
			case 0:
				log[p] = append(log[p], l.Send(p))
			case 1:
				if acked[p] < len(log[p]) {
					at := int64(acked[p])
					if r.IntN(10) == 0 {
						l.Ack(p, log[p][acked[p]], -1)
					} else {
						l.Ack(p, log[p][acked[p]], at)
					}
					acked[p]++
				}
			default:
				if readTo[p] < len(log[p]) {
					l.Read(p, log[p][readTo[p]], int64(readTo[p]))
					readTo[p]++
				}
			}
		}
		for p := range int32(3) {
			for ; readTo[p] < len(log[p]); readTo[p]++ {
				l.Read(p, log[p][readTo[p]], int64(readTo[p]))
			}
			for offset, n := range log[p] {
				l.ReadAgain(p, n, int64(offset))
			}
		}
		l.Close(true)
		c := l.Counts()
		if c.Wrong() != 0 || c.Read != c.Sent || c.Acked > c.Sent {
			t.Fatalf("seed %d: %+v %v", seed, c, l.Findings())
		}
	}
}

// A record that was never acknowledged may be missing, and may be there.
func TestTheUnacknowledgedMayBeMissing(t *testing.T) {
	t.Parallel()
	l := New(1)
	for range 4 {
		l.Send(0)
	}
	l.Ack(0, 0, 0)
	l.Ack(0, 3, 2)
	read(l, 0, 1, 3)
	for offset, n := range []int64{0, 1, 3} {
		l.ReadAgain(0, n, int64(offset))
	}
	l.Close(true)
	if c := l.Counts(); c.Wrong() != 0 || c.Read != 3 || c.Acked != 2 {
		t.Errorf("%+v %v", c, l.Findings())
	}
}

// Each planted fault is found, and counted as what it is, once.
func TestPlantedFaultsAreFound(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		plant func() *Ledger
		want  Counts
		says  string
	}{
		"a record is passed by": {func() *Ledger {
			l := sent(3)
			l.Read(0, 0, 0)
			l.Read(0, 2, 2)
			return l
		}, Counts{Lost: 1}, "lost: record 1 of partition 0, acknowledged at offset 1: the reader found record 2 after 0"},
		"a record is acknowledged after its place was passed by": {func() *Ledger {
			l := New(1)
			for range 3 {
				l.Send(0)
			}
			l.Ack(0, 0, 0)
			l.Ack(0, 2, 1)
			read(l, 0, 2)
			l.Ack(0, 1, -1)
			return l
		}, Counts{Lost: 1}, "the reader has passed its place"},
		"the end of the log is missing": {func() *Ledger {
			l := sent(3)
			read(l, 0, 1)
			return l
		}, Counts{Lost: 1}, "it was never read"},
		"a record stands twice": {func() *Ledger {
			l := sent(2)
			read(l, 0, 1, 1)
			return l
		}, Counts{Duplicated: 1}, "stands at offsets 1 and 2"},
		"a record is delivered twice": {func() *Ledger {
			l := sent(2)
			read(l, 0, 1)
			l.Read(0, 1, 1)
			return l
		}, Counts{Duplicated: 1}, "was delivered twice"},
		"two records are exchanged": {func() *Ledger {
			l := New(1)
			l.Send(0)
			l.Send(0)
			l.Ack(0, 0, -1)
			l.Ack(0, 1, -1)
			read(l, 1, 0)
			return l
		}, Counts{Reordered: 1}, "record 0 of partition 0 stands behind 1"},
		"a record stands elsewhere than acknowledged": {func() *Ledger {
			l := New(1)
			l.Send(0)
			l.Ack(0, 0, 7)
			read(l, 0)
			return l
		}, Counts{Changed: 1}, "acknowledged at offset 7, and stands at 0"},
		"the same, acknowledged later": {func() *Ledger {
			l := New(1)
			l.Send(0)
			read(l, 0)
			l.Ack(0, 0, 7)
			return l
		}, Counts{Changed: 1}, "acknowledged at offset 7, and stands at 0"},
		"the reader is led back to something else": {func() *Ledger {
			l := sent(3)
			read(l, 0, 1)
			l.Read(0, 2, 1)
			l.Read(0, 2, 2)
			return l
		}, Counts{Changed: 1}, "partition 0 offset 1 holds record 2"},
		"a record that nobody sent": {func() *Ledger {
			l := sent(1)
			read(l, 0, 9)
			return l
		}, Counts{Invented: 1}, "record 9, which was never sent"},
	} {
		l := tc.plant()
		l.Close(false)
		c := l.Counts()
		c.Sent, c.Acked, c.Read = 0, 0, 0
		if c != tc.want || !strings.Contains(strings.Join(l.Findings(), "\n"), tc.says) {
			t.Errorf("%s: %+v, not %+v\n%s", name, c, tc.want, strings.Join(l.Findings(), "\n"))
		}
	}
}

func TestWhatIsGoneWhenReadAgainIsLost(t *testing.T) {
	t.Parallel()
	l := sent(3)
	read(l, 0, 1, 2)
	l.ReadAgain(0, 0, 0)
	l.ReadAgain(0, 1, 1)
	l.Close(true)
	if c := l.Counts(); c.Lost != 1 {
		t.Errorf("%+v %v", c, l.Findings())
	}
	l = sent(2)
	read(l, 0, 1)
	l.ReadAgain(0, 1, 0)
	if c := l.Counts(); c.Changed != 1 {
		t.Errorf("%+v %v", c, l.Findings())
	}
}

func TestEndsAreWhatMustBeRead(t *testing.T) {
	t.Parallel()
	l := sent(3)
	l.Send(0)
	read(l, 0, 1)
	if ends, at := l.Ends(), l.Positions(); ends[0] != 3 || ends[1] != 0 || at[0] != 2 {
		t.Errorf("ends %v, positions %v", ends, at)
	}
}
