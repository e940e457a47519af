package client

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// askLeaders sends an op's open queries to the leaders that the metadata names.
func (a *Admin) askLeaders(now model.Time, o *op, described []TopicDescription, out *Out) {
	var calls []*queryCall
	for i := range o.queries {
		q := &o.queries[i]
		if q.Reason != Lost {
			continue
		}
		leader, code := leaderIn(described, q.Topic, q.Partition)
		switch {
		case code != 0 && !Retriable(code), code == kerr.UnknownTopicOrPartition.Code && o.failures >= unknownTriesMax:
			q.Outcome = Outcome{Reason: Refused, Code: code, Definite: true}
		case code != 0:
			o.lastCode = code
		default:
			at := slices.IndexFunc(calls, func(c *queryCall) bool { return c.node == leader })
			if at < 0 {
				at = len(calls)
				calls = append(calls, &queryCall{a: a, op: o, node: leader})
			}
			calls[at].queries = append(calls[at].queries, i)
		}
	}
	if len(calls) == 0 {
		if o.empty() {
			a.finish(o, Outcome{}, out)
		} else {
			a.again(now, o)
		}
		return
	}
	o.calls += len(calls)
	for _, c := range calls {
		slices.SortStableFunc(c.queries, func(x, y int) int {
			if o.queries[x].Topic < o.queries[y].Topic {
				return -1
			}
			if o.queries[x].Topic > o.queries[y].Topic {
				return 1
			}
			return 0
		})
		a.cl.submit(now, c.node, c, out)
	}
}

// unknownTriesMax is how often a topic may be unknown before that is the answer. Brokers learn of a new
// topic at different times.
const unknownTriesMax = 3

// leaderIn finds a partition's leader, or says why there is none.
func leaderIn(described []TopicDescription, topic string, partition model.Partition) (model.NodeID, int16) {
	for i := range described {
		t := &described[i]
		if t.Name != topic {
			continue
		}
		if t.Code != 0 {
			return anyNode, t.Code
		}
		for j := range t.Partitions {
			if p := &t.Partitions[j]; p.Partition == partition {
				if p.Leader < 0 {
					return anyNode, kerr.LeaderNotAvailable.Code
				}
				return p.Leader, 0
			}
		}
	}
	return anyNode, kerr.UnknownTopicOrPartition.Code
}

// queryCall asks one leader for offsets.
type queryCall struct {
	a       *Admin
	op      *op
	node    model.NodeID
	queries []int // indexes into op.queries, by topic
}

func (q *queryCall) key() protocol.Key {
	if q.op.kind == deleteRecords {
		return protocol.KeyDeleteRecords
	}
	return protocol.KeyListOffsets
}

// misplaced reports whether another broker leads a partition of it by now.
func (q *queryCall) misplaced() bool {
	return slices.ContainsFunc(q.queries, func(i int) bool {
		x := &q.op.queries[i]
		t := q.a.cl.topics.find(x.Topic)
		if x.Reason != Lost || t == nil {
			return false
		}
		leader, _ := t.leaderOf(x.Partition)
		return leader != anyNode && leader != q.node
	})
}

func (q *queryCall) versions() (int16, int16) {
	for _, i := range q.queries {
		if q.op.queries[i].Timestamp == MaxTimestamp {
			return 7, math.MaxInt16
		}
	}
	return 0, math.MaxInt16
}

func (q *queryCall) encode(w *protocol.Writer, version int16) {
	if q.op.kind == deleteRecords {
		q.encodeDelete(w, version)
		return
	}
	var m protocol.ListOffsetsRequest
	m.Default()
	m.ReplicaID = -1
	m.TimeoutMs = int32(min(q.a.cfg.RequestTimeout/millisecond, math.MaxInt32))
	var t *protocol.ListOffsetsRequestTopic
	for _, i := range q.queries {
		x := &q.op.queries[i]
		if t == nil || t.Name != x.Topic {
			t = protocol.Add(&m.Topics)
			t.Name = x.Topic
		}
		p := protocol.Add(&t.Partitions)
		p.PartitionIndex, p.Timestamp = int32(x.Partition), int64(x.Timestamp)
	}
	m.Encode(w, version)
}

func (q *queryCall) encodeDelete(w *protocol.Writer, version int16) {
	var m protocol.DeleteRecordsRequest
	m.Default()
	m.TimeoutMs = int32(min(q.a.cfg.RequestTimeout/millisecond, math.MaxInt32))
	var t *protocol.DeleteRecordsRequestTopic
	for _, i := range q.queries {
		x := &q.op.queries[i]
		if t == nil || t.Name != x.Topic {
			t = protocol.Add(&m.Topics)
			t.Name = x.Topic
		}
		p := protocol.Add(&t.Partitions)
		p.PartitionIndex, p.Offset = int32(x.Partition), int64(x.before)
	}
	m.Encode(w, version)
}

// deleted takes in the answer to a DeleteRecords.
func (q *queryCall) deleted(r *protocol.Reader, version int16) error {
	var m protocol.DeleteRecordsResponse
	m.Decode(r, version)
	if err := r.Finish(); err != nil {
		return err
	}
	for i := range m.Topics {
		for j := range m.Topics[i].Partitions {
			p := &m.Topics[i].Partitions[j]
			q.settle(m.Topics[i].Name, p.PartitionIndex, p.ErrorCode, model.Offset(p.LowWatermark), model.NoTimestamp, model.NoLeaderEpoch)
		}
	}
	return nil
}

// settle gives a query its result, unless the code says to ask again.
func (q *queryCall) settle(topic string, partition int32, code int16, offset model.Offset, at model.Timestamp, epoch model.LeaderEpoch) {
	o := q.op
	for _, n := range q.queries {
		x := &o.queries[n]
		if x.Reason != Lost || x.Topic != topic || x.Partition != model.Partition(partition) {
			continue
		}
		if code != 0 && Retriable(code) {
			o.lastCode = code
			return
		}
		x.Outcome = Outcome{}
		if code != 0 {
			x.Outcome = Outcome{Reason: Refused, Code: code, Definite: true}
		}
		x.Offset, x.Time, x.LeaderEpoch = offset, at, epoch
		return // the same partition may be asked twice, for two times
	}
}

func (q *queryCall) answered(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	if q.op.kind == deleteRecords {
		if err := q.deleted(r, version); err != nil {
			q.failed(now, Malformed, true, out)
			return err
		}
		q.ended(now, out)
		return nil
	}
	var m protocol.ListOffsetsResponse
	m.Decode(r, version)
	if err := r.Finish(); err != nil {
		q.failed(now, Malformed, true, out)
		return err
	}
	for i := range m.Topics {
		t := &m.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			q.settle(t.Name, p.PartitionIndex, p.ErrorCode, model.Offset(p.Offset), model.Timestamp(p.Timestamp), model.LeaderEpoch(p.LeaderEpoch))
		}
	}
	q.ended(now, out)
	return nil
}

func (q *queryCall) failed(now model.Time, why Reason, sent bool, out *Out) {
	q.op.exposed = q.op.exposed || sent && q.op.kind == deleteRecords
	if why == Unsupported {
		for _, i := range q.queries {
			q.op.queries[i].Outcome = Outcome{Reason: Unsupported, Definite: true}
		}
	}
	q.ended(now, out)
}

// ended finishes the op or tries again what is left, when its last request has ended.
func (q *queryCall) ended(now model.Time, out *Out) {
	o := q.op
	o.calls--
	switch {
	case o.empty():
		q.a.finish(o, Outcome{}, out)
	case o.calls == 0:
		q.a.again(now, o)
	}
}
