package main

import (
	"sort"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// served is what there is. Metadata stops before topic ids, and Fetch before flexible frames.
var served = []struct{ key, low, high int16 }{
	{0, 3, 9}, {1, 4, 11}, {2, 1, 5}, {3, 1, 9}, {18, 0, 3}, {19, 2, 5}, {20, 1, 4}, {22, 0, 3},
}

// answer serves what is not on the hot path.
func (s *server) answer(req kmsg.Request) (kmsg.Response, error) {
	switch r := req.(type) {
	case *kmsg.ApiVersionsRequest:
		resp := kmsg.NewPtrApiVersionsResponse()
		for _, k := range served {
			a := kmsg.NewApiVersionsResponseApiKey()
			a.ApiKey, a.MinVersion, a.MaxVersion = k.key, k.low, k.high
			resp.ApiKeys = append(resp.ApiKeys, a)
		}
		return resp, nil
	case *kmsg.MetadataRequest:
		return s.metadata(r), nil
	case *kmsg.CreateTopicsRequest:
		resp := kmsg.NewPtrCreateTopicsResponse()
		for _, t := range r.Topics {
			rt := kmsg.NewCreateTopicsResponseTopic()
			rt.Topic = t.Topic
			if err := s.create(t.Topic, t.NumPartitions); err != nil {
				return nil, err
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil
	case *kmsg.DeleteTopicsRequest:
		resp := kmsg.NewPtrDeleteTopicsResponse()
		for _, t := range r.TopicNames {
			s.remove(t)
			rt := kmsg.NewDeleteTopicsResponseTopic()
			rt.Topic = kmsg.StringPtr(t)
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil
	case *kmsg.InitProducerIDRequest:
		resp := kmsg.NewPtrInitProducerIDResponse()
		s.mu.Lock()
		s.ids++
		resp.ProducerID = s.ids
		s.mu.Unlock()
		return resp, nil
	case *kmsg.ListOffsetsRequest:
		resp := kmsg.NewPtrListOffsetsResponse()
		for _, t := range r.Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.Timestamp, rp.LeaderEpoch = p.Partition, -1, 0
				switch part := s.partition(t.Topic, p.Partition); {
				case part == nil:
					rp.ErrorCode = codeUnknown
				case p.Timestamp == -1:
					_, _, rp.Offset, _ = part.run(0, 0)
				default:
					rp.Offset = 0
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil
	}
	return nil, errProtocol
}

func (s *server) metadata(r *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	s.mu.RLock()
	defer s.mu.RUnlock()
	resp := kmsg.NewPtrMetadataResponse()
	resp.ClusterID, resp.ControllerID = kmsg.StringPtr("floor"), 0
	b := kmsg.NewMetadataResponseBroker()
	b.Host, b.Port = s.addr.IP.String(), int32(s.addr.Port)
	resp.Brokers = append(resp.Brokers, b)
	var names []string
	for _, t := range r.Topics {
		names = append(names, *t.Topic)
	}
	if r.Topics == nil {
		for name := range s.topics {
			names = append(names, name)
		}
		sort.Strings(names)
	}
	for _, name := range names {
		t := kmsg.NewMetadataResponseTopic()
		t.Topic = kmsg.StringPtr(name)
		if s.topics[name] == nil {
			t.ErrorCode = codeUnknown
		}
		for i := range s.topics[name] {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Replicas, p.ISR = int32(i), []int32{0}, []int32{0}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
