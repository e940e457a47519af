package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

type saramaClient struct {
	brokers []string
	id      string
}

func (s *saramaClient) config() *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = s.id
	c.Version = sarama.MaxVersion
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.Return.Errors = true
	return c
}

func (s *saramaClient) answer(r *request) (any, error) {
	switch r.Op {
	case "produce":
		return s.produce(r)
	case "consume":
		return s.consume(r)
	case "offsets":
		return s.offsets(r)
	}
	admin, err := sarama.NewClusterAdmin(s.brokers, s.config())
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	switch r.Op {
	case "create_topic":
		detail := &sarama.TopicDetail{NumPartitions: int32(r.number(r.Partitions)), ReplicationFactor: 1, ConfigEntries: map[string]*string{}}
		for name, v := range r.Configs {
			detail.ConfigEntries[name] = &v
		}
		return result{}, admin.CreateTopic(r.Topic, detail, false)
	case "list_topics":
		got, err := admin.ListTopics()
		names := []string{}
		for name := range got {
			names = append(names, name)
		}
		return result{"topics": names}, err
	case "describe_topic":
		got, err := admin.DescribeTopics([]string{r.Topic})
		if err != nil {
			return nil, err
		}
		if got[0].Err != sarama.ErrNoError {
			return nil, got[0].Err
		}
		return result{"partitions": len(got[0].Partitions)}, nil
	case "delete_topic":
		return result{}, admin.DeleteTopic(r.Topic)
	case "create_partitions":
		return result{}, admin.CreatePartitions(r.Topic, int32(r.number(r.Count)), nil, false)
	case "describe_cluster":
		brokers, controller, err := admin.DescribeCluster()
		return result{"brokers": len(brokers), "controller": controller}, err
	case "describe_configs":
		got, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: r.Topic})
		configs := map[string]string{}
		for _, c := range got {
			configs[c.Name] = c.Value
		}
		return result{"configs": configs}, err
	case "alter_configs":
		entries := map[string]sarama.IncrementalAlterConfigsEntry{}
		for name, v := range r.Configs {
			entries[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &v}
		}
		return result{}, admin.IncrementalAlterConfig(sarama.TopicResource, r.Topic, entries, false)
	case "delete_records":
		return result{}, admin.DeleteRecords(r.Topic, map[int32]int64{r.Partition: r.Offset})
	case "committed":
		partitions := r.list(r.Partitions)
		got, err := admin.ListConsumerGroupOffsets(r.Group, map[string][]int32{r.Topic: partitions})
		if err != nil {
			return nil, err
		}
		offsets := []int64{}
		for _, p := range partitions {
			block := got.GetBlock(r.Topic, p)
			if block == nil {
				return nil, fmt.Errorf("no offset of partition %d", p)
			}
			offsets = append(offsets, block.Offset)
		}
		return result{"offsets": offsets}, nil
	case "list_groups":
		got, err := admin.ListConsumerGroups()
		names := []string{}
		for name := range got {
			names = append(names, name)
		}
		return result{"groups": names}, err
	case "describe_group":
		got, err := admin.DescribeConsumerGroups([]string{r.Group})
		if err != nil {
			return nil, err
		}
		if got[0].Err != sarama.ErrNoError {
			return nil, got[0].Err
		}
		return result{"state": got[0].State, "members": len(got[0].Members)}, nil
	case "delete_group":
		return result{}, admin.DeleteConsumerGroup(r.Group)
	}
	return nil, fmt.Errorf("unknown request %s", r.Op)
}

func (s *saramaClient) produce(r *request) (any, error) {
	c := s.config()
	c.Producer.Compression = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}[r.Codec]
	c.Producer.MaxMessageBytes = r.MaxBytes
	if r.Idempotent {
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
	}
	if len(r.Records) > 0 && r.Records[0].Partition >= 0 {
		c.Producer.Partitioner = sarama.NewManualPartitioner
	}
	producer, err := sarama.NewSyncProducer(s.brokers, c)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for _, rec := range r.Records {
		m := &sarama.ProducerMessage{Topic: r.Topic, Partition: rec.Partition, Timestamp: time.UnixMilli(rec.TimeMs)}
		if rec.Key != nil {
			m.Key = sarama.ByteEncoder(rec.Key)
		}
		if rec.Value != nil {
			m.Value = sarama.ByteEncoder(rec.Value)
		}
		for _, h := range rec.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value})
		}
		messages = append(messages, m)
	}
	if err := producer.SendMessages(messages); err != nil {
		var all sarama.ProducerErrors
		if errors.As(err, &all) && len(all) > 0 {
			return nil, all[0]
		}
		return nil, err
	}
	placed := [][2]int64{}
	for _, m := range messages {
		placed = append(placed, [2]int64{int64(m.Partition), m.Offset})
	}
	return result{"placed": placed}, nil
}

func (s *saramaClient) consume(r *request) (any, error) {
	c := s.config()
	client, err := sarama.NewClient(s.brokers, c)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	at := sarama.OffsetOldest
	switch {
	case r.From.Offset != nil:
		at = *r.From.Offset
	case r.From.Time != nil:
		if at, err = client.GetOffset(r.Topic, r.Partition, *r.From.Time); err != nil {
			return nil, err
		}
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	part, err := consumer.ConsumePartition(r.Topic, r.Partition, at)
	if err != nil {
		return nil, err
	}
	defer part.Close()
	records := []record{}
	timeout := time.After(patience)
	for len(records) < r.number(r.Count) {
		select {
		case m := <-part.Messages():
			rec := record{m.Partition, m.Offset, m.Key, m.Value, []header{}, m.Timestamp.UnixMilli()}
			for _, h := range m.Headers {
				rec.Headers = append(rec.Headers, header{string(h.Key), h.Value})
			}
			records = append(records, rec)
		case err := <-part.Errors():
			return nil, err
		case <-timeout:
			return nil, fmt.Errorf("only %d records arrived", len(records))
		}
	}
	return result{"records": records}, nil
}

func (s *saramaClient) offsets(r *request) (any, error) {
	client, err := sarama.NewClient(s.brokers, s.config())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var places []int64
	for _, at := range slices.Concat([]int64{sarama.OffsetOldest, sarama.OffsetNewest}, r.Times) {
		o, err := client.GetOffset(r.Topic, r.Partition, at)
		if err != nil {
			return nil, err
		}
		places = append(places, o)
	}
	return result{"begin": places[0], "end": places[1], "at": places[2:]}, nil
}

func (s *saramaClient) member(group, topic string, stop <-chan struct{}) error {
	c := s.config()
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Return.Errors = false
	g, err := sarama.NewConsumerGroup(s.brokers, group, c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-stop; cancel() }()
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{topic}, saramaMember{}); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return g.Close()
}

type saramaMember struct{}

func (saramaMember) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim says every record, and marks it. sarama's Commit returns nothing, so a commit is said when the
// session still lives after it.
func (saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, open := <-claim.Messages():
			if !open {
				return nil
			}
			sayRecord(m.Partition, m.Offset, m.Value)
			session.MarkMessage(m, "")
			session.Commit()
			if session.Context().Err() == nil {
				sayCommitted(m.Partition, m.Offset+1)
			}
		case <-session.Context().Done():
			return nil
		}
	}
}
