package scale

import (
	"fmt"

	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// state is what the newest metadata says of the cluster.
type state struct {
	version    model.Offset
	brokers    int // registered
	active     int // not fenced
	partitions int
	led        int // have a leader that is not fenced
	whole      int // have all replicas in sync
	preferred  int // are led by their first replica
	stray      int // brokers that are up and behind the metadata
}

// well reports whether there is nothing to wait for.
func (s state) well() bool {
	return s.active == s.brokers && s.led == s.partitions && s.whole == s.partitions && s.stray == 0
}

// String says how far it has come.
func (s state) String() string {
	return fmt.Sprintf("version %d, brokers %d of %d, led %d, whole %d of %d, behind %d", s.version, s.active, s.brokers, s.led, s.whole, s.partitions, s.stray)
}

// look counts. The partitions are counted again only when the metadata has changed.
func (w *world) look() state {
	image := w.imageOrNil()
	if image == nil {
		return state{partitions: 1}
	}
	if image != w.seen {
		w.seen, w.counted = image, count(image)
	}
	s := w.counted
	for _, n := range w.nodes {
		if n.up() && (n.b == nil || n.b.Published().View.Version() < s.version) {
			s.stray++
		}
	}
	return s
}

func count(image *metadata.Image) state {
	s := state{version: image.Version(), brokers: image.BrokerCount()}
	fenced := map[model.NodeID]bool{}
	for b := range image.Brokers {
		fenced[b.ID] = b.Fenced
		if !b.Fenced {
			s.active++
		}
	}
	for t := range image.Topics {
		for _, p := range t.Partitions {
			s.partitions++
			if p.Leader >= 0 && !fenced[p.Leader] {
				s.led++
			}
			if len(p.ISR) == len(p.Replicas) {
				s.whole++
			}
			if p.Leader == p.Replicas[0] {
				s.preferred++
			}
		}
	}
	return s
}

// pairs is how many pairs of nodes there are of which one follows the other.
func (w *world) pairs() int {
	pairs := map[[2]model.NodeID]bool{}
	for t := range w.image().Topics {
		for _, p := range t.Partitions {
			for _, r := range p.Replicas {
				if r != p.Leader {
					pairs[[2]model.NodeID{r, p.Leader}] = true
				}
			}
		}
	}
	return len(pairs)
}
