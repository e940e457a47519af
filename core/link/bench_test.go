package link

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// fetchRound is a link that is ready, and one round of a replica fetcher on it: a call, and the answer with a batch of
// some size.
func fetchRound(t testing.TB, batchBytes int) (round func(), size int) {
	r := newBench(testConfig())
	r.l.Call(r.now, testCall(1, "heartbeat", 1, 1000*ms), &r.out)
	r.l.Connected(r.now, &r.out)
	r.take()
	r.greet(helloAnswer(cluster, other, 0, ""))
	r.take()
	r.l.Receive(r.now, responseFrame(r.next(), protocol.NewResponse(protocol.KeyBrokerHeartbeat)), &r.out)
	r.take()

	tp := model.TopicPartition{Topic: model.TopicID{1}}
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	b.Append(record.Record{Value: bytes.Repeat([]byte("v"), batchBytes)})
	batch := b.Finish()
	record.Stamp(batch, 3, 1)
	in := protocol.NewResponse(protocol.KeyFetch).(*protocol.FetchResponse)
	topic := protocol.Add(&in.Responses)
	topic.TopicID = [16]byte{1}
	protocol.Add(&topic.Partitions).Records.Bytes = batch
	frame := responseFrame(Frame{Key: protocol.KeyFetch, Version: 18}, in)

	fetch := &effect.ReplicaFetch{Replica: self, SessionEpoch: -1, Parts: []effect.ReplicaFetchPart{{Partition: tp, Offset: 3}}}
	call := testCall(2, "heartbeat", 1, 1000*ms)
	call.Body = fetch
	return func() {
		r.l.Call(r.now, call, &r.out)
		f := r.out.Frames[0]
		r.l.Recycle(f)
		r.out.Reset()
		binary.BigEndian.PutUint32(frame, uint32(f.Correlation))
		r.l.Receive(r.now, frame, &r.out)
		if a := &r.out.Answers[0]; a.Failure != effect.CallOK || len(a.Body.(*effect.ReplicaFetched).Parts[0].Batches) != 1 {
			t.Fatal(a)
		}
		r.out.Reset()
	}, len(batch)
}

// TestAFetchAllocatesItsAnswerAndNoMore counts what a round of a replica fetcher leaves to the collector: the answer, its
// parts and the list of batches, which are the loop's from then on.
func TestAFetchAllocatesItsAnswerAndNoMore(t *testing.T) {
	round, _ := fetchRound(t, 1000)
	if n := testing.AllocsPerRun(1000, round); n > 3 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFetchRound(b *testing.B) {
	round, size := fetchRound(b, 64<<10)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		round()
	}
}
