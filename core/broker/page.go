package broker

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// pagePartitionsMax bounds a page (Kafka's max.request.partition.size.limit).
const pagePartitionsMax = 2000

// describePage answers with as many partitions as fit a page, in order of topic names, from where the client says
// that the last page ended.
func (b *Broker) describePage(ev *DescribePage, out *effect.Set) {
	answer := &effect.PageDescribed{}
	left := max(1, min(int(ev.Limit), pagePartitionsMax))
	add := func(t *metadata.Topic) bool {
		from := 0
		if t.Name == ev.From.Topic {
			from = max(0, min(int(ev.From.Partition), t.PartitionCount()))
		}
		if left == 0 {
			answer.Next = &effect.PageCursor{Topic: t.Name, Partition: model.Partition(from)}
			return false
		}
		to := min(from+left, t.PartitionCount())
		answer.Topics = append(answer.Topics, b.describePart(t, from, to))
		left -= to - from
		if to < t.PartitionCount() {
			answer.Next = &effect.PageCursor{Topic: t.Name, Partition: model.Partition(to)}
			return false
		}
		return true
	}
	if len(ev.Names) == 0 {
		for t := range b.view.TopicsFrom(ev.From.Topic) {
			if !add(t) {
				break
			}
		}
		out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
		return
	}
	names := slices.Clone(ev.Names)
	slices.Sort(names)
	names = slices.Compact(names)
	at, _ := slices.BinarySearch(names, ev.From.Topic)
	for _, name := range names[at:] {
		t := b.view.Named(name)
		if t == nil {
			code := kerr.UnknownTopicOrPartition.Code
			if metadata.NameProblem(name) != "" {
				code = kerr.InvalidTopicException.Code
			}
			answer.Topics = append(answer.Topics, effect.TopicDescribed{Code: code, Name: name})
		} else if !add(t) {
			break
		}
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
}

func (b *Broker) listResources(ev *ListResources, out *effect.Set) {
	answer := &effect.ResourcesListed{}
	if ev.Topics {
		for t := range b.view.Topics {
			answer.Resources = append(answer.Resources, effect.ResourceListed{Type: metadata.TopicResource, Name: t.Name})
		}
	}
	if ev.Brokers {
		answer.Resources = append(answer.Resources, effect.ResourceListed{
			Type: metadata.NodeResource, Name: strconv.Itoa(int(b.config.Advertised.ID)),
		})
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
}
