package client

import (
	"cmp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// opCall is one attempt at an op: the request itself, or the metadata that it needs first.
type opCall struct {
	a    *Admin
	op   *op
	node model.NodeID // who was the controller, anyNode if anybody will do
}

func (q *opCall) key() protocol.Key {
	switch q.op.kind {
	case createTopics:
		return protocol.KeyCreateTopics
	case deleteTopics:
		return protocol.KeyDeleteTopics
	default:
		return protocol.KeyMetadata
	}
}

// misplaced: what only asks can be asked elsewhere; what changes something had better be waited for, unless the controller is another by now.
func (q *opCall) misplaced() bool {
	if q.node != anyNode && q.a.cl.controller >= 0 && q.a.cl.controller != q.node {
		return true
	}
	return q.op.kind != createTopics && q.op.kind != deleteTopics
}

func (q *opCall) versions() (int16, int16) {
	low := int16(0)
	for _, t := range q.op.create {
		if t.PartitionCount < 0 || t.ReplicationFactor < 0 {
			low = 4 // the broker's defaults (KIP-464)
		}
	}
	return low, 1<<15 - 1
}

func (q *opCall) encode(w *protocol.Writer, version int16) {
	o := q.op
	timeoutMs := int32(min(q.a.cfg.RequestTimeout/millisecond, 1<<31-1))
	switch o.kind {
	case createTopics:
		var m protocol.CreateTopicsRequest
		m.Default()
		m.TimeoutMs, m.ValidateOnly = timeoutMs, o.validate
		for i := range o.create {
			t := protocol.Add(&m.Topics)
			t.Name, t.NumPartitions, t.ReplicationFactor = o.create[i].Name, o.create[i].PartitionCount, o.create[i].ReplicationFactor
			for _, c := range o.create[i].Configs {
				d := protocol.Add(&t.Configs)
				d.Name, d.Value = c.Name, protocol.String(c.Value)
			}
		}
		m.Encode(w, version)
	case deleteTopics:
		var m protocol.DeleteTopicsRequest
		m.Default()
		m.TimeoutMs = timeoutMs
		for _, name := range o.names {
			if version >= 6 {
				protocol.Add(&m.Topics).Name = protocol.String(name)
			} else {
				m.TopicNames = append(m.TopicNames, name)
			}
		}
		m.Encode(w, version)
	default:
		var m protocol.MetadataRequest
		m.Default()
		m.Topics = []protocol.MetadataRequestTopic{}
		for _, name := range o.names {
			nameTopic(&m, name)
		}
		if o.all && version >= 1 {
			m.Topics = nil // all of them; version 0 says that with none
		}
		if version >= 4 {
			m.AllowAutoTopicCreation = false
		}
		m.Encode(w, version)
	}
}

func (q *opCall) answered(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	a, o := q.a, q.op
	var err error
	switch o.kind {
	case createTopics:
		var m protocol.CreateTopicsResponse
		m.Decode(r, version)
		if err = r.Finish(); err == nil {
			o.calls--
			for i := range m.Topics {
				t := &m.Topics[i]
				at := slices.IndexFunc(o.create, func(n NewTopic) bool { return n.Name == t.Name })
				if at < 0 || a.later(o, t.ErrorCode) {
					continue
				}
				o.answer.Topics = append(o.answer.Topics, TopicResult{
					Name: t.Name, ID: model.TopicID(t.TopicID), PartitionCount: t.NumPartitions, ReplicationFactor: t.ReplicationFactor,
					Outcome: o.judge(t.ErrorCode, t.ErrorMessage.Value),
				})
				o.create = slices.Delete(o.create, at, at+1)
			}
		}
	case deleteTopics:
		var m protocol.DeleteTopicsResponse
		m.Decode(r, version)
		if err = r.Finish(); err == nil {
			o.calls--
			for i := range m.Responses {
				t := &m.Responses[i]
				at := slices.Index(o.names, t.Name.Value)
				if at < 0 || a.later(o, t.ErrorCode) {
					continue
				}
				o.answer.Topics = append(o.answer.Topics, TopicResult{
					Name: t.Name.Value, ID: model.TopicID(t.TopicID), Outcome: o.judge(t.ErrorCode, t.ErrorMessage.Value),
				})
				o.names = slices.Delete(o.names, at, at+1)
			}
		}
	default:
		var m protocol.MetadataResponse
		m.Decode(r, version)
		if err = r.Finish(); err == nil {
			o.calls--
			a.describe(now, o, &m, out)
			return nil
		}
	}
	if err != nil {
		q.failed(now, Malformed, true, out)
		return err
	}
	if o.empty() {
		a.finish(o, Outcome{}, out)
	} else {
		a.again(now, o)
	}
	return nil
}

// later reports whether a code means that the request is to be made again: the broker did nothing and another, or it later,
// will, or nobody knows what became of it.
func (a *Admin) later(o *op, code int16) bool {
	switch code {
	case kerr.NotController.Code:
		o.atHead = true
		a.cl.wantRefresh()
	case kerr.ThrottlingQuotaExceeded.Code, kerr.CoordinatorLoadInProgress.Code, kerr.BrokerNotAvailable.Code:
	case kerr.RequestTimedOut.Code: // another controller may have taken over: it may be done or not
		o.exposed = true
		a.cl.wantRefresh()
	default:
		return false
	}
	o.lastCode = code
	return true
}

// judge makes an outcome of a final code. After an attempt that nobody answered, a refusal may be the
// consequence of our own success: the topic exists because we created it.
func (o *op) judge(code int16, message string) Outcome {
	if code == 0 {
		return Outcome{}
	}
	sure := code != kerr.RequestTimedOut.Code && code != kerr.UnknownServerError.Code && code != kerr.KafkaStorageError.Code
	return Outcome{Reason: Refused, Code: code, Message: message, Definite: sure && !o.exposed}
}

func (q *opCall) failed(now model.Time, why Reason, sent bool, out *Out) {
	a, o := q.a, q.op
	o.calls--
	changes := (o.kind == createTopics || o.kind == deleteTopics) && !o.validate
	o.exposed = o.exposed || sent && changes
	if why == Unsupported || why == Closed {
		a.finish(o, Outcome{Reason: why}, out)
		return
	}
	if q.node != anyNode {
		a.cl.wantRefresh() // the controller may be another by now
	}
	a.again(now, o)
}

// describe takes in metadata for an op that asked for it.
func (a *Admin) describe(now model.Time, o *op, m *protocol.MetadataResponse, out *Out) {
	if m.ErrorCode != 0 || len(m.Brokers) == 0 {
		o.lastCode = m.ErrorCode
		a.again(now, o)
		return
	}
	a.cl.learn(m, out)
	described := make([]TopicDescription, 0, len(m.Topics))
	for i := range m.Topics {
		described = append(described, describeTopic(&m.Topics[i]))
	}
	slices.SortFunc(described, func(x, y TopicDescription) int { return strings.Compare(x.Name, y.Name) })
	if o.kind == describeTopics && !o.all && o.failures < unknownTriesMax && slices.ContainsFunc(described, unknownTopic) {
		o.lastCode = kerr.UnknownTopicOrPartition.Code
		a.again(now, o)
		return
	}
	switch o.kind {
	case describeCluster:
		o.answer.Cluster = ClusterDescription{ID: m.ClusterID.Value, Controller: model.NodeID(m.ControllerID)}
		for i := range m.Brokers {
			b := &m.Brokers[i]
			o.answer.Cluster.Brokers = append(o.answer.Cluster.Brokers, BrokerDescription{
				ID: model.NodeID(b.NodeID), Addr: hostPort(b.Host, b.Port), Rack: b.Rack.Value,
			})
		}
		slices.SortFunc(o.answer.Cluster.Brokers, func(x, y BrokerDescription) int { return cmp.Compare(x.ID, y.ID) })
		a.finish(o, Outcome{}, out)
	case listOffsets, deleteRecords:
		a.askLeaders(now, o, described, out)
	default:
		o.answer.Described = described
		a.finish(o, Outcome{}, out)
	}
}

func describeTopic(t *protocol.MetadataResponseTopic) TopicDescription {
	d := TopicDescription{Name: t.Name.Value, ID: model.TopicID(t.TopicID), Code: t.ErrorCode, Internal: t.IsInternal}
	nodes := func(ids []int32) []model.NodeID {
		out := make([]model.NodeID, len(ids))
		for i, id := range ids {
			out[i] = model.NodeID(id)
		}
		return out
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		d.Partitions = append(d.Partitions, PartitionDescription{
			Partition: model.Partition(p.PartitionIndex), Code: p.ErrorCode,
			Leader: model.NodeID(p.LeaderID), LeaderEpoch: model.LeaderEpoch(p.LeaderEpoch),
			Replicas: nodes(p.ReplicaNodes), ISR: nodes(p.IsrNodes), Offline: nodes(p.OfflineReplicas),
		})
	}
	slices.SortFunc(d.Partitions, func(x, y PartitionDescription) int { return cmp.Compare(x.Partition, y.Partition) })
	return d
}
