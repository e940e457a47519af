package client

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// wanted reports whether more of a partition should be fetched. One answer may wait for Poll while the next
// is fetched: else a busy partition would be left out of the very fetch that follows its records.
func (c *Consumer) wanted(x *part) bool {
	return x.state == fetching && !x.paused && !x.inFlight && (x.queued < 2 || x.queuedBytes < c.cfg.PartitionBytesMax)
}

// heldWait is how long a broker may hold a fetch that leaves out a partition which may be wanted any
// moment: its buffer is full until Poll, or its position is being found out. Only one fetch per broker is
// under way, so such a partition waits for it.
const heldWait = 10 * millisecond

// nodeParts are the partitions to ask one node for.
type nodeParts struct {
	node  model.NodeID
	parts []*part
}

func addPart(list []nodeParts, node model.NodeID, x *part) []nodeParts {
	i, found := slices.BinarySearchFunc(list, node, func(n nodeParts, node model.NodeID) int { return int(n.node) - int(node) })
	if !found {
		list = slices.Insert(list, i, nodeParts{node: node})
	}
	list[i].parts = append(list[i].parts, x)
	return list
}

// pump asks for offsets that are not known, and for records where there is room.
func (c *Consumer) pump(now model.Time, out *Out) {
	var locate, fetch []nodeParts
	held := false // some partition is left out that may be wanted soon
	c.wakeAt = 0
	for _, x := range c.parts {
		if x.state == halted {
			continue
		}
		if now < x.retryAt {
			held = held || !x.paused
			c.wakeAt = soonest(c.wakeAt, x.retryAt)
			continue
		}
		x.retryAt = 0
		leader, _ := x.topic.leaderOf(x.partition)
		switch {
		case leader == anyNode:
			if x.topic.known || x.topic.code != 0 {
				c.cl.wantRefresh()
			}
		case x.state == locating && !x.asking:
			locate = addPart(locate, leader, x)
			held = held || !x.paused
		case c.wanted(x):
			fetch = addPart(fetch, leader, x)
		default:
			held = held || !x.paused && !x.inFlight
		}
	}
	for _, n := range locate {
		q := &offsetsCall{c: c, node: n.node, isolation: isolation(c.cfg.ReadCommitted)}
		for _, x := range n.parts {
			x.asking = true
			at := x.start.timestamp()
			if c.notes(x) {
				at = LatestTimestamp
			}
			q.asks = append(q.asks, offsetAsk{part: x, generation: x.generation, timestamp: at})
		}
		c.cl.submit(now, n.node, q, out)
	}
	room := c.cfg.BufferBytes - c.bufferedBytes
	if room <= 0 {
		return // Poll makes room
	}
	wait := c.cfg.FetchWait
	if held {
		wait = min(wait, heldWait)
	}
	for _, n := range fetch {
		e := c.cl.endpointOf(n.node)
		if e == nil {
			c.cl.wantRefresh()
			continue
		}
		k := c.cl.open(now, e, data, out)
		switch {
		case k != nil && now < k.mutedUntil:
			c.wakeAt = soonest(c.wakeAt, k.mutedUntil)
		case k != nil && len(k.pending) == 0:
			c.fetch(now, k, n.parts, min(room, c.cfg.FetchBytesMax), wait, out)
		case e.conns[data] == nil:
			c.wakeAt = soonest(c.wakeAt, e.retryAt)
		}
	}
}

// fetch asks one broker for partitions. Brokers fill an answer in the order asked, so the order rotates.
func (c *Consumer) fetch(now model.Time, k *conn, parts []*part, bytesMax int, wait model.Time, out *Out) {
	c.rotation++
	at := c.rotation % len(parts)
	call := &fetchCall{c: c, node: k.endpoint.node, bytesMax: bytesMax, wait: wait}
	for i := range parts {
		x := parts[(at+i)%len(parts)]
		x.inFlight = true
		_, epoch := x.topic.leaderOf(x.partition)
		call.asks = append(call.asks, fetchAsk{part: x, generation: x.generation, offset: x.fetchOffset, epoch: epoch})
	}
	c.cl.send(now, k, call, wait+c.cfg.RequestTimeout, out)
}

func isolation(readCommitted bool) int8 {
	if readCommitted {
		return 1
	}
	return 0
}

// fetchCall is one fetch request, without a session (KIP-227 allows that always).
type fetchCall struct {
	c        *Consumer
	node     model.NodeID
	asks     []fetchAsk
	bytesMax int
	wait     model.Time // how long the broker may hold it
}

type fetchAsk struct {
	part       *part
	generation uint32
	offset     model.Offset
	epoch      model.LeaderEpoch
	answered   bool
}

// live reports whether the partition still waits for this answer.
func (a *fetchAsk) live() bool { return a.part.generation == a.generation }

func (q *fetchCall) key() protocol.Key { return protocol.KeyFetch }

// misplaced reports whether a partition of it is to be fetched elsewhere by now.
func (q *fetchCall) misplaced() bool {
	for i := range q.asks {
		if a := &q.asks[i]; a.live() {
			if leader, _ := a.part.topic.leaderOf(a.part.partition); leader != anyNode && leader != q.node {
				return true
			}
		}
	}
	return false
}

func (q *fetchCall) versions() (int16, int16) {
	for i := range q.asks {
		if q.asks[i].part.topic.id.IsZero() {
			return 0, 12
		}
	}
	return 0, math.MaxInt16
}

func (q *fetchCall) encode(w *protocol.Writer, version int16) {
	m := &q.c.request
	m.Default()
	m.MaxWaitMs = int32(q.wait / millisecond)
	// More than the broker may send would make it wait for what cannot come.
	m.MinBytes = int32(min(q.c.cfg.FetchBytesMin, q.bytesMax, q.c.cfg.PartitionBytesMax))
	m.MaxBytes = int32(q.bytesMax)
	m.IsolationLevel = isolation(q.c.cfg.ReadCommitted)
	var of *topicInfo
	var t *protocol.FetchRequestTopic
	for i := range q.asks {
		a := &q.asks[i]
		if info := a.part.topic; info != of {
			of = info
			t = protocol.Add(&m.Topics)
			if version >= 13 {
				t.TopicID = protocol.UUID(info.id)
			} else {
				t.Topic = info.name
			}
		}
		p := protocol.Add(&t.Partitions)
		p.Partition = int32(a.part.partition)
		p.CurrentLeaderEpoch = int32(a.epoch)
		p.FetchOffset = int64(a.offset)
		p.PartitionMaxBytes = int32(q.c.cfg.PartitionBytesMax)
	}
	m.Encode(w, version)
}

func (q *fetchCall) answered(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	c := q.c
	m := &c.response
	m.Decode(r, version)
	if err := r.Finish(); err != nil {
		q.failed(now, Malformed, true, out)
		return err
	}
	c.cl.mute(now, q.node, m.ThrottleTimeMs)
	for i := range m.NodeEndpoints {
		if e := &m.NodeEndpoints[i]; e.NodeID >= 0 {
			c.cl.setEndpoint(model.NodeID(e.NodeID), hostPort(e.Host, e.Port))
		}
	}
	for i := range m.Responses {
		t := &m.Responses[i]
		for j := range t.Partitions {
			if a := q.find(t, version, t.Partitions[j].PartitionIndex); a != nil {
				a.answered = true
				if a.live() {
					c.take(now, q, a, &t.Partitions[j], out)
				}
			}
		}
	}
	// What a broker says nothing about, because of an error or for lack of room, is asked again.
	for i := range q.asks {
		if a := &q.asks[i]; !a.answered && a.live() {
			a.part.inFlight = false
			if m.ErrorCode != 0 {
				c.rest(now, a.part)
			}
		}
	}
	// The frame is the chunks' now; the response must not keep it.
	for i := range m.Responses {
		for j := range m.Responses[i].Partitions {
			m.Responses[i].Partitions[j].Records = protocol.Records{}
		}
	}
	if m.ErrorCode != 0 && stale(m.ErrorCode) {
		c.cl.wantRefresh()
	}
	return nil
}

func (q *fetchCall) find(t *protocol.FetchResponseTopic, version int16, partition int32) *fetchAsk {
	for i := range q.asks {
		a := &q.asks[i]
		if a.part.partition != model.Partition(partition) || a.answered {
			continue
		}
		if info := a.part.topic; version >= 13 && info.id == model.TopicID(t.TopicID) || version < 13 && info.name == t.Topic {
			return a
		}
	}
	return nil
}

func (q *fetchCall) failed(now model.Time, why Reason, _ bool, out *Out) {
	for i := range q.asks {
		a := &q.asks[i]
		if !a.live() || a.answered {
			continue
		}
		a.part.inFlight = false
		q.c.dirty = true
		if why == Unsupported {
			q.c.halt(a.part, kerr.UnsupportedVersion.Code, out)
		} else {
			q.c.rest(now, a.part)
		}
	}
}

// rest lets a partition wait before it is asked for again.
func (c *Consumer) rest(now model.Time, x *part) {
	x.failures++
	x.retryAt = now + c.cl.backoff(x.failures)
	c.dirty = true
}

// take deals with one partition's answer.
func (c *Consumer) take(now model.Time, q *fetchCall, a *fetchAsk, d *protocol.FetchResponsePartitionData, out *Out) {
	x := a.part
	x.inFlight = false
	code := d.ErrorCode
	switch {
	case code == 0:
	case code == kerr.OffsetOutOfRange.Code:
		c.outOfRange(x, out)
		return
	case Retriable(code):
		led := stale(code) && c.cl.redirect(x.topic, x.partition, q.node,
			model.NodeID(d.CurrentLeader.LeaderID), model.LeaderEpoch(d.CurrentLeader.LeaderEpoch))
		if !led {
			c.rest(now, x)
		}
		return
	default:
		c.halt(x, code, out)
		return
	}
	x.end = model.Offset(d.HighWatermark)
	if c.cfg.ReadCommitted {
		x.end = model.Offset(d.LastStableOffset)
	}
	if d.LogStartOffset >= 0 {
		x.logStart = model.Offset(d.LogStartOffset)
	}
	if err := c.gather(x, d); err != nil {
		// Damage on the way is cured by asking again; damage at the broker shows as the same error
		// again and again.
		const triesMax = 5
		code := record.Code(err)
		if x.failures >= triesMax || code != kerr.CorruptMessage.Code {
			c.halt(x, code, out)
		} else {
			c.rest(now, x)
		}
		return
	}
	x.failures = 0
	c.sayEnd(x, out)
}

// fetched is a chunk that waits for Poll.
type fetched struct {
	part  *part
	chunk Chunk
}

// gather cuts an answer into chunks: runs of batches that the user is to see. It moves the fetch
// offset past all whole batches, seen or not.
func (c *Consumer) gather(x *part, d *protocol.FetchResponsePartitionData) error {
	aborted := d.AbortedTransactions
	if c.cfg.ReadCommitted {
		slices.SortStableFunc(aborted, func(a, b protocol.FetchResponseAbortedTransaction) int {
			return cmp.Compare(a.FirstOffset, b.FirstOffset)
		})
	}
	var dead []model.ProducerID // producers inside an aborted transaction
	all := d.Records.Bytes
	rest, from, next := all, 0, x.fetchOffset
	// flush queues what stands between from and here.
	flush := func(here int) {
		c.queue(x, Chunk{
			Topic: x.topic.name, Partition: x.partition, Batches: all[from:here:here], From: x.fetchOffset, Next: next,
			HighWatermark: x.end, Bytes: here - from,
		})
		x.fetchOffset = next
	}
	for len(rest) > 0 {
		here := len(all) - len(rest)
		batch, after, err := record.Next(rest)
		if errors.Is(err, record.ErrShort) && (from < here || next > x.fetchOffset) {
			break // cut by the size limit
		}
		if err == nil && batch.NextOffset() <= x.fetchOffset && from == here && next == x.fetchOffset {
			rest, from = after, here+len(batch) // whole batches come, from the one that holds the offset
			continue
		}
		if err == nil && batch.BaseOffset() < next && next > x.fetchOffset {
			err = record.ErrCorrupt // offsets only ascend
		}
		if err == nil && !c.cfg.NotCheckingCRCs {
			err = record.CheckCRC(batch)
		}
		if err != nil {
			if next > x.fetchOffset {
				flush(here) // what came before is sound
			}
			return err
		}
		hidden := batch.IsControl()
		if c.cfg.ReadCommitted && batch.IsTransactional() {
			for len(aborted) > 0 && model.Offset(aborted[0].FirstOffset) <= batch.LastOffset() {
				dead = append(dead, model.ProducerID(aborted[0].ProducerID))
				aborted = aborted[1:]
			}
			at := slices.Index(dead, batch.ProducerID())
			if batch.IsControl() {
				if m, err := record.ReadMarker(batch); err == nil && m.Kind == record.Abort && at >= 0 {
					dead = slices.Delete(dead, at, at+1)
				}
			} else {
				hidden = at >= 0
			}
		}
		if hidden {
			if from < here {
				flush(here)
			}
			from = here + len(batch)
		}
		next = batch.NextOffset()
		rest = after
	}
	if next > x.fetchOffset {
		flush(len(all) - len(rest))
	}
	return nil
}

// queue makes a chunk available to Poll. One without batches only moves the position.
func (c *Consumer) queue(x *part, chunk Chunk) {
	x.endSaid = false
	if len(chunk.Batches) == 0 && x.queued == 0 {
		x.position = chunk.Next
		return
	}
	x.queued++
	x.queuedBytes += chunk.Bytes
	c.bufferedBytes += chunk.Bytes
	c.ready = append(c.ready, &fetched{part: x, chunk: chunk})
}
