package broker

import (
	"fmt"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/replica"
)

// topic is what the broker keeps of one topic.
type topic struct {
	*metadata.Topic                      // as of the newest image
	Config          metadata.TopicConfig // what its settings come to on this node
}

// partition is what the broker keeps of one partition.
type partition struct {
	topic    *topic
	replica  *replica.Replica
	waiting  []waiter   // fetches to be woken when the high watermark moves, in no order that matters
	deleting []deleting // parts of DeleteRecords requests that wait for storage
	place    int        // in partitions.order
	// coordinator leads the groups of a partition of the offsets topic; nil for others.
	coordinator *coordinator
	watchers    []*entry // of fetch sessions
	fetchedBy   uint64   // the newest full fetch that named it
	timed       bool     // in Broker.timeouts
}

// partitions finds partitions by name and walks them in an order that depends on nothing but history.
type partitions struct {
	byID  map[model.TopicPartition]*partition
	order []*partition
}

func (ps *partitions) get(tp model.TopicPartition) *partition { return ps.byID[tp] }

func (ps *partitions) add(p *partition) {
	if ps.byID == nil {
		ps.byID = make(map[model.TopicPartition]*partition)
	}
	p.place = len(ps.order)
	ps.order = append(ps.order, p)
	ps.byID[p.replica.Partition()] = p
}

func (ps *partitions) remove(p *partition) {
	last := ps.order[len(ps.order)-1]
	ps.order[p.place], last.place = last, p.place
	ps.order[len(ps.order)-1] = nil
	ps.order = ps.order[:len(ps.order)-1]
	delete(ps.byID, p.replica.Partition())
}

func (b *Broker) checkPartitions() error {
	ps := &b.partitions
	if len(ps.byID) != len(ps.order) {
		return fmt.Errorf("%d partitions by id, %d in order", len(ps.byID), len(ps.order))
	}
	for i, p := range ps.order {
		tp := p.replica.Partition()
		if p.place != i || ps.byID[tp] != p {
			return fmt.Errorf("partition %v is filed wrongly", tp)
		}
		if b.topics[tp.Topic] != p.topic || p.topic.Partition(tp.Partition) == nil {
			return fmt.Errorf("partition %v has another topic than the image", tp)
		}
		if err := p.replica.Check(); err != nil {
			return err
		}
		if offline := p.replica.Offline() != ""; offline != b.offline[tp] || offline != b.published.Offline(tp) {
			return fmt.Errorf("partition %v is offline: %t, counted as such: %t, published as such: %t", tp, offline, b.offline[tp], b.published.Offline(tp))
		}
	}
	if len(b.offline) != b.published.OfflineCount() || b.published.View != b.view {
		return fmt.Errorf("what is published is not what is so: %d partitions offline, %d published", len(b.offline), b.published.OfflineCount())
	}
	if b.view != b.controller.View() || len(b.topics) != b.view.TopicCount() {
		return fmt.Errorf("the broker is behind the controller: %d topics, not %d", len(b.topics), b.view.TopicCount())
	}
	for t := range b.view.Topics {
		if own := b.topics[t.ID]; own == nil || own.Topic != t || own.Config != b.view.TopicConfig(t) {
			return fmt.Errorf("topic %q is not as it is in the image", t.Name)
		}
	}
	if count := b.view.PartitionCount(); count != len(ps.order) {
		return fmt.Errorf("the image has %d partitions, the broker %d", count, len(ps.order))
	}
	return nil
}

// retention spreads the retention checks of all partitions over the interval: each Tick looks at a few.
type retention struct {
	next   model.Time // when the next few are due
	cursor int        // where in partitions.order they begin
	// undeleted are partitions of deleted topics whose removal a full disk refused: it is tried again.
	undeleted []model.TopicPartition
}

// retentionStep is how many partitions one Tick looks at.
const retentionStep = 64

func (b *Broker) retain(now model.Time, wall model.Timestamp, out *effect.Set) {
	if now < b.retention.next {
		return
	}
	for _, tp := range b.retention.undeleted {
		out.Deletes = append(out.Deletes, effect.Delete{Partition: tp})
	}
	b.retention.undeleted = b.retention.undeleted[:0]
	order := b.partitions.order
	if b.retention.cursor >= len(order) {
		b.retention.cursor = 0
	}
	few := order[b.retention.cursor:min(b.retention.cursor+retentionStep, len(order))]
	b.retention.cursor += len(few)
	steps := model.Time(max(1, (len(order)+retentionStep-1)/retentionStep))
	b.retention.next = now + max(1, b.config.RetentionCheckInterval/steps)
	for _, p := range few {
		bounds := p.replica.Bounds()
		if p.replica.Offline() != "" {
			continue
		}
		p.replica.Expire(wall, b.view.Node().ProducerExpirationMs, out)
		if bounds.HighWatermark == 0 {
			continue // an empty log that has never held anything; one that was emptied remembers producers
		}
		out.Retains = append(out.Retains, effect.Retain{
			Partition: p.replica.Partition(), HighWatermark: bounds.HighWatermark, Wall: wall,
			ProducerExpirationMs: b.view.Node().ProducerExpirationMs,
		})
	}
}
