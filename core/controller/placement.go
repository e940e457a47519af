package controller

import (
	"slices"
	"strings"

	"github.com/weirmq/weir/core/model"
)

// site is a broker that may get replicas.
type site struct {
	node model.NodeID
	rack string
}

// ring is the order in which brokers get replicas: neighbours are of different racks as far as there are enough of them.
//
//	racks a: 1 4 7   b: 2 5   c: 3        ring: 1 2 3 4 5 7
//
// A partition's leader is somewhere on the ring, and its followers are among the next few. So a broker follows few
// others, and is followed by few: what a broker costs does not grow with the cluster, and what one failure makes
// others do is shared by all in the neighbourhood.
type ring []site

// ringOf orders brokers.
func ringOf(sites []site) ring {
	byRack := map[string][]site{}
	var racks []string
	for _, s := range sites {
		if byRack[s.rack] == nil {
			racks = append(racks, s.rack)
		}
		byRack[s.rack] = append(byRack[s.rack], s)
	}
	slices.SortFunc(racks, strings.Compare)
	for _, rack := range racks {
		slices.SortFunc(byRack[rack], func(a, b site) int { return int(a.node) - int(b.node) })
	}
	// The largest racks begin, so that what is left over in the end is of as few racks as can be.
	slices.SortStableFunc(racks, func(a, b string) int { return len(byRack[b]) - len(byRack[a]) })
	out := make(ring, 0, len(sites))
	for round := 0; len(out) < len(sites); round++ {
		for _, rack := range racks {
			if round < len(byRack[rack]) {
				out = append(out, byRack[rack][round])
			}
		}
	}
	return out
}

// neighbours is how many of the next on the ring may be a leader's first follower.
const neighbours = 8

// place chooses the replicas of the partition of a number, the preferred leader first. Numbers that follow each other
// have leaders that follow each other; when they come round, the followers are others. There are at least factor
// brokers.
func (r ring) place(number, factor int) []model.NodeID {
	n := len(r)
	at, round := number%n, number/n
	chosen := []model.NodeID{r[at].node}
	racks := []string{r[at].rack}
	first := 1
	if factor > 1 && n > 1 {
		first = 1 + round%min(neighbours, n-1)
	}
	// Once with racks that have none yet, then with any that is left.
	for _, strict := range []bool{true, false} {
		for step := 0; step < n-1 && len(chosen) < factor; step++ {
			s := r[(at+1+(first-1+step)%(n-1))%n]
			if slices.Contains(chosen, s.node) || strict && slices.Contains(racks, s.rack) {
				continue
			}
			chosen, racks = append(chosen, s.node), append(racks, s.rack)
		}
	}
	return chosen
}
