package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveOffsetCommit(rq *request, out *Out) {
	in := new(protocol.OffsetCommitRequest)
	if !s.decodeWhole(rq, in, out) {
		return
	}
	ev := &broker.CommitOffsets{Commit: group.Commit{
		To: rq.id, Wall: rq.wall, Group: in.GroupID, Generation: in.GenerationIDOrMemberEpoch, Member: in.MemberID,
		Instance: in.GroupInstanceID.Value, RetentionMs: in.RetentionTimeMs,
	}}
	for i := range in.Topics {
		t := &in.Topics[i]
		for k := range t.Partitions {
			p := &t.Partitions[k]
			ev.Parts = append(ev.Parts, group.CommitPart{
				Topic: t.Name, TopicID: model.TopicID(t.TopicID), Partition: model.Partition(p.PartitionIndex),
				Offset: model.Offset(p.CommittedOffset), LeaderEpoch: model.LeaderEpoch(p.CommittedLeaderEpoch),
				Metadata: p.CommittedMetadata.Value,
			})
		}
	}
	rq.slot.asked = in
	out.Events = append(out.Events, ev)
}

func respondOffsetCommit(sl *slot, in *effect.OffsetsCommitted) protocol.Message {
	r := new(protocol.OffsetCommitResponse)
	r.Default()
	asked := sl.asked.(*protocol.OffsetCommitRequest)
	codes := in.Codes
	for i := range asked.Topics {
		t := &asked.Topics[i]
		to := protocol.Add(&r.Topics)
		to.Name, to.TopicID = t.Name, t.TopicID
		for k := range t.Partitions {
			p := protocol.Add(&to.Partitions)
			p.PartitionIndex, p.ErrorCode = t.Partitions[k].PartitionIndex, codes[0]
			codes = codes[1:]
		}
	}
	return r
}
