package broker

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
)

// describeConfigs answers from the image. Every resource is described once, however often it is named: a few
// bytes of a request must not ask for a list of everything each.
func (b *Broker) describeConfigs(ev *DescribeConfigs, out *effect.Set) {
	type resource struct {
		kind int8
		name string
	}
	answer, named := &effect.ConfigsDescribed{}, make(map[resource]bool, len(ev.Resources))
	for i := range ev.Resources {
		r := &ev.Resources[i]
		if this := (resource{r.Type, r.Name}); !named[this] {
			named[this] = true
			answer.Resources = append(answer.Resources, b.describeConfig(r))
		}
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
}

func (b *Broker) describeConfig(r *ConfigResource) effect.ConfigDescribed {
	d := effect.ConfigDescribed{Type: r.Type, Name: r.Name}
	image := b.view
	switch r.Type {
	case metadata.TopicResource:
		t := image.Named(r.Name)
		if why := metadata.NameProblem(r.Name); why != "" {
			d.Code, d.Message = kerr.InvalidTopicException.Code, "the topic name "+why
		} else if t == nil {
			d.Code, d.Message = kerr.UnknownTopicOrPartition.Code, fmt.Sprintf("topic %q does not exist", r.Name)
		} else {
			d.Entries = image.DescribeTopic(t)
		}
	case metadata.NodeResource:
		if why := metadata.NodeProblem(r.Name, image.NodeID()); why != "" {
			d.Code, d.Message = kerr.InvalidRequest.Code, why
		} else if r.Name == "" {
			d.Entries = image.DescribeEveryNode()
		} else {
			d.Entries = image.DescribeNode(b.config.Fixed)
		}
	default:
		d.Code = kerr.InvalidRequest.Code
		d.Message = fmt.Sprintf("resources of type %d have no configuration here; topics (2) and brokers (4) have", r.Type)
	}
	if len(r.Keys) > 0 {
		d.Entries = slices.DeleteFunc(d.Entries, func(e effect.ConfigEntry) bool { return !slices.Contains(r.Keys, e.Name) })
	}
	return d
}

func (b *Broker) describeCluster(ev *DescribeCluster, out *effect.Set) {
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.ClusterDescribed{
		ClusterID: b.config.ClusterID, Controller: b.config.Advertised.ID, Brokers: []effect.Broker{b.config.Advertised},
	}})
}
