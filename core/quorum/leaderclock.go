package quorum

import (
	"encoding/binary"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/weirmq/weir/core/model"
)

// leaderClock is what a voter knows of its leader's clock, by the heartbeat that came the fastest: it shows no less than that now. What
// tells to stand for election is taken for news else, however long it was under way, and the leader has given up on that.
type leaderClock struct {
	term       uint64
	sentAt, at model.Time
}

// heard takes in a heartbeat.
func (c *leaderClock) heard(m *raftpb.Message, now model.Time) {
	if m.GetType() != raftpb.MsgHeartbeat || len(m.GetContext()) != 8 || m.GetTerm() < c.term {
		return
	}
	if sentAt := model.Time(binary.BigEndian.Uint64(m.GetContext())); m.GetTerm() > c.term || sentAt-now > c.sentAt-c.at {
		c.term, c.sentAt, c.at = m.GetTerm(), sentAt, now
	}
}

// stale reports whether a leader told this voter to stand longer ago than that, as far as is known.
func (c *leaderClock) stale(m *raftpb.Message, now, age model.Time) bool {
	if m.GetType() != raftpb.MsgTimeoutNow || len(m.GetContext()) != 8 {
		return false
	}
	sentAt := model.Time(binary.BigEndian.Uint64(m.GetContext()))
	return m.GetTerm() == c.term && c.sentAt+now-c.at-sentAt > age
}
