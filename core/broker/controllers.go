package broker

import (
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
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
	if to.Conn != localConn && b.controller.Active() && slices.ContainsFunc(in.Names, metadata.Internal) {
		out.Marks.Set(effect.MarkInternalEnsured)
	}
	b.controller.Ensure(to, in.Names, out)
}

const forwardTimeout model.Time = 30e9

// directed has the controller decide a client's request. It is decided here if the controller is here, and what another node forwarded is
// decided here or not at all. It is refused here, by a controller that is not active, if the one that is certainly did not decide it: it is not
// known, it was not reached, or it is another by now.
func (b *Broker) directed(to effect.RequestID, origin *Origin, out *effect.Set, here func(out *effect.Set)) {
	node, ok := b.controllerNode()
	address, known := b.controllerAddress(node)
	if origin.Forwarded() || !ok || node == b.config.Advertised.ID || !known {
		here(out)
		return
	}
	body := &effect.Forward{Request: origin.Frame, Principal: origin.Principal, ClientAddress: origin.ClientAddress}
	b.call(node, address, effect.LaneForward, forwardTimeout, body, out, func(a *effect.Answer, out *effect.Set) {
		answer, _ := a.Body.(*effect.Forwarded)
		switch {
		case a.Failure == effect.CallOK && answer.Code == 0:
			out.Replies = append(out.Replies, effect.Reply{To: to, Body: answer})
		case a.Failure == effect.CallOK || a.Failure == effect.CallUnreachable:
			b.controllerUnknown()
			here(out)
		default:
			// It may have been decided, and an answer would say that it was not.
			b.controllerUnknown()
			out.Replies = append(out.Replies, effect.Reply{To: to, Body: &effect.Forwarded{}})
		}
	})
}
