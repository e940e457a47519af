package sim

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/workload"
)

// leaders is the simulator's own account of who led which partition until when, from the committed metadata as the first
// node applies it. What one node has applied all others must apply, so the newest of them is what is so.
type leaders struct {
	version model.Offset // of the newest metadata that any node has applied
	view    *metadata.View
	now     map[model.TopicPartition]reign
	over    []check.Leadership
	// candidates are those that may lead a partition, and unclean says in which partitions somebody else has come to lead.
	candidates map[model.TopicPartition][]model.NodeID
	unclean    map[check.Key]bool
	// lost is why a partition has nobody to lead it who would have everything.
	lost string
	// images are the newest that some node has gone by: whoever gets there by another way must have the same.
	images []*metadata.Image
	// shown is how far a partition is committed, for all that any node says.
	shown map[model.TopicPartition]model.Offset
}

// reign is one leadership.
type reign struct {
	leader    model.NodeID
	epoch     model.LeaderEpoch
	partition model.PartitionEpoch
}

// applied takes in what a node goes by now.
func (w *world) applied(view *metadata.View) {
	ls := &w.leaders
	if w.plan.clustered() {
		w.checkImage(view.Image)
	}
	if view.Version() <= ls.version {
		return
	}
	ls.version, ls.view = view.Version(), view
	if ls.now == nil {
		ls.now, ls.shown = map[model.TopicPartition]reign{}, map[model.TopicPartition]model.Offset{}
		ls.candidates, ls.unclean = map[model.TopicPartition][]model.NodeID{}, map[check.Key]bool{}
	}
	for t := range view.Topics {
		for i, p := range t.Partitions {
			tp := model.TopicPartition{Topic: t.ID, Partition: i}
			was, known := ls.now[tp]
			is := reign{p.Leader, p.LeaderEpoch, p.PartitionEpoch}
			if is == was {
				continue
			}
			ls.now[tp] = is
			switch {
			case !known:
			case is.epoch < was.epoch || is.partition <= was.partition:
				w.fail("epoch-back", fmt.Sprintf("%s/%d: epochs go from %d and %d to %d and %d", t.Name, i, was.epoch, was.partition, is.epoch, is.partition))
			case is.epoch == was.epoch && is.leader != was.leader:
				w.fail("two-leaders", fmt.Sprintf("%s/%d: nodes %d and %d both lead in epoch %d", t.Name, i, was.leader, is.leader, is.epoch))
			case is.epoch != was.epoch:
				ls.over = append(ls.over, check.Leadership{
					Key: check.Key{Topic: t.Name, Partition: int32(i)}, Node: int(was.leader), Epoch: int32(was.epoch), Until: int64(w.now),
				})
			}
			w.checkClean(t, i, p, was, known)
			w.checkLost(t, i, p)
			w.checkReplicas(t, i, p)
			w.checkCandidates(view, t, i, p)
		}
	}
}

// checkClean notes where a leader was elected that may lack what was acknowledged, and verifies that this is where it may. Of
// what a batch of metadata changes only the end is seen: where somebody led in between, and others may lead after it than before,
// it may have been anybody.
func (w *world) checkClean(t *metadata.Topic, i model.Partition, p *metadata.Partition, was reign, known bool) {
	ls, tp := &w.leaders, model.TopicPartition{Topic: t.ID, Partition: i}
	before := ls.candidates[tp]
	ls.candidates[tp] = slices.Concat(p.ISR, p.ELR)
	if !w.mayBeUnclean(t.Name) {
		return
	}
	seen := p.Recovering || known && p.Leader != model.NoNode && !slices.Contains(before, p.Leader)
	hidden := known && p.LeaderEpoch > was.epoch+1 &&
		slices.ContainsFunc(ls.candidates[tp], func(n model.NodeID) bool { return !slices.Contains(before, n) })
	if seen {
		w.fire(FaultUnclean)
	}
	if seen || hidden {
		ls.unclean[check.Key{Topic: t.Name, Partition: int32(i)}] = true
	}
}

// mayBeUnclean reports whether somebody may ask for a leader that lacks something, for a topic.
func (w *world) mayBeUnclean(topic string) bool {
	for i, load := range w.loads {
		if w.plan.Loads[i].Kind == "unclean" && slices.Contains(load.Topics(), topic) {
			return true
		}
	}
	return false
}

// checkLost notes a partition that nobody may lead any more because the last that was known to be in sync lost its disk: it
// waits for an operator, as it should.
func (w *world) checkLost(t *metadata.Topic, i model.Partition, p *metadata.Partition) {
	if p.Leader != model.NoNode || len(p.ISR)+len(p.ELR) > 0 {
		return
	}
	for _, n := range w.nodes {
		if n.disks > 0 && slices.Contains(p.LastKnownELR, model.NodeID(n.id)) {
			w.leaders.lost = fmt.Sprintf("node %d lost its disk while nobody else was in sync in %s/%d", n.id, t.Name, i)
		}
	}
}

// newest is the newest metadata that any node has applied; nil if there is none.
func (w *world) newest() *metadata.View { return w.leaders.view }

// checkReplicas verifies what must be so of who is in sync, and who may lead.
func (w *world) checkReplicas(t *metadata.Topic, i model.Partition, p *metadata.Partition) {
	wrong := ""
	for _, n := range slices.Concat(p.ISR, p.ELR) {
		if !p.IsReplica(n) {
			wrong = fmt.Sprintf("node %d is no replica", n)
		}
	}
	for _, n := range p.ELR {
		if slices.Contains(p.ISR, n) {
			wrong = fmt.Sprintf("node %d is in sync and only eligible", n)
		}
	}
	if p.Leader != model.NoNode && !slices.Contains(p.ISR, p.Leader) {
		wrong = "the leader is not in sync"
	}
	if wrong != "" {
		w.fail("in-sync", fmt.Sprintf("%s/%d: leader %d, replicas %v, in sync %v, eligible %v: %s", t.Name, i, p.Leader, p.Replicas, p.ISR, p.ELR, wrong))
	}
}

// imagesKept bounds how far apart nodes' metadata may be for it to be compared.
const imagesKept = 256

// checkImage holds a node's metadata against what another had at the same version.
func (w *world) checkImage(image *metadata.Image) {
	ls := &w.leaders
	at, known := slices.BinarySearchFunc(ls.images, image.Version(), func(i *metadata.Image, v model.Offset) int { return int(i.Version() - v) })
	switch {
	case known && ls.images[at] != image && !ls.images[at].Equal(image):
		w.fail("images-differ", fmt.Sprintf("two nodes have different metadata of version %d", image.Version()))
	case !known && (at > 0 || len(ls.images) < imagesKept):
		ls.images = slices.Insert(ls.images, at, image)
		if len(ls.images) > imagesKept {
			ls.images = slices.Delete(ls.images, 0, 1)
		}
	}
}

// checkCandidates verifies that whoever may lead next has everything that was committed, on its disk.
func (w *world) checkCandidates(view *metadata.View, t *metadata.Topic, i model.Partition, p *metadata.Partition) {
	tp := model.TopicPartition{Topic: t.ID, Partition: i}
	if w.leaders.unclean[check.Key{Topic: t.Name, Partition: int32(i)}] {
		return // what was committed is not, any more
	}
	committed := w.leaders.shown[tp]
	for _, n := range w.nodes {
		if n.process != nil && n.process.broker != nil {
			if b, here := n.process.broker.Bounds(tp); here {
				committed = max(committed, b.HighWatermark)
			}
		}
	}
	w.leaders.shown[tp] = committed
	for _, n := range w.nodes {
		l := n.ghost.logs[tp]
		if id := model.NodeID(n.id); !slices.Contains(p.ISR, id) && !slices.Contains(p.ELR, id) || l != nil && n.ghost.broken(l) != "" {
			continue
		}
		if b := view.Broker(model.NodeID(n.id)); b != nil && !slices.Contains(b.Directories, n.directory()) {
			continue // its disk was taken away, and the controller has not heard of that
		}
		if end := l.end(); end < committed {
			w.fail("candidate-incomplete", fmt.Sprintf("%s/%d: node %d may lead (in sync %v, eligible %v), and has the log to %d; it was committed to %d",
				t.Name, i, n.id, p.ISR, p.ELR, end, committed))
		}
	}
}

// leaseMax is how long a leader serves after it was last counted on: see broker.lease.
const leaseMax = sessionTimeout + sc

// staleMax is how long after another leader was elected the one before it may still tell readers what the log was: its
// lease, less the silence for which it was deposed, with clocks that are five percent apart either way, and what it takes to
// get round to things.
const staleMax = leaseMax*20/19 - sessionTimeout*20/21 + 200*ms

// staleMoved is the same where an operator has others lead: nobody waits for the leader to fall silent then.
const staleMoved = leaseMax*20/19 + 200*ms

// staleMax is how long leaders whose time is over may be heard in this world.
func (w *world) staleMax() model.Time {
	far := 2 * w.plan.Net.NodeDelay
	if slices.ContainsFunc(w.loads, (*workload.Load).Moved) {
		return staleMoved + far
	}
	return staleMax + far
}
