package session

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"

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
	r := new(protocol.ListConfigResourcesResponse)
	r.Default()
	topics := len(in.ResourceTypes) == 0 && rq.version >= 1
	brokers := topics
	for _, t := range in.ResourceTypes {
		switch {
		case t == metadata.TopicResource:
			topics = true
		case t == metadata.NodeResource:
			brokers = true
		case !unconfigured(t):
			r.ErrorCode = kerr.UnsupportedVersion.Code
			s.answer(rq.slot, r, out)
			return
		}
	}
	if topics {
		r.ConfigResources = make([]protocol.ListConfigResourcesResponseResource, 0, s.published.View.TopicCount())
		for t := range s.published.View.Topics {
			to := protocol.Add(&r.ConfigResources)
			to.ResourceType, to.ResourceName = metadata.TopicResource, t.Name
		}
	}
	if brokers {
		for _, b := range s.brokers() {
			to := protocol.Add(&r.ConfigResources)
			to.ResourceType, to.ResourceName = metadata.NodeResource, strconv.Itoa(int(b.ID))
		}
	}
	s.answer(rq.slot, r, out)
}
