package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/protocol"
)

// unconfigured reports whether a resource of Kafka's can be asked for though none has a configuration here: broker
// loggers, client metrics, groups.
func unconfigured(kind int8) bool { return kind == 8 || kind == 16 || kind == 32 }

func (s *Session) receiveListConfigResources(rq *request, out *Out) {
	var in protocol.ListConfigResourcesRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	ev := &broker.ListResources{To: rq.id, Topics: len(in.ResourceTypes) == 0 && rq.version >= 1, Brokers: len(in.ResourceTypes) == 0 && rq.version >= 1}
	for _, t := range in.ResourceTypes {
		switch {
		case t == metadata.TopicResource:
			ev.Topics = true
		case t == metadata.NodeResource:
			ev.Brokers = true
		case !unconfigured(t):
			r := new(protocol.ListConfigResourcesResponse)
			r.Default()
			r.ErrorCode = kerr.UnsupportedVersion.Code
			s.answer(rq.slot, r, out)
			return
		}
	}
	out.Events = append(out.Events, ev)
}

func respondListConfigResources(in *effect.ResourcesListed) protocol.Message {
	r := new(protocol.ListConfigResourcesResponse)
	r.Default()
	for _, resource := range in.Resources {
		to := protocol.Add(&r.ConfigResources)
		to.ResourceType, to.ResourceName = resource.Type, resource.Name
	}
	return r
}
