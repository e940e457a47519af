package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/coord"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/replica"
)

// fetcher replicates from one other node everything that this node follows there. Its fetches form a session, so a
// quiet partition is named once.
//
//	      answered, and all of it is durable             something is to be told
//	idle ─────────────────────────────────► asking ◄────────────────────────────── parked at the leader
//	  ▲                                       │                                          ▲
//	  └────────── writing ◄── records ────────┴──────────── none yet ────────────────────┘
//
// A fetch says that everything before its offsets is durable here. So the next waits for what the last one brought to be
// written. A partition that comes to the fetcher meanwhile does not wait for the leader to answer: another fetch names it.
//
// What a step does to partitions is asked for at the end of the step, all of it in one fetch. The fetch that begins a
// session is answered at once, whether there is anything or not, since none can be sent beside it.
type fetcher struct {
	b       *Broker
	node    model.NodeID
	all     []*following // in no order that matters
	changed []*following // of which the leader does not know what it should; some have left since
	forget  []model.TopicPartition
	writing int // how many wait for the disk
	known   int // how many the leader's session has
	calls   []*fetchCall
	stirred bool // in Broker.stirred

	sessionID, sessionEpoch int32
	sessionless             bool // the leader had no room for a session
	epochTold               model.BrokerEpoch
	timer                   coord.Timer[*fetcher]
	wakeAt                  model.Time // when it or one of its partitions goes on; 0: nothing is waited for
	failures                int        // in a row
	retryAt                 model.Time
}

// following is one partition that this node follows.
type following struct {
	fetcher *fetcher
	p       *partition
	place   int
	told    replica.Position // what the leader's session knows
	known   bool             // the leader's session has the partition
	refused bool             // and did not take in what it was told: it must be told again
	changed bool             // in fetcher.changed
	writing bool
	// pausedUntil is when the leader is asked again that would not answer for the partition.
	pausedUntil model.Time
	refusals    int // in a row
}

// fetchCall is one fetch that is under way.
type fetchCall struct {
	id effect.CallID
	// before is what the session knew of the partitions that this call changed.
	before map[*following]replica.Position
	full   bool
}

const (
	fetchWait         model.Time = 500e6
	fetchBytes                   = 10 << 20
	fetchPartBytes               = 1 << 20
	fetchTimeout      model.Time = 5e9
	fetchRetryMin     model.Time = 20e6
	fetchRetryMax     model.Time = 1e9
	fetchCallsMax                = 2
	sessionEpochFirst int32      = 1
)

// followNode makes a partition follow a node, or nobody if the node is NoNode.
func (b *Broker) followNode(p *partition, node model.NodeID) {
	if p.following != nil && p.following.fetcher.node != node {
		b.unfollow(p)
	}
	if node < 0 || node == b.config.Advertised.ID {
		return
	}
	if p.following == nil {
		f := b.fetchers[node]
		if f == nil {
			f = &fetcher{b: b, node: node}
			f.timer.Owner = f
			b.fetchers[node] = f
		}
		p.following = &following{fetcher: f, p: p, place: len(f.all)}
		f.all = append(f.all, p.following)
	}
	p.following.pausedUntil, p.following.refusals = 0, 0
	p.following.noteWriting()
	p.following.fetcher.change(p.following)
	p.following.fetcher.stir()
}

// unfollow ends a partition's following. The fetcher stays, if only for its session: there are no more than nodes.
func (b *Broker) unfollow(p *partition) {
	fo := p.following
	if fo == nil {
		return
	}
	p.following = nil
	f := fo.fetcher
	last := f.all[len(f.all)-1]
	f.all[fo.place], last.place = last, fo.place
	f.all = f.all[:len(f.all)-1]
	if fo.known {
		f.known--
		f.forget = append(f.forget, p.replica.Partition())
	}
	if fo.writing {
		f.writing--
	}
	fo.fetcher = nil
	f.stir()
}

// moved looks again at a partition whose log has moved on, in whatever way.
func (b *Broker) moved(p *partition) {
	if fo := p.following; fo != nil {
		fo.noteWriting()
		fo.fetcher.change(fo)
		fo.fetcher.stir()
	}
}

// stir has the fetcher run at the end of this step.
func (f *fetcher) stir() {
	if !f.stirred {
		f.stirred = true
		f.b.stirred = append(f.b.stirred, f)
	}
}

// stirFetchers has all of them run: what every fetch says has changed.
func (b *Broker) stirFetchers() {
	for t := range b.view.Brokers {
		if f := b.fetchers[t.ID]; f != nil {
			f.stir()
		}
	}
}

// runFetchers sends the fetches that this step made necessary.
func (b *Broker) runFetchers(out *effect.Set) {
	for i := range b.stirred {
		f := b.stirred[i]
		f.stirred = false
		f.run(out)
	}
	clear(b.stirred)
	b.stirred = b.stirred[:0]
}

// noteWriting keeps count of the partitions that wait for the disk.
func (fo *following) noteWriting() {
	f := fo.fetcher
	writing := fo.p.replica.Writing()
	switch {
	case writing && !fo.writing:
		f.writing++
	case !writing && fo.writing:
		f.writing--
	}
	fo.writing = writing
}

// change queues a partition of which there is something to tell.
func (f *fetcher) change(fo *following) {
	if !fo.changed {
		fo.changed = true
		f.changed = append(f.changed, fo)
	}
}

// run sends the next fetch, if it is time.
func (f *fetcher) run(out *effect.Set) {
	b := f.b
	f.wakeAt = 0
	switch {
	case len(f.all) == 0 || f.writing > 0 || b.self.epoch == model.NoBrokerEpoch:
		// What is written, followed or registered has it run again.
	case b.now < f.retryAt:
		f.wake(f.retryAt)
	default:
		if len(f.calls) == 0 || len(f.calls) < fetchCallsMax && f.news() {
			f.send(out)
		}
		for _, fo := range f.changed {
			if fo.fetcher == f {
				f.wake(fo.waitsUntil(b.now))
			}
		}
	}
	f.schedule()
}

// news reports whether a fetch would say anything that the one under way does not.
func (f *fetcher) news() bool {
	if len(f.forget) > 0 || f.epochTold != f.b.self.epoch {
		return true
	}
	for _, fo := range f.changed {
		if fo.fetcher != f || fo.waitsUntil(f.b.now) != 0 {
			continue
		}
		if at, ok := fo.p.replica.Position(f.b.now); ok && (!fo.known || fo.refused || !sameQuestion(at, fo.told)) {
			return true
		}
	}
	return false
}

// sameQuestion reports whether a leader learns nothing from a position that it was not told already. What the follower's
// high watermark is does not matter to it.
func sameQuestion(a, b replica.Position) bool {
	b.HighWatermark = a.HighWatermark
	return a == b
}

// waitsUntil is when the partition may be asked for again; 0 if it may.
func (fo *following) waitsUntil(now model.Time) model.Time {
	if at := max(fo.pausedUntil, fo.p.replica.WaitsUntil(), fo.throttledUntil(now)); at > now {
		return at
	}
	return 0
}

func (f *fetcher) wake(at model.Time) {
	if at != 0 && (f.wakeAt == 0 || at < f.wakeAt) {
		f.wakeAt = at
	}
}

func (f *fetcher) schedule() {
	switch {
	case f.wakeAt == 0:
		f.b.fetchTimers.Stop(&f.timer)
	case !f.timer.IsSet() || f.timer.At() != f.wakeAt:
		f.b.fetchTimers.Set(&f.timer, f.wakeAt)
	}
}

// send asks the leader: for what changed, or for everything if there is no session.
func (f *fetcher) send(out *effect.Set) {
	b := f.b
	full := f.sessionID == 0
	if full && len(f.calls) > 0 {
		return // whether there will be a session is not known yet
	}
	address, ok := b.addressOf(f.node)
	if !ok {
		return // the image will tell
	}
	call := &fetchCall{before: map[*following]replica.Position{}, full: full}
	body := &effect.ReplicaFetch{
		Replica: b.config.Advertised.ID, BrokerEpoch: b.self.epoch, ClusterID: b.config.ClusterID,
		WaitMax: fetchWait, BytesMin: 1, BytesMax: fetchBytes, SessionID: f.sessionID, SessionEpoch: f.sessionEpoch,
	}
	ask := f.changed
	if full {
		ask = f.all
		f.forget, f.known = nil, 0
		if !f.sessionless {
			body.WaitMax = 0
		}
	}
	later := f.changed[:0:0]
	for _, fo := range ask {
		if fo.fetcher != f {
			continue
		}
		at, ok := fo.p.replica.Position(b.now)
		if !ok || fo.waitsUntil(b.now) != 0 {
			if fo.changed {
				later = append(later, fo)
			}
			if fo.known && !full {
				f.known--
				f.forget = append(f.forget, fo.p.replica.Partition())
			}
			fo.known = false
			continue
		}
		if fo.known && !fo.refused && sameQuestion(at, fo.told) && !full {
			fo.changed = false
			continue
		}
		if !fo.known || full {
			f.known++
		}
		call.before[fo] = fo.told
		fo.told, fo.known, fo.refused, fo.changed = at, true, false, false
		body.Parts = append(body.Parts, effect.ReplicaFetchPart{
			Partition: fo.p.replica.Partition(), CurrentLeaderEpoch: at.LeaderEpoch, Offset: at.Offset,
			LastFetchedEpoch: at.LastFetchedEpoch, LogStartOffset: at.LogStartOffset, HighWatermark: at.HighWatermark,
			BytesMax: fo.throttledBytes(),
		})
	}
	f.changed = later
	if f.known == 0 {
		return // nothing can be asked for: a session about nothing would end
	}
	body.Forget, f.forget = f.forget, nil
	slices.SortFunc(body.Parts, func(a, b effect.ReplicaFetchPart) int { return a.Partition.Compare(b.Partition) })
	call.id = b.call(f.node, address, effect.LaneFetch(0), fetchTimeout, body, out, f.answered)
	f.calls, f.epochTold = append(f.calls, call), b.self.epoch
	if !full {
		f.sessionEpoch = nextSessionEpoch(f.sessionEpoch)
	}
}

func nextSessionEpoch(e int32) int32 {
	if e++; e < 0 {
		return sessionEpochFirst
	}
	return e
}

// answered takes in what became of a fetch. Answers come in the order of the fetches.
func (f *fetcher) answered(a *effect.Answer, out *effect.Set) {
	i := slices.IndexFunc(f.calls, func(c *fetchCall) bool { return c.id == a.ID })
	if i < 0 {
		return // of a session that was given up
	}
	call := f.calls[i]
	f.calls = slices.Delete(f.calls, i, i+1)
	body, _ := a.Body.(*effect.ReplicaFetched)
	switch {
	case a.Failure != effect.CallOK || i > 0:
		f.reset(true)
	case body.Code == kerr.FetchSessionIDNotFound.Code || body.Code == kerr.InvalidFetchSessionEpoch.Code || body.Code == kerr.FetchSessionTopicIDError.Code:
		f.reset(false)
	case body.Code != 0:
		f.reset(true)
	default:
		f.failures, f.retryAt = 0, 0
		if call.full {
			f.sessionID, f.sessionEpoch, f.sessionless = body.SessionID, sessionEpochFirst, body.SessionID == 0
		}
		for k := range body.Parts {
			f.part(&body.Parts[k], out)
		}
		if call.full && body.SessionID == 0 {
			f.reset(false) // the leader has no room for a session: everything is named again
		}
	}
	f.stir()
}

// part takes in the answer for one partition.
func (f *fetcher) part(in *effect.ReplicaFetchedPart, out *effect.Set) {
	b := f.b
	p := b.partitions.get(in.Partition)
	if p == nil || p.following == nil || p.following.fetcher != f {
		return
	}
	fo := p.following
	asked := fo.told
	for _, later := range f.calls {
		if at, is := later.before[fo]; is {
			asked = at
			break
		}
	}
	got := replica.Fetched{
		From: asked, HighWatermark: in.HighWatermark, LogStartOffset: in.LogStartOffset,
		OffsetOutOfRange: in.Code == kerr.OffsetOutOfRange.Code,
	}
	if in.Diverging.Epoch != model.NoLeaderEpoch {
		got.Diverging = &effect.EpochEnd{LeaderEpoch: in.Diverging.Epoch, EndOffset: in.Diverging.EndOffset}
	}
	if in.Code != 0 && !got.OffsetOutOfRange {
		fo.refuse(b.now)
		f.change(fo)
		return
	}
	fo.refusals = 0
	throttled := fo.throttled()
	for i := range in.Batches {
		if throttled {
			b.throttle.take(len(in.Batches[i].Batch), b.view.Node().ReplicationRateMax, b.now)
		}
		got.Batches = append(got.Batches, replica.Batch{Header: in.Batches[i].Header, Bytes: in.Batches[i].Batch})
	}
	before := p.replica.Bounds().HighWatermark
	if p.replica.Fetched(got, b.now, out) {
		b.wakeFrom(p, before, out)
	}
	if (got.OffsetOutOfRange || len(got.Batches) > 0) && !p.replica.Writing() && p.replica.Offline() == "" {
		fo.refuse(b.now) // nothing came of it: the leader is asked again later
	}
	fo.noteWriting()
	f.change(fo)
}

// refuse pauses a partition for which the leader does not answer: it may not know yet that it leads.
func (fo *following) refuse(now model.Time) {
	fo.refused = true
	fo.pausedUntil = now + min(fetchRetryMax, fetchRetryMin<<min(fo.refusals, 6))
	fo.refusals++
}

// reset ends the session: the next fetch names everything.
func (f *fetcher) reset(pause bool) {
	f.sessionID, f.sessionEpoch, f.calls, f.known = 0, 0, nil, 0
	for _, fo := range f.all {
		fo.known = false
		f.change(fo)
	}
	if pause {
		f.retryAt = f.b.now + min(fetchRetryMax, fetchRetryMin<<min(f.failures, 6))
		f.failures++
	}
}

// tickFetchers lets those go on whose time has come.
func (b *Broker) tickFetchers(now model.Time) {
	for t := b.fetchTimers.Due(now); t != nil; t = b.fetchTimers.Due(now) {
		t.Owner.stir()
	}
}
