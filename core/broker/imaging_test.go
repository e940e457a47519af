package broker

import (
	"fmt"
	"testing"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// joining is the leader of a quorum, node 1, and node 2 that comes to vote with an empty disk. Pieces of the image carry 100 bytes.
type joining struct {
	t        *testing.T
	w        *world
	b        *Broker // node 2
	now      model.Time
	requests uint64
	offer    *effect.QuorumMessages // the last messages that node 2 was sent
	pieces   int                    // that were asked for
	bytes    int64                  // that came
	notes    []effect.Note
	marks    effect.Marks
	changed  []*effect.VotersChanged // answers to who changes the voters
	// piece is what becomes of a piece: it may be changed. It is not answered if this says so.
	piece func(body *effect.ImageFetched) effect.CallFailure
	// holds keeps what node 2 sends the leader in held.
	holds bool
	held  []*effect.QuorumMessages
}

func newJoining(t *testing.T) *joining { return newJoiningTicking(t, 1<<60) }

func newJoiningTicking(t *testing.T, interval model.Time) *joining {
	w := newWorldTicking(100, interval)
	var topics []controller.CreateTopic
	for i := range 20 {
		topics = append(topics, controller.CreateTopic{Name: fmt.Sprintf("topic-%d", i), PartitionCount: 2, ReplicationFactor: 1})
	}
	w.step(t, &CreateTopics{Topics: topics})
	w.durableAll(t)
	config := w.b.config
	w.b.config.Quorum.Voters = []VoterAddress{{Node: 1}, {Node: 2}}
	config.Advertised.ID, config.Controller.NodeID = 2, 2
	config.Quorum.Directory, config.Quorum.ImagePieceBytes = model.DirectoryID{2}, 100
	j := &joining{t: t, w: w, now: 1, b: newBroker(config, metadata.NewView(metadata.NewImage(), 2, config.Controller.Node))}
	j.piece = func(*effect.ImageFetched) effect.CallFailure { return effect.CallOK }
	if saved, err := j.b.openVoter(noStore{}, metalog.Found{}); saved != nil || err != nil {
		t.Fatalf("node 2 votes already: %v", err)
	}
	return j
}

// begin has the leader make a learner of node 2.
func (j *joining) begin() { j.change(nil, []model.VoterID{VoterOf(2, model.DirectoryID{2})}) }

// learn has node 2 follow the leader.
func (j *joining) learn() {
	j.begin()
	for range 1000 {
		if j.whole() {
			return
		}
		j.wait(50e6)
	}
	j.t.Fatal("node 2 does not come by the metadata")
}

// change has the leader change who votes beside it.
func (j *joining) change(voters, learners []model.VoterID) {
	v := j.w.b.voter
	var out effect.Set
	if err := v.log.Change(append([]model.VoterID{v.id}, voters...), learners, &out, &v.out); err != nil {
		j.t.Fatal(err)
	}
	j.w.b.voted(&out)
	j.took(j.w.b, &out)
}

// step hands a node an event, and what it wants done to whom it concerns. It returns the answer to a call.
func (j *joining) step(b *Broker, ev Event) (answer effect.AnswerBody) {
	var out effect.Set
	b.Step(j.now, ev, &out)
	if err := b.Check(); err != nil {
		j.t.Fatal(err)
	}
	for _, r := range out.Replies {
		if body, is := r.Body.(effect.AnswerBody); is && r.To.Request == j.requests {
			answer = body
		}
	}
	j.took(b, &out)
	return answer
}

func (j *joining) took(b *Broker, out *effect.Set) {
	j.notes = append(j.notes, out.Notes...)
	j.marks.Merge(out.Marks)
	for _, r := range out.Replies {
		if c, is := r.Body.(*effect.VotersChanged); is {
			j.changed = append(j.changed, c)
		}
	}
	done := &Completed{}
	if b == j.w.b {
		j.w.inFlight = append(j.w.inFlight, out.Appends...)
		done.Appended = j.w.durable(len(j.w.inFlight))
	} else {
		for _, a := range out.Appends {
			done.Appended = append(done.Appended, effect.Appended{
				Partition: a.Partition, NextOffset: a.BaseOffset + model.Offset(record.Batch(a.Batch).LastOffsetDelta()) + 1,
			})
		}
	}
	for _, s := range out.StartAts {
		done.Truncated = append(done.Truncated, effect.Truncated{Partition: s.Partition, State: log.New(s.Offset), NextOffset: s.Offset})
	}
	if len(done.Appended)+len(done.Truncated) > 0 {
		j.step(b, done)
	}
	for i := range out.Calls {
		j.call(b, &out.Calls[i])
	}
}

// call carries what one node asks of the other. What is asked of nobody is not answered.
func (j *joining) call(from *Broker, c *effect.Call) {
	to := j.b
	if from == j.b {
		to = j.w.b
	}
	j.requests++
	id := effect.RequestID{Conn: 9, Request: j.requests}
	answer := effect.Answer{From: c.To, ID: c.ID}
	switch body := c.Body.(type) {
	case *effect.QuorumMessages:
		if to == j.b {
			j.offer = body
		}
		if to == j.w.b && j.holds {
			j.held = append(j.held, body)
			return
		}
		answer.Body = j.step(to, &QuorumMessages{To: id, Ask: *body})
	case *effect.FetchImage:
		j.pieces++
		if body.BytesMax > 100 {
			j.t.Fatalf("a piece of %d bytes is asked for", body.BytesMax)
		}
		piece := *j.step(to, &FetchImage{To: id, Ask: *body}).(*effect.ImageFetched)
		piece.Bytes = append([]byte(nil), piece.Bytes...)
		if answer.Failure = j.piece(&piece); answer.Failure == effect.CallOK {
			answer.Body = &piece
			j.bytes += int64(len(piece.Bytes))
		}
	default:
		return
	}
	j.step(from, &Answered{answer})
}

// deliver lets the leader have what was held first.
func (j *joining) deliver(n int) {
	held := j.held[:n]
	j.held = j.held[n:]
	for _, body := range held {
		j.requests++
		j.step(j.w.b, &QuorumMessages{To: effect.RequestID{Conn: 9, Request: j.requests}, Ask: *body})
	}
}

// wait lets time pass on node 2.
func (j *joining) wait(by model.Time) {
	j.now += by
	j.tick(j.b)
}

func (j *joining) tick(b *Broker) {
	var out effect.Set
	b.Tick(j.now, 0, &out)
	j.took(b, &out)
}

func (j *joining) whole() bool {
	return j.b.voter != nil && j.b.view.Version() == j.w.b.view.Version() && j.b.view.Image.Equal(j.w.b.view.Image)
}

func TestAVoterIsGivenItsImageInPiecesWhateverIsLost(t *testing.T) {
	j := newJoining(t)
	j.piece = func(*effect.ImageFetched) effect.CallFailure {
		switch {
		case j.pieces%5 == 3:
			return effect.CallTimedOut
		case j.pieces%11 == 7:
			return effect.CallLost
		}
		return effect.CallOK
	}
	j.begin()
	for range 1000 {
		if j.whole() {
			break
		}
		j.wait(50e6)
	}
	_, size, _ := j.w.b.outgoing.Piece(j.w.b.newestImage(), 0, 1, 0)
	if !j.whole() || j.pieces < 20 || j.bytes != size {
		t.Fatalf("after %d pieces, %d of %d bytes, it is at version %d of %d", j.pieces, j.bytes, size, j.b.view.Version(), j.w.b.view.Version())
	}
	if !j.marks.Has(effect.MarkVoterImaged) || j.b.imaging() || j.b.voter.fetching.image != nil {
		t.Error("it has come by the image, and still fetches it")
	}
	if p := j.w.b.voter.log.Progress(); len(p) != 2 || p[0].Match != p[1].Match {
		t.Errorf("the leader does not know: %+v", p)
	}
}

// Bytes from another node are refused, never believed.
func TestAVoterRefusesAnImageThatIsNotTheOneThatWasOffered(t *testing.T) {
	for name, piece := range map[string]func(j *joining, body *effect.ImageFetched){
		"a bit is another":      func(j *joining, body *effect.ImageFetched) { body.Bytes[len(body.Bytes)/2] ^= byte(j.pieces & 1) },
		"it has another size":   func(_ *joining, body *effect.ImageFetched) { body.SizeBytes-- },
		"a piece is of another": func(_ *joining, body *effect.ImageFetched) { body.ID.EndOffset++ },
		"a piece is empty":      func(_ *joining, body *effect.ImageFetched) { body.Bytes = nil },
		"a piece is elsewhere":  func(_ *joining, body *effect.ImageFetched) { body.Position++ },
	} {
		j := newJoining(t)
		j.piece = func(body *effect.ImageFetched) effect.CallFailure {
			piece(j, body)
			return effect.CallOK
		}
		j.begin()
		for range 20 {
			j.wait(50e6)
		}
		if j.b.view.Version() != 0 || j.b.imaging() || j.b.voter.log.Next() != 0 {
			t.Errorf("%s: it is at version %d", name, j.b.view.Version())
		}
	}
}

// A leader that is not heard for a while, and offers the same image again, is not asked for what has come of it.
func TestAVoterGoesOnWithAnImageThatIsOfferedAgain(t *testing.T) {
	j := newJoining(t)
	j.piece = func(*effect.ImageFetched) effect.CallFailure {
		if j.pieces > 10 {
			return effect.CallUnreachable
		}
		return effect.CallOK
	}
	j.begin()
	for range 100 {
		j.wait(50e6)
	}
	if j.b.imaging() || j.pieces != 12 {
		t.Fatalf("it goes on asking, %d times, who is not heard", j.pieces)
	}
	j.piece = func(*effect.ImageFetched) effect.CallFailure { return effect.CallOK }
	j.requests++
	j.step(j.b, &QuorumMessages{To: effect.RequestID{Conn: 9, Request: j.requests}, Ask: *j.offer})
	j.wait(50e6)
	_, size, _ := j.w.b.outgoing.Piece(j.w.b.newestImage(), 0, 1, 0)
	if !j.whole() || j.bytes != size {
		t.Fatalf("%d bytes have come of %d, and it is at version %d", j.bytes, size, j.b.view.Version())
	}
}

func TestAVoterLetsGoOfAnImageThatIsGone(t *testing.T) {
	j := newJoining(t)
	j.piece = func(*effect.ImageFetched) effect.CallFailure {
		if j.pieces == 5 {
			j.w.b.outgoing = metalog.Outgoing{}
		}
		return effect.CallOK
	}
	j.begin()
	if j.pieces != 6 || j.b.imaging() || j.b.voter.fetching.image != nil || j.b.view.Version() != 0 {
		t.Fatalf("after %d pieces it has %+v", j.pieces, j.b.voter.fetching)
	}
}
