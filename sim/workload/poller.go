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

// poller reads every partition of one topic through a fetch session (KIP-227): it says what changed in what
// it wants, and is told what changed there. What it is told must add up to what a whole fetch tells: now and
// then it asks for everything at once, outside the session, and what is to be had then the session must bring.
type poller struct {
	g       *group
	process int64
	rand    *draw.Stream
	line    Line
	caller  *caller
	at      model.Time
	topic   string

	id, epoch int32
	byID      bool
	topicID   protocol.UUID
	parts     []pollPart
	// there is data at the position of some partition: a whole fetch saw it, and nothing was read since.
	there   string
	decoder client.Decoder
	records []record.Record
	settled bool
}

type pollPart struct {
	next, end int64
	wanted    bool
	told      bool // the session knows where it stands
	known     bool // the session has it
}

func newPoller(g *group) *poller {
	p := &poller{g: g, process: g.process()}
	p.rand = g.Root.Stream("poller", uint64(p.process))
	p.caller = newCaller(g, p.Name(), p.rand, &p.line)
	p.topic = g.topics[p.rand.Intn(len(g.topics))]
	p.parts = make([]pollPart, g.spec.Partitions)
	for i := range p.parts {
		p.parts[i].wanted = true
	}
	p.at = model.Time(p.rand.Between(1, int64(50*millisecond)))
	return p
}

func (p *poller) Name() string            { return fmt.Sprintf("poller%d", p.process) }
func (p *poller) Lines() []*Line          { return []*Line{&p.line} }
func (p *poller) After(model.Time, *Line) {}
func (p *poller) WakeAt() model.Time      { return p.at }

func (p *poller) Wake(now model.Time) {
	p.at = now + 1 + model.Time(p.rand.Exp(int64(20*millisecond)))
	if p.settled {
		p.at = now + 2*millisecond
	}
	switch {
	case p.caller.asked() || p.g.created < len(p.g.topics):
	case !p.caller.knows(now):
		p.at = now + 20*millisecond
	case p.topicID == protocol.UUID{}:
		p.askID(now)
	case p.settled && p.Waiting() == "":
		p.at = 0
	case p.epoch > 0 && p.rand.Percent(15) && !p.settled:
		p.whole(now)
	case p.epoch > 0 && p.rand.Percent(3) && !p.settled:
		p.lie(now)
	default:
		p.move()
		p.poll(now)
	}
}

func (p *poller) askID(now model.Time) {
	m := protocol.NewRequest(protocol.KeyMetadata).(*protocol.MetadataRequest)
	m.AllowAutoTopicCreation = false
	protocol.Add(&m.Topics).Name = protocol.String(p.topic)
	p.caller.ask(now, m, versions{10, 13}, p.patience(), func(_ model.Time, answer protocol.Message) {
		if in, ok := answer.(*protocol.MetadataResponse); ok && len(in.Topics) == 1 && in.Topics[0].ErrorCode == 0 {
			p.topicID = in.Topics[0].TopicID
		}
	})
}

func (p *poller) patience() model.Time {
	if p.g.spec.Calm {
		return 30 * second
	}
	return 2 * second
}

// begin gives the session up.
func (p *poller) begin() {
	p.id, p.epoch, p.there = 0, 0, ""
	p.byID = p.rand.Percent(50)
	for i := range p.parts {
		p.parts[i].told, p.parts[i].known = false, false
	}
}

// move changes its mind about a partition.
func (p *poller) move() {
	k := &p.parts[p.rand.Intn(len(p.parts))]
	switch d := p.rand.Intn(20); {
	case p.settled:
		for i := range p.parts {
			p.parts[i].wanted = true
		}
	case d == 0:
		k.wanted = !k.wanted
		p.there = ""
	case d == 1 && k.next > 0:
		k.next, k.told = p.rand.Between(0, k.next), false
	}
}

func (p *poller) request(whole bool) (*protocol.FetchRequest, versions) {
	m := protocol.NewRequest(protocol.KeyFetch).(*protocol.FetchRequest)
	m.MinBytes, m.MaxBytes, m.MaxWaitMs = 1, int32(p.rand.LogUniform(1, 1<<18)), int32(p.rand.LogUniform(1, 500))
	m.SessionEpoch = -1
	if p.settled { // get done
		m.MaxBytes = 1 << 20
	}
	wish, id := versions{7, 12}, protocol.UUID{}
	name := p.topic
	if p.byID {
		wish, id, name = versions{13, 18}, p.topicID, ""
	}
	for i := range p.parts {
		k := &p.parts[i]
		if !k.wanted || !whole && k.told {
			continue
		}
		if len(m.Topics) == 0 {
			t := protocol.Add(&m.Topics)
			t.Topic, t.TopicID = name, id
		}
		part := protocol.Add(&m.Topics[0].Partitions)
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = int32(i), k.next, min(m.MaxBytes, int32(p.rand.LogUniform(1, 1<<16)))
		if p.settled {
			part.PartitionMaxBytes = m.MaxBytes
		}
	}
	return m, wish
}

func (p *poller) poll(now model.Time) {
	m, wish := p.request(p.epoch == 0)
	m.SessionID, m.SessionEpoch = p.id, p.epoch
	for i := range p.parts {
		k := &p.parts[i]
		if k.known && !k.wanted {
			if len(m.ForgottenTopicsData) == 0 {
				t := protocol.Add(&m.ForgottenTopicsData)
				t.Topic, t.TopicID = p.topic, protocol.UUID{}
				if p.byID {
					t.Topic, t.TopicID = "", p.topicID
				}
			}
			m.ForgottenTopicsData[0].Partitions = append(m.ForgottenTopicsData[0].Partitions, int32(i))
		}
		k.told, k.known = k.wanted, k.wanted
	}
	there := p.there
	p.caller.ask(now, m, wish, p.patience(), func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.FetchResponse)
		if !ok || out.ErrorCode != 0 {
			if ok && out.ErrorCode != kerr.FetchSessionIDNotFound.Code && out.ErrorCode != kerr.InvalidFetchSessionEpoch.Code {
				p.g.Fail("session", fmt.Sprintf("%s: a poll of session %d epoch %d was refused with code %d", p.Name(), p.id, m.SessionEpoch, out.ErrorCode))
			}
			p.begin()
			return
		}
		if p.epoch == 0 {
			p.id = out.SessionID
		}
		if p.id == 0 {
			p.begin() // the broker has no room for another session
			p.take(now, out, true)
			return
		}
		p.epoch++
		if got := p.take(now, out, false); got == 0 && there != "" && there == p.there {
			p.g.Fail("session", fmt.Sprintf("%s: session %d epoch %d: a poll brought nothing, and before it was called %s", p.Name(), p.id, p.epoch, there))
		}
	})
}

// whole asks for everything that is wanted outside the session, and remembers what is to be had.
func (p *poller) whole(now model.Time) {
	for i := range p.parts {
		if p.parts[i].wanted && !p.parts[i].told {
			return // the session does not know yet
		}
	}
	m, wish := p.request(true)
	m.MaxWaitMs, m.MinBytes, m.MaxBytes = 0, 0, 1<<20
	p.caller.ask(now, m, wish, p.patience(), func(_ model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.FetchResponse)
		if !ok {
			p.begin()
			return
		}
		for i := range out.Responses {
			for j := range out.Responses[i].Partitions {
				in := &out.Responses[i].Partitions[j]
				if k := &p.parts[in.PartitionIndex]; in.ErrorCode == 0 && k.wanted && in.HighWatermark > k.next && in.Records.Len() > 0 {
					p.there = fmt.Sprintf("partition %d had records from %d to %d", in.PartitionIndex, k.next, in.HighWatermark)
				}
			}
		}
	})
}

// lie polls with an epoch that is not the session's.
func (p *poller) lie(now model.Time) {
	m, wish := p.request(false)
	m.SessionID, m.SessionEpoch = p.id, p.epoch+2
	p.caller.ask(now, m, wish, p.patience(), func(_ model.Time, answer protocol.Message) {
		if out, ok := answer.(*protocol.FetchResponse); ok && out.ErrorCode != kerr.InvalidFetchSessionEpoch.Code && out.ErrorCode != kerr.FetchSessionIDNotFound.Code {
			p.g.Fail("session", fmt.Sprintf("%s: a poll of epoch %d instead of %d was answered with code %d", p.Name(), m.SessionEpoch, p.epoch, out.ErrorCode))
		}
		p.begin()
	})
}

// take records what was read, and counts it.
func (p *poller) take(now model.Time, out *protocol.FetchResponse, outside bool) (got int) {
	for i := range out.Responses {
		for j := range out.Responses[i].Partitions {
			in := &out.Responses[i].Partitions[j]
			n := int(in.PartitionIndex)
			if n < 0 || n >= len(p.parts) || !p.parts[n].wanted {
				p.g.Fail("session", fmt.Sprintf("%s: told of partition %d, which it does not want", p.Name(), n))
				return got
			}
			k := &p.parts[n]
			if in.ErrorCode != 0 {
				got++ // it said something
				k.told = false
				if in.ErrorCode == kerr.OffsetOutOfRange.Code && !p.g.Excused(p.topic, in.PartitionIndex) {
					p.g.Fail("out-of-range", fmt.Sprintf("%s/%d: offset %d, which was served before, is out of range", p.topic, n, k.next))
				}
				continue
			}
			if in.HighWatermark < k.end {
				p.g.Fail("end-went-back", fmt.Sprintf("%s/%d: the high watermark was %d and is %d", p.topic, n, k.end, in.HighWatermark))
			}
			k.end = in.HighWatermark
			got += p.read(now, in, k)
		}
	}
	if outside {
		p.there = ""
	}
	return got
}

func (p *poller) read(now model.Time, in *protocol.FetchResponsePartitionData, k *pollPart) int {
	if in.Records.Len() == 0 {
		return 0
	}
	chunk := client.Chunk{Topic: p.topic, Partition: model.Partition(in.PartitionIndex), Batches: in.Records.Bytes, From: model.Offset(k.next)}
	records, err := p.decoder.Decode(p.records[:0], &chunk)
	p.records = records
	if err != nil && len(records) == 0 {
		p.g.Fail("undecodable", fmt.Sprintf("%s/%d from %d: %v", p.topic, in.PartitionIndex, k.next, err))
		return 0
	}
	op := check.Op{
		Process: p.process, F: check.Poll, Outcome: check.OK, Topic: p.topic, Partition: in.PartitionIndex, From: k.next,
		Tail: in.HighWatermark, Return: int64(now), Offset: -1,
	}
	for i := range records {
		number, ok := readValue(records[i].Value)
		if !ok {
			p.g.Fail("content", fmt.Sprintf("%s/%d: the record at %d is not what anybody wrote", p.topic, in.PartitionIndex, records[i].Offset))
			return 0
		}
		op.Offsets, op.Values = append(op.Offsets, int64(records[i].Offset)), append(op.Values, number)
	}
	p.g.History.Ops = append(p.g.History.Ops, op)
	if n := len(records); n > 0 {
		k.next, k.told = int64(records[n-1].Offset)+1, false
		p.there = ""
	}
	return len(records)
}

func (p *poller) Settle(now model.Time) { p.settled, p.at = true, now }

func (p *poller) Waiting() string {
	if !p.settled {
		return "not asked to settle"
	}
	for _, o := range p.g.producers {
		if why := o.Waiting(); why != "" {
			return o.Name() + ": " + why
		}
	}
	for i := range p.parts {
		if p.g.Excused(p.topic, int32(i)) {
			continue
		}
		if end := p.g.ends[check.Key{Topic: p.topic, Partition: int32(i)}]; p.parts[i].next < end {
			return fmt.Sprintf("%s/%d: at %d, acknowledged to %d", p.topic, i, p.parts[i].next, end)
		}
	}
	return ""
}
