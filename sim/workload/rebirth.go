package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/sim/draw"
)

// rebirth owns one topic name and lives it again and again: create it, write a few records, read them,
// delete it. A record that was acknowledged in one life must never be read in a later one.
//
//	creating ──► producing ──► consuming ──► deleting ──► creating
//
// Each stage is left when it is done or has taken too long; creating and deleting are tried until they are
// answered.
type rebirth struct {
	g       *group
	process int64
	rand    *draw.Stream
	topic   string
	lines   [3]Line // by the kinds below

	stage     rebirthStage
	since     model.Time
	at        model.Time
	busy      bool // an admin request is under way
	life      int64
	sent      int64
	acked     map[int64]int64 // the life that a value was acknowledged in
	mine      int             // acknowledged in this life
	seen      int             // of those, read
	settled   bool
	settledAt model.Time
	lives     int // that went well, since settling
}

type rebirthStage uint8

const (
	creating rebirthStage = iota
	producing
	consuming
	deleting
)

var stageNames = [...]string{"creating", "producing", "consuming", "deleting"}

const (
	adminLine = iota
	producerLine
	consumerLine
)

// stagePatience is how long a stage may take.
const stagePatience = 3 * second

func newRebirth(g *group) *rebirth {
	b := &rebirth{g: g, process: g.process(), acked: map[int64]int64{}, at: 1}
	b.rand = g.Root.Stream("rebirth", uint64(b.process))
	b.topic = fmt.Sprintf("rebirth%d", b.process)
	b.lines[adminLine].Machine = b.admin()
	b.renew()
	return b
}

func (b *rebirth) admin() client.Machine {
	cfg := client.NewAdminConfig(b.g.spec.Addrs...)
	b.g.timeouts(&cfg.Config, b.rand)
	cfg.Timeout = stagePatience
	return client.NewAdmin(cfg)
}

// renew starts a life with a new producer and consumer.
func (b *rebirth) renew() {
	p := client.NewProducerConfig(b.g.spec.Addrs...)
	b.g.timeouts(&p.Config, b.rand)
	p.DeliveryTimeout = stagePatience
	b.lines[producerLine].Machine = client.NewProducer(p)
	b.lines[producerLine].Life++
	c := client.NewConsumerConfig(b.g.spec.Addrs...)
	b.g.timeouts(&c.Config, b.rand)
	c.FetchWait = 200 * millisecond
	b.lines[consumerLine].Machine = client.NewConsumer(c)
	b.lines[consumerLine].Life++
	b.life++
	b.mine, b.seen = 0, 0
}

func (b *rebirth) Name() string   { return fmt.Sprintf("rebirth%d", b.process) }
func (b *rebirth) Lines() []*Line { return []*Line{&b.lines[0], &b.lines[1], &b.lines[2]} }

func (b *rebirth) enter(now model.Time, s rebirthStage) {
	b.stage, b.since = s, now
	b.at = now + 1
}

func (b *rebirth) Wake(now model.Time) {
	b.at = now + 50*millisecond
	switch b.stage {
	case creating, deleting:
		if b.done() {
			b.at = 0
			return
		}
		b.ask(now)
	case producing:
		if now-b.since > stagePatience+second {
			b.enter(now, deleting)
		}
	case consuming:
		if now-b.since > stagePatience {
			b.enter(now, deleting)
		}
	}
}

func (b *rebirth) ask(now model.Time) {
	if b.busy {
		return
	}
	b.busy = true
	line := &b.lines[adminLine]
	admin := line.Machine.(*client.Admin)
	if b.stage == creating {
		admin.CreateTopics(now, []client.NewTopic{{Name: b.topic, PartitionCount: 1, ReplicationFactor: b.g.replicas()}}, false, &line.Out)
		return
	}
	admin.DeleteTopics(now, []string{b.topic}, &line.Out)
}

func (b *rebirth) After(now model.Time, line *Line) {
	for i := range line.Out.Answers {
		b.busy = false
		for _, t := range line.Out.Answers[i].Topics {
			b.answered(now, &t)
		}
	}
	for i := range line.Out.Acks {
		b.produced(now, &line.Out.Acks[i])
	}
	if c, ok := line.Machine.(*client.Consumer); ok {
		for c.Available() && c.Poll(now, 1<<20, &line.Out) {
		}
		for i := range line.Out.Chunks {
			b.read(now, &line.Out.Chunks[i])
		}
	}
}

func (b *rebirth) answered(now model.Time, t *client.TopicResult) {
	switch {
	case b.stage == creating && (t.OK() || t.Code == kerr.TopicAlreadyExists.Code):
		b.enter(now, producing)
		b.write(now)
	case b.stage == deleting && (t.OK() || t.Code == kerr.UnknownTopicOrPartition.Code):
		if b.settled && b.seen > 0 && b.seen >= b.mine {
			b.lives++
		}
		b.renew()
		b.enter(now, creating)
		if b.g.several() {
			b.at = now + 300*millisecond // for nodes to hear of it
		}
	}
}

func (b *rebirth) write(now model.Time) {
	line := &b.lines[producerLine]
	p := line.Machine.(*client.Producer)
	for range 1 + b.rand.Intn(4) {
		b.sent++
		number := b.process<<40 | b.sent
		r := record.Record{Value: fillValue(number, b.g.spec.ValueBytes), Timestamp: b.g.Wall(now)}
		if err := p.Produce(now, b.topic, 0, &r, uint64(number), &line.Out); err != nil {
			b.g.Fail("client", fmt.Sprintf("a record was not taken: %v", err))
		}
	}
	p.Tick(now, &line.Out)
}

func (b *rebirth) produced(now model.Time, a *client.Ack) {
	for _, h := range a.Handles {
		if a.OK() {
			b.acked[int64(h)] = b.life
			b.mine++
		}
	}
	if b.stage != producing || b.lines[producerLine].Machine.(*client.Producer).UnackedCount() > 0 {
		return
	}
	b.enter(now, consuming)
	line := &b.lines[consumerLine]
	c := line.Machine.(*client.Consumer)
	c.Assign(now, []client.Assignment{{Topic: b.topic}}, &line.Out)
	c.Tick(now, &line.Out)
}

func (b *rebirth) read(now model.Time, k *client.Chunk) {
	var d client.Decoder
	records, err := d.Decode(nil, k)
	if err != nil {
		b.g.Fail("undecodable", fmt.Sprintf("%s from %d: %v", b.topic, k.From, err))
		return
	}
	for _, r := range records {
		number, ok := readValue(r.Value)
		life, acked := b.acked[number]
		switch {
		case !ok || number>>40 != b.process:
			b.g.Fail("content", fmt.Sprintf("%s: the record at %d is not what anybody wrote here", b.topic, r.Offset))
		case acked && life != b.life && b.g.several() && (b.settledAt == 0 || now < b.settledAt+2*second):
			// A node that has not heard of the deletion leads the topic of before under the name.
		case acked && life != b.life:
			b.g.Fail("recreated", fmt.Sprintf("%s: value %d of life %d was read in life %d, at %d", b.topic, number, life, b.life, r.Offset))
		case acked:
			b.seen++
		}
	}
	if b.stage == consuming && b.seen >= b.mine {
		b.enter(now, deleting)
	}
}

func (b *rebirth) WakeAt() model.Time { return b.at }

func (b *rebirth) Settle(now model.Time) { b.settled, b.settledAt, b.at = true, now, now }

// done reports whether there is no need to go on.
func (b *rebirth) done() bool { return b.settled && b.lives > 0 }

func (b *rebirth) Waiting() string {
	if b.done() && !b.busy {
		return ""
	}
	return fmt.Sprintf("life %d, %s, %d acknowledged, %d read", b.life, stageNames[b.stage], b.mine, b.seen)
}
