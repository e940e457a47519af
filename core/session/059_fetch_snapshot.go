package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// metadataTopic is the name of the metadata log in the one request that has no topic ids.
const metadataTopic = "__cluster_metadata"

func (s *Session) receiveFetchSnapshot(rq *request, out *Out) {
	var in protocol.FetchSnapshotRequest
	if !s.decodeWhole(rq, &in, out) || !s.speaksFor(rq, model.NodeID(in.ReplicaID), out) {
		return
	}
	code := int16(0)
	switch {
	case in.ClusterID.Valid && in.ClusterID.Value != s.config.ClusterID:
		code = kerr.InconsistentClusterID.Code
	case len(in.Topics) != 1 || len(in.Topics[0].Partitions) != 1:
		code = kerr.InvalidRequest.Code // a node asks for one image at a time
	case in.Topics[0].Name != metadataTopic:
		code = kerr.UnknownTopicOrPartition.Code
	}
	if code != 0 {
		r := new(protocol.FetchSnapshotResponse)
		r.Default()
		r.ErrorCode = code
		s.answer(rq.slot, r, out)
		return
	}
	p := &in.Topics[0].Partitions[0]
	out.Events = append(out.Events, &broker.FetchImage{To: rq.id, Ask: effect.FetchImage{
		Replica: model.NodeID(in.ReplicaID), ClusterID: in.ClusterID.Value, Partition: model.Partition(p.Partition),
		CurrentLeaderEpoch: model.LeaderEpoch(p.CurrentLeaderEpoch),
		ID:                 effect.ImageID{EndOffset: model.Offset(p.SnapshotID.EndOffset), Epoch: model.LeaderEpoch(p.SnapshotID.Epoch)},
		Position:           p.Position, BytesMax: in.MaxBytes,
	}})
	rq.slot.asked = model.Partition(p.Partition)
}

func respondFetchSnapshot(sl *slot, in *effect.ImageFetched) protocol.Message {
	r := new(protocol.FetchSnapshotResponse)
	r.Default()
	topic := protocol.Add(&r.Topics)
	topic.Name = metadataTopic
	p := protocol.Add(&topic.Partitions)
	p.Index, p.ErrorCode = int32(sl.asked.(model.Partition)), in.Code
	p.SnapshotID.EndOffset, p.SnapshotID.Epoch = int64(in.ID.EndOffset), int32(in.ID.Epoch)
	p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = int32(in.Leader), int32(in.LeaderEpoch)
	p.Size, p.Position, p.UnalignedRecords = in.SizeBytes, in.Position, protocol.Records{Bytes: in.Bytes}
	return r
}
