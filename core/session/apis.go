package session

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/protocol"
)

// Operation is what an ACL must allow for a request, in Kafka's words.
type Operation uint8

// Resource is what the operation is on.
type Resource uint8

// The operations and resources that requests need.
const (
	None Operation = iota // anybody may, even before authentication
	Describe
	Read
	Write
	Create
	Delete
	IdempotentWrite
)

// The resources.
const (
	Nothing Resource = iota
	Cluster
	Topic // each topic that the request names
	Group
)

// api is one row of the table: everything about a key but what its handler does.
type api struct {
	key protocol.Key
	// The client is told versionMin to versionMax. Of these, servedMin and above are really served: some
	// clients turn features off unless old versions are in range (KAFKA-18659).
	versionMin, servedMin, versionMax int16
	operation                         Operation
	resource                          Resource
}

// apis is every request that a client may send, by ascending key.
var apis = []api{
	{protocol.KeyProduce, 0, 3, 13, Write, Topic},
	{protocol.KeyFetch, 4, 4, 18, Read, Topic},
	{protocol.KeyListOffsets, 1, 1, 11, Describe, Topic},
	{protocol.KeyMetadata, 0, 0, 13, Describe, Topic},
	{protocol.KeyFindCoordinator, 0, 0, 6, Describe, Group},
	{protocol.KeyAPIVersions, 0, 0, 5, None, Nothing},
	{protocol.KeyCreateTopics, 2, 2, 7, Create, Cluster},
	{protocol.KeyDeleteTopics, 1, 1, 6, Delete, Topic},
	{protocol.KeyInitProducerID, 0, 0, 5, IdempotentWrite, Cluster},
}

// handle gives a request to the handler of its key. A test holds this switch against the table.
func (s *Session) handle(rq *request, out *Out) {
	switch rq.slot.key {
	case protocol.KeyProduce:
		s.receiveProduce(rq, out)
	case protocol.KeyFetch:
		s.receiveFetch(rq, out)
	case protocol.KeyListOffsets:
		s.receiveListOffsets(rq, out)
	case protocol.KeyMetadata:
		s.receiveMetadata(rq, out)
	case protocol.KeyFindCoordinator:
		s.receiveFindCoordinator(rq, out)
	case protocol.KeyAPIVersions:
		s.receiveAPIVersions(rq, out)
	case protocol.KeyCreateTopics:
		s.receiveCreateTopics(rq, out)
	case protocol.KeyDeleteTopics:
		s.receiveDeleteTopics(rq, out)
	case protocol.KeyInitProducerID:
		s.receiveInitProducerID(rq, out)
	default:
		invariant.Checkf(false, "%v is in the table and has no handler", rq.slot.key)
	}
}

// lookup finds a key's row. The table is short; a walk beats a map.
func lookup(key protocol.Key) (row api, served bool) {
	for _, a := range apis {
		if a.key == key {
			return a, true
		}
	}
	return api{}, false
}

// respond turns the broker's answer into the response of the request.
func respond(sl *slot, body effect.Body) protocol.Message {
	switch body := body.(type) {
	case *effect.OffsetsListed:
		return respondListOffsets(sl, body)
	case *effect.TopicsDescribed:
		return respondMetadata(sl, body)
	case *effect.TopicsCreated:
		return respondCreateTopics(sl, body)
	case *effect.TopicsDeleted:
		return respondDeleteTopics(sl, body)
	case *effect.ProducerIDAssigned:
		return respondInitProducerID(body)
	}
	invariant.Checkf(false, "an answer of unknown kind: %T", body)
	return nil
}
