package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// refuseNode answers what another node asks: a broker that is a cluster by itself is nobody's controller, and has no
// followers.
func refuseNode(ev Event, out *effect.Set) {
	code := kerr.NotController.Code
	switch ev := ev.(type) { //sealed:allow these are the events of a cluster
	case *AlterPartition:
		out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.PartitionsAltered{Code: code}})
	case *RegisterBroker:
		out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.BrokerRegistered{Code: code, BrokerEpoch: model.NoBrokerEpoch}})
	case *BrokerHeartbeat:
		out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.BrokerHeartbeatAnswered{Code: code, IsFenced: true}})
	case *AllocateProducerIDs:
		out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.ProducerIDsAllocated{Code: code}})
	case *QuorumMessages:
		out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.QuorumMessagesTaken{Code: kerr.VoterNotFound.Code}})
	case *FetchImage:
		out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: &effect.ImageFetched{
			Code: kerr.SnapshotNotFound.Code, ID: ev.Ask.ID, Leader: model.NoNode, LeaderEpoch: model.NoLeaderEpoch, Position: ev.Ask.Position,
		}})
	case *Fetch:
		out.Reads = append(out.Reads, effect.Read{To: ev.To, Fetch: &effect.FetchReply{Code: kerr.NotLeaderForPartition.Code}})
	}
}
