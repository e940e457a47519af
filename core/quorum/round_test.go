package quorum

import (
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
