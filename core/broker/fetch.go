package broker

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/replica"
)

// fetchBytesMax bounds the records of one response, whatever the client asks for (Kafka's
// fetch.max.bytes): a response must fit its length prefix, and may have to be held in memory.
const fetchBytesMax = 55 << 20

// parkedFetch is a fetch that waits until enough has arrived or its time is over.
type parkedFetch struct {
	ev       *Fetch
	session  *fetchSession // nil: a full fetch
	deadline model.Time
	number   uint64 // breaks ties between deadlines: first parked, first out
	place    int    // in fetches.heap
	bytesMin int64  // what it waits for: never more than it may be given
	// readableBytes is about what an answer now would hold.
	readableBytes int64
	woken         bool
	at            []spot // where it waits: one for each part of a full fetch
}

// spot is a place in a partition's list of waiting fetches.
type spot struct {
	partition *partition
	place     int
}

// waiter is one part of a fetch that waits at a partition.
type waiter struct {
	fetch *parkedFetch
	part  int
}

// fetches are the parked fetches, as a heap by deadline.
type fetches struct {
	heap   []*parkedFetch
	count  uint64
	byConn map[effect.ConnID][]*parkedFetch
	woken  []*parkedFetch // memory of wakeFrom
}

// fetch answers at once if anything is wrong, if enough is there, or if the client will not wait.
func (b *Broker) fetch(ev *Fetch, out *effect.Set) {
	if isMetadataFetch(ev) {
		b.fetchMetadata(ev, out)
		return
	}
	s, code := b.sessionFor(ev, out)
	switch {
	case code != 0:
		out.Reads = append(out.Reads, effect.Read{To: ev.To, Fetch: &effect.FetchReply{Code: code}})
		return
	case s != nil:
		b.poll(s, ev, out)
		return
	}
	b.fetchedBy(ev, out)
	f := &parkedFetch{ev: ev, deadline: b.now + ev.Wait, bytesMin: int64(min(ev.BytesMin, ev.BytesMax, fetchBytesMax))}
	ready := ev.Wait <= 0 || f.bytesMin <= 0 || len(ev.Parts) == 0
	b.fetchCount++
	for i := range ev.Parts {
		part := &ev.Parts[i]
		p, code := b.find(part.Topic, part.Partition)
		if code == 0 {
			code = b.fetchCode(p, part, ev.reader())
		}
		if code == 0 && b.nearer(p, part, ev.reader()) != nil {
			ready = true
			break
		}
		if code != 0 || p.fetchedBy == b.fetchCount || p.replica.Diverges(part.LastFetchedEpoch, part.Offset) {
			ready = true
			break
		}
		p.fetchedBy = b.fetchCount
		f.readableBytes += readable(p, part.Offset, ev.Replica)
		f.at = append(f.at, spot{partition: p})
	}
	if ready || f.readableBytes >= f.bytesMin {
		b.answerFetch(ev, out)
		return
	}
	out.Marks.Set(effect.MarkFetchParked)
	b.fetches.park(f)
}

// fetchCode checks one part against its partition.
func (b *Broker) fetchCode(p *partition, part *FetchPart, by reader) int16 {
	client := by.replica == model.NoNode
	switch {
	case p.replica.Offline() != "":
		return kerr.KafkaStorageError.Code
	case client && b.cutOff():
		return kerr.NotLeaderForPartition.Code
	case client && by.rack != "" && p.replica.Leader() >= 0:
		// Who says where it is may read from a follower (KIP-392): what it finds is old, as if it had come from far away.
		if code := p.replica.CheckEpoch(part.CurrentLeaderEpoch); code != 0 {
			return code
		}
	default:
		if code := p.replica.CheckLeads(part.CurrentLeaderEpoch); code != 0 {
			return code
		}
	}
	if !client && !p.topic.Partition(p.index()).IsReplica(by.replica) {
		return kerr.UnknownLeaderEpoch.Code // a reassignment that one of the two has not heard of
	}
	if p.replica.Diverges(part.LastFetchedEpoch, part.Offset) {
		return 0 // it is told where the logs part, however far its own goes
	}
	// A client may know a higher end than the high watermark: it may wait there. Beyond the log end
	// offset there is nothing to wait for.
	if bounds := p.replica.Bounds(); part.Offset < bounds.LogStartOffset || part.Offset > p.replica.LogEndOffset() {
		return kerr.OffsetOutOfRange.Code
	}
	if part.LastFetchedEpoch >= 0 {
		if epoch, _ := p.replica.EpochEnd(part.LastFetchedEpoch); epoch == model.NoLeaderEpoch {
			return kerr.OffsetOutOfRange.Code // where it parted from us cannot be told
		}
	}
	return 0
}

// nearer is a replica in the client's rack that has what the client asks for, if this is the leader, and in another rack;
// nil if there is none (KIP-392).
func (b *Broker) nearer(p *partition, part *FetchPart, by reader) *model.NodeID {
	if by.rack == "" || by.replica != model.NoNode || by.rack == b.members.Rack || !p.replica.Leads() {
		return nil
	}
	for _, node := range p.topic.Partition(p.index()).ISR {
		r := b.view.Broker(node)
		if r != nil && !r.Fenced && r.Rack == by.rack && p.replica.Followers().Has(node, part.Offset) {
			p.readAway = true
			return &node
		}
	}
	return nil
}

// answerFetch gives every part its bounds and hands the reading to storage. A partition that is named again is
// refused: reading costs as often as it is named.
func (b *Broker) answerFetch(ev *Fetch, out *effect.Set) {
	reply := &effect.FetchReply{BytesMax: min(ev.BytesMax, fetchBytesMax), Parts: make([]effect.FetchPart, len(ev.Parts))}
	b.fetchCount++
	for i := range ev.Parts {
		part, answer := &ev.Parts[i], &reply.Parts[i]
		p, code := b.find(part.Topic, part.Partition)
		if p != nil && p.fetchedBy == b.fetchCount {
			p, code = nil, kerr.InvalidRequest.Code
		} else if p != nil {
			p.fetchedBy = b.fetchCount
		}
		b.answerPart(answer, p, part, ev.reader())
		answer.Index, answer.BytesMax = part.Index, part.BytesMax
		if p == nil {
			answer.Code = code
		}
		if answer.Code == kerr.OffsetOutOfRange.Code {
			out.Marks.Set(effect.MarkFetchOutOfRange)
		}
	}
	reply.SessionID = b.beginSession(ev, reply, out)
	out.Reads = append(out.Reads, effect.Read{To: ev.To, Fetch: reply})
}

// answerPart says what there is to know of a part besides records, and which to read. Without a partition it
// says nothing.
func (b *Broker) answerPart(answer *effect.FetchPart, p *partition, part *FetchPart, by reader) {
	answer.HighWatermark, answer.LastStableOffset, answer.LogStartOffset = model.NoOffset, model.NoOffset, model.NoOffset
	answer.Partition = model.TopicPartition{Topic: part.Topic.ID, Partition: part.Partition}
	if p == nil {
		return
	}
	answer.Partition = p.replica.Partition()
	if answer.Code = b.fetchCode(p, part, by); answer.Code != 0 {
		answer.Leader = b.leaderHint(p, answer.Code)
		if answer.Code == kerr.OffsetOutOfRange.Code && by.replica != model.NoNode {
			answer.LogStartOffset = p.replica.Bounds().LogStartOffset // where a replica begins anew
		}
		return
	}
	bounds := p.replica.Bounds()
	answer.HighWatermark, answer.LastStableOffset = bounds.HighWatermark, bounds.LastStableOffset
	answer.LogStartOffset = bounds.LogStartOffset
	to := bounds.HighWatermark
	if by.readCommitted {
		to = bounds.LastStableOffset
	}
	if by.replica != model.NoNode {
		to = p.replica.LogEndOffset()
	}
	if answer.ReadReplica = b.nearer(p, part, by); answer.ReadReplica != nil {
		to = part.Offset
	}
	answer.From, answer.To = part.Offset, max(part.Offset, to)
	if p.replica.Diverges(part.LastFetchedEpoch, part.Offset) {
		epoch, end := p.replica.EpochEnd(part.LastFetchedEpoch)
		answer.Diverging, answer.To = &effect.EpochEnd{LeaderEpoch: epoch, EndOffset: end}, answer.From
	}
}

// leaderHint is who leads a partition, for a client that was refused because it does not know (KIP-951).
func (b *Broker) leaderHint(p *partition, code int16) *effect.Leader {
	if code != kerr.FencedLeaderEpoch.Code && code != kerr.NotLeaderForPartition.Code {
		return nil
	}
	state := p.topic.Partition(p.index())
	leader, ok := b.shown(state.Leader)
	if !ok || b.cutOff() && state.Leader == b.config.Advertised.ID {
		return nil
	}
	return &effect.Leader{Broker: leader, Epoch: max(state.LeaderEpoch, p.replica.LeaderEpoch())}
}

// hintLeader tells producers that were refused in this step, from an outcome on, who leads now.
func (b *Broker) hintLeader(p *partition, from int, out *effect.Set) {
	for i := range out.Produced[from:] {
		o := &out.Produced[from+i]
		o.Leader = b.leaderHint(p, o.Code)
	}
}

// readable is about how many bytes somebody would find at an offset: a replica beyond the high watermark, too.
func readable(p *partition, from model.Offset, by model.NodeID) int64 {
	if by != model.NoNode {
		return p.replica.FetchableBytes(from)
	}
	return p.replica.ReadableBytes(from)
}

// fetchedBy lets leaders know how far a follower is: by every part of a fetch, for a follower names a partition once while it
// has nothing new to say of it.
func (b *Broker) fetchedBy(ev *Fetch, out *effect.Set) {
	for i := range ev.Parts {
		b.takeIn(ev, &ev.Parts[i], out)
	}
}

// takeIn lets the leader of a partition know how far a follower is there, which may move the high watermark. It returns the
// leadership that has heard of it, NoLeaderEpoch if none has.
func (b *Broker) takeIn(ev *Fetch, part *FetchPart, out *effect.Set) model.LeaderEpoch {
	if ev.Replica == model.NoNode {
		return model.NoLeaderEpoch
	}
	p, code := b.find(part.Topic, part.Partition)
	if code != 0 || b.fetchCode(p, part, ev.reader()) != 0 || p.replica.Diverges(part.LastFetchedEpoch, part.Offset) {
		return model.NoLeaderEpoch // refused, or it has something else there
	}
	before := p.replica.Bounds().HighWatermark
	advanced, code := p.replica.FetchedBy(ev.Replica, ev.BrokerEpoch, part.Offset, b.now, out)
	if advanced {
		b.wakeFrom(p, before, out)
	}
	p.replica.Followers().Starts(ev.Replica, ev.BrokerEpoch, part.LogStartOffset)
	b.deletionsAdvance(p, out)
	if !p.replica.Followers().Complete() {
		b.propose(p)
	}
	if code != 0 {
		return model.NoLeaderEpoch
	}
	return p.replica.LeaderEpoch()
}

// wakeFrom tells the fetches of clients that wait at a partition that its high watermark has moved on from before.
func (b *Broker) wakeFrom(p *partition, before model.Offset, out *effect.Set) {
	b.wakeThose(p, before, false, out)
	if p.readAway {
		b.tellReplicas(p, out)
	}
	b.groupsCommitted(p, out)
}

// tellReplicas answers the fetches of replicas that wait at a partition: its high watermark or its start is elsewhere now, and somebody
// waits for them to know. Otherwise they hear of it with the next records, or when their fetch has waited for long.
func (b *Broker) tellReplicas(p *partition, out *effect.Set) {
	var polls []*parkedFetch
	for _, e := range p.watchers {
		if f := e.session.parked; f != nil && f.ev.Replica != model.NoNode {
			polls = append(polls, f)
		}
	}
	for _, f := range polls {
		b.finishFetch(f, out)
	}
}

// extended tells the fetches of followers that wait at a partition that its log has grown from an end on.
func (b *Broker) extended(p *partition, before model.Offset, out *effect.Set) {
	if f := p.replica.Followers(); f != nil && !f.Alone() {
		if p.proposeAt == 0 && !p.proposing {
			b.proposeLater(p)
		}
		b.wakeThose(p, before, true, out)
	}
}

// wakeThose wakes followers, or all others, for whom there is enough now.
func (b *Broker) wakeThose(p *partition, before model.Offset, followers bool, out *effect.Set) {
	woken := b.fetches.woken[:0]
	wake := func(f *parkedFetch, from model.Offset) {
		f.readableBytes += readable(p, max(from, before), f.ev.Replica)
		if f.readableBytes >= f.bytesMin && !f.woken {
			f.woken = true
			woken = append(woken, f)
		}
	}
	for _, w := range p.waiting {
		if f := w.fetch; (f.ev.Replica != model.NoNode) == followers {
			wake(f, f.ev.Parts[w.part].Offset)
		}
	}
	for _, e := range p.watchers {
		e.session.queue(e)
		if f := e.session.parked; f != nil && (f.ev.Replica != model.NoNode) == followers {
			wake(f, e.want.Offset)
		}
	}
	for _, f := range woken {
		out.Marks.Set(effect.MarkFetchWoken)
		b.finishFetch(f, out)
	}
	clear(woken)
	b.fetches.woken = woken
}

// wake answers every fetch that waits at a partition: something about it has changed, or it is gone.
func (b *Broker) wake(p *partition, out *effect.Set) {
	for len(p.waiting) > 0 {
		b.finishFetch(p.waiting[0].fetch, out)
	}
	p.changed()
	var polls []*parkedFetch
	gone := b.partitions.get(p.replica.Partition()) != p
	for _, e := range p.watchers {
		if f := e.session.parked; f != nil {
			polls = append(polls, f)
		}
		if gone {
			e.at = nil
		}
	}
	if gone {
		p.watchers = nil
	}
	for _, f := range polls {
		b.finishFetch(f, out)
	}
}

func (b *Broker) finishFetch(f *parkedFetch, out *effect.Set) {
	b.fetches.remove(f)
	if f.session != nil {
		b.answerPoll(f, out)
		return
	}
	b.answerFetch(f.ev, out)
}

func (fs *fetches) park(f *parkedFetch) {
	fs.count++
	f.number = fs.count
	for part := range f.at {
		at := &f.at[part]
		at.place = len(at.partition.waiting)
		at.partition.waiting = append(at.partition.waiting, waiter{f, part})
	}
	if fs.byConn == nil {
		fs.byConn = make(map[effect.ConnID][]*parkedFetch)
	}
	fs.byConn[f.ev.To.Conn] = append(fs.byConn[f.ev.To.Conn], f)
	f.place = len(fs.heap)
	fs.heap = append(fs.heap, f)
	fs.up(f.place)
}

// remove takes a fetch out of everything that knows it.
func (fs *fetches) remove(f *parkedFetch) {
	if f.session != nil {
		f.session.parked = nil
	}
	for part := range f.at {
		at := &f.at[part] // its place may change while the parts before it are removed
		waiting := at.partition.waiting
		last := len(waiting) - 1
		moved := waiting[last]
		waiting[at.place], moved.fetch.at[moved.part].place = moved, at.place
		waiting[last] = waiter{}
		at.partition.waiting = waiting[:last]
	}
	conn := f.ev.To.Conn
	mine := fs.byConn[conn]
	if i := slices.Index(mine, f); i >= 0 {
		mine = slices.Delete(mine, i, i+1)
	}
	if len(mine) == 0 {
		delete(fs.byConn, conn)
	} else {
		fs.byConn[conn] = mine
	}
	i, last := f.place, len(fs.heap)-1
	fs.swap(i, last)
	fs.heap[last] = nil
	fs.heap = fs.heap[:last]
	if i < last {
		fs.up(i)
		fs.down(i)
	}
}

// drop forgets the fetches of a connection that is gone.
func (fs *fetches) drop(conn effect.ConnID) {
	for len(fs.byConn[conn]) > 0 {
		fs.remove(fs.byConn[conn][0])
	}
}

// due is a fetch whose deadline has come, nil if there is none.
func (fs *fetches) due(now model.Time) *parkedFetch {
	if len(fs.heap) == 0 || fs.heap[0].deadline > now {
		return nil
	}
	return fs.heap[0]
}

// deadline is the earliest deadline, 0 if nothing is parked.
func (fs *fetches) deadline() model.Time {
	if len(fs.heap) == 0 {
		return 0
	}
	return fs.heap[0].deadline
}

func (fs *fetches) less(i, j int) bool {
	a, b := fs.heap[i], fs.heap[j]
	return a.deadline < b.deadline || a.deadline == b.deadline && a.number < b.number
}

func (fs *fetches) swap(i, j int) {
	fs.heap[i], fs.heap[j] = fs.heap[j], fs.heap[i]
	fs.heap[i].place, fs.heap[j].place = i, j
}

func (fs *fetches) up(i int) {
	for parent := (i - 1) / 2; i > 0 && fs.less(i, parent); parent = (i - 1) / 2 {
		fs.swap(i, parent)
		i = parent
	}
}

func (fs *fetches) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(fs.heap) {
			return
		}
		if child+1 < len(fs.heap) && fs.less(child+1, child) {
			child++
		}
		if !fs.less(child, i) {
			return
		}
		fs.swap(i, child)
		i = child
	}
}

func (fs *fetches) check(ps *partitions) error {
	for i, f := range fs.heap {
		if f.place != i || i > 0 && fs.less(i, (i-1)/2) {
			return fmt.Errorf("the heap of parked fetches is out of order at %d", i)
		}
		if !slices.Contains(fs.byConn[f.ev.To.Conn], f) {
			return fmt.Errorf("a parked fetch is unknown to its connection %d", f.ev.To.Conn)
		}
		readableBytes, known := int64(0), true
		for part, at := range f.at {
			p := at.partition
			if at.place >= len(p.waiting) || p.waiting[at.place] != (waiter{f, part}) || ps.get(p.replica.Partition()) != p {
				return fmt.Errorf("a parked fetch has no wake-up at %v", p.replica.Partition())
			}
			bytes := readable(p, f.ev.Parts[part].Offset, f.ev.Replica)
			known = known && bytes < replica.PlentyBytes
			readableBytes += bytes
		}
		if known && readableBytes >= f.bytesMin {
			return fmt.Errorf("a fetch is parked for %d bytes with %d readable", f.bytesMin, readableBytes)
		}
	}
	return nil
}
