package session

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

func fetchAnswer(t *testing.T, s *Session, version int16, reply *effect.FetchReply, in *kmsg.FetchRequest) (*broker.Fetch, *kmsg.FetchResponse) {
	t.Helper()
	out := Out{}
	s.Receive(1000, frame(in, version, 5), &out)
	if out.Close != "" || len(out.Events) != 1 {
		t.Fatalf("version %d: closed %q, %d events", version, out.Close, len(out.Events))
	}
	ev := out.Events[0].(*broker.Fetch)
	s.Fetched(ev.To, reply, &out)
	r := kmsg.NewPtrFetchResponse()
	r.Version = version
	if err := r.ReadFrom(body(t, out.Frames[0], 5, version >= 12)); err != nil {
		t.Fatal(err)
	}
	s.Recycle(out.Frames[0])
	return ev, r
}

func TestPollsOfASessionAreAnsweredByName(t *testing.T) {
	one, two := model.TopicID{15: 8}, model.TopicID{15: 9}
	for version := int16(7); version <= 18; version++ {
		in := kmsg.NewPtrFetchRequest()
		in.SessionID, in.SessionEpoch, in.MaxBytes = 77, 3, 1<<20
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic, topic.TopicID = "one", one
		partition := kmsg.NewFetchRequestTopicPartition()
		partition.Partition, partition.FetchOffset, partition.PartitionMaxBytes = 4, 44, 1000
		topic.Partitions = append(topic.Partitions, partition)
		in.Topics = append(in.Topics, topic)
		in.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "two", TopicID: two, Partitions: []int32{6, 7}}}

		part := func(topic model.TopicID, name string, partition model.Partition) effect.FetchPart {
			p := effect.FetchPart{
				Index: -1, Partition: model.TopicPartition{Topic: topic, Partition: partition},
				HighWatermark: 50, LastStableOffset: 50, LogStartOffset: 1, Records: effect.Records{Bytes: goodBatch()},
			}
			if version < 13 {
				p.TopicName = name
			}
			return p
		}
		unread, gone := part(one, "one", 1), part(two, "two", 2)
		unread.OnlyRecords, unread.Records = true, effect.Records{}
		gone.Code, gone.Records = kerr.FencedLeaderEpoch.Code, effect.Records{}
		gone.Leader = &effect.Leader{Broker: effect.Broker{ID: 1, Host: "here", Port: 9092}, Epoch: 6}
		ev, r := fetchAnswer(t, newSession(), version, &effect.FetchReply{
			SessionID: 77, Incremental: true, Parts: []effect.FetchPart{part(one, "one", 4), unread, part(one, "one", 5), gone},
		}, in)
		if ev.SessionID != 77 || ev.SessionEpoch != 3 || ev.ByID != (version >= 13) || len(ev.Parts) != 1 || ev.Parts[0].Offset != 44 || len(ev.Forget) != 2 ||
			ev.Forget[1].Partition != 7 || ev.Forget[0].Topic.ByID != ev.ByID {
			t.Fatalf("version %d: %+v", version, ev)
		}
		if r.SessionID != 77 || len(r.Topics) != 2 || len(r.Topics[0].Partitions) != 2 || len(r.Topics[1].Partitions) != 1 {
			t.Fatalf("version %d: %+v", version, r)
		}
		if version >= 13 && r.Topics[0].TopicID != one || version < 13 && r.Topics[0].Topic != "one" {
			t.Errorf("version %d: %+v", version, r.Topics[0])
		}
		if p := r.Topics[0].Partitions[1]; p.Partition != 5 || p.HighWatermark != 50 || len(p.RecordBatches) == 0 {
			t.Errorf("version %d: %+v", version, p)
		}
		fenced := r.Topics[1].Partitions[0]
		if fenced.ErrorCode != kerr.FencedLeaderEpoch.Code || fenced.Partition != 2 {
			t.Errorf("version %d: %+v", version, fenced)
		}
		if version >= 12 && (fenced.CurrentLeader.LeaderEpoch != 6 || fenced.CurrentLeader.LeaderID != 1) {
			t.Errorf("version %d: the leader is %+v", version, fenced.CurrentLeader)
		}
		if version >= 16 && (len(r.Brokers) != 1 || r.Brokers[0].Host != "here") {
			t.Errorf("version %d: endpoints %+v", version, r.Brokers)
		}
	}
}

func TestAFetchBeforeSessionsWantsNone(t *testing.T) {
	in := kmsg.NewPtrFetchRequest()
	in.MaxBytes = 1 << 20
	ev, _ := fetchAnswer(t, newSession(), 6, &effect.FetchReply{}, in)
	if ev.SessionEpoch != -1 || ev.SessionID != 0 {
		t.Errorf("%+v", ev)
	}
}

func TestADivergingEpochIsTold(t *testing.T) {
	in := kmsg.NewPtrFetchRequest()
	topic := kmsg.NewFetchRequestTopic()
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.LastFetchedEpoch = 3
	topic.Partitions = append(topic.Partitions, partition)
	in.Topics = append(in.Topics, topic)
	ev, r := fetchAnswer(t, newSession(), 13, &effect.FetchReply{Parts: []effect.FetchPart{
		{Diverging: &effect.EpochEnd{LeaderEpoch: 2, EndOffset: 9}},
	}}, in)
	if d := r.Topics[0].Partitions[0].DivergingEpoch; ev.Parts[0].LastFetchedEpoch != 3 || d.Epoch != 2 || d.EndOffset != 9 {
		t.Errorf("%+v, %+v", ev.Parts[0], d)
	}
}

// BenchmarkIdlePoll is a session's poll as a connection sees it: request frame in, response frame out.
func BenchmarkIdlePoll(b *testing.B) {
	s, out := newSession(), Out{}
	in := kmsg.NewPtrFetchRequest()
	in.SessionID, in.SessionEpoch, in.MaxBytes, in.MinBytes = 77, 3, 1<<20, 1
	f := frame(in, 17, 5)
	reply := &effect.FetchReply{SessionID: 77, Incremental: true}
	b.ReportAllocs()
	for b.Loop() {
		s.Receive(1000, f, &out)
		s.Fetched(out.Events[0].(*broker.Fetch).To, reply, &out)
		s.Recycle(out.Frames[0])
		out.Reset()
	}
}

// The loop sees of a very long list each partition that there is once.
func TestALongFetchIsSiftedBeforeTheLoop(t *testing.T) {
	for _, version := range []int16{11, 13} {
		s, out := newSession(), Out{}
		s.See(published(topicOf("many", 1, 100, 1), topicOf("few", 2, 1, 1)))
		in := kmsg.NewPtrFetchRequest()
		in.MaxWaitMillis, in.MinBytes = 500, 1
		name := func(topic string, id byte, partitions ...int32) {
			r := kmsg.NewFetchRequestTopic()
			r.Topic, r.TopicID = topic, [16]byte{id}
			for _, p := range partitions {
				one := kmsg.NewFetchRequestTopicPartition()
				one.Partition = p
				r.Partitions = append(r.Partitions, one)
			}
			in.Topics = append(in.Topics, r)
		}
		for i := range int32(fetchPartsMax) {
			name("many", 1, i%120, -1)
		}
		name("few", 2, 0, 0, 1)
		name("nobody", 9, 0)
		s.Receive(1000, frame(in, version, 3), &out)
		ev := out.Events[0].(*broker.Fetch)
		if len(ev.Parts) != 101 || ev.Wait != 0 || ev.SessionEpoch != -1 {
			t.Fatalf("version %d: the broker is asked for %d parts, to wait %d, with epoch %d", version, len(ev.Parts), ev.Wait, ev.SessionEpoch)
		}
		reply := &effect.FetchReply{}
		for i := range ev.Parts {
			reply.Parts = append(reply.Parts, effect.FetchPart{Index: ev.Parts[i].Index, HighWatermark: 7})
		}
		s.Fetched(ev.To, reply, &out)
		r := kmsg.NewPtrFetchResponse()
		r.Version = version
		if err := r.ReadFrom(body(t, out.Frames[0], 3, version >= 12)); err != nil {
			t.Fatal(err)
		}
		unknownTopic := kerr.UnknownTopicOrPartition.Code
		if version >= 13 {
			unknownTopic = kerr.UnknownTopicID.Code
		}
		codes := map[int16]int{}
		for i, topic := range r.Topics {
			for k, p := range topic.Partitions {
				if p.Partition != in.Topics[i].Partitions[k].Partition || (p.ErrorCode == 0) != (p.HighWatermark == 7) {
					t.Fatalf("version %d: part %d/%d is %+v", version, i, k, p)
				}
				codes[p.ErrorCode]++
			}
		}
		last := r.Topics[len(r.Topics)-1].Partitions[0].ErrorCode
		// Of 1024 times 0 to 119, 100 are there once; 160 are beyond the last partition.
		if codes[0] != 101 || codes[kerr.InvalidRequest.Code] != 1024-100-160+1 || last != unknownTopic {
			t.Errorf("version %d: %v, a topic that nobody has: %d", version, codes, last)
		}
	}
	s, out := newSession(), Out{}
	s.See(published(topicOf("many", 1, 2*fetchPartsMax, 1)))
	in := kmsg.NewPtrFetchRequest()
	in.MaxWaitMillis = 500
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "many"
	for i := range int32(2 * fetchPartsMax) {
		one := kmsg.NewFetchRequestTopicPartition()
		one.Partition = i
		topic.Partitions = append(topic.Partitions, one)
	}
	in.Topics = append(in.Topics, topic)
	in.SessionEpoch = 0
	s.Receive(1000, frame(in, 11, 3), &out)
	if ev := out.Events[0].(*broker.Fetch); len(ev.Parts) != 2*fetchPartsMax || ev.Wait == 0 || ev.SessionEpoch != 0 {
		t.Errorf("a long list of partitions that are all there: %d parts, wait %d, epoch %d", len(ev.Parts), ev.Wait, ev.SessionEpoch)
	}
}
