package link

import (
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// fuzzedCalls are one call of each kind.
func fuzzedCalls() []effect.CallBody {
	tp := model.TopicPartition{Topic: model.TopicID{1}}
	return []effect.CallBody{
		&effect.ReplicaFetch{Replica: self, SessionEpoch: -1, Parts: []effect.ReplicaFetchPart{{Partition: tp, Offset: 3}}},
		&effect.ReplicaFetch{Replica: self, SessionID: 1, SessionEpoch: 2, Parts: []effect.ReplicaFetchPart{{Partition: tp, Offset: 3}}},
		&effect.AlterPartition{Broker: self, Parts: []effect.AlterPartitionPart{{Partition: tp}}},
		&effect.RegisterBroker{Broker: self},
		&effect.HeartbeatBroker{Broker: self},
		&effect.AllocateProducerIDs{Broker: self},
		&effect.ReportDamaged{Broker: self, Parts: []effect.DamagedPart{{Partition: tp}}},
		&effect.QuorumMessages{Messages: [][]byte{nil}},
		&effect.Forward{Request: make([]byte, 10)},
		&effect.FetchImage{Replica: self, Position: 2},
		&effect.CreateMissing{Names: []string{"a"}},
	}
}

// FuzzReceive answers a call, or a greeting, with any bytes, behind a right header or not. Whatever comes, every call
// has one answer in the end, and what reaches the loop of records is sound.
func FuzzReceive(f *testing.F) {
	for i, body := range fuzzedCalls() {
		m := protocol.NewResponse((&Link{}).encode(body).Key())
		if fetched, ok := m.(*protocol.FetchResponse); ok {
			topic := protocol.Add(&fetched.Responses)
			topic.TopicID = [16]byte{1}
			var b record.Builder
			b.Begin(record.NewOptions(record.CodecNone))
			b.Append(record.Record{Value: []byte("v")})
			batch := b.Finish()
			record.Stamp(batch, 3, 1)
			protocol.Add(&topic.Partitions).Records.Bytes = batch
		}
		for _, s := range speaks {
			if s.key == m.Key() {
				f.Add(byte(i), true, responseFrame(Frame{Key: s.key, Version: s.max}, m)[4:])
			}
		}
	}
	f.Add(byte(0), false, []byte{})
	f.Add(byte(100), true, responseFrame(Frame{Key: protocol.KeyAPIVersions, Version: 3}, protocol.NewResponse(protocol.KeyAPIVersions))[4:])
	f.Add(byte(200), true, responseFrame(Frame{Key: protocol.KeyNodeHello}, helloAnswer(cluster, other, 0, ""))[4:])
	f.Fuzz(func(t *testing.T, which byte, isFramed bool, b []byte) {
		calls := fuzzedCalls()
		c := testConfig()
		c.Budget = protocol.Budget{ElementCountMax: 1 << 14, AllocBytesMax: 1 << 20}
		r := newBench(c)
		r.l.Call(r.now, &effect.Call{To: other, ID: 1, Timeout: 1000 * ms, Body: calls[int(which)%len(calls)]}, &r.out)
		r.l.Connected(r.now, &r.out)
		var answers []effect.Answer
		take := func() {
			answers = append(answers, r.out.Answers...)
			r.take()
			if err := r.l.Check(); err != nil {
				t.Fatal(err)
			}
		}
		take()
		if which >= 200 {
			r.l.Receive(r.now, responseFrame(r.next(), protocol.NewResponse(protocol.KeyAPIVersions)), &r.out)
			take()
		} else if which < 100 {
			r.greet(helloAnswer(cluster, other, 0, ""))
			take()
		}
		frame := append([]byte(nil), b...)
		if isFramed && len(r.asked) > 0 {
			correlation := uint32(r.asked[0].Correlation)
			frame = append([]byte{byte(correlation >> 24), byte(correlation >> 16), byte(correlation >> 8), byte(correlation)}, b...)
		}
		r.l.Receive(r.now, frame, &r.out)
		take()
		r.l.Stop(r.now, "stopped", &r.out)
		take()
		if len(answers) != 1 || answers[0].ID != 1 {
			t.Fatalf("%d answers", len(answers))
		}
		if fetched, ok := answers[0].Body.(*effect.ReplicaFetched); ok {
			for i := range fetched.Parts {
				checkBatches(t, &fetched.Parts[i])
			}
		}
	})
}

func checkBatches(t *testing.T, p *effect.ReplicaFetchedPart) {
	for i := range p.Batches {
		b := &p.Batches[i]
		if h, err := record.ReadHeader(b.Batch); err != nil || h != b.Header || h.SizeBytes != len(b.Batch) {
			t.Fatalf("header %+v, batch %+v: %v", b.Header, h, err)
		}
		if err := record.CheckCRC(b.Batch); err != nil {
			t.Fatal(err)
		}
		if i > 0 && b.Header.BaseOffset != p.Batches[i-1].Header.NextOffset() {
			t.Fatalf("offset %d behind %d", b.Header.BaseOffset, p.Batches[i-1].Header.LastOffset())
		}
	}
}
