package session

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

func TestARefusedBatchSaysWhyAndWhoLeads(t *testing.T) {
	for version := int16(3); version <= 13; version++ {
		s, out := newSession(), Out{}
		in := produceRequest(-1, goodBatch())
		in.Topics[0].TopicID = [16]byte{15: 9}
		s.Receive(1000, frame(in, version, 5), &out)
		ev := out.Events[0].(*broker.Produce)
		if ev.Parts[0].Topic.ByID != (version >= 13) || ev.Parts[0].Header.MinTimestamp != 1000 {
			t.Errorf("version %d: %+v", version, ev.Parts[0])
		}
		s.Produced(effect.Produced{
			To: ev.To, Code: kerr.NotLeaderForPartition.Code, BaseOffset: -1, AppendTime: -1, Message: "it moved",
			Leader: &effect.Leader{Broker: effect.Broker{ID: 3, Host: "there", Port: 9093}, Epoch: 8},
		}, &out)
		r := kmsg.NewPtrProduceResponse()
		r.Version = version
		if err := r.ReadFrom(body(t, out.Frames[0], 5, version >= 9)); err != nil {
			t.Fatal(err)
		}
		p := r.Topics[0].Partitions[0]
		if p.ErrorCode != kerr.NotLeaderForPartition.Code || (p.ErrorMessage != nil) != (version >= 8) {
			t.Errorf("version %d: %+v", version, p)
		}
		if version >= 10 && (p.CurrentLeader.LeaderID != 3 || p.CurrentLeader.LeaderEpoch != 8 || len(r.Brokers) != 1 || r.Brokers[0].Host != "there") {
			t.Errorf("version %d: leader %+v, endpoints %+v", version, p.CurrentLeader, r.Brokers)
		}
	}
}

func TestSpecialTimestampsNeedTheirVersion(t *testing.T) {
	for special, from := range map[int64]int16{-1: 1, -2: 1, -3: 7, -4: 8, -5: 9, -6: 11} {
		for version := int16(1); version <= 11; version++ {
			s, out := newSession(), Out{}
			in := kmsg.NewPtrListOffsetsRequest()
			topic := kmsg.NewListOffsetsRequestTopic()
			topic.Topic = "t"
			partition := kmsg.NewListOffsetsRequestTopicPartition()
			partition.Timestamp = special
			topic.Partitions = append(topic.Partitions, partition)
			in.Topics = append(in.Topics, topic)
			s.Receive(1000, frame(in, version, 5), &out)
			ev := out.Events[0].(*broker.ListOffsets)
			if asked := len(ev.Parts) == 1; asked != (version >= from) {
				t.Errorf("timestamp %d in version %d: asked %v", special, version, asked)
			}
			answer := &effect.OffsetsListed{}
			for range ev.Parts {
				answer.Parts = append(answer.Parts, effect.OffsetListed{Offset: 1, Timestamp: model.NoTimestamp})
			}
			s.Replied(effect.Reply{To: ev.To, Body: answer}, &out)
			r := kmsg.NewPtrListOffsetsResponse()
			r.Version = version
			if err := r.ReadFrom(body(t, out.Frames[0], 5, version >= 6)); err != nil {
				t.Fatal(err)
			}
			if code := r.Topics[0].Partitions[0].ErrorCode; (code == kerr.UnsupportedVersion.Code) != (version < from) {
				t.Errorf("timestamp %d in version %d: code %d", special, version, code)
			}
		}
	}
}
