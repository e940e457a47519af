package node_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/node"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/memory"
)

// inMemory starts a node on a memory network and dials it.
func inMemory(b *testing.B) transport.Conn {
	b.Helper()
	network := memory.New()
	l, err := network.Listen("node:9092")
	if err != nil {
		b.Fatal(err)
	}
	c := testConfig(b.TempDir())
	c.Listener, c.HTTP, c.QUIC = "", "", false
	n, err := node.Start(node.Options{Config: c, Listeners: []transport.Listener{l}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.Close() })
	conn, err := network.Dial(b.Context(), "node:9092")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}

func exchange(b *testing.B, conn transport.Conn, frame []byte, buf []byte) []byte {
	if _, err := conn.Write(frame); err != nil {
		b.Fatal(err)
	}
	return response(b, conn, buf)
}

func response(b *testing.B, conn transport.Conn, buf []byte) []byte {
	if _, err := io.ReadFull(conn, buf[:4]); err != nil {
		b.Fatal(err)
	}
	body := buf[:binary.BigEndian.Uint32(buf)]
	if _, err := io.ReadFull(conn, body); err != nil {
		b.Fatal(err)
	}
	return body
}

func request(r kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, r, 1)
}

func createRequest(topic string) []byte {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Version, r.TimeoutMillis = 5, 10_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, 1, 1
	r.Topics = append(r.Topics, t)
	return request(r)
}

func produceRequest(topic string, bytes int) []byte {
	var builder record.Builder
	builder.Begin(record.NewOptions(record.CodecNone))
	for builder.SizeBytes() < bytes {
		builder.Append(record.Record{Value: make([]byte, 100)})
	}
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks, r.TimeoutMillis = 9, -1, 10_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = builder.Finish()
	r.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{p}}}
	return request(r)
}

// One connection, requests in flight as a client has them: what a request costs on its way through the whole
// node, sync included.
func BenchmarkProduce(b *testing.B) {
	for _, size := range []int{200, 16 << 10} {
		for _, inFlight := range []int{1, 32} {
			b.Run(fmt.Sprintf("%d B, %d in flight", size, inFlight), func(b *testing.B) {
				conn := inMemory(b)
				buf := make([]byte, 1<<16)
				exchange(b, conn, createRequest("t"), buf)
				frame := produceRequest("t", size)
				b.SetBytes(int64(len(frame)))
				b.ReportAllocs()
				sent := make(chan struct{}, inFlight)
				go func() {
					for range b.N {
						sent <- struct{}{}
						if _, err := conn.Write(frame); err != nil {
							return
						}
					}
				}()
				b.ResetTimer()
				for range b.N {
					response(b, conn, buf)
					<-sent
				}
			})
		}
	}
}

func BenchmarkFetch(b *testing.B) {
	conn := inMemory(b)
	buf := make([]byte, 1<<20)
	exchange(b, conn, createRequest("t"), buf)
	exchange(b, conn, produceRequest("t", 64<<10), buf)
	r := kmsg.NewPtrFetchRequest()
	r.Version, r.MaxBytes, r.SessionEpoch = 11, 1<<20, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes, p.CurrentLeaderEpoch = 1<<20, -1
	r.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	frame := request(r)
	b.SetBytes(int64(len(exchange(b, conn, frame, buf))))
	b.ReportAllocs()
	for b.Loop() {
		exchange(b, conn, frame, buf)
	}
}

// What a description of many partitions costs: the loop makes it, and the session.
func BenchmarkMetadataOfManyPartitions(b *testing.B) {
	conn := inMemory(b)
	buf := make([]byte, 4<<20)
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Version, r.TimeoutMillis = 5, 10_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = "many", 5000, 1
	r.Topics = append(r.Topics, t)
	exchange(b, conn, request(r), buf)
	m := kmsg.NewPtrMetadataRequest()
	m.Version = 8
	frame := request(m)
	b.ReportAllocs()
	for b.Loop() {
		exchange(b, conn, frame, buf)
	}
}

func BenchmarkMetadata(b *testing.B) {
	conn := inMemory(b)
	buf := make([]byte, 1<<20)
	exchange(b, conn, createRequest("t"), buf)
	frame := request(metadataRequest())
	b.ReportAllocs()
	for b.Loop() {
		exchange(b, conn, frame, buf)
	}
}
