package broker

import (
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// calls are what this node has asked of others and was not answered yet. What it asks of itself it answers itself: the
// controller may be here.
type calls struct {
	last    effect.CallID
	waiting map[effect.CallID]func(*effect.Answer, *effect.Set)
	local   []localCall // to be carried out in this step
	asked   []asked     // of another node that was taken for the controller
}

// asked is a call to a node that was taken for the controller.
type asked struct {
	id effect.CallID
	of model.NodeID
}

// localCall is what this node asks of itself.
type localCall struct {
	id   effect.CallID
	body effect.CallBody
}

// localConn is the connection of requests that this node makes itself: no driver counts so far.
const localConn = ^effect.ConnID(0)

// call asks another node. answered is called once.
func (b *Broker) call(to model.NodeID, address effect.Address, lane effect.Lane, timeout model.Time, body effect.CallBody, out *effect.Set, answered func(*effect.Answer, *effect.Set)) effect.CallID {
	id := b.newCall(answered)
	out.Calls = append(out.Calls, effect.Call{To: to, Address: address, Lane: lane, ID: id, Timeout: timeout, Body: body})
	return id
}

func (b *Broker) newCall(answered func(*effect.Answer, *effect.Set)) effect.CallID {
	b.calls.last++
	b.calls.waiting[b.calls.last] = answered
	return b.calls.last
}

// askController asks whoever is the controller, as far as this node knows. If nobody is known, or it cannot be reached,
// the answer says so at once.
func (b *Broker) askController(lane effect.Lane, timeout model.Time, body effect.CallBody, out *effect.Set, answered func(*effect.Answer, *effect.Set)) effect.CallID {
	node, ok := b.controllerNode()
	if ok && node == b.config.Advertised.ID {
		id := b.newCall(answered)
		b.calls.local = append(b.calls.local, localCall{id, body})
		return id
	}
	if ok {
		if address, known := b.controllerAddress(node); known {
			id := b.call(node, address, lane, timeout, body, out, answered)
			b.calls.asked = append(b.calls.asked, asked{id, node})
			return id
		}
	}
	id := b.newCall(answered)
	b.calls.local = append(b.calls.local, localCall{id, nil})
	return id
}

// giveUpCalls gives up what was asked of nodes that are not the controller any more: one that died would be waited for
// until time is up, while the new controller takes this broker for dead.
func (b *Broker) giveUpCalls(controller model.NodeID) {
	for _, c := range b.calls.asked {
		if c.of != controller {
			b.calls.local = append(b.calls.local, localCall{c.id, nil})
		}
	}
}

// answered gives an answer to whoever asked.
func (b *Broker) answered(a *effect.Answer, out *effect.Set) {
	f := b.calls.waiting[a.ID]
	if f == nil {
		return
	}
	delete(b.calls.waiting, a.ID)
	b.calls.asked = slices.DeleteFunc(b.calls.asked, func(c asked) bool { return c.id == a.ID })
	f(a, out)
}

// settleCalls carries out what this node asked of itself, and gives the answers to whoever asked.
func (b *Broker) settleCalls(out *effect.Set) (any bool) {
	for len(b.calls.local) > 0 {
		any = true
		c := b.calls.local[0]
		b.calls.local = b.calls.local[1:]
		if c.body == nil {
			b.answered(&effect.Answer{ID: c.id, Failure: effect.CallUnreachable, Detail: "no controller is known, or it is another by now"}, out)
			continue
		}
		to := effect.RequestID{Conn: localConn, Request: uint64(c.id)}
		switch body := c.body.(type) {
		case *effect.RegisterBroker:
			b.registerBroker(&RegisterBroker{To: to, Ask: *body}, out)
		case *effect.HeartbeatBroker:
			b.brokerHeartbeat(&BrokerHeartbeat{To: to, Ask: *body}, out)
		case *effect.AlterPartition:
			b.alterPartition(&AlterPartition{To: to, Ask: *body}, out)
		case *effect.AllocateProducerIDs:
			b.allocateProducerIDs(&AllocateProducerIDs{To: to, Ask: *body}, out)
		case *effect.ReportDamaged:
			b.controller.ReportDamaged(to, body, out)
		case *effect.CreateMissing:
			b.createMissing(to, body, out)
		default:
			invariant.Checkf(false, "a node asks itself for %T", body)
		}
	}
	replies := out.Replies[:0]
	var mine []effect.Reply
	for _, r := range out.Replies {
		if r.To.Conn == localConn {
			mine = append(mine, r)
			continue
		}
		replies = append(replies, r)
	}
	if len(mine) == 0 {
		return any
	}
	out.Replies = replies
	for _, r := range mine {
		body, is := r.Body.(effect.AnswerBody)
		invariant.Check(is, "what a node asks itself is answered as others are")
		b.answered(&effect.Answer{From: b.config.Advertised.ID, ID: effect.CallID(r.To.Request), Body: body}, out)
	}
	return true
}
