package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// producerIDs gives out ids of a block that the controller gave to this broker.
type producerIDs struct {
	next, last model.ProducerID // last is exclusive
	asked      bool             // a block is on its way
	waiting    []effect.RequestID
}

const allocateTimeout model.Time = 3e9

// initProducerID gives an id that nobody has had. A producer without transactional id that asks again
// gets a new one, too: nothing is known of the old one here (KIP-360 applies to transactions).
func (b *Broker) initProducerID(ev *InitProducerID, out *effect.Set) {
	b.ids.waiting = append(b.ids.waiting, ev.To)
	b.giveOut(out)
}

func (b *Broker) giveOut(out *effect.Set) {
	for len(b.ids.waiting) > 0 && b.ids.next < b.ids.last {
		out.Replies = append(out.Replies, effect.Reply{
			To: b.ids.waiting[0], Body: &effect.ProducerIDAssigned{ID: b.ids.next},
		})
		b.ids.next++
		b.ids.waiting = b.ids.waiting[1:]
	}
	if len(b.ids.waiting) == 0 || b.ids.asked {
		return
	}
	if b.self.epoch == model.NoBrokerEpoch {
		b.refuseIDs(out)
		return
	}
	b.ids.asked = true
	body := &effect.AllocateProducerIDs{Broker: b.config.Advertised.ID, BrokerEpoch: b.self.epoch}
	b.askController(effect.LaneControl, allocateTimeout, body, out, b.idsAllocated)
}

func (b *Broker) idsAllocated(a *effect.Answer, out *effect.Set) {
	b.ids.asked = false
	body, _ := a.Body.(*effect.ProducerIDsAllocated)
	if a.Failure != effect.CallOK || body.Code != 0 {
		b.controllerUnknown()
		b.refuseIDs(out)
		return
	}
	b.ids.next, b.ids.last = body.First, body.First+model.ProducerID(body.Count)
	out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteProducerIDBlock, Count: int64(body.First)})
	b.giveOut(out)
}

// refuseIDs sends everybody away for now. As Kafka, not COORDINATOR_NOT_AVAILABLE: on that, Java's producer asks for the
// coordinator of its transactional id, which an idempotent producer does not have.
func (b *Broker) refuseIDs(out *effect.Set) {
	for _, to := range b.ids.waiting {
		out.Replies = append(out.Replies, effect.Reply{To: to, Body: &effect.ProducerIDAssigned{
			Code: kerr.CoordinatorLoadInProgress.Code, ID: model.NoProducerID, Epoch: model.NoProducerEpoch,
		}})
	}
	b.ids.waiting = nil
}
