package node_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/session"
)

// Every administrative request in every version that is served, as another client encodes it, to a node that has a
// topic "t" of two partitions: each must be answered without an error, and the answer must be read whole.
func TestAdministrationInEveryVersion(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	cl := client(t, n)
	createTopic(t, cl, "t", 2)
	produce(t, cl, records("t", 10))
	id, fresh := topicID(t, n, "t"), 0
	requests := []func() (kmsg.Request, func(kmsg.Response) []int16){
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			r := kmsg.NewPtrMetadataRequest()
			r.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("t")}}
			r.IncludeTopicAuthorizedOperations = true
			return r, func(in kmsg.Response) []int16 {
				topic := in.(*kmsg.MetadataResponse).Topics[0]
				return []int16{topic.ErrorCode, int16(len(topic.Partitions) - 2)}
			}
		},
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			fresh++
			r := kmsg.NewPtrCreateTopicsRequest()
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprint("fresh", fresh), 1, 1
			topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr("1000")}}
			r.Topics = append(r.Topics, topic)
			return r, func(in kmsg.Response) []int16 { return []int16{in.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode} }
		},
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			fresh++
			name := fmt.Sprint("gone", fresh)
			createTopic(t, cl, name, 1)
			r := kmsg.NewPtrDeleteTopicsRequest()
			r.TopicNames = []string{name}
			topic := kmsg.NewDeleteTopicsRequestTopic()
			topic.Topic = kmsg.StringPtr(name)
			r.Topics = append(r.Topics, topic)
			return r, func(in kmsg.Response) []int16 { return []int16{in.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode} }
		},
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			r := kmsg.NewPtrDeleteRecordsRequest()
			r.TimeoutMillis = 5000
			topic := kmsg.NewDeleteRecordsRequestTopic()
			topic.Topic = "t"
			topic.Partitions = []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: 1}}
			r.Topics = append(r.Topics, topic)
			return r, func(in kmsg.Response) []int16 {
				p := in.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0]
				return []int16{p.ErrorCode, int16(p.LowWatermark - 1)}
			}
		},
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			r := kmsg.NewPtrOffsetForLeaderEpochRequest()
			r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{
				Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{Partition: 1, CurrentLeaderEpoch: -1, LeaderEpoch: 0}},
			}}
			return r, func(in kmsg.Response) []int16 {
				return []int16{in.(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0].ErrorCode}
			}
		},
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			r := kmsg.NewPtrDescribeConfigsRequest()
			r.IncludeSynonyms, r.IncludeDocumentation = true, true
			r.Resources = []kmsg.DescribeConfigsRequestResource{
				{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}, {ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
			}
			return r, func(in kmsg.Response) []int16 {
				d := in.(*kmsg.DescribeConfigsResponse)
				for i := range d.Resources {
					if c := d.Resources[i].Configs; len(c) < 10 || len(c[0].ConfigSynonyms) == 0 || d.Version >= 3 && (c[0].Documentation == nil || c[0].ConfigType == 0) {
						t.Errorf("DescribeConfigs version %d: %+v", d.Version, c)
					}
				}
				return []int16{d.Resources[0].ErrorCode, d.Resources[1].ErrorCode}
			}
		},
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			r := kmsg.NewPtrAlterConfigsRequest()
			r.Resources = []kmsg.AlterConfigsRequestResource{{
				ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t",
				Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: kmsg.StringPtr("86400000")}},
			}}
			return r, func(in kmsg.Response) []int16 { return []int16{in.(*kmsg.AlterConfigsResponse).Resources[0].ErrorCode} }
		},
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			r := kmsg.NewPtrIncrementalAlterConfigsRequest()
			r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{
				ResourceType: kmsg.ConfigResourceTypeBroker,
				Configs:      []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "log.segment.bytes", Value: kmsg.StringPtr("1048576")}},
			}}
			return r, func(in kmsg.Response) []int16 {
				return []int16{in.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode}
			}
		},
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			fresh++
			name := fmt.Sprint("more", fresh)
			createTopic(t, cl, name, 1)
			r := kmsg.NewPtrCreatePartitionsRequest()
			r.Topics = []kmsg.CreatePartitionsRequestTopic{{
				Topic: name, Count: 3, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: []int32{1}}, {Replicas: []int32{1}}},
			}}
			return r, func(in kmsg.Response) []int16 {
				return []int16{in.(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode}
			}
		},
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			r := kmsg.NewPtrDescribeClusterRequest()
			return r, func(in kmsg.Response) []int16 {
				c := in.(*kmsg.DescribeClusterResponse)
				return []int16{c.ErrorCode, int16(len(c.Brokers) - 1)}
			}
		},
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			r := kmsg.NewPtrListConfigResourcesRequest()
			return r, func(in kmsg.Response) []int16 {
				c := in.(*kmsg.ListConfigResourcesResponse)
				if listed := len(c.ConfigResources) > 1; listed != (c.Version >= 1) {
					t.Errorf("version %d lists %+v", c.Version, c.ConfigResources)
				}
				return []int16{c.ErrorCode}
			}
		},
		func() (kmsg.Request, func(kmsg.Response) []int16) {
			r := kmsg.NewPtrDescribeTopicPartitionsRequest()
			r.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}}
			r.ResponsePartitionLimit = 1
			return r, func(in kmsg.Response) []int16 {
				c := in.(*kmsg.DescribeTopicPartitionsResponse)
				if c.NextCursor == nil || c.NextCursor.Partition != 1 || c.Topics[0].TopicID != id {
					t.Errorf("%+v", c)
				}
				return []int16{c.Topics[0].ErrorCode, int16(len(c.Topics[0].Partitions) - 1)}
			}
		},
	}
	served := make(map[int16]session.API)
	for _, a := range session.APIs() {
		served[int16(a.Key)] = a
	}
	w := dial(t, n)
	for _, make := range requests {
		r, _ := make()
		a, ok := served[r.Key()]
		if !ok {
			t.Fatalf("key %d is not served", r.Key())
		}
		for version := a.ServedMin; version <= a.VersionMax; version++ {
			r, codes := make()
			r.SetVersion(version)
			if _, err := w.Write(w.frame(r)); err != nil {
				t.Fatal(err)
			}
			_, body := w.receive()
			if r.IsFlexible() {
				body = body[1:] // the header's tags
			}
			in := r.ResponseKind()
			if err := in.ReadFrom(body); err != nil {
				t.Fatalf("%v version %d: %v", a.Key, version, err)
			}
			if again := in.AppendTo(nil); !bytes.Equal(again, body) {
				t.Errorf("%v version %d: encoded as %d bytes, another encodes it as %d", a.Key, version, len(body), len(again))
			}
			for _, code := range codes(in) {
				if code != 0 {
					t.Errorf("%v version %d: %v: %+v", a.Key, version, kerr.ErrorForCode(code), in)
				}
			}
		}
	}
}

func topicID(t *testing.T, n *testNode, topic string) [16]byte {
	t.Helper()
	r := kmsg.NewPtrMetadataRequest()
	r.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr(topic)}}
	resp, err := r.RequestWith(testContext(t), client(t, n))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Topics[0].TopicID
}
