package link

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// decodeFetched reads the answer to a fetch and checks every batch in it.
func (l *Link) decodeFetched(asked *effect.ReplicaFetch, version int16) (effect.AnswerBody, error) {
	r := &l.fetched
	defer l.letGo()
	if err := l.read(r, version); err != nil {
		return nil, err
	}
	body := &effect.ReplicaFetched{Code: r.ErrorCode, SessionID: r.SessionID}
	if body.Code != 0 {
		return body, nil
	}
	clear(l.parts)
	for i := range asked.Parts {
		l.parts[asked.Parts[i].Partition] = i + 1
	}
	count := 0
	for t := range r.Responses {
		count += len(r.Responses[t].Partitions)
	}
	body.Parts = make([]effect.ReplicaFetchedPart, 0, count)
	for t := range r.Responses {
		topic := &r.Responses[t]
		for i := range topic.Partitions {
			p := &topic.Partitions[i]
			tp := model.TopicPartition{Topic: model.TopicID(topic.TopicID), Partition: model.Partition(p.PartitionIndex)}
			offset := model.NoOffset
			switch at := l.parts[tp]; {
			case at > 0:
				offset = asked.Parts[at-1].Offset
			case at < 0:
				return nil, fmt.Errorf("%v is there twice", tp)
			case asked.SessionEpoch <= 0:
				// A session that goes on is asked for more than its last request names.
				return nil, fmt.Errorf("%v was not asked for", tp)
			}
			l.parts[tp] = -1
			part, err := fetchedPart(tp, p, offset)
			if err != nil {
				return nil, err
			}
			body.Parts = append(body.Parts, part)
		}
	}
	return body, nil
}

// letGo keeps the memory of a decoded response for the next, and nothing of its frame.
func (l *Link) letGo() {
	const partsKeptMax = 1024
	count := 0
	for t := range l.fetched.Responses {
		partitions := l.fetched.Responses[t].Partitions
		for i := range partitions {
			partitions[i].Records = protocol.Records{}
		}
		count += cap(partitions)
	}
	if count > partsKeptMax {
		l.fetched = protocol.FetchResponse{}
	}
}

// fetchedPart is one partition of the answer. Without an offset, any is the first.
func fetchedPart(tp model.TopicPartition, p *protocol.FetchResponsePartitionData, offset model.Offset) (effect.ReplicaFetchedPart, error) {
	part := effect.ReplicaFetchedPart{
		Partition: tp, Code: p.ErrorCode, HighWatermark: model.Offset(p.HighWatermark), LastStableOffset: model.Offset(p.LastStableOffset),
		LogStartOffset: model.Offset(p.LogStartOffset),
		Diverging:      effect.DivergingEpoch{Epoch: model.LeaderEpoch(p.DivergingEpoch.Epoch), EndOffset: model.Offset(p.DivergingEpoch.EndOffset)},
		Leader:         model.NodeID(p.CurrentLeader.LeaderID), LeaderEpoch: model.LeaderEpoch(p.CurrentLeader.LeaderEpoch),
		Image: effect.ImageID{EndOffset: model.Offset(p.SnapshotID.EndOffset), Epoch: model.LeaderEpoch(p.SnapshotID.Epoch)},
	}
	d, image := &part.Diverging, &part.Image
	switch {
	case part.HighWatermark < model.NoOffset || part.LastStableOffset < model.NoOffset || part.LogStartOffset < model.NoOffset:
		return part, fmt.Errorf("%v has high watermark %d, last stable offset %d and log start offset %d", tp, part.HighWatermark, part.LastStableOffset, part.LogStartOffset)
	case d.Epoch < model.NoLeaderEpoch || d.EndOffset < model.NoOffset || (d.Epoch >= 0) != (d.EndOffset >= 0):
		return part, fmt.Errorf("%v diverges in epoch %d at %d", tp, d.Epoch, d.EndOffset)
	case image.Epoch < model.NoLeaderEpoch || image.EndOffset < model.NoOffset || (image.Epoch >= 0) != (image.EndOffset >= 0):
		return part, fmt.Errorf("%v has image %d-%d", tp, image.EndOffset, image.Epoch)
	case part.Leader < model.NoNode || part.LeaderEpoch < model.NoLeaderEpoch:
		return part, fmt.Errorf("%v has leader %d in epoch %d", tp, part.Leader, part.LeaderEpoch)
	}
	if part.Code == 0 {
		part.Batches, part.Detail = soundBatches(p.Records.Bytes, offset)
		if part.Detail != "" && len(part.Batches) == 0 {
			part.Code = kerr.CorruptMessage.Code
		}
	}
	return part, nil
}

// soundBatches cuts records into batches, as far as they are sound and follow each other. fault says what comes then.
// What was sound is taken: it is that much more that a second replica has.
func soundBatches(b []byte, next model.Offset) (batches []effect.FetchedBatch, fault string) {
	epoch := model.LeaderEpoch(0)
	for first := true; len(b) > 0; first = false {
		h, err := record.ReadHeader(b)
		if err == nil && h.SizeBytes > len(b) {
			err = record.ErrShort
		}
		if err == nil {
			err = record.CheckCRC(record.Batch(b[:h.SizeBytes]))
		}
		switch {
		case err != nil:
			return batches, fmt.Sprintf("the batch at offset %d is not sound: %v", next, err)
		case first && next != model.NoOffset && h.BaseOffset < next && h.NextOffset() > next:
			// A log may start inside a batch, and then the batch comes whole.
		case h.BaseOffset != next && (next != model.NoOffset || !first):
			return batches, fmt.Sprintf("a batch at offset %d comes where one at %d was to", h.BaseOffset, next)
		case h.LeaderEpoch < epoch:
			return batches, fmt.Sprintf("a batch of epoch %d comes behind epoch %d", h.LeaderEpoch, epoch)
		}
		batches = append(batches, effect.FetchedBatch{Header: h, Batch: b[:h.SizeBytes:h.SizeBytes]})
		next, epoch, b = h.NextOffset(), h.LeaderEpoch, b[h.SizeBytes:]
	}
	return batches, ""
}
