package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/replica"
)

// fetchSession is the standing list of partitions that one connection polls (KIP-227). A poll names only
// what changed in the list, and is answered with the partitions that have something to tell.
//
// Every entry of the list is registered at its partition for as long as the session lives, and the session
// keeps the entries about which there may be something to tell in a queue: a poll over a thousand quiet
// partitions looks at none of them.
//
//	        the partition changed, the client moved
//	clean ───────────────────────────────────────────► queued ──┐
//	  ▲                                                  │  ▲    │ told, and there is more:
//	  └──────────────────────────────────────────────────┘  └────┘ to the end of the queue
//	        told, and there is no more
//
// A session belongs to its connection and ends with it: a client that comes back with the id on another
// connection is told that there is no such session, and begins again, as the protocol wants it.
type fetchSession struct {
	id            int32
	epoch         int32 // of the next poll
	conn          effect.ConnID
	byID          bool   // partitions are named by topic id
	reader        reader // whose it is, and how much it may see: of the newest poll
	created, used model.Time

	entries    map[entryName]*entry
	list       []*entry // the same, in no order that matters
	head, tail *entry   // of the queue
	parked     *parkedFetch
	// Sessions by when they were last used.
	older, newer *fetchSession
}

// entryName is how a client names a partition.
type entryName struct {
	topic     TopicRef
	partition model.Partition
}

// entry is one partition of a session.
type entry struct {
	session *fetchSession
	want    FetchPart // what the client said of it last
	at      *partition
	place   int // in at.watchers
	index   int // in session.list
	// What the client was told last, or what a replica has said since that it knows; NoOffset if it must be told again.
	highWatermark, lastStableOffset, logStartOffset model.Offset
	// heardIn is the leadership that has taken in how far the replica is; NoLeaderEpoch if none has, as of clients.
	heardIn        model.LeaderEpoch
	queued         bool
	before, behind *entry // in the queue
}

// fetchSessions are all sessions of a broker.
type fetchSessions struct {
	byID           map[int32]*fetchSession
	byConn         map[effect.ConnID][]*fetchSession
	oldest, newest *fetchSession // by use
	entryCount     int           // of all sessions
	lastID         int32
}

// sessionIdleMin is how long a session must not have been used, or must have been there, before another may
// take its place. Kafka's number.
const sessionIdleMin = 120 * model.Time(1e9)

// sessionPartitionsMax bounds the entries of all sessions together: they are memory that clients ask for.
const sessionPartitionsMax = 500_000

// sessionsPerConnMax bounds the sessions of one connection: a client has one, and some ask for a new one with
// every fetch and never use it. The oldest goes.
const sessionsPerConnMax = 4

// Epochs of a request that are not those of a session.
const (
	sessionBegins = 0  // a full fetch that would like a session
	sessionEnds   = -1 // a full fetch without one
)

// sessionFor finds the session that a request goes on with, nil if it is a full fetch, or the code to refuse
// it with.
func (b *Broker) sessionFor(ev *Fetch, out *effect.Set) (*fetchSession, int16) {
	s := b.sessions.byID[ev.SessionID]
	if s != nil && s.conn != ev.To.Conn {
		s = nil
	}
	if ev.SessionEpoch == sessionBegins || ev.SessionEpoch == sessionEnds {
		if s != nil {
			b.endSession(s, out)
		}
		return nil, 0
	}
	switch {
	case s == nil:
		return nil, kerr.FetchSessionIDNotFound.Code
	case s.epoch != ev.SessionEpoch:
		return nil, kerr.InvalidFetchSessionEpoch.Code
	case s.byID != ev.ByID:
		return nil, kerr.FetchSessionTopicIDError.Code
	case s.reader.replica != ev.Replica:
		return nil, kerr.FetchSessionIDNotFound.Code
	}
	return s, 0
}

// poll goes on with a session: it takes in what the client says and answers, at once or when there is
// something to tell.
func (b *Broker) poll(s *fetchSession, ev *Fetch, out *effect.Set) {
	if s.parked != nil {
		b.finishFetch(s.parked, out) // the client did not wait for the poll before
	}
	s.epoch++
	if s.epoch < 0 {
		s.epoch = 1
	}
	b.sessions.use(s, b.now)
	if s.reader != ev.reader() {
		// Another bound: what is readable now is not known to be told.
		s.reader = ev.reader()
		for _, e := range s.list {
			s.queue(e)
		}
	}
	for _, name := range ev.Forget {
		if e := s.entries[entryName{name.Topic, name.Partition}]; e != nil {
			b.dropEntry(e)
		}
	}
	for i := range ev.Parts {
		heardIn := b.takeIn(ev, &ev.Parts[i], out)
		if !b.putEntry(s, &ev.Parts[i], heardIn) {
			b.endSession(s, out)
			out.Reads = append(out.Reads, effect.Read{To: ev.To, Fetch: &effect.FetchReply{Code: kerr.FetchSessionIDNotFound.Code}})
			return
		}
	}
	if len(s.entries) == 0 {
		b.endSession(s, out)
		out.Reads = append(out.Reads, effect.Read{To: ev.To, Fetch: &effect.FetchReply{Incremental: true}})
		return
	}
	f := &parkedFetch{ev: ev, session: s, deadline: b.now + ev.Wait, bytesMin: int64(min(ev.BytesMin, ev.BytesMax, fetchBytesMax))}
	if ev.Wait <= 0 || f.bytesMin <= 0 || b.pollReady(f) {
		b.answerPoll(f, out)
		return
	}
	out.Marks.Set(effect.MarkFetchParked)
	s.parked = f
	b.fetches.park(f)
}

// pollReady reports whether a poll need not wait. It takes entries out of the queue about which there is
// nothing to tell.
func (b *Broker) pollReady(f *parkedFetch) bool {
	for e := f.session.head; e != nil; {
		next := e.behind
		t := b.tell(e)
		if t.code != 0 || t.bounds.Diverging != nil || t.bounds.ReadReplica != nil {
			return true
		}
		if t.readable {
			f.readableBytes += readable(e.at, e.want.Offset, e.session.reader.replica)
			if f.readableBytes >= f.bytesMin {
				return true
			}
		} else if !t.news {
			f.session.unqueue(e)
		}
		e = next
	}
	return false
}

// telling is what there is to tell about an entry.
type telling struct {
	code     int16
	bounds   effect.FetchPart // as it is answered, without records
	readable bool             // there are records
	news     bool             // the bounds are not those that the client was told
}

func (b *Broker) tell(e *entry) (t telling) {
	if e.at == nil {
		// There was no such partition: it may be there now.
		if p, _ := b.find(e.want.Topic, e.want.Partition); p != nil {
			p.watch(e)
		}
	}
	b.answerPart(&t.bounds, e.at, &e.want, e.session.reader)
	if e.at == nil {
		_, t.bounds.Code = b.find(e.want.Topic, e.want.Partition)
	}
	if t.bounds.Code == 0 && t.bounds.Diverging == nil && e.session.reader.replica != model.NoNode && e.heardIn != e.at.replica.LeaderEpoch() {
		// This node led only after the poll that named the partition. A replica takes what is answered without an error for
		// heard, and would not name a quiet partition again: it says it again after this.
		t.bounds = effect.FetchPart{
			Partition: t.bounds.Partition, Code: kerr.UnknownLeaderEpoch.Code,
			HighWatermark: model.NoOffset, LastStableOffset: model.NoOffset, LogStartOffset: model.NoOffset,
		}
	}
	t.code = t.bounds.Code
	t.readable = t.code == 0 && t.bounds.From < t.bounds.To
	t.news = t.code == 0 && (t.bounds.HighWatermark != e.highWatermark || t.bounds.LastStableOffset != e.lastStableOffset ||
		t.bounds.LogStartOffset != e.logStartOffset || t.bounds.Diverging != nil || t.bounds.ReadReplica != nil)
	return t
}

// tellBounds keeps what the client was told. One that is told where the logs part cuts its own, and takes nothing else in.
func (e *entry) tellBounds(part *effect.FetchPart) {
	e.highWatermark, e.lastStableOffset, e.logStartOffset = part.HighWatermark, part.LastStableOffset, part.LogStartOffset
	if part.Diverging != nil {
		e.highWatermark, e.lastStableOffset, e.logStartOffset = model.NoOffset, model.NoOffset, model.NoOffset
	}
}

// answerPoll answers with the entries that have something to tell, beginning where the last answer ended, so
// that a partition with much to read does not stand before the others for ever.
func (b *Broker) answerPoll(f *parkedFetch, out *effect.Set) {
	s, ev := f.session, f.ev
	reply := &effect.FetchReply{BytesMax: min(ev.BytesMax, fetchBytesMax), SessionID: s.id, Incremental: true}
	last, left := s.tail, int64(reply.BytesMax)
	for e := s.head; e != nil && left > 0; {
		next := e.behind
		if e == last {
			next = nil
		}
		t := b.tell(e)
		s.unqueue(e)
		if t.code != 0 || t.readable || t.news {
			part := t.bounds
			part.Index, part.BytesMax, part.TopicName = -1, e.want.BytesMax, e.want.Topic.Name
			part.OnlyRecords = t.code == 0 && !t.news
			reply.Parts = append(reply.Parts, part)
			e.tellBounds(&part)
		}
		if t.code != 0 || t.readable || t.bounds.Diverging != nil || t.bounds.ReadReplica != nil {
			s.queue(e) // until the client moves on, there is the same to tell
		}
		if t.readable {
			left -= min(int64(max(1, e.want.BytesMax)), readable(e.at, e.want.Offset, s.reader.replica))
		}
		e = next
	}
	out.Reads = append(out.Reads, effect.Read{To: ev.To, Fetch: reply})
}

// beginSession makes a session of a full fetch that is being answered, if there is room. It returns its id, or 0.
func (b *Broker) beginSession(ev *Fetch, reply *effect.FetchReply, out *effect.Set) int32 {
	if ev.SessionEpoch != sessionBegins || len(ev.Parts) == 0 || !b.makeRoom(ev.To.Conn, len(ev.Parts), out) {
		return 0
	}
	ss := &b.sessions
	for ss.lastID++; ss.lastID <= 0 || ss.byID[ss.lastID] != nil; ss.lastID++ {
		if ss.lastID < 0 {
			ss.lastID = 0
		}
	}
	s := &fetchSession{
		id: ss.lastID, epoch: 1, conn: ev.To.Conn, byID: ev.ByID, reader: ev.reader(), created: b.now, used: b.now,
		entries: make(map[entryName]*entry, len(ev.Parts)),
	}
	ss.add(s)
	for i := range ev.Parts {
		part, heardIn := &reply.Parts[i], model.NoLeaderEpoch
		if p, _ := b.find(ev.Parts[i].Topic, ev.Parts[i].Partition); p != nil && part.Code == 0 && part.Diverging == nil {
			heardIn = p.replica.LeaderEpoch() // when the fetch came; it would have been answered when another began to lead
		}
		if !b.putEntry(s, &ev.Parts[i], heardIn) {
			b.endSession(s, out)
			return 0
		}
		e := s.entries[entryName{ev.Parts[i].Topic, ev.Parts[i].Partition}]
		e.tellBounds(part)
	}
	return s.id
}

// makeRoom sees to it that one more session of some entries may be there. It ends the oldest of the same
// connection; without one, that which has not been used for longest, if that is long; or else the smallest that
// is smaller and has been there for long.
func (b *Broker) makeRoom(conn effect.ConnID, entries int, out *effect.Set) bool {
	ss := &b.sessions
	if entries > sessionPartitionsMax {
		return false
	}
	for {
		mine := ss.byConn[conn]
		full := len(ss.byID) >= b.config.FetchSessionsMax || ss.entryCount+entries > sessionPartitionsMax
		switch {
		case len(mine) >= sessionsPerConnMax || full && len(mine) > 0:
			b.endSession(mine[0], out)
			continue
		case !full:
			return true
		}
		victim := ss.oldest
		if victim != nil && b.now-victim.used < sessionIdleMin {
			victim = ss.smaller(entries, b.now-sessionIdleMin)
		}
		if victim == nil {
			return false
		}
		b.endSession(victim, out)
	}
}

// smaller is the smallest session of fewer entries that was there at a time, nil if there is none.
func (ss *fetchSessions) smaller(entries int, created model.Time) *fetchSession {
	var found *fetchSession
	for s := ss.oldest; s != nil; s = s.newer {
		if s.created <= created && len(s.entries) < entries {
			found, entries = s, len(s.entries)
		}
	}
	return found
}

// putEntry takes in what a client says of one partition, and the leadership that has heard how far a replica is. It reports
// false if there is no room for it.
func (b *Broker) putEntry(s *fetchSession, want *FetchPart, heardIn model.LeaderEpoch) bool {
	name := entryName{want.Topic, want.Partition}
	e := s.entries[name]
	if e == nil {
		if b.sessions.entryCount >= sessionPartitionsMax {
			return false
		}
		e = &entry{session: s, highWatermark: model.NoOffset, lastStableOffset: model.NoOffset, logStartOffset: model.NoOffset}
		e.index = len(s.list)
		s.entries[name], s.list = e, append(s.list, e)
		b.sessions.entryCount++
		if p, _ := b.find(want.Topic, want.Partition); p != nil {
			p.watch(e)
		}
	}
	e.want, e.heardIn = *want, heardIn
	if s.reader.replica != model.NoNode && want.HighWatermark != effect.HighWatermarkUnknown {
		// It says what it knows (KIP-1166). What it was told meanwhile it does not take in if it has heard of another leadership.
		e.highWatermark, e.logStartOffset = want.HighWatermark, want.LogStartOffset
	}
	s.queue(e)
	return true
}

func (b *Broker) dropEntry(e *entry) {
	s := e.session
	s.unqueue(e)
	if e.at != nil {
		e.at.unwatch(e)
	}
	delete(s.entries, entryName{e.want.Topic, e.want.Partition})
	last := s.list[len(s.list)-1]
	s.list[e.index], last.index = last, e.index
	s.list[len(s.list)-1] = nil
	s.list = s.list[:len(s.list)-1]
	b.sessions.entryCount--
}

// endSession forgets a session. A poll of it that waits is answered.
func (b *Broker) endSession(s *fetchSession, out *effect.Set) {
	if s.parked != nil {
		b.finishFetch(s.parked, out)
	}
	b.forgetSession(s)
}

func (b *Broker) forgetSession(s *fetchSession) {
	for s.head != nil {
		s.unqueue(s.head)
	}
	for _, e := range s.list {
		if e.at != nil {
			e.at.unwatch(e)
		}
	}
	b.sessions.entryCount -= len(s.entries)
	b.sessions.remove(s)
}

// changed puts the entries that watch a partition into their sessions' queues.
func (p *partition) changed() {
	for _, e := range p.watchers {
		e.session.queue(e)
	}
}

func (p *partition) watch(e *entry) {
	e.at, e.place = p, len(p.watchers)
	p.watchers = append(p.watchers, e)
}

func (p *partition) unwatch(e *entry) {
	last := p.watchers[len(p.watchers)-1]
	p.watchers[e.place], last.place = last, e.place
	p.watchers[len(p.watchers)-1] = nil
	p.watchers = p.watchers[:len(p.watchers)-1]
	e.at = nil
}

// queue puts an entry at the end of its session's queue, unless it is in it.
func (s *fetchSession) queue(e *entry) {
	if e.queued {
		return
	}
	e.queued, e.before, e.behind = true, s.tail, nil
	if s.tail == nil {
		s.head = e
	} else {
		s.tail.behind = e
	}
	s.tail = e
}

func (s *fetchSession) unqueue(e *entry) {
	if !e.queued {
		return
	}
	if e.before == nil {
		s.head = e.behind
	} else {
		e.before.behind = e.behind
	}
	if e.behind == nil {
		s.tail = e.before
	} else {
		e.behind.before = e.before
	}
	e.queued, e.before, e.behind = false, nil, nil
}

func (ss *fetchSessions) add(s *fetchSession) {
	if ss.byID == nil {
		ss.byID, ss.byConn = make(map[int32]*fetchSession), make(map[effect.ConnID][]*fetchSession)
	}
	ss.byID[s.id] = s
	ss.byConn[s.conn] = append(ss.byConn[s.conn], s)
	ss.link(s)
}

func (ss *fetchSessions) remove(s *fetchSession) {
	ss.unlink(s)
	delete(ss.byID, s.id)
	mine := ss.byConn[s.conn]
	for i := range mine {
		if mine[i] == s {
			mine = append(mine[:i], mine[i+1:]...)
			break
		}
	}
	if len(mine) == 0 {
		delete(ss.byConn, s.conn)
		return
	}
	ss.byConn[s.conn] = mine
}

func (ss *fetchSessions) use(s *fetchSession, now model.Time) {
	ss.unlink(s)
	s.used = now
	ss.link(s)
}

func (ss *fetchSessions) link(s *fetchSession) {
	s.older, s.newer = ss.newest, nil
	if ss.newest == nil {
		ss.oldest = s
	} else {
		ss.newest.newer = s
	}
	ss.newest = s
}

func (ss *fetchSessions) unlink(s *fetchSession) {
	if s.older == nil {
		ss.oldest = s.newer
	} else {
		s.older.newer = s.newer
	}
	if s.newer == nil {
		ss.newest = s.older
	} else {
		s.newer.older = s.older
	}
}

// dropSessions forgets the sessions of a connection that is gone.
func (b *Broker) dropSessions(conn effect.ConnID) {
	for len(b.sessions.byConn[conn]) > 0 {
		b.forgetSession(b.sessions.byConn[conn][0])
	}
}

// checkSessions verifies that what is not in a queue has nothing to tell, and that everything is filed where
// it is looked for.
func (b *Broker) checkSessions() error {
	entries := 0
	count := 0
	for s := b.sessions.oldest; s != nil; s = s.newer {
		count++
		entries += len(s.entries)
		if b.sessions.byID[s.id] != s || s.newer != nil && s.newer.used < s.used {
			return fmt.Errorf("fetch session %d is filed wrongly", s.id)
		}
		if s.parked != nil && s.parked.session != s {
			return fmt.Errorf("fetch session %d has another's poll", s.id)
		}
		queued, readableBytes, known := 0, int64(0), true
		for e := s.head; e != nil; e = e.behind {
			queued++
			if t := b.tell(e); t.readable {
				bytes := readable(e.at, e.want.Offset, s.reader.replica)
				known = known && bytes < replica.PlentyBytes
				readableBytes += bytes
			}
		}
		if f := s.parked; f != nil && known && readableBytes >= f.bytesMin {
			return fmt.Errorf("a poll of session %d is parked for %d bytes with %d readable", s.id, f.bytesMin, readableBytes)
		}
		if len(s.list) != len(s.entries) {
			return fmt.Errorf("fetch session %d has %d entries and lists %d", s.id, len(s.entries), len(s.list))
		}
		for i, e := range s.list {
			name := entryName{e.want.Topic, e.want.Partition}
			if e.index != i || s.entries[name] != e {
				return fmt.Errorf("fetch session %d files %v wrongly", s.id, name)
			}
			if e.queued {
				queued--
			} else if t := b.tell(e); t.code != 0 || t.readable || t.news {
				return fmt.Errorf("fetch session %d does not know that there is something to tell of %v", s.id, name)
			}
			if e.at != nil && e.at.watchers[e.place] != e {
				return fmt.Errorf("fetch session %d does not watch %v", s.id, name)
			}
		}
		if queued != 0 {
			return fmt.Errorf("fetch session %d has %d entries too many in its queue", s.id, queued)
		}
	}
	if count != len(b.sessions.byID) || entries != b.sessions.entryCount {
		return fmt.Errorf("%d fetch sessions of %d entries, %d and %d counted", count, entries, len(b.sessions.byID), b.sessions.entryCount)
	}
	return nil
}
