package client_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// chaos is a plan of faults: each request to a broker and each partition of a produce takes the next
// number; when they are used up, nothing goes wrong any more.
type chaos struct {
	plan []uint8
	at   int
}

func (c *chaos) next() int {
	if c.at >= len(c.plan) {
		return 255
	}
	c.at++
	return int(c.plan[c.at-1])
}

// TestIdempotentProducerLosesNothingRepeatsNothingAndKeepsOrder is the producer's promise under dropped
// connections, lost and late answers, moving leaders, errors before and after the append, and expiry.
func TestIdempotentProducerLosesNothingRepeatsNothingAndKeepsOrder(t *testing.T) {
	for range 20 { // rapid alone stops at a hundred cases, which take a tenth of a second
		rapid.Check(t, deliverUnderFaults)
	}
}

func deliverUnderFaults(t *rapid.T) {
	c := clienttest.New(3)
	topic := c.Create("t", 2)
	c.StrictSequences = rapid.Bool().Draw(t, "strict")
	c.Hints = rapid.Bool().Draw(t, "hints")
	if rapid.IntRange(0, 3).Draw(t, "small") == 0 {
		c.BatchBytesMax = 150
	}
	plan := &chaos{plan: rapid.SliceOfN(rapid.Uint8(), 0, 150).Draw(t, "plan")}
	records := rapid.IntRange(5, 120).Draw(t, "records")
	c.Script = func(at model.NodeID, key protocol.Key, name string, p model.Partition) clienttest.Verdict {
		if key != protocol.KeyProduce {
			return clienttest.Verdict{}
		}
		switch n := plan.next(); {
		case n < 8:
			return clienttest.Verdict{Code: kerr.NotLeaderForPartition.Code, Append: n%2 == 0}
		case n < 12:
			return clienttest.Verdict{Code: kerr.RequestTimedOut.Code, Append: true}
		case n < 16:
			return clienttest.Verdict{Code: kerr.NotEnoughReplicasAfterAppend.Code, Append: true}
		case n < 20:
			return clienttest.Verdict{Code: kerr.NotEnoughReplicas.Code}
		case n < 24:
			return clienttest.Verdict{Code: kerr.CorruptMessage.Code}
		case n < 28:
			return clienttest.Verdict{Code: kerr.InvalidRecord.Code}
		case n < 30:
			return clienttest.Verdict{Code: kerr.UnknownServerError.Code, Append: n%2 == 0}
		case n < 36:
			topic.Partitions[p].Move(c.Brokers[n%len(c.Brokers)])
		case n < 38:
			return clienttest.Verdict{Code: kerr.OutOfOrderSequenceNumber.Code}
		}
		return clienttest.Verdict{}
	}
	w := newWorld(t, c)
	w.tracing = true
	w.fault = func(_ client.ConnID, _ model.NodeID, key protocol.Key) fault {
		switch n := plan.next(); {
		case n < 10:
			return dropBefore
		case n < 20:
			return dropAfter
		case n < 28:
			return lateAfter
		case n < 30:
			return hang
		}
		return deliver
	}
	cfg := client.NewProducerConfig("b1:9092", "b2:9092")
	cfg.BatchBytes = rapid.SampledFrom([]int{90, 120, 200, 1000}).Draw(t, "batch")
	cfg.DeliveryTimeout = model.Time(rapid.SampledFrom([]int{400, 2500, 20000}).Draw(t, "delivery")) * ms
	cfg.RequestTimeout = 1500 * ms
	cfg.Seed = rapid.Uint64().Draw(t, "seed")
	p := client.NewProducer(cfg)

	placed := make([]model.Partition, records)
	for i := range records {
		placed[i] = model.Partition(rapid.IntRange(0, 1).Draw(t, "partition"))
		w.produce2(t, p, placed[i], i)
		w.run(model.Time(rapid.IntRange(0, 30).Draw(t, "pause"))*ms, func() bool { return false }, p)
	}
	if !w.run(120_000*ms, func() bool { return p.UnackedCount() == 0 }, p) {
		t.Fatalf("%d records have no outcome\n%s", p.UnackedCount(), w.trace.String())
	}
	w.run(3000*ms, func() bool { return false }, p) // late requests arrive
	judge(t, w, topic, placed)
}

func (w *world) produce2(t *rapid.T, p *client.Producer, partition model.Partition, i int) {
	w.step(p, func(out *client.Out) {
		r := record.Record{Value: []byte(strconv.Itoa(i)), Timestamp: 5}
		if err := p.Produce(w.now, "t", partition, &r, uint64(i), out); err != nil {
			t.Fatal(err)
		}
	})
}

// judge compares what was acknowledged with what was written.
func judge(t *rapid.T, w *world, topic *clienttest.Topic, placed []model.Partition) {
	type fate struct {
		acks     int
		ok       bool
		definite bool
		offset   model.Offset
	}
	fates := make([]fate, len(placed))
	for _, a := range w.acks {
		for i, h := range a.Handles {
			f := &fates[h]
			f.acks++
			f.ok, f.definite = a.OK(), a.Definite
			f.offset = a.BaseOffset + model.Offset(i)
			if a.BaseOffset < 0 {
				f.offset = model.NoOffset
			}
		}
	}
	fail := func(format string, args ...any) {
		t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), w.trace.String())
	}
	written := make([]int, len(placed))
	for index, p := range topic.Partitions {
		last := -1
		for _, r := range p.Records() {
			i, err := strconv.Atoi(string(r.Value))
			if err != nil || placed[i] != model.Partition(index) {
				fail("partition %d holds %q", index, r.Value)
			}
			written[i]++
			if written[i] > 1 {
				fail("record %d was written twice", i)
			}
			if i < last {
				fail("record %d was written after %d", i, last)
			}
			last = i
			if f := fates[i]; f.ok && f.offset != r.Offset {
				fail("record %d is at %d, acknowledged at %d", i, r.Offset, f.offset)
			}
		}
	}
	for i, f := range fates {
		switch {
		case f.acks != 1:
			fail("record %d has %d outcomes", i, f.acks)
		case f.ok && written[i] == 0:
			fail("record %d was acknowledged and is not there", i)
		case !f.ok && f.definite && written[i] > 0:
			fail("record %d failed for certain and is there", i)
		}
	}
}

// TestConsumerYieldsEachRecordOnceUnderFaults: whatever happens to connections, leaders and answers, a
// consumer yields every record of its partitions, once and in order.
func TestConsumerYieldsEachRecordOnceUnderFaults(t *testing.T) {
	for range 5 {
		rapid.Check(t, consumeUnderFaults)
	}
}

func consumeUnderFaults(t *rapid.T) {
	c := clienttest.New(3)
	topic := c.Create("t", 3)
	c.Hints = rapid.Bool().Draw(t, "hints")
	codec := record.Codec(rapid.IntRange(0, 4).Draw(t, "codec"))
	plan := &chaos{plan: rapid.SliceOfN(rapid.Uint8(), 0, 150).Draw(t, "plan")}
	c.Script = func(at model.NodeID, key protocol.Key, name string, p model.Partition) clienttest.Verdict {
		if key != protocol.KeyFetch && key != protocol.KeyListOffsets {
			return clienttest.Verdict{}
		}
		switch n := plan.next(); {
		case n < 8:
			return clienttest.Verdict{Code: kerr.NotLeaderForPartition.Code}
		case n < 12:
			return clienttest.Verdict{Code: kerr.OffsetNotAvailable.Code}
		case n < 16:
			return clienttest.Verdict{Code: kerr.KafkaStorageError.Code}
		case n < 24:
			topic.Partitions[p].Move(c.Brokers[n%len(c.Brokers)])
		}
		return clienttest.Verdict{}
	}
	w := newWorld(t, c)
	w.tracing = true
	w.fault = func(client.ConnID, model.NodeID, protocol.Key) fault {
		switch n := plan.next(); {
		case n < 10:
			return dropBefore
		case n < 20:
			return dropAfter
		case n < 23:
			return hang
		}
		return deliver
	}
	cfg := client.NewConsumerConfig("b1:9092", "b3:9092")
	cfg.RequestTimeout = 1500 * ms
	cfg.PartitionBytesMax = rapid.SampledFrom([]int{100, 400, 100_000}).Draw(t, "partition bytes")
	cfg.BufferBytes = rapid.SampledFrom([]int{200, 100_000}).Draw(t, "buffer")
	m := client.NewConsumer(cfg)
	w.step(m, func(out *client.Out) { m.Follow(w.now, []string{"t"}, client.Start{}, out) })
	total := 0
	for range rapid.IntRange(1, 8).Draw(t, "writes") {
		p := topic.Partitions[rapid.IntRange(0, 2).Draw(t, "partition")]
		batches, each := rapid.IntRange(1, 4).Draw(t, "batches"), rapid.IntRange(1, 6).Draw(t, "each")
		w.after(model.Time(rapid.IntRange(0, 2000).Draw(t, "at"))*ms, func() { fill(p, batches, each, codec) })
		total += batches * each
	}
	var next [3]model.Offset
	var d client.Decoder
	got := 0
	w.run(120_000*ms, func() bool {
		for m.Available() {
			w.step(m, func(out *client.Out) { m.Poll(w.now, 300, out) })
		}
		for i := range w.chunks {
			k := &w.chunks[i]
			if err := d.Each(k, func(r *record.Record) {
				if r.Offset != next[k.Partition] || string(r.Value) != fmt.Sprintf("v%d", r.Offset) {
					t.Fatalf("partition %d yields %s at %d after %d\n%s", k.Partition, r.Value, r.Offset, next[k.Partition]-1, w.trace.String())
				}
				next[k.Partition]++
				got++
			}); err != nil {
				t.Fatal(err)
			}
		}
		w.chunks = w.chunks[:0]
		return got == total
	}, m)
	if got != total {
		t.Fatalf("%d of %d records came\n%s", got, total, w.trace.String())
	}
}

// TestPlainProducerLosesNothingThatWasAcknowledged is what is left of the promise without idempotence:
// records may be there twice or out of order, but outcomes are true.
func TestPlainProducerLosesNothingThatWasAcknowledged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := clienttest.New(2)
		topic := c.Create("t", 1)
		plan := &chaos{plan: rapid.SliceOfN(rapid.Uint8(), 0, 100).Draw(t, "plan")}
		c.Script = func(at model.NodeID, key protocol.Key, name string, p model.Partition) clienttest.Verdict {
			if key != protocol.KeyProduce {
				return clienttest.Verdict{}
			}
			switch n := plan.next(); {
			case n < 15:
				return clienttest.Verdict{Code: kerr.NotLeaderForPartition.Code, Append: n%2 == 0}
			case n < 25:
				return clienttest.Verdict{Code: kerr.InvalidRecord.Code}
			case n < 35:
				topic.Partitions[p].Move(c.Brokers[n%len(c.Brokers)])
			}
			return clienttest.Verdict{}
		}
		w := newWorld(t, c)
		w.fault = func(client.ConnID, model.NodeID, protocol.Key) fault {
			switch n := plan.next(); {
			case n < 15:
				return dropBefore
			case n < 30:
				return dropAfter
			}
			return deliver
		}
		cfg := client.NewProducerConfig("b1:9092", "b2:9092")
		cfg.Acks = rapid.SampledFrom([]client.Acks{client.AcksAll, client.AcksLeader}).Draw(t, "acks")
		cfg.NotIdempotent = true
		cfg.BatchBytes = 120
		cfg.DeliveryTimeout = model.Time(rapid.SampledFrom([]int{400, 20000}).Draw(t, "delivery")) * ms
		p := client.NewProducer(cfg)
		n := rapid.IntRange(1, 40).Draw(t, "records")
		for i := range n {
			w.produce2(t, p, 0, i)
			w.run(model.Time(rapid.IntRange(0, 30).Draw(t, "pause"))*ms, func() bool { return false }, p)
		}
		if !w.run(60_000*ms, func() bool { return p.UnackedCount() == 0 }, p) {
			t.Fatal("records have no outcome")
		}
		written := make([]int, n)
		for _, r := range topic.Partitions[0].Records() {
			i, _ := strconv.Atoi(string(r.Value))
			written[i]++
		}
		outcomes := make([]int, n)
		for _, a := range w.acks {
			for i, h := range a.Handles {
				outcomes[h]++
				if a.OK() && written[h] == 0 || !a.OK() && a.Definite && written[h] > 0 {
					t.Fatalf("record %d: %+v, written %d times", h, a.Outcome, written[h])
				}
				if a.OK() && a.BaseOffset >= 0 {
					if at := topic.Partitions[0].Records()[int(a.BaseOffset)+i]; string(at.Value) != strconv.Itoa(int(h)) {
						t.Fatalf("record %d was acknowledged at %d, where %s is", h, at.Offset, at.Value)
					}
				}
			}
		}
		for i, k := range outcomes {
			if k != 1 {
				t.Fatalf("record %d has %d outcomes", i, k)
			}
		}
	})
}
