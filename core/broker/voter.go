package broker

import (
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
	"github.com/weirmq/weir/core/record"
)

// QuorumConfig is who keeps the metadata log, and this node's part in it.
type QuorumConfig struct {
	// Voters are the nodes that vote when the cluster begins, by ascending id. Who votes from then on is in the log: these
	// are whom others ask first.
	Voters []VoterAddress
	// Directory is of the disk that this node votes from.
	Directory model.DirectoryID
	Log       metalog.Config // its Quorum.ID is filled in
	// ImagePieceBytes is how much of an image of the metadata is moved in a call at most; 0: DefaultImagePieceBytes.
	ImagePieceBytes int32
}

// VoterAddress is where a voter is reached.
type VoterAddress struct {
	Node    model.NodeID
	Address effect.Address
}

// VoterOf is the identity of a node that votes from a disk: with another disk it is another voter (decision 10). The node
// is in it, for others to know whom to ask.
func VoterOf(node model.NodeID, directory model.DirectoryID) model.VoterID {
	return model.VoterID(uint64(node+1)<<32 | xxhash.Sum64(directory[:])&0xffff_ffff)
}

// voterNode is the node of a voter.
func voterNode(id model.VoterID) model.NodeID { return model.NodeID(uint64(id)>>32) - 1 }

// voter is this node's part in the quorum.
//
//	            alone, or the others have told their disks         the quorum's leader
//	founding ──────────────────────────────────────────────► voting ────────────────► acting: the controller is active
//	   │ others have a log: this disk is not the one that it was ▲  ◄────────────────
//	   └──► joining ─────────────── has fetched an image ────────┘
type voter struct {
	id    model.VoterID
	log   *metalog.Log
	out   metalog.Out
	saved *metalog.Saved // while founding
	// behind is the metadata as of where the log is committed while the broker is ahead of that; nil: it is not.
	behind *metadata.Image
	told   map[model.NodeID]model.VoterID
	asked  map[model.NodeID]bool
	askAt  model.Time
	term   quorum.Term // that the controller here is active in; 0: it is not
	// ledBefore is the last leader that was another voter; NoNode: none was heard of.
	ledBefore model.NodeID
	heard     map[model.VoterID]heard // while it is active
	ledAt     model.Time              // when another voter was last heard that leads
	change    *voterChange            // of the voters, while it is active; nil: none is under way
	replaceAt model.Time
	fetching  fetching // of an image that it was offered
}

func (b *Broker) newVoter() *voter {
	return &voter{
		id: VoterOf(b.config.Advertised.ID, b.config.Quorum.Directory), ledBefore: model.NoNode,
		told: map[model.NodeID]model.VoterID{}, asked: map[model.NodeID]bool{},
	}
}

// openLog opens the partitions that a voter keeps.
func (b *Broker) openLog(out *effect.Set) {
	for _, tp := range []model.TopicPartition{metalog.EntriesPartition, metalog.HardPartition, metalog.ImagesPartition} {
		out.Opens = append(out.Opens, effect.Open{Partition: tp, Config: metadataLog()})
	}
}

// openVoter starts the voter from its disk: a node that is to vote when the cluster begins, or that came to vote since.
func (b *Broker) openVoter(store metalog.Store, found metalog.Found) (*metalog.Saved, error) {
	q := &b.config.Quorum
	saved, err := metalog.Load(store, found)
	if err != nil {
		return nil, fmt.Errorf("load the metadata log: %w", err)
	}
	first := slices.ContainsFunc(q.Voters, func(v VoterAddress) bool { return v.Node == b.config.Advertised.ID })
	if !first && saved.IsEmpty() {
		b.blank = saved
		return nil, nil
	}
	b.voter = b.newVoter()
	return saved, nil
}

// startVoter begins to vote, or to ask around whether to found a cluster.
func (b *Broker) startVoter(saved *metalog.Saved, out *effect.Set) error {
	v := b.voter
	if saved.IsEmpty() {
		v.saved = saved
		if b.config.Quorum.Voters[0].Node == b.config.Advertised.ID {
			b.found(out)
			return nil
		}
	}
	return b.vote(saved, out)
}

// found founds a cluster once every other voter has told which disk it votes from, and that there is no cluster yet. The
// first of the voters does it; the others are sent what it founded.
func (b *Broker) found(out *effect.Set) {
	v := b.voter
	ids := []model.VoterID{v.id}
	for _, other := range b.config.Quorum.Voters[1:] {
		if id := v.told[other.Node]; id != 0 {
			ids = append(ids, id)
		}
	}
	if len(ids) < len(b.config.Quorum.Voters) {
		return
	}
	saved := v.saved
	saved.Found(ids, nil)
	out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteClusterFounded, Count: int64(len(ids))})
	err := b.vote(saved, out)
	invariant.Check(err == nil, "what is founded can be voted on")
}

// vote starts the quorum.
func (b *Broker) vote(saved *metalog.Saved, out *effect.Set) error {
	v := b.voter
	v.saved, v.ledAt = nil, b.now
	config := b.config.Quorum.Log
	config.Quorum.ID = v.id
	log, err := metalog.Open(config, saved, imager{b}, b.now, out)
	if err != nil {
		return fmt.Errorf("start the quorum: %w", err)
	}
	v.log = log
	if !saved.IsEmpty() {
		if err := b.restore(saved.Image()); err != nil {
			return fmt.Errorf("the newest image of the metadata: %w", err)
		}
	}
	log.Stand(out, &v.out)
	b.voted(out)
	return nil
}

// imager shows the metadata to the quorum.
type imager struct{ b *Broker }

// Applied is where what was applied ends.
func (i imager) Applied() model.Offset { return i.b.logged().Version() }

// Image is everything that was applied.
func (i imager) Image() []byte { return imageBytes(i.b.logged()) }

func imageBytes(image *metadata.Image) (all []byte) {
	for batch := range image.Records(0, 0) {
		all = append(all, batch...)
	}
	return all
}

// CheckBatch refuses what no image takes in.
func (imager) CheckBatch(batch record.Batch) error { return metadata.CheckBatch(batch) }

// CheckImage refuses what is no image.
func (i imager) CheckImage(batches []byte, next model.Offset) error {
	_, err := i.b.config.Memo.Read(batches, next, imageFrom)
	return err
}

// tickVoter does what is due.
func (b *Broker) tickVoter(now model.Time, out *effect.Set) {
	v := b.voter
	switch {
	case v == nil:
	case v.log != nil:
		v.log.Tick(now, out, &v.out)
		b.voted(out)
	case now >= v.askAt:
		v.askAt = now + askInterval
		for _, other := range b.config.Quorum.Voters[1:] {
			b.askVoter(other, out)
		}
	}
}

const (
	askInterval     model.Time = 500e6
	messagesTimeout model.Time = 2e9
)

// askVoter asks another voter from which disk it votes.
func (b *Broker) askVoter(other VoterAddress, out *effect.Set) {
	v := b.voter
	if v.asked[other.Node] {
		return
	}
	v.asked[other.Node] = true
	b.call(other.Node, other.Address, effect.LaneQuorum, messagesTimeout, &effect.QuorumMessages{From: v.id}, out, func(a *effect.Answer, out *effect.Set) {
		v.asked[other.Node] = false
		body, _ := a.Body.(*effect.QuorumMessagesTaken)
		if v.log != nil || a.Failure != effect.CallOK || body.Voter == 0 {
			return
		}
		if body.HasLog {
			// There is a cluster, and this disk knows nothing of it: it joins as another voter.
			err := b.vote(v.saved, out)
			invariant.Check(err == nil, "an empty log can be voted on")
			out.Marks.Set(effect.MarkVoterJoins)
			return
		}
		v.told[other.Node] = body.Voter
		b.found(out)
	})
}

// quorumMessages takes in another voter's messages.
func (b *Broker) quorumMessages(ev *QuorumMessages, out *effect.Set) {
	v := b.voter
	answer := &effect.QuorumMessagesTaken{}
	defer func() { out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer}) }()
	if v == nil && len(ev.Ask.Messages) > 0 && ev.Ask.To == VoterOf(b.config.Advertised.ID, b.config.Quorum.Directory) {
		b.join(out)
		v = b.voter
	}
	if v == nil {
		answer.Code = kerr.VoterNotFound.Code
		return
	}
	answer.Voter, answer.HasLog = v.id, v.log != nil && v.log.Next() > 0
	if len(ev.Ask.Messages) == 0 || v.log == nil {
		return
	}
	if ev.Ask.To != v.id {
		answer.Code = kerr.VoterNotFound.Code
		return
	}
	for _, m := range ev.Ask.Messages {
		if err := v.log.Receive(ev.Ask.From, m, b.now, out, &v.out); err != nil {
			out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteQuorumRefused, Detail: err.Error()})
		}
	}
	b.voted(out)
	if ev.Ask.From == v.log.State().Leader {
		v.ledAt = b.now
	}
	v.hearVoter(ev.Ask.From, b.now)
}

// voted carries out what the quorum has come to.
func (b *Broker) voted(out *effect.Set) {
	v := b.voter
	o := v.out
	v.out = metalog.Out{}
	switch {
	case o.Restored == nil:
	case o.Restored.Next < b.view.Version():
		b.restoreLogged(o.Restored)
	case o.Restored.Next == b.view.Version():
		v.behind = nil
	default:
		v.behind = nil
		before := b.view
		if err := b.restore(o.Restored.Batches, o.Restored.Next); err != nil {
			invariant.Checkf(false, "an image of the metadata was checked when it came: %v", err)
		}
		if b.caughtUp {
			b.metadataReplaced(before, out)
		}
	}
	for i := range o.Committed {
		b.committed(&o.Committed[i], out)
	}
	b.sendMessages(o.Sends, out)
	if o.Led != nil {
		b.led(*o.Led, out)
	}
	b.fetchOffered(out)
}

// led takes in who leads the quorum.
func (b *Broker) led(s quorum.State, out *effect.Set) {
	v := b.voter
	if s.Leader != 0 {
		if !s.Leads {
			v.ledBefore = voterNode(s.Leader)
		}
		b.controllerKnown(voterNode(s.Leader))
		out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteControllerElected, Count: int64(voterNode(s.Leader)), Offset: model.Offset(s.Term)})
	}
	if v.term != 0 && (!s.Leads || s.Term != v.term) {
		v.term = 0
		b.controller.Resign(out)
		if c := v.change; c != nil {
			b.endChange(c, kerr.NotController.Code, "another node has come to lead the quorum", out)
		}
	}
}

// committed applies what the quorum has committed.
func (b *Broker) committed(c *metalog.Committed, out *effect.Set) {
	v := b.voter
	switch {
	case v.behind != nil:
		b.logOn(c.Batch) // it was observed
	case c.Batch.NextOffset() > b.view.Version():
		// What this version cannot read was refused before it was acknowledged. What was committed all the same rests on what
		// was committed before it, on every node alike.
		if err := b.applyMetadata(c.Batch, out); err != nil {
			invariant.Checkf(false, "metadata was committed that cannot be applied: %v", err)
		}
	}
	s := v.log.State()
	switch {
	case !s.Leads || c.Term != s.Term:
	case v.term != s.Term:
		// Its first entry is committed: so is everything before it.
		v.term, v.heard = s.Term, make(map[model.VoterID]heard)
		b.controller.Lead(b.view, v.ledBefore, b.now)
		b.controllerKnown(b.config.Advertised.ID)
	case !c.Batch.IsControl():
		b.controller.Committed(out)
	}
}

// applyMetadata goes on to the next image.
func (b *Broker) applyMetadata(batch record.Batch, out *effect.Set) error {
	image, changes, joined, err := b.config.Memo.Apply(b.view.Image, batch)
	if err != nil {
		return err
	}
	before := b.view
	b.view = b.view.Of(image)
	if joined {
		b.refileTopics()
	}
	b.controller.Applied(b.view, changes)
	if b.caughtUp {
		b.metadataChanged(before, changes, out)
	}
	return nil
}

// restore begins anew with an image.
func (b *Broker) restore(batches []byte, next model.Offset) error {
	image, err := b.config.Memo.Read(batches, next, imageFrom)
	if err == nil {
		b.view = b.view.Of(image)
	}
	return err
}

// decide lets the controller decide what waits, if it is here and active.
func (b *Broker) decide(out *effect.Set) {
	v := b.voter
	if v == nil || v.term == 0 {
		return
	}
	if v.log.Full() {
		b.controller.Refuse(kerr.KafkaStorageError.Code, "the controller's disk is full: the change was not written", out)
		return
	}
	for batch := b.controller.Take(out); batch != nil; batch = b.controller.Take(out) {
		err := v.log.Propose(batch, out, &v.out)
		b.voted(out)
		if err != nil && v.term != 0 { // its disk refuses it: it will not lead for long
			v.term = 0
			b.controller.Resign(out)
		}
	}
}

// sendMessages sends to other voters, in one call each.
func (b *Broker) sendMessages(sends []quorum.Send, out *effect.Set) {
	v := b.voter
	for len(sends) > 0 {
		to := sends[0].To
		var rest []quorum.Send
		body := &effect.QuorumMessages{From: v.id, To: to}
		isOffer := false
		for _, s := range sends {
			if s.To != to {
				rest = append(rest, s)
				continue
			}
			body.Messages = append(body.Messages, s.Message)
			isOffer = isOffer || s.IsOffer
		}
		sends = rest
		address, ok := b.controllerAddress(voterNode(to))
		if !ok {
			v.log.Sent(to, isOffer, false, b.now, out, &v.out)
			continue
		}
		b.call(voterNode(to), address, effect.LaneQuorum, messagesTimeout, body, out, func(a *effect.Answer, out *effect.Set) {
			taken, _ := a.Body.(*effect.QuorumMessagesTaken)
			v.log.Sent(to, isOffer, a.Failure == effect.CallOK && taken.Code == 0, b.now, out, &v.out)
			b.voted(out)
		})
	}
}

// controllerNode is who the controller is, as far as this node knows: a voter does, others ask around.
func (b *Broker) controllerNode() (model.NodeID, bool) {
	if b.voter != nil && b.voter.term != 0 {
		return b.config.Advertised.ID, true
	}
	return b.hint, b.hint >= 0
}

// controllerKnown takes in who the controller is.
func (b *Broker) controllerKnown(node model.NodeID) {
	b.hint = node
	b.giveUpCalls(node)
	b.self.nextAt = min(b.self.nextAt, b.now) // it wants to hear of everybody
}

// controllerUnknown says that whom this node took for the controller is not, or cannot be reached. Another voter is asked
// next time.
func (b *Broker) controllerUnknown() {
	if b.voter != nil && b.voter.log != nil && !b.unled() {
		if leader := b.voter.log.State().Leader; leader != 0 {
			b.hint = voterNode(leader)
		} else {
			b.hint = model.NoNode
		}
		return
	}
	voters := b.config.Quorum.Voters
	if len(voters) == 0 {
		return
	}
	i := slices.IndexFunc(voters, func(v VoterAddress) bool { return v.Node == b.hint })
	b.hint = voters[(i+1)%len(voters)].Node
}

// controllerAddress is where a voter is reached.
func (b *Broker) controllerAddress(node model.NodeID) (effect.Address, bool) {
	for _, v := range b.config.Quorum.Voters {
		if v.Node == node {
			return v.Address, true
		}
	}
	return b.addressOf(node)
}

// addressOf is where a broker listens for other nodes.
func (b *Broker) addressOf(node model.NodeID) (effect.Address, bool) {
	r := b.view.Broker(node)
	if r == nil {
		return effect.Address{}, false
	}
	for _, v := range b.config.Quorum.Voters {
		if v.Node == node {
			return v.Address, true
		}
	}
	l, ok := r.Listener(InterNodeListener)
	return effect.Address{Host: l.Host, Port: l.Port, Transport: effect.Transport(l.Security)}, ok
}

// InterNodeListener is the name of the listener that nodes reach each other by.
const InterNodeListener = "NODES"

// voterDeadline is when tickVoter has something to do.
func (b *Broker) voterDeadline() model.Time {
	switch v := b.voter; {
	case v == nil:
		return 0
	case v.log == nil:
		return max(1, v.askAt)
	default:
		return v.log.Deadline()
	}
}
