package workload

import (
	"fmt"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/draw"
)

// operator is somebody with an admin client, who asks for one thing at a time, with pauses, until it is to settle. What it asks for
// the programs that embed it say.
type operator struct {
	g       *group
	name    string
	rand    *draw.Stream
	line    Line
	admin   *client.Admin
	at      model.Time
	asked   bool // and not answered
	settled bool
}

// newOperator makes an operator of a kind, who gives a question up after some time.
func newOperator(g *group, kind string, timeout model.Time) operator {
	id := g.process()
	o := operator{g: g, name: fmt.Sprintf("%s%d", kind, id), rand: g.Root.Stream(kind, uint64(id))}
	cfg := client.NewAdminConfig(g.spec.Addrs...)
	g.timeouts(&cfg.Config, o.rand)
	cfg.Timeout = timeout
	o.admin = client.NewAdmin(cfg)
	o.line.Machine = o.admin
	o.at = model.Time(o.rand.Between(int64(100*millisecond), int64(second)))
	return o
}

func (o *operator) Name() string       { return o.name }
func (o *operator) Lines() []*Line     { return []*Line{&o.line} }
func (o *operator) WakeAt() model.Time { return o.at }
func (o *operator) Settle(model.Time)  { o.settled = true }

// free reports whether it may ask for something now, and sets when it looks again.
func (o *operator) free(now, pauseMean model.Time) bool {
	o.at = now + 1 + model.Time(o.rand.Exp(int64(pauseMean)))
	if o.settled {
		o.at = 0
	}
	return !o.settled && !o.asked
}

// partition draws one of the load's partitions.
func (o *operator) partition() client.TopicPartition {
	return client.TopicPartition{Topic: o.g.topics[o.rand.Intn(len(o.g.topics))], Partition: model.Partition(o.rand.Intn(o.g.spec.Partitions))}
}

func (o *operator) Waiting() string {
	if o.asked {
		return "what it asked for is not answered"
	}
	return ""
}
