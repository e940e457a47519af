package workload

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/draw"
)

// producer sends unique values to random partitions of its load's topics.
type producer struct {
	g       *group
	process int64
	rand    *draw.Stream
	line    Line
	machine *client.Producer
	cfg     client.ProducerConfig
	at      model.Time
	sent    int64 // values so far

	settledAt model.Time // 0 before the faults are healed
	// missing are the partitions that no record called after that has got through to.
	missing []check.Key
}

func newProducer(g *group) *producer {
	p := &producer{g: g, process: g.process()}
	p.rand = g.Root.Stream("producer", uint64(p.process))
	r := p.rand
	cfg := client.NewProducerConfig(g.spec.Addrs...)
	g.timeouts(&cfg.Config, r)
	cfg.Linger = g.spec.Linger
	cfg.Codec = record.Codec(g.spec.Codec)
	if g.spec.Codec < 0 {
		cfg.Codec = record.Codec(r.Intn(5))
	}
	cfg.InFlightMax = 1 + r.Intn(5)
	cfg.BatchBytes = int(r.LogUniform(256, 64<<10))
	if !g.spec.Calm {
		cfg.DeliveryTimeout = model.Time(r.LogUniform(int64(500*millisecond), int64(60*second)))
	}
	switch r.Intn(8) {
	case 0:
		cfg.Acks = client.AcksNone
	case 1:
		cfg.Acks = client.AcksLeader
	}
	p.cfg, p.machine = cfg, client.NewProducer(cfg)
	p.line.Machine = p.machine
	p.at = model.Time(r.Between(1, int64(20*millisecond)))
	return p
}

func (p *producer) Name() string   { return fmt.Sprintf("producer%d", p.process) }
func (p *producer) Lines() []*Line { return []*Line{&p.line} }

// promises reports whether order and no duplicates are promised. A broker that forgets a producer takes its
// retries for something new.
func (p *producer) promises() bool { return p.cfg.Acks == client.AcksAll && !p.g.Forget }

func (p *producer) Wake(now model.Time) {
	p.at = now + 1 + model.Time(p.rand.Exp(int64(p.gap(now))))
	if p.g.created == 0 {
		return
	}
	if p.settledAt != 0 {
		p.last(now)
		return
	}
	if p.Silent() && now >= p.g.spec.Silent {
		p.at = 0
		return
	}
	topic := p.g.topics[p.rand.Intn(p.g.created)]
	p.burst(now, topic, p.rand.Intn(p.g.spec.Partitions))
	p.machine.Tick(now, &p.line.Out)
}

// gap is how long it waits between bursts, on average: in a surge, a tenth of what it does else.
func (p *producer) gap(now model.Time) model.Time {
	const times = 10
	if now < p.g.spec.SurgeFrom || now >= p.g.spec.SurgeUntil || p.settledAt != 0 {
		return p.g.spec.Gap
	}
	p.g.Surged()
	return max(1, p.g.spec.Gap/times)
}

// last sends to every partition that nothing has got through to since the faults were healed.
func (p *producer) last(now model.Time) {
	p.at = now + 300*millisecond
	if len(p.missing) == 0 {
		p.at = 0
		return
	}
	for _, k := range p.missing {
		p.burst(now, k.Topic, int(k.Partition))
	}
	if p.cfg.Acks == client.AcksNone {
		p.missing = nil // it will never know
	}
	p.machine.Tick(now, &p.line.Out)
}

func (p *producer) burst(now model.Time, topic string, partition int) {
	for range 1 + p.rand.Intn(p.g.spec.Records) {
		p.produce(now, topic, partition)
	}
}

func (p *producer) produce(now model.Time, topic string, partition int) {
	p.sent++
	number := p.process<<40 | p.sent
	op := check.Op{
		Process: p.process, F: check.Send, Call: int64(now), Topic: topic, Partition: int32(partition),
		Values: []int64{number}, Offset: -1,
	}
	if p.promises() {
		op.Producer = p.process
	}
	r := record.Record{
		Value: fillValue(number, p.g.spec.ValueBytes),
		// Producers' clocks do not agree, and records wait before they are sent.
		Timestamp: p.g.Wall(now) + model.Timestamp(p.rand.Between(-50, 50)),
	}
	if number%3 == 0 {
		r.Key = r.Value[:8]
	}
	if number%5 == 0 {
		r.Headers = []record.RecordHeader{{Key: []byte("n"), Value: r.Value[:8]}, {Key: []byte("null")}}
	}
	at := p.g.begin(op)
	err := p.machine.Produce(now, topic, model.Partition(partition), &r, uint64(at), &p.line.Out)
	if err != nil {
		p.g.end(at, now, client.Outcome{Reason: client.Refused, Definite: true})
		if !errors.Is(err, client.ErrBufferFull) {
			p.g.Fail("client", fmt.Sprintf("a record was not taken: %v", err))
		}
		return
	}
}

func (p *producer) After(now model.Time, line *Line) {
	for i := range line.Out.Acks {
		a := &line.Out.Acks[i]
		for j, h := range a.Handles {
			p.acked(now, int(h), int64(j), a)
		}
	}
}

func (p *producer) acked(now model.Time, at int, j int64, a *client.Ack) {
	how := a.Outcome
	if how.OK() && p.cfg.Acks == client.AcksNone {
		how = client.Outcome{Reason: client.Lost} // it was not told anything
		if p.g.spec.Calm {
			return
		}
	}
	told := how
	if how.OK() && p.cfg.Acks == client.AcksLeader && (p.g.replicas() > 1 || p.g.moved) {
		told = client.Outcome{Reason: client.Lost} // what only the leader has may be lost with it
	}
	op := p.g.end(at, now, told)
	if a.Topic != op.Topic || int32(a.Partition) != op.Partition {
		p.g.Fail("client", fmt.Sprintf("acknowledged for %s/%d: %s", a.Topic, a.Partition, op))
	}
	if !how.OK() {
		return
	}
	k := check.Key{Topic: op.Topic, Partition: op.Partition}
	if a.BaseOffset != model.NoOffset && told.OK() {
		op.Offset = int64(a.BaseOffset) + j
		p.g.ends[k] = max(p.g.ends[k], op.Offset+1)
	}
	if p.settledAt != 0 && op.Call >= int64(p.settledAt) {
		if i := slices.Index(p.missing, k); i >= 0 {
			p.missing = slices.Delete(p.missing, i, i+1)
		}
	}
}

func (p *producer) WakeAt() model.Time { return p.at }

// Silent reports whether the producer stops writing before the faults end.
func (p *producer) Silent() bool { return p.g.spec.Silent > 0 }

func (p *producer) Settle(now model.Time) {
	p.settledAt, p.at = now, now
	for _, topic := range p.g.topics {
		for i := range p.g.spec.Partitions {
			p.missing = append(p.missing, check.Key{Topic: topic, Partition: int32(i)})
		}
	}
}

func (p *producer) Waiting() string {
	switch {
	case p.settledAt == 0:
		return "not asked to settle"
	case len(p.missing) > 0:
		return fmt.Sprintf("no record got through to %s since the faults", p.missing[0])
	case p.machine.UnackedCount() > 0:
		return fmt.Sprintf("%d records are not acknowledged", p.machine.UnackedCount())
	}
	return ""
}
