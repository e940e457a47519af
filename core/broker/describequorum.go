package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
)

// DescribeQuorum asks who keeps the metadata log. It is answered by one effect.QuorumDescribed.
type DescribeQuorum struct {
	To     effect.RequestID
	Origin Origin
	Wall   model.Timestamp
}

func (*DescribeQuorum) event() {}

// Vote is how this node's voter sees the quorum, and who votes as of what it knows to be committed; false if the node does not
// vote.
func (b *Broker) Vote() (state quorum.State, voters quorum.Voters, votes bool) {
	if b.voter == nil || b.voter.log == nil {
		return quorum.State{}, quorum.Voters{}, false
	}
	return b.voter.log.State(), b.voter.log.Voters(), true
}

// heard is what a leader of the quorum has heard of another voter.
type heard struct {
	at       model.Time
	caughtUp model.Time // 0: never
}

// hearVoter takes in that another voter was heard, after what it said was taken in.
func (v *voter) hearVoter(id model.VoterID, now model.Time) {
	if v.term == 0 {
		return
	}
	h := v.heard[id]
	h.at = now
	for _, p := range v.log.Progress() {
		if p.Voter == id && v.log.OffsetOf(p.Match) >= v.log.Next() {
			h.caughtUp = now
		}
	}
	v.heard[id] = h
}

// describeQuorum tells what the leader of the quorum knows. Others do not know how far each is.
func (b *Broker) describeQuorum(ev *DescribeQuorum, out *effect.Set) {
	answer := &effect.QuorumDescribed{Leader: model.NoNode, LeaderEpoch: model.NoLeaderEpoch, HighWatermark: model.NoOffset}
	defer func() { out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer}) }()
	v := b.voter
	if v == nil || v.term == 0 {
		answer.Code, answer.Message = kerr.NotController.Code, "this node does not lead the quorum, and knows nobody who does"
		return
	}
	at := func(t model.Time) model.Timestamp {
		if t == 0 {
			return model.NoTimestamp
		}
		return ev.Wall - model.Timestamp((b.now-t)/1e6)
	}
	answer.Leader, answer.LeaderEpoch, answer.HighWatermark = b.config.Advertised.ID, model.LeaderEpoch(v.term), v.log.Next()
	votes := make(map[model.NodeID]bool)
	for _, p := range v.log.Progress() {
		m := effect.QuorumMember{
			Node: voterNode(p.Voter), Directory: b.directoryOf(p.Voter), LogEndOffset: max(0, v.log.OffsetOf(p.Match)),
			HeardAt: at(v.heard[p.Voter].at), CaughtUpAt: at(v.heard[p.Voter].caughtUp),
		}
		if p.Voter == v.id {
			m.HeardAt, m.CaughtUpAt = ev.Wall, ev.Wall
		}
		votes[m.Node] = true
		if p.Learner {
			answer.Observers = append(answer.Observers, m)
			continue
		}
		answer.Voters = append(answer.Voters, m)
		if address, ok := b.controllerAddress(m.Node); ok {
			answer.Nodes = append(answer.Nodes, effect.QuorumNode{Node: m.Node, Address: address})
		}
	}
	for r := range b.view.Brokers {
		if votes[r.ID] {
			continue
		}
		m := effect.QuorumMember{Node: r.ID, HeardAt: model.NoTimestamp, CaughtUpAt: model.NoTimestamp}
		if len(r.Directories) > 0 {
			m.Directory = r.Directories[0]
		}
		if offset, when, ok := b.controller.Heard(r.ID); ok {
			m.LogEndOffset, m.HeardAt = offset+1, at(when)
			if m.LogEndOffset >= v.log.Next() {
				m.CaughtUpAt = m.HeardAt
			}
		}
		answer.Observers = append(answer.Observers, m)
	}
}

// directoryOf is the directory that a voter votes from, zero if nobody here knows: the voter's id has only a part of it.
func (b *Broker) directoryOf(id model.VoterID) model.DirectoryID {
	if id == b.voter.id {
		return b.config.Quorum.Directory
	}
	if r := b.view.Broker(voterNode(id)); r != nil {
		for _, d := range r.Directories {
			if VoterOf(r.ID, d) == id {
				return d
			}
		}
	}
	return model.DirectoryID{}
}
