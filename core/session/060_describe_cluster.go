package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/protocol"
)

// Which endpoints a client asks for (KIP-919).
const (
	endpointsOfBrokers     = 1
	endpointsOfControllers = 2
)

func (s *Session) receiveDescribeCluster(rq *request, out *Out) {
	var in protocol.DescribeClusterRequest
	in.Default()
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	if in.EndpointType != endpointsOfBrokers {
		r := new(protocol.DescribeClusterResponse)
		r.Default()
		r.EndpointType = in.EndpointType
		r.ErrorCode, r.ErrorMessage = kerr.UnsupportedEndpointType.Code, protocol.String("endpoints are of brokers (1) or controllers (2)")
		if in.EndpointType == endpointsOfControllers {
			r.ErrorCode, r.ErrorMessage = kerr.MismatchedEndpointType.Code, protocol.String("this listener is a broker's: it does not tell controllers")
		}
		s.answer(rq.slot, r, out)
		return
	}
	r := new(protocol.DescribeClusterResponse)
	r.Default()
	r.ClusterID, r.ControllerID = s.config.ClusterID, int32(s.controllerID())
	for _, b := range s.brokers() {
		to := protocol.Add(&r.Brokers)
		to.BrokerID, to.Host, to.Port, to.Rack = int32(b.ID), b.Host, b.Port, messageOf(b.Rack)
	}
	if in.IncludeFencedBrokers {
		s.addFenced(r)
	}
	if in.IncludeClusterAuthorizedOperations {
		r.ClusterAuthorizedOperations = clusterOperations
	}
	s.answer(rq.slot, r, out)
}

// addFenced tells of brokers that have registered and are fenced, too (KIP-1073).
func (s *Session) addFenced(r *protocol.DescribeClusterResponse) {
	for b := range s.published.View.Brokers {
		if shown, ok := s.reached(b); ok && b.Fenced {
			to := protocol.Add(&r.Brokers)
			to.BrokerID, to.Host, to.Port, to.Rack, to.IsFenced = int32(shown.ID), shown.Host, shown.Port, messageOf(shown.Rack), true
		}
	}
}

// What a client may do with a resource, as bits numbered by Kafka's AclOperation. Nobody is refused
// anything yet, so these are all operations that the resource has.
const (
	opRead, opWrite, opCreate, opDelete             = 1 << 3, 1 << 4, 1 << 5, 1 << 6
	opAlter, opDescribe, opClusterAction            = 1 << 7, 1 << 8, 1 << 9
	opDescribeConfigs, opAlterConfigs, opIdempotent = 1 << 10, 1 << 11, 1 << 12

	clusterOperations = opAlter | opAlterConfigs | opClusterAction | opCreate | opDescribe | opDescribeConfigs | opIdempotent
	topicOperations   = opAlter | opAlterConfigs | opCreate | opDelete | opDescribe | opDescribeConfigs | opRead | opWrite
)
