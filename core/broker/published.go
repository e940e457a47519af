package broker

import (
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// Published is what sessions answer from on their connections' own time, without asking the loop: the state after
// some step. It never changes; what comes later is another one.
//
// The driver shows the newest to a session before every frame that it hands over, and before every answer. So that a
// client that was told of something finds it in what it asks next, on whatever connection, the driver takes up what
// a step published before any answer of that step goes out.
type Published struct {
	View   *metadata.View
	Codecs *effect.Codecs // in which codecs topics keep their records
	// Controller is whom this node takes for the controller; NoNode if nobody.
	Controller model.NodeID
	// offline are partitions that cannot be used on this node, in ascending order.
	offline []model.TopicPartition
}

// Offline reports whether a partition cannot be used on this node.
func (p *Published) Offline(tp model.TopicPartition) bool {
	if len(p.offline) == 0 {
		return false
	}
	_, found := slices.BinarySearchFunc(p.offline, tp, model.TopicPartition.Compare)
	return found
}

// OfflineCount is how many partitions cannot be used on this node.
func (p *Published) OfflineCount() int { return len(p.offline) }

// NewPublished is what a broker publishes that holds no partitions but some that cannot be used.
func NewPublished(view *metadata.View, offline ...model.TopicPartition) *Published {
	offline = slices.Clone(offline)
	slices.SortFunc(offline, model.TopicPartition.Compare)
	return &Published{View: view, Controller: model.NoNode, offline: offline}
}

// Published is what sessions go by from now on.
func (b *Broker) Published() *Published { return b.published }

// recode notes in which codec a topic keeps its records, for publish. Most keep them as they come, and were not known to do anything else.
func (b *Broker) recode(t *metadata.Topic, c *metadata.TopicConfig) {
	keeps := c == nil || !c.Recompress
	if _, own := b.published.Codecs.Identified(t.ID); keeps && !own && len(b.recoded) == 0 {
		return
	}
	ch := effect.CodecChange{Name: t.Name, ID: t.ID, Keeps: keeps}
	if c != nil {
		ch.TopicCodec = effect.TopicCodec{Codec: c.Codec, BytesMax: c.MessageBytesMax}
	}
	b.recoded = append(b.recoded, ch)
}

// setOffline notes that a partition cannot be used, for publish.
func (b *Broker) setOffline(tp model.TopicPartition) {
	if !b.offline[tp] {
		b.offline[tp], b.offlineChanged = true, true
	}
}

// forgetOffline notes that a partition is gone.
func (b *Broker) forgetOffline(tp model.TopicPartition) {
	if b.offline[tp] {
		delete(b.offline, tp)
		delete(b.damage.alone, tp)
		b.offlineChanged = true
	}
}

// publish makes what sessions go by, if something in it changed.
func (b *Broker) publish() {
	p := b.published
	controller, known := b.controllerNode()
	if !known {
		controller = model.NoNode
	}
	if p != nil && p.View == b.view && len(b.recoded) == 0 && !b.offlineChanged && p.Controller == controller {
		return
	}
	n := &Published{View: b.view, Controller: controller}
	if p != nil {
		n.Codecs, n.offline = p.Codecs, p.offline
	}
	n.Codecs = n.Codecs.With(b.recoded)
	clear(b.recoded)
	b.recoded = b.recoded[:0]
	if b.offlineChanged {
		b.offlineChanged = false
		n.offline = make([]model.TopicPartition, 0, len(b.offline))
		for tp := range b.offline {
			n.offline = append(n.offline, tp)
		}
		slices.SortFunc(n.offline, model.TopicPartition.Compare)
	}
	b.published = n
}
