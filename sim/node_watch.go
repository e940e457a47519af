package sim

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// check verifies the core's own invariants, and that it shows nothing that is not durable.
func (p *process) check() {
	if err := p.broker.Check(); err != nil {
		p.n.w.fail("broker-check", err.Error())
	}
	if err := p.engine.Check(); err != nil {
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
	if !ok || l == nil || l.damaged != "" {
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
	case *broker.Produce, *broker.ListOffsets, *broker.DescribeTopics, *broker.CreateTopics, *broker.DeleteTopics,
		*broker.InitProducerID, *broker.Completed:
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
