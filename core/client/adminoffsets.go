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

func (q *queryCall) key() protocol.Key { return protocol.KeyListOffsets }
func (q *queryCall) misplaced() bool   { return false }

func (q *queryCall) versions() (int16, int16) {
	for _, i := range q.queries {
		if q.op.queries[i].Timestamp == MaxTimestamp {
			return 7, math.MaxInt16
		}
	}
	return 0, math.MaxInt16
}

func (q *queryCall) encode(w *protocol.Writer, version int16) {
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

func (q *queryCall) answered(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	o := q.op
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
			for _, n := range q.queries {
				x := &o.queries[n]
				if x.Reason != Lost || x.Topic != t.Name || x.Partition != model.Partition(p.PartitionIndex) {
					continue
				}
				if p.ErrorCode != 0 && Retriable(p.ErrorCode) {
					o.lastCode = p.ErrorCode
					break
				}
				x.Outcome = Outcome{}
				if p.ErrorCode != 0 {
					x.Outcome = Outcome{Reason: Refused, Code: p.ErrorCode, Definite: true}
				}
				x.Offset, x.Time, x.LeaderEpoch = model.Offset(p.Offset), model.Timestamp(p.Timestamp), model.LeaderEpoch(p.LeaderEpoch)
				break // the same partition may be asked twice, for two times
			}
		}
	}
	q.ended(now, out)
	return nil
}

func (q *queryCall) failed(now model.Time, why Reason, _ bool, out *Out) {
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
