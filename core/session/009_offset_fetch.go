package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// receiveOffsetFetch asks for committed offsets of one group, or of several from version 8 on. RequireStable asks
// to wait for transactions that commit offsets: there are none yet, so every commit is stable.
func (s *Session) receiveOffsetFetch(rq *request, out *Out) {
	var in protocol.OffsetFetchRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	ev := &broker.FetchOffsets{To: rq.id, ByID: rq.version >= 10}
	if rq.version < 8 {
		g := group.Fetch{Group: in.GroupID, All: in.Topics == nil && rq.version >= 2}
		for i := range in.Topics {
			g.Topics = append(g.Topics, group.FetchTopic{Name: in.Topics[i].Name, Partitions: partitions(in.Topics[i].PartitionIndexes)})
		}
		ev.Groups = append(ev.Groups, g)
	}
	named := map[string]bool{}
	for i := range in.Groups {
		from := &in.Groups[i]
		if named[from.GroupID] {
			continue // it is answered for once: see once
		}
		named[from.GroupID] = true
		g := group.Fetch{Group: from.GroupID, All: from.Topics == nil}
		for k := range from.Topics {
			t := &from.Topics[k]
			g.Topics = append(g.Topics, group.FetchTopic{
				Name: t.Name, ID: model.TopicID(t.TopicID), Partitions: partitions(t.PartitionIndexes),
			})
		}
		ev.Groups = append(ev.Groups, g)
	}
	rq.slot.asked = ev
	out.Events = append(out.Events, ev)
}

func partitions(indexes []int32) []model.Partition {
	out := make([]model.Partition, len(indexes))
	for i, p := range indexes {
		out[i] = model.Partition(p)
	}
	return out
}

func respondOffsetFetch(sl *slot, in *effect.OffsetsFetched) protocol.Message {
	r := new(protocol.OffsetFetchResponse)
	r.Default()
	for i := range in.Groups {
		g := &in.Groups[i]
		if sl.version < 8 {
			respondOffsetFetchOne(sl, g, r)
			break
		}
		to := protocol.Add(&r.Groups)
		to.GroupID, to.ErrorCode = g.Group, g.Code
		for k := range g.Topics {
			t := &g.Topics[k]
			topic := protocol.Add(&to.Topics)
			if sl.version >= 10 {
				topic.TopicID = [16]byte(t.ID)
			} else {
				topic.Name = t.Name
			}
			for n := range t.Partitions {
				p := &t.Partitions[n]
				at := protocol.Add(&topic.Partitions)
				at.PartitionIndex, at.ErrorCode, at.CommittedOffset = int32(p.Partition), p.Code, int64(p.Offset)
				at.CommittedLeaderEpoch, at.Metadata = int32(p.LeaderEpoch), protocol.String(p.Metadata)
			}
		}
	}
	return r
}

func respondOffsetFetchOne(sl *slot, g *effect.GroupOffsets, r *protocol.OffsetFetchResponse) {
	r.ErrorCode = g.Code
	for k := range g.Topics {
		t := &g.Topics[k]
		topic := protocol.Add(&r.Topics)
		topic.Name = t.Name
		for n := range t.Partitions {
			p := &t.Partitions[n]
			at := protocol.Add(&topic.Partitions)
			at.PartitionIndex, at.ErrorCode, at.CommittedOffset = int32(p.Partition), p.Code, int64(p.Offset)
			at.CommittedLeaderEpoch, at.Metadata = int32(p.LeaderEpoch), protocol.String(p.Metadata)
		}
	}
	if sl.version >= 2 || g.Code == 0 {
		return
	}
	// Version 1 has an error for each partition only.
	r.ErrorCode = 0
	asked := sl.asked.(*broker.FetchOffsets)
	for _, t := range asked.Groups[0].Topics {
		topic := protocol.Add(&r.Topics)
		topic.Name = t.Name
		for _, p := range t.Partitions {
			at := protocol.Add(&topic.Partitions)
			at.PartitionIndex, at.ErrorCode, at.CommittedOffset = int32(p), g.Code, int64(model.NoOffset)
			at.Metadata = protocol.String("")
		}
	}
}
