package metadata

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/model"
)

// Partition is what the cluster knows of one partition. It is immutable: lists in it are shared.
type Partition struct {
	// Leader is NoNode while no replica can lead. Its epoch goes up whenever a leader is named, be it the same.
	Leader      model.NodeID
	LeaderEpoch model.LeaderEpoch
	// PartitionEpoch goes up with every change (KIP-497).
	PartitionEpoch model.PartitionEpoch
	Replicas       []model.NodeID // the preferred leader first
	ISR            []model.NodeID
	// ELR are replicas out of sync that have everything that was acknowledged, and LastKnownELR those of which that
	// was last believed (KIP-966).
	ELR, LastKnownELR []model.NodeID
	// Adding and Removing are replicas that a reassignment brings and takes (KIP-455).
	Adding, Removing []model.NodeID
	// Directories are where the replicas are, in their order; nil if that is not known (KIP-858).
	Directories []model.DirectoryID
	// Recovering says that the leader was elected uncleanly, and has not repaired its log yet (KIP-704).
	Recovering bool
}

// IsReplica reports whether a node holds the partition, or is to.
func (p *Partition) IsReplica(node model.NodeID) bool { return slices.Contains(p.Replicas, node) }

// InSync reports whether a node is in the ISR.
func (p *Partition) InSync(node model.NodeID) bool { return slices.Contains(p.ISR, node) }

// ReplicasMax bounds the lists of a partition: they are compared with each other, member by member.
const ReplicasMax = 1000

// fault says what cannot be so of a partition, or nothing.
func (p *Partition) fault() string {
	switch {
	case len(p.Replicas) == 0:
		return "it has no replicas"
	case max(len(p.Replicas), len(p.ISR), len(p.ELR), len(p.LastKnownELR), len(p.Adding), len(p.Removing)) > ReplicasMax:
		return fmt.Sprintf("it has more than %d replicas", ReplicasMax)
	case repeats(p.Replicas), repeats(p.ISR), repeats(p.ELR), repeats(p.LastKnownELR), repeats(p.Adding), repeats(p.Removing):
		return "a list of nodes names one twice, or none"
	case !within(p.ISR, p.Replicas):
		return fmt.Sprintf("of its ISR %v not all are replicas: %v", p.ISR, p.Replicas)
	case !within(p.ELR, p.Replicas):
		return fmt.Sprintf("of its ELR %v not all are replicas: %v", p.ELR, p.Replicas)
	case !within(p.Adding, p.Replicas), !within(p.Removing, p.Replicas):
		return fmt.Sprintf("of %v, which are added, and %v, which are removed, not all are replicas: %v", p.Adding, p.Removing, p.Replicas)
	case slices.ContainsFunc(p.ELR, p.InSync):
		return fmt.Sprintf("of its ELR %v some are in sync: %v", p.ELR, p.ISR)
	case p.Leader != model.NoNode && !p.InSync(p.Leader):
		return fmt.Sprintf("its leader %d is not in sync: %v", p.Leader, p.ISR)
	case p.LeaderEpoch < 0 || p.PartitionEpoch < 0:
		return fmt.Sprintf("its leader epoch is %d and its partition epoch %d", p.LeaderEpoch, p.PartitionEpoch)
	case len(p.Directories) != 0 && len(p.Directories) != len(p.Replicas):
		return fmt.Sprintf("it has %d replicas in %d directories", len(p.Replicas), len(p.Directories))
	}
	return ""
}

// equal reports whether two partitions are the same in everything.
func (p *Partition) equal(o *Partition) bool {
	return p.Leader == o.Leader && p.LeaderEpoch == o.LeaderEpoch && p.PartitionEpoch == o.PartitionEpoch &&
		p.Recovering == o.Recovering && slices.Equal(p.Replicas, o.Replicas) && slices.Equal(p.ISR, o.ISR) &&
		slices.Equal(p.ELR, o.ELR) && slices.Equal(p.LastKnownELR, o.LastKnownELR) &&
		slices.Equal(p.Adding, o.Adding) && slices.Equal(p.Removing, o.Removing) && slices.Equal(p.Directories, o.Directories)
}

// repeats reports whether a short list names a node twice, or something that is no node.
func repeats(ids []model.NodeID) bool {
	for i, id := range ids {
		if id < 0 || slices.Contains(ids[:i], id) {
			return true
		}
	}
	return false
}

func within(some, all []model.NodeID) bool {
	return !slices.ContainsFunc(some, func(id model.NodeID) bool { return !slices.Contains(all, id) })
}

func nodes(ids []int32) []model.NodeID {
	if len(ids) == 0 {
		return nil
	}
	out := make([]model.NodeID, len(ids))
	for i, id := range ids {
		out[i] = model.NodeID(id)
	}
	return out
}

func numbers(ids []model.NodeID) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}
