package session

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

func newSession() *Session {
	c := DefaultConfig()
	c.ClusterID, c.NodeID, c.Advertised = "cluster", 1, effect.Broker{ID: 1, Host: "h", Port: 9092}
	s := New(&c, 7)
	s.ForNodes = true
	s.See(published())
	return s
}

// frame is a request as a client of another make would send it, without the length prefix.
func frame(r kmsg.Request, version int16, correlation int32) []byte {
	r.SetVersion(version)
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("tester"))
	return f.AppendRequest(nil, r, correlation)[4:]
}

// body is what stands behind a response's header, checked for its length prefix and correlation id.
func body(t *testing.T, f Frame, correlation int32, flexible bool) []byte {
	t.Helper()
	var b []byte
	for _, p := range f.Pieces {
		b = append(b, p.Bytes...)
	}
	if n := binary.BigEndian.Uint32(b); int(n) != len(b)-4 || f.LenBytes != len(b) {
		t.Fatalf("length prefix %d, LenBytes %d, %d bytes", n, f.LenBytes, len(b))
	}
	if c := int32(binary.BigEndian.Uint32(b[4:])); c != correlation {
		t.Fatalf("correlation id %d, want %d", c, correlation)
	}
	if flexible {
		return b[9:]
	}
	return b[8:]
}

func produceRequest(acks int16, batch []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = acks, 1000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "orders"
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = batch
	topic.Partitions = append(topic.Partitions, partition)
	r.Topics = append(r.Topics, topic)
	return r
}

func goodBatch() []byte {
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	b.Append(record.Record{Key: []byte("k"), Value: []byte("v"), Timestamp: 1000})
	return append([]byte(nil), b.Finish()...)
}

func TestEveryKeyOfTheTableIsDecodedInEveryVersionByItsHandler(t *testing.T) {
	for _, a := range apis {
		for v := a.ServedMin; v <= a.VersionMax; v++ {
			s, out := newSession(), Out{}
			if a.Peers == Nodes {
				s.peer = 2
			}
			r := kmsg.RequestForKey(int16(a.Key))
			if r == nil || a.Peers == Nodes {
				s.Receive(1000, nodeFrame(defaultRequest(a.Key, v), v, 5), &out)
				if out.Close != "" || len(out.Events)+len(out.Frames) != 1 {
					t.Errorf("%v version %d: %d events and %d responses, closed: %q", a.Key, v, len(out.Events), len(out.Frames), out.Close)
				}
				continue
			}
			if d, ok := r.(interface{ Default() }); ok {
				d.Default()
			}
			if av, ok := r.(*kmsg.ApiVersionsRequest); ok {
				av.ClientSoftwareName, av.ClientSoftwareVersion = "tester", "1.0"
			}
			if p, ok := r.(*kmsg.ProduceRequest); ok {
				p.Acks = -1
			}
			s.Receive(1000, frame(r, v, 5), &out)
			if out.Close != "" {
				t.Errorf("%v version %d: closed: %s", a.Key, v, out.Close)
			}
			if len(out.Events)+len(out.Frames) != 1 {
				t.Errorf("%v version %d: %d events and %d responses, want one of either", a.Key, v, len(out.Events), len(out.Frames))
			}
		}
	}
}

func TestTheTableAgreesWithTheCodec(t *testing.T) {
	for i, a := range apis {
		if i > 0 && apis[i-1].Key >= a.Key {
			t.Errorf("%v is out of order", a.Key)
		}
		if a.ServedMin < protocol.MinVersion(a.Key) || a.VersionMax > protocol.MaxVersion(a.Key) || a.VersionMin > a.ServedMin {
			t.Errorf("%v: served %d to %d, the codec has %d to %d", a.Key, a.ServedMin, a.VersionMax, protocol.MinVersion(a.Key), protocol.MaxVersion(a.Key))
		}
		if open := a.Resource == Nothing || a.Operation == None; open && a.Key != protocol.KeyAPIVersions {
			t.Errorf("%v needs no authorisation", a.Key)
		}
		if a.Operation.String() == "" || a.Resource.String() == "" || a.VersionMin != a.ServedMin && a.Note == "" {
			t.Errorf("%v cannot be documented", a.Key)
		}
	}
}

func TestResponsesLeaveInTheOrderOfRequests(t *testing.T) {
	s, out := newSession(), Out{}
	for i := range int32(3) {
		s.Receive(1000, frame(kmsg.NewPtrInitProducerIDRequest(), 4, i), &out)
	}
	answer := func(request uint64) {
		s.Replied(effect.Reply{To: effect.RequestID{Conn: 7, Request: request}, Body: &effect.ProducerIDAssigned{ID: model.ProducerID(request)}}, &out)
	}
	answer(2)
	answer(1)
	if len(out.Frames) != 0 || s.Parked() != 3 {
		t.Fatalf("%d responses left before the first request was answered", len(out.Frames))
	}
	answer(0)
	if len(out.Frames) != 3 || s.Parked() != 0 {
		t.Fatalf("%d responses left, %d parked", len(out.Frames), s.Parked())
	}
	for i, f := range out.Frames {
		r := kmsg.NewPtrInitProducerIDResponse()
		r.Version = 4
		if err := r.ReadFrom(body(t, f, int32(i), true)); err != nil || r.ProducerID != int64(i) {
			t.Errorf("response %d: producer id %d, %v", i, r.ProducerID, err)
		}
	}
}

func TestProduceIsAnsweredWhenEveryPartIs(t *testing.T) {
	s, out := newSession(), Out{}
	r := produceRequest(-1, goodBatch())
	second := kmsg.NewProduceRequestTopicPartition()
	second.Partition, second.Records = 1, goodBatch()
	r.Topics[0].Partitions = append(r.Topics[0].Partitions, second)
	s.Receive(1000, frame(r, 9, 5), &out)
	ev := out.Events[0].(*broker.Produce)
	if len(ev.Parts) != 2 || ev.Parts[1].Partition != 1 || ev.Parts[0].Topic.Name != "orders" || ev.Parts[0].Header.RecordCount != 1 {
		t.Fatalf("%+v", ev)
	}
	done := func(part int32, code int16) {
		s.Produced(effect.Produced{To: ev.To, Index: part, Code: code, BaseOffset: model.Offset(40 + part), AppendTime: -1}, &out)
	}
	done(1, 0)
	if len(out.Frames) != 0 {
		t.Fatal("answered with a part missing")
	}
	done(0, 0)
	if len(out.Frames) != 1 || len(out.Free) != 1 {
		t.Fatalf("%d responses, %d frames free; want 1 and 1", len(out.Frames), len(out.Free))
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = 9
	if err := resp.ReadFrom(body(t, out.Frames[0], 5, true)); err != nil {
		t.Fatal(err)
	}
	if p := resp.Topics[0].Partitions; p[0].BaseOffset != 40 || p[1].BaseOffset != 41 || p[1].ErrorCode != 0 {
		t.Errorf("%+v", p)
	}
}

func TestAFrameIsNotReusedWhenAPartOfItFailed(t *testing.T) {
	s, out := newSession(), Out{}
	s.Receive(1000, frame(produceRequest(-1, goodBatch()), 9, 5), &out)
	ev := out.Events[0].(*broker.Produce)
	s.Produced(effect.Produced{To: ev.To, Code: kerr.KafkaStorageError.Code, BaseOffset: -1, AppendTime: -1}, &out)
	if len(out.Frames) != 1 || len(out.Free) != 0 {
		t.Errorf("%d responses, %d frames free; want 1 and 0: storage may still hold the batch", len(out.Frames), len(out.Free))
	}
}

func TestAcksZeroIsNeverAnswered(t *testing.T) {
	s, out := newSession(), Out{}
	s.Receive(1000, frame(produceRequest(0, goodBatch()), 9, 5), &out)
	if len(out.Events) != 1 || len(out.Frames) != 0 || s.Parked() != 0 || out.Close != "" {
		t.Fatalf("%d events, %d responses, %d parked, close %q", len(out.Events), len(out.Frames), s.Parked(), out.Close)
	}
	out.Reset()
	s.Receive(1000, frame(produceRequest(0, []byte("nonsense")), 9, 6), &out)
	if len(out.Events) != 0 || out.Close == "" {
		t.Error("a bad batch with acks=0 must close the connection: there is no other way to tell")
	}
}

func TestABadBatchIsRefusedAndTheBrokerNeverSeesIt(t *testing.T) {
	flipped := goodBatch()
	flipped[len(flipped)-1] ^= 1
	for _, c := range []struct {
		name  string
		batch []byte
		code  int16
	}{
		{"a flipped bit", flipped, kerr.CorruptMessage.Code},
		{"nothing", nil, kerr.InvalidRecord.Code},
		{"half a batch", goodBatch()[:50], kerr.CorruptMessage.Code},
		{"two batches", append(goodBatch(), goodBatch()...), kerr.InvalidRecord.Code},
	} {
		s, out := newSession(), Out{}
		s.Receive(1000, frame(produceRequest(-1, c.batch), 9, 5), &out)
		if len(out.Events) != 0 || len(out.Frames) != 1 {
			t.Errorf("%s: %d events, %d responses", c.name, len(out.Events), len(out.Frames))
			continue
		}
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = 9
		if err := resp.ReadFrom(body(t, out.Frames[0], 5, true)); err != nil {
			t.Fatal(err)
		}
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode == 0 || p.ErrorMessage == nil {
			t.Errorf("%s: code %d", c.name, p.ErrorCode)
		}
		if p.ErrorCode != c.code {
			t.Errorf("%s: %v, want %v", c.name, kerr.ErrorForCode(p.ErrorCode), kerr.ErrorForCode(c.code))
		}
	}
}

func TestAnUnknownVersionOfApiVersionsIsAnsweredInVersion0(t *testing.T) {
	s, out := newSession(), Out{}
	f := frame(kmsg.NewPtrApiVersionsRequest(), 3, 9)
	binary.BigEndian.PutUint16(f[2:], 99)
	s.Receive(1000, f, &out)
	r := kmsg.NewPtrApiVersionsResponse()
	if err := r.ReadFrom(body(t, out.Frames[0], 9, false)); err != nil {
		t.Fatal(err)
	}
	if r.ErrorCode != kerr.UnsupportedVersion.Code || len(r.ApiKeys) != 1 || r.ApiKeys[0].ApiKey != 18 || r.ApiKeys[0].MaxVersion != 5 {
		t.Errorf("%+v", r)
	}
}

func TestApiVersionsTellsTheTable(t *testing.T) {
	for v := int16(0); v <= 5; v++ {
		s, out := newSession(), Out{}
		in := kmsg.NewPtrApiVersionsRequest()
		in.ClientSoftwareName, in.ClientSoftwareVersion = "tester", "1.0"
		s.Receive(1000, frame(in, v, 9), &out)
		r := kmsg.NewPtrApiVersionsResponse()
		r.Version = v
		if err := r.ReadFrom(body(t, out.Frames[0], 9, false)); err != nil {
			t.Fatal(err)
		}
		if r.ErrorCode != 0 || len(r.ApiKeys) != len(apis)-nodeKeyCount() {
			t.Errorf("version %d: %+v", v, r)
		}
	}
}

func TestWhatCannotBeUnderstoodClosesTheConnectionWithAReason(t *testing.T) {
	short := frame(kmsg.NewPtrMetadataRequest(), 9, 1)
	unknownKey := frame(kmsg.NewPtrMetadataRequest(), 9, 1)
	binary.BigEndian.PutUint16(unknownKey, 999)
	newer := frame(kmsg.NewPtrMetadataRequest(), 9, 1)
	binary.BigEndian.PutUint16(newer[2:], 77)
	acks := produceRequest(5, goodBatch())
	for name, c := range map[string]struct {
		frame  []byte
		reason string
	}{
		"an empty frame":        {nil, "header"},
		"half a body":           {short[:len(short)-2], "cannot be read"},
		"a key nobody has":      {unknownKey, "not served"},
		"a version nobody has":  {newer, "not served"},
		"acks out of range":     {frame(acks, 9, 1), "acks=5"},
		"a produce version 0":   {append([]byte{0, 0, 0, 0}, short[4:]...), "not served"},
		"a key we do not serve": {frame(kmsg.NewPtrVoteRequest(), 0, 1), "not served"},
	} {
		s, out := newSession(), Out{}
		s.Receive(1000, c.frame, &out)
		if out.Close == "" || !strings.Contains(out.Close, c.reason) || len(out.Events) != 0 {
			t.Errorf("%s: close %q, %d events; want a reason with %q", name, out.Close, len(out.Events), c.reason)
		}
		out.Reset()
		s.Receive(1000, frame(kmsg.NewPtrMetadataRequest(), 9, 1), &out)
		if len(out.Events)+len(out.Frames) != 0 {
			t.Errorf("%s: the connection goes on after it was closed", name)
		}
	}
}

// librdkafka 2.12 to 2.16 asks for all topics with an array length padded to four bytes, so that the fields that
// follow stand three bytes too late. Kafka reads what it understands and ignores the rest.
func TestBytesAfterAMessageAreIgnored(t *testing.T) {
	asked := []byte{
		0, 3, 0, 13, 0, 0, 0, 1, // Metadata, version 13, correlation id 1
		0, 7, 'r', 'd', 'k', 'a', 'f', 'k', 'a', 0, // client id, tags
		0, 0, 0, 0, // no array: all topics, in four bytes instead of one
		1, 0, 0, // allow auto creation, no authorized operations, tags
	}
	for name, f := range map[string][]byte{
		"librdkafka asks for all topics": asked,
		"a byte more":                    append(frame(kmsg.NewPtrMetadataRequest(), 9, 1), 0),
	} {
		s, out := newSession(), Out{}
		s.See(published(topicOf("orders", 1, 1, 1), topicOf("payments", 2, 1, 1)))
		s.Receive(1000, f, &out)
		if out.Close != "" || len(out.Events) != 0 || len(out.Frames) != 1 {
			t.Errorf("%s: close %q, %d events, %d responses", name, out.Close, len(out.Events), len(out.Frames))
			continue
		}
		version := int16(binary.BigEndian.Uint16(f[2:]))
		if r := metadataResponse(t, out.Frames[0], version); len(r.Topics) != 2 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestFetchAnswersWithRecordsAndReleasesRegionsOnce(t *testing.T) {
	s, out := newSession(), Out{}
	in := kmsg.NewPtrFetchRequest()
	in.MaxWaitMillis, in.MinBytes = 500, 1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "orders"
	topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
	in.Topics = append(in.Topics, topic)
	s.Receive(1000, frame(in, 11, 3), &out)
	ev := out.Events[0].(*broker.Fetch)
	region := &countedRegion{data: goodBatch()}
	s.Fetched(ev.To, &effect.FetchReply{Parts: []effect.FetchPart{{
		HighWatermark: 1, LastStableOffset: 1, Records: effect.Records{Regions: []effect.Region{region}},
	}}}, &out)
	f := out.Frames[0]
	total := 0
	for _, p := range f.Pieces {
		total += p.Len()
	}
	if total != f.LenBytes || region.released != 0 {
		t.Fatalf("%d bytes in pieces, %d said; released %d times before it was sent", total, f.LenBytes, region.released)
	}
	s.Recycle(f)
	if region.released != 1 {
		t.Errorf("released %d times", region.released)
	}

	// After the connection has gone, the records go nowhere and the region is released all the same.
	s.Receive(1000, frame(in, 11, 4), &out)
	s.Disconnect(&out)
	late := &countedRegion{data: goodBatch()}
	s.Fetched(effect.RequestID{Conn: 7, Request: 1}, &effect.FetchReply{Parts: []effect.FetchPart{{Records: effect.Records{Regions: []effect.Region{late}}}}}, &out)
	if late.released != 1 {
		t.Errorf("a late answer's region was released %d times", late.released)
	}
}

// An answer that waits behind an unanswered request when the connection goes is never sent.
func TestDisconnectReleasesRegionsOfAnswersThatWait(t *testing.T) {
	s, out := newSession(), Out{}
	in := kmsg.NewPtrFetchRequest()
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "orders"
	topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
	in.Topics = append(in.Topics, topic)
	s.Receive(1000, frame(in, 11, 3), &out)
	s.Receive(1000, frame(in, 11, 4), &out)
	second := out.Events[1].(*broker.Fetch)
	region := &countedRegion{data: goodBatch()}
	s.Fetched(second.To, &effect.FetchReply{Parts: []effect.FetchPart{{
		HighWatermark: 1, Records: effect.Records{Regions: []effect.Region{region}},
	}}}, &out)
	if len(out.Frames) != 0 || region.released != 0 {
		t.Fatal("the second answer did not wait for the first")
	}
	s.Disconnect(&out)
	if region.released != 1 {
		t.Errorf("released %d times", region.released)
	}
}

type countedRegion struct {
	data     []byte
	released int
}

func (r *countedRegion) Len() int                                { return len(r.data) }
func (r *countedRegion) ReadAt(p []byte, off int64) (int, error) { return copy(p, r.data[off:]), nil }
func (r *countedRegion) Release()                                { r.released++ }

// FuzzReceive sends anything: it may close the connection, never panic, and never answers twice.
func FuzzReceive(f *testing.F) {
	f.Add(frame(produceRequest(-1, goodBatch()), 9, 5))
	f.Add(frame(kmsg.NewPtrFetchRequest(), 12, 5))
	f.Add(frame(kmsg.NewPtrMetadataRequest(), 12, 5))
	f.Add(frame(kmsg.NewPtrApiVersionsRequest(), 3, 5))
	f.Add(frame(kmsg.NewPtrCreateTopicsRequest(), 7, 5))
	f.Add(frame(kmsg.NewPtrDeleteTopicsRequest(), 6, 5))
	f.Add(frame(kmsg.NewPtrListOffsetsRequest(), 7, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, out := newSession(), Out{}
		s.Receive(1000, append([]byte(nil), b...), &out)
		if n := len(out.Events) + len(out.Frames); n > 1 {
			t.Fatalf("%d events and responses to one request", n)
		}
	})
}

func BenchmarkProduceRoundTrip(b *testing.B) {
	s, out := newSession(), Out{}
	var builder record.Builder
	builder.Begin(record.NewOptions(record.CodecNone))
	for range 160 {
		builder.Append(record.Record{Value: make([]byte, 92), Timestamp: 1000})
	}
	f := frame(produceRequest(-1, builder.Finish()), 9, 5)
	b.SetBytes(int64(len(f)))
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		s.Receive(1000, f, &out)
		ev := out.Events[0].(*broker.Produce)
		s.Produced(effect.Produced{To: ev.To, BaseOffset: 1, AppendTime: -1}, &out)
		s.Recycle(out.Frames[0])
	}
}

func TestRefusalsOfAnyNameFitAResponseOfAnyVersion(t *testing.T) {
	longest := strings.Repeat("\x01", 1<<15-1) // what a string of the old versions can hold
	for _, c := range []struct {
		rule  string
		topic func(*kmsg.CreateTopicsRequestTopic)
	}{
		{"topic name", func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = longest }},
		{"configuration name", func(t *kmsg.CreateTopicsRequestTopic) {
			t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: longest, Value: kmsg.StringPtr("1")}}
		}},
		{"configuration value", func(t *kmsg.CreateTopicsRequestTopic) {
			t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr(longest)}}
		}},
		{"configuration choice", func(t *kmsg.CreateTopicsRequestTopic) {
			t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "cleanup.policy", Value: kmsg.StringPtr(longest)}}
		}},
	} {
		for version := int16(2); version <= 7; version++ {
			s, out := newSession(), Out{}
			r := kmsg.NewPtrCreateTopicsRequest()
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", 1, 1
			c.topic(&topic)
			r.Topics = append(r.Topics, topic)
			s.Receive(1000, frame(r, version, 5), &out)
			ev := out.Events[0].(*broker.CreateTopics)
			machine := controller.New(controller.Config{NodeID: 1, PartitionCountMax: 10, Node: metadata.DefaultNodeConfig()}, metadata.NewView(metadata.NewImage(), 1, metadata.DefaultNodeConfig()))
			var set effect.Set
			machine.Create(ev.To, ev.Topics, true, &set)
			s.Replied(set.Replies[0], &out)
			if len(out.Frames) != 1 {
				t.Fatalf("%s, version %d: no answer", c.rule, version)
			}
			answer := kmsg.NewPtrCreateTopicsResponse()
			answer.Version = version
			if err := answer.ReadFrom(body(t, out.Frames[0], 5, version >= 5)); err != nil || answer.Topics[0].ErrorCode == 0 {
				t.Errorf("%s, version %d: %v, code %d", c.rule, version, err, answer.Topics[0].ErrorCode)
			}
		}
	}
}

func TestAPartitionIsLookedUpOncePerRequest(t *testing.T) {
	s, out := newSession(), Out{}
	r := kmsg.NewPtrListOffsetsRequest()
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = "orders"
	for _, p := range []int32{0, 1, 0, 0} {
		partition := kmsg.NewListOffsetsRequestTopicPartition()
		partition.Partition, partition.Timestamp = p, 1000
		topic.Partitions = append(topic.Partitions, partition)
	}
	r.Topics = append(r.Topics, topic)
	s.Receive(1000, frame(r, 4, 5), &out)
	ev := out.Events[0].(*broker.ListOffsets)
	if len(ev.Parts) != 2 || ev.Parts[0].Index != 0 || ev.Parts[1].Index != 1 {
		t.Fatalf("the broker is asked for %+v", ev.Parts)
	}
	s.Replied(effect.Reply{To: ev.To, Body: &effect.OffsetsListed{Parts: []effect.OffsetListed{{Index: 0, Offset: 7}, {Index: 1, Offset: 8}}}}, &out)
	answer := kmsg.NewPtrListOffsetsResponse()
	answer.Version = 4
	if err := answer.ReadFrom(body(t, out.Frames[0], 5, false)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		code   int16
		offset int64
	}{{0, 7}, {0, 8}, {kerr.InvalidRequest.Code, -1}, {kerr.InvalidRequest.Code, -1}} {
		if p := answer.Topics[0].Partitions[i]; p.ErrorCode != want.code || p.Offset != want.offset {
			t.Errorf("part %d: %+v", i, p)
		}
	}
}

func TestAnIdleSessionKeepsLittleOfALargeRequest(t *testing.T) {
	s, out := newSession(), Out{}
	fetch := kmsg.NewPtrFetchRequest()
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "orders"
	for p := range int32(20_000) {
		partition := kmsg.NewFetchRequestTopicPartition()
		partition.Partition = p
		topic.Partitions = append(topic.Partitions, partition)
	}
	fetch.Topics = append(fetch.Topics, topic)
	s.Receive(1000, frame(fetch, 11, 5), &out)
	ev := out.Events[0].(*broker.Fetch)
	s.Fetched(ev.To, &effect.FetchReply{Parts: []effect.FetchPart{{Records: effect.Records{Bytes: make([]byte, 1<<20)}}}}, &out)
	s.Recycle(out.Frames[0])
	out.Reset()

	produce := kmsg.NewPtrProduceRequest()
	produce.Acks = -1
	target := kmsg.NewProduceRequestTopic()
	target.Topic = "orders"
	for p := range int32(20_000) {
		partition := kmsg.NewProduceRequestTopicPartition()
		partition.Partition, partition.Records = p, []byte{1}
		target.Partitions = append(target.Partitions, partition)
	}
	produce.Topics = append(produce.Topics, target)
	s.Receive(1000, frame(produce, 7, 6), &out)
	s.Recycle(out.Frames[0])

	if n := cap(s.fetch.Topics) + cap(s.produce.TopicData); n > 0 {
		t.Errorf("the requests are kept: %d topics", n)
	}
	for _, sl := range s.free {
		if cap(sl.fetched.places)+cap(sl.produced.places)+cap(sl.fetched.response.Responses)+cap(sl.produced.response.Responses) > 0 {
			t.Errorf("a slot keeps %d and %d places", cap(sl.fetched.places), cap(sl.produced.places))
		}
	}
	if len(s.writers) > 0 {
		t.Error("a response's buffer is kept")
	}
}

func TestAnIdleSessionLetsGoOfTheRecordsItSent(t *testing.T) {
	s, out := newSession(), Out{}
	fetch := kmsg.NewPtrFetchRequest()
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.Partitions = "orders", []kmsg.FetchRequestTopicPartition{kmsg.NewFetchRequestTopicPartition()}
	fetch.Topics = append(fetch.Topics, topic)
	s.Receive(1000, frame(fetch, 11, 5), &out)
	ev := out.Events[0].(*broker.Fetch)
	s.Fetched(ev.To, &effect.FetchReply{Parts: []effect.FetchPart{{Records: effect.Records{Bytes: make([]byte, 1<<20)}}}}, &out)
	s.Recycle(out.Frames[0])
	if r := s.free[0].fetched.response.Responses[:1][0].Partitions[:1][0].Records; r.Bytes != nil || r.Regions != nil {
		t.Errorf("the slot still refers to %d bytes of records", len(r.Bytes))
	}
}

func TestZstdNeedsProduceVersion7(t *testing.T) {
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecZstd))
	b.Append(record.Record{Value: make([]byte, 1000), Timestamp: 1000})
	batch := b.Finish()
	for version, want := range map[int16]int{6: 0, 7: 1} {
		s, out := newSession(), Out{}
		s.Receive(1000, frame(produceRequest(-1, append([]byte(nil), batch...)), version, 5), &out)
		if len(out.Events) != want {
			t.Errorf("version %d: %d batches reach the broker, want %d", version, len(out.Events), want)
		}
		if want > 0 {
			continue
		}
		r := kmsg.NewPtrProduceResponse()
		r.Version = version
		if err := r.ReadFrom(body(t, out.Frames[0], 5, false)); err != nil || r.Topics[0].Partitions[0].ErrorCode != kerr.UnsupportedCompressionType.Code {
			t.Errorf("version %d: %v, %+v", version, err, r)
		}
	}
}

func TestASoftwareNameOfAnyLengthIsNotKept(t *testing.T) {
	s, out := newSession(), Out{}
	r := kmsg.NewPtrApiVersionsRequest()
	r.ClientSoftwareName, r.ClientSoftwareVersion = strings.Repeat("x", 1<<20), "1"
	s.Receive(1000, frame(r, 3, 5), &out)
	answer := kmsg.NewPtrApiVersionsResponse()
	answer.Version = 3
	if err := answer.ReadFrom(body(t, out.Frames[0], 5, false)); err != nil || answer.ErrorCode != kerr.InvalidRequest.Code || s.SoftwareName != "" {
		t.Errorf("%v: code %d, a name of %d bytes is kept", err, answer.ErrorCode, len(s.SoftwareName))
	}
}

func TestTheBrokerCanHaveTheConnectionClosed(t *testing.T) {
	s, out := newSession(), Out{}
	s.Receive(1000, frame(produceRequest(0, goodBatch()), 9, 5), &out)
	out.Reset()
	s.HangUp("it was not taken", &out)
	if out.Close != "it was not taken" || len(out.Frames) != 0 {
		t.Errorf("close %q, %d responses", out.Close, len(out.Frames))
	}
	out.Reset()
	s.HangUp("again", &out)
	s.Receive(1000, frame(produceRequest(0, goodBatch()), 9, 6), &out)
	if out.Close != "" || len(out.Events) != 0 {
		t.Error("a closed session goes on")
	}
}
