package client_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// TestEveryVersionOfEveryKeyServes runs a round trip at each version of each key alone, the others newest.
func TestEveryVersionOfEveryKeyServes(t *testing.T) {
	for _, key := range []protocol.Key{
		protocol.KeyProduce, protocol.KeyFetch, protocol.KeyListOffsets, protocol.KeyMetadata,
		protocol.KeyAPIVersions, protocol.KeyCreateTopics, protocol.KeyDeleteTopics, protocol.KeyInitProducerID,
	} {
		for v := protocol.MinVersion(key); v <= protocol.MaxVersion(key); v++ {
			t.Run(fmt.Sprintf("%s/%d", key, v), func(t *testing.T) {
				c := clienttest.New(2)
				c.Limit(key, protocol.MinVersion(key), v)
				roundTrip(t, c)
			})
		}
	}
}

// TestOldBrokersServe runs a round trip against the tables of old brokers.
func TestOldBrokersServe(t *testing.T) {
	t.Run("0.11", func(t *testing.T) {
		c := clienttest.New(2)
		old(c)
		roundTrip(t, c)
	})
	t.Run("2.1", func(t *testing.T) { // the smallest table that served every client that we tried
		c := clienttest.New(2)
		c.Limit(protocol.KeyProduce, 0, 8)
		c.Limit(protocol.KeyFetch, 4, 11)
		c.Limit(protocol.KeyListOffsets, 1, 5)
		c.Limit(protocol.KeyMetadata, 0, 8)
		c.Limit(protocol.KeyAPIVersions, 0, 3)
		c.Limit(protocol.KeyCreateTopics, 2, 4)
		c.Limit(protocol.KeyDeleteTopics, 1, 3)
		c.Limit(protocol.KeyInitProducerID, 0, 1)
		roundTrip(t, c)
	})
	t.Run("ids in metadata only", func(t *testing.T) {
		c := clienttest.New(2)
		c.Limit(protocol.KeyMetadata, 0, 9) // no ids, but Produce 13 and Fetch 18 are offered
		roundTrip(t, c)
	})
}

func roundTrip(t *testing.T, c *clienttest.Cluster) {
	w := newWorld(t, c)
	a := adminFor(c)
	ans := w.ask(a, func(out *client.Out) client.OpID {
		return a.CreateTopics(w.now, []client.NewTopic{{Name: "t", PartitionCount: 2, ReplicationFactor: 1}}, false, out)
	})
	if !ans.OK() || !ans.Topics[0].OK() {
		t.Fatalf("creation: %+v", ans)
	}
	p := producerFor(c, nil)
	for i := range 10 {
		w.produce(p, "t", model.Partition(i%2), "", fmt.Sprintf("value %d", i), uint64(i))
	}
	w.settle(t, p)
	for _, a := range w.acks {
		if !a.OK() {
			t.Fatalf("ack %+v", a)
		}
	}
	m := consumerFor(c, nil)
	w.step(m, func(out *client.Out) { m.Follow(w.now, []string{"t"}, client.Start{}, out) })
	if got := w.drain(m, 5000*ms, func(n int) bool { return n >= 10 }); len(got) != 10 {
		t.Fatalf("%d records came, not 10", len(got))
	}
	ans = w.ask(a, func(out *client.Out) client.OpID {
		return a.ListOffsets(w.now, []client.OffsetQuery{{Topic: "t", Partition: 1, Timestamp: client.LatestTimestamp}}, out)
	})
	if ans.Offsets[0].Offset != 5 {
		t.Fatalf("offsets: %+v", ans.Offsets)
	}
	if ans = w.ask(a, func(out *client.Out) client.OpID { return a.DeleteTopics(w.now, []string{"t"}, out) }); !ans.Topics[0].OK() {
		t.Fatalf("deletion: %+v", ans)
	}
}

func TestKeysArePlacedAsJavaPlacesThem(t *testing.T) {
	// Values of org.apache.kafka.common.utils.Utils.murmur2's own test.
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
	} {
		if got, want := client.PartitionForKey([]byte(key), 1<<31-1), int(want&0x7fffffff)%(1<<31-1); got != want {
			t.Errorf("%s is placed on %d, not %d", key, got, want)
		}
	}
}

func TestKeylessRecordsStickForABatchAndThenMove(t *testing.T) {
	c := clienttest.New(1)
	c.Create("t", 4)
	w := newWorld(t, c)
	p := producerFor(c, func(cfg *client.ProducerConfig) { cfg.BatchBytes = 500 })
	for i := range 400 {
		w.produce(p, "t", client.AnyPartition, "", fmt.Sprintf("value %4d", i), uint64(i))
	}
	w.settle(t, p)
	used := map[model.Partition]int{}
	for _, a := range w.acks {
		used[a.Partition] += len(a.Handles)
	}
	if len(used) != 4 {
		t.Errorf("records went to %v, not to all four partitions", used)
	}
	if len(w.acks) > 60 {
		t.Errorf("400 records of 40 bytes went in %d batches: they do not stick", len(w.acks))
	}
}

func TestCommittedReaderSeesNoAbortedRecord(t *testing.T) {
	c := clienttest.New(1)
	part := c.Create("t", 1).Partitions[0]
	var b record.Builder
	write := func(id model.ProducerID, transactional bool, value string) model.Offset {
		o := record.NewOptions(record.CodecNone)
		if transactional {
			o.ProducerID, o.ProducerEpoch, o.BaseSequence, o.Transactional = id, 0, 0, true
		}
		b.Begin(o)
		b.Append(record.Record{Value: []byte(value), Timestamp: 1})
		return part.Append(b.Finish())
	}
	end := func(id model.ProducerID, kind record.MarkerKind) model.Offset {
		return part.Append(record.AppendControl(nil, kind, 0, id, 0, 1))
	}
	write(0, false, "plain 1")
	first := write(7, true, "aborted 1")
	write(8, true, "committed 1")
	write(7, true, "aborted 2")
	last := end(7, record.Abort)
	part.Aborted = append(part.Aborted, clienttest.Aborted{ID: 7, First: first, Last: last})
	write(7, true, "committed 2") // the same producer's next transaction
	end(8, record.Commit)
	end(7, record.Commit)
	write(0, false, "plain 2")
	part.LastStable = write(9, true, "undecided")
	write(0, false, "behind the undecided")

	for _, committed := range []bool{true, false} {
		w := newWorld(t, c)
		m := consumerFor(c, func(cfg *client.ConsumerConfig) { cfg.ReadCommitted = committed })
		w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t"}}, out) })
		got := w.drain(m, 3000*ms, func(int) bool { return len(w.events_) > 0 })
		var values []string
		for _, r := range got {
			values = append(values, string(r.Value))
		}
		want := []string{"plain 1", "aborted 1", "committed 1", "aborted 2", "committed 2", "plain 2", "undecided", "behind the undecided"}
		if committed {
			want = []string{"plain 1", "committed 1", "committed 2", "plain 2"}
		}
		if !slices.Equal(values, want) {
			t.Errorf("read committed %v: %q", committed, values)
		}
		if p, _ := m.Position("t", 0); !p.AtEnd() || p.Offset != w.events_[0].Offset {
			t.Errorf("read committed %v: position %+v after %+v", committed, p, w.events_[0])
		}
	}
}

func TestDamagedBatchIsAskedForAgainAndThenHalts(t *testing.T) {
	c := clienttest.New(1)
	part := c.Create("t", 1).Partitions[0]
	fill(part, 3, 5, record.CodecNone)
	part.Batches[1][70] ^= 1
	w := newWorld(t, c)
	m := consumerFor(c, nil)
	w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t"}}, out) })
	w.after(500*ms, func() { part.Batches[1][70] ^= 1 }) // it was damaged on the way only
	if got := w.drain(m, 10_000*ms, func(n int) bool { return n >= 15 }); len(got) != 15 {
		t.Errorf("%d records came, not 15", len(got))
	}

	part.Batches[2][70] ^= 1
	w = newWorld(t, c)
	m = consumerFor(c, nil)
	w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t"}}, out) })
	got := w.drain(m, 60_000*ms, func(int) bool { return len(w.events_) > 0 })
	if len(got) != 10 || w.events_[0].Kind != client.EventHalted || w.events_[0].Code != kerr.CorruptMessage.Code || w.events_[0].Offset != 10 {
		t.Errorf("%d records came, then %+v", len(got), w.events_)
	}
}

func TestFetchingAheadIsBounded(t *testing.T) {
	c := clienttest.New(1)
	topic := c.Create("t", 3)
	for _, p := range topic.Partitions {
		fill(p, 200, 10, record.CodecNone)
	}
	w := newWorld(t, c)
	m := consumerFor(c, func(cfg *client.ConsumerConfig) {
		cfg.PartitionBytesMax, cfg.BufferBytes, cfg.FetchBytesMax = 2000, 5000, 4000
	})
	w.step(m, func(out *client.Out) { m.Follow(w.now, []string{"t"}, client.Start{}, out) })
	w.run(3000*ms, func() bool { return false }, m)
	if n := m.BufferedBytes(); n < 3000 || n > 5000+4000 {
		t.Errorf("%d bytes were fetched ahead of 5000", n)
	}
	got := w.drain(m, 100_000*ms, func(n int) bool { return n >= 6000 })
	if len(got) != 6000 {
		t.Errorf("%d records came, not 6000", len(got))
	}
}

// A fetch never asks a broker to wait for more than it allows it to send.
func TestLeastBytesNeverExceedWhatMayCome(t *testing.T) {
	c := clienttest.New(1)
	fill(c.Create("t", 1).Partitions[0], 100, 3, record.CodecNone)
	w := newWorld(t, c)
	m := consumerFor(c, func(cfg *client.ConsumerConfig) {
		cfg.FetchBytesMin, cfg.PartitionBytesMax, cfg.FetchWait = 1<<20, 100, 3000*ms
	})
	w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t"}}, out) })
	// The last batch is smaller than what we may ask for, and so may wait.
	if got := w.drain(m, 2900*ms, func(n int) bool { return n >= 297 }); len(got) < 297 {
		t.Errorf("%d of 300 records came in the time of one wait", len(got))
	}
}

func TestResetNoneHaltsUntilSeek(t *testing.T) {
	c := clienttest.New(1)
	part := c.Create("t", 1).Partitions[0]
	fill(part, 2, 5, record.CodecNone)
	w := newWorld(t, c)
	m := consumerFor(c, func(cfg *client.ConsumerConfig) { cfg.Reset = client.ResetNone })
	w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t", Start: client.At(99)}}, out) })
	w.drain(m, 3000*ms, func(int) bool { return len(w.events_) > 0 })
	if len(w.events_) != 1 || w.events_[0].Code != kerr.OffsetOutOfRange.Code {
		t.Fatalf("events %+v", w.events_)
	}
	w.step(m, func(out *client.Out) { m.Seek(w.now, "t", 0, client.At(7), out) })
	if got := w.drain(m, 3000*ms, func(n int) bool { return n >= 3 }); len(got) != 3 {
		t.Errorf("%d records came after Seek, not 3", len(got))
	}
}

func TestFollowedTopicGrows(t *testing.T) {
	c := clienttest.New(1)
	topic := c.Create("t", 1)
	w := newWorld(t, c)
	m := consumerFor(c, func(cfg *client.ConsumerConfig) { cfg.MetadataAgeMax = 2000 * ms })
	w.step(m, func(out *client.Out) { m.Follow(w.now, []string{"t"}, client.Start{Kind: client.StartLatest}, out) })
	w.run(500*ms, func() bool { return false }, m)
	extra := c.Create("other", 1).Partitions[0]
	topic.Partitions = append(topic.Partitions, extra)
	fill(extra, 1, 5, record.CodecNone)
	if got := w.drain(m, 5000*ms, func(n int) bool { return n >= 5 }); len(got) != 5 {
		t.Errorf("%d records of the new partition came, not its 5", len(got))
	}
}

func TestExhaustedEpochTakesANewProducerID(t *testing.T) {
	w, p, part := warm(t, nil)
	for i := range 1 << 15 {
		w.cluster.Script = onProduce(map[int]clienttest.Verdict{1: {Code: kerr.OutOfOrderSequenceNumber.Code}})
		w.acks, w.tracing = w.acks[:0], false
		w.burst(p, i+1, i+2)
		w.settle(t, p)
		if !w.acks[0].OK() {
			t.Fatalf("record %d: %+v", i+1, w.acks[0])
		}
	}
	last := part.Batches[len(part.Batches)-1]
	if last.ProducerID() == part.Batches[0].ProducerID() || last.ProducerEpoch() > 10 {
		t.Errorf("after 2^15 epochs the producer is %d, epoch %d", last.ProducerID(), last.ProducerEpoch())
	}
}

func TestBufferIsBoundedAndGivenBack(t *testing.T) {
	c := clienttest.New(1)
	c.Create("t", 1)
	w := newWorld(t, c)
	p := producerFor(c, func(cfg *client.ProducerConfig) { cfg.BufferBytes = 2000 })
	taken := 0
	var err error
	for err == nil {
		w.step(p, func(out *client.Out) {
			r := record.Record{Value: make([]byte, 100), Timestamp: 1}
			err = p.Produce(w.now, "t", client.AnyPartition, &r, uint64(taken), out)
		})
		taken++
	}
	if err != client.ErrBufferFull || taken < 10 || p.BufferedBytes() > 2000 {
		t.Fatalf("%d records of %d bytes, then %v", taken, p.BufferedBytes(), err)
	}
	w.settle(t, p)
	if p.BufferedBytes() != 0 {
		t.Errorf("%d bytes are still counted", p.BufferedBytes())
	}
}

func TestProduceAllocatesNothing(t *testing.T) {
	c := clienttest.New(1)
	c.Create("t", 1)
	w := newWorld(t, c)
	p := producerFor(c, func(cfg *client.ProducerConfig) { cfg.BatchBytes, cfg.BufferBytes = 1<<20, 1<<30 })
	w.produce(p, "t", 0, "k", "v", 1)
	w.settle(t, p)
	var out client.Out
	r := record.Record{Key: []byte("key"), Value: bytes.Repeat([]byte("x"), 100), Timestamp: 1}
	for range 4000 { // the batch's memory is there
		if err := p.Produce(w.now, "t", 0, &r, 2, &out); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, func() { _ = p.Produce(w.now, "t", 0, &r, 2, &out) }); n > 0.1 {
		t.Errorf("a record costs %v allocations", n)
	}
}

func BenchmarkProduceRecord(b *testing.B) {
	c := clienttest.New(1)
	c.Create("t", 1)
	w := newWorld(b, c)
	p := producerFor(c, func(cfg *client.ProducerConfig) { cfg.BufferBytes = 1 << 40 })
	w.produce(p, "t", 0, "k", "v", 1)
	w.run(1000*ms, func() bool { return p.UnackedCount() == 0 }, p)
	var out client.Out
	r := record.Record{Value: bytes.Repeat([]byte("x"), 100), Timestamp: 1}
	b.ReportAllocs()
	b.SetBytes(100)
	for i := 0; b.Loop(); i++ {
		if err := p.Produce(w.now, "t", 0, &r, 2, &out); err != nil {
			b.Fatal(err)
		}
		if i%100_000 == 99_999 {
			b.StopTimer() // the cluster's work is not the client's
			w.step(p, func(out *client.Out) { p.Flush(w.now, out) })
			w.run(100_000*ms, func() bool { return p.UnackedCount() == 0 }, p)
			w.cluster.Topics[0].Partitions[0].Batches = w.cluster.Topics[0].Partitions[0].Batches[:0]
			w.cluster.Seen = w.cluster.Seen[:0]
			b.StartTimer()
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	var bb record.Builder
	bb.Begin(record.NewOptions(record.CodecNone))
	for range 1000 {
		bb.Append(record.Record{Value: make([]byte, 100), Timestamp: 5})
	}
	chunk := client.Chunk{Topic: "t", Batches: bb.Finish(), Next: 1000}
	var d client.Decoder
	var dst []record.Record
	b.ReportAllocs()
	b.SetBytes(100 * 1000)
	for b.Loop() {
		var err error
		if dst, err = d.Decode(dst[:0], &chunk); err != nil || len(dst) != 1000 {
			b.Fatal(err)
		}
	}
}

// FuzzReceived feeds machines frames of anybody's making: whatever comes, they neither panic nor break
// their own invariants.
func FuzzReceived(f *testing.F) {
	f.Add(uint8(0), []byte{0, 0, 0, 1, 0, 0, 0, 0})
	f.Add(uint8(1), []byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 255})
	f.Add(uint8(2), []byte{})
	f.Fuzz(func(t *testing.T, after uint8, frame []byte) {
		c := clienttest.New(1)
		fill(c.Create("t", 1).Partitions[0], 2, 3, record.CodecNone)
		w := newWorld(t, c)
		p, m := producerFor(c, nil), consumerFor(c, nil)
		w.produce(p, "t", 0, "", "x", 1)
		w.step(m, func(out *client.Out) { m.Follow(w.now, []string{"t"}, client.Start{}, out) })
		// Run for a while, then answer the next request on every connection with the frame: with the right
		// correlation id, so that it is looked at.
		w.run(model.Time(after%32)*ms, func() bool { return false }, p, m)
		for _, machine := range []client.Machine{p, m} {
			for id := client.ConnID(1); id < 4; id++ {
				for correlation := byte(1); correlation < 4; correlation++ {
					w.step(machine, func(out *client.Out) {
						machine.Received(w.now, id, append([]byte{0, 0, 0, correlation}, frame...), out)
					})
				}
			}
		}
		w.run(100*ms, func() bool { return false }, p, m)
	})
}
