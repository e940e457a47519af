package quorum

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/weirmq/weir/core/model"
)

type noImage struct{}

func (noImage) Offer() ([]byte, bool) { return nil, true }
func (noImage) Holds([]byte) bool     { return false }

func start(t *testing.T, id VoterID, seed uint64, saved Saved) *Quorum {
	t.Helper()
	q, err := New(DefaultConfig(id, seed), saved, noImage{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestAVoterAloneCommitsWhatIsDurable(t *testing.T) {
	q := start(t, 1, 1, Found([]VoterID{1}, nil))
	var out Out
	now := model.Time(1)
	for !q.State().Leads {
		now += DefaultConfig(1, 1).TickInterval
		q.Tick(now, &out)
		for _, w := range out.Writes {
			q.Written(w.Token, &out)
		}
		if now > 5e9 {
			t.Fatal("nobody leads after five seconds")
		}
	}
	for _, w := range out.Writes {
		q.Written(w.Token, &out)
	}
	out.Reset()
	if err := q.Propose([]byte("a"), &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Committed) > 0 || len(out.Writes) != 1 || string(out.Writes[0].Entries[0].Data) != "a" {
		t.Fatalf("before it is durable: %+v", out)
	}
	token := out.Writes[0].Token
	out.Reset()
	q.Written(token, &out)
	if len(out.Committed) != 1 || string(out.Committed[0].Data) != "a" {
		t.Fatalf("when it is durable: %+v", out)
	}
}

// A voter that forgot that another votes by now could elect itself, and then others without it.
func TestACommittedChangeOfTheVotersIsKeptThroughARestart(t *testing.T) {
	saved := Found([]VoterID{1}, nil)
	q := start(t, 1, 1, saved)
	var out Out
	durable := func() {
		for len(out.Writes) > 0 {
			writes := slices.Clone(out.Writes)
			out.Reset()
			for _, w := range writes {
				saved.Entries = append(saved.Entries, w.Entries...)
				if w.Hard != nil {
					saved.Hard = *w.Hard
				}
				q.Written(w.Token, &out)
			}
		}
	}
	now := model.Time(1)
	lead := func() bool {
		for until := now + 5e9; !q.State().Leads && now < until; {
			now += DefaultConfig(1, 1).TickInterval
			q.Tick(now, &out)
			durable()
		}
		return q.State().Leads
	}
	if !lead() {
		t.Fatal("nobody leads after five seconds")
	}
	if err := q.Change([]VoterID{1, 2}, nil, &out); err != nil {
		t.Fatal(err)
	}
	durable()
	if now := q.Voters().Now; !slices.Equal(now, []VoterID{1, 2}) {
		t.Fatalf("%v vote: the change was to be committed by the one voter that there was", now)
	}
	q = start(t, 1, 2, saved)
	if lead() {
		t.Errorf("it leads, alone of %v", q.Voters().Now)
	}
}

// Who hears that it votes no more leaves elections to those who do. If a leader's crash could make these forget that it is so, they would
// wait for its vote, and it, with a longer log, would refuse.
func TestNobodyIsToldOfAChangeOfTheVotersBeforeItCannotBeForgotten(t *testing.T) {
	q := start(t, 1, 1, Found([]VoterID{1}, nil))
	var out Out
	var writes []Write
	told, durable, first, changed := uint64(0), uint64(0), uint64(0), uint64(0)
	took := func() {
		for _, s := range out.Sends {
			m := new(raftpb.Message)
			if err := proto.Unmarshal(s.Message, m); err != nil {
				t.Fatal(err)
			}
			told = max(told, m.GetCommit(), m.GetSnapshot().GetMetadata().GetIndex())
		}
		writes = append(writes, out.Writes...)
		for _, c := range out.Committed {
			if c.Kind == EntryChange {
				changed = uint64(c.Index)
				if first == 0 {
					first = changed
				}
			}
		}
		out.Reset()
	}
	next := func() {
		w := writes[0]
		writes = writes[1:]
		if w.Hard != nil {
			durable = uint64(w.Hard.Commit)
		}
		q.Written(w.Token, &out)
		took()
	}
	tick := func(now model.Time) {
		q.Tick(now, &out)
		took()
	}
	for now := model.Time(1); !q.State().Leads; now += DefaultConfig(1, 1).TickInterval {
		for tick(now); len(writes) > 0; {
			next()
		}
	}
	if err := q.Change([]VoterID{1}, []VoterID{2}, &out); err != nil {
		t.Fatal(err)
	}
	for took(); len(writes) > 0; next() {
		tick(q.Deadline()) // heartbeats
		if changed > durable && told >= changed {
			t.Fatalf("%d is told to be committed, where a change of the voters stands, and %d is remembered", told, durable)
		}
	}
	if changed == 0 || durable < changed || told < first {
		t.Fatalf("changes at %d to %d were to be committed, remembered (%d) and told (%d)", first, changed, durable, told)
	}
}

// A voter stands for election after a silence of once to twice ElectionTicks. Its vote for itself counts when it is
// durable.
func TestAVoterStandsAfterASilence(t *testing.T) {
	times := map[model.Time]bool{}
	for seed := range uint64(50) {
		q := start(t, 1, seed, Found([]VoterID{1, 2}, nil))
		c := DefaultConfig(1, seed)
		var out Out
		now := model.Time(1)
		for len(out.Sends) == 0 {
			now += c.TickInterval
			if q.Tick(now, &out); now > 5e9 {
				t.Fatal("it never stands")
			}
		}
		silence := now / c.TickInterval
		times[silence] = true
		if silence < model.Time(c.ElectionTicks) || silence >= 2*model.Time(c.ElectionTicks) {
			t.Errorf("seed %d: it stands after %d ticks", seed, silence)
		}
		m := new(raftpb.Message)
		if err := proto.Unmarshal(out.Sends[0].Message, m); err != nil || m.GetType() != raftpb.MsgPreVote || len(out.Writes) != 0 && out.Writes[0].Hard != nil {
			t.Fatalf("it sends %v (%v) with writes %+v: want the rehearsal, which promises nothing", m, err, out.Writes)
		}
		for _, w := range out.Writes {
			q.Written(w.Token, &out)
		}
		out.Reset()
		yes := &raftpb.Message{Type: raftpb.MsgPreVoteResp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(m.GetTerm())}
		b, _ := proto.Marshal(yes)
		if err := q.Receive(2, b, 1, &out); err != nil {
			t.Fatal(err)
		}
		if len(out.Writes) != 1 || out.Writes[0].Hard == nil || out.Writes[0].Hard.Vote != 1 {
			t.Fatalf("its vote for itself is not written: %+v", out)
		}
		token := out.Writes[0].Token
		vote := &raftpb.Message{Type: raftpb.MsgVoteResp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(m.GetTerm())}
		b, _ = proto.Marshal(vote)
		if err := q.Receive(2, b, 1, &out); err != nil {
			t.Fatal(err)
		}
		if q.State().Leads {
			t.Fatal("it leads, and its vote for itself is not durable")
		}
		if q.Written(token, &out); !q.State().Leads {
			t.Fatal("it has both votes and does not lead")
		}
	}
	if len(times) < 5 {
		t.Errorf("fifty seeds stand at %d different times", len(times))
	}
}

func TestForeignMessagesAreRefused(t *testing.T) {
	config := DefaultConfig(1, 1)
	config.CheckEntry = func(data []byte) error {
		if string(data) == "no" {
			return errors.New("nobody proposes no")
		}
		return nil
	}
	config.CheckOffer = config.CheckEntry
	q, err := New(config, Found([]VoterID{1, 2}, nil), noImage{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	app := func(e *raftpb.Entry) *raftpb.Message {
		return &raftpb.Message{Type: raftpb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2)), Index: new(uint64(1)), LogTerm: new(uint64(1)), Entries: []*raftpb.Entry{e}}
	}
	snap := func(data string, voters ...uint64) *raftpb.Message {
		meta := &raftpb.SnapshotMetadata{Index: new(uint64(9)), Term: new(uint64(2)), ConfState: &raftpb.ConfState{Voters: voters}}
		return &raftpb.Message{Type: raftpb.MsgSnap.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2)), Snapshot: &raftpb.Snapshot{Data: []byte(data), Metadata: meta}}
	}
	for _, c := range []struct {
		from VoterID
		m    *raftpb.Message
		want string
	}{
		{2, &raftpb.Message{Type: raftpb.MsgApp.Enum(), From: new(uint64(3)), To: new(uint64(1))}, "sends a message of voter 3"},
		{2, &raftpb.Message{Type: raftpb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(4))}, "a message for voter 4"},
		{2, &raftpb.Message{Type: raftpb.MsgHup.Enum(), From: new(uint64(2)), To: new(uint64(1))}, "no voter's"},
		{2, &raftpb.Message{Type: raftpb.MsgStorageAppendResp.Enum(), From: new(uint64(2)), To: new(uint64(1))}, "no voter's"},
		{2, &raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Entries: []*raftpb.Entry{{}}}, "no voter's"},
		{2, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2)), Commit: new(uint64(9))}, "lost its disk"},
		{2, &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2)), Index: new(uint64(1)),
			Entries: []*raftpb.Entry{{Index: new(uint64(3)), Term: new(uint64(2))}},
		}, "with a gap"},
		{2, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(1<<64 - 1))}, "no cluster gets to"},
		{2, &raftpb.Message{Type: raftpb.MsgSnap.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2))}, "an image of nothing"},
		{2, &raftpb.Message{Type: raftpb.MessageType(-7).Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2))}, "no voter's"},
		{2, &raftpb.Message{Type: raftpb.MsgVote.Enum(), From: new(uint64(2)), To: new(uint64(1)), Index: new(uint64(9))}, "without a term"},
		{2, &raftpb.Message{Type: raftpb.MsgVote.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(1 << 31))}, "no cluster gets to"},
		{2, app(&raftpb.Entry{Index: new(uint64(2)), Term: new(uint64(3))}), "an entry of term 3"},
		{2, app(&raftpb.Entry{Index: new(uint64(2)), Term: new(uint64(2)), Type: raftpb.EntryConfChange.Enum()}), "unknown kind, 1"},
		{2, app(&raftpb.Entry{Index: new(uint64(2)), Term: new(uint64(2)), Type: raftpb.EntryConfChangeV2.Enum(), Data: []byte{9}}), "cannot be read"},
		{2, app(&raftpb.Entry{Index: new(uint64(2)), Term: new(uint64(2)), Data: []byte("no")}), "nobody proposes no"},
		{2, snap(""), "nobody votes"},
		{2, snap("no", 1, 2), "nobody proposes no"},
		{2, snap("", 2, 2), "where it cannot"},
	} {
		b, err := proto.Marshal(c.m)
		if err != nil {
			t.Fatal(err)
		}
		var out Out
		before := q.State()
		if err := q.Receive(c.from, b, 1, &out); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.m, err, c.want)
		}
		if len(out.Writes)+len(out.Sends)+len(out.Committed) > 0 || q.State() != before {
			t.Errorf("%v has an effect: %+v", c.m, out)
		}
	}
}

// offer is the message with which voter 2 offers voter 1 an image.
func offer(t *testing.T, term, index uint64, about string, voters ...uint64) []byte {
	t.Helper()
	meta := &raftpb.SnapshotMetadata{Index: new(index), Term: new(term), ConfState: &raftpb.ConfState{Voters: voters}}
	b, err := proto.Marshal(&raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(term), Snapshot: &raftpb.Snapshot{Data: []byte(about), Metadata: meta},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is offered is not the library's before it is here: then it is written, and only when it is durable does it count.
func TestAnImageCountsWhenItHasArrivedAndIsDurable(t *testing.T) {
	config := DefaultConfig(1, 1)
	config.CheckImage = func(data []byte) error {
		if string(data) != "image" {
			return errors.New("it is none")
		}
		return nil
	}
	q, err := New(config, Found([]VoterID{1, 2}, nil), noImage{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var out Out
	receive := func(m []byte) {
		t.Helper()
		if err := q.Receive(2, m, 1, &out); err != nil {
			t.Fatal(err)
		}
	}
	if q.Arrived([]byte("image"), &out) == nil {
		t.Error("an image is taken that nobody offered")
	}
	receive(offer(t, 2, 9, "nine", 1, 2))
	from, image, ok := q.Offered()
	if !ok || from != 2 || image.Index != 9 || image.Term != 2 || string(image.Data) != "nine" || len(out.Writes)+len(out.Sends) > 0 {
		t.Fatalf("%v offers %+v (%t), and that leads to %+v", from, image, ok, out)
	}
	receive(offer(t, 2, 8, "eight", 1, 2))
	if _, image, _ := q.Offered(); image.Index != 9 {
		t.Error("an older offer that comes later is taken for the newest")
	}
	receive(offer(t, 2, 12, "twelve", 1, 2))
	if _, image, _ := q.Offered(); string(image.Data) != "twelve" {
		t.Error("a newer offer is not taken")
	}
	if err := q.Arrived([]byte("something else"), &out); err == nil || len(out.Writes) > 0 {
		t.Fatalf("what is no image is taken: %v", err)
	}
	if _, _, ok := q.Offered(); ok {
		t.Error("what was not sound is still waited for")
	}
	receive(offer(t, 2, 12, "twelve", 1, 2))
	if err := q.Arrived([]byte("image"), &out); err != nil || len(out.Writes) != 1 || out.Writes[0].Image == nil || string(out.Writes[0].Image.Data) != "image" || out.Restored != nil {
		t.Fatalf("%+v, %v", out, err)
	}
	token := out.Writes[0].Token
	out.Reset()
	if q.Written(token, &out); out.Restored == nil || out.Restored.Index != 12 || len(out.Sends) != 1 {
		t.Fatalf("when it is durable: %+v", out)
	}
}

// Who needs no image answers an offer at once: nothing is fetched for nothing.
func TestAnOfferThatIsNotWantedIsAnswered(t *testing.T) {
	for name, message := range map[string][]byte{
		"it has that entry":         offer(t, 2, 1, "", 1, 2),
		"it does not vote there":    offer(t, 2, 9, "", 2, 3),
		"its log has that entry":    offer(t, 2, 2, "", 1, 2),
		"the leader is not in term": offer(t, 1, 9, "", 1, 2),
	} {
		saved := Found([]VoterID{1, 2}, nil)
		saved.Entries, saved.Hard.Term = []Entry{{Index: 2, Term: 2}}, 2
		q := start(t, 1, 1, saved)
		var out Out
		if err := q.Receive(2, message, 1, &out); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := q.Offered(); ok {
			t.Errorf("%s: and it wants the image", name)
		}
		if answered := len(out.Sends)+len(out.Writes) > 0; answered == (name == "the leader is not in term") || len(out.Writes) > 0 && out.Writes[0].Image != nil {
			t.Errorf("%s: %+v", name, out)
		}
	}
}

// A new term ends what the leader of the old one offered.
func TestAnOfferEndsWithItsTerm(t *testing.T) {
	q := start(t, 1, 1, Found([]VoterID{1, 2, 3}, nil))
	var out Out
	if err := q.Receive(2, offer(t, 2, 9, "", 1, 2, 3), 1, &out); err != nil {
		t.Fatal(err)
	}
	b, _ := proto.Marshal(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(3)), To: new(uint64(1)), Term: new(uint64(3))})
	if err := q.Receive(3, b, 1, &out); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := q.Offered(); ok {
		t.Error("it waits for what nobody may give it any more")
	}
}

func TestSavedStateIsValidated(t *testing.T) {
	image := Image{Index: 3, Term: 2, Voters: Voters{Now: []VoterID{1}}}
	for want, s := range map[string]Saved{
		"only an image has":       {Image: Image{Voters: Voters{Now: []VoterID{1}}}},
		"entry 5 follows entry 3": {Image: image, Hard: HardState{Term: 2}, Entries: []Entry{{Index: 5, Term: 2}}},
		"term 1 follows term 2":   {Image: image, Hard: HardState{Term: 2}, Entries: []Entry{{Index: 4, Term: 1}}},
		"unknown kind, 1":         {Image: image, Hard: HardState{Term: 2}, Entries: []Entry{{Index: 4, Term: 2, Kind: 1}}},
		"and an entry of term 3":  {Image: image, Hard: HardState{Term: 2}, Entries: []Entry{{Index: 4, Term: 3}}},
		"and the log ends at 3":   {Image: image, Hard: HardState{Term: 2, Commit: 4}},
		"term 0 follows term 0":   {Hard: HardState{Term: 1}, Entries: []Entry{{Index: 1}}},
	} {
		if _, err := New(DefaultConfig(1, 1), s, noImage{}, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}

func TestProposalsOfFollowersAreRefused(t *testing.T) {
	q := start(t, 1, 1, Found([]VoterID{1, 2, 3}, nil))
	var out Out
	if err := q.Propose([]byte("a"), &out); !errors.Is(err, ErrNotLeader) {
		t.Errorf("%v", err)
	}
	if err := q.Change([]VoterID{1}, nil, &out); !errors.Is(err, ErrNotLeader) {
		t.Errorf("%v", err)
	}
}

// FuzzReceive: what another voter sends never panics, unless it is well made and lies about what this voter has
// promised, which no message of a voter does.
func FuzzReceive(f *testing.F) {
	for seed := range uint64(3) {
		w := newWorld(f, seed, 3)
		for range 3000 {
			w.step()
			if w.random.IntN(10) == 0 {
				w.propose()
			}
			if len(w.net.Flying) > 0 && w.random.IntN(50) == 0 {
				f.Add(w.net.Flying[0].Bytes)
			}
		}
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		q, err := New(DefaultConfig(1, 1), Found([]VoterID{1, 2, 3}, binary.BigEndian.AppendUint64(nil, 1)), noImage{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		var out Out
		_ = q.Receive(2, message, 1, &out)
		for _, w := range out.Writes {
			q.Written(w.Token, &out)
		}
	})
}

func TestMessagesOfWhoIsNoVoterAreRefused(t *testing.T) {
	for _, from := range []uint64{1, 0, raft.LocalAppendThread, raft.LocalApplyThread} {
		func() {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("a heartbeat of %d: panic: %v", from, r)
				}
			}()
			saved := Found([]VoterID{1, 2, 3}, nil)
			saved.Hard.Term, saved.Hard.Vote = 7, 3
			q := start(t, 1, 1, saved)
			b, err := proto.Marshal(&raftpb.Message{
				Type: raftpb.MsgHeartbeat.Enum(), From: new(from), To: new(uint64(1)), Term: new(uint64(7)),
			})
			if err != nil {
				t.Fatal(err)
			}
			var out Out
			err = q.Receive(VoterID(from), b, 2, &out)
			for _, w := range out.Writes {
				t.Errorf("a heartbeat of %d makes it write %+v", from, *w.Hard)
			}
			if err == nil {
				t.Errorf("a heartbeat of %d is taken in", from)
			}
		}()
	}
}

// An image may replace a log that goes on behind it: nothing behind it is here any more, durable or not.
func TestWhatAnImageReplacesIsNotHere(t *testing.T) {
	saved := Found([]VoterID{1, 2, 3}, nil)
	for i := range Index(20) {
		saved.Entries = append(saved.Entries, Entry{Index: 2 + i, Term: 1, Data: []byte("x")})
	}
	q := start(t, 1, 1, saved)
	if err := q.Receive(2, offer(t, 3, 10, "ten", 1, 2, 3), 2, new(Out)); err != nil {
		t.Fatal(err)
	}
	if err := q.Arrived([]byte("image"), new(Out)); err != nil {
		t.Fatal(err)
	}
	b, err := proto.Marshal(&raftpb.Message{
		Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(3)), Commit: new(uint64(15)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if q.Receive(2, b, 2, new(Out)) == nil {
		t.Error("it takes for committed what it does not have")
	}
}
