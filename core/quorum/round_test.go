package quorum

import (
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/weirmq/weir/core/model"
)

const (
	tick    = model.Time(50e6)
	timeout = 10 * tick
)

// hear has voter 1 take in a message of voter 2, and returns what it sends.
func hear(t *testing.T, q *Quorum, now model.Time, m *raftpb.Message) (sent []*raftpb.Message) {
	t.Helper()
	m.From, m.To = new(uint64(2)), new(uint64(1))
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out Out
	if err := q.Receive(2, b, now, &out); err != nil {
		t.Fatal(err)
	}
	return written(t, q, &out)
}

// written makes everything durable, and returns what is sent then.
func written(t *testing.T, q *Quorum, out *Out) (sent []*raftpb.Message) {
	t.Helper()
	for len(out.Writes)+len(out.Sends) > 0 {
		for _, s := range out.Sends {
			m := new(raftpb.Message)
			if err := proto.Unmarshal(s.Message, m); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, m)
		}
		writes := out.Writes
		*out = Out{}
		for _, w := range writes {
			q.Written(w.Token, out)
		}
	}
	return sent
}

// leading is voter 1 of two, which leads in the term that it returns.
func leading(t *testing.T) (q *Quorum, now model.Time, term uint64) {
	t.Helper()
	q = start(t, 1, 1, Found([]VoterID{1, 2}, nil))
	now = 1
	var out Out
	for range 20 {
		now += tick
		q.Tick(now, &out)
		for _, m := range written(t, q, &out) {
			switch m.GetType() {
			case raftpb.MsgPreVote:
				hear(t, q, now, &raftpb.Message{Type: raftpb.MsgPreVoteResp.Enum(), Term: m.Term})
				hear(t, q, now, &raftpb.Message{Type: raftpb.MsgVoteResp.Enum(), Term: m.Term})
			default:
			}
		}
		if s := q.State(); s.Leads {
			return q, now, uint64(s.Term)
		}
	}
	t.Fatal("it does not lead")
	return nil, 0, 0
}

// beat has a leader send a round of heartbeats, and returns the answer of voter 2, whenever it comes.
func beat(t *testing.T, q *Quorum, now *model.Time) *raftpb.Message {
	t.Helper()
	for range 3 {
		*now += tick
		var out Out
		q.Tick(*now, &out)
		for _, m := range written(t, q, &out) {
			if m.GetType() == raftpb.MsgHeartbeat {
				return &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), Term: m.Term, Context: m.GetContext()}
			}
		}
	}
	t.Fatal("no heartbeat is sent")
	return nil
}

func TestALeaderIsUndisputedFromWhenItSentWhatAMajorityAnswers(t *testing.T) {
	q, now, _ := leading(t)
	if q.Undisputed(now) {
		t.Error("nobody has answered a heartbeat: those who elected it may have done so long ago")
	}
	answer := beat(t, q, &now)
	sentAt := now
	hear(t, q, now+timeout-2*tick, answer)
	if !q.Undisputed(sentAt + timeout - 2*tick) {
		t.Error("the other voter votes for nobody yet")
	}
	if q.Undisputed(sentAt + timeout - tick) {
		t.Error("the other voter may vote for another, however late its answer came")
	}
	if alone := start(t, 1, 1, Found([]VoterID{1}, nil)); alone.Undisputed(1) {
		t.Error("who is alone, and has not stood yet, does not lead")
	}
}

func TestAnswersThatAreNoneMakeNoLeaderUndisputed(t *testing.T) {
	q, now, term := leading(t)
	good := beat(t, q, &now)
	context := good.GetContext()
	for what, m := range map[string]*raftpb.Message{
		"has no context":         {Term: good.Term},
		"has a short one":        {Term: good.Term, Context: context[:3]},
		"has a long one":         {Term: good.Term, Context: append(context, 0)},
		"is of what is not sent": {Term: good.Term, Context: []byte{0, 1, 0, 0, 0, 0, 0, 0}},
		"is of before all time":  {Term: good.Term, Context: []byte{255, 255, 255, 255, 255, 255, 255, 255}},
		"is of an earlier term":  {Term: new(term - 1), Context: context},
		"answers something else": {Term: good.Term, Context: context, Type: raftpb.MsgAppResp.Enum(), Reject: new(true)},
	} {
		if m.Type == nil {
			m.Type = raftpb.MsgHeartbeatResp.Enum()
		}
		if hear(t, q, now, m); q.Undisputed(now) {
			t.Errorf("an answer that %s counts", what)
		}
	}
	if hear(t, q, now, good); !q.Undisputed(now) {
		t.Error("the answer to a heartbeat does not count")
	}
}

func TestALeaderThatHandsOverIsDisputedUntilNothingComesOfIt(t *testing.T) {
	q, now, _ := leading(t)
	hear(t, q, now, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(uint64(q.State().Term)), Index: new(q.lastIndex())})
	hear(t, q, now, beat(t, q, &now))
	var out Out
	q.HandOver(2, &out)
	if sent := written(t, q, &out); len(sent) != 1 || sent[0].GetType() != raftpb.MsgTimeoutNow {
		t.Fatalf("it sends %v", sent)
	}
	from := now
	for now < from+handOverTimeouts*timeout-2*tick {
		if hear(t, q, now, beat(t, q, &now)); q.Undisputed(now) && now < from+handOverTimeouts*timeout {
			t.Fatalf("%d ms after it has told the other to stand it is undisputed", (now-from)/1e6)
		}
	}
	now += 2 * tick
	if hear(t, q, now, beat(t, q, &now)); !q.Undisputed(now) {
		t.Error("nothing came of it, and it is disputed for ever")
	}
}

// What a voter promised a leader it does not know any more when it has restarted.
func TestAVoterThatRestartsVotesForNobodyUntilALeaderWouldBeMissed(t *testing.T) {
	for _, c := range []struct {
		what    string
		m       *raftpb.Message
		at      model.Time
		answers bool
	}{
		{"a rehearsal", &raftpb.Message{Type: raftpb.MsgPreVote.Enum()}, timeout - 1, false},
		{"an election", &raftpb.Message{Type: raftpb.MsgVote.Enum()}, timeout - 1, false},
		{"an election that the leader wants", &raftpb.Message{Type: raftpb.MsgVote.Enum(), Context: []byte("CampaignTransfer")}, 1, true},
		{"a rehearsal later", &raftpb.Message{Type: raftpb.MsgPreVote.Enum()}, timeout, true},
		{"an election later", &raftpb.Message{Type: raftpb.MsgVote.Enum()}, timeout, true},
	} {
		saved := Found([]VoterID{1, 2, 3}, nil)
		saved.Hard.Term = 3
		q := start(t, 1, 1, saved)
		c.m.Term, c.m.Index, c.m.LogTerm = new(uint64(9)), new(uint64(9)), new(uint64(8))
		if sent := hear(t, q, 1+c.at, c.m); len(sent) > 0 != c.answers {
			t.Errorf("%s after %d ms: it sends %v", c.what, c.at/1e6, sent)
		}
	}
}

// A voter that a leader tells to stand says so to those who vote: else who has restarted would not.
func TestWhoIsHandedOverToSaysSo(t *testing.T) {
	q := start(t, 1, 1, Found([]VoterID{1, 2, 3}, nil))
	hear(t, q, 2, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: new(uint64(2))})
	sent := hear(t, q, 3, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), Term: new(uint64(2))})
	if len(sent) != 2 || sent[0].GetType() != raftpb.MsgVote || asksForVote(sent[0]) {
		t.Errorf("it sends %v", sent)
	}
}

// A voter whose ticks are late counts none of them against a leader that it hears now.
func TestTicksThatAreLateAreOfBeforeALeaderWasHeard(t *testing.T) {
	for seed := range uint64(30) {
		q := start(t, 1, seed, Found([]VoterID{1, 2, 3}, nil))
		now := model.Time(1) + 9*tick
		hear(t, q, now, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: new(uint64(2))})
		for until := now + timeout - 2*tick; now <= until; now += tick {
			var out Out
			if q.Tick(now, &out); len(written(t, q, &out)) > 0 {
				t.Fatalf("seed %d: it stands for election too early", seed)
			}
			vote := &raftpb.Message{Type: raftpb.MsgVote.Enum(), Term: new(uint64(9)), Index: new(uint64(9)), LogTerm: new(uint64(8))}
			if sent := hear(t, q, now, vote); len(sent) > 0 {
				t.Fatalf("seed %d: it votes for another: %v", seed, sent)
			}
		}
	}
}

func TestWhoseRehearsalIsRefusedKeepsItsPromise(t *testing.T) {
	came := 0
	for seed := range uint64(50) {
		s := newScript(t, 3, 10*seed)
		s.lead(1)
		hears := func(from, to VoterID, kind raftpb.MessageType) bool {
			got := s.take(is(from, to, kind))
			for _, m := range got {
				s.deliver(m)
			}
			return len(got) > 0
		}
		// The leader is heard until it has just made sure that it is: it goes on without for up to two timeouts.
		for range 21 {
			s.now += tick
			for id := range VoterID(3) {
				s.tick(id + 1)
			}
			s.calm()
		}
		// Then it is cut off. Voters 2 and 3 rehearse; what voter 2 sends is under way for long.
		sent := func(from, to VoterID) bool { return slices.ContainsFunc(s.net, is(from, to, raftpb.MsgPreVote)) }
		for range 19 {
			if s.qs[1].State().Leads && sent(2, 3) && sent(3, 2) {
				break
			}
			s.now += tick
			for id := range VoterID(3) {
				s.tick(id + 1)
			}
			s.take(func(m *raftpb.Message) bool { return m.GetFrom() == 1 || m.GetTo() == 1 })
		}
		slow := s.take(is(2, 3, raftpb.MsgPreVote))
		if !hears(3, 2, raftpb.MsgPreVote) || !hears(2, 3, raftpb.MsgPreVoteResp) || len(slow) == 0 {
			continue
		}
		vote := s.take(is(3, 2, raftpb.MsgVote)) // voter 3 is a candidate; this is under way for a while
		// Voter 2 hears voter 1 again.
		for range 2 {
			s.now += tick
			s.tick(1)
		}
		if len(vote) == 0 || !hears(1, 2, raftpb.MsgHeartbeat) || !hears(2, 1, raftpb.MsgHeartbeatResp) || !s.qs[1].Undisputed(s.now) {
			continue
		}
		came++
		// Voter 3 refuses the rehearsal of before, in its term; then its own is taken in.
		s.deliver(slow[0])
		hears(3, 2, raftpb.MsgPreVoteResp)
		s.deliver(vote[0])
		hears(2, 3, raftpb.MsgVoteResp)
		if one, three := s.qs[1], s.qs[3].State(); three.Leads && one.Undisputed(s.now) {
			t.Fatalf("seed %d: voter 1 is sure to lead, in term %d, and voter 3 leads in term %d", seed, one.State().Term, three.Term)
		}
	}
	if came == 0 {
		t.Error("it never comes to that")
	}
	t.Log(came)
}

func TestWhoIsToldToStandTooLateStandsNot(t *testing.T) {
	s := newScript(t, 3, 0)
	s.lead(1)
	var out Out
	s.qs[1].HandOver(2, &out)
	s.carry(1, &out)
	stand := s.take(is(1, 2, raftpb.MsgTimeoutNow))
	if len(stand) != 1 {
		t.Fatalf("it sends %v", s.net)
	}
	// Voter 2 stands still from now on; voters 1 and 3 go on.
	for range handOverTimeouts*10 + 3 {
		s.now += tick
		s.tick(1)
		s.take(func(m *raftpb.Message) bool { return m.GetTo() == 2 })
		s.calm()
		s.tick(3)
		s.calm()
	}
	if !s.qs[1].Undisputed(s.now) {
		t.Fatal("nothing came of it")
	}
	s.tick(2) // or not
	s.deliver(stand[0])
	for _, m := range s.take(is(2, 3, raftpb.MsgVote)) {
		s.deliver(m)
	}
	for _, m := range s.take(is(3, 2, raftpb.MsgVoteResp)) {
		s.deliver(m)
	}
	if two := s.qs[2].State(); two.Leads && s.qs[1].Undisputed(s.now) {
		t.Errorf("voter 1 is sure to lead, in term %d, and voter 2 leads in term %d", s.qs[1].State().Term, two.Term)
	}
}

func TestAVoterWithoutAnythingDurablePromisesNothing(t *testing.T) {
	s := newScript(t, 2, 0)
	for id := range VoterID(2) {
		s.qs[id+1] = start(t, id+1, uint64(id+1), Found([]VoterID{1, 2, 3}, nil))
	}
	s.qs[3] = start(t, 3, 3, Saved{})
	isOf3 := func(m *raftpb.Message) bool { return m.GetFrom() == 3 || m.GetTo() == 3 }
	for !s.qs[1].State().Leads { // by the vote of voter 2
		s.now += tick
		s.tick(1)
		for s.take(isOf3); len(s.net) > 0; s.take(isOf3) {
			m := s.net[0]
			s.net = s.net[1:]
			s.deliver(m)
		}
	}
	// From now on voters 1 and 2 do not hear each other, and voter 3 hears voter 1. Its disk is slow: nothing becomes durable.
	for {
		s.now += tick
		s.tick(1)
		for _, m := range s.take(is(1, 3, raftpb.MsgHeartbeat)) {
			b, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			var out Out
			if err := s.qs[3].Receive(1, b, s.now, &out); err != nil {
				t.Fatal(err)
			}
			for _, send := range out.Sends {
				m := new(raftpb.Message)
				if err := proto.Unmarshal(send.Message, m); err != nil {
					t.Fatal(err)
				}
				s.deliver(m)
			}
		}
		s.net = nil
		if s.tick(2); slices.ContainsFunc(s.net, is(2, 3, raftpb.MsgPreVote)) {
			break
		}
		s.net = nil
	}
	s.qs[3] = start(t, 3, 4, Saved{}) // the power is lost for a moment
	for s.net = s.take(isOf3); len(s.net) > 0; s.net = s.take(isOf3) {
		m := s.net[0]
		s.net = s.net[1:]
		if m.GetTo() != 1 {
			s.deliver(m)
		}
	}
	if two := s.qs[2].State(); two.Leads && s.qs[1].Undisputed(s.now) {
		t.Errorf("voter 1 is sure to lead, in term %d, and voter 2 leads in term %d", s.qs[1].State().Term, two.Term)
	}
}
