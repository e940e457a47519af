package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/sim/draw"
)

// inventor asks for topics that nobody made. Where brokers make them, they stay; where not, they never are.
type inventor struct {
	g       *group
	process int64
	rand    *draw.Stream
	line    Line
	caller  *caller
	at      model.Time
	ids     map[string]protocol.UUID
	names   int
	settled bool
	done    bool
}

func newInventor(g *group) *inventor {
	v := &inventor{g: g, process: g.process(), ids: map[string]protocol.UUID{}}
	v.rand = g.Root.Stream("inventor", uint64(v.process))
	v.caller = newCaller(g, v.Name(), v.rand, &v.line)
	v.at = model.Time(v.rand.Between(1, int64(50*millisecond)))
	return v
}

func (v *inventor) Name() string            { return fmt.Sprintf("inventor%d", v.process) }
func (v *inventor) Lines() []*Line          { return []*Line{&v.line} }
func (v *inventor) After(model.Time, *Line) {}
func (v *inventor) WakeAt() model.Time      { return v.at }
func (v *inventor) Settle(now model.Time)   { v.settled, v.at = true, now }

func (v *inventor) Wake(now model.Time) {
	v.at = now + 1 + model.Time(v.rand.Exp(int64(4*v.g.spec.Gap)))
	if v.done {
		v.at = 0
		return
	}
	if v.caller.asked() {
		return
	}
	const namesMax = 4
	n := v.rand.Intn(min(v.names+1, namesMax))
	v.names = max(v.names, n+1)
	name := fmt.Sprintf("invented%d-%d", v.process, n)
	m := protocol.NewRequest(protocol.KeyMetadata).(*protocol.MetadataRequest)
	m.AllowAutoTopicCreation = true
	protocol.Add(&m.Topics).Name = protocol.String(name)
	v.caller.ask(now, m, versions{4, 13}, 2*second, func(_ model.Time, m protocol.Message) {
		in, ok := m.(*protocol.MetadataResponse)
		if !ok || len(in.Topics) != 1 {
			return
		}
		v.answered(name, &in.Topics[0])
	})
}

func (v *inventor) answered(name string, t *protocol.MetadataResponseTopic) {
	id, known := v.ids[name]
	switch {
	case t.ErrorCode == 0 && !v.g.AutoCreate:
		v.g.Fail("auto-create", name+" is there, and nobody made it")
	case t.ErrorCode == kerr.UnknownTopicOrPartition.Code && known && !v.g.several():
		v.g.Fail("lost-topic", name+" was made by asking for it, and is gone")
	case t.ErrorCode == 0 && known && id != t.TopicID && id != protocol.UUID{} && t.TopicID != protocol.UUID{}:
		v.g.Fail("lost-topic", fmt.Sprintf("%s was %x and is %x", name, id, t.TopicID))
	case t.ErrorCode == 0 && len(t.Partitions) > 0:
		if !known || id == (protocol.UUID{}) {
			v.ids[name] = t.TopicID
		}
		v.done = v.done || v.settled
	case t.ErrorCode == kerr.UnknownTopicOrPartition.Code:
		v.done = v.done || v.settled && !v.g.AutoCreate
	}
}

func (v *inventor) Waiting() string {
	if v.done {
		return ""
	}
	return "no answer about a topic since the faults"
}
