package sim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/session"
)

// check verifies the core's own invariants, and that it shows nothing that is not durable.
func (p *process) check() {
	if err := p.broker.Check(); err != nil {
		p.n.w.fail("broker-check", err.Error())
	}
	lost := func(tp model.TopicPartition) bool {
		l := p.n.ghost.logs[tp]
		return l != nil && p.n.ghost.broken(l) != ""
	}
	if err := p.engine.CheckBut(lost); err != nil {
		p.n.w.fail("engine-check", err.Error())
	}
	for _, l := range p.n.ghost.order {
		p.checkBounds(l.tp)
	}
}

// checkBounds compares what a partition shows with the ghost.
func (p *process) checkBounds(tp model.TopicPartition) {
	b, ok := p.broker.Bounds(tp)
	l := p.n.ghost.logs[tp]
	if !ok || l == nil || l.unknown {
		return
	}
	if b.HighWatermark > l.durableEnd() {
		p.n.w.fail("high-watermark", fmt.Sprintf("%v: the high watermark is %d, durable is %d", tp, b.HighWatermark, l.durableEnd()))
	}
	if b.LogStartOffset > b.HighWatermark || b.LastStableOffset > b.HighWatermark {
		p.n.w.fail("bounds", fmt.Sprintf("%v: %+v", tp, b))
	}
}

// watchFetches keeps track of the fetches that have no answer yet.
func (p *process) watchFetches(ev broker.Event, set *effect.Set) {
	switch ev := ev.(type) {
	case *broker.Fetch:
		p.parked = append(p.parked, ev)
	case *broker.Disconnected:
		p.parked = slices.DeleteFunc(p.parked, func(f *broker.Fetch) bool { return f.To.Conn == ev.Conn })
	case *broker.Produce, *broker.ListOffsets, *broker.EnsureTopics, *broker.CreateTopics, *broker.DeleteTopics,
		*broker.InitProducerID, *broker.CreatePartitions, *broker.AlterConfigs, *broker.DeleteRecords, *broker.EpochEnds, *broker.Completed:
	case *broker.FindCoordinator, *broker.JoinGroup, *broker.SyncGroup, *broker.Heartbeat, *broker.LeaveGroup, *broker.CommitOffsets,
		*broker.FetchOffsets, *broker.DescribeGroups, *broker.ListGroups, *broker.DeleteGroups, *broker.DeleteOffsets:
	case *broker.ReassignPartitions, *broker.ListReassignments, *broker.ElectLeaders, *broker.UnregisterBroker, *broker.DescribeQuorum, *broker.AddVoter, *broker.RemoveVoter:
	case *broker.AlterPartition:
		p.proposed[ev.To] = &ev.Ask
	case *broker.RegisterBroker, *broker.BrokerHeartbeat, *broker.AllocateProducerIDs, *broker.QuorumMessages, *broker.ReportDamaged,
		*broker.CreateMissing, *broker.FetchImage, *broker.Leave, *broker.Answered:
	}
	for i := range set.Reads {
		to := set.Reads[i].To
		p.parked = slices.DeleteFunc(p.parked, func(f *broker.Fetch) bool { return f.To == to })
	}
}

// checkWoken verifies that no fetch which is content with a byte waits although there is one: a wake-up
// that is lost would be made up for by the fetch's deadline, and nobody would see it.
func (p *process) checkWoken() {
	for _, f := range p.parked {
		if f.BytesMin > 1 {
			continue
		}
		for _, part := range f.Parts {
			if part.Topic.ID.IsZero() {
				continue // asked by name, which may mean another topic by now
			}
			tp := model.TopicPartition{Topic: part.Topic.ID, Partition: part.Partition}
			if b, ok := p.broker.Bounds(tp); ok && b.HighWatermark > part.Offset && part.Offset >= b.LogStartOffset {
				p.n.w.fail("lost-wake-up", fmt.Sprintf("%v: a fetch from %d waits, the high watermark is %d", tp, part.Offset, b.HighWatermark))
			}
		}
	}
}

// checkAltered verifies that a change of who is in sync was taken only if it rested on what was so.
func (p *process) checkAltered(o *effect.Reply) {
	answer, is := o.Body.(*effect.PartitionsAltered)
	asked := p.proposed[o.To]
	if delete(p.proposed, o.To); !is || asked == nil {
		return
	}
	for i := range answer.Parts {
		if in, got := &asked.Parts[i], &answer.Parts[i]; got.Code == 0 && got.PartitionEpoch > in.PartitionEpoch+1 {
			p.n.w.fail("stale-proposal", fmt.Sprintf("%v: who is in sync was changed in partition epoch %d by what rested on %d", in.Partition, got.PartitionEpoch, in.PartitionEpoch))
		}
	}
}

// checkRetries verifies that a batch which the log holds among its producer's last five is neither appended
// again nor refused as out of order.
func (p *process) checkRetries(ev broker.Event, set *effect.Set) {
	produce, ok := ev.(*broker.Produce)
	if !ok || p.n.w.forgets() {
		return
	}
	for i := range produce.Parts {
		part := &produce.Parts[i]
		tp := model.TopicPartition{Topic: part.Topic.ID, Partition: part.Partition}
		l := p.n.ghost.logs[tp]
		h := &part.Header
		if l == nil || !h.HasProducer() || !l.written(producerBatch{h.ProducerID, h.ProducerEpoch, h.BaseSequence, h.LastSequence()}) {
			continue
		}
		for j := range set.Appends {
			if a := &set.Appends[j]; &a.Batch[0] == &part.Batch[0] {
				p.n.w.fail("retry-appended", fmt.Sprintf("%v: producer %d epoch %d sequence %d is in the log and was appended again at %d",
					tp, h.ProducerID, h.ProducerEpoch, h.BaseSequence, a.BaseOffset))
			}
		}
		for _, o := range set.Produced {
			if o.To == produce.To && o.Index == part.Index && o.Code == kerr.OutOfOrderSequenceNumber.Code {
				p.n.w.fail("retry-refused", fmt.Sprintf("%v: producer %d epoch %d sequence %d is in the log and was refused as out of order",
					tp, h.ProducerID, h.ProducerEpoch, h.BaseSequence))
			}
		}
	}
}

// responseOrder holds a connection's responses against its requests, by correlation id.
type responseOrder struct {
	waiting []askedRequest
	blind   bool // a request could not be made out: nothing is known from here on
}

type askedRequest struct {
	correlation int32
	key         int16
	at          model.Time
	sizeBytes   int
}

// asked takes in a request frame.
func (o *responseOrder) asked(now model.Time, frame []byte) {
	answered, ok := expectsAnswer(frame)
	if !ok {
		o.blind = true
	} else if answered {
		o.waiting = append(o.waiting, askedRequest{
			int32(binary.BigEndian.Uint32(frame[4:])), int16(binary.BigEndian.Uint16(frame)), now, len(frame),
		})
	}
}

// A response is no longer than this, and so many times its request: who asks little cannot make a broker say
// much. Records are another matter.
const (
	responseBytesMax   = 1 << 20
	responseGrowthMost = 64
)

// answered takes in a response frame and says what is wrong with it.
func (o *responseOrder) answered(f *session.Frame) string {
	if o.blind {
		return ""
	}
	id := int32(binary.BigEndian.Uint32(f.Pieces[0].Bytes[4:]))
	if len(o.waiting) == 0 {
		return fmt.Sprintf("the response to request %d, which was not asked", id)
	}
	want := o.waiting[0]
	o.waiting = o.waiting[1:]
	if id != want.correlation {
		return fmt.Sprintf("the response to request %d came before that to %d", id, want.correlation)
	}
	if key := protocol.Key(want.key); key != protocol.KeyFetch && f.LenBytes > responseBytesMax+responseGrowthMost*want.sizeBytes {
		return fmt.Sprintf("%d bytes answer a request of key %v of %d bytes", f.LenBytes, key, want.sizeBytes)
	}
	return ""
}

// answerPatience is how long a request may be under way once everything has healed.
const answerPatience = 5 * sc

// checkAnswered verifies that no request has been left without an answer. Those that wait for something to
// happen have an end of their own, which the client chose.
func (p *process) checkAnswered() {
	now := p.n.w.now
	p.n.w.net.each(p, func(c *conn) {
		nc := p.conns[effect.ConnID(c.id)]
		if nc == nil || nc.order.blind {
			return
		}
		for _, r := range nc.order.waiting {
			switch protocol.Key(r.key) {
			case protocol.KeyFetch, protocol.KeyJoinGroup, protocol.KeySyncGroup, protocol.KeyConsumerGroupHeartbeat:
				return // and what is behind it waits, too
			default:
				if now-r.at > answerPatience {
					p.n.w.fail("unanswered", fmt.Sprintf("connection %d: the request %d of key %v has had no answer for %s",
						c.id, r.correlation, protocol.Key(r.key), time.Duration(now-r.at)))
				}
			}
		}
	})
}

// expectsAnswer reads as much of a request as tells whether it is answered: all are but Produce with acks 0.
func expectsAnswer(frame []byte) (answered, ok bool) {
	const fixed, produceFlexible = 10, 9
	if len(frame) < fixed {
		return false, false
	}
	be := binary.BigEndian
	if be.Uint16(frame) != 0 {
		return true, true
	}
	version := be.Uint16(frame[2:])
	at := fixed + max(0, int(int16(be.Uint16(frame[8:])))) // the client id
	if version < produceFlexible {
		if at+4 > len(frame) {
			return false, false
		}
		at += 2 + max(0, int(int16(be.Uint16(frame[at:])))) // the transactional id
	} else {
		// No tagged fields, and a short transactional id or none.
		if at+2 > len(frame) || frame[at] != 0 || frame[at+1] >= 0x80 {
			return false, false
		}
		at += 2 + max(0, int(frame[at+1])-1)
	}
	if at+2 > len(frame) {
		return false, false
	}
	return be.Uint16(frame[at:]) != 0, true
}
