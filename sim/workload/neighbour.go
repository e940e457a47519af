package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/draw"
)

// neighbour reads one partition and says in which rack it is (KIP-392): the leader sends it to a replica there, if one is in sync,
// and it reads from that until it is refused, loses the connection or feels like asking somebody else. What it is given is judged
// as any read: it never changes, and is never beyond what was committed.
type neighbour struct {
	g         *group
	process   int64
	rand      *draw.Stream
	line      Line
	caller    *caller
	at        model.Time
	topic     string
	partition int32
	rack      string
	next      int64
	sent      bool // the leader sent it to whom it asks
	decoder   client.Decoder
	records   []record.Record
	settled   bool
}

// Racks is how many racks there may be, and RackName what one is called; rack 0 is none.
const Racks = 3

// RackName is what a rack is called.
func RackName(rack int64) string {
	if rack == 0 {
		return ""
	}
	return fmt.Sprintf("rack%d", rack)
}

func newNeighbour(g *group) *neighbour {
	n := &neighbour{g: g, process: g.process()}
	n.rand = g.Root.Stream("neighbour", uint64(n.process))
	n.caller = newCaller(g, n.Name(), n.rand, &n.line)
	n.topic = g.topics[n.rand.Intn(len(g.topics))]
	n.partition = int32(n.rand.Intn(g.spec.Partitions))
	n.rack = RackName(n.rand.Between(1, Racks))
	n.at = model.Time(n.rand.Between(1, int64(50*millisecond)))
	return n
}

func (n *neighbour) Name() string            { return fmt.Sprintf("neighbour%d", n.process) }
func (n *neighbour) Lines() []*Line          { return []*Line{&n.line} }
func (n *neighbour) After(model.Time, *Line) {}
func (n *neighbour) WakeAt() model.Time      { return n.at }

func (n *neighbour) Wake(now model.Time) {
	n.at = now + 1 + model.Time(n.rand.Exp(int64(20*millisecond)))
	switch {
	case n.caller.asked() || n.g.created < len(n.g.topics):
	case n.settled && n.Waiting() == "":
		n.at = 0
	default:
		if !n.settled && n.rand.Percent(2) {
			n.elsewhere(now)
		}
		if !n.settled && n.next > 0 && n.rand.Percent(5) {
			n.next = n.rand.Between(0, n.next)
		}
		n.fetch(now)
	}
}

// elsewhere asks anybody next.
func (n *neighbour) elsewhere(now model.Time) {
	n.sent = false
	n.caller.roam(now)
}

func (n *neighbour) fetch(now model.Time) {
	m := protocol.NewRequest(protocol.KeyFetch).(*protocol.FetchRequest)
	m.MinBytes, m.MaxBytes, m.MaxWaitMs = 1, 1<<20, int32(n.rand.LogUniform(1, 300))
	m.SessionEpoch, m.RackID = -1, n.rack
	t := protocol.Add(&m.Topics)
	t.Topic = n.topic
	p := protocol.Add(&t.Partitions)
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = n.partition, n.next, int32(n.rand.LogUniform(1, 1<<18))
	const patience = 2 * second
	n.caller.ask(now, m, versions{11, 12}, patience, func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.FetchResponse)
		if !ok || out.ErrorCode != 0 || len(out.Responses) != 1 || len(out.Responses[0].Partitions) != 1 {
			n.sent = false
			return
		}
		n.take(now, &out.Responses[0].Partitions[0])
	})
}

// take records what was read.
func (n *neighbour) take(now model.Time, in *protocol.FetchResponsePartitionData) {
	switch {
	case in.ErrorCode == kerr.CorruptMessage.Code:
		n.g.Fail("corrupt", fmt.Sprintf("%s/%d: what is at %d is refused as corrupt", n.topic, n.partition, n.next))
		return
	case in.ErrorCode != 0: // it does not lead, has no replica, or has not got so far
		n.elsewhere(now)
		return
	case in.PreferredReadReplica > 0:
		if int(in.PreferredReadReplica) > len(n.g.spec.Addrs) {
			n.g.Fail("client", fmt.Sprintf("%s/%d: sent to node %d, which there is not", n.topic, n.partition, in.PreferredReadReplica))
			return
		}
		n.caller.turn(now, n.g.spec.Addrs[in.PreferredReadReplica-1])
		n.sent = true
		return
	case in.Records.Len() == 0:
		return
	}
	chunk := client.Chunk{Topic: n.topic, Partition: model.Partition(n.partition), Batches: in.Records.Bytes, From: model.Offset(n.next)}
	records, err := n.decoder.Decode(n.records[:0], &chunk)
	n.records = records
	if err != nil && len(records) == 0 {
		n.g.Fail("undecodable", fmt.Sprintf("%s/%d from %d: %v", n.topic, n.partition, n.next, err))
		return
	}
	op := check.Op{
		Process: n.process, F: check.Poll, Outcome: check.OK, Topic: n.topic, Partition: n.partition, From: n.next,
		Tail: in.HighWatermark, Return: int64(now), Offset: -1,
	}
	for i := range records {
		number, ok := readValue(records[i].Value)
		if !ok {
			n.g.Fail("content", fmt.Sprintf("%s/%d: the record at %d is not what anybody wrote", n.topic, n.partition, records[i].Offset))
			return
		}
		op.Offsets, op.Values = append(op.Offsets, int64(records[i].Offset)), append(op.Values, number)
	}
	n.g.History.Ops = append(n.g.History.Ops, op)
	if len(records) > 0 {
		n.next = int64(records[len(records)-1].Offset) + 1
		if n.sent {
			n.g.Near()
		}
	}
}

func (n *neighbour) Settle(now model.Time) { n.settled, n.at = true, now }

func (n *neighbour) Waiting() string {
	if !n.settled {
		return "not asked to settle"
	}
	for _, o := range n.g.producers {
		if why := o.Waiting(); why != "" {
			return o.Name() + ": " + why
		}
	}
	if n.g.Excused(n.topic, n.partition) {
		return ""
	}
	if end := n.g.ends[check.Key{Topic: n.topic, Partition: n.partition}]; n.next < end {
		return fmt.Sprintf("%s/%d: at %d, acknowledged to %d", n.topic, n.partition, n.next, end)
	}
	return ""
}
