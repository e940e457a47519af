package quorum

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// electionTimer counts the ticks since a leader was heard, as the library would, with a timeout of our own drawing.
//
//	0 ──────────────── min ──────────────── 2 min - 1
//	 nobody is elected  │ each draw is somewhere here
type electionTimer struct {
	seed    uint64
	min     int
	draws   uint64
	elapsed int
	timeout int
}

// tick reports that the time is up, and begins again.
func (t *electionTimer) tick() bool {
	t.elapsed++
	if t.elapsed < t.timeout {
		return false
	}
	t.reset()
	return true
}

// reset begins again with another timeout.
func (t *electionTimer) reset() {
	t.draws++
	var in [16]byte
	binary.BigEndian.PutUint64(in[:8], t.seed)
	binary.BigEndian.PutUint64(in[8:], t.draws)
	t.elapsed, t.timeout = 0, t.min+int(xxhash.Sum64(in[:])%uint64(t.min))
}

// stepped looks at what a message did. The library begins to count again when a term, a vote or a role is new, and
// when the leader of its term is heard, which it reports.
func (t *electionTimer) stepped(before, after raft.BasicStatus, m *raftpb.Message) (isHeard bool) {
	if m.GetTerm() == after.HardState.GetTerm() && m.GetFrom() == after.Lead {
		switch m.GetType() { //nolint:exhaustive // others are no leader's
		case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
			isHeard, t.elapsed = true, 0
		}
	}
	if before.HardState.GetTerm() != after.HardState.GetTerm() || before.HardState.GetVote() != after.HardState.GetVote() ||
		before.RaftState != after.RaftState {
		t.reset()
	}
	return isHeard
}
