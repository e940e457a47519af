package client

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// Timestamps with a meaning of their own in a ListOffsets request.
const (
	LatestTimestamp   model.Timestamp = -1 // the end of the log
	EarliestTimestamp model.Timestamp = -2 // its beginning
	MaxTimestamp      model.Timestamp = -3 // the record with the greatest timestamp (KIP-734)
)

// timestamp is how a ListOffsets asks for the place.
func (s Start) timestamp() model.Timestamp {
	switch s.Kind {
	case StartEarliest:
		return EarliestTimestamp
	case StartLatest:
		return LatestTimestamp
	default:
		return max(s.Timestamp, 0)
	}
}

// offsetsCall asks a leader where to begin.
type offsetsCall struct {
	c         *Consumer
	node      model.NodeID
	asks      []offsetAsk
	isolation int8
}

type offsetAsk struct {
	part       *part
	generation uint32
	timestamp  model.Timestamp
	answered   bool
}

func (a *offsetAsk) live() bool { return a.part.generation == a.generation && !a.answered }

// misplaced reports whether another broker leads a partition of it by now.
func (q *offsetsCall) misplaced() bool {
	for i := range q.asks {
		if a := &q.asks[i]; a.live() {
			if leader, _ := a.part.topic.leaderOf(a.part.partition); leader != anyNode && leader != q.node {
				return true
			}
		}
	}
	return false
}

func (q *offsetsCall) key() protocol.Key        { return protocol.KeyListOffsets }
func (q *offsetsCall) versions() (int16, int16) { return 0, math.MaxInt16 }

func (q *offsetsCall) encode(w *protocol.Writer, version int16) {
	var m protocol.ListOffsetsRequest
	m.Default()
	m.ReplicaID = -1
	if version >= 2 {
		m.IsolationLevel = q.isolation
	}
	m.TimeoutMs = int32(min(q.c.cfg.RequestTimeout/millisecond, math.MaxInt32))
	var of *topicInfo
	var t *protocol.ListOffsetsRequestTopic
	for i := range q.asks {
		x := q.asks[i].part
		if x.topic != of {
			of = x.topic
			t = protocol.Add(&m.Topics)
			t.Name = of.name
		}
		p := protocol.Add(&t.Partitions)
		p.PartitionIndex = int32(x.partition)
		_, epoch := x.topic.leaderOf(x.partition)
		p.CurrentLeaderEpoch = int32(epoch)
		p.Timestamp = int64(q.asks[i].timestamp)
	}
	m.Encode(w, version)
}

func (q *offsetsCall) answered(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	var m protocol.ListOffsetsResponse
	m.Decode(r, version)
	if err := r.Finish(); err != nil {
		q.failed(now, Malformed, true, out)
		return err
	}
	for i := range m.Topics {
		t := &m.Topics[i]
		for j := range t.Partitions {
			for n := range q.asks {
				a := &q.asks[n]
				if a.live() && a.part.topic.name == t.Name && a.part.partition == model.Partition(t.Partitions[j].PartitionIndex) {
					a.answered = true
					q.c.located(now, a.part, &t.Partitions[j], out)
				}
			}
		}
	}
	q.failed(now, Lost, true, out) // those that were left out
	return nil
}

func (q *offsetsCall) failed(now model.Time, why Reason, _ bool, out *Out) {
	for i := range q.asks {
		a := &q.asks[i]
		if !a.live() {
			continue
		}
		a.answered = true
		a.part.asking = false
		if why == Unsupported {
			q.c.halt(a.part, kerr.UnsupportedVersion.Code, out)
			continue
		}
		q.c.rest(now, a.part)
		q.c.cl.wantRefresh() // perhaps somebody else leads
	}
}

// located takes in where a partition begins, or ends if that is noted first.
func (c *Consumer) located(now model.Time, x *part, d *protocol.ListOffsetsResponsePartition, out *Out) {
	x.asking = false
	switch {
	case d.ErrorCode == 0 && d.Offset >= 0 && c.notes(x) && x.start.Kind != StartLatest:
		x.failures, x.endNoted = 0, model.Offset(d.Offset)
		if x.start.Kind == StartOffset {
			c.locate(x, x.start.Offset)
		}
	case d.ErrorCode == 0 && d.Offset >= 0:
		x.failures = 0
		if c.notes(x) {
			x.endNoted = model.Offset(d.Offset)
		}
		reset := x.resetting
		c.locate(x, model.Offset(d.Offset))
		if reset {
			out.Events = append(out.Events, Event{Kind: EventReset, Topic: x.topic.name, Partition: x.partition, Offset: x.fetchOffset})
			out.Notes = append(out.Notes, Note{Kind: NoteOffsetReset, Topic: x.topic.name, Count: d.Offset})
		}
	case d.ErrorCode == 0:
		// No record is as young as asked for: begin at the end.
		x.start = Start{Kind: StartLatest}
	case Retriable(d.ErrorCode):
		if stale(d.ErrorCode) {
			c.cl.wantRefresh()
		}
		c.rest(now, x)
	default:
		c.halt(x, d.ErrorCode, out)
	}
}
