package quorum

import (
	"encoding/binary"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/weirmq/weir/core/model"
)

// rounds is what a leader knows of the rounds of heartbeats that it sends.
//
//	leader  ── heartbeat, sent at 100 ──►  voter: votes for nobody else until its timer is up
//	        ◄─ answer to that of 100 ───   however long it is under way: the voter promised no less than from 100 on
//
// A leader is the last to learn that another was elected. But a voter that takes a heartbeat in elects nobody for the shortest time
// of the election timer, so that a leader that is answered by a majority knows that there is no other for a while: counted from
// when it sent what is answered. When the answer comes says nothing.
//
// The library's voters give back what a heartbeat has as its context, so that it carries the leader's clock, and nothing is
// remembered of rounds that are under way.
type rounds struct {
	answered map[VoterID]model.Time // when the newest heartbeat was sent that a voter has answered, in this leadership
	// handedAt is when another voter was last told to stand for election: those who vote for it break no promise. 0: never.
	handedAt model.Time
}

// handOverTimeouts is for how many election timeouts a voter may be about to be told to stand. It would have stood before, or it never does.
const handOverTimeouts = 4

// Undisputed reports whether this voter leads and no other can have come to lead, as of now.
func (q *Quorum) Undisputed(now model.Time) bool {
	if !q.leads() {
		return false
	}
	timeout := model.Time(q.config.ElectionTicks) * q.config.TickInterval
	if at := q.rounds.handedAt; at != 0 && now-at < handOverTimeouts*timeout {
		return false
	}
	// A voter's first tick comes sooner after the heartbeat than those that follow, and its clock may be a little faster than this one.
	since := now - timeout + 2*q.config.TickInterval
	isMost := func(voters []uint64) bool {
		n := 0
		for _, id := range voters {
			at, is := q.rounds.answered[VoterID(id)]
			if id == uint64(q.config.ID) || is && at >= since {
				n++
			}
		}
		return n > len(voters)/2
	}
	v := q.log.voters
	return isMost(v.GetVoters()) && (len(v.GetVotersOutgoing()) == 0 || isMost(v.GetVotersOutgoing()))
}

// answers reports whether a voter or learner has answered a heartbeat of the last election timeout, as this voter has. The library's own
// mark is of a time that ends with each timeout: it is up to twice as old, and missing from who has just not been heard yet.
func (q *Quorum) answers(id VoterID) bool {
	at, is := q.rounds.answered[id]
	return id == q.config.ID || is && at >= q.now-model.Time(q.config.ElectionTicks)*q.config.TickInterval
}

// sent notes in what is sent when that was, and what breaks promises.
func (r *rounds) sent(m *raftpb.Message, now model.Time) {
	switch m.GetType() { //nolint:exhaustive // others begin no round
	case raftpb.MsgHeartbeat:
		m.Context = binary.BigEndian.AppendUint64(nil, uint64(now))
	case raftpb.MsgTimeoutNow:
		r.handedAt = now
		m.Context = binary.BigEndian.AppendUint64(nil, uint64(now))
	}
}

// taken takes out of an answer to a heartbeat when that was sent: it is not the library's, which would read something else in it.
func taken(m *raftpb.Message) (sentAt model.Time, ok bool) {
	if m.GetType() != raftpb.MsgHeartbeatResp {
		return 0, false
	}
	context := m.GetContext()
	if m.Context = nil; len(context) != 8 {
		return 0, false
	}
	return model.Time(binary.BigEndian.Uint64(context)), true
}

// heard takes in that a voter has answered a heartbeat of this leadership.
func (r *rounds) heard(from VoterID, sentAt, now model.Time) {
	if sentAt > now {
		return // nobody has sent that
	}
	if r.answered == nil {
		r.answered = make(map[VoterID]model.Time)
	}
	r.answered[from] = max(r.answered[from], sentAt)
}

// asksForVote reports whether a message asks for a vote on the strength of a silence, not because the leader hands over.
func asksForVote(m *raftpb.Message) bool {
	t := m.GetType()
	return (t == raftpb.MsgVote || t == raftpb.MsgPreVote) && string(m.GetContext()) != "CampaignTransfer"
}
