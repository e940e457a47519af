package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveOffsetDelete(rq *request, out *Out) {
	in := new(protocol.OffsetDeleteRequest)
	if !s.decodeWhole(rq, in, out) {
		return
	}
	ev := &broker.DeleteOffsets{DeleteOffsets: group.DeleteOffsets{To: rq.id, Wall: rq.wall, Group: in.GroupID}}
	for i := range in.Topics {
		t := &in.Topics[i]
		for k := range t.Partitions {
			ev.Parts = append(ev.Parts, group.DeleteOffsetsPart{Topic: t.Name, Partition: model.Partition(t.Partitions[k].PartitionIndex)})
		}
	}
	rq.slot.asked = in
	out.Events = append(out.Events, ev)
}

func respondOffsetDelete(sl *slot, in *effect.OffsetsDeleted) protocol.Message {
	r := new(protocol.OffsetDeleteResponse)
	r.Default()
	if r.ErrorCode = in.Code; in.Code != 0 {
		return r
	}
	asked := sl.asked.(*protocol.OffsetDeleteRequest)
	codes := in.Codes
	for i := range asked.Topics {
		t := &asked.Topics[i]
		to := protocol.Add(&r.Topics)
		to.Name = t.Name
		for k := range t.Partitions {
			p := protocol.Add(&to.Partitions)
			p.PartitionIndex, p.ErrorCode = t.Partitions[k].PartitionIndex, codes[0]
			codes = codes[1:]
		}
	}
	return r
}
