package controller

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// Unregister asks for a broker to be forgotten; the answer is an effect.BrokerUnregistered.
//
// A broker that holds replicas is not forgotten: with it would go which disk they are on, and whoever came back with the
// same id would be believed. One that still runs registers again at its next heartbeat.
func (c *Controller) Unregister(to effect.RequestID, node model.NodeID, out *effect.Set) {
	c.ask(&request{
		to: to,
		decide: func(t *turn) effect.Body {
			if why := t.unregister(node); why != nil {
				return &effect.BrokerUnregistered{Code: why.error.Code, Message: why.message}
			}
			return &effect.BrokerUnregistered{}
		},
		refuse: func(code int16, why string) effect.Body { return &effect.BrokerUnregistered{Code: code, Message: why} },
	}, out)
}

func (t *turn) unregister(node model.NodeID) *refusal {
	b := t.image().Broker(node)
	if b == nil {
		return &refusal{kerr.BrokerIDNotRegistered, fmt.Sprintf("broker %d is not registered", node)}
	}
	if count := len(t.heldBy(node)); count > 0 {
		return &refusal{kerr.InvalidRequest, fmt.Sprintf("broker %d holds replicas of %d partitions: move them to others first", node, count)}
	}
	t.record(&protocol.UnregisterBrokerRecord{BrokerID: int32(b.ID), BrokerEpoch: int64(b.Epoch)}, 0)
	return nil
}
