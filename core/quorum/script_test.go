package quorum

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/weirmq/weir/core/model"
)

// script is voters whose messages wait until the test delivers them.
type script struct {
	t   *testing.T
	qs  map[VoterID]*Quorum
	now model.Time
	net []*raftpb.Message
}

func newScript(t *testing.T, n int, seed uint64) *script {
	s := &script{t: t, qs: map[VoterID]*Quorum{}, now: 1}
	var ids []VoterID
	for i := range n {
		ids = append(ids, VoterID(i+1))
	}
	for _, id := range ids {
		s.qs[id] = start(t, id, seed+uint64(id), Found(ids, nil))
	}
	return s
}

// carry makes writes durable at once and keeps what is sent.
func (s *script) carry(id VoterID, out *Out) {
	s.net = append(s.net, written(s.t, s.qs[id], out)...)
}

func (s *script) tick(id VoterID) {
	var out Out
	s.qs[id].Tick(s.now, &out)
	s.carry(id, &out)
}

func (s *script) deliver(m *raftpb.Message) {
	b, err := proto.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	var out Out
	to := VoterID(m.GetTo())
	if err := s.qs[to].Receive(VoterID(m.GetFrom()), b, s.now, &out); err != nil {
		s.t.Fatal(err)
	}
	s.carry(to, &out)
}

// take takes messages off the network.
func (s *script) take(is func(m *raftpb.Message) bool) (took []*raftpb.Message) {
	var rest []*raftpb.Message
	for _, m := range s.net {
		if is(m) {
			took = append(took, m)
		} else {
			rest = append(rest, m)
		}
	}
	s.net = rest
	return took
}

func is(from, to VoterID, t raftpb.MessageType) func(m *raftpb.Message) bool {
	return func(m *raftpb.Message) bool {
		return VoterID(m.GetFrom()) == from && VoterID(m.GetTo()) == to && m.GetType() == t
	}
}

// calm delivers everything until nothing is under way.
func (s *script) calm() {
	for len(s.net) > 0 {
		m := s.net[0]
		s.net = s.net[1:]
		s.deliver(m)
	}
}

// lead has a voter lead: the others do not tick meanwhile.
func (s *script) lead(id VoterID) {
	for !s.qs[id].State().Leads {
		s.now += tick
		s.tick(id)
		s.calm()
	}
}
