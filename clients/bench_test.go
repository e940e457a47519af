package clients_test

import (
	"context"
	"encoding/binary"
	"io"
	"testing"

	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/consumer"
	"github.com/weirmq/weir/clients/producer"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/tcp"
)

// sink is a broker that acknowledges produce requests without looking at the records, and answers fetches
// with the same batches over and over: what is measured is the client.
type sink struct {
	*clienttest.Cluster
	batches []byte // what a fetch is answered with
}

func (s *sink) serve(k transport.Conn) {
	defer k.Close()
	var (
		frame []byte
		w     protocol.Writer
		offs  = make(map[int32]int64)
	)
	for {
		var prefix [4]byte
		if _, err := io.ReadFull(k, prefix[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(prefix[:]))
		if cap(frame) < n {
			frame = make([]byte, n)
		}
		frame = frame[:n]
		if _, err := io.ReadFull(k, frame); err != nil {
			return
		}
		r := protocol.NewReader(frame, protocol.BudgetForClients())
		var h protocol.RequestHeader
		protocol.ReadRequestHeader(&r, &h)
		w.Reset()
		w.BeginResponse(h.CorrelationID, h.Key, h.Version)
		switch h.Key {
		case protocol.KeyProduce:
			var q protocol.ProduceRequest
			var a protocol.ProduceResponse
			q.Decode(&r, h.Version)
			a.Default()
			for i := range q.TopicData {
				t := protocol.Add(&a.Responses)
				t.Name, t.TopicID = q.TopicData[i].Name, q.TopicData[i].TopicID
				for j := range q.TopicData[i].PartitionData {
					x := protocol.Add(&t.PartitionResponses)
					x.Index = q.TopicData[i].PartitionData[j].Index
					x.BaseOffset = offs[x.Index]
					offs[x.Index] += int64(record.Batch(q.TopicData[i].PartitionData[j].Records.Bytes).RecordCount())
				}
			}
			a.Encode(&w, h.Version)
		case protocol.KeyFetch:
			var q protocol.FetchRequest
			var a protocol.FetchResponse
			q.Decode(&r, h.Version)
			a.Default()
			for i := range q.Topics {
				t := protocol.Add(&a.Responses)
				t.Topic, t.TopicID = q.Topics[i].Topic, q.Topics[i].TopicID
				for j := range q.Topics[i].Partitions {
					x := protocol.Add(&t.Partitions)
					x.PartitionIndex = q.Topics[i].Partitions[j].Partition
					x.HighWatermark, x.LogStartOffset = 1<<40, 0
					base := q.Topics[i].Partitions[j].FetchOffset
					for rest := s.batches; len(rest) > 0; {
						b, after, _ := record.Next(rest)
						record.Stamp(b, model.Offset(base), 1)
						base = int64(b.NextOffset())
						rest = after
					}
					x.Records = protocol.Records{Bytes: s.batches}
				}
			}
			a.Encode(&w, h.Version)
		default:
			answer, _, _ := s.Handle(1, frame)
			if _, err := k.Write(answer); err != nil {
				return
			}
			continue
		}
		w.EndFrame()
		var answer []byte
		answer, _ = w.AppendTo(answer)
		if _, err := k.Write(answer); err != nil {
			return
		}
	}
}

func startSink(b *testing.B, partitions int) (*sink, *client.Client) {
	l, err := tcp.Listen("127.0.0.1:0", tcp.Config{})
	if err != nil {
		b.Fatal(err)
	}
	s := &sink{Cluster: clienttest.New(1)}
	s.Cluster.Addr = func(model.NodeID) string { return l.Addr().String() }
	s.Create("t", partitions)
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(func() { cancel(); l.Close() })
	go func() {
		for {
			k, err := l.Accept(ctx)
			if err != nil {
				return
			}
			go s.serve(k)
		}
	}()
	c, err := client.New([]string{l.Addr().String()})
	if err != nil {
		b.Fatal(err)
	}
	return s, c
}

func BenchmarkProduce(b *testing.B) {
	for _, bench := range []struct {
		name       string
		size       int
		partitions int
		options    []producer.Option
		done       bool
	}{
		{"100B", 100, 4, nil, false},
		{"100B/callback", 100, 4, nil, true},
		{"100B/batch1M", 100, 4, []producer.Option{producer.WithBatchBytes(1 << 20)}, false},
		{"1KiB", 1024, 4, nil, false},
		{"100B/lz4", 100, 4, []producer.Option{producer.WithCompression(producer.Lz4, 0)}, false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			_, c := startSink(b, bench.partitions)
			p, err := producer.New(c, bench.options...)
			if err != nil {
				b.Fatal(err)
			}
			ctx := context.Background()
			value := make([]byte, bench.size)
			var done func(producer.Result, error)
			if bench.done {
				done = func(_ producer.Result, err error) {
					if err != nil {
						b.Error(err)
					}
				}
			}
			b.ReportAllocs()
			b.SetBytes(int64(bench.size))
			for b.Loop() {
				if err := p.ProduceAsync(ctx, producer.Record{Topic: "t", Value: value}, done); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Close(ctx); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkConsume(b *testing.B) {
	for _, codec := range []record.Codec{record.CodecNone, record.CodecLz4} {
		b.Run("100B/"+codec.String(), func(b *testing.B) {
			s, c := startSink(b, 1)
			var bb record.Builder
			for range 8 {
				bb.Begin(record.NewOptions(codec))
				for range 1000 {
					bb.Append(record.Record{Value: make([]byte, 100), Timestamp: 5})
				}
				s.batches = append(s.batches, bb.Finish()...)
			}
			k, err := consumer.New(c, consumer.WithTopics("t"))
			if err != nil {
				b.Fatal(err)
			}
			defer k.Close()
			b.ReportAllocs()
			b.SetBytes(100)
			var batch []consumer.Record
			for n := 0; b.Loop(); {
				if n == 0 {
					if batch, err = k.PollInto(context.Background(), batch[:0]); err != nil {
						b.Fatal(err)
					}
					n = len(batch)
				}
				n--
			}
		})
	}
}
