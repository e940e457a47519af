package session

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// published is what a broker shows after some records of the metadata log.
func published(records ...[]protocol.Record) *broker.Published {
	d := metadata.NewImage().Edit()
	for _, r := range slices.Concat(records...) {
		if err := d.Record(r); err != nil {
			panic(err)
		}
	}
	image, _ := d.Seal(1)
	return broker.NewPublished(metadata.NewView(image, 1, metadata.DefaultNodeConfig()))
}

// topicOf is a topic of some partitions with the same replicas, led by the first.
func topicOf(name string, id byte, partitionCount int, replicas ...int32) []protocol.Record {
	out := []protocol.Record{&protocol.TopicRecord{Name: name, TopicID: [16]byte{id}}}
	for i := range partitionCount {
		p := new(protocol.PartitionRecord)
		p.Default()
		p.TopicID, p.PartitionID, p.Replicas, p.Isr, p.Leader = [16]byte{id}, int32(i), replicas, replicas, replicas[0]
		p.LeaderEpoch, p.PartitionEpoch = 3, 4
		out = append(out, p)
	}
	return out
}

func brokerOf(id int32, host string, fenced bool) []protocol.Record {
	b := new(protocol.RegisterBrokerRecord)
	b.Default()
	b.BrokerID, b.BrokerEpoch, b.Fenced = id, int64(id), fenced
	b.EndPoints = []protocol.RegisterBrokerRecordEndpoint{{Name: "CLIENTS", Host: host, Port: 9092}}
	return []protocol.Record{b}
}

func setting(kind int8, resource, name, value string) []protocol.Record {
	return []protocol.Record{&protocol.ConfigRecord{ResourceType: kind, ResourceName: resource, Name: name, Value: protocol.String(value)}}
}

func damaged(p *broker.Published, id byte, index model.Partition) *broker.Published {
	return broker.NewPublished(p.View, model.TopicPartition{Topic: model.TopicID{id}, Partition: index})
}

func metadataRequest(names ...string) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(name)
		r.Topics = append(r.Topics, topic)
	}
	return r
}

func metadataResponse(t *testing.T, f Frame, version int16) *kmsg.MetadataResponse {
	t.Helper()
	r := kmsg.NewPtrMetadataResponse()
	r.Version = version
	b := wholeBody(f)
	if version >= 9 {
		b = b[1:]
	}
	if err := r.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	return r
}

// wholeBody is what stands behind the correlation id.
func wholeBody(f Frame) []byte {
	var b []byte
	for _, p := range f.Pieces {
		b = append(b, p.Bytes...)
	}
	return b[8:]
}

// ask sends a request and expects its response at once: the broker is not asked.
func ask(t *testing.T, s *Session, r kmsg.Request, version int16) Frame {
	t.Helper()
	var out Out
	s.Receive(1000, frame(r, version, 1), &out)
	if len(out.Events) != 0 || len(out.Frames) != 1 {
		t.Fatalf("%d events, %d responses, close %q", len(out.Events), len(out.Frames), out.Close)
	}
	return out.Frames[0]
}

func TestMetadataOfAllTopicsNoneOrSome(t *testing.T) {
	for _, c := range []struct {
		rule    string
		version int16
		topics  []kmsg.MetadataRequestTopic
		count   int
	}{
		{"version 0 asks for all with an empty list", 0, []kmsg.MetadataRequestTopic{}, 2},
		{"version 1 asks for all with null", 1, nil, 2},
		{"version 1 asks for none with an empty list", 1, []kmsg.MetadataRequestTopic{}, 0},
		{"version 12 asks for all with null", 12, nil, 2},
		{"version 12 asks for one by name", 12, metadataRequest("b").Topics, 1},
		{"version 12 asks for one by id", 12, []kmsg.MetadataRequestTopic{{TopicID: [16]byte{2}}}, 1},
	} {
		s := newSession()
		s.See(published(topicOf("a", 1, 1, 1), topicOf("b", 2, 1, 1)))
		r := kmsg.NewPtrMetadataRequest()
		r.Topics = c.topics
		got := metadataResponse(t, ask(t, s, r, c.version), c.version).Topics
		if len(got) != c.count || c.count == 1 && (*got[0].Topic != "b" || got[0].TopicID != [16]byte{2}) {
			t.Errorf("%s: %+v", c.rule, got)
		}
	}
}

func TestMetadataIsUnderstoodByOthersInEveryVersion(t *testing.T) {
	for v := int16(0); v <= 13; v++ {
		s := newSession()
		s.See(published(topicOf("orders", 1, 2, 1), setting(metadata.NodeResource, "", "auto.create.topics.enable", "false")))
		r := metadataResponse(t, ask(t, s, metadataRequest("orders", "gone", "bad/name"), v), v)
		if len(r.Topics) != 3 || *r.Topics[0].Topic != "orders" || len(r.Topics[0].Partitions) != 2 || r.Topics[0].Partitions[1].Leader != 1 ||
			r.Topics[1].ErrorCode != kerr.UnknownTopicOrPartition.Code || r.Topics[2].ErrorCode != kerr.InvalidTopicException.Code {
			t.Errorf("version %d: %+v", v, r)
		}
		if len(r.Brokers) != 1 || r.Brokers[0].Host != "h" || v >= 1 && r.ControllerID != 1 || v >= 2 && *r.ClusterID != "cluster" {
			t.Errorf("version %d: %+v", v, r)
		}
		if v >= 10 && r.Topics[0].TopicID != [16]byte{1} || v >= 7 && r.Topics[0].Partitions[0].LeaderEpoch != 3 {
			t.Errorf("version %d: %+v", v, r.Topics[0])
		}
	}
	s := newSession()
	byID := kmsg.NewPtrMetadataRequest()
	byID.Topics = []kmsg.MetadataRequestTopic{{TopicID: [16]byte{9}}, {}}
	r := metadataResponse(t, ask(t, s, byID, 12), 12)
	if r.Topics[0].ErrorCode != kerr.UnknownTopicID.Code || r.Topics[0].TopicID != [16]byte{9} || r.Topics[1].ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("ids that nobody has: %+v", r.Topics)
	}
}

func TestATopicNamedAgainAndAgainIsDescribedOnce(t *testing.T) {
	for _, version := range []int16{0, 4, 9, 13} {
		s := newSession()
		s.See(published(topicOf("orders", 1, 1, 1), topicOf("payments", 2, 1, 1)))
		var names []string
		for range 1000 {
			names = append(names, "payments", "orders")
		}
		got := metadataResponse(t, ask(t, s, metadataRequest(names...), version), version).Topics
		if len(got) != 2 || *got[0].Topic != "payments" || *got[1].Topic != "orders" {
			t.Errorf("version %d: %d topics", version, len(got))
		}
	}
}

// What is to be created goes to the broker; the answer is of what is there when it comes back.
func TestTopicsThatAreMissingAreMadeIfThatIsWantedAndAllowed(t *testing.T) {
	there := topicOf("there", 1, 1, 1)
	for _, c := range []struct {
		rule    string
		version int16
		wants   bool
		allowed string
		asks    bool
	}{
		{"wanted and allowed", 9, true, "true", true},
		{"not wanted", 9, false, "true", false},
		{"not allowed", 9, true, "false", false},
		{"before version 4 it is always wanted", 3, false, "true", true},
	} {
		s, out := newSession(), Out{}
		s.See(published(there, setting(metadata.NodeResource, "", "auto.create.topics.enable", c.allowed)))
		r := metadataRequest("there", "new", "bad/name")
		r.AllowAutoTopicCreation = c.wants
		s.Receive(1000, frame(r, c.version, 1), &out)
		if asks := len(out.Events) == 1; asks != c.asks || asks == (len(out.Frames) == 1) {
			t.Errorf("%s: %d events, %d responses", c.rule, len(out.Events), len(out.Frames))
			continue
		}
		if c.asks {
			ev := out.Events[0].(*broker.EnsureTopics)
			if !slices.Equal(ev.Names, []string{"new"}) {
				t.Errorf("%s: %v are to be made", c.rule, ev.Names)
			}
			s.See(published(there, topicOf("new", 2, 3, 1)))
			s.Replied(effect.Reply{To: ev.To, Body: &effect.TopicsEnsured{}}, &out)
		}
		got := metadataResponse(t, out.Frames[0], c.version).Topics
		made := got[1].ErrorCode == 0 && len(got[1].Partitions) == 3
		if len(got) != 3 || got[0].ErrorCode != 0 || made != c.asks || got[2].ErrorCode != kerr.InvalidTopicException.Code {
			t.Errorf("%s: %+v", c.rule, got)
		}
	}
}

// No client is sent to a leader that cannot answer it.
func TestWhoCannotAnswerIsNotTheLeader(t *testing.T) {
	alone := published(topicOf("t", 1, 2, 1))
	three := published(topicOf("t", 1, 2, 1, 2, 3), brokerOf(1, "one", false), brokerOf(2, "two", false), brokerOf(3, "three", false))
	fenced := published(topicOf("t", 1, 2, 1, 2, 3), brokerOf(1, "one", true), brokerOf(2, "two", false))
	elsewhere := published(topicOf("t", 1, 2, 2, 1), brokerOf(1, "one", false), brokerOf(2, "two", false))
	for _, c := range []struct {
		rule    string
		p       *broker.Published
		leader  int32
		offline []int32
		brokers []int32
	}{
		{"a node alone", alone, 1, nil, []int32{1}},
		{"a node alone whose copy is damaged", damaged(alone, 1, 1), -1, []int32{1}, []int32{1}},
		{"another partition is damaged", damaged(alone, 1, 0), 1, nil, []int32{1}},
		{"all are up", three, 1, nil, []int32{1, 2, 3}},
		{"the copy here is damaged", damaged(three, 1, 1), -1, []int32{1}, []int32{1, 2, 3}},
		{"the leader is fenced, and one has never come", fenced, -1, []int32{1, 3}, []int32{2}},
		{"a copy that does not lead is damaged", damaged(elsewhere, 1, 1), 2, []int32{1}, []int32{1, 2}},
	} {
		s := newSession()
		s.config.Listener = "CLIENTS"
		s.See(c.p)
		r := metadataResponse(t, ask(t, s, metadataRequest("t"), 9), 9)
		p, code := r.Topics[0].Partitions[1], int16(0)
		if c.leader == -1 {
			code = kerr.LeaderNotAvailable.Code
		}
		var ids []int32
		for _, b := range r.Brokers {
			ids = append(ids, b.NodeID)
		}
		if p.Leader != c.leader || p.ErrorCode != code || !slices.Equal(p.OfflineReplicas, c.offline) || !slices.Equal(ids, c.brokers) || r.Topics[0].ErrorCode != 0 {
			t.Errorf("%s: %+v of brokers %v", c.rule, p, ids)
		}
		page := ask(t, s, kmsg.NewPtrDescribeTopicPartitionsRequest(), 0)
		again := kmsg.NewPtrDescribeTopicPartitionsResponse()
		if err := again.ReadFrom(wholeBody(page)[1:]); err != nil {
			t.Fatal(err)
		}
		if q := again.Topics[0].Partitions[1]; q.LeaderID != c.leader || q.ErrorCode != code || !slices.Equal(q.OfflineReplicas, c.offline) || q.EligibleLeaderReplicas == nil {
			t.Errorf("%s: a page says %+v", c.rule, q)
		}
	}
}

func TestPagesTogetherAreEverythingOnce(t *testing.T) {
	var all []string
	var records [][]protocol.Record
	for i, name := range []string{"a", "b", "c", "d"} {
		records = append(records, topicOf(name, byte(i+1), 2*i+1, 1))
		for p := range 2*i + 1 {
			all = append(all, fmt.Sprintf("%s/%d", name, p))
		}
	}
	s := newSession()
	s.See(published(records...))
	for limit := range int32(20) {
		for _, names := range [][]string{nil, {"d", "a", "c", "b", "a"}} {
			var got []string
			r := kmsg.NewPtrDescribeTopicPartitionsRequest()
			r.ResponsePartitionLimit = limit
			for _, name := range names {
				r.Topics = append(r.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
			}
			for pages := 0; ; pages++ {
				if pages > len(all) {
					t.Fatalf("limit %d: pages without end", limit)
				}
				page := describePage(t, s, r)
				count := 0
				for _, topic := range page.Topics {
					for _, p := range topic.Partitions {
						got = append(got, fmt.Sprintf("%s/%d", *topic.Topic, p.Partition))
						count++
					}
				}
				if count > max(1, int(limit)) {
					t.Errorf("limit %d: a page of %d", limit, count)
				}
				if page.NextCursor == nil {
					break
				}
				r.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: page.NextCursor.Topic, Partition: page.NextCursor.Partition}
			}
			if !slices.Equal(got, all) {
				t.Errorf("limit %d: %v", limit, got)
			}
		}
	}
	r := kmsg.NewPtrDescribeTopicPartitionsRequest()
	r.ResponsePartitionLimit = 100
	r.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "a", Partition: 9}
	for _, name := range []string{"a", "nobody", "a b"} {
		r.Topics = append(r.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
	}
	page := describePage(t, s, r)
	if len(page.Topics) != 3 || len(page.Topics[0].Partitions) != 0 || page.Topics[1].ErrorCode != kerr.InvalidTopicException.Code ||
		page.Topics[2].ErrorCode != kerr.UnknownTopicOrPartition.Code || page.NextCursor != nil {
		t.Errorf("%+v", page)
	}
}

func describePage(t *testing.T, s *Session, r *kmsg.DescribeTopicPartitionsRequest) *kmsg.DescribeTopicPartitionsResponse {
	t.Helper()
	page := kmsg.NewPtrDescribeTopicPartitionsResponse()
	if err := page.ReadFrom(wholeBody(ask(t, s, r, 0))[1:]); err != nil {
		t.Fatal(err)
	}
	return page
}

func TestResourcesAreListed(t *testing.T) {
	s := newSession()
	s.See(published(topicOf("t", 1, 1, 1)))
	list := func(version int16, kinds ...int8) *kmsg.ListConfigResourcesResponse {
		r := kmsg.NewPtrListConfigResourcesRequest()
		r.ResourceTypes = kinds
		out := kmsg.NewPtrListConfigResourcesResponse()
		out.Version = version
		if err := out.ReadFrom(wholeBody(ask(t, s, r, version))[1:]); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := list(1).ConfigResources; len(got) != 2 || got[0].Name != "t" || got[0].Type != 2 || got[1].Name != "1" || got[1].Type != 4 {
		t.Errorf("everything: %+v", got)
	}
	if got := list(1, metadata.NodeResource).ConfigResources; len(got) != 1 || got[0].Name != "1" {
		t.Errorf("brokers: %+v", got)
	}
	if got := list(0); len(got.ConfigResources) != 0 || got.ErrorCode != 0 {
		t.Errorf("version 0: %+v", got)
	}
	if got := list(1, 99); got.ErrorCode != kerr.UnsupportedVersion.Code {
		t.Errorf("a kind that nobody has: %+v", got)
	}
}

func TestConfigurationsAreDescribedFromWhatIsPublished(t *testing.T) {
	s := newSession()
	s.config.Fixed = []effect.ConfigEntry{{Name: "log.dirs", Value: "/data", ReadOnly: true, Source: effect.FromFile}}
	s.See(published(topicOf("t", 1, 1, 1), setting(metadata.TopicResource, "t", "retention.ms", "7"),
		setting(metadata.NodeResource, "", "log.segment.bytes", "5000"), setting(metadata.NodeResource, "1", "num.partitions", "4")))
	for _, c := range []struct {
		rule       string
		kind       int8
		name, key  string
		code       int16
		value      string
		source     effect.ConfigSource
		isReadOnly bool
	}{
		{"set for the topic", 2, "t", "retention.ms", 0, "7", effect.FromTopic, false},
		{"set for every node", 2, "t", "segment.bytes", 0, "5000", effect.FromEveryNode, false},
		{"set by nobody", 2, "t", "segment.ms", 0, strconv.Itoa(7 * 24 * 3600 * 1000), effect.FromDefault, false},
		{"set for the node", 4, "1", "num.partitions", 0, "4", effect.FromNode, false},
		{"fixed", 4, "1", "log.dirs", 0, "/data", effect.FromFile, true},
		{"of every node", 4, "", "log.segment.bytes", 0, "5000", effect.FromEveryNode, false},
		{"a topic that nobody has", 2, "nobody", "retention.ms", kerr.UnknownTopicOrPartition.Code, "", 0, false},
		{"a name that no topic has", 2, "a b", "retention.ms", kerr.InvalidTopicException.Code, "", 0, false},
		{"another node", 4, "2", "num.partitions", kerr.InvalidRequest.Code, "", 0, false},
		{"another resource", 16, "x", "a", kerr.InvalidRequest.Code, "", 0, false},
	} {
		r := kmsg.NewPtrDescribeConfigsRequest()
		one := kmsg.NewDescribeConfigsRequestResource()
		one.ResourceType, one.ResourceName, one.ConfigNames = kmsg.ConfigResourceType(c.kind), c.name, []string{c.key}
		r.Resources = append(r.Resources, one, one)
		r.IncludeSynonyms = true
		got := kmsg.NewPtrDescribeConfigsResponse()
		got.Version = 4
		if err := got.ReadFrom(wholeBody(ask(t, s, r, 4))[1:]); err != nil {
			t.Fatal(err)
		}
		if len(got.Resources) != 1 || got.Resources[0].ErrorCode != c.code {
			t.Errorf("%s: %+v", c.rule, got.Resources)
			continue
		}
		if c.code != 0 {
			if got.Resources[0].ErrorMessage == nil {
				t.Errorf("%s: it does not say why", c.rule)
			}
			continue
		}
		e := got.Resources[0].Configs
		if len(e) != 1 || e[0].Name != c.key || *e[0].Value != c.value || int8(e[0].Source) != int8(c.source) || e[0].ReadOnly != c.isReadOnly {
			t.Errorf("%s: %+v", c.rule, e)
		}
	}
}

func TestFencedBrokersAreShownOnRequest(t *testing.T) {
	s := newSession()
	s.config.Listener = "CLIENTS"
	s.See(published(brokerOf(1, "one", false), brokerOf(2, "two", true), brokerOf(3, "three", false)))
	for _, fenced := range []bool{false, true} {
		r := kmsg.NewPtrDescribeClusterRequest()
		r.EndpointType, r.IncludeFencedBrokers = 1, fenced
		got := kmsg.NewPtrDescribeClusterResponse()
		got.Version = 2
		if err := got.ReadFrom(wholeBody(ask(t, s, r, 2))[1:]); err != nil {
			t.Fatal(err)
		}
		shown := ""
		for _, b := range got.Brokers {
			shown += fmt.Sprintf("%d %s %t, ", b.NodeID, b.Host, b.IsFenced)
		}
		want := "1 h false, 3 three false, "
		if fenced {
			want += "2 two true, "
		}
		if shown != want || got.ControllerID != 1 {
			t.Errorf("fenced %t: %s", fenced, shown)
		}
	}
}

// A description waits for the answers to what was asked before it, like any other response.
func TestADescriptionKeepsItsPlace(t *testing.T) {
	s, out := newSession(), Out{}
	s.Receive(1000, frame(kmsg.NewPtrInitProducerIDRequest(), 4, 0), &out)
	s.Receive(1000, frame(metadataRequest(), 9, 1), &out)
	if len(out.Frames) != 0 || s.Parked() != 2 {
		t.Fatalf("%d responses before their turn", len(out.Frames))
	}
	s.Replied(effect.Reply{To: effect.RequestID{Conn: 7}, Body: &effect.ProducerIDAssigned{}}, &out)
	if len(out.Frames) != 2 || out.Frames[0].Key != protocol.KeyInitProducerID || out.Frames[1].Key != protocol.KeyMetadata {
		t.Errorf("%d responses", len(out.Frames))
	}
}

func BenchmarkMetadataOfManyPartitions(b *testing.B) {
	s, out := newSession(), Out{}
	s.See(published(topicOf("many", 1, 5000, 1)))
	request := frame(metadataRequest("many"), 12, 1)
	b.ReportAllocs()
	for b.Loop() {
		s.Receive(1000, request, &out)
		s.Recycle(out.Frames[0])
		out.Reset()
	}
}
