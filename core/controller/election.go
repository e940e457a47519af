package controller

import (
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// electorate is what an election goes by.
type electorate struct {
	image *metadata.Image
	// inSyncMin is the partition's min.insync.replicas, at most as many as it has replicas.
	inSyncMin int
	// unclean lets a replica lead that may lack what was acknowledged, if there is no other.
	unclean bool
	// lost is a broker whose disk is not what it was; NoNode if none is.
	lost model.NodeID
	// damaged are those that have said that they cannot serve their replica.
	damaged []model.NodeID
	marks   *effect.Marks
}

func (e *electorate) active(node model.NodeID) bool {
	b := e.image.Broker(node)
	return b != nil && b.Active() && node != e.lost && !slices.Contains(e.damaged, node)
}

// settle is what a partition comes to, now that brokers are active or not:
//
//   - Who is in sync and not active leaves the ISR. It stays eligible (ELR) as long as the ISR is smaller than
//     min.insync.replicas: nothing is committed without it then, so it has everything that was (KIP-966).
//   - A leader that is not in sync any more is followed by the first replica that is, in the order of preference; else by
//     the first that is eligible; else by any, if that is asked for; else by nobody.
//
// A partition with one replica stays as it is while its broker is away: nobody else can have anything of it, so there is
// nothing that a new epoch would keep apart.
func (e *electorate) settle(p *metadata.Partition) metadata.Partition {
	to := *p
	if len(p.Replicas) == 1 && len(p.Adding) == 0 && p.Replicas[0] != e.lost && (p.Leader == p.Replicas[0] || !e.active(p.Replicas[0])) {
		return to
	}
	to.ISR = keep(p.ISR, e.active)
	if !e.active(to.Leader) || !slices.Contains(to.ISR, to.Leader) {
		e.elect(p, &to)
	}
	e.eligible(p, &to)
	return to
}

// elect names a leader.
func (e *electorate) elect(p, to *metadata.Partition) {
	to.Leader = model.NoNode
	if leader := first(p.Replicas, func(n model.NodeID) bool { return slices.Contains(to.ISR, n) }); leader != model.NoNode {
		to.Leader = leader
		return
	}
	if leader := first(p.Replicas, func(n model.NodeID) bool { return slices.Contains(p.ELR, n) && e.active(n) }); leader != model.NoNode {
		to.Leader, to.ISR = leader, []model.NodeID{leader}
		return
	}
	if !e.unclean {
		return
	}
	// A disk that was replaced while it was the last to have everything has nothing; the others have most.
	leader := first(p.Replicas, func(n model.NodeID) bool { return e.active(n) && !slices.Contains(p.LastKnownELR, n) })
	if leader == model.NoNode {
		leader = first(p.Replicas, e.active)
	}
	if leader != model.NoNode {
		to.Leader, to.ISR = leader, []model.NodeID{leader}
		e.marks.Set(effect.MarkUncleanElection)
	}
}

// eligible works out who has everything that was committed without being in sync.
func (e *electorate) eligible(p, to *metadata.Partition) {
	if len(to.ISR) >= e.inSyncMin {
		to.ELR, to.LastKnownELR = nil, nil
		return
	}
	var elr []model.NodeID
	for _, n := range p.Replicas {
		was := slices.Contains(p.ISR, n) || slices.Contains(p.ELR, n)
		if was && !slices.Contains(to.ISR, n) && n != e.lost && slices.Contains(to.Replicas, n) {
			elr = append(elr, n)
		}
	}
	to.ELR = elr
	if e.lost != model.NoNode && slices.Contains(p.Replicas, e.lost) && len(to.ISR) == 0 && len(elr) == 0 {
		to.LastKnownELR = []model.NodeID{e.lost}
	}
}

func keep(ids []model.NodeID, wanted func(model.NodeID) bool) []model.NodeID {
	var out []model.NodeID
	for _, id := range ids {
		if wanted(id) {
			out = append(out, id)
		}
	}
	return out
}

func first(ids []model.NodeID, wanted func(model.NodeID) bool) model.NodeID {
	for _, id := range ids {
		if wanted(id) {
			return id
		}
	}
	return model.NoNode
}

// Kafka's numbers in a partition's change: what it leaves as it is.
const (
	leaderUnchanged   int32 = -2
	recoveryUnchanged int8  = -1
)

// changeRecord is what makes of a partition what it is to be; nil if it is that. A leader is named when it is another.
func changeRecord(tp model.TopicPartition, was, to *metadata.Partition) *protocol.PartitionChangeRecord {
	rec := unchanged(tp)
	changed := false
	// Where a replica goes the leader is named in any case, be it the same, which begins another leader epoch. Who was removed may
	// not have heard of it, and still fetch as if it were a replica; if it is added again meanwhile it must not be counted on for
	// what it has, which it will drop as soon as it hears of the removal.
	goes := func(id model.NodeID) bool { return !slices.Contains(to.Replicas, id) }
	if to.Leader != was.Leader || slices.ContainsFunc(was.Replicas, goes) {
		rec.Leader, changed = int32(to.Leader), true
	}
	list := func(was, to []model.NodeID, into *[]int32) {
		if slices.Equal(was, to) {
			return
		}
		changed = true
		*into = make([]int32, 0, len(to)) // empty is not absent
		for _, id := range to {
			*into = append(*into, int32(id))
		}
	}
	list(was.Replicas, to.Replicas, &rec.Replicas)
	list(was.ISR, to.ISR, &rec.Isr)
	list(was.ELR, to.ELR, &rec.EligibleLeaderReplicas)
	list(was.LastKnownELR, to.LastKnownELR, &rec.LastKnownElr)
	list(was.Adding, to.Adding, &rec.AddingReplicas)
	list(was.Removing, to.Removing, &rec.RemovingReplicas)
	if !changed {
		return nil
	}
	return rec
}

// unchanged is a change of a partition that leaves everything but its epoch.
func unchanged(tp model.TopicPartition) *protocol.PartitionChangeRecord {
	rec := new(protocol.PartitionChangeRecord)
	rec.Default()
	rec.TopicID, rec.PartitionID = [16]byte(tp.Topic), int32(tp.Partition)
	rec.Leader, rec.LeaderRecoveryState = leaderUnchanged, recoveryUnchanged
	return rec
}
