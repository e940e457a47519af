package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franzClient struct {
	brokers []string
	id      string
	admin   *kadm.Client
}

func newFranz(brokers []string, id string) (*franzClient, error) {
	f := &franzClient{brokers: brokers, id: id}
	cl, err := f.client()
	f.admin = kadm.NewClient(cl)
	return f, err
}

func (f *franzClient) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(f.brokers...), kgo.ClientID(f.id)}, opts...)...)
}

func (f *franzClient) answer(r *request) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch r.Op {
	case "create_topic":
		configs := map[string]*string{}
		for name, v := range r.Configs {
			configs[name] = &v
		}
		_, err := f.admin.CreateTopic(ctx, int32(r.number(r.Partitions)), -1, configs, r.Topic)
		return result{}, err
	case "list_topics":
		got, err := f.admin.ListTopics(ctx)
		return result{"topics": got.Names()}, err
	case "describe_topic":
		got, err := f.admin.ListTopics(ctx, r.Topic)
		if err == nil {
			err = got.Error()
		}
		return result{"partitions": len(got[r.Topic].Partitions)}, err
	case "delete_topic":
		_, err := f.admin.DeleteTopic(ctx, r.Topic)
		return result{}, err
	case "create_partitions":
		got, err := f.admin.UpdatePartitions(ctx, r.number(r.Count), r.Topic)
		if err == nil {
			err = got.Error()
		}
		return result{}, err
	case "describe_cluster":
		got, err := f.admin.BrokerMetadata(ctx)
		return result{"brokers": len(got.Brokers), "controller": got.Controller}, err
	case "describe_configs":
		got, err := f.admin.DescribeTopicConfigs(ctx, r.Topic)
		if err != nil {
			return nil, err
		}
		configs := map[string]string{}
		for _, resource := range got {
			if resource.Err != nil {
				return nil, resource.Err
			}
			for _, c := range resource.Configs {
				configs[c.Key] = c.MaybeValue()
			}
		}
		return result{"configs": configs}, nil
	case "alter_configs":
		var changes []kadm.AlterConfig
		for name, v := range r.Configs {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &v})
		}
		got, err := f.admin.AlterTopicConfigs(ctx, changes, r.Topic)
		for _, g := range got {
			if err == nil && g.Err != nil {
				err = fmt.Errorf("%w: %s", g.Err, g.ErrMessage)
			}
		}
		return result{}, err
	case "delete_records":
		var offsets kadm.Offsets
		offsets.AddOffset(r.Topic, r.Partition, r.Offset, -1)
		got, err := f.admin.DeleteRecords(ctx, offsets)
		if err == nil {
			err = got.Error()
		}
		return result{}, err
	case "offsets":
		return f.offsets(ctx, r)
	case "produce":
		return f.produce(ctx, r)
	case "consume":
		return f.consume(ctx, r)
	case "committed":
		got, err := f.admin.FetchOffsets(ctx, r.Group)
		if err == nil {
			err = got.Error()
		}
		offsets := []int64{}
		for _, p := range r.list(r.Partitions) {
			o, _ := got.Lookup(r.Topic, p)
			offsets = append(offsets, o.At)
		}
		return result{"offsets": offsets}, err
	case "list_groups":
		got, err := f.admin.ListGroups(ctx)
		return result{"groups": got.Groups()}, err
	case "describe_group":
		got, err := f.admin.DescribeGroups(ctx, r.Group)
		if err == nil {
			err = got.Error()
		}
		return result{"state": got[r.Group].State, "members": len(got[r.Group].Members)}, err
	case "delete_group":
		got, err := f.admin.DeleteGroups(ctx, r.Group)
		if err == nil {
			err = got.Error()
		}
		return result{}, err
	}
	return nil, fmt.Errorf("unknown request %s", r.Op)
}

func (f *franzClient) offsets(ctx context.Context, r *request) (any, error) {
	lookup := func(got kadm.ListedOffsets, err error) (int64, error) {
		if err == nil {
			err = got.Error()
		}
		o, _ := got.Lookup(r.Topic, r.Partition)
		return o.Offset, err
	}
	begin, err := lookup(f.admin.ListStartOffsets(ctx, r.Topic))
	if err != nil {
		return nil, err
	}
	end, err := lookup(f.admin.ListEndOffsets(ctx, r.Topic))
	if err != nil {
		return nil, err
	}
	at := []int64{}
	for _, ms := range r.Times {
		o, err := lookup(f.admin.ListOffsetsAfterMilli(ctx, ms, r.Topic))
		if err != nil {
			return nil, err
		}
		at = append(at, o)
	}
	return result{"begin": begin, "end": end, "at": at}, nil
}

func (f *franzClient) produce(ctx context.Context, r *request) (any, error) {
	codec := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[r.Codec]
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(int32(r.MaxBytes))}
	if !r.Idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	if len(r.Records) > 0 && r.Records[0].Partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	cl, err := f.client(opts...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var records []*kgo.Record
	for _, rec := range r.Records {
		out := &kgo.Record{Topic: r.Topic, Partition: rec.Partition, Key: rec.Key, Value: rec.Value, Timestamp: time.UnixMilli(rec.TimeMs)}
		for _, h := range rec.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		records = append(records, out)
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return nil, err
	}
	placed := [][2]int64{}
	for _, rec := range records {
		placed = append(placed, [2]int64{int64(rec.Partition), rec.Offset})
	}
	return result{"placed": placed}, nil
}

func (f *franzClient) consume(ctx context.Context, r *request) (any, error) {
	at := kgo.NewOffset().AtStart()
	switch {
	case r.From.Offset != nil:
		at = kgo.NewOffset().At(*r.From.Offset)
	case r.From.Time != nil:
		at = kgo.NewOffset().AfterMilli(*r.From.Time)
	}
	cl, err := f.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.Topic: {r.Partition: at}}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	records := []record{}
	for len(records) < r.number(r.Count) {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d records: %w", len(records), err)
		}
		for _, got := range fetches.Records() {
			rec := record{got.Partition, got.Offset, got.Key, got.Value, []header{}, got.Timestamp.UnixMilli()}
			for _, h := range got.Headers {
				rec.Headers = append(rec.Headers, header{h.Key, h.Value})
			}
			records = append(records, rec)
		}
	}
	return result{"records": records}, nil
}

func (f *franzClient) member(group, topic string, stop <-chan struct{}) error {
	cl, err := f.client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.BlockRebalanceOnPoll())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-stop; cancel() }()
	for ctx.Err() == nil {
		fetches := cl.PollRecords(ctx, 100)
		records := fetches.Records()
		for _, r := range records {
			sayRecord(r.Partition, r.Offset, r.Value)
		}
		if len(records) > 0 {
			if err := cl.CommitRecords(context.Background(), records...); err == nil {
				for _, r := range slices.Backward(records) {
					sayCommitted(r.Partition, r.Offset+1)
				}
			}
		}
		cl.AllowRebalance()
	}
	cl.Close()
	return nil
}
