package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/record"
)

// The raw driver: connections that replay one prepared Produce request with so many in flight.
const (
	rawConnections = 2
	rawInFlight    = 5
)

// produceRaw replays a prepared batch without idempotence, so that the client costs next to nothing.
func produceRaw(ctx context.Context, n *node, sizeBytes, batchBytes int, d time.Duration) (result, error) {
	var r result
	c, done, err := client(n, "tcp")
	if err != nil {
		return r, err
	}
	defer done()
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 10_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, rawConnections, 1
	limit := "20971520"
	t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: "max.message.bytes", Value: &limit})
	create.Topics = append(create.Topics, t)
	created, err := create.RequestWith(ctx, c)
	if err != nil {
		return r, err
	}
	if code := created.Topics[0].ErrorCode; code != 0 {
		return r, fmt.Errorf("create the topic: error %d", code)
	}

	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	v, count := value(sizeBytes), 0
	for ; b.SizeBytes()+sizeBytes+16 <= batchBytes; count++ {
		b.Append(record.Record{Value: v, Timestamp: 1})
	}
	batch := b.Finish()

	var wg sync.WaitGroup
	sent := make([]int64, rawConnections)
	errs := make([]error, rawConnections)
	cpu, from := n.cpu(), time.Now()
	for i := range rawConnections {
		wg.Go(func() { sent[i], errs[i] = replay(ctx, n.kafka, int32(i), batch, d) })
	}
	wg.Wait()
	took := time.Since(from)
	records := int64(0)
	for i := range sent {
		if errs[i] != nil {
			return r, errs[i]
		}
		records += sent[i] * int64(count)
	}
	addThroughput(&r, records, sizeBytes, took, n.cpu()-cpu)
	return r, nil
}

// replay sends the batch to one partition again and again, rawInFlight at a time, for d.
func replay(ctx context.Context, addr string, partition int32, batch []byte, d time.Duration) (int64, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	p := kmsg.NewPtrProduceRequest()
	p.Acks, p.TimeoutMillis = -1, 30_000
	pt := kmsg.NewProduceRequestTopic()
	pt.Topic = topic
	pp := kmsg.NewProduceRequestTopicPartition()
	pp.Partition, pp.Records = partition, batch
	pt.Partitions = append(pt.Partitions, pp)
	p.Topics = append(p.Topics, pt)
	p.SetVersion(9)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, p, 0)

	window := make(chan struct{}, rawInFlight)
	var writeErr error
	go func() {
		defer close(window)
		for id, end := uint32(0), time.Now().Add(d); time.Now().Before(end); id++ {
			window <- struct{}{}
			binary.BigEndian.PutUint32(frame[8:], id)
			if _, writeErr = conn.Write(frame); writeErr != nil {
				return
			}
		}
	}()
	var sent int64
	head, body := make([]byte, 4), make([]byte, 4096)
	for range window {
		if _, err := io.ReadFull(conn, head); err != nil {
			return sent, err
		}
		size := binary.BigEndian.Uint32(head)
		if int(size) > len(body) {
			return sent, fmt.Errorf("a produce response of %d bytes", size)
		}
		if _, err := io.ReadFull(conn, body[:size]); err != nil {
			return sent, err
		}
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = 9
		if err := resp.ReadFrom(body[5:size]); err != nil {
			return sent, err
		}
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
			return sent, fmt.Errorf("produce refused: error %d", code)
		}
		sent++
	}
	return sent, writeErr
}
