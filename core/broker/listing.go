package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// listing is a ListOffsets request that waits for storage to look up times.
type listing struct {
	to      effect.RequestID
	answer  *effect.OffsetsListed
	missing int // how many parts storage still owes
}

func (b *Broker) listOffsets(ev *ListOffsets, out *effect.Set) {
	l := &listing{to: ev.To, answer: &effect.OffsetsListed{Parts: make([]effect.OffsetListed, len(ev.Parts))}}
	for i := range ev.Parts {
		if b.listPart(ev, i, &l.answer.Parts[i], out) {
			l.missing++
		}
	}
	if l.missing > 0 {
		b.listings[ev.To] = l
		return
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: l.answer})
}

// listReplica answers for the log that is here, whoever leads: where it begins, and where it ends, committed or not.
func listReplica(p *partition, at model.Timestamp, answer *effect.OffsetListed) (code int16) {
	switch {
	case p.replica.Offline() != "":
		return kerr.KafkaStorageError.Code
	case at == LatestTimestamp:
		answer.Offset = p.replica.LogEndOffset()
	case at == EarliestTimestamp:
		answer.Offset = p.replica.Bounds().LogStartOffset
	default:
		return kerr.InvalidRequest.Code // what clients may read is for the leader to say
	}
	answer.LeaderEpoch = p.replica.EpochOf(answer.Offset - 1)
	return 0
}

// listPart answers one part, or asks storage and reports that it did.
func (b *Broker) listPart(ev *ListOffsets, i int, answer *effect.OffsetListed, out *effect.Set) (asked bool) {
	part := &ev.Parts[i]
	*answer = effect.OffsetListed{
		Index: part.Index, Offset: model.NoOffset, Timestamp: model.NoTimestamp, LeaderEpoch: model.NoLeaderEpoch,
	}
	p, code := b.find(part.Topic, part.Partition)
	if code == 0 && ev.OfReplica {
		answer.Code = listReplica(p, part.Timestamp, answer)
		return false
	}
	if code == 0 {
		code = b.checkServes(p, part.CurrentLeaderEpoch)
	}
	if answer.Code = code; code != 0 {
		return false
	}
	bounds := p.replica.Bounds()
	limit := bounds.HighWatermark
	if ev.ReadCommitted {
		limit = bounds.LastStableOffset
	}
	switch part.Timestamp {
	case LatestTimestamp:
		if !p.replica.KnowsEnd() {
			answer.Code = kerr.OffsetNotAvailable.Code
			return false
		}
		answer.Offset, answer.LeaderEpoch = limit, p.replica.LeaderEpoch()
	case EarliestTimestamp, EarliestLocalTimestamp:
		answer.Offset, answer.LeaderEpoch = bounds.LogStartOffset, p.replica.EpochOf(bounds.LogStartOffset)
	case LatestTieredTimestamp, EarliestPendingTimestamp:
	default:
		if part.Timestamp < 0 && part.Timestamp != effect.MaxTimestamp {
			answer.Code = kerr.UnsupportedVersion.Code
			return false
		}
		if !p.replica.KnowsEnd() {
			answer.Code = kerr.OffsetNotAvailable.Code // unless it is found below the high watermark
			if part.Timestamp == effect.MaxTimestamp {
				return false
			}
		}
		out.Lookups = append(out.Lookups, effect.Lookup{
			To: ev.To, Index: int32(i), Partition: p.replica.Partition(), Timestamp: part.Timestamp, Limit: limit,
		})
		return true
	}
	return false
}

// lookedUp takes in one part that storage looked up.
func (b *Broker) lookedUp(in effect.LookedUp, out *effect.Set) {
	l := b.listings[in.To]
	if l == nil {
		return // nobody asked
	}
	answer := &l.answer.Parts[in.Index]
	switch {
	case in.Failure == effect.Missing:
		answer.Code = kerr.UnknownTopicOrPartition.Code // deleted meanwhile
	case in.Failure != effect.OK:
		answer.Code = kerr.KafkaStorageError.Code
	case in.Offset != model.NoOffset:
		answer.Code, answer.Offset, answer.Timestamp = 0, in.Offset, in.Timestamp
		if p := b.partitions.get(in.Partition); p != nil {
			answer.LeaderEpoch = p.replica.EpochOf(in.Offset)
		}
	}
	if l.missing--; l.missing > 0 {
		return
	}
	delete(b.listings, in.To)
	out.Replies = append(out.Replies, effect.Reply{To: l.to, Body: l.answer})
}
