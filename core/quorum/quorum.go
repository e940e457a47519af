package quorum

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// VoterID is a voter's identity: of a node and the disk that holds its log. It is not 0.
type VoterID = model.VoterID

// Index is an entry's place in the metadata log, from 1 on without a gap.
type Index uint64

// Term counts leaderships. Each has at most one leader.
type Term uint64

// Config is what a voter needs to know.
type Config struct {
	ID VoterID
	// Seed is of the election timer: different for each start of each voter.
	Seed uint64
	// TickInterval is the unit of the times below.
	TickInterval model.Time
	// HeartbeatTicks is how often a leader shows that it is there.
	HeartbeatTicks int
	// ElectionTicks is how long nothing is heard of a leader before an election, at least; at most twice as long.
	ElectionTicks int
	// MessageBytesMax bounds the entries in one message, softly: one entry is sent even if it is larger.
	MessageBytesMax uint64
	// InFlightBytesMax bounds the entries on their way to one voter.
	InFlightBytesMax uint64
	// UncommittedBytesMax bounds what was proposed and is not committed: beyond it proposals are refused.
	UncommittedBytesMax uint64
	// CheckEntry and CheckImage, unless nil, refuse data that another voter sends and nobody can have proposed. CheckOffer
	// refuses what no Imager says of an image.
	CheckEntry, CheckImage, CheckOffer func(data []byte) error
}

// DefaultConfig elects within one to two seconds of a leader's death.
func DefaultConfig(id VoterID, seed uint64) Config {
	return Config{
		ID: id, Seed: seed, TickInterval: 50e6, HeartbeatTicks: 2, ElectionTicks: 10,
		MessageBytesMax: 1 << 20, InFlightBytesMax: 8 << 20, UncommittedBytesMax: 64 << 20,
	}
}

// Imager makes images of everything that was committed so far: what a voter is offered that is too far behind. What
// a step gives out is expected to be applied before the next.
type Imager interface {
	// Offer makes one and holds it, for the voter to fetch it by what is said of it; false says that it cannot be made now.
	Offer() (about []byte, ok bool)
	// Holds reports whether an image that was offered is held still, and goes on holding it then.
	Holds(about []byte) bool
}

// Quorum is one voter.
//
//	         heard of no leader          votes of most, as a rehearsal     votes of most
//	follower ──────────────────► pre-candidate ──────────────► candidate ──────────────► leader
//	   ▲                               │                           │                        │
//	   └───────────────────────────────┴───── a leader, a newer term, or no quorum ─────────┘
type Quorum struct {
	config Config
	node   *raft.RawNode
	log    *entryLog
	timer  electionTimer
	rounds rounds
	imager Imager

	writes    []pendingWrite    // submitted and not durable, oldest first
	held      []*raftpb.Message // for others, until what they tell cannot be forgotten here
	lastToken uint64
	now       model.Time // of the last Tick, or message
	nextTick  model.Time
	// quietUntil is until when nobody is given a vote: what this voter promised a leader. The library forgets that when it hears of
	// a newer term, and a restart does.
	quietUntil model.Time
	clock      leaderClock
	stoodUntil model.Time // until when what comes may have waited for long
	emitted    Index      // the last that was given out as committed
	applied    Index      // the last that was given out before this step: what the image is of
	leading    State      // as last told

	offers  *raftpb.Snapshot // the last that was offered to others; its data is what was said of it
	offered *raftpb.Message  // to this voter, which wants it and has not got it
}

// pendingWrite is what is done when a write is durable.
type pendingWrite struct {
	token     uint64
	entries   []*raftpb.Entry
	hard      *raftpb.HardState
	snapshot  *raftpb.Snapshot
	responses []*raftpb.Message
}

// Saved is what a voter finds of itself when it starts: everything whose Write was durable.
type Saved struct {
	Hard HardState
	// Image is the newest image, with the voters at its index. The entries begin behind it.
	Image   Image
	Entries []Entry
}

// HardState is what a voter must never forget: its term, whom it voted for in it, and how far it knew the log to
// be committed.
type HardState struct {
	Term   Term
	Vote   VoterID // 0: for nobody
	Commit Index
}

// Entry is one entry of the log.
type Entry struct {
	Index Index
	Term  Term
	Kind  EntryKind
	Data  []byte
}

// EntryKind says whose an entry is.
type EntryKind uint8

// The kinds of entries. Their numbers are the library's, and are written to disk.
const (
	EntryData   EntryKind = 0 // what was proposed; without data, a new leader's first
	EntryChange EntryKind = 2 // of the voters
)

// Image stands for all entries up to its index.
type Image struct {
	Index  Index
	Term   Term
	Voters Voters
	Data   []byte
}

// Voters is who votes. While a change is under way both the old and the new ones must agree.
type Voters struct {
	Now      []VoterID // ascending
	Before   []VoterID // ascending; empty unless a change is under way
	Learners []VoterID // receive the log and do not vote, ascending
	// Joining are learners-to-be while a change is under way, and Leaves whether it ends by itself.
	Joining []VoterID
	Leaves  bool
}

// Found is what each of the first voters of a new cluster starts from, the same for all: an image of the first entry,
// which says who votes. Because that entry is gone, a voter that joins later is sent an image and learns it, too.
func Found(voters []VoterID, data []byte) Saved {
	voters = slices.Clone(voters)
	slices.Sort(voters)
	return Saved{Hard: HardState{Term: 1, Commit: 1}, Image: Image{Index: 1, Term: 1, Voters: Voters{Now: voters}, Data: data}}
}

// New starts a voter from what it saved: from nothing if it is to join a cluster, which will find it.
func New(config Config, saved Saved, imager Imager, now model.Time) (*Quorum, error) {
	log, err := newEntryLog(saved)
	if err != nil {
		return nil, err
	}
	q := &Quorum{
		config: config, log: log, imager: imager, emitted: saved.Image.Index, now: now, nextTick: now + config.TickInterval,
		timer: electionTimer{seed: config.Seed, min: config.ElectionTicks},
	}
	if saved.Hard.Term > 0 {
		q.quietUntil = now + model.Time(config.ElectionTicks)*config.TickInterval
	}
	log.snapshot = q.image
	q.node, err = raft.NewRawNode(&raft.Config{
		ID: uint64(config.ID), ElectionTick: config.ElectionTicks, HeartbeatTick: config.HeartbeatTicks,
		Storage: log, Applied: uint64(saved.Image.Index), AsyncStorageWrites: true,
		MaxSizePerMsg: config.MessageBytesMax, MaxCommittedSizePerReady: config.InFlightBytesMax,
		MaxUncommittedEntriesSize: config.UncommittedBytesMax, MaxInflightMsgs: 256, MaxInflightBytes: config.InFlightBytesMax,
		CheckQuorum: true, PreVote: true, ReadOnlyOption: raft.ReadOnlySafe, DisableProposalForwarding: true,
		Logger: silent{},
	})
	if err != nil {
		return nil, fmt.Errorf("quorum: %w", err)
	}
	q.timer.reset()
	q.leading = q.State()
	return q, nil
}

// ErrNotLeader says that a proposal was not taken because this voter does not lead, or hands its leadership over.
var ErrNotLeader = errors.New("not the leader")

// Propose adds an entry. It is committed when it comes out as such; it is lost if the leadership ends before.
func (q *Quorum) Propose(data []byte, out *Out) error {
	invariant.Check(len(data) > 0, "a proposal has data: an entry without is a new leader's")
	q.begin()
	err := q.node.Propose(data)
	q.settle(out)
	if err != nil {
		return ErrNotLeader
	}
	return nil
}

// Change proposes other voters. A new one should learn first, until it has caught up: before, it would be asked for
// its vote on entries that it has not got. One change is under way at a time; another is refused.
//
// The leader must be among the new voters: it is the first to know that the change is committed, and would step down
// before it has told anybody. Those who vote from then on would take themselves for learners, the others know that
// they vote no more, and nobody would ever stand for election. Who wants to remove the leader lets it hand over first.
func (q *Quorum) Change(voters, learners []VoterID, out *Out) error {
	now := q.log.voters
	change := &raftpb.ConfChangeV2{Transition: raftpb.ConfChangeTransitionJointImplicit.Enum()}
	add := func(kind raftpb.ConfChangeType, id uint64) {
		change.Changes = append(change.Changes, &raftpb.ConfChangeSingle{Type: kind.Enum(), NodeId: new(id)})
	}
	for _, id := range slices.Concat(now.GetVoters(), now.GetLearners()) {
		if !slices.Contains(voters, VoterID(id)) && !slices.Contains(learners, VoterID(id)) {
			add(raftpb.ConfChangeRemoveNode, id)
		}
	}
	for _, id := range voters {
		if !slices.Contains(now.GetVoters(), uint64(id)) {
			add(raftpb.ConfChangeAddNode, uint64(id))
		}
	}
	for _, id := range learners {
		if !slices.Contains(now.GetLearners(), uint64(id)) {
			add(raftpb.ConfChangeAddLearnerNode, uint64(id))
		}
	}
	if len(change.Changes) == 0 {
		return nil
	}
	switch {
	case !q.leads():
		return ErrNotLeader
	case !slices.Contains(voters, q.config.ID):
		return ErrLeaderLeaves
	}
	if q.log.pendingChange(q.node.BasicStatus().HardState.GetCommit()) || len(now.GetVotersOutgoing()) > 0 {
		return ErrChanging
	}
	q.begin()
	err := q.node.ProposeConfChange(change)
	q.settle(out)
	if err != nil {
		return ErrNotLeader
	}
	return nil
}

// ErrLeaderLeaves says that the leader would be no voter any more.
var ErrLeaderLeaves = errors.New("the leader must go on voting: let it hand over first")

// ErrChanging says that another change of the voters is under way.
var ErrChanging = errors.New("another change of the voters is under way")

// HandOver makes the leader hand its leadership to another voter, once that has caught up. Nothing comes of it if the other votes no
// more when a change that is under way is through.
func (q *Quorum) HandOver(to VoterID, out *Out) {
	if q.leads() && slices.Contains(q.log.voters.GetVoters(), uint64(to)) {
		q.begin()
		q.node.TransferLeader(uint64(to))
		q.settle(out)
	}
}

// Stand makes a voter stand for election at once, without waiting for a silence: the only voter need not.
func (q *Quorum) Stand(out *Out) {
	q.begin()
	_ = q.node.Campaign() // it is ignored by those who do not vote
	q.settle(out)
}

// Receive takes in another voter's message. An error says that it is none, and changes nothing.
func (q *Quorum) Receive(from VoterID, message []byte, now model.Time, out *Out) error {
	q.goOn(now)
	m := new(raftpb.Message)
	if err := proto.Unmarshal(message, m); err != nil {
		return fmt.Errorf("quorum: a message cannot be read: %w", err)
	}
	if err := q.check(from, m); err != nil {
		return err
	}
	if m.GetType() == raftpb.MsgSnap && q.offer(m) {
		s := q.node.BasicStatus()
		q.stepped(s, s, m)
		return nil
	}
	if m.GetType() == raftpb.MsgTimeoutNow && now < q.stoodUntil {
		return nil // it may have waited here for as long as this voter stood still
	}
	if asksForVote(m) && now < q.quietUntil || q.clock.stale(m, now, 2*model.Time(q.config.ElectionTicks)*q.config.TickInterval) {
		return nil
	}
	q.clock.heard(m, now)
	q.step(m, out)
	return nil
}

// goOn takes in what time it is, and that this voter has stood still.
func (q *Quorum) goOn(now model.Time) {
	if timeout := model.Time(q.config.ElectionTicks) * q.config.TickInterval; now-q.now > timeout {
		q.stoodUntil = now + timeout
	}
	q.now = now
}

// step hands the library another voter's message.
func (q *Quorum) step(m *raftpb.Message, out *Out) {
	q.begin()
	before := q.node.BasicStatus()
	sentAt, isAnswer := taken(m)
	// Errors are of messages that come too late, from voters that are not known: they are ignored.
	_ = q.node.Step(m)
	after := q.node.BasicStatus()
	q.stepped(before, after, m)
	if isAnswer && q.leads() && m.GetTerm() == after.HardState.GetTerm() {
		q.rounds.heard(VoterID(m.GetFrom()), sentAt, q.now)
	}
	q.settle(out)
}

// stepped counts again from zero if a leader was heard: ticks that are late were before that.
func (q *Quorum) stepped(before, after raft.BasicStatus, m *raftpb.Message) {
	if !q.timer.stepped(before, after, m) {
		return
	}
	q.quietUntil = max(q.quietUntil, q.now+model.Time(q.config.ElectionTicks-1)*q.config.TickInterval)
	if q.nextTick <= q.now {
		q.nextTick = q.now + q.config.TickInterval
	}
}

// check refuses what a voter does not send, or what would make the library panic.
func (q *Quorum) check(from VoterID, m *raftpb.Message) error {
	switch {
	case from == 0 || from == q.config.ID || raft.IsLocalMsgTarget(uint64(from)):
		return fmt.Errorf("quorum: a message of voter %d, which is no other voter", from)
	case m.GetFrom() != uint64(from):
		return fmt.Errorf("quorum: voter %d sends a message of voter %d", from, m.GetFrom())
	case m.GetTo() != uint64(q.config.ID):
		return fmt.Errorf("quorum: a message for voter %d came to voter %d", m.GetTo(), q.config.ID)
	case !isVoters(m.GetType()):
		return fmt.Errorf("quorum: a message of type %v is no voter's", m.GetType())
	case m.GetTerm() == 0: // the library takes it for its own
		return fmt.Errorf("quorum: voter %d sends a message without a term", from)
	}
	about := m.GetSnapshot().GetMetadata()
	for _, n := range []uint64{m.GetIndex(), m.GetCommit(), m.GetRejectHint(), about.GetIndex()} {
		if n > numberMax {
			return fmt.Errorf("quorum: voter %d sends the number %d, which no cluster gets to", from, n)
		}
	}
	for _, n := range []uint64{m.GetTerm(), m.GetLogTerm(), about.GetTerm()} {
		if n > termMax {
			return fmt.Errorf("quorum: voter %d sends the term %d, which no cluster gets to", from, n)
		}
	}
	last := q.lastIndex()
	switch m.GetType() {
	case raftpb.MsgHeartbeat:
		if m.GetCommit() > last {
			return fmt.Errorf("quorum: voter %d says that entry %d is committed and durable here; the log ends at %d: has this voter lost its disk?", from, m.GetCommit(), last)
		}
	case raftpb.MsgApp:
		before := m.GetLogTerm()
		for i, e := range m.GetEntries() {
			switch {
			case e.GetIndex() != m.GetIndex()+uint64(i)+1:
				return fmt.Errorf("quorum: voter %d sends entries with a gap", from)
			case e.GetTerm() < before || e.GetTerm() == 0 || e.GetTerm() > m.GetTerm():
				return fmt.Errorf("quorum: voter %d sends, in term %d, an entry of term %d behind one of %d", from, m.GetTerm(), e.GetTerm(), before)
			}
			if err := q.checkEntry(e); err != nil {
				return fmt.Errorf("quorum: voter %d sends an entry %d that is none: %w", from, e.GetIndex(), err)
			}
			before = e.GetTerm()
		}
	case raftpb.MsgSnap:
		if about.GetIndex() == 0 || about.GetTerm() == 0 {
			return fmt.Errorf("quorum: voter %d offers an image of nothing", from)
		}
		voters := votersOf(about.GetConfState())
		err := voters.check()
		if err == nil && q.config.CheckOffer != nil {
			err = q.config.CheckOffer(m.GetSnapshot().GetData())
		}
		if err != nil {
			return fmt.Errorf("quorum: voter %d offers an image that is none: %w", from, err)
		}
	}
	return nil
}

// isVoters reports whether voters send messages of a type. Its number may be any.
func isVoters(t raftpb.MessageType) bool {
	switch t { //nolint:exhaustive // others are the library's own, or clients'
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgSnap,
		raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow:
		return true
	}
	return false
}

// checkEntry refuses what cannot be written or, once it is committed, not be applied.
func (q *Quorum) checkEntry(e *raftpb.Entry) error {
	switch e.GetType() { //nolint:exhaustive // the third is of an older library
	case raftpb.EntryNormal:
		if q.config.CheckEntry != nil && len(e.GetData()) > 0 {
			return q.config.CheckEntry(e.GetData())
		}
		return nil
	case raftpb.EntryConfChangeV2:
		if err := proto.Unmarshal(e.GetData(), new(raftpb.ConfChangeV2)); err != nil {
			return fmt.Errorf("a change of the voters cannot be read: %w", err)
		}
		return nil
	}
	return fmt.Errorf("it is of an unknown kind, %d", e.GetType())
}

// numberMax bounds indexes: the library adds to them, and must not pass the end of 64 bits. termMax bounds terms, which
// are leader epochs in the log.
const (
	numberMax = 1 << 60
	termMax   = 1<<31 - 1
)

// lastIndex is the last entry, durable or not.
func (q *Quorum) lastIndex() uint64 {
	last, _ := q.log.LastIndex()
	for i := range q.writes {
		if s := q.writes[i].snapshot; s != nil {
			last = s.GetMetadata().GetIndex() // it replaces the log, and may be shorter
		}
		if n := len(q.writes[i].entries); n > 0 {
			last = q.writes[i].entries[n-1].GetIndex()
		}
	}
	return last
}

// Unreachable says that a message to a voter was lost for sure.
func (q *Quorum) Unreachable(to VoterID, out *Out) {
	q.begin()
	q.node.ReportUnreachable(uint64(to))
	q.settle(out)
}

// Written says that a write is durable. Writes become durable in the order of their tokens; a later one stands for
// those before it.
func (q *Quorum) Written(token uint64, out *Out) {
	q.begin()
	for len(q.writes) > 0 && q.writes[0].token <= token {
		w := q.writes[0]
		q.writes = slices.Delete(q.writes, 0, 1)
		if w.snapshot != nil {
			q.restore(w.snapshot, out)
		}
		q.log.append(w.entries)
		if w.hard != nil {
			q.log.hard = w.hard
		}
		for _, m := range w.responses {
			q.deliver(m, out)
		}
	}
	q.settle(out)
}

// restore takes an image in place of the log.
func (q *Quorum) restore(s *raftpb.Snapshot, out *Out) {
	meta := s.GetMetadata()
	if Index(meta.GetIndex()) <= q.emitted {
		return // an older one than what is there; the library asks for no such thing
	}
	q.log.restore(s)
	q.emitted = Index(meta.GetIndex())
	// Entries that came out in this step are in the image.
	out.Committed = out.Committed[:0]
	out.Restored = &Image{Index: q.emitted, Term: Term(meta.GetTerm()), Voters: votersOf(meta.GetConfState()), Data: s.GetData()}
}

// Compact forgets the entries up to an index that an image was saved for. Some are worth keeping for voters that are
// a little behind.
func (q *Quorum) Compact(to Index) {
	invariant.Check(to <= q.emitted, "only committed entries are forgotten")
	q.log.compact(uint64(to))
}

// Tick does what is due.
func (q *Quorum) Tick(now model.Time, out *Out) {
	q.begin()
	q.goOn(now)
	// After a long pause time begins anew: what was missed is not made up for, as nobody was heard meanwhile.
	if now-q.nextTick > model.Time(q.config.ElectionTicks)*q.config.TickInterval {
		q.nextTick = now
	}
	for ; q.nextTick <= now; q.nextTick += q.config.TickInterval {
		if q.leads() {
			q.node.Tick()
			q.timer.reset()
			q.leave()
			continue
		}
		q.node.TickQuiesced()
		if q.timer.tick() {
			_ = q.node.Campaign() // it is ignored by those who do not vote
		}
	}
	q.settle(out)
}

// leave has a leader that votes no more hand over to the voter that lacks the least. Until then it goes on leading: were it to step
// down when it learns that the change is committed, it alone would know.
func (q *Quorum) leave() {
	now := q.log.voters.GetVoters()
	if slices.Contains(now, uint64(q.config.ID)) || q.node.BasicStatus().LeadTransferee != 0 {
		return
	}
	var next VoterID
	var match uint64
	q.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		if slices.Contains(now, id) && p.RecentActive && p.Match > match {
			next, match = VoterID(id), p.Match
		}
	})
	if next != 0 {
		q.node.TransferLeader(uint64(next))
	}
}

// Deadline is when Tick must be called next.
func (q *Quorum) Deadline() model.Time { return q.nextTick }

// begin begins a step: what was given out before has been applied.
func (q *Quorum) begin() { q.applied = q.emitted }

// TermOf is the term of an entry that is durable here and not compacted, 0 of any other.
func (q *Quorum) TermOf(i Index) Term {
	term, err := q.log.Term(uint64(i))
	if err != nil {
		return 0
	}
	return Term(term)
}

func (q *Quorum) leads() bool { return q.node.BasicStatus().RaftState == raft.StateLeader }

// State is who leads, as far as this voter knows.
type State struct {
	Term   Term
	Leader VoterID // 0: nobody known
	Leads  bool
	Commit Index
}

// State is the voter's state.
func (q *Quorum) State() State {
	s := q.node.BasicStatus()
	return State{Term: Term(s.HardState.GetTerm()), Leader: VoterID(s.Lead), Leads: s.RaftState == raft.StateLeader, Commit: Index(s.HardState.GetCommit())}
}

// Voters is who votes, as of the last committed entry.
func (q *Quorum) Voters() Voters { return votersOf(q.log.voters) }

// Alone reports whether this voter decides without any other, as of the last committed entry.
func (q *Quorum) Alone() bool {
	now := q.log.voters.GetVoters()
	return len(now) == 1 && now[0] == uint64(q.config.ID) && len(q.log.voters.GetVotersOutgoing()) == 0
}

// Progress is how far a leader knows another voter's log to go.
type Progress struct {
	Voter VoterID
	Match Index
	// Active says that it has answered a heartbeat that is no older than an election timeout.
	Active  bool
	Learner bool
}

// Progress is of every voter and learner, by ascending id; empty unless this voter leads.
func (q *Quorum) Progress() []Progress {
	if !q.leads() {
		return nil
	}
	var all []Progress
	q.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		all = append(all, Progress{Voter: VoterID(id), Match: Index(p.Match), Active: q.answers(VoterID(id)), Learner: p.IsLearner})
	})
	return all
}
