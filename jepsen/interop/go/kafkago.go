package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

type kafkaGo struct {
	brokers []string
	client  *kafka.Client
	dialer  *kafka.Dialer
	id      string
}

func newKafkaGo(brokers []string, id string) *kafkaGo {
	return &kafkaGo{
		brokers: brokers, id: id,
		client: &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: patience, Transport: &kafka.Transport{ClientID: id, MetadataTTL: time.Second}},
		dialer: &kafka.Dialer{ClientID: id, Timeout: 10 * time.Second},
	}
}

func (k *kafkaGo) answer(r *request) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch r.Op {
	case "create_topic":
		topic := kafka.TopicConfig{Topic: r.Topic, NumPartitions: r.number(r.Partitions), ReplicationFactor: 1}
		for name, v := range r.Configs {
			topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: v})
		}
		got, err := k.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
		if err == nil {
			err = got.Errors[r.Topic]
		}
		return result{}, err
	case "list_topics", "describe_topic", "describe_cluster":
		return k.metadata(ctx, r)
	case "delete_topic":
		got, err := k.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{r.Topic}})
		if err == nil {
			err = got.Errors[r.Topic]
		}
		return result{}, err
	case "create_partitions":
		got, err := k.client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: r.Topic, Count: int32(r.number(r.Count))}}})
		if err == nil {
			err = got.Errors[r.Topic]
		}
		return result{}, err
	case "describe_configs":
		got, err := k.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: r.Topic}}})
		if err != nil {
			return nil, err
		}
		configs := map[string]string{}
		for _, resource := range got.Resources {
			if resource.Error != nil {
				return nil, resource.Error
			}
			for _, c := range resource.ConfigEntries {
				configs[c.ConfigName] = c.ConfigValue
			}
		}
		return result{"configs": configs}, nil
	case "alter_configs":
		resource := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: r.Topic}
		for name, v := range r.Configs {
			resource.Configs = append(resource.Configs, kafka.IncrementalAlterConfigsRequestConfig{Name: name, Value: v, ConfigOperation: kafka.ConfigOperationSet})
		}
		got, err := k.client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{resource}})
		if err == nil {
			err = got.Resources[0].Error
		}
		return result{}, err
	case "offsets":
		return k.offsets(ctx, r)
	case "produce":
		return k.produce(ctx, r)
	case "consume":
		return k.consume(ctx, r)
	case "committed":
		return k.committed(ctx, r)
	case "list_groups":
		got, err := k.client.ListGroups(ctx, &kafka.ListGroupsRequest{})
		if err != nil {
			return nil, err
		}
		names := []string{}
		for _, g := range got.Groups {
			names = append(names, g.GroupID)
		}
		return result{"groups": names}, got.Error
	case "describe_group":
		got, err := k.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{r.Group}})
		if err != nil {
			return nil, err
		}
		return result{"state": got.Groups[0].GroupState, "members": len(got.Groups[0].Members)}, got.Groups[0].Error
	case "delete_group":
		got, err := k.client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{r.Group}})
		if err == nil {
			err = got.Errors[r.Group]
		}
		return result{}, err
	}
	return nil, fmt.Errorf("unknown request %s", r.Op)
}

func (k *kafkaGo) metadata(ctx context.Context, r *request) (any, error) {
	request := &kafka.MetadataRequest{}
	if r.Op == "describe_topic" {
		request.Topics = []string{r.Topic}
	}
	got, err := k.client.Metadata(ctx, request)
	if err != nil {
		return nil, err
	}
	switch r.Op {
	case "describe_topic":
		return result{"partitions": len(got.Topics[0].Partitions)}, got.Topics[0].Error
	case "describe_cluster":
		return result{"brokers": len(got.Brokers), "controller": got.Controller.ID}, nil
	}
	names := []string{}
	for _, t := range got.Topics {
		names = append(names, t.Name)
	}
	return result{"topics": names}, nil
}

func (k *kafkaGo) offsets(ctx context.Context, r *request) (any, error) {
	ask := func(request kafka.OffsetRequest) (kafka.PartitionOffsets, error) {
		request.Partition = int(r.Partition)
		got, err := k.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{r.Topic: {request}}})
		if err != nil {
			return kafka.PartitionOffsets{}, err
		}
		return got.Topics[r.Topic][0], got.Topics[r.Topic][0].Error
	}
	first, err := ask(kafka.FirstOffsetOf(int(r.Partition)))
	if err != nil {
		return nil, err
	}
	last, err := ask(kafka.LastOffsetOf(int(r.Partition)))
	if err != nil {
		return nil, err
	}
	at := []int64{}
	for _, ms := range r.Times {
		got, err := ask(kafka.TimeOffsetOf(int(r.Partition), time.UnixMilli(ms)))
		if err != nil {
			return nil, err
		}
		for o := range got.Offsets {
			at = append(at, o)
		}
	}
	return result{"begin": first.FirstOffset, "end": last.LastOffset, "at": at}, nil
}

// fixed sends records where they say. kafka-go's balancers see no partition in a message, so it
// stands in WriterData.
type fixed struct{ fallback kafka.Balancer }

func (f fixed) Balance(m kafka.Message, partitions ...int) int {
	if p, ok := m.WriterData.(int32); ok && p >= 0 {
		return int(p)
	}
	return f.fallback.Balance(m, partitions...)
}

func (k *kafkaGo) produce(ctx context.Context, r *request) (any, error) {
	codec := map[string]kafka.Compression{
		"none": 0, "gzip": kafka.Compression(compress.Gzip), "snappy": kafka.Compression(compress.Snappy),
		"lz4": kafka.Compression(compress.Lz4), "zstd": kafka.Compression(compress.Zstd),
	}[r.Codec]
	w := &kafka.Writer{
		Addr: kafka.TCP(k.brokers...), Topic: r.Topic, RequiredAcks: kafka.RequireAll, Compression: codec,
		BatchBytes: int64(r.MaxBytes), BatchTimeout: 20 * time.Millisecond, MaxAttempts: 3, Transport: &kafka.Transport{ClientID: k.id}, // a long-lived one remembers which topics there were
		Balancer: fixed{&kafka.RoundRobin{}}, // its default
	}
	defer w.Close()
	var messages []kafka.Message
	for _, rec := range r.Records {
		m := kafka.Message{Key: rec.Key, Value: rec.Value, Time: time.UnixMilli(rec.TimeMs), WriterData: rec.Partition}
		for _, h := range rec.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Name, Value: h.Value})
		}
		messages = append(messages, m)
	}
	if err := w.WriteMessages(ctx, messages...); err != nil {
		var all kafka.WriteErrors
		if errors.As(err, &all) {
			for _, err := range all {
				if err != nil {
					return nil, err
				}
			}
		}
		return nil, err
	}
	return result{}, nil
}

func (k *kafkaGo) consume(ctx context.Context, r *request) (any, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: k.brokers, Topic: r.Topic, Partition: int(r.Partition), MaxBytes: 16 << 20, MaxWait: 200 * time.Millisecond, Dialer: k.dialer,
	})
	defer reader.Close()
	var err error
	switch {
	case r.From.Offset != nil:
		err = reader.SetOffset(*r.From.Offset)
	case r.From.Time != nil:
		err = reader.SetOffsetAt(ctx, time.UnixMilli(*r.From.Time))
	default:
		err = reader.SetOffset(kafka.FirstOffset)
	}
	if err != nil {
		return nil, err
	}
	records := []record{}
	for len(records) < r.number(r.Count) {
		m, err := reader.ReadMessage(ctx)
		if err != nil {
			return nil, fmt.Errorf("after %d records: %w", len(records), err)
		}
		rec := record{int32(m.Partition), m.Offset, m.Key, m.Value, []header{}, m.Time.UnixMilli()}
		for _, h := range m.Headers {
			rec.Headers = append(rec.Headers, header{h.Key, h.Value})
		}
		records = append(records, rec)
	}
	return result{"records": records}, nil
}

func (k *kafkaGo) committed(ctx context.Context, r *request) (any, error) {
	var partitions []int
	for _, p := range r.list(r.Partitions) {
		partitions = append(partitions, int(p))
	}
	got, err := k.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: r.Group, Topics: map[string][]int{r.Topic: partitions}})
	if err == nil {
		err = got.Error
	}
	if err != nil {
		return nil, err
	}
	offsets := []int64{}
	for _, p := range partitions {
		at := slices.IndexFunc(got.Topics[r.Topic], func(o kafka.OffsetFetchPartition) bool { return o.Partition == p })
		if at < 0 {
			return nil, fmt.Errorf("no offset of partition %d", p)
		}
		offsets = append(offsets, got.Topics[r.Topic][at].CommittedOffset)
	}
	return result{"offsets": offsets}, nil
}

func (k *kafkaGo) member(group, topic string, stop <-chan struct{}) error {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: k.brokers, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset, MaxWait: 200 * time.Millisecond, Dialer: k.dialer,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 500 * time.Millisecond, RebalanceTimeout: 10 * time.Second,
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-stop; cancel() }()
	for {
		m, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return reader.Close()
		}
		if err != nil {
			return err
		}
		sayRecord(int32(m.Partition), m.Offset, m.Value)
		if err := reader.CommitMessages(context.Background(), m); err == nil {
			sayCommitted(int32(m.Partition), m.Offset+1)
		}
	}
}
