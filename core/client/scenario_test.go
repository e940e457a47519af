package client_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

var rewrite = flag.Bool("rewrite", false, "write the scenarios' golden traces instead of comparing them")

// golden compares a scenario's trace with testdata/<test's name>.txt. Lines begin with the milliseconds
// since the start.
func (w *world) golden(t *testing.T, why string) {
	t.Helper()
	path := filepath.Join("testdata", t.Name()+".txt")
	got := "# " + why + "\n\n" + w.trace.String()
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the trace differs from %s (go test -rewrite writes it anew):\n%s", path, got)
	}
}

// once returns a script that gives one verdict to the nth produce request's partition, from 1.
func onProduce(verdicts map[int]clienttest.Verdict) func(model.NodeID, protocol.Key, string, model.Partition) clienttest.Verdict {
	n := 0
	return func(_ model.NodeID, key protocol.Key, _ string, _ model.Partition) clienttest.Verdict {
		if key != protocol.KeyProduce {
			return clienttest.Verdict{}
		}
		n++
		return verdicts[n]
	}
}

// burst produces records one by one, each in a batch of its own.
func (w *world) burst(p *client.Producer, from, to int) {
	for i := from; i < to; i++ {
		w.produce(p, "t", 0, "", fmt.Sprintf("value %d", i), uint64(i))
		w.step(p, func(out *client.Out) { p.Flush(w.now, out) })
	}
}

func (w *world) settle(t *testing.T, p *client.Producer) {
	t.Helper()
	if !w.run(60_000*ms, func() bool { return p.UnackedCount() == 0 }, p) {
		t.Fatalf("%d records have no outcome\n%s", p.UnackedCount(), w.trace.String())
	}
}

func values(p *clienttest.Partition) (out []string) {
	for _, r := range p.Records() {
		out = append(out, string(r.Value))
	}
	return out
}

// warm makes a world with a producer that has written one record, so that five may be in flight.
func warm(t *testing.T, edit func(*client.ProducerConfig)) (*world, *client.Producer, *clienttest.Partition) {
	return warmOn(t, 2, edit)
}

func warmOn(t *testing.T, brokers int, edit func(*client.ProducerConfig)) (*world, *client.Producer, *clienttest.Partition) {
	c := clienttest.New(brokers)
	part := c.Create("t", 1).Partitions[0]
	w := newWorld(t, c)
	p := producerFor(c, func(cfg *client.ProducerConfig) {
		cfg.BatchBytes = 80 // one record to a batch
		if edit != nil {
			edit(cfg)
		}
	})
	w.burst(p, 0, 1)
	w.settle(t, p)
	w.acks = nil
	w.tracing = true
	return w, p, part
}

func TestScenarioLeaderMoves(t *testing.T) {
	w, p, part := warm(t, nil)
	part.Move(2)
	w.burst(p, 1, 5)
	w.settle(t, p)
	w.golden(t, "The leader moves while four batches are in flight. They are refused, metadata is refreshed, the first goes alone, the order stays.")
	if got := fmt.Sprint(values(part)); got != "[value 0 value 1 value 2 value 3 value 4]" {
		t.Errorf("the log holds %s", got)
	}
}

func TestScenarioLeaderMovesWithHint(t *testing.T) {
	w, p, part := warm(t, nil)
	w.cluster.Hints = true
	part.Move(2)
	w.burst(p, 1, 3)
	w.settle(t, p)
	w.golden(t, "The old leader names the new one (KIP-951): no metadata request is needed before the retry.")
}

// freeze has a node say nothing any more, with its connections open.
func (w *world) freeze(node model.NodeID) {
	w.fault = func(_ client.ConnID, at model.NodeID, _ protocol.Key) fault {
		if at == node {
			return hang
		}
		return deliver
	}
}

// holds fails unless a partition has the first values, once and in order.
func holds(t *testing.T, part *clienttest.Partition, count int) {
	t.Helper()
	var want []string
	for i := range count {
		want = append(want, fmt.Sprint("value ", i))
	}
	if got := values(part); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the log holds %s", got)
	}
}

func (w *world) tookAtMost(t *testing.T, begin, most model.Time) {
	t.Helper()
	if took := w.now - begin; took > most {
		t.Errorf("it took %d ms", took/ms)
	}
}

func TestScenarioLeaderFreezes(t *testing.T) {
	w, p, part := warm(t, nil)
	w.freeze(1)
	w.after(700*ms, func() { part.Move(2) })
	w.burst(p, 1, 3)
	w.settle(t, p)
	w.golden(t, "The leader, through which we also ask for metadata, says nothing any more, and another takes over. Long before any request times out the client asks elsewhere, sees the move, and sends again there.")
	holds(t, part, 3)
}

func TestScenarioLeaderIsCutOff(t *testing.T) {
	w, p, part := warm(t, nil)
	w.cluster.Behind = []model.NodeID{1}
	part.Move(2)
	begin := w.now
	w.burst(p, 1, 3)
	w.settle(t, p)
	w.golden(t, "The leader, through which we also ask for metadata, is cut off from the others: it serves no more, and knows of no other leader. When its word did not help the client asks another broker.")
	holds(t, part, 3)
	w.tookAtMost(t, begin, 1000*ms)
}

func TestScenarioNewLeaderWaitsForWhatTheOldOneHas(t *testing.T) {
	w, p, part := warmOn(t, 3, nil)
	other := w.cluster.Create("u", 1).Partitions[0]
	other.Move(2)
	w.produce(p, "u", 0, "", "of u", 100)
	w.step(p, func(out *client.Out) { p.Flush(w.now, out) })
	w.settle(t, p)
	w.fault = func(_ client.ConnID, node model.NodeID, key protocol.Key) fault {
		if node == 1 && key == protocol.KeyProduce {
			return mute
		}
		return deliver
	}
	w.burst(p, 1, 3)
	w.run(20*ms, func() bool { return false }, p)
	part.Move(2)
	other.Move(3) // by this the client learns of both
	w.produce(p, "u", 0, "", "of u", 101)
	w.step(p, func(out *client.Out) { p.Flush(w.now, out) })
	w.run(150*ms, func() bool { return false }, p)
	for i := 3; i < 20; i++ {
		w.run(10*ms, func() bool { return false }, p)
		w.burst(p, i, i+1)
	}
	w.settle(t, p)
	w.golden(t, "The leader has two batches, and so has the new one, but the old one, cut off, answers nothing. What comes after them waits: behind five others the new leader would not recognise them.")
	holds(t, part, 20)
	for _, a := range w.acks {
		if a.Reason != 0 {
			t.Errorf("not written: %+v", a)
		}
	}
}

func TestScenarioNewLeaderFreezesBeforeItSaysAnything(t *testing.T) {
	w, p, part := warmOn(t, 3, nil)
	part.Move(2)
	w.freeze(2)
	w.after(700*ms, func() { part.Move(3) })
	begin := w.now
	w.burst(p, 1, 3)
	w.settle(t, p)
	w.golden(t, "The leader moves to a broker that the client has no connection to, and that broker freezes. It is connected to and says nothing; the client asks others who leads, and goes on with the next leader.")
	holds(t, part, 3)
	w.tookAtMost(t, begin, 1200*ms)
}

func TestScenarioFrozenLeaderIsNotAskedWhoLeads(t *testing.T) {
	w, p, part := warmOn(t, 3, nil)
	w.freeze(1)
	w.after(505*ms, func() { part.Move(-1) })
	w.after(700*ms, func() { part.Move(2) })
	begin := w.now
	w.burst(p, 1, 3)
	w.settle(t, p)
	w.golden(t, "The leader freezes, and for a while there is none. The client asks again and again, all but the one that froze, although it has a connection for such questions there.")
	w.tookAtMost(t, begin, 1000*ms)
}

func TestScenarioDeadLeaderIsAskedAboutWhileItIsNotDialled(t *testing.T) {
	w, p, part := warmOn(t, 3, nil)
	w.down[1] = true
	w.after(750*ms, func() { part.Move(2) })
	begin := w.now
	w.burst(p, 1, 2)
	w.settle(t, p)
	w.golden(t, "The leader is gone, and its successor is not elected at once. Dialling it pauses longer each time; who leads is asked at its own pace.")
	w.tookAtMost(t, begin, 1000*ms)
}

func TestScenarioAllWaitForOneThatFroze(t *testing.T) {
	w, p, part := warmOn(t, 3, nil)
	// What we ask goes to 1. Of u, led by 2, and of t, led by 1, nothing is acknowledged while 3 is frozen; v is led by 3.
	others := []*clienttest.Partition{w.cluster.Create("u", 1).Partitions[0], w.cluster.Create("v", 1).Partitions[0]}
	for i, name := range []string{"u", "v"} {
		others[i].Move(model.NodeID(2 + i))
		w.produce(p, name, 0, "", "of "+name, uint64(100+i))
		w.step(p, func(out *client.Out) { p.Flush(w.now, out) })
	}
	w.settle(t, p)
	until := w.now + 600*ms
	w.fault = func(_ client.ConnID, node model.NodeID, key protocol.Key) fault {
		if w.now < until && key == protocol.KeyProduce || node == 1 {
			return hang
		}
		return deliver
	}
	w.after(520*ms, func() { part.Move(2) })
	begin := w.now
	w.burst(p, 1, 2)
	for i, name := range []string{"u", "v"} {
		w.produce(p, name, 0, "", "of "+name, uint64(102+i))
		w.step(p, func(out *client.Out) { p.Flush(w.now, out) })
	}
	w.run(5000*ms, func() bool { return part.End() == 2 }, p)
	w.golden(t, "A frozen leader, through which we also ask for metadata, and two others that owe an answer because they wait for it: whom to ask is a guess, and a wrong one is not waited for long.")
	w.tookAtMost(t, begin, 1000*ms)
}

func TestScenarioThrottled(t *testing.T) {
	w, p, _ := warm(t, nil)
	w.cluster.ThrottleMs = 250
	for i := range 3 {
		w.burst(p, 1+i, 2+i)
		w.settle(t, p)
	}
	w.golden(t, "The broker answers at once and asks for pauses (KIP-219): the next request waits.")
}

func TestScenarioAnswerLost(t *testing.T) {
	w, p, part := warm(t, nil)
	n := 0
	w.fault = func(_ client.ConnID, _ model.NodeID, key protocol.Key) fault {
		if n++; n == 1 {
			return dropAfter
		}
		return deliver
	}
	w.burst(p, 1, 3)
	w.settle(t, p)
	w.golden(t, "A batch is written, its answer lost. Sent again with the same sequence, the broker recognises it: one copy, the first one's offset.")
	holds(t, part, 3)
}

func TestScenarioGapAfterFatalRefusal(t *testing.T) {
	w, p, part := warm(t, nil)
	w.cluster.Script = onProduce(map[int]clienttest.Verdict{1: {Code: kerr.InvalidRecord.Code}})
	w.burst(p, 1, 4)
	w.settle(t, p)
	w.golden(t, "The first of three batches is refused for good. The others are refused for their sequence, get a new epoch, and are written.")
	if got := fmt.Sprint(values(part)); got != "[value 0 value 2 value 3]" {
		t.Errorf("the log holds %s", got)
	}
}

func TestScenarioUncertainBatchIsNotRenumbered(t *testing.T) {
	w, p, part := warm(t, nil)
	// Its answer is lost, and before the retry the broker forgets the producer (and is strict about it):
	// nobody can say any more whether the batch in the log is this one.
	n := 0
	w.fault = func(client.ConnID, model.NodeID, protocol.Key) fault {
		if n++; n == 1 {
			return dropAfter
		}
		return deliver
	}
	w.cluster.StrictSequences = true
	w.after(20*ms, part.Forget)
	w.burst(p, 1, 2)
	w.after(30*ms, func() { w.burst(p, 2, 3) })
	w.run(40*ms, func() bool { return false }, p)
	w.settle(t, p)
	w.golden(t, "A batch whose answer was lost is refused for its sequence when it is sent again. It may have been written, so it fails as uncertain and is not written under a new epoch; the batch behind it, never sent, is.")
	holds(t, part, 3)
}

func TestScenarioTooLargeIsSplit(t *testing.T) {
	w, p, part := warm(t, func(cfg *client.ProducerConfig) { cfg.BatchBytes = 1000; cfg.Codec = record.CodecGzip })
	w.cluster.BatchBytesMax = 100
	for i := 1; i < 5; i++ {
		w.produce(p, "t", 0, "", fmt.Sprintf("value %d", i), uint64(i))
	}
	w.settle(t, p)
	w.golden(t, "A batch of four is too large for the broker. It is halved until it fits, under a new epoch, since nothing of it was written.")
	if got := fmt.Sprint(values(part)); got != "[value 0 value 1 value 2 value 3 value 4]" {
		t.Errorf("the log holds %s", got)
	}
}

func TestScenarioNothingAnswers(t *testing.T) {
	c := clienttest.New(2)
	w := newWorld(t, c)
	w.tracing = true
	w.down[1], w.down[2] = true, true
	cfg := client.NewProducerConfig("b1:9092", "b2:9092")
	cfg.DeliveryTimeout = 1500 * ms
	p := client.NewProducer(cfg)
	w.produce(p, "t", client.AnyPartition, "", "x", 1)
	w.settle(t, p)
	w.golden(t, "No broker can be reached. The dials pause longer each time, and the record fails when its time is up, certainly unwritten.")
}

func TestScenarioTopicRecreated(t *testing.T) {
	w, p, _ := warm(t, nil)
	w.cluster.Delete("t")
	part := w.cluster.Create("t", 1).Partitions[0]
	w.burst(p, 1, 3)
	w.settle(t, p)
	w.golden(t, "The topic is deleted and created anew. Its id is unknown, then new, and the sequences begin anew with it.")
	if got := fmt.Sprint(values(part)); got != "[value 1 value 2]" && got != "[value 2]" {
		t.Errorf("the log holds %s", got)
	}
}

func TestScenarioConsumerOutOfRange(t *testing.T) {
	c := clienttest.New(1)
	part := c.Create("t", 1).Partitions[0]
	fill(part, 4, 5, record.CodecNone)
	w := newWorld(t, c)
	w.tracing = true
	part.Start, part.Batches = 10, part.Batches[2:]
	m := consumerFor(c, nil)
	w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t", Start: client.At(3)}}, out) })
	got := w.drain(m, 2000*ms, func(n int) bool { return n >= 10 })
	if len(got) != 10 || got[0].Offset != 10 {
		t.Errorf("%d records came", len(got))
	}
	w.golden(t, "Retention has removed the offset that was asked for: the consumer says so and goes on with the oldest record.")
}

func TestScenarioOldBroker(t *testing.T) {
	c := clienttest.New(1)
	c.Create("t", 1)
	old(c)
	w := newWorld(t, c)
	w.tracing = true
	p := producerFor(c, nil)
	w.burst(p, 0, 2)
	w.settle(t, p)
	m := consumerFor(c, nil)
	w.step(m, func(out *client.Out) { m.Follow(w.now, []string{"t"}, client.Start{}, out) })
	if got := w.drain(m, 2000*ms, func(n int) bool { return n >= 2 }); len(got) != 2 {
		t.Errorf("%d records came", len(got))
	}
	w.golden(t, "A broker of Kafka 0.11's day: it refuses our ApiVersions with version 0 (KIP-511), and everything goes by names in its newest versions.")
}

// old limits a cluster to what Kafka 0.11 spoke.
func old(c *clienttest.Cluster) {
	c.Limit(protocol.KeyProduce, 0, 3)
	c.Limit(protocol.KeyFetch, 0, 5)
	c.Limit(protocol.KeyListOffsets, 0, 2)
	c.Limit(protocol.KeyMetadata, 0, 4)
	c.Limit(protocol.KeyAPIVersions, 0, 1)
	c.Limit(protocol.KeyCreateTopics, 0, 2)
	c.Limit(protocol.KeyDeleteTopics, 0, 1)
	c.Limit(protocol.KeyInitProducerID, 0, 0)
}
