package broker

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/replica"
)

// topic is what the broker keeps of one topic of which it has partitions. Of the others it keeps nothing: a node of a large cluster
// has a part in few of them.
type topic struct {
	*metadata.Topic                       // as of the newest image
	Config          *metadata.TopicConfig // what its settings come to on this node; it is shared, and never changed
	held            int                   // how many partitions of it are here
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
	watchers    []*entry   // of fetch sessions
	fetchedBy   uint64     // the newest full fetch that named it
	timed       bool       // in Broker.timeouts
	readAway    bool       // clients were sent to followers to read
	following   *following // while another node leads
	proposing   bool       // a change of who is in sync is on its way to the controller
	toldAt      model.Time // when the metadata said last that it is led here
	proposeAt   model.Time // when to look again who is in sync; 0 if there is nothing to wait for
}

// index is the partition's number.
func (p *partition) index() model.Partition { return p.replica.Partition().Partition }

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

// Watermarks calls fn with the high watermark of every partition that is here, for the driver to hand them to storage before a
// clean stop.
func (b *Broker) Watermarks(fn func(model.TopicPartition, model.Offset)) {
	for _, p := range b.partitions.order {
		if p.replica.Offline() == "" && !p.replica.Cutting() {
			fn(p.replica.Partition(), p.replica.Bounds().HighWatermark)
		}
	}
}

// retention spreads the retention checks of all partitions over the interval: each Tick looks at a few. The first round is faster,
// since storage looks into a directory when it is first used: what was removed from it while the node was down is to be known soon.
type retention struct {
	next   model.Time // when the next few are due
	cursor int        // where in partitions.order they begin
	looked bool       // the first round is over
	// undeleted are partitions of deleted topics whose removal a full disk refused: it is tried again.
	undeleted []model.TopicPartition
}

const (
	// retentionStep is how many partitions one Tick looks at.
	retentionStep = 64
	// firstRound is how long the first round takes at most.
	firstRound model.Time = 30e9
)

func (b *Broker) retain(now model.Time, wall model.Timestamp, out *effect.Set) {
	if now < b.retention.next || len(b.partitions.order)+len(b.retention.undeleted) == 0 {
		return
	}
	for _, tp := range b.retention.undeleted {
		out.Deletes = append(out.Deletes, effect.Delete{Partition: tp})
	}
	b.retention.undeleted = b.retention.undeleted[:0]
	order := b.partitions.order
	if b.retention.cursor >= len(order) {
		b.retention.cursor, b.retention.looked = 0, b.retention.looked || b.retention.cursor > 0
	}
	few := order[b.retention.cursor:min(b.retention.cursor+retentionStep, len(order))]
	b.retention.cursor += len(few)
	steps := model.Time(max(1, (len(order)+retentionStep-1)/retentionStep))
	interval := b.config.RetentionCheckInterval
	if !b.retention.looked {
		interval = min(interval, firstRound)
	}
	b.retention.next = now + max(1, interval/steps)
	for _, p := range few {
		bounds := p.replica.Bounds()
		if p.replica.Offline() != "" || p.replica.Cutting() {
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
