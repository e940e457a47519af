package broker

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// What other nodes ask of the controller, and what is forwarded to it.

func (b *Broker) registerBroker(ev *RegisterBroker, out *effect.Set) {
	b.controller.Register(ev.To, &ev.Ask, out)
}

func (b *Broker) brokerHeartbeat(ev *BrokerHeartbeat, out *effect.Set) {
	b.controller.Heartbeat(ev.To, &ev.Ask, b.vouches(), out)
}

func (b *Broker) alterPartition(ev *AlterPartition, out *effect.Set) {
	b.controller.AlterPartition(ev.To, &ev.Ask, out)
}

func (b *Broker) allocateProducerIDs(ev *AllocateProducerIDs, out *effect.Set) {
	b.controller.AllocateProducerIDs(ev.To, &ev.Ask, out)
}

func (b *Broker) createMissing(to effect.RequestID, in *effect.CreateMissing, out *effect.Set) {
	b.controller.Ensure(to, in.Names, out)
}

const forwardTimeout model.Time = 30e9

// forwarded passes a client's request to the controller, if that is another node. What was forwarded to this node is
// decided here or not at all.
func (b *Broker) forwarded(to effect.RequestID, origin *Origin, out *effect.Set) bool {
	node, ok := b.controllerNode()
	if origin.Forwarded() || !ok || node == b.config.Advertised.ID {
		return false
	}
	address, known := b.controllerAddress(node)
	if !known {
		return false
	}
	body := &effect.Forward{Request: origin.Frame, Principal: origin.Principal, ClientAddress: origin.ClientAddress}
	b.call(node, address, effect.LaneForward, forwardTimeout, body, out, func(a *effect.Answer, out *effect.Set) {
		answer, _ := a.Body.(*effect.Forwarded)
		if a.Failure != effect.CallOK || answer.Code != 0 {
			b.controllerUnknown()
			out.Replies = append(out.Replies, effect.Reply{To: to, Body: &effect.Forwarded{}})
			return
		}
		out.Replies = append(out.Replies, effect.Reply{To: to, Body: answer})
	})
	return true
}
